//! Headers that every answer has, and the log line and the count of every request.

use std::sync::LazyLock;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, debug, info, info_span};

use crate::app::App;
use crate::client::{Client, Encrypted, Misaddressed, Peer, REQUEST_ID};
use crate::error::Error;
use crate::metrics::Held;
use crate::pages::assets;
use crate::respond;

/// What our pages may do: show themselves with our style sheet, pictures (the icon is in the page,
/// pictures of builds are in frames) and the one script, whatever else this server has; and send our
/// forms.
static PAGE_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    respond::value(format!(
        "default-src 'none'; style-src 'self'; script-src '{}'; img-src 'self' data:; connect-src 'self'; \
         frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
        assets::script_digest()
    ))
});
/// What an uploaded file may do when a browser shows it: nothing, and not as of our origin.
pub const FILE_POLICY: &str = "sandbox; default-src 'none'";

/// Nothing that was uploaded runs, and nothing is taken for what it is not.
pub async fn security(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert_with(|| PAGE_POLICY.clone());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// Refuses a request that does not say which host it is for, and reads no other after it.
pub async fn host(request: Request, next: Next) -> Response {
    if request.extensions().get::<Misaddressed>().is_none() {
        return next.run(request).await;
    }
    let what = "a request says which host it is for, once, in a Host header";
    let mut response = Error::BadRequest(what.to_owned()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// One line a request, when its answer begins: reads at debug level, the rest at info. Notes who
/// asks for those that follow, names the request, and counts it.
pub async fn log(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let metrics = app.metrics();
    let held = Held::new(&metrics.requests_in_flight);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let peer = request.extensions().get::<Peer>().copied();
    let mut client = Client::of(peer, request.headers(), &app.config().trusted_proxies);
    if request.extensions().get::<Encrypted>().is_some() {
        client.scheme.get_or_insert("https");
    }
    let id = client.request_id.clone();
    let from = client.address_text();
    request.extensions_mut().insert(client);
    let span = info_span!("request", id = id.as_str(), %method, path = ?path);
    let mut response = next.run(request).instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id.header());
    drop(held);
    let status = response.status().as_u16();
    let took = begin.elapsed();
    let route = route.as_ref().map(MatchedPath::as_str);
    metrics.request(route, status, took);
    let (id, ms) = (id.as_str(), took.as_millis());
    if method.is_safe() {
        debug!(status, ms, id, from, "{method} {path:?}");
    } else {
        info!(status, ms, id, from, "{method} {path:?}");
    }
    response
}
