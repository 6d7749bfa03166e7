//! The tables `build` and `build_artifact`: their rows and statements.
//!
//! "Successful" means: has a main binary. The exit code plays no part in it, as on the OCaml server.

use builder_exec::{ExecutionResult, Timestamp};
use uuid::Uuid;

use crate::db::{Row, Value, days, picoseconds};
use crate::{ArtifactPath, Error, JobName, Platform, Result, Sha256, StagedArtifact, Tx, jobs};

pub use result::can_keep;
pub(crate) use result::unpack_result;

mod result;

/// A build, with the name of its job and its main binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its row.
    pub id: i64,
    /// Its name.
    pub uuid: Uuid,
    /// The row of its job.
    pub job_id: i64,
    /// The name of its job.
    pub job: String,
    /// What it ran on.
    pub platform: String,
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub finish: Timestamp,
    /// How it ended.
    pub result: ExecutionResult,
    /// Where its console is, below the data directory.
    pub console: String,
    /// Where its script is, below the data directory.
    pub script: String,
    /// The digest of what went in; none unless the build recorded its switch, environment and
    /// system packages.
    pub input_id: Option<Sha256>,
    /// The row of the user who uploaded it.
    pub user_id: i64,
    /// The single artifact below `bin/`, if there is just one.
    pub main_binary: Option<Artifact>,
}

/// An artifact of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is inside the build.
    pub path: String,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// How many bytes it has.
    pub size: u64,
}

/// What is told of a build when it is added.
#[derive(Debug)]
pub struct NewBuild<'a> {
    /// What it ran on.
    pub platform: &'a Platform,
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub finish: Timestamp,
    /// How it ended.
    pub result: &'a ExecutionResult,
    /// The digest of what went in.
    pub input_id: Option<Sha256>,
    /// Which of the artifacts is the main binary, by its index.
    pub main_binary: Option<usize>,
    /// The row of the user who uploads it.
    pub user_id: i64,
}

/// The rows of a build that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The build's row.
    pub build_id: i64,
    /// The row of its job.
    pub job_id: i64,
}

/// The columns of [`Build::from_row`], of `build b`, `job j` and the main binary `m`.
macro_rules! select_build {
    ($rest:expr) => {
        concat!(
            "SELECT b.id, b.uuid, j.id, j.name, b.platform, b.start_d, b.start_ps, b.finish_d, \
             b.finish_ps, b.result_code, b.result_msg, b.console, b.script, b.input_id, b.user, \
             m.filepath, m.sha256, m.size ",
            $rest
        )
    };
}
pub(crate) use select_build;

impl Build {
    pub(crate) fn from_row(row: &Row<'_>) -> Result<Build> {
        let main_binary = match row.text_opt(15)? {
            Some(path) => Some(Artifact {
                path,
                sha256: row.sha256(16)?,
                size: row.size(17)?,
            }),
            None => None,
        };
        Ok(Build {
            id: row.int(0)?,
            uuid: row.uuid(1)?,
            job_id: row.int(2)?,
            job: row.text(3)?,
            platform: row.text(4)?,
            start: row.timestamp(5)?,
            finish: row.timestamp(7)?,
            result: unpack_result(row.int(9)?, row.text_opt(10)?),
            console: row.text(11)?,
            script: row.text(12)?,
            input_id: row.sha256_opt(13)?,
            user_id: row.int(14)?,
            main_binary,
        })
    }

    /// Sorts builds by when they started, and those that started together by when they came in:
    /// the greatest is the newest. Every list and every "latest" goes by it.
    pub fn age(&self) -> (Timestamp, i64) {
        (self.start, self.id)
    }

    /// How long it took.
    pub fn duration(&self) -> std::time::Duration {
        self.start.duration_to(&self.finish)
    }
}

impl Artifact {
    /// From `filepath, sha256, size` in columns 0 to 2.
    fn from_row(row: &Row<'_>) -> Result<Artifact> {
        Ok(Artifact {
            path: row.text(0)?,
            sha256: row.sha256(1)?,
            size: row.size(2)?,
        })
    }

    /// The last segment of its path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// The build of this name.
pub fn by_uuid(tx: &mut Tx<'_>, uuid: Uuid) -> Result<Option<Build>> {
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.uuid = $1"
        ),
        &[uuid.to_string().as_str().into()],
        Build::from_row,
    )
}

/// The build in this row.
pub(crate) fn by_id(tx: &mut Tx<'_>, id: i64) -> Result<Option<Build>> {
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.id = $1"
        ),
        &[id.into()],
        Build::from_row,
    )
}

/// Whether there is a build of this name.
pub fn exists(tx: &mut Tx<'_>, uuid: Uuid) -> Result<bool> {
    Ok(kept(tx, uuid)?.is_some())
}

/// The rows of a build, if it is kept.
pub(crate) fn kept(tx: &mut Tx<'_>, uuid: Uuid) -> Result<Option<Kept>> {
    tx.query_opt(
        "SELECT id, job FROM build WHERE uuid = $1",
        &[uuid.to_string().as_str().into()],
        |row| {
            Ok(Kept {
                build_id: row.int(0)?,
                job_id: row.int(1)?,
            })
        },
    )
}

/// The job and name of every build, or of every build of one job, oldest first.
pub fn names(tx: &mut Tx<'_>, job: Option<&str>) -> Result<Vec<(String, Uuid)>> {
    tx.query(
        "SELECT j.name, b.uuid FROM build b JOIN job j ON j.id = b.job
         WHERE j.name = $1 OR $1 IS NULL
         ORDER BY b.start_d, b.start_ps, b.id",
        &[job.into()],
        |row| Ok((row.text(0)?, row.uuid(1)?)),
    )
}

/// Inputs that gave more than one output: an input id, and the builds with that input and a main
/// binary, newest first.
pub fn inputs_with_several_outputs(tx: &mut Tx<'_>) -> Result<Vec<(Sha256, Vec<Build>)>> {
    let inputs = tx.query(
        "SELECT b.input_id FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.input_id IS NOT NULL
         GROUP BY b.input_id HAVING COUNT(DISTINCT m.sha256) > 1 ORDER BY b.input_id",
        &[],
        |row| row.sha256(0),
    )?;
    let mut all = Vec::with_capacity(inputs.len());
    for input in inputs {
        let builds = tx.query(
            select_build!(
                "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
                 WHERE b.input_id = $1
                 ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC"
            ),
            &[(&input).into()],
            Build::from_row,
        )?;
        all.push((input, builds));
    }
    Ok(all)
}

/// The artifacts of a build, in the order they were kept: the main binary first.
pub fn artifacts(tx: &mut Tx<'_>, build_id: i64) -> Result<Vec<Artifact>> {
    tx.query(
        "SELECT filepath, sha256, size FROM build_artifact WHERE build = $1 ORDER BY id",
        &[build_id.into()],
        Artifact::from_row,
    )
}

/// The artifact of a build at this path.
pub fn artifact(tx: &mut Tx<'_>, uuid: Uuid, path: &str) -> Result<Option<Artifact>> {
    tx.query_opt(
        "SELECT a.filepath, a.sha256, a.size
         FROM build b JOIN build_artifact a ON a.build = b.id
         WHERE b.uuid = $1 AND a.filepath = $2",
        &[uuid.to_string().as_str().into(), path.into()],
        Artifact::from_row,
    )
}

/// Whether any build has an artifact of this content.
pub fn names_artifact(tx: &mut Tx<'_>, sha256: Sha256) -> Result<bool> {
    let found = tx.query_opt(
        "SELECT 1 FROM build_artifact WHERE sha256 = $1 LIMIT 1",
        &[(&sha256).into()],
        |row| row.int(0),
    )?;
    Ok(found.is_some())
}

/// The newest successful build of a job; on any platform when none is given.
pub fn latest_successful(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: Option<&str>,
) -> Result<Option<Build>> {
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND (b.platform = $2 OR $2 IS NULL)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1"
        ),
        &[job_id.into(), platform.into()],
        Build::from_row,
    )
}

/// The newest build of a job on a platform without a main binary.
pub fn latest_failed(tx: &mut Tx<'_>, job_id: i64, platform: &str) -> Result<Option<Build>> {
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND b.main_binary IS NULL AND b.platform = $2
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1"
        ),
        &[job_id.into(), platform.into()],
        Build::from_row,
    )
}

/// The newest builds of a job, whatever became of them, newest first: at most `count`; only those
/// older than `before` if one is given, a value of [`Build::age`]. For one platform,
/// [`crate::past::newest`] is faster.
pub fn history(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: Option<&str>,
    before: Option<(Timestamp, i64)>,
    count: u32,
) -> Result<Vec<Build>> {
    let Some((start, id)) = before else {
        return tx.query_list(
            select_build!(
                "FROM build b JOIN job j ON j.id = b.job
                 LEFT JOIN build_artifact m ON m.id = b.main_binary
                 WHERE b.job = $1 AND (b.platform = $2 OR $2 IS NULL)
                 ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $3"
            ),
            &[job_id.into(), platform.into(), i64::from(count).into()],
            Build::from_row,
        );
    };
    tx.query_list(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND (b.platform = $2 OR $2 IS NULL) AND b.start_d <= $4
               AND (b.start_d, b.start_ps, b.id) < ($4, $5, $6)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $3"
        ),
        &[
            job_id.into(),
            platform.into(),
            i64::from(count).into(),
            days(&start),
            picoseconds(&start),
            id.into(),
        ],
        Build::from_row,
    )
}

/// The newest build that has an artifact of this content, in any job.
pub fn newest_with_artifact(tx: &mut Tx<'_>, sha256: Sha256) -> Result<Option<Build>> {
    tx.query_opt(
        select_build!(
            "FROM build_artifact a JOIN build b ON b.id = a.build JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE a.sha256 = $1
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1"
        ),
        &[(&sha256).into()],
        Build::from_row,
    )
}

/// The builds with this main binary, in any job, newest first, `count` at most.
pub fn with_main_binary(tx: &mut Tx<'_>, sha256: Sha256, count: u32) -> Result<Vec<Build>> {
    tx.query(
        select_build!(
            "FROM build_artifact m JOIN build b ON b.main_binary = m.id JOIN job j ON j.id = b.job
             WHERE m.sha256 = $1
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $2"
        ),
        &[(&sha256).into(), i64::from(count).into()],
        Build::from_row,
    )
}

/// One output of a job: the newest build that has it, with the artifact of that content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The newest build with this output, in any job and on any platform.
    pub build: Build,
    /// The artifact, as that build names it.
    pub artifact: Artifact,
}

/// The distinct outputs of a job, each with the newest build that has it; newest first.
pub fn outputs(tx: &mut Tx<'_>, job_id: i64, platform: Option<&str>) -> Result<Vec<Output>> {
    let mut seen = std::collections::HashSet::new();
    let mut hashes = Vec::new();
    tx.for_each(
        "SELECT m.sha256
         FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.job = $1 AND (b.platform = $2 OR $2 IS NULL)
         ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC",
        &[job_id.into(), platform.into()],
        |row| {
            let sha256 = row.sha256(0)?;
            if seen.insert(sha256) {
                hashes.push(sha256);
            }
            Ok(())
        },
    )?;
    let mut outputs = Vec::with_capacity(hashes.len());
    for sha256 in hashes {
        outputs.extend(tx.query_list(
            "SELECT b.id, b.uuid, j.id, j.name, b.platform, b.start_d, b.start_ps, b.finish_d,
               b.finish_ps, b.result_code, b.result_msg, b.console, b.script, b.input_id,
               b.user, m.filepath, m.sha256, m.size, a.filepath, a.size
             FROM build_artifact a JOIN build b ON b.id = a.build JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE a.sha256 = $1
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1",
            &[(&sha256).into()],
            |row| {
                Ok(Output {
                    build: Build::from_row(row)?,
                    artifact: Artifact {
                        path: row.text(18)?,
                        sha256,
                        size: row.size(19)?,
                    },
                })
            },
        )?);
    }
    Ok(outputs)
}

/// The builds of a job without a main binary, newest first.
pub fn failed_of_job(tx: &mut Tx<'_>, job_id: i64, platform: Option<&str>) -> Result<Vec<Build>> {
    tx.query_list(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND b.main_binary IS NULL AND (b.platform = $2 OR $2 IS NULL)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC"
        ),
        &[job_id.into(), platform.into()],
        Build::from_row,
    )
}

/// Builds without a main binary of all jobs, newest first: `count` of them after `start`.
pub fn failed(
    tx: &mut Tx<'_>,
    platform: Option<&str>,
    start: u32,
    count: u32,
) -> Result<Vec<Build>> {
    tx.query_list(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.main_binary IS NULL AND (b.platform = $1 OR $1 IS NULL)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC
             LIMIT $2 OFFSET $3"
        ),
        &[
            platform.into(),
            i64::from(count).into(),
            i64::from(start).into(),
        ],
        Build::from_row,
    )
}

/// The newest builds, failed or not: of a job by when they started, of all by when they came in,
/// which asks for no more rows than are wanted.
pub fn newest(
    tx: &mut Tx<'_>,
    job_id: Option<i64>,
    platform: Option<&str>,
    count: u32,
) -> Result<Vec<Build>> {
    let count = i64::from(count);
    match job_id {
        Some(job_id) => tx.query(
            select_build!(
                "FROM build b JOIN job j ON j.id = b.job
                 LEFT JOIN build_artifact m ON m.id = b.main_binary
                 WHERE b.job = $1 AND (b.platform = $2 OR $2 IS NULL)
                 ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $3"
            ),
            &[job_id.into(), platform.into(), count.into()],
            Build::from_row,
        ),
        None => tx.query(
            select_build!(
                "FROM build b JOIN job j ON j.id = b.job
                 LEFT JOIN build_artifact m ON m.id = b.main_binary
                 WHERE (b.platform = $1 OR $1 IS NULL) ORDER BY b.id DESC LIMIT $2"
            ),
            &[platform.into(), count.into()],
            Build::from_row,
        ),
    }
}

/// The nearest earlier successful build of the same job and platform whose output differs.
pub fn previous_different_output(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Build>> {
    let Some(main) = &build.main_binary else {
        return Ok(None);
    };
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND b.platform = $2 AND m.sha256 <> $3
               AND b.start_d <= $4 AND (b.start_d, b.start_ps) < ($4, $5)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1"
        ),
        &neighbour(build, main),
        Build::from_row,
    )
}

/// The nearest later successful build of the same job and platform whose output differs.
pub fn next_different_output(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Build>> {
    let Some(main) = &build.main_binary else {
        return Ok(None);
    };
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND b.platform = $2 AND m.sha256 <> $3
               AND b.start_d >= $4 AND (b.start_d, b.start_ps) > ($4, $5)
             ORDER BY b.start_d ASC, b.start_ps ASC, b.id ASC LIMIT 1"
        ),
        &neighbour(build, main),
        Build::from_row,
    )
}

fn neighbour<'a>(build: &'a Build, main: &'a Artifact) -> [Value<'a>; 5] {
    [
        build.job_id.into(),
        build.platform.as_str().into(),
        (&main.sha256).into(),
        days(&build.start),
        picoseconds(&build.start),
    ]
}

/// Adds a build, with its job if it is new. Gives [`Error::BuildExists`] when the uuid is taken.
pub(crate) fn add(
    tx: &mut Tx<'_>,
    uuid: Uuid,
    job: &JobName,
    build: &NewBuild<'_>,
    artifacts: &[(ArtifactPath, StagedArtifact)],
) -> Result<Kept> {
    let job_id = jobs::ensure(tx, job)?;
    let (code, message) = result::pack_result(build.result);
    let home = format!("{job}/{uuid}");
    let build_id = tx
        .query_opt(
            r#"INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code,
               result_msg, console, script, platform, main_binary, input_id, "user", job)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11, $12, $13)
             ON CONFLICT (uuid) DO NOTHING RETURNING id"#,
            &[
                uuid.to_string().as_str().into(),
                days(&build.start),
                picoseconds(&build.start),
                days(&build.finish),
                picoseconds(&build.finish),
                code.into(),
                message.as_deref().into(),
                format!("{home}/console.txt").as_str().into(),
                format!("{home}/script.txt").as_str().into(),
                build.platform.as_str().into(),
                build.input_id.as_ref().into(),
                build.user_id.into(),
                job_id.into(),
            ],
            |row| row.int(0),
        )?
        .ok_or(Error::BuildExists { uuid })?;
    // The main binary comes first, as the OCaml server wrote it.
    let main = build.main_binary.and_then(|index| artifacts.get(index));
    if let Some(main) = main {
        let id = add_artifact(tx, build_id, main)?;
        tx.execute(
            "UPDATE build SET main_binary = $2 WHERE id = $1",
            &[build_id.into(), id.into()],
        )?;
    }
    for (index, artifact) in artifacts.iter().enumerate() {
        if build.main_binary != Some(index) {
            add_artifact(tx, build_id, artifact)?;
        }
    }
    Ok(Kept { build_id, job_id })
}

fn add_artifact(
    tx: &mut Tx<'_>,
    build_id: i64,
    (path, staged): &(ArtifactPath, StagedArtifact),
) -> Result<i64> {
    let size = i64::try_from(staged.size).map_err(|_| Error::Row {
        what: format!("{} bytes", staged.size),
        expected: "a size below 2^63",
    })?;
    tx.query_opt(
        "INSERT INTO build_artifact (filepath, sha256, size, build) VALUES ($1, $2, $3, $4)
         RETURNING id",
        &[
            path.as_str().into(),
            (&staged.sha256).into(),
            size.into(),
            build_id.into(),
        ],
        |row| row.int(0),
    )?
    .ok_or_else(|| Error::Row {
        what: "no row".to_owned(),
        expected: "the row that was just added",
    })
}
