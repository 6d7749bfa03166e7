//! Builds without a main binary, and what is told of why each failed, by whoever can tell: in a
//! table of our own, which lists them in the order of time and follows the database as
//! [`crate::latest`] does. A row is believed only for the build it was made of, row and uuid, since
//! others write to the database too.

use std::cmp::Reverse;

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::builds::{Build, select_build};
use crate::db::{Row, Value, days, picoseconds};
use crate::latest::Added;
use crate::{Result, Tx, latest};

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
    ($rest:expr) => {
        concat!(
            "SELECT b.id, b.uuid, j.id, j.name, b.platform, b.start_d, b.start_ps, b.finish_d, \
             b.finish_ps, b.result_code, b.result_msg, b.console, b.script, b.input_id, b.user, \
             NULL, NULL, NULL, f.class, f.line, f.told, f.last_lines ",
            $rest
        )
    };
}

/// Those that our table has, the newest before a moment first: all, or those of a job or class.
macro_rules! select_listed {
    ($which:literal) => {
        select_failed!(concat!(
            "FROM own.failure f CROSS JOIN build b ON b.id = f.build AND b.uuid = f.uuid \
             JOIN job j ON j.id = b.job \
             WHERE ",
            $which,
            " AND (f.start_d, f.start_ps, f.build) < ($4, $5, $6) AND f.build <= $7 \
             AND b.main_binary IS NULL AND (b.job = $1 OR $1 IS NULL) \
             AND (b.platform = $2 OR $2 IS NULL) AND (f.class = $3 OR $3 IS NULL) \
             ORDER BY f.start_d DESC, f.start_ps DESC, f.build DESC LIMIT $8 OFFSET $9"
        ))
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

/// A failed build, with what is told of it, if it was looked at.
pub type Failed = (Build, Option<Failure>);

/// Failed builds, newest first: `count` of them after `start`; with what is told of each, if it
/// was looked at.
pub fn list(
    tx: &mut Tx<'_>,
    filter: Filter<'_>,
    start: u32,
    count: u32,
) -> Result<Vec<(Build, Option<Failure>)>> {
    let wanted = Wanted {
        before: None,
        start: start as usize,
        count: count as usize,
    };
    newest(tx, filter, &wanted)
}

/// Failed builds, newest first: `count` of those that are older than `before`, a value of
/// [`Build::age`].
pub fn before(
    tx: &mut Tx<'_>,
    filter: Filter<'_>,
    before: Option<(Timestamp, i64)>,
    count: usize,
) -> Result<Vec<(Build, Option<Failure>)>> {
    let wanted = Wanted {
        before,
        start: 0,
        count,
    };
    newest(tx, filter, &wanted)
}

/// Which part of a list.
struct Wanted {
    before: Option<(Timestamp, i64)>,
    start: usize,
    count: usize,
}

fn newest(tx: &mut Tx<'_>, filter: Filter<'_>, wanted: &Wanted) -> Result<Vec<Failed>> {
    let indexed = latest::indexed_build(tx)?;
    if latest::is_far_behind(tx, indexed)? {
        return match filter.job_id {
            Some(job_id) => newest_of_job(tx, job_id, filter, wanted),
            None => newest_of_jobs(tx, filter, wanted),
        };
    }
    let mut more = not_listed(tx, filter, indexed)?;
    if let Some(before) = wanted.before {
        more.retain(|(build, _)| build.age() < before);
    }
    // What is not listed yet goes between what is.
    let (start, count) = match more.len() {
        0 => (wanted.start, wanted.count),
        _ => (0, wanted.start.saturating_add(wanted.count)),
    };
    let (start_d, start_ps, id) = moment(wanted);
    let sql = match filter {
        Filter {
            job_id: Some(_), ..
        } => select_listed!("f.job = $1"),
        Filter { class: Some(_), .. } => select_listed!("f.class = $3"),
        _ => select_listed!("TRUE"),
    };
    let mut failed = tx.query_list(
        sql,
        &[
            filter.job_id.into(),
            filter.platform.into(),
            filter.class.into(),
            start_d,
            start_ps,
            id.into(),
            indexed.into(),
            signed(count).into(),
            signed(start).into(),
        ],
        |row| Ok((Build::from_row(row)?, failure_from_row(row)?)),
    )?;
    if more.is_empty() {
        return Ok(failed);
    }
    failed.extend(more);
    failed.sort_by_key(|(build, _)| Reverse(build.age()));
    let failed = failed.into_iter().skip(wanted.start).take(wanted.count);
    Ok(failed.collect())
}

/// As [`newest`], from the v18 tables: they have an index for the failed builds of a job.
fn newest_of_job(
    tx: &mut Tx<'_>,
    job_id: i64,
    filter: Filter<'_>,
    wanted: &Wanted,
) -> Result<Vec<Failed>> {
    let (start_d, start_ps, id) = moment(wanted);
    tx.query_list(
        select_failed!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN own.failure f ON f.build = b.id AND f.uuid = b.uuid
             WHERE b.job = $1 AND b.main_binary IS NULL
               AND (b.start_d, b.start_ps, b.id) < ($4, $5, $6)
               AND (b.platform = $2 OR $2 IS NULL) AND (f.class = $3 OR $3 IS NULL)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $7 OFFSET $8"
        ),
        &[
            job_id.into(),
            filter.platform.into(),
            filter.class.into(),
            start_d,
            start_ps,
            id.into(),
            signed(wanted.count).into(),
            signed(wanted.start).into(),
        ],
        |row| Ok((Build::from_row(row)?, failure_from_row(row)?)),
    )
}

/// As [`newest`], of all jobs, from the v18 tables: which builds of each job may be among those
/// that are wanted is read from its index, and only those that are wanted are read as a whole.
fn newest_of_jobs(tx: &mut Tx<'_>, filter: Filter<'_>, wanted: &Wanted) -> Result<Vec<Failed>> {
    macro_rules! select_ages {
        ($which:literal) => {
            concat!(
                "SELECT b.start_d, b.start_ps, b.id FROM build b
                 WHERE b.job = $1 AND b.main_binary IS NULL
                   AND (b.start_d, b.start_ps, b.id) < ($2, $3, $4)",
                $which,
                " ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $5"
            )
        };
    }
    let sql = match (filter.platform, filter.class) {
        // Read in the order of the index, and no further than is wanted.
        (None, None) => select_ages!(""),
        _ => select_ages!(
            " AND (b.platform = $6 OR $6 IS NULL)
              AND ($7 = '' OR EXISTS (SELECT 1 FROM own.failure f
                WHERE f.build = b.id AND f.uuid = b.uuid AND f.class = $7))"
        ),
    };
    let (start_d, start_ps, id) = moment(wanted);
    let up_to = wanted.start.saturating_add(wanted.count);
    let params = |job_id: i64| {
        [
            job_id.into(),
            start_d,
            start_ps,
            id.into(),
            signed(up_to).into(),
            filter.platform.into(),
            filter.class.unwrap_or_default().into(),
        ]
    };
    let mut ages: Vec<(i64, i64, i64)> = Vec::new();
    for job_id in tx.query("SELECT id FROM job", &[], |row| row.int(0))? {
        ages.extend(tx.query(sql, &params(job_id), |row| {
            Ok((row.int(0)?, row.int(1)?, row.int(2)?))
        })?);
        ages.sort_by_key(|age| Reverse(*age));
        ages.truncate(up_to);
    }
    let mut failed = Vec::new();
    for (_, _, id) in ages.into_iter().skip(wanted.start) {
        failed.extend(tx.query_list(
            select_failed!(
                "FROM build b JOIN job j ON j.id = b.job
                 LEFT JOIN own.failure f ON f.build = b.id AND f.uuid = b.uuid WHERE b.id = $1"
            ),
            &[id.into()],
            |row| Ok((Build::from_row(row)?, failure_from_row(row)?)),
        )?);
    }
    Ok(failed)
}

/// What is wanted is older than that.
fn moment(wanted: &Wanted) -> (Value<'static>, Value<'static>, i64) {
    match &wanted.before {
        Some((start, id)) => (days(start), picoseconds(start), *id),
        None => (i64::MAX.into(), i64::MAX.into(), i64::MAX),
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Failed builds after the last that our tables have followed: few, but right after the start.
fn not_listed(tx: &mut Tx<'_>, filter: Filter<'_>, indexed: i64) -> Result<Vec<Failed>> {
    tx.query_list(
        select_failed!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN own.failure f ON f.build = b.id AND f.uuid = b.uuid
             WHERE b.id > $4 AND +b.main_binary IS NULL AND (+b.job = $1 OR $1 IS NULL)
               AND (b.platform = $2 OR $2 IS NULL) AND (f.class = $3 OR $3 IS NULL)"
        ),
        &[
            filter.job_id.into(),
            filter.platform.into(),
            filter.class.into(),
            indexed.into(),
        ],
        |row| Ok((Build::from_row(row)?, failure_from_row(row)?)),
    )
}

/// How many failed builds there are of each class, the most first; none: not looked at yet. The
/// class of the filter does not matter.
pub fn classes(tx: &mut Tx<'_>, filter: Filter<'_>) -> Result<Vec<(Option<String>, u64)>> {
    macro_rules! select_classes {
        ($job:literal, $more:literal) => {
            concat!(
                "SELECT n.class, SUM(n.builds) FROM (
                   SELECT t.class, t.builds FROM own.failure_tally t
                   WHERE ",
                $job,
                " AND (t.platform = $2 OR $2 IS NULL) AND $3 > 0
                   UNION ALL
                   SELECT COALESCE(f.class, ''), 1 FROM build b
                   LEFT JOIN own.failure f ON f.build = b.id AND f.uuid = b.uuid
                   WHERE b.id > $3 AND ",
                $more,
                " AND (b.platform = $2 OR $2 IS NULL) AND (f.build IS NULL OR $3 = 0)
                 ) n GROUP BY n.class HAVING SUM(n.builds) > 0
                 ORDER BY SUM(n.builds) DESC, n.class"
            )
        };
    }
    let indexed = latest::indexed_build(tx)?;
    let sql = match (filter.job_id, latest::is_far_behind(tx, indexed)?) {
        (Some(_), true) => select_classes!("t.job = $1", "b.job = $1 AND b.main_binary IS NULL"),
        (None, true) => select_classes!("TRUE", "b.main_binary IS NULL"),
        // The pluses keep the search to the few builds that are not listed yet.
        (Some(_), false) => {
            select_classes!("t.job = $1", "+b.job = $1 AND +b.main_binary IS NULL")
        }
        (None, false) => select_classes!("TRUE", "+b.main_binary IS NULL"),
    };
    tx.query(
        sql,
        &[filter.job_id.into(), filter.platform.into(), indexed.into()],
        |row| {
            let class = row.text(0)?;
            Ok(((!class.is_empty()).then_some(class), row.size(1)?))
        },
    )
}

/// Failed builds that are counted for [`classes_since`].
const RECENT_MAX: i64 = 50_000;

/// How many builds that started then or later failed of each class, the most first, counted among
/// the newest fifty thousand; none: not looked at yet.
pub fn classes_since(tx: &mut Tx<'_>, since: &Timestamp) -> Result<Vec<(Option<String>, u64)>> {
    tx.query(
        "SELECT n.class, COUNT(*) FROM (
           SELECT f.class FROM own.failure f
           WHERE f.start_d >= $1 AND (f.start_d, f.start_ps) >= ($1, $2)
           ORDER BY f.start_d DESC, f.start_ps DESC LIMIT $3
         ) n GROUP BY n.class ORDER BY COUNT(*) DESC, n.class",
        &[days(since), picoseconds(since), RECENT_MAX.into()],
        |row| Ok((row.text_opt(0)?, row.size(1)?)),
    )
}

/// The platforms on which builds failed, by name.
pub fn platforms(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    let indexed = latest::indexed_build(tx)?;
    tx.query(
        "SELECT t.platform FROM own.tally t WHERE t.failed AND t.builds > 0 AND $1 > 0
         UNION SELECT b.platform FROM build b WHERE b.id > $1 AND +b.main_binary IS NULL
         ORDER BY 1",
        &[indexed.into()],
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
        select_failed!(
            "FROM build b JOIN job j ON j.id = b.job
             JOIN own.failure f ON f.build = b.id AND f.uuid = b.uuid
             WHERE b.id = $1 AND b.main_binary IS NULL"
        ),
        &[build_id.into()],
        failure_from_row,
    )?;
    Ok(found.flatten())
}

/// Failed builds that nobody has looked at yet, of those that are indexed.
pub fn unknown_count(tx: &mut Tx<'_>) -> Result<u64> {
    let count = tx.query_opt(
        "SELECT COALESCE(SUM(builds), 0) FROM own.failure_tally WHERE class = ''",
        &[],
        |row| row.size(0),
    )?;
    Ok(count.unwrap_or(0))
}

/// Up to `count` failed builds that were not looked at by this version of those who tell: those
/// that nobody has looked at first.
pub fn unknown(tx: &mut Tx<'_>, version: i64, count: u32) -> Result<Vec<Build>> {
    macro_rules! select_unknown {
        ($which:literal) => {
            select_build!(concat!(
                "FROM own.failure f CROSS JOIN build b ON b.id = f.build AND b.uuid = f.uuid
                 JOIN job j ON j.id = b.job LEFT JOIN build_artifact m ON m.id = b.main_binary
                 WHERE b.main_binary IS NULL AND ",
                $which,
                " LIMIT $2"
            ))
        };
    }
    let params = [version.into(), i64::from(count).into()];
    let mut unknown = tx.query_list(
        select_unknown!("f.version = 0 AND f.version <> $1 ORDER BY f.build DESC"),
        &params,
        Build::from_row,
    )?;
    for sql in [
        select_unknown!("f.version > 0 AND f.version < $1"),
        select_unknown!("f.version > 0 AND f.version > $1"),
    ] {
        unknown.extend(tx.query_list(sql, &params, Build::from_row)?);
    }
    let indexed = latest::indexed_build(tx)?;
    unknown.extend(tx.query_list(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.id > $1 AND +b.main_binary IS NULL AND NOT EXISTS
               (SELECT 1 FROM own.failure f WHERE f.build = b.id AND f.uuid = b.uuid)
             ORDER BY b.id DESC LIMIT $2"
        ),
        &[indexed.into(), i64::from(count).into()],
        Build::from_row,
    )?);
    unknown.truncate(count as usize);
    Ok(unknown)
}

/// Lists a build that failed, before anybody has looked at it.
pub(crate) fn note(tx: &mut Tx<'_>, build: &Added) -> Result<()> {
    tx.execute(
        "INSERT INTO own.failure
           (build, uuid, job, platform, start_d, start_ps, version, class, last_lines)
         VALUES ($1, $2, $3, $4, $5, $6, 0, NULL, '')
         ON CONFLICT (build) DO UPDATE SET uuid = excluded.uuid, job = excluded.job,
           platform = excluded.platform, start_d = excluded.start_d, start_ps = excluded.start_ps,
           version = 0, class = NULL, line = NULL, told = NULL, last_lines = ''
         WHERE failure.uuid <> excluded.uuid",
        &[
            build.id.into(),
            build.uuid.to_string().as_str().into(),
            build.job.into(),
            build.platform.as_str().into(),
            days(&build.start),
            picoseconds(&build.start),
        ],
    )?;
    Ok(())
}

/// Keeps what is told of a build, if it is there.
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
        "INSERT INTO own.failure (build, uuid, job, platform, start_d, start_ps,
           version, class, line, told, last_lines)
         SELECT b.id, b.uuid, b.job, b.platform, b.start_d, b.start_ps, $3, $4, $5, $6, $7
         FROM build b WHERE b.id = $1 AND b.uuid = $2
         ON CONFLICT (build) DO UPDATE SET uuid = excluded.uuid, job = excluded.job,
           platform = excluded.platform, start_d = excluded.start_d, start_ps = excluded.start_ps,
           version = excluded.version, class = excluded.class, line = excluded.line,
           told = excluded.told, last_lines = excluded.last_lines",
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

/// Forgets the builds that are gone.
pub(crate) fn forget_gone(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute(
        "DELETE FROM own.failure WHERE NOT EXISTS
           (SELECT 1 FROM build b WHERE b.id = failure.build AND b.uuid = failure.uuid)",
        &[],
    )?;
    Ok(())
}
