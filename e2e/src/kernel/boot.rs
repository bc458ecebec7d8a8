//! One kernel, from its start to its end.
//!
//! It is QEMU without hardware help: one process, slow, and the same everywhere. It ends with this process, also when this
//! process is killed.

use super::{KernelLabError, io};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const EMULATOR: &str = "qemu-system-x86_64";
const MEMORY_MIB: u32 = 1536;
const PROCESSORS: u32 = 2;
const POLL: Duration = Duration::from_millis(20);
/// A kernel may say much before it panics.
const CONSOLE_TAIL_BYTES: usize = 4_000;

/// Folders of kernels that run, or that failed: `$HAWSER_KERNEL_LAB_DIR`, else `/tmp/hawser-kernel-lab-UID`.
#[must_use]
pub fn base() -> PathBuf {
    match std::env::var_os("HAWSER_KERNEL_LAB_DIR") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(format!("/tmp/hawser-kernel-lab-{}", nix::unistd::geteuid())),
    }
}

/// The folder that a kernel shares with its host. Dropping it removes it, unless it is kept.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// # Errors
    /// The folder can't be made.
    pub fn new(name: &str) -> Result<Self, KernelLabError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short: the paths of sockets in it may have 107 octets (unix(7)).
        let path = base().join(format!("{name:.12}-{}-{number}", std::process::id()));
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for folder in ["", "ram", "bin"] {
            builder.create(path.join(folder)).map_err(io("the lab's folder can't be made"))?;
        }
        let scratch = Scratch { path, keep: false };
        let modprobe = format!("#!/bin/sh\nexec /sbin/modprobe -d {} \"$@\"\n", quoted(&image()?));
        scratch.write_program("bin/modprobe", &modprobe)?;
        Ok(scratch)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it for people to look at.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// The end of what the kernel and its process 1 said.
    #[must_use]
    pub fn console_tail(&self) -> String {
        let console = fs::read(self.path.join("console")).unwrap_or_default();
        let from = console.len().saturating_sub(CONSOLE_TAIL_BYTES);
        String::from_utf8_lossy(&console[from..]).into_owned()
    }

    fn write_program(&self, name: &str, text: &str) -> Result<(), KernelLabError> {
        let failed = "the lab's folder can't be filled";
        let path = self.path.join(name);
        fs::write(&path, text).map_err(io(failed))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(io(failed))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// What a kernel shall run.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    /// With this process's terminal, and no limit.
    pub interactive: bool,
}

/// A running kernel. Dropping it ends it.
#[derive(Debug)]
pub struct Kernel {
    child: Child,
}

impl Kernel {
    /// Boots in `scratch`. The thread that calls this must live as long as the kernel: the kernel ends with it.
    ///
    /// # Errors
    /// A package is missing, this is not root, or the process can't be started.
    pub fn start(scratch: &Scratch, boot: &Boot) -> Result<Self, KernelLabError> {
        check_host()?;
        scratch.write_program("init", &init(scratch.path(), boot))?;
        let (image, folder) = (image()?, scratch.path().display());
        let share = |id: &str, path: &str, rest: &str| {
            let file_system =
                format!("local,id={id},path={path},security_model=none,multidevs=remap{rest}");
            let device = format!("virtio-9p-pci,fsdev={id},mount_tag={id}");
            ["-fsdev".to_owned(), file_system, "-device".to_owned(), device]
        };
        let mut command = Command::new(EMULATOR);
        command
            .args(["-accel", "tcg", "-cpu", "max", "-nodefaults", "-no-reboot", "-nographic"])
            .args(["-m", &MEMORY_MIB.to_string(), "-smp", &PROCESSORS.to_string()])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(image.join("vmlinuz"))
            .arg("-initrd")
            .arg(image.join("initrd.gz"))
            .args(["-append", &format!("console=ttyS0 quiet panic=-1 -- {folder}/init")])
            .args(share("root", "/", ",readonly=on"))
            .args(share("scratch", &folder.to_string(), ""));
        if !boot.interactive {
            let console = fs::File::create(scratch.path().join("console"))
                .map_err(io("the console's file can't be made"))?;
            let copy = console.try_clone().map_err(io("the console's file can't be shared"))?;
            // A group of its own: Ctrl-C is for whoever waits for the kernel.
            command.process_group(0).stdin(Stdio::null()).stdout(console).stderr(copy);
        }
        // SAFETY: prctl with integers only is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
                Ok(())
            });
        }
        let child = command.spawn().map_err(io("qemu can't be started"))?;
        Ok(Kernel { child })
    }

    /// Waits for its end. False: it did not end within `limit`, and was killed.
    ///
    /// # Errors
    /// The process can't be waited for.
    pub fn wait(mut self, limit: Option<Duration>) -> Result<bool, KernelLabError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if self.child.try_wait().map_err(io("the kernel can't be waited for"))?.is_some() {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Of the process that ends everything with it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check_host() -> Result<(), KernelLabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(KernelLabError::NotRoot);
    }
    let here = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    for (program, package) in
        [(EMULATOR, "qemu-system-x86"), ("busybox", "busybox-static"), ("modprobe", "kmod")]
    {
        if !here(program) {
            return Err(KernelLabError::Missing { program, package });
        }
    }
    Ok(())
}

/// What `tools/kernel` made: `$HAWSER_KERNEL`, else `kernel` in the build's folder.
fn image() -> Result<PathBuf, KernelLabError> {
    let named = std::env::var_os("HAWSER_KERNEL").map(PathBuf::from);
    let beside = || {
        let lab = crate::lab::start::binary().ok()?;
        Some(lab.parent()?.parent()?.join("kernel"))
    };
    let image = named.or_else(beside).unwrap_or_default();
    let here = image.join("vmlinuz").is_file();
    if here { Ok(image) } else { Err(KernelLabError::NoKernel { at: image }) }
}

fn init(scratch: &Path, boot: &Boot) -> String {
    let words: Vec<String> = boot.argv.iter().map(|word| quoted(Path::new(word))).collect();
    let mut script = format!("#!/bin/sh\nscratch={}\n", quoted(scratch));
    for (name, value) in &boot.env {
        script.push_str(&format!("export {name}={}\n", quoted(Path::new(value))));
    }
    let program = quoted(Path::new(&words.join(" ")));
    let shell = if boot.interactive { "yes" } else { "no" };
    script.push_str(&format!("program={program}\nshell={shell}\n"));
    script.push_str(include_str!("init.sh"));
    script
}

/// As one word of a shell.
fn quoted(word: &Path) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words_whatever_they_hold() {
        let boot = Boot {
            argv: vec!["echo".into(), "it's $HOME; `x`".into()],
            env: vec![("A".into(), "b c".into())],
            interactive: false,
        };
        let script = init(Path::new("/tmp/a b"), &boot);
        let head: String = script.lines().take_while(|l| !l.starts_with("# Process 1")).fold(
            String::new(),
            |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            },
        );
        let shown = format!("{head}eval \"$program\"; echo \"$scratch $A $shell\"");
        let output = Command::new("sh").args(["-c", &shown]).output().expect("sh runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "it's $HOME; `x`\n/tmp/a b b c no\n");
    }
}
