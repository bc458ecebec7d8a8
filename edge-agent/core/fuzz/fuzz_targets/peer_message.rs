//! Messages of a peer connection, and those of the controller's stream.

#![no_main]

use hawser_proto::agent::v1::{AgentMessage, ControllerMessage};
use hawser_proto::peer::v1::PeerMessage;
use libfuzzer_sys::fuzz_target;
use prost::Message;

/// What was decoded once is encoded to what decodes to the same again. Compared as octets: a float that is not a number
/// equals nothing. Maps have no order, so only lengths are compared.
fn stable<M: Message + Default>(octets: &[u8]) {
    let Ok(message) = M::decode(octets) else { return };
    let once = message.encode_to_vec();
    let again = M::decode(once.as_slice()).expect("what is encoded is decoded");
    assert_eq!(again.encoded_len(), once.len());
}

fuzz_target!(|data: &[u8]| {
    stable::<PeerMessage>(data);
    stable::<ControllerMessage>(data);
    stable::<AgentMessage>(data);
});
