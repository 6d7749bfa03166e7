//! `/audit`: who did what, for programs of the operator. JSON alone; `builder-db audit` is for
//! people.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use builder_store::record::audit::{self, Filter};
use serde_json::json;

use crate::app::App;
use crate::auth;
use crate::error::Result;
use crate::query::Query;
use crate::{respond, urls};

/// Entries of an answer when nothing else is asked for, and at most.
const COUNT: u32 = 100;
const COUNT_MAX: u32 = 1_000;

/// `GET /audit?user=&action=&outcome=&before=&count=`
pub async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    auth::tokens::admin(&app, &headers).await?;
    let query = Query::parse(query.as_deref());
    let count = query.number("count").unwrap_or(COUNT).clamp(1, COUNT_MAX);
    let entries = app
        .read(move |tx| {
            let filter = Filter {
                who: query.get("user"),
                action: query.get("action"),
                outcome: query.get("outcome"),
                since: None,
                before: query.get("before").and_then(|id| id.parse().ok()),
            };
            audit::newest(tx, &filter, count)
        })
        .await?;
    let full = entries.len() == count as usize;
    let next = entries
        .last()
        .filter(|_| full)
        .map(|last| urls::audit(last.id, count));
    let audit: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!({
                "id": entry.id,
                "time": entry.at.to_rfc3339(),
                "who": entry.actor.who,
                "from": entry.actor.address,
                "request": entry.actor.request,
                "action": entry.action,
                "subject": entry.subject,
                "outcome": entry.outcome,
                "detail": entry.detail,
            })
        })
        .collect();
    let headers = [
        (header::CONTENT_TYPE, respond::JSON),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let body = json!({ "audit": audit, "next": next }).to_string();
    Ok((headers, body).into_response())
}
