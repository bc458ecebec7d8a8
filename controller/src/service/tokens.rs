//! Tokens: what lets an edge enrol and what lets a person ask. Only their hashes are kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_proto::operator::v1::{TokenInfo, TokenKind};
use hawser_proto::token::EnrolmentToken;
use serde::{Deserialize, Serialize};

use super::access::{self, LastUse};
use super::{Controller, ServiceError, manifest};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::secret;
use crate::store::{Compare, Op, Revision, Store, StoreError, Txn};

const PREFIX: &str = "token/";
const API_PREFIX: &str = "hawser-api1.";
const MAX_TOKENS: usize = 10_000;
const HOUR_S: u32 = 3_600;
const ENROLMENT_DEFAULT_S: u32 = 24 * HOUR_S;
const ENROLMENT_MAX_S: u32 = 30 * 24 * HOUR_S;
const API_DEFAULT_S: u32 = 365 * 24 * HOUR_S;
const MAX_COMMENT_BYTES: usize = 256;
/// An expired token is kept this long, so that its late use is told from an unknown one.
const EXPIRED_KEPT_MS: u64 = 30 * 86_400_000;

/// What the bearer of an API token may do; each role may all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Change the fleet, enrol edges.
    Operator,
    /// Give others access.
    Admin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.name() == name)
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub token_id: String,
    pub role: Role,
}

impl Principal {
    pub fn actor(&self) -> String {
        format!("token:{}", self.token_id)
    }
}

/// The text of an API token. `Debug` redacts it.
pub struct ApiToken(pub String);

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiToken(redacted)")
    }
}

#[derive(Debug, Clone)]
pub struct NewToken {
    pub kind: TokenKind,
    pub edge: String,
    pub role: String,
    /// 0: the default of its kind.
    pub valid_for_s: u32,
    pub comment: String,
}

/// A token that was just made; its text is shown this once.
pub struct Created {
    pub id: String,
    pub text: String,
    pub expires_unix_ms: u64,
}

impl std::fmt::Debug for Created {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Created").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    Enrolment {
        edge: String,
        /// Hex SHA-256 of the public key that consumed it.
        used_by: Option<String>,
    },
    Api {
        role: Role,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenRecord {
    pub id: String,
    pub purpose: Purpose,
    pub secret_sha256: String,
    pub created_unix_ms: u64,
    /// 0: never.
    pub expires_unix_ms: u64,
    pub revoked: bool,
    pub comment: String,
    /// The fleet that it is good for; empty: that of the store it is in.
    #[serde(default)]
    pub fleet: String,
}

impl TokenRecord {
    fn new(purpose: Purpose, secret: &[u8], expires_unix_ms: u64, comment: String) -> Self {
        let secret_sha256 = secret::sha256_hex(secret);
        Self {
            id: id_of(&secret_sha256),
            purpose,
            secret_sha256,
            created_unix_ms: now_unix_ms(),
            expires_unix_ms,
            revoked: false,
            comment,
            fleet: String::new(),
        }
    }

    fn of_fleet(self, fleet: &str) -> Self {
        Self { fleet: fleet.to_owned(), ..self }
    }

    pub fn is_for(&self, fleet: &str) -> bool {
        self.fleet.is_empty() || self.fleet == fleet
    }

    pub fn expired(&self, now_unix_ms: u64) -> bool {
        self.expires_unix_ms != 0 && self.expires_unix_ms <= now_unix_ms
    }

    pub fn put(&self) -> Result<Op, StoreError> {
        let key = key(&self.id);
        let value = manifest::encode(&key, self)?;
        Ok(Op::put(key, value))
    }

    pub fn unmoved(&self, revision: Revision) -> Compare {
        Compare::Revision { key: key(&self.id), revision }
    }

    fn info(self, last_use: Option<&LastUse>) -> TokenInfo {
        let (kind, edge, role, used) = match self.purpose {
            Purpose::Enrolment { edge, used_by } => {
                (TokenKind::Enrolment, edge, String::new(), used_by.is_some())
            }
            Purpose::Api { role } => (TokenKind::Api, String::new(), role.name().to_owned(), false),
        };
        TokenInfo {
            id: self.id,
            kind: kind.into(),
            edge,
            role,
            created_unix_ms: self.created_unix_ms,
            expires_unix_ms: self.expires_unix_ms,
            used,
            revoked: self.revoked,
            comment: self.comment,
            last_used_unix_ms: last_use.map_or(0, |last| last.unix_ms),
            last_used_from: last_use.map(|last| last.from.clone()).unwrap_or_default(),
            fleet: self.fleet,
        }
    }
}

/// The token that a new controller gives to whoever set it up. It does not expire.
pub async fn create_first_admin(store: &dyn Store, fleet: &str) -> Result<ApiToken, StoreError> {
    let (text, record) = new_api_token(Role::Admin, 0, "made by init".into());
    let record = record.of_fleet(fleet);
    let txn = Txn { then: vec![record.put()?], ..Txn::default() };
    let audit = Record::new("init", "TOKEN_CREATED", record.id.as_str(), "role admin");
    crate::audit::Audit::default().commit(store, txn, audit).await?;
    Ok(ApiToken(text))
}

/// The record of a secret. The key holds part of the hash, the rest is compared in constant time.
pub(super) async fn find(
    store: &dyn Store,
    secret: &[u8],
) -> Result<Option<(TokenRecord, Revision)>, StoreError> {
    let hash = secret::sha256_hex(secret);
    let key = key(&id_of(&hash));
    let Some(entry) = store.get(&key).await? else {
        return Ok(None);
    };
    let record: TokenRecord = manifest::decode(&key, &entry.value)?;
    Ok(secret::same(&record.secret_sha256, &hash).then_some((record, entry.revision)))
}

pub(super) async fn by_id(store: &dyn Store, id: &str) -> Result<Option<TokenRecord>, StoreError> {
    let key = key(id);
    let Some(entry) = store.get(&key).await? else {
        return Ok(None);
    };
    manifest::decode(&key, &entry.value).map(Some)
}

impl Controller {
    /// When a token ends by itself; 0: never.
    pub(super) async fn token_ends(&self, id: &str) -> Result<u64, ServiceError> {
        let record = by_id(self.store.as_ref(), id).await?;
        let record = record.ok_or_else(|| ServiceError::NoSuchToken(id.to_owned()))?;
        Ok(record.expires_unix_ms)
    }

    pub async fn create_token(
        &self,
        by: &Principal,
        new: NewToken,
    ) -> Result<Created, ServiceError> {
        if new.comment.len() > MAX_COMMENT_BYTES {
            let problem = format!("is longer than {MAX_COMMENT_BYTES} bytes");
            return Err(argument("comment", problem));
        }
        if new.kind == TokenKind::Api {
            self.permit(by, Role::Admin, "CreateToken").await?;
        }
        let (text, record) = match new.kind {
            TokenKind::Enrolment => self.new_enrolment_token(&new)?,
            TokenKind::Api => {
                let role = Role::from_name(&new.role)
                    .ok_or_else(|| argument("role", "is not viewer, operator or admin"))?;
                let expires = expiry(new.valid_for_s, API_DEFAULT_S);
                new_api_token(role, expires, new.comment)
            }
            TokenKind::Unspecified => return Err(argument("kind", "is missing")),
        };
        let record = record.of_fleet(self.fleet_name());
        self.make_room().await?;
        let detail = match &record.purpose {
            Purpose::Enrolment { edge, .. } => format!("enrolment of {edge}"),
            Purpose::Api { role } => format!("role {}", role.name()),
        };
        let txn = Txn { then: vec![record.put()?], ..Txn::default() };
        let audit = Record::new(by.actor(), "TOKEN_CREATED", record.id.as_str(), detail);
        self.audit.commit(self.store.as_ref(), txn, audit).await?;
        Ok(Created { id: record.id, text, expires_unix_ms: record.expires_unix_ms })
    }

    pub async fn list_tokens(&self) -> Result<Vec<TokenInfo>, ServiceError> {
        let records = self.all_tokens().await?;
        let uses = access::last_uses(self.store.as_ref()).await?;
        let info = |(record, _): (TokenRecord, Revision)| {
            let last = uses.get(&record.id);
            record.info(last)
        };
        Ok(records.into_iter().map(info).collect())
    }

    /// Revoking what is revoked changes nothing. An enrolment token's certificate stays valid.
    pub async fn revoke_token(&self, by: &Principal, id: &str) -> Result<(), ServiceError> {
        let all = self.all_tokens().await?;
        let is_live_admin = |r: &TokenRecord| {
            let admin = matches!(r.purpose, Purpose::Api { role: Role::Admin });
            admin && !r.revoked && !r.expired(now_unix_ms())
        };
        let live_admins = all.iter().filter(|(r, _)| is_live_admin(r)).count();
        let found = all.into_iter().find(|(r, _)| r.id == id);
        let (mut record, revision) =
            found.ok_or_else(|| ServiceError::NoSuchToken(id.to_owned()))?;
        if matches!(record.purpose, Purpose::Api { .. }) {
            self.permit(by, Role::Admin, "RevokeToken").await?;
        }
        if record.revoked {
            return Ok(());
        }
        if is_live_admin(&record) && live_admins == 1 {
            return Err(ServiceError::LastAdmin);
        }
        let unmoved = record.unmoved(revision);
        record.revoked = true;
        let txn = Txn { compare: vec![unmoved], then: vec![record.put()?], ..Txn::default() };
        let audit = Record::new(by.actor(), "TOKEN_REVOKED", id, "");
        let outcome = self.audit.commit(self.store.as_ref(), txn, audit).await?;
        if !outcome.succeeded {
            return Err(ServiceError::Contended);
        }
        self.sessions.close_of_token(id);
        Ok(())
    }

    fn new_enrolment_token(&self, new: &NewToken) -> Result<(String, TokenRecord), ServiceError> {
        if !self.state().edges.contains_key(&new.edge) {
            return Err(ServiceError::EdgeUnknown(new.edge.clone()));
        }
        if new.valid_for_s > ENROLMENT_MAX_S {
            let problem = format!("is over {ENROLMENT_MAX_S}");
            return Err(argument("valid_for_s", problem));
        }
        let secret = secret::random::<16>();
        let token = EnrolmentToken {
            controllers: self.settings.controllers.clone(),
            root_pin: self.pki.root_pin()?,
            secret,
            edge: new.edge.clone(),
        };
        let purpose = Purpose::Enrolment { edge: new.edge.clone(), used_by: None };
        let expires = expiry(new.valid_for_s, ENROLMENT_DEFAULT_S);
        let record = TokenRecord::new(purpose, &secret, expires, new.comment.clone());
        Ok((token.to_string(), record))
    }

    async fn all_tokens(&self) -> Result<Vec<(TokenRecord, Revision)>, StoreError> {
        let entries = self.store.range(PREFIX, None, MAX_TOKENS).await?;
        entries.into_iter().map(|e| Ok((manifest::decode(&e.key, &e.value)?, e.revision))).collect()
    }

    /// Forgets tokens that ended long ago once there are too many.
    async fn make_room(&self) -> Result<(), ServiceError> {
        let all = self.all_tokens().await?;
        if all.len() < MAX_TOKENS {
            return Ok(());
        }
        let before = now_unix_ms().saturating_sub(EXPIRED_KEPT_MS);
        let gone = all.iter().filter(|(r, _)| r.expired(before)).take(32);
        let then: Vec<Op> =
            gone.flat_map(|(r, _)| [Op::delete(key(&r.id)), access::forget_use(&r.id)]).collect();
        if then.is_empty() {
            return Err(ServiceError::TokenLimit(all.len()));
        }
        let txn = Txn { then, ..Txn::default() };
        self.store.txn(txn).await?;
        Ok(())
    }
}

fn new_api_token(role: Role, expires_unix_ms: u64, comment: String) -> (String, TokenRecord) {
    let text = format!("{API_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret::random::<32>()));
    let purpose = Purpose::Api { role };
    let record = TokenRecord::new(purpose, text.as_bytes(), expires_unix_ms, comment);
    (text, record)
}

fn expiry(valid_for_s: u32, default_s: u32) -> u64 {
    let seconds = if valid_for_s == 0 { default_s } else { valid_for_s };
    now_unix_ms() + u64::from(seconds) * 1_000
}

fn id_of(secret_sha256: &str) -> String {
    secret_sha256[..16].to_owned()
}

fn key(id: &str) -> String {
    format!("{PREFIX}{id}")
}

fn argument(field: &'static str, problem: impl Into<String>) -> ServiceError {
    ServiceError::Argument { field, problem: problem.into() }
}
