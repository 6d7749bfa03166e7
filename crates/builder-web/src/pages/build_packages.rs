//! `/job/:job/build/:uuid/packages`: the opam packages that went into a build, each with what is
//! known of it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use builder_store::Tx;
use builder_store::builds::{self, Artifact, Build};
use opam_file::{Package, SwitchExport};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, Page, Prepared};
use crate::error::{Error, Result};
use crate::names::{self, Path};
use crate::places::DEAR_BYTES_MIN;
use crate::respond::{Accepts, Layout};
use crate::share::Share;
use crate::view::{INPUT_FILES, PackageOfVersion};
use crate::{input_changes, removed, show, urls};

/// `GET /job/:job/build/:uuid/packages`.
pub async fn get(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let accepts = Accepts::of(&headers);
    let page = load(&app, &uuid).await?;
    app.show_prepared(page, accepts).await
}

/// The packages of a build.
pub async fn load(app: &App, uuid: &str) -> Result<Prepared<PackagesPage>> {
    let missing = || Error::NotFound("there is no such build".to_owned());
    let uuid = names::uuid(uuid).ok_or_else(missing)?;
    let page = app
        .prepared(move |app, tx| PackagesPage::load(app, tx, uuid))
        .await?;
    match &page.packages {
        Some(_) => Ok(page),
        None => Err(Error::NotFound(
            "the opam switch of this build was not recorded, or cannot be read".to_owned(),
        )),
    }
}

/// The opam packages of a build.
#[derive(Template)]
#[template(path = "build_packages.html")]
pub struct PackagesPage {
    layout: Arc<Layout>,
    build: Build,
    artifacts: Vec<Artifact>,
    /// In opam's order; none: they are not known.
    packages: Option<Vec<Package>>,
}

impl PackagesPage {
    fn load(app: &App, tx: &mut Tx<'_>, uuid: Uuid) -> Result<PackagesPage> {
        let Some(build) = builds::by_uuid(tx, uuid)? else {
            return Err(removed::missing(tx, uuid)?);
        };
        Ok(PackagesPage {
            layout: app.layout().clone(),
            artifacts: builds::artifacts(tx, build.id)?,
            build,
            packages: None,
        })
    }

    /// The packages.
    pub fn packages(&self) -> &[Package] {
        self.packages.as_deref().unwrap_or_default()
    }
}

impl Page for PackagesPage {
    fn is_dear(&self, app: &App) -> bool {
        let switch = self.artifacts.iter();
        let switch = switch.filter(|artifact| artifact.path == INPUT_FILES[0]);
        let bytes_max = app.limits().opam_switch_bytes_max;
        switch
            .map(|switch| switch.size)
            .any(|bytes| bytes > DEAR_BYTES_MIN && bytes <= bytes_max)
    }

    fn prepare(&mut self, app: &App) {
        let switch = input_changes::file(app, &self.artifacts, INPUT_FILES[0]);
        let parsed = switch.and_then(|switch| SwitchExport::parse(&switch).ok());
        self.packages = parsed.map(|parsed| parsed.installed);
    }

    fn share(&self) -> Option<Share> {
        let build = &self.build;
        Some(Share {
            url: urls::below_build(&build.job, &build.uuid, "packages"),
            title: format!(
                "{} of {} on {}, {}",
                show::counted(self.packages().len(), "opam package"),
                build.job,
                build.platform,
                build.start
            ),
            description: None,
        })
    }

    fn json(&self) -> Option<Value> {
        let packages = self.packages().iter();
        let packages: Vec<PackageOfVersion> = packages.map(PackageOfVersion::of).collect();
        Some(json!({
            "job": self.build.job,
            "uuid": self.build.uuid,
            "platform": self.build.platform,
            "start_time": self.build.start.to_rfc3339(),
            "packages": packages,
        }))
    }
}
