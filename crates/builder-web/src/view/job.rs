//! What JSON says of a job: its newest builds, and its history as its page tells it.

use builder_store::builds::Build;
use builder_store::latest::Latest;
use builder_store::past::{Count, Standing as Stands};
use builder_store::verdict::Verdict;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BuildSummary, Failure, JobSummary, State};
use crate::failures::FailureHistory;
use crate::history::{self, Past};
use crate::input_changes::Known;

/// The newest builds of a job on a platform.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OnPlatform {
    /// The platform.
    pub platform: String,
    /// What is known of the newest build.
    pub state: State,
    /// What is known of the newest successful build; null when there is none.
    #[schema(required)]
    pub state_of_successful: Option<State>,
    /// The newest successful build.
    #[schema(required)]
    pub latest_successful: Option<BuildSummary>,
    /// The newest failed build.
    #[schema(required)]
    pub latest_failed: Option<BuildSummary>,
}

impl OnPlatform {
    /// From what is known of a job on a platform.
    pub fn of(latest: &Latest) -> OnPlatform {
        let successful = latest.successful.as_ref();
        OnPlatform {
            platform: latest.platform.clone(),
            state: State::of(latest.newest_verdict()),
            state_of_successful: successful.map(|_| State::of(latest.verdict)),
            latest_successful: successful.map(|build| BuildSummary::of(build, latest.verdict)),
            latest_failed: latest
                .failed
                .as_ref()
                .map(|build| BuildSummary::of(build, Verdict::Failed)),
        }
    }
}

/// A job with its newest builds.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobInList {
    /// The job.
    #[serde(flatten)]
    pub job: JobSummary,
    /// Its newest builds on each platform.
    pub platforms: Vec<OnPlatform>,
}

/// What happened to a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobHistory {
    /// How it went on each platform: in the first part of the newest builds on each, in those after
    /// it of the builds that the part looks at, 300 at most.
    pub histories: Vec<PlatformHistory>,
    /// Its builds by output, as one followed the other on a platform, the group with the newest build
    /// first: an output that came back is there again. Failed builds each alone, if they were asked for.
    pub outputs: Vec<OutputGroup>,
    /// Why builds failed, of all its builds.
    pub failures: JobFailures,
    /// A badge with its state, for a README.
    pub badge_markdown: String,
}

/// How a job went on a platform.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlatformHistory {
    /// The platform.
    pub platform: String,
    /// Since when it is reproduced, or not: as of now, in each part.
    pub standing: Standing,
    /// How many of the newest builds failed, without a success since; counted up to a thousand.
    pub failing: u64,
    /// Its builds, the newest first, at most a hundred.
    pub builds: Vec<BuildInHistory>,
}

/// Since when builds on a platform are reproduced, or not.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standing {
    /// `nothing-built`, `never-repeated`, `reproduced` or `not-reproducible`; `unknown` while that is
    /// being looked up.
    #[schema(examples("reproduced"))]
    pub kind: &'static str,
    /// The same in sentences.
    #[schema(examples("Reproduced for 12 builds, since 2026-05-12, each by the same uploader."))]
    pub told: String,
    /// Reproduced builds: up to now, or up to the first that is not. Counted up to a thousand.
    pub reproduced_builds: u64,
    /// Whether there may be more of them.
    pub reproduced_builds_may_be_more: bool,
    /// How many of these others than their own uploader gave, too, up to a thousand; null unless it is
    /// `reproduced`.
    #[schema(required)]
    pub reproduced_by_others: Option<u64>,
    /// The first build of those that are reproduced, or the first that is not.
    #[schema(required)]
    pub since: Option<BuildSummary>,
    /// Whether it may be so for longer: builds before it were not looked at yet, or were removed.
    pub since_may_be_earlier: bool,
    /// Whether builds were removed that were between the last reproduced one and the first that is not.
    pub builds_before_removed: bool,
    /// Where it stopped being reproducible: the last successful build before, of another input.
    #[schema(required)]
    pub before: Option<BuildSummary>,
    /// What changed in the input from that build on.
    #[schema(required)]
    pub changes: Option<ChangesInNumbers>,
}

/// A build on a timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildInHistory {
    /// Its name.
    pub uuid: String,
    /// When it started (RFC 3339).
    pub start_time: String,
    /// How long it took, in seconds.
    pub duration_seconds: f64,
    /// What is known of it.
    pub state: State,
    /// The SHA-256 of its main binary.
    #[schema(required)]
    pub output: Option<String>,
    /// The size of its main binary, in bytes.
    #[schema(required)]
    pub size: Option<u64>,
}

/// Builds of one output on one platform, one after the other, or a failed build.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutputGroup {
    /// What is known of the newest of them.
    pub state: State,
    /// The newest of them.
    pub newest: BuildSummary,
    /// Those of them that this part looks at, the newest first.
    pub builds: Vec<BuildReference>,
    /// Whether builds before these have this output, too: in the next part that looks at older builds.
    pub more_older: bool,
    /// Whether builds after these have this output, too: in the part before.
    pub more_newer: bool,
    /// The build before the oldest of them, of another output.
    #[schema(required)]
    pub before: Option<BuildSummary>,
    /// The newest build before that one which had this output, too, as far as this part looks.
    #[schema(required)]
    pub same_as: Option<BuildSummary>,
    /// What changed in the input from that build on.
    #[schema(required)]
    pub changes: Option<ChangesInNumbers>,
}

/// A build by its name.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildReference {
    /// Its name.
    pub uuid: String,
    /// When it started (RFC 3339).
    pub start_time: String,
}

/// How many inputs changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangesInNumbers {
    /// `same`, `changed`, `not-recorded`, `unreadable`: an input cannot be read for now, or `pending`:
    /// it is being counted, ask again.
    #[schema(examples("changed"))]
    pub known: &'static str,
    /// opam packages.
    #[schema(required)]
    pub opam_packages: Option<usize>,
    /// Environment variables.
    #[schema(required)]
    pub environment_variables: Option<usize>,
    /// Packages of the system.
    #[schema(required)]
    pub system_packages: Option<usize>,
}

/// Why builds of a job failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobFailures {
    /// How many failed of each class.
    pub classes: Vec<FailureCount>,
    /// The newest that failed, five at most.
    pub newest: Vec<FailedBuild>,
}

/// How many builds failed for a reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureCount {
    /// Such as `disk-full`; null: those not looked at yet.
    #[schema(required)]
    pub class: Option<String>,
    /// How many.
    pub build_count: u64,
}

/// A failed build, and why it failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedBuild {
    /// The build.
    pub build: BuildSummary,
    /// Why; null while nobody has looked.
    #[schema(required)]
    pub failure: Option<Failure>,
}

impl BuildInHistory {
    /// From the timeline of a page.
    pub fn of(past: &Past) -> BuildInHistory {
        let main = past.build.main_binary.as_ref();
        BuildInHistory {
            uuid: past.build.uuid.to_string(),
            start_time: past.build.start.to_rfc3339(),
            duration_seconds: past.build.duration().as_secs_f64(),
            state: State::of(past.verdict),
            output: main.map(|main| main.sha256.to_hex()),
            size: main.map(|main| main.size),
        }
    }
}

impl BuildReference {
    /// From what is kept.
    pub fn of(build: &Build) -> BuildReference {
        BuildReference {
            uuid: build.uuid.to_string(),
            start_time: build.start.to_rfc3339(),
        }
    }
}

impl ChangesInNumbers {
    /// From what is known.
    pub fn of(known: &Known) -> ChangesInNumbers {
        let counts = match known {
            Known::Changes(counts) => Some(counts),
            _ => None,
        };
        ChangesInNumbers {
            known: match known {
                Known::Same => "same",
                Known::Changes(_) => "changed",
                Known::Untold => "not-recorded",
                Known::Unreadable => "unreadable",
                Known::Pending => "pending",
            },
            opam_packages: counts.map(|counts| counts.opam),
            environment_variables: counts.map(|counts| counts.variables),
            system_packages: counts.map(|counts| counts.system),
        }
    }
}

impl Standing {
    /// From where a platform stands, the verdicts on the builds that it names, what changed in the
    /// input where it ceased to be reproducible, and how many builds failed since.
    pub fn of(
        standing: &Stands,
        (since_is, before_is): (Verdict, Verdict),
        changes: &Known,
        failing: Count,
    ) -> Standing {
        let told = history::text(&history::told(standing, changes, failing));
        let kind = match standing {
            Stands::Untold => "unknown",
            Stands::NothingBuilt => "nothing-built",
            Stands::NeverRepeated => "never-repeated",
            Stands::Reproduced { .. } => "reproduced",
            Stands::NotSince { .. } => "not-reproducible",
        };
        let by_others = match standing {
            Stands::Reproduced { by_others, .. } => Some(*by_others),
            _ => None,
        };
        let (builds, since, earlier, before) = match standing {
            Stands::Untold | Stands::NothingBuilt | Stands::NeverRepeated => {
                (None, None, false, None)
            }
            Stands::Reproduced {
                builds,
                since,
                earlier,
                ..
            } => (Some(builds), Some(since), *earlier, None),
            Stands::NotSince {
                first,
                earlier,
                removed,
                reproduced_before,
                before,
            } => (
                Some(reproduced_before),
                Some(first),
                *earlier || *removed,
                before.as_ref(),
            ),
        };
        Standing {
            kind,
            told,
            reproduced_builds: builds.map_or(0, |count| count.builds),
            reproduced_builds_may_be_more: builds.is_some_and(|count| count.more),
            reproduced_by_others: by_others,
            since: since.map(|build| BuildSummary::of(build, since_is)),
            since_may_be_earlier: earlier,
            builds_before_removed: matches!(standing, Stands::NotSince { removed: true, .. }),
            before: before.map(|build| BuildSummary::of(build, before_is)),
            changes: before.map(|_| ChangesInNumbers::of(changes)),
        }
    }
}

impl FailureCount {
    /// From a class, or none, and a number.
    pub fn of((class, count): &(Option<String>, u64)) -> FailureCount {
        FailureCount {
            class: class.clone(),
            build_count: *count,
        }
    }
}

impl JobFailures {
    /// From what a job's page tells.
    pub fn of(history: &FailureHistory) -> JobFailures {
        let classes = history.classes.iter();
        let newest = history.builds.iter();
        JobFailures {
            classes: classes.map(FailureCount::of).collect(),
            newest: newest
                .map(|(build, failure)| FailedBuild {
                    build: BuildSummary::of(build, Verdict::Failed),
                    failure: failure.as_ref().map(Failure::of),
                })
                .collect(),
        }
    }
}
