//! Every kind of finding: its code, when it is told, what it costs, what mends it. `docs/REFERENCE.md` has the same table.

/// One kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub code: &'static str,
    /// For the reference.
    pub when: &'static str,
    pub cost: &'static str,
    /// As long as the finding knows no better.
    pub mend: &'static str,
}

const fn kind(
    code: &'static str,
    when: &'static str,
    cost: &'static str,
    mend: &'static str,
) -> Kind {
    Kind { code, when, cost, mend }
}

const AS_UNIT: &str =
    "systemctl restart hawser-edge (its unit gives the right), or run the agent as root";
const RESTRICT: &str = "chmod -R go= DIR (the state directory)";
const ADJUST: &str = "timedatectl set-ntp true";

/// In the order in which things depend on each other.
pub const KINDS: [Kind; 41] = [
    kind(
        "RIGHT_NET_ADMIN",
        "CAP_NET_ADMIN is missing",
        "no routes, no guard, no tunnel devices: the agent does not start",
        AS_UNIT,
    ),
    kind(
        "RIGHT_NET_RAW",
        "CAP_NET_RAW is missing",
        "no probes of the kernel driver, none by ICMP, no manual tunnel of the userspace driver, and sockets may not be bound to an uplink",
        AS_UNIT,
    ),
    kind(
        "RIGHT_BIND_SERVICE",
        "CAP_NET_BIND_SERVICE is missing where there are IKE tunnels",
        "charon gets neither UDP 500 nor 4500: no IKE tunnel comes up",
        AS_UNIT,
    ),
    kind(
        "TUN_UNUSABLE",
        "/dev/net/tun can't be opened",
        "the userspace driver can't forward a packet",
        "modprobe tun; in a container: --device /dev/net/tun",
    ),
    kind(
        "NFT_UNUSABLE",
        "nft is missing, or refused",
        "no guard: the agent takes no generation, for LAN packets could leave in clear",
        "apt-get install nftables; modprobe nf_tables",
    ),
    kind(
        "KERNEL_DRIVER_LACKS",
        "the kernel driver was tried in a namespace of its own, and a part of it failed",
        "the kernel can't forward; the userspace driver can, at a lower rate",
        "",
    ),
    kind(
        "KERNEL_DRIVER_UNTRIED",
        "there is no right to make a namespace to try it in",
        "it is not known whether the kernel could forward",
        "run hawser-edge doctor as root",
    ),
    kind(
        "UDP_NO_SEGMENTATION",
        "the kernel has no UDP_SEGMENT",
        "each packet costs a system call: a fraction of the throughput",
        "boot a kernel of version 4.18 or newer",
    ),
    kind(
        "UDP_NO_COALESCING",
        "the kernel has no UDP_GRO",
        "each packet received costs a system call",
        "boot a kernel of version 5.0 or newer",
    ),
    kind(
        "SOCKET_BUFFER_SMALL",
        "a socket got less buffer than 8 MiB",
        "bursts are lost before the agent can read them",
        "sysctl -w net.core.rmem_max=8388608 net.core.wmem_max=8388608",
    ),
    kind(
        "FORWARDING_OFF",
        "the kernel does not forward",
        "nothing from a LAN reaches a tunnel",
        "",
    ),
    kind(
        "RP_FILTER_STRICT",
        "strict reverse path filtering on an interface that this edge uses",
        "packets that came by the second-best uplink are dropped silently",
        "",
    ),
    kind(
        "UNDERLAY_UNMARKED",
        "an uplink's packets are not asked for where they come from by their mark (`src_valid_mark`)",
        "where an overlay prefix covers a peer's address outside, the first path to it may not come up",
        "",
    ),
    kind(
        "ROUTER_ADVERTS_IGNORED",
        "a forwarding kernel that ignores an uplink's router advertisements",
        "the uplink loses its IPv6 address and route when they run out",
        "",
    ),
    kind(
        "STATE_DIR_MISSING",
        "there is no state directory",
        "nothing was enrolled here, or --state-dir is another one",
        "hawser-edge enrol --token-file FILE",
    ),
    kind(
        "STATE_DIR_UNREADABLE",
        "the doctor may not look into the state directory",
        "identity and generation were not examined",
        "run hawser-edge doctor as root, or as the agent's user",
    ),
    kind(
        "STATE_DIR_OPEN",
        "others may enter the state directory",
        "others may read this edge's identity, or change it",
        RESTRICT,
    ),
    kind(
        "KEY_OPEN",
        "others may read the private key",
        "who reads it can be this edge",
        "chmod 600 the file, then enrol anew: the key may be known",
    ),
    kind(
        "CLOCK_UNSYNCHRONISED",
        "no time service keeps the clock",
        "a clock that drifts makes certificates look expired, and histories of two edges disagree",
        ADJUST,
    ),
    kind(
        "CLOCK_OFF",
        "the clock is more than 10 s off the controller's",
        "certificates may look expired, or not yet valid; events are told with wrong times",
        ADJUST,
    ),
    kind(
        "NOT_ENROLLED",
        "there is no identity",
        "no controller and no peer knows this edge",
        "hawser token create on the controller, then hawser-edge enrol --token-file FILE",
    ),
    kind(
        "IDENTITY_UNUSABLE",
        "the identity can't be read, or does not fit together",
        "the agent does not start",
        "enrol again with a new token",
    ),
    kind(
        "CERTIFICATE_NOT_YET_VALID",
        "the certificate begins in the future",
        "no peer and no controller talks to this edge",
        ADJUST,
    ),
    kind(
        "CERTIFICATE_EXPIRED",
        "the certificate is over",
        "no peer and no controller talks to this edge",
        "check the clock; if it is right, hawser-edge enrol --replace",
    ),
    kind(
        "CERTIFICATE_NOT_RENEWED",
        "the certificate is past the middle between its half and its end",
        "it was to be renewed at half: when it ends, so do all tunnels",
        "let the agent reach its controller; see hawser-edge status",
    ),
    kind(
        "CONTROLLER_UNREACHABLE",
        "a controller does not answer",
        "tunnels go on; changes, certificates and reports wait",
        "let TCP to its address through",
    ),
    kind(
        "CONTROLLER_UNTRUSTED",
        "what answers does not prove that it is the controller, or does not trust this edge",
        "this edge takes no changes from there",
        "check the address and the clock; was this edge revoked, or the controller made anew?",
    ),
    kind(
        "AGENT_NOT_RUNNING",
        "no agent answers on the state directory's socket",
        "no path is kept, measured or moved",
        "systemctl start hawser-edge; journalctl -u hawser-edge says why it ended",
    ),
    kind(
        "NO_GENERATION",
        "no generation was applied yet",
        "uplinks, settings and IKE were not examined: nobody said what they shall be",
        "hawser plan, then hawser apply",
    ),
    kind(
        "PATH_DOWN",
        "a path is not up",
        "one way less to the peer",
        "hawser-edge paths, then hawser-edge why PEER",
    ),
    kind(
        "PATH_MTU_SMALL",
        "less than 1280 octets pass inside a path that is up",
        "IPv6 does not pass through it, and TCP is slow",
        "find the link that has the small MTU: tracepath towards the peer's endpoint",
    ),
    kind(
        "PATH_MTU_UNKNOWN",
        "no agent runs, and so nothing was measured",
        "it is not known how long packets may be towards the peers",
        "start the agent, then run hawser-edge doctor again",
    ),
    kind(
        "UPLINK_MISSING",
        "an uplink's interface is not there",
        "no path over it",
        "is the interface's name in the fleet's document right? ip link lists what is here",
    ),
    kind("UPLINK_NO_CARRIER", "an uplink is down", "no path over it", ""),
    kind(
        "UPLINK_NO_ADDRESS",
        "an uplink has no address that reaches further than its own link",
        "no path over it",
        "is its DHCP client running?",
    ),
    kind(
        "UPLINK_BEHIND_NAT",
        "an uplink has private addresses only",
        "peers can't begin a connection to it; two such uplinks may never meet",
        "fine towards hubs with public endpoints; else forward the fabric's UDP port, and name the uplink's endpoint in the document",
    ),
    kind(
        "IKE_UNAVAILABLE",
        "strongSwan is missing, silent, too old, or has not its plugins, and there are IKE tunnels",
        "no IKE tunnel comes up",
        "apt-get install charon-systemd",
    ),
    kind(
        "IKE_TUNNEL_PLUGIN",
        "charon has loaded no plugin for the kind of a tunnel's key, or for a group of its own",
        "this tunnel does not come up, or not with that group",
        "apt-get install libstrongswan-standard-plugins",
    ),
    kind(
        "GATEWAY_KERNEL_LACKS",
        "the kernel lacks IPsec, xfrm interfaces or GRE, and a tunnel with a gateway needs it",
        "no tunnel that needs it comes up",
        "modprobe xfrm_user esp4 xfrm_interface ip_gre",
    ),
    kind(
        "GATEWAY_KEYS",
        "a key or a certificate of a tunnel with a gateway is missing, or no good",
        "this tunnel is blocked; nothing for it leaves in clear",
        "hawser-edge secret set NAME",
    ),
    kind(
        "IKE_NOT_NEEDED",
        "no generation asks for IKE tunnels here",
        "nothing: strongSwan was not examined",
        "",
    ),
];
