//! The enrolment token: one line of text that carries all that a new edge needs to find and trust
//! its controller.
//!
//! `hawser1.` and the base64url (no padding) of a protobuf message. The secret half of it is only
//! ever compared as a hash by the controller; `Debug` redacts it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;

/// What stands before the base64 part; the number is the format's version.
pub const PREFIX: &str = "hawser1.";

/// Longest token text that is looked at, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Most controller addresses in one token.
pub const MAX_CONTROLLERS: usize = 16;

/// A token that lets one edge enrol once.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// `host:port`, in order of preference; never empty.
    pub controllers: Vec<String>,
    /// SHA-256 of the root CA certificate's SubjectPublicKeyInfo (DER). The controller's TLS chain
    /// ends in that root.
    pub root_pin: [u8; 32],
    /// The credential: 128 random bits.
    pub secret: [u8; 16],
    /// Name of the edge that it is for.
    pub edge: String,
}

/// Why a text is not an enrolment token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenTextError {
    /// It does not start with [`PREFIX`].
    NotAToken,
    /// Longer than [`MAX_TEXT_BYTES`].
    TooLong,
    /// What follows the prefix is not base64url, or it is cut off.
    Encoding,
    /// A field is missing or has the wrong size; it names the field.
    Field(&'static str),
}

impl TokenTextError {
    /// A stable code, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAToken => "TOKEN_NOT_A_TOKEN",
            Self::TooLong => "TOKEN_TOO_LONG",
            Self::Encoding => "TOKEN_DAMAGED",
            Self::Field(_) => "TOKEN_INCOMPLETE",
        }
    }
}

impl fmt::Display for TokenTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAToken => write!(f, "an enrolment token starts with {PREFIX}"),
            Self::TooLong => write!(f, "longer than {MAX_TEXT_BYTES} bytes"),
            Self::Encoding => f.write_str("the token is damaged or cut off; copy the whole line"),
            Self::Field(field) => write!(f, "the token's {field} is missing or wrong"),
        }
    }
}

impl std::error::Error for TokenTextError {}

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(string, repeated, tag = "1")]
    controllers: Vec<String>,
    #[prost(bytes = "vec", tag = "2")]
    root_pin: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    secret: Vec<u8>,
    #[prost(string, tag = "4")]
    edge: String,
}

impl fmt::Display for EnrolmentToken {
    /// The token itself, with its secret: for showing it once, never for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire = Wire {
            controllers: self.controllers.clone(),
            root_pin: self.root_pin.to_vec(),
            secret: self.secret.to_vec(),
            edge: self.edge.clone(),
        };
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(wire.encode_to_vec()))
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        let text = text.trim();
        if text.len() > MAX_TEXT_BYTES {
            return Err(TokenTextError::TooLong);
        }
        let body = text.strip_prefix(PREFIX).ok_or(TokenTextError::NotAToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenTextError::Encoding)?;
        let wire = Wire::decode(bytes.as_slice()).map_err(|_| TokenTextError::Encoding)?;
        if wire.controllers.is_empty() || wire.controllers.len() > MAX_CONTROLLERS {
            return Err(TokenTextError::Field("controllers"));
        }
        if wire.edge.is_empty() {
            return Err(TokenTextError::Field("edge"));
        }
        Ok(Self {
            controllers: wire.controllers,
            root_pin: sized(wire.root_pin, "root_pin")?,
            secret: sized(wire.secret, "secret")?,
            edge: wire.edge,
        })
    }
}

fn sized<const N: usize>(bytes: Vec<u8>, field: &'static str) -> Result<[u8; N], TokenTextError> {
    bytes.try_into().map_err(|_| TokenTextError::Field(field))
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentToken")
            .field("controllers", &self.controllers)
            .field("edge", &self.edge)
            .field("secret", &"(redacted)")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
