//! `/failed-builds`: builds without a main binary, newest first, with why each failed.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use builder_exec::Timestamp;
use builder_store::builds::Build;
use builder_store::failures::{self as told, Failure, Filter};
use builder_store::verdict::Verdict;
use builder_store::{Tx, jobs};
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::error::Result;
use crate::query::Query;
use crate::respond::{Accepts, Layout};
use crate::share::Share;
use crate::{failures, show, urls, view};

/// Builds on a page when nothing else is asked for.
const COUNT: u32 = 20;

/// `GET /failed-builds?start=&count=&platform=&job=&class=`
pub async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let count_max = app.limits().failed_builds_max;
    let asked = Asked {
        start: query.number("start").unwrap_or(0),
        count: query.number("count").unwrap_or(COUNT).clamp(1, count_max),
        platform: query.platform(),
        job: query.text("job"),
        class: query.text("class"),
    };
    let accepts = Accepts::of(&headers);
    let late = app.clone();
    app.page(accepts, move |app, tx| {
        let page = FailedBuildsPage::load(app, tx, asked)?;
        // Someone else wrote them: they have their classes when the page is asked for again.
        if page.builds.iter().any(|(_, failure)| failure.is_none()) {
            late.look_at_failures();
        }
        Ok(page)
    })
    .await
}

/// Which builds are asked for.
struct Asked {
    start: u32,
    count: u32,
    platform: Option<String>,
    job: Option<String>,
    class: Option<String>,
}

#[derive(Template)]
#[template(path = "failed_builds.html")]
struct FailedBuildsPage {
    layout: Arc<Layout>,
    now: Timestamp,
    asked: Asked,
    jobs: Vec<String>,
    platforms: Vec<String>,
    /// Of the job and platform that are asked for, each with how many builds; without a name those
    /// that were not looked at yet.
    classes: Vec<(Option<String>, u64)>,
    builds: Vec<(Build, Option<Failure>)>,
    more: bool,
}

impl FailedBuildsPage {
    fn load(app: &App, tx: &mut Tx<'_>, asked: Asked) -> Result<FailedBuildsPage> {
        let job_id = match &asked.job {
            // A job that is not there has no builds that failed.
            Some(job) => Some(jobs::id_by_name(tx, job)?.unwrap_or(-1)),
            None => None,
        };
        let filter = Filter {
            job_id,
            platform: asked.platform.as_deref(),
            class: asked.class.as_deref(),
        };
        // One more than is shown tells whether there is a next page.
        let mut builds = told::list(tx, filter, asked.start, asked.count + 1)?;
        let more = builds.len() > asked.count as usize;
        builds.truncate(asked.count as usize);
        Ok(FailedBuildsPage {
            layout: app.layout().clone(),
            now: app.now(),
            jobs: told::jobs(tx)?,
            platforms: told::platforms(tx)?,
            classes: told::classes(tx, filter)?,
            asked,
            builds,
            more,
        })
    }

    fn is_filtered(&self) -> bool {
        self.asked.job.is_some() || self.asked.platform.is_some() || self.asked.class.is_some()
    }

    fn is(asked: &Option<String>, value: &str) -> bool {
        asked.as_deref() == Some(value)
    }

    /// What the form offers of jobs or platforms: what was asked for stays chosen, whether any build
    /// of it failed or not.
    fn options<'a>(names: &'a [String], asked: &'a Option<String>) -> Vec<&'a str> {
        let mut options: Vec<&str> = names.iter().map(String::as_str).collect();
        options.extend(asked.as_deref().filter(|asked| !options.contains(asked)));
        options
    }

    /// What it offers of classes, each with how many builds of the job and platform.
    fn class_options(&self) -> Vec<(&str, u64)> {
        let classes = self.classes.iter();
        let mut options: Vec<(&str, u64)> = classes
            .filter_map(|(class, count)| Some((class.as_deref()?, *count)))
            .collect();
        if let Some(asked) = self.asked.class.as_deref()
            && !options.iter().any(|(class, _)| *class == asked)
        {
            options.push((asked, 0));
        }
        options
    }

    /// How many builds there are, on all pages of the list.
    fn count(&self) -> u64 {
        let classes = self.classes.iter();
        classes
            .filter(|(class, _)| self.asked.class.is_none() || *class == self.asked.class)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many there are of other classes.
    fn count_of_others(&self) -> u64 {
        let all: u64 = self.classes.iter().map(|(_, count)| count).sum();
        all.saturating_sub(self.count())
    }

    /// The job and platform that are asked for: ` of hello on debian-12`.
    fn whose(&self) -> String {
        let of = |word: &str, asked: &Option<String>| {
            let asked = asked.as_ref();
            asked.map_or_else(String::new, |asked| format!(" {word} {asked}"))
        };
        of("of", &self.asked.job) + &of("on", &self.asked.platform)
    }

    /// The class that is asked for, in words.
    fn class(&self) -> Option<&str> {
        self.asked.class.as_deref().map(failures::label)
    }

    /// Which builds it lists.
    fn title(&self) -> String {
        let class = self.class().map(|class| format!(": {class}"));
        format!("Failed builds{}{}", self.whose(), class.unwrap_or_default())
    }

    /// The same, whatever the class.
    fn of_every_class(&self) -> String {
        let (job, platform) = (self.asked.job.as_deref(), self.asked.platform.as_deref());
        urls::failed_builds(0, None, job, platform, None)
    }

    fn page(&self, start: u32) -> String {
        let Asked {
            platform,
            job,
            class,
            count,
            ..
        } = &self.asked;
        let (job, platform, class) = (job.as_deref(), platform.as_deref(), class.as_deref());
        urls::failed_builds(start, Some(*count), job, platform, class)
    }

    fn next(&self) -> Option<String> {
        let start = self.asked.start.checked_add(self.asked.count)?;
        self.more.then(|| self.page(start))
    }

    fn previous(&self) -> Option<String> {
        let start = self.asked.start.saturating_sub(self.asked.count);
        (self.asked.start > 0).then(|| self.page(start))
    }

    /// Of these builds.
    fn feed(&self) -> String {
        let Asked {
            job,
            platform,
            class,
            ..
        } = &self.asked;
        urls::failed_feed(job.as_deref(), platform.as_deref(), class.as_deref())
    }
}

impl Page for FailedBuildsPage {
    fn share(&self) -> Option<Share> {
        let asked = &self.asked;
        let counts: Vec<String> = self
            .classes
            .iter()
            .filter_map(|(class, count)| {
                Some(format!("{}: {count}", failures::label(class.as_ref()?)))
            })
            .collect();
        Some(Share {
            url: match (asked.start, asked.count) {
                (0, COUNT) => urls::failed_builds(
                    0,
                    None,
                    asked.job.as_deref(),
                    asked.platform.as_deref(),
                    asked.class.as_deref(),
                ),
                (start, _) => self.page(start),
            },
            title: self.title(),
            description: (!counts.is_empty()).then(|| format!("Why: {}.", counts.join(", "))),
        })
    }

    fn json(&self) -> Option<Value> {
        let builds: Vec<Value> = self
            .builds
            .iter()
            .map(|(build, failure)| {
                let mut json = json!({
                    "job": build.job,
                    "uuid": build.uuid,
                    "platform": build.platform,
                    "start_time": build.start.to_rfc3339(),
                    "finish_time": build.finish.to_rfc3339(),
                    "result": build.result.to_string(),
                    "failure": failure.as_ref().map(view::Failure::of),
                });
                view::add(&mut json, &view::BuildSummary::of(build, Verdict::Failed));
                json
            })
            .collect();
        let classes: Vec<Value> = self
            .classes
            .iter()
            .map(|(class, count)| {
                let label = class.as_ref().map(|class| failures::label(class));
                json!({ "class": class, "build_count": count, "label": label })
            })
            .collect();
        Some(json!({
            "builds": builds,
            "next": self.next(),
            "classes": classes,
            "previous": self.previous(),
            "jobs": self.jobs,
            "platforms": self.platforms,
        }))
    }
}
