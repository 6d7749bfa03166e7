//! `GET /robots.txt`: crawlers need not fetch what is large or endless.

use axum::http::header;
use axum::response::IntoResponse;

use crate::respond;

const ROBOTS: &str = "\
User-agent: *
Disallow: /job/*/build/*/f/
Disallow: /job/*/build/*/main-binary
Disallow: /job/*/build/*/script
Disallow: /job/*/build/*/console
Disallow: /job/*/build/*/all.tar.gz
Disallow: /job/*/build/*/exec
Disallow: /compare/
Disallow: /search
Disallow: /api/
";

/// What crawlers are asked to leave alone.
pub async fn get() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, respond::TEXT)], ROBOTS)
}
