//! Which artifacts were found to be what they are named for, a moment ago. What is sent as a whole
//! is checked while it is sent; a part is sent only of a file that was checked as a whole. Knows
//! files and digests; knows nothing of builds.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use builder_store::{Check, Damage, Sha256};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::error::{Error, Result};

/// After this long a file is compared again: what a disk forgets changes no time of the file. Each
/// time would be half as fast as nginx on two cores (`scripts/bench download`).
const REMEMBERED_TIME: Duration = Duration::from_secs(10 * 60);
/// Files that are remembered, some 200 bytes each.
const REMEMBERED_MAX: usize = 10_000;
/// Files that are checked before an answer at the same time: each takes a core.
const CHECKS_CONCURRENT_MAX: usize = 2;
/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// A file of up to this many bytes is checked before it is sent, so that a damaged one gets an
/// answer that says so; the transfer of a larger one is broken off.
const SMALL_BYTES: u64 = 64 * 1024;

/// A file as it was when it was opened: whoever writes to it or replaces it changes that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(file: &File) -> io::Result<State> {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata()?;
        Ok(State {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Found {
    state: State,
    at: Instant,
    is_intact: bool,
}

/// What was found of artifacts.
#[derive(Debug)]
pub struct Intact {
    found: Mutex<HashMap<Sha256, Found>>,
    damage: Damage,
    places: Semaphore,
}

impl Intact {
    /// Nothing is known yet; what is found damaged is counted in `damage`.
    pub fn new(damage: Damage) -> Intact {
        Intact {
            found: Mutex::default(),
            damage,
            places: Semaphore::new(CHECKS_CONCURRENT_MAX),
        }
    }

    fn found(&self) -> MutexGuard<'_, HashMap<Sha256, Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, sha256: Sha256, state: State) -> Option<bool> {
        let found = *self.found().get(&sha256)?;
        let holds = found.state == state && found.at.elapsed() < REMEMBERED_TIME;
        holds.then_some(found.is_intact)
    }

    fn note(&self, sha256: Sha256, state: State, is_intact: bool) {
        if !is_intact {
            self.damage.found();
        }
        let mut all = self.found();
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        let at = Instant::now();
        let found = Found {
            state,
            at,
            is_intact,
        };
        all.insert(sha256, found);
    }
}

/// What is still to be checked of an artifact that is sent as a whole; see [`Checking::finish`].
#[derive(Debug)]
pub struct Checking {
    check: Check,
    intact: Arc<Intact>,
    sha256: Sha256,
    state: State,
}

impl Checking {
    /// The next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.check.update(bytes);
    }

    /// After the last byte was read, and before it is sent.
    pub fn finish(self) -> io::Result<()> {
        let checked = self.check.finish();
        self.intact.note(self.sha256, self.state, checked.is_ok());
        checked
    }
}

/// How much of an artifact is going to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    Head,
    /// A part, or something made of it.
    Part,
    /// From the first byte to the last.
    Whole,
}

/// What is to be done while an artifact is sent: nothing, if it was checked lately or just now. A
/// damaged one is refused.
pub async fn before(
    app: &App,
    file: File,
    sha256: Sha256,
    wanted: Wanted,
) -> Result<(File, Option<Checking>)> {
    let intact = app.intact().clone();
    let state = State::of(&file).map_err(Error::internal)?;
    let known = |intact: &Intact| match intact.known(sha256, state) {
        Some(false) => Err(Error::damaged(format!("artifact {sha256} is damaged"))),
        known => Ok(known.is_some()),
    };
    if wanted == Wanted::Head || known(&intact)? {
        return Ok((file, None));
    }
    let checking = Checking {
        check: Check::new(sha256),
        intact: intact.clone(),
        sha256,
        state,
    };
    if wanted == Wanted::Whole && state.size > SMALL_BYTES {
        return Ok((file, Some(checking)));
    }
    // OK because the semaphore is never closed.
    let _place = intact.places.acquire().await.map_err(Error::internal)?;
    // Somebody else may have checked it meanwhile.
    if known(&intact)? {
        return Ok((file, None));
    }
    let file = app.blocking(move |_| check_all(file, checking)).await?;
    Ok((file.map_err(Error::damaged)?, None))
}

fn check_all(mut file: File, mut checking: Checking) -> io::Result<File> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => checking.update(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    checking.finish()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
