//! What is not well with a data directory, and the command that mends each. Looks only: nothing is
//! created, changed or swept, so that it may be run beside a server and on a directory that cannot
//! be opened. Reads no artifact: that is [`verify`](crate::verify).

mod databases;
mod look_alikes;

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::artifacts::{ARTIFACTS, QUARANTINE, STAGING, links_at_the_top, open_beneath};
use crate::db::own::OWN_DATABASE;
use crate::migrations::{self, MigrationError, VERSION_MAX};
use crate::names::RESERVED;
use crate::stage::{LOCK, is_of_the_ocaml_server, is_ours};
use crate::store::{DATABASE, read_only};
use crate::verify::{entries, walk};
use crate::{Error, OpenError, Result, Sha256, TextFile, backup, db, restore, with_causes};

/// The check that finds a file system on which nothing can be written.
const READ_ONLY: &str = "read-only";
/// Bytes of what a backup is marked with: a path.
const MARK_BYTES_MAX: u64 = 16 * 1024;

/// Of free space, in bytes: a server refuses uploads below it.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Less than this part of a file system being free is told …
const FREE_PART_MIN: u64 = 20;
/// … unless, on a large one, the part has more bytes than an upload may have by default.
const FREE_BYTES_ENOUGH: u64 = 4 * 1024 * 1024 * 1024;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not work, or something was lost.
    Problem,
    /// Something will not work, or was left half done.
    Warning,
    /// Good to know.
    Note,
}

impl Level {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Problem => "problem",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is so.
    pub what: String,
    /// The command that mends it; none for what only a person can.
    pub mend: Option<String>,
}

impl Finding {
    /// A finding with the command that mends it.
    pub fn new(
        check: &'static str,
        level: Level,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding {
            check,
            level,
            what: what.into(),
            mend: Some(mend.into()),
        }
    }

    fn of(check: &'static str, level: Level, what: impl Into<String>) -> Finding {
        Finding {
            check,
            level,
            what: what.into(),
            mend: None,
        }
    }
}

/// All that is not well, the worst first.
pub fn examine(directory: &Path, now: &Timestamp) -> Vec<Finding> {
    let mut doctor = Doctor {
        directory,
        datadir: quoted(directory),
        findings: Vec::new(),
    };
    doctor.directory(now);
    doctor.findings.sort_by_key(|finding| finding.level);
    doctor.findings
}

/// A path as an argument in a shell.
pub fn quoted(path: &Path) -> String {
    crate::shell::quoted(&path.display().to_string())
}

struct Doctor<'d> {
    directory: &'d Path,
    /// For commands.
    datadir: String,
    findings: Vec<Finding>,
}

impl Doctor<'_> {
    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn repair(&self) -> String {
        format!(
            "builder-db verify-data-dir --repair --datadir {}",
            self.datadir
        )
    }

    /// All of it, for commands that walk and follow no link but one whose name ends in a slash.
    fn everything(&self) -> String {
        let artifacts = self.directory.join(ARTIFACTS);
        let places = [self.directory, &artifacts].map(|place| match place.is_symlink() {
            true => Some(format!("{}/", quoted(place))),
            false => (place == self.directory).then(|| self.datadir.clone()),
        });
        let places: Vec<String> = places.into_iter().flatten().collect();
        places.join(" ")
    }

    /// Notes why a check could not be made.
    fn checked(&mut self, check: &'static str, checked: Result<()>) {
        if let Err(error) = checked {
            let what = format!("cannot be checked: {}", with_causes(&error));
            self.add(Finding::of(check, Level::Problem, what));
        }
    }

    fn directory(&mut self, now: &Timestamp) {
        if !self.directory.is_dir() {
            let error = match self.directory.exists() {
                true => OpenError::NotADirectory(self.directory.to_owned()),
                false => OpenError::NoDirectory(self.directory.to_owned()),
            };
            self.refused("directory", &error.to_string());
            return;
        }
        let checked = self.permissions();
        self.checked("permissions", checked);
        let checked = self.space();
        self.checked("space", checked);
        self.backup();
        self.restoring();
        match migrations::status(self.directory) {
            Ok(status) => {
                if let Some(command) = status.interrupted {
                    // Files are at two places, or at others than rows say, until it is seen to.
                    self.add(Finding::new(
                        "migration",
                        Level::Problem,
                        format!("{command} was interrupted, and has files to see to"),
                        format!("builder-migrations up --datadir {}", self.datadir),
                    ));
                } else if status.version == VERSION_MAX {
                    self.database(now);
                } else {
                    self.add(Finding::new(
                        "schema",
                        Level::Problem,
                        format!(
                            "the database has version {}, the server needs {VERSION_MAX}",
                            status.version
                        ),
                        format!("builder-migrations up --datadir {}", self.datadir),
                    ));
                }
            }
            Err(MigrationError::Open(OpenError::ReadOnly { .. }))
                if self.findings.iter().any(|of| of.check == READ_ONLY) => {}
            Err(MigrationError::Open(error)) => self.refused("database", &error.to_string()),
            Err(error) => self.refused("database", &error.to_string()),
        }
        let checked = self.staging();
        self.checked("staging", checked);
        let checked = self.quarantine();
        self.checked("quarantine", checked);
    }

    /// A refusal to open says itself what to do, after a colon at its end.
    fn refused(&mut self, check: &'static str, text: &str) {
        let command = ["with: ", "run: "]
            .iter()
            .find_map(|before| text.rsplit_once(before))
            .map(|(_, command)| command.to_owned());
        self.add(Finding {
            check,
            level: Level::Problem,
            what: text.to_owned(),
            mend: command,
        });
    }

    // --- Files as such.

    fn permissions(&mut self) -> Result<()> {
        for (link, target) in links_at_the_top(self.directory) {
            self.refused("links", &OpenError::Link { link, target }.to_string());
        }
        let look = |path: &Path| match path == self.directory {
            // Which may be a link.
            true => fs::metadata(path),
            false => fs::symlink_metadata(path),
        };
        let owner = look(self.directory)
            .map_err(|source| Error::file("look at", self.directory, source))?;
        let mut strangers = Vec::new();
        let mut unwritable = Vec::new();
        let mut links = Vec::new();
        let mut is_read_only = false;
        let mut todo = entries(self.directory)?;
        // Buckets and builds too, but not what is in them.
        let artifacts = self.directory.join(ARTIFACTS);
        for path in todo.clone() {
            let is_directory = match path == artifacts {
                true => path.is_dir(),
                false => look(&path).is_ok_and(|there| there.is_dir()),
            };
            if is_directory {
                todo.append(&mut entries(&path).unwrap_or_default());
            }
        }
        todo.push(self.directory.to_owned());
        for path in todo {
            // Gone meanwhile.
            let Ok(metadata) = look(&path) else { continue };
            if metadata.uid() != owner.uid() {
                strangers.push(path.clone());
            }
            if metadata.is_symlink() {
                if path.is_dir() && self.is_of_builds(&path) {
                    links.push(path.clone());
                }
                // What another one leads to is none of ours.
                if path != artifacts && !self.is_of_a_database(&path) {
                    continue;
                }
            }
            use rustix::fs::{Access, access};
            let mode = match path.is_dir() {
                true => Access::WRITE_OK | Access::READ_OK | Access::EXEC_OK,
                // What is in a database changes; no other file is written in its place.
                false if self.is_of_a_database(&path) => Access::WRITE_OK | Access::READ_OK,
                false => Access::READ_OK,
            };
            match access(&path, mode) {
                Ok(()) => {}
                // No owner and no mode would help.
                Err(rustix::io::Errno::ROFS) => is_read_only = true,
                Err(_) => unwritable.push(path),
            }
        }
        if is_read_only {
            self.refused(READ_ONLY, &read_only(self.directory).to_string());
        }
        if let Some(first) = links.first() {
            let link = quoted(first);
            let target = fs::canonicalize(first).unwrap_or_default();
            // A line that somebody pastes moves nothing but what is of a data directory.
            let (what, mend) = match self.could_stand_at(first, &target) {
                true => (
                    "where all is that belongs there",
                    format!(
                        "rm {link} && mv {} {link}  # or mount it there",
                        quoted(&target)
                    ),
                ),
                false => (
                    "where other things are, which stay as they are",
                    format!("rm {link}"),
                ),
            };
            self.add(Finding::new(
                "links",
                Level::Problem,
                format!(
                    "{} in the place of directories and not followed, so that what is there is not shown, and uploads are refused; such as {}, which leads to {}, {what}",
                    count(links.len(), "link is", "links are"),
                    first.display(),
                    target.display()
                ),
                mend,
            ));
        }
        if let Some(first) = strangers.first() {
            self.add(Finding::new(
                "permissions",
                Level::Warning,
                format!(
                    "{} to another user than {}, such as {}",
                    count(strangers.len(), "entry belongs", "entries belong"),
                    self.directory.display(),
                    first.display()
                ),
                format!("chown -R {}: {}", owner.uid(), self.everything()),
            ));
        }
        if let Some(first) = unwritable.first() {
            self.add(Finding::new(
                "permissions",
                Level::Problem,
                format!(
                    "{} cannot be read, or not be written where that is needed, by the user who runs this, such as {}",
                    count(unwritable.len(), "entry", "entries"),
                    first.display()
                ),
                format!(
                    "chown -R {}: {1} && chmod -R u+rwX {1}",
                    owner.uid(),
                    self.everything()
                ),
            ));
        }
        let database = self.directory.join(DATABASE);
        let readable = fs::metadata(&database).is_ok_and(|database| database.mode() & 0o004 != 0);
        if readable && owner.mode() & 0o001 != 0 {
            self.add(Finding::new(
                "permissions",
                Level::Warning,
                format!(
                    "every user of this machine may read {}, which holds password hashes",
                    database.display()
                ),
                format!("chmod o-rwx {}", self.datadir),
            ));
        }
        Ok(())
    }

    /// Whether a path is that of a database, or of what SQLite keeps beside it.
    fn is_of_a_database(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.filter(|_| path.parent() == Some(self.directory));
        [DATABASE, OWN_DATABASE, db::record::FILE]
            .iter()
            .filter_map(|database| name?.strip_prefix(database))
            .any(|rest| ["", "-wal", "-shm"].contains(&rest))
    }

    /// Whether a directory holds something, and nothing but what builder-web would put where `link` is.
    fn could_stand_at(&self, link: &Path, target: &Path) -> bool {
        let below = link.strip_prefix(self.directory).unwrap_or(link);
        let of_builds = |build: &Path| {
            let uuid = build.file_name().and_then(|name| name.to_str());
            uuid.is_some_and(|uuid| Uuid::parse_str(uuid).is_ok()) && holds_only(build, &is_text)
        };
        match (below.starts_with(ARTIFACTS), below.components().count()) {
            (true, _) => {
                let bucket = below.file_name().and_then(|bucket| bucket.to_str());
                holds_only(target, &|artifact| {
                    let name = artifact.file_name().and_then(|name| name.to_str());
                    let is_one = name.and_then(Sha256::from_hex).is_some();
                    is_one
                        && is_file(artifact)
                        && name
                            .zip(bucket)
                            .is_some_and(|(name, of)| name.starts_with(of))
                })
            }
            (false, 1) => holds_only(target, &of_builds),
            (false, _) => holds_only(target, &is_text),
        }
    }

    /// Whether a path is that of a job or below it, or below that of all artifacts, which may itself
    /// be a link.
    fn is_of_builds(&self, path: &Path) -> bool {
        let below = path.strip_prefix(self.directory).unwrap_or(path);
        let mut parts = below.iter();
        match parts.next().and_then(|top| top.to_str()) {
            Some("_artifacts") => parts.next().is_some(),
            Some(top) => !RESERVED.contains(&top),
            None => false,
        }
    }

    fn space(&mut self) -> Result<()> {
        let mut places = vec![self.directory.to_owned()];
        places.push(self.directory.join("_artifacts"));
        let mut seen = HashSet::new();
        for place in places {
            let Ok(metadata) = fs::metadata(&place) else {
                continue;
            };
            if !seen.insert(metadata.dev()) {
                continue;
            }
            let stat = rustix::fs::statvfs(&place)
                .map_err(|error| Error::file("look at", &place, error.into()))?;
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let vacuum = format!(
                "builder-db vacuum except-latest 10 --dry-run --datadir {}",
                self.datadir
            );
            if free < FREE_BYTES_MIN {
                let what = format!(
                    "{} has {} MiB left: uploads are refused",
                    place.display(),
                    free >> 20
                );
                self.add(Finding::new("space", Level::Problem, what, vacuum));
            } else if stat.f_bavail < stat.f_blocks / FREE_PART_MIN && free < FREE_BYTES_ENOUGH {
                let what = format!(
                    "{} is nearly full: {} MiB are left",
                    place.display(),
                    free >> 20
                );
                self.add(Finding::new("space", Level::Warning, what, vacuum));
            } else if stat.f_files > 0 && stat.f_favail < stat.f_files / FREE_PART_MIN {
                let what = format!(
                    "{} has room for {} more files only",
                    place.display(),
                    stat.f_favail
                );
                self.add(Finding::new("space", Level::Warning, what, vacuum));
            }
        }
        Ok(())
    }

    fn backup(&mut self) {
        let mut text = String::new();
        let read = File::open(self.directory.join(backup::MARK))
            .and_then(|mark| mark.take(MARK_BYTES_MAX).read_to_string(&mut text));
        if read.is_err() {
            return;
        }
        let text = text.trim();
        let source = text.strip_prefix("a backup of ").map(Path::new);
        let command = format!(
            "builder-db backup --datadir {} {}",
            source.map_or("DIR".to_owned(), quoted),
            self.datadir
        );
        let half = self.directory.join(format!("{DATABASE}.new")).exists()
            || !self.directory.join(DATABASE).exists();
        self.add(match half {
            true => Finding::new(
                "backup",
                Level::Warning,
                format!(
                    "this is {text}, which was interrupted while it was made or brought up to date"
                ),
                command,
            ),
            false => Finding::of("backup", Level::Note, format!("this is {text}")),
        });
    }

    fn restoring(&mut self) {
        let finish = format!("builder-db migrate --datadir {}", self.datadir);
        let place = self.directory.join(restore::PLACE);
        match restore::state(self.directory) {
            restore::State::None => {}
            restore::State::AtWork => self.add(Finding::of(
                "restore",
                Level::Note,
                "a backup is being restored".to_owned(),
            )),
            restore::State::Complete => self.add(Finding::new(
                "restore",
                Level::Problem,
                "a restore was interrupted when it was nearly done; the next start of a server, or any command, finishes it",
                finish,
            )),
            restore::State::Begun => self.add(Finding::new(
                "restore",
                Level::Warning,
                format!(
                    "{} is left of a restore that was interrupted before it changed anything; the next one uses what it has",
                    place.display()
                ),
                format!("rm -r {}", quoted(&place)),
            )),
        }
    }

    fn staging(&mut self) -> Result<()> {
        let (mut left, mut theirs, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
        for path in staged(self.directory)? {
            match is_locked(&path) {
                Some(true) => {}
                Some(false) => left.push(path),
                None if is_of_the_ocaml_server(&path) => theirs.push(path),
                // Told of with the backup.
                None if path.ends_with(backup::HALF) => {}
                None => strangers.push(path),
            }
        }
        if let Some(first) = left.first() {
            self.add(Finding::new(
                "staging",
                Level::Warning,
                format!(
                    "{} of interrupted uploads, such as {}",
                    count(left.len(), "directory", "directories"),
                    first.display()
                ),
                self.repair(),
            ));
        }
        if let Some(first) = theirs.first() {
            self.add(Finding::new(
                "staging",
                Level::Warning,
                format!(
                    "{} of uploads to the OCaml server, such as {}; they are removed when builder-web starts",
                    count(theirs.len(), "directory", "directories"),
                    first.display()
                ),
                format!("rm -r {}/{STAGING}/*-*-*-*-*/", self.datadir),
            ));
        }
        if let Some(first) = strangers.first() {
            self.add(Finding::of(
                "staging",
                Level::Warning,
                format!(
                    "{} in {STAGING} that builder-web did not make, and leaves alone, such as {}",
                    count(strangers.len(), "thing", "things"),
                    first.display()
                ),
            ));
        }
        Ok(())
    }

    fn quarantine(&mut self) -> Result<()> {
        let (mut files, mut bytes) = (0_usize, 0_u64);
        let quarantine = self.directory.join(QUARANTINE);
        if quarantine.is_symlink() {
            return Ok(());
        }
        walk(&quarantine, &mut |path| {
            files += 1;
            bytes += fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
        })?;
        if files > 0 {
            self.add(Finding::new(
                "quarantine",
                Level::Note,
                format!(
                    "{} with {} in {QUARANTINE}, put aside by migrations and repairs; once looked through, they may go",
                    count(files, "file", "files"),
                    count(bytes, "byte", "bytes")
                ),
                format!("rm -r {}/{QUARANTINE}", self.datadir),
            ));
        }
        Ok(())
    }
}

/// Whether a directory that is no link holds something, and each thing in it is such a one.
fn holds_only(directory: &Path, is_one: &dyn Fn(&Path) -> bool) -> bool {
    let all = match fs::symlink_metadata(directory) {
        Ok(there) if there.is_dir() => entries(directory).unwrap_or_default(),
        _ => Vec::new(),
    };
    !all.is_empty() && all.iter().all(|path| is_one(path))
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_file())
}

fn is_text(path: &Path) -> bool {
    let texts = [TextFile::Console, TextFile::Script];
    is_file(path) && texts.iter().any(|text| path.ends_with(text.file_name()))
}

/// What is in `_staging`; what a link in its place leads to is none of ours.
fn staged(directory: &Path) -> Result<Vec<PathBuf>> {
    let staging = directory.join(STAGING);
    match staging.is_symlink() {
        true => Ok(Vec::new()),
        false => entries(&staging),
    }
}

/// Whether somebody is at work in a directory of `_staging`; none if it is not one of ours.
fn is_locked(directory: &Path) -> Option<bool> {
    if !is_ours(directory) {
        return None;
    }
    let Ok((lock, _)) = open_beneath(directory, Path::new(LOCK)) else {
        // Killed before it was locked.
        return Some(false);
    };
    // Given back when the file is closed.
    Some(matches!(
        lock.try_lock_shared(),
        Err(TryLockError::WouldBlock)
    ))
}

fn count(count: impl std::fmt::Display + PartialEq + From<u8>, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1.into() { one } else { many })
}
