//! Any bytes as the target and headers of a request: nothing panics, nothing is our fault, and
//! nothing of it comes back in a header as it was sent.
#![no_main]

use std::cell::OnceCell;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request};
use builder_store::Store;
use builder_web::app::App;
use builder_web::config::Config;
use builder_web::{Clock, routes};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

struct Site {
    router: Router,
    runtime: Runtime,
    _directory: TempDir,
}

thread_local! {
    static SITE: OnceCell<Site> = const { OnceCell::new() };
}

/// Headers that are read.
const HEADERS: [&str; 12] = [
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
];

fn site() -> Site {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut config = Config::new(directory.path().into(), directory.path().into());
    config.limits.disk_reserve_bytes = 0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    Site {
        router: routes::router(App::new(store, config, Clock::System)),
        runtime,
        _directory: directory,
    }
}

// The first line is the target, each other one a byte that picks a header and its value.
fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Ok(uri) = axum::http::Uri::try_from(lines.next().unwrap_or_default()) else {
        return;
    };
    if !uri.path().starts_with('/') {
        return;
    }
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    for line in lines {
        let Some((picked, value)) = line.split_first() else {
            continue;
        };
        if *picked == b'P' {
            *request.method_mut() = Method::POST;
            continue;
        }
        let name = HEADERS[usize::from(*picked) % HEADERS.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            let name = HeaderName::from_static(name);
            request.headers_mut().append(name, value);
        }
    }
    SITE.with(|cell| {
        let site = cell.get_or_init(site);
        site.runtime.block_on(async {
            let Ok(response) = site.router.clone().oneshot(request).await;
            let status = response.status().as_u16();
            assert!(status < 500, "{status}");
            for value in response.headers().values() {
                assert!(
                    value
                        .as_bytes()
                        .iter()
                        .all(|byte| (0x20..0x7f).contains(byte))
                );
            }
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(
                !body
                    .windows(8)
                    .any(|some| some.eq_ignore_ascii_case(b"<script>"))
            );
        });
    });
});
