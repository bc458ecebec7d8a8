//! Network namespaces that live as long as a value: nothing names them, so nothing is left behind.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::process::{Command, Output};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace of its own, with its loopback up.
pub struct Net {
    handle: File,
}

impl Net {
    pub fn new() -> Net {
        let made = thread::spawn(|| -> io::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let handle = made.join().expect("no panic").expect("root, to make namespaces");
        let net = Net { handle };
        net.ip("link set lo up");
        net
    }

    /// Where other processes find it while this one lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    /// Runs `work` on a thread that is in the namespace; threads and processes that it starts are in it too.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                work()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs a command line (split at blanks) in the namespace.
    pub fn run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("a command"));
        command.args(words);
        self.enter(move || command.output()).expect("the command starts")
    }

    /// `ip ...`; panics with what it says when it fails.
    pub fn ip(&self, arguments: &str) {
        let output = self.run(&format!("ip {arguments}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {arguments}: {said}");
    }

    /// A veth pair: `name` here and `peer_name` in `peer`, both up, MTU 1500, with these addresses (prefix length
    /// included).
    pub fn connect(
        &self,
        name: &str,
        addresses: &[&str],
        peer: &Net,
        peer_name: &str,
        peers: &[&str],
    ) {
        let handle = peer.path();
        self.ip(&format!("link add {name} type veth peer name {peer_name} netns {handle}"));
        for (net, name, addresses) in [(self, name, addresses), (peer, peer_name, peers)] {
            for address in addresses {
                let flags = if address.contains(':') { "nodad" } else { "" };
                net.ip(&format!("address add {address} dev {name} {flags}"));
            }
            net.ip(&format!("link set {name} up"));
        }
    }
}
