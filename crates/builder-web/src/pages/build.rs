//! `/job/:job/build/:uuid`: one build, and how it compares with others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use builder_exec::Timestamp;
use builder_store::builds::{self, Artifact, Build};
use builder_store::cache::Picture;
use builder_store::failures::{self, Failure};
use builder_store::neighbours::{self, Neighbours, OfInput, RemovedNeighbours};
use builder_store::past;
use builder_store::record::pins;
use builder_store::search;
use builder_store::shell::quoted;
use builder_store::users;
use builder_store::verdict::{self, Judged, Verdict};
use builder_store::{Sha256, Tx};
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::console::ansi;
use crate::derived::Solo5;
use crate::drawings;
use crate::error::{Error, Result};
use crate::input_changes::{self, InputChanges};
use crate::names;
use crate::names::Path;
use crate::places::DEAR_BYTES_MIN;
use crate::rebuild::Recorded;
use crate::removed::{self as gone, RemovedPage};
use crate::respond::{Accepts, Layout};
use crate::share::Share;
use crate::view::{self, BuildDetail, BuildSummary, INPUT_FILES};
use crate::{inputs, show, urls};

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

/// The page of a build.
#[derive(Template)]
#[template(path = "build.html")]
pub struct BuildPage {
    layout: Arc<Layout>,
    now: Timestamp,
    build: Build,
    verdict: Verdict,
    /// Whether the input of the successful build before is known to be another one.
    is_input_before_known: bool,
    /// The names of those who uploaded the builds it is compared with, by their rows.
    uploaders: HashMap<i64, String>,
    inputs: Option<InputChanges>,
    /// Of the recorded environment, by name.
    variables: BTreeMap<String, String>,
    /// Whether its libraries were built from sources beside its own.
    duniverse: bool,
    /// Scheme and host of this site, for command lines.
    site: String,
    /// Packages of its switch, as far as the search index knows.
    opam_packages: Option<u64>,
    failure: Option<Failure>,
    /// Why it is kept for good and since when, if it is pinned.
    pinned: Option<(String, Timestamp)>,
    /// The end of the console, and the script if it is small.
    console_tail: Option<String>,
    script: Option<String>,
    solo5: Option<Solo5>,
    /// Nobody has read yet what the main binary says of itself.
    is_unread: bool,
    artifacts: Vec<Artifact>,
    /// What the rows of artifacts are named, where they are.
    row_ids: Vec<Option<String>>,
    of_input: OfInput,
    /// From other inputs, with the same output.
    of_output: Neighbours,
    latest: Option<Judged>,
    previous: Option<Judged>,
    next: Option<Judged>,
    /// What could be drawn, and the title of its picture.
    pictures: Vec<(String, &'static str)>,
}

impl BuildPage {
    /// The page of a build, without what is not in the database.
    pub fn load(app: &App, tx: &mut Tx<'_>, build: Build) -> builder_store::Result<BuildPage> {
        let solo5 = match &build.main_binary {
            Some(main) => app.derived().known_solo5(tx, main.sha256)?,
            None => Some(None),
        };
        let latest = builds::latest_successful(tx, build.job_id, Some(&build.platform))?
            .filter(|latest| latest.id != build.id);
        let artifacts = builds::artifacts(tx, build.id)?;
        let previous = builds::previous_different_output(tx, &build)?;
        let next = builds::next_different_output(tx, &build)?;
        let mut judged = |other: Option<Build>| -> builder_store::Result<Option<Judged>> {
            let Some(other) = other else { return Ok(None) };
            let verdict = verdict::of_build(tx, &other)?;
            Ok(Some((other, verdict)))
        };
        let (latest, previous, next) = (judged(latest)?, judged(previous)?, judged(next)?);
        let verdict = verdict::of_build(tx, &build)?;
        let before = match verdict {
            Verdict::Unchanged => past::successful_before(tx, &build)?,
            _ => None,
        };
        Ok(BuildPage {
            pictures: pictures(&build, &artifacts),
            layout: app.layout().clone(),
            now: app.now(),
            verdict,
            is_input_before_known: before.is_some_and(|before| before.input_id.is_some()),
            uploaders: users::names_by_row(tx)?,
            inputs: None,
            variables: BTreeMap::new(),
            duniverse: false,
            site: app.origin().to_owned(),
            opam_packages: search::packages_of_build(tx, build.id)?,
            failure: match build.main_binary {
                Some(_) => None,
                None => failures::of_build(tx, build.id)?,
            },
            pinned: pins::of_build(tx, build.uuid)?,
            console_tail: None,
            script: None,
            is_unread: solo5.is_none(),
            solo5: solo5.flatten(),
            row_ids: row_ids(&build, &artifacts),
            artifacts,
            of_input: neighbours::of_input(tx, &build)?,
            of_output: neighbours::of_output(tx, &build)?,
            latest,
            previous,
            next,
            build,
        })
    }

    /// What the page tells, for programs.
    pub fn detail(&self) -> BuildDetail {
        let summary = |judged: &Option<Judged>| {
            let judged = judged.as_ref();
            judged.map(|(build, verdict)| BuildSummary::of(build, *verdict))
        };
        let this = BuildSummary::of(&self.build, self.verdict);
        let of_input = &self.of_input;
        let removed = [
            &of_input.removed_same_output,
            &of_input.removed_other_output,
        ];
        let inputs = self.inputs.as_ref();
        let artifacts: Vec<view::Artifact> =
            self.artifacts.iter().map(view::Artifact::of).collect();
        let input_files = artifacts
            .iter()
            .filter(|artifact| INPUT_FILES.contains(&artifact.path.as_str()));
        BuildDetail {
            sentence: self.sentence(),
            grounds: self.grounds(),
            uploader: self.uploaders.get(&self.build.user_id).cloned(),
            input: view::Input {
                opam_packages: inputs.map_or(self.opam_packages, |inputs| Some(inputs.opam as u64)),
                environment_variables: inputs.map(|inputs| inputs.variables as u64),
                system_packages: inputs.map(|inputs| inputs.system as u64),
                files: input_files.cloned().collect(),
            },
            artifacts,
            solo5: self.solo5.clone(),
            commands: view::Commands {
                run: self.run(),
                check: self.fetch(),
                rebuild: self.rebuild_with_orb().or_else(|| self.rebuild_with_opam()),
                rebuild_with_opam: self.rebuild_with_opam(),
            },
            console_tail: self.console_tail.clone(),
            script: self.script.clone(),
            failure: self.failure.as_ref().map(view::Failure::of),
            pinned: self.pinned.as_ref().map(view::Pinned::of),
            reproduced_by: view::summaries(&of_input.same_output.newest),
            reproduced_by_count: of_input.same_output.count,
            same_input_other_output: view::summaries(&of_input.other_outputs.newest),
            same_input_other_output_count: of_input.other_outputs.count,
            other_input_same_output: view::summaries(&self.of_output.newest),
            other_input_same_output_count: self.of_output.count,
            removed_of_same_input: removed
                .iter()
                .flat_map(|removed| &removed.newest)
                .map(view::RemovedBuild::of)
                .collect(),
            removed_of_same_input_count: removed.iter().map(|removed| removed.count).sum(),
            previous_output: summary(&self.previous),
            next_output: summary(&self.next),
            latest: match &self.latest {
                Some((latest, verdict)) => Some(BuildSummary::of(latest, *verdict)),
                // None is newer.
                None => output(&self.build).map(|_| this.clone()),
            },
            build: this,
            pictures: self
                .pictures
                .iter()
                .map(|(url, title)| view::Picture {
                    title: (*title).to_owned(),
                    url: url.clone(),
                })
                .collect(),
        }
    }

    /// What it is and what is known of it, in a line.
    fn title(&self) -> String {
        let build = &self.build;
        format!(
            "{} on {}: {}, {}",
            build.job, build.platform, self.verdict, build.start
        )
    }

    /// What is known of its reproducibility, in a sentence.
    fn sentence(&self) -> String {
        let recorded = self.build.input_id.is_some();
        match self.verdict {
            Verdict::Failed => "This build has no main binary: it failed.".to_owned(),
            Verdict::NotReproducible => {
                "Not reproducible: the same input also gave another output.".to_owned()
            }
            Verdict::Reproduced { by, uploaders } => format!(
                "Reproduced by {}, {}: same input, same output.",
                show::counted(by, "other build"),
                match (by, uploaders) {
                    (1, 0) => "by the same uploader".to_owned(),
                    (_, 0) => "all by the same uploader".to_owned(),
                    (1, _) => "by another uploader".to_owned(),
                    (_, 1) => "also by another uploader".to_owned(),
                    _ => format!("also by {uploaders} other uploaders"),
                }
            ),
            _ if !recorded => {
                "Its input was not recorded, so it cannot be told whether it is reproducible."
                    .to_owned()
            }
            Verdict::Unchanged if !self.is_input_before_known => {
                "Built once from this input; the build before has the same output; its input was not recorded."
                    .to_owned()
            }
            Verdict::Unchanged => {
                "Built once from this input; another input gave the same output before.".to_owned()
            }
            Verdict::Changed => {
                "Built once from this input; not reproduced yet. The output is another one than before."
                    .to_owned()
            }
            Verdict::BuiltOnce => {
                "Built once from this input; not reproduced yet. There is no build before it."
                    .to_owned()
            }
        }
    }

    /// What makes the verdict look weaker than others of its name.
    fn weaker(&self) -> &'static str {
        match self.verdict.is_by_itself() {
            true => " itself",
            false => "",
        }
    }

    /// The comparison that shows what is not reproducible.
    fn bad_comparison(&self) -> Option<String> {
        let (other, _) = self.of_input.other_outputs.newest.first()?;
        let verdict = matches!(self.verdict, Verdict::NotReproducible);
        verdict.then(|| urls::compare(&other.uuid, &self.build.uuid))
    }

    /// What the sentence rests on, in another.
    fn grounds(&self) -> Option<String> {
        let of_input = &self.of_input;
        let uploaders = |kept: &Neighbours, removed: &RemovedNeighbours| {
            let mut names: Vec<&str> = kept
                .uploaders
                .iter()
                .filter_map(|user| self.uploaders.get(user))
                .chain(&removed.uploaders)
                .map(String::as_str)
                .collect();
            names.sort_unstable();
            names.dedup();
            names.join(", ")
        };
        let same = uploaders(&of_input.same_output, &of_input.removed_same_output);
        let own = self.uploaders.get(&self.build.user_id)?;
        match self.verdict {
            Verdict::Reproduced { by, uploaders } => Some(format!(
                "{} Each recorded the same opam switch, environment and system packages, and each \
                 main binary has this SHA-256.",
                match (by, uploaders) {
                    (1, 0) => format!("Both were uploaded by {own}."),
                    (_, 0) => format!("All were uploaded by {own}."),
                    (1, _) => format!("This build was uploaded by {own}, the other by {same}."),
                    _ => format!("This build was uploaded by {own}, the others by {same}."),
                }
            )),
            Verdict::NotReproducible => {
                let count = of_input.same_output.count + of_input.removed_same_output.count;
                let same = match count {
                    0 => String::new(),
                    count => format!(
                        " {} gave this output, too, uploaded by {same}.",
                        show::counted(count, "build"),
                    ),
                };
                Some(format!(
                    "This build was uploaded by {own}, another output by {}.{same}",
                    uploaders(&of_input.other_outputs, &of_input.removed_other_output)
                ))
            }
            _ => Some(format!("Uploaded by {own}.")),
        }
    }

    /// What the command lines of [`BuildPage::run`] do.
    fn run_title(&self) -> &'static str {
        match self.solo5 {
            Some(_) => "Run it",
            None => "Install it",
        }
    }

    /// Command lines that start the unikernel, or install the package.
    fn run(&self) -> Option<String> {
        let main = self.build.main_binary.as_ref()?;
        if let Some(solo5) = &self.solo5 {
            return self.run_unikernel(solo5);
        }
        let file = quoted(main.file_name());
        match main.file_name().rsplit_once('.') {
            Some((_, "deb")) => Some(format!("apt install ./{file}")),
            Some((_, "pkg")) => Some(format!("pkg add {file}")),
            _ => None,
        }
    }

    /// With a name of the host's for each device; the devices' own names come from the manifest.
    fn run_unikernel(&self, solo5: &Solo5) -> Option<String> {
        let file = quoted(self.build.main_binary.as_ref()?.file_name());
        // The tenders that solo5 has, and albatross runs; other targets need a hypervisor's own tools.
        let target = solo5.solo5_abi.target.as_str();
        if !["hvt", "spt"].contains(&target) {
            return None;
        }
        let mut tender = format!("solo5-{target} --mem=32");
        let mut albatross = "albatross-client create --mem=32".to_owned();
        let mut taps = 0;
        for device in &solo5.solo5_manifest.devices {
            let name = quoted(&device.name);
            match device.kind.as_str() {
                "NET_BASIC" => {
                    tender.push_str(&format!(" --net:{name}=tap{taps}"));
                    albatross.push_str(&format!(" --net={name}:service"));
                    taps += 1;
                }
                "BLOCK_BASIC" => {
                    tender.push_str(&format!(" --block:{name}={name}.img"));
                    albatross.push_str(&format!(" --block={name}:{name}"));
                }
                _ => {}
            }
        }
        Some(format!(
            "{tender} -- {file}\n# or, with albatross:\n{albatross} {} {file}",
            quoted(&self.build.job)
        ))
    }

    /// Command lines that fetch the main binary and check it.
    fn fetch(&self) -> Option<String> {
        let main = self.build.main_binary.as_ref()?;
        let file = quoted(main.file_name());
        let url = urls::artifact(&self.build.job, &self.build.uuid, &main.path);
        let url = self.site.clone() + &url;
        Some(format!(
            "curl -fo {file} {}\necho {} | sha256sum -c",
            quoted(&url),
            quoted(&format!("{}  {}", main.sha256, main.file_name()))
        ))
    }

    /// What is needed to build it again; none where it was not recorded.
    fn recorded(&self) -> Option<Recorded<'_>> {
        let main = self.build.main_binary.as_ref()?;
        self.build.input_id?;
        let input = |name: &str| {
            let url = urls::artifact(&self.build.job, &self.build.uuid, name);
            format!("{}{url}", self.site)
        };
        Some(Recorded {
            inputs: INPUT_FILES.map(input),
            variables: &self.variables,
            sha256: main.sha256.to_hex(),
            path: &main.path,
            duniverse: self.duniverse,
        })
    }

    /// Command lines that build it again by orb and compare, where orb built it.
    fn rebuild_with_orb(&self) -> Option<String> {
        self.recorded()?.with_orb()
    }

    /// Command lines that build it again by opam alone and compare, where opam alone can.
    fn rebuild_with_opam(&self) -> Option<String> {
        self.recorded()?.with_opam()
    }

    /// The inputs in numbers, each with where they are listed.
    fn inputs_in_words(&self) -> Vec<(String, String)> {
        let Some(counts) = self.inputs else {
            return Vec::new();
        };
        let file = |path| urls::artifact(&self.build.job, &self.build.uuid, path);
        let packages = urls::below_build(&self.build.job, &self.build.uuid, "packages");
        [
            (counts.opam, "opam package", packages),
            (
                counts.variables,
                "environment variable",
                file("build-environment"),
            ),
            (counts.system, "system package", file("system-packages")),
        ]
        .map(|(count, noun, url)| (show::counted(count, noun), url))
        .into()
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

    /// How many builds reproduced it that are not listed, and where all of its input are.
    fn more_reproductions(&self) -> Option<(u64, String)> {
        more(self.of_input.same_output.left_out(), self.build.input_id)
    }

    /// How many outputs its input has that are not listed, and where all builds of the input are.
    fn more_outputs(&self) -> Option<(u64, String)> {
        more(self.of_input.other_outputs.left_out(), self.build.input_id)
    }

    /// How many inputs gave its output that are not listed, and where all builds with it are.
    fn more_inputs(&self) -> Option<(u64, String)> {
        more(self.of_output.left_out(), output(&self.build))
    }

    fn latest_with_same_output(&self) -> Option<&Build> {
        let (latest, _) = self.latest.as_ref()?;
        Some(latest).filter(|latest| output(latest) == output(&self.build))
    }

    fn latest_with_other_output(&self) -> Option<&Build> {
        let (latest, _) = self.latest.as_ref()?;
        Some(latest).filter(|latest| output(latest) != output(&self.build))
    }

    /// The name of an artifact's row, by its index: that of its digest, unless another place has it.
    /// A main binary is above, where it is downloaded.
    fn row_id(&self, index: &usize) -> Option<String> {
        self.row_ids.get(*index)?.clone()
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

/// How many builds are not listed, if any, and where all with this digest are.
fn more(left_out: u64, digest: Option<Sha256>) -> Option<(u64, String)> {
    let digest = digest.filter(|_| left_out > 0)?;
    Some((
        left_out,
        urls::search(&digest.to_hex(), Some("builds"), None),
    ))
}

/// The names of the rows of artifacts: each digest once.
fn row_ids(build: &Build, artifacts: &[Artifact]) -> Vec<Option<String>> {
    let mut named: HashSet<Sha256> = output(build).into_iter().collect();
    let artifacts = artifacts.iter();
    artifacts
        .map(|artifact| {
            let is_first = named.insert(artifact.sha256);
            is_first.then(|| urls::artifact_id(&artifact.sha256))
        })
        .collect()
}

/// What a build gave: the digest of its main binary.
fn output(build: &Build) -> Option<Sha256> {
    build.main_binary.as_ref().map(|main| main.sha256)
}

/// Bytes of the console's end that are shown.
const TAIL_BYTES: u64 = 4 * 1024;
/// Bytes of a script that is shown whole.
const SCRIPT_BYTES: u64 = 16 * 1024;

/// The end of a text file, from the beginning of a line.
fn tail(app: &App, path: &str, bytes: u64) -> Option<String> {
    let (mut file, size) = app.store().open_text(path).ok()?;
    let from = size.saturating_sub(bytes);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end).ok()?;
    let text = String::from_utf8_lossy(&end).into_owned();
    let text = match text.split_once('\n') {
        Some((_, whole)) if from > 0 => whole.to_owned(),
        _ => text,
    };
    (!text.trim().is_empty()).then_some(text)
}

impl Page for BuildPage {
    fn unread(&self) -> Vec<Sha256> {
        let unread = output(&self.build).filter(|_| self.is_unread);
        unread.into_iter().collect()
    }

    fn tell(&mut self, _sha256: Sha256, solo5: Option<Solo5>) {
        self.solo5 = solo5;
    }

    fn is_dear(&self, app: &App) -> bool {
        input_changes::bytes_to_read(app, &self.artifacts, &INPUT_FILES) > DEAR_BYTES_MIN
    }

    fn prepare(&mut self, app: &App) {
        let plain = |tail: String| {
            let lines = tail.lines().map(|line| ansi::plain(line.as_bytes()));
            lines.collect::<Vec<_>>().join("\n")
        };
        self.console_tail = tail(app, &self.build.console, TAIL_BYTES).map(plain);
        self.script = match app.store().open_text(&self.build.script) {
            Ok((_, size)) if size <= SCRIPT_BYTES => tail(app, &self.build.script, SCRIPT_BYTES),
            _ => None,
        };
        let environment = input_changes::file(app, &self.artifacts, INPUT_FILES[1]);
        self.inputs = input_changes::counted(app, &self.artifacts, environment.as_deref());
        if self.build.input_id.is_some() {
            self.variables = inputs::variables(&environment.unwrap_or_default());
            self.duniverse = input_changes::has_duniverse(app, &self.artifacts);
        }
    }

    fn share(&self) -> Option<Share> {
        let build = &self.build;
        Some(Share {
            url: urls::build(&build.job, &build.uuid),
            title: self.title(),
            description: Some(self.sentence()),
        })
    }

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
        // `main_binary` tells at this address whether there is one.
        let main = self.build.main_binary.as_ref();
        json["main_binary_path"] = json!(main.map(|main| main.path.as_str()));
        json["main_binary_sha256"] = json!(main.map(|main| main.sha256.to_hex()));
        json["main_binary_size"] = json!(main.map(|main| main.size));
        view::add(&mut json, &self.detail());
        Some(json)
    }
}
