//! Pages as they were last shown: not made anew until something is written to the database, by
//! whichever process, or a short time has passed. Also gives pages their entity tag and packs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use builder_store::Sha256;
use http_body_util::BodyExt;
use prometheus_client::metrics::counter::Counter;

use crate::app::App;
use crate::client::Client;
use crate::config::Limits;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::origin;
use crate::pack::{PACKED_BYTES_MIN, pack};
use crate::query::{self, Query};
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

/// Two halves: what is asked for again moves to the young one. When that is full the old one is
/// dropped, so that what is asked for once does not push out what is asked for often.
#[derive(Debug, Default)]
struct Pages {
    young: HashMap<Key, Shown>,
    young_bytes: usize,
    old: HashMap<Key, Shown>,
    /// The parameters that the pages of a route looked at so far.
    parameters: HashMap<String, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    target: String,
    json: bool,
    encoding: Encoding,
    /// Its absolute links begin with it.
    origin: Arc<str>,
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

    /// What a request differs in from others of its route: its path, and the parameters that the
    /// pages of the route look at. None: that is not known yet.
    fn target(&self, route: &str, path: &str, query: Option<&str>) -> Option<String> {
        let Some(query) = query else {
            return Some(path.to_owned());
        };
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let parameters = pages.parameters.get(route)?;
        let query = Query::parse(Some(query));
        let mut target = path.to_owned();
        for name in parameters {
            if let Some(value) = query.get(name) {
                // With its length, so that no value is taken for the next parameter.
                target.push_str(&format!("?{name}:{}:{value}", value.len()));
            }
        }
        Some(target)
    }

    /// Notes that pages of a route look at these parameters.
    fn learn(&self, route: &str, asked: Vec<String>) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let known = pages.parameters.entry(route.to_owned()).or_default();
        for name in asked {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }

    fn get(&self, key: &Key, generation: i64) -> Option<Shown> {
        let good =
            |shown: &Shown| shown.generation == generation && shown.at.elapsed() < self.time_max;
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = pages.young.get(key) {
            return good(shown).then(|| shown.clone());
        }
        let (key, shown) = pages.old.remove_entry(key)?;
        if !good(&shown) {
            return None;
        }
        self.put(&mut pages, key, shown.clone());
        Some(shown)
    }

    fn keep(&self, key: Key, shown: Shown) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(&mut pages, key, shown);
    }

    fn put(&self, pages: &mut Pages, key: Key, shown: Shown) {
        let half = self.bytes_max / 2;
        let bytes = cost(&key, &shown);
        if bytes > half {
            return;
        }
        if let Some((key, old)) = pages.young.remove_entry(&key) {
            pages.young_bytes -= cost(&key, &old);
        }
        if pages.young_bytes + bytes > half {
            pages.old = std::mem::take(&mut pages.young);
            pages.young_bytes = 0;
        }
        pages.young_bytes += bytes;
        pages.young.insert(key, shown);
    }
}

fn cost(key: &Key, shown: &Shown) -> usize {
    shown.body.len() + key.target.len() + key.origin.len() + size_of::<Key>() + size_of::<Shown>()
}

/// Answers from the cache, or lets the page be made, and answers `If-None-Match`.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return next.run(request).await;
    }
    let headers = request.headers().clone();
    let accepts = Accepts::of(&headers);
    let uri = request.uri().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let client = request.extensions().get::<Client>();
    let origin: Arc<str> = origin::of(&app, client, &headers).into();
    let key = || {
        Some(Key {
            target: app.pages().target(route, uri.path(), uri.query())?,
            json: accepts.json,
            encoding: accepts.encoding,
            origin: origin.clone(),
        })
    };
    let generation = match app.store().generation() {
        Ok(generation) => generation,
        Err(error) => return Error::from(error).into_response(),
    };
    let known = key().and_then(|key| app.pages().get(&key, generation));
    let shown = match known {
        Some(shown) => {
            app.pages().hits.inc();
            shown
        }
        None => {
            app.pages().misses.inc();
            let (response, asked) =
                origin::scope(origin.clone(), query::noting(next.run(request))).await;
            app.pages().learn(route, asked);
            if response.status() != StatusCode::OK {
                return response;
            }
            // A page that waits for something is made anew at once.
            if response.headers().contains_key(header::REFRESH) {
                return response;
            }
            match show(&app, response, accepts.encoding, generation).await {
                Ok(shown) => {
                    if let Some(key) = key() {
                        app.pages().keep(key, shown.clone());
                    }
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
