//! A data directory that is again what a backup is, while no server has it open. What was there is put
//! aside as a whole, with all that SQLite keeps beside databases: a log that is left beside another
//! database than its own is written into that one.
//!
//! 1. In `_restoring/content/` a data directory is made: copies of the databases, and every file they
//!    name. A file that the data directory has whole gets a second name, any other is copied from
//!    the backup. Artifacts are compared with their digests. All is synced.
//! 2. It is opened once, as a server would: what cannot be served is not put in place.
//! 3. It is marked as complete.
//! 4. What was there is moved into `_quarantine/before-restore-…/`, and that is marked as done.
//! 5. The content is moved up.
//!
//! Interrupted before 3, nothing was changed. After it, whoever opens the directory next finishes:
//! all that is left are renames, and the marks say which of two things of one name is the old one.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use builder_exec::Timestamp;

use crate::artifacts::{
    ARTIFACTS, CACHE, NO_LINKS, QUARANTINE, STAGING, from_where_no_link_is, make_directories,
    open_beneath, refuse_links, remove_file, sync_directory, sync_files,
};
use crate::backup::{
    Copier, How, MARK, keep_mode, look, make_directory, named_files, remove_others,
};
use crate::db::own::OWN_DATABASE;
use crate::db::record;
use crate::db::sole::{Sole, is_open_elsewhere};
use crate::sha256::HashingWriter;
use crate::store::{
    APPLICATION_ID, DATABASE, SCHEMA_VERSION, adopt, check_logs, create_data_directory,
};
use crate::tracked::Tracked;
use crate::verify::entries;
use crate::{Error, OpenError, Result, Store};

/// Where a restore is at work.
pub(crate) const PLACE: &str = "_restoring";
/// In it: what is to be put in place.
const CONTENT: &str = "content";
/// In it: who is at work.
const LOCK: &str = "lock";
/// In it: the content is complete; says where what was there is put.
const COMPLETE: &str = "complete";
/// In it: what was there has been put aside.
const PUT_ASIDE: &str = "put-aside";
/// What stays where it is: pictures are named by what they are of, and what was put aside belongs to
/// nothing.
const STAYS: [&str; 4] = [PLACE, QUARANTINE, CACHE, "lost+found"];
/// Bytes of what a mark says: a name.
const MARK_BYTES_MAX: u64 = 4096;

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
    /// This file is whole neither in the backup nor in the data directory.
    Damaged(&'e Path),
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Files that the databases name.
    pub files: u64,
    /// Files that were copied from the backup.
    pub copied: u64,
    /// Their size, in bytes.
    pub copied_bytes: u64,
    /// Files that are whole nowhere, and are missing now.
    pub damaged: Vec<PathBuf>,
    /// Where what was there is now; none if nothing was.
    pub put_aside: Option<PathBuf>,
}

/// Why nothing was restored. What was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is nothing to restore from.
    #[error("{0} is no backup that can be restored: {1}")]
    NotABackup(PathBuf, String),
    /// Files are missing.
    #[error(
        "{0} lacks {1} of its files, or they are damaged; see what is wrong with it: \
         builder-db verify-data-dir --datadir {0}; or go without them: --incomplete"
    )]
    NotWhole(PathBuf, usize),
    /// One is inside of the other.
    #[error(
        "the backup {0} and the data directory are one inside of the other; move the backup elsewhere"
    )]
    Nested(PathBuf),
    /// Somebody has it open.
    #[error("{0} is in use: stop the server, its socket too, and whatever else has it open")]
    InUse(PathBuf),
    /// A part of the data directory cannot be moved.
    #[error(
        "{0} is on another file system than the data directory, and cannot be put aside; unmount it first"
    )]
    Mounted(PathBuf),
    /// Something else.
    #[error(transparent)]
    Store(#[from] Error),
}

impl RestoreError {
    /// Whether something is to be put right by whoever called, rather than broken.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, RestoreError::Store(_))
    }
}

type Done<T> = std::result::Result<T, RestoreError>;

/// Makes `directory` what the backup is. With `incomplete`, also from a backup that lacks files.
pub fn run(
    backup: &Path,
    directory: &Path,
    incomplete: bool,
    now: &Timestamp,
    tell: &mut dyn FnMut(Event<'_>),
) -> Done<Outcome> {
    let real =
        |path: &Path| fs::canonicalize(path).map_err(|source| Error::file("look at", path, source));
    let _backup_stays = check_backup(backup)?;
    create_data_directory(directory).map_err(|source| Error::file("create", directory, source))?;
    let (backup, directory) = (&real(backup)?, &real(directory)?);
    if backup.starts_with(directory) || directory.starts_with(backup) {
        return Err(RestoreError::Nested(backup.clone()));
    }
    for child in NO_LINKS {
        refuse_links(directory, Path::new(child))?;
    }
    if entries(directory)?.is_empty() {
        adopt(directory, backup)?;
    }
    check_unused(backup)?;
    check_unused(directory)?;
    // One that was interrupted after it was complete comes first.
    finish(directory)?;
    let lock = seize(directory)?;
    remove_file(&directory.join(PLACE).join(PUT_ASIDE))?;
    let mut outcome = make_content(backup, directory, tell)?;
    if !outcome.damaged.is_empty() && !incomplete {
        let damaged = outcome.damaged.len();
        return Err(RestoreError::NotWhole(backup.clone(), damaged));
    }
    let aside = aside(directory, now)?;
    if let Some(mounted) = movable(directory)?
        .into_iter()
        .find(|path| is_mount(directory, path))
    {
        return Err(RestoreError::Mounted(mounted));
    }
    write_mark(directory, COMPLETE, &aside)?;
    // Who opens it from here on looks for the mark after having opened it.
    if let Err(error) = check_unused(directory) {
        remove_file(&directory.join(PLACE).join(COMPLETE))?;
        return Err(error);
    }
    put_in_place(directory, &aside, &mut rename)?;
    drop(lock);
    let aside = Path::new(QUARANTINE).join(aside);
    outcome.put_aside = directory.join(&aside).exists().then_some(aside);
    Ok(outcome)
}

/// Finishes a restore that was interrupted when only renames were left. Waits for one that is at it.
pub(crate) fn finish(directory: &Path) -> Result<()> {
    if !is_complete(directory) {
        return Ok(());
    }
    let lock = open_lock(directory)?;
    let path = directory.join(PLACE).join(LOCK);
    lock.lock()
        .map_err(|source| Error::file("lock", &path, source))?;
    if !is_complete(directory) {
        return Ok(());
    }
    let complete = directory.join(PLACE).join(COMPLETE);
    let mut aside = String::new();
    File::open(&complete)
        .and_then(|mark| mark.take(MARK_BYTES_MAX).read_to_string(&mut aside))
        .map_err(|source| Error::file("read", &complete, source))?;
    tracing::warn!(
        "a restore of {} was interrupted, and is finished",
        directory.display()
    );
    put_in_place(directory, aside.trim(), &mut rename)
}

/// Whether all is there that a restore puts in place, and some of it is not there yet.
pub(crate) fn is_complete(directory: &Path) -> bool {
    let place = directory.join(PLACE);
    !place.is_symlink() && place.join(COMPLETE).exists()
}

/// How far a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none.
    None,
    /// Somebody is at it.
    AtWork,
    /// Interrupted before anything was changed.
    Begun,
    /// Interrupted when all that was left were renames.
    Complete,
}

/// How far a restore has come; changes nothing.
pub(crate) fn state(directory: &Path) -> State {
    let place = directory.join(PLACE);
    if !place.exists() || place.is_symlink() {
        return State::None;
    }
    let lock = File::open(place.join(LOCK));
    match lock.as_ref().map(File::try_lock_shared) {
        Ok(Err(TryLockError::WouldBlock)) => State::AtWork,
        _ if is_complete(directory) => State::Complete,
        _ => State::Begun,
    }
}

/// Looks whether there is a backup at all; while the file lives, nobody brings it up to date.
fn check_backup(backup: &Path) -> Done<Option<File>> {
    let no = |why: String| RestoreError::NotABackup(backup.to_owned(), why);
    let database = backup.join(DATABASE);
    if !database.is_file() {
        return Err(no(format!("there is no {DATABASE} in it")));
    }
    if is_complete(backup) {
        return Err(no("a restore into it was interrupted".to_owned()));
    }
    let mark = backup.join(MARK);
    let lock = match File::open(&mark) {
        Ok(lock) => Some(lock),
        // A data directory that is no backup, such as one that was put aside.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(Error::file("open", &mark, source).into()),
    };
    match lock.as_ref().map(File::try_lock_shared) {
        None | Some(Ok(())) => {}
        Some(Err(TryLockError::WouldBlock)) => return Err(RestoreError::InUse(backup.to_owned())),
        Some(Err(TryLockError::Error(source))) => {
            return Err(Error::file("lock", &mark, source).into());
        }
    }
    check_logs(backup).map_err(|error| no(error.to_string()))?;
    let version = Sole::look(&database).and_then(|db| {
        let application = db.pragma("application_id")?;
        Ok((application, db.pragma("user_version")?))
    });
    match version {
        Err(error) => Err(no(crate::with_causes(&error))),
        Ok((APPLICATION_ID, SCHEMA_VERSION)) => Ok(lock),
        Ok((APPLICATION_ID, version)) if version < SCHEMA_VERSION => Err(no(format!(
            "its database has schema version {version}, and is to be brought up first with: \
             builder-migrations up --datadir {}",
            backup.display()
        ))),
        Ok(_) => Err(no(format!(
            "{} is of another program, or of a newer one",
            database.display()
        ))),
    }
}

/// Keeps other restores out while the file lives.
fn seize(directory: &Path) -> Done<File> {
    let place = directory.join(PLACE);
    make_directory(directory, &place)?;
    let lock = open_lock(directory)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(RestoreError::InUse(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(Error::file("lock", &place, source).into()),
    }
}

fn open_lock(directory: &Path) -> Result<File> {
    let path = directory.join(PLACE).join(LOCK);
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| Error::file("open", &path, source))?;
    adopt(&path, directory)?;
    Ok(lock)
}

/// Refuses a directory that somebody has open.
fn check_unused(directory: &Path) -> Done<()> {
    for name in [DATABASE, OWN_DATABASE, record::FILE] {
        if is_open_elsewhere(&directory.join(name))? {
            return Err(RestoreError::InUse(directory.to_owned()));
        }
    }
    Ok(())
}

/// Makes a data directory of what the backup has, in its place beside the one that is there. What an
/// interrupted run has brought is used.
fn make_content(backup: &Path, directory: &Path, tell: &mut dyn FnMut(Event<'_>)) -> Done<Outcome> {
    let content = &directory.join(PLACE).join(CONTENT);
    for made in [content, &content.join(ARTIFACTS), &content.join(STAGING)] {
        make_directory(directory, made)?;
    }
    copy_databases(backup, directory, content)?;
    let files = named_files(&content.join(DATABASE))?;
    let mut outcome = Outcome {
        files: files.len() as u64,
        ..Outcome::default()
    };
    let mut named = std::collections::HashSet::with_capacity(files.len());
    let mut copier = Copier::new(backup, content, directory, How::Copy);
    for (done, file) in (1..).zip(&files) {
        tell(Event::Progress {
            done,
            total: outcome.files,
        });
        let Some(path) = file.path() else { continue };
        if !reuse(&mut copier, [backup, directory, content], file, &path)?
            && !copier.bring(file, &path)?
        {
            tell(Event::Damaged(&path));
            outcome.damaged.push(path.clone());
        }
        named.insert(path);
    }
    (outcome.copied, outcome.copied_bytes) = (copier.added, copier.added_bytes);
    // What an interrupted run has brought of another backup.
    remove_others(content, &named)?;
    let opened = Store::open_beside(content);
    drop(opened.map_err(|error| cannot_be_opened(backup, error))?);
    // That of the data directory stays.
    let _: io::Result<()> = fs::remove_dir(content.join(CACHE));
    sync_files(content)?;
    Ok(outcome)
}

fn copy_databases(backup: &Path, directory: &Path, content: &Path) -> Done<()> {
    for name in [DATABASE, record::FILE, OWN_DATABASE] {
        for suffix in ["", "-wal", "-shm", "-journal", "-closed"] {
            remove_file(&content.join(format!("{name}{suffix}")))?;
        }
    }
    record::forget_identity(content)?;
    for name in [DATABASE, record::FILE] {
        let (from, to) = (backup.join(name), content.join(name));
        // The OCaml server keeps no record.
        if !from.exists() {
            continue;
        }
        let copied = Sole::look(&from).and_then(|db| db.copy(&to));
        copied.map_err(|error| match error {
            Error::File { .. } => error.into(),
            error => {
                let why = format!("{name}: {}", crate::with_causes(&error));
                RestoreError::NotABackup(backup.to_owned(), why)
            }
        })?;
        keep_mode(&from, &to)?;
        adopt(&to, directory)?;
    }
    Ok(())
}

fn cannot_be_opened(backup: &Path, error: OpenError) -> RestoreError {
    match error {
        OpenError::Other { source, .. } => source.into(),
        refused => RestoreError::NotABackup(backup.to_owned(), refused.to_string()),
    }
}

/// Gives a file that the data directory has whole a second name, unless an interrupted run has brought
/// it; whether it is in place now.
fn reuse(
    copier: &mut Copier<'_>,
    [backup, directory, content]: [&Path; 3],
    file: &Tracked,
    path: &Path,
) -> Result<bool> {
    let whole = |root: &Path| is_whole(backup, root, file, path);
    let to = content.join(path);
    if look(&to)?.is_some() {
        if whole(content) {
            return Ok(true);
        }
        remove_file(&to)?;
    }
    if !whole(directory) {
        return Ok(false);
    }
    copier.make_parents(&to)?;
    if fs::hard_link(directory.join(path), &to).is_err() {
        return Ok(false);
    }
    adopt(&to, directory)?;
    Ok(true)
}

/// Whether a file below `root` is what the backup says it is. One that cannot be read is not.
fn is_whole(backup: &Path, root: &Path, file: &Tracked, path: &Path) -> bool {
    let open = |root: &Path| {
        let (root, below) = from_where_no_link_is(root, path);
        open_beneath(&root, below).ok()
    };
    let Some((mut found, bytes)) = open(root) else {
        return false;
    };
    match file {
        Tracked::Artifact(sha256, size) => {
            let mut hash = HashingWriter::new(io::sink());
            bytes == *size && io::copy(&mut found, &mut hash).is_ok() && hash.finish().1 == *sha256
        }
        Tracked::Console(_) | Tracked::Script(_) => {
            open(backup).is_some_and(|(expected, size)| bytes == size && is_same(found, expected))
        }
    }
}

/// Whether two files hold the same.
fn is_same(one: File, other: File) -> bool {
    let (mut one, mut other) = (io::BufReader::new(one), io::BufReader::new(other));
    loop {
        use io::BufRead;
        let (Ok(left), Ok(right)) = (one.fill_buf(), other.fill_buf()) else {
            return false;
        };
        let count = left.len().min(right.len());
        if count == 0 {
            return left.len() == right.len();
        }
        if left[..count] != right[..count] {
            return false;
        }
        one.consume(count);
        other.consume(count);
    }
}

/// A name in `_quarantine` for what is there.
fn aside(directory: &Path, now: &Timestamp) -> Result<String> {
    let quarantine = directory.join(QUARANTINE);
    let name = format!("before-restore-{}", now.compact());
    let mut free = name.clone();
    for number in 1.. {
        if look(&quarantine.join(&free))?.is_none() {
            break;
        }
        free = format!("{name}.{number}");
    }
    Ok(free)
}

/// What is put aside.
fn movable(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut all = entries(directory)?;
    all.retain(|path| {
        let name = path.file_name().unwrap_or_default();
        !STAYS.iter().any(|stays| name == *stays)
    });
    Ok(all)
}

fn is_mount(directory: &Path, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::symlink_metadata(path).map(|there| there.dev()).ok();
    device(directory) != device(path)
}

fn write_mark(directory: &Path, name: &str, text: &str) -> Result<()> {
    let place = directory.join(PLACE);
    let unfinished = place.join("mark.new");
    let mark = place.join(name);
    File::create(&unfinished)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(|source| Error::file("write", &unfinished, source))?;
    adopt(&unfinished, directory)?;
    fs::rename(&unfinished, &mark).map_err(|source| Error::file("create", &mark, source))?;
    sync_directory(&place)
}

/// The renames. Each of them is made once, whenever this is interrupted and called again.
fn put_in_place(directory: &Path, aside: &str, rename: Rename<'_>) -> Result<()> {
    let place = directory.join(PLACE);
    let content = place.join(CONTENT);
    if !place.join(PUT_ASIDE).exists() {
        let all = movable(directory)?;
        let aside = directory.join(QUARANTINE).join(aside);
        if !all.is_empty() {
            make_directories(&aside, directory)?;
        }
        move_all(&all, &aside, rename)?;
        for changed in [&aside, &directory.join(QUARANTINE)] {
            if changed.exists() {
                sync_directory(changed)?;
            }
        }
        sync_directory(directory)?;
        write_mark(directory, PUT_ASIDE, "")?;
    }
    move_all(&entries(&content)?, directory, rename)?;
    sync_directory(directory)?;
    sync_directory(&content)?;
    // In this order: without the first, the second means nothing.
    for mark in [COMPLETE, PUT_ASIDE] {
        remove_file(&place.join(mark))?;
        sync_directory(&place)?;
    }
    fs::remove_dir_all(&place).map_err(|source| Error::file("remove", &place, source))
}

/// How a thing gets another name; tests interrupt it.
type Rename<'r> = &'r mut dyn FnMut(&Path, &Path) -> io::Result<()>;

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

fn move_all(all: &[PathBuf], to: &Path, rename: Rename<'_>) -> Result<()> {
    for path in all {
        let target = to.join(path.file_name().unwrap_or_default());
        rename(path, &target).map_err(|source| Error::file("create", &target, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files below a directory by their path, but for what marks and locks a restore.
    fn files(directory: &Path) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        crate::verify::walk(directory, &mut |path| {
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            all.insert(name, fs::read_to_string(path).unwrap());
        })
        .unwrap();
        all
    }

    fn write(directory: &Path, all: &[(&str, &str)]) {
        for (path, text) in all {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn interrupted_at_any_rename_it_is_finished_with_nothing_lost_or_mixed() {
        let mut interrupted = 0;
        for renames in 0.. {
            let holder = tempfile::tempdir().unwrap();
            let directory = holder.path();
            let old = [
                ("builder.sqlite3", "old"),
                ("builder.sqlite3-wal", "old"),
                ("hello/1/console.txt", "old"),
                ("only-old/2/console.txt", "old"),
            ];
            let new = [
                ("builder.sqlite3", "new"),
                ("hello/1/console.txt", "new"),
                ("only-new/3/console.txt", "new"),
            ];
            write(directory, &old);
            write(
                directory,
                &[("_cache/picture", "stays"), ("_quarantine/x", "stays")],
            );
            write(&directory.join(PLACE).join(CONTENT), &new);
            write_mark(directory, COMPLETE, "aside").unwrap();
            let mut left = renames;
            let put = put_in_place(directory, "aside", &mut |from, to| {
                if left == 0 {
                    return Err(io::Error::other("interrupted"));
                }
                left -= 1;
                fs::rename(from, to)
            });
            assert_eq!(is_complete(directory), put.is_err());
            finish(directory).unwrap();
            assert_eq!(state(directory), State::None);
            let mut expected = BTreeMap::new();
            for (path, text) in old {
                expected.insert(format!("_quarantine/aside/{path}"), text.to_owned());
            }
            for (path, text) in [("_cache/picture", "stays"), ("_quarantine/x", "stays")] {
                expected.insert(path.to_owned(), text.to_owned());
            }
            for (path, text) in new {
                expected.insert(path.to_owned(), text.to_owned());
            }
            assert_eq!(files(directory), expected, "after {renames} renames");
            if put.is_ok() {
                break;
            }
            interrupted += 1;
        }
        // Four things are put aside, and three put in their place.
        assert_eq!(interrupted, 7);
    }
}
