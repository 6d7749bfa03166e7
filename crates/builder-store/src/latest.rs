//! The newest builds of each job on each platform, and what is known of their reproducibility:
//! what the front page shows.
//!
//! The v18 tables have no index for it, and keep their definition, so it is kept in a table of our
//! own. Others write to the database too (the OCaml server, its tools), so a reader trusts the
//! table only as far as it goes: builds with an id above `indexed_build` are read directly, and a
//! row whose build is gone is looked up again. When the last build that was indexed is gone or is
//! another one, as after a backup was restored, everything is indexed anew; and at start, when
//! there are fewer builds than were indexed, since a verdict may have rested on one that is gone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::builds::{Build, select_build};
use crate::db::{Row, Value, days, picoseconds};
use crate::verdict::{self, Before, Facts, Verdict};
use crate::{Result, Sha256, Tx, builds, failures, jobs, outputs, past, stock};

/// Builds that one turn of [`catch_up`] takes on: some tens of milliseconds under the writer's
/// lock.
const BUILDS_A_TURN: i64 = 5_000;

/// How far [`catch_up`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    /// To the newest build.
    Wholly,
    /// There are more.
    Partly,
}

/// The newest builds of a job on a platform; at least one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// Its name.
    pub platform: String,
    /// The newest successful build.
    pub successful: Option<Build>,
    /// What is known of the newest successful build.
    pub verdict: Verdict,
    /// The newest failed build.
    pub failed: Option<Build>,
}

impl Latest {
    /// The newest build, whatever became of it.
    pub fn newest(&self) -> Option<&Build> {
        let both = [&self.successful, &self.failed];
        both.into_iter().flatten().max_by_key(|build| build.age())
    }

    /// What is known of the newest build, whatever became of it.
    pub fn newest_verdict(&self) -> Verdict {
        let failed = self
            .newest()
            .is_some_and(|build| build.main_binary.is_none());
        if failed {
            Verdict::Failed
        } else {
            self.verdict
        }
    }
}

/// The newest builds of each job, by job (its row) and platform.
pub fn by_job(tx: &mut Tx<'_>) -> Result<HashMap<i64, Vec<Latest>>> {
    newest(tx, None)
}

/// The newest builds of a job, by platform.
pub fn of_job(tx: &mut Tx<'_>, job_id: i64) -> Result<Vec<Latest>> {
    let indexed = indexed_build(tx)?;
    if !is_far_behind(tx, indexed)? {
        return Ok(newest(tx, Some(job_id))?
            .remove(&job_id)
            .unwrap_or_default());
    }
    let mut newest = Newest::default();
    for platform in jobs::platforms(tx, job_id)? {
        for failed in [false, true] {
            if let Some(build) = newest_of(tx, job_id, &platform, failed)? {
                let verdict = verdict::of_build(tx, &build)?;
                newest.take(build, verdict);
            }
        }
    }
    Ok(newest.0.remove(&job_id).unwrap_or_default())
}

/// Of one job, or of all.
fn newest(tx: &mut Tx<'_>, job_id: Option<i64>) -> Result<HashMap<i64, Vec<Latest>>> {
    macro_rules! select_latest {
        ($which:literal) => {
            // The columns of a build, and behind them those of the table.
            concat!(
                "SELECT b.id, b.uuid, j.id, j.name, b.platform, b.start_d, b.start_ps, b.finish_d,
                   b.finish_ps, b.result_code, b.result_msg, b.console, b.script, b.input_id,
                   b.user, m.filepath, m.sha256, m.size, l.same_output, l.uploaders,
                   l.other_output, l.before
                 FROM own.latest l CROSS JOIN build b ON b.id = l.build JOIN job j ON j.id = b.job
                 LEFT JOIN build_artifact m ON m.id = b.main_binary
                 WHERE ",
                $which,
                " ORDER BY l.job, l.platform"
            )
        };
    }
    let sql = match job_id {
        Some(_) => select_latest!("l.job = $1"),
        None => select_latest!("$1 IS NULL"),
    };
    let is_asked = |job: i64| job_id.is_none_or(|asked| asked == job);
    let indexed = indexed_build(tx)?;
    let mut newest = Newest::default();
    tx.for_each(sql, &[job_id.into()], |row| {
        let facts = Facts {
            same_output: row.int(18)?,
            uploaders: row.int(19)?,
            other_output: row.int(20)?,
            before: Before::from_number(row.int(21)?),
        };
        if let Some(build) = row.or_left_out(Build::from_row(row))? {
            newest.take(build, facts.verdict());
        }
        Ok(())
    })?;
    // Its build was removed by someone else since.
    for (job, platform, failed) in gone(tx, job_id)? {
        if let Some(build) = newest_of(tx, job, &platform, failed)? {
            let verdict = verdict::of_build(tx, &build)?;
            newest.take(build, verdict);
        }
    }
    // Not in the table yet.
    if is_far_behind(tx, indexed)? {
        for build in newest_after(tx, indexed)? {
            newest.take(build, Verdict::Failed);
        }
        let all = newest.0.values_mut().flatten();
        for latest in all {
            if let Some(build) = &latest.successful {
                latest.verdict = verdict::of_build(tx, build)?;
            }
        }
        return Ok(newest.0);
    }
    let mut touched = BTreeSet::new();
    let mut more = Vec::new();
    let mut inputs = BTreeSet::new();
    tx.for_each(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.id > $1"
        ),
        &[indexed.into()],
        |row| {
            let Some(build) = row.or_left_out(Build::from_row(row))? else {
                return Ok(());
            };
            touched.insert((build.job_id, build.platform.clone()));
            inputs.extend(build.input_id);
            if is_asked(build.job_id) {
                more.push(build);
            }
            Ok(())
        },
    )?;
    for build in more {
        newest.take(build, Verdict::Failed);
    }
    if !touched.is_empty() {
        for (job, of_job) in &mut newest.0 {
            for latest in of_job {
                let Some(build) = &latest.successful else {
                    continue;
                };
                if touched.contains(&(*job, latest.platform.clone()))
                    || build.input_id.is_some_and(|input| inputs.contains(&input))
                {
                    latest.verdict = verdict::of_build(tx, build)?;
                }
            }
        }
    }
    Ok(newest.0)
}

/// The newest builds, successful and failed, of each job on each platform, of those after one that may
/// be the first of a million: the others are neither kept nor read as a whole.
fn newest_after(tx: &mut Tx<'_>, indexed: i64) -> Result<Vec<Build>> {
    let mut newest: HashMap<(i64, String, bool), (Timestamp, i64)> = HashMap::new();
    tx.for_each(
        "SELECT b.id, b.uuid, b.job, b.platform, b.start_d, b.start_ps, b.main_binary IS NULL,
           NULL, NULL
         FROM build b WHERE b.id > $1",
        &[indexed.into()],
        |row| {
            if let Some((build, _)) = row.or_left_out(Added::from_row(row))? {
                let age = build.age();
                let kind = (build.job, build.platform, build.failed);
                let known = newest.entry(kind).or_insert(age);
                *known = age.max(*known);
            }
            Ok(())
        },
    )?;
    let mut builds = Vec::new();
    for (_, id) in newest.into_values() {
        builds.extend(tx.query_list(
            select_build!(
                "FROM build b JOIN job j ON j.id = b.job
                 LEFT JOIN build_artifact m ON m.id = b.main_binary WHERE b.id = $1"
            ),
            &[id.into()],
            Build::from_row,
        )?);
    }
    Ok(builds)
}

/// The newest builds among those it was given.
#[derive(Default)]
struct Newest(HashMap<i64, Vec<Latest>>);

impl Newest {
    fn take(&mut self, build: Build, verdict: Verdict) {
        let of_job = self.0.entry(build.job_id).or_default();
        let at = match of_job.binary_search_by(|known| known.platform.cmp(&build.platform)) {
            Ok(at) => at,
            Err(at) => {
                let latest = Latest {
                    platform: build.platform.clone(),
                    successful: None,
                    verdict: Verdict::Failed,
                    failed: None,
                };
                of_job.insert(at, latest);
                at
            }
        };
        let latest = &mut of_job[at];
        let known = match build.main_binary {
            Some(_) => &mut latest.successful,
            None => &mut latest.failed,
        };
        if known.as_ref().is_none_or(|known| known.age() < build.age()) {
            if build.main_binary.is_some() {
                latest.verdict = verdict;
            }
            *known = Some(build);
        }
    }
}

/// The newest successful, or failed, build of a job on a platform.
fn newest_of(tx: &mut Tx<'_>, job: i64, platform: &str, failed: bool) -> Result<Option<Build>> {
    if failed {
        builds::latest_failed(tx, job, platform)
    } else {
        builds::latest_successful(tx, job, Some(platform))
    }
}

/// The rows, of one job or of all, whose build is not there: their job, platform and whether it had
/// failed.
fn gone(tx: &mut Tx<'_>, job_id: Option<i64>) -> Result<Vec<(i64, String, bool)>> {
    macro_rules! select_gone {
        ($which:literal) => {
            concat!(
                "SELECT l.job, l.platform, l.failed FROM own.latest l
                 WHERE ",
                $which,
                " AND NOT EXISTS (SELECT 1 FROM build b WHERE b.id = l.build AND b.job = l.job)"
            )
        };
    }
    let sql = match job_id {
        Some(_) => select_gone!("l.job = $1"),
        None => select_gone!("$1 IS NULL"),
    };
    tx.query(sql, &[job_id.into()], |row| {
        Ok((row.int(0)?, row.text(1)?, row.bool(2)?))
    })
}

/// Up to which build the tables go; 0 when they cannot be trusted.
pub(crate) fn indexed_build(tx: &mut Tx<'_>) -> Result<i64> {
    let indexed = tx.query_opt(
        "SELECT p.indexed_build FROM own.progress p
         JOIN build b ON b.id = p.indexed_build AND b.uuid = p.indexed_uuid",
        &[],
        |row| row.int(0),
    )?;
    Ok(indexed.unwrap_or(0))
}

/// Builds that are not in the tables yet: at most this many, counted by their ids.
pub fn builds_left(tx: &mut Tx<'_>) -> Result<u64> {
    let indexed = indexed_build(tx)?;
    let newest = tx.query_opt("SELECT MAX(id) FROM build", &[], |row| row.int_opt(0))?;
    let left = newest.flatten().unwrap_or(0).saturating_sub(indexed);
    Ok(u64::try_from(left).unwrap_or(0))
}

/// Whether many builds are not in the tables yet, so that the few rows that a page asks of a job are
/// better looked for among those of the job than among the newest.
pub(crate) fn is_far_behind(tx: &mut Tx<'_>, indexed: i64) -> Result<bool> {
    const FAR: i64 = 1_000;
    let newest = tx.query_opt("SELECT MAX(id) FROM build", &[], |row| row.int_opt(0))?;
    Ok(newest.flatten().unwrap_or(0) > indexed.saturating_add(FAR))
}

/// Has [`catch_up`] begin at the first build.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute(
        "UPDATE own.progress SET indexed_build = 0, indexed_uuid = '', indexed_count = 0",
        &[],
    )?;
    Ok(())
}

/// Whether builds are gone that were counted. It counts: not for a page.
pub(crate) fn is_behind_a_removal(tx: &mut Tx<'_>) -> Result<bool> {
    // All of a table are counted in its smallest index, some of them in the table itself.
    let missing = tx.query_opt(
        "SELECT 1 FROM own.progress p
         WHERE p.indexed_count <> (SELECT COUNT(*) FROM build)
           - (SELECT COUNT(*) FROM build b WHERE b.id > p.indexed_build)",
        &[],
        |row| row.int(0),
    )?;
    Ok(missing.is_some())
}

/// Follows the database with our own tables, up to [`BUILDS_A_TURN`] builds.
pub(crate) fn catch_up(tx: &mut Tx<'_>) -> Result<CaughtUp> {
    let indexed = indexed_build(tx)?;
    if indexed == 0 {
        tx.execute("DELETE FROM own.latest", &[])?;
        tx.execute("UPDATE own.progress SET indexed_count = 0", &[])?;
        stock::forget(tx)?;
        outputs::forget(tx)?;
        past::forget(tx)?;
        failures::forget_gone(tx)?;
    }
    let mut last = None;
    let mut count = 0;
    let mut tally = stock::Tally::default();
    let mut all = Vec::new();
    let mut newest: HashMap<(i64, String, bool), Added> = HashMap::new();
    let mut inputs: BTreeSet<Sha256> = BTreeSet::new();
    let mut turn = outputs::Turn::default();
    tx.for_each(
        "SELECT b.id, b.uuid, b.job, b.platform, b.start_d, b.start_ps, b.main_binary IS NULL,
           b.input_id, m.sha256, b.user,
           EXISTS (SELECT 1 FROM record.removed_build r WHERE r.uuid = b.uuid)
         FROM build b LEFT JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.id > $1 ORDER BY b.id LIMIT $2",
        &[indexed.into(), BUILDS_A_TURN.into()],
        |row| {
            // Also past one that makes no sense, which is only counted.
            count += 1;
            last = Some(row.int(0)?);
            let Some((build, output)) = row.or_left_out(Added::from_row(row))? else {
                return Ok(());
            };
            if let Some(input_id) = build.input_id {
                inputs.insert(input_id);
                if let Some(output) = output {
                    turn.take(input_id, output, row.int(9)?, row.bool(10)?);
                }
            }
            tally.take(build.job, &build.platform, build.failed);
            all.push(build.clone());
            let kind = (build.job, build.platform.clone(), build.failed);
            match newest.entry(kind) {
                Entry::Occupied(mut known) if known.get().age() < build.age() => {
                    known.insert(build);
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(vacant) => {
                    vacant.insert(build);
                }
            }
            Ok(())
        },
    )?;
    for build in all.iter().filter(|build| build.failed) {
        failures::note(tx, build)?;
    }
    past::add(tx, &all, &inputs, indexed)?;
    let mut touched: BTreeSet<(i64, String)> = BTreeSet::new();
    for build in newest.into_values() {
        add(tx, &build)?;
        touched.insert((build.job, build.platform));
    }
    if let Some(id) = last {
        // The uuid as it is in the row, whatever that is.
        tx.execute(
            "UPDATE own.progress SET indexed_build = $1,
               indexed_uuid = (SELECT b.uuid FROM build b WHERE b.id = $1),
               indexed_count = indexed_count + $2",
            &[id.into(), count.into()],
        )?;
        stock::add(tx, &tally)?;
        outputs::add(tx, &turn, id)?;
    }
    for (job, platform, failed) in gone(tx, None)? {
        tx.execute(
            "DELETE FROM own.latest WHERE job = $1 AND platform = $2 AND failed = $3",
            &[job.into(), platform.as_str().into(), failed.into()],
        )?;
        if let Some(build) = newest_of(tx, job, &platform, failed)? {
            add(tx, &Added::of(&build))?;
        }
        touched.insert((job, platform));
    }
    judge(tx, touched, &inputs)?;
    Ok(if count == BUILDS_A_TURN {
        CaughtUp::Partly
    } else {
        CaughtUp::Wholly
    })
}

/// Keeps what is known of the latest builds on these platforms of these jobs, and of those from
/// these inputs.
fn judge(
    tx: &mut Tx<'_>,
    mut touched: BTreeSet<(i64, String)>,
    inputs: &BTreeSet<Sha256>,
) -> Result<()> {
    for input_id in inputs {
        touched.extend(tx.query(
            "SELECT job, platform FROM own.latest WHERE input_id = $1",
            &[input_id.into()],
            |row| Ok((row.int(0)?, row.text(1)?)),
        )?);
    }
    for (job, platform) in touched {
        let build = tx.query_opt(
            select_build!(
                "FROM own.latest l JOIN build b ON b.id = l.build JOIN job j ON j.id = b.job
                 JOIN build_artifact m ON m.id = b.main_binary
                 WHERE l.job = $1 AND l.platform = $2 AND NOT l.failed"
            ),
            &[job.into(), platform.as_str().into()],
            Build::from_row,
        )?;
        let Some(build) = build else { continue };
        let Some(facts) = verdict::facts(tx, &build)? else {
            continue;
        };
        tx.execute(
            "UPDATE own.latest
             SET same_output = $3, other_output = $4, before = $5, uploaders = $6
             WHERE job = $1 AND platform = $2 AND NOT failed",
            &[
                job.into(),
                platform.as_str().into(),
                facts.same_output.into(),
                facts.other_output.into(),
                facts.before.number().into(),
                facts.uploaders.into(),
            ],
        )?;
    }
    Ok(())
}

/// A build as far as it is followed.
#[derive(Debug, Clone)]
pub(crate) struct Added {
    pub(crate) id: i64,
    pub(crate) uuid: Uuid,
    pub(crate) job: i64,
    pub(crate) platform: String,
    pub(crate) start: Timestamp,
    /// Whether it has no main binary.
    pub(crate) failed: bool,
    pub(crate) input_id: Option<Sha256>,
}

impl Added {
    /// With its output.
    fn from_row(row: &Row<'_>) -> Result<(Added, Option<Sha256>)> {
        let added = Added {
            id: row.int(0)?,
            uuid: row.uuid(1)?,
            job: row.int(2)?,
            platform: row.text(3)?,
            start: row.timestamp(4)?,
            failed: row.bool(6)?,
            input_id: row.sha256_opt(7)?,
        };
        Ok((added, row.sha256_opt(8)?))
    }

    fn of(build: &Build) -> Added {
        Added {
            id: build.id,
            uuid: build.uuid,
            job: build.job_id,
            platform: build.platform.clone(),
            start: build.start,
            failed: build.main_binary.is_none(),
            input_id: build.input_id,
        }
    }

    /// As [`Build::age`].
    fn age(&self) -> (Timestamp, i64) {
        (self.start, self.id)
    }
}

fn add(tx: &mut Tx<'_>, build: &Added) -> Result<()> {
    let params: [Value<'_>; 7] = [
        build.job.into(),
        build.platform.as_str().into(),
        build.id.into(),
        days(&build.start),
        picoseconds(&build.start),
        build.failed.into(),
        build.input_id.as_ref().into(),
    ];
    // What is known of it is filled in by `judge`.
    tx.execute(
        "INSERT INTO own.latest
           (job, platform, failed, build, start_d, start_ps, input_id, same_output, uploaders,
            other_output, before)
         VALUES ($1, $2, $6, $3, $4, $5, $7, 0, 0, 0, 0)
         ON CONFLICT (job, platform, failed) DO UPDATE
         SET build = excluded.build, start_d = excluded.start_d, start_ps = excluded.start_ps,
           input_id = excluded.input_id
         WHERE (latest.start_d, latest.start_ps, latest.build)
           < (excluded.start_d, excluded.start_ps, excluded.build)",
        &params,
    )?;
    Ok(())
}
