//! The controller's shell: store, certificates, tokens, sessions with agents, the operator's API.
//!
//! ```text
//! listener ┬ grpc ┬ service ─┬─ store (sled, etcd) what must outlive the process
//!          └ rest ┘          ├─ pki               the fleet's certificates
//!                            ├─ index             what is live: sessions, samples, decisions
//!                            └─ controller/core   what a document means
//! ```
//! `service` decides, `grpc` and `rest` translate. What a fleet means is decided in `hawser-controller-core`
//! alone.

#![forbid(unsafe_code)]

pub mod audit;
pub mod backup;
mod bucket;
mod clock;
pub mod command;
mod console;
mod directory;
mod files;
mod grpc;
pub mod init;
mod listener;
mod metrics;
mod opened;
pub mod pki;
pub mod removal;
mod rest;
mod secret;
pub mod server;
pub mod service;
pub mod store;
