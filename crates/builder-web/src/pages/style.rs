//! `GET /style.css`: the one style sheet.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_store::Sha256;

use crate::pack::pack;
use crate::query::Query;
use crate::respond::{self, Accepts, Encoding};

const STYLE: &str = include_str!("../../templates/style.css");

/// The name of its content.
static VERSION: LazyLock<String> =
    LazyLock::new(|| Sha256::of(STYLE.as_bytes()).to_hex()[..12].to_owned());
static GZIP: LazyLock<Option<Bytes>> = LazyLock::new(|| packed(Encoding::Gzip));
static ZSTD: LazyLock<Option<Bytes>> = LazyLock::new(|| packed(Encoding::Zstd));

fn packed(encoding: Encoding) -> Option<Bytes> {
    pack(Bytes::from_static(STYLE.as_bytes()), encoding).ok()
}

/// Where pages find it: a name that changes with its content.
pub fn url() -> String {
    format!("/style.css?v={}", *VERSION)
}

/// The style sheet. By the name that pages use it never changes; by another one it is what it is
/// now, since a page may come from a server that is older or newer than this one.
pub async fn get(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let lasting = Query::parse(query.as_deref()).get("v") == Some(VERSION.as_str());
    let mut response = if respond::none_match(&headers, &VERSION) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let encoding = Accepts::of(&headers).encoding;
        let packed = match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => GZIP.clone(),
            Encoding::Zstd => ZSTD.clone(),
        };
        match (packed, encoding.name()) {
            (Some(packed), Some(name)) => {
                let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static(name))];
                (encoding, Body::from(packed)).into_response()
            }
            _ => Body::from(STYLE).into_response(),
        }
    };
    let cached = if lasting {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, cached),
        (header::VARY, "accept-encoding"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Weak: the packed forms are one style sheet.
    headers.insert(header::ETAG, respond::value(format!("W/\"{}\"", *VERSION)));
    response
}
