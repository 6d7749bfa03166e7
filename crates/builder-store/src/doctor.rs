//! What is not well with a data directory, and the command that mends each. Looks only: nothing is
//! created, changed or swept, so that it may be run beside a server and on a directory that cannot
//! be opened. Reads no artifact: that is [`verify`](crate::verify).

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use builder_exec::Timestamp;

use crate::artifacts::QUARANTINE;
use crate::db::record;
use crate::db::sole::Sole;
use crate::migrations::{self, MigrationError, VERSION_MAX};
use crate::names::{RESERVED, RESERVED_PREFIXES};
use crate::store::{DATABASE, OWN_DATABASE};
use crate::tracked::{Tracked, artifact_path, uuid_in};
use crate::verify::{entries, walk};
use crate::{Error, OpenError, Result, Sha256, backup, with_causes};

/// Of free space, in bytes: a server refuses uploads below it.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Less than this part of a file system being free is told.
const FREE_PART_MIN: u64 = 20;
/// What one finding names; it counts the others.
const NAMED_MAX: usize = 3;

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
    let text = path.display().to_string();
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:@%".contains(char);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
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
        let look = |path: &Path| {
            fs::symlink_metadata(path).map_err(|source| Error::file("look at", path, source))
        };
        let owner = look(self.directory)?;
        let mut strangers = Vec::new();
        let mut unwritable = Vec::new();
        let mut todo = entries(self.directory)?;
        // Buckets and builds too, but not what is in them.
        for path in todo.clone() {
            if path.is_dir() {
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
            use rustix::fs::{Access, access};
            let mode = match metadata.is_dir() {
                true => Access::WRITE_OK | Access::READ_OK | Access::EXEC_OK,
                false => Access::READ_OK,
            };
            if access(&path, mode).is_err() {
                unwritable.push(path);
            }
        }
        if let Some(first) = strangers.first() {
            self.add(Finding::new(
                "permissions",
                Level::Warning,
                format!(
                    "{} and {} more belong to another user than {}",
                    first.display(),
                    strangers.len() - 1,
                    self.directory.display()
                ),
                format!("chown -R {}: {}", owner.uid(), self.datadir),
            ));
        }
        if let Some(first) = unwritable.first() {
            self.add(Finding::new(
                "permissions",
                Level::Problem,
                format!(
                    "{} and {} more cannot be read or written by the user who runs this",
                    first.display(),
                    unwritable.len() - 1
                ),
                format!(
                    "chown -R {}: {1} && chmod -R u+rwX {1}",
                    owner.uid(),
                    self.datadir
                ),
            ));
        }
        let database = self.directory.join(DATABASE);
        let readable = fs::metadata(&database).is_ok_and(|database| database.mode() & 0o004 != 0);
        if readable && owner.mode() & 0o001 != 0 {
            self.add(Finding::new(
                "permissions",
                Level::Note,
                format!(
                    "every user of this machine may read {}, which holds password hashes",
                    database.display()
                ),
                format!("chmod o-rwx {}", self.datadir),
            ));
        }
        Ok(())
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
            } else if stat.f_bavail < stat.f_blocks / FREE_PART_MIN {
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
        let Ok(text) = fs::read_to_string(self.directory.join(backup::MARK)) else {
            return;
        };
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

    fn staging(&mut self) -> Result<()> {
        let (mut left, mut strangers) = (Vec::new(), Vec::new());
        for path in entries(&self.directory.join("_staging"))? {
            match is_locked(&path) {
                Some(true) => {}
                Some(false) => left.push(path),
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
        if let Some(first) = strangers.first() {
            self.add(Finding::new(
                "staging",
                Level::Warning,
                format!(
                    "{} that builder-web did not make, such as {}; a server removes them when it starts",
                    count(strangers.len(), "thing", "things"),
                    first.display()
                ),
                format!("rm -r {}/_staging/*", self.datadir),
            ));
        }
        Ok(())
    }

    fn quarantine(&mut self) -> Result<()> {
        let (mut files, mut bytes) = (0, 0);
        walk(&self.directory.join(QUARANTINE), &mut |path| {
            files += 1;
            bytes += fs::metadata(path).map_or(0, |metadata| metadata.len());
        })?;
        if files > 0 {
            self.add(Finding::new(
                "quarantine",
                Level::Note,
                format!(
                    "{} with {bytes} bytes in {QUARANTINE}, put aside by migrations and repairs; once looked through, they may go",
                    count(files, "file", "files")
                ),
                format!("rm -r {}/{QUARANTINE}", self.datadir),
            ));
        }
        Ok(())
    }

    // --- The databases.

    fn database(&mut self, now: &Timestamp) {
        let database = self.directory.join(DATABASE);
        let db = match Sole::look(&database) {
            Ok(db) => db,
            Err(error) => return self.checked("database", Err(error)),
        };
        let checked = self.integrity(&db, DATABASE, Level::Problem);
        self.checked("database", checked);
        let checked = self.schema(&db);
        self.checked("schema", checked);
        let checked = self.rows(&db, now);
        self.checked("rows", checked);
        let checked = self.files(&db);
        self.checked("files", checked);
        let record = self.directory.join(record::FILE);
        if record.exists() {
            let checked = Sole::look(&record).and_then(|db| {
                self.integrity(&db, record::FILE, Level::Problem)?;
                self.removals(&db)
            });
            self.checked("record", checked);
        }
        let own = self.directory.join(OWN_DATABASE);
        if own.exists() {
            let sound = Sole::look(&own).and_then(|db| problems_of(&db));
            if !sound.is_ok_and(|problems| problems.is_empty()) {
                self.add(Finding::new(
                    "derived",
                    Level::Warning,
                    format!(
                        "{} is damaged; all in it is derived, and made anew",
                        own.display()
                    ),
                    format!("builder-db migrate --datadir {}", self.datadir),
                ));
            }
        }
    }

    fn integrity(&mut self, db: &Sole, name: &str, level: Level) -> Result<()> {
        let problems = problems_of(db)?;
        if let Some(first) = problems.first() {
            self.add(Finding::new(
                "database",
                level,
                format!("{name} is damaged: {first} ({} in all)", problems.len()),
                format!(
                    "cp BACKUP/{name} {}/  # from a backup, with the server stopped; {name}-wal and {name}-shm are to be removed",
                    self.datadir
                ),
            ));
        }
        let mut astray = 0;
        db.for_each("PRAGMA foreign_key_check", |_| {
            astray += 1;
            Ok::<(), Error>(())
        })?;
        if astray > 0 {
            self.add(Finding::new(
                "database",
                Level::Problem,
                format!(
                    "{} of {name} that point to rows that are not there",
                    count(astray, "row", "rows")
                ),
                format!("sqlite3 {}/{name} 'PRAGMA foreign_key_check'", self.datadir),
            ));
        }
        Ok(())
    }

    /// Tables are looked for when opening; indexes make pages fast, and can be missing unnoticed.
    fn schema(&mut self, db: &Sole) -> Result<()> {
        let mut known = HashSet::new();
        db.for_each("SELECT name FROM sqlite_master", |row| {
            known.insert(row.text(0)?);
            Ok::<(), Error>(())
        })?;
        for line in include_str!("../schema/v18.sql").lines() {
            let statement = line.trim_end_matches(';');
            if let Some(rest) = statement.strip_prefix("CREATE INDEX ")
                && let Some(name) = rest.split(' ').next()
                && !known.contains(name)
            {
                self.add(Finding::new(
                    "schema",
                    Level::Warning,
                    format!("the index {name} is missing: pages are slow"),
                    format!("sqlite3 {}/{DATABASE} '{statement}'", self.datadir),
                ));
            }
        }
        Ok(())
    }

    fn rows(&mut self, db: &Sole, now: &Timestamp) -> Result<()> {
        let mut some = |check, level, sql: &str, what: &str, mend: Option<String>| -> Result<()> {
            let mut named = Vec::new();
            let mut all = 0;
            db.for_each(sql, |row| {
                all += 1;
                if named.len() < NAMED_MAX {
                    named.push(row.text(0)?);
                }
                Ok::<(), Error>(())
            })?;
            if all > 0 {
                self.findings.push(Finding {
                    check,
                    level,
                    what: format!("{all} {what}, such as {}", named.join(", ")),
                    mend: mend.map(|mend| mend.replace("NAMED", &named[0])),
                });
            }
            Ok(())
        };
        let datadir = &self.datadir;
        let (day, picosecond) = (now.days(), now.picoseconds());
        some(
            "clock",
            Level::Warning,
            &format!(
                "SELECT j.name || '/' || b.uuid FROM build b JOIN job j ON j.id = b.job
                 WHERE b.start_d > {day} OR b.start_d = {day} AND b.start_ps > {picosecond}
                 ORDER BY b.start_d DESC"
            ),
            "builds started in the future, by the clock of this machine: it, or that of a builder, is wrong",
            Some("timedatectl status  # here and on the builders".to_owned()),
        )?;
        some(
            "clock",
            Level::Note,
            "SELECT j.name || '/' || b.uuid FROM build b JOIN job j ON j.id = b.job
             WHERE b.finish_d < b.start_d OR b.finish_d = b.start_d AND b.finish_ps < b.start_ps",
            "builds ended before they started",
            None,
        )?;
        some(
            "orphans",
            Level::Note,
            "SELECT name FROM job WHERE NOT EXISTS (SELECT 1 FROM build WHERE build.job = job.id)",
            "jobs without a build",
            Some(format!("builder-db job-remove --datadir {datadir} 'NAMED'")),
        )?;
        some(
            "orphans",
            Level::Problem,
            "SELECT a.filepath FROM build_artifact a
             WHERE NOT EXISTS (SELECT 1 FROM build WHERE build.id = a.build)",
            "rows of artifacts without a build",
            Some(format!(
                "sqlite3 {datadir}/{DATABASE} 'DELETE FROM build_artifact WHERE build NOT IN (SELECT id FROM build)'"
            )),
        )?;
        if db.number(r#"SELECT count(*) FROM "user""#)? == 0 {
            self.add(Finding::new(
                "users",
                Level::Note,
                "there is no user: nobody can upload",
                format!(
                    "echo PASSWORD | builder-db user-add --unrestricted --datadir {} NAME",
                    self.datadir
                ),
            ));
        }
        Ok(())
    }

    /// Whether files are there, and of the size their rows give, and whether rows name all that is
    /// there.
    fn files(&mut self, db: &Sole) -> Result<()> {
        let mut tracked: HashSet<PathBuf> = HashSet::new();
        let mut missing = Vec::new();
        let mut look = |file: Tracked| {
            let Some(path) = file.path() else {
                return;
            };
            let there = fs::metadata(self.directory.join(&path));
            let as_it_should_be = match (&file, there) {
                (Tracked::Artifact(_, bytes), Ok(there)) => there.len() == *bytes,
                (_, there) => there.is_ok(),
            };
            if !as_it_should_be {
                missing.push(path.clone());
            }
            tracked.insert(path);
        };
        db.for_each(
            "SELECT sha256, min(size) FROM build_artifact GROUP BY sha256",
            |row| {
                look(Tracked::Artifact(row.sha256(0)?, row.size(1)?));
                Ok::<(), Error>(())
            },
        )?;
        db.for_each("SELECT console, script FROM build", |row| {
            look(Tracked::Console(row.text(0)?));
            look(Tracked::Script(row.text(1)?));
            Ok::<(), Error>(())
        })?;
        // Others may have removed a build since.
        let mut lost = Vec::new();
        for path in missing {
            if is_named(db, &path)? {
                lost.push(path);
            }
        }
        if let Some(first) = lost.first() {
            self.add(Finding::new(
                "files",
                Level::Problem,
                format!(
                    "{} that rows name, missing or of another size, such as {}",
                    count(lost.len(), "file", "files"),
                    first.display()
                ),
                format!("{} --from BACKUP", self.repair()),
            ));
        }
        let strays = self.strays(db, &tracked)?;
        if let Some(first) = strays.first() {
            self.add(Finding::new(
                "orphans",
                Level::Warning,
                format!(
                    "{} that nothing names, such as {}",
                    count(strays.len(), "file", "files"),
                    first.display()
                ),
                self.repair(),
            ));
        }
        Ok(())
    }

    fn strays(&self, db: &Sole, tracked: &HashSet<PathBuf>) -> Result<Vec<PathBuf>> {
        let mut suspects = Vec::new();
        for top in entries(self.directory)? {
            let name = top
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !top.is_dir() {
                if !RESERVED_PREFIXES.iter().any(|ours| name.starts_with(ours)) {
                    suspects.push(PathBuf::from(name));
                }
                continue;
            }
            if name == "_artifacts" || !RESERVED.contains(&name.as_str()) {
                walk(&top, &mut |path| {
                    if let Ok(path) = path.strip_prefix(self.directory)
                        && !tracked.contains(path)
                    {
                        suspects.push(path.to_owned());
                    }
                })?;
            }
        }
        // An upload that is under way may have moved its files, and not yet named them.
        let busy = entries(&self.directory.join("_staging"))?
            .iter()
            .any(|path| is_locked(path) == Some(true));
        let mut strays = Vec::new();
        for path in suspects {
            let ours = path.starts_with("_artifacts")
                || path.to_str().is_some_and(|path| uuid_in(path).is_some());
            let there = self.directory.join(&path).symlink_metadata().is_ok();
            if there && !(busy && ours) && !is_named(db, &path)? {
                strays.push(path);
            }
        }
        Ok(strays)
    }

    fn removals(&mut self, record: &Sole) -> Result<()> {
        let pending = record.number("SELECT count(*) FROM file_removal")?;
        if pending > 0 {
            self.add(Finding::new(
                "removal",
                Level::Warning,
                format!("{pending} files or directories of removed builds are still to be removed"),
                self.repair(),
            ));
        }
        Ok(())
    }
}

fn problems_of(db: &Sole) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    db.for_each("PRAGMA integrity_check", |row| {
        problems.push(row.text(0)?);
        Ok::<(), Error>(())
    })?;
    problems.retain(|problem| problem != "ok");
    Ok(problems)
}

/// Whether a row names the file at this path by now.
fn is_named(db: &Sole, path: &Path) -> Result<bool> {
    let artifact = path
        .file_name()
        .and_then(|name| Sha256::from_hex(name.to_str()?))
        .filter(|sha256| artifact_path(*sha256) == path);
    if let Some(sha256) = artifact {
        return Ok(db.number(&format!(
            "SELECT count(*) FROM build_artifact WHERE sha256 = x'{sha256}'"
        ))? > 0);
    }
    let name = path.file_name().unwrap_or_default();
    let text = name == "console.txt" || name == "script.txt";
    match path.to_str().and_then(uuid_in) {
        // OK because a uuid is made of digits, letters and dashes.
        Some(uuid) if text => {
            Ok(db.number(&format!("SELECT count(*) FROM build WHERE uuid = '{uuid}'"))? > 0)
        }
        _ => Ok(false),
    }
}

/// Whether somebody is at work in a directory of `_staging`; none if it is not one of ours.
fn is_locked(directory: &Path) -> Option<bool> {
    let Ok(lock) = File::open(directory.join(crate::stage::LOCK)) else {
        // Killed before it was locked.
        return crate::stage::is_ours(directory).then_some(false);
    };
    // Given back when the file is closed.
    Some(matches!(
        lock.try_lock_shared(),
        Err(TryLockError::WouldBlock)
    ))
}

fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
