//! Artifacts, by content: `_artifacts/ab/abcd…`. Knows files; knows nothing of builds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::store::adopt;
use crate::{Error, Result, Sha256};

/// The artifacts of a data directory.
#[derive(Debug)]
pub struct Artifacts {
    directory: PathBuf,
}

impl Artifacts {
    pub(crate) fn new(directory: PathBuf) -> Artifacts {
        Artifacts { directory }
    }

    /// Where an artifact is. Two digits of its name are a directory of their own, to keep
    /// directories small.
    pub fn path(&self, sha256: Sha256) -> PathBuf {
        let name = sha256.to_hex();
        self.directory.join(&name[..2]).join(name)
    }

    /// Opens an artifact, and tells its size in bytes.
    pub fn open(&self, sha256: Sha256) -> Result<(File, u64)> {
        let path = self.path(sha256);
        let file = File::open(&path).map_err(|source| Error::file("open", &path, source))?;
        let metadata = file
            .metadata()
            .map_err(|source| Error::file("look at", &path, source))?;
        Ok((file, metadata.len()))
    }

    /// Moves a finished, synced file to its place. A file of that name is replaced: it has the
    /// same bytes, or is damaged.
    pub(crate) fn take_in(&self, staged: &Path, sha256: Sha256) -> Result<()> {
        let path = self.path(sha256);
        let directory = path.parent().unwrap_or(&self.directory);
        if !directory.is_dir() {
            fs::create_dir_all(directory)
                .map_err(|source| Error::file("create", directory, source))?;
            adopt(directory, &self.directory)?;
            sync_directory(&self.directory)?;
        }
        fs::rename(staged, &path).map_err(|source| Error::file("create", &path, source))
    }

    /// Makes what was moved into the directory of `sha256` survive power loss.
    pub(crate) fn sync(&self, sha256: Sha256) -> Result<()> {
        let path = self.path(sha256);
        sync_directory(path.parent().unwrap_or(&self.directory))
    }

    pub(crate) fn remove(&self, sha256: Sha256) -> Result<()> {
        remove_file(&self.path(sha256))
    }
}

/// Makes the names in a directory survive power loss.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| Error::file("sync", directory, source))
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", path, source))
        }
        _ => Ok(()),
    }
}
