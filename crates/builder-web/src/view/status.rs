//! What JSON says of the service as a whole.

use serde::Serialize;
use utoipa::ToSchema;

use super::{BuildSummary, FailureCount, IndexState};

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// The version of the software.
    pub version: &'static str,
    /// When this was told (RFC 3339).
    pub time: String,
    /// What is to be said first, in sentences.
    #[schema(examples("Builds came from every platform in the last 7 days."))]
    pub told: String,
    /// Failures are counted over so many days, and platforms are silent from which nothing came for so long.
    pub days: i64,
    /// How much there is; null while it is being counted, after the server's first start.
    #[schema(required)]
    pub stock: Option<Stock>,
    /// The newest builds of jobs on platforms by their state.
    pub states: Vec<StateCount>,
    /// The platforms, those with the newest builds first.
    pub platforms: Vec<PlatformStatus>,
    /// Those who uploaded one of the last builds, the last upload first.
    pub uploaders: Vec<UploaderStatus>,
    /// How many builds are the last.
    pub uploaders_of_builds: i64,
    /// Since when failures are counted (RFC 3339).
    pub failures_since: String,
    /// Why builds failed since then.
    pub failures: Vec<FailureCount>,
    /// What is done in the background.
    pub background: Background,
}

/// How much there is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stock {
    /// Jobs.
    pub jobs: u64,
    /// Builds.
    pub builds: u64,
    /// Builds without a main binary.
    pub failed_builds: u64,
    /// Files, each content once.
    pub artifacts: u64,
    /// Bytes of these files.
    pub artifact_bytes: u64,
}

/// How many there are of a state.
#[derive(Debug, Serialize, ToSchema)]
pub struct StateCount {
    /// `reproduced`, `unchanged`, `changed`, `built-once`, `not-reproducible` or `failed`.
    pub state: &'static str,
    /// Jobs on platforms whose newest build is so.
    pub job_platforms: u64,
}

/// What comes from a platform.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlatformStatus {
    /// The platform.
    pub platform: String,
    /// The jobs that were ever built on it.
    pub jobs: u64,
    /// Whether its last build ended more than seven days ago.
    pub silent: bool,
    /// The build of it that ended last.
    pub last_build: BuildSummary,
}

/// What comes from a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploaderStatus {
    /// The name of the user; null: there is no such user any more.
    #[schema(required)]
    pub uploader: Option<String>,
    /// The last upload.
    pub last_build: BuildSummary,
}

/// What is done in the background.
#[derive(Debug, Serialize, ToSchema)]
pub struct Background {
    /// The search index.
    pub index: IndexState,
    /// Builds that are not in the tables of newest builds and counts yet, at most.
    pub builds_to_follow: u64,
    /// Failed builds whose consoles were not looked at yet.
    pub failures_to_look_at: u64,
}
