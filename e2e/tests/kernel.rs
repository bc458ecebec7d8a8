//! The quick scenarios of the kernel lab, and the lab's own manners. Needs root and the packages that `make test` installs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hawser_e2e::kernel::boot::{Boot, Kernel, Scratch};
use hawser_e2e::kernel::report::{choose, run};

/// One test for all of them: each wants a processor, and there may be no more than one.
#[test]
fn quick_scenarios_pass() {
    let mut failed = Vec::new();
    for scenario in choose(&[], true).expect("there are some") {
        let outcome = run(scenario).expect("the kernel lab runs (tests need root)");
        println!("{} {} {:.1} s", scenario.name, outcome.pass, outcome.seconds);
        if !outcome.pass {
            failed.push(format!("{}: {:#}", scenario.name, outcome.details));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_kernel_that_hangs_is_ended_at_its_limit() {
    let scratch = Scratch::new("hangs").expect("a folder");
    let boot = Boot { argv: vec!["sleep".into(), "1000".into()], ..Boot::default() };
    let kernel = Kernel::start(&scratch, &boot).expect("it starts (tests need root)");
    let ended = kernel.wait(Some(Duration::from_secs(5))).expect("it can be waited for");
    assert!(!ended);
    wait_none_left(scratch.path());
}

#[test]
fn a_kernel_ends_with_its_supervisor_also_when_that_is_killed() {
    let lab = env!("CARGO_BIN_EXE_hawser-lab");
    let base = tempfile::tempdir().expect("a folder");
    let mut supervisor = Command::new(lab)
        .args(["kernel", "run", "netem"])
        .env("HAWSER_KERNEL_LAB_DIR", base.path())
        .env("HAWSER_REPORTS", base.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("hawser-lab starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while processes_of(base.path()).is_empty() {
        assert!(Instant::now() < deadline, "the kernel does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    supervisor.kill().expect("SIGKILL");
    supervisor.wait().expect("it ends");
    wait_none_left(base.path());
}

fn wait_none_left(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = processes_of(folder);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Processes whose command line names a folder: the kernels' processes.
fn processes_of(folder: &Path) -> Vec<String> {
    let name = folder.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let lines = entries.filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains("qemu-system") && line.contains(&name)).collect()
}
