//! Any bytes as a request, by way of a trusted proxy, to a site with builds: nothing panics, nothing is our fault, and nothing
//! of it comes back in a header or a page as it was sent. The first line is the target, each other
//! one a byte that picks a header and its value, or the method; what follows an empty line is the
//! body.

use std::cell::RefCell;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use builder_web::client::Peer;
use builder_web::routes;
use http_body_util::BodyExt;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use super::site::{PROXY, Site};

/// After so many requests a new site is begun: uploads and refusals fill it.
const REQUESTS_MAX: u32 = 5_000;

struct Served {
    router: Router,
    runtime: Runtime,
    requests: u32,
    _site: Site,
}

thread_local! {
    static SERVED: RefCell<Option<Served>> = const { RefCell::new(None) };
}

/// Headers that are read.
const HEADERS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "expect",
    "host",
    "if-none-match",
    "if-range",
    "range",
    "referer",
    "x-forwarded-for",
    "x-request-id",
    "x-forwarded-host",
    "sec-fetch-dest",
    "if-modified-since",
    "x-forwarded-proto",
];

fn serve() -> Served {
    let site = Site::with_builds();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    Served {
        router: routes::router(site.app.clone()),
        runtime,
        requests: 0,
        _site: site,
    }
}

/// One input.
pub fn run(data: &[u8]) {
    let Some(request) = request(data) else {
        return;
    };
    SERVED.with_borrow_mut(|now| {
        let served = now.get_or_insert_with(serve);
        served.runtime.block_on(async {
            let Ok(response) = served.router.clone().oneshot(request).await;
            let status = response.status().as_u16();
            assert!(status < 500, "{status}");
            // Ours, or the proxy's if it is one.
            let id = response.headers().get("x-request-id").unwrap();
            assert!(is_request_id(id.as_bytes()), "{id:?}");
            for value in response.headers().values() {
                let is_plain = |byte: &u8| (0x20..0x7f).contains(byte);
                assert!(value.as_bytes().iter().all(is_plain));
            }
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            if is_ours(&head.headers) {
                let is_script = |some: &[u8]| some.eq_ignore_ascii_case(b"<script>");
                assert!(!body.windows(8).any(is_script));
            }
        });
        served.requests += 1;
        if served.requests >= REQUESTS_MAX {
            *now = None;
        }
    });
}

/// Whether it can stand in a log and be searched for.
fn is_request_id(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=64).contains(&id.len()) && id.iter().all(is_plain)
}

/// Whether it is a page of ours, whose script is a file: a picture has its own in it, and an
/// uploaded file may have whatever it likes, in its sandbox.
fn is_ours(headers: &HeaderMap) -> bool {
    let of = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    of(header::CONTENT_TYPE).starts_with("text/html")
        && of(header::CONTENT_SECURITY_POLICY).contains("style-src 'self'")
        && of(header::CONTENT_ENCODING).is_empty()
}

fn request(data: &[u8]) -> Option<Request<Body>> {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let uri = Uri::try_from(lines.next()?).ok()?;
    if !uri.path().starts_with('/') {
        return None;
    }
    let mut request = Request::new(Body::from(body.to_vec()));
    *request.uri_mut() = uri;
    request.extensions_mut().insert(Peer::Address(PROXY));
    for line in lines {
        let Some((picked, value)) = line.split_first() else {
            continue;
        };
        match picked {
            b'P' => *request.method_mut() = Method::POST,
            b'H' => *request.method_mut() = Method::HEAD,
            picked => {
                let name = HEADERS[usize::from(*picked) % HEADERS.len()];
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    let name = HeaderName::from_static(name);
                    request.headers_mut().append(name, value);
                }
            }
        }
    }
    Some(request)
}
