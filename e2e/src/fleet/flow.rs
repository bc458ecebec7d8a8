//! A stream of traffic between two computers on LANs.

use super::bring_up::Fleet;
use super::error::FleetError;
use crate::clock;
use crate::stream::{Loss, Receiver, Sender, StreamSpec, Window};
use std::net::SocketAddr;
use std::time::Duration;

/// In every payload from a LAN; never to be seen on a WAN link.
pub const MARKER: &str = "HAWSER-LAN-PAYLOAD-IN-CLEAR";

/// Packets at a constant rate from one host to another.
pub struct Flow {
    pub from: String,
    pub to: String,
    packets_per_s: u32,
    sender: Sender,
    receiver: Receiver,
}

/// How a stream recovers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// Packets arrive as they should.
    Flowing,
    Silent,
}

/// So long must a stream arrive nearly complete to count as flowing again.
const PROOF_NS: u64 = 500_000_000;
const PROOF_SHARE_PCT: u64 = 80;
const PACKETS_PER_S: u32 = 200;

impl Flow {
    /// Starts a stream of 200 packets/s between the hosts of two sites, in the wanted family.
    ///
    /// # Errors
    /// No such hosts, or they have no such addresses.
    pub fn start(
        fleet: &Fleet,
        from: &str,
        to: &str,
        port: u16,
        ipv6: bool,
    ) -> Result<Self, FleetError> {
        let at = SocketAddr::new(fleet.host_address(to, ipv6)?, port);
        Self::at_rate(fleet, from, (to, at), PACKETS_PER_S)
    }

    /// The same at another rate, to any address of a host.
    ///
    /// # Errors
    /// No such hosts.
    pub fn at_rate(
        fleet: &Fleet,
        from: &str,
        (to, at): (&str, SocketAddr),
        packets_per_s: u32,
    ) -> Result<Self, FleetError> {
        let receiver = Receiver::start(fleet.lab(), to, at, MARKER)?;
        let spec = StreamSpec { packets_per_s, ..StreamSpec::new(at, MARKER) };
        let sender = Sender::start(fleet.lab(), from, &spec)?;
        Ok(Self { from: from.to_owned(), to: to.to_owned(), packets_per_s, sender, receiver })
    }

    /// What the receiving host saw since `from_ns` (CLOCK_MONOTONIC).
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn since(&self, from_ns: u64) -> Result<Window, FleetError> {
        Ok(self.receiver.window(from_ns, clock::mono_ns())?)
    }

    /// Whether packets arrive now.
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn progress(&self) -> Result<Progress, FleetError> {
        let now_ns = clock::mono_ns();
        let window = self.receiver.window(now_ns.saturating_sub(PROOF_NS), now_ns)?;
        let expected = PROOF_NS * u64::from(self.packets_per_s) / 1_000_000_000;
        let flowing = window.arrivals * 100 >= expected * PROOF_SHARE_PCT;
        Ok(if flowing { Progress::Flowing } else { Progress::Silent })
    }

    /// Waits until packets arrive as they should.
    ///
    /// # Errors
    /// They do not.
    pub fn wait_flowing(&self, limit: Duration) -> Result<(), FleetError> {
        let what = format!("the stream from {} to {} flows", self.from, self.to);
        super::wait::until(&what, limit, || {
            Ok(match self.progress()? {
                Progress::Flowing => super::wait::Look::Done(()),
                Progress::Silent => super::wait::Look::Not("it is silent".to_owned()),
            })
        })
    }

    /// Waits for the longest silence since `fault_ns` to end; `None` when it does not end within `limit`. In ms.
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn silence_after(&self, fault_ns: u64, limit: Duration) -> Result<Option<f64>, FleetError> {
        let deadline_ns = fault_ns + limit.as_nanos() as u64;
        // The fault needs time to show: what was under way still arrives.
        while clock::mono_ns() < fault_ns + 2 * PROOF_NS {
            std::thread::sleep(Duration::from_millis(50));
        }
        loop {
            if self.progress()? == Progress::Flowing {
                let window = self.since(fault_ns)?;
                return Ok(Some(window.silence_ns as f64 / 1e6));
            }
            if clock::mono_ns() > deadline_ns {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sequence numbers sent so far.
    ///
    /// # Errors
    /// The sender is gone.
    pub fn sent(&self) -> Result<u64, FleetError> {
        Ok(self.sender.report()?.sent)
    }

    /// What became of what was sent from sequence number `from_seq` up to, and without, `to_seq`.
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn loss(&self, from_seq: u64, to_seq: u64) -> Result<Loss, FleetError> {
        Ok(self.receiver.loss(from_seq, to_seq)?)
    }
}
