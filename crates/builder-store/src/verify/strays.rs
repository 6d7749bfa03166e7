//! Files of a data directory that nothing names, and the walk that finds them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Fault, Problem};
use crate::names::{RESERVED, RESERVED_PREFIXES};
use crate::tracked::{self, Tracked, artifact_path};
use crate::{Error, Result, Sha256, Store, Tx, removal};

/// Files that nothing names.
pub(super) fn strays(store: &Store, files: &[Tracked]) -> Result<Vec<Problem>> {
    let named: HashSet<PathBuf> = files.iter().filter_map(Tracked::path).collect();
    let mut suspects = Vec::new();
    for top in entries(store.directory())? {
        let name = PathBuf::from(top.file_name().unwrap_or_default());
        let text = name.to_string_lossy();
        if !top.is_dir() {
            if !RESERVED_PREFIXES.iter().any(|ours| text.starts_with(ours)) {
                suspects.push(name.clone());
            }
        } else if holds_builds(&top, &text) {
            walk(&top, &mut |path| {
                if let Ok(path) = path.strip_prefix(store.directory())
                    && !named.contains(path)
                {
                    suspects.push(path.to_owned());
                }
            })?;
        }
    }
    let mut strays = Vec::new();
    for path in suspects {
        // Whoever uploads or removes holds the writer's lock between a file and its row.
        let found = store.write(|tx| match stray_bytes(tx, store, &path)? {
            Some(bytes) => Ok(Some((bytes, removal::is_listed(tx, &path)?))),
            None => Ok(None),
        })?;
        if let Some((bytes, listed)) = found {
            let fault = match listed {
                true => Fault::ToBeRemoved,
                false => Fault::Stray,
            };
            strays.push(Problem {
                found_bytes: Some(bytes),
                ..Problem::new(path, fault)
            });
        }
    }
    Ok(strays)
}

/// Whether a directory of the data directory is that of a job, or that of all artifacts. What a link
/// in the place of a job's leads to is none of ours.
pub(crate) fn holds_builds(top: &Path, name: &str) -> bool {
    name == "_artifacts" || (!RESERVED.contains(&name) && !top.is_symlink())
}

/// The size of a file that nothing names; none if it is gone or is named by now.
pub(super) fn stray_bytes(tx: &mut Tx<'_>, store: &Store, path: &Path) -> Result<Option<u64>> {
    let Ok(metadata) = fs::symlink_metadata(store.directory().join(path)) else {
        return Ok(None);
    };
    let named = match artifact_in(path) {
        Some(sha256) => crate::builds::names_artifact(tx, sha256)?,
        None => match path.to_str() {
            Some(path) => tracked::names_text(tx, path)?,
            None => false,
        },
    };
    Ok((!named).then_some(metadata.len()))
}

/// Which artifact is kept at this path.
fn artifact_in(path: &Path) -> Option<Sha256> {
    let sha256 = Sha256::from_hex(path.file_name()?.to_str()?)?;
    (artifact_path(sha256) == path).then_some(sha256)
}

/// What is in a directory, which may be gone.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::file("read", directory, source);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        all.push(entry.map_err(failed)?.path());
    }
    Ok(all)
}

/// Calls `each` for every file below a directory. A symbolic link to a directory is none, and is not
/// followed.
pub(crate) fn walk(directory: &Path, each: &mut dyn FnMut(&Path)) -> Result<()> {
    let mut todo = vec![directory.to_owned()];
    while let Some(next) = todo.pop() {
        for path in entries(&next)? {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => todo.push(path),
                Ok(metadata) if metadata.is_symlink() && path.is_dir() => {}
                Ok(_) => each(&path),
                // Gone meanwhile.
                Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether a file lies where builder-web keeps artifacts, consoles and scripts, of this schema
/// version or an older one, so that a repair may move it. What lies elsewhere is not ours, whoever
/// put it there.
pub(crate) fn is_where_ours_are(path: &Path) -> bool {
    path.starts_with("_artifacts")
        || path
            .to_str()
            .is_some_and(|path| tracked::uuid_in(path).is_some())
}
