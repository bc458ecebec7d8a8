//! Over real sockets on loopback: the scrape endpoint, and both of OTLP's protocols.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hawser_proto::agent::v1::PathSample;
use hawser_telemetry::catalogue::{EDGE_UPTIME, Scope};
use hawser_telemetry::{
    About, LogSink, PathNames, PathRow, Snapshot, Source, TelemetryFlags, put_paths, start,
};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

fn about() -> About {
    About { service: "hawser-edge", version: "1", fleet: "acme".into(), instance: "b1-1".into() }
}

/// Tells one path less at each collection.
fn source() -> Source {
    let left = Arc::new(AtomicU64::new(3));
    Arc::new(move || {
        let left = left.clone();
        Box::pin(async move {
            let left = left.fetch_sub(1, Ordering::Relaxed) as u32;
            let mut snapshot = Snapshot::of_fleet("acme");
            let edge = snapshot.set(Scope::Site, &["b1", "b1-1"]);
            snapshot.put(&EDGE_UPTIME, edge, &[], 1.5);
            let sample = |path_id| PathSample { path_id, ..PathSample::default() };
            let samples: Vec<PathSample> = (1..=left).map(sample).collect();
            let names =
                PathNames { site: "b1", edge: "", uplink: "", peer_site: "", peer_uplink: "" };
            let rows: Vec<_> = samples.iter().map(|sample| PathRow { names, sample }).collect();
            put_paths(&mut snapshot, &rows, 1_000);
            Some(snapshot)
        })
    })
}

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    let read = tokio::time::timeout(SOON, socket.read_to_string(&mut answer)).await;
    read.expect("an answer").expect("an answer in UTF-8");
    answer
}

#[tokio::test]
async fn a_scrape_has_what_there_is_now_and_nothing_else_is_served() {
    let flags = TelemetryFlags {
        metrics_listen: Some(([127, 0, 0, 1], 0).into()),
        ..TelemetryFlags::default()
    };
    let stop = CancellationToken::new();
    let running = start(&flags, about(), source(), &LogSink::default(), stop.clone())
        .await
        .expect("it starts");
    let address = running.listening.expect("it listens");
    let get = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let first = ask(address, get).await;
    assert!(first.starts_with("HTTP/1.1 200 OK"), "{first}");
    assert!(
        first
            .contains("hawser_edge_uptime_seconds{fleet=\"acme\",site=\"b1\",edge=\"b1-1\"} 1.5\n")
    );
    assert!(first.contains("path=\"3\""));
    let second = ask(address, get).await;
    assert!(second.contains("path=\"2\"") && !second.contains("path=\"3\""), "{second}");
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = ask(address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    let third = ask(address, get).await;
    assert!(third.contains("hawser_telemetry_scrapes_total{outcome=\"refused\"} 2\n"), "{third}");
    stop.cancel();
}

struct Receiver(mpsc::Sender<(String, ExportMetricsServiceRequest)>);

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let key = request.metadata().get("x-test").map(|v| v.to_str().unwrap_or_default());
        let told = (key.unwrap_or_default().to_owned(), request.into_inner());
        let _ = self.0.send(told).await;
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn pushing(endpoint: String, protocol: &str) -> TelemetryFlags {
    TelemetryFlags {
        otlp_endpoint: Some(endpoint),
        otlp_protocol: Some(protocol.to_owned()),
        otlp_interval_ms: Some(500),
        ..TelemetryFlags::default()
    }
}

fn names(request: &ExportMetricsServiceRequest) -> Vec<String> {
    let scopes = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
    scopes.flat_map(|s| &s.metrics).map(|m| m.name.clone()).collect()
}

#[tokio::test]
async fn otlp_is_pushed_by_grpc() {
    let (told, mut heard) = mpsc::channel(8);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let service = MetricsServiceServer::new(Receiver(told));
    let router = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(router.serve_with_incoming(incoming));
    let stop = CancellationToken::new();
    let flags = pushing(format!("http://{address}"), "grpc");
    start(&flags, about(), source(), &LogSink::default(), stop.clone()).await.expect("it starts");
    let (_, request) =
        tokio::time::timeout(SOON, heard.recv()).await.expect("a push").expect("a push");
    assert!(names(&request).contains(&"hawser.edge.uptime".to_owned()));
    let resource = request.resource_metrics[0].resource.as_ref().expect("a resource");
    assert!(resource.attributes.iter().any(|a| a.key == "service.instance.id"));
    stop.cancel();
}

/// A CA's certificate in a file, and what a server on loopback needs to be believed by whoever trusts it.
fn authority(folder: &std::path::Path) -> (std::path::PathBuf, tonic::transport::ServerTlsConfig) {
    let mut params = rcgen::CertificateParams::new([]).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let file = folder.join("ca.pem");
    let ca = params.self_signed(&key).expect("a CA");
    std::fs::write(&file, ca.pem()).expect("written");
    let issuer = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let identity = tonic::transport::Identity::from_pem(certificate.pem(), key.serialize_pem());
    (file, tonic::transport::ServerTlsConfig::new().identity(identity))
}

#[tokio::test]
async fn otlp_goes_by_tls_and_to_nobody_who_is_not_known() {
    let (told, mut heard) = mpsc::channel(8);
    let (ours, theirs) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let (ca, tls) = authority(ours.path());
    let (other_ca, _) = authority(theirs.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let service = MetricsServiceServer::new(Receiver(told));
    let server = tonic::transport::Server::builder().tls_config(tls).expect("an identity");
    tokio::spawn({ server }.add_service(service).serve_with_incoming(incoming));

    let stop = CancellationToken::new();
    let trusting = |ca| TelemetryFlags {
        otlp_ca_file: Some(ca),
        metrics_listen: Some(([127, 0, 0, 1], 0).into()),
        ..pushing(format!("https://{address}"), "grpc")
    };
    let strangers =
        start(&trusting(other_ca), about(), source(), &LogSink::default(), stop.clone())
            .await
            .expect("it starts");
    let scrape = strangers.listening.expect("it listens");
    let get = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let failed = async {
        while !ask(scrape, get)
            .await
            .contains("hawser_telemetry_pushes_total{outcome=\"failed\"} 1")
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, failed).await.expect("the push to a stranger fails");
    assert!(heard.try_recv().is_err(), "nothing is told to a stranger");

    let _known = start(&trusting(ca), about(), source(), &LogSink::default(), stop.clone())
        .await
        .expect("it starts");
    let (_, request) =
        tokio::time::timeout(SOON, heard.recv()).await.expect("a push").expect("a push");
    assert!(names(&request).contains(&"hawser.edge.uptime".to_owned()));
    stop.cancel();
}

#[tokio::test]
async fn otlp_is_pushed_by_http() {
    let (told, mut heard) = mpsc::channel(8);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a connection");
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let told = told.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await?.to_bytes();
                let _ = told.send((path, body)).await;
                Ok::<_, hyper::Error>(Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
            }
        });
        let socket = hyper_util::rt::TokioIo::new(socket);
        let http = hyper::server::conn::http1::Builder::new();
        let _ = http.serve_connection(socket, service).await;
    });
    let stop = CancellationToken::new();
    let flags = pushing(format!("http://{address}"), "http/protobuf");
    start(&flags, about(), source(), &LogSink::default(), stop.clone()).await.expect("it starts");
    let (path, body) =
        tokio::time::timeout(SOON, heard.recv()).await.expect("a push").expect("a push");
    assert_eq!(path, "/v1/metrics");
    let request = ExportMetricsServiceRequest::decode(body).expect("OTLP");
    assert!(names(&request).contains(&"hawser.edge.uptime".to_owned()));
    stop.cancel();
}
