//! Whether the files of a data directory are what the database says they are, and mending what can
//! be mended. Reads every artifact, console and script; removes none.
//!
//! Others may upload and remove meanwhile: what looks wrong is looked at again, and a file that
//! nobody names is one only if that is so while nobody else writes.

mod look;
mod repair;
mod strays;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use self::look::FileReader;
pub use self::repair::repair;
pub(crate) use self::strays::{entries, holds_builds, is_where_ours_are, walk};
use crate::tracked::{self, Tracked};
use crate::{Result, Store};

/// Builds that are named with each problem; the others are counted.
const NAMED_MAX: i64 = 3;

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
    /// Nothing had to be done any more: an upload brought the right bytes, or its builds are gone.
    Meanwhile,
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
            Mended::Restored(_) | Mended::StandIn | Mended::Removed | Mended::Meanwhile => true,
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
        problems.append(&mut strays::strays(store, &self.files)?);
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

/// What is still so when it is looked at again, with the builds it is of.
fn confirmed(store: &Store, found: Vec<Problem>) -> Result<Vec<Problem>> {
    let mut reader = FileReader::new(store.directory(), &|_| {});
    let mut confirmed = Vec::new();
    for problem in found {
        let Some(file) = &problem.file else {
            confirmed.push(problem);
            continue;
        };
        if !store.read(|tx| tracked::is_named(tx, file))? {
            // Removed meanwhile.
            continue;
        }
        // An upload may have brought the right bytes.
        let Some(mut problem) = reader.look_at(file) else {
            continue;
        };
        (problem.named_by, problem.builds) =
            store.read(|tx| tracked::named_by(tx, file, NAMED_MAX))?;
        confirmed.push(problem);
    }
    Ok(confirmed)
}
