//! Packet watchers: how many frames on an interface carry a marker?

mod pcap;
pub(crate) mod sniff;

use crate::instrument::Instrument;
use crate::lab::{Lab, LabError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to look for. All frames of the interface are seen, in both directions.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// Texts to count, each on its own.
    pub markers: Vec<String>,
    /// Write the frames there, up to a bound of 256 MiB.
    pub pcap: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchReport {
    pub frames: u64,
    pub bytes: u64,
    /// Frames with each marker, in the order given.
    pub marked: Vec<u64>,
    /// Frames that the kernel saw and this watcher did not. Above zero, the counts are too low.
    pub kernel_drops: u64,
    /// Frames left out of the capture file because it was full.
    pub pcap_drops: u64,
}

/// A running watcher. Dropping it stops it without a report.
pub struct Watch {
    instrument: Instrument,
}

impl Watch {
    /// Starts watching; when this returns, every further frame is counted.
    ///
    /// # Errors
    /// No such node or interface.
    pub fn start(
        lab: &Lab,
        node: &str,
        interface: &str,
        options: &WatchOptions,
    ) -> Result<Self, LabError> {
        let mut args = vec!["watch".to_owned(), "--interface".to_owned(), interface.to_owned()];
        for marker in &options.markers {
            args.extend(["--marker".to_owned(), marker.clone()]);
        }
        if let Some(path) = &options.pcap {
            let path = std::path::absolute(path).map_err(LabError::io("the capture's path"))?;
            args.extend(["--pcap".to_owned(), path.to_string_lossy().into_owned()]);
        }
        Ok(Self { instrument: Instrument::start(lab, node, &args)? })
    }

    /// The counts so far.
    ///
    /// # Errors
    /// The watcher has died.
    pub fn snapshot(&self) -> Result<WatchReport, LabError> {
        self.instrument.ask(&"report")
    }

    /// Counts what has arrived until now, and ends.
    ///
    /// # Errors
    /// The watcher has died.
    pub fn stop(self) -> Result<WatchReport, LabError> {
        self.instrument.stop()
    }
}
