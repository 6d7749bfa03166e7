//! `/compare/:left/:right`: what differs between two builds, and why.

use std::sync::Arc;

use artifact_diff::{Presence, Report};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use builder_store::builds::{Artifact, Build};
use builder_store::verdict::Verdict;
use opam_file::Comparison;
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::cause::Explanation;
use crate::comparison::{Builds, Compared, Inputs, missing};
use crate::error::{Error, Result};
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
    let asked = match accepts.json {
        true => Vec::new(),
        false => {
            // Nothing of the page is held while it waits.
            let pairs = app.blocking(move |app| {
                let builds = app.store().read(|tx| Ok(Builds::load(tx, left, right)))??;
                Ok::<_, Error>(pairs(app, &builds))
            });
            let (pairs, patience) = (pairs.await??, app.limits().file_diff_patience);
            file_diffs::ask(&app, place.as_deref(), &pairs, patience).await?
        }
    };
    let is_all = asked.iter().all(|asked| asked.not_yet().is_none());
    let load = move |app: &App, tx: &mut builder_store::Tx<'_>| {
        let builds = Builds::load(tx, left, right)?;
        Ok(ComparePage {
            layout: app.layout().clone(),
            binary: Binary::of(&builds, asked),
            builds,
            inputs: None,
        })
    };
    let mut response = app.page(accepts, load).await?;
    if !is_all {
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

/// What the page compares: the main binaries, and those with symbols, if both builds have them and they differ.
fn pairs(app: &App, builds: &Builds) -> Vec<Pair> {
    let Some(main) = builds.main_binaries().filter(differ) else {
        return Vec::new();
    };
    let hints = builds.read_hints(app);
    let debug = builds.debug_binaries().filter(differ);
    let both = [Some(main), debug].into_iter().flatten();
    both.map(|both| builds.files(&hints, both)).collect()
}

fn differ((left, right): &(&Artifact, &Artifact)) -> bool {
    left.sha256 != right.sha256
}

impl Binary {
    /// What came of the comparison of [`pairs`]. None: not both builds have a main binary, or it is the same.
    fn of(builds: &Builds, asked: Vec<Asked>) -> Option<Binary> {
        let (left, right) = builds.main_binaries().filter(differ)?;
        let mut asked = asked.into_iter();
        let stripped = asked.next()?;
        let debug = builds.debug_binaries().filter(differ).zip(asked.next());
        Some(Binary {
            left: left.clone(),
            right: right.clone(),
            stripped,
            debug: debug.map(|((left, right), asked)| (left.clone(), right.clone(), asked)),
            explanation: None,
        })
    }

    /// The comparison of the main binaries themselves.
    fn report(&self) -> Option<&Report> {
        self.stripped.report()
    }

    /// The comparison that has symbols.
    fn with_symbols(&self) -> Option<&Report> {
        match &self.debug {
            Some((_, _, asked)) => asked.report(),
            None => self.report(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Asked> {
        let debug = self.debug.as_ref().map(|(_, _, asked)| asked);
        [Some(&self.stripped), debug].into_iter().flatten()
    }

    /// Why there is no comparison yet, a sentence.
    fn not_yet(&self) -> Option<&'static str> {
        self.all().find_map(Asked::not_yet)
    }

    /// Why there is no comparison, a sentence each.
    fn problems(&self) -> Vec<&str> {
        self.all().filter_map(Asked::problem).collect()
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

    fn presence(&self) -> Presence {
        match (self.left, self.right) {
            (Some(left), Some(right)) if left.sha256 == right.sha256 => Presence::Same,
            (Some(_), Some(_)) => Presence::Differs,
            (Some(_), None) => Presence::OnlyLeft,
            _ => Presence::OnlyRight,
        }
    }

    fn class(&self) -> &'static str {
        file_diffs::class(&self.presence())
    }

    fn in_words(&self) -> &'static str {
        file_diffs::in_words(&self.presence())
    }

    fn differs(&self) -> bool {
        self.presence() == Presence::Differs
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
        self.builds.debug_binaries().is_some()
    }

    fn compare_files(&self, left: &str, right: &str) -> String {
        urls::compare_files(&self.builds.left.uuid, &self.builds.right.uuid, left, right)
    }

    fn opam(&self) -> Option<&Comparison> {
        self.inputs.as_ref()?.switches.opam.as_ref().ok()
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
            inputs.switches.opam.as_ref().err(),
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
        let inputs = Inputs::compare(app, &self.builds);
        if let Some(binary) = &mut self.binary {
            let report = binary.with_symbols();
            binary.explanation = report.and_then(|report| inputs.switches.explain(report));
        }
        self.inputs = Some(inputs);
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
                    "presence": row.presence(),
                    "left": file(row.left),
                    "right": file(row.right),
                    "url": row.differs().then(|| self.compare_files(row.path(), row.path())),
                })
            })
            .collect();
        let differing = self.builds.main_binaries().filter(differ);
        let debug = self.builds.debug_binaries().filter(differ);
        Some(json!({
            "left": build_json(&self.builds.left, self.builds.left_verdict),
            "right": build_json(&self.builds.right, self.builds.right_verdict),
            "env_diff": changes_json(&inputs.environment),
            "package_diff": changes_json(&inputs.packages),
            "opam_diff": opam_json(&inputs.switches.opam),
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
