//! From what charon holds to what it must hold.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest;
use zeroize::Zeroizing;

use super::vici::{Packet, Section};
use super::{Connection, PREFIX};

/// One connection with the key that authenticates it. Debug shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    pub connection: Connection,
    pub psk: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Wanted {
    /// Of everything that charon would be told under that name; hexadecimal.
    #[must_use]
    pub fn digest(&self, name: &str) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for step in loads(name, self) {
            let (command, message) = step.request();
            let packet = Packet::Request { command: command.to_owned(), message };
            // What can't be said can't have been loaded: it equals nothing.
            let Ok(octets) = packet.encode() else { return String::new() };
            context.update(&octets);
        }
        context.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

/// What is in charon, and what of it this agent knows to be as it wants it.
#[derive(Default)]
pub struct Observed {
    /// Names of loaded connections (`get-conns`).
    pub connections: BTreeSet<String>,
    /// Names of loaded secrets (`get-shared`).
    pub secrets: BTreeSet<String>,
    /// Connections that have an IKE SA (`list-sas`).
    pub established: BTreeSet<String>,
    /// What was loaded into this very charon by this very agent. charon shows neither keys nor all fields, so what an
    /// earlier agent left behind counts as changed.
    pub loaded: BTreeMap<String, Wanted>,
}

/// One thing to tell charon. Names are whole: with the prefix.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    Terminate { name: String },
    UnloadConnection { name: String },
    UnloadSecret { name: String },
    LoadSecret { name: String, owners: [String; 2], psk: Zeroizing<Vec<u8>> },
    LoadConnection { name: String, connection: Connection },
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (command, _) = self.request();
        write!(f, "{command} {}", self.name())
    }
}

impl Step {
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Step::Terminate { name }
            | Step::UnloadConnection { name }
            | Step::UnloadSecret { name }
            | Step::LoadSecret { name, .. }
            | Step::LoadConnection { name, .. } => name,
        }
    }

    /// The VICI command and its message.
    #[must_use]
    pub fn request(&self) -> (&'static str, Section) {
        let empty = Section::default();
        match self {
            // Not waited for: a dead peer answers no delete.
            Step::Terminate { name } => (
                "terminate",
                empty.scalar("ike", name).scalar("force", "yes").scalar("timeout", "-1"),
            ),
            Step::UnloadConnection { name } => ("unload-conn", empty.scalar("name", name)),
            Step::UnloadSecret { name } => ("unload-shared", empty.scalar("id", name)),
            Step::LoadSecret { name, owners, psk } => {
                let message = empty.scalar("id", name).scalar("type", "IKE").scalar("data", psk);
                ("load-shared", message.list("owners", owners))
            }
            Step::LoadConnection { name, connection } => ("load-conn", connection.message(name)),
        }
    }
}

/// In the order in which they must be said. `desired` by names without the prefix. Empty: charon holds what it must.
#[must_use]
pub fn plan(desired: &BTreeMap<String, Wanted>, observed: &Observed) -> Vec<Step> {
    let desired: BTreeMap<String, &Wanted> =
        desired.iter().map(|(name, wanted)| (format!("{PREFIX}{name}"), wanted)).collect();
    let mut steps = Vec::new();

    let ours = |names: &BTreeSet<String>| {
        let gone =
            names.iter().filter(|name| name.starts_with(PREFIX) && !desired.contains_key(*name));
        gone.cloned().collect::<Vec<_>>()
    };
    // Unloaded first: what is terminated would otherwise be started again.
    steps.extend(
        ours(&observed.connections).into_iter().map(|name| Step::UnloadConnection { name }),
    );
    steps.extend(ours(&observed.established).into_iter().map(|name| Step::Terminate { name }));
    steps.extend(ours(&observed.secrets).into_iter().map(|name| Step::UnloadSecret { name }));

    for (name, wanted) in desired {
        let known = observed.loaded.get(&name);
        let connection_stands = observed.connections.contains(&name)
            && known.is_some_and(|known| known.connection == wanted.connection);
        let secret_stands = observed.secrets.contains(&name)
            && known
                .is_some_and(|known| known.psk == wanted.psk && owners(known) == owners(wanted));
        if connection_stands && secret_stands {
            continue;
        }
        // Also for a new key alone: charon starts nothing for a connection that it has already.
        if observed.connections.contains(&name) {
            steps.push(Step::UnloadConnection { name: name.clone() });
        }
        if observed.established.contains(&name) {
            steps.push(Step::Terminate { name: name.clone() });
        }
        let [secret, connection] = loads(&name, wanted);
        if !secret_stands {
            steps.push(secret);
        }
        steps.push(connection);
    }
    steps
}

/// The key first: a connection that starts needs it.
fn loads(name: &str, wanted: &Wanted) -> [Step; 2] {
    let (owners, psk) = (owners(wanted), wanted.psk.clone());
    [
        Step::LoadSecret { name: name.to_owned(), owners, psk },
        Step::LoadConnection { name: name.to_owned(), connection: wanted.connection.clone() },
    ]
}

/// Whose key it is: without both, charon would try it for every peer.
fn owners(wanted: &Wanted) -> [String; 2] {
    [wanted.connection.local_id.clone(), wanted.connection.remote_id.clone()]
}
