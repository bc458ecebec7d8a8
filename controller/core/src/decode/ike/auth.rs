//! What the ends of a tunnel with a gateway know each other by: a pre-shared key, or certificates.

use std::net::IpAddr;

use crate::decode::{Fields, Reader};
use crate::fault::{code, quote};
use crate::intent::{IkeAuth, PeerCa};

/// The certificate that the edge has of the fleet's CA; no file's name.
pub(crate) const OF_FLEET: &str = "fleet";
/// A few CAs, and far from what a revision may hold.
const MAX_PEM_BYTES: usize = 16 << 10;
const MAX_CAS: usize = 8;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

pub(super) fn auth(reader: &mut Reader, fields: &Fields<'_>) -> IkeAuth {
    let certificate = reader.optional_label(fields, "certificate");
    let Some(own) = certificate else {
        if fields.get("peer_ca").is_some() {
            let message = "a gateway that is known by a pre-shared key shows no certificate";
            let mend = "leave it out, or write `certificate` instead of `psk`";
            reader.faults.add(code::FIELD_CONFLICT, fields.at("peer_ca"), message, mend);
        }
        return IkeAuth::Psk(reader.required_label(fields, "psk"));
    };
    if fields.get("psk").is_some() {
        let message = "a tunnel has a pre-shared key or a certificate, not both";
        let mend = "leave one of `psk` and `certificate` out";
        reader.faults.add(code::FIELD_CONFLICT, fields.at("psk"), message, mend);
    }
    let own = Some(own).filter(|own| own != OF_FLEET);
    IkeAuth::Certificate { own, peer_ca: peer_ca(reader, fields) }
}

/// One line is a file's name; what begins as PEM does is that.
fn peer_ca(reader: &mut Reader, fields: &Fields<'_>) -> PeerCa {
    let key = "peer_ca";
    if fields.get(key).is_none() {
        reader.missing(fields, key);
        return PeerCa::Named(String::new());
    }
    let text = reader.text(fields, key).unwrap_or_default();
    if !text.trim_start().starts_with("-----BEGIN") {
        reader.label(&text, &fields.at(key));
        return PeerCa::Named(text);
    }
    if let Err(why) = certificates(&text) {
        let mend = "write the PEM of the CA's certificate, as `openssl x509 -in ca.pem` prints it, and no private key";
        reader.faults.add(code::IKE_CERTIFICATE_INVALID, fields.at(key), why, mend);
        // Whatever it is, it goes no further: it may be a key by mistake.
        return PeerCa::Named(String::new());
    }
    PeerCa::Pem(text.trim().to_owned() + "\n")
}

/// Nothing but certificates, by their outer form. What is in them is for strongSwan to judge.
fn certificates(text: &str) -> Result<(), String> {
    if text.len() > MAX_PEM_BYTES {
        return Err(format!("more than {MAX_PEM_BYTES} octets"));
    }
    let (mut inside, mut count, mut letters) = (false, 0, 0);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line {
            BEGIN if !inside => (inside, letters) = (true, 0),
            END if inside && letters > 0 => (inside, count) = (false, count + 1),
            base64 if inside && base64.chars().all(is_base64) => letters += base64.len(),
            _ => return Err(format!("line {} is none of a certificate's", quote_start(line))),
        }
    }
    match count {
        _ if inside => Err("the last certificate has no end".to_owned()),
        1..=MAX_CAS => Ok(()),
        _ => Err(format!("there are {count} certificates; 1 to {MAX_CAS} may be there")),
    }
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=".contains(c)
}

/// Only the armour's words: a line may be of a key.
fn quote_start(line: &str) -> String {
    if line.starts_with("-----") { quote(line) } else { "between the armour".to_owned() }
}

/// Ours and the gateway's.
pub(super) fn identities(
    reader: &mut Reader,
    fields: &Fields<'_>,
    auth: &IkeAuth,
    peers: &[IpAddr],
) -> (String, String) {
    let named = matches!(auth, IkeAuth::Certificate { .. });
    let local = match fields.get("local_id") {
        Some(_) => identity(reader, fields, "local_id", named).unwrap_or_default(),
        None if named => String::new(),
        None => {
            reader.missing(fields, "local_id");
            String::new()
        }
    };
    let remote = match fields.get("remote_id") {
        Some(_) => identity(reader, fields, "remote_id", named).unwrap_or_default(),
        None => peers.first().map(ToString::to_string).unwrap_or_default(),
    };
    (local, remote)
}

/// An address, a name, a mail address; with certificates also a distinguished name. strongSwan would take `*` and `%any` as
/// any peer.
fn identity(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &str,
    distinguished: bool,
) -> Option<String> {
    let text = reader.text(fields, key)?;
    let more = if distinguished { "=, " } else { "" };
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_@:".contains(c) || more.contains(c);
    if !(1..=128).contains(&text.len()) || !text.chars().all(fits) {
        let message = format!("{} is no identity for IKE", quote(&text));
        let mend = "write an address, a name such as b1.example.net, or a mail address: letters, digits and . - _ @ :";
        reader.faults.add(code::IKE_IDENTITY_INVALID, fields.at(key), message, mend);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_certificates_pass_and_a_key_is_never_quoted() {
        let one = format!("{BEGIN}\nMIIB\nAA==\n{END}\n");
        assert_eq!(certificates(&one), Ok(()));
        assert_eq!(certificates(&one.repeat(MAX_CAS)), Ok(()));
        let secret = "c2VjcmV0!";
        let key = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n");
        let bad = [
            one.repeat(MAX_CAS + 1),
            format!("{BEGIN}\n{END}\n"),
            format!("{BEGIN}\nMIIB\n"),
            format!("{one}{key}"),
            format!("{BEGIN}\n{secret}\n{END}\n"),
            format!("{BEGIN}\n{}\n{END}\n", "A".repeat(MAX_PEM_BYTES)),
        ];
        for text in bad {
            let why = certificates(&text).expect_err(&text);
            assert!(!why.contains("c2Vj"), "{why}");
        }
    }
}
