//! Removing builds, beside a server that serves and takes in others, and while others write to the
//! database. No build ever loses a file:
//!
//! 1. What will be known of the builds, and which files may go, is committed to the record, a part at
//!    a time.
//! 2. One transaction removes their rows from `builder.sqlite3`. What no longer qualifies by then is
//!    left.
//! 3. Files go in turns, each as the only writer: what a row names by then is left, so that an upload
//!    that brought the same content keeps it. An entry of the list is forgotten after its file has gone.
//!
//! An upload moves its files and adds its rows as the only writer too, so it is before or after a turn,
//! never within. Interrupted after 1, builds are recorded as removed and are still there: whoever reads
//! looks for the build first. Interrupted later, files are left that no row names. Both are put right by
//! [`Store::finish_removals`], which each removal and each start of a server begin with.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::artifacts::{link_on_the_way, sync_directory};
use crate::db::Row;
use crate::record::audit::{self, Actor, Outcome};
use crate::record::pending::{self, Witness};
use crate::record::removed;
use crate::stage::remove_directory;
use crate::{Error, JobName, Result, Sha256, Store, Tx, builds, derived};

/// Builds or files that are recorded in one transaction, so that uploads get their turn.
const RECORDED_MAX: usize = 5_000;
/// Builds of one statement, which removes the rows of as many.
const BUILDS_A_STATEMENT: usize = 16;
/// How long one turn may hold the writer's lock.
const TURN_TIME_MAX: Duration = Duration::from_millis(50);
/// Files of one turn: what is read of the list at once.
const TURN_FILES_MAX: i64 = 500;
/// Between turns. Who waits for the lock tries again every 100 ms at the latest.
const PAUSE: Duration = Duration::from_millis(110);

/// What to remove.
#[derive(Debug, Clone)]
pub enum Goal {
    /// Old builds of jobs.
    Vacuum {
        /// Of these jobs (their rows); of all when none is given.
        jobs: Vec<i64>,
        /// Builds on this platform alone; others are neither counted nor removed.
        platform: Option<String>,
        /// Which ones stay.
        keep: Keep,
    },
    /// A job with all its builds, pinned or not.
    Job(i64),
}

/// Which builds of a job stay, besides those that are pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those that ended after this time.
    EndedAfter(Timestamp),
    /// The newest, so many of them.
    Latest(u32),
    /// The newest successful, so many of them, and whatever is newer than the oldest of those. A job
    /// with fewer keeps all.
    LatestSuccessful(u32),
}

/// What a removal would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The builds that go, by job, newest first.
    pub builds: Vec<Listed>,
    /// Builds that would go if they were not pinned.
    pub pinned: Vec<Listed>,
    /// Artifacts that no other build has, and their sizes in bytes.
    pub artifacts: Vec<(Sha256, u64)>,
}

/// A build in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its row.
    pub id: i64,
    /// Its name.
    pub uuid: Uuid,
    /// The name of its job.
    pub job: String,
    /// What it ran on.
    pub platform: String,
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub finish: Timestamp,
    /// Whether it has a main binary.
    pub successful: bool,
}

/// What a removal has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The builds that went, by job, newest first.
    pub builds: Vec<Listed>,
    /// Builds that stayed because they are pinned.
    pub pinned: Vec<Listed>,
    /// Files that went with them.
    pub files: Files,
}

/// Files that were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// How many artifacts.
    pub artifacts: u64,
    /// How many bytes those had.
    pub bytes: u64,
}

/// What a removal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Another process removes builds; its end is waited for.
    Waiting,
    /// An interrupted removal was finished.
    Finished(Files),
    /// So many artifacts have gone so far.
    Files(Files),
}

impl Plan {
    /// How many bytes of artifacts it frees.
    pub fn bytes(&self) -> u64 {
        self.artifacts.iter().map(|(_, size)| size).sum()
    }
}

impl Listed {
    /// A word for how it ended.
    pub fn outcome(&self) -> &'static str {
        match self.successful {
            true => "successful",
            false => "failed",
        }
    }

    /// From the columns of [`list`].
    fn from_row(row: &Row<'_>) -> Result<Listed> {
        Ok(Listed {
            id: row.int(0)?,
            uuid: row.uuid(1)?,
            job: row.text(2)?,
            platform: row.text(3)?,
            start: row.timestamp(4)?,
            finish: row.timestamp(6)?,
            successful: row.bool(8)?,
        })
    }
}

/// What would go, and what that would free. Changes nothing.
pub fn plan(tx: &mut Tx<'_>, goal: &Goal) -> Result<Plan> {
    let (builds, pinned) = select(tx, goal)?;
    let artifacts = orphans(tx, &builds)?;
    Ok(Plan {
        builds,
        pinned,
        artifacts,
    })
}

/// The builds of a job (its row) that are pinned.
pub fn pinned_of_job(tx: &mut Tx<'_>, job: i64) -> Result<Vec<Listed>> {
    let all = list(tx, job, None)?.into_iter();
    Ok(all
        .filter(|(_, pinned)| *pinned)
        .map(|(build, _)| build)
        .collect())
}

/// The builds that go, and those that would if they were not pinned.
fn select(tx: &mut Tx<'_>, goal: &Goal) -> Result<(Vec<Listed>, Vec<Listed>)> {
    let (mut go, mut pinned) = (Vec::new(), Vec::new());
    match goal {
        Goal::Job(job) => go.extend(list(tx, *job, None)?.into_iter().map(|(build, _)| build)),
        Goal::Vacuum {
            jobs,
            platform,
            keep,
        } => {
            let jobs = match jobs.as_slice() {
                [] => tx.query("SELECT id FROM job ORDER BY name", &[], |row| row.int(0))?,
                given => given.to_vec(),
            };
            let mut seen = HashSet::new();
            for job in jobs {
                // The same job may be given twice.
                if !seen.insert(job) {
                    continue;
                }
                for (build, is_pinned) in old(list(tx, job, platform.as_deref())?, *keep) {
                    if is_pinned {
                        pinned.push(build);
                    } else {
                        go.push(build);
                    }
                }
            }
        }
    }
    Ok((go, pinned))
}

/// The builds of a job, newest first, and whether each is pinned.
fn list(tx: &mut Tx<'_>, job: i64, platform: Option<&str>) -> Result<Vec<(Listed, bool)>> {
    tx.query(
        "SELECT b.id, b.uuid, j.name, b.platform, b.start_d, b.start_ps, b.finish_d, b.finish_ps,
           b.main_binary IS NOT NULL, p.uuid IS NOT NULL
         FROM build b JOIN job j ON j.id = b.job LEFT JOIN record.pin p ON p.uuid = b.uuid
         WHERE b.job = $1 AND (b.platform = $2 OR $2 IS NULL)
         ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC",
        &[job.into(), platform.into()],
        |row| Ok((Listed::from_row(row)?, row.bool(9)?)),
    )
}

/// Of the builds of a job, newest first, those that do not stay.
fn old(mut builds: Vec<(Listed, bool)>, keep: Keep) -> Vec<(Listed, bool)> {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    match keep {
        Keep::EndedAfter(time) => {
            builds.retain(|(build, _)| build.finish <= time);
            builds
        }
        Keep::Latest(latest) => builds.split_off(builds.len().min(count(latest))),
        Keep::LatestSuccessful(latest) => {
            let successful = builds.iter().enumerate();
            let mut successful = successful.filter(|(_, (build, _))| build.successful);
            match successful.nth(count(latest).saturating_sub(1)) {
                Some((at, _)) => builds.split_off(at + 1),
                None => Vec::new(),
            }
        }
    }
}

/// The artifacts that no build but these has, and their sizes.
fn orphans(tx: &mut Tx<'_>, builds: &[Listed]) -> Result<Vec<(Sha256, u64)>> {
    let mut named: HashMap<Sha256, (i64, u64)> = HashMap::new();
    for build in builds {
        tx.for_each(
            "SELECT sha256, size FROM build_artifact WHERE build = $1",
            &[build.id.into()],
            |row| {
                let size = row.size(1)?;
                named.entry(row.sha256(0)?).or_insert((0, size)).0 += 1;
                Ok(())
            },
        )?;
    }
    let mut orphans = Vec::new();
    for (sha256, (count, size)) in named {
        let all = tx.query_opt(
            "SELECT count(*) FROM build_artifact WHERE sha256 = $1",
            &[(&sha256).into()],
            |row| row.int(0),
        )?;
        if all == Some(count) {
            orphans.push((sha256, size));
        }
    }
    orphans.sort_unstable();
    Ok(orphans)
}

impl Store {
    /// Removes builds: their rows in one transaction, then the files that no row names any more.
    /// Interrupted, builds are whole or gone, and [`Store::finish_removals`] removes what is left.
    ///
    /// The audit record says of each that `actor` removed it.
    pub fn remove(
        &self,
        goal: &Goal,
        actor: &Actor,
        now: &Timestamp,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Removed> {
        let _removing = self.removal_lock(tell)?;
        let left = self.mend_and_sweep(&mut |_| {})?;
        if left != Files::default() {
            tell(Event::Finished(left));
        }
        let plan = self.read(|tx| plan(tx, goal))?;
        self.record(&plan, now)?;
        let (builds, pinned) = self.remove_rows(goal, &plan, actor, now)?;
        let files = self.mend_and_sweep(tell)?;
        // What is derived can be derived again: no reason to fail.
        if !builds.is_empty()
            && let Err(error) = self.catch_up()
        {
            tracing::warn!("the latest builds are not kept up to date: {error}");
        }
        Ok(Removed {
            builds,
            pinned,
            files,
        })
    }

    /// Writes down what will be known of the builds, and which files may go: before the rows do, so
    /// that it is there when they are not.
    fn record(&self, plan: &Plan, now: &Timestamp) -> Result<()> {
        for builds in plan.builds.chunks(RECORDED_MAX) {
            self.write(|tx| {
                for build in builds {
                    removed::add(tx, build.id, now)?;
                    list_file(tx, BUILD, &format!("{}/{}", build.job, build.uuid))?;
                }
                Ok(())
            })?;
            give_way(builds.len());
        }
        for artifacts in plan.artifacts.chunks(RECORDED_MAX) {
            self.write(|tx| {
                for (sha256, _) in artifacts {
                    list_file(tx, ARTIFACT, &sha256.to_hex())?;
                }
                Ok(())
            })?;
            give_way(artifacts.len());
        }
        Ok(())
    }

    /// Removes the rows of what was recorded and still qualifies, in one transaction. Those builds,
    /// and those that stay because they are pinned.
    fn remove_rows(
        &self,
        goal: &Goal,
        plan: &Plan,
        actor: &Actor,
        now: &Timestamp,
    ) -> Result<(Vec<Listed>, Vec<Listed>)> {
        let recorded: HashSet<i64> = plan.builds.iter().map(|build| build.id).collect();
        self.write(|tx| {
            let (mut builds, pinned) = select(tx, goal)?;
            let all = builds.len();
            builds.retain(|build| recorded.contains(&build.id));
            remove_rows(tx, builds.iter().map(|build| build.id).collect())?;
            if let Goal::Job(job) = goal
                // Unless one came in just now: then the job stays with it.
                && all == builds.len()
            {
                remove_job_rows(tx, *job)?;
            }
            for build in &builds {
                let subject = format!("{}/{}", build.job, build.uuid);
                let event = audit::Event {
                    action: audit::BUILD_REMOVE,
                    subject: &subject,
                    outcome: Outcome::Done,
                    detail: build.outcome(),
                };
                pending::add(tx, actor, &event, Witness::NoBuild(build.uuid), now)?;
            }
            Ok((builds, pinned))
        })
    }

    /// Finishes what an interrupted removal left. Does nothing while another process removes builds.
    pub fn finish_removals(&self) -> Result<Files> {
        let path = self.directory().join("_artifacts");
        let lock = File::open(&path).map_err(|source| Error::file("open", &path, source))?;
        match lock.try_lock() {
            Ok(()) => self.mend_and_sweep(&mut |_| {}),
            Err(TryLockError::WouldBlock) => Ok(Files::default()),
            Err(TryLockError::Error(source)) => Err(Error::file("lock", &path, source)),
        }
    }

    /// Held while builds are removed: one process at a time, since the record of a removal that has
    /// not happened yet looks like that of one that never will.
    fn removal_lock(&self, tell: &mut dyn FnMut(Event)) -> Result<File> {
        let path = self.directory().join("_artifacts");
        let lock = File::open(&path).map_err(|source| Error::file("open", &path, source))?;
        let locked = match lock.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                tell(Event::Waiting);
                lock.lock()
            }
            Err(TryLockError::Error(source)) => Err(source),
        };
        locked
            .map(|()| lock)
            .map_err(|source| Error::file("lock", &path, source))
    }

    fn mend_and_sweep(&self, tell: &mut dyn FnMut(Event)) -> Result<Files> {
        let pending = self.read(|tx| {
            let pending =
                tx.query_opt("SELECT 1 FROM record.file_removal LIMIT 1", &[], |row| {
                    row.int(0)
                })?;
            Ok(pending.is_some())
        })?;
        self.write(mend)?;
        let mut files = Files::default();
        if !pending {
            return Ok(files);
        }
        self.remove_pictures()?;
        loop {
            let more = self.write(|tx| self.sweep_turn(tx, &mut files))?;
            tell(Event::Files(files));
            if !more {
                return Ok(files);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Pictures of artifacts that are to go. One too many is no harm: it is drawn again.
    fn remove_pictures(&self) -> Result<()> {
        let mut go = HashSet::new();
        self.read(|tx| {
            let listed = tx.query(
                "SELECT name FROM record.file_removal WHERE kind = $1",
                &[ARTIFACT.into()],
                |row| row.text(0),
            )?;
            for sha256 in listed.iter().filter_map(|hex| Sha256::from_hex(hex)) {
                if !builds::names_artifact(tx, sha256)? {
                    go.insert(sha256);
                }
            }
            Ok(())
        })?;
        self.cache().remove_of(&go)?;
        Ok(())
    }

    /// One turn of removing files; whether there are more.
    fn sweep_turn(&self, tx: &mut Tx<'_>, files: &mut Files) -> Result<bool> {
        let begun = Instant::now();
        let listed = tx.query(
            "SELECT kind, name FROM record.file_removal ORDER BY kind, name LIMIT $1",
            &[TURN_FILES_MAX.into()],
            |row| Ok((row.text(0)?, row.text(1)?)),
        )?;
        let kinds = derived::kinds(tx)?;
        let mut changed = BTreeSet::new();
        let mut done = 0;
        for (kind, name) in &listed {
            if begun.elapsed() > TURN_TIME_MAX {
                break;
            }
            match kind.as_str() {
                ARTIFACT => {
                    if let Some(sha256) = Sha256::from_hex(name)
                        && !builds::names_artifact(tx, sha256)?
                    {
                        let path = self.artifacts().path(sha256);
                        let size = fs::metadata(&path).map(|file| file.len());
                        self.artifacts().remove(sha256)?;
                        if let Ok(size) = size {
                            files.artifacts += 1;
                            files.bytes += size;
                        }
                        derived::forget(tx, &kinds, sha256)?;
                        changed.extend(path.parent().map(Path::to_owned));
                    }
                }
                BUILD => {
                    if let Some((job, uuid)) = home(name)
                        && !builds::exists(tx, uuid)?
                    {
                        let home = Path::new(job.as_str()).join(uuid.to_string());
                        let job = self.directory().join(job.as_str());
                        if let Some(link) = link_on_the_way(self.directory(), &home) {
                            let link = link.display();
                            tracing::warn!("what {link} leads to is left there: it is a link");
                        } else {
                            remove_directory(&job.join(uuid.to_string()))?;
                            changed.insert(job);
                        }
                    }
                }
                // Of a newer builder-web.
                _ => {}
            }
            done += 1;
        }
        // Gone from the disk before they are gone from the list.
        for directory in changed {
            // Only an empty one is removed.
            if fs::remove_dir(&directory).is_err() && directory.is_dir() {
                sync_directory(&directory)?;
            } else if let Some(parent) = directory.parent() {
                sync_directory(parent)?;
            }
        }
        for (kind, name) in &listed[..done] {
            tx.execute(
                "DELETE FROM record.file_removal WHERE kind = $1 AND name = $2",
                &[kind.as_str().into(), name.as_str().into()],
            )?;
        }
        let all = i64::try_from(listed.len()).unwrap_or(i64::MAX) < TURN_FILES_MAX;
        Ok(!(all && done == listed.len()))
    }
}

/// Whether a file that no row names, at this path below the data directory, is listed to be removed.
pub(crate) fn is_listed(tx: &mut Tx<'_>, path: &Path) -> Result<bool> {
    let mut names = path.iter().map(|part| part.to_string_lossy());
    let (first, second, third) = (names.next(), names.next(), names.next());
    let (kind, name) = match (first.as_deref(), second, third) {
        (Some("_artifacts"), Some(_), Some(hex)) => (ARTIFACT, hex.into_owned()),
        (Some(job), Some(uuid), Some(_)) => (BUILD, format!("{job}/{uuid}")),
        _ => return Ok(false),
    };
    let found = tx.query_opt(
        "SELECT 1 FROM record.file_removal WHERE kind = $1 AND name = $2",
        &[kind.into(), name.as_str().into()],
        |row| row.int(0),
    )?;
    Ok(found.is_some())
}

/// What is in the list of files: an artifact, by its digest, …
const ARTIFACT: &str = "artifact";
/// … or the directory of a build's console and script, `JOB/UUID`.
const BUILD: &str = "build";

fn list_file(tx: &mut Tx<'_>, kind: &'static str, name: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO record.file_removal (kind, name) VALUES ($1, $2)
         ON CONFLICT (kind, name) DO NOTHING",
        &[kind.into(), name.into()],
    )?;
    Ok(())
}

/// `JOB/UUID`, if it is one: the OCaml server has let in names that lead elsewhere.
fn home(name: &str) -> Option<(JobName, Uuid)> {
    let (job, uuid) = name.rsplit_once('/')?;
    let job = JobName::parse(job.as_bytes()).ok()?;
    Some((job, Uuid::parse_str(uuid).ok()?))
}

/// Forgets what the record says and `builder.sqlite3` does not bear out.
fn mend(tx: &mut Tx<'_>) -> Result<()> {
    removed::forget_existing(tx)?;
    tx.execute(
        "DELETE FROM record.pin
         WHERE NOT EXISTS (SELECT 1 FROM build b WHERE b.uuid = pin.uuid)",
        &[],
    )?;
    Ok(())
}

/// `$1` to `$16`, for [`BUILDS_A_STATEMENT`].
macro_rules! with_ids {
    ($before:literal) => {
        concat!(
            $before,
            " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        )
    };
}

/// Many at a time: nobody else writes while the rows of very many builds go.
fn remove_rows(tx: &mut Tx<'_>, mut builds: Vec<i64>) -> Result<()> {
    // As they lie in the tables.
    builds.sort_unstable();
    for statement in [
        with_ids!("UPDATE build SET main_binary = NULL WHERE id IN"),
        with_ids!("DELETE FROM build_artifact WHERE build IN"),
        with_ids!("DELETE FROM build WHERE id IN"),
    ] {
        for some in builds.chunks(BUILDS_A_STATEMENT) {
            // No row has the number 0.
            let mut ids = [0; BUILDS_A_STATEMENT];
            ids[..some.len()].copy_from_slice(some);
            tx.execute(statement, &ids.map(Into::into))?;
        }
    }
    Ok(())
}

/// Lets others write, if it was more than few.
fn give_way(recorded: usize) {
    if recorded == RECORDED_MAX {
        std::thread::sleep(PAUSE);
    }
}

fn remove_job_rows(tx: &mut Tx<'_>, job_id: i64) -> Result<()> {
    tx.execute("DELETE FROM access_list WHERE job = $1", &[job_id.into()])?;
    tx.execute("DELETE FROM job_tag WHERE job = $1", &[job_id.into()])?;
    tx.execute("DELETE FROM job WHERE id = $1", &[job_id.into()])?;
    Ok(())
}
