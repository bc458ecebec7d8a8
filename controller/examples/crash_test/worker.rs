//! The process that dies: the real controller, with a failpoint set if one is asked for.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hawser_controller::server::{self, Options};
use hawser_controller::service::AdviceMode;
use hawser_controller::store::{OpenReport, StoreChoice, failpoint};

const START_WITHIN: Duration = Duration::from_secs(60);

/// When the worker is to die.
#[derive(Debug, Clone, Copy)]
pub enum Death {
    /// By SIGKILL, so long after it serves.
    After {
        ms: u64,
    },
    /// At a failpoint, when it is passed for so many times.
    At {
        place: &'static str,
        times: u32,
    },
    Never,
}

/// `worker DATA [PLACE TIMES]`
pub async fn serve(arguments: &[String]) -> ExitCode {
    let data = PathBuf::from(&arguments[0]);
    if let [_, place, times] = arguments {
        let left = AtomicU32::new(times.parse().expect("a number"));
        let place = place.clone();
        failpoint::install(move |passed, _| {
            // Abort ends the process as SIGKILL does: nothing is tidied up.
            if passed == place && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                std::process::abort();
            }
        });
    }
    let options = Options {
        data: data.clone(),
        store: StoreChoice::Sled,
        listen: "127.0.0.1:0".parse().expect("an address"),
        telemetry_interval: Duration::from_secs(1),
        advice: AdviceMode::Off,
        edge_lifetime: hawser_controller::pki::EDGE_LIFETIME,
    };
    let running = match server::start(options).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("the worker does not start: {error:?}");
            return ExitCode::FAILURE;
        }
    };
    let restored = matches!(running.opened(), OpenReport::Restored { .. });
    let told = format!("{} {restored}", running.address().port());
    let partial = data.join("told.partial");
    let written = std::fs::write(&partial, told);
    if written.and_then(|()| std::fs::rename(&partial, data.join("told"))).is_err() {
        // A full disk: the port is told some other way.
        println!("{} {restored}", running.address().port());
    }
    running.failed().await;
    std::future::pending().await
}

/// A worker; killed when dropped.
pub struct Worker {
    child: Child,
    pub port: u16,
    pub restored: bool,
}

impl Worker {
    /// None: it died before it served, which a failpoint may bring about.
    pub fn start(data: &Path, death: Death) -> Option<Self> {
        let told = data.join("told");
        let _ = std::fs::remove_file(&told);
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("worker").arg(data).stdout(Stdio::null()).stderr(Stdio::null());
        if let Death::At { place, times } = death {
            command.arg(place).arg(times.to_string());
        }
        let mut child = command.spawn().expect("the worker starts");
        let end = Instant::now() + START_WITHIN;
        loop {
            if let Ok(text) = std::fs::read_to_string(&told) {
                let (port, restored) = text.split_once(' ').expect("two words");
                let port = port.parse().expect("a port");
                return Some(Self { child, port, restored: restored == "true" });
            }
            if child.try_wait().expect("its status").is_some() {
                return None;
            }
            assert!(Instant::now() < end, "the worker serves in time");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn kill(mut self) {
        self.end();
    }

    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_some()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}
