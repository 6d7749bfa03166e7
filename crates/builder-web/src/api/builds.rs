//! Builds, what they hold, and how they compare.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use builder_store::builds::{self as kept, Build};
use builder_store::failures as told;
use builder_store::listing::{self, Filter};
use builder_store::record::removed as removed_builds;
use builder_store::verdict::Verdict;
use builder_store::{Sha256, Tx, jobs, search};
use utoipa::ToSchema;

use super::{
    ApiError, age, age_cursor, answer, digest, json, json_headers, limit, limit_up_to, state,
};
use crate::app::App;
use crate::client::Client;
use crate::cursor;
use crate::error::{Error, Result};
use crate::failure::Class;
use crate::names::{self, Path};
use crate::pages::build::BuildPage;
use crate::pages::build_packages;
use crate::pages::console::{self, Asked};
use crate::query::Query;
use crate::removed::RemovedPage;
use crate::search as finder;
use crate::urls::{self, pattern};
use crate::view::{
    self, Artifact, BuildDetail, BuildSummary, FailedBuild, Failure, FoundBuild, PackageOfVersion,
    Page, RemovedDetail,
};

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
///
/// A part may have fewer entries than `limit`, or none, although there are more: builds of a state
/// or on a platform are looked for among so many for a part.
#[utoipa::path(get, path = pattern::API_BUILDS, operation_id = "list_builds", tag = "builds",
    params(
        ("platform" = Option<String>, Query, description = "On this platform"),
        ("state" = Option<String>, Query, description = "Known to be so: `reproduced`, `unchanged`, `changed`, `built-once`, `not-reproducible`, `failed`"),
        ("output" = Option<String>, Query, description = "The SHA-256 of the main binary"),
        ("input_id" = Option<String>, Query, description = "The digest of what went in"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Builds", body = Page<BuildSummary>), (status = 400, description = "A parameter is wrong", body = ApiError)))]
pub async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response> {
    const LIST: &str = "uploads";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let before = row(LIST, &query)?;
    let filter = Filter {
        platform: query.platform(),
        state: state(&query)?,
        output: digest(&query, "output")?,
        input_id: digest(&query, "input_id")?,
        ..Filter::default()
    };
    answer(app, move |_, tx| {
        let part = listing::uploads(tx, &filter, before, count)?;
        Ok(Page {
            next_cursor: part
                .next
                .map(|next| cursor::encode(LIST, &[&next.to_string()])),
            items: view::summaries(&part.builds),
        })
    })
    .await
}

/// The number in the cursor of a list.
fn row<T: std::str::FromStr>(list: &str, query: &Query) -> Result<Option<T>> {
    match query.cursor() {
        Some(cursor) => {
            let [row] = cursor::decode(list, cursor)?;
            Ok(Some(cursor::number(&row)?))
        }
        None => Ok(None),
    }
}

/// One build, with all that its page shows.
#[utoipa::path(get, path = pattern::API_BUILD, operation_id = "get_build", tag = "builds",
    params(("uuid" = String, Path, description = "The uuid of a build")),
    responses((status = 200, description = "The build", body = BuildDetail), (status = 410, description = "The build was removed; the error says where to look", body = ApiError), (status = 404, description = "There is no such build", body = ApiError)))]
pub async fn one(State(app): State<App>, Path(uuid): Path<String>) -> Result<Response> {
    let load = move |app: &App, tx: &mut Tx<'_>| {
        let build = build(tx, &uuid)?;
        Ok(BuildPage::load(app, tx, build)?)
    };
    detail(app, load).await
}

/// All that the page of a build shows.
pub(super) async fn detail(
    app: App,
    load: impl FnOnce(&App, &mut Tx<'_>) -> Result<BuildPage> + Send + 'static,
) -> Result<Response> {
    let page = app.prepared(load).await?;
    json(&page.detail())
}

/// The files of a build, by path.
#[utoipa::path(get, path = pattern::API_BUILD_ARTIFACTS, operation_id = "list_artifacts_of_build", tag = "builds",
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
    let after = match query.cursor() {
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

/// The opam packages that went into a build, in opam's order.
#[utoipa::path(get, path = pattern::API_BUILD_PACKAGES, operation_id = "list_packages_of_build", tag = "builds",
    params(
        ("uuid" = String, Path, description = "The uuid of a build"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Packages", body = Page<PackageOfVersion>), (status = 410, description = "The build was removed; the error says where to look", body = ApiError), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "There is no such build, or its switch was not recorded", body = ApiError)))]
pub async fn packages(
    State(app): State<App>,
    Path(uuid): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    const LIST: &str = "packages of build";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    // What went into a build stays as it is: its packages are told by their number.
    let first: usize = row(LIST, &query)?.unwrap_or(0);
    let page = build_packages::load(&app, &uuid).await?;
    let rest = page.packages().get(first..).unwrap_or_default();
    let next = first.saturating_add(count);
    json(&Page {
        items: rest.iter().take(count).map(PackageOfVersion::of).collect(),
        next_cursor: (rest.len() > count).then(|| cursor::encode(LIST, &[&next.to_string()])),
    })
}

/// Some lines of a build's console, a thousand at a time, or fewer where they are long.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the console's page")]
pub struct Console {
    /// The build.
    #[serde(flatten)]
    build: BuildSummary,
    /// Lines of the whole console.
    line_count: u64,
    /// Bytes of the whole console.
    size: u64,
    /// The first line that looks like an error, counted from 1.
    #[schema(required)]
    first_error: Option<u64>,
    /// The lines before which nothing was printed for long, the longest wait first.
    longest_waits: Vec<Wait>,
    /// What the console tells of a failure.
    #[schema(required)]
    failure: Option<Failure>,
    /// Where `find` is.
    #[schema(required)]
    found: Option<FoundLines>,
    /// The lines.
    lines: Vec<ConsoleLine>,
    /// The page of the lines that follow: its `from` goes on here, too.
    #[schema(required)]
    next: Option<String>,
    /// The page of the lines before.
    #[schema(required)]
    previous: Option<String>,
    /// To be given as `cursor` to get the lines that follow; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A wait before a line of a console.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the console's page")]
pub struct Wait {
    /// Counted from 1.
    line: u64,
    /// Seconds since the line before.
    wait: f64,
}

/// Lines of a console that have what is looked for.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the console's page")]
pub struct FoundLines {
    /// What is looked for.
    find: String,
    /// How many lines have it.
    line_count: u64,
    /// The first of them.
    lines: Vec<FoundLine>,
}

/// A line of a console that has what is looked for.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the console's page")]
pub struct FoundLine {
    /// Counted from 1.
    line: u64,
    /// Its text, or the part around what is looked for.
    text: String,
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
    /// Whether it looks like an error.
    error: bool,
    /// How often it was written over, as progress bars are.
    overwritten: u64,
    /// Bytes at its end that are only in the raw text.
    left_out_bytes: u64,
}

/// Lines of a console in a part, when nothing else is asked for, and at most.
const LINES_MAX: u32 = 1_000;

/// Lines of a build's console.
#[utoipa::path(get, path = pattern::API_BUILD_CONSOLE, operation_id = "get_console_of_build", tag = "builds",
    params(
        ("uuid" = String, Path, description = "The uuid of a build"),
        ("from" = Option<u64>, Query, description = "The first line, counted from 1", maximum = 9_223_372_036_854_775_807_i64),
        ("find" = Option<String>, Query, description = "A text to look for, too"),
        ("limit" = Option<u32>, Query, description = "At most so many lines", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before, in place of `from`"),
    ),
    responses((status = 200, description = "Lines", body = Console), (status = 410, description = "The build was removed; the error says where to look", body = ApiError), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "There is no such build", body = ApiError)))]
pub async fn console(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    Path(uuid): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let limit = limit_up_to(&query, LINES_MAX, LINES_MAX)?;
    let from = match query.text("from") {
        Some(from) => match console::Asked::line(&from)? {
            None => {
                return Err(Error::BadRequest(
                    "from is to be the number of a line, counted from 1".to_owned(),
                ));
            }
            line => line,
        },
        None => None,
    };
    let asked = Asked {
        from: row(console::LIST, &query)?.or(from),
        count: Some(limit.into()),
        find: query.text("find"),
    };
    console::shown(app, client, &uuid, asked, &json_headers()).await
}

/// Builds without a main binary, newest first.
#[utoipa::path(get, path = pattern::API_FAILURES, operation_id = "list_failures", tag = "builds",
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
    let class = query.text("class");
    if class
        .as_deref()
        .is_some_and(|class| Class::of_name(class).is_none())
    {
        return Err(Error::BadRequest(format!(
            "class is to be one of {}",
            Class::ALL.map(Class::name).join(", ")
        )));
    }
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
            class: class.as_deref(),
        };
        let mut failed = told::before(tx, filter, before, count + 1)?;
        let more = failed.len() > count;
        failed.truncate(count);
        let last = failed.last().filter(|_| more);
        Ok(Page {
            next_cursor: last.map(|(build, _)| age_cursor(LIST, build.age())),
            items: failed
                .iter()
                .map(|(build, failure)| FailedBuild {
                    build: BuildSummary::of(build, Verdict::Failed),
                    failure: failure.as_ref().map(Failure::of),
                })
                .collect(),
        })
    })
    .await
}

/// Builds that have a file of this content, the last upload first.
#[utoipa::path(get, path = pattern::API_HASH, operation_id = "list_builds_with_file", tag = "builds",
    params(
        ("sha256" = String, Path, description = "64 hexadecimal digits", pattern = "^[0-9A-Fa-f]{64}$"),
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
        let found = found
            .into_iter()
            .map(|(build, artifact)| (build, finder::Why::Artifact(artifact)));
        let found = finder::judged(tx, found.collect())?;
        Ok(Page {
            items: found.iter().map(FoundBuild::of).collect(),
            next_cursor: next.map(|next| cursor::encode(LIST, &[&next.to_string()])),
        })
    })
    .await
}

/// What stays of a build that was removed.
#[utoipa::path(get, path = pattern::API_REMOVED_BUILD, operation_id = "get_removed_build", tag = "builds",
    params(("uuid" = String, Path, description = "The uuid of a build")),
    responses((status = 200, description = "What stays of it", body = RemovedDetail), (status = 404, description = "No such build was removed", body = ApiError)))]
pub async fn removed(State(app): State<App>, Path(uuid): Path<String>) -> Result<Response> {
    answer(app, move |app, tx| {
        let missing = || Error::NotFound("no such build was removed".to_owned());
        let uuid = names::uuid(&uuid).ok_or_else(missing)?;
        let page = RemovedPage::load(app, tx, uuid)?.ok_or_else(missing)?;
        Ok(page.detail())
    })
    .await
}
