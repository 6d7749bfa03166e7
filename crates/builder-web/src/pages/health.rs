//! `/healthz`: this process answers. `/readyz`: it can show what it has, for what decides whether
//! requests are sent here; `/readyz?for=uploads`: it can take builds, too.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tracing::error;

use builder_store::{OpenError, Unfit};

use crate::app::App;
use crate::error::{Error, Result, with_causes};
use crate::query::Query;
use crate::respond;

/// A database or disk that takes longer to answer is not ready.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);

/// Another process may lock the database for so long: hooks and commands write, too.
const LOCKED_TIME_MAX: Duration = Duration::from_secs(3);

/// When the look itself went wrong.
const UNKNOWN: &str = "it cannot be told whether the server is ready; the log says why";

/// `GET /healthz`
pub async fn alive() -> Response {
    ok()
}

/// `GET /readyz`: 503 with what is wrong while the server stops, or what pages and downloads need is not
/// there; with
/// `?for=uploads` also while nothing can be written. A server that cannot take uploads can be read: to
/// send nobody there would make it worse.
pub async fn ready(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response> {
    let not_ready = |why: &str| Err(Error::NotReady(why.to_owned()));
    let for_uploads = match Query::parse(query.as_deref()).get("for") {
        None | Some("") => false,
        Some("uploads") => true,
        Some(_) => {
            return Err(Error::BadRequest(
                "for is to be uploads, or to be left out".to_owned(),
            ));
        }
    };
    if app.stops() {
        return not_ready("the server is stopping");
    }
    // On a thread that may hang with the disk: one, however often it is asked.
    let looked = app.looks().done(for_uploads, || {
        let app = app.clone();
        async move { app.blocking(move |app| unfit(app, for_uploads)).await }
    });
    match timeout(LOOK_TIME_MAX, looked).await {
        Ok(Some(looked)) => match looked.of_it {
            Ok(None) => Ok(ok()),
            Ok(Some(why)) => not_ready(&why),
            Err(_) => not_ready(UNKNOWN),
        },
        Ok(None) => not_ready(UNKNOWN),
        Err(_) => not_ready("the database or its disk does not answer"),
    }
}

/// What stands in the way of reading, or of another upload.
fn unfit(app: &App, for_uploads: bool) -> Option<Cow<'static, str>> {
    let store = app.store();
    // As pages do, which may have to wait for one another.
    let answers = store.read(builder_store::stock::answers);
    if let Err(error) = answers
        .map_err(Unfit::Database)
        .and_then(|()| store.check_readable())
    {
        error!("not ready: {}", with_causes(&error));
        return Some(error.to_string().into());
    }
    match for_uploads {
        true => unfit_for_uploads(app).map(Cow::Borrowed),
        false => None,
    }
}

/// What stands in the way of another upload, though all can be read.
fn unfit_for_uploads(app: &App) -> Option<&'static str> {
    let store = app.store();
    match store.check_writable() {
        Ok(()) => {}
        Err(OpenError::ReadOnly { .. }) => {
            return Some("the file system of the data directory is mounted read-only");
        }
        Err(_) => return Some("the data directory cannot be written"),
    }
    match store.locked_for() {
        Ok(Some(time)) if time >= LOCKED_TIME_MAX => {
            return Some("another process has locked the database: uploads are refused");
        }
        Ok(_) => {}
        Err(error) => {
            error!("{}", with_causes(&error));
            return Some("the database cannot be written; the log says why");
        }
    }
    // As much as the next upload takes, as far as that can be told: of one that was refused for want
    // of room it is known.
    let wanted = app
        .limits()
        .disk_reserve_bytes
        .saturating_add(app.no_room().max(1));
    match store.free_bytes() {
        Ok(free) if free >= wanted => None,
        Ok(_) => Some("the disk is full: uploads are refused"),
        Err(error) => {
            error!("{}", with_causes(&error));
            Some("the disk cannot be looked at; the log says why")
        }
    }
}

fn ok() -> Response {
    let headers = [
        (header::CONTENT_TYPE, respond::TEXT),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, "ok\n").into_response()
}
