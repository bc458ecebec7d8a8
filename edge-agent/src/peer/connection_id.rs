//! Connection IDs that we can tell to be our own.
//!
//! A client's first packet names a destination that it made up; every later one names an ID that we issued. The socket
//! needs to know which is which, without keeping a list.

use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

const RANDOM_BYTES: usize = 5;
const TAG_BYTES: usize = 3;
/// Octets of each of our connection IDs.
pub(super) const ID_BYTES: usize = RANDOM_BYTES + TAG_BYTES;

/// Issues IDs of 5 random octets and 3 that prove them ours: a stranger's made-up ID passes once in 2^24.
#[derive(Clone)]
pub(super) struct IssuedIds {
    key: hmac::Key,
    random: SystemRandom,
}

impl IssuedIds {
    /// With a key of its own.
    pub(super) fn new() -> Result<Self, ring::error::Unspecified> {
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random)?;
        Ok(IssuedIds { key, random })
    }

    /// Is it one of ours?
    pub(super) fn issued(&self, id: &[u8]) -> bool {
        match id.split_at_checked(RANDOM_BYTES) {
            Some((random, tag)) => tag == self.tag(random),
            None => false,
        }
    }

    fn tag(&self, random: &[u8]) -> [u8; TAG_BYTES] {
        let tag = hmac::sign(&self.key, random);
        std::array::from_fn(|i| tag.as_ref()[i])
    }
}

impl ConnectionIdGenerator for IssuedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        let (random, tag) = id.split_at_mut(RANDOM_BYTES);
        // Without randomness nothing here works; the interface has no way to say so.
        self.random.fill(random).expect("the system gives random octets");
        tag.copy_from_slice(&self.tag(random));
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
