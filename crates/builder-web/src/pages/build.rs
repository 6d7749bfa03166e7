//! `/job/:job/build/:uuid`: one build, and how it compares with others.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use builder_store::builds::{self, Artifact, Build};
use builder_store::cache::Picture;
use builder_store::record::removed::{self, RemovedBuild};
use builder_store::{Sha256, Tx};
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::derived::Solo5;
use crate::drawings;
use crate::error::{Error, Result};
use crate::names;
use crate::names::Path;
use crate::removed::{self as gone, RemovedPage};
use crate::respond::{Accepts, Layout};
use crate::{show, urls};

/// `GET /job/:job/build/:uuid`. Another job's name in the URL is put right on the page.
pub async fn get(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let uuid = names::uuid(&uuid).ok_or_else(missing)?;
    let page = app.page(
        Accepts::of(&headers),
        move |app, tx| match builds::by_uuid(tx, uuid)? {
            Some(build) => Ok(BuildPage::load(app, tx, build)?),
            None => Err(gone::missing(tx, uuid)?),
        },
    );
    match page.await {
        Err(Error::Gone(_)) => {
            let page = app.page(Accepts::of(&headers), move |app, tx| {
                RemovedPage::load(app, tx, uuid)?.ok_or_else(missing)
            });
            page.await
        }
        shown => shown,
    }
}

fn missing() -> Error {
    Error::NotFound("there is no such build".to_owned())
}

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    layout: Arc<Layout>,
    build: Build,
    solo5: Option<Solo5>,
    artifacts: Vec<Artifact>,
    reproductions: Vec<Build>,
    /// From the same input, whatever they gave.
    removed: Vec<RemovedBuild>,
    same_input_different_output: Vec<Build>,
    different_input_same_output: Vec<Build>,
    latest: Option<Build>,
    previous: Option<Build>,
    next: Option<Build>,
    /// What could be drawn, and the title of its picture.
    pictures: Vec<(String, &'static str)>,
}

impl BuildPage {
    fn load(app: &App, tx: &mut Tx<'_>, build: Build) -> builder_store::Result<BuildPage> {
        let solo5 = match &build.main_binary {
            Some(main) => app.derived().solo5(app.store(), tx, main.sha256)?,
            None => None,
        };
        let latest = builds::latest_successful(tx, build.job_id, Some(&build.platform))?
            .filter(|latest| latest.id != build.id);
        let artifacts = builds::artifacts(tx, build.id)?;
        Ok(BuildPage {
            pictures: pictures(&build, &artifacts),
            layout: app.layout().clone(),
            solo5,
            artifacts,
            reproductions: builds::same_input_same_output(tx, &build)?,
            removed: match (&build.main_binary, build.input_id) {
                (Some(_), Some(input_id)) => removed::successful_of_input(tx, input_id)?,
                _ => Vec::new(),
            },
            same_input_different_output: builds::same_input_different_output(tx, &build)?,
            different_input_same_output: builds::different_input_same_output(tx, &build)?,
            latest,
            previous: builds::previous_different_output(tx, &build)?,
            next: builds::next_different_output(tx, &build)?,
            build,
        })
    }

    /// What is known of its reproducibility, in a sentence.
    fn verdict(&self) -> String {
        let count = self.reproductions.len() + self.removed_reproductions().len();
        if self.build.main_binary.is_none() {
            return "This build has no main binary.".to_owned();
        }
        if !self.same_input_different_output.is_empty() || !self.removed_different().is_empty() {
            return "Not reproducible: the same input also gave another output.".to_owned();
        }
        match (self.build.input_id, count) {
            (None, _) => {
                "Its input was not recorded, so it cannot be told whether it is reproducible."
                    .to_owned()
            }
            (Some(_), 0) => "Built once from this input; not reproduced yet.".to_owned(),
            (Some(_), 1) => "Reproduced by 1 other build: same input, same output.".to_owned(),
            (Some(_), _) => format!("Reproduced by {count} other builds: same input, same output."),
        }
    }

    /// Builds that reproduced it, and whose artifacts were removed.
    fn removed_reproductions(&self) -> Vec<&RemovedBuild> {
        self.removed_with_output(|sha256| sha256 == output(&self.build))
    }

    /// Builds that gave another output, which was removed.
    fn removed_different(&self) -> Vec<&RemovedBuild> {
        self.removed_with_output(|sha256| sha256 != output(&self.build))
    }

    fn removed_with_output(&self, is: impl Fn(Option<Sha256>) -> bool) -> Vec<&RemovedBuild> {
        let sha256 = |build: &RemovedBuild| build.main_binary.as_ref().map(|main| main.sha256);
        let all = self.removed.iter();
        all.filter(|build| is(sha256(build))).collect()
    }

    /// The devices of a unikernel, in words.
    fn devices(&self) -> Option<String> {
        let solo5 = self.solo5.as_ref()?;
        let of_kind = |kind: &str| -> Vec<String> {
            let devices = solo5.solo5_manifest.devices.iter();
            devices
                .filter(|device| device.kind == kind)
                .map(|device| format!("{:?}", device.name))
                .collect()
        };
        let groups: Vec<String> = [("block", "BLOCK_BASIC"), ("net", "NET_BASIC")]
            .into_iter()
            .map(|(word, kind)| (word, of_kind(kind)))
            .filter(|(_, names)| !names.is_empty())
            .map(|(word, names)| format!("{word} devices {}", names.join(", ")))
            .collect();
        Some(match groups.as_slice() {
            [] => "with no devices in solo5 manifest".to_owned(),
            groups => format!("with {}", groups.join(", and ")),
        })
    }

    fn latest_with_same_output(&self) -> Option<&Build> {
        self.latest
            .as_ref()
            .filter(|latest| output(latest).is_some() && output(latest) == output(&self.build))
    }

    fn latest_with_other_output(&self) -> Option<&Build> {
        match self.latest_with_same_output() {
            Some(_) => None,
            None => self.latest.as_ref(),
        }
    }

    fn is_main(&self, artifact: &Artifact) -> bool {
        self.build
            .main_binary
            .as_ref()
            .is_some_and(|main| main.path == artifact.path)
    }
}

/// Where the pictures are for which there is something to draw. Whether it can be drawn is found
/// out there: the page does not wait for it.
fn pictures(build: &Build, artifacts: &[Artifact]) -> Vec<(String, &'static str)> {
    let all = [
        (
            Picture::Dependencies,
            "vizdependencies",
            "Opam dependencies",
        ),
        (
            Picture::Treemap,
            "viztreemap",
            "What takes space in the binary",
        ),
    ];
    all.into_iter()
        .filter(|(picture, ..)| drawings::subject(*picture, build, artifacts).is_some())
        .map(|(_, path, title)| (urls::below_build(&build.job, &build.uuid, path), title))
        .collect()
}

/// What a build gave: the digest of its main binary.
fn output(build: &Build) -> Option<Sha256> {
    build.main_binary.as_ref().map(|main| main.sha256)
}

impl Page for BuildPage {
    fn json(&self) -> Option<Value> {
        let mut json = json!({
            "job": self.build.job,
            "uuid": self.build.uuid,
            "platform": self.build.platform,
            "start_time": self.build.start.to_rfc3339(),
            "finish_time": self.build.finish.to_rfc3339(),
            "main_binary": self.build.main_binary.is_some(),
        });
        if let Some(solo5) = &self.solo5 {
            json["solo5_manifest"] = json!(solo5.solo5_manifest);
            json["solo5_abi"] = json!(solo5.solo5_abi);
        }
        Some(json)
    }
}
