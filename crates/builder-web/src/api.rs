//! `/api/v1`: everything the pages show, for programs. What a path answers is described by the
//! handlers and types themselves; the description is at `/api/v1/openapi.json` and in `docs/`.
//!
//! Names of paths and members stay. New members may be added: clients are to ignore what they do
//! not know. Every list has `items` and `next_cursor`; every error is `{"error": "…"}`.

pub mod builds;
mod choices;
pub mod comparison;
pub mod jobs;
pub mod packages;
pub mod pictures;
pub mod status;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use builder_exec::Timestamp;
use builder_store::{Sha256, Tx};
use serde::Serialize;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, HeaderBuilder, ObjectBuilder, Ref, ResponseBuilder, Type};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::api::choices::Choices;
use crate::app::App;
use crate::cursor;
use crate::error::{Error, Result};
use crate::job_filter::JobFilter;
use crate::query::Query;
use crate::{respond, show};

/// Entries of a list when nothing else is asked for.
const LIMIT: u32 = 50;
/// The most entries of a list.
pub const LIMIT_MAX: u32 = 200;

/// Why a request was not answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiError {
    /// What was wrong and what to do, in a sentence.
    pub error: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "builder-web",
        version = "1",
        description = "Builds, whether they were reproduced, what they hold and what went into them. \
            What is below `/api/v1` is public and read only: answers carry `Access-Control-Allow-Origin: *`. \
            Lists are given in parts: `limit` (at most 200) bounds a part, `next_cursor` of one is the \
            `cursor` of the next, and stays good while builds come in. Members may be added; those \
            that are there keep their names and meanings. Times are RFC 3339, sizes bytes, digests \
            64 hexadecimal digits.",
        license(name = "ISC", identifier = "ISC")
    ),
    servers((url = "/", description = "The site that gave out this description")),
    paths(
        describe,
        jobs::list,
        jobs::one,
        jobs::builds,
        jobs::latest,
        jobs::history,
        builds::list,
        builds::one,
        builds::artifacts,
        builds::packages,
        builds::console,
        comparison::builds,
        comparison::files,
        pictures::treemap,
        pictures::dependencies,
        pictures::treemap_changes,
        builds::failures,
        builds::by_hash,
        builds::removed,
        packages::search,
        packages::list,
        packages::one,
        packages::builds,
        packages::latest,
        status::get,
        crate::pages::audit::get,
    ),
    components(schemas(ApiError)),
    modifiers(&LogIns, &Overload, &Choices)
)]
struct Description;

/// How those log in who read what is not public.
struct LogIns;

impl Modify for LogIns {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_default();
        for (name, scheme) in [
            ("token", HttpAuthScheme::Bearer),
            ("password", HttpAuthScheme::Basic),
        ] {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
    }
}

/// What every operation may answer when there is too much to do.
struct Overload;

impl Modify for Overload {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let seconds = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
            .description(Some("After how many seconds to try again"))
            .build();
        let overload = ResponseBuilder::new()
            .description(
                "The server has too much to do, or another process has locked its database. Not as \
                 JSON where it takes no more connections from this address",
            )
            .header("Retry-After", seconds)
            .content(
                respond::JSON,
                Content::new(Some(Ref::from_schema_name("ApiError"))),
            )
            .build();
        let paths = description.paths.paths.values_mut();
        for operation in paths.filter_map(|path| path.get.as_mut()) {
            let answers = &mut operation.responses.responses;
            answers
                .entry("503".to_owned())
                .or_insert_with(|| overload.clone().into());
        }
    }
}

/// The OpenAPI description, as it is served and committed.
pub fn description() -> String {
    let mut text = serde_json::to_string_pretty(&Description::openapi()).unwrap_or_default();
    text.push('\n');
    text
}

/// This description.
#[utoipa::path(get, path = crate::urls::pattern::API_DESCRIPTION, operation_id = "get_description", tag = "description",
    responses((status = 200, description = "The OpenAPI 3.1 description", body = serde_json::Value)))]
pub async fn describe(State(_app): State<App>) -> Response {
    let headers = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static(respond::JSON),
    )];
    (headers, description()).into_response()
}

/// Any page of any site may read what is public here.
pub async fn allow_everyone(mut response: Response) -> Response {
    let anyone = HeaderValue::from_static("*");
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anyone);
    response
}

/// Loads an answer from one moment of the database.
async fn answer<T: Serialize>(
    app: App,
    load: impl FnOnce(&App, &mut Tx<'_>) -> Result<T> + Send + 'static,
) -> Result<Response> {
    let body = app
        .blocking(move |app| -> Result<Vec<u8>> {
            let value = app.store().read(|tx| Ok(load(app, tx)))??;
            serde_json::to_vec(&value).map_err(Error::internal)
        })
        .await??;
    Ok(sent(body))
}

/// An answer that is at hand.
fn json(value: &impl Serialize) -> Result<Response> {
    Ok(sent(serde_json::to_vec(value).map_err(Error::internal)?))
}

fn sent(body: Vec<u8>) -> Response {
    let headers = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static(respond::JSON),
    )];
    (headers, body).into_response()
}

/// The headers of a request for the JSON form of a page.
fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(respond::JSON))])
}

/// How many entries are asked for.
fn limit(query: &Query) -> Result<usize> {
    Ok(limit_up_to(query, LIMIT, LIMIT_MAX)? as usize)
}

/// How many entries are asked for, of a list with bounds of its own.
fn limit_up_to(query: &Query, usual: u32, max: u32) -> Result<u32> {
    let Some(text) = query.get("limit") else {
        return Ok(usual);
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=max).contains(limit))
        .ok_or_else(|| Error::BadRequest(format!("limit is to be a number from 1 to {max}")))
}

/// The digest that is asked for.
fn digest(query: &Query, name: &str) -> Result<Option<Sha256>> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    Sha256::from_hex(text)
        .map(Some)
        .ok_or_else(|| Error::BadRequest(format!("{name} is to be 64 hexadecimal digits")))
}

/// The state that is asked for.
fn state(query: &Query) -> Result<Option<String>> {
    let Some(state) = query.text("state") else {
        return Ok(None);
    };
    match show::VERDICTS.iter().any(|(name, _)| *name == state) {
        true => Ok(Some(state)),
        false => Err(Error::BadRequest(format!(
            "state is to be one of {}",
            JobFilter::states()
        ))),
    }
}

/// The cursor of a list that goes by age, behind a build of this age.
fn age_cursor(list: &str, (start, id): (Timestamp, i64)) -> String {
    let parts = [
        start.days().to_string(),
        start.picoseconds().to_string(),
        id.to_string(),
    ];
    cursor::encode(list, &parts.each_ref().map(String::as_str))
}

/// The age in the cursor of a list that goes by it.
fn age(list: &str, query: &Query) -> Result<Option<(Timestamp, i64)>> {
    let Some(cursor) = query.cursor() else {
        return Ok(None);
    };
    let [days, picoseconds, id] = cursor::decode(list, cursor)?;
    age_of(&days, &picoseconds, &id).map(Some)
}

/// An age from the parts of a cursor.
fn age_of(days: &str, picoseconds: &str, id: &str) -> Result<(Timestamp, i64)> {
    let start = Timestamp::new(cursor::number(days)?, cursor::number(picoseconds)?);
    Ok((start.ok_or_else(cursor::wrong)?, cursor::number(id)?))
}
