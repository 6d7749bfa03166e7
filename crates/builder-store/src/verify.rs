//! Whether the files of a data directory are what the database says they are, and mending what can
//! be mended. Reads every artifact, console and script; removes none.
//!
//! Others may upload and remove meanwhile: what looks wrong is looked at again, and a file that
//! nobody names is one only if that is so while nobody else writes.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::Digest;

use crate::artifacts::{
    QUARANTINE, below, from_where_no_link_is, link_on_the_way, open_beneath, put_aside,
    sync_directory, sync_files,
};
use crate::names::{RESERVED, RESERVED_PREFIXES};
use crate::store::adopt;
use crate::tracked::{self, Tracked, artifact_path};
use crate::{Error, Result, Sha256, Store, Tx, removal};

/// Files are read in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;
/// Builds that are named with each problem; the others are counted.
const NAMED_MAX: i64 = 3;
/// What a stand-in for a lost text begins with, after the head of a console's line.
const STAND_IN: &str = "# builder-web: this text was lost; ";
/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It ends too early.
    Truncated,
    /// It holds something else.
    Changed,
    /// The system does not give it out, for this reason.
    Unreadable(String),
    /// Nothing in the database names it.
    Stray,
    /// Its build was removed, and it was not yet.
    ToBeRemoved,
    /// It holds what its name says, but rows give it another size.
    WrongSize,
    /// Its row gives a path that is not of this build, or that leaves the data directory.
    Elsewhere,
    /// It was lost, and what is there instead says so. No reason to complain again.
    StandIn,
}

impl Fault {
    /// One word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Missing => "missing",
            Fault::Truncated => "truncated",
            Fault::Changed => "changed",
            Fault::Unreadable(_) => "unreadable",
            Fault::Stray => "stray",
            Fault::ToBeRemoved => "to-be-removed",
            Fault::WrongSize => "wrong-size",
            Fault::Elsewhere => "elsewhere",
            Fault::StandIn => "stand-in",
        }
    }
}

/// What was done about a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mended {
    /// The right bytes were found here, and put in their place.
    Restored(PathBuf),
    /// It was moved here, below the data directory.
    Quarantined(PathBuf),
    /// A text that says that it was lost is there in its place.
    StandIn,
    /// It was removed, as was begun with its build.
    Removed,
}

/// One file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is, or should be, below the data directory.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Fault,
    /// The size that its rows give, in bytes; of artifacts alone.
    pub expected_bytes: Option<u64>,
    /// The size it has, in bytes.
    pub found_bytes: Option<u64>,
    /// Some of the builds that name it, as `JOB/UUID PATH`.
    pub named_by: Vec<String>,
    /// How many builds name it.
    pub builds: u64,
    /// What was done about it.
    pub mended: Vec<Mended>,
    file: Option<Tracked>,
}

impl Problem {
    /// Whether something is still wrong: nothing is once the right bytes are back, a stray is out
    /// of the way, or a lost text has its stand-in.
    pub fn is_open(&self) -> bool {
        let done = |mended: &Mended| match mended {
            Mended::Restored(_) | Mended::StandIn | Mended::Removed => true,
            Mended::Quarantined(_) => self.fault == Fault::Stray,
        };
        self.fault != Fault::StandIn && !self.mended.iter().any(done)
    }
}

/// What is to be read.
#[derive(Debug)]
pub struct Plan {
    files: Vec<Tracked>,
    problems: Vec<Problem>,
    /// Bytes of all artifacts.
    pub bytes: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// Artifacts that were read, each content once.
    pub artifacts: u64,
    /// Consoles and scripts that were read.
    pub texts: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong, by path.
    pub problems: Vec<Problem>,
}

impl Plan {
    /// All that the database names at this moment.
    pub fn load(store: &Store) -> Result<Plan> {
        store.read(|tx| {
            let mut artifacts = tracked::artifacts(tx)?;
            let bytes = artifacts.iter().map(|(_, size)| size).sum();
            // The largest first: at the end, no core is left alone with one.
            artifacts.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(&right.0)));
            let mut files: Vec<Tracked> = artifacts
                .into_iter()
                .map(|(sha256, size)| Tracked::Artifact(sha256, size))
                .collect();
            files.extend(tracked::texts(tx)?);
            let elsewhere = tracked::misplaced(tx)?;
            let problems = elsewhere.into_iter().map(|(home, path)| Problem {
                named_by: vec![home],
                builds: 1,
                ..Problem::new(PathBuf::from(path), Fault::Elsewhere)
            });
            Ok(Plan {
                problems: problems.collect(),
                files,
                bytes,
            })
        })
    }

    /// How many files there are to read.
    pub fn files(&self) -> u64 {
        self.files.len() as u64
    }

    /// Reads all, on `threads` threads; `progress` is told the bytes of each piece as it is read,
    /// from any of them.
    pub fn verify(
        self,
        store: &Store,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Report> {
        let next = AtomicUsize::new(0);
        let found = Mutex::new((self.problems, 0));
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    let mut reader = FileReader::new(store.directory(), progress);
                    let mut problems = Vec::new();
                    while let Some(file) = self.files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        problems.extend(reader.look_at(file));
                    }
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.0.append(&mut problems);
                    found.1 += reader.bytes;
                });
            }
        });
        let (found, bytes) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut problems = confirmed(store, found)?;
        problems.append(&mut strays(store, &self.files)?);
        problems.sort_by(|left, right| left.path.cmp(&right.path));
        let artifacts = |file: &&Tracked| matches!(file, Tracked::Artifact(..));
        let artifacts = self.files.iter().filter(artifacts).count() as u64;
        Ok(Report {
            artifacts,
            texts: self.files.len() as u64 - artifacts,
            bytes,
            problems,
        })
    }
}

impl Report {
    /// How many problems are still there.
    pub fn open_problems(&self) -> usize {
        let open = self.problems.iter().filter(|problem| problem.is_open());
        open.count()
    }
}

impl Problem {
    fn new(path: PathBuf, fault: Fault) -> Problem {
        Problem {
            path,
            fault,
            expected_bytes: None,
            found_bytes: None,
            named_by: Vec::new(),
            builds: 0,
            mended: Vec::new(),
            file: None,
        }
    }
}

/// Reads files, one after the other.
struct FileReader<'r> {
    directory: &'r Path,
    progress: &'r (dyn Fn(u64) + Sync),
    piece: Vec<u8>,
    bytes: u64,
}

impl<'r> FileReader<'r> {
    fn new(directory: &'r Path, progress: &'r (dyn Fn(u64) + Sync)) -> FileReader<'r> {
        FileReader {
            directory,
            progress,
            piece: vec![0; PIECE_BYTES],
            bytes: 0,
        }
    }

    fn look_at(&mut self, file: &Tracked) -> Option<Problem> {
        let Some(path) = file.path() else {
            // Told with those that are elsewhere.
            return None;
        };
        let (expected_bytes, read) = match file {
            Tracked::Artifact(sha256, size) => (
                Some(*size),
                self.digest(&path).map(|(found, bytes)| {
                    let fault = match (found == *sha256, bytes.cmp(size)) {
                        (true, std::cmp::Ordering::Equal) => None,
                        (true, _) => Some(Fault::WrongSize),
                        (false, std::cmp::Ordering::Less) => Some(Fault::Truncated),
                        (false, _) => Some(Fault::Changed),
                    };
                    (fault, Some(bytes))
                }),
            ),
            // Their digest is not kept: that they can be read is all there is to know.
            Tracked::Console(_) | Tracked::Script(_) => (
                None,
                self.text(&path)
                    .map(|(stand_in, bytes)| (stand_in.then_some(Fault::StandIn), Some(bytes))),
            ),
        };
        let (fault, found_bytes) = match read {
            Ok((None, _)) => return None,
            Ok((Some(fault), bytes)) => (fault, bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Fault::Missing, None),
            Err(error) => (Fault::Unreadable(error.to_string()), None),
        };
        Some(Problem {
            expected_bytes,
            found_bytes,
            file: Some(file.clone()),
            ..Problem::new(path, fault)
        })
    }

    fn digest(&mut self, path: &Path) -> io::Result<(Sha256, u64)> {
        let mut hash = sha2::Sha256::new();
        let bytes = self.each_piece(path, |piece| hash.update(piece))?;
        Ok((Sha256::from_bytes(hash.finalize().into()), bytes))
    }

    /// Whether a text is a stand-in, and how long it is.
    fn text(&mut self, path: &Path) -> io::Result<(bool, u64)> {
        let mut stand_in = None;
        let bytes = self.each_piece(path, |piece| {
            stand_in.get_or_insert_with(|| is_stand_in(piece));
        })?;
        Ok((stand_in.unwrap_or(false), bytes))
    }

    fn each_piece(&mut self, path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
        // As who serves it: what a link leads to is not in the data directory.
        let (root, below) = from_where_no_link_is(self.directory, path);
        let opened = open_beneath(&root, below);
        let (mut file, _) = opened.map_err(|error| match error {
            Error::File { source, .. } => source,
            other => io::Error::other(other),
        })?;
        let mut bytes = 0;
        loop {
            match file.read(&mut self.piece) {
                Ok(0) => return Ok(bytes),
                Ok(read) => {
                    each(&self.piece[..read]);
                    bytes += read as u64;
                    self.bytes += read as u64;
                    (self.progress)(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What is still so when it is looked at again, with the builds it is of.
fn confirmed(store: &Store, found: Vec<Problem>) -> Result<Vec<Problem>> {
    let mut reader = FileReader::new(store.directory(), &|_| {});
    let mut confirmed = Vec::new();
    for mut problem in found {
        let Some(file) = &problem.file else {
            confirmed.push(problem);
            continue;
        };
        if !store.read(|tx| tracked::is_named(tx, file))? {
            // Removed meanwhile.
            continue;
        }
        // An upload may have brought it back.
        if problem.fault == Fault::Missing && reader.look_at(file).is_none() {
            continue;
        }
        (problem.named_by, problem.builds) =
            store.read(|tx| tracked::named_by(tx, file, NAMED_MAX))?;
        confirmed.push(problem);
    }
    Ok(confirmed)
}

/// Files that nothing names.
fn strays(store: &Store, files: &[Tracked]) -> Result<Vec<Problem>> {
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
fn stray_bytes(tx: &mut Tx<'_>, store: &Store, path: &Path) -> Result<Option<u64>> {
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

// --- Mending.

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
            (Tracked::Console(path), _) => {
                let text = format!("0.000s:{STAND_IN}this is in its place since {now}\n");
                mend_text(store, problem, from, path, &text)?;
            }
            (Tracked::Script(path), _) => {
                let text = format!("{STAND_IN}this is in its place since {now}\n");
                mend_text(store, problem, from, path, &text)?;
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
            if let Some(aside) = aside {
                prune(store.directory(), &problem.path);
                problem.mended.push(Mended::Quarantined(aside));
            }
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

/// Where artifacts, consoles and scripts are, of this schema version or an older one. What lies
/// elsewhere is not ours, whoever put it there.
/// Whether a file lies where builder-web keeps some, so that a repair may move it.
pub(crate) fn is_where_ours_are(path: &Path) -> bool {
    path.starts_with("_artifacts")
        || path
            .to_str()
            .is_some_and(|path| tracked::uuid_in(path).is_some())
}

fn mend_artifact(
    store: &Store,
    problem: &mut Problem,
    sources: &mut Sources,
    sha256: Sha256,
    size: u64,
) -> Result<()> {
    let damaged = problem.fault != Fault::Missing;
    let source = sources.find(sha256, size)?;
    if let Some(source) = &source {
        let mut staging = store.stage(0)?;
        let read = |error| Error::file("read", source, error);
        let mut file = File::open(source).map_err(read)?;
        let staged = staging.artifact(&mut file)?.map_err(read)?;
        if staged.sha256 == sha256 {
            store.write(|tx| {
                if !crate::builds::names_artifact(tx, sha256)? {
                    return Ok(());
                }
                if damaged && fs::symlink_metadata(store.artifacts().path(sha256)).is_ok() {
                    let aside = put_aside(store.directory(), &problem.path)?;
                    problem.mended.push(Mended::Quarantined(aside));
                }
                staging.put_back(sha256)
            })?;
            problem.mended.push(Mended::Restored(source.clone()));
            return Ok(());
        }
    }
    if damaged {
        let aside = store.write(|_| put_aside(store.directory(), &problem.path))?;
        problem.mended.push(Mended::Quarantined(aside));
    }
    Ok(())
}

fn mend_text(
    store: &Store,
    problem: &mut Problem,
    from: &[PathBuf],
    path: &str,
    stand_in: &str,
) -> Result<()> {
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
    let mended = store.write(|tx| {
        if !tracked::names_text(tx, path)? {
            return Ok(false);
        }
        if fs::symlink_metadata(&target).is_ok() && problem.fault != Fault::StandIn {
            let aside = put_aside(store.directory(), &place)?;
            problem.mended.push(Mended::Quarantined(aside));
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
        crate::artifacts::remove_file(&unfinished)?;
        prune(store.directory(), &place);
    }
    Ok(())
}

fn is_stand_in(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"0.000s:").unwrap_or(text);
    text.starts_with(STAND_IN.as_bytes())
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
