//! From what charon holds to what it must hold.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest;
use zeroize::Zeroizing;

use super::vici::{Packet, Section};
use super::{Connection, PREFIX};

/// What proves to a gateway that it is us.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Psk(Zeroizing<Vec<u8>>),
    Certificate {
        /// As charon names keys: SHA-1 of the public one (RFC 5280 section 4.2.1.2, method 1), hexadecimal.
        key_id: String,
        /// PKCS#8 or PKCS#1, DER or PEM.
        key: Zeroizing<Vec<u8>>,
        /// Those above our certificate, DER: charon shows the gateway those that it needs.
        authorities: Vec<Vec<u8>>,
    },
}

/// One connection with what authenticates it. Debug shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    pub connection: Connection,
    pub credential: Credential,
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
    /// Names of loaded authorities (`get-authorities`).
    pub authorities: BTreeSet<String>,
    /// Of all private keys (`get-keys`), whoever loaded them.
    pub keys: BTreeSet<String>,
    /// Of those that agents of this edge loaded: charon gives keys no names of ours.
    pub own_keys: BTreeSet<String>,
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
    UnloadAuthority { authority: String },
    UnloadKey { key_id: String },
    LoadSecret { name: String, owners: [String; 2], psk: Zeroizing<Vec<u8>> },
    LoadAuthority { name: String, number: usize, certificate: Vec<u8> },
    LoadKey { name: String, key_id: String, key: Zeroizing<Vec<u8>> },
    LoadConnection { name: String, connection: Box<Connection> },
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (command, _) = self.request();
        write!(f, "{command} {}", self.name())
    }
}

impl Step {
    /// Of the connection that it is for, or else of what goes.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Step::Terminate { name }
            | Step::UnloadConnection { name }
            | Step::UnloadSecret { name }
            | Step::UnloadAuthority { authority: name }
            | Step::UnloadKey { key_id: name }
            | Step::LoadSecret { name, .. }
            | Step::LoadAuthority { name, .. }
            | Step::LoadKey { name, .. }
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
            Step::UnloadAuthority { authority } => {
                ("unload-authority", empty.scalar("name", authority))
            }
            Step::UnloadKey { key_id } => ("unload-key", empty.scalar("id", key_id)),
            Step::LoadSecret { name, owners, psk } => {
                let message = empty.scalar("id", name).scalar("type", "IKE").scalar("data", psk);
                ("load-shared", message.list("owners", owners))
            }
            Step::LoadAuthority { name, number, certificate } => {
                let authority = Section::default().scalar("cacert", certificate);
                ("load-authority", empty.section(&authority_name(name, *number), authority))
            }
            Step::LoadKey { key, .. } => {
                ("load-key", empty.scalar("type", "any").scalar("data", key))
            }
            Step::LoadConnection { name, connection } => ("load-conn", connection.message(name)),
        }
    }
}

/// No tunnel's name has a dot.
fn authority_name(name: &str, number: usize) -> String {
    format!("{name}.ca{number}")
}

/// In the order in which they must be said. `desired` by names without the prefix. Empty: charon holds what it must.
#[must_use]
pub fn plan(desired: &BTreeMap<String, Wanted>, observed: &Observed) -> Vec<Step> {
    let desired: BTreeMap<String, &Wanted> =
        desired.iter().map(|(name, wanted)| (format!("{PREFIX}{name}"), wanted)).collect();
    let mut steps = removals(&desired, observed);
    for (name, wanted) in desired {
        let known = observed.loaded.get(&name);
        let connection_stands = observed.connections.contains(&name)
            && known.is_some_and(|known| known.connection == wanted.connection);
        let credential_stands = credential_stands(&name, wanted, observed);
        if connection_stands && credential_stands {
            continue;
        }
        // Also for a new key alone: charon starts nothing for a connection that it has already.
        if observed.connections.contains(&name) {
            steps.push(Step::UnloadConnection { name: name.clone() });
        }
        if observed.established.contains(&name) {
            steps.push(Step::Terminate { name: name.clone() });
        }
        let loads = loads(&name, wanted);
        let is_credential = |step: &Step| !matches!(step, Step::LoadConnection { .. });
        steps.extend(loads.into_iter().filter(|step| !(credential_stands && is_credential(step))));
    }
    steps
}

/// Of all that is ours and not wanted any more.
fn removals(desired: &BTreeMap<String, &Wanted>, observed: &Observed) -> Vec<Step> {
    let gone = |names: &BTreeSet<String>, stays: &dyn Fn(&str) -> bool| {
        let names = names.iter().filter(|name| name.starts_with(PREFIX) && !stays(name));
        names.cloned().collect::<Vec<_>>()
    };
    let (mut keys, mut authorities) = (BTreeSet::new(), BTreeSet::new());
    for (name, wanted) in desired {
        if let Credential::Certificate { key_id, authorities: all, .. } = &wanted.credential {
            keys.insert(key_id);
            authorities.extend((0..all.len()).map(|number| authority_name(name, number)));
        }
    }
    let is_wanted = |name: &str| desired.contains_key(name);
    let has_psk =
        |name: &str| desired.get(name).is_some_and(|w| matches!(w.credential, Credential::Psk(_)));
    let mut steps = Vec::new();
    // Unloaded first: what is terminated would otherwise be started again.
    let connections = gone(&observed.connections, &is_wanted).into_iter();
    steps.extend(connections.map(|name| Step::UnloadConnection { name }));
    let established = gone(&observed.established, &is_wanted).into_iter();
    steps.extend(established.map(|name| Step::Terminate { name }));
    let secrets = gone(&observed.secrets, &has_psk).into_iter();
    steps.extend(secrets.map(|name| Step::UnloadSecret { name }));
    let of_nobody =
        gone(&observed.authorities, &|name: &str| authorities.contains(name)).into_iter();
    steps.extend(of_nobody.map(|authority| Step::UnloadAuthority { authority }));
    let own = observed.own_keys.intersection(&observed.keys);
    let old = own.filter(|key_id| !keys.contains(key_id)).cloned();
    steps.extend(old.map(|key_id| Step::UnloadKey { key_id }));
    steps
}

/// Whether charon has all that proves to this gateway that it is us.
fn credential_stands(name: &str, wanted: &Wanted, observed: &Observed) -> bool {
    let Some(known) = observed.loaded.get(name) else { return false };
    known.credential == wanted.credential
        && match &wanted.credential {
            Credential::Psk(_) => {
                observed.secrets.contains(name) && owners(known) == owners(wanted)
            }
            Credential::Certificate { key_id, authorities, .. } => {
                let mut names = (0..authorities.len()).map(|number| authority_name(name, number));
                observed.keys.contains(key_id)
                    && names.all(|name| observed.authorities.contains(&name))
            }
        }
}

/// The key first: a connection that starts needs it.
fn loads(name: &str, wanted: &Wanted) -> Vec<Step> {
    let name = || name.to_owned();
    let mut steps = match &wanted.credential {
        Credential::Psk(psk) => {
            let (owners, psk) = (owners(wanted), psk.clone());
            vec![Step::LoadSecret { name: name(), owners, psk }]
        }
        Credential::Certificate { key_id, key, authorities } => {
            let all = authorities.iter().cloned().enumerate();
            let mut steps: Vec<Step> = all
                .map(|(number, certificate)| Step::LoadAuthority {
                    name: name(),
                    number,
                    certificate,
                })
                .collect();
            let (key_id, key) = (key_id.clone(), key.clone());
            steps.push(Step::LoadKey { name: name(), key_id, key });
            steps
        }
    };
    let connection = Box::new(wanted.connection.clone());
    steps.push(Step::LoadConnection { name: name(), connection });
    steps
}

/// Whose key it is: without both, charon would try it for every peer.
fn owners(wanted: &Wanted) -> [String; 2] {
    [wanted.connection.local_id.clone(), wanted.connection.remote_id.clone()]
}
