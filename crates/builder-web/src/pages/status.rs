//! `/status`: how the service is, for those who run it and those who are curious: what came last
//! from where, what is well, how much there is, and what is still being worked on. Nothing that other
//! pages do not tell. Asks for what is counted already, or for a bounded number of builds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use builder_exec::Timestamp;
use builder_store::search::Progress;
use builder_store::stock::{self, Artifacts};
use builder_store::verdict::Judged;
use builder_store::{Tx, failures as told, latest, listing, search, users};
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::error::Result;
use crate::respond::{Accepts, Layout};
use crate::share::Share;
use crate::view::{
    Background, BuildSummary, FailureCount, IndexState, PlatformStatus, StateCount, Status, Stock,
    UploaderStatus,
};
use crate::{failures, show, urls};

/// Failures are counted from so many days ago on; and a platform from which nothing came for so long
/// is silent.
const DAYS: i64 = 7;

/// `GET /status`.
pub async fn get(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    app.page(Accepts::of(&headers), |app, tx| {
        Ok(StatusPage::load(app, tx)?)
    })
    .await
}

/// How the service is.
#[derive(Template)]
#[template(path = "status.html")]
pub struct StatusPage {
    layout: Arc<Layout>,
    now: Timestamp,
    /// None while builds are being counted.
    stock: Option<Stocked>,
    states: Vec<OfState>,
    platforms: Vec<OfPlatform>,
    uploaders: Vec<(Option<String>, Judged)>,
    since: Timestamp,
    failures: Vec<(Option<String>, u64)>,
    progress: Progress,
    builds_left: u64,
    failures_left: u64,
}

struct Stocked {
    jobs: u64,
    builds: u64,
    failed: u64,
    artifacts: Artifacts,
}

struct OfState {
    name: &'static str,
    words: &'static str,
    count: u64,
}

struct OfPlatform {
    name: String,
    jobs: u64,
    silent: bool,
    last: Judged,
}

impl StatusPage {
    /// How the service is now.
    pub fn load(app: &App, tx: &mut Tx<'_>) -> builder_store::Result<StatusPage> {
        let now = app.now();
        let since = now.unix_seconds().saturating_sub(DAYS * 24 * 60 * 60);
        let since = Timestamp::from_unix(since, 0).unwrap_or(now);
        let stock = stock::counted(tx)?.map(|(counts, artifacts)| {
            let jobs: HashSet<&str> = counts.iter().map(|counts| counts.job.as_str()).collect();
            Stocked {
                jobs: jobs.len() as u64,
                builds: counts.iter().map(|counts| counts.builds).sum(),
                failed: counts.iter().map(|counts| counts.failed).sum(),
                artifacts,
            }
        });
        let mut by_state: HashMap<&str, u64> = HashMap::new();
        let mut by_platform: BTreeMap<String, OfPlatform> = BTreeMap::new();
        for latest in latest::by_job(tx)?.into_values().flatten() {
            let verdict = latest.newest_verdict();
            *by_state.entry(verdict.name()).or_default() += 1;
            let Some(newest) = latest.newest() else {
                continue;
            };
            let silent = newest.finish < since;
            let of_platform = by_platform
                .entry(latest.platform.clone())
                .or_insert_with(|| OfPlatform {
                    name: latest.platform.clone(),
                    jobs: 0,
                    silent,
                    last: (newest.clone(), verdict),
                });
            of_platform.jobs += 1;
            if of_platform.last.0.finish < newest.finish {
                of_platform.last = (newest.clone(), verdict);
                of_platform.silent = silent;
            }
        }
        let mut platforms: Vec<OfPlatform> = by_platform.into_values().collect();
        platforms.sort_by_key(|platform| Reverse(platform.last.0.finish));
        let names = users::names_by_row(tx)?;
        let uploaders = listing::newest_of_uploaders(tx)?.into_iter();
        let all_classes = told::classes(tx, told::Filter::default())?;
        Ok(StatusPage {
            layout: app.layout().clone(),
            now,
            stock,
            states: show::VERDICTS
                .iter()
                .map(|(name, words)| OfState {
                    name,
                    words,
                    count: by_state.get(name).copied().unwrap_or(0),
                })
                .collect(),
            platforms,
            uploaders: uploaders
                .map(|judged| (names.get(&judged.0.user_id).cloned(), judged))
                .collect(),
            since,
            failures: told::classes_since(tx, &since)?,
            progress: search::progress(tx)?,
            builds_left: latest::builds_left(tx)?,
            failures_left: all_classes
                .iter()
                .filter(|(class, _)| class.is_none())
                .map(|(_, count)| count)
                .sum(),
        })
    }

    /// What the page tells, for programs.
    pub fn status(&self) -> Status {
        let summary = |(build, verdict): &Judged| BuildSummary::of(build, *verdict);
        Status {
            version: crate::VERSION,
            time: self.now.to_rfc3339(),
            told: format!("{} {}", self.sentence(), self.background()),
            days: DAYS,
            stock: self.stock.as_ref().map(|stock| Stock {
                jobs: stock.jobs,
                builds: stock.builds,
                failed_builds: stock.failed,
                artifacts: stock.artifacts.files,
                artifact_bytes: stock.artifacts.bytes,
            }),
            states: self
                .states
                .iter()
                .map(|of_state| StateCount {
                    state: of_state.name,
                    job_platforms: of_state.count,
                })
                .collect(),
            platforms: self
                .platforms
                .iter()
                .map(|platform| PlatformStatus {
                    platform: platform.name.clone(),
                    jobs: platform.jobs,
                    silent: platform.silent,
                    last_build: summary(&platform.last),
                })
                .collect(),
            uploaders: self
                .uploaders
                .iter()
                .map(|(uploader, last)| UploaderStatus {
                    uploader: uploader.clone(),
                    last_build: summary(last),
                })
                .collect(),
            uploaders_of_builds: listing::NEWEST_UPLOADS,
            failures_since: self.since.to_rfc3339(),
            failures: self.failures.iter().map(FailureCount::of).collect(),
            background: Background {
                index: IndexState::of(self.progress),
                builds_to_follow: self.builds_left,
                failures_to_look_at: self.failures_left,
            },
        }
    }

    /// Whether builds come in, in a sentence.
    fn sentence(&self) -> String {
        let silent: Vec<&str> = self
            .silent()
            .iter()
            .map(|platform| platform.name.as_str())
            .collect();
        if self.platforms.is_empty() {
            "Nothing was built yet.".to_owned()
        } else if silent.is_empty() {
            format!("Builds came from every platform in the last {DAYS} days.")
        } else {
            let silent = silent.join(", ");
            format!("Nothing came in the last {DAYS} days from {silent}.")
        }
    }

    /// What is done in the background, in sentences.
    fn background(&self) -> String {
        if self.is_idle() {
            return "Everything that is kept is counted, indexed and looked at.".to_owned();
        }
        let mut told = "Still being worked on:".to_owned();
        if self.builds_left > 0 {
            let builds = show::counted(self.builds_left, "build");
            told.push_str(&format!(" up to {builds} to be counted."));
        }
        if !self.progress.is_complete() {
            told.push_str(&format!(
                " The search index is being filled: up to {} and {} are left.",
                show::counted(self.progress.builds_left, "build"),
                show::counted(self.progress.switches_left, "opam switch")
            ));
        }
        if self.failures_left > 0 {
            let consoles = show::counted(self.failures_left, "console");
            told.push_str(&format!(" {consoles} of failed builds to be looked at."));
        }
        told
    }

    fn is_idle(&self) -> bool {
        self.progress.is_complete() && self.builds_left == 0 && self.failures_left == 0
    }

    fn silent(&self) -> Vec<&OfPlatform> {
        let platforms = self.platforms.iter();
        platforms.filter(|platform| platform.silent).collect()
    }
}

impl Page for StatusPage {
    fn share(&self) -> Option<Share> {
        Some(Share {
            url: urls::pattern::STATUS.to_owned(),
            title: "Status".to_owned(),
            description: Some(
                "What came last from where, how builds are, and what is still being worked on."
                    .to_owned(),
            ),
        })
    }

    fn json(&self) -> Option<Value> {
        Some(json!(self.status()))
    }
}
