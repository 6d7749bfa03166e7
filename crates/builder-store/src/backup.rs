//! A second data directory that is as the first one was at one moment: made while a server serves
//! and others remove, brought up to date by the next run, and fit to be served itself.
//!
//! 1. Both databases are copied, of one moment, to `….new` beside the backup's own.
//! 2. What they name is linked or copied to its place, and all is synced. What was removed since is
//!    no loss: the databases are copied again.
//! 3. The new databases are renamed into place.
//! 4. Files that nothing names any more are removed.
//!
//! Interrupted before 3, the backup is as it was before; after it, it is the new one. The next run
//! does what is left.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::artifacts::{
    ARTIFACTS, CACHE, NO_LINKS, STAGING, refuse_links, remove_file, sync_directory, sync_files,
};
use crate::db::own::OWN_DATABASE;
use crate::db::record;
use crate::db::sole::Sole;
use crate::db::sqlite;
use crate::names::RESERVED;
use crate::sha256::HashingWriter;
use crate::store::{DATABASE, adopt, create_data_directory};
use crate::tracked::{self, Tracked};
use crate::{Error, Result, Sha256, Store};

/// In a backup, until a server serves it: what it is a backup of, and who is at work on it.
pub(crate) const MARK: &str = "builder.sqlite3-backup";
/// Copies of the databases are made again so many times when files they name are being removed.
const ROUNDS_MAX: u32 = 20;
/// What SQLite keeps beside a database.
const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// How files get into a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// As second names of the same files, or as copies where that cannot be.
    Link,
    /// As copies: what damages the one does not damage the other.
    Copy,
}

/// What is being done, as it is done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// So many files are looked at, of so many.
    Progress {
        /// How many are done.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// This file, below the data directory, is not what its row says and is not backed up.
    Damaged(&'e Path),
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Files that the databases name.
    pub files: u64,
    /// Files that are new in the backup.
    pub added: u64,
    /// Their size, in bytes.
    pub added_bytes: u64,
    /// Files that nothing named any more, and were removed.
    pub removed: u64,
    /// Files that are missing or damaged in the data directory, and that the backup does not have.
    pub damaged: Vec<PathBuf>,
}

/// Why there is no new backup. The one before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory holds something else.
    #[error(
        "{0} is not empty, and is no backup of builder-web (or a server has served it since); \
         choose another directory, or remove this one"
    )]
    NotABackup(PathBuf),
    /// One is inside of the other.
    #[error(
        "the backup {0} and the data directory are one inside of the other; choose another directory"
    )]
    Nested(PathBuf),
    /// Another backup is under way there, or a server serves it.
    #[error(
        "{0} is in use: by another backup, or by a server; wait for the one, or stop the other"
    )]
    InUse(PathBuf),
    /// Others remove builds faster than files are copied.
    #[error(
        "builds were removed again and again while their files were backed up; try again later"
    )]
    Restless,
    /// Something else.
    #[error(transparent)]
    Store(#[from] Error),
}

impl BackupError {
    /// Whether something is to be put right by whoever called, rather than broken.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, BackupError::Store(_) | BackupError::Restless)
    }
}

/// Makes `to` a backup of a data directory, or brings it up to date.
pub fn run(
    store: &Store,
    to: &Path,
    how: How,
    tell: &mut dyn FnMut(Event<'_>),
) -> std::result::Result<Outcome, BackupError> {
    prepare(store, to)?;
    let _alone = seize(store, to)?;
    let (main, record) = (unfinished(to, DATABASE), unfinished(to, record::FILE));
    let mut outcome = Outcome::default();
    let named = copy_what_is_named(store, to, how, [&main, &record], &mut outcome, tell)?;
    // A backup that was served has noted which record it has, and the next may be another one.
    record::forget_identity(to)?;
    sync_files(to)?;
    // The record first: what it says of a build counts only as far as the rows agree.
    for (copy, name) in [(&record, record::FILE), (&main, DATABASE)] {
        let place = to.join(name);
        fs::rename(copy, &place).map_err(|source| Error::file("create", &place, source))?;
    }
    // Derived from the other database; the server derives it again.
    for suffix in SUFFIXES {
        remove_file(&to.join(format!("{OWN_DATABASE}{suffix}")))?;
    }
    sync_directory(to)?;
    outcome.removed = remove_others(to, &named)?;
    sync_files(to)?;
    Ok(outcome)
}

fn unfinished(to: &Path, database: &str) -> PathBuf {
    to.join(format!("{database}.new"))
}

/// Sees to it that the directory is there, and is a backup or empty.
fn prepare(store: &Store, to: &Path) -> std::result::Result<(), BackupError> {
    create_data_directory(to).map_err(|source| Error::file("create", to, source))?;
    let real =
        |path: &Path| fs::canonicalize(path).map_err(|source| Error::file("look at", path, source));
    let (from, at) = (real(store.directory())?, real(to)?);
    if from.starts_with(&at) || at.starts_with(&from) {
        return Err(BackupError::Nested(to.to_owned()));
    }
    let mark = to.join(MARK);
    if !mark.exists() {
        let mut entries = fs::read_dir(to).map_err(|source| Error::file("read", to, source))?;
        // A file system of its own has a lost+found from the start.
        if entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found")) {
            return Err(BackupError::NotABackup(to.to_owned()));
        }
        adopt(to, store.directory())?;
        let text = format!("a backup of {}\n", from.display());
        fs::write(&mark, text).map_err(|source| Error::file("write", &mark, source))?;
        adopt(&mark, store.directory())?;
        sync_directory(to)?;
    }
    for child in NO_LINKS {
        refuse_links(to, Path::new(child))?;
    }
    for child in [ARTIFACTS, STAGING, CACHE] {
        make_directory(store.directory(), &to.join(child))?;
    }
    Ok(())
}

/// Keeps other backups out while the file lives, and looks that nobody serves it. The databases
/// that are there are left without a write-ahead log, which would be taken for the new ones'.
fn seize(store: &Store, to: &Path) -> std::result::Result<File, BackupError> {
    let mark = to.join(MARK);
    let in_use = || BackupError::InUse(to.to_owned());
    let lock = File::open(&mark).map_err(|source| Error::file("open", &mark, source))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use()),
        Err(TryLockError::Error(source)) => return Err(Error::file("lock", &mark, source).into()),
    }
    for name in [DATABASE, record::FILE] {
        let database = to.join(name);
        if database.exists() {
            let sole = Sole::open(&database)?;
            match sole.seize() {
                Err(error) if error.is_busy() => return Err(in_use()),
                seized => seized?,
            }
            sole.remove_spent_journal();
        }
        for suffix in SUFFIXES {
            let mut path = unfinished(to, name).into_os_string();
            path.push(suffix);
            remove_file(Path::new(&path))?;
        }
    }
    remove_file(&half(to))?;
    adopt(&mark, store.directory())?;
    Ok(lock)
}

/// The name of a file while it is copied.
pub(crate) const HALF: &str = "half";

/// Where a file is while it is copied.
pub(crate) fn half(to: &Path) -> PathBuf {
    to.join(STAGING).join(HALF)
}

/// Copies the databases and then all they name; again while files go away underneath. The paths
/// that are named.
fn copy_what_is_named(
    store: &Store,
    to: &Path,
    how: How,
    [main, record]: [&Path; 2],
    outcome: &mut Outcome,
    tell: &mut dyn FnMut(Event<'_>),
) -> std::result::Result<HashSet<PathBuf>, BackupError> {
    for _ in 0..ROUNDS_MAX {
        for copy in [main, record] {
            remove_file(copy)?;
        }
        store.copy_databases(main, record)?;
        for (copy, original) in [(main, DATABASE), (record, record::FILE)] {
            keep_mode(&store.directory().join(original), copy)?;
            adopt(copy, store.directory())?;
        }
        let files = named_files(main)?;
        outcome.files = files.len() as u64;
        outcome.damaged.clear();
        let mut named = HashSet::with_capacity(files.len());
        let mut restless = false;
        let mut copier = Copier::new(store.directory(), to, store.directory(), how);
        for (done, file) in (1..).zip(&files) {
            tell(Event::Progress {
                done,
                total: outcome.files,
            });
            let Some(path) = file.path() else {
                continue;
            };
            if !copier.bring(file, &path)? {
                // Gone with its build, or damaged?
                if store.read(|tx| tracked::is_named(tx, file))? {
                    tell(Event::Damaged(&path));
                    outcome.damaged.push(path.clone());
                } else {
                    restless = true;
                }
            }
            named.insert(path);
        }
        outcome.added += copier.added;
        outcome.added_bytes += copier.added_bytes;
        if !restless {
            return Ok(named);
        }
    }
    Err(BackupError::Restless)
}

/// All files that a database names which is nobody's yet.
pub(crate) fn named_files(database: &Path) -> Result<Vec<Tracked>> {
    sqlite::read_file(database, |tx| {
        let artifacts = tracked::artifacts(tx)?.into_iter();
        let mut files: Vec<Tracked> = artifacts
            .map(|(sha256, size)| Tracked::Artifact(sha256, size))
            .collect();
        files.append(&mut tracked::texts(tx)?);
        Ok(files)
    })
}

/// Brings files from one data directory into another.
pub(crate) struct Copier<'c> {
    from: &'c Path,
    to: &'c Path,
    /// Whose owner all of it gets.
    like: &'c Path,
    how: How,
    pub(crate) added: u64,
    pub(crate) added_bytes: u64,
    /// The last one that was made: files come in the order of their directories.
    directory: PathBuf,
}

impl<'c> Copier<'c> {
    pub(crate) fn new(from: &'c Path, to: &'c Path, like: &'c Path, how: How) -> Copier<'c> {
        Copier {
            from,
            to,
            like,
            how,
            added: 0,
            added_bytes: 0,
            directory: PathBuf::new(),
        }
    }

    /// Brings one file; whether it could be had, and is in the backup now.
    pub(crate) fn bring(&mut self, file: &Tracked, path: &Path) -> Result<bool> {
        let (from, to) = (self.from.join(path), self.to.join(path));
        let source = look(&from)?;
        let there = look(&to)?;
        // A text is written once, with its build; an artifact is named by what it holds.
        let bytes = match file {
            Tracked::Artifact(_, bytes) => Some(*bytes),
            Tracked::Console(_) | Tracked::Script(_) => source.as_ref().map(fs::Metadata::len),
        };
        if let Some(there) = &there {
            let same_file = source
                .as_ref()
                .is_some_and(|source| (source.dev(), source.ino()) == (there.dev(), there.ino()));
            let whole = bytes.is_none_or(|bytes| there.len() == bytes);
            if whole && !(same_file && self.how == How::Copy) {
                return Ok(true);
            }
        }
        let Some(source) = source.filter(|source| source.is_file() && Some(source.len()) == bytes)
        else {
            return Ok(false);
        };
        self.make_parents(&to)?;
        if self.how == How::Link && there.is_none() {
            match fs::hard_link(&from, &to) {
                Ok(()) => {
                    self.count(source.len());
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                // On another file system, or it has too many names: a copy will do.
                Err(_) => {}
            }
        }
        let expected = match file {
            Tracked::Artifact(sha256, _) => Some(*sha256),
            Tracked::Console(_) | Tracked::Script(_) => None,
        };
        let copied = self.copy(&from, &to, expected)?;
        if copied {
            self.count(source.len());
        }
        Ok(copied)
    }

    /// Makes the directories that lead to a file.
    pub(crate) fn make_parents(&mut self, file: &Path) -> Result<()> {
        let parent = file.parent().unwrap_or(self.to);
        if parent != self.directory {
            for directory in [parent.parent(), Some(parent)].into_iter().flatten() {
                make_directory(self.like, directory)?;
            }
            self.directory = parent.to_owned();
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.added += 1;
        self.added_bytes += bytes;
    }

    /// Copies a file; not if it is gone, or does not hold what it should.
    fn copy(&self, from: &Path, to: &Path, expected: Option<Sha256>) -> Result<bool> {
        let mut source = match File::open(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|source| Error::file("open", from, source))?,
        };
        let half = half(self.to);
        let failed = |source| Error::file("write", &half, source);
        let out = File::create(&half).map_err(failed)?;
        let mut out = HashingWriter::new(out);
        let mut piece = vec![0; 256 * 1024];
        loop {
            match source.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => out.write_all(&piece[..count]).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::file("read", from, error)),
            }
        }
        let (out, sha256, _) = out.finish();
        if expected.is_some_and(|expected| expected != sha256) {
            return Ok(false);
        }
        out.sync_all().map_err(failed)?;
        keep_mode(from, &half)?;
        adopt(&half, self.like)?;
        fs::rename(&half, to).map_err(|source| Error::file("create", to, source))?;
        Ok(true)
    }
}

pub(crate) fn look(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::file("look at", path, source)),
    }
}

pub(crate) fn make_directory(like: &Path, directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(|source| Error::file("create", directory, source))?;
    adopt(directory, like)
}

/// Gives a copy the mode of the original: the database holds password hashes.
pub(crate) fn keep_mode(original: &Path, copy: &Path) -> Result<()> {
    let failed = |source| Error::file("change the mode of", copy, source);
    let mode = fs::metadata(original).map_err(failed)?.permissions();
    fs::set_permissions(copy, mode).map_err(failed)
}

/// Removes artifacts, consoles and scripts that nothing names; nothing else.
pub(crate) fn remove_others(to: &Path, named: &HashSet<PathBuf>) -> Result<u64> {
    let mut removed = 0;
    for top in directories(to)? {
        let name = top.file_name().unwrap_or_default().to_string_lossy();
        if name != "_artifacts" && RESERVED.contains(&name.as_ref()) {
            continue;
        }
        for directory in directories(&top)? {
            let entries = fs::read_dir(&directory)
                .map_err(|source| Error::file("read", &directory, source))?;
            for entry in entries {
                let path = entry
                    .map_err(|source| Error::file("read", &directory, source))?
                    .path();
                let below = path.strip_prefix(to).unwrap_or(&path);
                if is_ours(below) && !named.contains(below) {
                    remove_file(&path)?;
                    removed += 1;
                }
            }
            // Only what is empty goes.
            let _: io::Result<()> = fs::remove_dir(&directory);
        }
        if name != "_artifacts" {
            let _: io::Result<()> = fs::remove_dir(&top);
        }
    }
    Ok(removed)
}

fn directories(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::file("read", directory, source);
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            all.push(path);
        }
    }
    Ok(all)
}

/// Whether a file lies where a backup puts one.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    if path.starts_with("_artifacts") {
        return name.and_then(Sha256::from_hex).is_some();
    }
    let text = matches!(name, Some("console.txt" | "script.txt"));
    text && path
        .to_str()
        .is_some_and(|path| tracked::uuid_in(path).is_some())
}
