//! The builds of each job on each platform in the order of time, and since when they are reproduced
//! or not.
//!
//! The v18 tables have an index for the builds of a job, none for those on one platform of it, and
//! whether a build was reproduced is told by counting. Both are kept in a table of our own, which
//! goes as far as `own.progress` does, see [`crate::latest`]: so what is asked of a platform that is
//! built rarely, or of one that has been reproduced for years, takes some steps down an index. Who
//! finds builds that are not in the table yet, as in the first seconds after it was made anew, reads
//! the v18 tables, within a bound, and is told that there may be more.

use builder_exec::Timestamp;

use crate::builds::{Build, select_build};
use crate::db::{Row, Value, days, picoseconds};
use crate::record::removed;
use crate::verdict::Verdict;
use crate::{Result, Tx, builds, latest, verdict};

pub use events::{Change, Event, ceased, changes};
pub(crate) use upkeep::{add, forget};

mod events;
mod upkeep;

/// Builds of a run that are counted: so many take a tenth of a millisecond.
const COUNTED_MAX: u32 = 1_000;
/// Builds that are looked at where the table does not go far enough.
const WALKED_MAX: u32 = 300;
/// Builds that are looked through for the last one from another input.
const SAME_INPUT_MAX: i64 = 1_000;

/// What an input has shown, as the table has it of a build.
mod judged {
    /// The build has no main binary.
    pub(super) const FAILED: i64 = 0;
    /// Its input was built once, or was not recorded.
    pub(super) const ONCE: i64 = 1;
    /// Its input gave one output each time, and more than one user uploaded that.
    pub(super) const REPRODUCED: i64 = 2;
    /// Its input gave several outputs.
    pub(super) const NOT_REPRODUCIBLE: i64 = 3;
    /// Its input gave one output each time, but one user alone uploaded that.
    pub(super) const REPEATED: i64 = 4;
}
use judged::{FAILED, NOT_REPRODUCIBLE, REPEATED, REPRODUCED};

/// How many builds there are of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// So many at least.
    pub builds: u64,
    /// Whether there may be more: they were not counted.
    pub more: bool,
}

/// Since when builds of a job on a platform are reproduced, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// That is not known yet.
    Untold,
    /// No build has succeeded.
    NothingBuilt,
    /// No input was built more than once.
    NeverRepeated,
    /// The last input that was built more than once gave one output each time.
    Reproduced {
        /// Reproduced builds since the last that was not reproducible.
        builds: Count,
        /// How many of them others than their own uploader gave, too.
        by_others: u64,
        /// The first of them.
        since: Box<Build>,
        /// Whether there may be older ones.
        earlier: bool,
    },
    /// The last input that was built more than once gave several outputs.
    NotSince {
        /// The first build that is not reproducible.
        first: Box<Build>,
        /// Whether there may be older ones.
        earlier: bool,
        /// Whether builds between it and the last that was reproduced were removed: they may have been
        /// not reproducible, too.
        removed: bool,
        /// Reproduced builds before it, since the one before that was not reproducible.
        reproduced_before: Count,
        /// The last successful build before it whose input is another one.
        before: Option<Box<Build>>,
    },
}

/// A place in the order of time, as [`Build::age`].
type Age = (Timestamp, i64);

/// The builds of a job on a platform, whatever became of them, newest first: at most `count` of
/// those that are older than `before`.
pub fn newest(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: &str,
    before: Option<Age>,
    count: u32,
) -> Result<Vec<Build>> {
    let [start_d, start_ps, id] = moment(before);
    if !follows(tx)? {
        return builds::history(tx, job_id, Some(platform), before, count);
    }
    tx.query_list(
        select_build!(
            "FROM own.past p CROSS JOIN build b ON b.id = p.build AND b.job = p.job
             JOIN job j ON j.id = b.job LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE p.job = $1 AND p.platform = $2 AND (p.start_d, p.start_ps, p.build) < ($4, $5, $6)
             ORDER BY p.start_d DESC, p.start_ps DESC, p.build DESC LIMIT $3"
        ),
        &[
            job_id.into(),
            platform.into(),
            i64::from(count).into(),
            start_d,
            start_ps,
            id,
        ],
        Build::from_row,
    )
}

/// How many of the newest builds of a job on a platform failed, without a success since.
pub fn failing(tx: &mut Tx<'_>, job_id: i64, platform: &str) -> Result<Count> {
    if !follows(tx)? {
        let builds = builds::history(tx, job_id, Some(platform), None, WALKED_MAX)?;
        let failing = builds
            .iter()
            .take_while(|build| build.main_binary.is_none());
        let failing = failing.count();
        return Ok(Count {
            builds: failing as u64,
            more: failing == WALKED_MAX as usize,
        });
    }
    let success = tx.query_opt(
        "SELECT start_d, start_ps, build FROM own.latest
         WHERE job = $1 AND platform = $2 AND NOT failed",
        &[job_id.into(), platform.into()],
        key,
    )?;
    count(tx, job_id, platform, FAILED, success, None)
}

/// The nearest build of each kind but failed ones, in the direction of an order, of which the nearest
/// is taken: each is found by a step down an index, however many failed between.
macro_rules! select_nearest {
    ($than:literal, $order:literal) => {
        select_build!(concat!(
            "FROM (",
            select_nearest!(1, $than, $order),
            " UNION ALL ",
            select_nearest!(2, $than, $order),
            " UNION ALL ",
            select_nearest!(3, $than, $order),
            " UNION ALL ",
            select_nearest!(4, $than, $order),
            ") p CROSS JOIN build b ON b.id = p.build
             JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             ORDER BY p.start_d ",
            $order,
            ", p.start_ps ",
            $order,
            ", p.build ",
            $order,
            " LIMIT 1"
        ))
    };
    ($judged:literal, $than:literal, $order:literal) => {
        concat!(
            "SELECT * FROM (
               SELECT p.start_d, p.start_ps, p.build FROM own.past p
               WHERE p.job = $1 AND p.platform = $2 AND p.judged = ",
            $judged,
            " AND (p.start_d, p.start_ps, p.build) ",
            $than,
            " ($3, $4, $5) AND EXISTS (SELECT 1 FROM build b WHERE b.id = p.build AND b.job = p.job)
               ORDER BY p.start_d ",
            $order,
            ", p.start_ps ",
            $order,
            ", p.build ",
            $order,
            " LIMIT 1) o"
        )
    };
}

/// The successful build before this one, on the same platform of the same job.
pub fn successful_before(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Build>> {
    let sql = match follows(tx)? {
        true => select_nearest!("<", "DESC"),
        false => select_build!(
            "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND b.platform = $2 AND b.start_d <= $3
               AND (b.start_d, b.start_ps, b.id) < ($3, $4, $5)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1"
        ),
    };
    beside(tx, build, sql)
}

/// The successful build after this one, on the same platform of the same job.
pub fn successful_after(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Build>> {
    let sql = match follows(tx)? {
        true => select_nearest!(">", "ASC"),
        false => select_build!(
            "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND b.platform = $2 AND b.start_d >= $3
               AND (b.start_d, b.start_ps, b.id) > ($3, $4, $5)
             ORDER BY b.start_d, b.start_ps, b.id LIMIT 1"
        ),
    };
    beside(tx, build, sql)
}

fn beside(tx: &mut Tx<'_>, build: &Build, sql: &'static str) -> Result<Option<Build>> {
    let [start_d, start_ps, id] = moment(Some(build.age()));
    tx.query_opt(
        sql,
        &[
            build.job_id.into(),
            build.platform.as_str().into(),
            start_d,
            start_ps,
            id,
        ],
        Build::from_row,
    )
}

/// Where a job stands on a platform.
pub fn standing(tx: &mut Tx<'_>, job_id: i64, platform: &str) -> Result<Standing> {
    let told = match follows(tx)? {
        true => listed(tx, job_id, platform)?,
        false => None,
    };
    match told {
        Some(told) => Ok(told),
        None => walked(tx, job_id, platform),
    }
}

/// From the table; none where it names builds that are gone.
fn listed(tx: &mut Tx<'_>, job_id: i64, platform: &str) -> Result<Option<Standing>> {
    let good = last_good(tx, job_id, platform, None)?;
    let bad = last(tx, job_id, platform, NOT_REPRODUCIBLE, None)?;
    if good.is_none() && bad.is_none() {
        let built = last_successful(tx, job_id, platform)?;
        return Ok(Some(match built {
            true => Standing::NeverRepeated,
            false => Standing::NothingBuilt,
        }));
    }
    if good > bad {
        let by_others = first(tx, job_id, platform, REPRODUCED, bad)?;
        let repeated = first(tx, job_id, platform, REPEATED, bad)?;
        let first = [by_others, repeated].into_iter().flatten();
        let Some(since) = first.min_by_key(Build::age) else {
            return Ok(None);
        };
        let by_others = count(tx, job_id, platform, REPRODUCED, bad, None)?;
        return Ok(Some(Standing::Reproduced {
            builds: count_good(tx, job_id, platform, bad, None)?,
            by_others: by_others.builds,
            since: Box::new(since),
            earlier: false,
        }));
    }
    let Some(first_bad) = first(tx, job_id, platform, NOT_REPRODUCIBLE, good)? else {
        return Ok(None);
    };
    let reproduced_before = match good {
        Some(good) => {
            let bad_before = last(tx, job_id, platform, NOT_REPRODUCIBLE, Some(good))?;
            count_good(tx, job_id, platform, bad_before, Some(good))?
        }
        None => Count {
            builds: 0,
            more: false,
        },
    };
    let (after_d, after_ps, _) = good.unwrap_or(BEFORE_ALL);
    Ok(Some(Standing::NotSince {
        before: of_another_input(tx, &first_bad)?.map(Box::new),
        earlier: false,
        removed: removed::is_any_between(
            tx,
            (&first_bad.job, platform),
            (after_d, after_ps),
            &first_bad.start,
        )?,
        first: Box::new(first_bad),
        reproduced_before,
    }))
}

/// Days, picoseconds, build: sorts as [`Build::age`] does.
type Key = (i64, i64, i64);
const BEFORE_ALL: Key = (i64::MIN, i64::MIN, i64::MIN);
const AFTER_ALL: Key = (i64::MAX, i64::MAX, i64::MAX);

fn key(row: &Row<'_>) -> Result<Key> {
    Ok((row.int(0)?, row.int(1)?, row.int(2)?))
}

/// The newest build of which an input has shown this, older than `before`.
fn last(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: &str,
    judged: i64,
    before: Option<Key>,
) -> Result<Option<Key>> {
    let (start_d, start_ps, id) = before.unwrap_or(AFTER_ALL);
    tx.query_opt(
        "SELECT start_d, start_ps, build FROM own.past
         WHERE job = $1 AND platform = $2 AND judged = $3
           AND (start_d, start_ps, build) < ($4, $5, $6)
         ORDER BY start_d DESC, start_ps DESC, build DESC LIMIT 1",
        &[
            job_id.into(),
            platform.into(),
            judged.into(),
            start_d.into(),
            start_ps.into(),
            id.into(),
        ],
        key,
    )
}

/// The newest build that is reproduced, by whomever, older than `before`.
fn last_good(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: &str,
    before: Option<Key>,
) -> Result<Option<Key>> {
    let reproduced = last(tx, job_id, platform, REPRODUCED, before)?;
    Ok(reproduced.max(last(tx, job_id, platform, REPEATED, before)?))
}

/// The oldest build of which an input has shown this, newer than `after`.
fn first(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: &str,
    judged: i64,
    after: Option<Key>,
) -> Result<Option<Build>> {
    let (start_d, start_ps, id) = after.unwrap_or(BEFORE_ALL);
    tx.query_opt(
        select_build!(
            "FROM own.past p CROSS JOIN build b ON b.id = p.build AND b.job = p.job
             JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE p.job = $1 AND p.platform = $2 AND p.judged = $3
               AND (p.start_d, p.start_ps, p.build) > ($4, $5, $6)
             ORDER BY p.start_d, p.start_ps, p.build LIMIT 1"
        ),
        &[
            job_id.into(),
            platform.into(),
            judged.into(),
            start_d.into(),
            start_ps.into(),
            id.into(),
        ],
        Build::from_row,
    )
}

/// How many builds there are of which an input has shown this, or that failed: newer than `after`,
/// up to and with `to`.
fn count(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: &str,
    judged: i64,
    after: Option<Key>,
    to: Option<Key>,
) -> Result<Count> {
    let (after, to) = (after.unwrap_or(BEFORE_ALL), to.unwrap_or(AFTER_ALL));
    let builds = tx.query_opt(
        "SELECT COUNT(*) FROM (SELECT 1 FROM own.past
           WHERE job = $1 AND platform = $2 AND judged = $3
             AND (start_d, start_ps, build) > ($4, $5, $6)
             AND (start_d, start_ps, build) <= ($7, $8, $9)
           LIMIT $10) o",
        &[
            job_id.into(),
            platform.into(),
            judged.into(),
            after.0.into(),
            after.1.into(),
            after.2.into(),
            to.0.into(),
            to.1.into(),
            to.2.into(),
            i64::from(COUNTED_MAX + 1).into(),
        ],
        |row| row.size(0),
    )?;
    let builds = builds.unwrap_or(0);
    Ok(Count {
        builds: builds.min(COUNTED_MAX.into()),
        more: builds > COUNTED_MAX.into(),
    })
}

/// How many builds are reproduced, by whomever: as [`count`].
fn count_good(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: &str,
    after: Option<Key>,
    to: Option<Key>,
) -> Result<Count> {
    let reproduced = count(tx, job_id, platform, REPRODUCED, after, to)?;
    let repeated = count(tx, job_id, platform, REPEATED, after, to)?;
    let builds = reproduced.builds.saturating_add(repeated.builds);
    Ok(Count {
        builds: builds.min(COUNTED_MAX.into()),
        more: reproduced.more || repeated.more || builds > COUNTED_MAX.into(),
    })
}

fn last_successful(tx: &mut Tx<'_>, job_id: i64, platform: &str) -> Result<bool> {
    let known = tx.query_opt(
        "SELECT 1 FROM own.latest WHERE job = $1 AND platform = $2 AND NOT failed",
        &[job_id.into(), platform.into()],
        |row| row.int(0),
    )?;
    Ok(known.is_some())
}

/// The last successful build before this one, on its platform, whose input is another one.
fn of_another_input(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Build>> {
    let [start_d, start_ps, id] = moment(Some(build.age()));
    let other = tx.query_opt(
        "SELECT o.build FROM (
           SELECT p.build AS build, p.judged AS judged, b.input_id AS input_id
           FROM own.past p CROSS JOIN build b ON b.id = p.build AND b.job = p.job
           WHERE p.job = $1 AND p.platform = $2
             AND (p.start_d, p.start_ps, p.build) < ($3, $4, $5)
           ORDER BY p.start_d DESC, p.start_ps DESC, p.build DESC LIMIT $6
         ) o WHERE o.judged > 0 AND (o.input_id IS NULL OR o.input_id <> $7) LIMIT 1",
        &[
            build.job_id.into(),
            build.platform.as_str().into(),
            start_d,
            start_ps,
            id,
            SAME_INPUT_MAX.into(),
            build.input_id.as_ref().into(),
        ],
        |row| row.int(0),
    )?;
    match other {
        Some(other) => builds::by_id(tx, other),
        None => Ok(None),
    }
}

/// As [`listed`], from the newest builds in the v18 tables.
fn walked(tx: &mut Tx<'_>, job_id: i64, platform: &str) -> Result<Standing> {
    let builds = builds::history(tx, job_id, Some(platform), None, WALKED_MAX)?;
    let verdicts = verdict::of_history(tx, &builds)?;
    let cut = builds.len() == WALKED_MAX as usize;
    Ok(of_past(&builds, &verdicts, cut))
}

/// Where a platform stands, by builds on it, newest first, with their verdicts; `cut`: there may be
/// older ones.
fn of_past(builds: &[Build], verdicts: &[Verdict], cut: bool) -> Standing {
    let past: Vec<(&Build, Verdict)> = builds.iter().zip(verdicts.iter().copied()).collect();
    let known: Vec<(usize, bool)> = past
        .iter()
        .enumerate()
        .filter_map(|(at, (_, verdict))| match verdict {
            Verdict::Reproduced { .. } => Some((at, true)),
            Verdict::NotReproducible => Some((at, false)),
            _ => None,
        })
        .collect();
    let Some((_, now)) = known.first() else {
        return match past.iter().all(|(_, verdict)| *verdict == Verdict::Failed) {
            _ if cut => Standing::Untold,
            true => Standing::NothingBuilt,
            false => Standing::NeverRepeated,
        };
    };
    let run = known.iter().take_while(|(_, good)| good == now).count();
    let earlier = cut && run == known.len();
    let at = known[run - 1].0;
    let first = past[at].0.clone();
    if *now {
        let by_others = known[..run]
            .iter()
            .filter(|(at, _)| !past[*at].1.is_by_itself());
        return Standing::Reproduced {
            builds: Count {
                builds: run as u64,
                more: earlier,
            },
            by_others: by_others.count() as u64,
            since: Box::new(first),
            earlier,
        };
    }
    let good = known[run..].iter().take_while(|(_, good)| *good).count();
    let before = past[at + 1..]
        .iter()
        .find(|(build, verdict)| *verdict != Verdict::Failed && build.input_id != first.input_id);
    Standing::NotSince {
        before: before.map(|(build, _)| Box::new((*build).clone())),
        first: Box::new(first),
        earlier,
        removed: false,
        reproduced_before: Count {
            builds: good as u64,
            more: cut && run + good == known.len(),
        },
    }
}

/// Whether every build is in the table.
fn follows(tx: &mut Tx<'_>) -> Result<bool> {
    let indexed = latest::indexed_build(tx)?;
    let more = tx.query_opt(
        "SELECT 1 FROM build WHERE id > $1 LIMIT 1",
        &[indexed.into()],
        |row| row.int(0),
    )?;
    Ok(more.is_none())
}

/// For builds that are older than this.
fn moment(before: Option<Age>) -> [Value<'static>; 3] {
    match before {
        Some((start, id)) => [days(&start), picoseconds(&start), id.into()],
        None => [i64::MAX.into(), i64::MAX.into(), i64::MAX.into()],
    }
}
