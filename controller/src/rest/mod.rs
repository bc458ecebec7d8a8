//! REST: translation only, as gRPC is. Same operations, same checks, same errors; JSON in and out, but for documents, which
//! are what they are. Described by OpenAPI 3.1 at `/openapi.json`, to be tried at `/docs`.

mod access;
mod authority;
mod by_path;
mod certificates;
mod change;
mod document;
mod extract;
mod idempotency;
mod look;
mod model;
mod people;
mod problem;
mod served;
mod session;
mod trend;
mod unread;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use utoipa::openapi::Server;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::console;
use crate::service::Controller;
use by_path::ByPath;
pub use by_path::Doors;
use problem::{Problem, ProblemBody};
pub use served::while_served;

/// Bodies that are no document.
const MAX_BODY_BYTES: usize = 64 << 10;
/// A document and one octet more: the decoder says what is wrong with it then.
const MAX_DOCUMENT_BYTES: usize = (4 << 20) + 1;

/// What every handler has.
#[derive(Debug, Clone)]
struct Api {
    controller: Arc<Controller>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hawser controller",
        description = "What operators ask of a fleet's controller. Errors are problem details (RFC 9457) with a stable code.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody)),
    modifiers(&Bearer),
    security(("token" = [])),
    tags(
        (name = "fleet", description = "The document, its revisions, what they change"),
        (name = "state", description = "What is, and what happened"),
        (name = "rollout", description = "Staged rollouts and maintenance"),
        (name = "people", description = "Tokens and the audit log"),
        (name = "health", description = "For those who watch the process"),
    ),
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

fn documented() -> OpenApiRouter<Api> {
    let documents = OpenApiRouter::new()
        .routes(routes!(document::get_fleet, document::put_fleet))
        .routes(routes!(document::validate))
        .routes(routes!(document::plan))
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT_BYTES));
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(document::list_revisions))
        .routes(routes!(document::get_revision))
        .routes(routes!(document::get_revision_document))
        .routes(routes!(document::diff))
        .routes(routes!(document::rollback))
        .routes(routes!(look::status))
        .routes(routes!(look::sites))
        .routes(routes!(look::paths))
        .routes(routes!(look::decisions))
        .routes(routes!(look::explain))
        .routes(routes!(look::events))
        .routes(routes!(look::advice))
        .routes(routes!(watch::watch))
        .routes(routes!(change::get_rollout))
        .routes(routes!(change::confirm_rollout))
        .routes(routes!(change::abort_rollout))
        .routes(routes!(change::list_drains))
        .routes(routes!(change::drain, change::undrain))
        .routes(routes!(trend::history))
        .routes(routes!(session::sign_in, session::who, session::sign_out))
        .routes(routes!(certificates::revoke))
        .routes(routes!(certificates::replace))
        .routes(routes!(authority::look))
        .routes(routes!(authority::rotate))
        .routes(routes!(authority::retire))
        .routes(routes!(people::list_tokens, people::create_token))
        .routes(routes!(people::revoke_token))
        .routes(routes!(people::list_audit))
        .routes(routes!(look::healthz))
        .routes(routes!(look::readyz))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .merge(documents)
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = documented().to_openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut openapi.info.version);
    openapi
}

/// Everything but gRPC, of one fleet.
pub fn router(controller: &Arc<Controller>) -> Router {
    let api = Api { controller: Arc::clone(controller) };
    let (router, _) = documented().split_for_parts();
    let description = openapi();
    // Relative, for those who come by path.
    let config = utoipa_swagger_ui::Config::new(["../openapi.json"]).validator_url("none");
    let page = utoipa_swagger_ui::SwaggerUi::new("/docs").config(config);
    router
        .route("/openapi.json", get(move |server: Here| server.describe(description.clone())))
        .fallback(nothing_here)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::map_response(without_sniffing))
        .layer(middleware::from_fn(unread::read_to_the_end))
        .with_state(api)
        .merge(page)
        .merge(console::router())
}

/// Where the API is, as who asks sees it.
struct Here(Option<ByPath>);

impl<S: Send + Sync> FromRequestParts<S> for Here {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ByPath>().cloned()))
    }
}

impl Here {
    /// Without `servers` it is the root.
    async fn describe(
        self,
        mut description: utoipa::openapi::OpenApi,
    ) -> Json<utoipa::openapi::OpenApi> {
        let server = self.0.map(|by_path| Server::new(by_path.prefix()));
        description.servers = server.map(|server| vec![server]);
        Json(description)
    }
}

async fn nothing_here(uri: Uri, headers: HeaderMap) -> Response {
    if is_grpc(&headers) {
        return tonic::Status::unimplemented(
            "METHOD_UNKNOWN: there is no such call; look at the reflection",
        )
        .into_http::<axum::body::Body>()
        .into_response();
    }
    let detail = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "ROUTE_UNKNOWN", detail, "look at /openapi.json")
        .into_response()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

async fn no_such_method() -> Problem {
    let detail = "this can't be done here".to_owned();
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_UNKNOWN", detail, "look at /openapi.json")
}

async fn without_sniffing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
