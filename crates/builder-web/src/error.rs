//! What a request can end in other than its answer. The only place that picks an error's status;
//! [`render`] gives it the form the client asked for.

use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
pub use builder_store::with_causes;
use tracing::error;

use crate::app::App;
use crate::query::Query;
use crate::respond::{self, Accepts};
use crate::urls;

/// After how many seconds a server that is not ready may be.
const NOT_READY_SECONDS: u64 = 10;

/// The result of a handler.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request was not answered as asked.
#[derive(Debug, Clone)]
pub enum Error {
    /// There is no such page, job, build or artifact.
    NotFound(String),
    /// It was there, and was removed.
    Gone(String),
    /// The request is not one we can make sense of.
    BadRequest(String),
    /// Nobody, or nobody we know by that password, may do this.
    Unauthorized,
    /// What was given to log in with is what it should be, and is worth nothing any more.
    WorthNothing(String),
    /// This user may not do this.
    Forbidden(String),
    /// It is there already.
    Conflict(String),
    /// The upload is larger than allowed.
    TooLarge(String),
    /// The client stopped sending.
    Timeout(String),
    /// The disk is full.
    NoSpace,
    /// The range that was asked for is not in the file of this many bytes.
    RangeNotSatisfiable {
        /// The size of the whole.
        size: u64,
        /// What was wrong with it.
        why: &'static str,
    },
    /// Too many others ask for the same; later there may be a place.
    NoPlace(Duration),
    /// Too many wrong passwords came before.
    SlowedDown(Duration),
    /// The server cannot do its work now.
    NotReady(String),
    /// There is too much to do at the moment.
    Busy(String),
    /// A file is not what it was when it was kept; the log says which.
    Damaged,
    /// Our fault; the log has the cause.
    Internal,
}

impl Error {
    /// Notes `cause` in the log; the client learns only that it was our fault.
    pub fn internal(cause: impl std::fmt::Display) -> Error {
        error!("{cause}");
        Error::Internal
    }

    /// Notes in the log which file is damaged, and how that was seen.
    pub fn damaged(cause: impl std::fmt::Display) -> Error {
        error!("{cause}; see builder-db verify-data-dir --repair");
        Error::Damaged
    }

    fn status(&self) -> StatusCode {
        match self {
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Gone(_) => StatusCode::GONE,
            Error::BadRequest(_) => StatusCode::BAD_REQUEST,
            Error::Unauthorized | Error::WorthNothing(_) => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Conflict(_) => StatusCode::CONFLICT,
            Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            Error::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Error::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Error::SlowedDown(_) => StatusCode::TOO_MANY_REQUESTS,
            Error::NoPlace(_) | Error::NotReady(_) | Error::Busy(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Error::Damaged | Error::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client is told.
    pub fn message(self) -> String {
        match self {
            Error::NotFound(message)
            | Error::Gone(message)
            | Error::BadRequest(message)
            | Error::WorthNothing(message)
            | Error::Forbidden(message)
            | Error::Conflict(message)
            | Error::TooLarge(message)
            | Error::Timeout(message)
            | Error::NotReady(message)
            | Error::Busy(message) => message,
            Error::Unauthorized => "a user name and password are needed for this".to_owned(),
            Error::NoSpace => {
                "the server's disk is full; try again when its operator has made room".to_owned()
            }
            Error::RangeNotSatisfiable { size, why } => format!("{why}; the file has {size} bytes"),
            Error::NoPlace(after) => format!(
                "the server has too much to do; try again in {} s",
                seconds(after)
            ),
            Error::SlowedDown(after) => format!(
                "too many wrong passwords; try again in {} s",
                seconds(after)
            ),
            Error::Damaged => "this file is damaged on the server's disk and is not sent; its \
                operator finds and mends such files with builder-db verify-data-dir --repair"
                .to_owned(),
            Error::Internal => {
                "internal server error; the server's log says what happened".to_owned()
            }
        }
    }
}

/// Whole seconds, at least one.
fn seconds(time: Duration) -> u64 {
    time.as_millis()
        .div_ceil(1000)
        .max(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

impl From<builder_store::Error> for Error {
    fn from(error: builder_store::Error) -> Error {
        use builder_store::Error as Store;
        match &error {
            Store::BuildExists { .. } | Store::JobNameTaken { .. } => {
                Error::Conflict(error.to_string())
            }
            Store::NotAdmitted => Error::Forbidden(error.to_string()),
            Store::JobIsLink { .. } => {
                error!("{}", with_causes(&error));
                Error::Conflict(error.to_string())
            }
            other if other.is_busy() => {
                error!("{}", with_causes(&error));
                Error::Busy("another process has locked the database; try again in 10 s".to_owned())
            }
            other if other.is_no_space() => {
                error!("{}", with_causes(&error));
                Error::NoSpace
            }
            _ => {
                error!("{}", with_causes(&error));
                Error::Internal
            }
        }
    }
}

/// What an answer's error says, for [`render`].
#[derive(Debug, Clone)]
struct Message(String);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        match &self {
            Error::Unauthorized | Error::WorthNothing(_) => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"builder-web\""),
                );
            }
            Error::Busy(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            }
            Error::RangeNotSatisfiable { size, .. } => {
                headers.insert(
                    header::CONTENT_RANGE,
                    respond::value(format!("bytes */{size}")),
                );
            }
            Error::NoPlace(after) | Error::SlowedDown(after) => {
                headers.insert(header::RETRY_AFTER, seconds(*after).into());
            }
            Error::NotReady(_) => {
                headers.insert(header::RETRY_AFTER, NOT_READY_SECONDS.into());
            }
            _ => {}
        }
        response.extensions_mut().insert(Message(self.message()));
        response
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    layout: &'a respond::Layout,
    status: StatusCode,
    title: &'a str,
    message: &'a str,
    back: Option<&'a str>,
}

/// The same where there is little room: in a frame of one of our pages, which goes on without it.
#[derive(Template)]
#[template(path = "error_frame.html")]
struct FramedErrorPage<'a> {
    layout: &'a respond::Layout,
    title: &'a str,
    message: &'a str,
}

/// Gives each error of a handler, and the router's own (404, 405), the form the client asked for:
/// JSON, a page, or for an upload or a question of health a line of text.
pub async fn render(State(app): State<App>, request: Request, next: Next) -> Response {
    let accepts = Accepts::of(request.headers());
    let method = request.method().clone();
    let back = referring_page(request.headers());
    // Browsers tell of frames only where the connection cannot be listened to.
    let is_framed = request
        .headers()
        .get("sec-fetch-dest")
        .is_some_and(|destination| destination == "iframe")
        || Query::parse(request.uri().query())
            .get(urls::FRAMED)
            .is_some();
    let target = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let message = response.extensions_mut().remove::<Message>();
    let message = match (message, status) {
        (Some(Message(message)), _) => message,
        (None, StatusCode::METHOD_NOT_ALLOWED) => format!("{method} is not possible here"),
        (None, StatusCode::NOT_FOUND) => format!("there is no page {target}"),
        (None, _) => status
            .canonical_reason()
            .unwrap_or("the request failed")
            .to_lowercase(),
    };
    let (content_type, body) = if accepts.json || target.starts_with(urls::API) {
        let body = serde_json::json!({ "error": message }).to_string();
        (respond::JSON, body)
    } else if urls::pattern::OF_HEALTH.contains(&target.trim_end_matches('/')) {
        // Whoever asks there shows what is answered in a line of something else.
        (respond::TEXT, message + "\n")
    } else if is_framed {
        let page = FramedErrorPage {
            layout: app.layout(),
            title: match status {
                StatusCode::NOT_FOUND => "Visualization not found",
                _ => "The visualization is not available",
            },
            message: &message,
        };
        (respond::HTML, page.render().unwrap_or(message))
    } else if method == Method::GET || method == Method::HEAD {
        let title = match status {
            StatusCode::NOT_FOUND => "This page does not exist",
            StatusCode::GONE => "This was removed",
            StatusCode::BAD_REQUEST => "This request makes no sense",
            _ => status.canonical_reason().unwrap_or("Error"),
        };
        let page = ErrorPage {
            layout: app.layout(),
            status,
            title,
            message: &message,
            back: back.as_deref(),
        };
        (respond::HTML, page.render().unwrap_or(message))
    } else {
        (respond::TEXT, message + "\n")
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, sec-fetch-dest"),
    );
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from(body)
    };
    *response.body_mut() = body;
    response
}

/// The page that linked here, if it is one of ours: its path and query.
fn referring_page(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let referer = headers.get(header::REFERER)?.to_str().ok()?;
    let rest = referer
        .strip_prefix("https://")
        .or_else(|| referer.strip_prefix("http://"))?;
    let path = rest.strip_prefix(host)?;
    (path.starts_with('/') && !path.starts_with("//")).then(|| path.to_owned())
}
