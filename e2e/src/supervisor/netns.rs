//! Mounts and network namespaces.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const FOLDER: &str = "/run/netns";
const NO_DATA: Option<&str> = None;

/// A node's namespace, kept by an open file. Its name under /run/netns makes `ip netns` work inside the lab.
pub(super) struct Netns {
    file: OwnedFd,
    pub(super) inode: u64,
}

/// Cuts this process's mounts off from the rest of the machine, with own /proc, /sys and /run.
pub(super) fn private_mounts() -> io::Result<()> {
    mount(NO_DATA, "/", NO_DATA, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NO_DATA)?;
    let strict = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), strict, NO_DATA)?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), strict, NO_DATA)?;
    let loose = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), loose, Some("mode=0755,size=64m"))?;
    fs::create_dir(FOLDER)?;
    fs::create_dir("/run/lock")?;
    fs::set_permissions("/run/lock", Permissions::from_mode(0o1777))
}

impl Netns {
    pub(super) fn create(name: &str) -> io::Result<Self> {
        let path = Path::new(FOLDER).join(name);
        File::create(&path)?;
        // A new namespace is the calling thread's alone; the mount keeps it when the thread ends.
        let make = || -> io::Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let own = Path::new("/proc/thread-self/ns/net");
            Ok(mount(Some(own), &path, NO_DATA, MsFlags::MS_BIND, NO_DATA)?)
        };
        std::thread::scope(|scope| join(scope.spawn(make)))?;
        let file = File::open(&path)?;
        let inode = file.metadata()?.ino();
        Ok(Self { file: file.into(), inode })
    }

    /// Runs a closure on a thread inside the namespace.
    pub(super) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        std::thread::scope(|scope| {
            join(scope.spawn(|| {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
                work()
            }))
        })
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Moves the calling process, just forked, into a namespace, with a /sys that shows it. Async-signal-safe.
pub(super) fn enter(fd: RawFd) -> io::Result<()> {
    let strict = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let slave = libc::MS_REC | libc::MS_SLAVE;
    // SAFETY: system calls with constant strings and a descriptor that the parent keeps open.
    unsafe {
        check(libc::setns(fd, libc::CLONE_NEWNET))?;
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
        check(libc::mount(none, root, std::ptr::null(), slave, std::ptr::null()))?;
        let (sysfs, sys) = (c"sysfs".as_ptr(), c"/sys".as_ptr());
        check(libc::mount(sysfs, sys, sysfs, strict, std::ptr::null()))
    }
}

fn check(rc: libc::c_int) -> io::Result<()> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a helper thread panicked")))
}
