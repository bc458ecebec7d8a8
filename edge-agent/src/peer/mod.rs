//! The peer connection of each tunnel: QUIC on the fabric port, keys for every path.
