//! The edge agent's pure core: probes, link quality, selection, keying, endpoints, generations, reconciliation plans.
//!
//! No runtime, socket, file or clock: time and randomness come in as arguments, effects go out as values.

#![forbid(unsafe_code)]

pub mod bucket;
pub mod config;
pub mod departures;
pub mod doctor;
pub mod endpoint;
pub mod generation;
pub mod history;
pub mod id;
pub mod ike;
pub mod kernel;
pub mod keys;
pub mod manual;
pub mod pmtu;
pub mod policy;
pub mod probe;
pub mod quality;
pub mod reach;
pub mod reconcile;
pub mod replay;
pub mod select;
pub mod sla;
pub mod stamp;
pub mod time;
