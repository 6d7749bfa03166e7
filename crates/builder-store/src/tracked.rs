//! Every file that the database names, and where it is: what is verified and backed up. Knows the
//! layout of a data directory; reads no file.

use std::path::{Path, PathBuf};

use crate::artifacts::{ARTIFACTS, below, below_all};
use crate::db::Row;
use crate::{Result, Sha256, Tx};

/// What one file of a data directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracked {
    /// An artifact: its digest, and the size in bytes that rows give it.
    Artifact(Sha256, u64),
    /// A build's console, at this path below the data directory.
    Console(String),
    /// A build's script, at this path below the data directory.
    Script(String),
}

impl Tracked {
    /// Where it is below the data directory; none if that would be outside of it.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Tracked::Artifact(sha256, _) => Some(artifact_path(*sha256)),
            Tracked::Console(path) | Tracked::Script(path) => below(Path::new(path)),
        }
    }
}

/// Where an artifact is below the data directory.
pub(crate) fn artifact_path(sha256: Sha256) -> PathBuf {
    Path::new(ARTIFACTS).join(below_all(sha256))
}

/// Every artifact, by digest, each once.
pub(crate) fn artifacts(tx: &mut Tx<'_>) -> Result<Vec<(Sha256, u64)>> {
    tx.query(
        "SELECT sha256, MIN(size) FROM build_artifact GROUP BY sha256 ORDER BY sha256",
        &[],
        |row| Ok((row.sha256(0)?, row.size(1)?)),
    )
}

/// Every console and script, by build.
pub(crate) fn texts(tx: &mut Tx<'_>) -> Result<Vec<Tracked>> {
    let mut all = Vec::new();
    tx.for_each(
        "SELECT console, script FROM build ORDER BY id",
        &[],
        |row| {
            all.push(Tracked::Console(row.text(0)?));
            all.push(Tracked::Script(row.text(1)?));
            Ok(())
        },
    )?;
    Ok(all)
}

/// Builds whose console or script is not where a build of that job and name has it, as `JOB/UUID`
/// and the path.
pub(crate) fn misplaced(tx: &mut Tx<'_>) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    tx.for_each(
        "SELECT j.name, b.uuid, b.console, b.script FROM build b JOIN job j ON j.id = b.job
         WHERE b.console <> j.name || '/' || b.uuid || '/console.txt'
            OR b.script <> j.name || '/' || b.uuid || '/script.txt'
         ORDER BY b.id",
        &[],
        |row| {
            let home = format!("{}/{}", row.text(0)?, row.text(1)?);
            for path in [row.text(2)?, row.text(3)?] {
                if !path.starts_with(&format!("{home}/")) {
                    all.push((home.clone(), path));
                }
            }
            Ok(())
        },
    )?;
    Ok(all)
}

/// Whether a row still names it.
pub(crate) fn is_named(tx: &mut Tx<'_>, file: &Tracked) -> Result<bool> {
    match file {
        Tracked::Artifact(sha256, _) => crate::builds::names_artifact(tx, *sha256),
        Tracked::Console(path) | Tracked::Script(path) => names_text(tx, path),
    }
}

/// Whether a build has its console or script at this path.
pub(crate) fn names_text(tx: &mut Tx<'_>, path: &str) -> Result<bool> {
    Ok(!named_by_text(tx, path)?.is_empty())
}

/// The builds, as `JOB/UUID`, that have their console or script at this path.
fn named_by_text(tx: &mut Tx<'_>, path: &str) -> Result<Vec<String>> {
    let name = |row: &Row<'_>| Ok(format!("{}/{}", row.text(0)?, row.text(1)?));
    match uuid_in(path) {
        // Builds have an index by their name.
        Some(uuid) => tx.query(
            "SELECT j.name, b.uuid FROM build b JOIN job j ON j.id = b.job
             WHERE b.uuid = $1 AND (b.console = $2 OR b.script = $2)",
            &[uuid.into(), path.into()],
            name,
        ),
        None => tx.query(
            "SELECT j.name, b.uuid FROM build b JOIN job j ON j.id = b.job
             WHERE b.console = $1 OR b.script = $1",
            &[path.into()],
            name,
        ),
    }
}

/// The uuid in `JOB/UUID/…`.
pub(crate) fn uuid_in(path: &str) -> Option<&str> {
    path.split('/')
        .nth(1)
        .filter(|uuid| uuid.len() == 36 && uuid::Uuid::parse_str(uuid).is_ok())
}

/// Which builds name a file: the first few as `JOB/UUID`, artifacts with their path there, and how
/// many there are.
pub(crate) fn named_by(tx: &mut Tx<'_>, file: &Tracked, shown: i64) -> Result<(Vec<String>, u64)> {
    match file {
        Tracked::Artifact(sha256, _) => {
            let some = tx.query(
                "SELECT j.name, b.uuid, a.filepath
                 FROM build_artifact a JOIN build b ON b.id = a.build JOIN job j ON j.id = b.job
                 WHERE a.sha256 = $1 ORDER BY b.id DESC LIMIT $2",
                &[sha256.into(), shown.into()],
                |row| {
                    Ok(format!(
                        "{}/{} {}",
                        row.text(0)?,
                        row.text(1)?,
                        row.text(2)?
                    ))
                },
            )?;
            let count = tx.query_opt(
                "SELECT COUNT(*) FROM build_artifact WHERE sha256 = $1",
                &[sha256.into()],
                |row| row.size(0),
            )?;
            Ok((some, count.unwrap_or(0)))
        }
        Tracked::Console(path) | Tracked::Script(path) => {
            let some = named_by_text(tx, path)?;
            let count = some.len() as u64;
            Ok((some, count))
        }
    }
}
