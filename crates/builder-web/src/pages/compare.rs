//! `/compare/:left/:right`: what differs between two builds, and what is the same.

use std::io::Read;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use builder_store::builds::{self, Artifact, Build};
use builder_store::{Store, Tx};
use opam_file::{Comparison, Package, SwitchExport};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, Page};
use crate::error::{Error, Result, with_causes};
use crate::inputs::{self, Changes};
use crate::names::{self, Path};
use crate::respond::{Accepts, Layout};
use crate::{removed, urls};

fn missing() -> Error {
    Error::NotFound("one of the two builds does not exist".to_owned())
}

/// `GET /compare/:left/:right`
pub async fn get(
    State(app): State<App>,
    Path((left, right)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let uuids = names::uuid(&left).zip(names::uuid(&right));
    let (left, right) = uuids.ok_or_else(missing)?;
    app.page(Accepts::of(&headers), move |app, tx| {
        ComparePage::load(app, tx, left, right)
    })
    .await
}

#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    layout: Arc<Layout>,
    left: Build,
    right: Build,
    /// What each has to compare.
    artifacts: (Vec<Artifact>, Vec<Artifact>),
    opam: Compared<Comparison>,
    environment: Compared<Changes>,
    packages: Compared<Changes>,
}

/// What differs, or a sentence that says why that cannot be told.
type Compared<T> = std::result::Result<T, String>;

/// The bytes of an input of a build.
fn input(
    store: &Store,
    artifacts: &[Artifact],
    path: &str,
    bytes_max: u64,
    side: &str,
) -> Compared<Vec<u8>> {
    let artifact = artifacts
        .iter()
        .find(|artifact| artifact.path == path)
        .ok_or_else(|| format!("the {side} build has no {path}"))?;
    if artifact.size > bytes_max {
        return Err(format!(
            "{path} of the {side} build has {} bytes, more than the {bytes_max} that are compared",
            artifact.size
        ));
    }
    let unreadable = |error: &dyn std::error::Error| {
        tracing::error!("{}", with_causes(error));
        format!("{path} of the {side} build cannot be read")
    };
    let (file, _) = store
        .artifacts()
        .open(artifact.sha256)
        .map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    file.take(bytes_max)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

impl ComparePage {
    fn load(app: &App, tx: &mut Tx<'_>, left: Uuid, right: Uuid) -> Result<ComparePage> {
        let mut build = |uuid| match builds::by_uuid(tx, uuid)? {
            Some(build) => Ok(build),
            None => Err(match removed::missing(tx, uuid)? {
                Error::NotFound(_) => missing(),
                gone => gone,
            }),
        };
        let (left, right) = (build(left)?, build(right)?);
        let not_yet = || "not compared yet".to_owned();
        Ok(ComparePage {
            layout: app.layout().clone(),
            artifacts: (
                builds::artifacts(tx, left.id)?,
                builds::artifacts(tx, right.id)?,
            ),
            left,
            right,
            opam: Err(not_yet()),
            environment: Err(not_yet()),
            packages: Err(not_yet()),
        })
    }

    /// What is the same and what is not, in a sentence.
    fn verdict(&self) -> &'static str {
        let output = |build: &Build| build.main_binary.as_ref().map(|main| main.sha256);
        let same_output = match (output(&self.left), output(&self.right)) {
            (Some(left), Some(right)) => left == right,
            (None, None) => return "Neither build has a main binary.",
            _ => return "Only one of the builds has a main binary.",
        };
        let same_input = match (self.left.input_id, self.right.input_id) {
            (Some(left), Some(right)) => Some(left == right),
            _ => None,
        };
        match (same_input, same_output) {
            (Some(true), true) => "Same input, same output: one reproduces the other.",
            (Some(true), false) => "Same input, different output: this build is not reproducible.",
            (Some(false), true) => "Different input, same output.",
            (Some(false), false) => "Different input, different output.",
            (None, true) => "Same output; the input of at least one was not recorded.",
            (None, false) => "Different output; the input of at least one was not recorded.",
        }
    }

    /// The sections of the page that say something: anchor, title, how much they list.
    fn contents(&self) -> Vec<(&'static str, &'static str, usize)> {
        let mut contents = Vec::new();
        if let Ok(opam) = &self.opam {
            contents.extend([
                (
                    "opam-removed",
                    "Opam packages removed",
                    opam.only_in_left.len(),
                ),
                (
                    "opam-added",
                    "Opam packages added",
                    opam.only_in_right.len(),
                ),
                (
                    "opam-versions",
                    "Opam packages with another version",
                    opam.version_diff.len(),
                ),
            ]);
            if let Ok(duniverse) = &opam.duniverse_diff {
                contents.extend([
                    (
                        "duniverse-removed",
                        "Duniverse directories removed",
                        duniverse.left.len(),
                    ),
                    (
                        "duniverse-added",
                        "Duniverse directories added",
                        duniverse.right.len(),
                    ),
                    (
                        "duniverse-changed",
                        "Duniverse directories with other content",
                        duniverse.detailed_diff.len(),
                    ),
                ]);
            }
            contents.push((
                "opam-files",
                "Opam packages with changes in their opam file",
                opam.opam_diff.len(),
            ));
        }
        if let Ok(changes) = &self.environment {
            contents.extend([
                (
                    "env-removed",
                    "Environment variables removed",
                    changes.removed.len(),
                ),
                (
                    "env-added",
                    "Environment variables added",
                    changes.added.len(),
                ),
                (
                    "env-changed",
                    "Environment variables changed",
                    changes.changed.len(),
                ),
            ]);
        }
        if let Ok(changes) = &self.packages {
            contents.extend([
                (
                    "pkgs-removed",
                    "System packages removed",
                    changes.removed.len(),
                ),
                ("pkgs-added", "System packages added", changes.added.len()),
                (
                    "pkgs-changed",
                    "System packages changed",
                    changes.changed.len(),
                ),
            ]);
        }
        contents.retain(|(_, _, count)| *count > 0);
        contents
    }

    /// What could not be compared, a sentence each.
    fn problems(&self) -> Vec<&str> {
        let duniverse = self
            .opam
            .as_ref()
            .ok()
            .and_then(|opam| opam.duniverse_diff.as_ref().err());
        [
            self.opam.as_ref().err(),
            duniverse,
            self.environment.as_ref().err(),
            self.packages.as_ref().err(),
        ]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect()
    }
}

impl Page for ComparePage {
    fn prepare(&mut self, app: &App) {
        let bytes_max = app.limits().opam_switch_bytes_max;
        let (left, right) = &self.artifacts;
        let inputs = |path| {
            let left = input(app.store(), left, path, bytes_max, "left")?;
            let right = input(app.store(), right, path, bytes_max, "right")?;
            Ok::<_, String>((left, right))
        };
        let switch = |bytes: &[u8], side| {
            SwitchExport::parse(bytes)
                .map_err(|error| format!("opam-switch of the {side} build cannot be read: {error}"))
        };
        self.opam = inputs("opam-switch").and_then(|(left, right)| {
            Ok(switch(&left, "left")?.compare(&switch(&right, "right")?))
        });
        self.environment =
            inputs("build-environment").map(|(left, right)| inputs::environment(&left, &right));
        self.packages =
            inputs("system-packages").map(|(left, right)| inputs::system_packages(&left, &right));
    }

    fn json(&self) -> Option<Value> {
        Some(json!({
            "left": build_json(&self.left),
            "right": build_json(&self.right),
            "env_diff": changes_json(&self.environment),
            "package_diff": changes_json(&self.packages),
            "opam_diff": opam_json(&self.opam),
        }))
    }
}

fn build_json(build: &Build) -> Value {
    json!({
        "job": build.job,
        "uuid": build.uuid,
        "platform": build.platform,
        "start_time": build.start.to_rfc3339(),
        "finish_time": build.finish.to_rfc3339(),
        "main_binary": build.main_binary.is_some(),
        "main_binary_size": build.main_binary.as_ref().map(|main| main.size),
    })
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
    let opam = match opam {
        Ok(opam) => opam,
        Err(error) => {
            return json!({
                "opam_diff": [],
                "version_diff": [],
                "only_in_left": [],
                "only_in_right": [],
                "duniverse_diff": { "left": [], "right": [], "detailed_diff": [], "error": error },
                "error": error,
            });
        }
    };
    let diffs: Vec<Value> = opam
        .opam_diff
        .iter()
        .map(|diff| {
            json!({
                "package_version": diff.package.to_string(),
                "effectively_equal": diff.effectively_equal,
                "diff": diff.diff,
            })
        })
        .collect();
    let versions: Vec<Value> = opam
        .version_diff
        .iter()
        .map(|diff| {
            json!({
                "name": diff.name,
                "version_left": diff.version_left,
                "version_right": diff.version_right,
            })
        })
        .collect();
    let packages = |list: &[Package]| -> Vec<Value> {
        list.iter()
            .map(|package| json!({ "name": package.name, "version": package.version }))
            .collect()
    };
    json!({
        "opam_diff": diffs,
        "version_diff": versions,
        "only_in_left": packages(&opam.only_in_left),
        "only_in_right": packages(&opam.only_in_right),
        "duniverse_diff": duniverse_json(opam),
    })
}

/// Always an object: where the directories cannot be read, its lists are empty and `error` says why.
fn duniverse_json(opam: &Comparison) -> Value {
    let duniverse = match &opam.duniverse_diff {
        Ok(duniverse) => duniverse,
        Err(error) => {
            return json!({ "left": [], "right": [], "detailed_diff": [], "error": error.to_string() });
        }
    };
    let directories = |list: &[opam_file::Directory]| -> Vec<Value> {
        list.iter()
            .map(|directory| json!({ "name": directory.name, "value": directory.url }))
            .collect()
    };
    let changed: Vec<Value> = duniverse
        .detailed_diff
        .iter()
        .map(|change| json!({ "name": change.name }))
        .collect();
    json!({
        "left": directories(&duniverse.left),
        "right": directories(&duniverse.right),
        "detailed_diff": changed,
    })
}
