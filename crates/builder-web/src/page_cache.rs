//! Pages as they were last shown: not made anew until something is written to the database, by
//! whichever process, or a short time has passed; and made once for all who ask meanwhile. Also gives
//! pages their entity tag and packs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use builder_store::Sha256;
use http_body_util::BodyExt;
use prometheus_client::metrics::counter::Counter;
use tokio::time::timeout;

use crate::app::App;
use crate::client::Client;
use crate::config::Limits;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::once::Once;
use crate::origin;
use crate::pack::{PACKED_BYTES_MIN, pack};
use crate::places::{self, Who};
use crate::query::{self, Query};
use crate::respond::{self, Accepts, Encoding};

/// Pages as they were last shown.
#[derive(Debug)]
pub struct PageCache {
    bytes_max: usize,
    time_max: Duration,
    pages: Mutex<Pages>,
    under_way: Once<(Key, i64), Made>,
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

/// What was made for a request.
#[derive(Debug, Clone)]
struct Made {
    /// Of which page; that shows when it is made, see [`PageCache::target`].
    key: Option<Key>,
    /// For whom.
    who: Option<Who>,
    answer: Answer,
}

#[derive(Debug, Clone)]
enum Answer {
    Page(Shown),
    /// An error, or what is made anew at once.
    Else(Response<Bytes>),
}

impl Made {
    /// Whether it is as good for another who asked for a page while it was made.
    fn is_for(&self, key: Option<&Key>, who: Option<&Who>) -> bool {
        let is_refusal = match &self.answer {
            Answer::Page(_) => false,
            Answer::Else(answer) => answer.status() == StatusCode::SERVICE_UNAVAILABLE,
        };
        // Somebody else may find a place.
        self.key.as_ref() == key && (!is_refusal || self.who.as_ref() == who)
    }
}

impl PageCache {
    /// An empty one.
    pub fn new(limits: &Limits, metrics: &Metrics) -> PageCache {
        PageCache {
            bytes_max: limits.page_cache_bytes_max,
            time_max: limits.page_cache_time_max,
            pages: Mutex::default(),
            under_way: Once::default(),
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

/// What a request asks for.
#[derive(Debug, Clone)]
struct Asked {
    route: Option<MatchedPath>,
    uri: Uri,
    accepts: Accepts,
    origin: Arc<str>,
    who: Option<Who>,
}

impl Asked {
    fn of(app: &App, request: &Request) -> Asked {
        let headers = request.headers();
        let client = request.extensions().get::<Client>();
        Asked {
            route: request.extensions().get::<MatchedPath>().cloned(),
            uri: request.uri().clone(),
            accepts: Accepts::of(headers),
            origin: origin::of(app, client, headers).into(),
            who: Who::is(client),
        }
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or("", MatchedPath::as_str)
    }

    fn with_target(&self, target: String) -> Key {
        Key {
            target,
            json: self.accepts.json,
            encoding: self.accepts.encoding,
            origin: self.origin.clone(),
        }
    }

    /// Of which page; none: that is not known yet.
    fn key(&self, app: &App) -> Option<Key> {
        let (path, query) = (self.uri.path(), self.uri.query());
        let target = app.pages().target(self.route(), path, query)?;
        Some(self.with_target(target))
    }
}

/// Answers from the cache, or lets the page be made, and answers `If-None-Match`.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return next.run(request).await;
    }
    let headers = request.headers().clone();
    let asked = Asked::of(&app, &request);
    let generation = match generation(&app).await {
        Ok(generation) => generation,
        Err(error) => return error.into_response(),
    };
    let known = asked.key(&app);
    let known = known.and_then(|key| app.pages().get(&key, generation));
    let answer = match known {
        Some(shown) => {
            app.pages().hits.inc();
            Answer::Page(shown)
        }
        None => made_once(&app, asked, generation, request, next).await,
    };
    match answer {
        Answer::Page(shown) => answered(&headers, shown),
        Answer::Else(answer) => answer.map(Body::from),
    }
}

/// How often it is looked whether nobody else asks the database what state it is in.
const TURNS_MAX: usize = 16;
/// A database that takes longer to answer does not answer.
const DATABASE_TIME_MAX: Duration = Duration::from_secs(5);

/// The state of the database. Asked for on this thread: that takes some microseconds, and another
/// thread could not be woken in that time. On a disk that hangs this thread hangs with it, and no other
/// that answers requests: they ask one at a time, and who comes meanwhile has a thread ask that may
/// hang.
async fn generation(app: &App) -> Result<i64, Error> {
    for _ in 0..TURNS_MAX {
        if let Some(generation) = app.store().generation_unless_asked()? {
            return Ok(generation);
        }
        tokio::task::yield_now().await;
    }
    let asked = app.blocking(|app| app.store().generation());
    match timeout(DATABASE_TIME_MAX, asked).await {
        Ok(generation) => Ok(generation??),
        Err(_) => Err(Error::NotReady("the database does not answer".to_owned())),
    }
}

/// How often a request waits for what is made for another. After that it is made for this one, even if
/// the same is under way.
const JOINED_MAX: usize = 3;

/// Makes a page, or waits for it where somebody has asked for it already and nothing was written since.
async fn made_once(
    app: &App,
    asked: Asked,
    generation: i64,
    request: Request,
    next: Next,
) -> Answer {
    let mut request = Some((request, next));
    for _ in 0..JOINED_MAX {
        let key = asked.key(app).unwrap_or_else(|| {
            // No path has a blank: nothing else has this name.
            asked.with_target(format!("GET {}", asked.uri))
        });
        let of = (key.clone(), generation);
        let work = || {
            let request = request.take();
            let (app, asked) = (app.clone(), asked.clone());
            async move {
                // What was under way may have ended since it was looked for.
                if let Some(shown) = app.pages().get(&key, generation) {
                    app.pages().hits.inc();
                    return Made {
                        key: Some(key),
                        who: asked.who,
                        answer: Answer::Page(shown),
                    };
                }
                made(&app, asked, generation, request).await
            }
        };
        let came = match app.pages().under_way.done(of, work).await {
            Some(came) => came,
            None => return failed(),
        };
        let made = came.of_it;
        if came.is_own {
            return made.answer;
        }
        if made.is_for(asked.key(app).as_ref(), asked.who.as_ref()) {
            app.pages().hits.inc();
            return made.answer;
        }
    }
    made(app, asked, generation, request).await.answer
}

fn failed() -> Answer {
    Answer::Else(Error::Internal.into_response().map(|_| Bytes::new()))
}

/// Lets the page be made, and remembers it.
async fn made(app: &App, asked: Asked, generation: i64, request: Option<(Request, Next)>) -> Made {
    app.pages().misses.inc();
    let answer = match request {
        Some((request, next)) => {
            let page = query::noting(next.run(request));
            let page = places::scope(asked.who.clone(), page);
            let (response, parameters) = origin::scope(asked.origin.clone(), page).await;
            app.pages().learn(asked.route(), parameters);
            kept(app, response, asked.accepts.encoding, generation).await
        }
        // A request is made one answer for.
        None => Err(Error::Internal),
    };
    let key = asked.key(app);
    let answer =
        answer.unwrap_or_else(|error| Answer::Else(error.into_response().map(|_| Bytes::new())));
    if let (Answer::Page(shown), Some(key)) = (&answer, &key) {
        app.pages().keep(key.clone(), shown.clone());
    }
    Made {
        key,
        who: asked.who,
        answer,
    }
}

/// What was made, as it is remembered if it is a page.
async fn kept(
    app: &App,
    response: Response,
    encoding: Encoding,
    generation: i64,
) -> Result<Answer, Error> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(Error::internal)?.to_bytes();
    // A page that waits for something is made anew at once.
    if head.status != StatusCode::OK || head.headers.contains_key(header::REFRESH) {
        return Ok(Answer::Else(Response::from_parts(head, body)));
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).cloned();
    let content_type = content_type.unwrap_or_else(|| HeaderValue::from_static(respond::HTML));
    let encoding = if (body.len() as u64) < PACKED_BYTES_MIN {
        Encoding::Identity
    } else {
        encoding
    };
    let packed = app.blocking(move |_| {
        // Weak: the packed forms are one page.
        let digest = Sha256::of(&body).to_hex();
        let tag = respond::value(format!("W/\"{}\"", &digest[..32]));
        pack(body, encoding).map(|body| (body, tag))
    });
    let (body, tag) = packed.await?.map_err(Error::internal)?;
    Ok(Answer::Page(Shown {
        generation,
        at: Instant::now(),
        content_type,
        tag,
        encoding,
        body,
    }))
}

/// The answer to a request with these headers.
fn answered(headers: &HeaderMap, shown: Shown) -> Response {
    let tag = shown.tag.to_str().unwrap_or_default();
    let bare = tag.trim_start_matches("W/").trim_matches('"');
    let mut response = if respond::none_match(headers, bare) {
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
