//! The host's kernel by netlink and nftables: observe, plan, apply.
