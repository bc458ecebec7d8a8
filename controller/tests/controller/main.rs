//! The real controller on loopback: real TLS, real certificates, real clients, a folder of its own.

mod durability;
mod enrolment;
mod explain;
mod generations;
mod harness;
mod operators;
mod record;
mod telemetry;
