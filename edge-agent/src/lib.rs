//! The edge agent's shell: sockets, TUN, netlink, QUIC, files. Decisions are taken in `hawser-edge-core`.

mod abilities;
pub mod cli;
pub mod control;
pub mod dataplane;
pub mod doctor;
pub mod engine;
pub mod history;
pub mod host;
pub mod ike;
pub mod kernel;
pub mod manual;
pub mod peer;
pub mod teardown;
