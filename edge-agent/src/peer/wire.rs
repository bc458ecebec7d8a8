//! `PeerMessage`s on a stream: a big-endian u32 length, then the message.

use prost::Message as _;
use quinn::{ReadExactError, RecvStream, SendStream};

use hawser_proto::peer::v1::PeerMessage;

/// The longest message, without its length.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The peer announces, or we have, more than is allowed.
    #[error("a message of {0} octets, {MAX_MESSAGE_BYTES} are allowed")]
    TooLong(usize),
    /// Not a `PeerMessage`.
    #[error("a message that is none")]
    Decode(#[from] prost::DecodeError),
    /// The stream ended or broke.
    #[error("the control stream ended")]
    Read(#[from] ReadExactError),
    /// The stream broke.
    #[error("the control stream broke")]
    Write(#[from] quinn::WriteError),
}

impl WireError {
    /// It is the peer's fault.
    pub(super) fn is_protocol(&self) -> bool {
        matches!(self, WireError::TooLong(_) | WireError::Decode(_))
    }
}

/// The next message. Not cancel-safe.
pub(super) async fn read(stream: &mut RecvStream) -> Result<PeerMessage, WireError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err(WireError::TooLong(length));
    }
    let mut octets = vec![0; length];
    stream.read_exact(&mut octets).await?;
    Ok(PeerMessage::decode(octets.as_slice())?)
}

/// Writes one message.
pub(super) async fn write(stream: &mut SendStream, message: &PeerMessage) -> Result<(), WireError> {
    let length = message.encoded_len();
    if length > MAX_MESSAGE_BYTES {
        return Err(WireError::TooLong(length));
    }
    let mut octets = Vec::with_capacity(4 + length);
    octets.extend_from_slice(&(length as u32).to_be_bytes());
    octets.extend_from_slice(&message.encode_to_vec());
    Ok(stream.write_all(&octets).await?)
}
