//! `/package/:name`: which versions of an opam package are in builds, and in which.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use builder_exec::Timestamp;
use builder_store::search::Progress;
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::error::Result;
use crate::names::Path;
use crate::query::Query;
use crate::respond::{Accepts, Layout};
use crate::search::packages::{self, LatestWith, PackageVersion};
use crate::search::{self, FoundBuild, Group, INPUTS_COUNTED_MAX, Why};
use crate::share::Share;
use crate::{show, urls, view};

/// Versions on a page.
const VERSIONS: usize = 50;
/// Latest builds on a page.
const LATEST: usize = 50;
/// Builds on a page.
const BUILDS: usize = 50;

/// `GET /package/:name?version=&cursor=&latest=`, where `latest` goes on among the latest builds. The version may be a condition: `< 2.0.1`.
pub async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let asked = query.get("version").unwrap_or_default().trim().to_owned();
    let cursor = query.cursor().map(str::to_owned);
    let of_latest = query.get("latest").map(str::to_owned);
    app.page(Accepts::of(&headers), move |app, tx| {
        let constraint = packages::constraint(&name, &asked)?;
        let latest = match cursor {
            None => packages::latest(tx, &constraint, of_latest.as_deref(), LATEST)?,
            Some(_) => Group::default(),
        };
        let (versions, builds) = match asked.as_str() {
            _ if of_latest.is_some() => Default::default(),
            "" => {
                let versions = packages::versions(tx, &name, cursor.as_deref(), VERSIONS)?;
                (versions, Group::default())
            }
            _ => {
                let builds = search::builds_with(tx, &constraint, cursor.as_deref(), BUILDS)?;
                (Group::default(), builds)
            }
        };
        packages::require(tx, &name)?;
        Ok(PackagePage {
            layout: app.layout().clone(),
            now: app.now(),
            progress: search::progress(tx)?,
            name,
            asked,
            is_one_version: constraint.is_one_version(),
            shows_latest: cursor.is_none(),
            shows_list: of_latest.is_none(),
            latest,
            versions,
            builds,
        })
    })
    .await
}

#[derive(Template)]
#[template(path = "package.html")]
struct PackagePage {
    layout: Arc<Layout>,
    now: Timestamp,
    name: String,
    /// The version or condition that was asked for; empty: all versions.
    asked: String,
    is_one_version: bool,
    /// Whether the latest builds are on this page, and the list of versions or builds.
    shows_latest: bool,
    shows_list: bool,
    /// The newest builds of jobs that contain it.
    latest: Group<LatestWith>,
    versions: Group<PackageVersion>,
    builds: Group<FoundBuild>,
    progress: Progress,
}

impl PackagePage {
    fn title(&self) -> String {
        match self.asked.as_str() {
            "" => self.name.clone(),
            asked if self.is_one_version => {
                format!("{}.{}", self.name, asked.trim_start_matches(['=', ' ']))
            }
            asked => format!("{} {asked}", self.name),
        }
    }

    fn more(&self) -> Option<String> {
        let next = self
            .versions
            .next
            .as_deref()
            .or(self.builds.next.as_deref())?;
        Some(urls::package(
            &self.name,
            Some(self.asked.as_str()),
            Some(next),
        ))
    }

    fn more_latest(&self) -> Option<String> {
        let next = self.latest.next.as_deref()?;
        Some(urls::package_latest(&self.name, &self.asked, next))
    }

    /// `12`, or `1000 or more`.
    fn inputs(&self, count: &u32) -> String {
        match *count {
            INPUTS_COUNTED_MAX => format!("{INPUTS_COUNTED_MAX} or more"),
            count => count.to_string(),
        }
    }

    fn version_of(&self, found: &FoundBuild) -> String {
        match &found.why {
            Why::Package { version, .. } => version.clone(),
            _ => String::new(),
        }
    }
}

impl Page for PackagePage {
    fn share(&self) -> Option<Share> {
        let asked = Some(self.asked.as_str());
        Some(Share {
            url: urls::package(&self.name, asked, None),
            title: format!("{}: which builds contain it", self.title()),
            description: None,
        })
    }

    fn json(&self) -> Option<Value> {
        let latest: Vec<Value> = self
            .latest
            .items
            .iter()
            .map(|latest| json!({ "version": latest.version, "build": view::BuildSummary::of(&latest.build, latest.verdict) }))
            .collect();
        let versions: Vec<view::PackageVersion> = self
            .versions
            .items
            .iter()
            .map(view::PackageVersion::of)
            .collect();
        let builds: Vec<view::FoundBuild> =
            self.builds.items.iter().map(view::FoundBuild::of).collect();
        Some(json!({
            "name": self.name,
            "version": Some(&self.asked).filter(|asked| !asked.is_empty()),
            "latest": latest,
            "versions": versions,
            "builds": builds,
            "next": self.more(),
            "next_latest": self.more_latest(),
            "index": view::IndexState::of(self.progress),
        }))
    }
}
