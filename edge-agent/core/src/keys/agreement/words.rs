//! What an agreement is about, and what it asks its shell for.

use super::super::message::KeyMessage;
use super::super::schedule::SaContext;
use super::super::{KeySuite, Lanes};
use crate::id::{EdgeId, PathId, Spi};

/// A connection of the peer, numbered by the shell; numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionNo(pub u64);

/// Which end of the adopted connection this edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It opened the connection, and begins every epoch.
    Client,
    /// It accepted the connection.
    Server,
}

/// What the SAs of both directions have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaTerms {
    /// The cipher.
    pub suite: KeySuite,
    /// Extended sequence numbers: they are part of what is authenticated.
    pub esn: bool,
}

impl SaTerms {
    /// As an offer names them: the suite, and what is not as usual.
    pub fn name(self) -> String {
        let numbers = if self.esn { "" } else { " no-esn" };
        format!("{}{numbers}", self.suite.name())
    }
}

/// What both ends must hold alike, and what this one wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The fleet's name.
    pub fleet: String,
    /// This edge.
    pub local: EdgeId,
    /// The other.
    pub peer: EdgeId,
    /// The path.
    pub path: PathId,
    /// As the intent has them.
    pub sa: SaTerms,
    /// What this edge can send and receive with at once.
    pub lanes: Lanes,
}

/// What the shell must do, in order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Pick an SPI for each lane of this edge, in a row, and a nonce, and call [`Agreement::reserved`].
    ReserveInbound {
        /// The connection.
        connection: ConnectionNo,
        /// The epoch.
        epoch: u64,
    },
    /// Install an inbound SA and call [`Agreement::inbound_installed`].
    InstallInbound {
        /// Export from this one.
        connection: ConnectionNo,
        /// Its SPI.
        spi: Spi,
        /// Its key, and its suite.
        context: SaContext,
        /// Whether its numbers are extended.
        esn: bool,
        /// How many SAs it is, at the SPIs from this one on.
        lanes: Lanes,
    },
    /// Replace the outbound SA and call [`Agreement::outbound_installed`].
    InstallOutbound {
        /// Export from this one.
        connection: ConnectionNo,
        /// The peer's SPI.
        spi: Spi,
        /// Its key, and its suite.
        context: SaContext,
        /// Whether its numbers are extended.
        esn: bool,
        /// How many SAs it is, at the SPIs from this one on.
        lanes: Lanes,
    },
    /// Send on that connection.
    Send {
        /// The adopted one.
        connection: ConnectionNo,
        /// What.
        message: KeyMessage,
    },
    /// The reserved SPI, and those of its other lanes, are free again; they never had an SA.
    ReleaseInbound(Spi),
    /// The inbound SA, all its lanes, has drained, or can't be in use: remove it.
    RetireInbound(Spi),
    /// Both directions are keyed.
    Keyed {
        /// By this connection.
        connection: ConnectionNo,
        /// The epoch.
        epoch: u64,
    },
    /// An epoch was refused, here or there. It is tried again.
    Refused {
        /// A stable code.
        code: String,
    },
}

/// Why a message or an answer of the shell changed nothing. Harmless: to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// It came on a connection that is not adopted.
    OtherConnection,
    /// Its epoch is over, or has not begun.
    Stale,
    /// It is not this role's to receive.
    WrongRole,
    /// Its epoch is at another step.
    OutOfStep,
}

/// The SPIs of a path's two newest SAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpiPair {
    /// This edge receives with it.
    pub ours: Spi,
    /// The peer receives with it.
    pub theirs: Spi,
}

impl SpiPair {
    /// As the peer sees it.
    pub fn reversed(self) -> SpiPair {
        SpiPair { ours: self.theirs, theirs: self.ours }
    }
}
