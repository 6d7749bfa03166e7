//! `/failed-builds`: builds without a main binary, of all jobs, newest first.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use builder_store::builds::{self, Build};
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::error::Result;
use crate::query::Query;
use crate::respond::{Accepts, Layout};
use crate::{show, urls};

/// Builds on a page when nothing else is asked for.
const COUNT: u32 = 20;

/// `GET /failed-builds?start=&count=&platform=`
pub async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let count_max = app.limits().failed_builds_max;
    let start = query.number("start").unwrap_or(0);
    let count = query.number("count").unwrap_or(COUNT).clamp(1, count_max);
    let platform = query.platform();
    app.page(Accepts::of(&headers), move |app, tx| {
        // One more than is shown tells whether there is a next page.
        let mut builds = builds::failed(tx, platform.as_deref(), start, count + 1)?;
        let more = builds.len() > count as usize;
        builds.truncate(count as usize);
        Ok(FailedBuildsPage {
            layout: app.layout().clone(),
            start,
            count,
            platform,
            builds,
            more,
        })
    })
    .await
}

#[derive(Template)]
#[template(path = "failed_builds.html")]
struct FailedBuildsPage {
    layout: Arc<Layout>,
    start: u32,
    count: u32,
    platform: Option<String>,
    builds: Vec<Build>,
    more: bool,
}

impl FailedBuildsPage {
    fn next(&self) -> Option<String> {
        let start = self.start.checked_add(self.count)?;
        self.more
            .then(|| urls::failed_builds(start, self.count, self.platform.as_deref()))
    }

    fn previous(&self) -> Option<String> {
        let start = self.start.saturating_sub(self.count);
        (self.start > 0).then(|| urls::failed_builds(start, self.count, self.platform.as_deref()))
    }
}

impl Page for FailedBuildsPage {
    fn json(&self) -> Option<Value> {
        let builds: Vec<Value> = self
            .builds
            .iter()
            .map(|build| {
                json!({
                    "job": build.job,
                    "uuid": build.uuid,
                    "platform": build.platform,
                    "start_time": build.start.to_rfc3339(),
                    "finish_time": build.finish.to_rfc3339(),
                    "result": build.result.to_string(),
                })
            })
            .collect();
        Some(json!({ "builds": builds, "next": self.next() }))
    }
}
