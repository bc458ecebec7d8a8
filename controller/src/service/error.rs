//! Why a request is not done. One place says code, kind and mend; the adapters only translate.

use crate::pki::PkiError;
use crate::store::StoreError;

/// What sort of refusal it is, for the adapters' own status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    Limited,
    /// It may work a little later.
    Unavailable,
    Internal,
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the certificate authority failed")]
    Pki(#[source] PkiError),
    #[error("the fleet's document could not be compiled: {0}")]
    Compile(String),
    #[error("the certificate request is refused: {problem}")]
    Request { problem: &'static str },
    #[error("the fleet is at revision {actual}, not {expected}")]
    RevisionConflict { expected: u64, actual: u64 },
    #[error("another change was committed at the same time")]
    Contended,
    #[error("there is no revision {0}")]
    RevisionUnknown(u64),
    #[error("the document of revision {0} has faults in this version")]
    RevisionUnreadable(u64),
    #[error("revision {0} is being rolled out")]
    RolloutRuns(u64),
    #[error("no rollout is going on")]
    NoRollout,
    #[error("the fleet has no site, edge or EDGE/UPLINK {0:?}")]
    TargetUnknown(String),
    #[error("traffic is led away from {0} targets already")]
    DrainLimit(usize),
    #[error("no document was applied yet")]
    FleetEmpty,
    #[error("{0} certificates are revoked already")]
    RevocationLimit(usize),
    #[error("the edge has {0} certificates that are good already")]
    CertificateLimit(usize),
    #[error("the CA's certificate is refused: {problem}")]
    AuthorityRefused { problem: String },
    #[error("no request for another CA waits")]
    AuthorityNotAsked,
    #[error("the CA before the present one is still trusted")]
    AuthorityOverlap,
    #[error("no CA waits to be retired")]
    NothingToRetire,
    #[error("{0} edges may still use certificates of the CA before")]
    AuthorityInUse(usize),
    #[error("the fleet has no edge {0:?}")]
    EdgeUnknown(String),
    #[error("the fleet has no site {0:?}")]
    SiteUnknown(String),
    #[error("the fleet has no path {0}")]
    PathUnknown(u32),
    #[error("the token is not known here")]
    TokenUnknown,
    #[error("the token has expired")]
    TokenExpired,
    #[error("the token was used with another key")]
    TokenUsed,
    #[error("the token was revoked")]
    TokenRevoked,
    #[error("there are {0} tokens already")]
    TokenLimit(usize),
    #[error("{field} {problem}")]
    Argument { field: &'static str, problem: String },
    #[error("the request carries no API token")]
    ApiTokenMissing,
    #[error("the API token is not valid")]
    ApiTokenInvalid,
    #[error("the API token has expired")]
    ApiTokenExpired,
    #[error("the session has ended")]
    SessionEnded,
    #[error("this needs the role {needed}, the token has {has}")]
    RoleTooLow { needed: &'static str, has: &'static str },
    #[error("it is the last admin token")]
    LastAdmin,
    #[error("too many requests from this address")]
    RateLimited,
    #[error("too many requests with this token")]
    RequestsLimited,
    #[error("there is no token {0:?}")]
    NoSuchToken(String),
    #[error("the connection has no certificate of an edge")]
    CertificateMissing,
    #[error("the certificate is not one of this fleet's edges")]
    CertificateForeign,
    #[error("edge {0:?} is not connected, or does not answer")]
    EdgeAway(String),
    #[error("edge {edge:?} says {code}: {message}")]
    AgentRefused { edge: String, code: String, message: String, mend: String },
    #[error("too many such questions are being answered")]
    Busy,
    #[error("this idempotency key was used for another request")]
    KeyReused,
    #[error("{0} idempotency keys are in use")]
    KeysFull(usize),
    #[error("the controller stopped while it did the request with this idempotency key")]
    KeyOutcomeUnknown,
    #[error("the request with this idempotency key was done, its answer was not kept")]
    KeyAnswerNotKept,
}

impl ServiceError {
    /// Stable, upper case.
    pub fn code(&self) -> &'static str {
        self.facts().1
    }

    pub fn kind(&self) -> Kind {
        self.facts().0
    }

    /// What to do about it.
    pub fn mend(&self) -> &str {
        match self {
            Self::AgentRefused { mend, .. } if !mend.is_empty() => mend,
            _ => self.facts().2,
        }
    }

    fn facts(&self) -> (Kind, &'static str, &'static str) {
        use Kind::*;
        match self {
            Self::Store(StoreError::Unavailable { .. }) => (
                Unavailable,
                "STORE_UNAVAILABLE",
                "look whether it was done, then try again; look at etcd's members and the way there",
            ),
            Self::Store(_) => (Internal, "STORE_FAILED", "look at the controller's log and disk"),
            Self::Pki(_) => (Internal, "PKI_FAILED", "look at the controller's log and pki folder"),
            Self::Compile(_) => {
                (Invalid, "COMPILE_FAILED", "reduce the fleet, or report this with the document")
            }
            Self::Request { .. } => {
                (Invalid, "CSR_INVALID", "send a PKCS#10 request with an ECDSA P-256 key")
            }
            Self::RevisionConflict { .. } => {
                (Conflict, "REVISION_CONFLICT", "look at what changed, then apply again")
            }
            Self::Contended => (Conflict, "CONTENDED", "try again"),
            Self::RevisionUnknown(_) => {
                (NotFound, "REVISION_UNKNOWN", "ask for a revision that is kept; 0 is the newest")
            }
            Self::RevisionUnreadable(_) => {
                (Conflict, "REVISION_UNREADABLE", "validate its document, mend it and apply that")
            }
            Self::RolloutRuns(_) => (
                Conflict,
                "ROLLOUT_RUNS",
                "wait for its end, or take it back: `hawser rollout abort`",
            ),
            Self::NoRollout => (Conflict, "NO_ROLLOUT", "look at `hawser rollout`"),
            Self::TargetUnknown(_) => (NotFound, "TARGET_UNKNOWN", "check the name"),
            Self::DrainLimit(_) => {
                (Limited, "DRAIN_LIMIT", "let traffic come back somewhere first")
            }
            Self::RevocationLimit(_) => {
                (Limited, "REVOCATION_LIMIT", "wait until some have ended, or make a new fleet")
            }
            Self::CertificateLimit(_) => {
                (Limited, "CERTIFICATE_LIMIT", "wait until some have ended, or revoke the edge")
            }
            Self::FleetEmpty => (NotFound, "FLEET_EMPTY", "apply a fleet document first"),
            Self::AuthorityRefused { .. } => (
                Invalid,
                "CA_REFUSED",
                "sign the request that `hawser ca rotate` gives with this fleet's root key",
            ),
            Self::AuthorityNotAsked => {
                (Conflict, "CA_NOT_ASKED", "make one first: `hawser ca rotate`")
            }
            Self::AuthorityOverlap => {
                (Conflict, "CA_OVERLAP", "retire that one first: `hawser ca retire`")
            }
            Self::NothingToRetire => {
                (Conflict, "CA_NOTHING_TO_RETIRE", "look at `hawser ca status`")
            }
            Self::AuthorityInUse(_) => (
                Conflict,
                "CA_IN_USE",
                "wait until `hawser ca status` names none, or force it and enrol them again",
            ),
            Self::EdgeUnknown(_) => {
                (NotFound, "EDGE_UNKNOWN", "apply a document that has the edge, or check its name")
            }
            Self::SiteUnknown(_) => (NotFound, "SITE_UNKNOWN", "check the site's name"),
            Self::PathUnknown(_) => (NotFound, "PATH_UNKNOWN", "take an ID from the list of paths"),
            Self::TokenUnknown => {
                (Unauthenticated, "TOKEN_UNKNOWN", "ask the operator for a new token")
            }
            Self::TokenExpired => {
                (Unauthenticated, "TOKEN_EXPIRED", "ask the operator for a new token")
            }
            Self::TokenUsed => (
                Unauthenticated,
                "TOKEN_USED",
                "if this edge did not use it, tell the operator; ask for a new token",
            ),
            Self::TokenRevoked => {
                (Unauthenticated, "TOKEN_REVOKED", "ask the operator for a new token")
            }
            Self::TokenLimit(_) => (Limited, "TOKEN_LIMIT", "revoke tokens that nobody needs"),
            Self::Argument { .. } => (Invalid, "ARGUMENT_INVALID", "correct the request"),
            Self::ApiTokenMissing => (
                Unauthenticated,
                "API_TOKEN_MISSING",
                "send the metadata authorization: Bearer TOKEN",
            ),
            Self::ApiTokenInvalid => (
                Unauthenticated,
                "API_TOKEN_INVALID",
                "use a token of this controller that is not revoked",
            ),
            Self::ApiTokenExpired => {
                (Unauthenticated, "API_TOKEN_EXPIRED", "ask an admin for a new token")
            }
            Self::SessionEnded => (Unauthenticated, "SESSION_ENDED", "sign in again"),
            Self::RoleTooLow { .. } => (Forbidden, "ROLE_TOO_LOW", "use a token with that role"),
            Self::LastAdmin => {
                (Conflict, "LAST_ADMIN", "create another admin token before revoking this one")
            }
            Self::RateLimited => (Limited, "RATE_LIMITED", "wait a minute, then try again"),
            Self::RequestsLimited => {
                (Limited, "REQUESTS_LIMITED", "ask less often: 100 a second, 400 at once")
            }
            Self::NoSuchToken(_) => {
                (NotFound, "NO_SUCH_TOKEN", "take an ID from the list of tokens")
            }
            Self::CertificateMissing => (
                Unauthenticated,
                "CERTIFICATE_MISSING",
                "connect with the certificate of an enrolled edge",
            ),
            Self::EdgeAway(_) => {
                (Conflict, "EDGE_AWAY", "look at `hawser sites`, or ask on the edge itself")
            }
            Self::AgentRefused { .. } => (Conflict, "AGENT_REFUSED", "ask on the edge itself"),
            Self::Busy => (Limited, "BUSY", "try again in a moment"),
            Self::KeyReused => (Invalid, "IDEMPOTENCY_KEY_REUSED", "take a new key"),
            Self::KeysFull(_) => (Limited, "IDEMPOTENCY_KEYS_FULL", "ask without one"),
            Self::KeyOutcomeUnknown => (
                Conflict,
                "IDEMPOTENCY_OUTCOME_UNKNOWN",
                "look whether it was done; if not, take a new key",
            ),
            Self::KeyAnswerNotKept => (
                Conflict,
                "IDEMPOTENCY_ANSWER_NOT_KEPT",
                "look at what it did; to do it once more, take a new key",
            ),
            Self::CertificateForeign => {
                (Forbidden, "CERTIFICATE_FOREIGN", "enrol the edge in this fleet")
            }
        }
    }
}

impl From<PkiError> for ServiceError {
    fn from(error: PkiError) -> Self {
        match error {
            PkiError::Request { problem } => Self::Request { problem },
            PkiError::Certificate { what: "CA", problem } => {
                Self::AuthorityRefused { problem: problem.to_owned() }
            }
            PkiError::Authority(fault) => Self::AuthorityRefused { problem: fault.to_string() },
            PkiError::NotAsked => Self::AuthorityNotAsked,
            PkiError::Overlap => Self::AuthorityOverlap,
            other => Self::Pki(other),
        }
    }
}
