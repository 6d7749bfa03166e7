//! Builds, what they hold, and how they compare.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use builder_store::builds::{self as kept, Build};
use builder_store::failures::{self as told, Failure as Told};
use builder_store::record::removed as removed_builds;
use builder_store::{Sha256, Tx, jobs, listing, search, users, verdict};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, age, age_cursor, answer, json_headers, limit};
use crate::app::App;
use crate::cursor;
use crate::error::{Error, Result};
use crate::names::{self, Path};
use crate::pages;
use crate::query::Query;
use crate::urls::{self, pattern};
use crate::view::{Artifact, BuildSummary, FoundBuild, Page, State as BuildState};

/// Neighbours of one kind that are named; there may be more.
const NEIGHBOURS_MAX: usize = 100;

/// A build, with all that its page shows.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildDetail {
    /// The build.
    #[serde(flatten)]
    pub build: BuildSummary,
    /// What is known of its reproducibility.
    pub state: BuildState,
    /// Who uploaded it.
    #[schema(required)]
    pub uploader: Option<String>,
    /// Its files, the main binary first.
    pub artifacts: Vec<Artifact>,
    /// What went in.
    pub input: Input,
    /// What the main binary says of itself as a unikernel: manifest and ABI, as in the JSON of the build's page.
    #[schema(required)]
    pub solo5: Option<serde_json::Value>,
    /// Why it failed, if it did and the console tells.
    #[schema(required)]
    pub failure: Option<Failure>,
    /// Other builds of the same input with the same output, the newest first, at most a hundred.
    pub reproduced_by: Vec<BuildSummary>,
    /// Builds of the same input with another output, one for each output.
    pub same_input_other_output: Vec<BuildSummary>,
    /// Builds of another input with the same output, one for each input.
    pub other_input_same_output: Vec<BuildSummary>,
    /// The nearest earlier build on this platform with another output.
    #[schema(required)]
    pub previous_output: Option<BuildSummary>,
    /// The nearest later build on this platform with another output.
    #[schema(required)]
    pub next_output: Option<BuildSummary>,
    /// The newest successful build on this platform.
    #[schema(required)]
    pub latest: Option<BuildSummary>,
}

/// What went into a build, in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Input {
    /// opam packages of its switch; null when there is none, or it has not been read.
    #[schema(required)]
    pub opam_packages: Option<u64>,
    /// The files it is told by: `opam-switch`, `build-environment`, `system-packages`.
    pub files: Vec<Artifact>,
}

/// Why a build failed, as far as its console tells.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure {
    /// Such as `disk-full`.
    pub class: String,
    /// The class in words.
    pub label: String,
    /// The line of the console that told, counted from 1.
    #[schema(required)]
    pub line: Option<u64>,
    /// Its text.
    #[schema(required)]
    pub text: Option<String>,
    /// The last lines of the console, oldest first.
    pub last_lines: Vec<String>,
}

impl Failure {
    fn of(told: &Told) -> Failure {
        Failure {
            label: crate::failures::label(&told.class).to_owned(),
            class: told.class.clone(),
            line: told.told.as_ref().map(|(line, _)| *line),
            text: told.told.as_ref().map(|(_, text)| text.clone()),
            last_lines: told.last_lines.clone(),
        }
    }
}

const INPUT_FILES: [&str; 3] = ["opam-switch", "build-environment", "system-packages"];

impl BuildDetail {
    pub(super) fn load(app: &App, tx: &mut Tx<'_>, build: &Build) -> Result<BuildDetail> {
        let summaries = |builds: Vec<Build>| -> Vec<BuildSummary> {
            builds
                .iter()
                .take(NEIGHBOURS_MAX)
                .map(BuildSummary::of)
                .collect()
        };
        let artifacts: Vec<Artifact> = kept::artifacts(tx, build.id)?
            .iter()
            .map(Artifact::of)
            .collect();
        let inputs = artifacts
            .iter()
            .filter(|artifact| INPUT_FILES.contains(&artifact.path.as_str()));
        let solo5 = match &build.main_binary {
            Some(main) => app.derived().solo5(app.store(), tx, main.sha256)?,
            None => None,
        };
        Ok(BuildDetail {
            build: BuildSummary::of(build),
            state: BuildState::of(verdict::of_build(tx, build)?),
            uploader: users::name_by_id(tx, build.user_id)?,
            input: Input {
                opam_packages: search::packages_of_build(tx, build.id)?,
                files: inputs.cloned().collect(),
            },
            artifacts,
            solo5: solo5.map(|solo5| serde_json::json!(solo5)),
            failure: told::of_build(tx, build.id)?.as_ref().map(Failure::of),
            reproduced_by: summaries(kept::same_input_same_output(tx, build)?),
            same_input_other_output: summaries(kept::same_input_different_output(tx, build)?),
            other_input_same_output: summaries(kept::different_input_same_output(tx, build)?),
            previous_output: kept::previous_different_output(tx, build)?
                .as_ref()
                .map(BuildSummary::of),
            next_output: kept::next_different_output(tx, build)?
                .as_ref()
                .map(BuildSummary::of),
            latest: kept::latest_successful(tx, build.job_id, Some(&build.platform))?
                .as_ref()
                .map(BuildSummary::of),
        })
    }
}

fn build(tx: &mut Tx<'_>, uuid: &str) -> Result<Build> {
    let missing = || Error::NotFound("there is no such build".to_owned());
    let uuid = names::uuid(uuid).ok_or_else(missing)?;
    if let Some(build) = kept::by_uuid(tx, uuid)? {
        return Ok(build);
    }
    match removed_builds::by_uuid(tx, uuid)? {
        Some(_) => Err(Error::Gone(format!(
            "this build was removed; what stays of it is at {}",
            urls::api_removed_build(&uuid)
        ))),
        None => Err(missing()),
    }
}

/// Builds of all jobs, the last upload first.
#[utoipa::path(get, path = pattern::API_BUILDS, tag = "builds",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Builds", body = Page<BuildSummary>), (status = 400, description = "A parameter is wrong", body = ApiError)))]
pub async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response> {
    const LIST: &str = "uploads";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let before = row(LIST, &query)?;
    answer(app, move |_, tx| {
        let mut builds = listing::uploads(tx, before, count + 1)?;
        let more = builds.len() > count;
        builds.truncate(count);
        let last = builds.last().filter(|_| more);
        Ok(Page {
            next_cursor: last.map(|build| cursor::encode(LIST, &[&build.id.to_string()])),
            items: builds.iter().map(BuildSummary::of).collect(),
        })
    })
    .await
}

/// The number in the cursor of a list.
fn row<T: std::str::FromStr>(list: &str, query: &Query) -> Result<Option<T>> {
    match query.get("cursor") {
        Some(cursor) => {
            let [row] = cursor::decode(list, cursor)?;
            Ok(Some(cursor::number(&row)?))
        }
        None => Ok(None),
    }
}

/// One build, with all that its page shows.
#[utoipa::path(get, path = pattern::API_BUILD, tag = "builds",
    params(("uuid" = String, Path, description = "The uuid of a build")),
    responses((status = 200, description = "The build", body = BuildDetail), (status = 410, description = "The build was removed; the error says where to look", body = ApiError), (status = 404, description = "There is no such build", body = ApiError)))]
pub async fn one(State(app): State<App>, Path(uuid): Path<String>) -> Result<Response> {
    answer(app, move |app, tx| {
        let build = build(tx, &uuid)?;
        BuildDetail::load(app, tx, &build)
    })
    .await
}

/// The files of a build, by path.
#[utoipa::path(get, path = pattern::API_BUILD_ARTIFACTS, tag = "builds",
    params(
        ("uuid" = String, Path, description = "The uuid of a build"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Files", body = Page<Artifact>), (status = 410, description = "The build was removed; the error says where to look", body = ApiError), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "There is no such build", body = ApiError)))]
pub async fn artifacts(
    State(app): State<App>,
    Path(uuid): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    const LIST: &str = "artifacts";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let after = match query.get("cursor") {
        Some(cursor) => cursor::decode::<1>(LIST, cursor)?[0].clone(),
        None => String::new(),
    };
    answer(app, move |_, tx| {
        let build = build(tx, &uuid)?;
        let mut all = kept::artifacts(tx, build.id)?;
        all.sort_by(|left, right| left.path.cmp(&right.path));
        all.retain(|artifact| artifact.path > after);
        let more = all.len() > count;
        all.truncate(count);
        let last = all.last().filter(|_| more);
        Ok(Page {
            next_cursor: last.map(|artifact| cursor::encode(LIST, &[&artifact.path])),
            items: all.iter().map(Artifact::of).collect(),
        })
    })
    .await
}

/// Some lines of a build's console, a thousand at a time.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the console's page")]
pub struct Console {
    job: String,
    uuid: String,
    /// Lines of the whole console.
    line_count: u64,
    /// Bytes of the whole console.
    size: u64,
    /// The first line that looks like an error, counted from 1.
    #[schema(required)]
    first_error: Option<u64>,
    /// What the console tells of a failure.
    #[schema(required)]
    failure: Option<serde_json::Value>,
    /// Where `find` is.
    #[schema(required)]
    found: Option<serde_json::Value>,
    /// The lines.
    lines: Vec<ConsoleLine>,
    /// The page of the lines that follow: its `from` goes on here, too.
    #[schema(required)]
    next: Option<String>,
}

/// A line of a console.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the console's page")]
pub struct ConsoleLine {
    /// Counted from 1.
    line: u64,
    /// Seconds since the build started.
    #[schema(required)]
    time: Option<f64>,
    /// Seconds since the line before.
    #[schema(required)]
    wait: Option<f64>,
    /// Without colours.
    text: String,
}

/// Lines of a build's console.
#[utoipa::path(get, path = pattern::API_BUILD_CONSOLE, tag = "builds",
    params(
        ("uuid" = String, Path, description = "The uuid of a build"),
        ("from" = Option<u64>, Query, description = "The first line, counted from 1"),
        ("find" = Option<String>, Query, description = "A text to look for, too"),
    ),
    responses((status = 200, description = "Lines", body = Console), (status = 404, description = "There is no such build", body = ApiError)))]
pub async fn console(
    state: State<App>,
    Path(uuid): Path<String>,
    query: RawQuery,
) -> Result<Response> {
    let path = Path((String::new(), uuid));
    pages::console::get(state, path, query, json_headers()).await
}

/// A failed build, and why it failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedBuild {
    /// The build.
    pub build: BuildSummary,
    /// Why; null while nobody has looked.
    #[schema(required)]
    pub failure: Option<Failure>,
}

/// Builds without a main binary, newest first.
#[utoipa::path(get, path = pattern::API_FAILURES, tag = "builds",
    params(
        ("job" = Option<String>, Query, description = "Of this job"),
        ("platform" = Option<String>, Query, description = "On this platform"),
        ("class" = Option<String>, Query, description = "Of this class, such as `disk-full`"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Failed builds", body = Page<FailedBuild>), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "There is no such job", body = ApiError)))]
pub async fn failures(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response> {
    const LIST: &str = "failures";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let before = age(LIST, &query)?;
    answer(app, move |_, tx| {
        let job_id = match query.get("job").filter(|job| !job.is_empty()) {
            Some(job) => Some(
                jobs::id_by_name(tx, job)?
                    .ok_or_else(|| Error::NotFound(format!("there is no job {job}")))?,
            ),
            None => None,
        };
        let platform = query.platform();
        let filter = told::Filter {
            job_id,
            platform: platform.as_deref(),
            class: query.get("class").filter(|class| !class.is_empty()),
        };
        let mut failed = told::before(tx, filter, before, count + 1)?;
        let more = failed.len() > count;
        failed.truncate(count);
        let last = failed.last().filter(|_| more);
        Ok(Page {
            next_cursor: last.map(|(build, _)| age_cursor(LIST, build)),
            items: failed
                .iter()
                .map(|(build, failure)| FailedBuild {
                    build: BuildSummary::of(build),
                    failure: failure.as_ref().map(Failure::of),
                })
                .collect(),
        })
    })
    .await
}

/// Builds that have a file of this content, the last upload first.
#[utoipa::path(get, path = pattern::API_HASH, tag = "builds",
    params(
        ("sha256" = String, Path, description = "64 hexadecimal digits"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Builds", body = Page<FoundBuild>), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "No build has such a file", body = ApiError)))]
pub async fn by_hash(
    State(app): State<App>,
    Path(sha256): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    const LIST: &str = "builds with artifact";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let before = row(LIST, &query)?;
    let sha256 = Sha256::from_hex(&sha256)
        .ok_or_else(|| Error::BadRequest("the digest is to be 64 hexadecimal digits".to_owned()))?;
    answer(app, move |_, tx| {
        let (found, next) = search::with_artifact(tx, sha256, before, count)?;
        if found.is_empty() && before.is_none() {
            return Err(Error::NotFound(format!(
                "no build has an artifact with the SHA-256 {sha256}"
            )));
        }
        let items = found.into_iter().map(|(build, artifact)| {
            FoundBuild::of(&crate::search::FoundBuild {
                build,
                why: crate::search::Why::Artifact(artifact),
            })
        });
        Ok(Page {
            items: items.collect(),
            next_cursor: next.map(|next| cursor::encode(LIST, &[&next.to_string()])),
        })
    })
    .await
}

/// What stays of a build that was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedBuild {
    /// Its name.
    pub uuid: String,
    /// The name of its job.
    pub job: String,
    /// What it ran on.
    pub platform: String,
    /// When it started (RFC 3339).
    pub start_time: String,
    /// When it ended (RFC 3339).
    pub finish_time: String,
    /// How it ended, in words.
    pub result: String,
    /// What its main binary was.
    #[schema(required)]
    pub main_binary: Option<Artifact>,
    /// The digest of what went in.
    #[schema(required)]
    pub input_id: Option<String>,
    /// Who uploaded it.
    pub uploader: String,
    /// When it was removed (RFC 3339).
    pub removed_time: String,
}

/// What stays of a build that was removed.
#[utoipa::path(get, path = pattern::API_REMOVED_BUILD, tag = "builds",
    params(("uuid" = String, Path, description = "The uuid of a build")),
    responses((status = 200, description = "What stays of it", body = RemovedBuild), (status = 404, description = "No such build was removed", body = ApiError)))]
pub async fn removed(State(app): State<App>, Path(uuid): Path<String>) -> Result<Response> {
    answer(app, move |_, tx| {
        let missing = || Error::NotFound("no such build was removed".to_owned());
        let uuid = names::uuid(&uuid).ok_or_else(missing)?;
        let removed = removed_builds::by_uuid(tx, uuid)?.ok_or_else(missing)?;
        Ok(RemovedBuild {
            uuid: removed.uuid.to_string(),
            job: removed.job,
            platform: removed.platform,
            start_time: removed.start.to_rfc3339(),
            finish_time: removed.finish.to_rfc3339(),
            result: removed.result.to_string(),
            main_binary: removed.main_binary.as_ref().map(Artifact::of),
            input_id: removed.input_id.map(Sha256::to_hex),
            uploader: removed.uploader,
            removed_time: removed.removed.to_rfc3339(),
        })
    })
    .await
}
