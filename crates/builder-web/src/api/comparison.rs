//! How two builds and their files compare. The types describe the JSON of the pages that compare, which answer here too.

use artifact_diff::{Presence, Report};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use utoipa::ToSchema;

use super::{ApiError, json_headers};
use crate::app::App;
use crate::cause::Explanation;
use crate::error::Result;
use crate::names::Path;
use crate::pages;
use crate::places::Held;
use crate::urls::pattern;
use crate::view;

/// What differs between two builds.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct Comparison {
    /// The left build.
    left: ComparedBuild,
    /// The right build.
    right: ComparedBuild,
    /// Environment variables.
    env_diff: Changes,
    /// System packages.
    package_diff: Changes,
    /// opam packages.
    opam_diff: OpamChanges,
    /// What is to be said first, in a sentence.
    verdict: String,
    /// Whether the input ids are the same; null: not both builds have one.
    #[schema(required)]
    same_input: Option<bool>,
    /// Whether the main binaries are the same; null: not both builds have one.
    #[schema(required)]
    same_output: Option<bool>,
    /// Where the main binaries are compared; null: they are the same, or not both builds have one.
    #[schema(required)]
    main_binary_url: Option<String>,
    /// The files of both builds, by path.
    artifacts: Vec<ComparedArtifact>,
    /// Where the binaries with symbols are compared; null: they are the same, or not both builds kept one.
    #[schema(required)]
    debug_binaries_url: Option<String>,
    /// What grew and shrank, as a picture; null: not both builds have a binary with symbols.
    #[schema(required)]
    treemap_url: Option<String>,
}

/// A build that is compared.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct ComparedBuild {
    job: String,
    uuid: String,
    platform: String,
    start_time: String,
    finish_time: String,
    /// Whether it has a main binary.
    main_binary: bool,
    /// Its size in bytes.
    #[schema(required)]
    main_binary_size: Option<u64>,
    /// Where it is inside the build.
    #[schema(required)]
    main_binary_path: Option<String>,
    /// Its digest.
    #[schema(required)]
    main_binary_sha256: Option<String>,
    /// How long the build took, in seconds.
    duration_seconds: f64,
    /// How it ended, in words.
    result: String,
    /// Whether it has a main binary.
    successful: bool,
    /// What is known of its reproducibility.
    state: view::State,
    /// The digest of what went in; null unless all of it was recorded.
    #[schema(required)]
    input_id: Option<String>,
}

/// A file of one or both builds.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct ComparedArtifact {
    /// Its path in the builds.
    path: String,
    /// Where it is, and whether it is the same.
    presence: Presence,
    /// What it is in the left build.
    #[schema(required)]
    left: Option<Content>,
    /// What it is in the right build.
    #[schema(required)]
    right: Option<Content>,
    /// Where the two are compared; null: there are not two that differ.
    #[schema(required)]
    url: Option<String>,
}

/// A file's content.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct Content {
    /// Its digest.
    sha256: String,
    /// Its size in bytes.
    size: u64,
}

/// A name with its version or value.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct Named {
    name: String,
    version: String,
}

/// A name with two versions or values.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct NamedTwice {
    name: String,
    version_left: String,
    version_right: String,
}

/// What differs of variables or packages.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct Changes {
    /// What only the left build has.
    left_packages: Vec<Named>,
    /// What only the right build has.
    right_packages: Vec<Named>,
    /// What differs.
    different_versions: Vec<NamedTwice>,
    /// Why they could not be compared.
    error: Option<String>,
}

/// What differs of opam packages.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct OpamChanges {
    /// Packages of the same version whose opam files differ.
    opam_diff: Vec<OpamFileChange>,
    /// Packages of two versions.
    version_diff: Vec<NamedTwice>,
    /// Packages that only the left build has.
    only_in_left: Vec<Named>,
    /// Packages that only the right build has.
    only_in_right: Vec<Named>,
    /// Vendored sources.
    duniverse_diff: DuniverseChanges,
    /// Why they could not be compared.
    error: Option<String>,
}

/// A package of the same version with another opam file.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct OpamFileChange {
    /// Its name and version: `dns.7.0.0`.
    package_version: String,
    /// Whether both build the same all the same.
    effectively_equal: bool,
    /// The difference of both files as `diff -u` shows it.
    diff: String,
}

/// What differs of vendored sources.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct DuniverseChanges {
    /// Directories that only the left build has.
    left: Vec<DuniverseDirectory>,
    /// Directories that only the right build has.
    right: Vec<DuniverseDirectory>,
    /// Directories with other content.
    detailed_diff: Vec<DuniverseChange>,
    /// Why they could not be compared.
    error: Option<String>,
}

/// A directory of vendored sources.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct DuniverseDirectory {
    name: String,
    /// Where it is from.
    value: String,
}

/// A directory of vendored sources with other content.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct DuniverseChange {
    name: String,
}

/// What differs between two files of two builds.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct ComparedFiles {
    /// The left file.
    left: FileOfBuild,
    /// The right file.
    right: FileOfBuild,
    /// What is to be said first, in a sentence.
    verdict: Option<String>,
    /// Which changed package explains how much of the change; null: there are no symbols or no switches to tell by, or no code or data changed.
    cause: Option<Explanation>,
    /// What differs.
    diff: Option<Report>,
    /// Why they could not be compared.
    error: Option<String>,
}

/// A file of a build.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of the comparison's page")]
pub struct FileOfBuild {
    /// The build.
    uuid: String,
    /// The file's path in it.
    path: String,
}

/// What differs between two builds, as `/compare/LEFT/RIGHT` tells it.
#[utoipa::path(get, path = pattern::API_COMPARE, operation_id = "compare_builds", tag = "builds",
    params(
        ("left" = String, Path, description = "The uuid of a build"),
        ("right" = String, Path, description = "The uuid of another"),
    ),
    responses((status = 200, description = "The differences", body = Comparison), (status = 410, description = "One of the builds was removed", body = ApiError), (status = 404, description = "One of the builds does not exist", body = ApiError)))]
pub async fn builds(state: State<App>, path: Path<(String, String)>) -> Result<Response> {
    pages::compare::get(state, None, path, json_headers()).await
}

/// What differs between two files of two builds, and why. The answer waits for the comparison, up to a minute.
#[utoipa::path(get, path = pattern::API_COMPARE_FILES, operation_id = "compare_files", tag = "builds",
    params(
        ("left" = String, Path, description = "The uuid of a build"),
        ("right" = String, Path, description = "The uuid of another"),
        ("left" = String, Query, description = "The path of a file of the left build, such as `bin/hello.hvt`"),
        ("right" = Option<String>, Query, description = "The path of a file of the right build, if it is another one"),
    ),
    responses((status = 200, description = "The differences", body = ComparedFiles), (status = 410, description = "One of the builds was removed", body = ApiError), (status = 400, description = "The path is missing", body = ApiError), (status = 404, description = "A build or file does not exist", body = ApiError), (status = 503, description = "The comparison is still under way, or there is too much to do: try again after the seconds that `Retry-After` tells", body = ApiError)))]
pub async fn files(
    state: State<App>,
    place: Option<Extension<Held>>,
    path: Path<(String, String)>,
    query: RawQuery,
) -> Result<Response> {
    pages::compare_file::get(state, place, path, query, json_headers()).await
}
