//! A way to etcd on which answers get lost: requests come through, then the connection breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// After answers are withheld, so long until the connection breaks: what was asked has been done by then.
const MUTE_FOR: Duration = Duration::from_millis(40);

pub struct Proxy {
    pub port: u16,
    muted: watch::Sender<u64>,
    pub lost_bytes: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (muted, _) = watch::channel(0);
        let lost_bytes = Arc::new(AtomicU64::new(0));
        let (hear, lost) = (muted.clone(), Arc::clone(&lost_bytes));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let up = tokio::spawn(pass(from_client, to_server));
                let down = back(from_server, to_client, hear.subscribe(), Arc::clone(&lost));
                tokio::spawn(async move {
                    down.await;
                    up.abort();
                });
            }
        });
        Self { port: own, muted, lost_bytes }
    }

    /// Every connection there is loses its answers from now on, and breaks a little later.
    pub fn cut(&self) {
        self.muted.send_modify(|count| *count += 1);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn back(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut muted: watch::Receiver<u64>,
    lost: Arc<AtomicU64>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            biased;
            _ = muted.changed() => break,
            read = from.read(&mut bytes) => match read {
                Ok(count) if count > 0 && to.write_all(&bytes[..count]).await.is_ok() => {}
                _ => return,
            },
        }
    }
    let swallow = async {
        while let Ok(count) = from.read(&mut bytes).await {
            if count == 0 {
                return;
            }
            lost.fetch_add(count as u64, Ordering::Relaxed);
        }
    };
    let _ = tokio::time::timeout(MUTE_FOR, swallow).await;
}
