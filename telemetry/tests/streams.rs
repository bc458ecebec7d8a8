//! Spans and log lines over real sockets on loopback, by both of OTLP's protocols.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_telemetry::{
    About, LogSink, Signal, Snapshot, Source, TelemetryFlags, TraceContext, start,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;

const SOON: Duration = Duration::from_secs(30);

fn about() -> About {
    About { service: "hawser-edge", version: "1", fleet: "acme".into(), instance: "b1-1".into() }
}

fn source() -> Source {
    Arc::new(|| Box::pin(async { Some(Snapshot::default()) }))
}

fn flags(endpoint: SocketAddr, protocol: &str) -> TelemetryFlags {
    TelemetryFlags {
        otlp_endpoint: Some(format!("http://{endpoint}")),
        otlp_protocol: Some(protocol.to_owned()),
        otlp_signals: vec![Signal::Traces, Signal::Logs],
        ..TelemetryFlags::default()
    }
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<Span> {
    let scopes = request.resource_spans.iter().flat_map(|r| &r.scope_spans);
    scopes.flat_map(|s| s.spans.clone()).collect()
}

/// Answers 503 to its first request, then takes what comes.
async fn receiver() -> (SocketAddr, mpsc::Receiver<(String, Bytes)>) {
    let (told, heard) = mpsc::channel(16);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let refused = Arc::new(std::sync::atomic::AtomicBool::new(false));
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let (told, refused) = (told.clone(), refused.clone());
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (told, refused) = (told.clone(), refused.clone());
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await?.to_bytes();
                    let mut response = Response::new(Empty::<Bytes>::new());
                    if refused.swap(true, std::sync::atomic::Ordering::SeqCst) {
                        let _ = told.send((path, body)).await;
                    } else {
                        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    }
                    Ok::<_, hyper::Error>(response)
                }
            });
            let socket = hyper_util::rt::TokioIo::new(socket);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(socket, service),
            );
        }
    });
    (address, heard)
}

#[tokio::test]
async fn spans_and_lines_go_out_by_http_after_a_refusal_too() {
    let (address, mut heard) = receiver().await;
    let (stop, logs) = (CancellationToken::new(), LogSink::default());
    let flags = flags(address, "http/protobuf");
    let running = start(&flags, about(), source(), &logs, stop.clone()).await.expect("it starts");
    let whole = running.spans.open("whole", None).attribute("hawser.edge", "b1-1");
    let part = running.spans.open("part", Some(whole.context()));
    let (context, child) = (whole.context(), part.context());
    running.spans.of_fleet("beta").open("other", None).done();
    part.end(Err("it broke"));
    whole.done();
    let subscriber = tracing_subscriber::registry().with(logs.layer());
    tracing::subscriber::with_default(subscriber, || tracing::warn!(code = "A_CODE", "said"));
    let (mut seen_spans, mut seen_lines) = (Vec::new(), Vec::new());
    while seen_spans.len() < 3 || seen_lines.is_empty() {
        let (path, body) = timeout(SOON, heard.recv()).await.expect("a push").expect("a push");
        match path.as_str() {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
                seen_spans.extend(spans(&request));
            }
            "/v1/logs" => {
                let request = ExportLogsServiceRequest::decode(body).expect("OTLP");
                let scopes = request.resource_logs.into_iter().flat_map(|r| r.scope_logs);
                seen_lines.extend(scopes.flat_map(|s| s.log_records));
            }
            other => panic!("{other}"),
        }
    }
    let [other, part, whole] = &seen_spans[..] else { panic!("{seen_spans:?}") };
    assert_eq!((whole.name.as_str(), part.name.as_str()), ("whole", "part"));
    let parent = format!("00-{}-{}-01", hex(&whole.trace_id), hex(&whole.span_id));
    assert_eq!(TraceContext::parse(&parent), Some(context));
    let own = format!("00-{}-{}-01", hex(&part.trace_id), hex(&part.span_id));
    assert_eq!(TraceContext::parse(&own), Some(child));
    assert_eq!(part.parent_span_id, whole.span_id);
    assert_eq!(part.status.as_ref().map(|s| s.message.as_str()), Some("it broke"));
    assert!(whole.start_time_unix_nano <= part.start_time_unix_nano);
    assert!(whole.attributes.iter().any(|a| a.key == "hawser.edge"));
    for (span, fleet) in [(whole, "acme"), (part, "acme"), (other, "beta")] {
        let told = span.attributes.iter().find(|a| a.key == "fleet").and_then(|a| a.value.clone());
        let fleet = any_value::Value::StringValue(fleet.to_owned());
        assert_eq!(told.and_then(|told| told.value), Some(fleet), "{}", span.name);
    }
    assert_eq!(seen_lines[0].severity_text, "WARN");
    assert!(seen_lines[0].attributes.iter().any(|a| a.key == "code"));
    stop.cancel();
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

struct Collector(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let _ = self.0.send(request.into_inner()).await;
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn spans_go_out_by_grpc_and_the_last_ones_when_the_process_stops() {
    let (told, mut heard) = mpsc::channel(8);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let service = TraceServiceServer::new(Collector(told));
    let router = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(router.serve_with_incoming(incoming));
    let stop = CancellationToken::new();
    let (flags, logs) = (flags(address, "grpc"), LogSink::default());
    let running = start(&flags, about(), source(), &logs, stop.clone()).await.expect("it starts");
    running.spans.open("last", None).done();
    stop.cancel();
    let request = timeout(SOON, heard.recv()).await.expect("a push").expect("a push");
    assert_eq!(spans(&request)[0].name, "last");
}
