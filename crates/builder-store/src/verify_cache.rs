//! Whether the pictures in `_cache/` are whole: what `builder-db verify-cache-dir` looks at.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::cache::{Cache, Maker, Picture, is_known_directory};
use crate::{Error, Result, Sha256, Store, Tx};

/// What is wrong in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheProblem {
    /// Something of a name that neither we nor hooks give.
    Unknown(PathBuf),
    /// A picture without content.
    Empty(PathBuf),
    /// A picture that was not finished.
    Unfinished(PathBuf),
    /// A picture of an artifact that no build has.
    Orphan(PathBuf),
    /// The newest pictures of hooks are not marked as complete.
    NotDone(PathBuf),
    /// They are, and this one is not there; with the build it is of, as `JOB/UUID`.
    Missing(PathBuf, String),
}

impl CacheProblem {
    /// One word for it.
    pub fn name(&self) -> &'static str {
        match self {
            CacheProblem::Unknown(_) => "unknown",
            CacheProblem::Empty(_) => "empty",
            CacheProblem::Unfinished(_) => "unfinished",
            CacheProblem::Orphan(_) => "orphan",
            CacheProblem::NotDone(_) => "not-done",
            CacheProblem::Missing(..) => "missing",
        }
    }

    /// The file or directory.
    pub fn path(&self) -> &PathBuf {
        match self {
            CacheProblem::Unknown(path)
            | CacheProblem::Empty(path)
            | CacheProblem::Unfinished(path)
            | CacheProblem::Orphan(path)
            | CacheProblem::NotDone(path)
            | CacheProblem::Missing(path, _) => path,
        }
    }

    /// Whether it may well be so while all is right: a batch run is under way, or hooks never ran
    /// one, or a picture outlived its artifact.
    pub fn is_note(&self) -> bool {
        matches!(
            self,
            CacheProblem::NotDone(_) | CacheProblem::Orphan(_) | CacheProblem::Unfinished(_)
        )
    }
}

/// How many pictures there are, and what is wrong with them.
pub fn verify(store: &Store, cache: &Cache) -> Result<(u64, Vec<CacheProblem>)> {
    let directory = cache.directory();
    let failed = |source| Error::file("read", directory, source);
    let mut problems = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let known = is_known_directory(&entry.file_name().to_string_lossy());
        // A link is followed by nobody.
        let is_directory = entry.file_type().is_ok_and(|there| there.is_dir());
        if !known || !is_directory {
            problems.push(CacheProblem::Unknown(entry.path()));
        }
    }
    let mut pictures = 0;
    let mut newest: [u64; 2] = [0; 2];
    let mut there: HashSet<PathBuf> = HashSet::new();
    for entry in cache.entries()? {
        match entry.maker {
            Maker::Unfinished => {
                problems.push(CacheProblem::Unfinished(entry.path));
                continue;
            }
            Maker::Unknown => {
                if entry.path.file_name().is_some_and(|name| name != ".done") {
                    problems.push(CacheProblem::Unknown(entry.path));
                }
                continue;
            }
            Maker::Hook(picture, version) => {
                for (newest, known) in newest.iter_mut().zip(Picture::ALL) {
                    if known == picture {
                        *newest = version.max(*newest);
                    }
                }
            }
            Maker::Own(..) => {}
        }
        pictures += 1;
        match fs::metadata(&entry.path) {
            Ok(metadata) if metadata.len() == 0 => {
                problems.push(CacheProblem::Empty(entry.path.clone()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::file("look at", &entry.path, source)),
        }
        if let Some(sha256) = entry.sha256
            && !store.read(|tx| crate::builds::names_artifact(tx, sha256))?
        {
            problems.push(CacheProblem::Orphan(entry.path.clone()));
        }
        there.insert(entry.path);
    }
    for (picture, version) in Picture::ALL.into_iter().zip(newest) {
        let of_picture = directory.join(format!("{}_{version}", picture.name()));
        if version == 0 {
            continue;
        }
        if !of_picture.join(".done").is_file() {
            problems.push(CacheProblem::NotDone(of_picture));
            continue;
        }
        for (sha256, build) in store.read(|tx| shown(tx, picture))? {
            let path = of_picture.join(format!("{sha256}.html"));
            if !there.contains(&path) {
                problems.push(CacheProblem::Missing(path, build));
            }
        }
    }
    problems.sort_by(|left, right| left.path().cmp(right.path()));
    Ok((pictures, problems))
}

/// What a batch run makes pictures of: each artifact once, with a build that has it.
fn shown(tx: &mut Tx<'_>, picture: Picture) -> Result<Vec<(Sha256, String)>> {
    let ends_in = match picture {
        Picture::Treemap => ".debug",
        Picture::Dependencies => "opam-switch",
    };
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    tx.for_each(
        "SELECT a.sha256, j.name, b.uuid
         FROM build b JOIN job j ON j.id = b.job JOIN build_artifact a ON a.build = b.id
         WHERE b.main_binary IS NOT NULL 
           AND (a.filepath = $1 OR substr(a.filepath, length(a.filepath) - 5) = $1)
         ORDER BY b.id DESC",
        &[ends_in.into()],
        |row| {
            let sha256 = row.sha256(0)?;
            if seen.insert(sha256) {
                all.push((sha256, format!("{}/{}", row.text(1)?, row.text(2)?)));
            }
            Ok(())
        },
    )?;
    Ok(all)
}
