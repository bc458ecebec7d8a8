//! Why connections end, as stable codes.

use quinn::{ConnectionError, VarInt};

use super::hello::HelloFault;
use super::wire::WireError;

/// Application codes of CONNECTION_CLOSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// The agent stops.
    Shutdown,
    /// Another connection has taken over.
    Replaced,
    /// The acceptor has no tunnel to this edge.
    UnknownPeer,
    /// The certificate was revoked meanwhile.
    Revoked,
    /// The other end broke the protocol.
    Protocol,
    /// It has keyed for too long: its opener should have opened the next.
    Overdue,
}

impl Close {
    const ALL: [Close; 6] = [
        Close::Shutdown,
        Close::Replaced,
        Close::UnknownPeer,
        Close::Revoked,
        Close::Protocol,
        Close::Overdue,
    ];

    /// The stable code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Close::Shutdown => "shutdown",
            Close::Replaced => "replaced",
            Close::UnknownPeer => "unknown_peer",
            Close::Revoked => "revoked",
            Close::Protocol => "protocol",
            Close::Overdue => "overdue",
        }
    }

    /// Ends a connection.
    pub(super) fn end(self, connection: &quinn::Connection) {
        connection.close(VarInt::from_u32(self as u32), self.code().as_bytes());
    }

    fn from_number(number: VarInt) -> Option<Close> {
        Close::ALL.into_iter().find(|close| *close as u64 == number.into_inner())
    }
}

/// Why a connection did not come about, or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// Stable.
    pub(super) code: &'static str,
    /// For people.
    pub(super) detail: String,
}

impl Ended {
    /// From parts.
    pub(super) fn new(code: &'static str, detail: impl ToString) -> Self {
        Ended { code, detail: detail.to_string().chars().take(200).collect() }
    }

    /// Nobody refused anything: nothing, or nothing more, was heard.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self.code, "timeout" | "idle" | "replaced" | "shutdown")
    }
}

impl From<&ConnectionError> for Ended {
    fn from(error: &ConnectionError) -> Self {
        let code = match error {
            ConnectionError::TimedOut => "idle",
            ConnectionError::ApplicationClosed(close) => {
                Close::from_number(close.error_code).map_or("closed", Close::code)
            }
            ConnectionError::LocallyClosed => "closed",
            ConnectionError::ConnectionClosed(close) => transport_code(close.error_code.into()),
            ConnectionError::TransportError(error) => transport_code(error.code.into()),
            ConnectionError::Reset
            | ConnectionError::VersionMismatch
            | ConnectionError::CidsExhausted => "transport",
        };
        Ended::new(code, error)
    }
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        Ended::from(&error)
    }
}

impl From<HelloFault> for Ended {
    fn from(fault: HelloFault) -> Self {
        Ended::new("protocol", fault)
    }
}

impl From<WireError> for Ended {
    fn from(error: WireError) -> Self {
        match &error {
            WireError::Read(quinn::ReadExactError::ReadError(
                quinn::ReadError::ConnectionLost(e),
            ))
            | WireError::Write(quinn::WriteError::ConnectionLost(e)) => Ended::from(e),
            _ if error.is_protocol() => Ended::new("protocol", &error),
            _ => Ended::new("closed", &error),
        }
    }
}

/// QUIC carries TLS alerts as 0x0100 + alert (RFC 9001 section 4.8); alerts are those of RFC 8446 section 6.2.
fn transport_code(code: u64) -> &'static str {
    match code.checked_sub(0x100) {
        Some(44) => "revoked",
        Some(45) => "expired",
        // 51: signed by a key that only has our CA's name.
        Some(48 | 51) => "untrusted",
        // What the verifier of ours sends for a certificate of another fleet under the same root.
        Some(49) => "wrong_fleet",
        Some(42 | 43 | 46 | 116) => "bad_certificate",
        Some(0..=255) => "tls",
        _ => "transport",
    }
}
