//! `GET /style.css`: the one style sheet.

use axum::http::header;
use axum::response::IntoResponse;
use builder_store::Sha256;

const STYLE: &str = include_str!("../../templates/style.css");

/// Where pages find it: a name that changes with its content.
pub fn url() -> String {
    let digest = Sha256::of(STYLE.as_bytes()).to_hex();
    format!("/style.css?v={}", &digest[..12])
}

/// The style sheet.
pub async fn get() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ],
        STYLE,
    )
}
