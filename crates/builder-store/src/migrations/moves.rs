//! Files that move with a version, such that no interruption loses one.
//!
//! 1. The journal, `builder.sqlite3-migration`, is written and synced: every file's content and its
//!    place by build. It is there whole or not at all, since it is renamed into place.
//! 2. Every file gets its new name beside the old one, as a hard link (as a copy where there can be
//!    none), and all is synced. The old server would still find everything.
//! 3. The rows change and COMMIT is synced. From here on, the new server finds everything.
//! 4. The old names are removed, all is synced, and then the journal is removed.
//!
//! Whoever finds a journal asks the database on which side of COMMIT it was left: before it, step 2
//! is undone; after it, step 4 is done. Both may themselves be interrupted. A name is removed only
//! while the other one has the same bytes; what differs is put into `_quarantine/`.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Direction, Done, Event, Listing, MigrationError, Run, STEPS, Step};
use crate::artifacts::{self, sync_directory, sync_files};
use crate::store::adopt;
use crate::{Error, Result};

const JOURNAL: &str = "builder.sqlite3-migration";
/// A copy before it is whole, in the directory it is for.
const UNFINISHED: &str = ".builder-migration";
/// Where no artifact is kept by build, since it would be in the way of itself.
const OURS: [&str; 2] = ["_artifacts", "_quarantine"];

/// Files that move with a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moves {
    /// How many there are.
    pub(super) count: &'static str,
    /// SHA-256 and place by build of each, those of the same content together.
    pub(super) query: &'static str,
    /// Where they move to.
    pub(super) to: Places,
}

/// Where artifacts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    /// `_artifacts/ab/abcd…`
    ByContent,
    /// `JOB/UUID/output/PATH`
    ByBuild,
}

/// One file: the digest its row gives, and its place by build, below the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Moved {
    sha256: [u8; 32],
    by_build: PathBuf,
}

impl Moved {
    fn by_content(&self) -> PathBuf {
        let hex = hex(&self.sha256);
        Path::new("_artifacts").join(&hex[..2]).join(hex)
    }
}

impl Moves {
    /// Looks whether every file is there. With `journal`, writes down what will be moved; without,
    /// says it.
    fn plan(&self, run: &mut Run<'_>, mut journal: Option<&mut dyn Write>) -> Done {
        let total = run.total(self.count)?;
        let (mut missing, mut elsewhere) = (Listing::default(), Listing::default());
        let mut done = 0;
        let db = run.db;
        db.for_each(self.query, |row| {
            done += 1;
            run.progress("looking for files", done, total);
            let (sha256, path) = (row.raw(0)?, row.raw(1)?.unwrap_or_default());
            let sha256 = sha256.and_then(|sha256| <[u8; 32]>::try_from(sha256).ok());
            let by_build =
                below(&path).filter(|path| !OURS.iter().any(|ours| path.starts_with(ours)));
            let (Some(sha256), Some(by_build)) = (sha256, by_build) else {
                elsewhere.add(String::from_utf8_lossy(&path).into_owned());
                return Ok(());
            };
            let moved = Moved { sha256, by_build };
            let by_content = moved.by_content();
            let is_there = |path: &Path| run.directory.join(path).is_file();
            let there = match self.to {
                Places::ByContent => is_there(&moved.by_build) || is_there(&by_content),
                Places::ByBuild => is_there(&by_content),
            };
            if !there {
                missing.add(match self.to {
                    Places::ByContent => moved.by_build.display().to_string(),
                    Places::ByBuild => {
                        format!("{} ({})", by_content.display(), moved.by_build.display())
                    }
                });
            }
            if let Some(journal) = &mut journal {
                journal
                    .write_all(hex(&moved.sha256).as_bytes())
                    .and_then(|()| journal.write_all(b" "))
                    .and_then(|()| journal.write_all(moved.by_build.as_os_str().as_bytes()))
                    .and_then(|()| journal.write_all(b"\0"))
                    .map_err(|source| Error::file("write", &run.directory.join(JOURNAL), source))?;
            } else {
                let (from, to) = match self.to {
                    Places::ByContent => (&moved.by_build, &by_content),
                    Places::ByBuild => (&by_content, &moved.by_build),
                };
                (run.tell)(Event::Move { from, to });
            }
            Ok::<(), MigrationError>(())
        })?;
        if !elsewhere.is_empty() {
            return Err(MigrationError::Elsewhere(elsewhere));
        }
        if !missing.is_empty() {
            return Err(MigrationError::Missing(missing));
        }
        Ok(())
    }

    /// Says what would be moved.
    pub(super) fn say(&self, run: &mut Run<'_>) -> Done {
        self.plan(run, None)
    }

    /// Gives every file its new name beside the old one. `command` names the change.
    pub(super) fn place(&self, run: &mut Run<'_>, command: &str) -> Done {
        let total = run.total(self.count)?;
        let path = run.directory.join(JOURNAL);
        let unfinished = run.directory.join(format!("{JOURNAL}.new"));
        let written = self.write_journal(run, command, total, &unfinished);
        if written.is_err() {
            let _: io::Result<()> = fs::remove_file(&unfinished);
            return written;
        }
        fs::rename(&unfinished, &path).map_err(|source| Error::file("create", &path, source))?;
        sync_directory(run.directory)?;
        let Some(journal) = Journal::find(run.directory)? else {
            return Err(MigrationError::Journal(path));
        };
        let mut files = Files::new(run, "placing files", total);
        let mut group = None;
        journal.for_each(|moved| {
            files.next();
            match self.to {
                Places::ByContent => files.place_by_content(&moved, &mut group)?,
                Places::ByBuild => files.place_by_build(&moved, &mut group)?,
            }
            Ok(())
        })?;
        sync_files(run.directory)?;
        Ok(())
    }

    fn write_journal(&self, run: &mut Run<'_>, command: &str, total: u64, path: &Path) -> Done {
        let failed = |source| Error::file("write", path, source);
        let mut out = BufWriter::new(File::create(path).map_err(failed)?);
        write!(out, "{command} {total}\0").map_err(failed)?;
        self.plan(run, Some(&mut out))?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(failed)?;
        Ok(())
    }
}

/// What an earlier run set out to move.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// The change it belongs to, such as `migrate-2023-09-14`.
    pub(super) command: String,
    total: u64,
}

impl Journal {
    pub(super) fn find(directory: &Path) -> Done<Option<Journal>> {
        let path = directory.join(JOURNAL);
        let mut first = Vec::new();
        match File::open(&path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::file("open", &path, source).into()),
            Ok(file) => BufReader::new(file.take(256))
                .read_until(0, &mut first)
                .map_err(|source| Error::file("read", &path, source))?,
        };
        let first = String::from_utf8_lossy(&first);
        let parsed = first
            .strip_suffix('\0')
            .and_then(|first| first.split_once(' '))
            .and_then(|(command, total)| Some((command.to_owned(), total.parse().ok()?)));
        match parsed {
            Some((command, total)) => Ok(Some(Journal {
                path,
                command,
                total,
            })),
            None => Err(MigrationError::Journal(path)),
        }
    }

    /// The step it belongs to.
    pub(super) fn step(&self) -> Done<(&'static Step, Direction)> {
        STEPS
            .iter()
            .flat_map(|step| [(step, Direction::Up), (step, Direction::Down)])
            .find(|(step, direction)| step.command(*direction) == self.command)
            .ok_or_else(|| self.unreadable())
    }

    pub(super) fn unreadable(&self) -> MigrationError {
        MigrationError::Journal(self.path.clone())
    }

    fn for_each(&self, mut each: impl FnMut(Moved) -> Result<()>) -> Done {
        let failed = |source| Error::file("read", &self.path, source);
        let mut journal = BufReader::new(File::open(&self.path).map_err(failed)?);
        let mut record = Vec::new();
        journal.read_until(0, &mut record).map_err(failed)?;
        loop {
            record.clear();
            if journal.read_until(0, &mut record).map_err(failed)? == 0 {
                return Ok(());
            }
            let moved = record
                .strip_suffix(b"\0")
                .and_then(|record| record.split_at_checked(65))
                .and_then(|(sha256, path)| {
                    Some(Moved {
                        sha256: from_hex(sha256.strip_suffix(b" ")?)?,
                        by_build: below(path)?,
                    })
                });
            match moved {
                Some(moved) => each(moved)?,
                None => return Err(self.unreadable()),
            }
        }
    }

    /// Removes the old names: the rows know the new ones.
    pub(super) fn finish(&self, run: &mut Run<'_>, to: Places) -> Done {
        let mut files = Files::new(run, "removing old places", self.total);
        let mut group = None;
        self.for_each(|moved| {
            files.next();
            match to {
                Places::ByContent => files.leave_by_build(&moved),
                Places::ByBuild => files.leave_by_content(&moved, &mut group),
            }
        })?;
        if let Some(group) = group {
            files.leave_content(&group)?;
        }
        self.close(run)
    }

    /// Removes the new names: the rows know the old ones.
    pub(super) fn undo(&self, run: &mut Run<'_>, to: Places) -> Done {
        let mut files = Files::new(run, "removing new places", self.total);
        self.for_each(|moved| {
            files.next();
            let (old, new) = match to {
                Places::ByContent => (&moved.by_build, moved.by_content()),
                Places::ByBuild => (&moved.by_content(), moved.by_build.clone()),
            };
            if files.same(old, &new)? {
                files.remove(&new)?;
            }
            files.prune(&new);
            Ok(())
        })?;
        self.close(run)
    }

    fn close(&self, run: &Run<'_>) -> Done {
        sync_files(run.directory)?;
        fs::remove_file(&self.path).map_err(|source| Error::file("remove", &self.path, source))?;
        sync_directory(run.directory)?;
        Ok(())
    }
}

/// Artifacts of the same content, one after the other.
#[derive(Debug)]
struct Group {
    sha256: [u8; 32],
    /// What new names are linked to, below the data directory.
    source: PathBuf,
    /// Whether the file under the content's name was seen to have it; or, while leaving that
    /// place, whether a file by build was.
    verified: bool,
}

/// The files of a data directory, and how far we are with them.
struct Files<'f, 'r> {
    run: &'f mut Run<'r>,
    what: &'static str,
    done: u64,
    total: u64,
}

impl<'f, 'r> Files<'f, 'r> {
    fn new(run: &'f mut Run<'r>, what: &'static str, total: u64) -> Files<'f, 'r> {
        Files {
            run,
            what,
            done: 0,
            total,
        }
    }

    fn next(&mut self) {
        self.done += 1;
        self.run.progress(self.what, self.done, self.total);
    }

    fn place_by_content(&mut self, moved: &Moved, group: &mut Option<Group>) -> Result<()> {
        let group = enter(group, moved);
        let content = moved.by_content();
        let Some(old) = self.look(&moved.by_build)? else {
            // It is at its new place already: that was checked.
            return Ok(());
        };
        match self.look(&content)? {
            None => self.link(&moved.by_build, &content)?,
            Some(new) if is_same_file(&old, &new) => {}
            Some(_) if group.verified => {}
            Some(_) => {
                if self.sha256(&content)? != moved.sha256
                    && self.sha256(&moved.by_build)? == moved.sha256
                {
                    self.put_aside(&content)?;
                    self.link(&moved.by_build, &content)?;
                }
                // If neither has it, the second is put aside later; nothing is lost.
                group.verified = true;
            }
        }
        Ok(())
    }

    fn place_by_build(&mut self, moved: &Moved, group: &mut Option<Group>) -> Result<()> {
        let group = enter(group, moved);
        if let Some(there) = self.look(&moved.by_build)? {
            let same = self
                .look(&group.source)?
                .is_some_and(|source| is_same_file(&source, &there));
            if same || self.sha256(&moved.by_build)? == moved.sha256 {
                return Ok(());
            }
            self.put_aside(&moved.by_build)?;
        }
        if self.link_or_copy(&group.source, &moved.by_build)? == Linked::Copied {
            // A file can have only so many names; the copy has room for more.
            group.source.clone_from(&moved.by_build);
        }
        Ok(())
    }

    /// Removes the name by build, since its content is kept by content.
    fn leave_by_build(&mut self, moved: &Moved) -> Result<()> {
        let content = moved.by_content();
        if let (Some(old), Some(new)) = (self.look(&moved.by_build)?, self.look(&content)?) {
            let duplicate = is_same_file(&old, &new)
                || (old.len() == new.len() && self.sha256(&moved.by_build)? == moved.sha256);
            if duplicate {
                self.remove(&moved.by_build)?;
            } else {
                self.put_aside(&moved.by_build)?;
            }
        }
        self.prune(&moved.by_build);
        Ok(())
    }

    /// Removes the name by content once all its files by build have been seen.
    fn leave_by_content(&mut self, moved: &Moved, group: &mut Option<Group>) -> Result<()> {
        if let Some(before) = group.take_if(|group| group.sha256 != moved.sha256) {
            self.leave_content(&before)?;
        }
        let group = enter(group, moved);
        group.verified = group.verified || self.same(&group.source, &moved.by_build)?;
        Ok(())
    }

    fn leave_content(&mut self, group: &Group) -> Result<()> {
        if group.verified {
            self.remove(&group.source)?;
        }
        self.prune(&group.source);
        Ok(())
    }

    fn look(&self, path: &Path) -> Result<Option<Metadata>> {
        let path = self.run.directory.join(path);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("look at", &path, source)),
        }
    }

    fn sha256(&self, path: &Path) -> Result<[u8; 32]> {
        let path = self.run.directory.join(path);
        let mut hash = Sha256::new();
        let hashed = File::open(&path).and_then(|mut file| {
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(read) => hash.update(&buffer[..read]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        });
        hashed.map_err(|source| Error::file("read", &path, source))?;
        Ok(hash.finalize().into())
    }

    /// Whether both are there, with the same bytes.
    fn same(&self, left: &Path, right: &Path) -> Result<bool> {
        let (Some(a), Some(b)) = (self.look(left)?, self.look(right)?) else {
            return Ok(false);
        };
        Ok(is_same_file(&a, &b)
            || (a.len() == b.len() && self.sha256(left)? == self.sha256(right)?))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.link_or_copy(from, to).map(|_| ())
    }

    fn link_or_copy(&self, from: &Path, to: &Path) -> Result<Linked> {
        let (from, to) = (self.run.directory.join(from), self.run.directory.join(to));
        let parent = to.parent().unwrap_or(self.run.directory);
        let created = |source| Error::file("create", &to, source);
        // A link to a symbolic link would be one, too.
        let is_link = fs::symlink_metadata(&from).is_ok_and(|from| from.is_symlink());
        let mut linked = if is_link {
            Err(io::ErrorKind::Unsupported.into())
        } else {
            fs::hard_link(&from, &to)
        };
        if linked
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            artifacts::make_directories(parent, self.run.directory)?;
            linked = fs::hard_link(&from, &to);
        }
        match linked {
            Ok(()) => Ok(Linked::Linked),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::CrossesDevices
                        | io::ErrorKind::TooManyLinks
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::Unsupported
                ) =>
            {
                artifacts::make_directories(parent, self.run.directory)?;
                let unfinished = parent.join(UNFINISHED);
                fs::copy(&from, &unfinished)
                    .and_then(|_| File::open(&unfinished)?.sync_all())
                    .map_err(created)?;
                adopt(&unfinished, self.run.directory)?;
                fs::rename(&unfinished, &to).map_err(created)?;
                sync_directory(parent)?;
                Ok(Linked::Copied)
            }
            Err(source) => Err(created(source)),
        }
    }

    fn remove(&self, path: &Path) -> Result<()> {
        crate::artifacts::remove_file(&self.run.directory.join(path))
    }

    /// Keeps a file that is in the way, or is not what its row says, in `_quarantine/`.
    fn put_aside(&mut self, path: &Path) -> Result<()> {
        let to = artifacts::put_aside(self.run.directory, path)?;
        (self.run.tell)(Event::PutAside {
            from: path,
            to: &to,
        });
        Ok(())
    }

    /// Removes the directories that a file left empty: below a build, and below `_artifacts`.
    fn prune(&self, path: &Path) {
        let keep = if path.starts_with("_artifacts") { 1 } else { 2 };
        let mut directory = path.parent();
        while let Some(at) = directory {
            if at.components().count() <= keep {
                return;
            }
            let at_directory = self.run.directory.join(at);
            let _: io::Result<()> = fs::remove_file(at_directory.join(UNFINISHED));
            match fs::remove_dir(&at_directory) {
                Ok(()) => {}
                // Gone before; those above may not be.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return,
            }
            directory = at.parent();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Linked {
    Linked,
    Copied,
}

fn enter<'g>(group: &'g mut Option<Group>, moved: &Moved) -> &'g mut Group {
    if group
        .as_ref()
        .is_some_and(|group| group.sha256 != moved.sha256)
    {
        *group = None;
    }
    group.get_or_insert_with(|| Group {
        sha256: moved.sha256,
        source: moved.by_content(),
        verified: false,
    })
}

fn is_same_file(left: &Metadata, right: &Metadata) -> bool {
    (left.dev(), left.ino()) == (right.dev(), right.ino())
}

fn hex(sha256: &[u8; 32]) -> String {
    sha256.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &[u8]) -> Option<[u8; 32]> {
    let mut sha256 = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, digits) in sha256.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(sha256)
}

/// A path below the data directory, if it stays there.
pub(super) fn below(path: &[u8]) -> Option<PathBuf> {
    artifacts::below(Path::new(OsStr::from_bytes(path)))
}
