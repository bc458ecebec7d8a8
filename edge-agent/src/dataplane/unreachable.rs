//! What ICMP says of what was sent: counted, and told to the engine at a bounded rate.
//!
//! Anyone who can guess addresses and ports can forge it: it is a reason to look closer, never a verdict.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::counters::DropReason;
use super::event::Event;
use super::shared::{Shared, plain};
use super::sys::errors::{self, Origin, QueuedError};
use super::uplink::UplinkSocket;

/// One word about a destination in this time is enough.
const WINDOW: Duration = Duration::from_millis(100);

/// The most that a socket tells in that time.
const MOST_TOLD: usize = 32;

/// Errors taken in a row before the thread looks at packets again.
const IN_A_ROW: usize = 256;

/// Destination unreachable: fragmentation needed (RFC 792, RFC 1191).
const ICMP_FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
/// Packet too big (RFC 4443 section 3.2).
const ICMP6_TOO_BIG: u8 = 2;

/// One socket's errors.
#[derive(Debug)]
pub(super) struct Errors {
    window_began: Instant,
    /// What was told in this window: where to, and whether it was "too long".
    told: Vec<(SocketAddr, bool)>,
}

impl Errors {
    pub(super) fn new(now: Instant) -> Self {
        Errors { window_began: now, told: Vec::with_capacity(MOST_TOLD) }
    }

    /// Empties the socket's error queue, or takes a good part of it.
    pub(super) fn drain(&mut self, shared: &Shared, socket: &UplinkSocket, fd: &OwnedFd) {
        let now = Instant::now();
        for _ in 0..IN_A_ROW {
            match errors::take(fd) {
                Ok(Some(error)) => self.handle(shared, socket, error, now),
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    fn handle(&mut self, shared: &Shared, socket: &UplinkSocket, error: QueuedError, now: Instant) {
        let (to, uplink) = (plain(error.to), socket.uplink);
        let too_long = match error.origin {
            Origin::Local if error.errno == libc::EMSGSIZE => true,
            // The send that failed has been counted.
            Origin::Local => return,
            Origin::Icmp => (error.kind, error.code) == ICMP_FRAGMENTATION_NEEDED,
            Origin::Icmp6 => error.kind == ICMP6_TOO_BIG,
        };
        let reason = if too_long { DropReason::IcmpTooBig } else { DropReason::IcmpUnreachable };
        shared.drops.add(reason, 1);
        if !self.may_tell(to, too_long, now) {
            return shared.drops.add(DropReason::IcmpUntold, 1);
        }
        shared.emit(if too_long {
            Event::TooBig { uplink, to, mtu_bytes: error.info }
        } else {
            Event::Unreachable { uplink, to, kind: error.kind, code: error.code }
        });
    }

    fn may_tell(&mut self, to: SocketAddr, too_long: bool, now: Instant) -> bool {
        if now.saturating_duration_since(self.window_began) >= WINDOW {
            self.told.clear();
            self.window_began = now;
        }
        let news = self.told.len() < MOST_TOLD && !self.told.contains(&(to, too_long));
        if news {
            self.told.push((to, too_long));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_destination_is_told_once_a_window_and_not_many_are() {
        let begin = Instant::now();
        let mut errors = Errors::new(begin);
        let at = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        assert!(errors.may_tell(at(1), false, begin));
        assert!(!errors.may_tell(at(1), false, begin + WINDOW / 2));
        assert!(errors.may_tell(at(1), true, begin + WINDOW / 2), "another matter");
        let told = (0..100).filter(|&port| errors.may_tell(at(port), false, begin)).count();
        assert_eq!(told, MOST_TOLD - 2);
        assert!(errors.may_tell(at(1), false, begin + WINDOW));
    }
}
