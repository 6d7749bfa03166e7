//! Pages as they were last shown: not made anew until something is written to the database, by
//! whichever process, or a short time has passed. Also gives pages their entity tag and packs them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use builder_store::Sha256;
use http_body_util::BodyExt;
use prometheus_client::metrics::counter::Counter;

use crate::app::App;
use crate::config::Limits;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::pack::{PACKED_BYTES_MIN, pack};
use crate::respond::{self, Accepts, Encoding};

/// Pages as they were last shown.
#[derive(Debug)]
pub struct PageCache {
    bytes_max: usize,
    time_max: Duration,
    pages: Mutex<Pages>,
    hits: Counter,
    misses: Counter,
}

#[derive(Debug, Default)]
struct Pages {
    by_request: HashMap<Key, Shown>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    target: String,
    json: bool,
    encoding: Encoding,
}

#[derive(Debug, Clone)]
struct Shown {
    generation: i64,
    at: Instant,
    content_type: HeaderValue,
    tag: HeaderValue,
    encoding: Encoding,
    body: Bytes,
}

impl PageCache {
    /// An empty one.
    pub fn new(limits: &Limits, metrics: &Metrics) -> PageCache {
        PageCache {
            bytes_max: limits.page_cache_bytes_max,
            time_max: limits.page_cache_time_max,
            pages: Mutex::default(),
            hits: metrics.page_cache(true),
            misses: metrics.page_cache(false),
        }
    }

    fn get(&self, key: &Key, generation: i64) -> Option<Shown> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = pages.by_request.get(key)?;
        (shown.generation == generation && shown.at.elapsed() < self.time_max)
            .then(|| shown.clone())
    }

    fn keep(&self, key: Key, shown: Shown) {
        let bytes = cost(&key, &shown);
        if bytes > self.bytes_max {
            return;
        }
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.bytes + bytes > self.bytes_max {
            // What is asked for often is soon back.
            *pages = Pages::default();
        }
        pages.bytes += bytes;
        if let Some((key, old)) = pages.by_request.remove_entry(&key) {
            pages.bytes -= cost(&key, &old);
        }
        pages.by_request.insert(key, shown);
    }
}

fn cost(key: &Key, shown: &Shown) -> usize {
    shown.body.len() + key.target.len() + size_of::<Key>() + size_of::<Shown>()
}

/// Answers from the cache, or lets the page be made, and answers `If-None-Match`.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return next.run(request).await;
    }
    let headers = request.headers().clone();
    let accepts = Accepts::of(&headers);
    let target = request
        .uri()
        .path_and_query()
        .map_or_else(String::new, |target| target.as_str().to_owned());
    let key = Key {
        target,
        json: accepts.json,
        encoding: accepts.encoding,
    };
    let generation = match app.store().generation() {
        Ok(generation) => generation,
        Err(error) => return Error::from(error).into_response(),
    };
    let shown = match app.pages().get(&key, generation) {
        Some(shown) => {
            app.pages().hits.inc();
            shown
        }
        None => {
            app.pages().misses.inc();
            let response = next.run(request).await;
            if response.status() != StatusCode::OK {
                return response;
            }
            // A page that waits for something is made anew at once.
            if response.headers().contains_key(header::REFRESH) {
                return response;
            }
            match show(&app, response, accepts.encoding, generation).await {
                Ok(shown) => {
                    app.pages().keep(key, shown.clone());
                    shown
                }
                Err(error) => return error.into_response(),
            }
        }
    };
    let tag = shown.tag.to_str().unwrap_or_default();
    let bare = tag.trim_start_matches("W/").trim_matches('"');
    let mut response = if respond::none_match(&headers, bare) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(shown.body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, shown.content_type);
        if let Some(name) = shown.encoding.name() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, shown.tag);
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding"),
    );
    // May be kept, and is asked for again each time: a page changes with the next upload.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn show(
    app: &App,
    response: Response,
    encoding: Encoding,
    generation: i64,
) -> Result<Shown, Error> {
    let content_type = response
        .headers()
        .get(header::CONTENT_TYPE)
        .cloned()
        .unwrap_or_else(|| HeaderValue::from_static(respond::HTML));
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(Error::internal)?
        .to_bytes();
    let encoding = if (body.len() as u64) < PACKED_BYTES_MIN {
        Encoding::Identity
    } else {
        encoding
    };
    let (body, tag) = app
        .blocking(move |_| {
            // Weak: the packed forms are one page.
            let digest = Sha256::of(&body).to_hex();
            let tag = respond::value(format!("W/\"{}\"", &digest[..32]));
            pack(body, encoding).map(|body| (body, tag))
        })
        .await?
        .map_err(Error::internal)?;
    Ok(Shown {
        generation,
        at: Instant::now(),
        content_type,
        tag,
        encoding,
        body,
    })
}
