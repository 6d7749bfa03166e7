//! How much there is, for those who watch a server: counted in tables of our own as builds come in,
//! since to count a million takes seconds.

use std::collections::BTreeMap;
use std::fs;

use crate::db::own::OWN_DATABASE;
use crate::db::record;
use crate::latest::CaughtUp;
use crate::store::DATABASE;
use crate::{Result, Store, Tx, latest};

/// The builds of a job on a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builds {
    /// The name of the job.
    pub job: String,
    /// The platform.
    pub platform: String,
    /// All of them.
    pub builds: u64,
    /// Those without a main binary.
    pub failed: u64,
}

/// Artifacts, each content once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Artifacts {
    /// How many files there are.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The builds of each job on each platform, those with the most builds first; and the artifacts.
/// None while builds are not counted yet, or builds that were counted are gone.
pub fn counted(tx: &mut Tx<'_>) -> Result<Option<(Vec<Builds>, Artifacts)>> {
    let indexed = latest::indexed_build(tx)?;
    let newest = newest(tx)?;
    let counted = tx.query_opt("SELECT counted_build FROM own.progress", &[], |row| {
        row.int(0)
    })?;
    if newest != indexed
        || counted.is_none_or(|counted| counted < newest)
        || latest::is_behind_a_removal(tx)?
    {
        return Ok(None);
    }
    let builds = tx.query(
        "SELECT j.name, t.platform, t.builds, t.failed
         FROM (SELECT job, platform, SUM(builds) AS builds,
                 SUM(CASE WHEN failed THEN builds ELSE 0 END) AS failed
               FROM own.tally GROUP BY job, platform) t
         JOIN job j ON j.id = t.job
         ORDER BY t.builds DESC, j.name, t.platform",
        &[],
        |row| {
            Ok(Builds {
                job: row.text(0)?,
                platform: row.text(1)?,
                builds: row.size(2)?,
                failed: row.size(3)?,
            })
        },
    )?;
    let artifacts = tx.query_opt(
        "SELECT artifacts, artifact_bytes FROM own.progress",
        &[],
        |row| {
            Ok(Artifacts {
                files: row.size(0)?,
                bytes: row.size(1)?,
            })
        },
    )?;
    Ok(Some((builds, artifacts.unwrap_or_default())))
}

/// Builds whose artifacts are counted in one turn: some tens of milliseconds.
pub(crate) const BUILDS_A_TURN: i64 = 1_000;

/// Builds that are counted in one turn, by job, platform and whether they failed.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<(i64, String, bool), i64>);

impl Tally {
    pub(crate) fn take(&mut self, job: i64, platform: &str, failed: bool) {
        *self
            .0
            .entry((job, platform.to_owned(), failed))
            .or_default() += 1;
    }
}

/// Counts the builds of a turn.
pub(crate) fn add(tx: &mut Tx<'_>, tally: &Tally) -> Result<()> {
    for ((job, platform, failed), builds) in &tally.0 {
        tx.execute(
            "INSERT INTO own.tally (job, platform, failed, builds) VALUES ($1, $2, $3, $4)
             ON CONFLICT (job, platform, failed) DO UPDATE SET builds = builds + excluded.builds",
            &[
                (*job).into(),
                platform.as_str().into(),
                (*failed).into(),
                (*builds).into(),
            ],
        )?;
    }
    Ok(())
}

/// Counts the artifacts of up to `builds_max` builds that were not counted yet.
pub(crate) fn catch_up(tx: &mut Tx<'_>, builds_max: i64) -> Result<CaughtUp> {
    let newest = newest(tx)?;
    let counted = tx.query_opt("SELECT counted_build FROM own.progress", &[], |row| {
        row.int(0)
    })?;
    let counted = counted.unwrap_or(0);
    let last = counted.saturating_add(builds_max).min(newest);
    // The first row of a content is found in one step, however many have it.
    tx.execute(
        "UPDATE own.progress SET counted_build = $2, (artifacts, artifact_bytes) =
           (SELECT progress.artifacts + COUNT(*), progress.artifact_bytes
              + COALESCE(SUM(CASE WHEN a.size > 0 THEN a.size ELSE 0 END), 0)
            FROM build_artifact a
            WHERE a.build > $1 AND a.build <= $2 AND a.id =
              (SELECT o.id FROM build_artifact o WHERE o.sha256 = a.sha256
               ORDER BY o.id LIMIT 1))
         WHERE counted_build < $2",
        &[counted.into(), last.into()],
    )?;
    Ok(match last < newest {
        true => CaughtUp::Partly,
        false => CaughtUp::Wholly,
    })
}

fn newest(tx: &mut Tx<'_>) -> Result<i64> {
    let newest = tx.query_opt("SELECT COALESCE(MAX(id), 0) FROM build", &[], |row| {
        row.int(0)
    })?;
    Ok(newest.unwrap_or(0))
}

/// Has everything counted from the first build on.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute("DELETE FROM own.tally", &[])?;
    tx.execute(
        "UPDATE own.progress SET counted_build = 0, artifacts = 0, artifact_bytes = 0",
        &[],
    )?;
    Ok(())
}

/// Whether the database answers at all.
pub fn answers(tx: &mut Tx<'_>) -> Result<()> {
    tx.query_opt("SELECT 1 FROM job LIMIT 1", &[], |row| row.int(0))?;
    Ok(())
}

/// Bytes of each database file with its write-ahead log, by the file's name.
pub fn database_bytes(store: &Store) -> Vec<(&'static str, u64)> {
    let size = |name: &str| {
        fs::metadata(store.directory().join(name)).map_or(0, |metadata| metadata.len())
    };
    [DATABASE, OWN_DATABASE, record::FILE]
        .into_iter()
        .map(|name| (name, size(name) + size(&format!("{name}-wal"))))
        .collect()
}
