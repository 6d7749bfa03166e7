//! The builds of each job on each platform in the order of time, and since when they are reproduced
//! or not.
//!
//! The v18 tables have an index for the builds of a job, none for those on one platform of it, and
//! whether a build was reproduced is told by counting. Both are kept in a table of our own, which
//! goes as far as `own.progress` does, see [`crate::latest`]: so what is asked of a platform that is
//! built rarely, or of one that has been reproduced for years, takes some steps down an index. Who
//! finds builds that are not in the table yet, as in the first seconds after it was made anew, reads
//! the v18 tables, within a bound, and is told that there may be more.

use std::collections::{BTreeMap, BTreeSet};

use builder_exec::Timestamp;

use crate::builds::{Build, select_build};
use crate::db::{Row, Value, days, picoseconds};
use crate::latest::Added;
use crate::record::removed;
use crate::verdict::{self, Verdict};
use crate::{Result, Sha256, Tx, builds, latest, outputs};

/// Builds of a run that are counted: so many take a tenth of a millisecond.
const COUNTED_MAX: u32 = 1_000;
/// Builds that are looked at where the table does not go far enough.
const WALKED_MAX: u32 = 300;
/// Builds that are looked through for changes of the output.
const CHANGES_MAX: u32 = 1_000;
/// Of these, read at a time: most jobs have enough changes among fewer.
const OUTCOMES_AT_ONCE: u32 = 100;
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
use judged::{FAILED, NOT_REPRODUCIBLE, ONCE, REPEATED, REPRODUCED};

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

/// Has everything followed from the first build on.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute("DELETE FROM own.past", &[])?;
    tx.execute("DELETE FROM own.ceased", &[])?;
    Ok(())
}

/// Follows with the table one turn of [`latest::catch_up`]: the builds after `indexed`, and their
/// inputs.
pub(crate) fn add(
    tx: &mut Tx<'_>,
    builds: &[Added],
    inputs: &BTreeSet<Sha256>,
    indexed: i64,
) -> Result<()> {
    for build in builds {
        tx.execute(
            "INSERT INTO own.past (job, platform, start_d, start_ps, build, judged)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (job, platform, start_d, start_ps, build) DO UPDATE
             SET judged = excluded.judged",
            &[
                build.job.into(),
                build.platform.as_str().into(),
                days(&build.start),
                picoseconds(&build.start),
                build.id.into(),
                if build.failed { FAILED } else { ONCE }.into(),
            ],
        )?;
    }
    let Some(last) = builds.last() else {
        return Ok(());
    };
    let mut ceased = Vec::new();
    for input_id in inputs {
        judge(tx, *input_id, indexed, last.id, &mut ceased)?;
    }
    // When all is known of what was before.
    for ceased in &ceased {
        note(tx, ceased)?;
    }
    Ok(())
}

/// A successful build of an input.
struct Given {
    id: i64,
    job: i64,
    platform: String,
    start_d: i64,
    start_ps: i64,
    finish_d: i64,
    finish_ps: i64,
    output: Sha256,
    uploader: i64,
}

impl Given {
    fn key(&self) -> Key {
        (self.start_d, self.start_ps, self.id)
    }
}

/// An input that was built on a platform of a job and gave several outputs.
struct Ceased {
    input_id: Sha256,
    job: i64,
    platform: String,
    /// Of the builds there, the one that shows it.
    build: i64,
    /// When that was known: as the build ended that shows it.
    at: (i64, i64),
    /// The oldest of the builds there.
    oldest: Key,
}

/// Keeps what an input has shown with the builds of it up to row `last`, those after row `indexed`
/// being new. What it had shown before is not looked at again, unless that is another thing now.
fn judge(
    tx: &mut Tx<'_>,
    input_id: Sha256,
    indexed: i64,
    last: i64,
    ceased: &mut Vec<Ceased>,
) -> Result<()> {
    let known = tx.query_opt(
        "SELECT p.judged, m.sha256, b.user
         FROM build b CROSS JOIN build_artifact m ON m.id = b.main_binary
         CROSS JOIN own.past p ON p.job = b.job AND p.platform = b.platform AND p.start_d = b.start_d
           AND p.start_ps = b.start_ps AND p.build = b.id
         WHERE b.input_id = $1 AND b.id <= $2 LIMIT 1",
        &[(&input_id).into(), indexed.into()],
        |row| Ok((row.int(0)?, row.sha256(1)?, row.int(2)?)),
    )?;
    let known = known.filter(|(judged, ..)| *judged > ONCE);
    let from = known.map_or(0, |_| indexed);
    let mut given = of_input(tx, input_id, from, last)?;
    let mut outputs: BTreeMap<Sha256, u64> = BTreeMap::new();
    let mut uploaders: BTreeSet<i64> = BTreeSet::new();
    for build in &given {
        *outputs.entry(build.output).or_default() += 1;
        uploaders.insert(build.uploader);
    }
    let mut before: BTreeSet<Sha256> = BTreeSet::new();
    match known {
        // At least twice; where several uploaded it that is known, else it was this one alone.
        Some((_, output, uploader)) => {
            *outputs.entry(output).or_default() += 2;
            uploaders.insert(uploader);
        }
        None => {
            for (output, uploader) in removed_outputs(tx, input_id)? {
                before.insert(output);
                *outputs.entry(output).or_default() += 1;
                uploaders.insert(uploader);
            }
        }
    }
    let known = known.map(|(judged, ..)| judged);
    let judged = match (known, outputs.len()) {
        (Some(NOT_REPRODUCIBLE), _) | (_, 2..) => NOT_REPRODUCIBLE,
        _ if outputs.values().sum::<u64>() < 2 => ONCE,
        (Some(REPRODUCED), _) => REPRODUCED,
        _ if uploaders.len() > 1 => REPRODUCED,
        _ => REPEATED,
    };
    if known.is_some_and(|known| known != judged) {
        given = of_input(tx, input_id, 0, last)?;
    }
    for build in &given {
        tx.execute(
            "UPDATE own.past SET judged = $6
             WHERE job = $1 AND platform = $2 AND start_d = $3 AND start_ps = $4 AND build = $5
               AND judged <> $6",
            &[
                build.job.into(),
                build.platform.as_str().into(),
                build.start_d.into(),
                build.start_ps.into(),
                build.id.into(),
                judged.into(),
            ],
        )?;
    }
    if judged == NOT_REPRODUCIBLE {
        let known = known == Some(NOT_REPRODUCIBLE);
        ceased.extend(where_ceased(input_id, &given, known, before));
    }
    Ok(())
}

/// On which platforms of which jobs an input ceases to be reproducible with these builds, as they
/// came in; `known`: it had with those before them. `before`: what builds gave that are removed.
fn where_ceased(
    input_id: Sha256,
    given: &[Given],
    known: bool,
    mut before: BTreeSet<Sha256>,
) -> Vec<Ceased> {
    let shows = given.iter().position(|build| {
        before.insert(build.output);
        before.len() > 1
    });
    let shows = match known {
        true => 0,
        // Removed ones alone do.
        false => shows.unwrap_or(0),
    };
    let mut places: BTreeMap<(i64, &str), Vec<(usize, &Given)>> = BTreeMap::new();
    for (at, build) in given.iter().enumerate() {
        let place = (build.job, build.platform.as_str());
        places.entry(place).or_default().push((at, build));
    }
    let ceased = places.into_iter().filter_map(|((job, platform), builds)| {
        let newest_before = builds.iter().rev().find(|(at, _)| *at <= shows);
        let (build, shown_by) = match (newest_before, builds.first()) {
            (Some((_, build)), _) => (*build, given.get(shows)?),
            (None, Some((_, first))) => (*first, *first),
            (None, None) => return None,
        };
        Some(Ceased {
            input_id,
            job,
            platform: platform.to_owned(),
            build: build.id,
            at: (shown_by.finish_d, shown_by.finish_ps),
            oldest: builds.iter().map(|(_, build)| build.key()).min()?,
        })
    });
    ceased.collect()
}

/// Notes that a platform ceased to be reproducible, unless it was not before.
fn note(tx: &mut Tx<'_>, ceased: &Ceased) -> Result<()> {
    let (job, platform) = (ceased.job, ceased.platform.as_str());
    let good = last_good(tx, job, platform, Some(ceased.oldest))?;
    let bad = last(tx, job, platform, NOT_REPRODUCIBLE, Some(ceased.oldest))?;
    if bad > good {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO own.ceased (job, platform, input_id, build, at_d, at_ps)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (job, platform, input_id) DO NOTHING",
        &[
            job.into(),
            platform.into(),
            (&ceased.input_id).into(),
            ceased.build.into(),
            ceased.at.0.into(),
            ceased.at.1.into(),
        ],
    )?;
    Ok(())
}

/// A build whose output is another one than that of the successful build before it on its platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The build.
    pub build: Build,
    /// The one before; none where it is the first.
    pub before: Option<Build>,
}

/// What of a build tells whether it changed the output.
struct Outcome {
    age: Age,
    platform: String,
    /// None: it failed.
    output: Option<Sha256>,
}

/// Where the output of a job changed, or where there was none before, newest first: on one platform
/// where given, at most `count`, among so many of the newest builds as are looked through.
pub fn changes(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: Option<&str>,
    count: usize,
) -> Result<Vec<Change>> {
    // By platform: the oldest build of the last output that was seen.
    let mut last: BTreeMap<String, (Age, Sha256)> = BTreeMap::new();
    let mut found: Vec<(Age, Option<i64>)> = Vec::new();
    let mut before = None;
    for _ in 0..CHANGES_MAX / OUTCOMES_AT_ONCE {
        if found.len() >= count {
            break;
        }
        let outcomes = outcomes(tx, job_id, platform, before)?;
        // Not by their number: rows that cannot be read are left out.
        let Some(oldest) = outcomes.last() else { break };
        before = Some(oldest.age);
        for Outcome {
            age,
            platform,
            output,
        } in outcomes
        {
            let Some(output) = output else { continue };
            if let Some((newer, known)) = last.insert(platform, (age, output))
                && known != output
            {
                found.push((newer, Some(age.1)));
            }
        }
    }
    // What is before the oldest that was looked at is looked up.
    for (age, output) in last.into_values() {
        let Some(build) = builds::by_id(tx, age.1)? else {
            continue;
        };
        match successful_before(tx, &build)? {
            Some(before) if has_output(&before, output) => {}
            Some(before) => found.push((age, Some(before.id))),
            None => found.push((age, None)),
        }
    }
    found.sort_unstable_by_key(|(age, _)| std::cmp::Reverse(*age));
    let mut changes = Vec::new();
    for ((_, id), before) in found.into_iter().take(count) {
        let before = match before {
            Some(before) => builds::by_id(tx, before)?,
            None => None,
        };
        if let Some(build) = builds::by_id(tx, id)? {
            changes.push(Change { build, before });
        }
    }
    Ok(changes)
}

fn has_output(build: &Build, output: Sha256) -> bool {
    let main = build.main_binary.as_ref();
    main.is_some_and(|main| main.sha256 == output)
}

/// The newest [`OUTCOMES_AT_ONCE`] that are older than `before`.
fn outcomes(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: Option<&str>,
    before: Option<Age>,
) -> Result<Vec<Outcome>> {
    let sql = match platform.is_some() && follows(tx)? {
        true => {
            "SELECT p.start_d, p.start_ps, p.build, p.platform, m.sha256
             FROM own.past p CROSS JOIN build b ON b.id = p.build AND b.job = p.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE p.job = $1 AND p.platform = $2 AND (p.start_d, p.start_ps, p.build) < ($3, $4, $5)
             ORDER BY p.start_d DESC, p.start_ps DESC, p.build DESC LIMIT $6"
        }
        false => {
            "SELECT b.start_d, b.start_ps, b.id, b.platform, m.sha256
             FROM build b LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND (b.platform = $2 OR $2 IS NULL) AND b.start_d <= $3
               AND (b.start_d, b.start_ps, b.id) < ($3, $4, $5)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $6"
        }
    };
    let [start_d, start_ps, id] = moment(before);
    tx.query_list(
        sql,
        &[
            job_id.into(),
            platform.into(),
            start_d,
            start_ps,
            id,
            i64::from(OUTCOMES_AT_ONCE).into(),
        ],
        |row| {
            Ok(Outcome {
                age: (row.timestamp(0)?, row.int(2)?),
                platform: row.text(3)?,
                output: row.sha256_opt(4)?,
            })
        },
    )
}

/// That a platform of a job ceased to be reproducible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The build that shows it.
    pub build: Build,
    /// A build of the same input with another output; none when it was removed.
    pub other: Option<Build>,
    /// When it was known: as the later of the two ended.
    pub at: Timestamp,
}

/// When platforms ceased to be reproducible, the last time first: of one job, on one platform, where
/// given; `count` at most.
pub fn ceased(
    tx: &mut Tx<'_>,
    job_id: Option<i64>,
    platform: Option<&str>,
    count: u32,
) -> Result<Vec<Event>> {
    macro_rules! select_ceased {
        ($job:literal) => {
            concat!(
                "SELECT c.at_d, c.at_ps, c.build FROM own.ceased c
                 WHERE ",
                $job,
                " AND (c.platform = $2 OR $2 IS NULL)
                  AND EXISTS (SELECT 1 FROM build b WHERE b.id = c.build AND b.job = c.job)
                  ORDER BY c.at_d DESC, c.at_ps DESC, c.build DESC LIMIT $3"
            )
        };
    }
    let sql = match job_id {
        Some(_) => select_ceased!("c.job = $1"),
        None => select_ceased!("$1 IS NULL"),
    };
    let found = tx.query_list(
        sql,
        &[job_id.into(), platform.into(), i64::from(count).into()],
        |row| Ok((row.timestamp(0)?, row.int(2)?)),
    )?;
    let mut events = Vec::with_capacity(found.len());
    for (at, build) in found {
        if let Some(build) = builds::by_id(tx, build)? {
            let other = other_output(tx, &build)?;
            events.push(Event { build, other, at });
        }
    }
    Ok(events)
}

/// The first build of the same input with another output.
fn other_output(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Build>> {
    let (Some(input_id), Some(main)) = (&build.input_id, &build.main_binary) else {
        return Ok(None);
    };
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.input_id = $1 AND m.sha256 <> $2 ORDER BY b.id LIMIT 1"
        ),
        &[input_id.into(), (&main.sha256).into()],
        Build::from_row,
    )
}

/// The successful builds of an input after row `from`, up to row `last`, as they came in.
fn of_input(tx: &mut Tx<'_>, input_id: Sha256, from: i64, last: i64) -> Result<Vec<Given>> {
    tx.query_list(
        "SELECT b.id, b.job, b.platform, b.start_d, b.start_ps, b.finish_d, b.finish_ps, m.sha256,
           b.user
         FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.input_id = $1 AND b.id > $2 AND b.id <= $3 ORDER BY b.id",
        &[(&input_id).into(), from.into(), last.into()],
        |row| {
            Ok(Given {
                id: row.int(0)?,
                job: row.int(1)?,
                platform: row.text(2)?,
                start_d: row.int(3)?,
                start_ps: row.int(4)?,
                finish_d: row.int(5)?,
                finish_ps: row.int(6)?,
                output: row.sha256(7)?,
                uploader: row.int(8)?,
            })
        },
    )
}

/// What builds of an input gave that were removed, and who uploaded them: what one has shown is not
/// undone by that.
fn removed_outputs(tx: &mut Tx<'_>, input_id: Sha256) -> Result<Vec<(Sha256, i64)>> {
    tx.query_list(
        r#"SELECT r.main_sha256,
             COALESCE((SELECT u.id FROM "user" u WHERE u.username = r.uploader), $2)
           FROM record.removed_build r
           WHERE r.input_id = $1 AND r.main_sha256 IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM build b WHERE b.uuid = r.uuid)"#,
        &[(&input_id).into(), outputs::GONE.into()],
        |row| Ok((row.sha256(0)?, row.int(1)?)),
    )
}
