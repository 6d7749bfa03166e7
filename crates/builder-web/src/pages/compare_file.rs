//! `/compare/:left/:right/f?left=PATH&right=PATH`: what differs between two artifacts of two builds, and why.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use builder_store::Tx;
use builder_store::builds::Artifact;
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::cause::Explanation;
use crate::comparison::{self, Builds, Switches, missing};
use crate::error::{Error, Result};
use crate::file_diffs::{self, Asked};
use crate::names::{self, Path};
use crate::places::Held;
use crate::query::Query;
use crate::respond::{Accepts, Layout};
use crate::share::Share;
use crate::{show, urls};

/// A page that waits for a comparison is to be asked for again after so many seconds.
const REFRESH_S: &str = "3";
/// A program that asks for JSON waits for the comparison itself, up to this long.
const PATIENCE_OF_PROGRAMS: Duration = Duration::from_secs(60);

/// `GET /compare/:left/:right/f?left=PATH&right=PATH`; without `right` it is the same path.
pub async fn get(
    State(app): State<App>,
    place: Option<Extension<Held>>,
    Path((left, right)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let uuids = names::uuid(&left).zip(names::uuid(&right));
    let (left, right) = uuids.ok_or_else(missing)?;
    let query = Query::parse(query.as_deref());
    let path = |name| query.get(name).filter(|path| !path.is_empty());
    let left_path = path("left").or(path("right")).ok_or_else(|| {
        Error::BadRequest(
            "which file? Add ?left=PATH, and &right=PATH if it is another one".to_owned(),
        )
    })?;
    let right_path = path("right").unwrap_or(left_path).to_owned();
    let left_path = left_path.to_owned();
    let accepts = Accepts::of(&headers);
    let load = move |tx: &mut Tx<'_>| {
        let builds = Builds::load(tx, left, right)?;
        let pair = builds.pair(&left_path, &right_path).ok_or_else(|| {
            Error::NotFound(format!(
                "the left build has no file {left_path}, or the right build no {right_path}"
            ))
        })?;
        let (left, right) = (pair.0.clone(), pair.1.clone());
        Ok::<_, Error>((builds, left, right))
    };
    // Nothing of the page is held while it waits.
    let to_be_asked = load.clone();
    let pair = app.blocking(move |app| {
        let loaded = app.store().read(|tx| Ok(to_be_asked(tx)))?;
        let (builds, left, right) = loaded?;
        Ok::<_, Error>(builds.files(&builds.read_hints(app), (&left, &right)))
    });
    let pair = pair.await??;
    let patience = match accepts.json {
        true => PATIENCE_OF_PROGRAMS,
        false => app.limits().file_diff_patience,
    };
    let asked = file_diffs::ask(&app, place.as_deref(), &[pair], patience).await?;
    let asked = asked.into_iter().next().unwrap_or(Asked::Pending);
    let not_yet = asked.not_yet();
    if let (true, Some(why)) = (accepts.json, not_yet) {
        return Err(Error::Busy(format!("{why}; ask again in a moment")));
    }
    let load = move |app: &App, tx: &mut Tx<'_>| {
        let (builds, left, right) = load(tx)?;
        Ok(ComparisonPage {
            layout: app.layout().clone(),
            builds,
            left,
            right,
            asked,
            explanation: None,
        })
    };
    let mut response = app.page(accepts, load).await?;
    if not_yet.is_some() {
        response
            .headers_mut()
            .insert(header::REFRESH, HeaderValue::from_static(REFRESH_S));
    }
    Ok(response)
}

#[derive(Template)]
#[template(path = "compare_file.html")]
struct ComparisonPage {
    layout: Arc<Layout>,
    builds: Builds,
    left: Artifact,
    right: Artifact,
    asked: Asked,
    /// Which changed package explains how much; none: there are no symbols or no switches to tell by.
    explanation: Option<Explanation>,
}

impl Page for ComparisonPage {
    fn prepare(&mut self, app: &App) {
        // Without symbols there is nothing that switches could explain.
        let report = self.asked.report();
        let report = report.filter(|report| comparison::symbols(report).is_some());
        self.explanation =
            report.and_then(|report| Switches::compare(app, &self.builds).explain(report));
    }

    fn share(&self) -> Option<Share> {
        let (left, right) = (&self.builds.left, &self.builds.right);
        let report = self.asked.report();
        Some(Share {
            url: urls::compare_files(&left.uuid, &right.uuid, &self.left.path, &self.right.path),
            title: format!("{} of {}: what differs", self.left.path, left.job),
            description: report.map(|report| {
                let verdict = report.verdict();
                format!("{} and {} compared. {verdict}", left.start, right.start)
            }),
        })
    }

    fn json(&self) -> Option<Value> {
        let mut json = json!({
            "left": { "uuid": self.builds.left.uuid, "path": self.left.path },
            "right": { "uuid": self.builds.right.uuid, "path": self.right.path },
        });
        match &self.asked {
            Asked::Done(Ok(report)) => {
                json["verdict"] = json!(report.verdict());
                json["cause"] = json!(self.explanation);
                json["diff"] = json!(**report);
            }
            Asked::Done(Err(why)) => json["error"] = json!(why),
            Asked::Pending | Asked::Busy => {}
        }
        Some(json)
    }
}
