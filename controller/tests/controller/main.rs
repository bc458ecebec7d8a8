//! The real controller on loopback: real TLS, real certificates, real clients, a folder of its own.

mod across;
mod authority;
mod by_path;
mod capabilities;
mod certificates;
mod console;
mod durability;
mod enrolment;
mod etcd;
#[allow(dead_code, reason = "of another test")]
#[path = "../store/server.rs"]
mod etcd_server;
mod explain;
mod failed_store;
mod fleets;
mod generations;
mod harness;
mod http;
mod operators;
mod record;
mod rest;
mod revisions;
mod roles;
mod staging;
mod telemetry;
