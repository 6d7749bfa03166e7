//! `GET /style.css`, `/script.js`, `/logo`: the few files that every page uses.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use builder_store::Sha256;

use crate::app::App;
use crate::error::{Error, Result};
use crate::headers::FILE_POLICY;
use crate::pack::pack;
use crate::query::Query;
use crate::respond::{self, Accepts, Encoding};
use crate::share::Picture;
use crate::urls;

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::text(
        include_str!("../../templates/style.css"),
        "text/css; charset=utf-8",
    )
});
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::text(
        include_str!("../../templates/script.js"),
        "text/javascript; charset=utf-8",
    )
});

/// Drawn of `assets/share.svg`, 1200 by 630 pixels, since who shows previews takes no SVG:
/// `chromium --headless --window-size=1200,630 --screenshot=share.png share.svg`.
static PICTURE: LazyLock<Asset> = LazyLock::new(|| {
    let plain = Bytes::from_static(include_bytes!("../../assets/share.png"));
    Asset {
        content_type: "image/png",
        version: version(&plain),
        plain,
        gzip: None,
        zstd: None,
    }
});

/// A file that is sent as it is, with its packed forms.
struct Asset {
    content_type: &'static str,
    /// The name of its content.
    version: String,
    plain: Bytes,
    gzip: Option<Bytes>,
    zstd: Option<Bytes>,
}

impl Asset {
    fn text(text: &'static str, content_type: &'static str) -> Asset {
        let plain = Bytes::from_static(text.as_bytes());
        Asset {
            content_type,
            version: version(&plain),
            gzip: pack(plain.clone(), Encoding::Gzip).ok(),
            zstd: pack(plain.clone(), Encoding::Zstd).ok(),
            plain,
        }
    }
}

/// A name that changes with the content.
fn version(bytes: &[u8]) -> String {
    Sha256::of(bytes).to_hex()[..12].to_owned()
}

/// Where pages find the style sheet: a name that changes with its content.
pub fn style_url() -> String {
    format!("/style.css?v={}", STYLE.version)
}

/// Where pages find the script.
pub fn script_url() -> String {
    format!("/script.js?v={}", SCRIPT.version)
}

/// By which pages, and their policy, know the script: nothing else may be run in its place.
pub fn script_digest() -> String {
    let digest = Sha256::of(&SCRIPT.plain);
    format!("sha256-{}", STANDARD.encode(digest.as_bytes()))
}

/// Where pages find a logo of this content.
pub fn logo_url(logo: &[u8]) -> String {
    format!("/logo?v={}", version(logo))
}

/// What is shown beside a page that is shared, of a site without a logo that would do.
pub fn picture() -> Picture {
    Picture {
        url: format!("{}?v={}", urls::pattern::PICTURE, PICTURE.version),
        content_type: PICTURE.content_type,
        alt: "Reproducible builds: build it again, and compare".to_owned(),
        size: Some((1200, 630)),
    }
}

/// That picture.
pub async fn share(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    send(&PICTURE, query, &headers)
}

/// The style sheet.
pub async fn style(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    send(&STYLE, query, &headers)
}

/// The script.
pub async fn script(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    send(&SCRIPT, query, &headers)
}

/// The operator's logo. An SVG may hold a script: nothing in it runs.
pub async fn logo(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let logo = app.config().site.logo.as_ref();
    let logo = logo.ok_or_else(|| Error::NotFound("this site has no logo".to_owned()))?;
    let asset = Asset {
        content_type: logo.content_type,
        version: version(&logo.bytes),
        plain: Bytes::copy_from_slice(&logo.bytes),
        gzip: None,
        zstd: None,
    };
    let mut response = send(&asset, query, &headers);
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(FILE_POLICY),
    );
    Ok(response)
}

/// By the name that pages use it never changes; by another one it is what it is now, since a page
/// may come from a server that is older or newer than this one.
fn send(asset: &Asset, query: Option<String>, headers: &HeaderMap) -> Response {
    let lasting = Query::parse(query.as_deref()).get("v") == Some(asset.version.as_str());
    let mut response = if respond::none_match(headers, &asset.version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let encoding = Accepts::of(headers).encoding;
        let packed = match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => asset.gzip.clone(),
            Encoding::Zstd => asset.zstd.clone(),
        };
        match (packed, encoding.name()) {
            (Some(packed), Some(name)) => {
                let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static(name))];
                (encoding, Body::from(packed)).into_response()
            }
            _ => Body::from(asset.plain.clone()).into_response(),
        }
    };
    let cached = if lasting {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, cached),
        (header::VARY, "accept-encoding"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Weak: the packed forms are one file.
    headers.insert(
        header::ETAG,
        respond::value(format!("W/\"{}\"", asset.version)),
    );
    response
}
