//! Builds without a main binary, and what is told of why each failed: kept in a table of our own,
//! by whoever can tell. A row is believed only for the build it was made of, row and uuid, since
//! others write to the database too.

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::builds::{Build, select_build};
use crate::db::{Row, days, picoseconds};
use crate::{Result, Tx};

/// What is told of a failed build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The name of its class.
    pub class: String,
    /// The line of the console that told, counted from 1, and its text.
    pub told: Option<(u64, String)>,
    /// The last lines of the console, oldest first.
    pub last_lines: Vec<String>,
}

/// Which failed builds are asked for; what is not given does not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Of the job with this row.
    pub job_id: Option<i64>,
    /// On this platform.
    pub platform: Option<&'a str>,
    /// Of this class.
    pub class: Option<&'a str>,
}

/// The columns of [`failure_from_row`], which follow those of a build.
macro_rules! select_failed {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.uuid, j.id, j.name, b.platform, b.start_d, b.start_ps, b.finish_d, \
             b.finish_ps, b.result_code, b.result_msg, b.console, b.script, b.input_id, b.user, \
             NULL, NULL, NULL, f.class, f.line, f.told, f.last_lines \
             FROM build b JOIN job j ON j.id = b.job \
             LEFT JOIN own.failure f ON f.build = b.id AND f.uuid = b.uuid ",
            $rest
        )
    };
}

fn failure_from_row(row: &Row<'_>) -> Result<Option<Failure>> {
    let Some(class) = row.text_opt(18)? else {
        return Ok(None);
    };
    let told = match row.text_opt(20)? {
        Some(text) => Some((row.size(19)?, text)),
        None => None,
    };
    let last_lines = row.text(21)?.lines().map(ToOwned::to_owned).collect();
    Ok(Some(Failure {
        class,
        told,
        last_lines,
    }))
}

/// Failed builds, newest first: `count` of them after `start`; with what is told of each, if it
/// was looked at.
pub fn list(
    tx: &mut Tx<'_>,
    filter: Filter<'_>,
    start: u32,
    count: u32,
) -> Result<Vec<(Build, Option<Failure>)>> {
    tx.query(
        select_failed!(
            "WHERE b.main_binary IS NULL AND (b.job = $1 OR $1 IS NULL)
               AND (b.platform = $2 OR $2 IS NULL) AND (f.class = $3 OR $3 IS NULL)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $4 OFFSET $5"
        ),
        &[
            filter.job_id.into(),
            filter.platform.into(),
            filter.class.into(),
            i64::from(count).into(),
            i64::from(start).into(),
        ],
        |row| Ok((Build::from_row(row)?, failure_from_row(row)?)),
    )
}

/// Failed builds, newest first: `count` of those that are older than `before`, a value of
/// [`Build::age`].
pub fn before(
    tx: &mut Tx<'_>,
    filter: Filter<'_>,
    before: Option<(Timestamp, i64)>,
    count: usize,
) -> Result<Vec<(Build, Option<Failure>)>> {
    let (start_d, start_ps, id) = match &before {
        Some((start, id)) => (days(start), picoseconds(start), *id),
        None => (i64::MAX.into(), i64::MAX.into(), i64::MAX),
    };
    tx.query(
        select_failed!(
            "WHERE b.main_binary IS NULL AND (b.start_d, b.start_ps, b.id) < ($1, $2, $3)
               AND (b.job = $4 OR $4 IS NULL)
               AND (b.platform = $5 OR $5 IS NULL) AND (f.class = $6 OR $6 IS NULL)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $7"
        ),
        &[
            start_d,
            start_ps,
            id.into(),
            filter.job_id.into(),
            filter.platform.into(),
            filter.class.into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
        ],
        |row| Ok((Build::from_row(row)?, failure_from_row(row)?)),
    )
}

/// How many failed builds there are of each class, the most first; none: not looked at yet. The
/// class of the filter does not matter.
pub fn classes(tx: &mut Tx<'_>, filter: Filter<'_>) -> Result<Vec<(Option<String>, u64)>> {
    tx.query(
        "SELECT f.class, COUNT(*) FROM build b
         LEFT JOIN own.failure f ON f.build = b.id AND f.uuid = b.uuid
         WHERE b.main_binary IS NULL AND (b.job = $1 OR $1 IS NULL)
           AND (b.platform = $2 OR $2 IS NULL)
         GROUP BY f.class ORDER BY COUNT(*) DESC, f.class",
        &[filter.job_id.into(), filter.platform.into()],
        |row| Ok((row.text_opt(0)?, row.size(1)?)),
    )
}

/// The platforms on which builds failed, by name.
pub fn platforms(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    tx.query(
        "SELECT DISTINCT platform FROM build WHERE main_binary IS NULL ORDER BY platform",
        &[],
        |row| row.text(0),
    )
}

/// The jobs with builds that failed, by name.
pub fn jobs(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    tx.query(
        "SELECT j.name FROM job j WHERE EXISTS
           (SELECT 1 FROM build b WHERE b.job = j.id AND b.main_binary IS NULL)
         ORDER BY j.name",
        &[],
        |row| row.text(0),
    )
}

/// What is told of this build, if it failed and was looked at.
pub fn of_build(tx: &mut Tx<'_>, build_id: i64) -> Result<Option<Failure>> {
    let found = tx.query_opt(
        select_failed!("WHERE b.id = $1 AND b.main_binary IS NULL"),
        &[build_id.into()],
        failure_from_row,
    )?;
    Ok(found.flatten())
}

/// Up to `count` failed builds that were not looked at by this version of those who tell, newest
/// first.
pub fn unknown(tx: &mut Tx<'_>, version: i64, count: u32) -> Result<Vec<Build>> {
    tx.query(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.main_binary IS NULL AND NOT EXISTS
               (SELECT 1 FROM own.failure f
                WHERE f.build = b.id AND f.uuid = b.uuid AND f.version = $1)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $2"
        ),
        &[version.into(), i64::from(count).into()],
        Build::from_row,
    )
}

/// Keeps what is told of a build.
pub fn set(
    tx: &mut Tx<'_>,
    build_id: i64,
    uuid: Uuid,
    version: i64,
    failure: &Failure,
) -> Result<()> {
    let (line, told) = match &failure.told {
        Some((line, text)) => (i64::try_from(*line).ok(), Some(text.as_str())),
        None => (None, None),
    };
    tx.execute(
        "INSERT INTO own.failure (build, uuid, version, class, line, told, last_lines)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (build) DO UPDATE SET uuid = excluded.uuid, version = excluded.version,
           class = excluded.class, line = excluded.line, told = excluded.told,
           last_lines = excluded.last_lines",
        &[
            build_id.into(),
            uuid.to_string().as_str().into(),
            version.into(),
            failure.class.as_str().into(),
            line.into(),
            told.into(),
            failure.last_lines.join("\n").as_str().into(),
        ],
    )?;
    Ok(())
}

/// Forgets what was told of builds that are gone.
pub fn forget_gone(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute(
        "DELETE FROM own.failure WHERE NOT EXISTS
           (SELECT 1 FROM build b WHERE b.id = build AND b.uuid = failure.uuid)",
        &[],
    )?;
    Ok(())
}
