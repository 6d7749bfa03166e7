//! What JSON says of jobs, builds, packages and files: the resources of `/api/v1`, which pages give
//! out, too. A member that was given out once keeps its name and meaning.

mod audit;
mod build;
mod job;
mod status;

use builder_store::Sha256;
use builder_store::builds::{Artifact as StoredArtifact, Build};
use builder_store::search as index;
use builder_store::verdict::{Judged, Verdict};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub use self::audit::AuditEntry;
pub use self::build::{
    BuildDetail, Commands, Failure, INPUT_FILES, Input, Picture, Pinned, RemovedBuild,
    RemovedDetail,
};
pub use self::job::{
    BuildInHistory, BuildReference, ChangesInNumbers, FailedBuild, FailureCount, JobFailures,
    JobHistory, JobInList, OnPlatform, OutputGroup, PlatformHistory, Standing,
};
pub use self::status::{Background, PlatformStatus, StateCount, Status, Stock, UploaderStatus};
use crate::search::packages::PackageVersion as KnownVersion;
use crate::search::query::Query;
use crate::search::{
    Found, FoundBuild as Hit, FoundFile as FileHit, FoundPackage as PackageHit, Group,
    INPUTS_COUNTED_MAX, Why, problem,
};

/// Part of a list. It may be shorter than asked for although there is more: the cursor tells.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T: ToSchema> {
    /// The entries.
    pub items: Vec<T>,
    /// To be given as `cursor` to get the next part; null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl<T: ToSchema> Page<T> {
    /// From a group, each entry by `of`.
    pub fn of<S>(group: &Group<S>, of: impl Fn(&S) -> T) -> Page<T> {
        Page {
            items: group.items.iter().map(of).collect(),
            next_cursor: group.next.clone(),
        }
    }
}

/// Adds to what JSON says at an address of old the members of a view that are not in it: what is
/// there keeps its name, meaning and place.
pub fn add(json: &mut Value, view: &impl Serialize) {
    if let (Some(object), Ok(Value::Object(more))) =
        (json.as_object_mut(), serde_json::to_value(view))
    {
        for (name, value) in more {
            object.entry(name).or_insert(value);
        }
    }
}

/// A file of a build.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Artifact {
    /// Where it is inside the build.
    #[schema(examples("bin/unipi.hvt"))]
    pub path: String,
    /// 64 hexadecimal digits in lower case.
    #[schema(min_length = 64, max_length = 64)]
    pub sha256: String,
    /// In bytes.
    pub size: u64,
}

impl Artifact {
    /// From what is kept.
    pub fn of(artifact: &StoredArtifact) -> Artifact {
        Artifact {
            path: artifact.path.clone(),
            sha256: artifact.sha256.to_hex(),
            size: artifact.size,
        }
    }
}

/// A build, in short.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BuildSummary {
    /// Its name.
    #[schema(min_length = 36, max_length = 36)]
    pub uuid: String,
    /// The name of its job.
    pub job: String,
    /// What it ran on.
    #[schema(examples("debian-12"))]
    pub platform: String,
    /// When it started (RFC 3339).
    pub start_time: String,
    /// When it ended (RFC 3339).
    pub finish_time: String,
    /// How long it took, in seconds.
    pub duration_seconds: f64,
    /// How it ended, in words.
    #[schema(examples("exited 0"))]
    pub result: String,
    /// Whether it has a main binary.
    pub successful: bool,
    /// What is known of its reproducibility.
    pub state: State,
    /// The single file below `bin/`.
    #[schema(required)]
    pub main_binary: Option<Artifact>,
    /// The digest of what went in; null unless switch, environment and system packages were recorded.
    #[schema(required)]
    pub input_id: Option<String>,
}

impl BuildSummary {
    /// From what is kept, and what is known of it.
    pub fn of(build: &Build, verdict: Verdict) -> BuildSummary {
        BuildSummary {
            uuid: build.uuid.to_string(),
            job: build.job.clone(),
            platform: build.platform.clone(),
            start_time: build.start.to_rfc3339(),
            finish_time: build.finish.to_rfc3339(),
            duration_seconds: build.duration().as_secs_f64(),
            result: build.result.to_string(),
            successful: build.main_binary.is_some(),
            state: State::of(verdict),
            main_binary: build.main_binary.as_ref().map(Artifact::of),
            input_id: build.input_id.map(Sha256::to_hex),
        }
    }
}

/// Builds with what is known of them, in short.
pub fn summaries(builds: &[Judged]) -> Vec<BuildSummary> {
    let builds = builds.iter();
    builds
        .map(|(build, verdict)| BuildSummary::of(build, *verdict))
        .collect()
}

/// What is known of a build's reproducibility.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct State {
    /// `reproduced`, `unchanged`, `changed`, `built-once`, `not-reproducible` or `failed`.
    #[schema(examples("reproduced"))]
    pub verdict: &'static str,
    /// How many other builds of the same input have the same output.
    pub reproduced_by: u64,
    /// How many others than the build's own uploader uploaded these: 0 where it was only repeated by
    /// the one who built it.
    pub uploaders: u64,
}

impl State {
    /// From a verdict.
    pub fn of(verdict: Verdict) -> State {
        let (reproduced_by, uploaders) = match verdict {
            Verdict::Reproduced { by, uploaders } => (by, uploaders),
            _ => (0, 0),
        };
        State {
            verdict: verdict.name(),
            reproduced_by,
            uploaders,
        }
    }
}

/// A job, in short.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobSummary {
    /// Its name.
    pub name: String,
    /// Under which heading it is listed.
    #[schema(required)]
    pub section: Option<String>,
    /// What it is, in a line.
    #[schema(required)]
    pub synopsis: Option<String>,
}

impl JobSummary {
    /// From what is kept.
    pub fn of(job: &builder_store::jobs::Job) -> JobSummary {
        JobSummary {
            name: job.name.clone(),
            section: job.section.clone(),
            synopsis: job.synopsis.clone(),
        }
    }
}

/// A build that was found, and why.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FoundBuild {
    /// `uuid`, `artifact`, `input` or `package`.
    pub found_by: &'static str,
    /// The artifact by which it was found.
    #[schema(required)]
    pub artifact: Option<Artifact>,
    /// The package by which it was found.
    #[schema(required)]
    pub package: Option<PackageOfVersion>,
    /// The build.
    pub build: BuildSummary,
}

impl FoundBuild {
    /// From what was found.
    pub fn of(hit: &Hit) -> FoundBuild {
        let (found_by, artifact, package) = match &hit.why {
            Why::Uuid => ("uuid", None, None),
            Why::Artifact(artifact) => ("artifact", Some(Artifact::of(artifact)), None),
            Why::Input(_) => ("input", None, None),
            Why::Package { name, version } => {
                let package = PackageOfVersion {
                    name: name.clone(),
                    version: version.clone(),
                };
                ("package", None, Some(package))
            }
        };
        FoundBuild {
            found_by,
            artifact,
            package,
            build: BuildSummary::of(&hit.build, hit.verdict),
        }
    }
}

/// A package of one version.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PackageOfVersion {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl PackageOfVersion {
    /// From a package of opam's.
    pub fn of(package: &opam_file::Package) -> PackageOfVersion {
        PackageOfVersion {
            name: package.name.clone(),
            version: package.version.clone(),
        }
    }
}

/// A package that was found.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FoundPackage {
    /// Its name.
    pub name: String,
    /// Its versions that are meant, the newest first, at most a hundred.
    pub versions: Vec<String>,
    /// How many they are.
    pub versions_count: usize,
}

/// Versions in [`FoundPackage`].
const VERSIONS_MAX: usize = 100;

impl FoundPackage {
    /// From what was found.
    pub fn of(hit: &PackageHit) -> FoundPackage {
        FoundPackage {
            name: hit.name.clone(),
            versions: hit.versions.iter().take(VERSIONS_MAX).cloned().collect(),
            versions_count: hit.versions.len(),
        }
    }
}

/// A version of a package that builds contain.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PackageVersion {
    /// The version.
    pub version: String,
    /// Distinct opam switches with it, counted up to a thousand.
    pub inputs: u32,
    /// Whether there may be more of them.
    pub inputs_may_be_more: bool,
    /// The last upload from the newest of them.
    pub newest_build: BuildSummary,
}

impl PackageVersion {
    /// From what is known.
    pub fn of(known: &KnownVersion) -> PackageVersion {
        PackageVersion {
            version: known.version.clone(),
            inputs: known.inputs,
            inputs_may_be_more: known.inputs >= INPUTS_COUNTED_MAX,
            newest_build: BuildSummary::of(&known.newest, known.verdict),
        }
    }
}

/// A file of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FoundFile {
    /// Where it is inside the build.
    pub path: String,
    /// The newest build of its job that has it.
    pub build: BuildSummary,
}

impl FoundFile {
    /// From what was found.
    pub fn of(found: &FileHit) -> FoundFile {
        FoundFile {
            path: found.path.clone(),
            build: BuildSummary::of(&found.build, found.verdict),
        }
    }
}

/// How far the search index has come.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct IndexState {
    /// Whether everything that is kept can be found.
    pub complete: bool,
    /// Builds that are not in the index yet, at most.
    pub builds_left: u64,
    /// opam switches whose packages are not in the index yet.
    pub switches_left: u64,
}

impl IndexState {
    /// From what is known.
    pub fn of(progress: index::Progress) -> IndexState {
        IndexState {
            complete: progress.is_complete(),
            builds_left: progress.builds_left,
            switches_left: progress.switches_left,
        }
    }
}

/// What a search found.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchResults {
    /// What was looked for.
    pub query: String,
    /// Jobs by a part of their name or synopsis.
    pub jobs: Page<JobSummary>,
    /// Builds by uuid, by a digest, or by a package they contain.
    pub builds: Page<FoundBuild>,
    /// Builds that were removed, by uuid, or by the digest of their main binary or input.
    pub removed: Page<RemovedBuild>,
    /// opam packages by a part of their name.
    pub packages: Page<FoundPackage>,
    /// Files by the beginning of a word in their path, or by a pattern that has one.
    pub files: Page<FoundFile>,
    /// What could not be looked for, in a sentence; null: there is no such thing.
    #[schema(required)]
    pub problem: Option<String>,
    /// Whether everything can be found.
    pub index: IndexState,
}

impl SearchResults {
    /// From what was found.
    pub fn of(query: &Query, found: &Found, progress: index::Progress) -> SearchResults {
        SearchResults {
            query: query.text.clone(),
            jobs: Page::of(&found.jobs, JobSummary::of),
            builds: Page::of(&found.builds, FoundBuild::of),
            removed: Page::of(&found.removed, RemovedBuild::of),
            packages: Page::of(&found.packages, FoundPackage::of),
            files: Page::of(&found.files, FoundFile::of),
            problem: problem(query).map(ToOwned::to_owned),
            index: IndexState::of(progress),
        }
    }
}
