//! One HTTP client, with TLS by rustls, for both of OTLP's protocols.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::body::Body;

use super::settings::{OtlpError, Protocol, Settings};
use crate::tls;
use crate::words::{chain, words};

/// Of an answer, which says little.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One of OTLP's requests, with its service and its answer.
pub trait Export: Message + Default + 'static {
    type Answer: Message + Default + 'static;
    const METHOD: &'static str;

    /// How much the collector did not take, of what, and why.
    fn rejected(answer: Self::Answer) -> Option<(i64, &'static str, String)>;
}

macro_rules! export {
    ($request:ty, $answer:ty, $method:literal, $count:ident, $what:literal) => {
        impl Export for $request {
            type Answer = $answer;
            const METHOD: &'static str = $method;

            fn rejected(answer: Self::Answer) -> Option<(i64, &'static str, String)> {
                let part = answer.partial_success.filter(|part| part.$count > 0)?;
                Some((part.$count, $what, part.error_message))
            }
        }
    };
}

export!(
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    rejected_data_points,
    "points"
);
export!(
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    rejected_spans,
    "spans"
);
export!(
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    rejected_log_records,
    "log records"
);

type HttpClient = Client<HttpsConnector<HttpConnector>, Body>;

pub struct Transport {
    protocol: Protocol,
    endpoint: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    client: HttpClient,
}

impl Transport {
    /// # Errors
    /// A certificate or key can't be used.
    pub fn new(settings: Settings) -> Result<Self, OtlpError> {
        let encrypted = settings.endpoint.scheme_str() == Some("https");
        let identity = (settings.client_certificate.as_ref(), settings.client_key.as_ref());
        let tls = tls::client_config(encrypted, settings.ca.as_ref(), identity)?;
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let grpc = settings.protocol == Protocol::Grpc;
        let connector =
            if grpc { https.enable_http2().build() } else { https.enable_http1().build() };
        let client = Client::builder(TokioExecutor::new()).http2_only(grpc).build(connector);
        Ok(Transport {
            protocol: settings.protocol,
            endpoint: settings.endpoint,
            headers: settings.headers,
            timeout: settings.timeout,
            client,
        })
    }

    /// # Errors
    /// Why it did not arrive, for people.
    pub async fn send<E: Export>(&self, message: E) -> Result<(), String> {
        let sent = async {
            match self.protocol {
                Protocol::Grpc => self.send_grpc(message).await,
                Protocol::HttpProtobuf => self.send_http(&message).await,
            }
        };
        let answer = tokio::time::timeout(self.timeout, sent).await;
        let answer = answer.map_err(|_| "the collector did not answer in time".to_owned())??;
        match E::rejected(answer) {
            Some((n, what, why)) => {
                Err(format!("the collector rejected {n} {what}: {}", words(&why)))
            }
            None => Ok(()),
        }
    }

    async fn send_grpc<E: Export>(&self, message: E) -> Result<E::Answer, String> {
        let mut client =
            tonic::client::Grpc::with_origin(self.client.clone(), self.endpoint.clone());
        client.ready().await.map_err(|error| chain(&error))?;
        let mut request = tonic::Request::from_parts(
            tonic::metadata::MetadataMap::from_headers(self.headers.iter().cloned().collect()),
            tonic::Extensions::default(),
            message,
        );
        request.set_timeout(self.timeout);
        let codec = tonic_prost::ProstCodec::<E, E::Answer>::default();
        let answer = client.unary(request, PathAndQuery::from_static(E::METHOD), codec).await;
        answer.map(tonic::Response::into_inner).map_err(|status| {
            format!("{}: {}", status.code().description(), words(status.message()))
        })
    }

    async fn send_http<E: Export>(&self, message: &E) -> Result<E::Answer, String> {
        let body = Body::new(Full::new(Bytes::from(message.encode_to_vec())));
        let mut request = Request::post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(body)
            .map_err(|error| error.to_string())?;
        request.headers_mut().extend(self.headers.iter().cloned());
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if !status.is_success() {
            return Err(format!("{status}: {}", words(&String::from_utf8_lossy(&body))));
        }
        // Some collectors answer with nothing, or with JSON: they took it all the same.
        Ok(E::Answer::decode(body).unwrap_or_default())
    }
}
