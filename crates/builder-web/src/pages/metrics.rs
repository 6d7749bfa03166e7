//! `/metrics`: what is counted, for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::app::App;
use crate::metrics;

/// `GET /metrics`
pub async fn get(State(app): State<App>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        metrics::text(&app).await,
    )
}
