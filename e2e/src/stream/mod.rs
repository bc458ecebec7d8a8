//! A constant-rate UDP stream between two nodes, and what its receiver saw of it.
//!
//! All times are of CLOCK_MONOTONIC in ns ([`crate::clock::mono_ns`]), which all namespaces share. Arrivals are the
//! kernel's receive time stamps, so a receiver that is scheduled late still tells the right gaps.

pub(crate) mod payload;
pub mod record;
pub(crate) mod recv;
pub(crate) mod send;

#[cfg(test)]
mod tests;

pub use record::{Loss, Totals, Window};

use crate::instrument::Instrument;
use crate::lab::{Lab, LabError};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct StreamSpec {
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
    /// 1 to 100,000 packets/s.
    pub packets_per_s: u32,
    /// UDP payload, from the marker's length + 16 to 65,000.
    pub payload_bytes: usize,
    /// First in each payload, so that watchers can find it.
    pub marker: String,
    /// Stop by itself after so many.
    pub count: Option<u64>,
    /// DSCP of the packets, 0 to 63.
    pub dscp: u8,
}

impl StreamSpec {
    /// 200 packets/s of 200 octets, without end.
    #[must_use]
    pub fn new(to: SocketAddr, marker: &str) -> Self {
        Self {
            to,
            from: None,
            packets_per_s: 200,
            payload_bytes: 200,
            marker: marker.to_owned(),
            count: None,
            dscp: 0,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendReport {
    /// Sequence numbers 0 to `sent` - 1 were tried.
    pub sent: u64,
    /// Of those, how many the kernel refused (no route, unreachable, refused).
    pub send_errors: u64,
    /// When the last one was sent.
    pub last_sent_ns: u64,
    /// How late the sender was at worst, against its own schedule.
    pub late_max_us: u64,
}

/// A running sender. Dropping it stops it.
pub struct Sender {
    instrument: Instrument,
}

impl Sender {
    /// Starts to send.
    ///
    /// # Errors
    /// No such node; an address that the node does not have.
    pub fn start(lab: &Lab, node: &str, spec: &StreamSpec) -> Result<Self, LabError> {
        let mut args = vec!["send".to_owned()];
        let mut option = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        option("to", spec.to.to_string());
        option("pps", spec.packets_per_s.to_string());
        option("size", spec.payload_bytes.to_string());
        option("marker", spec.marker.clone());
        option("dscp", spec.dscp.to_string());
        if let Some(from) = spec.from {
            option("from", from.to_string());
        }
        if let Some(count) = spec.count {
            option("count", count.to_string());
        }
        Ok(Self { instrument: Instrument::start(lab, node, &args)? })
    }

    /// What has been sent so far.
    ///
    /// # Errors
    /// The sender has died.
    pub fn report(&self) -> Result<SendReport, LabError> {
        self.instrument.ask(&"report")
    }

    /// Stops sending.
    ///
    /// # Errors
    /// The sender has died.
    pub fn stop(self) -> Result<SendReport, LabError> {
        self.instrument.stop()
    }
}

/// A running receiver. Dropping it stops it.
pub struct Receiver {
    instrument: Instrument,
}

/// What a receiver can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Query {
    Totals,
    Window { from_ns: u64, to_ns: u64 },
    Loss { from_seq: u64, to_seq: u64 },
}

impl Receiver {
    /// Starts to receive packets with this marker; when this returns, none is missed.
    ///
    /// # Errors
    /// No such node; an address or port that it can't have.
    pub fn start(lab: &Lab, node: &str, at: SocketAddr, marker: &str) -> Result<Self, LabError> {
        Self::start_recorded(lab, node, at, marker, None)
    }

    /// As [`Receiver::start`]; writes every arrival to a file of JSON lines when it stops.
    ///
    /// # Errors
    /// As [`Receiver::start`].
    pub fn start_recorded(
        lab: &Lab,
        node: &str,
        at: SocketAddr,
        marker: &str,
        record: Option<PathBuf>,
    ) -> Result<Self, LabError> {
        let mut args =
            ["recv", "--bind", &at.to_string(), "--marker", marker].map(str::to_owned).to_vec();
        if let Some(path) = record {
            let path = std::path::absolute(path).map_err(LabError::io("the record's path"))?;
            args.extend(["--record".to_owned(), path.to_string_lossy().into_owned()]);
        }
        Ok(Self { instrument: Instrument::start(lab, node, &args)? })
    }

    /// Everything so far.
    ///
    /// # Errors
    /// The receiver has died.
    pub fn totals(&self) -> Result<Totals, LabError> {
        self.instrument.ask(&Query::Totals)
    }

    /// The longest silence, and the delays, within a window of time.
    ///
    /// # Errors
    /// The receiver has died.
    pub fn window(&self, from_ns: u64, to_ns: u64) -> Result<Window, LabError> {
        self.instrument.ask(&Query::Window { from_ns, to_ns })
    }

    /// What became of the sequence numbers from `from_seq` up to, and without, `to_seq`.
    ///
    /// # Errors
    /// The receiver has died.
    pub fn loss(&self, from_seq: u64, to_seq: u64) -> Result<Loss, LabError> {
        self.instrument.ask(&Query::Loss { from_seq, to_seq })
    }

    /// Stops, and returns the totals.
    ///
    /// # Errors
    /// The receiver has died.
    pub fn stop(self) -> Result<Totals, LabError> {
        self.instrument.stop()
    }
}
