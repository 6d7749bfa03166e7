//! `/` and `/all-builds`: the jobs by section, and on each platform what is known of the newest
//! build, with a download of the newest successful one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use builder_exec::Timestamp;
use builder_store::builds::Build;
use builder_store::latest::{self, Latest};
use builder_store::{Sha256, Tx, jobs};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::app::{App, Page};
use crate::derived::Solo5;
use crate::error::{Error, Result};
use crate::job_filter::JobFilter;
use crate::markdown::Html;
use crate::query::Query;
use crate::respond::{Accepts, Layout};
use crate::share::Share;
use crate::show;
use crate::urls;
use crate::view::OnPlatform;

/// Under which heading a job is listed that says nothing of it.
const NO_SECTION: &str = "Uncategorized";
/// More jobs than this do not fit on a screen or two: links lead to their sections.
const MANY_JOBS: usize = 30;
/// The states that somebody who looks after the builds wants to know of first.
const TROUBLE: [&str; 2] = ["not-reproducible", "failed"];

/// `GET /`: without builds that finished too long ago.
pub async fn active(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let than = app.config().expired_jobs.and_then(|age| {
        let seconds = app.now().unix_seconds() - i64::try_from(age.as_secs()).ok()?;
        Timestamp::from_unix(seconds, 0)
    });
    get(app, headers, query, than, false).await
}

/// `GET /all-builds`: however old they are.
pub async fn all(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    get(app, headers, query, None, true).await
}

async fn get(
    app: App,
    headers: HeaderMap,
    query: Option<String>,
    than: Option<Timestamp>,
    all: bool,
) -> Result<Response> {
    let accepts = Accepts::of(&headers);
    let filter = JobFilter::of(&Query::parse(query.as_deref()));
    app.page(accepts, move |app, tx| {
        let page = if accepts.json {
            BuildsPage::load_json(app, tx, than, all, filter)
        } else {
            BuildsPage::load(app, tx, than, all, filter)
        };
        Ok(page?)
    })
    .await
}

#[derive(Template)]
#[template(path = "builds.html")]
struct BuildsPage {
    layout: Arc<Layout>,
    now: Timestamp,
    all: bool,
    introduction: Option<Html>,
    filter: JobFilter,
    /// Those that can be chosen.
    platforms: BTreeSet<String>,
    sections: Vec<Section>,
}

struct Section {
    name: String,
    jobs: Vec<Job>,
}

struct Job {
    name: String,
    synopsis: String,
    /// By platform.
    latest: Vec<Latest>,
    section: Option<String>,
    /// The newest successful build on any platform, for programs.
    newest: Option<Newest>,
}

/// A build, and what its main binary says of itself.
struct Newest {
    uuid: String,
    sha256: Sha256,
    /// None where nobody has read it yet.
    solo5: Option<Option<Solo5>>,
}

/// Whether a build is new enough to be shown.
fn is_of_late(build: Option<&Build>, than: Option<Timestamp>) -> bool {
    build.is_some_and(|build| than.is_none_or(|than| build.finish > than))
}

impl BuildsPage {
    /// For people: jobs that have ever built something and were built of late, whatever came of it.
    fn load(
        app: &App,
        tx: &mut Tx<'_>,
        than: Option<Timestamp>,
        all: bool,
        filter: JobFilter,
    ) -> builder_store::Result<BuildsPage> {
        let mut by_job = latest::by_job(tx)?;
        let mut platforms = BTreeSet::new();
        let mut jobs = Vec::new();
        for job in jobs::all(tx)? {
            let mut latest = by_job.remove(&job.id).unwrap_or_default();
            if latest.iter().all(|latest| latest.successful.is_none()) {
                continue;
            }
            latest.retain(|latest| is_of_late(latest.newest(), than));
            for latest in &latest {
                if !platforms.contains(&latest.platform) {
                    platforms.insert(latest.platform.clone());
                }
            }
            let synopsis = job.synopsis.unwrap_or_default();
            latest.retain(|latest| filter.shows(latest));
            if latest.is_empty() || !filter.shows_job(&job.name, &synopsis) {
                continue;
            }
            let job_shown = Job {
                name: job.name,
                synopsis,
                latest,
                section: job.section,
                newest: None,
            };
            jobs.push(job_shown);
        }
        Ok(BuildsPage {
            layout: app.layout().clone(),
            now: app.now(),
            all,
            introduction: None,
            filter,
            platforms,
            sections: by_section(jobs),
        })
    }

    /// For programs: jobs with a successful build of late, each with its newest.
    fn load_json(
        app: &App,
        tx: &mut Tx<'_>,
        than: Option<Timestamp>,
        all: bool,
        filter: JobFilter,
    ) -> builder_store::Result<BuildsPage> {
        let mut by_job = latest::by_job(tx)?;
        let mut jobs = Vec::new();
        for job in jobs::all(tx)? {
            let mut latest = by_job.remove(&job.id).unwrap_or_default();
            let successful = latest
                .iter()
                .filter_map(|latest| latest.successful.as_ref());
            if !successful
                .clone()
                .any(|build| is_of_late(Some(build), than))
            {
                continue;
            }
            let synopsis = job.synopsis.unwrap_or_default();
            let newest = successful.max_by_key(|build| build.age()).cloned();
            latest.retain(|latest| is_of_late(latest.newest(), than) && filter.shows(latest));
            if !filter.shows_job(&job.name, &synopsis) || filter.is_set() && latest.is_empty() {
                continue;
            }
            let newest = match newest.and_then(|build| Some((build.uuid, build.main_binary?))) {
                Some((uuid, main)) => Some(Newest {
                    uuid: uuid.to_string(),
                    sha256: main.sha256,
                    solo5: app.derived().known_solo5(tx, main.sha256)?,
                }),
                None => None,
            };
            let job_shown = Job {
                name: job.name,
                synopsis,
                latest,
                section: job.section,
                newest,
            };
            jobs.push(job_shown);
        }
        Ok(BuildsPage {
            layout: app.layout().clone(),
            now: app.now(),
            all,
            introduction: None,
            filter,
            platforms: BTreeSet::new(),
            sections: by_section(jobs),
        })
    }

    /// What is not well with the newest builds, and how many of them: what somebody who looks after
    /// them wants to know first.
    fn trouble(&self) -> Vec<(&'static str, &'static str, usize)> {
        let jobs = self.sections.iter().flat_map(|section| &section.jobs);
        let newest: Vec<&str> = jobs
            .flat_map(|job| &job.latest)
            .filter(|latest| latest.newest().is_some())
            .map(|latest| latest.newest_verdict().name())
            .collect();
        let all = show::VERDICTS.iter().filter_map(|(name, words)| {
            let count = newest.iter().filter(|newest| *newest == name).count();
            (TROUBLE.contains(name) && count > 0).then_some((*name, *words, count))
        });
        all.collect()
    }

    /// How many jobs are shown.
    fn count(&self) -> usize {
        self.sections.iter().map(|section| section.jobs.len()).sum()
    }
}

/// From Z to A, as clients know the list: unikernels before packages.
fn by_section(jobs: Vec<Job>) -> Vec<Section> {
    let mut sections: BTreeMap<String, Vec<Job>> = BTreeMap::new();
    for job in jobs {
        let name = job.section.clone();
        let name = name.unwrap_or_else(|| NO_SECTION.to_owned());
        sections.entry(name).or_default().push(job);
    }
    let sections = sections.into_iter().rev();
    sections
        .map(|(name, jobs)| Section { name, jobs })
        .collect()
}

impl Page for BuildsPage {
    fn unread(&self) -> Vec<Sha256> {
        let jobs = self.sections.iter().flat_map(|section| &section.jobs);
        let newest = jobs.filter_map(|job| job.newest.as_ref());
        let unread = newest.filter(|newest| newest.solo5.is_none());
        unread.map(|newest| newest.sha256).collect()
    }

    fn tell(&mut self, sha256: Sha256, solo5: Option<Solo5>) {
        let jobs = self
            .sections
            .iter_mut()
            .flat_map(|section| &mut section.jobs);
        let newest = jobs.filter_map(|job| job.newest.as_mut());
        for newest in newest.filter(|newest| newest.sha256 == sha256) {
            newest.solo5 = Some(solo5.clone());
        }
    }

    fn prepare(&mut self, app: &App) {
        let introduction = app.config().site.introduction.as_ref();
        self.introduction = introduction.map(|text| app.derived().introduction(text));
    }

    fn share(&self) -> Option<Share> {
        let count = show::counted(self.count(), "job");
        Some(Share {
            url: match self.all {
                true => urls::all_builds(),
                false => urls::pattern::FRONT.to_owned(),
            },
            title: match self.all {
                true => format!("All jobs of {}", self.layout.site.name),
                false => self.layout.site.name.clone(),
            },
            description: (self.all && !self.filter.is_set()).then(|| {
                format!("{count}, each with the state of its latest build on each platform.")
            }),
        })
    }

    fn json(&self) -> Option<Value> {
        serde_json::to_value(Listed::of(self)).ok()
    }

    fn json_text(&self) -> Result<Option<String>> {
        let text = serde_json::to_string(&Listed::of(self));
        text.map(Some).map_err(Error::internal)
    }
}

/// The page for programs.
#[derive(Serialize)]
struct Listed<'a> {
    jobs: Vec<ListedJob<'a>>,
    #[serde(serialize_with = "as_map")]
    jobs_by_section: Vec<(&'a str, Vec<JobName<'a>>)>,
}

#[derive(Serialize)]
struct JobName<'a> {
    name: &'a str,
    synopsis: &'a str,
}

#[derive(Serialize)]
struct ListedJob<'a> {
    name: &'a str,
    synopsis: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<ListedUnikernel<'a>>,
    // What the page shows and clients of old do not know comes last.
    section: &'a str,
    platforms: Vec<OnPlatform>,
}

#[derive(Serialize)]
struct ListedUnikernel<'a> {
    uuid: &'a str,
    #[serde(flatten)]
    solo5: &'a Solo5,
}

impl Listed<'_> {
    fn of(page: &BuildsPage) -> Listed<'_> {
        let mut listed = Listed {
            jobs: Vec::new(),
            jobs_by_section: Vec::new(),
        };
        for section in &page.sections {
            let mut names = Vec::new();
            for job in &section.jobs {
                let latest = job.newest.as_ref();
                let latest = latest.and_then(|newest| Some((&newest.uuid, newest.solo5.as_ref()?)));
                let latest = latest.and_then(|(uuid, solo5)| Some((uuid, solo5.as_ref()?)));
                names.push(JobName {
                    name: &job.name,
                    synopsis: &job.synopsis,
                });
                listed.jobs.push(ListedJob {
                    name: &job.name,
                    synopsis: &job.synopsis,
                    latest: latest.map(|(uuid, solo5)| ListedUnikernel { uuid, solo5 }),
                    section: &section.name,
                    platforms: job.latest.iter().map(OnPlatform::of).collect(),
                });
            }
            listed.jobs_by_section.push((&section.name, names));
        }
        listed
    }
}

fn as_map<S: Serializer>(
    entries: &[(&str, Vec<JobName<'_>>)],
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    to.collect_map(entries.iter().map(|(name, jobs)| (name, jobs)))
}
