//! Whether what pages and downloads need can be read: looked at by paths and read from files, since who has
//! a file open does not see that it is gone, nor what is wrong with pages of a database that are in memory.
//! It is asked every few seconds.

use std::fs;

use crate::artifacts::ARTIFACTS;
use crate::store::DATABASE;
use crate::{Error, Store, Tx, builds, latest};

/// Why pages or downloads cannot be shown. Said to whoever asks: it names no path.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The data directory was moved, or its file system is not mounted any more.
    #[error("the data directory is not there")]
    NoDirectory,
    /// That of the artifacts was.
    #[error("the directory of artifacts is not there")]
    NoArtifacts,
    /// As where a file system is mounted and is not any more.
    #[error("the directory of artifacts is empty, though builds have some: is its disk mounted?")]
    ArtifactsGone,
    /// Only the file was moved or removed.
    #[error("the database is not there")]
    NoDatabase,
    /// The database, or one of ours beside it.
    #[error("the database cannot be read")]
    Database(#[source] Error),
}

impl Store {
    /// Looks whether pages can be made and artifacts be there. May hang with the disk.
    pub fn check_readable(&self) -> std::result::Result<(), Unfit> {
        let directory = self.directory();
        if !directory.is_dir() {
            return Err(Unfit::NoDirectory);
        }
        let artifacts = directory.join(ARTIFACTS);
        let Ok(mut entries) = fs::read_dir(&artifacts) else {
            return Err(Unfit::NoArtifacts);
        };
        if !directory.join(DATABASE).is_file() {
            return Err(Unfit::NoDatabase);
        }
        match self.read_anew(newest) {
            Ok(true) if entries.next().is_none() => Err(Unfit::ArtifactsGone),
            // A row that makes no sense is left out of pages.
            Ok(_) | Err(Error::Row { .. }) => Ok(()),
            Err(error) => Err(Unfit::Database(error)),
        }
    }
}

/// Reads of each table what the pages of the newest build show; whether there is an artifact.
fn newest(tx: &mut Tx<'_>) -> crate::Result<bool> {
    tx.query_opt("SELECT name FROM job LIMIT 1", &[], |row| row.text(0))?;
    for build in builds::newest(tx, None, None, 1)? {
        builds::newest(tx, Some(build.job_id), None, 1)?;
        latest::of_job(tx, build.job_id)?;
    }
    let artifact = "SELECT sha256 FROM build_artifact ORDER BY id DESC LIMIT 1";
    let artifact = tx.query_opt(artifact, &[], |row| row.sha256(0))?;
    Ok(artifact.is_some())
}
