//! `/job/:job/badge.svg`: the state of the newest build of a job, to be put into a README.

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_store::verdict::Verdict;
use builder_store::{Sha256, builds, jobs, verdict};

use crate::app::App;
use crate::error::{Error, Result};
use crate::headers::FILE_POLICY;
use crate::names::Path;
use crate::query::Query;
use crate::respond;

/// Characters of a job's name that are shown: a badge stands in a line of text.
const NAME_CHARS_MAX: usize = 60;
const NAMESPACE: &str = concat!("http", "://www.w3.org/2000/svg");

/// `GET /job/:job/badge.svg?platform=`
pub async fn get(
    State(app): State<App>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let platform = Query::parse(query.as_deref()).platform();
    let asked = platform.clone();
    let name = job.clone();
    let verdict = app
        .read(move |tx| {
            let Some(job_id) = jobs::id_by_name(tx, &name)? else {
                return Ok(None);
            };
            let newest = builds::newest(tx, Some(job_id), asked.as_deref(), 1)?;
            match newest.first() {
                Some(build) => Ok(Some(Some(verdict::of_build(tx, build)?))),
                None => Ok(Some(None)),
            }
        })
        .await?
        .ok_or_else(|| Error::NotFound("there is no such job".to_owned()))?;
    let badge = Badge::of(&job, platform.as_deref(), verdict);
    let svg = badge.render().map_err(Error::internal)?;
    let tag = Sha256::of(svg.as_bytes()).to_hex()[..32].to_owned();
    let mut response = if respond::none_match(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(svg).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "image/svg+xml; charset=utf-8"),
        // Long enough for a README that is read by many, short enough to be true.
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::CONTENT_SECURITY_POLICY, FILE_POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::ETAG, respond::value(format!("W/\"{tag}\"")));
    Ok(response)
}

#[derive(Template)]
#[template(path = "badge.svg")]
struct Badge {
    namespace: &'static str,
    label: String,
    words: String,
    colour: &'static str,
    label_width: usize,
    words_width: usize,
}

impl Badge {
    fn of(job: &str, platform: Option<&str>, verdict: Option<Verdict>) -> Badge {
        let mut label: String = match platform {
            Some(platform) => format!("{job} on {platform}"),
            None => job.to_owned(),
        };
        if let Some((end, _)) = label.char_indices().nth(NAME_CHARS_MAX) {
            label.truncate(end);
            label.push('…');
        }
        let words = verdict.map_or_else(|| "no builds".to_owned(), |verdict| verdict.to_string());
        Badge {
            namespace: NAMESPACE,
            label_width: width(&label),
            words_width: width(&words),
            label,
            words,
            colour: colour(verdict),
        }
    }

    fn width(&self) -> usize {
        self.label_width + self.words_width
    }
}

/// The colours of the style sheet on light ground; white on each has a contrast above 4.5.
fn colour(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Reproduced { .. } | Verdict::Unchanged) => "#0b6233",
        Some(Verdict::Changed) => "#0b549b",
        Some(Verdict::BuiltOnce) | None => "#4c5661",
        Some(Verdict::NotReproducible) => "#9a3c00",
        Some(Verdict::Failed) => "#a8201a",
    }
}

/// Pixels of a text with its margins; whatever the font, the text is fitted into it.
fn width(text: &str) -> usize {
    let tenths: usize = text
        .chars()
        .map(|char| match char {
            'i' | 'l' | 'j' | '.' | ',' | '\'' | '|' | ':' | ' ' => 36,
            'f' | 't' | 'r' | '-' | '(' | ')' | '/' => 46,
            'm' | 'w' | 'M' | 'W' | '…' => 100,
            'A'..='Z' => 78,
            char if char.is_ascii() => 68,
            _ => 110,
        })
        .sum();
    tenths / 10 + 12
}
