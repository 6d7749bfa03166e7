//! `/audit`: who did what, for programs of the operator. JSON alone; `builder-db audit` is for
//! people.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use builder_store::record::audit::{self, Filter, Outcome};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::ApiError;
use crate::app::App;
use crate::auth;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::query::Query;
use crate::view::AuditEntry;
use crate::{respond, urls};

/// Entries of an answer when nothing else is asked for, and at most.
const COUNT: u32 = 100;
const COUNT_MAX: u32 = 1_000;
const OUTCOMES: [&str; 2] = [Outcome::Done.name(), Outcome::Refused.name()];

/// Entries of the audit record, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Audit {
    /// The entries.
    audit: Vec<AuditEntry>,
    /// Where those before are; null: there are none.
    #[schema(required)]
    next: Option<String>,
}

/// Which entries are asked for.
struct Asked {
    user: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    before: Option<i64>,
    count: u32,
}

impl Asked {
    /// Refuses what there is not: whoever looks for what happened must not take a slip for "nothing".
    fn of(query: &Query) -> Result<Asked> {
        let one_of = |name, all: &[&str]| match query.text(name) {
            Some(value) if !all.contains(&value.as_str()) => Err(Error::BadRequest(format!(
                "{name} is to be one of {}",
                all.join(", ")
            ))),
            value => Ok(value),
        };
        let number = |name| {
            let parsed = query.text(name).map(|value| value.parse::<i64>());
            let bad = |_| Error::BadRequest(format!("{name} is to be a number"));
            parsed.transpose().map_err(bad)
        };
        let count = number("count")?.unwrap_or(COUNT.into());
        Ok(Asked {
            user: query.text("user"),
            action: one_of("action", &audit::ACTIONS)?,
            outcome: one_of("outcome", &OUTCOMES)?,
            before: number("before")?,
            count: u32::try_from(count.clamp(1, COUNT_MAX.into())).unwrap_or(COUNT_MAX),
        })
    }
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
    responses((status = 200, description = "Entries", body = Audit), (status = 400, description = "There is no such action or outcome, or a number is none", content((ApiError = "application/json"), (String = "text/html"))), (status = 401, description = "Nobody is logged in who may read it", content((ApiError = "application/json"), (String = "text/html"))), (status = 403, description = "The token is not for that", content((ApiError = "application/json"), (String = "text/html"))), (status = 429, description = "Too many wrong passwords came before", content((ApiError = "application/json"), (String = "text/html")))))]
pub async fn get(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let client = client.as_deref();
    auth::tokens::admin(&app, &headers, client, urls::pattern::AUDIT).await?;
    let query = Query::parse(query.as_deref());
    let asked = Asked::of(&query)?;
    let count = asked.count;
    let (user, action, outcome) = (
        asked.user.clone(),
        asked.action.clone(),
        asked.outcome.clone(),
    );
    let entries = app
        .read(move |tx| {
            let filter = Filter {
                who: asked.user.as_deref(),
                action: asked.action.as_deref(),
                outcome: asked.outcome.as_deref(),
                since: None,
                before: asked.before,
            };
            audit::newest(tx, &filter, asked.count)
        })
        .await?;
    let full = entries.len() == count as usize;
    let next = entries.last().filter(|_| full).map(|last| {
        urls::audit(
            user.as_deref(),
            action.as_deref(),
            outcome.as_deref(),
            last.id,
            count,
        )
    });
    let audit = Audit {
        audit: entries.into_iter().map(AuditEntry::of).collect(),
        next,
    };
    let headers = [
        (header::CONTENT_TYPE, respond::JSON),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let body = serde_json::to_vec(&audit).map_err(Error::internal)?;
    Ok((headers, body).into_response())
}
