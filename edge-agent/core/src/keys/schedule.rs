//! The key schedule, `hawser-sa-v1`: from the TLS exporter's secret to the key of one direction of one path.

use std::borrow::Cow;
use std::fmt;

use ring::hkdf;
use zeroize::Zeroizing;

use super::{KeySuite, Lanes};
use crate::id::{EdgeId, PathId, Spi};

/// The exporter's label (RFC 8446 section 7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-hawser-sa-1";
/// Octets of exporter secret that the schedule starts from.
pub const EXPORTER_BYTES: usize = 32;
/// Octets of a nonce.
pub const NONCE_BYTES: usize = 32;

/// The schedule's version: another schedule has another first field.
const VERSION: &[u8] = b"hawser-sa-v1";

/// Fresh random octets of one side, for one epoch.
pub type Nonce = [u8; NONCE_BYTES];

/// Everything that one SA's key depends on. The agreement makes each one once, and [`SaContext::into_key`] uses it up: it
/// can't be copied, so the same context is not exported twice.
#[derive(PartialEq, Eq)]
pub struct SaContext {
    /// The fleet's name.
    pub fleet: String,
    /// Who opened the connection.
    pub client: EdgeId,
    /// Who accepted it.
    pub server: EdgeId,
    /// The path.
    pub path: PathId,
    /// Who seals with the key.
    pub sender: EdgeId,
    /// Of the sender's outbound SA, the first of its lanes; the receiver picked it.
    pub spi: Spi,
    /// The cipher.
    pub suite: KeySuite,
    /// Of this connection and path.
    pub epoch: u64,
    /// The client's.
    pub nonce_client: Nonce,
    /// The server's.
    pub nonce_server: Nonce,
}

impl fmt::Debug for SaContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SaContext(path {}, epoch {}, sender {}, SPI {})",
            self.path, self.epoch, self.sender, self.spi
        )
    }
}

impl SaContext {
    /// Each field with its length before it, so that no two contexts have one encoding. Integers are 64 bits wide.
    pub fn encode(&self) -> Vec<u8> {
        let number = |n: u32| u64::from(n).to_be_bytes();
        let mut out = Vec::with_capacity(256);
        for field in [
            VERSION,
            self.fleet.as_bytes(),
            &number(self.client.0),
            &number(self.server.0),
            &number(self.path.0),
            &number(self.sender.0),
            &number(self.spi.0),
            self.suite.name().as_bytes(),
            &self.epoch.to_be_bytes(),
            &self.nonce_client,
            &self.nonce_server,
        ] {
            put_prefixed(&mut out, field);
        }
        out
    }

    /// Exports once, and derives the key of each lane's SA: `suite.key_material_len()` octets. `export` is the TLS exporter of
    /// the connection: (output, label, context).
    pub fn into_keys<E>(
        self,
        lanes: Lanes,
        further: &[&[u8]],
        export: impl FnOnce(&mut [u8], &[u8], &[u8]) -> Result<(), E>,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, ScheduleError> {
        let context = self.encode();
        let mut exported = Zeroizing::new([0; EXPORTER_BYTES]);
        export(exported.as_mut_slice(), EXPORTER_LABEL, &context)
            .map_err(|_| ScheduleError::Exporter)?;
        let suite_bytes = self.suite.key_material_len();
        let key =
            |lane| derive(exported.as_slice(), &of_lane(&context, lane), further, suite_bytes);
        lanes.all().map(key).collect()
    }
}

/// What a lane's key is expanded with: lane 0 has the context itself, as a path of one SA does; others their number behind
/// it, which no context has.
fn of_lane(context: &[u8], lane: u8) -> Cow<'_, [u8]> {
    if lane == 0 {
        return Cow::Borrowed(context);
    }
    let mut info = context.to_vec();
    put_prefixed(&mut info, &u64::from(lane).to_be_bytes());
    Cow::Owned(info)
}

/// Appends a big-endian u16 length and the field.
///
/// # Panics
/// On a field of 64 KiB and more: names are at most 63 octets, secrets at most [`MAX_FURTHER_SECRET_BYTES`].
fn put_prefixed(out: &mut Vec<u8>, field: &[u8]) {
    let length = u16::try_from(field.len()).expect("a field of the key schedule fits u16");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field);
}

/// The longest further secret.
pub const MAX_FURTHER_SECRET_BYTES: usize = 4096;

/// Why no key was derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The exporter gave another length.
    #[error("the exporter's secret has {found} octets, {EXPORTER_BYTES} are needed")]
    ExporterLength {
        /// How many there were.
        found: usize,
    },
    /// The TLS exporter refused.
    #[error("the TLS exporter gave nothing: is the handshake complete?")]
    Exporter,
    /// A further secret is empty or too long.
    #[error("further secret {index} has {found} octets: 1 to {MAX_FURTHER_SECRET_BYTES} are taken")]
    FurtherSecret {
        /// Counted from 0.
        index: usize,
        /// How many octets it has.
        found: usize,
    },
    /// The suite asks for more than HKDF can give (RFC 5869 section 2.3).
    #[error("HKDF gives no {wanted} octets")]
    Length {
        /// How many were asked for.
        wanted: usize,
    },
}

/// Key, then salt or integrity key: `suite_bytes` octets. `exported` is the exporter's output for [`EXPORTER_LABEL`] and the same encoded
/// context; `further` are other secrets of both ends, in their agreed order, possibly none.
pub fn derive(
    exported: &[u8],
    encoded_context: &[u8],
    further: &[&[u8]],
    suite_bytes: usize,
) -> Result<Zeroizing<Vec<u8>>, ScheduleError> {
    if exported.len() != EXPORTER_BYTES {
        return Err(ScheduleError::ExporterLength { found: exported.len() });
    }
    let mut input = Zeroizing::new(Vec::with_capacity(input_bytes(exported, further)));
    put_prefixed(&mut input, exported);
    for (index, secret) in further.iter().enumerate() {
        if secret.is_empty() || secret.len() > MAX_FURTHER_SECRET_BYTES {
            return Err(ScheduleError::FurtherSecret { index, found: secret.len() });
        }
        put_prefixed(&mut input, secret);
    }
    let no_length = |_| ScheduleError::Length { wanted: suite_bytes };
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[0; 32]).extract(&input);
    let mut material = Zeroizing::new(vec![0; suite_bytes]);
    extracted
        .expand(&[encoded_context], Octets(suite_bytes))
        .and_then(|okm| okm.fill(&mut material))
        .map_err(no_length)?;
    Ok(material)
}

/// The buffer must not grow: a reallocation would leave a copy of the secret behind.
fn input_bytes(exported: &[u8], further: &[&[u8]]) -> usize {
    further.iter().map(|secret| secret.len() + 2).sum::<usize>() + exported.len() + 2
}

struct Octets(usize);

impl hkdf::KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}
