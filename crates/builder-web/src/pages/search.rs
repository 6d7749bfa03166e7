//! `/search?q=`: one box for everything.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_exec::Timestamp;
use builder_store::search::Progress;
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::error::Result;
use crate::query::Query as Parameters;
use crate::respond::{self, Accepts, Layout};
use crate::search::query::{QUERY_BYTES_MAX, Query};
use crate::search::{self, Found, Kind, Why};
use crate::share::Share;
use crate::view;
use crate::{removed, show, urls};

/// Entries of each kind when all kinds are shown.
const COUNT_OF_EACH: usize = 10;
/// Entries when one kind is shown.
const COUNT_OF_ONE: usize = 50;
/// Versions of a package that are listed beside it.
const VERSIONS_SHOWN: usize = 12;

/// `GET /search?q=&kind=&cursor=&straight=`. What names one build by itself leads there; the name of a job
/// leads to it if `straight` is given.
pub async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let parameters = Parameters::parse(query.as_deref());
    let query = Query::parse(parameters.get("q").unwrap_or_default());
    let kind = parameters.get("kind").and_then(Kind::of_name);
    let cursor = parameters.cursor().map(str::to_owned);
    let accepts = Accepts::of(&headers);
    let may_be_job = parameters.get(urls::STRAIGHT).is_some();
    if !accepts.json && kind.is_none() && (query.names_a_build() || may_be_job) {
        let asked = query.clone();
        let straight = app
            .blocking(move |app| {
                app.store().read(|tx| {
                    Ok(match search::straight(tx, &asked) {
                        Ok(None) if may_be_job => search::job_named(tx, &asked),
                        straight => straight,
                    })
                })
            })
            .await???;
        if let Some(url) = straight {
            let location = respond::value(url);
            return Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response());
        }
    }
    app.page(accepts, move |app, tx| {
        let found = match kind {
            Some(kind) => search::one(tx, &query, kind, cursor.as_deref(), COUNT_OF_ONE)?,
            None => search::all(tx, &query, COUNT_OF_EACH)?,
        };
        Ok(SearchPage {
            layout: app.layout().clone(),
            now: app.now(),
            progress: search::progress(tx)?,
            query,
            kind,
            found,
        })
    })
    .await
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    layout: Arc<Layout>,
    now: Timestamp,
    query: Query,
    /// The kind that is shown alone.
    kind: Option<Kind>,
    found: Found,
    progress: Progress,
}

impl SearchPage {
    fn is_too_long(&self) -> bool {
        self.query.text.len() > QUERY_BYTES_MAX
    }

    /// What of the query cannot be looked for.
    fn problem(&self) -> Option<&'static str> {
        match self.kind {
            None | Some(Kind::Files) => search::problem(&self.query),
            Some(_) => None,
        }
    }

    /// Where a kind goes on: it alone, from its cursor on.
    fn more(&self, kind: &str, next: &Option<String>) -> Option<String> {
        let next = next.as_deref()?;
        // Alone, a kind begins with what is seen already: more fits on its page.
        let cursor = self.kind.map(|_| next);
        Some(urls::search(&self.query.text, Some(kind), cursor))
    }
}

impl Page for SearchPage {
    fn share(&self) -> Option<Share> {
        let kind = self.kind.map(Kind::name);
        Some(Share {
            url: match self.query.text.as_str() {
                "" => urls::pattern::SEARCH.to_owned(),
                text => urls::search(text, kind, None),
            },
            title: match self.query.text.as_str() {
                "" => "Search".to_owned(),
                text => format!("What was found for {text}"),
            },
            description: None,
        })
    }

    fn json(&self) -> Option<Value> {
        Some(json!(view::SearchResults::of(
            &self.query,
            &self.found,
            self.progress
        )))
    }
}
