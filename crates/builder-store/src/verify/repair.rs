//! Mending what was found, where it can be mended. What is wrong with a file is looked at again
//! just before it is moved: whoever uploads may have brought it again.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::look::{FileReader, STAND_IN, is_stand_in};
use super::strays::{is_where_ours_are, stray_bytes, walk};
use super::{Fault, Mended, Problem, Report};
use crate::artifacts::{
    QUARANTINE, below, from_where_no_link_is, link_on_the_way, put_aside, sync_directory,
    sync_files,
};
use crate::store::adopt;
use crate::tracked::{self, Tracked, artifact_path};
use crate::{Error, Result, Sha256, Staging, Store};

/// Mends what can be mended, and notes it in the report. What is damaged, and strays that lie
/// where artifacts, consoles or scripts do, are moved into `_quarantine/`; nothing is removed but
/// what a removal of builds that was interrupted had yet to remove.
///
/// The bytes of an artifact may be anywhere: in `from`, which are backups or any directories, in
/// `_quarantine/`, in what interrupted uploads left, among strays. A text that is nowhere is
/// replaced by one that says so; `now` is what it is dated.
pub fn repair(store: &Store, report: &mut Report, from: &[PathBuf], now: &str) -> Result<()> {
    let mut sources = Sources::new(store, report, from)?;
    for problem in &mut report.problems {
        let Some(file) = problem.file.clone() else {
            continue;
        };
        // What a link leads to is mended by nobody: only the operator knows what it is for.
        let directory = problem.path.parent().unwrap_or(Path::new(""));
        let (root, directory) = from_where_no_link_is(store.directory(), directory);
        if link_on_the_way(&root, directory).is_some() {
            continue;
        }
        match (&file, &problem.fault) {
            (_, Fault::WrongSize | Fault::Elsewhere | Fault::Stray | Fault::ToBeRemoved) => {}
            (Tracked::Artifact(sha256, size), _) => {
                mend_artifact(store, problem, &mut sources, *sha256, *size)?;
            }
            (Tracked::Console(_), _) => {
                let text = format!("0.000s:{STAND_IN}this is in its place since {now}\n");
                mend_text(store, problem, from, &file, &text)?;
            }
            (Tracked::Script(_), _) => {
                let text = format!("{STAND_IN}this is in its place since {now}\n");
                mend_text(store, problem, from, &file, &text)?;
            }
        }
    }
    for problem in &mut report.problems {
        if problem.fault == Fault::Stray && is_where_ours_are(&problem.path) {
            // Again under the lock: an upload may have come to need it.
            let aside = store.write(|tx| match stray_bytes(tx, store, &problem.path)? {
                Some(_) => put_aside(store.directory(), &problem.path).map(Some),
                None => Ok(None),
            })?;
            problem.mended.push(match aside {
                Some(aside) => {
                    prune(store.directory(), &problem.path);
                    Mended::Quarantined(aside)
                }
                None => Mended::Meanwhile,
            });
        }
    }
    store.finish_removals()?;
    for problem in &mut report.problems {
        if problem.fault == Fault::ToBeRemoved
            && fs::symlink_metadata(store.directory().join(&problem.path)).is_err()
        {
            problem.mended.push(Mended::Removed);
        }
    }
    sync_files(store.directory())?;
    store.sweep_interrupted()?;
    store.derive_anew()
}

/// Which file is at a path: another one has another identity, and so has one that was written to.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Identity {
    /// None: nothing is there.
    fn of(path: &Path) -> Option<Identity> {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

fn mend_artifact(
    store: &Store,
    problem: &mut Problem,
    sources: &mut Sources,
    sha256: Sha256,
    size: u64,
) -> Result<()> {
    let path = store.artifacts().path(sha256);
    let file = Tracked::Artifact(sha256, size);
    let mut reader = FileReader::new(store.directory(), &|_| {});
    let mut staged = None;
    loop {
        // Read without the writer's lock, so that uploads need not wait for it; under the lock it
        // is enough that it is the same file.
        let seen = Identity::of(&path);
        match reader.look_at(&file).map(|problem| problem.fault) {
            None => {
                problem.mended.push(Mended::Meanwhile);
                return Ok(());
            }
            Some(Fault::WrongSize) => {
                problem.fault = Fault::WrongSize;
                return Ok(());
            }
            Some(_) => {}
        }
        if staged.is_none() {
            staged = Some(stage(store, sources, sha256, size)?);
        }
        let done = store.write(|tx| {
            if !crate::builds::names_artifact(tx, sha256)? {
                return Ok(Some(vec![Mended::Meanwhile]));
            }
            if Identity::of(&path) != seen {
                return Ok(None);
            }
            let mut done = Vec::new();
            if seen.is_some() {
                let aside = put_aside(store.directory(), &problem.path)?;
                done.push(Mended::Quarantined(aside));
            }
            if let Some((staging, source)) = staged.iter().flatten().next() {
                staging.put_back(sha256)?;
                done.push(Mended::Restored(source.clone()));
            }
            Ok(Some(done))
        })?;
        if let Some(mut done) = done {
            problem.mended.append(&mut done);
            return Ok(());
        }
    }
}

/// A copy of an artifact's bytes, ready to be put in its place, and where they were found.
fn stage<'s>(
    store: &'s Store,
    sources: &mut Sources,
    sha256: Sha256,
    size: u64,
) -> Result<Option<(Staging<'s>, PathBuf)>> {
    let Some(source) = sources.find(sha256, size)? else {
        return Ok(None);
    };
    let read = |error| Error::file("read", &source, error);
    let mut staging = store.stage(0)?;
    let mut file = File::open(&source).map_err(read)?;
    let staged = staging.artifact(&mut file)?.map_err(read)?;
    Ok((staged.sha256 == sha256).then_some((staging, source)))
}

fn mend_text(
    store: &Store,
    problem: &mut Problem,
    from: &[PathBuf],
    file: &Tracked,
    stand_in: &str,
) -> Result<()> {
    let (Tracked::Console(path) | Tracked::Script(path)) = file else {
        return Ok(());
    };
    let Some(place) = below(Path::new(path)) else {
        return Ok(());
    };
    let source = from
        .iter()
        .map(|from| from.join(&place))
        .find(|source| is_real_text(source));
    if source.is_none() && problem.fault == Fault::StandIn {
        return Ok(());
    }
    let target = store.directory().join(&place);
    let home = target.parent().unwrap_or(store.directory());
    fs::create_dir_all(home).map_err(|source| Error::file("create", home, source))?;
    for made in [home.parent(), Some(home)].into_iter().flatten() {
        adopt(made, store.directory())?;
    }
    let unfinished = home.join(".builder-web-repair");
    let write = || -> io::Result<()> {
        let mut out = File::create(&unfinished)?;
        match &source {
            Some(source) => {
                io::copy(&mut File::open(source)?, &mut out)?;
            }
            None => out.write_all(stand_in.as_bytes())?,
        }
        out.sync_all()
    };
    write().map_err(|error| Error::file("write", &unfinished, error))?;
    adopt(&unfinished, store.directory())?;
    let mut reader = FileReader::new(store.directory(), &|_| {});
    let mended = store.write(|tx| {
        if !tracked::names_text(tx, path)? {
            return Ok(false);
        }
        // Again under the lock: an upload may have brought a build of that name again.
        match reader.look_at(file).map(|problem| problem.fault) {
            None => return Ok(false),
            Some(Fault::StandIn) => {}
            Some(_) if fs::symlink_metadata(&target).is_err() => {}
            Some(_) => {
                let aside = put_aside(store.directory(), &place)?;
                problem.mended.push(Mended::Quarantined(aside));
            }
        }
        fs::rename(&unfinished, &target).map_err(|error| Error::file("create", &target, error))?;
        sync_directory(home)?;
        Ok(true)
    })?;
    if mended {
        problem.mended.push(match source {
            Some(source) => Mended::Restored(source),
            None => Mended::StandIn,
        });
    } else {
        problem.mended.push(Mended::Meanwhile);
        crate::artifacts::remove_file(&unfinished)?;
        prune(store.directory(), &place);
    }
    Ok(())
}

fn is_real_text(path: &Path) -> bool {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(256).read_to_end(&mut head))
        .is_ok_and(|_| !is_stand_in(&head))
}

/// Removes the directories that a file left empty, but for those at the top.
fn prune(directory: &Path, path: &Path) {
    for parent in path.ancestors().skip(1) {
        let keep = parent.as_os_str().is_empty() || parent == Path::new("_artifacts");
        if keep || fs::remove_dir(directory.join(parent)).is_err() {
            return;
        }
    }
}

/// Files that may hold what is missing, by size. Each is read once at most.
struct Sources {
    backups: Vec<PathBuf>,
    by_size: BTreeMap<u64, Vec<Source>>,
}

struct Source {
    path: PathBuf,
    sha256: Option<Sha256>,
}

impl Sources {
    fn new(store: &Store, report: &Report, from: &[PathBuf]) -> Result<Sources> {
        let mut sources = Sources {
            backups: from.to_vec(),
            by_size: BTreeMap::new(),
        };
        let wanted: HashSet<u64> = report
            .problems
            .iter()
            .filter_map(|problem| problem.expected_bytes)
            .collect();
        if wanted.is_empty() {
            return Ok(sources);
        }
        let mut add = |path: &Path| {
            if let Ok(metadata) = fs::metadata(path)
                && metadata.is_file()
                && wanted.contains(&metadata.len())
            {
                let source = Source {
                    path: path.to_owned(),
                    sha256: None,
                };
                let of_size = sources.by_size.entry(metadata.len()).or_default();
                of_size.push(source);
            }
        };
        for problem in &report.problems {
            if problem.fault == Fault::Stray {
                add(&store.directory().join(&problem.path));
            }
        }
        for directory in [QUARANTINE, "_staging"] {
            walk(&store.directory().join(directory), &mut add)?;
        }
        for directory in from {
            if !directory.join("_artifacts").is_dir() {
                walk(directory, &mut add)?;
            }
        }
        Ok(sources)
    }

    fn find(&mut self, sha256: Sha256, size: u64) -> Result<Option<PathBuf>> {
        let digest = |path: &Path| {
            let mut file = File::open(path)?;
            Sha256::of_reader(&mut file)
        };
        for backup in &self.backups {
            let path = backup.join(artifact_path(sha256));
            if digest(&path).is_ok_and(|found| found == sha256) {
                return Ok(Some(path));
            }
        }
        for source in self.by_size.get_mut(&size).into_iter().flatten() {
            if source.sha256.is_none() {
                source.sha256 = digest(&source.path).ok();
            }
            if source.sha256 == Some(sha256) && source.path.exists() {
                return Ok(Some(source.path.clone()));
            }
        }
        Ok(None)
    }
}
