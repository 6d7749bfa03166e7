//! The table `record.removed_build`: what stays of a build whose artifacts were removed.
//!
//! A build that is there is no removed build, whatever this table says: each function here leaves
//! out those whose uuid is in `build`.

use builder_exec::{ExecutionResult, Timestamp};
use uuid::Uuid;

use crate::builds::{Artifact, unpack_result};
use crate::db::{Row, days, picoseconds, uuid_bounds};
use crate::search::DigestRange;
use crate::{Result, Sha256, Tx};

/// What is known of a build that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedBuild {
    /// Its name.
    pub uuid: Uuid,
    /// The name of its job, which may be gone too.
    pub job: String,
    /// What it ran on.
    pub platform: String,
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub finish: Timestamp,
    /// How it ended.
    pub result: ExecutionResult,
    /// What its main binary was, if it had one.
    pub main_binary: Option<Artifact>,
    /// The digest of what went in.
    pub input_id: Option<Sha256>,
    /// The name of the user who uploaded it.
    pub uploader: String,
    /// When it was removed.
    pub removed: Timestamp,
}

/// The columns of [`RemovedBuild::from_row`], of `record.removed_build r`.
macro_rules! select_removed {
    ($rest:literal) => {
        concat!(
            "SELECT r.uuid, r.job, r.platform, r.start_d, r.start_ps, r.finish_d, r.finish_ps, \
             r.result_code, r.result_msg, r.main_path, r.main_sha256, r.main_size, r.input_id, \
             r.uploader, r.removed_d, r.removed_ps FROM record.removed_build r \
             WHERE NOT EXISTS (SELECT 1 FROM build b WHERE b.uuid = r.uuid) AND ",
            $rest
        )
    };
}

impl RemovedBuild {
    fn from_row(row: &Row<'_>) -> Result<RemovedBuild> {
        let main_binary = match row.text_opt(9)? {
            Some(path) => Some(Artifact {
                path,
                sha256: row.sha256(10)?,
                size: row.size(11)?,
            }),
            None => None,
        };
        Ok(RemovedBuild {
            uuid: row.uuid(0)?,
            job: row.text(1)?,
            platform: row.text(2)?,
            start: row.timestamp(3)?,
            finish: row.timestamp(5)?,
            result: unpack_result(row.int(7)?, row.text_opt(8)?),
            main_binary,
            input_id: row.sha256_opt(12)?,
            uploader: row.text(13)?,
            removed: row.timestamp(14)?,
        })
    }

    /// How long it took.
    pub fn duration(&self) -> std::time::Duration {
        self.start.duration_to(&self.finish)
    }
}

/// Records a build, which is still there, as removed.
pub(crate) fn add(tx: &mut Tx<'_>, build_id: i64, now: &Timestamp) -> Result<()> {
    tx.execute(
        r#"INSERT INTO record.removed_build (uuid, job, platform, start_d, start_ps, finish_d,
             finish_ps, result_code, result_msg, main_path, main_sha256, main_size, input_id,
             uploader, removed_d, removed_ps)
           SELECT b.uuid, j.name, b.platform, b.start_d, b.start_ps, b.finish_d, b.finish_ps,
             b.result_code, b.result_msg, m.filepath, m.sha256, m.size, b.input_id,
             coalesce(u.username, ''), $2, $3
           FROM build b JOIN job j ON j.id = b.job
           LEFT JOIN build_artifact m ON m.id = b.main_binary
           LEFT JOIN "user" u ON u.id = b."user"
           WHERE b.id = $1
           ON CONFLICT (uuid) DO UPDATE
           SET removed_d = excluded.removed_d, removed_ps = excluded.removed_ps"#,
        &[build_id.into(), days(now), picoseconds(now)],
    )?;
    Ok(())
}

/// Forgets builds that are there: their removal did not happen, or they were uploaded again.
pub(crate) fn forget_existing(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute(
        "DELETE FROM record.removed_build
         WHERE EXISTS (SELECT 1 FROM build b WHERE b.uuid = removed_build.uuid)",
        &[],
    )?;
    Ok(())
}

/// The removed build of this name.
pub fn by_uuid(tx: &mut Tx<'_>, uuid: Uuid) -> Result<Option<RemovedBuild>> {
    tx.query_opt(
        select_removed!("r.uuid = $1"),
        &[uuid.to_string().as_str().into()],
        RemovedBuild::from_row,
    )
}

/// Hands over the removed builds from this input that had a main binary, newest first.
pub(crate) fn for_each_of_input(
    tx: &mut Tx<'_>,
    input_id: Sha256,
    mut take: impl FnMut(RemovedBuild),
) -> Result<()> {
    tx.for_each(
        select_removed!(
            "r.input_id = $1 AND r.main_sha256 IS NOT NULL \
             ORDER BY r.start_d DESC, r.start_ps DESC"
        ),
        &[(&input_id).into()],
        |row| {
            take(RemovedBuild::from_row(row)?);
            Ok(())
        },
    )
}

/// Whether a build of this job on this platform that had a main binary was removed, of those that
/// started after the one time, in days and picoseconds, and before the other.
pub(crate) fn is_any_between(
    tx: &mut Tx<'_>,
    (job, platform): (&str, &str),
    after: (i64, i64),
    before: &Timestamp,
) -> Result<bool> {
    let found = tx.query_opt(
        "SELECT 1 FROM record.removed_build r
         WHERE r.job = $1 AND r.platform = $2 AND (r.start_d, r.start_ps) > ($3, $4)
           AND (r.start_d, r.start_ps) < ($5, $6) AND r.main_sha256 IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM build b WHERE b.uuid = r.uuid) LIMIT 1",
        &[
            job.into(),
            platform.into(),
            after.0.into(),
            after.1.into(),
            days(before),
            picoseconds(before),
        ],
        |row| row.int(0),
    )?;
    Ok(found.is_some())
}

/// The removed builds with this main binary, newest first, `count` at most.
pub fn with_main_binary(tx: &mut Tx<'_>, sha256: Sha256, count: u32) -> Result<Vec<RemovedBuild>> {
    tx.query(
        select_removed!("r.main_sha256 = $1 ORDER BY r.start_d DESC, r.start_ps DESC LIMIT $2"),
        &[(&sha256).into(), i64::from(count).into()],
        RemovedBuild::from_row,
    )
}

/// By what removed builds are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Their main binaries.
    Output,
    /// What went in.
    Input,
}

/// The removed builds whose main binary, or input, has a digest within a range, in the order of
/// these digests and then of their uuids: up to `count` after `after`.
pub fn in_range(
    tx: &mut Tx<'_>,
    by: By,
    range: DigestRange,
    after: Option<(Sha256, Uuid)>,
    count: usize,
) -> Result<Vec<RemovedBuild>> {
    let (first, last) = range.bounds();
    // Behind this pair; no uuid is before the empty text.
    let (after, uuid) = match after {
        Some((digest, uuid)) => (digest, uuid.to_string()),
        None => (first, String::new()),
    };
    let sql = match by {
        By::Output => select_removed!(
            "r.main_sha256 >= $1 AND r.main_sha256 <= $2 AND (r.main_sha256, r.uuid) > ($1, $3) \
             ORDER BY r.main_sha256, r.uuid LIMIT $4"
        ),
        By::Input => select_removed!(
            "r.input_id >= $1 AND r.input_id <= $2 AND (r.input_id, r.uuid) > ($1, $3) \
             ORDER BY r.input_id, r.uuid LIMIT $4"
        ),
    };
    tx.query_list(
        sql,
        &[
            (&after).into(),
            (&last).into(),
            uuid.as_str().into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
        ],
        RemovedBuild::from_row,
    )
}

/// The removed builds whose uuid begins with `beginning`, a part of the canonical form in lower
/// case, in the order of their uuids: up to `count` after `after`.
pub fn uuids_from(
    tx: &mut Tx<'_>,
    beginning: &str,
    after: Option<Uuid>,
    count: usize,
) -> Result<Vec<RemovedBuild>> {
    let (end, after) = uuid_bounds(beginning, after);
    tx.query_list(
        select_removed!("r.uuid >= $1 AND r.uuid < $2 AND r.uuid > $3 ORDER BY r.uuid LIMIT $4"),
        &[
            beginning.into(),
            end.as_str().into(),
            after.as_str().into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
        ],
        RemovedBuild::from_row,
    )
}
