//! How datagrams of the peer connections leave: through the data plane, or through anything else in a test.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::id::UplinkId;

use crate::dataplane::DataPlane;

/// Sends one datagram of a peer connection.
pub trait FabricSender: Send + Sync + 'static {
    /// `payload` is a QUIC packet; the non-ESP marker (RFC 3948 section 2.2) is added below. `WouldBlock` when the
    /// socket is full.
    fn send(&self, uplink: UplinkId, to: SocketAddr, payload: &[u8]) -> io::Result<()>;

    /// Done when sending is worth another try after `WouldBlock`. Without news from the socket that is a pause: longer
    /// than a socket buffer of a fast uplink takes to drain a little, too short to matter to a handshake.
    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(1)))
    }
}

/// Sends through the data plane's sockets.
pub struct DataPlaneSender(pub Arc<dyn DataPlane>);

impl FabricSender for DataPlaneSender {
    fn send(&self, uplink: UplinkId, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        self.0.send_datagram(uplink, to, payload, None)
    }
}
