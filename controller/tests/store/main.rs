//! The store's trait: one suite for every implementation, then what is special about etcd.

mod conformance;
mod etcd;
mod proxy;
mod server;
