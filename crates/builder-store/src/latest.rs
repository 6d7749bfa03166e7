//! The newest successful build of each job on each platform: what the front page shows.
//!
//! The v18 tables have no index for it, and keep their definition, so it is kept in a table of our
//! own. Others write to the database too (the OCaml server, its tools), so a reader trusts the
//! table only as far as it goes: builds with an id above `indexed_build` are read directly, and a
//! row whose build is gone is looked up again. When the last build that was indexed is gone or is
//! another one, as after a backup was restored, everything is indexed anew.

use std::collections::HashMap;

use crate::builds::{Build, select_build};
use crate::db::{Value, days, picoseconds};
use crate::{Result, Tx, builds};

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

/// The newest successful build of each job on each platform, by job (its row) and platform.
pub fn by_job(tx: &mut Tx<'_>) -> Result<HashMap<i64, Vec<Build>>> {
    let indexed = indexed_build(tx)?;
    let mut newest: HashMap<i64, Vec<Build>> = HashMap::new();
    tx.for_each(
        select_build!(
            "FROM own.latest l CROSS JOIN build b ON b.id = l.build JOIN job j ON j.id = b.job
             JOIN build_artifact m ON m.id = b.main_binary
             ORDER BY l.job, l.platform"
        ),
        &[],
        |row| {
            let build = Build::from_row(row)?;
            newest.entry(build.job_id).or_default().push(build);
            Ok(())
        },
    )?;
    // Its build was removed by someone else since.
    for (job, platform) in gone(tx)? {
        if let Some(build) = builds::latest_successful(tx, job, Some(&platform))? {
            take_newer(&mut newest, build);
        }
    }
    // Not in the table yet.
    let more = tx.query(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.id > $1"
        ),
        &[indexed.into()],
        Build::from_row,
    )?;
    for build in more {
        take_newer(&mut newest, build);
    }
    Ok(newest)
}

fn take_newer(newest: &mut HashMap<i64, Vec<Build>>, build: Build) {
    let of_job = newest.entry(build.job_id).or_default();
    match of_job.binary_search_by(|known| known.platform.cmp(&build.platform)) {
        Ok(at) => {
            if of_job[at].age() < build.age() {
                of_job[at] = build;
            }
        }
        Err(at) => of_job.insert(at, build),
    }
}

/// The rows whose build is not there: their job and platform.
fn gone(tx: &mut Tx<'_>) -> Result<Vec<(i64, String)>> {
    tx.query(
        "SELECT l.job, l.platform FROM own.latest l
         WHERE NOT EXISTS (SELECT 1 FROM build b WHERE b.id = l.build AND b.job = l.job)",
        &[],
        |row| Ok((row.int(0)?, row.text(1)?)),
    )
}

/// Up to which build the tables go; 0 when they cannot be trusted.
fn indexed_build(tx: &mut Tx<'_>) -> Result<i64> {
    let indexed = tx.query_opt(
        "SELECT p.indexed_build FROM own.progress p
         JOIN build b ON b.id = p.indexed_build AND b.uuid = p.indexed_uuid",
        &[],
        |row| row.int(0),
    )?;
    Ok(indexed.unwrap_or(0))
}

/// Has [`catch_up`] begin at the first build.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute(
        "UPDATE own.progress SET indexed_build = 0, indexed_uuid = ''",
        &[],
    )?;
    Ok(())
}

/// Follows the database with our own tables, up to [`BUILDS_A_TURN`] builds.
pub(crate) fn catch_up(tx: &mut Tx<'_>) -> Result<CaughtUp> {
    let indexed = indexed_build(tx)?;
    if indexed == 0 {
        tx.execute("DELETE FROM own.latest", &[])?;
    }
    let mut last = None;
    let mut count = 0;
    let mut newest: HashMap<i64, Vec<Build>> = HashMap::new();
    tx.for_each(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.id > $1 ORDER BY b.id LIMIT $2"
        ),
        &[indexed.into(), BUILDS_A_TURN.into()],
        |row| {
            let build = Build::from_row(row)?;
            last = Some((build.id, build.uuid));
            count += 1;
            if build.main_binary.is_some() {
                take_newer(&mut newest, build);
            }
            Ok(())
        },
    )?;
    for build in newest.values().flatten() {
        add(tx, build)?;
    }
    if let Some((id, uuid)) = last {
        tx.execute(
            "UPDATE own.progress SET indexed_build = $1, indexed_uuid = $2",
            &[id.into(), uuid.to_string().as_str().into()],
        )?;
    }
    for (job, platform) in gone(tx)? {
        tx.execute(
            "DELETE FROM own.latest WHERE job = $1 AND platform = $2",
            &[job.into(), platform.as_str().into()],
        )?;
        if let Some(build) = builds::latest_successful(tx, job, Some(&platform))? {
            add(tx, &build)?;
        }
    }
    Ok(if count == BUILDS_A_TURN {
        CaughtUp::Partly
    } else {
        CaughtUp::Wholly
    })
}

fn add(tx: &mut Tx<'_>, build: &Build) -> Result<()> {
    let params: [Value<'_>; 5] = [
        build.job_id.into(),
        build.platform.as_str().into(),
        build.id.into(),
        days(&build.start),
        picoseconds(&build.start),
    ];
    tx.execute(
        "INSERT INTO own.latest (job, platform, build, start_d, start_ps)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (job, platform) DO UPDATE
         SET build = excluded.build, start_d = excluded.start_d, start_ps = excluded.start_ps
         WHERE (latest.start_d, latest.start_ps, latest.build)
           < (excluded.start_d, excluded.start_ps, excluded.build)",
        &params,
    )?;
    Ok(())
}
