//! What is wrong with a document, where, and what to do about it.

use std::fmt;

use crate::limits::MAX_FAULTS;

/// One thing wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Stable, upper case; one of [`code`].
    pub code: &'static str,
    /// Where, e.g. `sites[1].lans[0].prefixes[0]`; empty: the document as a whole. Syntax: `line 3, column 7`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for hawser_proto::agent::v1::Fault {
    fn from(fault: Fault) -> Self {
        let Fault { code, path, message, mend } = fault;
        Self { code: code.to_owned(), path, message, mend }
    }
}

/// Faults as they are found, up to [`MAX_FAULTS`].
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
    left_out: usize,
}

impl Faults {
    pub fn add(
        &mut self,
        code: &'static str,
        path: impl fmt::Display,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        if self.list.len() + 1 >= MAX_FAULTS {
            self.left_out += 1;
            return;
        }
        let path = path.to_string();
        self.list.push(Fault { code, path, message: message.into(), mend: mend.into() });
    }

    pub fn into_list(mut self) -> Vec<Fault> {
        if self.left_out > 0 {
            self.list.push(Fault {
                code: code::TOO_MANY_FAULTS,
                path: String::new(),
                message: format!("{} more faults are not listed", self.left_out),
                mend: "mend those that are listed, then validate again".to_owned(),
            });
        }
        self.list
    }
}

/// Text of the document in a message: short, and without control characters that a terminal would obey.
pub(crate) fn quote(text: &str) -> String {
    const MAX_CHARS: usize = 64;
    let mut shown: String = text.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// The codes of faults. They never change their meaning.
        pub mod code {
            $($(#[$doc])* pub const $name: &str = stringify!($name);)*

            /// Every one of them.
            pub const ALL: &[&str] = &[$($name),*];
        }
    };
}

codes! {
    /// Over 4 MiB.
    DOCUMENT_TOO_LARGE
    /// Not UTF-8.
    DOCUMENT_ENCODING
    /// Neither YAML nor JSON.
    DOCUMENT_SYNTAX
    /// Nested too deep, too many nodes, aliases that multiply.
    DOCUMENT_TOO_COMPLEX
    /// Nothing in it.
    DOCUMENT_EMPTY
    TOO_MANY_FAULTS
    /// No such field here.
    UNKNOWN_FIELD
    /// The same field twice in one mapping.
    DUPLICATE_FIELD
    MISSING_FIELD
    WRONG_TYPE
    /// Not one of the words that may stand here.
    UNKNOWN_WORD
    OUT_OF_RANGE
    /// Not a number and a unit.
    QUANTITY_INVALID
    UNIT_MISSING
    /// No unit of such a quantity.
    UNIT_UNKNOWN
    /// Two spellings of one thing.
    FIELD_CONFLICT
    TOO_MANY_ENTRIES
    TOO_MANY_SITES
    TOO_MANY_PREFIXES
    TOO_MANY_TUNNELS
    TOO_MANY_PATHS
    /// Not a DNS label.
    NAME_INVALID
    INTERFACE_INVALID
    /// Used twice in one edge.
    INTERFACE_CLASH
    ADDRESS_INVALID
    ADDRESS_NOT_USABLE
    /// Two uplinks of one transport.
    ADDRESS_CLASH
    ADDRESS_FAMILY
    ENDPOINT_INVALID
    PREFIX_INVALID
    HOST_BITS_SET
    PREFIX_NOT_USABLE
    PREFIX_OVERLAP
    PORT_RESERVED
    PORT_RANGE_INVALID
    SLA_LIMIT_ZERO
    SLA_WITHOUT_LIMIT
    UNKNOWN_PRESET
    SENSITIVITY_WITHOUT_LIMIT
    MENDED_BEFORE_DAMAGE
    /// Weights for a class that is not balanced.
    BALANCE_BY_UNUSED
    SUITE_WEAK
    SUITE_UNKNOWN
    DATE_INVALID
    /// An old suite without one.
    WAIVER_MISSING
    WAIVER_EXPIRED
    /// The suite needs none.
    WAIVER_UNUSED
    MATCH_EMPTY
    MATCH_NEVER
    DEFAULT_CLASS_MATCHES
    /// An IKE tunnel's peer would be reached through the tunnel itself.
    IKE_PEER_INSIDE
    /// An identity that IKE can't carry.
    IKE_IDENTITY_INVALID
    /// A gateway's CA that is no certificate in PEM.
    IKE_CERTIFICATE_INVALID
    /// What a tunnel's mode can't be had with.
    IKE_MODE_CONFLICT
    /// An IKE tunnel without a pair of prefixes of one family.
    IKE_PREFIXES_UNPAIRED
    /// No LAN of the edge's site and of the segment has it.
    IKE_PREFIX_NOT_LOCAL
    /// strongSwan has no such suite.
    IKE_SUITE_UNSUPPORTED
    /// More uplinks times addresses than are probed.
    IKE_TOO_MANY_LINKS
    /// What is to be probed through an IKE tunnel is not at its other end.
    IKE_PROBE_NOT_BEYOND
    /// No suite for keys that nobody renews, or none of AH.
    MANUAL_SUITE
    /// An SPI that would not tell two tunnels apart.
    MANUAL_SPI_TWICE
    /// A key for two directions or tunnels.
    MANUAL_KEY_TWICE
    /// A key itself stands in no document.
    MANUAL_KEY_NOT_A_NAME
    SITE_WITHOUT_EDGE
    EDGE_WITHOUT_UPLINK
    LAN_WITHOUT_PREFIX
    HUB_MISSING
    HUB_IS_SPOKE
    TOPOLOGY_TOO_SMALL
    PAIR_INVALID
    PROFILE_CONFLICT
    TUNNEL_WITHOUT_PATH
    DUPLICATE_SITE
    DUPLICATE_EDGE
    DUPLICATE_UPLINK
    DUPLICATE_IKE_TUNNEL
    DUPLICATE_MANUAL_TUNNEL
    DUPLICATE_SEGMENT
    DUPLICATE_SLA_CLASS
    DUPLICATE_TRAFFIC_CLASS
    DUPLICATE_TUNNEL_PROFILE
    DUPLICATE_TOPOLOGY
    DUPLICATE_LAN
    DUPLICATE_PREFIX
    DUPLICATE_MEMBER
    DUPLICATE_VALUE
    UNKNOWN_SITE
    UNKNOWN_UPLINK
    UNKNOWN_SEGMENT
    UNKNOWN_SLA_CLASS
    UNKNOWN_TUNNEL_PROFILE
    UNKNOWN_TRANSPORT
    /// An edge said that it can't do what is newly asked of it.
    CAPABILITY_MISSING
    /// Numbers of a kind are used up.
    NUMBERS_EXHAUSTED
}
