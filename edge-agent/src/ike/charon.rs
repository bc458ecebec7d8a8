//! One charon, brought to what is desired step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hawser_edge_core::ike::vici::Section;
use hawser_edge_core::ike::{
    Attempt, Daemon, IkeSa, Observed, PREFIX, Step, Wanted, ike_sas, plan,
};

use super::client::{ClientError, ViciClient};
use super::ledger::Process;

/// A charon that runs, and what this agent has loaded into it. After it was restarted it must be opened anew.
pub struct Charon {
    client: ViciClient,
    daemon: Daemon,
    loaded: BTreeMap<String, Wanted>,
    /// Digests of what an agent before this one has loaded into it.
    former: BTreeMap<String, String>,
    /// Private keys that this agent or one before it has loaded into it.
    own_keys: BTreeSet<String>,
}

/// How a step went.
#[derive(Debug)]
pub struct StepReport {
    pub step: Step,
    pub result: Result<(), ClientError>,
}

impl Charon {
    pub async fn open(socket: &Path) -> Result<Charon, ClientError> {
        let mut client = ViciClient::open(socket).await?;
        let version = client.request("version", Section::default()).await?;
        let stats = client.request("stats", Section::default()).await?;
        let daemon = Daemon::new(&version, &stats);
        Ok(Charon {
            client,
            daemon,
            loaded: BTreeMap::new(),
            former: BTreeMap::new(),
            own_keys: BTreeSet::new(),
        })
    }

    /// The process that answers.
    pub(super) fn process(&self) -> Option<Process> {
        Process::of(self.client.peer_pid()?)
    }

    /// What of this is desired still counts as loaded. Digests by whole names.
    pub(super) fn adopt(&mut self, former: BTreeMap<String, String>, keys: BTreeSet<String>) {
        self.former = former;
        self.own_keys = keys;
    }

    /// Names of the private keys in it that are ours.
    pub(super) fn own_keys(&self) -> BTreeSet<String> {
        self.own_keys.clone()
    }

    /// Of all that is loaded.
    pub(super) fn digests(&self) -> BTreeMap<String, String> {
        self.loaded.iter().map(|(name, wanted)| (name.clone(), wanted.digest(name))).collect()
    }

    /// Who answered; see `hawser_edge_core::ike::lacks`.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Begins with one child; whether it comes up is told by events.
    pub async fn initiate(&mut self, attempt: &Attempt) -> Result<(), ClientError> {
        let message = Section::default()
            .scalar("ike", &attempt.connection)
            .scalar("child", &attempt.child)
            .scalar("timeout", "-1");
        self.client.request("initiate", message).await.map(drop)
    }

    /// Every IKE SA, also those of others.
    pub async fn sas(&mut self) -> Result<Vec<IkeSa>, ClientError> {
        let (events, _) = self.client.listed("list-sas", "list-sa").await?;
        Ok(events.iter().flat_map(ike_sas).collect())
    }

    /// Observes, plans, and takes every step, also after one that failed. `desired` by names without the prefix.
    pub async fn reconcile(
        &mut self,
        desired: &BTreeMap<String, Wanted>,
    ) -> Result<Vec<StepReport>, ClientError> {
        for (bare, wanted) in desired {
            let name = format!("{PREFIX}{bare}");
            if self.former.get(&name).is_some_and(|digest| *digest == wanted.digest(&name)) {
                self.loaded.insert(name, wanted.clone());
            }
        }
        self.former.clear();
        let observed = self.observe().await?;
        let mut reports = Vec::new();
        let mut failed = BTreeSet::new();
        for step in plan(desired, &observed) {
            // One that can't have its key would be tried without it, over and over.
            let result = match (&step, failed.contains(step.name())) {
                (Step::LoadConnection { .. }, true) => continue,
                _ => self.take(&step).await,
            };
            if result.is_err() {
                failed.insert(step.name().to_owned());
            }
            self.note(&step, desired, &failed);
            reports.push(StepReport { step, result });
        }
        Ok(reports)
    }

    async fn take(&mut self, step: &Step) -> Result<(), ClientError> {
        let (command, message) = step.request();
        let answer = match self.client.request(command, message).await {
            // What was to be terminated has ended by itself: charon refuses it for nothing else.
            Err(ClientError::Refused { .. }) if matches!(step, Step::Terminate { .. }) => {
                return Ok(());
            }
            other => other?,
        };
        match step {
            Step::LoadKey { key_id, .. } => self.loaded_key(key_id, &answer).await,
            Step::UnloadKey { key_id } => {
                self.own_keys.remove(key_id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// charon tells whose key it was. One that is of another certificate proves nothing, and does not stay.
    async fn loaded_key(&mut self, wanted: &str, answer: &Section) -> Result<(), ClientError> {
        let loaded = answer.text("id").unwrap_or_default();
        if loaded.eq_ignore_ascii_case(wanted) {
            self.own_keys.insert(wanted.to_owned());
            return Ok(());
        }
        self.client.request("unload-key", Section::default().scalar("id", loaded)).await?;
        let message = "the key is not the certificate's".to_owned();
        Err(ClientError::Refused { command: "load-key".to_owned(), message })
    }

    async fn observe(&mut self) -> Result<Observed, ClientError> {
        let connections = self.client.request("get-conns", Section::default()).await?;
        let secrets = self.client.request("get-shared", Section::default()).await?;
        let keys = self.client.request("get-keys", Section::default()).await?;
        let authorities = self.client.request("get-authorities", Section::default()).await?;
        let names = |answer: &Section, list| answer.texts(list).map(str::to_owned).collect();
        let established: BTreeSet<_> =
            self.sas().await?.into_iter().map(|sa| sa.connection).collect();
        Ok(Observed {
            connections: names(&connections, "conns"),
            secrets: names(&secrets, "keys"),
            authorities: names(&authorities, "authorities"),
            keys: names(&keys, "keys"),
            own_keys: self.own_keys.clone(),
            established,
            loaded: self.loaded.clone(),
        })
    }

    /// Only what charon confirmed counts as loaded: the rest is tried again at the next reconciliation.
    fn note(&mut self, step: &Step, desired: &BTreeMap<String, Wanted>, failed: &BTreeSet<String>) {
        let name = step.name();
        match step {
            _ if failed.contains(name) => _ = self.loaded.remove(name),
            Step::UnloadConnection { .. } => _ = self.loaded.remove(name),
            Step::LoadConnection { .. } => {
                let bare = name.strip_prefix(PREFIX).unwrap_or(name);
                if let Some(wanted) = desired.get(bare) {
                    self.loaded.insert(name.to_owned(), wanted.clone());
                }
            }
            Step::Terminate { .. }
            | Step::UnloadSecret { .. }
            | Step::UnloadAuthority { .. }
            | Step::UnloadKey { .. }
            | Step::LoadSecret { .. }
            | Step::LoadAuthority { .. }
            | Step::LoadKey { .. } => {}
        }
    }
}
