//! Comparisons of artifacts: each made once, on a thread of its own, and kept by what was compared.
//!
//! Whoever asks for one that is under way waits for it, holding nothing else meanwhile. A comparison holds both files in
//! memory, so few are made at the same time, and when too many wait, of all clients or of one, the next is not begun.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use artifact_diff::{
    Detail, GroupDiff, Hints, Limits as DiffLimits, Listed, Presence, Report, SectionDiff,
};
use builder_exec::Timestamp;
use builder_store::derived::{self, Kind};
use builder_store::{Sha256, Store};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::app::App;
use crate::config::Limits;
use crate::error::{Result, with_causes};
use crate::metrics::{Place, Queue};
use crate::places::{Held, Places, Taken, Who};

/// A comparison of two artifacts; its key is made of both.
const FILE_DIFF: Kind = Kind {
    name: "file-diff",
    version: artifact_diff::VERSION,
};

/// Comparisons that are remembered: some 100 KiB each at most.
const REMEMBERED_MAX: usize = 32;
/// Comparisons that are kept in the store: a few KiB each, packed.
const KEPT_MAX: u32 = 2000;
/// Bytes of a kept comparison once unpacked.
const REPORT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How well kept comparisons are packed.
const PACK_LEVEL: i32 = 3;

/// Two artifacts to be compared.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The left artifact.
    pub left: Sha256,
    /// The right artifact.
    pub right: Sha256,
    /// The size of the larger one.
    pub bytes: u64,
    /// What is known of the two builds.
    pub hints: Hints,
}

/// How a comparison ended: with a report, or with a sentence that says why there is none.
pub type Outcome = std::result::Result<Arc<Report>, String>;

/// What is told of a comparison that broke off.
const FAILED: &str = "the comparison failed; the server's log says why";

/// Whether a comparison was there in time.
#[derive(Debug, Clone)]
pub enum Asked {
    /// It is made.
    Done(Outcome),
    /// It is under way.
    Pending,
    /// It was not begun: too many others wait already.
    Busy,
}

impl Asked {
    /// The comparison, if there is one.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Asked::Done(Ok(report)) => Some(report),
            _ => None,
        }
    }

    /// Why there is none, and will be none, in a sentence.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Asked::Done(Err(why)) => Some(why),
            _ => None,
        }
    }

    /// Why there is none yet, in a sentence.
    pub fn not_yet(&self) -> Option<&'static str> {
        match self {
            Asked::Done(_) => None,
            Asked::Pending => Some("the comparison is still under way"),
            Asked::Busy => Some("the comparison was not begun, since too many others wait"),
        }
    }
}

/// Comparisons that were made, and those under way.
#[derive(Debug)]
pub struct FileDiffs {
    places: Semaphore,
    places_max: usize,
    /// Those that are made or wait for that.
    begun: Places,
    /// Requests that wait for one.
    waiters: Places,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Sha256, Arc<Report>>,
    under_way: HashMap<Sha256, watch::Receiver<Option<Outcome>>>,
    to_keep: Vec<(Sha256, Arc<Report>)>,
}

impl Pair {
    /// What a comparison is remembered by.
    fn key(&self) -> Sha256 {
        let mut text = format!("{} {}", self.left, self.right);
        for (kind, left, right) in &self.hints.texts {
            text.push_str(&format!("\0{kind:?}\0{left}\0{right}"));
        }
        text.push_str(&format!(
            "\0{:?} {:?}",
            self.hints.left_time, self.hints.right_time
        ));
        Sha256::of(text.as_bytes())
    }
}

impl FileDiffs {
    /// Remembers nothing yet.
    pub fn new(limits: &Limits) -> FileDiffs {
        FileDiffs {
            places: Semaphore::new(limits.file_diffs_concurrent_max),
            places_max: limits.file_diffs_concurrent_max,
            begun: Places::new(Place::Comparison, limits.file_diffs()),
            waiters: Places::new(Place::Comparison, limits.file_diff_waiters()),
            state: Mutex::default(),
        }
    }

    /// How many are being made, and how many wait.
    pub fn queue(&self) -> Queue {
        let under_way = self.state().under_way.len();
        let taken = self
            .places_max
            .saturating_sub(self.places.available_permits());
        Queue {
            taken,
            waiting: under_way.saturating_sub(taken),
        }
    }

    /// How many requests wait for one.
    pub fn waiters(&self) -> Queue {
        self.waiters.queue()
    }

    /// Whether comparisons were made that are not kept yet.
    pub fn has_more_to_keep(&self) -> bool {
        !self.state().to_keep.is_empty()
    }

    /// Keeps the comparisons that were made. They are made again one day if that fails.
    pub fn keep(&self, store: &Store) {
        let to_keep = std::mem::take(&mut self.state().to_keep);
        for (key, report) in to_keep {
            keep(store, key, &report);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, key: Sha256, report: Arc<Report>) {
        if self.known.len() >= REMEMBERED_MAX {
            // What is asked for often is soon back, from the store.
            self.known.clear();
        }
        self.known.insert(key, report);
    }
}

/// The comparisons of these pairs, as far as they are made within `patience`; they go on when that is over. The place of
/// the request is given back while they are waited for.
pub async fn ask(
    app: &App,
    place: Option<&Held>,
    pairs: &[Pair],
    patience: Duration,
) -> Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for pair in pairs {
        asked.push(at_hand(app, pair).await.map(Asked::Done));
    }
    if asked.iter().any(Option::is_none) {
        let who = place.and_then(Held::who);
        let until = Instant::now() + patience;
        let waiting = async {
            for (asked, pair) in asked.iter_mut().zip(pairs) {
                if asked.is_none() {
                    *asked = Some(wait(app, who.clone(), pair, until).await);
                }
            }
        };
        match place {
            Some(place) => place.without(app, waiting).await?,
            None => waiting.await,
        }
    }
    Ok(asked.into_iter().flatten().collect())
}

/// What is known without a comparison: it was made before, or is refused.
async fn at_hand(app: &App, pair: &Pair) -> Option<Outcome> {
    let bytes_max = app.limits().file_diff_bytes_max;
    if pair.bytes > bytes_max {
        return Some(Err(format!(
            "one of the files has {} bytes, and only files of up to {bytes_max} are compared",
            pair.bytes
        )));
    }
    let key = pair.key();
    let known = app.file_diffs().state().known.get(&key).cloned();
    if known.is_some() {
        return known.map(Ok);
    }
    let kept = app.blocking(move |app| kept(app, key)).await.ok()??;
    let kept = Arc::new(kept);
    app.file_diffs().state().remember(key, kept.clone());
    Some(Ok(kept))
}

async fn wait(app: &App, who: Option<Who>, pair: &Pair, until: Instant) -> Asked {
    let key = pair.key();
    let diffs = app.file_diffs();
    let under_way = diffs.state().under_way.get(&key).cloned();
    let mut outcome = match under_way {
        Some(outcome) => outcome,
        None => match diffs.begun.take(app.metrics(), who.clone()).await {
            Ok(place) => begin(app, key, pair.clone(), place),
            Err(_) => return Asked::Busy,
        },
    };
    let Ok(_place) = diffs.waiters.take(app.metrics(), who).await else {
        return Asked::Pending;
    };
    match timeout_at(until, outcome.wait_for(Option::is_some)).await {
        Ok(Ok(outcome)) => outcome.clone().map_or(Asked::Pending, Asked::Done),
        Ok(Err(_)) => Asked::Done(Err(FAILED.to_owned())),
        Err(_) => Asked::Pending,
    }
}

/// Begins a comparison, unless somebody else just did. A task of its own: a client that leaves does not stop it.
fn begin(app: &App, key: Sha256, pair: Pair, place: Taken) -> watch::Receiver<Option<Outcome>> {
    let mut state = app.file_diffs().state();
    if let Some(outcome) = state.under_way.get(&key) {
        return outcome.clone();
    }
    if let Some(report) = state.known.get(&key) {
        return watch::channel(Some(Ok(report.clone()))).1;
    }
    let (sender, outcome) = watch::channel(None);
    state.under_way.insert(key, outcome.clone());
    let app = app.clone();
    tokio::spawn(async move {
        let outcome = make(&app, key, pair).await;
        {
            let mut state = app.file_diffs().state();
            state.under_way.remove(&key);
            if let Ok(report) = &outcome {
                state.remember(key, report.clone());
            }
        }
        // Nobody may be waiting any more.
        let _: Option<_> = sender.send_replace(Some(outcome));
        drop(place);
    });
    outcome
}

async fn make(app: &App, key: Sha256, pair: Pair) -> Outcome {
    // OK because the semaphore is never closed.
    let _place = app.file_diffs().places.acquire().await;
    let made = app.blocking(move |app| compare(app, &pair).map(Arc::new));
    let outcome = made.await.unwrap_or_else(|_| Err(FAILED.to_owned()));
    if let Ok(report) = &outcome {
        app.file_diffs().state().to_keep.push((key, report.clone()));
        app.keep_soon();
    }
    outcome
}

fn compare(app: &App, pair: &Pair) -> std::result::Result<Report, String> {
    let bytes_max = app.limits().file_diff_bytes_max;
    let read = |sha256| {
        let unreadable = |error: &dyn std::error::Error| {
            warn!("{}", with_causes(error));
            format!("the file {sha256} cannot be read")
        };
        let content = app.store().artifacts().bytes(sha256, bytes_max);
        content.map_err(|error| unreadable(&error))
    };
    let (left, right) = (read(pair.left)?, read(pair.right)?);
    info!("comparing {} with {}", pair.left, pair.right);
    Ok(artifact_diff::compare(
        &left,
        &right,
        &pair.hints,
        &DiffLimits {
            held_bytes_max: bytes_max.saturating_mul(2),
            ..DiffLimits::default()
        },
    ))
}

/// What was kept of it, if it can still be read.
fn kept(app: &App, key: Sha256) -> Option<Report> {
    let value = app.store().read(|tx| derived::get(tx, FILE_DIFF, key));
    let packed = match value {
        Ok(value) => value?,
        Err(error) => {
            warn!("cannot look for a kept comparison: {}", with_causes(&error));
            return None;
        }
    };
    let json = zstd::bulk::decompress(&packed, REPORT_BYTES_MAX).ok()?;
    serde_json::from_slice(&json).ok()
}

fn keep(store: &Store, key: Sha256, report: &Report) {
    let packed = serde_json::to_vec(report)
        .map_err(|error| error.to_string())
        .and_then(|json| {
            zstd::bulk::compress(&json, PACK_LEVEL).map_err(|error| error.to_string())
        });
    let outcome = packed.and_then(|packed| {
        let written = store.write(|tx| {
            derived::set(tx, FILE_DIFF, key, &packed)?;
            derived::trim(tx, FILE_DIFF, key, KEPT_MAX)
        });
        written.map_err(|error| with_causes(&error))
    });
    if let Err(error) = outcome {
        warn!("cannot keep a comparison: {error}");
    }
}

/// A comparison of something inside two files.
#[derive(Debug)]
pub struct Part<'r> {
    /// Where it is: the members on the way to it; empty for the files themselves.
    pub path: String,
    /// The comparison.
    pub report: &'r Report,
}

/// A comparison and those inside it, from the outside in.
pub fn parts(report: &Report) -> Vec<Part<'_>> {
    fn collect<'r>(path: &str, report: &'r Report, parts: &mut Vec<Part<'r>>) {
        parts.push(Part {
            path: path.to_owned(),
            report,
        });
        let below = |member: &str| match path {
            "" => member.to_owned(),
            path => format!("{path} › {member}"),
        };
        match &report.detail {
            Detail::Packed(packed) => collect(&below("unpacked"), &packed.content, parts),
            Detail::Archive(archive) => {
                for member in &archive.members.items {
                    if let Some(report) = &member.report {
                        collect(&below(&member.path), report, parts);
                    }
                }
            }
            _ => {}
        }
    }
    let mut parts = Vec::new();
    collect("", report, &mut parts);
    parts
}

/// How many of the sections are not the same.
pub fn differing(sections: &Listed<SectionDiff>) -> usize {
    let sections = sections.items.iter();
    sections
        .filter(|section| section.presence != Presence::Same)
        .count()
}

/// What became of the symbols of a module, in words.
pub fn counts(group: &GroupDiff) -> String {
    let counts = [
        (group.added, "added"),
        (group.removed, "removed"),
        (group.grown, "grown"),
        (group.shrunk, "shrunk"),
        (group.changed, "changed"),
    ];
    let words = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = words
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    words.join(", ")
}

/// In words: `only left`.
pub fn in_words(presence: &Presence) -> &'static str {
    match presence {
        Presence::Same => "the same",
        Presence::Differs => "differs",
        Presence::OnlyLeft => "only left",
        Presence::OnlyRight => "only right",
    }
}

/// The two times of a difference that is counted in seconds since 1970, as people read them.
pub fn times_in_words(kind: &artifact_diff::Kind, left: &str, right: &str) -> Option<String> {
    // Shorter numbers are something else: a year, a day of the month.
    let time = |text: &str| match text.len() {
        9..=11 => Timestamp::from_unix(text.parse().ok()?, 0),
        _ => None,
    };
    match kind {
        artifact_diff::Kind::Timestamp => Some(format!("({}, {})", time(left)?, time(right)?)),
        _ => None,
    }
}

/// The class of a row: its colour.
pub fn class(presence: &Presence) -> &'static str {
    match presence {
        Presence::Same => "same",
        Presence::Differs => "differs",
        Presence::OnlyLeft => "only_left",
        Presence::OnlyRight => "only_right",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_counted_in_seconds_are_told_as_people_read_them() {
        let timestamp = artifact_diff::Kind::Timestamp;
        assert_eq!(
            times_in_words(&timestamp, "1794198636", "1794242425").unwrap(),
            "(2026-11-09 04:30:36Z, 2026-11-09 16:40:25Z)"
        );
        for (left, right) in [("2025", "2026"), ("1794198636", "Mon Nov 9"), ("", "")] {
            assert_eq!(times_in_words(&timestamp, left, right), None);
        }
        let path = artifact_diff::Kind::BuildPath;
        assert_eq!(times_in_words(&path, "1794198636", "1794242425"), None);
    }
}
