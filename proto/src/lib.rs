//! Hawser's wire contracts, and the code generated from them. See `proto/` for what each message means.

#![allow(clippy::all, reason = "generated code")]

/// What one edge must make true.
pub mod config {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/hawser.config.v1.rs"));
    }
}

/// Between an edge agent and its controller.
pub mod agent {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/hawser.agent.v1.rs"));
    }
}

/// Between two agents.
pub mod peer {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/hawser.peer.v1.rs"));
    }
}

/// The operator's API.
pub mod operator {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/hawser.operator.v1.rs"));
    }
}

/// All contracts as a serialised `google.protobuf.FileDescriptorSet`: for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hawser.descriptors"));

/// The enrolment token's text form.
pub mod token;

/// The fleet's CAs.
pub mod authority;
/// The signed list of revoked certificates.
pub mod revocation;
mod words;

pub use words::FIRST_IKE_LINK_ID;
