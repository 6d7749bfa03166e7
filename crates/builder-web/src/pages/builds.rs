//! `/` and `/all-builds`: the jobs by section, and on each platform the newest successful build.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use builder_exec::Timestamp;
use builder_store::builds::Build;
use builder_store::{Tx, jobs, latest};
use serde_json::{Map, Value, json};

use crate::app::{App, Page};
use crate::derived::Solo5;
use crate::error::Result;
use crate::markdown::Html;
use crate::respond::{Accepts, Layout};
use crate::show;
use crate::urls;

/// Under which heading a job is listed that says nothing of it.
const NO_SECTION: &str = "Uncategorized";

/// `GET /`: without builds that finished too long ago.
pub async fn active(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    let than = app.config().expired_jobs.and_then(|age| {
        let seconds = app.now().unix_seconds() - i64::try_from(age.as_secs()).ok()?;
        Timestamp::from_unix(seconds, 0)
    });
    get(app, headers, than, false).await
}

/// `GET /all-builds`: however old they are.
pub async fn all(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    get(app, headers, None, true).await
}

async fn get(app: App, headers: HeaderMap, than: Option<Timestamp>, all: bool) -> Result<Response> {
    let accepts = Accepts::of(&headers);
    app.page(accepts, move |app, tx| {
        Ok(BuildsPage::load(app, tx, than, all, accepts.json)?)
    })
    .await
}

#[derive(Template)]
#[template(path = "builds.html")]
struct BuildsPage {
    layout: Arc<Layout>,
    all: bool,
    introduction: Option<Html>,
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
    builds: Vec<Build>,
    /// Of the newest build on any platform, for programs.
    latest: Option<(String, Solo5)>,
}

impl BuildsPage {
    fn load(
        app: &App,
        tx: &mut Tx<'_>,
        than: Option<Timestamp>,
        all: bool,
        with_solo5: bool,
    ) -> builder_store::Result<BuildsPage> {
        let mut by_job = latest::by_job(tx)?;
        let mut sections: BTreeMap<String, Vec<Job>> = BTreeMap::new();
        for job in jobs::all(tx)? {
            let latest = by_job.remove(&job.id).unwrap_or_default();
            let mut builds: Vec<Build> = latest
                .into_iter()
                .filter_map(|latest| latest.successful)
                .collect();
            let newest = builds.iter().max_by_key(|build| build.age()).cloned();
            builds.retain(|build| than.is_none_or(|than| build.finish > than));
            if builds.is_empty() {
                continue;
            }
            let mut latest = None;
            if with_solo5
                && let Some(build) = newest
                && let Some(main) = &build.main_binary
                && let Some(solo5) = app.derived().solo5(app.store(), tx, main.sha256)?
            {
                latest = Some((build.uuid.to_string(), solo5));
            }
            sections
                .entry(job.section.unwrap_or_else(|| NO_SECTION.to_owned()))
                .or_default()
                .push(Job {
                    name: job.name,
                    synopsis: job.synopsis.unwrap_or_default(),
                    builds,
                    latest,
                });
        }
        // From Z to A, as clients know the list: unikernels before packages.
        let sections = sections
            .into_iter()
            .rev()
            .map(|(name, jobs)| Section { name, jobs })
            .collect();
        Ok(BuildsPage {
            layout: app.layout().clone(),
            all,
            introduction: None,
            sections,
        })
    }
}

impl Page for BuildsPage {
    fn prepare(&mut self, app: &App) {
        let introduction = app.config().site.introduction.as_ref();
        self.introduction = introduction.map(|text| app.derived().markdown(text));
    }

    fn json(&self) -> Option<Value> {
        let mut jobs = Vec::new();
        let mut by_section = Map::new();
        for section in &self.sections {
            let mut names = Vec::new();
            for job in &section.jobs {
                names.push(json!({ "name": job.name, "synopsis": job.synopsis }));
                let mut entry = json!({ "name": job.name, "synopsis": job.synopsis });
                if let Some((uuid, solo5)) = &job.latest {
                    entry["latest"] = json!({
                        "uuid": uuid,
                        "solo5_manifest": solo5.solo5_manifest,
                        "solo5_abi": solo5.solo5_abi,
                    });
                }
                jobs.push(entry);
            }
            by_section.insert(section.name.clone(), Value::Array(names));
        }
        Some(json!({ "jobs": jobs, "jobs_by_section": by_section }))
    }
}
