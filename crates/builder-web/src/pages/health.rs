//! `/healthz`: this process answers. `/readyz`: it can do its work, for what decides whether
//! requests are sent here.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::app::App;
use crate::error::{Error, Result};
use crate::respond;

/// A database that takes longer to answer is not ready.
const DATABASE_TIME_MAX: Duration = Duration::from_secs(5);

/// `GET /healthz`
pub async fn alive() -> Response {
    ok()
}

/// `GET /readyz`: 503 with what is wrong while the server stops, the database does not answer, or
/// there is no room for an upload.
pub async fn ready(State(app): State<App>) -> Result<Response> {
    let not_ready = |why: &str| Err(Error::NotReady(why.to_owned()));
    if app.stops() {
        return not_ready("the server is stopping");
    }
    match timeout(DATABASE_TIME_MAX, app.read(builder_store::stock::answers)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return not_ready("the database cannot be read; the log says why"),
        Err(_) => return not_ready("the database does not answer"),
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
