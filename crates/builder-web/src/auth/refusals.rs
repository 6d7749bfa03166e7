//! What was refused, on its way into the audit record. Anybody can be refused as often as the
//! network carries: so a refusal that repeats is counted, each who is refused has some entries in a
//! time and the rest is counted too, and all is written by one thread at most once a second. A
//! flood takes neither the writer from uploads nor room in the record from what was refused before.
//!
//! A process that is killed takes the counts of some minutes with it; the first of each kind is on
//! record a moment after it was answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use builder_exec::Timestamp;
use builder_store::record::audit::{self, Actor, Event, Outcome};
use tracing::{error, warn};

use crate::app::App;
use crate::error::{Result, with_causes};

/// How long repetitions are counted before there is an entry of them.
const COUNTING_TIME: Duration = Duration::from_secs(10 * 60);
/// How often what is new is written.
const WRITING_PERIOD: Duration = Duration::from_secs(1);
/// Entries that one address gets in that time: enough to see what it tried.
const ADDRESS_ENTRIES_MAX: usize = 20;
/// Entries that all addresses get together: some 30,000 a day at most, so that the record goes back
/// for days under a flood from everywhere.
const ADDRESSES_ENTRIES_MAX: usize = 200;
/// Entries that one user gets, who is known: a builder that may not upload to its jobs any more.
const USER_ENTRIES_MAX: usize = 100;
/// After how many new entries the record is looked through for those that are too many.
const PRUNING_PERIOD: usize = 1_000;
/// Entries that wait to be written while nobody can write; more are lost, and the log says so.
const WAITING_MAX: usize = 5_000;

/// Who was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A user who has logged in, by name.
    User(String),
    /// Somebody at an address, who may claim any name.
    Address(Option<IpAddr>),
}

/// A refusal.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Who was refused.
    pub source: Source,
    /// As whom and from where.
    pub actor: Actor,
    /// What.
    pub action: &'static str,
    /// To do it to what.
    pub subject: String,
    /// Why.
    pub why: String,
}

/// Refusals that count as the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    source: Source,
    who: String,
    action: &'static str,
    subject: String,
    why: String,
}

/// Those since there was an entry of it.
#[derive(Debug)]
struct Counted {
    begin: Instant,
    times: u64,
    last: Refusal,
    at: Timestamp,
}

#[derive(Debug)]
struct Entry {
    refusal: Refusal,
    times: u64,
    at: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    kinds: HashMap<Kind, Counted>,
    /// Of those who have had their entries; none: of all addresses beyond those with entries.
    left_out: HashMap<Option<Source>, Counted>,
    waiting: Vec<Entry>,
    lost: u64,
    /// A task writes now and then, for as long as there is something here.
    writing: bool,
    /// Since the record was looked through; none: not by this process.
    since_pruning: Option<usize>,
}

/// Refusals that are not on record yet.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<State>);

impl Refusals {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what a client was refused. Waits for nothing.
pub fn note(app: &App, refusal: Refusal) {
    let (now, at) = (Instant::now(), app.now());
    let mut state = app.refusals().state();
    state.note(refusal, now, at);
    if !std::mem::replace(&mut state.writing, true) {
        tokio::spawn(write_for_as_long_as_there_are_some(app.clone()));
    }
}

async fn write_for_as_long_as_there_are_some(app: App) {
    let turn = || {
        let app = app.clone();
        async move { app.blocking(|app| write(app, Instant::now())).await }
    };
    take_turns(app.refusals(), turn, WRITING_PERIOD).await;
}

/// Takes turns, with a pause after each, until nothing is left to write. One that panics is not the
/// last: what comes later would never be on record.
async fn take_turns<F: Future<Output = Result<()>>>(
    refusals: &Refusals,
    turn: impl Fn() -> F,
    pause: Duration,
) {
    loop {
        if turn().await.is_err() {
            error!("some refusals are not on record");
        }
        if refusals.state().is_written() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Writes all that is known, counts too: the server stops.
pub fn finish(app: &App) {
    if let Some(later) = Instant::now().checked_add(COUNTING_TIME) {
        write(app, later);
    }
}

/// Writes what waits, and counts that are old enough.
fn write(app: &App, now: Instant) {
    let (waiting, lost, prune) = {
        let mut state = app.refusals().state();
        state.expire(now);
        if state.waiting.is_empty() {
            return;
        }
        let since = state.since_pruning.map(|since| since + state.waiting.len());
        let prune = since.is_none_or(|since| since >= PRUNING_PERIOD);
        state.since_pruning = if prune { Some(0) } else { since };
        let lost = std::mem::take(&mut state.lost);
        (std::mem::take(&mut state.waiting), lost, prune)
    };
    if lost > 0 {
        warn!("{lost} entries of refusals are lost: the record could not be written for too long");
    }
    let written = app.store().write(|tx| {
        for Entry { refusal, times, at } in &waiting {
            let event = Event {
                action: refusal.action,
                subject: &refusal.subject,
                outcome: Outcome::Refused,
                detail: &refusal.why,
            };
            audit::add_times(tx, &refusal.actor, &event, *times, at)?;
        }
        Ok(())
    });
    if let Err(error) = written {
        // What was refused stays refused, whether it is on record or not.
        warn!("refusals cannot be noted yet: {}", with_causes(&error));
        let mut state = app.refusals().state();
        for entry in waiting {
            state.wait(entry);
        }
        return;
    }
    if prune && let Err(error) = app.store().write(audit::prune_refusals) {
        warn!("old refusals cannot be dropped: {}", with_causes(&error));
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.left_out.is_empty() && self.waiting.is_empty()
    }

    /// Whether there is nothing left to write: then nobody does any more.
    fn is_written(&mut self) -> bool {
        self.writing = !self.is_empty();
        !self.writing
    }

    fn note(&mut self, mut refusal: Refusal, now: Instant, at: Timestamp) {
        // As much as is kept of them: they are from outside.
        for text in [
            &mut refusal.actor.who,
            &mut refusal.subject,
            &mut refusal.why,
        ] {
            text.truncate(audit::short(text).len());
        }
        let kind = Kind {
            source: refusal.source.clone(),
            who: refusal.actor.who.clone(),
            action: refusal.action,
            subject: refusal.subject.clone(),
            why: refusal.why.clone(),
        };
        let begin = now;
        let first = |last| Counted {
            begin,
            times: 0,
            last,
            at,
        };
        if !self.kinds.contains_key(&kind) {
            if let Some(beyond) = self.beyond(&refusal.source) {
                let source = beyond.then(|| refusal.source.clone());
                let counted = self
                    .left_out
                    .entry(source)
                    .or_insert_with(|| first(refusal.clone()));
                counted.again(refusal, at);
                return;
            }
            self.kinds.insert(kind, first(refusal.clone()));
            self.wait(Entry {
                refusal,
                times: 1,
                at,
            });
            return;
        }
        if let Some(counted) = self.kinds.get_mut(&kind) {
            counted.again(refusal, at);
        }
    }

    /// Whether one more entry is too much: `Some(true)` of this source, `Some(false)` of all.
    fn beyond(&self, source: &Source) -> Option<bool> {
        let of = |test: &dyn Fn(&Source) -> bool| {
            let kinds = self.kinds.keys();
            kinds.filter(|kind| test(&kind.source)).count()
        };
        let own = of(&|other| other == source);
        match source {
            Source::User(_) => (own >= USER_ENTRIES_MAX).then_some(true),
            Source::Address(_) if own >= ADDRESS_ENTRIES_MAX => Some(true),
            Source::Address(_) => {
                let all = of(&|other| matches!(other, Source::Address(_)));
                (all >= ADDRESSES_ENTRIES_MAX).then_some(false)
            }
        }
    }

    fn wait(&mut self, entry: Entry) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(entry);
        } else {
            self.lost += 1;
        }
    }

    /// Makes entries of counts that began long enough ago.
    fn expire(&mut self, now: Instant) {
        let is_old =
            |counted: &Counted| now.saturating_duration_since(counted.begin) >= COUNTING_TIME;
        let kinds = self.kinds.extract_if(|_, counted| is_old(counted));
        let repeated: Vec<Counted> = kinds
            .map(|(_, counted)| counted)
            .filter(|counted| counted.times > 0)
            .collect();
        let left_out = self.left_out.extract_if(|_, counted| is_old(counted));
        let left_out: Vec<_> = left_out.collect();
        for counted in repeated {
            self.wait(counted.entry());
        }
        for (source, mut counted) in left_out {
            let Refusal {
                actor,
                subject,
                why,
                ..
            } = &mut counted.last;
            actor.who = match &source {
                Some(Source::User(name)) => name.clone(),
                Some(Source::Address(_)) | None => String::new(),
            };
            if source.is_none() {
                actor.address = "various".to_owned();
            }
            subject.clear();
            *why = "as those before: too many for an entry each".to_owned();
            self.wait(counted.entry());
        }
    }
}

impl Counted {
    fn again(&mut self, refusal: Refusal, at: Timestamp) {
        self.times += 1;
        self.last = refusal;
        self.at = at;
    }

    fn entry(self) -> Entry {
        Entry {
            refusal: self.last,
            times: self.times,
            at: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_civil(2026, 5, 12, 4, 13, 33).unwrap()
    }

    fn from(address: [u8; 4], who: &str) -> Refusal {
        let address = IpAddr::from(address);
        Refusal {
            source: Source::Address(Some(address)),
            actor: Actor {
                who: who.to_owned(),
                address: address.to_string(),
                request: String::new(),
            },
            action: "log-in",
            subject: String::new(),
            why: "wrong".to_owned(),
        }
    }

    fn total(entries: &[Entry]) -> u64 {
        entries.iter().map(|entry| entry.times).sum()
    }

    #[test]
    fn what_repeats_is_one_entry_at_once_and_one_with_the_count_later() {
        let mut state = State::default();
        let begin = Instant::now();
        for _ in 0..1000 {
            state.note(from([192, 0, 2, 1], "x"), begin, at());
        }
        assert_eq!(state.waiting.len(), 1);
        state.expire(begin + COUNTING_TIME / 2);
        assert_eq!(state.waiting.len(), 1, "it is still counted");
        state.expire(begin + COUNTING_TIME);
        let times: Vec<u64> = state.waiting.iter().map(|entry| entry.times).collect();
        assert_eq!(times, [1, 999]);
        state.waiting.clear();
        assert!(state.is_empty());
    }

    #[test]
    fn neither_one_address_nor_all_of_them_fill_the_record_and_all_are_counted() {
        let mut state = State::default();
        let begin = Instant::now();
        for name in 0..500 {
            state.note(from([192, 0, 2, 1], &name.to_string()), begin, at());
        }
        assert_eq!(state.waiting.len(), ADDRESS_ENTRIES_MAX);
        for high in 0..100 {
            for low in 0..100 {
                state.note(from([198, 51, high, low], "x"), begin, at());
            }
        }
        assert_eq!(state.waiting.len(), ADDRESSES_ENTRIES_MAX);
        assert!(state.kinds.len() + state.left_out.len() <= ADDRESSES_ENTRIES_MAX + 2);
        // A user is not among those.
        let user = Refusal {
            source: Source::User("carol".to_owned()),
            ..from([192, 0, 2, 1], "carol")
        };
        state.note(user, begin, at());
        assert_eq!(state.waiting.len(), ADDRESSES_ENTRIES_MAX + 1);
        state.expire(begin + COUNTING_TIME);
        assert_eq!(state.waiting.len(), ADDRESSES_ENTRIES_MAX + 3);
        assert_eq!(total(&state.waiting), 500 + 100 * 100 + 1);
        let all = state
            .waiting
            .iter()
            .find(|entry| entry.refusal.actor.address == "various");
        assert_eq!(all.unwrap().times, 100 * 100 - (200 - 20));
    }

    #[tokio::test]
    async fn after_a_turn_that_panics_the_next_ones_write() {
        let refusals = Refusals::default();
        {
            let mut state = refusals.state();
            state.writing = true;
            state.note(from([192, 0, 2, 1], "x"), Instant::now(), at());
        }
        let turns = AtomicUsize::new(0);
        let turn = || {
            let first = turns.fetch_add(1, Ordering::Relaxed) == 0;
            if !first {
                let mut state = refusals.state();
                state.kinds.clear();
                state.waiting.clear();
            }
            std::future::ready(match first {
                true => Err(crate::error::Error::internal("it panicked")),
                false => Ok(()),
            })
        };
        take_turns(&refusals, turn, Duration::from_millis(1)).await;
        assert_eq!(turns.into_inner(), 2);
        assert!(!refusals.state().writing, "who comes next begins anew");
    }

    #[test]
    fn what_cannot_be_written_is_bounded() {
        let mut state = State::default();
        for number in 0..2 * WAITING_MAX {
            state.wait(Entry {
                refusal: from([192, 0, 2, 1], &number.to_string()),
                times: 1,
                at: at(),
            });
        }
        assert_eq!(state.waiting.len(), WAITING_MAX);
        assert_eq!(state.lost, WAITING_MAX as u64);
    }
}
