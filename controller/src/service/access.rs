//! Who may do what: one table, one place that looks at it, whatever adapter was asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::tokens::{self, Principal, Purpose, Role, TokenRecord};
use super::{Controller, ServiceError, manifest};
use crate::audit::Record;
use crate::bucket::Bucket;
use crate::clock::now_unix_ms;
use crate::store::{Op, Store, StoreError, Txn};

const USED_PREFIX: &str = "token-used/";
/// The last use of a token is written this often.
const USED_EVERY_MS: u64 = 60_000;
/// A token that was silent at an address for so long signs in anew.
const SIGNED_IN_MS: u64 = 3_600_000;
/// Requests of one token at once, and per second.
const REQUEST_BURST: u32 = 400;
const REQUESTS_PER_SECOND: f64 = 100.0;
/// Tokens and addresses whose last requests are remembered.
const MAX_SIGNED_IN: usize = 10_000;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident needs $role:ident;)*) => {
        /// What operators can ask for. Each call of gRPC's Operator service has the name of its operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Operation::$name => stringify!($name),)*
                }
            }

            /// The least role that may ask for it.
            pub fn needs(self) -> Role {
                match self {
                    $(Operation::$name => Role::$role,)*
                }
            }
        }
    };
}

operations! {
    Validate needs Viewer;
    Plan needs Viewer;
    Diff needs Viewer;
    Apply needs Operator;
    Rollback needs Operator;
    ListRevisions needs Viewer;
    GetFleet needs Viewer;
    GetStatus needs Viewer;
    ListSites needs Viewer;
    ListPaths needs Viewer;
    ListDecisions needs Viewer;
    ListEvents needs Viewer;
    Watch needs Viewer;
    Explain needs Viewer;
    ListAdvice needs Viewer;
    Record needs Viewer;
    GetRollout needs Viewer;
    ConfirmRollout needs Operator;
    AbortRollout needs Operator;
    ListDrains needs Viewer;
    SetDrain needs Operator;
    Revoke needs Operator;
    Replace needs Operator;
    GetAuthority needs Viewer;
    RotateAuthority needs Admin;
    RetireAuthority needs Admin;
    /// Of edges; those of people need an admin besides.
    CreateToken needs Operator;
    ListTokens needs Operator;
    /// Of edges; those of people need an admin besides.
    RevokeToken needs Operator;
    ListAudit needs Operator;
}

/// When and from where a token was used last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastUse {
    pub unix_ms: u64,
    pub from: String,
}

#[derive(Debug)]
struct Seen {
    last_unix_ms: u64,
    written_unix_ms: u64,
    requests: Bucket,
}

/// What is remembered of tokens in use, by token and address.
#[derive(Debug, Default)]
pub struct SignedIn(Mutex<BTreeMap<(String, IpAddr), Seen>>);

/// What one request of a token means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    signs_in: bool,
    write: bool,
    allowed: bool,
}

impl SignedIn {
    fn note(&self, token_id: &str, from: IpAddr, now: u64) -> Use {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let key = (token_id.to_owned(), from);
        if !all.contains_key(&key) && all.len() >= MAX_SIGNED_IN {
            all.retain(|_, seen| seen.last_unix_ms + SIGNED_IN_MS > now);
            while all.len() >= MAX_SIGNED_IN {
                all.pop_first();
            }
        }
        let seen = all.entry(key).or_insert_with(|| Seen {
            last_unix_ms: 0,
            written_unix_ms: 0,
            requests: Bucket::new(REQUEST_BURST, REQUESTS_PER_SECOND),
        });
        let noted = Use {
            signs_in: seen.last_unix_ms + SIGNED_IN_MS <= now,
            write: seen.written_unix_ms + USED_EVERY_MS <= now,
            allowed: seen.requests.take(now),
        };
        seen.last_unix_ms = now;
        if noted.write {
            seen.written_unix_ms = now;
        }
        noted
    }
}

impl Controller {
    /// Who bears this API token, if they may ask for the operation. Refusals and sign-ins are audited.
    pub async fn admit(
        &self,
        credential: Option<&str>,
        from: IpAddr,
        operation: Operation,
    ) -> Result<Principal, ServiceError> {
        let found = match credential {
            Some(text) => self.bearer_of(text).await,
            None => Err(ServiceError::ApiTokenMissing),
        };
        self.admit_found(found, from, operation).await
    }

    /// As [`Controller::admit`], of whoever signed in to the console.
    pub async fn admit_session(
        &self,
        session: &str,
        from: IpAddr,
        operation: Operation,
    ) -> Result<Principal, ServiceError> {
        let found = match self.token_of_session(session) {
            Some(token_id) => self.bearer_by_id(&token_id).await,
            None => Err(ServiceError::SessionEnded),
        };
        self.admit_found(found, from, operation).await
    }

    async fn admit_found(
        &self,
        found: Result<Principal, ServiceError>,
        from: IpAddr,
        operation: Operation,
    ) -> Result<Principal, ServiceError> {
        let by = match found {
            Ok(by) => by,
            Err(error) => {
                let actor = format!("address:{}", from.to_canonical());
                self.refuse(actor, operation.name(), &error).await;
                return Err(error);
            }
        };
        let noted = self.signed_in.note(&by.token_id, from.to_canonical(), now_unix_ms());
        if !noted.allowed {
            self.counters.add("requests_rate_limited", 1);
            return Err(ServiceError::RequestsLimited);
        }
        self.permit(&by, operation.needs(), operation.name()).await?;
        self.note_use(&by, from, noted).await;
        Ok(by)
    }

    /// Whether the role is enough; a refusal is audited.
    pub(super) async fn permit(
        &self,
        by: &Principal,
        needed: Role,
        what: &str,
    ) -> Result<(), ServiceError> {
        if by.role >= needed {
            return Ok(());
        }
        let error = ServiceError::RoleTooLow { needed: needed.name(), has: by.role.name() };
        self.refuse(by.actor(), what, &error).await;
        Err(error)
    }

    async fn refuse(&self, actor: String, what: &str, error: &ServiceError) {
        self.refused(actor, error.code(), "", format!("{what}: {error}")).await;
    }

    async fn bearer_of(&self, text: &str) -> Result<Principal, ServiceError> {
        let found = tokens::find(self.store.as_ref(), text.as_bytes()).await?;
        let (record, _) = found.ok_or(ServiceError::ApiTokenInvalid)?;
        self.bearer_in(record)
    }

    async fn bearer_by_id(&self, token_id: &str) -> Result<Principal, ServiceError> {
        let found = tokens::by_id(self.store.as_ref(), token_id).await?;
        self.bearer_in(found.ok_or(ServiceError::ApiTokenInvalid)?)
    }

    fn bearer_in(&self, record: TokenRecord) -> Result<Principal, ServiceError> {
        let Purpose::Api { role } = record.purpose else {
            return Err(ServiceError::ApiTokenInvalid);
        };
        if record.revoked || !record.is_for(self.fleet_name()) {
            return Err(ServiceError::ApiTokenInvalid);
        }
        if record.expired(now_unix_ms()) {
            return Err(ServiceError::ApiTokenExpired);
        }
        Ok(Principal { token_id: record.id, role })
    }

    /// A store that can't be written must not keep people from looking.
    async fn note_use(&self, by: &Principal, from: IpAddr, noted: Use) {
        let from = from.to_canonical().to_string();
        let written = async {
            if noted.signs_in {
                let detail = format!("from {from}, role {}", by.role.name());
                let record = Record::new(by.actor(), "SIGNED_IN", by.token_id.as_str(), detail);
                self.audit.commit(self.store.as_ref(), Txn::default(), record).await?;
            }
            if noted.write {
                let last = LastUse { unix_ms: now_unix_ms(), from };
                let key = format!("{USED_PREFIX}{}", by.token_id);
                let put = Op::put(key.clone(), manifest::encode(&key, &last)?);
                self.store.txn(Txn { then: vec![put], ..Txn::default() }).await?;
            }
            Ok::<(), StoreError>(())
        };
        if let Err(error) = written.await {
            self.counters.add("token_uses_not_written", 1);
            tracing::error!(%error, "the use of a token can't be written");
        }
    }
}

/// Of every token that was ever used.
pub(super) async fn last_uses(store: &dyn Store) -> Result<BTreeMap<String, LastUse>, StoreError> {
    let entries = store.range(USED_PREFIX, None, usize::MAX).await?;
    entries
        .into_iter()
        .map(|e| Ok((e.key[USED_PREFIX.len()..].to_owned(), manifest::decode(&e.key, &e.value)?)))
        .collect()
}

/// Forgets the use of a token that is forgotten.
pub(super) fn forget_use(token_id: &str) -> Op {
    Op::delete(format!("{USED_PREFIX}{token_id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_signs_in_once_an_hour_and_address_and_is_written_once_a_minute() {
        let signed_in = SignedIn::default();
        let (home, away) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let start = 1_000_000_000;
        let table = [
            (home, 0, true, true),
            (home, 1_000, false, false),
            (away, 2_000, true, true),
            (home, 61_000, false, true),
            (home, 3_600_000, false, true),
            (home, 7_300_000, true, true),
        ];
        for (from, after, signs_in, write) in table {
            let noted = signed_in.note("a", from, start + after);
            assert_eq!((noted.signs_in, noted.write), (signs_in, write), "{after}");
        }
    }

    #[test]
    fn a_token_that_asks_too_often_is_slowed_down() {
        let signed_in = SignedIn::default();
        let from = IpAddr::from([10, 0, 0, 1]);
        let allowed = (0..1_000).filter(|_| signed_in.note("a", from, 5_000_000).allowed).count();
        assert_eq!(allowed, REQUEST_BURST as usize);
        assert!(signed_in.note("b", from, 5_000_000).allowed);
    }
}
