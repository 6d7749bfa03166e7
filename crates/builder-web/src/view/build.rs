//! What JSON says of one build: all that its page shows.

use builder_exec::Timestamp;
use builder_store::Sha256;
use builder_store::failures::Failure as Told;
use builder_store::record::removed::RemovedBuild as Removed;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Artifact, BuildSummary};
use crate::derived::Solo5;

/// A build, with all that its page shows.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildDetail {
    /// The build.
    #[serde(flatten)]
    pub build: BuildSummary,
    /// What is known of its reproducibility, in a sentence.
    pub sentence: String,
    /// What the sentence rests on.
    #[schema(required)]
    pub grounds: Option<String>,
    /// Who uploaded it.
    #[schema(required)]
    pub uploader: Option<String>,
    /// Its files, the main binary first.
    pub artifacts: Vec<Artifact>,
    /// What went in.
    pub input: Input,
    /// What the main binary says of itself as a unikernel: manifest and ABI, as in the JSON of the build's page.
    #[schema(required)]
    pub solo5: Option<Solo5>,
    /// Command lines to copy.
    pub commands: Commands,
    /// The end of the console.
    #[schema(required)]
    pub console_tail: Option<String>,
    /// The script that ran, unless it is long.
    #[schema(required)]
    pub script: Option<String>,
    /// Why it failed, if it did and the console tells.
    #[schema(required)]
    pub failure: Option<Failure>,
    /// That it is kept for good; null: it may be removed when it is old.
    #[schema(required)]
    pub pinned: Option<Pinned>,
    /// Other builds of the same input with the same output, the newest first, at most twenty. All
    /// are at `/api/v1/builds` with this `input_id` and `output`.
    pub reproduced_by: Vec<BuildSummary>,
    /// How many they are.
    pub reproduced_by_count: u64,
    /// Builds of the same input with another output, one for each output, the newest first, at most
    /// twenty. All builds of the input are at `/api/v1/builds` with this `input_id`.
    pub same_input_other_output: Vec<BuildSummary>,
    /// How many other outputs there are.
    pub same_input_other_output_count: u64,
    /// Builds of another input with the same output, one for each input, the newest first, at most
    /// twenty. All builds with the output are at `/api/v1/builds` with this `output`.
    pub other_input_same_output: Vec<BuildSummary>,
    /// How many other inputs there are.
    pub other_input_same_output_count: u64,
    /// Builds of the same input whose artifacts were removed: at most twenty with the same output
    /// and twenty with others, the newest of each first.
    pub removed_of_same_input: Vec<RemovedBuild>,
    /// How many they are.
    pub removed_of_same_input_count: u64,
    /// The nearest earlier build on this platform with another output.
    #[schema(required)]
    pub previous_output: Option<BuildSummary>,
    /// The nearest later build on this platform with another output.
    #[schema(required)]
    pub next_output: Option<BuildSummary>,
    /// The newest successful build on this platform.
    #[schema(required)]
    pub latest: Option<BuildSummary>,
    /// Pictures that may be drawn of it.
    pub pictures: Vec<Picture>,
}

/// What went into a build, in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Input {
    /// opam packages of its switch; null when there is none, or it has not been read.
    #[schema(required)]
    pub opam_packages: Option<u64>,
    /// Environment variables; null when they were not recorded.
    #[schema(required)]
    pub environment_variables: Option<u64>,
    /// Packages of the system; null when they were not recorded.
    #[schema(required)]
    pub system_packages: Option<u64>,
    /// The files it is told by: `opam-switch`, `build-environment`, `system-packages`.
    pub files: Vec<Artifact>,
}

/// The files of [`Input`].
pub const INPUT_FILES: [&str; 3] = ["opam-switch", "build-environment", "system-packages"];

/// Command lines for a shell.
#[derive(Debug, Serialize, ToSchema)]
pub struct Commands {
    /// Runs the unikernel, with memory and host devices as an example, or installs the package; null: it
    /// is neither.
    #[schema(required)]
    pub run: Option<String>,
    /// Fetches the main binary and checks it; null: there is none.
    #[schema(required)]
    pub check: Option<String>,
    /// Builds it again and compares, by orb where orb built it; null: its input was not recorded, or only
    /// orb could and did not build it.
    #[schema(required)]
    pub rebuild: Option<String>,
    /// Builds it again by opam alone and compares; null: its input was not recorded, or it has libraries in
    /// a duniverse, of which opam knows nothing.
    #[schema(required)]
    pub rebuild_with_opam: Option<String>,
}

/// A picture, as a page of its own.
#[derive(Debug, Serialize, ToSchema)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// Where it is.
    pub url: String,
}

/// Why a build failed, as far as its console tells.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure {
    /// Such as `disk-full`.
    pub class: String,
    /// The class in words.
    pub label: String,
    /// The line of the console that told, counted from 1.
    #[schema(required)]
    pub line: Option<u64>,
    /// Its text.
    #[schema(required)]
    pub text: Option<String>,
    /// The last lines of the console, oldest first.
    pub last_lines: Vec<String>,
}

impl Failure {
    /// From what is kept.
    pub fn of(told: &Told) -> Failure {
        Failure {
            label: crate::failures::label(&told.class).to_owned(),
            class: told.class.clone(),
            line: told.told.as_ref().map(|(line, _)| *line),
            text: told.told.as_ref().map(|(_, text)| text.clone()),
            last_lines: told.last_lines.clone(),
        }
    }
}

/// That a build is pinned: it is not removed for its age.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pinned {
    /// Why; empty if nobody said.
    pub note: String,
    /// When it was pinned (RFC 3339).
    pub pinned_time: String,
}

impl Pinned {
    /// From what is kept.
    pub fn of((note, pinned): &(String, Timestamp)) -> Pinned {
        Pinned {
            note: note.clone(),
            pinned_time: pinned.to_rfc3339(),
        }
    }
}

/// What stays of a build that was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedBuild {
    /// Its name.
    pub uuid: String,
    /// The name of its job.
    pub job: String,
    /// What it ran on.
    pub platform: String,
    /// When it started (RFC 3339).
    pub start_time: String,
    /// When it ended (RFC 3339).
    pub finish_time: String,
    /// How it ended, in words.
    pub result: String,
    /// What its main binary was.
    #[schema(required)]
    pub main_binary: Option<Artifact>,
    /// The digest of what went in.
    #[schema(required)]
    pub input_id: Option<String>,
    /// Who uploaded it.
    pub uploader: String,
    /// When it was removed (RFC 3339).
    pub removed_time: String,
}

impl RemovedBuild {
    /// From what is kept.
    pub fn of(removed: &Removed) -> RemovedBuild {
        RemovedBuild {
            uuid: removed.uuid.to_string(),
            job: removed.job.clone(),
            platform: removed.platform.clone(),
            start_time: removed.start.to_rfc3339(),
            finish_time: removed.finish.to_rfc3339(),
            result: removed.result.to_string(),
            main_binary: removed.main_binary.as_ref().map(Artifact::of),
            input_id: removed.input_id.map(Sha256::to_hex),
            uploader: removed.uploader.clone(),
            removed_time: removed.removed.to_rfc3339(),
        }
    }
}

/// What stays of a build that was removed, and which builds have the same output.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedDetail {
    /// What stays of it.
    #[serde(flatten)]
    pub build: RemovedBuild,
    /// Builds that have the same output, at most a hundred.
    pub same_output: Vec<BuildSummary>,
    /// Builds that had it and were removed, too, at most a hundred.
    pub removed_same_output: Vec<RemovedBuild>,
}
