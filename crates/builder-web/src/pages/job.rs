//! `/job/:job`, `/job/:job/failed`: what a job has built; and where its newest build is.

use std::cmp::Reverse;
use std::sync::Arc;

use askama::Template;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_store::builds::{self, Build, Output};
use builder_store::tags::{self, Tag};
use builder_store::{Tx, jobs};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, Page};
use crate::error::{Error, Result};
use crate::failures::FailureHistory;
use crate::markdown::Html;
use crate::names::Path;
use crate::query::Query;
use crate::respond::{self, Accepts, Layout};
use crate::{show, urls};

/// `GET /job/:job`: the distinct outputs.
pub async fn get(
    State(app): State<App>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    page(app, job, Query::parse(query.as_deref()), headers, false).await
}

/// `GET /job/:job/failed`: the distinct outputs and the builds without one.
pub async fn get_with_failed(
    State(app): State<App>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    page(app, job, Query::parse(query.as_deref()), headers, true).await
}

async fn page(
    app: App,
    job: String,
    query: Query,
    headers: HeaderMap,
    failed: bool,
) -> Result<Response> {
    let platform = query.platform();
    app.page(Accepts::of(&headers), move |app, tx| {
        JobPage::load(app, tx, job, platform, failed)
    })
    .await
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    layout: Arc<Layout>,
    job: String,
    synopsis: Option<String>,
    description: Text,
    readme: Text,
    platforms: Vec<String>,
    platform: Option<String>,
    failed: bool,
    entries: Vec<Entry>,
    failures: FailureHistory,
}

/// Markdown: as it is kept, then as HTML.
#[derive(Default)]
struct Text {
    markdown: Option<String>,
    html: Option<Html>,
}

struct Entry {
    build: Build,
    /// The output that the entry stands for; none for a failed build.
    output: Option<builds::Artifact>,
}

impl JobPage {
    fn load(
        app: &App,
        tx: &mut Tx<'_>,
        job: String,
        platform: Option<String>,
        failed: bool,
    ) -> Result<JobPage> {
        let job_id = jobs::id_by_name(tx, &job)?
            .ok_or_else(|| Error::NotFound("there is no such job".to_owned()))?;
        let entry = |Output { build, artifact }| Entry {
            build,
            output: Some(artifact),
        };
        let outputs = builds::outputs(tx, job_id, platform.as_deref())?;
        let mut entries: Vec<Entry> = outputs.into_iter().map(entry).collect();
        if failed {
            let failed = builds::failed_of_job(tx, job_id, platform.as_deref())?;
            entries.extend(failed.into_iter().map(|build| Entry {
                build,
                output: None,
            }));
            entries.sort_by_key(|entry| Reverse(entry.build.age()));
        }
        let text = |markdown| Text {
            markdown,
            html: None,
        };
        Ok(JobPage {
            layout: app.layout().clone(),
            synopsis: tags::value(tx, job_id, Tag::Synopsis)?,
            description: text(tags::value(tx, job_id, Tag::Description)?),
            readme: text(tags::value(tx, job_id, Tag::Readme)?),
            platforms: jobs::platforms(tx, job_id)?,
            failures: FailureHistory::load(tx, job_id, &job, platform.as_deref())?,
            job,
            platform,
            failed,
            entries,
        })
    }

    fn shows(&self, platform: &str) -> bool {
        self.platform.as_deref() == Some(platform)
    }
}

impl Page for JobPage {
    fn prepare(&mut self, app: &App) {
        for text in [&mut self.description, &mut self.readme] {
            let markdown = text.markdown.take();
            text.html = markdown.map(|markdown| app.derived().markdown(&markdown));
        }
    }

    fn json(&self) -> Option<Value> {
        let builds: Vec<Value> = self
            .entries
            .iter()
            .map(|entry| {
                let main_binary = entry.output.as_ref().map(|output| {
                    json!({
                        "filename": output.file_name(),
                        "sha256": output.sha256.to_hex(),
                        "size": output.size,
                    })
                });
                json!({ "uuid": entry.build.uuid, "main_binary": main_binary })
            })
            .collect();
        Some(json!({ "builds": builds }))
    }
}

/// `GET /job/:job/build/latest`: to the newest successful build.
pub async fn latest(
    State(app): State<App>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (job, uuid) = latest_build(&app, job, query).await?;
    Ok(temporarily(urls::build(&job, &uuid)))
}

/// `GET /job/:job/build/latest/REST`: to REST of the newest successful build, as it was sent.
pub async fn latest_rest(
    State(app): State<App>,
    Path((job, _)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (job, uuid) = latest_build(&app, job, query).await?;
    // `/job/JOB/build/latest/REST`; a slash in JOB is encoded.
    let rest = uri.path().splitn(6, '/').nth(5).unwrap_or_default();
    Ok(temporarily(urls::below_build(&job, &uuid, rest)))
}

async fn latest_build(app: &App, job: String, query: Option<String>) -> Result<(String, Uuid)> {
    let platform = Query::parse(query.as_deref()).platform();
    let build = app
        .read(move |tx| {
            let Some(job_id) = jobs::id_by_name(tx, &job)? else {
                return Ok(None);
            };
            builds::latest_successful(tx, job_id, platform.as_deref())
        })
        .await?;
    let build = build
        .ok_or_else(|| Error::NotFound("the job has no successful build to show".to_owned()))?;
    Ok((build.job, build.uuid))
}

/// Tomorrow the newest build is another one.
fn temporarily(location: String) -> Response {
    (
        StatusCode::TEMPORARY_REDIRECT,
        [(header::LOCATION, respond::value(location))],
    )
        .into_response()
}
