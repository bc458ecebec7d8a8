//! A controller's side of the wire: real TCP, TLS and HTTP/2; what it says is the test's.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_link_server::{AgentLink, AgentLinkServer};
use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::agent::v1::controller_message::Message as Down;
use hawser_proto::agent::v1::enrolment_server::{Enrolment, EnrolmentServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Certificate, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::{Ca, SOON};

type EnrolAnswer = dyn Fn(wire::EnrolRequest) -> Result<wire::EnrolResponse, Status> + Send + Sync;

/// A controller; it stops when it is dropped.
pub struct Peer {
    pub address: String,
    sessions: mpsc::Receiver<PeerSession>,
    _stop: DropGuard,
}

/// One session, as the controller holds it.
pub struct PeerSession {
    pub hello: wire::Hello,
    to_agent: mpsc::Sender<Result<wire::ControllerMessage, Status>>,
    from_agent: Streaming<wire::AgentMessage>,
}

struct Service {
    sessions: mpsc::Sender<PeerSession>,
    enrol: Mutex<Box<EnrolAnswer>>,
}

impl Peer {
    pub async fn start(ca: &Ca) -> Peer {
        Self::start_with(ca, |_| Err(Status::unimplemented("no enrolment here"))).await
    }

    pub async fn start_with(
        ca: &Ca,
        enrol: impl Fn(wire::EnrolRequest) -> Result<wire::EnrolResponse, Status>
        + Send
        + Sync
        + 'static,
    ) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tx, sessions) = mpsc::channel(8);
        let service = Arc::new(Service { sessions: tx, enrol: Mutex::new(Box::new(enrol)) });
        let (chain, key) = ca.controller_pem();
        let tls = ServerTlsConfig::new()
            .identity(tonic::transport::Identity::from_pem(chain, key))
            .client_ca_root(Certificate::from_pem(ca.root_pem()))
            .client_auth_optional(true);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(AgentLinkServer::from_arc(service.clone()))
            .add_service(EnrolmentServer::from_arc(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                served = server => served.unwrap(),
            }
        });
        Peer { address, sessions, _stop: stop.drop_guard() }
    }

    /// The next session, its Hello read.
    pub async fn session(&mut self) -> PeerSession {
        timeout(SOON, self.sessions.recv()).await.expect("a session in time").expect("it runs")
    }

    /// No session comes for a while.
    pub async fn stays_alone(&mut self, a_while: Duration) -> bool {
        timeout(a_while, self.sessions.recv()).await.is_err()
    }
}

impl PeerSession {
    pub async fn send(&self, message: Down) {
        let message = wire::ControllerMessage { message: Some(message) };
        // The agent may have hung up: what is expected of it shows that.
        let _ = self.to_agent.send(Ok(message)).await;
    }

    pub async fn welcome(&self, confirmed: Option<(u64, u64)>) {
        let confirmed = confirmed
            .map(|(epoch, number)| hawser_proto::config::v1::GenerationId { epoch, number });
        self.send(Down::Welcome(wire::Welcome {
            controller_version: "test".to_owned(),
            confirmed,
            telemetry_interval_ms: 500,
            ..Default::default()
        }))
        .await;
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<Up> {
        let next = timeout(SOON, self.from_agent.message()).await.expect("a message in time");
        next.ok().flatten().and_then(|m| m.message)
    }

    /// The next message that `wanted` takes; others are let pass.
    pub async fn expect<T>(&mut self, wanted: impl Fn(Up) -> Option<T>) -> T {
        loop {
            let message = self.next().await.expect("the session goes on");
            if let Some(got) = wanted(message) {
                return got;
            }
        }
    }
}

#[tonic::async_trait]
impl AgentLink for Service {
    type SessionStream = ReceiverStream<Result<wire::ControllerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        if request.peer_certs().is_none_or(|certs| certs.is_empty()) {
            return Err(Status::unauthenticated("no certificate"));
        }
        let mut from_agent = request.into_inner();
        let first = from_agent.message().await?.and_then(|m| m.message);
        let Some(Up::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no Hello"));
        };
        let (to_agent, rx) = mpsc::channel(8);
        let session = PeerSession { hello, to_agent, from_agent };
        self.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(rx)))
    }
}

#[tonic::async_trait]
impl Enrolment for Service {
    async fn enrol(
        &self,
        request: Request<wire::EnrolRequest>,
    ) -> Result<Response<wire::EnrolResponse>, Status> {
        let answer = self.enrol.lock().unwrap_or_else(PoisonError::into_inner);
        answer(request.into_inner()).map(Response::new)
    }
}

/// A wire that can be cut without either end being told.
pub struct Pipe {
    pub address: String,
    cut: Arc<AtomicBool>,
    _stop: DropGuard,
}

impl Pipe {
    pub async fn to(target: &str) -> Pipe {
        let target: SocketAddr = target.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let (flag, stopped) = (cut.clone(), stop.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                for (from, to) in [(near_read, far_write), (far_read, near_write)] {
                    let (flag, stopped) = (flag.clone(), stopped.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = stopped.cancelled() => {}
                            () = carry(from, to, &flag) => {}
                        }
                    });
                }
            }
        });
        Pipe { address, cut, _stop: stop.drop_guard() }
    }

    /// From now on nothing comes through, and nothing is closed.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    cut: &AtomicBool,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        if cut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match read {
            Ok(count) if count > 0 => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
