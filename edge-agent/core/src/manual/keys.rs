//! Keys as people bring them: hexadecimal, of the suite's length, and not what somebody typed in a hurry.

use std::fmt;

use zeroize::Zeroizing;

use super::Protocol;
use crate::config::ManualTunnel;
use crate::ike::Blocked;

/// Of one tunnel. Wiped on drop; `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub inbound: Zeroizing<Vec<u8>>,
    pub outbound: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// From what the secrets hold.
///
/// # Errors
/// They are no keys of this tunnel, or bad ones. Nothing of them is repeated.
pub fn read(tunnel: &ManualTunnel, inbound: &[u8], outbound: &[u8]) -> Result<Keys, Blocked> {
    let (own, peers) = (&tunnel.inbound.name, &tunnel.outbound.name);
    let keys =
        Keys { inbound: key(tunnel, own, inbound)?, outbound: key(tunnel, peers, outbound)? };
    let split = |key| parts(tunnel, key);
    let same = split(&keys.inbound)
        .iter()
        .any(|part| split(&keys.outbound).iter().any(|other| !part.is_empty() && part == other));
    if same {
        return Err(blocked(
            tunnel,
            own,
            "MANUAL_KEYS_EQUAL",
            format!("{own} and {peers} share a key: each direction has keys of its own"),
        ));
    }
    Ok(keys)
}

fn key(tunnel: &ManualTunnel, name: &str, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, Blocked> {
    let wanted = tunnel.key_len();
    let Some(key) = hexadecimal(text) else {
        let message = format!("{name} is not hexadecimal");
        return Err(blocked(tunnel, name, "MANUAL_KEY_NOT_HEX", message));
    };
    if key.len() != wanted {
        let of = match tunnel.protocol {
            Protocol::Esp => "the encryption key, then the HMAC's",
            Protocol::Ah => "the HMAC's key",
        };
        let message =
            format!("{name} has {} octets, {} takes {wanted}: {of}", key.len(), tunnel.suite());
        return Err(blocked(tunnel, name, "MANUAL_KEY_LENGTH", message));
    }
    let parts = parts(tunnel, &key);
    let weak = parts.iter().find_map(|part| weakness(part));
    let twice = parts[0] == &parts[1][..parts[0].len().min(parts[1].len())];
    let why =
        weak.or((twice && !parts[0].is_empty()).then_some("one key is the other's beginning"));
    if let Some(why) = why {
        let message = format!("{name} is no random key: {why}");
        return Err(blocked(tunnel, name, "MANUAL_KEY_WEAK", message));
    }
    Ok(key)
}

/// The encryption key, which may be empty, and the integrity key.
fn parts<'k>(tunnel: &ManualTunnel, key: &'k [u8]) -> [&'k [u8]; 2] {
    let at = match tunnel.protocol {
        Protocol::Esp => tunnel.suite().key_len(),
        Protocol::Ah => 0,
    };
    let (encryption, integrity) = key.split_at(at.min(key.len()));
    [encryption, integrity]
}

/// What no random generator gives in the age of the universe, and people type.
fn weakness(key: &[u8]) -> Option<&'static str> {
    let (&first, rest) = key.split_first()?;
    if rest.iter().all(|octet| *octet == first) {
        return Some("all octets are equal");
    }
    let steps = |pair: &[u8]| pair[1].wrapping_sub(pair[0]);
    let step = key.windows(2).map(steps).next()?;
    if key.windows(2).map(steps).all(|other| other == step) {
        return Some("its octets count");
    }
    let repeats = |period: usize| key.iter().zip(&key[period..]).all(|(a, b)| a == b);
    if (2..=key.len() / 2).any(repeats) {
        return Some("a pattern is repeated");
    }
    None
}

/// With or without `0x`; white space between digits is left out, as tools put it there.
fn hexadecimal(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    let mut key = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let mut high = None;
    for octet in text.iter().filter(|octet| !octet.is_ascii_whitespace()) {
        let digit = char::from(*octet).to_digit(16)? as u8;
        match high.take() {
            None => high = Some(digit << 4),
            Some(high) => key.push(high | digit),
        }
    }
    (high.is_none() && !key.is_empty()).then_some(key)
}

fn blocked(tunnel: &ManualTunnel, name: &str, code: &'static str, message: String) -> Blocked {
    let mend = format!(
        "make one at one end: openssl rand -hex {}, and put it at both: hawser-edge secret set {name}",
        tunnel.key_len()
    );
    Blocked { code, message, mend }
}
