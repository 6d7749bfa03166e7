//! `/opensearch.xml`, `/suggest`: lets a browser search this site from its address bar, and
//! complete the names of jobs.

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use builder_store::jobs;
use serde_json::json;

use crate::app::App;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::query::Query;
use crate::{origin, urls};

/// Names that are suggested.
const SUGGESTIONS_MAX: usize = 10;
const NAMESPACE: &str = concat!("http", "://a9.com/-/spec/opensearch/1.1/");

#[derive(Template)]
#[template(path = "opensearch.xml")]
struct Description {
    namespace: &'static str,
    name: String,
    search_url: String,
    suggest_url: String,
}

/// `GET /opensearch.xml`: OpenSearch 1.1.
pub async fn description(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Result<Response> {
    let origin = origin::of(&app, client.as_deref(), &headers);
    let site = &app.config().site.name;
    let description = Description {
        namespace: NAMESPACE,
        name: short_name(site),
        search_url: format!("{origin}{}", urls::SEARCH_TEMPLATE),
        suggest_url: format!("{origin}{}", urls::SUGGEST_TEMPLATE),
    };
    let xml = description.render().map_err(Error::internal)?;
    let headers = [
        (
            header::CONTENT_TYPE,
            "application/opensearchdescription+xml; charset=utf-8",
        ),
        (header::VARY, "host"),
    ];
    Ok((headers, xml).into_response())
}

/// Characters of a short name, by the specification.
const SHORT_NAME_CHARS_MAX: usize = 16;

/// As many whole words of a name as a short name has room for; of a longer word its beginning.
fn short_name(name: &str) -> String {
    let mut short = String::new();
    for word in name.split_whitespace() {
        let chars = short.chars().count() + word.chars().count();
        // With the blank between them.
        if chars + usize::from(!short.is_empty()) > SHORT_NAME_CHARS_MAX {
            break;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
    }
    match short.is_empty() {
        true => name.trim().chars().take(SHORT_NAME_CHARS_MAX).collect(),
        false => short,
    }
}

/// `GET /suggest?q=`: jobs whose name begins with it, then those that have it elsewhere; with
/// what each is, and its page, whole: browsers do not complete URLs.
pub async fn suggest(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let origin = origin::of(&app, client.as_deref(), &headers);
    let asked = Query::parse(query.as_deref())
        .get("q")
        .unwrap_or_default()
        .trim()
        .to_owned();
    let wanted = asked.to_lowercase();
    let jobs = app.read(jobs::all).await?;
    let mut found: Vec<(usize, &jobs::Job)> = jobs
        .iter()
        .filter(|_| !wanted.is_empty())
        .filter_map(|job| Some((job.name.to_lowercase().find(&wanted)?, job)))
        .collect();
    found.sort_by(|(at, job), (other_at, other)| {
        (*at > 0, &job.name).cmp(&(*other_at > 0, &other.name))
    });
    found.truncate(SUGGESTIONS_MAX);
    let jobs = || found.iter().map(|(_, job)| *job);
    let body = json!([
        asked,
        jobs().map(|job| job.name.as_str()).collect::<Vec<_>>(),
        jobs()
            .map(|job| job.synopsis.as_deref().unwrap_or_default())
            .collect::<Vec<_>>(),
        jobs()
            .map(|job| format!("{origin}{}", urls::job(&job.name, None)))
            .collect::<Vec<_>>(),
    ]);
    let headers = [
        (header::CONTENT_TYPE, "application/x-suggestions+json"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "host"),
    ];
    Ok((headers, body.to_string()).into_response())
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn a_short_name_ends_with_a_word() {
        for (name, short) in [
            ("Reproducible builds", "Reproducible"),
            ("Builds", "Builds"),
            ("Robots & unikernels", "Robots &"),
            ("sixteen letters!", "sixteen letters!"),
            ("  Reproduzierbarkeitsnachweis", "Reproduzierbarke"),
            ("", ""),
        ] {
            assert_eq!(short_name(name), short);
        }
    }
}
