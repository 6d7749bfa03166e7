//! Every URL and what answers it.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::routing::{MethodRouter, get, post};

use crate::api;
use crate::app::App;
use crate::pages::{
    assets, audit, badge, build, build_file, build_packages, build_viz, builds, compare,
    compare_file, console, failed_builds, feeds, hash, health, job, metrics, open_search, package,
    robots, search, status,
};
use crate::urls::pattern;
use crate::{error, headers, page_cache, places, upload};

/// The whole server.
pub fn router(app: App) -> Router {
    let dear = Router::new()
        .slash(pattern::COMPARE, get(compare::get))
        .slash(pattern::COMPARE_FILES, get(compare_file::get))
        .layer(from_fn_with_state(app.clone(), places::layer));
    let pages = Router::new()
        .slash(pattern::FRONT, get(builds::active))
        .slash(pattern::ALL_BUILDS, get(builds::all))
        .slash(pattern::FAILED_BUILDS, get(failed_builds::get))
        .slash(pattern::JOB, get(job::get))
        .slash(pattern::JOB_FAILED, get(job::get_with_failed))
        .slash(pattern::BUILD, get(build::get))
        .slash(pattern::BUILD_PACKAGES, get(build_packages::get))
        .slash(pattern::SEARCH, get(search::get))
        .slash(pattern::STATUS, get(status::get))
        .slash(pattern::PACKAGE, get(package::get))
        .slash(pattern::CONSOLE_PAGE, get(console::get))
        .merge(dear)
        .layer(from_fn_with_state(app.clone(), page_cache::layer));
    let programs = programs(&app)
        .layer(from_fn_with_state(app.clone(), page_cache::layer))
        .layer(map_response(api::allow_everyone));
    let pictures = Router::new()
        .slash(pattern::TREEMAP, get(build_viz::treemap))
        .slash(pattern::DEPENDENCIES, get(build_viz::dependencies))
        .slash(pattern::TREEMAP_CHANGES, get(build_viz::treemap_changes))
        .layer(from_fn_with_state(app.clone(), places::layer));
    let files = Router::new()
        .slash(pattern::LATEST, get(job::latest))
        .route(pattern::LATEST_REST, get(job::latest_rest))
        .slash(pattern::MAIN_BINARY, get(build_file::main_binary))
        .route(pattern::ARTIFACT, get(build_file::artifact))
        .slash(pattern::SCRIPT, get(build_file::script))
        .slash(pattern::CONSOLE, get(build_file::console))
        .slash(pattern::EXEC, get(build_file::exec))
        .slash(pattern::ARCHIVE, get(build_file::archive))
        .slash(pattern::HASH, get(hash::get))
        .slash(pattern::AUDIT, get(audit::get))
        .slash(pattern::METRICS, get(metrics::get_as_admin))
        .slash(pattern::ALIVE, get(health::alive))
        .slash(pattern::READY, get(health::ready))
        .route(pattern::FEED, get(feeds::all))
        .route(pattern::FAILED_FEED, get(feeds::failed))
        .route(pattern::JOB_FEED, get(feeds::job))
        .route(pattern::JOB_FAILED_FEED, get(feeds::job_failed))
        .route(pattern::JOB_CHANGES_FEED, get(feeds::job_changes))
        .route(pattern::NOT_REPRODUCIBLE_FEED, get(feeds::not_reproducible))
        .route(
            pattern::JOB_NOT_REPRODUCIBLE_FEED,
            get(feeds::job_not_reproducible),
        )
        .route(pattern::BADGE, get(badge::get))
        .route(pattern::OPEN_SEARCH, get(open_search::description))
        .route(pattern::SUGGEST, get(open_search::suggest))
        .slash(pattern::ROBOTS, get(robots::get))
        .route(pattern::STYLE, get(assets::style))
        .route(pattern::SCRIPT_FILE, get(assets::script))
        .route(pattern::LOGO, get(assets::logo))
        .route(pattern::PICTURE, get(assets::share))
        .merge(pictures);
    let uploads = Router::new()
        .slash(pattern::UPLOAD, post(upload::exec))
        .slash(pattern::UPLOAD_BINARY, post(upload::binary));
    pages
        .merge(files)
        .merge(uploads)
        .merge(programs)
        .layer(from_fn(headers::host))
        .layer(from_fn_with_state(app.clone(), error::render))
        .layer(from_fn(headers::security))
        .layer(from_fn_with_state(app.clone(), headers::log))
        .with_state(app)
}

/// What is served at the address of its own, for those who watch the server.
pub fn watching(app: App) -> Router {
    Router::new()
        .slash(pattern::METRICS, get(metrics::get))
        .slash(pattern::ALIVE, get(health::alive))
        .slash(pattern::READY, get(health::ready))
        .layer(from_fn(headers::host))
        .layer(from_fn_with_state(app.clone(), error::render))
        .layer(from_fn(headers::security))
        .layer(from_fn_with_state(app.clone(), headers::log))
        .with_state(app)
}

/// For programs, see [`api`].
fn programs(app: &App) -> Router<App> {
    let dear = Router::new()
        .slash(pattern::API_COMPARE, get(api::comparison::builds))
        .slash(pattern::API_COMPARE_FILES, get(api::comparison::files))
        .slash(pattern::API_TREEMAP, get(api::pictures::treemap))
        .slash(pattern::API_DEPENDENCIES, get(api::pictures::dependencies))
        .slash(
            pattern::API_TREEMAP_CHANGES,
            get(api::pictures::treemap_changes),
        )
        .layer(from_fn_with_state(app.clone(), places::layer));
    Router::new()
        .slash(pattern::API_DESCRIPTION, get(api::describe))
        .slash(pattern::API_JOBS, get(api::jobs::list))
        .slash(pattern::API_JOB, get(api::jobs::one))
        .slash(pattern::API_JOB_BUILDS, get(api::jobs::builds))
        .slash(pattern::API_JOB_LATEST, get(api::jobs::latest))
        .slash(pattern::API_JOB_HISTORY, get(api::jobs::history))
        .slash(pattern::API_BUILDS, get(api::builds::list))
        .slash(pattern::API_BUILD, get(api::builds::one))
        .slash(pattern::API_BUILD_ARTIFACTS, get(api::builds::artifacts))
        .slash(pattern::API_BUILD_PACKAGES, get(api::builds::packages))
        .slash(pattern::API_BUILD_CONSOLE, get(api::builds::console))
        .slash(pattern::API_FAILURES, get(api::builds::failures))
        .slash(pattern::API_HASH, get(api::builds::by_hash))
        .slash(pattern::API_REMOVED_BUILD, get(api::builds::removed))
        .slash(pattern::API_STATUS, get(api::status::get))
        .slash(pattern::API_SEARCH, get(api::packages::search))
        .slash(pattern::API_PACKAGES, get(api::packages::list))
        .slash(pattern::API_PACKAGE, get(api::packages::one))
        .slash(pattern::API_PACKAGE_LATEST, get(api::packages::latest))
        .slash(pattern::API_PACKAGE_BUILDS, get(api::packages::builds))
        .merge(dear)
}

/// One trailing slash is as good as none: links in the wild have it.
trait Slash {
    fn slash(self, pattern: &str, methods: MethodRouter<App>) -> Self;
}

impl Slash for Router<App> {
    fn slash(self, pattern: &str, methods: MethodRouter<App>) -> Self {
        match pattern {
            "/" => self.route(pattern, methods),
            _ => self
                .route(&format!("{pattern}/"), methods.clone())
                .route(pattern, methods),
        }
    }
}
