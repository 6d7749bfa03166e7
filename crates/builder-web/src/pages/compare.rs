//! `/compare/:left/:right`: what differs between two builds, and why.

use std::sync::Arc;

use artifact_diff::Report;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use builder_store::builds::{Artifact, Build};
use builder_store::cache::Picture;
use builder_store::verdict::Verdict;
use opam_file::Comparison;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::{App, Page};
use crate::cause::{self, Explanation};
use crate::comparison::{Builds, Compared, Inputs, missing};
use crate::drawings;
use crate::error::Result;
use crate::file_diffs::{self, Asked, Pair};
use crate::inputs::Changes;
use crate::names::{self, Path};
use crate::opam_report;
use crate::places::Held;
use crate::respond::{Accepts, Layout};
use crate::share::Share;
use crate::{show, urls, view};

/// A page that waits for a comparison is to be asked for again after so many seconds.
const REFRESH_S: &str = "3";

/// `GET /compare/:left/:right`. The JSON form waits for no comparison of files: it says where to ask for them.
pub async fn get(
    State(app): State<App>,
    place: Option<Extension<Held>>,
    Path((left, right)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let uuids = names::uuid(&left).zip(names::uuid(&right));
    let (left, right) = uuids.ok_or_else(missing)?;
    let accepts = Accepts::of(&headers);
    let load = move |app: &App, tx: &mut builder_store::Tx<'_>| {
        Ok(ComparePage {
            layout: app.layout().clone(),
            builds: Builds::load(tx, left, right)?,
            inputs: None,
            binary: None,
        })
    };
    if accepts.json {
        return app.page(accepts, load).await;
    }
    let mut page = app.prepared(load).await?;
    if let Some(place) = place {
        place.give_back();
    }
    let binary = Binary::compared(&app, &page).await;
    let is_pending = binary.as_ref().is_some_and(Binary::is_pending);
    page.binary = binary;
    let mut response = app.show_prepared(page, accepts).await?;
    if is_pending {
        response
            .headers_mut()
            .insert(header::REFRESH, HeaderValue::from_static(REFRESH_S));
    }
    Ok(response)
}

#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    layout: Arc<Layout>,
    builds: Builds,
    inputs: Option<Inputs>,
    binary: Option<Binary>,
}

/// The main binaries, compared.
struct Binary {
    left: Artifact,
    right: Artifact,
    /// As they are run.
    stripped: Asked,
    /// With their symbols, if both builds kept those.
    debug: Option<(Artifact, Artifact, Asked)>,
    /// Which changed package explains how much; none: there are no symbols or no switches to tell by.
    explanation: Option<Explanation>,
}

impl Binary {
    /// None: not both builds have one, or it is the same.
    async fn compared(app: &App, page: &ComparePage) -> Option<Binary> {
        let (left, right) = page.builds.main_binaries()?;
        let inputs = page.inputs.as_ref()?;
        if left.sha256 == right.sha256 {
            return None;
        }
        let until = Instant::now() + app.limits().file_diff_patience;
        let ask = async |pair: Pair| {
            file_diffs::ask(app, pair, until.saturating_duration_since(Instant::now())).await
        };
        let stripped = ask(page.builds.files(&inputs.hints, (left, right))).await;
        let debug = match page.builds.debug_binaries() {
            Some(both) if both.0.sha256 != both.1.sha256 => {
                let asked = ask(page.builds.files(&inputs.hints, both)).await;
                Some((both.0.clone(), both.1.clone(), asked))
            }
            _ => None,
        };
        let mut binary = Binary {
            left: left.clone(),
            right: right.clone(),
            stripped,
            debug,
            explanation: None,
        };
        binary.explanation = binary.with_symbols().and_then(|report| {
            let artifact_diff::Detail::Elf(elf) = &report.detail else {
                return None;
            };
            let opam = inputs.opam.as_ref().ok()?;
            Some(cause::explain(
                elf.symbols.as_ref()?,
                opam,
                inputs.root.as_deref(),
            ))
        });
        Some(binary)
    }

    /// The comparison of the main binaries themselves.
    fn report(&self) -> Option<&Report> {
        done(&self.stripped)
    }

    /// The comparison that has symbols.
    fn with_symbols(&self) -> Option<&Report> {
        match &self.debug {
            Some((_, _, asked)) => done(asked),
            None => self.report(),
        }
    }

    fn is_pending(&self) -> bool {
        let debug = self.debug.as_ref().map(|(_, _, asked)| asked);
        [Some(&self.stripped), debug]
            .into_iter()
            .flatten()
            .any(|asked| matches!(asked, Asked::Pending | Asked::Busy))
    }

    /// Why there is no comparison, a sentence each.
    fn problems(&self) -> Vec<&str> {
        let debug = self.debug.as_ref().map(|(_, _, asked)| asked);
        [Some(&self.stripped), debug]
            .into_iter()
            .flatten()
            .filter_map(|asked| match asked {
                Asked::Done(Err(why)) => Some(why.as_str()),
                _ => None,
            })
            .collect()
    }
}

fn done(asked: &Asked) -> Option<&Report> {
    match asked {
        Asked::Done(Ok(report)) => Some(report),
        _ => None,
    }
}

/// An artifact of one or both builds.
struct Row<'a> {
    left: Option<&'a Artifact>,
    right: Option<&'a Artifact>,
}

impl Row<'_> {
    fn path(&self) -> &str {
        self.left
            .or(self.right)
            .map_or("", |artifact| &artifact.path)
    }

    /// Its presence as the JSON of comparisons of files has it.
    fn status(&self) -> &'static str {
        match (self.left, self.right) {
            (Some(left), Some(right)) if left.sha256 == right.sha256 => "same",
            (Some(_), Some(_)) => "differs",
            (Some(_), None) => "only_left",
            _ => "only_right",
        }
    }

    fn in_words(&self) -> &'static str {
        match self.status() {
            "same" => "the same",
            "differs" => "differs",
            "only_left" => "only left",
            _ => "only right",
        }
    }
}

impl ComparePage {
    /// All artifacts of both builds, by path.
    fn artifacts(&self) -> Vec<Row<'_>> {
        let mut rows: std::collections::BTreeMap<&str, Row<'_>> = Default::default();
        let empty = || Row {
            left: None,
            right: None,
        };
        for artifact in &self.builds.left_artifacts {
            rows.entry(&artifact.path).or_insert_with(empty).left = Some(artifact);
        }
        for artifact in &self.builds.right_artifacts {
            rows.entry(&artifact.path).or_insert_with(empty).right = Some(artifact);
        }
        rows.into_values().collect()
    }

    /// Whether both have a binary with symbols, so that their treemaps can be drawn.
    fn has_treemaps(&self) -> bool {
        let has = |build: &Build, artifacts: &[Artifact]| {
            drawings::subject(Picture::Treemap, build, artifacts).is_some()
        };
        has(&self.builds.left, &self.builds.left_artifacts)
            && has(&self.builds.right, &self.builds.right_artifacts)
    }

    fn compare_files(&self, left: &str, right: &str) -> String {
        urls::compare_files(&self.builds.left.uuid, &self.builds.right.uuid, left, right)
    }

    fn opam(&self) -> Option<&Comparison> {
        self.inputs.as_ref()?.opam.as_ref().ok()
    }

    /// The sections of the page that say something: anchor, title, how much they list.
    fn contents(&self) -> Vec<(&'static str, &'static str, usize)> {
        let mut contents = Vec::new();
        if let Some(opam) = self.opam() {
            contents.extend([
                (
                    "opam-removed",
                    "opam packages removed",
                    opam.only_in_left.len(),
                ),
                (
                    "opam-added",
                    "opam packages added",
                    opam.only_in_right.len(),
                ),
                (
                    "opam-versions",
                    "opam packages with another version",
                    opam.version_diff.len(),
                ),
            ]);
            if let Ok(duniverse) = &opam.duniverse_diff {
                contents.extend([
                    (
                        "duniverse-removed",
                        "duniverse directories removed",
                        duniverse.left.len(),
                    ),
                    (
                        "duniverse-added",
                        "duniverse directories added",
                        duniverse.right.len(),
                    ),
                    (
                        "duniverse-changed",
                        "duniverse directories with other content",
                        duniverse.detailed_diff.len(),
                    ),
                ]);
            }
            contents.push((
                "opam-files",
                "opam packages with changes in their opam file",
                opam.opam_diff.len(),
            ));
        }
        let inputs = self.inputs.as_ref();
        if let Some(Ok(changes)) = inputs.map(|inputs| &inputs.environment) {
            contents.extend([
                (
                    "env-removed",
                    "environment variables removed",
                    changes.removed.len(),
                ),
                (
                    "env-added",
                    "environment variables added",
                    changes.added.len(),
                ),
                (
                    "env-changed",
                    "environment variables changed",
                    changes.changed.len(),
                ),
            ]);
        }
        if let Some(Ok(changes)) = inputs.map(|inputs| &inputs.packages) {
            contents.extend([
                (
                    "pkgs-removed",
                    "system packages removed",
                    changes.removed.len(),
                ),
                ("pkgs-added", "system packages added", changes.added.len()),
                (
                    "pkgs-changed",
                    "system packages changed",
                    changes.changed.len(),
                ),
            ]);
        }
        contents.retain(|(_, _, count)| *count > 0);
        contents
    }

    /// What of the input could not be compared, a sentence each.
    fn problems(&self) -> Vec<&str> {
        let Some(inputs) = &self.inputs else {
            return Vec::new();
        };
        let duniverse = self
            .opam()
            .and_then(|opam| opam.duniverse_diff.as_ref().err());
        [
            inputs.opam.as_ref().err(),
            duniverse,
            inputs.environment.as_ref().err(),
            inputs.packages.as_ref().err(),
        ]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect()
    }
}

impl Page for ComparePage {
    fn prepare(&mut self, app: &App) {
        self.inputs = Some(Inputs::compare(app, &self.builds));
    }

    fn share(&self) -> Option<Share> {
        let (left, right) = (&self.builds.left, &self.builds.right);
        let side = |build: &Build| format!("{} of {}", build.job, build.start);
        Some(Share {
            url: urls::compare(&left.uuid, &right.uuid),
            title: match left.job == right.job {
                true => format!("{}: {} and {} compared", left.job, left.start, right.start),
                false => format!("{} and {} compared", side(left), side(right)),
            },
            description: Some(self.builds.verdict().to_owned()),
        })
    }

    /// The members up to `opam_diff` are those of the OCaml server, in its order; what is ours follows.
    fn json(&self) -> Option<Value> {
        let inputs = self.inputs.as_ref()?;
        let file = |artifact: Option<&Artifact>| {
            artifact.map(
                |artifact| json!({ "sha256": artifact.sha256.to_hex(), "size": artifact.size }),
            )
        };
        let artifacts: Vec<Value> = self
            .artifacts()
            .iter()
            .map(|row| {
                json!({
                    "path": row.path(),
                    "presence": row.status(),
                    "left": file(row.left),
                    "right": file(row.right),
                    "url": (row.status() == "differs").then(|| self.compare_files(row.path(), row.path())),
                })
            })
            .collect();
        let differing = self
            .builds
            .main_binaries()
            .filter(|(left, right)| left.sha256 != right.sha256);
        let debug = self
            .builds
            .debug_binaries()
            .filter(|(left, right)| left.sha256 != right.sha256);
        Some(json!({
            "left": build_json(&self.builds.left, self.builds.left_verdict),
            "right": build_json(&self.builds.right, self.builds.right_verdict),
            "env_diff": changes_json(&inputs.environment),
            "package_diff": changes_json(&inputs.packages),
            "opam_diff": opam_json(&inputs.opam),
            "verdict": self.builds.verdict(),
            "same_input": self.builds.same_input(),
            "same_output": self.builds.same_output(),
            "main_binary_url": differing.map(|(left, right)| self.compare_files(&left.path, &right.path)),
            "artifacts": artifacts,
            "debug_binaries_url": debug.map(|(left, right)| self.compare_files(&left.path, &right.path)),
            "treemap_url": self.has_treemaps().then(|| {
                urls::treemap_changes(&self.builds.left.uuid, &self.builds.right.uuid)
            }),
        }))
    }
}

fn build_json(build: &Build, verdict: Verdict) -> Value {
    let mut json = json!({
        "job": build.job,
        "uuid": build.uuid,
        "platform": build.platform,
        "start_time": build.start.to_rfc3339(),
        "finish_time": build.finish.to_rfc3339(),
        "main_binary": build.main_binary.is_some(),
        "main_binary_size": build.main_binary.as_ref().map(|main| main.size),
        "main_binary_path": build.main_binary.as_ref().map(|main| main.path.as_str()),
        "main_binary_sha256": build.main_binary.as_ref().map(|main| main.sha256.to_hex()),
    });
    view::add(&mut json, &view::BuildSummary::of(build, verdict));
    json
}

/// `left_packages` is what only the left build has, as clients show it. (The OCaml server has the
/// two sides the other way round.)
fn changes_json(changes: &Compared<Changes>) -> Value {
    let (changes, error) = match changes {
        Ok(changes) => (changes.clone(), None),
        Err(error) => (Changes::default(), Some(error)),
    };
    let versions = |list: &[(String, String)]| -> Vec<Value> {
        list.iter()
            .map(|(name, version)| json!({ "name": name, "version": version }))
            .collect()
    };
    let changed: Vec<Value> = changes
        .changed
        .iter()
        .map(|(name, left, right)| {
            json!({ "name": name, "version_left": left, "version_right": right })
        })
        .collect();
    let mut json = json!({
        "left_packages": versions(&changes.removed),
        "right_packages": versions(&changes.added),
        "different_versions": changed,
    });
    if let Some(error) = error {
        json["error"] = json!(error);
    }
    json
}

fn opam_json(opam: &Compared<Comparison>) -> Value {
    match opam {
        Ok(opam) => opam_report::json(opam),
        Err(error) => json!({
            "opam_diff": [],
            "version_diff": [],
            "only_in_left": [],
            "only_in_right": [],
            "duniverse_diff": { "left": [], "right": [], "detailed_diff": [], "error": error },
            "error": error,
        }),
    }
}
