//! `…/viztreemap` and `…/vizdependencies` of a build, and `viztreemap` of two.
//!
//! Each is a document of its own, made to stand in a frame of the build's page as well as alone; or
//! what it tells as JSON.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_store::Sha256;
use builder_store::builds::{self, Artifact, Build};
use builder_store::cache::{Drawn, Form, Picture};
use builder_viz::Side;

use crate::app::App;
use crate::drawings::{self, Shown};
use crate::error::{Error, Result};
use crate::names::{self, Path};
use crate::pack::{PACKED_BYTES_MIN, pack};
use crate::query::Query;
use crate::respond::{self, Accepts, Encoding};
use crate::{removed, urls};

/// What our own pictures may do: what they say themselves, framed by our pages.
static OWN_POLICY: LazyLock<HeaderValue> =
    LazyLock::new(|| respond::value(format!("{}; frame-ancestors 'self'", builder_viz::policy())));
/// What the pictures of hooks may do: show themselves, not as of our origin. They are whatever a
/// program of the operator made of what was uploaded.
const HOOK_POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
);

/// `GET …/viztreemap`
pub async fn treemap(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    picture(app, Picture::Treemap, uuid, query, headers).await
}

/// `GET …/vizdependencies`
pub async fn dependencies(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    picture(app, Picture::Dependencies, uuid, query, headers).await
}

/// What the client asks for.
fn form(headers: &HeaderMap) -> Form {
    match Accepts::of(headers).json {
        true => Form::Json,
        false => Form::Html,
    }
}

async fn picture(
    app: App,
    picture: Picture,
    uuid: String,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let is_framed = Query::parse(query.as_deref()).get(urls::FRAMED).is_some();
    let missing = || Error::NotFound("there is no such build".to_owned());
    let uuid = names::uuid(&uuid).ok_or_else(missing)?;
    let form = form(&headers);
    let shown = app.picture(picture, form, uuid).await?.ok_or_else(|| {
        let what = match picture {
            Picture::Treemap => "this build has no binary with symbols to draw a treemap of",
            Picture::Dependencies => "this build has no opam-switch to draw the dependencies of",
        };
        Error::NotFound(what.to_owned())
    })?;
    match shown {
        Shown::OfHook(html) => send(&app, &headers, form, html.into(), HOOK_POLICY).await,
        Shown::Own(drawn) => match &*drawn {
            Drawn::Picture(picture) => {
                let picture = match is_framed {
                    true => builder_viz::framed(picture.clone()).into(),
                    false => Bytes::copy_from_slice(picture),
                };
                send(&app, &headers, form, picture, OWN_POLICY.clone()).await
            }
            Drawn::Nothing(why) => {
                let what = match picture {
                    Picture::Treemap => "the binary with symbols of this build",
                    Picture::Dependencies => "the opam-switch of this build",
                };
                Err(Error::NotFound(format!("{what} cannot be drawn: {why}")))
            }
        },
    }
}

/// `GET /compare/:left/:right/viztreemap`
pub async fn treemap_changes(
    State(app): State<App>,
    Path((left, right)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let missing = || Error::NotFound("one of the two builds does not exist".to_owned());
    let uuids = names::uuid(&left).zip(names::uuid(&right));
    let (left, right) = uuids.ok_or_else(missing)?;
    let both = app
        .read(move |tx| {
            let mut load = |uuid| {
                let Some(build) = builds::by_uuid(tx, uuid)? else {
                    return removed::missing(tx, uuid).map(Err);
                };
                let artifacts = builds::artifacts(tx, build.id)?;
                Ok::<_, builder_store::Error>(Ok((build, artifacts)))
            };
            Ok((load(left)?, load(right)?))
        })
        .await?;
    let (one, other) = (both.0?, both.1?);
    let form = form(&headers);
    let size = |(build, artifacts): &(Build, Vec<Artifact>)| {
        let debug = drawings::subject(Picture::Treemap, build, artifacts);
        debug.map_or(0, |artifact| artifact.size)
    };
    // One after the other.
    let bytes = size(&one).max(size(&other));
    let draw = move |app: &App| changes(app, form, &one, &other);
    let drawn = app
        .treemap_changes((left, right), form, bytes, draw)
        .await?;
    match &*drawn {
        Drawn::Picture(picture) => {
            let picture = Bytes::copy_from_slice(picture);
            send(&app, &headers, form, picture, OWN_POLICY.clone()).await
        }
        Drawn::Nothing(why) => Err(Error::NotFound(why.clone())),
    }
}

fn changes(
    app: &App,
    form: Form,
    (left, of_left): &(Build, Vec<Artifact>),
    (right, of_right): &(Build, Vec<Artifact>),
) -> Result<Drawn> {
    let name = |build: &Build| format!("{}, {} on {}", build.job, build.start, build.platform);
    let nothing = |side: &str, why: String| {
        Ok(Drawn::Nothing(format!(
            "there is no treemap of the {side} build: {why}"
        )))
    };
    let left_binary = match drawings::debug_binary(app, left, of_left)? {
        Ok(binary) => binary,
        Err(why) => return nothing("left", why),
    };
    let right_binary = match drawings::debug_binary(app, right, of_right)? {
        Ok(binary) => binary,
        Err(why) => return nothing("right", why),
    };
    if form == Form::Json {
        let data = builder_viz::treemap_changes_data(&left_binary, &right_binary);
        return Ok(Drawn::Picture(drawings::json(&data)?));
    }
    let (left_name, right_name) = (name(left), name(right));
    let left_url = urls::build(&left.job, &left.uuid);
    let right_url = urls::build(&right.job, &right.uuid);
    let back = urls::compare(&left.uuid, &right.uuid);
    let html = builder_viz::treemap_changes(
        Side {
            name: &left_name,
            url: Some(&left_url),
            binary: &left_binary,
        },
        Side {
            name: &right_name,
            url: Some(&right_url),
            binary: &right_binary,
        },
        Some(&back),
    );
    Ok(Drawn::Picture(html.into_bytes()))
}

/// A picture, packed as the client can read it. It is asked for again each time: a hook may have
/// made another one meanwhile.
async fn send(
    app: &App,
    headers: &HeaderMap,
    form: Form,
    picture: Bytes,
    policy: HeaderValue,
) -> Result<Response> {
    let content_type = match form {
        Form::Html => respond::HTML,
        Form::Json => respond::JSON,
    };
    let encoding = match (picture.len() as u64) < PACKED_BYTES_MIN {
        true => Encoding::Identity,
        false => Accepts::of(headers).encoding,
    };
    let digest = Sha256::of(&picture).to_hex();
    let tag = digest.get(..32).unwrap_or_default().to_owned();
    let mut response = if respond::none_match(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let packed = app.blocking(move |_| pack(picture, encoding)).await?;
        let mut response = Response::new(Body::from(packed.map_err(Error::internal)?));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(name) = encoding.name() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    // Weak: the packed forms are one picture.
    headers.insert(header::ETAG, respond::value(format!("W/\"{tag}\"")));
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
