//! The scrape endpoint: HTTP/1.1, `GET /metrics`, nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::run::Collector;
use crate::text;

/// More scrapers than anybody has.
const CONNECTIONS_MAX: usize = 16;
/// Collections at once: each holds a snapshot until it is sent.
const COLLECTIONS_MAX: usize = 2;
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// A scraper that reads slower than this gets no end.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, Infallible>;

#[derive(Debug, Default)]
pub struct ScrapeCounts {
    pub answered: AtomicU64,
    pub refused: AtomicU64,
}

struct Endpoint {
    collector: Arc<Collector>,
    collections: Arc<Semaphore>,
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, collector: Arc<Collector>, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let endpoint =
        Arc::new(Endpoint { collector, collections: Arc::new(Semaphore::new(COLLECTIONS_MAX)) });
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            // Mostly too many open files: others must get a chance to close some.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = connections.clone().try_acquire_owned() else {
            endpoint.collector.scrapes.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (endpoint, stop) = (endpoint.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(endpoint.clone(), request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(REQUEST_WITHIN).keep_alive(false);
            let connection = http.serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::time::timeout(ANSWER_WITHIN, connection) => {}
            }
            drop(place);
        });
    }
}

async fn answer(
    endpoint: Arc<Endpoint>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let counts = &endpoint.collector.scrapes;
    let refusal = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => None,
        (_, "/metrics") => Some((StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n")),
        _ => Some((StatusCode::NOT_FOUND, "metrics are at /metrics\n")),
    };
    if let Some((status, message)) = refusal {
        counts.refused.fetch_add(1, Ordering::Relaxed);
        return Ok(plain(status, message));
    }
    let Ok(place) = endpoint.collections.clone().acquire_owned().await else {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"));
    };
    let Some(snapshot) = endpoint.collector.collect().await else {
        counts.refused.fetch_add(1, Ordering::Relaxed);
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "nothing could be collected\n"));
    };
    counts.answered.fetch_add(1, Ordering::Relaxed);
    let pieces = text::chunks(snapshot).map(move |piece| {
        let _ = &place;
        Ok(Frame::data(Bytes::from(piece)))
    });
    let mut response = Response::new(StreamBody::new(stream::iter(pieces)).boxed());
    let kind = header::HeaderValue::from_static(text::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn plain(status: StatusCode, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(message.as_bytes())).boxed());
    *response.status_mut() = status;
    response
}
