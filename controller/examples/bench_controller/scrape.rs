//! What Prometheus does, every 15 s: one request for all metrics.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Prometheus' own default is a minute; most people have 15 s.
pub const EVERY: Duration = Duration::from_secs(15);
const WITHIN: Duration = Duration::from_secs(30);

/// One answer.
#[derive(Debug, Clone, Copy)]
pub struct Scrape {
    pub seconds: f64,
    pub bytes: usize,
    pub series: usize,
}

/// Asks until it is dropped.
pub struct Scraper {
    task: JoinHandle<()>,
    answers: Arc<Mutex<Vec<Scrape>>>,
    paused: Arc<AtomicBool>,
}

impl Scraper {
    pub fn start(address: SocketAddr) -> Self {
        let answers = Arc::<Mutex<Vec<Scrape>>>::default();
        let kept = Arc::clone(&answers);
        let paused = Arc::<AtomicBool>::default();
        let rests = Arc::clone(&paused);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                if rests.load(Ordering::Relaxed) {
                    continue;
                }
                match tokio::time::timeout(WITHIN, once(address)).await {
                    Ok(Ok(scrape)) => {
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(scrape);
                    }
                    Ok(Err(error)) => eprintln!("a scrape failed: {error}"),
                    Err(_) => eprintln!("a scrape took longer than {} s", WITHIN.as_secs()),
                }
            }
        });
        Self { task, answers, paused }
    }

    pub fn pause(&self, rests: bool) {
        self.paused.store(rests, Ordering::Relaxed);
    }

    /// So far.
    pub fn answers(&self) -> Vec<Scrape> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn once(address: SocketAddr) -> std::io::Result<Scrape> {
    let start = Instant::now();
    let mut socket = TcpStream::connect(address).await?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let seconds = start.elapsed().as_secs_f64();
    let lines = answer.split(|octet| *octet == b'\n');
    let series = lines.filter(|line| line.starts_with(b"hawser_")).count();
    Ok(Scrape { seconds, bytes: answer.len(), series })
}
