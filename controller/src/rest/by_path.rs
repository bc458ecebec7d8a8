//! `/f/FLEET/…`: REST and console of any fleet of the process, at the name of the first.
//!
//! Only the address of who asks goes along. A client's certificate was judged by the first fleet's CA and is worth nothing elsewhere, so it stays behind; tokens
//! and sessions are the named fleet's own, and so are its limits. gRPC is not here: its clients ask for a fleet by the name that TLS carries.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, RwLock, RwLockWriteGuard};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{Extensions, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::any;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::codegen::Service as _;

use super::problem::Problem;
use super::served::not_served;
use crate::grpc::PeerInfo;
use crate::metrics::UnknownFleets;
use crate::service::Controller;

const BELOW: &str = "/f/";
/// Requests of one fleet that are under way by path, streams of events too. They share the first fleet's connections, and must leave room there.
const MAX_UNDER_WAY: usize = 1_024;

/// In the extensions of a request that came by path.
#[derive(Debug, Clone)]
pub struct ByPath(Arc<str>);

impl ByPath {
    pub fn fleet(&self) -> &str {
        &self.0
    }

    /// What stands before every path of the fleet, without a `/` at its end.
    pub fn prefix(&self) -> String {
        format!("{BELOW}{}", self.0)
    }
}

/// Where each fleet's requests go; none: it is not served.
#[derive(Debug)]
pub struct Doors {
    doors: RwLock<BTreeMap<String, Option<Arc<Door>>>>,
    unknown: Arc<UnknownFleets>,
}

#[derive(Debug)]
struct Door {
    controller: Arc<Controller>,
    router: Router,
    places: Arc<Semaphore>,
}

impl Doors {
    pub fn new(unknown: Arc<UnknownFleets>) -> Self {
        Self { doors: RwLock::default(), unknown }
    }

    /// `router`: the fleet's own.
    pub fn add(&self, controller: &Arc<Controller>, router: Router) {
        let places = Arc::new(Semaphore::new(MAX_UNDER_WAY));
        let door = Door { controller: Arc::clone(controller), router, places };
        let fleet = controller.fleet_name().to_owned();
        self.write().insert(fleet, Some(Arc::new(door)));
    }

    /// One that could not be opened.
    pub fn add_closed(&self, fleet: &str) {
        self.write().entry(fleet.to_owned()).or_default();
    }

    /// Connections of the first fleet that do not end hold no other fleet's store.
    pub fn close(&self) {
        self.write().values_mut().for_each(|door| *door = None);
    }

    /// To be merged with the first fleet's own.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/f/{*rest}", any(pass)).with_state(Arc::clone(self))
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Option<Arc<Door>>>> {
        self.doors.write().unwrap_or_else(|e| e.into_inner())
    }

    fn door(&self, fleet: &str, peer: &PeerInfo) -> Result<Arc<Door>, Problem> {
        let known = self.doors.read().unwrap_or_else(|e| e.into_inner()).get(fleet).cloned();
        let Some(door) = known else {
            self.unknown.asked_by_path(peer.address);
            let detail = "there is no fleet of this name here".to_owned();
            let mend = "check the name: /f/FLEET/";
            return Err(Problem::new(StatusCode::NOT_FOUND, "FLEET_UNKNOWN", detail, mend));
        };
        let served = door.filter(|door| !door.controller.stopping().is_cancelled());
        served.ok_or_else(|| not_served(fleet))
    }
}

async fn pass(State(doors): State<Arc<Doors>>, request: Request) -> Result<Response, Problem> {
    let peer = request.extensions().get::<PeerInfo>().ok_or_else(Problem::no_peer)?;
    let peer = PeerInfo { certificate: None, ..peer.clone() };
    let below = request.uri().path().strip_prefix(BELOW).unwrap_or_default();
    // Names are not decoded: a proper one needs no escapes.
    let fleet = below.split('/').next().unwrap_or_default();
    let door = doors.door(fleet, &peer)?;
    let by_path = ByPath(fleet.into());
    let Some(inner) = uri_within(request.uri(), &by_path) else {
        return Ok(Redirect::permanent(&format!("{}/", by_path.prefix())).into_response());
    };
    let Ok(place) = Arc::clone(&door.places).try_acquire_owned() else {
        door.controller.count("requests_by_path_over_limit");
        let detail = "too many requests of this fleet are under way by path".to_owned();
        let mend = "try again in a moment, or ask for the fleet by its name";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "BUSY", detail, mend));
    };
    let prefix = by_path.prefix();
    let (mut parts, body) = request.into_parts();
    parts.uri = inner;
    // All of them: the first fleet's router has left its own there.
    parts.extensions = Extensions::new();
    parts.extensions.insert(peer);
    parts.extensions.insert(by_path);
    let Ok(mut response) = door.router.clone().call(Request::from_parts(parts, body)).await;
    stay_below(&mut response, &prefix);
    Ok(response.map(|body| Body::new(Held { body, _place: place })))
}

/// As the fleet's own router sees it; none: the `/` after the name is missing.
fn uri_within(uri: &Uri, by_path: &ByPath) -> Option<Uri> {
    let whole = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let inner = whole.strip_prefix(&by_path.prefix())?;
    if inner.starts_with('/') { inner.parse().ok() } else { None }
}

/// Redirections of the fleet's router are to its own paths.
fn stay_below(response: &mut Response, prefix: &str) {
    let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    let below = location.filter(|to| to.starts_with('/')).map(|to| format!("{prefix}{to}"));
    if let Some(below) = below.and_then(|to| HeaderValue::try_from(to).ok()) {
        response.headers_mut().insert(header::LOCATION, below);
    }
}

/// An answer that has its place until it is sent.
struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
