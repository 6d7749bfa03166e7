//! `GET /hash?sha256=HEX`: from an artifact's content to the newest build that has it.
//!
//! Newest by start time, as `latest` is: that is how a client learns that what it runs is up to
//! date although it was built again since. A main binary that was removed leads to the page of its
//! build, which says so.

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_store::record::removed;
use builder_store::{Sha256, builds};

use crate::app::App;
use crate::error::{Error, Result};
use crate::query::Query;
use crate::{respond, urls};

/// Redirects to the build.
pub async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let given = query.get("sha256").unwrap_or_default();
    let sha256 = parse(given).ok_or_else(|| {
        Error::BadRequest(
            "the parameter sha256 is to be a SHA-256 digest: 64 hexadecimal digits".to_owned(),
        )
    })?;
    let url = app
        .read(move |tx| {
            if let Some(build) = builds::newest_with_artifact(tx, sha256)? {
                return Ok(Some(urls::build(&build.job, &build.uuid)));
            }
            // Whoever runs an old binary learns its job, and so what to update to.
            let removed = removed::with_main_binary(tx, sha256, 1)?;
            let mut urls = removed
                .iter()
                .map(|build| urls::build(&build.job, &build.uuid));
            Ok(urls.next())
        })
        .await?
        .ok_or_else(|| {
            Error::NotFound(format!(
                "no build has an artifact with the SHA-256 {sha256}"
            ))
        })?;
    let location = respond::value(url);
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}

/// As our own pages print it, or bare, with blanks around it from copying.
fn parse(text: &str) -> Option<Sha256> {
    let text = text.trim();
    let hex = match text.split_at_checked(7) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("sha256:") => rest.trim_start(),
        _ => text,
    };
    Sha256::from_hex(hex)
}
