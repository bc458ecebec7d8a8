//! What can go wrong between us and the kernel.

/// A failure to observe or to change the kernel.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("can't open a netlink socket")]
    Open(#[source] std::io::Error),
    #[error("netlink: {what}")]
    Netlink {
        what: &'static str,
        #[source]
        source: Box<rtnetlink::Error>,
    },
    #[error("interface {0} is not there")]
    NoInterface(String),
    #[error("sysctl {name}")]
    Sysctl {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("can't run nft; install the package nftables")]
    NftMissing(#[source] std::io::Error),
    #[error("nft refused the guard: {0}")]
    NftRefused(String),
    #[error("nft did not answer within {0} s")]
    NftTimeout(u64),
}

impl HostError {
    pub(super) fn netlink(what: &'static str) -> impl FnOnce(rtnetlink::Error) -> HostError {
        move |source| HostError::Netlink { what, source: Box::new(source) }
    }
}
