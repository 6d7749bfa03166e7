//! How many inputs differ between two builds, in a line. Comparing two switches takes some
//! milliseconds, so a page shows what is known and asks for the rest, which is computed after its
//! answer and kept by the digests of the two inputs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use builder_store::builds::{self, Artifact, Build};
use builder_store::derived::{self, Kind};
use builder_store::past::{self, Standing};
use builder_store::{Sha256, Store, Tx};
use opam_file::SwitchExport;
use serde::{Deserialize, Serialize};
use tracing::warn;
use uuid::Uuid;

use crate::error::with_causes;
use crate::{inputs, show};

const INPUT_CHANGES: Kind = Kind {
    name: "input-changes",
    // The first kept what could not be read for the moment, too.
    version: 2,
};
/// For how long it is not tried again to compare inputs that could not be read: a file may be mended
/// meanwhile, or a limit raised.
const FAILED_TIME: Duration = Duration::from_secs(60);
/// Pairs that wait to be compared. Those that find no place are asked for again with the next view.
const PENDING_MAX: usize = 64;
/// Comparisons that are kept in one transaction.
const KEPT_AT_ONCE: usize = 32;
/// Pairs that are remembered.
const KNOWN_MAX: usize = 10_000;

/// How many inputs differ between two builds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputChanges {
    /// Opam packages added, removed, of another version or with another opam file, and duniverse
    /// directories likewise.
    pub opam: usize,
    /// Environment variables.
    pub variables: usize,
    /// Packages of the system.
    pub system: usize,
}

/// What a page can say of two builds' inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// They are the same.
    Same,
    /// This many differ.
    Changes(InputChanges),
    /// That cannot be told: an input was not recorded.
    Untold,
    /// That cannot be told for now: an input cannot be read. The log says why.
    Unreadable,
    /// Not yet known; it is being computed.
    Pending,
}

impl Known {
    /// In a line: `3 opam packages, 1 variable`.
    pub fn in_words(&self) -> String {
        match self {
            Known::Same => "the input is the same".to_owned(),
            Known::Untold => "what changed in the input was not recorded".to_owned(),
            Known::Unreadable => "the input changed in what cannot be read".to_owned(),
            Known::Pending => "the input changed".to_owned(),
            Known::Changes(changes) => {
                let counts = [
                    (changes.opam, "opam package"),
                    (changes.variables, "variable"),
                    (changes.system, "system package"),
                ];
                let counts = counts.into_iter().filter(|(count, _)| *count > 0);
                let words: Vec<String> = counts
                    .map(|(count, noun)| show::counted(count, noun))
                    .collect();
                if words.is_empty() {
                    "the input changed in what is only shown to people".to_owned()
                } else {
                    format!("{} changed", words.join(", "))
                }
            }
        }
    }
}

/// Two builds to compare.
#[derive(Debug)]
struct Pair {
    key: Sha256,
    left: i64,
    right: i64,
}

/// Remembers what was compared.
#[derive(Debug, Default)]
pub struct Comparisons {
    known: Mutex<HashMap<Sha256, Option<InputChanges>>>,
    /// When it failed, of those that could not be compared: never kept beyond this process.
    failed: Mutex<HashMap<Sha256, Instant>>,
    pending: Mutex<Vec<Pair>>,
    /// What pages say of switches.
    switches: Mutex<HashMap<Sha256, Switch>>,
}

/// What a page says of a switch.
#[derive(Debug, Clone, Copy)]
struct Switch {
    /// How many opam packages it has.
    installed: usize,
    duniverse: bool,
}

impl Comparisons {
    /// What is known of the change from one build's input to another's. What is not known is
    /// computed by the next [`Comparisons::compute`].
    pub fn of(&self, tx: &mut Tx<'_>, left: &Build, right: &Build) -> builder_store::Result<Known> {
        let (Some(from), Some(to)) = (left.input_id, right.input_id) else {
            return Ok(Known::Untold);
        };
        if from == to {
            return Ok(Known::Same);
        }
        let key = Sha256::of(&[*from.as_bytes(), *to.as_bytes()].concat());
        if let Some(known) = lock(&self.known).get(&key) {
            return Ok(known.map_or(Known::Untold, Known::Changes));
        }
        let kept = derived::get(tx, INPUT_CHANGES, key)?;
        if let Some(known) = kept.and_then(|value| serde_json::from_slice(&value).ok()) {
            self.remember(key, known);
            return Ok(known.map_or(Known::Untold, Known::Changes));
        }
        if self.failed_lately(key) {
            return Ok(Known::Unreadable);
        }
        let mut pending = lock(&self.pending);
        if pending.len() < PENDING_MAX && pending.iter().all(|pair| pair.key != key) {
            pending.push(Pair {
                key,
                left: left.id,
                right: right.id,
            });
        }
        Ok(Known::Pending)
    }

    /// Asks for what the page of a job will say of a build that was just kept: what changed since the
    /// output before, and where the platform ceased to be reproducible.
    pub fn ask_for_upload(&self, tx: &mut Tx<'_>, uuid: Uuid) -> builder_store::Result<()> {
        let Some(build) = builds::by_uuid(tx, uuid)? else {
            return Ok(());
        };
        if let Some(before) = builds::previous_different_output(tx, &build)? {
            self.of(tx, &before, &build)?;
        }
        if let Standing::NotSince {
            first,
            before: Some(before),
            ..
        } = past::standing(tx, build.job_id, &build.platform)?
        {
            self.of(tx, &before, &first)?;
        }
        Ok(())
    }

    /// Whether pages have asked for what is not known.
    pub fn has_pending(&self) -> bool {
        self.pending() > 0
    }

    /// How many pairs pages have asked for that are not compared yet.
    pub fn pending(&self) -> usize {
        lock(&self.pending).len()
    }

    /// Compares what pages have asked for, one pair after the other, and keeps it. `bytes_max` is
    /// for each input.
    pub fn compute(&self, store: &Store, bytes_max: u64) {
        let pairs = std::mem::take(&mut *lock(&self.pending));
        let mut to_keep = Vec::new();
        for pair in pairs {
            let changes = match pair.compare(store, bytes_max) {
                Ok(changes) => changes,
                Err(why) => {
                    warn!(
                        "cannot tell what changed in the input between the builds in rows {} and {}: {why}",
                        pair.left, pair.right
                    );
                    self.fail(pair.key);
                    continue;
                }
            };
            self.remember(pair.key, changes);
            to_keep.extend(
                serde_json::to_vec(&changes)
                    .ok()
                    .map(|value| (pair.key, value)),
            );
            // Each commit waits for the disk.
            if to_keep.len() == KEPT_AT_ONCE {
                keep(store, &to_keep);
                to_keep.clear();
            }
        }
        keep(store, &to_keep);
    }

    fn remember(&self, key: Sha256, changes: Option<InputChanges>) {
        let mut known = lock(&self.known);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, changes);
    }

    fn fail(&self, key: Sha256) {
        let mut failed = lock(&self.failed);
        failed.retain(|_, at| at.elapsed() < FAILED_TIME);
        if failed.len() < KNOWN_MAX {
            failed.insert(key, Instant::now());
        }
    }

    fn failed_lately(&self, key: Sha256) -> bool {
        let failed = lock(&self.failed);
        let at = failed.get(&key);
        at.is_some_and(|at| at.elapsed() < FAILED_TIME)
    }
}

impl Pair {
    /// What differs; none: an input was not recorded. Why that cannot be told, in words for the log:
    /// another time it may be.
    fn compare(&self, store: &Store, bytes_max: u64) -> Result<Option<InputChanges>, String> {
        let read = store.read(|tx| {
            Ok((
                builds::artifacts(tx, self.left)?,
                builds::artifacts(tx, self.right)?,
            ))
        });
        let (left, right) = read.map_err(|error| with_causes(&error))?;
        // What has an input has files.
        if left.is_empty() || right.is_empty() {
            return Err("one of them was removed meanwhile".to_owned());
        }
        compare(store, &left, &right, bytes_max)
    }
}

fn keep(store: &Store, values: &[(Sha256, Vec<u8>)]) {
    if values.is_empty() {
        return;
    }
    let kept = store.write(|tx| {
        values
            .iter()
            .try_for_each(|(key, value)| derived::set(tx, INPUT_CHANGES, *key, value))
    });
    if let Err(error) = kept {
        warn!("cannot keep what was compared: {}", with_causes(&error));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that tells what went into a build, from among its artifacts; none where it was not recorded,
/// or is larger than is read.
pub fn file(app: &crate::app::App, artifacts: &[Artifact], path: &str) -> Option<Vec<u8>> {
    read(
        app.store(),
        artifacts,
        path,
        app.limits().opam_switch_bytes_max,
    )
}

/// How many inputs there are of each kind among a build's artifacts, of which `environment` was read
/// already; none where they were not all recorded.
pub fn counted(
    app: &crate::app::App,
    artifacts: &[Artifact],
    environment: Option<&[u8]>,
) -> Option<InputChanges> {
    let lines = |bytes: &[u8]| {
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .count()
    };
    Some(InputChanges {
        opam: switch(app, artifacts)?.installed,
        variables: lines(environment?),
        system: lines(&file(app, artifacts, "system-packages")?),
    })
}

/// How many bytes are read of these files among a build's artifacts: not those that are larger than is
/// read, and not a switch of which is known what pages say of it.
pub fn bytes_to_read(app: &crate::app::App, artifacts: &[Artifact], paths: &[&str]) -> u64 {
    let bytes_max = app.limits().opam_switch_bytes_max;
    let read = artifacts
        .iter()
        .filter(|artifact| paths.contains(&artifact.path.as_str()) && artifact.size <= bytes_max);
    let is_known = |artifact: &Artifact| {
        artifact.path == "opam-switch"
            && lock(&app.comparisons().switches).contains_key(&artifact.sha256)
    };
    let read = read.filter(|artifact| !is_known(artifact));
    read.fold(0, |sum, artifact| sum.saturating_add(artifact.size))
}

/// Whether libraries of a build are built from sources beside its own, as far as its switch was recorded
/// and can be read.
pub fn has_duniverse(app: &crate::app::App, artifacts: &[Artifact]) -> bool {
    switch(app, artifacts).is_some_and(|switch| switch.duniverse)
}

/// What is said of the switch among a build's artifacts. Each is read once.
fn switch(app: &crate::app::App, artifacts: &[Artifact]) -> Option<Switch> {
    let sha256 = artifacts
        .iter()
        .find(|artifact| artifact.path == "opam-switch")?
        .sha256;
    let switches = &app.comparisons().switches;
    if let Some(known) = lock(switches).get(&sha256) {
        return Some(*known);
    }
    let export = SwitchExport::parse(&file(app, artifacts, "opam-switch")?).ok()?;
    let switch = Switch {
        installed: export.installed.len(),
        duniverse: export.has_duniverse(),
    };
    let mut switches = lock(switches);
    if switches.len() >= KNOWN_MAX {
        switches.clear();
    }
    switches.insert(sha256, switch);
    Some(switch)
}

fn read(store: &Store, artifacts: &[Artifact], path: &str, bytes_max: u64) -> Option<Vec<u8>> {
    try_read(store, artifacts, path, bytes_max).ok()?
}

/// A file from among a build's artifacts; none: it was not recorded. Or why it cannot be read.
fn try_read(
    store: &Store,
    artifacts: &[Artifact],
    path: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, String> {
    let Some(artifact) = artifacts.iter().find(|artifact| artifact.path == path) else {
        return Ok(None);
    };
    if artifact.size > bytes_max {
        let size = artifact.size;
        return Err(format!(
            "{path} has {size} bytes, and at most {bytes_max} are read"
        ));
    }
    let bytes = store.artifacts().bytes(artifact.sha256, bytes_max);
    bytes.map(Some).map_err(|error| with_causes(&error))
}

fn compare(
    store: &Store,
    left: &[Artifact],
    right: &[Artifact],
    bytes_max: u64,
) -> Result<Option<InputChanges>, String> {
    type Both = (Vec<u8>, Vec<u8>);
    let both = |path| -> Result<Option<Both>, String> {
        let left = try_read(store, left, path, bytes_max)?;
        Ok(left.zip(try_read(store, right, path, bytes_max)?))
    };
    let parse = |bytes: &[u8]| {
        SwitchExport::parse(bytes).map_err(|error| format!("opam-switch is none: {error}"))
    };
    let (Some((from, to)), Some(environments), Some(systems)) = (
        both("opam-switch")?,
        both("build-environment")?,
        both("system-packages")?,
    ) else {
        return Ok(None);
    };
    let opam = parse(&from)?.compare(&parse(&to)?);
    let duniverse = opam.duniverse_diff.as_ref().map_or(0, |diff| {
        diff.left.len() + diff.right.len() + diff.detailed_diff.len()
    });
    let variables = inputs::environment(&environments.0, &environments.1);
    let system = inputs::system_packages(&systems.0, &systems.1);
    let count = |changes: &inputs::Changes| {
        changes.removed.len() + changes.added.len() + changes.changed.len()
    };
    Ok(Some(InputChanges {
        opam: opam.only_in_left.len()
            + opam.only_in_right.len()
            + opam.version_diff.len()
            + opam.opam_diff.len()
            + duniverse,
        variables: count(&variables),
        system: count(&system),
    }))
}
