//! Our transactions in etcd's words.

#![allow(clippy::all, reason = "generated code")]

include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
