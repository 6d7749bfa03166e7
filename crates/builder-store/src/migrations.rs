//! Bringing a data directory from one schema version to the next, and back.
//!
//! A step is frozen: it says in SQL of its own what changed between two versions of the OCaml
//! server's schema, and shares no type or statement with the modules that know today's schema. It
//! is of SQLite by nature, since it replaces tables and moves files below the data directory, and so
//! speaks to SQLite past the portable seam.
//!
//! One step is one transaction. No step leaves a data directory that neither version can serve; how
//! files move without a moment's gap is in `moves.rs`.

mod m20211105;
mod m20220509;
mod m20230911;
mod m20230914;
mod moves;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use self::moves::{Journal, Moves};
use crate::db::own::OWN_DATABASE;
use crate::db::sole::{Sole, is_no_database, is_to_be_rolled_back};
use crate::store::{APPLICATION_ID, DATABASE, check_logs, is_read_only, no_database, read_only};
use crate::{Error, OpenError, Result, artifacts, restore, with_causes};

/// The oldest version there is a way from: older ones were never released.
pub const VERSION_MIN: i64 = 14;
/// The newest version, which this builder-web serves.
pub const VERSION_MAX: i64 = 18;
/// All steps, oldest first. The next version goes below.
pub static STEPS: [Step; 4] = [
    m20211105::STEP,
    m20220509::STEP,
    m20230911::STEP,
    m20230914::STEP,
];

/// What comes of a part of a migration.
type Done<T = ()> = std::result::Result<T, MigrationError>;

/// What one error lists; it counts the others.
const LISTED_MAX: usize = 100;

/// What lies between two neighbouring versions.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its name, the day it was made.
    pub name: &'static str,
    /// The older version.
    pub from: i64,
    /// The newer version.
    pub to: i64,
    /// What going up does.
    pub up_about: &'static str,
    /// What going down does.
    pub down_about: &'static str,
    up: Change,
    down: Change,
}

/// Which way to take a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the newer version.
    Up,
    /// To the older version.
    Down,
}

/// How a step is done in one direction: in this order, in one transaction.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// Counts of rows that cannot be brought over.
    refuse: &'static [Refusal],
    /// What the statements need beforehand.
    prepare: Option<fn(&mut Run<'_>) -> Done>,
    moves: Option<Moves>,
    statements: &'static [&'static str],
}

/// Rows that stand in the way.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    count: &'static str,
    what: &'static str,
}

impl Change {
    const NOTHING: Change = Change {
        refuse: &[],
        prepare: None,
        moves: None,
        statements: &[],
    };
}

impl Step {
    /// What the OCaml server's tool calls it, such as `migrate-2021-11-05`.
    pub fn command(&self, direction: Direction) -> String {
        match direction {
            Direction::Up => format!("migrate-{}", self.name),
            Direction::Down => format!("rollback-{}", self.name),
        }
    }

    /// What it does.
    pub fn about(&self, direction: Direction) -> &'static str {
        match direction {
            Direction::Up => self.up_about,
            Direction::Down => self.down_about,
        }
    }

    /// The versions it begins and ends at.
    pub fn versions(&self, direction: Direction) -> (i64, i64) {
        match direction {
            Direction::Up => (self.from, self.to),
            Direction::Down => (self.to, self.from),
        }
    }

    fn change(&self, direction: Direction) -> &Change {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// Where to go.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Up to this version, through all in between.
    Up(i64),
    /// Down to this version, through all in between.
    Down(i64),
    /// One step, from the version it begins at.
    Step(&'static Step, Direction),
}

/// How to go there.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Platforms by uploader, for builds that are older than platforms.
    pub platforms: BTreeMap<String, String>,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
}

/// What is being done, as it is done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// This command has moved files, and has yet to remove their old places, or, if its rows were
    /// not changed, the new ones.
    Left {
        /// The command.
        command: &'e str,
        /// Whether its rows were changed.
        finish: bool,
    },
    /// A step begins.
    Step(&'e Step, Direction),
    /// A statement is run, or would be.
    Sql(&'e str),
    /// A file would be moved.
    Move {
        /// From here, below the data directory.
        from: &'e Path,
        /// To here.
        to: &'e Path,
    },
    /// A file was in the way or is not what its row says, and was kept elsewhere.
    PutAside {
        /// From here, below the data directory.
        from: &'e Path,
        /// To here.
        to: &'e Path,
    },
    /// One more of many is done.
    Progress {
        /// What is being done.
        what: &'static str,
        /// How many are done.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// The step is kept, whatever happens.
    Committed(&'e Step, Direction),
}

/// The versions before and after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Where it began.
    pub from: i64,
    /// Where it came to; in a dry run, would come to.
    pub to: i64,
}

/// What is known of a data directory without changing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The schema version.
    pub version: i64,
    /// The command that was interrupted, if one was; the next run sees to it.
    pub interrupted: Option<String>,
}

/// Why a migration did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The directory or the database is not one for us.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database is from before the first release.
    #[error(
        "{database} has schema version {found}: versions before {VERSION_MIN} were never released, \
         and no way from them is known here; bring it to version {VERSION_MIN} with the OCaml server's builder-migrations"
    )]
    NeverReleased {
        /// The file.
        database: PathBuf,
        /// Its version.
        found: i64,
    },
    /// There is no such version.
    #[error("there is no version {0}: versions go from {VERSION_MIN} to {VERSION_MAX}")]
    NoSuchVersion(i64),
    /// The goal lies the other way.
    #[error(
        "the database has version {found}; to get to version {to}, use: builder-migrations {command} --to {to}"
    )]
    OtherWay {
        /// The version.
        found: i64,
        /// The goal.
        to: i64,
        /// `up` or `down`.
        command: &'static str,
    },
    /// A single step begins at another version.
    #[error(
        "wrong version: {command} begins at version {expected}, the database has version {found}"
    )]
    WrongVersion {
        /// The step.
        command: String,
        /// Where it begins.
        expected: i64,
        /// The version.
        found: i64,
    },
    /// Others have the database open.
    #[error(
        "{0} is in use by another program; stop the server, and whatever else has it open, and try again"
    )]
    Busy(PathBuf),
    /// A dry run cannot look past a transaction that was cut short.
    #[error(
        "{0} holds a transaction that was cut short; run this without --dry-run, or look at it with: builder-migrations status"
    )]
    RolledBackFirst(PathBuf),
    /// Rows stand in the way; nothing was changed.
    #[error("{count} {what}; nothing was changed")]
    Rows {
        /// How many.
        count: i64,
        /// What is wrong with them.
        what: &'static str,
    },
    /// A `--platform` is for nobody; nothing was changed.
    #[error("there is no user {0}; nothing was changed")]
    NoSuchUser(String),
    /// A platform that cannot be one; nothing was changed.
    #[error("{0:?} cannot be a platform; nothing was changed")]
    NotAPlatform(String),
    /// Builds of which nobody knows the platform; nothing was changed.
    #[error(
        "nothing tells the platform of {} builds:\n{}\nName it for their uploader: --platform USER=PLATFORM. Nothing was changed",
        .0.total, .0
    )]
    NoPlatform(Listing),
    /// Files that rows name are not there; nothing was changed.
    #[error("{} files are missing:\n{}\nNothing was changed", .0.total, .0)]
    Missing(Listing),
    /// Files that rows name would not be where artifacts are kept; nothing was changed.
    #[error("{} artifacts have a path that leaves their place:\n{}\nNothing was changed", .0.total, .0)]
    Elsewhere(Listing),
    /// The journal is not one of ours.
    #[error("{0} cannot be read as the journal of an interrupted migration; nothing was changed")]
    Journal(PathBuf),
    /// A step failed, and what it had begun with files cannot be taken back yet.
    #[error(
        "{}; and what was begun cannot be taken back: {}; the next run does so, once it can",
        with_causes(.first), with_causes(.after)
    )]
    NotTakenBack {
        /// Why the step failed.
        first: Box<MigrationError>,
        /// Why nothing was taken back.
        after: Box<MigrationError>,
    },
    /// Something else.
    #[error(transparent)]
    Store(#[from] Error),
}

impl MigrationError {
    /// Whether something is to be put right by whoever called, rather than broken.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            MigrationError::Store(_) | MigrationError::NotTakenBack { .. }
        )
    }
}

/// The first of many, and how many there are.
#[derive(Debug, Default)]
pub struct Listing {
    shown: Vec<String>,
    total: u64,
}

impl Listing {
    fn add(&mut self, one: String) {
        self.total += 1;
        if self.shown.len() < LISTED_MAX {
            self.shown.push(one);
        }
    }

    fn is_empty(&self) -> bool {
        self.total == 0
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.shown.join("\n  "))?;
        let more = self.total.saturating_sub(self.shown.len() as u64);
        if more > 0 {
            write!(f, "\n  and {more} more")?;
        }
        Ok(())
    }
}

/// What a step has at hand.
struct Run<'r> {
    db: &'r Sole,
    directory: &'r Path,
    platforms: &'r BTreeMap<String, String>,
    dry: bool,
    tell: &'r mut dyn FnMut(Event<'_>),
}

impl Run<'_> {
    fn total(&self, count: &str) -> Result<u64> {
        Ok(u64::try_from(self.db.number(count)?).unwrap_or_default())
    }

    fn progress(&mut self, what: &'static str, done: u64, total: u64) {
        (self.tell)(Event::Progress { what, done, total });
    }

    fn say_sql(&mut self, sql: &str) {
        (self.tell)(Event::Sql(sql));
    }
}

/// The version of a data directory.
pub fn status(directory: &Path) -> std::result::Result<Status, MigrationError> {
    let database = find_database(directory)?;
    let refuse = |error| refused(directory, error);
    let version = Sole::look(&database)
        .map_err(refuse)
        .and_then(|db| check_version(&db, directory));
    let version = match version {
        // Any reader that may write rolls back what power loss or a kill left half done.
        Err(MigrationError::RolledBackFirst(_)) => {
            check_version(&Sole::open(&database).map_err(refuse)?, directory)?
        }
        version => version?,
    };
    Ok(Status {
        version,
        interrupted: Journal::find(directory)?.map(|journal| journal.command),
    })
}

/// Brings a data directory to a version. Interrupted, it is to be run again: each run first sees
/// to what another left.
pub fn run(
    directory: &Path,
    goal: Goal,
    options: &Options,
    tell: &mut dyn FnMut(Event<'_>),
) -> std::result::Result<Outcome, MigrationError> {
    if let Some(platform) = options
        .platforms
        .values()
        .find(|platform| !m20211105::is_platform(platform))
    {
        return Err(MigrationError::NotAPlatform(platform.clone()));
    }
    let database = find_database(directory)?;
    let refuse = |error| refused(directory, error);
    let db = if options.dry_run {
        Sole::look(&database).map_err(refuse)?
    } else {
        Sole::open(&database).map_err(refuse)?
    };
    let mut from = check_version(&db, directory)?;
    let left = Journal::find(directory)?;
    if left.is_none() && plan(goal, from)?.is_empty() {
        if !options.dry_run {
            db.remove_spent_journal();
        }
        return Ok(Outcome { from, to: from });
    }
    if !options.dry_run {
        db.seize().map_err(refuse)?;
        db.remove_spent_journal();
    }
    let mut run = Run {
        db: &db,
        directory,
        platforms: &options.platforms,
        dry: options.dry_run,
        tell,
    };
    if let Some(left) = left {
        let (step, direction) = left.step()?;
        let finished = recover(&mut run)?;
        // Others may have been here since we first looked.
        from = check_version(&db, directory)?;
        if let Goal::Step(asked, way) = goal
            && finished
            && (asked.name, way) == (step.name, direction)
        {
            let (from, to) = step.versions(direction);
            return Ok(Outcome { from, to });
        }
    } else if !options.dry_run {
        from = check_version(&db, directory)?;
    }
    let steps = plan(goal, from)?;
    for (step, direction) in &steps {
        if options.dry_run {
            would_step(&mut run, step, *direction)?;
        } else {
            do_step(&mut run, step, *direction)?;
        }
    }
    let to = steps
        .last()
        .map_or(from, |(step, direction)| step.versions(*direction).1);
    Ok(Outcome { from, to })
}

/// The steps from `version` to a goal.
fn plan(goal: Goal, version: i64) -> Done<Vec<(&'static Step, Direction)>> {
    let between = |low, high| {
        STEPS
            .iter()
            .filter(move |step| low <= step.from && step.to <= high)
    };
    match goal {
        Goal::Up(to) | Goal::Down(to) if !(VERSION_MIN..=VERSION_MAX).contains(&to) => {
            Err(MigrationError::NoSuchVersion(to))
        }
        Goal::Up(to) if to < version => Err(MigrationError::OtherWay {
            found: version,
            to,
            command: "down",
        }),
        Goal::Down(to) if to > version => Err(MigrationError::OtherWay {
            found: version,
            to,
            command: "up",
        }),
        Goal::Up(to) => Ok(between(version, to)
            .map(|step| (step, Direction::Up))
            .collect()),
        Goal::Down(to) => Ok(between(to, version)
            .map(|step| (step, Direction::Down))
            .rev()
            .collect()),
        Goal::Step(step, direction) => {
            let (expected, _) = step.versions(direction);
            if version == expected {
                Ok(vec![(step, direction)])
            } else {
                Err(MigrationError::WrongVersion {
                    command: step.command(direction),
                    expected,
                    found: version,
                })
            }
        }
    }
}

fn do_step(run: &mut Run<'_>, step: &'static Step, direction: Direction) -> Done {
    (run.tell)(Event::Step(step, direction));
    let db = run.db;
    db.batch("BEGIN EXCLUSIVE")?;
    if let Err(error) = change(run, step, direction).and_then(|()| Ok(db.batch("COMMIT")?)) {
        // It may be that COMMIT itself failed, and there is nothing to roll back.
        let _: Result<()> = db.batch("ROLLBACK");
        return Err(match recover(run) {
            Ok(_) => error,
            Err(after) => MigrationError::NotTakenBack {
                first: Box::new(error),
                after: Box::new(after),
            },
        });
    }
    artifacts::sync_directory(run.directory)?;
    (run.tell)(Event::Committed(step, direction));
    recover(run)?;
    Ok(())
}

/// All of a step between BEGIN and COMMIT.
fn change(run: &mut Run<'_>, step: &'static Step, direction: Direction) -> Done {
    let change = step.change(direction);
    prepare(run, change)?;
    if let Some(moves) = &change.moves {
        moves.place(run, &step.command(direction))?;
    }
    for statement in change.statements {
        run.say_sql(statement);
        run.db.batch(statement)?;
    }
    let (_, to) = step.versions(direction);
    let version = format!("PRAGMA user_version = {to}");
    run.say_sql(&version);
    run.db.batch(&version)?;
    Ok(())
}

/// What can stand in the way of a step. What is asked for has the same name and meaning in every
/// version that a way to the step leads through, so that a dry run can ask before it is there.
fn prepare(run: &mut Run<'_>, change: &Change) -> Done {
    for refusal in change.refuse {
        let count = run.db.number(refusal.count)?;
        if count > 0 {
            let what = refusal.what;
            return Err(MigrationError::Rows { count, what });
        }
    }
    match change.prepare {
        Some(prepare) => prepare(run),
        None => Ok(()),
    }
}

fn would_step(run: &mut Run<'_>, step: &'static Step, direction: Direction) -> Done {
    (run.tell)(Event::Step(step, direction));
    let change = step.change(direction);
    run.say_sql("BEGIN EXCLUSIVE");
    prepare(run, change)?;
    if let Some(moves) = &change.moves {
        moves.say(run)?;
    }
    for statement in change.statements {
        run.say_sql(statement);
    }
    let (_, to) = step.versions(direction);
    run.say_sql(&format!("PRAGMA user_version = {to}"));
    run.say_sql("COMMIT");
    Ok(())
}

/// Finishes or undoes what is in the journal, if there is one. Whether it was finished.
fn recover(run: &mut Run<'_>) -> Done<bool> {
    let Some(journal) = Journal::find(run.directory)? else {
        return Ok(false);
    };
    let (step, direction) = journal.step()?;
    let Some(moves) = &step.change(direction).moves else {
        return Err(journal.unreadable());
    };
    let version = run.db.pragma("user_version")?;
    let finish = match direction {
        Direction::Up => version >= step.to,
        Direction::Down => version <= step.from,
    };
    let command = &journal.command;
    (run.tell)(Event::Left { command, finish });
    if run.dry {
        return Ok(false);
    }
    if finish {
        remove_own(run.directory)?;
        journal.finish(run, moves.to)?;
    } else {
        journal.undo(run, moves.to)?;
    }
    Ok(finish)
}

/// Removes what we derived from the other version; the server derives it again.
fn remove_own(directory: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        artifacts::remove_file(&directory.join(format!("{OWN_DATABASE}{suffix}")))?;
    }
    Ok(())
}

fn find_database(directory: &Path) -> std::result::Result<PathBuf, OpenError> {
    if !directory.is_dir() {
        return Err(OpenError::NoDirectory(directory.to_owned()));
    }
    if restore::is_complete(directory) {
        return Err(OpenError::Restoring(directory.to_owned()));
    }
    let database = directory.join(DATABASE);
    if database.is_file() {
        check_logs(directory)?;
        Ok(database)
    } else {
        Err(no_database(directory))
    }
}

fn check_version(db: &Sole, directory: &Path) -> Done<i64> {
    let database = directory.join(DATABASE);
    let pragma = |name| db.pragma(name).map_err(|error| refused(directory, error));
    let application_id = pragma("application_id")?;
    if application_id != APPLICATION_ID {
        return Err(MigrationError::Open(OpenError::Foreign {
            database,
            found: application_id,
            expected: APPLICATION_ID,
        }));
    }
    let found = pragma("user_version")?;
    if found < VERSION_MIN {
        return Err(MigrationError::NeverReleased { database, found });
    }
    if found > VERSION_MAX {
        return Err(MigrationError::Open(OpenError::Newer {
            database,
            directory: directory.to_owned(),
            found,
            expected: VERSION_MAX,
        }));
    }
    Ok(found)
}

/// An error of opening and locking the database, as what it means.
fn refused(directory: &Path, error: Error) -> MigrationError {
    let database = directory.join(DATABASE);
    if error.is_busy() {
        MigrationError::Busy(database)
    } else if is_no_database(&error) {
        MigrationError::Open(OpenError::NotADatabase(database))
    } else if is_to_be_rolled_back(&error) {
        MigrationError::RolledBackFirst(database)
    } else if is_read_only(directory) {
        MigrationError::Open(read_only(directory))
    } else {
        MigrationError::Store(error)
    }
}
