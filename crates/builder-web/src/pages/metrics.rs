//! `/metrics`: what is counted, for Prometheus.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;

use crate::app::App;
use crate::client::Client;
use crate::error::Result;
use crate::{auth, metrics, urls};

/// `GET /metrics` at the public address: with a token of an operator.
pub async fn get_as_admin(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse> {
    let client = client.as_deref();
    auth::tokens::admin(&app, &headers, client, urls::pattern::METRICS).await?;
    Ok(get(State(app)).await)
}

/// `GET /metrics` at its own address.
pub async fn get(State(app): State<App>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        metrics::text(&app).await,
    )
}
