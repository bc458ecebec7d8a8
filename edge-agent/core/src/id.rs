//! Identifiers, as the controller allocates them. Ordered, so that what is listed by them is stable.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One edge of the fleet; the lower ID wins where two edges must agree.
    EdgeId(u32)
);
id!(
    /// One uplink, unique in the fleet.
    UplinkId(u32)
);
id!(
    /// One path, the same at both ends; below 2^24.
    PathId(u32)
);
id!(
    /// The logical connection of two edges.
    TunnelId(u32)
);
id!(
    /// A routing domain; 0 is the infrastructure's own.
    SegmentId(u8)
);
id!(
    /// A traffic class of the fleet.
    ClassId(u32)
);
id!(
    /// A security parameter index (RFC 4303 section 2.1); the receiver picks it, 256 or more.
    Spi(u32)
);

impl SegmentId {
    /// Carries probes, never a LAN's packets.
    pub const INFRASTRUCTURE: SegmentId = SegmentId(0);
}

/// The GRE key of a path's segment: path ID (24 bits), then segment ID (8 bits).
pub fn gre_key(path: PathId, segment: SegmentId) -> u32 {
    debug_assert!(path.0 < 1 << 24);
    path.0 << 8 | u32::from(segment.0)
}

/// Takes a GRE key apart again.
pub fn from_gre_key(key: u32) -> (PathId, SegmentId) {
    (PathId(key >> 8), SegmentId((key & 0xff) as u8))
}
