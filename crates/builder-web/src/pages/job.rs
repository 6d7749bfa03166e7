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
use crate::input_changes::Known;
use crate::markdown::Html;
use crate::names::{self, Path};
use crate::query::Query;
use crate::respond::{self, Accepts, Layout};
use crate::share::Share;
use crate::view::{
    self, BuildInHistory, BuildReference, BuildSummary, ChangesInNumbers, JobFailures, JobHistory,
    OutputGroup, PlatformHistory,
};
use crate::{show, urls};
use platforms::{History, PLATFORMS, Window};

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
            before: match query.get("before").filter(|before| !before.is_empty()) {
                Some(before) => Some(Before::read(tx, &job, before)?),
                None => None,
            },
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

/// The build that a page of the history ends before. It need not be there any more.
#[derive(Debug, Clone)]
pub struct Before {
    /// Its name.
    pub uuid: Uuid,
    /// Its [`Build::age`].
    pub age: (Timestamp, i64),
}

impl Before {
    fn of(build: &Build) -> Before {
        Before {
            uuid: build.uuid,
            age: build.age(),
        }
    }

    /// From an address: the name of a build of this job, that is there or was.
    fn read(tx: &mut Tx<'_>, job: &str, text: &str) -> Result<Before> {
        let uuid = names::uuid(text).ok_or_else(|| {
            Error::BadRequest("before is to be the uuid of a build of the job".to_owned())
        })?;
        if let Some(build) = builds::by_uuid(tx, uuid)?
            && build.job == job
        {
            return Ok(Before::of(&build));
        }
        match removed::by_uuid(tx, uuid)? {
            Some(build) if build.job == job => Ok(Before {
                uuid,
                // Those that started together with it are rather shown again than left out.
                age: (build.start, i64::MAX),
            }),
            _ => Err(Error::NotFound(format!(
                "there is no build {uuid} of {job} whose past could be shown"
            ))),
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

/// The builds of one output, or a failed build.
struct Shown {
    /// Newest first; never empty.
    builds: Vec<Past>,
    /// The build before that has another output, and what changed since.
    before: Option<Past>,
    changes: Known,
}

impl Shown {
    fn newest(&self) -> &Past {
        &self.builds[0]
    }

    fn oldest(&self) -> &Past {
        &self.builds[self.builds.len() - 1]
    }

    fn others(&self) -> &[Past] {
        &self.builds[1..]
    }
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
        let first = (begin.page as usize - 1).saturating_mul(OUTPUTS);
        for group in groups.iter().skip(first).take(OUTPUTS) {
            let builds: Vec<Past> = group.builds.iter().map(|at| past[*at].clone()).collect();
            let before = group.before.map(|at| past[at].clone());
            let changes = match (&before, builds.last()) {
                (Some(before), Some(oldest)) => {
                    app.comparisons().of(tx, &before.build, &oldest.build)?
                }
                _ => Known::Untold,
            };
            page.groups.push(Shown {
                builds,
                before,
                changes,
            });
        }
        let url = |before: Option<&Before>, number| {
            let before = before.map(|before| &before.uuid);
            urls::job_page(&page.job, page.platform.as_deref(), failed, before, number)
        };
        let this = begin.before.as_ref();
        page.here = url(this, begin.page);
        page.next = if groups.len() > first.saturating_add(OUTPUTS) {
            Some(Begin {
                before: this.cloned(),
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
            (this, number) => Some(url(this, number - 1)),
        };
        Ok(page)
    }

    /// Whether it is about the newest builds, and tells what is so now.
    fn is_first(&self) -> bool {
        self.begin.before.is_none() && self.begin.page == 1
    }

    /// The time before which the builds of this page are, if it is not about the newest.
    fn before(&self) -> Option<&Timestamp> {
        self.begin.before.as_ref().map(|before| &before.age.0)
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
                    newest: BuildSummary::of(&group.newest().build, group.newest().verdict),
                    builds: group
                        .builds
                        .iter()
                        .map(|past| BuildReference::of(&past.build))
                        .collect(),
                    before: group
                        .before
                        .as_ref()
                        .map(|past| BuildSummary::of(&past.build, past.verdict)),
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
    fn prepare(&mut self, app: &App) {
        for text in [&mut self.description, &mut self.readme] {
            let markdown = text.markdown.as_ref();
            text.html = markdown.map(|markdown| app.derived().markdown(markdown));
        }
    }

    fn share(&self) -> Option<Share> {
        let platform = self.platform.as_deref();
        let on = platform.map_or_else(String::new, |platform| format!(" on {platform}"));
        let before = self.before();
        let before = before.map_or_else(String::new, |time| format!(", before {time}"));
        let about = self.synopsis.iter().map(|synopsis| format!("{synopsis}."));
        let sentences: Vec<String> = about.chain(self.stands()).collect();
        Some(Share {
            url: self.here.clone(),
            title: match self.failed {
                true => format!(
                    "{}{on}{before}: all builds, also those that failed",
                    self.job
                ),
                false => format!(
                    "{}{on}{before}: builds and whether they were reproduced",
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
