//! `/audit`: who did what, for programs of the operator. JSON alone; `builder-db audit` is for
//! people.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use builder_store::record::audit::{self, Filter};
use serde_json::json;
use utoipa::ToSchema;

use crate::api::ApiError;
use crate::app::App;
use crate::auth;
use crate::client::Client;
use crate::error::Result;
use crate::query::Query;
use crate::{respond, urls};

/// Entries of an answer when nothing else is asked for, and at most.
const COUNT: u32 = 100;
const COUNT_MAX: u32 = 1_000;

/// Entries of the audit record, the newest first.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the audit record")]
pub struct Audit {
    /// The entries.
    audit: Vec<AuditEntry>,
    /// Where those before are; null: there are none.
    #[schema(required)]
    next: Option<String>,
}

/// An entry of the audit record.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the audit record")]
pub struct AuditEntry {
    /// A later entry has a greater one.
    id: i64,
    /// When it was (RFC 3339).
    time: String,
    /// The user, with the token; on the command line the account.
    who: String,
    /// The address of the client, or `command line`.
    from: String,
    /// The request, by its `X-Request-Id`; empty on the command line.
    request: String,
    /// Such as `upload`, `log-in`, `token-add`.
    action: String,
    /// What it was done to.
    subject: String,
    /// `done` or `refused`.
    outcome: String,
    /// More of it, or why it was refused.
    detail: String,
    /// How often: what is refused again and again has an entry of the first time, and later one of
    /// the last time with the count of those between.
    times: u64,
}

/// Who did what, and what was refused.
///
/// Needs a token that was made with `--scope admin`.
#[utoipa::path(get, path = urls::pattern::AUDIT, operation_id = "list_audit_record", tag = "operators",
    security(("token" = []), ("password" = [])),
    params(
        ("user" = Option<String>, Query, description = "By this user, with whichever token"),
        ("action" = Option<String>, Query, description = "Of this action"),
        ("outcome" = Option<String>, Query, description = "`done` or `refused`"),
        ("before" = Option<i64>, Query, description = "Before the entry of this id"),
        ("count" = Option<u32>, Query, description = "At most so many entries; 1000 at most"),
    ),
    responses((status = 200, description = "Entries", body = Audit), (status = 401, description = "Nobody is logged in who may read it", content((ApiError = "application/json"), (String = "text/html"))), (status = 403, description = "The token is not for that", content((ApiError = "application/json"), (String = "text/html"))), (status = 429, description = "Too many wrong passwords came before", content((ApiError = "application/json"), (String = "text/html")))))]
pub async fn get(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let client = client.as_deref();
    auth::tokens::admin(&app, &headers, client, urls::pattern::AUDIT).await?;
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
                "times": entry.times,
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
