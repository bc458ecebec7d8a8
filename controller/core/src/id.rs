//! Numbers that the controller allocates. Ordered, so that what is listed by them is stable.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The highest that fits on the wire; 0 stands for none.
            pub const MAX: u32 = $max;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One edge of the fleet; the lower ID wins where two edges must agree.
    EdgeId, u32::MAX
);
id!(
    /// One uplink, unique in the fleet.
    UplinkId, u32::MAX
);
id!(
    /// The logical connection of two edges.
    TunnelId, u32::MAX
);
id!(
    /// One uplink to one uplink, of one address family: the high 24 bits of the GRE key.
    PathId, (1 << 24) - 1
);
id!(
    /// A routing domain: the low 8 bits of the GRE key. 0 is the infrastructure's own.
    SegmentId, 255
);
id!(
    /// A traffic class of the fleet.
    ClassId, u32::MAX
);
