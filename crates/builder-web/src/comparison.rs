//! Two builds side by side: what they were made from, and which of their files belong together. Knows no page.

use artifact_diff::{Detail, Hints, Kind, Report, SymbolsDiff};
use builder_store::builds::{self, Artifact, Build};
use builder_store::cache::Picture;
use builder_store::verdict::{self, Verdict};
use builder_store::{Sha256, Store, Tx};
use opam_file::{Comparison, SwitchExport};
use uuid::Uuid;

use crate::app::{App, at_once};
use crate::cause::{self, Explanation};
use crate::drawings;
use crate::error::{Error, Result, with_causes};
use crate::file_diffs::Pair;
use crate::inputs::{self, Changes};
use crate::removed;

/// What differs, or a sentence that says why that cannot be told.
pub type Compared<T> = std::result::Result<T, String>;

/// Two builds with their artifacts.
#[derive(Debug)]
pub struct Builds {
    /// The left build.
    pub left: Build,
    /// The right build.
    pub right: Build,
    /// What is known of the left build.
    pub left_verdict: Verdict,
    /// What is known of the right build.
    pub right_verdict: Verdict,
    /// The artifacts of the left build, by path.
    pub left_artifacts: Vec<Artifact>,
    /// The artifacts of the right build, by path.
    pub right_artifacts: Vec<Artifact>,
}

/// What two builds were made from, compared.
#[derive(Debug)]
pub struct Inputs {
    /// Their opam switches.
    pub switches: Switches,
    /// Their environments.
    pub environment: Compared<Changes>,
    /// The packages of their systems.
    pub packages: Compared<Changes>,
}

/// The opam switches of two builds, compared.
#[derive(Debug)]
pub struct Switches {
    /// What differs.
    pub opam: Compared<Comparison>,
    /// The package that was built, of the right switch or else the left.
    root: Option<String>,
}

/// Two builds of which at least one does not exist.
pub fn missing() -> Error {
    Error::NotFound("one of the two builds does not exist".to_owned())
}

impl Builds {
    /// Both builds.
    pub fn load(tx: &mut Tx<'_>, left: Uuid, right: Uuid) -> Result<Builds> {
        let mut build = |uuid| match builds::by_uuid(tx, uuid)? {
            Some(build) => Ok(build),
            None => Err(match removed::missing(tx, uuid)? {
                Error::NotFound(_) => missing(),
                gone => gone,
            }),
        };
        let (left, right) = (build(left)?, build(right)?);
        Ok(Builds {
            left_verdict: verdict::of_build(tx, &left)?,
            right_verdict: verdict::of_build(tx, &right)?,
            left_artifacts: builds::artifacts(tx, left.id)?,
            right_artifacts: builds::artifacts(tx, right.id)?,
            left,
            right,
        })
    }

    /// The platform, if both ran on the same.
    pub fn platform(&self) -> Option<&str> {
        let platform = self.left.platform.as_str();
        (platform == self.right.platform).then_some(platform)
    }

    /// Whether what went in is the same; none: it was not recorded of both.
    pub fn same_input(&self) -> Option<bool> {
        let both = self.left.input_id.zip(self.right.input_id);
        both.map(|(left, right)| left == right)
    }

    /// Whether the main binary is the same; none: not both have one.
    pub fn same_output(&self) -> Option<bool> {
        let both = output(&self.left).zip(output(&self.right));
        both.map(|(left, right)| left == right)
    }

    /// Whether both are one and the same build, which shows nothing of itself.
    fn is_one(&self) -> bool {
        self.left.id == self.right.id
    }

    /// Whether the same user uploaded both.
    fn is_by_one_user(&self) -> bool {
        self.left.user_id == self.right.user_id
    }

    /// Whether the input of either is known to have given several outputs.
    fn is_any_not_reproducible(&self) -> bool {
        [self.left_verdict, self.right_verdict].contains(&Verdict::NotReproducible)
    }

    /// What is the same and what is not, in a sentence.
    pub fn verdict(&self) -> &'static str {
        if self.is_one() {
            return "One build, compared with itself: that shows nothing.";
        }
        let Some(same_output) = self.same_output() else {
            return match (&self.left.main_binary, &self.right.main_binary) {
                (None, None) => "Neither build has a main binary.",
                _ => "Only one of the builds has a main binary.",
            };
        };
        match (self.same_input(), same_output) {
            (Some(true), true) if self.is_any_not_reproducible() => {
                "Same input, same output, but this input also gave another output: not reproducible."
            }
            (Some(true), true) if self.is_by_one_user() => {
                "Same input, same output: one reproduces the other, by the same uploader."
            }
            (Some(true), true) => "Same input, same output: one reproduces the other.",
            (Some(true), false) => "Same input, different output: this build is not reproducible.",
            (Some(false), true) => "Different input, same output.",
            (Some(false), false) => "Different input, different output.",
            (None, true) => "Same output; the input of at least one was not recorded.",
            (None, false) => "Different output; the input of at least one was not recorded.",
        }
    }

    /// The classes of the verdict: its colour, which shows no more trust than the pages of the builds do.
    pub fn verdict_class(&self) -> &'static str {
        if self.is_one() {
            return "built-once";
        }
        match (self.same_input(), self.same_output()) {
            (Some(true), Some(true)) if self.is_any_not_reproducible() => "not-reproducible",
            (Some(true), Some(true)) if self.is_by_one_user() => "reproduced itself",
            (Some(true), Some(true)) => "reproduced",
            (_, Some(true)) => "unchanged",
            (Some(true), Some(false)) => "not-reproducible",
            (_, Some(false)) => "changed",
            (_, None) => "failed",
        }
    }

    /// The artifacts at these paths.
    pub fn pair(&self, left: &str, right: &str) -> Option<(&Artifact, &Artifact)> {
        let find = |artifacts: &'_ [Artifact], path: &str| {
            artifacts.iter().position(|artifact| artifact.path == path)
        };
        let left = self.left_artifacts.get(find(&self.left_artifacts, left)?)?;
        let right = self
            .right_artifacts
            .get(find(&self.right_artifacts, right)?)?;
        Some((left, right))
    }

    /// The main binaries, if both builds have one.
    pub fn main_binaries(&self) -> Option<(&Artifact, &Artifact)> {
        self.pair(
            &self.left.main_binary.as_ref()?.path,
            &self.right.main_binary.as_ref()?.path,
        )
    }

    /// The main binaries with their symbols, if both builds kept those: what treemaps are drawn of.
    pub fn debug_binaries(&self) -> Option<(&Artifact, &Artifact)> {
        let left = drawings::subject(Picture::Treemap, &self.left, &self.left_artifacts)?;
        let right = drawings::subject(Picture::Treemap, &self.right, &self.right_artifacts)?;
        Some((left, right))
    }

    /// The artifact pair, to be compared with what is known of the builds.
    pub fn files(&self, hints: &Hints, (left, right): (&Artifact, &Artifact)) -> Pair {
        Pair {
            left: left.sha256,
            right: right.sha256,
            bytes: left.size.max(right.size),
            hints: hints.clone(),
        }
    }

    /// What the builds say of themselves.
    pub fn read_hints(&self, app: &App) -> Hints {
        match both(app, self, "build-environment") {
            Ok((left, right)) => self.hints(&left, &right),
            Err(_) => self.hints(b"", b""),
        }
    }

    fn hints(&self, left: &[u8], right: &[u8]) -> Hints {
        // A build's files may have any time while it ran, and a day's rounding around it.
        const DAY: u64 = 24 * 60 * 60;
        let time = |build: &Build| {
            let seconds = |time: builder_exec::Timestamp| u64::try_from(time.unix_seconds()).ok();
            let (start, finish) = seconds(build.start).zip(seconds(build.finish))?;
            Some((start.saturating_sub(DAY), finish.saturating_add(DAY)))
        };
        Hints {
            texts: inputs::both(left, right)
                .into_iter()
                .filter(|(_, left, right)| left != right)
                .filter_map(|(name, left, right)| Some((kind_of_variable(&name)?, left, right)))
                .collect(),
            left_time: time(&self.left),
            right_time: time(&self.right),
        }
    }
}

/// What a variable of the environment tells about a build.
fn kind_of_variable(name: &str) -> Option<Kind> {
    Some(match name {
        "PREFIX" | "HOME" | "PWD" | "OPAMROOT" | "OPAM_SWITCH_PREFIX" | "SWITCH_PATH"
        | "TMPDIR" => Kind::BuildPath,
        "USER" | "LOGNAME" | "USERNAME" => Kind::UserName,
        "HOSTNAME" | "HOST" => Kind::HostName,
        "LANG" | "LANGUAGE" | "LC_ALL" | "LC_CTYPE" | "LC_TIME" | "LC_COLLATE" => Kind::Locale,
        "SOURCE_DATE_EPOCH" => Kind::Timestamp,
        _ => return None,
    })
}

/// What a build gave: the digest of its main binary.
fn output(build: &Build) -> Option<Sha256> {
    build.main_binary.as_ref().map(|main| main.sha256)
}

impl Inputs {
    /// Reads and compares the inputs of two builds.
    pub fn compare(app: &App, builds: &Builds) -> Inputs {
        Inputs {
            switches: Switches::compare(app, builds),
            environment: both(app, builds, "build-environment")
                .map(|(left, right)| inputs::environment(&left, &right)),
            packages: both(app, builds, "system-packages")
                .map(|(left, right)| inputs::system_packages(&left, &right)),
        }
    }
}

impl Switches {
    /// Reads and compares the opam switches of two builds.
    pub fn compare(app: &App, builds: &Builds) -> Switches {
        let switch = |bytes: &[u8], side| {
            SwitchExport::parse(bytes)
                .map_err(|error| format!("opam-switch of the {side} build cannot be read: {error}"))
        };
        let mut root = None;
        let opam = both(app, builds, "opam-switch").and_then(|(left, right)| {
            let (left, right) = at_once(|| switch(&left, "left"), || switch(&right, "right"));
            let (left, right) = (left?, right?);
            root = right.root().or(left.root()).map(|root| root.name.clone());
            Ok(left.compare(&right))
        });
        Switches { opam, root }
    }

    /// Which changed package explains how much of what differs between two files of the builds; none: there are no
    /// symbols or no switches to tell by, or nothing of the code and data changed.
    pub fn explain(&self, report: &Report) -> Option<Explanation> {
        let symbols = symbols(report)?;
        cause::explain(symbols, self.opam.as_ref().ok()?, self.root.as_deref())
    }
}

/// What became of the symbols of two files, if both have some.
pub fn symbols(report: &Report) -> Option<&SymbolsDiff> {
    match &report.detail {
        Detail::Elf(elf) => elf.symbols.as_ref(),
        _ => None,
    }
}

/// The bytes of an input of both builds.
fn both(app: &App, builds: &Builds, path: &str) -> Compared<(Vec<u8>, Vec<u8>)> {
    let bytes_max = app.limits().opam_switch_bytes_max;
    let of = |artifacts: &[Artifact], side| input(app.store(), artifacts, path, bytes_max, side);
    let left = of(&builds.left_artifacts, "left")?;
    Ok((left, of(&builds.right_artifacts, "right")?))
}

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
    let artifacts = store.artifacts();
    let bytes = artifacts.bytes(artifact.sha256, bytes_max);
    bytes.map_err(|error| unreadable(&error))
}
