//! Loads our nftables table, and notices when somebody else removed or changed it.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

use hawser_edge_core::kernel::SCRIPT_TABLE;
use nix::sched::{CloneFlags, unshare};

use super::netlink::Refusal;
use super::ruleset;

/// A script that was loaded, and what tells that the kernel still holds what it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub script: String,
    /// How nft listed the table then.
    listing: Vec<u8>,
    /// Of the ruleset when it was known last that the table is as it was; `None`: the kernel did not say.
    pub generation: Option<u32>,
}

impl Loaded {
    /// The kernel still holds it. It takes a process to know.
    pub fn is_still_listed(&self) -> bool {
        list().is_ok_and(|now| now.stdout == self.listing)
    }
}

/// The script loaded last.
#[derive(Debug, Default)]
pub struct Script {
    last: Option<Loaded>,
}

impl Script {
    pub fn last(&self) -> Option<&Loaded> {
        self.last.as_ref()
    }

    /// It was still there, unchanged, when the ruleset had that number.
    pub fn confirm(&mut self, loaded: &Loaded, generation: Option<u32>) {
        if let Some(last) = self.last.as_mut().filter(|last| *last == loaded) {
            last.generation = generation;
        }
    }

    /// # Errors
    /// What nft said.
    pub fn load(&mut self, script: &str) -> Result<(), Refusal> {
        // Whoever replaces rules under traffic may lose a packet: one that is among the old ones at that moment finds nothing
        // in their maps any more. So what an agent before this one loaded stays, if it is the same.
        if self.last.is_some() || !is_there(script) {
            self.load_other(script)?;
        }
        // Before the listing: what changes in between has a number of its own.
        let generation = ruleset::generation().ok();
        let listing = list().map_err(refusal)?.stdout;
        self.last = Some(Loaded { script: script.to_owned(), listing, generation });
        Ok(())
    }

    /// Loads one that is not ours to watch.
    ///
    /// # Errors
    /// What nft said.
    pub fn load_other(&self, script: &str) -> Result<(), Refusal> {
        let output = nft(&["-f", "-"], script).map_err(refusal)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("no reason given").to_owned();
        Err(refusal(std::io::Error::other(said)))
    }
}

fn refusal(source: std::io::Error) -> Refusal {
    Refusal { what: "load the nftables table", source }
}

/// Whether the kernel holds just what this script makes. What that is is found out in a network namespace of its own; without
/// the right to have one it is not known.
fn is_there(script: &str) -> bool {
    let script = script.to_owned();
    let made = thread::Builder::new().name("nft-try".into()).spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).ok()?;
        let loaded = nft(&["-f", "-"], &script).ok()?.status.success();
        list().ok().filter(|listed| loaded && listed.status.success())
    });
    let made = made.ok().and_then(|thread| thread.join().ok()).flatten();
    made.is_some_and(|made| list().is_ok_and(|now| now.stdout == made.stdout))
}

/// Without counters (`-s`), so that two listings differ only if the rules do.
fn list() -> std::io::Result<Output> {
    nft(&["-s", "list", "table", "inet", SCRIPT_TABLE], "")
}

fn nft(arguments: &[&str], input: &str) -> std::io::Result<Output> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A pipe that nft closed early: its exit status says more.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::{in_namespace, run};

    #[test]
    fn the_rulesets_generation_tells_of_every_change_and_the_listing_whether_it_was_ours() {
        in_namespace(async || {
            let mut script = Script::default();
            let text =
                format!("table inet {SCRIPT_TABLE} {{\nchain x {{\ncounter accept\n}}\n}}\n");
            script.load(&text).expect("nft takes it");
            let loaded = script.last().cloned().expect("it was loaded");
            assert!(loaded.generation.is_some(), "this kernel tells no generation");
            assert_eq!(loaded.generation, ruleset::generation().ok(), "nothing changed");

            run("nft add table inet somebodys");
            let theirs = ruleset::generation().ok();
            assert_ne!(loaded.generation, theirs, "a change is seen, whoever made it");
            assert!(loaded.is_still_listed(), "it was not ours");
            script.confirm(&loaded, theirs);
            let loaded = script.last().cloned().expect("it was loaded");
            assert_eq!(loaded.generation, ruleset::generation().ok());

            run("nft flush ruleset");
            assert_ne!(loaded.generation, ruleset::generation().ok());
            assert!(!loaded.is_still_listed(), "ours is gone");
        });
    }

    #[test]
    fn the_next_agent_leaves_alone_what_is_as_it_would_make_it() {
        in_namespace(async || {
            let script = |verdict: &str| {
                let table = format!("table inet {SCRIPT_TABLE}");
                let rules = format!("iifname vmap {{ \"a\" : {verdict} }}\ncounter accept");
                format!("{table} {{}}\ndelete {table}\n{table} {{\nchain x {{\n{rules}\n}}\n}}\n")
            };
            let load = |verdict: &str| {
                let mut next = Script::default();
                next.load(&script(verdict)).expect("nft takes it");
                ruleset::generation().expect("this kernel tells it")
            };
            let first = load("drop");
            assert_eq!(load("drop"), first, "nothing was loaded again");
            let changed = load("accept");
            assert_ne!(changed, first);
            run(&format!("nft add rule inet {SCRIPT_TABLE} x drop"));
            let theirs = ruleset::generation().expect("this kernel tells it");
            assert_ne!(load("accept"), theirs, "what others changed is made good");
        });
    }
}
