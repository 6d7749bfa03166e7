//! `/healthz`: this process answers. `/readyz`: it can show what it has, for what decides whether
//! requests are sent here; `/readyz?for=uploads`: it can take builds, too.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::app::App;
use crate::error::{Error, Result};
use crate::query::Query;
use crate::respond;

/// A database that takes longer to answer is not ready.
const DATABASE_TIME_MAX: Duration = Duration::from_secs(5);

/// `GET /healthz`
pub async fn alive() -> Response {
    ok()
}

/// `GET /readyz`: 503 with what is wrong while the server stops, or the database does not answer; with
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
    match timeout(DATABASE_TIME_MAX, app.read(builder_store::stock::answers)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return not_ready("the database cannot be read; the log says why"),
        Err(_) => return not_ready("the database does not answer"),
    }
    if !for_uploads {
        return Ok(ok());
    }
    if app.store().check_writable().is_err() {
        return not_ready("the data directory cannot be written");
    }
    if app.store().free_bytes()? < app.limits().disk_reserve_bytes {
        return not_ready("the disk is full: uploads are refused");
    }
    Ok(ok())
}

fn ok() -> Response {
    let headers = [
        (header::CONTENT_TYPE, respond::TEXT),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, "ok\n").into_response()
}
