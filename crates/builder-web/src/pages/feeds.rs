//! Atom feeds (RFC 4287) of builds: all, the failed ones, those of a job, its failed ones, and
//! those that changed its output; and of platforms that ceased to be reproducible.

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_exec::Timestamp;
use builder_store::builds::{self, Build};
use builder_store::failures::{self as told, Failure, Filter};
use builder_store::past::{self, Change, Event};
use builder_store::verdict::{self, Verdict};
use builder_store::{Sha256, Tx, jobs};
use uuid::Uuid;

use crate::app::App;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::names::Path;
use crate::query::Query;
use crate::{failures, origin, respond, show, urls};

/// Entries of a feed: whoever asks once a day misses none on a busy site.
const ENTRIES_MAX: u32 = 50;

const ATOM: &str = "application/atom+xml; charset=utf-8";
/// Of the elements of a feed.
const NAMESPACE: &str = concat!("http", "://www.w3.org/2005/Atom");

/// What a feed is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topic {
    Builds,
    Failed,
    Changes,
    NotReproducible,
}

type Asked = (State<App>, Option<Extension<Client>>, RawQuery, HeaderMap);

/// `GET /feed.atom?platform=`: all builds.
pub async fn all(asked: Asked) -> Result<Response> {
    get(asked, None, Topic::Builds).await
}

/// `GET /failed-builds.atom?platform=&class=`
pub async fn failed(asked: Asked) -> Result<Response> {
    get(asked, None, Topic::Failed).await
}

/// `GET /job/:job/feed.atom?platform=`
pub async fn job(Path(job): Path<String>, asked: Asked) -> Result<Response> {
    get(asked, Some(job), Topic::Builds).await
}

/// `GET /job/:job/failed.atom?platform=&class=`
pub async fn job_failed(Path(job): Path<String>, asked: Asked) -> Result<Response> {
    get(asked, Some(job), Topic::Failed).await
}

/// `GET /job/:job/changes.atom?platform=`: the builds whose output is another one than before.
pub async fn job_changes(Path(job): Path<String>, asked: Asked) -> Result<Response> {
    get(asked, Some(job), Topic::Changes).await
}

/// `GET /not-reproducible.atom?platform=`: when jobs ceased to be reproducible.
pub async fn not_reproducible(asked: Asked) -> Result<Response> {
    get(asked, None, Topic::NotReproducible).await
}

/// `GET /job/:job/not-reproducible.atom?platform=`
pub async fn job_not_reproducible(Path(job): Path<String>, asked: Asked) -> Result<Response> {
    get(asked, Some(job), Topic::NotReproducible).await
}

async fn get(
    (State(app), client, RawQuery(query), headers): Asked,
    job: Option<String>,
    topic: Topic,
) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let (platform, class) = (query.platform(), query.text("class"));
    let origin = origin::of(&app, client.as_deref(), &headers);
    let xml = app
        .blocking(move |app| {
            let site = &app.config().site.name;
            let feed = app
                .store()
                .read(|tx| Ok(Feed::load(tx, &origin, site, job, platform, topic, class)))??;
            feed.render().map_err(Error::internal)
        })
        .await??;
    Ok(respond(&headers, xml))
}

/// A feed is asked for again and again: most answers are that nothing is new. That is told by the
/// whole text alone, not by a date: a build may come in long after it ended, and what is known of
/// one changes.
fn respond(request: &HeaderMap, xml: String) -> Response {
    let tag = Sha256::of(xml.as_bytes()).to_hex()[..32].to_owned();
    let mut response = if respond::none_match(request, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(xml).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(ATOM));
    headers.insert(header::ETAG, respond::value(format!("W/\"{tag}\"")));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Its links begin with what the client used.
    headers.insert(header::VARY, HeaderValue::from_static("host"));
    response
}

#[derive(Template)]
#[template(path = "feed.xml")]
struct Feed {
    namespace: &'static str,
    id: String,
    title: String,
    author: String,
    own_url: String,
    page_url: String,
    updated: Timestamp,
    entries: Vec<Entry>,
}

struct Entry {
    id: String,
    title: String,
    url: String,
    published: Timestamp,
    updated: Timestamp,
    category: String,
    summary: String,
}

impl Feed {
    fn load(
        tx: &mut Tx<'_>,
        origin: &str,
        site: &str,
        job: Option<String>,
        platform: Option<String>,
        topic: Topic,
        class: Option<String>,
    ) -> Result<Feed> {
        let platform = platform.as_deref();
        let class = class.as_deref().filter(|_| topic == Topic::Failed);
        let job_id = match &job {
            Some(job) => Some(
                jobs::id_by_name(tx, job)?
                    .ok_or_else(|| Error::NotFound("there is no such job".to_owned()))?,
            ),
            None => None,
        };
        let entries = match topic {
            Topic::Builds => {
                let builds = builds::newest(tx, job_id, platform, ENTRIES_MAX)?;
                let verdicts = verdict::of_builds(tx, &builds)?;
                let mut entries = Vec::new();
                for (build, verdict) in builds.iter().zip(verdicts) {
                    entries.push(entry_of_build(tx, origin, build, verdict)?);
                }
                entries
            }
            Topic::Failed => {
                let filter = Filter {
                    job_id,
                    platform,
                    class,
                };
                let failed = told::list(tx, filter, 0, ENTRIES_MAX)?;
                failed
                    .iter()
                    .map(|(build, failure)| entry_of_failure(origin, build, failure.as_ref()))
                    .collect()
            }
            Topic::Changes => {
                let job_id = job_id.unwrap_or_default();
                let changes = past::changes(tx, job_id, platform, ENTRIES_MAX as usize)?;
                let entries = changes.iter();
                entries
                    .filter_map(|change| entry_of_change(origin, change))
                    .collect()
            }
            Topic::NotReproducible => {
                let ceased = past::ceased(tx, job_id, platform, ENTRIES_MAX)?;
                let entries = ceased.iter();
                entries.map(|event| entry_of_event(origin, event)).collect()
            }
        };
        let name = job.as_deref();
        let (path, page, what) = match topic {
            Topic::Builds => (
                urls::feed(name, platform),
                name.map_or_else(urls::all_builds, |job| urls::job(job, platform)),
                "builds",
            ),
            Topic::Failed => (
                urls::failed_feed(name, platform, class),
                urls::failed_builds(0, None, name, platform, class),
                "failed builds",
            ),
            Topic::Changes => (
                urls::changes_feed(name.unwrap_or_default(), platform),
                urls::job(name.unwrap_or_default(), platform),
                "changed outputs",
            ),
            Topic::NotReproducible => (
                urls::not_reproducible_feed(name, platform),
                name.map_or_else(urls::all_builds, |job| urls::job(job, platform)),
                "no longer reproducible",
            ),
        };
        let mut title = match name {
            Some(job) => format!("{job}: {what}"),
            None => format!("{site}: {what}"),
        };
        if let Some(platform) = platform {
            title.push_str(&format!(" on {platform}"));
        }
        if let Some(class) = class {
            title.push_str(&format!(", {}", failures::label(class)));
        }
        Ok(Feed {
            namespace: NAMESPACE,
            id: derived_id(&["feed", origin, &path]),
            title: xml(&title),
            author: xml(site),
            own_url: format!("{origin}{path}"),
            page_url: format!("{origin}{page}"),
            updated: entries
                .iter()
                .map(|entry| entry.updated)
                .max()
                .or_else(|| Timestamp::from_unix(0, 0))
                .ok_or_else(|| Error::internal("1970 is no time"))?,
            entries,
        })
    }

    /// RFC 4287 has a time with its zone.
    fn time(time: &Timestamp) -> String {
        time.to_rfc3339().replace("-00:00", "Z")
    }
}

fn entry(origin: &str, build: &Build, what: &str) -> Entry {
    Entry {
        id: format!("urn:uuid:{}", build.uuid),
        title: xml(&format!("{} on {}: {what}", build.job, build.platform)),
        url: format!("{origin}{}", urls::build(&build.job, &build.uuid)),
        published: build.finish,
        updated: build.finish,
        category: String::new(),
        summary: String::new(),
    }
}

fn entry_of_build(
    tx: &mut Tx<'_>,
    origin: &str,
    build: &Build,
    verdict: Verdict,
) -> builder_store::Result<Entry> {
    let Some(main) = &build.main_binary else {
        let failure = told::of_build(tx, build.id)?;
        return Ok(entry_of_failure(origin, build, failure.as_ref()));
    };
    Ok(Entry {
        category: verdict.name().to_owned(),
        summary: xml(&format!(
            "{}, {}, SHA256:{}. Started {}, took {}.",
            main.file_name(),
            show::bytes(&main.size),
            main.sha256,
            build.start,
            show::duration(build.duration())
        )),
        ..entry(origin, build, &verdict.to_string())
    })
}

fn entry_of_failure(origin: &str, build: &Build, failure: Option<&Failure>) -> Entry {
    let label = failure.map_or("failed", |failure| failures::label(&failure.class));
    let mut summary = format!("{}.", build.result);
    if let Some(failure) = failure {
        if let Some((line, text)) = &failure.told {
            summary.push_str(&format!(" Line {line}: {text}"));
        } else if !failure.last_lines.is_empty() {
            summary.push_str(&format!(" Last: {}", failure.last_lines.join(" / ")));
        }
    }
    Entry {
        category: failure
            .map_or("failed", |failure| failure.class.as_str())
            .to_owned(),
        summary: xml(&summary),
        ..entry(origin, build, &format!("failed, {}", label.to_lowercase()))
    }
}

fn entry_of_change(origin: &str, Change { build, before }: &Change) -> Option<Entry> {
    let main = build.main_binary.as_ref()?;
    let before = before.as_ref();
    let old = before.and_then(|before| Some((before, before.main_binary.as_ref()?)));
    let (what, summary) = match old {
        Some((before, old)) => (
            "the output changed",
            format!(
                "SHA256:{} instead of SHA256:{}. What changed: {origin}{}",
                main.sha256,
                old.sha256,
                urls::compare(&before.uuid, &build.uuid)
            ),
        ),
        None => ("the first output", format!("SHA256:{}", main.sha256)),
    };
    Some(Entry {
        // The build has an entry of its own in other feeds.
        id: derived_id(&["change", &build.uuid.to_string()]),
        category: "changed".to_owned(),
        summary: xml(&summary),
        ..entry(origin, build, what)
    })
}

fn entry_of_event(origin: &str, event: &Event) -> Entry {
    let build = &event.build;
    let output = |build: &Build| {
        let main = build.main_binary.as_ref();
        main.map_or_else(String::new, |main| format!("SHA256:{}", main.sha256))
    };
    let summary = match &event.other {
        Some(other) => format!(
            "The same input gave {} here and {} in another build. What differs: {origin}{}",
            output(build),
            output(other),
            urls::compare(&other.uuid, &build.uuid)
        ),
        None => format!(
            "The same input gave {} here and another output in a build that was removed.",
            output(build)
        ),
    };
    let input_id = build.input_id.map_or_else(String::new, Sha256::to_hex);
    Entry {
        // As long as the same is told, whichever build shows it.
        id: derived_id(&["ceased", &build.job, &build.platform, &input_id]),
        category: "not-reproducible".to_owned(),
        updated: event.at,
        summary: xml(&summary),
        ..entry(origin, build, "no longer reproducible")
    }
}

/// The same each time for the same words.
fn derived_id(words: &[&str]) -> String {
    let digest = Sha256::of(words.join("\0").as_bytes());
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    // Version 8 of RFC 9562: made in a way of our own.
    let uuid: Uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid();
    format!("urn:uuid:{uuid}")
}

/// Without the characters that XML 1.0 cannot hold in any form.
fn xml(text: &str) -> String {
    let allowed = |char: char| !matches!(char, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars()
        .map(|char| if allowed(char) { char } else { '\u{fffd}' })
        .collect()
}
