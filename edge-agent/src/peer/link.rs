//! One connection: the handshake, the hellos, then messages both ways.

use std::sync::Arc;

use hawser_edge_core::id::EdgeId;
use hawser_edge_core::keys::ConnectionNo;
use hawser_proto::peer::v1::peer_message::Message;
use hawser_proto::peer::v1::{PeerHello, PeerMessage};
use quinn::{Connecting, Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;

use super::actor::Input;
use super::close::{Close, Ended};
use super::hello::{self, Expected};
use super::identity::{EdgeCertificate, dns_name, serial};
use super::routes::RealAddress;
use super::shared::Shared;
use super::virtual_address::VirtualPeer;
use super::wire;

/// A connection whose ends have greeted each other.
pub(super) struct Greeted {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    pub(super) hello: PeerHello,
    pub(super) certificate: EdgeCertificate,
    /// Of the whole chain.
    pub(super) serials: Vec<Vec<u8>>,
    pub(super) opened_here: bool,
    /// Where an accepted handshake came from.
    pub(super) seen_at: Option<RealAddress>,
}

/// Opens a connection to a peer, wherever its candidates are.
pub(super) async fn open(
    shared: Arc<Shared>,
    edge: EdgeId,
    edge_name: String,
) -> Result<Greeted, Ended> {
    let to = VirtualPeer::Edge(edge).address(shared.settings.fabric_port);
    let name = dns_name(&shared.settings.fleet, &edge_name);
    let config = shared.client.load().as_ref().clone();
    let connecting =
        shared.endpoint.connect_with(config, to, &name).map_err(|e| Ended::new("transport", e))?;
    let connection = connecting.await?;
    let (certificate, serials) = certificate(&connection)?;
    let (mut send, mut recv) = connection.open_bi().await?;
    wire::write(&mut send, &message(Message::Hello(shared.own_hello(edge)))).await?;
    let expected = Expected { fleet: &shared.settings.fleet, edge_name: &edge_name, edge };
    let hello = read_hello(&connection, &mut recv, expected).await?;
    Ok(Greeted {
        connection,
        send,
        recv,
        hello,
        certificate,
        serials,
        opened_here: true,
        seen_at: None,
    })
}

/// An accepted connection, up to knowing who opened it.
pub(super) struct Named {
    connection: Connection,
    serials: Vec<Vec<u8>>,
    pub(super) certificate: EdgeCertificate,
}

/// Finishes the handshake of an accepted connection.
pub(super) async fn identify(connecting: Connecting) -> Result<Named, Ended> {
    let connection = connecting.await?;
    let (certificate, serials) = certificate(&connection)?;
    Ok(Named { connection, serials, certificate })
}

impl Named {
    /// Nobody that we have a tunnel to.
    pub(super) fn refuse(self, close: Close) {
        close.end(&self.connection);
    }

    /// Hears the opener's hello and says ours.
    pub(super) async fn greet(
        self,
        shared: &Shared,
        edge: EdgeId,
        seen_at: RealAddress,
    ) -> Result<Greeted, Ended> {
        let Named { connection, serials, certificate } = self;
        let (mut send, mut recv) = connection.accept_bi().await?;
        let expected =
            Expected { fleet: &shared.settings.fleet, edge_name: &certificate.edge, edge };
        let hello = read_hello(&connection, &mut recv, expected).await?;
        wire::write(&mut send, &message(Message::Hello(shared.own_hello(edge)))).await?;
        Ok(Greeted {
            connection,
            send,
            recv,
            hello,
            certificate,
            serials,
            opened_here: false,
            seen_at: Some(seen_at),
        })
    }
}

async fn read_hello(
    connection: &Connection,
    recv: &mut RecvStream,
    expected: Expected<'_>,
) -> Result<PeerHello, Ended> {
    let checked = match wire::read(recv).await.map(|read| read.message) {
        Ok(Some(Message::Hello(hello))) => {
            hello::check(&hello, expected).map(|()| hello).map_err(Ended::from)
        }
        Ok(_) => Err(Ended::new("protocol", "the first message is no hello")),
        Err(error) => Err(Ended::from(error)),
    };
    if checked.as_ref().is_err_and(|ended| ended.code == "protocol") {
        Close::Protocol.end(connection);
    }
    checked
}

/// The peer's certificate, verified in the handshake.
fn certificate(connection: &Connection) -> Result<(EdgeCertificate, Vec<Vec<u8>>), Ended> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or_else(|| Ended::new("bad_certificate", "the peer showed none"))?;
    let leaf = chain.first().ok_or_else(|| Ended::new("bad_certificate", "an empty chain"))?;
    let parsed = EdgeCertificate::parse(leaf).map_err(|e| Ended::new("bad_certificate", e))?;
    Ok((parsed, chain.iter().filter_map(|der| serial(der)).collect()))
}

/// Wraps one.
pub(super) fn message(message: Message) -> PeerMessage {
    PeerMessage { message: Some(message) }
}

/// Reads until the connection ends, then says why.
pub(super) async fn read_all(no: ConnectionNo, mut recv: RecvStream, inputs: mpsc::Sender<Input>) {
    let ended = loop {
        match wire::read(&mut recv).await {
            Ok(PeerMessage { message: Some(message) }) => {
                if inputs.send(Input::Message(no, message)).await.is_err() {
                    return;
                }
            }
            // A kind of message that a later version has.
            Ok(PeerMessage { message: None }) => {}
            Err(error) => break Ended::from(error),
        }
    };
    let _ = inputs.send(Input::Closed(no, ended)).await;
}

/// Writes what the actor puts in, until it drops its end.
pub(super) async fn write_all(mut send: SendStream, mut outbox: mpsc::Receiver<Message>) {
    while let Some(next) = outbox.recv().await {
        // The reader sees the connection end, and says so.
        if wire::write(&mut send, &message(next)).await.is_err() {
            return;
        }
    }
}
