//! Other userspace tunnels, as their makers ship them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Fault;
use crate::child::{Process, find, output, until};
use crate::net::Net;
use crate::rig::{Rig, lans, nets};

/// The name in the report, the program, and what makes it stay in the foreground.
const WIREGUARDS: [(&str, &str, &[&str]); 3] = [
    ("wireguard-go", "wireguard-go", &["-f"]),
    ("gotatun", "gotatun", &["-f", "--disable-drop-privileges"]),
    ("boringtun-cli", "boringtun-cli", &["-f", "--disable-drop-privileges"]),
];
pub const LIBIPSEC: &str = "libipsec";

const PATIENCE: Duration = Duration::from_secs(5);

/// Those that are installed and work; what is missing or fails is said on stderr.
pub fn all() -> Vec<Rig> {
    let mut rigs = Vec::new();
    let mut keep = |name: &str, rig: Option<Result<Rig, Fault>>| match rig {
        Some(Ok(rig)) => rigs.push(rig),
        Some(Err(fault)) => eprintln!("{name} is left out: {fault}"),
        None => eprintln!("{name} is left out: it is not installed"),
    };
    keep(LIBIPSEC, find("charon-systemd").map(|charon| libipsec(&charon)));
    for (index, (name, program, options)) in WIREGUARDS.into_iter().enumerate() {
        keep(name, find(program).map(|program| wireguard(name, &program, options, index)));
    }
    rigs
}

/// Any program that is configured by `wg`. Devices have names that no other process on this machine uses, since the
/// sockets by which `wg` finds them stand in one folder.
fn wireguard(
    name: &'static str,
    program: &Path,
    options: &[&str],
    index: usize,
) -> Result<Rig, Fault> {
    let program = program.to_str().ok_or("a path that is no text")?;
    let nets = nets();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let private = output(&nets[0], &["wg", "genkey"], &[], "")?;
        let public = output(&nets[0], &["wg", "pubkey"], &[], &private)?;
        keys.push((private, public));
    }
    let mut processes = Vec::new();
    for (end, net) in nets.iter().enumerate() {
        let device = format!("hb{}{index}{end}", std::process::id());
        let line: Vec<&str> = [program].into_iter().chain(options.iter().copied()).collect();
        let mut process = Process::start(net, &[&line[..], &[&device]].concat(), &[])?;
        let (this, that) = (end + 1, 2 - end);
        let config = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51820\n[Peer]\nPublicKey = {}\n\
             Endpoint = 192.0.2.{that}:51820\nAllowedIPs = 10.{that}.0.0/16\n",
            keys[end].0,
            keys[1 - end].1,
        );
        until(PATIENCE, || {
            if process.has_ended() {
                return Err(format!("{program} ended").into());
            }
            output(net, &["wg", "setconf", &device, "/dev/stdin"], &[], &config)
        })?;
        processes.push(process);
        net.ip(&format!("link set {device} mtu 1420 up"));
        net.ip(&format!("route add 10.{that}.0.0/16 dev {device} src 10.{this}.0.1"));
    }
    Rig::new(name, &nets, lans(), processes)
}

/// strongSwan with ESP in its own process: IKEv2 by a shared secret, tunnel mode, AES-128-GCM.
fn libipsec(charon: &Path) -> Result<Rig, Fault> {
    let charon = charon.to_str().ok_or("a path that is no text")?;
    let nets = nets();
    let folder = tempfile::tempdir()?;
    let mut processes = Vec::new();
    for (end, net) in nets.iter().enumerate() {
        let home = folder.path().join(format!("end{end}"));
        fs::create_dir_all(home.join("swanctl"))?;
        let home = home.to_str().ok_or("a path that is no text")?;
        fs::write(format!("{home}/strongswan.conf"), daemon_config(home))?;
        fs::write(format!("{home}/swanctl/swanctl.conf"), connection(end + 1, 2 - end))?;
        let environment = environment(home);
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        // What it leaves in /run must not meet that of another one.
        let script = format!("mount -t tmpfs none /run && exec {charon}");
        processes.push(Process::start(net, &["unshare", "-m", "sh", "-c", &script], &environment)?);
        control(net, home, &["--load-all"])?;
    }
    let home = folder.path().join("end0");
    let home = home.to_str().ok_or("a path that is no text")?;
    control(&nets[0], home, &["--initiate", "--child", "lan"])?;
    Rig::new(LIBIPSEC, &nets, lans(), (processes, folder))
}

fn environment(home: &str) -> [(&'static str, String); 2] {
    [
        ("STRONGSWAN_CONF", format!("{home}/strongswan.conf")),
        ("SWANCTL_DIR", format!("{home}/swanctl")),
    ]
}

fn control(net: &Arc<Net>, home: &str, arguments: &[&str]) -> Result<(), Fault> {
    let socket = format!("unix://{home}/vici.sock");
    let line = [&["swanctl"], arguments, &["--uri", &socket]].concat();
    let environment = environment(home);
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    until(PATIENCE, || output(net, &line, &environment, "")).map(drop)
}

fn daemon_config(home: &str) -> String {
    format!(
        "charon-systemd {{\n\
           load = random nonce openssl gcm aes sha1 sha2 hmac kdf kernel-libipsec kernel-netlink socket-default vici\n\
           plugins {{\n\
             kernel-libipsec {{\n load = yes\n }}\n\
             vici {{\n socket = unix://{home}/vici.sock\n }}\n\
           }}\n\
         }}\n\
         swanctl {{\n load = openssl random nonce\n }}\n"
    )
}

fn connection(this: usize, that: usize) -> String {
    format!(
        "connections {{\n bench {{\n\
           version = 2\n local_addrs = 192.0.2.{this}\n remote_addrs = 192.0.2.{that}\n\
           proposals = aes128gcm16-prfsha256-ecp256\n\
           local {{\n auth = psk\n id = end{this}\n }}\n\
           remote {{\n auth = psk\n id = end{that}\n }}\n\
           children {{\n lan {{\n\
             local_ts = 10.{this}.0.0/16\n remote_ts = 10.{that}.0.0/16\n\
             esp_proposals = aes128gcm16\n mode = tunnel\n\
           }}\n }}\n }}\n }}\n\
         secrets {{\n ike-bench {{\n secret = \"of this benchmark only\"\n }}\n }}\n"
    )
}
