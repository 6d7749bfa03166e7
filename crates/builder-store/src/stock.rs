//! How much there is, for those who watch a server. Each question walks a whole table or file
//! system: the caller decides how often it is asked.

use std::fs;

use crate::db::record;
use crate::store::{DATABASE, OWN_DATABASE};
use crate::{Result, Store, Tx};

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

/// The builds of each job on each platform, those with the most builds first.
pub fn builds(tx: &mut Tx<'_>) -> Result<Vec<Builds>> {
    tx.query(
        "SELECT j.name, n.platform, n.builds, n.failed
         FROM (SELECT job, platform, COUNT(*) AS builds,
                 SUM(CASE WHEN main_binary IS NULL THEN 1 ELSE 0 END) AS failed
               FROM build GROUP BY job, platform) n
         JOIN job j ON j.id = n.job
         ORDER BY n.builds DESC, j.name, n.platform",
        &[],
        |row| {
            Ok(Builds {
                job: row.text(0)?,
                platform: row.text(1)?,
                builds: row.size(2)?,
                failed: row.size(3)?,
            })
        },
    )
}

/// Whether the database answers at all.
pub fn answers(tx: &mut Tx<'_>) -> Result<()> {
    tx.query_opt("SELECT 1 FROM job LIMIT 1", &[], |row| row.int(0))?;
    Ok(())
}

/// The artifacts that rows name.
pub fn artifacts(tx: &mut Tx<'_>) -> Result<Artifacts> {
    let found = tx.query_opt(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN size > 0 THEN size ELSE 0 END), 0)
         FROM (SELECT MAX(size) AS size FROM build_artifact GROUP BY sha256) a",
        &[],
        |row| {
            Ok(Artifacts {
                files: row.size(0)?,
                bytes: row.size(1)?,
            })
        },
    )?;
    Ok(found.unwrap_or_default())
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
