//! What is said of a build that is not there: it never was, or its artifacts were removed.

use std::sync::Arc;

use askama::Template;
use builder_store::builds;
use builder_store::record::removed::{self, RemovedBuild};
use builder_store::verdict::{self, Judged};
use builder_store::{Store, Tx};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, Page};
use crate::error::{Error, Result};
use crate::respond::Layout;
use crate::share::Share;
use crate::view::{self, RemovedDetail};
use crate::{show, urls};

/// Builds of the same output that are listed.
const SAME_OUTPUT_MAX: u32 = 100;

/// The error for something of a build, which has no rows: [`Error::Gone`] if it was removed, else
/// that there is no such build.
pub fn missing(tx: &mut Tx<'_>, uuid: Uuid) -> builder_store::Result<Error> {
    Ok(match removed::by_uuid(tx, uuid)? {
        Some(build) => gone(&build),
        None => Error::NotFound("there is no such build".to_owned()),
    })
}

fn gone(build: &RemovedBuild) -> Error {
    Error::Gone(format!(
        "artifacts of build {} of {} removed on {}; what is known of it is at {}",
        build.uuid,
        build.job,
        day(build),
        urls::build(&build.job, &build.uuid)
    ))
}

/// What came of opening a file of a build. A file that is missing is no fault of ours if the build
/// was removed between reading its rows and opening it.
pub fn opened<T>(store: &Store, uuid: Uuid, opened: builder_store::Result<T>) -> Result<T> {
    match opened {
        Err(error) if error.is_missing_file() => {
            let why = store.read(|tx| match builds::exists(tx, uuid)? {
                true => Ok(None),
                false => missing(tx, uuid).map(Some),
            })?;
            Err(why.unwrap_or_else(|| {
                store.artifacts().damage().found();
                error.into()
            }))
        }
        other => Ok(other?),
    }
}

/// The day on which a build was removed.
pub fn day(build: &RemovedBuild) -> String {
    let (year, month, day, ..) = build.removed.civil();
    format!("{year:04}-{month:02}-{day:02}")
}

/// The page of a build that was removed.
#[derive(Template)]
#[template(path = "removed.html")]
pub struct RemovedPage {
    layout: Arc<Layout>,
    build: RemovedBuild,
    same_output: Vec<Judged>,
    removed_same_output: Vec<RemovedBuild>,
}

impl RemovedPage {
    /// What is known of it; none if no such build was removed.
    pub fn load(app: &App, tx: &mut Tx<'_>, uuid: Uuid) -> builder_store::Result<Option<Self>> {
        let Some(build) = removed::by_uuid(tx, uuid)? else {
            return Ok(None);
        };
        let (mut same_output, mut removed_same_output) = (Vec::new(), Vec::new());
        if let Some(main) = &build.main_binary {
            let builds = builds::with_main_binary(tx, main.sha256, SAME_OUTPUT_MAX)?;
            same_output = verdict::judged(tx, builds)?;
            removed_same_output = removed::with_main_binary(tx, main.sha256, SAME_OUTPUT_MAX)?;
            removed_same_output.retain(|other| other.uuid != uuid);
        }
        Ok(Some(RemovedPage {
            layout: app.layout().clone(),
            build,
            same_output,
            removed_same_output,
        }))
    }

    /// What the page tells, for programs.
    pub fn detail(&self) -> RemovedDetail {
        let removed = self.removed_same_output.iter();
        RemovedDetail {
            build: view::RemovedBuild::of(&self.build),
            same_output: view::summaries(&self.same_output),
            removed_same_output: removed.map(view::RemovedBuild::of).collect(),
        }
    }

    /// From the same input, or from another one or one that was not recorded.
    fn same_input(&self, input_id: &Option<builder_store::Sha256>) -> bool {
        input_id.is_some() && *input_id == self.build.input_id
    }
}

impl Page for RemovedPage {
    fn share(&self) -> Option<Share> {
        let build = &self.build;
        Some(Share {
            url: urls::build(&build.job, &build.uuid),
            title: format!(
                "{} on {}, {} (removed)",
                build.job, build.platform, build.start
            ),
            description: Some(format!(
                "The artifacts of this build were removed on {}; what is known of it is kept.",
                day(build)
            )),
        })
    }

    fn json(&self) -> Option<Value> {
        let main = self.build.main_binary.as_ref();
        let mut json = json!({
            "job": self.build.job,
            "uuid": self.build.uuid,
            "platform": self.build.platform,
            "start_time": self.build.start.to_rfc3339(),
            "finish_time": self.build.finish.to_rfc3339(),
            // There is none to be had.
            "main_binary": false,
            "removed_time": self.build.removed.to_rfc3339(),
            "main_binary_path": main.map(|main| main.path.as_str()),
            "main_binary_sha256": main.map(|main| main.sha256.to_hex()),
            "main_binary_size": main.map(|main| main.size),
        });
        view::add(&mut json, &self.detail());
        Some(json)
    }
}
