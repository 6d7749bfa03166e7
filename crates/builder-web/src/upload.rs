//! `POST /upload` and `POST /job/:job/platform/:platform/upload`: a finished build comes in.
//!
//! From [`receive`] on it is one synchronous walk over the body, on a thread for that.

pub mod hooks;
pub mod index;
pub mod receive;

pub mod body_reader;

use std::time::Instant;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_store::{JobName, PlainFileName, Platform};
use http_body_util::BodyExt;
use tokio::time::timeout;
use tracing::debug;

use crate::app::App;
use crate::auth::refusals::{self, Refusal, Source};
use crate::auth::{self, Caller};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::metrics::Held;
use crate::names::Path;
use crate::places::Who;
use crate::query::Query;
use crate::{respond, urls};
use body_reader::BodyReader;
use receive::Received;

/// `POST /upload`: an `exec` file, as builder-server sends it.
pub async fn exec(State(app): State<App>, request: Request) -> Response {
    take_in(app, request, |app, user, body, _| {
        receive::exec(app, user, body)
    })
    .await
}

/// `POST /job/:job/platform/:platform/upload`: one binary, built by hand.
pub async fn binary(
    State(app): State<App>,
    Path((job, platform)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let named = || -> Result<(JobName, Platform, PlainFileName)> {
        let bad = |error: builder_store::NameError| Error::BadRequest(error.to_string());
        let job = JobName::parse(job.as_bytes()).map_err(bad)?;
        let platform = Platform::parse(platform.as_bytes()).map_err(bad)?;
        let query = Query::parse(query.as_deref());
        let name = query
            .get("binary_name")
            .map_or_else(|| format!("{job}.bin"), std::borrow::ToOwned::to_owned);
        let name = PlainFileName::parse(name.as_bytes())
            .map_err(|error| Error::BadRequest(format!("Bad binary name provided: {error}")))?;
        Ok((job, platform, name))
    };
    let named = named();
    take_in(app, request, move |app, user, body, size| {
        let (job, platform, name) = named?;
        receive::binary(app, user, job, platform, name, body, size)
    })
    .await
}

/// [`answer`], counted.
async fn take_in(
    app: App,
    request: Request,
    receive: impl FnOnce(&App, &Caller, &mut BodyReader, Option<u64>) -> Result<Received>
    + Send
    + 'static,
) -> Response {
    let begin = Instant::now();
    let response = answer(app.clone(), request, receive).await;
    app.metrics()
        .upload(response.status().as_u16(), begin.elapsed());
    response
}

/// Checks who sends and how much, has the body received, runs the hooks, and answers. A client
/// that is refused gets to read why: what it still sends is read and thrown away.
async fn answer(
    app: App,
    request: Request,
    receive: impl FnOnce(&App, &Caller, &mut BodyReader, Option<u64>) -> Result<Received>
    + Send
    + 'static,
) -> Response {
    let (head, body) = request.into_parts();
    let waits = head
        .headers
        .get(header::EXPECT)
        .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let client = head.extensions.get::<Client>();
    let caller = match auth::authenticate(&app, &head.headers, client).await {
        Ok(caller) => caller,
        Err(error) => {
            let bytes_max = match error {
                Error::Unauthorized | Error::WorthNothing(_)
                    if auth::are_given(&app, &head.headers) =>
                {
                    app.limits().wrong_password_drain_bytes_max
                }
                _ => app.limits().stranger_drain_bytes_max,
            };
            return refuse_early(&app, error, body, waits, bytes_max);
        }
    };
    let bytes_max = app.limits().refused_drain_bytes_max;
    let refused = Refusal {
        source: Source::User(caller.user.name.clone()),
        actor: caller.actor.clone(),
        action: "upload",
        subject: head.uri.path().to_owned(),
        why: String::new(),
    };
    let note = |app: &App, error: &Error| {
        let why = error.clone().message();
        refusals::note(app, Refusal { why, ..refused });
    };
    let size = announced_size(&head.headers);
    // One byte at least: of what comes in pieces nobody knows how much there is.
    let note_room = |app: &App, error: &Error| {
        if matches!(error, Error::NoSpace) {
            app.note_room(size.unwrap_or(1));
        }
    };
    let admitted = async {
        check_size(&app, size).await?;
        let waiting = Held::new(&app.metrics().uploads_waiting);
        let who = Who::User(caller.user.name.clone());
        let place = app.uploads().take(app.metrics(), Some(who)).await?;
        drop(waiting);
        Ok::<_, Error>(place)
    };
    let place = match admitted.await {
        Ok(place) => place,
        Err(error) => {
            note_room(&app, &error);
            note(&app, &error);
            return refuse_early(&app, error, body, waits, bytes_max);
        }
    };
    let patience = app.limits().upload_patience();
    let received = app
        .behind_pages(move |app| {
            let mut reader = BodyReader::new(body, patience, app.metrics().upload_bytes.clone());
            let received = receive(app, &caller, &mut reader, size);
            (received, reader.into_body())
        })
        .await;
    drop(place);
    match received {
        Ok((Ok(received), _)) => {
            app.note_room(0);
            let location = urls::build(&received.job, &received.uuid);
            if let Some(call) = received.hook {
                drop(app.hooks().run(&app, call));
            }
            app.draw_soon(received.uuid);
            app.compare_soon(received.uuid);
            let headers = [(header::LOCATION, respond::value(location))];
            (StatusCode::CREATED, headers).into_response()
        }
        Ok((Err(error), body)) => {
            if let Some(body) = body {
                drain(&app, body, bytes_max);
            }
            note_room(&app, &error);
            note(&app, &error);
            refusal(error)
        }
        Err(error) => refusal(error),
    }
}

/// Refuses an upload of which nothing was read. A client that waits for our word has sent nothing,
/// and will not.
fn refuse_early(app: &App, error: Error, body: Body, waits: bool, bytes_max: u64) -> Response {
    if !waits {
        drain(app, body, bytes_max);
    }
    refusal(error)
}

/// After a refusal the connection is not used again: what is left of the body may be too much.
fn refusal(error: Error) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(
        header::CONNECTION,
        axum::http::HeaderValue::from_static("close"),
    );
    response
}

/// What `Content-Length` announces.
fn announced_size(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    length.parse().ok()
}

/// Whether so much may come in at all.
async fn check_size(app: &App, size: Option<u64>) -> Result<()> {
    let limit = app.limits().upload_bytes_max;
    if size.is_some_and(|size| size > limit) {
        return Err(Error::TooLarge(format!(
            "the upload has {} bytes, at most {limit} are accepted",
            size.unwrap_or_default()
        )));
    }
    let needed = size
        .unwrap_or(0)
        .saturating_add(app.limits().disk_reserve_bytes);
    // On a thread that may hang with the disk.
    let free = app.blocking(|app| app.store().free_bytes()).await??;
    if free < needed {
        return Err(Error::NoSpace);
    }
    Ok(())
}

/// Reads what a refused client still sends, within bounds, while it reads our answer: closing at
/// once would reset the connection, and the answer might be lost with it.
fn drain(app: &App, mut body: Body, bytes_max: u64) {
    let mut left = bytes_max;
    let time_max = app.limits().refused_drain_time_max;
    let linger_time = app.limits().refused_linger_time;
    tokio::spawn(async move {
        let all = async {
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, bytes::Bytes::len) as u64;
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    // For as long as the body is there, so is the connection.
                    None => return tokio::time::sleep(linger_time).await,
                }
            }
        };
        if timeout(time_max, all).await.is_err() {
            debug!("a refused upload took too long to end");
        }
    });
}
