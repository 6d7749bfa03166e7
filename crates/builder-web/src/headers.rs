//! Headers that every answer has, and the log line of every request.

use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, debug, info, info_span};

/// What our pages may do: show themselves with our style sheet, script and pictures (the icon is in
/// the page), and send our forms.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";
/// What an uploaded file may do when a browser shows it: nothing, and not as of our origin.
pub const FILE_POLICY: &str = "sandbox; default-src 'none'";

/// Nothing that was uploaded runs, and nothing is taken for what it is not.
pub async fn security(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(PAGE_POLICY));
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

/// One line a request, when its answer begins: reads at debug level, the rest at info.
pub async fn log(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let begin = Instant::now();
    let span = info_span!("request", %method, path = ?path);
    let response = next.run(request).instrument(span).await;
    let status = response.status().as_u16();
    let ms = begin.elapsed().as_millis();
    if method.is_safe() {
        debug!(status, ms, "{method} {path:?}");
    } else {
        info!(status, ms, "{method} {path:?}");
    }
    response
}
