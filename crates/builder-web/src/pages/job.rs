//! `/job/:job`, `/job/:job/failed`: what a job has built; and where its newest build is.

use std::cmp::Reverse;
use std::sync::Arc;

use askama::Template;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_exec::Timestamp;
use builder_store::builds::{self, Build, Output};
use builder_store::past;
use builder_store::record::removed;
use builder_store::tags::{self, Tag};
use builder_store::verdict::{self, Verdict};
use builder_store::{Tx, jobs};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, Page};
use crate::error::{Error, Result};
use crate::failures::FailureHistory;
use crate::history::{self, Past};
use crate::markdown::Html;
use crate::names::{self, Path};
use crate::query::Query;
use crate::respond::{self, Accepts, Layout};
use crate::share::Share;
use crate::urls::Place;
use crate::view::{
    self, BuildInHistory, BuildReference, BuildSummary, ChangesInNumbers, JobFailures, JobHistory,
    OutputGroup, PlatformHistory,
};
use crate::{show, urls};
use outputs::{Looked, Shown};
use platforms::{History, PLATFORMS, Window};

mod outputs;
mod platforms;

/// `GET /job/:job`: the distinct outputs.
pub async fn get(
    State(app): State<App>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    page(app, job, Query::parse(query.as_deref()), headers, false).await
}

/// `GET /job/:job/failed`: the distinct outputs and the builds without one.
pub async fn get_with_failed(
    State(app): State<App>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    page(app, job, Query::parse(query.as_deref()), headers, true).await
}

async fn page(
    app: App,
    job: String,
    query: Query,
    headers: HeaderMap,
    failed: bool,
) -> Result<Response> {
    let platform = query.platform();
    let accepts = Accepts::of(&headers);
    app.page(accepts, move |app, tx| {
        let begin = Begin {
            before: Before::of_query(tx, &job, &query)?,
            page: query.number("page").unwrap_or(1).max(1),
        };
        let mut page = JobPage::load(app, tx, job, platform, failed, &begin)?;
        if accepts.json {
            page.load_entries(tx)?;
        }
        Ok(page)
    })
    .await
}

/// Builds whose outputs a page looks at: those of some months. Older ones are on pages of their own.
const BUILDS: u32 = 300;
/// Outputs that are listed on a page.
const OUTPUTS: usize = 20;

/// Which page of the history.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Of the builds before this one; none: of the newest.
    pub before: Option<Before>,
    /// Of their outputs, counted from 1.
    pub page: u32,
}

impl Default for Begin {
    fn default() -> Begin {
        Begin {
            before: None,
            page: 1,
        }
    }
}

/// The build that the builds of a page of the history are before. It need not be there any more.
#[derive(Debug, Clone)]
pub struct Before {
    /// Its name.
    pub uuid: Uuid,
    /// They are of a smaller [`Build::age`].
    pub age: (Timestamp, i64),
    /// Whether it is one of them, and its age so much greater.
    pub with_it: bool,
}

impl Before {
    fn of(build: &Build) -> Before {
        Before {
            uuid: build.uuid,
            age: build.age(),
            with_it: false,
        }
    }

    /// The build is the newest on the page, so that newer ones move nothing on those that follow.
    fn up_to(build: &Build) -> Before {
        let (start, id) = build.age();
        Before {
            uuid: build.uuid,
            age: (start, id.saturating_add(1)),
            with_it: true,
        }
    }

    /// From an address: the name of a build of this job, that is there or was.
    fn of_query(tx: &mut Tx<'_>, job: &str, query: &Query) -> Result<Option<Before>> {
        let named = |name| query.get(name).filter(|uuid: &&str| !uuid.is_empty());
        let (name, text, with_it) = match (named("before"), named("upto")) {
            (Some(before), _) => ("before", before, false),
            (None, Some(up_to)) => ("upto", up_to, true),
            (None, None) => return Ok(None),
        };
        let uuid = names::uuid(text).ok_or_else(|| {
            Error::BadRequest(format!("{name} is to be the uuid of a build of the job"))
        })?;
        if let Some(build) = builds::by_uuid(tx, uuid)?
            && build.job == job
        {
            return Ok(Some(match with_it {
                true => Before::up_to(&build),
                false => Before::of(&build),
            }));
        }
        match removed::by_uuid(tx, uuid)? {
            Some(build) if build.job == job => Ok(Some(Before {
                uuid,
                // Those that started together with it are rather shown again than left out.
                age: (build.start, i64::MAX),
                with_it,
            })),
            _ => Err(Error::NotFound(format!(
                "there is no build {uuid} of {job} whose past could be shown"
            ))),
        }
    }

    /// As an address names it.
    fn place(&self) -> Place<'_> {
        match self.with_it {
            true => Place::UpTo(&self.uuid),
            false => Place::Before(&self.uuid),
        }
    }
}

/// The page of a job.
#[derive(Template)]
#[template(path = "job.html")]
pub struct JobPage {
    layout: Arc<Layout>,
    now: Timestamp,
    /// Which page it is.
    begin: Begin,
    job_id: i64,
    job: String,
    synopsis: Option<String>,
    description: Text,
    readme: Text,
    platforms: Vec<String>,
    platform: Option<String>,
    failed: bool,
    /// One for each platform that is shown.
    histories: Vec<History>,
    groups: Vec<Shown>,
    /// Where this page is.
    here: String,
    badge_markdown: String,
    newer: Option<String>,
    older: Option<String>,
    next: Option<Begin>,
    /// For programs: every distinct output there is.
    entries: Vec<Entry>,
    failures: FailureHistory,
}

/// Markdown: as it is kept, then as HTML.
#[derive(Default)]
struct Text {
    markdown: Option<String>,
    html: Option<Html>,
}

struct Entry {
    build: Build,
    /// The output that the entry stands for; none for a failed build.
    output: Option<builds::Artifact>,
    verdict: Verdict,
}

impl JobPage {
    /// A page of a job's history.
    pub fn load(
        app: &App,
        tx: &mut Tx<'_>,
        job: String,
        platform: Option<String>,
        failed: bool,
        begin: &Begin,
    ) -> Result<JobPage> {
        let mut page = JobPage::begin(app, tx, job, platform, failed)?;
        page.begin = begin.clone();
        let before = begin.before.as_ref().map(|before| before.age);
        let of_platform = page.platform.as_deref();
        let mut builds = match of_platform {
            Some(platform) => past::newest(tx, page.job_id, platform, before, BUILDS + 1)?,
            None => builds::history(tx, page.job_id, None, before, BUILDS + 1)?,
        };
        let more = builds.len() > BUILDS as usize;
        builds.truncate(BUILDS as usize);
        let verdicts = verdict::of_history(tx, &builds)?;
        let past = history::past(builds, verdicts);
        page.histories = Window {
            job_id: page.job_id,
            platforms: match &page.platform {
                Some(platform) => std::slice::from_ref(platform),
                None => &page.platforms,
            },
            past: &past,
            // On one platform, all there are that a timeline shows.
            is_cut: more && page.platform.is_none() && before.is_none(),
        }
        .histories(app, tx)?;
        let groups = history::groups(&past, failed);
        let looked = Looked {
            past: &past,
            more_older: more,
            more_newer: before.is_some(),
        };
        let first = (begin.page as usize - 1).saturating_mul(OUTPUTS);
        for group in groups.iter().skip(first).take(OUTPUTS) {
            page.groups.push(Shown::load(app, tx, &looked, group)?);
        }
        let url = |before: Option<&Before>, number| {
            let place = before.map(Before::place);
            urls::job_page(&page.job, page.platform.as_deref(), failed, place, number)
        };
        let this = begin.before.as_ref();
        page.here = url(this, begin.page);
        page.next = if groups.len() > first.saturating_add(OUTPUTS) {
            let newest = past.first().map(|newest| Before::up_to(&newest.build));
            Some(Begin {
                before: this.cloned().or(newest),
                page: begin.page.saturating_add(1),
            })
        } else {
            let oldest = past.last().filter(|_| more);
            oldest.map(|oldest| Begin {
                before: Some(Before::of(&oldest.build)),
                page: 1,
            })
        };
        let next = page.next.as_ref();
        page.older = next.map(|next| url(next.before.as_ref(), next.page));
        page.newer = match (this, begin.page) {
            (None, 1) => None,
            // Which page was before is not known: back to the newest.
            (_, 1) => Some(url(None, 1)),
            // What was the first page of the newest builds.
            (Some(Before { with_it: true, .. }), 2) => Some(url(None, 1)),
            (this, number) => Some(url(this, number - 1)),
        };
        Ok(page)
    }

    /// Whether it is about the newest builds, and tells what is so now.
    fn is_first(&self) -> bool {
        self.begin.before.is_none() && self.begin.page == 1
    }

    /// The time before or up to which the builds of this page are, if it is not about the newest.
    fn until(&self) -> Option<(&'static str, &Timestamp)> {
        let before = self.begin.before.as_ref()?;
        let word = if before.with_it { "up to" } else { "before" };
        Some((word, &before.age.0))
    }

    /// Platforms that have no timeline here because there are so many.
    fn other_platforms(&self) -> &[String] {
        let many = self.platform.is_none() && self.platforms.len() > PLATFORMS;
        self.platforms
            .get(PLATFORMS..)
            .filter(|_| many)
            .unwrap_or_default()
    }

    /// For programs: the distinct outputs.
    fn load_entries(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let entry = |(Output { build, artifact }, verdict)| Entry {
            build,
            output: Some(artifact),
            verdict,
        };
        let outputs = builds::outputs(tx, self.job_id, self.platform.as_deref())?;
        let verdicts = verdict::of_builds(tx, outputs.iter().map(|output| &output.build))?;
        self.entries = outputs.into_iter().zip(verdicts).map(entry).collect();
        if self.failed {
            let failed = builds::failed_of_job(tx, self.job_id, self.platform.as_deref())?;
            self.entries.extend(failed.into_iter().map(|build| Entry {
                build,
                output: None,
                verdict: Verdict::Failed,
            }));
            self.entries.sort_by_key(|entry| Reverse(entry.build.age()));
        }
        Ok(())
    }

    /// The page after this one.
    pub fn next(&self) -> Option<Begin> {
        self.next.clone()
    }

    /// What the page tells, for programs.
    pub fn history(&self) -> JobHistory {
        let histories = self.histories.iter();
        let groups = self.groups.iter();
        let summary = |past: &Past| BuildSummary::of(&past.build, past.verdict);
        JobHistory {
            histories: histories
                .map(|history| PlatformHistory {
                    platform: history.platform.clone(),
                    standing: view::Standing::of(
                        &history.standing,
                        history.verdicts,
                        &history.changes,
                        history.failing,
                    ),
                    failing: history.failing.builds,
                    builds: history.past.iter().map(BuildInHistory::of).collect(),
                })
                .collect(),
            outputs: groups
                .map(|group| OutputGroup {
                    state: view::State::of(group.newest().verdict),
                    newest: summary(group.newest()),
                    builds: group
                        .builds
                        .iter()
                        .map(|past| BuildReference::of(&past.build))
                        .collect(),
                    more_older: group.more_older,
                    more_newer: group.more_newer,
                    before: group.before.as_ref().map(summary),
                    same_as: group.same_as.as_ref().map(summary),
                    changes: group
                        .before
                        .as_ref()
                        .map(|_| ChangesInNumbers::of(&group.changes)),
                })
                .collect(),
            failures: JobFailures::of(&self.failures),
            badge_markdown: self.badge_markdown.clone(),
        }
    }

    fn begin(
        app: &App,
        tx: &mut Tx<'_>,
        job: String,
        platform: Option<String>,
        failed: bool,
    ) -> Result<JobPage> {
        let job_id = jobs::id_by_name(tx, &job)?
            .ok_or_else(|| Error::NotFound("there is no such job".to_owned()))?;
        let text = |markdown| Text {
            markdown,
            html: None,
        };
        Ok(JobPage {
            layout: app.layout().clone(),
            now: app.now(),
            begin: Begin::default(),
            job_id,
            synopsis: tags::value(tx, job_id, Tag::Synopsis)?,
            description: text(tags::value(tx, job_id, Tag::Description)?),
            readme: text(tags::value(tx, job_id, Tag::Readme)?),
            platforms: jobs::platforms(tx, job_id)?,
            failures: FailureHistory::load(tx, job_id, &job, platform.as_deref())?,
            here: String::new(),
            badge_markdown: badge_markdown(app.origin(), &job, platform.as_deref()),
            job,
            platform,
            failed,
            histories: Vec::new(),
            groups: Vec::new(),
            newer: None,
            older: None,
            next: None,
            entries: Vec::new(),
        })
    }

    /// How the job stands now, in sentences; none where the page is about its past.
    fn stands(&self) -> Option<String> {
        if !self.is_first() {
            return None;
        }
        if let [history] = self.histories.as_slice() {
            let told = history::text(&history.told());
            return Some(format!("On {}: {told}", history.platform));
        }
        let states: Vec<String> = self
            .histories
            .iter()
            .filter_map(|history| {
                let verdict = history.newest_verdict()?;
                Some(format!("{verdict} on {}", history.platform))
            })
            .collect();
        (!states.is_empty()).then(|| format!("The latest builds: {}.", states.join(", ")))
    }

    fn shows(&self, platform: &str) -> bool {
        self.platform.as_deref() == Some(platform)
    }

    /// This page on another platform.
    fn url(&self, platform: Option<&str>) -> String {
        urls::job_page(&self.job, platform, self.failed, None, 1)
    }
}

/// The badge as Markdown, with a link to this page.
fn badge_markdown(origin: &str, job: &str, platform: Option<&str>) -> String {
    let mut alt = String::new();
    for char in job.chars() {
        if "\\[]<>`*_".contains(char) {
            alt.push('\\');
        }
        alt.push(char);
    }
    let (badge, page) = (urls::badge(job, platform), urls::job(job, platform));
    format!("[![{alt}](<{origin}{badge}>)](<{origin}{page}>)")
}

impl Page for JobPage {
    fn is_dear(&self, app: &App) -> bool {
        let texts = [&self.description, &self.readme].into_iter();
        texts
            .filter_map(|text| text.markdown.as_ref())
            .any(|markdown| app.derived().is_dear_markdown(markdown))
    }

    fn prepare(&mut self, app: &App) {
        for text in [&mut self.description, &mut self.readme] {
            let markdown = text.markdown.as_ref();
            text.html = markdown.map(|markdown| app.derived().markdown(markdown));
        }
    }

    fn share(&self) -> Option<Share> {
        let platform = self.platform.as_deref();
        let on = platform.map_or_else(String::new, |platform| format!(" on {platform}"));
        let until = self.until();
        let until = until.map_or_else(String::new, |(word, time)| format!(", {word} {time}"));
        let about = self.synopsis.iter().map(|synopsis| format!("{synopsis}."));
        let sentences: Vec<String> = about.chain(self.stands()).collect();
        Some(Share {
            url: self.here.clone(),
            title: match self.failed {
                true => format!(
                    "{}{on}{until}: all builds, also those that failed",
                    self.job
                ),
                false => format!(
                    "{}{on}{until}: builds and whether they were reproduced",
                    self.job
                ),
            },
            description: (!sentences.is_empty()).then(|| sentences.join(" ")),
        })
    }

    fn json(&self) -> Option<Value> {
        let builds: Vec<Value> = self
            .entries
            .iter()
            .map(|entry| {
                let main_binary = entry.output.as_ref().map(|output| {
                    json!({
                        "filename": output.file_name(),
                        "sha256": output.sha256.to_hex(),
                        "size": output.size,
                    })
                });
                let mut json = json!({ "uuid": entry.build.uuid, "main_binary": main_binary });
                view::add(&mut json, &BuildSummary::of(&entry.build, entry.verdict));
                json
            })
            .collect();
        let mut json = json!({
            "builds": builds,
            "job": self.job,
            "synopsis": self.synopsis,
            "description": self.description.markdown,
            "readme": self.readme.markdown,
            "platform": self.platform,
            "platforms": self.platforms,
            "newer": self.newer,
            "older": self.older,
        });
        view::add(&mut json, &self.history());
        Some(json)
    }
}

/// `GET /job/:job/build/latest`: to the newest successful build.
pub async fn latest(
    State(app): State<App>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (job, uuid) = latest_build(&app, job, query).await?;
    Ok(temporarily(urls::build(&job, &uuid)))
}

/// `GET /job/:job/build/latest/REST`: to REST of the newest successful build, as it was sent.
pub async fn latest_rest(
    State(app): State<App>,
    Path((job, _)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (job, uuid) = latest_build(&app, job, query).await?;
    // `/job/JOB/build/latest/REST`; a slash in JOB is encoded.
    let rest = uri.path().splitn(6, '/').nth(5).unwrap_or_default();
    Ok(temporarily(urls::below_build(&job, &uuid, rest)))
}

async fn latest_build(app: &App, job: String, query: Option<String>) -> Result<(String, Uuid)> {
    let platform = Query::parse(query.as_deref()).platform();
    let build = app
        .read(move |tx| {
            let Some(job_id) = jobs::id_by_name(tx, &job)? else {
                return Ok(None);
            };
            builds::latest_successful(tx, job_id, platform.as_deref())
        })
        .await?;
    let build = build
        .ok_or_else(|| Error::NotFound("the job has no successful build to show".to_owned()))?;
    Ok((build.job, build.uuid))
}

/// Tomorrow the newest build is another one.
fn temporarily(location: String) -> Response {
    (
        StatusCode::TEMPORARY_REDIRECT,
        [(header::LOCATION, respond::value(location))],
    )
        .into_response()
}
