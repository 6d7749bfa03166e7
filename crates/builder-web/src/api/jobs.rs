//! Jobs and their builds.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use builder_exec::Timestamp;
use builder_store::builds as stored;
use builder_store::listing::{self, Filter};
use builder_store::tags::{self, Tag};
use builder_store::{Tx, jobs as kept, latest as newest};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, age, age_cursor, age_of, answer, digest, json, limit, state};
use crate::app::App;
use crate::cursor;
use crate::error::{Error, Result};
use crate::job_filter::JobFilter;
use crate::names::{self, Path};
use crate::pages::build::BuildPage;
use crate::pages::job::{Before, Begin, JobPage};
use crate::query::Query;
use crate::times;
use crate::urls::pattern;
use crate::view::{
    self, BuildDetail, BuildSummary, JobHistory, JobInList, JobSummary, OnPlatform, Page,
};

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobDetail {
    /// Its name.
    pub name: String,
    /// Under which heading it is listed.
    #[schema(required)]
    pub section: Option<String>,
    /// What it is, in a line.
    #[schema(required)]
    pub synopsis: Option<String>,
    /// What it is, at length: Markdown.
    #[schema(required)]
    pub description: Option<String>,
    /// Its README: Markdown.
    #[schema(required)]
    pub readme: Option<String>,
    /// Its newest builds on each platform.
    pub platforms: Vec<OnPlatform>,
}

/// All jobs, by name.
#[utoipa::path(get, path = pattern::API_JOBS, operation_id = "list_jobs", tag = "jobs",
    params(
        ("section" = Option<String>, Query, description = "Listed under this heading"),
        ("platform" = Option<String>, Query, description = "Built on this platform"),
        ("state" = Option<String>, Query, description = "The newest build on a platform is known to be so: `reproduced`, `unchanged`, `changed`, `built-once`, `not-reproducible`, `failed`"),
        ("name" = Option<String>, Query, description = "Words that are all in the name or the synopsis"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Jobs", body = Page<JobInList>), (status = 400, description = "A parameter is wrong", body = ApiError)))]
pub async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response> {
    const LIST: &str = "all jobs";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let after = match query.cursor() {
        Some(cursor) => cursor::decode::<1>(LIST, cursor)?[0].clone(),
        None => String::new(),
    };
    let section = query.text("section");
    let filter = JobFilter::of(&query);
    if !filter.has_known_state() {
        return Err(Error::BadRequest(format!(
            "state is to be one of {}",
            JobFilter::states()
        )));
    }
    answer(app, move |_, tx| {
        let mut jobs = kept::all(tx)?;
        let mut latest = newest::by_job(tx)?;
        for latest in latest.values_mut() {
            latest.retain(|latest| filter.shows(latest));
        }
        jobs.retain(|job| {
            job.name > after
                && (section.is_none() || job.section == section)
                && filter.shows_job(&job.name, job.synopsis.as_deref().unwrap_or_default())
                && (filter.shows_all_builds()
                    || latest.get(&job.id).is_some_and(|latest| !latest.is_empty()))
        });
        let more = jobs.len() > count;
        jobs.truncate(count);
        let last = jobs.last().filter(|_| more);
        Ok(Page {
            next_cursor: last.map(|job| cursor::encode(LIST, &[&job.name])),
            items: jobs
                .iter()
                .map(|job| JobInList {
                    job: JobSummary::of(job),
                    platforms: latest
                        .get(&job.id)
                        .map(|latest| latest.iter().map(OnPlatform::of).collect())
                        .unwrap_or_default(),
                })
                .collect(),
        })
    })
    .await
}

fn job_id(tx: &mut Tx<'_>, name: &str) -> Result<i64> {
    kept::id_by_name(tx, name)?.ok_or_else(|| Error::NotFound(format!("there is no job {name}")))
}

/// One job, with its newest builds on each platform.
#[utoipa::path(get, path = pattern::API_JOB, operation_id = "get_job", tag = "jobs",
    params(("job" = String, Path, description = "The name of a job")),
    responses((status = 200, description = "The job", body = JobDetail), (status = 404, description = "There is no such job", body = ApiError)))]
pub async fn one(State(app): State<App>, Path(name): Path<String>) -> Result<Response> {
    answer(app, move |_, tx| {
        let id = job_id(tx, &name)?;
        let latest = newest::of_job(tx, id)?;
        Ok(JobDetail {
            section: tags::value(tx, id, Tag::Section)?,
            synopsis: tags::value(tx, id, Tag::Synopsis)?,
            description: tags::value(tx, id, Tag::Description)?,
            readme: tags::value(tx, id, Tag::Readme)?,
            platforms: latest.iter().map(OnPlatform::of).collect(),
            name,
        })
    })
    .await
}

/// The builds of a job, newest first.
///
/// A part may have fewer entries than `limit`, or none, although there are more: builds of a state
/// are looked for among so many for a part.
#[utoipa::path(get, path = pattern::API_JOB_BUILDS, operation_id = "list_builds_of_job", tag = "jobs",
    params(
        ("job" = String, Path, description = "The name of a job"),
        ("platform" = Option<String>, Query, description = "On this platform"),
        ("result" = Option<String>, Query, description = "`successful` or `failed`"),
        ("state" = Option<String>, Query, description = "Known to be so: `reproduced`, `unchanged`, `changed`, `built-once`, `not-reproducible`, `failed`"),
        ("since" = Option<String>, Query, description = "Started then or later: 2026-05-12 or 2026-05-12T04:12:33Z"),
        ("until" = Option<String>, Query, description = "Started before"),
        ("output" = Option<String>, Query, description = "The SHA-256 of the main binary"),
        ("input_id" = Option<String>, Query, description = "The digest of what went in"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Builds", body = Page<BuildSummary>), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "There is no such job", body = ApiError)))]
pub async fn builds(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    const LIST: &str = "builds of job";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let filter = Filter {
        platform: query.platform(),
        successful: result(&query)?,
        since: time(&query, "since")?,
        until: time(&query, "until")?,
        output: digest(&query, "output")?,
        input_id: digest(&query, "input_id")?,
        state: state(&query)?,
    };
    let before = age(LIST, &query)?;
    answer(app, move |_, tx| {
        let id = job_id(tx, &name)?;
        let part = listing::of_job(tx, id, &filter, before, count)?;
        Ok(Page {
            next_cursor: part.next.map(|next| age_cursor(LIST, next)),
            items: view::summaries(&part.builds),
        })
    })
    .await
}

/// The newest successful build of a job.
#[utoipa::path(get, path = pattern::API_JOB_LATEST, operation_id = "get_latest_build_of_job", tag = "jobs",
    params(
        ("job" = String, Path, description = "The name of a job"),
        ("platform" = Option<String>, Query, description = "On this platform"),
    ),
    responses((status = 200, description = "The build", body = BuildDetail), (status = 404, description = "There is no such job, or no successful build of it", body = ApiError)))]
pub async fn latest(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let platform = Query::parse(query.as_deref()).platform();
    let load = move |app: &App, tx: &mut Tx<'_>| {
        let id = job_id(tx, &name)?;
        let build = stored::latest_successful(tx, id, platform.as_deref())?;
        let build = build
            .ok_or_else(|| Error::NotFound("the job has no successful build to show".to_owned()))?;
        Ok(BuildPage::load(app, tx, build)?)
    };
    super::builds::detail(app, load).await
}

/// A part of a job's history.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobHistoryPart {
    /// What happened.
    #[serde(flatten)]
    history: JobHistory,
    /// To be given as `cursor` to get what was before; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// How a job went: since when it is reproduced or not, its outputs, and what changed between them.
#[utoipa::path(get, path = pattern::API_JOB_HISTORY, operation_id = "get_history_of_job", tag = "jobs",
    params(
        ("job" = String, Path, description = "The name of a job"),
        ("platform" = Option<String>, Query, description = "On this platform"),
        ("failed" = Option<bool>, Query, description = "Whether failed builds are among the outputs"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "The history", body = JobHistoryPart), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "There is no such job", body = ApiError)))]
pub async fn history(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    const LIST: &str = "history of job";
    let query = Query::parse(query.as_deref());
    let failed = match query.get("failed") {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(Error::BadRequest(
                "failed is to be true or false".to_owned(),
            ));
        }
    };
    let begin = match query.cursor() {
        Some(cursor) => {
            let [uuid, days, picoseconds, id, page] = cursor::decode(LIST, cursor)?;
            Begin {
                before: match uuid.as_str() {
                    "" => None,
                    // With its age: it may be removed meanwhile.
                    uuid => Some(Before {
                        uuid: names::uuid(uuid).ok_or_else(cursor::wrong)?,
                        age: age_of(&days, &picoseconds, &id)?,
                        // Told by the age; only an address has another name for it.
                        with_it: false,
                    }),
                },
                page: cursor::number::<u32>(&page)?.max(1),
            }
        }
        None => Begin::default(),
    };
    let platform = query.platform();
    let load = move |app: &App, tx: &mut Tx<'_>| {
        job_id(tx, &name)?;
        JobPage::load(app, tx, name, platform, failed, &begin)
    };
    let (history, next) = app
        .loaded(load, |page| (page.history(), page.next()))
        .await?;
    json(&JobHistoryPart {
        history,
        next_cursor: next.map(|Begin { before, page }| {
            let mut parts = match before {
                Some(before) => {
                    let (start, id) = before.age;
                    vec![
                        before.uuid.to_string(),
                        start.days().to_string(),
                        start.picoseconds().to_string(),
                        id.to_string(),
                    ]
                }
                None => vec![String::new(); 4],
            };
            parts.push(page.to_string());
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            cursor::encode(LIST, &parts)
        }),
    })
}

/// Which builds can be asked for by their result.
pub(super) const RESULTS: [&str; 2] = ["successful", "failed"];

/// Whether successful or failed builds are asked for.
fn result(query: &Query) -> Result<Option<bool>> {
    match query.get("result") {
        None | Some("") => Ok(None),
        Some("successful") => Ok(Some(true)),
        Some("failed") => Ok(Some(false)),
        Some(_) => Err(Error::BadRequest(
            "result is to be successful or failed".to_owned(),
        )),
    }
}

/// A day, or a time of it in UTC.
fn time(query: &Query, name: &str) -> Result<Option<Timestamp>> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    times::parse(text).map(Some).map_err(|_| {
        Error::BadRequest(format!(
            "{name} is to be a day or a time in UTC: 2026-05-12 or 2026-05-12T04:12:33Z"
        ))
    })
}
