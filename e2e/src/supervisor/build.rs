//! Making what the plan says: namespaces, devices, addresses, routes, NAT.

use super::netns::Netns;
use crate::lab::plan;
use crate::lab::topology::{LinkKind, Topology};
use crate::wan::emulator::Links;
use crate::wan::tap;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

pub(super) struct Built {
    pub nodes: BTreeMap<String, Netns>,
    pub links: Links,
}

/// Makes a checked topology in this process's network and mount namespace.
pub(super) fn build(topology: &Topology) -> Result<Built, String> {
    let mut nodes = BTreeMap::new();
    for (name, node) in &topology.nodes {
        let at = |error| format!("node {name}: {error}");
        let netns = Netns::create(name).map_err(at)?;
        netns.run(|| write_sysctls(plan::sysctls(node))).map_err(at)?;
        nodes.insert(name.clone(), netns);
    }
    feed(None, &["ip", "-batch", "-"], &plan::cables(topology))?;
    let links = emulated(topology, &nodes)?;
    for (name, netns) in &nodes {
        feed(Some(netns), &["ip", "-batch", "-"], &plan::interfaces(topology, name))
            .map_err(|error| format!("node {name}: {error}"))?;
    }
    // A route needs its interface's carrier, which comes with the other end: hence a second round.
    for (name, netns) in &nodes {
        let node = &topology.nodes[name];
        let at = |error| format!("node {name}: {error}");
        let theirs = node.sysctls.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        netns.run(|| write_sysctls(theirs)).map_err(|error| at(error.to_string()))?;
        feed(Some(netns), &["ip", "-batch", "-"], &plan::routes(node)).map_err(at)?;
        if let Some(script) = plan::nat(node) {
            feed(Some(netns), &["nft", "-f", "-"], &script).map_err(at)?;
        }
    }
    Ok(Built { nodes, links })
}

fn emulated(topology: &Topology, nodes: &BTreeMap<String, Netns>) -> Result<Links, String> {
    let mut links = Links::new();
    let wan = topology.links.iter().filter(|(_, link)| link.kind == LinkKind::Wan);
    for (number, (name, link)) in wan.enumerate() {
        let at = |error: io::Error| format!("link {name}: {error}");
        let tap = |end: &crate::lab::End| nodes[&end.node].run(|| tap::create(&end.interface));
        let taps = [tap(&link.a).map_err(at)?, tap(&link.b).map_err(at)?];
        // Seeds of neighbours must not meet: far apart for each link.
        let seed = topology.seed.wrapping_add(number as u64 * 1_000_003);
        links
            .add(name, seed, taps, &link.impair)
            .map_err(|error| format!("link {name}: {error}"))?;
    }
    Ok(links)
}

fn write_sysctls<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> io::Result<()> {
    for (key, value) in settings {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        std::fs::write(&path, value)
            .map_err(|error| io::Error::new(error.kind(), format!("{key} = {value}: {error}")))?;
    }
    Ok(())
}

/// Runs a command with a script as its input, to its end.
fn feed(netns: Option<&Netns>, argv: &[&str], script: &str) -> Result<(), String> {
    if script.is_empty() {
        return Ok(());
    }
    let program = argv[0];
    let mut command = Command::new(program);
    command.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some(netns) = netns {
        let fd = netns.raw_fd();
        // SAFETY: `enter` makes system calls only.
        unsafe { command.pre_exec(move || super::netns::enter(fd)) };
    }
    let fault = |error: io::Error| format!("{program}: {error}; is it installed?");
    let mut child = command.spawn().map_err(fault)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that fails early does not read on; its message tells more than this error.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(fault)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}: {}\nof:\n{script}", argv.join(" "), output.status, said.trim()))
}
