//! Search, and opam packages.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use builder_store::Tx;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, answer, limit};
use crate::app::App;
use crate::cursor;
use crate::error::{Error, Result};
use crate::names::Path;
use crate::query::Query;
use crate::search::packages as told;
use crate::search::query::{Constraint, Query as Wanted};
use crate::search::{self as finder, Kind};
use crate::urls::pattern;
use crate::view::{BuildSummary, FoundBuild, IndexState, PackageVersion, Page, SearchResults};

/// Jobs, builds, packages and files by one text.
#[utoipa::path(get, path = pattern::API_SEARCH, operation_id = "search", tag = "search",
    params(
        ("q" = Option<String>, Query, description = "A job, `package`, `package.version`, `package < version`, a file, a SHA-256 or uuid or the beginning of one; nothing is found without"),
        ("kind" = Option<String>, Query, description = "`jobs`, `builds`, `removed`, `packages` or `files` alone"),
        ("limit" = Option<u32>, Query, description = "At most so many entries of each kind", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before, with its `kind`"),
    ),
    responses((status = 200, description = "What was found", body = SearchResults), (status = 400, description = "A parameter is wrong", body = ApiError)))]
pub async fn search(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let wanted = Wanted::parse(query.get("q").unwrap_or_default());
    let kind = match query.get("kind").filter(|kind| !kind.is_empty()) {
        Some(name) => Some(Kind::of_name(name).ok_or_else(|| {
            Error::BadRequest("kind is to be jobs, builds, removed, packages or files".to_owned())
        })?),
        None => None,
    };
    let cursor = query.cursor().map(str::to_owned);
    if cursor.is_some() && kind.is_none() {
        return Err(Error::BadRequest(
            "a cursor goes with the kind of its list".to_owned(),
        ));
    }
    answer(app, move |_, tx| {
        let found = match kind {
            Some(kind) => finder::one(tx, &wanted, kind, cursor.as_deref(), count)?,
            None => finder::all(tx, &wanted, count)?,
        };
        let progress = finder::progress(tx)?;
        Ok(SearchResults::of(&wanted, &found, progress))
    })
    .await
}

/// The name of an opam package.
#[derive(Debug, Serialize, ToSchema)]
pub struct PackageName {
    /// The name.
    pub name: String,
}

/// The opam packages that builds contain, in opam's order of names.
#[utoipa::path(get, path = pattern::API_PACKAGES, operation_id = "list_packages", tag = "packages",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Names", body = Page<PackageName>), (status = 400, description = "A parameter is wrong", body = ApiError)))]
pub async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response> {
    const LIST: &str = "package names";
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let after = match query.cursor() {
        Some(cursor) => Some(cursor::decode::<1>(LIST, cursor)?[0].clone()),
        None => None,
    };
    answer(app, move |_, tx| {
        let mut names = finder::package_names(tx)?;
        if let Some(after) = after {
            names
                .retain(|name| opam_file::compare_names(name.as_bytes(), after.as_bytes()).is_gt());
        }
        let more = names.len() > count;
        names.truncate(count);
        let last = names.last().filter(|_| more);
        Ok(Page {
            next_cursor: last.map(|name| cursor::encode(LIST, &[name])),
            items: names.into_iter().map(|name| PackageName { name }).collect(),
        })
    })
    .await
}

/// An opam package.
#[derive(Debug, Serialize, ToSchema)]
pub struct PackageDetail {
    /// Its name.
    pub name: String,
    /// Its versions that builds contain, the newest first.
    pub versions: Page<PackageVersion>,
    /// The newest builds of jobs that contain it: the first of `…/latest`.
    pub latest: Vec<LatestWithPackage>,
    /// To be given there as `cursor` to get the next part; null: these are all.
    #[schema(required)]
    pub latest_next_cursor: Option<String>,
    /// Whether everything can be found.
    pub index: IndexState,
}

/// The newest build of a job on a platform, and which version of a package it contains.
#[derive(Debug, Serialize, ToSchema)]
pub struct LatestWithPackage {
    /// The version.
    pub version: String,
    /// The build.
    pub build: BuildSummary,
}

impl LatestWithPackage {
    fn of(latest: &told::LatestWith) -> LatestWithPackage {
        LatestWithPackage {
            version: latest.version.clone(),
            build: BuildSummary::of(&latest.build, latest.verdict),
        }
    }
}

/// One opam package: its versions, and the jobs whose newest build contains it.
#[utoipa::path(get, path = pattern::API_PACKAGE, operation_id = "get_package", tag = "packages",
    params(
        ("name" = String, Path, description = "The name of an opam package"),
        ("limit" = Option<u32>, Query, description = "At most so many versions", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the versions before"),
    ),
    responses((status = 200, description = "The package", body = PackageDetail), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "No build contains it", body = ApiError)))]
pub async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    answer(app, move |_, tx| {
        told::require(tx, &name)?;
        let versions = told::versions(tx, &name, query.cursor(), count)?;
        let any = told::constraint(&name, "")?;
        let latest = told::latest(tx, &any, None, count)?;
        Ok(PackageDetail {
            versions: Page::of(&versions, PackageVersion::of),
            latest: latest.items.iter().map(LatestWithPackage::of).collect(),
            latest_next_cursor: latest.next,
            index: IndexState::of(finder::progress(tx)?),
            name,
        })
    })
    .await
}

/// The builds that contain an opam package, the newest input first.
#[utoipa::path(get, path = pattern::API_PACKAGE_BUILDS, operation_id = "list_builds_with_package", tag = "packages",
    params(
        ("name" = String, Path, description = "The name of an opam package"),
        ("version" = Option<String>, Query, description = "A version, or conditions on it: `2.0.1`, `< 2.0.1`, `>= 1.0 & < 2.0.1`"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Builds", body = Page<FoundBuild>), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "No build contains it", body = ApiError)))]
pub async fn builds(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    with_package(app, name, query, |tx, constraint, cursor, count| {
        let found = finder::builds_with(tx, constraint, cursor, count)?;
        Ok(Page::of(&found, FoundBuild::of))
    })
    .await
}

/// The newest builds of jobs on platforms that contain an opam package.
#[utoipa::path(get, path = pattern::API_PACKAGE_LATEST, operation_id = "list_latest_builds_with_package", tag = "packages",
    params(
        ("name" = String, Path, description = "The name of an opam package"),
        ("version" = Option<String>, Query, description = "A version, or conditions on it: `2.0.1`, `< 2.0.1`, `>= 1.0 & < 2.0.1`"),
        ("limit" = Option<u32>, Query, description = "At most so many entries", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses((status = 200, description = "Builds", body = Page<LatestWithPackage>), (status = 400, description = "A parameter is wrong", body = ApiError), (status = 404, description = "No build contains it", body = ApiError)))]
pub async fn latest(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    with_package(app, name, query, |tx, constraint, cursor, count| {
        let found = told::latest(tx, constraint, cursor, count)?;
        Ok(Page::of(&found, LatestWithPackage::of))
    })
    .await
}

/// Answers with a part of what there is of the versions of a package that are asked for.
async fn with_package<T: Serialize + ToSchema>(
    app: App,
    name: String,
    query: Option<String>,
    find: impl FnOnce(&mut Tx<'_>, &Constraint, Option<&str>, usize) -> Result<Page<T>> + Send + 'static,
) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let count = limit(&query)?;
    let constraint = told::constraint(&name, query.get("version").unwrap_or_default())?;
    answer(app, move |_, tx| {
        told::require(tx, &name)?;
        find(tx, &constraint, query.cursor(), count)
    })
    .await
}
