//! What our interfaces need of the kernel's settings.

use std::path::Path;

/// Where a packet may come from is nftables' matter: by the tunnel, not by the path that we happen to send on ourselves
/// (RFC 3704 would drop what a peer sends on another). If the host checks all interfaces, the class's mark decides there
/// too, for there is no other route back to an overlay address.
const ALL: [(&str, &str); 4] = [
    ("ipv4/conf/{}/rp_filter", "0"),
    ("ipv4/conf/{}/src_valid_mark", "1"),
    ("ipv6/conf/{}/accept_ra", "0"),
    // No address of its own: nothing is to be solicited through a tunnel.
    ("ipv6/conf/{}/addr_gen_mode", "1"),
];

/// Best effort: a kernel without IPv6 has not all of them.
pub fn set(interface: &str, carries_probes_only: bool) {
    for (name, value) in ALL {
        write(interface, name, value);
    }
    if carries_probes_only {
        // Probes are taken below IP: the host itself has nothing to say there.
        write(interface, "ipv6/conf/{}/disable_ipv6", "1");
    }
}

fn write(interface: &str, name: &str, value: &str) {
    let path = Path::new("/proc/sys/net").join(name.replace("{}", interface));
    if let Err(error) = std::fs::write(&path, value) {
        tracing::debug!("{} is not set to {value}: {error}", path.display());
    }
}
