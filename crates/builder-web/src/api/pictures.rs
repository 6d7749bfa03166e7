//! What the pictures of builds tell. The pages of the pictures answer here, too.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use builder_viz::{Dependencies, Treemap, TreemapChanges};

use super::{ApiError, json_headers};
use crate::app::App;
use crate::error::Result;
use crate::names::Path;
use crate::pages::build_viz;
use crate::urls::pattern;

/// What takes space in a build's binary, by library and module, as its symbols tell.
#[utoipa::path(get, path = pattern::API_TREEMAP, operation_id = "get_treemap", tag = "pictures",
    params(("uuid" = String, Path, description = "The uuid of a build")),
    responses((status = 200, description = "What takes space", body = Treemap), (status = 410, description = "The build was removed", body = ApiError), (status = 404, description = "There is no such build, or it has no binary with symbols", body = ApiError)))]
pub async fn treemap(state: State<App>, Path(uuid): Path<String>) -> Result<Response> {
    let path = Path((String::new(), uuid));
    build_viz::treemap(state, path, RawQuery(None), json_headers()).await
}

/// Which package of a build's opam switch needs which, from its root on.
#[utoipa::path(get, path = pattern::API_DEPENDENCIES, operation_id = "get_dependencies", tag = "pictures",
    params(("uuid" = String, Path, description = "The uuid of a build")),
    responses((status = 200, description = "Packages and dependencies", body = Dependencies), (status = 410, description = "The build was removed", body = ApiError), (status = 404, description = "There is no such build, or it has no opam switch", body = ApiError)))]
pub async fn dependencies(state: State<App>, Path(uuid): Path<String>) -> Result<Response> {
    let path = Path((String::new(), uuid));
    build_viz::dependencies(state, path, RawQuery(None), json_headers()).await
}

/// What grew and what shrank from one build's binary to another's.
#[utoipa::path(get, path = pattern::API_TREEMAP_CHANGES, operation_id = "get_treemap_changes", tag = "pictures",
    params(
        ("left" = String, Path, description = "The uuid of a build"),
        ("right" = String, Path, description = "The uuid of another"),
    ),
    responses((status = 200, description = "What became of each part", body = TreemapChanges), (status = 410, description = "One of the builds was removed", body = ApiError), (status = 404, description = "One of the builds does not exist, or has no binary with symbols", body = ApiError)))]
pub async fn treemap_changes(state: State<App>, path: Path<(String, String)>) -> Result<Response> {
    build_viz::treemap_changes(state, path, json_headers()).await
}
