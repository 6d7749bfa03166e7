//! What is not well with the databases, and with what their rows say of files.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use builder_exec::Timestamp;

use super::{Doctor, Finding, Level, count, is_locked, quoted, staged};
use crate::artifacts::{from_where_no_link_is, link_on_the_way};
use crate::db::own::OWN_DATABASE;
use crate::db::record;
use crate::db::sole::Sole;
use crate::names::RESERVED_PREFIXES;
use crate::store::DATABASE;
use crate::tracked::{Tracked, artifact_path, uuid_in};
use crate::verify::{entries, holds_builds, is_where_ours_are, walk};
use crate::{Error, Result, Sha256};

/// What one finding names; it counts the others.
const NAMED_MAX: usize = 3;
/// A token that is worth nothing after fewer days is told: time to give its program another one.
const EXPIRES_SOON_DAYS: i64 = 14;
/// A token that was not used for as many days is told: nobody would miss it, but who has found it.
const UNUSED_DAYS: i64 = 90;
/// The version of the record from which on it knows when a token was used.
const TOKEN_USE_VERSION: i64 = 4;

impl Doctor<'_> {
    pub(super) fn database(&mut self, now: &Timestamp) {
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
        let checked = self.look_alikes(&db);
        self.checked("jobs", checked);
        let record = self.directory.join(record::FILE);
        if record.exists() {
            let checked = Sole::look(&record).and_then(|record| {
                self.integrity(&record, record::FILE, Level::Problem)?;
                self.is_the_record_from_before(&record)?;
                self.removals(&record)?;
                self.tokens(&record, &logging_in(&db)?, now)
            });
            self.checked("record", checked);
        } else if record::noted_identity(self.directory).is_some() {
            self.another_record(format!(
                "{} is missing, and with it pins, what was removed, tokens and the audit record",
                record.display()
            ));
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
                    "cp BACKUP/{name} {0}/ && rm -f {0}/{name}-wal {0}/{name}-shm  # from a backup, with the server stopped; all of it: builder-db restore BACKUP",
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
        for line in include_str!("../../schema/v18.sql").lines() {
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
        let mut some =
            |check, level, sql: &str, [one, many]: [&str; 2], mend: Option<String>| -> Result<()> {
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
                        what: format!(
                            "{}: {}{}",
                            count(all, one, many),
                            named.join(", "),
                            if all > named.len() { ", …" } else { "" }
                        ),
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
            [
                "build started in the future by the clock of this machine (it or that of a builder is wrong)",
                "builds started in the future by the clock of this machine (it or that of a builder is wrong)",
            ],
            Some("timedatectl status  # here and on the builders".to_owned()),
        )?;
        some(
            "clock",
            Level::Note,
            "SELECT j.name || '/' || b.uuid FROM build b JOIN job j ON j.id = b.job
             WHERE b.finish_d < b.start_d OR b.finish_d = b.start_d AND b.finish_ps < b.start_ps",
            [
                "build ended before it started",
                "builds ended before they started",
            ],
            None,
        )?;
        some(
            "orphans",
            Level::Note,
            "SELECT name FROM job WHERE NOT EXISTS (SELECT 1 FROM build WHERE build.job = job.id)",
            ["job without a build", "jobs without a build"],
            Some(format!("builder-db job-remove --datadir {datadir} 'NAMED'")),
        )?;
        some(
            "orphans",
            Level::Problem,
            "SELECT a.filepath FROM build_artifact a
             WHERE NOT EXISTS (SELECT 1 FROM build WHERE build.id = a.build)",
            [
                "row of an artifact without a build",
                "rows of artifacts without a build",
            ],
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
        // The directory that was looked at last, and whether a link leads there.
        let mut at = (PathBuf::new(), false);
        let mut look = |file: Tracked| {
            let Some(path) = file.path() else {
                return;
            };
            let there = fs::symlink_metadata(self.directory.join(&path));
            // Links in the place of directories are told of as such.
            let directory = path.parent().unwrap_or(&path);
            if directory != at.0 {
                let (root, below) = from_where_no_link_is(self.directory, directory);
                at = (
                    directory.to_owned(),
                    link_on_the_way(&root, below).is_some(),
                );
            }
            let as_it_should_be = match (&file, there) {
                _ if at.1 => true,
                (_, Ok(there)) if !there.is_file() => false,
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
        let (ours, others): (Vec<_>, Vec<_>) =
            strays.iter().partition(|path| is_where_ours_are(path));
        if let Some(first) = ours.first() {
            self.add(Finding::new(
                "orphans",
                Level::Warning,
                format!(
                    "{} that nothing names, such as {}",
                    count(ours.len(), "file", "files"),
                    first.display()
                ),
                self.repair(),
            ));
        }
        if let Some(first) = others.first() {
            // A repair leaves them alone.
            let some = others.iter().take(NAMED_MAX);
            let some: Vec<String> = some
                .map(|path| quoted(&self.directory.join(path)))
                .collect();
            self.add(Finding::new(
                "orphans",
                Level::Warning,
                format!(
                    "{} where builder-web keeps none, such as {}",
                    count(others.len(), "file", "files"),
                    first.display()
                ),
                format!("mv {} ELSEWHERE/", some.join(" ")),
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
            if holds_builds(&top, &name) {
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
        let busy = staged(self.directory)?
            .iter()
            .any(|path| is_locked(path) == Some(true));
        let mut strays = Vec::new();
        for path in suspects {
            let ours = is_where_ours_are(&path);
            let there = self.directory.join(&path).symlink_metadata().is_ok();
            if there && !(busy && ours) && !is_named(db, &path)? {
                strays.push(path);
            }
        }
        Ok(strays)
    }

    fn is_the_record_from_before(&mut self, record: &Sole) -> Result<()> {
        if record.pragma("user_version")? < record::IDENTITY_VERSION {
            return Ok(());
        }
        let mut identity = None;
        record.for_each("SELECT id FROM identity", |row| {
            identity = Some(row.text(0)?);
            Ok::<(), Error>(())
        })?;
        let noted = record::noted_identity(self.directory);
        if noted.is_some() && noted != identity {
            self.another_record(format!("{} is another one than before", record::FILE));
        }
        Ok(())
    }

    fn another_record(&mut self, what: String) {
        let datadir = &self.datadir;
        self.add(Finding::new(
            "record",
            Level::Problem,
            what,
            format!(
                "cp BACKUP/{} {datadir}/  # or, without a backup, go on with what is there: builder-db record-anew --datadir {datadir}",
                record::FILE
            ),
        ));
    }

    fn removals(&mut self, record: &Sole) -> Result<()> {
        let pending = record.number("SELECT count(*) FROM file_removal")?;
        if pending > 0 {
            self.add(Finding::new(
                "removal",
                Level::Warning,
                format!(
                    "{} of removed builds still to be removed",
                    count(pending, "file or directory", "files or directories")
                ),
                self.repair(),
            ));
        }
        Ok(())
    }
}

impl Doctor<'_> {
    /// Tokens that will be worth nothing soon, that nobody uses, and that nobody can use.
    fn tokens(&mut self, record: &Sole, users: &HashSet<String>, now: &Timestamp) -> Result<()> {
        // A file that no server of this version has opened yet.
        if record.pragma("user_version")? < TOKEN_USE_VERSION {
            return Ok(());
        }
        let today = now.days();
        let mut found = Vec::new();
        record.for_each(
            &format!(
                "SELECT name, username, scope IN ('upload', 'admin'),
                   coalesce(expires_d, {today} + {EXPIRES_SOON_DAYS}),
                   max(created_d, coalesce(used_d, created_d))
                 FROM token
                 WHERE revoked_d IS NULL AND (expires_d IS NULL OR expires_d >= {today})
                 ORDER BY name"
            ),
            |row| {
                let name = row.text(0)?;
                let argument = quoted(Path::new(&name));
                let user = row.text(1)?;
                let datadir = &self.datadir;
                let revoke = format!("builder-db token-revoke --datadir {datadir} {argument}");
                if row.int(2)? == 0 {
                    found.push(Finding::new(
                        "tokens",
                        Level::Warning,
                        format!("token {name} is for something that this version does not know, and is refused"),
                        revoke,
                    ));
                    return Ok::<(), Error>(());
                }
                if !users.contains(&user) {
                    found.push(Finding::new(
                        "tokens",
                        Level::Warning,
                        format!("token {name} is of user {user}, who was removed or disabled by another program: who is given that name or a new password there has the token, too"),
                        revoke,
                    ));
                    return Ok(());
                }
                let user = quoted(Path::new(&user));
                let left = row.int(3)? - today;
                if left < EXPIRES_SOON_DAYS {
                    found.push(Finding::new(
                        "tokens",
                        Level::Warning,
                        format!("token {name} is worth nothing in {}", count(left, "day", "days")),
                        format!("builder-db token-add --datadir {datadir} --user {user} NEW-NAME"),
                    ));
                }
                let unused = today - row.int(4)?;
                if unused >= UNUSED_DAYS {
                    found.push(Finding::new(
                        "tokens",
                        Level::Note,
                        format!("token {name} was not used for {unused} days"),
                        revoke,
                    ));
                }
                Ok(())
            },
        )?;
        self.findings.append(&mut found);
        Ok(())
    }
}

/// The names of users who are not disabled.
fn logging_in(db: &Sole) -> Result<HashSet<String>> {
    let mut users = HashSet::new();
    let sql = r#"SELECT username FROM "user" WHERE length(password_hash) > 0"#;
    db.for_each(sql, |row| {
        users.insert(row.text(0)?);
        Ok::<(), Error>(())
    })?;
    Ok(users)
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
