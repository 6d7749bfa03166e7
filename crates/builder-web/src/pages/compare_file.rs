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
use crate::cause::{self, Explanation};
use crate::comparison::{Builds, Inputs, missing};
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
    let load = move |app: &App, tx: &mut Tx<'_>| {
        let builds = Builds::load(tx, left, right)?;
        let pair = builds.pair(&left_path, &right_path).ok_or_else(|| {
            Error::NotFound(format!(
                "the left build has no file {left_path}, or the right build no {right_path}"
            ))
        })?;
        let (left, right) = (pair.0.clone(), pair.1.clone());
        Ok(ComparisonPage {
            layout: app.layout().clone(),
            builds,
            left,
            right,
            inputs: None,
            asked: Asked::Pending,
            explanation: None,
        })
    };
    let mut page = app.prepared(load).await?;
    if let Some(place) = place {
        place.give_back();
    }
    let Some(inputs) = &page.inputs else {
        return Err(Error::internal("a comparison without inputs"));
    };
    let pair = page.builds.files(&inputs.hints, (&page.left, &page.right));
    let patience = match accepts.json {
        true => PATIENCE_OF_PROGRAMS,
        false => app.limits().file_diff_patience,
    };
    page.asked = file_diffs::ask(&app, pair, patience).await;
    page.explanation = page.explain();
    let is_done = matches!(page.asked, Asked::Done(_));
    if accepts.json && !is_done {
        return Err(Error::Busy(
            "the comparison is still under way; ask again in a moment".to_owned(),
        ));
    }
    let mut response = app.show_prepared(page, accepts).await?;
    if !is_done {
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
    inputs: Option<Inputs>,
    asked: Asked,
    /// Which changed package explains how much; none: there are no symbols or no switches to tell by.
    explanation: Option<Explanation>,
}

impl ComparisonPage {
    fn explain(&self) -> Option<Explanation> {
        let Asked::Done(Ok(report)) = &self.asked else {
            return None;
        };
        let artifact_diff::Detail::Elf(elf) = &report.detail else {
            return None;
        };
        let inputs = self.inputs.as_ref()?;
        let opam = inputs.opam.as_ref().ok()?;
        Some(cause::explain(
            elf.symbols.as_ref()?,
            opam,
            inputs.root.as_deref(),
        ))
    }
}

impl Page for ComparisonPage {
    fn prepare(&mut self, app: &App) {
        self.inputs = Some(Inputs::compare(app, &self.builds));
    }

    fn share(&self) -> Option<Share> {
        let (left, right) = (&self.builds.left, &self.builds.right);
        let report = match &self.asked {
            Asked::Done(Ok(report)) => Some(report),
            _ => None,
        };
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
