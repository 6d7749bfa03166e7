//! `/job/:job/badge.svg`: the state of the newest build of a job on a platform, or the worst of those
//! on the platforms it was built on of late, to be put into a README.

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_store::latest::{self, Latest};
use builder_store::verdict::Verdict;
use builder_store::{Sha256, jobs};

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
    let newest = app
        .read(move |tx| {
            let Some(job_id) = jobs::id_by_name(tx, &name)? else {
                return Ok(None);
            };
            let mut latest = latest::of_job(tx, job_id)?;
            match &asked {
                Some(platform) => latest.retain(|latest| latest.platform == *platform),
                None => retain_of_late(&mut latest),
            }
            Ok(Some(worst(&latest)))
        })
        .await?
        .ok_or_else(|| Error::NotFound("there is no such job".to_owned()))?;
    let badge = Badge::of(&job, platform.as_deref(), newest);
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

/// Platforms whose newest build is older than the newest of all by more than this are not built on
/// any more.
const OF_LATE: i64 = 30 * 24 * 60 * 60;

fn retain_of_late(latest: &mut Vec<Latest>) {
    let newest = |latest: &Latest| latest.newest().map(|build| build.start.unix_seconds());
    let last = latest.iter().filter_map(newest).max().unwrap_or(0);
    latest.retain(|latest| newest(latest).is_some_and(|time| time > last - OF_LATE));
}

/// The worst that is known of the newest builds, and on which of several platforms.
fn worst(latest: &[Latest]) -> Option<(Verdict, Option<String>)> {
    let worst = latest
        .iter()
        .min_by_key(|latest| rank(latest.newest_verdict()))?;
    let several = latest.len() > 1;
    Some((
        worst.newest_verdict(),
        several.then(|| worst.platform.clone()),
    ))
}

/// The worst first; what is reproduced by fewer comes before what is by more.
fn rank(verdict: Verdict) -> (u8, u64, u64) {
    match verdict {
        Verdict::Failed => (0, 0, 0),
        Verdict::NotReproducible => (1, 0, 0),
        Verdict::Changed => (2, 0, 0),
        Verdict::BuiltOnce => (3, 0, 0),
        Verdict::Unchanged => (4, 0, 0),
        Verdict::Reproduced { by, uploaders } => (5, uploaders, by),
    }
}

#[derive(Template)]
#[template(path = "badge.svg")]
struct Badge {
    namespace: &'static str,
    label: String,
    words: String,
    /// What it says at greater length.
    title: String,
    colour: &'static str,
    label_width: usize,
    words_width: usize,
}

impl Badge {
    fn of(job: &str, platform: Option<&str>, newest: Option<(Verdict, Option<String>)>) -> Badge {
        let mut label: String = match platform {
            Some(platform) => format!("{job} on {platform}"),
            None => job.to_owned(),
        };
        if let Some((end, _)) = label.char_indices().nth(NAME_CHARS_MAX) {
            label.truncate(end);
            label.push('…');
        }
        let (verdict, worst_on) = match newest {
            Some((verdict, worst_on)) => (Some(verdict), worst_on),
            None => (None, None),
        };
        let words = verdict.map_or_else(|| "no builds".to_owned(), |verdict| verdict.to_string());
        let title = match worst_on {
            Some(platform) => format!("{label}: {words} on {platform}"),
            None => format!("{label}: {words}"),
        };
        Badge {
            namespace: NAMESPACE,
            label_width: width(&label),
            words_width: width(&words),
            label,
            words,
            title,
            colour: colour(verdict),
        }
    }

    fn width(&self) -> usize {
        self.label_width + self.words_width
    }
}

/// The colours of the style sheet on light ground, and a paler green for what is reproduced by its own
/// uploader alone; white on each has a contrast above 4.5. What was built once has no green.
fn colour(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(verdict) if verdict.is_by_itself() => "#4b7060",
        Some(Verdict::Reproduced { .. }) => "#0b6233",
        Some(Verdict::Changed) => "#0b549b",
        Some(Verdict::BuiltOnce | Verdict::Unchanged) | None => "#4c5661",
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
