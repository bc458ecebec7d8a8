//! The messages of an agreement, as they travel in `PeerMessage`.

use hawser_proto::peer::v1::peer_message::Message;
use hawser_proto::peer::v1::{KeyAnswer, KeyConfirm, KeyOffer, KeyRefusal, RekeyRequest};

use crate::id::PathId;

/// What two agreements say to each other.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyMessage {
    /// From the client: its inbound SPI is reserved.
    Offer(KeyOffer),
    /// From the server: its inbound SA is installed.
    Answer(KeyAnswer),
    /// From the client: both its SAs are installed. From the server: so are both of its own.
    Confirm(KeyConfirm),
    /// Not this epoch.
    Refusal(KeyRefusal),
    /// From the server: another epoch, please.
    Request(RekeyRequest),
}

impl KeyMessage {
    /// The path that it is about; `None` if the number is no path's.
    pub fn path(&self) -> Option<PathId> {
        let id = match self {
            KeyMessage::Offer(m) => m.path_id,
            KeyMessage::Answer(m) => m.path_id,
            KeyMessage::Confirm(m) => m.path_id,
            KeyMessage::Refusal(m) => m.path_id,
            KeyMessage::Request(m) => m.path_id,
        };
        (id < 1 << 24).then_some(PathId(id))
    }
}

impl From<KeyMessage> for Message {
    fn from(message: KeyMessage) -> Message {
        match message {
            KeyMessage::Offer(m) => Message::KeyOffer(m),
            KeyMessage::Answer(m) => Message::KeyAnswer(m),
            KeyMessage::Confirm(m) => Message::KeyConfirm(m),
            KeyMessage::Refusal(m) => Message::KeyRefusal(m),
            KeyMessage::Request(m) => Message::RekeyRequest(m),
        }
    }
}

impl TryFrom<Message> for KeyMessage {
    /// A message that is not about keys, unchanged.
    type Error = Message;

    fn try_from(message: Message) -> Result<KeyMessage, Message> {
        match message {
            Message::KeyOffer(m) => Ok(KeyMessage::Offer(m)),
            Message::KeyAnswer(m) => Ok(KeyMessage::Answer(m)),
            Message::KeyConfirm(m) => Ok(KeyMessage::Confirm(m)),
            Message::KeyRefusal(m) => Ok(KeyMessage::Refusal(m)),
            Message::RekeyRequest(m) => Ok(KeyMessage::Request(m)),
            other => Err(other),
        }
    }
}
