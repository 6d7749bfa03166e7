//! How the service is.

use axum::extract::State;
use axum::response::Response;

use super::answer;
use crate::app::App;
use crate::error::Result;
use crate::pages::status::StatusPage;
use crate::urls::pattern;
use crate::view::Status;

/// How the service is: what came last from where, how builds are, how much there is.
#[utoipa::path(get, path = pattern::API_STATUS, operation_id = "get_status", tag = "description",
    responses((status = 200, description = "How it is", body = Status)))]
pub async fn get(State(app): State<App>) -> Result<Response> {
    answer(app, |app, tx| Ok(StatusPage::load(app, tx)?.status())).await
}
