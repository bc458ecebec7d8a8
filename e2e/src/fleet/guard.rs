//! Watches for LAN payload in clear on every WAN link, and on a LAN for the control.

use super::bring_up::Fleet;
use super::error::FleetError;
use super::flow::MARKER;
use crate::watch::{Watch, WatchOptions};

/// Running watchers: one for each WAN link, one for a LAN.
pub struct Guards {
    wan: Vec<(String, Watch)>,
    lan: Watch,
}

/// What they saw so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClearText {
    /// Frames with the marker on any WAN link: must be none.
    pub on_wan: u64,
    /// Links where there were any.
    pub leaking: Vec<String>,
    /// The control: the same search where the payload must be.
    pub on_lan: u64,
    /// Frames seen on the WAN links.
    pub wan_frames: u64,
    /// Frames that a watcher missed; above zero, the search is not complete.
    pub missed: u64,
}

impl Guards {
    /// Starts them; every frame after this is searched. The control is the LAN of `host`.
    ///
    /// # Errors
    /// No such host, or a watcher can't start.
    pub fn start(fleet: &Fleet, host: &str) -> Result<Self, FleetError> {
        let options = WatchOptions { markers: vec![MARKER.to_owned()], pcap: None };
        let watch =
            |node: &str, interface: &str| Watch::start(fleet.lab(), node, interface, &options);
        let mut wan = Vec::new();
        for (link, node, interface) in fleet.wan_links() {
            wan.push((link, watch(&node, &interface)?));
        }
        Ok(Self { wan, lan: watch(host, "eth0")? })
    }

    /// How many links are watched.
    #[must_use]
    pub fn links(&self) -> usize {
        self.wan.len()
    }

    /// The counts so far.
    ///
    /// # Errors
    /// A watcher has died.
    pub fn look(&self) -> Result<ClearText, FleetError> {
        let mut seen = ClearText::default();
        for (link, watch) in &self.wan {
            let report = watch.snapshot()?;
            let marked: u64 = report.marked.iter().sum();
            seen.on_wan += marked;
            seen.wan_frames += report.frames;
            seen.missed += report.kernel_drops;
            if marked > 0 {
                seen.leaking.push(link.clone());
            }
        }
        let lan = self.lan.snapshot()?;
        seen.on_lan = lan.marked.iter().sum();
        seen.missed += lan.kernel_drops;
        Ok(seen)
    }
}
