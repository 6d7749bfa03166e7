//! What was refused, on its way into the audit record. Anybody can be refused as often as the
//! network carries: so a refusal that repeats is counted, each who is refused has some entries in a
//! time and the rest is counted too, and all is written by one thread at most once a second. A
//! flood takes neither the writer from uploads nor room in the record from what was refused before.
//!
//! A process that is killed takes the counts of some minutes with it; the first of each kind is on
//! record a moment after it was answered.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use builder_exec::Timestamp;
use builder_store::record::audit::{self, Actor, Event, Outcome};
use builder_store::users;
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
/// Entries of those who were not let in under the name of one user that there is, from wherever: whose
/// password is guessed is on record whatever strangers do meanwhile.
const NAME_ENTRIES_MAX: usize = 10;
/// Entries of all such names together.
const NAMES_ENTRIES_MAX: usize = 200;
/// Entries of a token that was good once: who has it still, or has found it.
const TOKEN_ENTRIES_MAX: usize = 10;
/// Entries of all such tokens together.
const TOKENS_ENTRIES_MAX: usize = 200;
/// Addresses that are told apart in the count of what has no entry of its own.
const ADDRESSES_COUNTED_MAX: usize = 1_000;
/// After how many new entries the record is looked through for those that are too many.
const PRUNING_PERIOD: usize = 1_000;
/// Entries that wait to be written while nobody can write; more are lost, and the log says so.
const WAITING_MAX: usize = 5_000;

/// Who was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A user who has logged in, by name.
    User(String),
    /// Who gave a token that is worth nothing any more, by its name.
    Token(String),
    /// Somebody at an address, who may claim any name.
    Address(Option<IpAddr>),
}

/// What shares entries, and a count of what has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Share {
    /// That of a source.
    Source(Source),
    /// That of whoever claims to be this user.
    Name(String),
    /// That of all addresses.
    Addresses,
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
    /// From where: some of them, if there are very many.
    addresses: HashSet<String>,
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
    /// Of those who have had their entries.
    left_out: HashMap<Share, Counted>,
    /// The names of users, as they were when something was written last.
    users: HashSet<String>,
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
    let mut users = None;
    let written = app.store().write(|tx| {
        users = Some(users::names_by_row(tx)?);
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
    if let Some(users) = users {
        app.refusals().state().users = users.into_values().collect();
    }
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
            addresses: HashSet::new(),
        };
        if !self.kinds.contains_key(&kind) {
            if let Some(share) = self.beyond(&refusal) {
                let counted = self
                    .left_out
                    .entry(share)
                    .or_insert_with(|| first(refusal.clone()));
                if counted.addresses.len() < ADDRESSES_COUNTED_MAX {
                    counted.addresses.insert(refusal.actor.address.clone());
                }
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

    /// Whose share is used up, if one more entry is too much.
    fn beyond(&self, refusal: &Refusal) -> Option<Share> {
        let count = |test: &dyn Fn(&Kind) -> bool| {
            let kinds = self.kinds.keys();
            kinds.filter(|kind| test(kind)).count()
        };
        let source = &refusal.source;
        let own = count(&|kind| kind.source == *source);
        let of_source = |is_used_up: bool| is_used_up.then(|| Share::Source(source.clone()));
        match source {
            Source::User(_) => of_source(own >= USER_ENTRIES_MAX),
            Source::Token(_) => {
                let all = count(&|kind| matches!(kind.source, Source::Token(_)));
                of_source(own >= TOKEN_ENTRIES_MAX || all >= TOKENS_ENTRIES_MAX)
            }
            Source::Address(_) if self.users.contains(&refusal.actor.who) => {
                let name = &refusal.actor.who;
                let claimed = count(&|kind| self.claims_a_name(kind) && kind.who == *name);
                let all = count(&|kind| self.claims_a_name(kind));
                (claimed >= NAME_ENTRIES_MAX || all >= NAMES_ENTRIES_MAX)
                    .then(|| Share::Name(name.clone()))
            }
            Source::Address(_) if own >= ADDRESS_ENTRIES_MAX => of_source(true),
            Source::Address(_) => {
                let is_stranger = |kind: &Kind| {
                    matches!(kind.source, Source::Address(_)) && !self.claims_a_name(kind)
                };
                (count(&is_stranger) >= ADDRESSES_ENTRIES_MAX).then_some(Share::Addresses)
            }
        }
    }

    /// Whether somebody was not let in under the name of a user.
    fn claims_a_name(&self, kind: &Kind) -> bool {
        matches!(kind.source, Source::Address(_)) && self.users.contains(&kind.who)
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
        for (share, mut counted) in left_out {
            let addresses = counted.addresses.len();
            let Refusal {
                actor,
                subject,
                why,
                ..
            } = &mut counted.last;
            actor.who = match share {
                Share::Source(Source::User(name)) | Share::Name(name) => name,
                Share::Source(Source::Token(_)) => std::mem::take(&mut actor.who),
                Share::Source(Source::Address(_)) | Share::Addresses => String::new(),
            };
            subject.clear();
            *why = "as those before: too many for an entry each".to_owned();
            if addresses > 1 {
                actor.address = "various".to_owned();
                let more = match addresses < ADDRESSES_COUNTED_MAX {
                    true => "",
                    false => "at least ",
                };
                *why = format!("{why}, from {more}{addresses} addresses");
            }
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
        let why = &all.unwrap().refusal.why;
        assert!(why.ends_with("from at least 1000 addresses"), "{why}");
    }

    #[test]
    fn strangers_leave_room_for_names_of_users_and_for_tokens_that_were_good() {
        let mut state = State::default();
        let begin = Instant::now();
        state.users.insert("carol".to_owned());
        for address in 0..250 {
            for guess in 0..6 {
                let who = format!("guess-{guess}");
                state.note(from([198, 51, 100, address], &who), begin, at());
            }
        }
        assert_eq!(state.waiting.len(), ADDRESSES_ENTRIES_MAX);
        let token = |name: &str, address: u8| Refusal {
            source: Source::Token(name.to_owned()),
            ..from([203, 0, 113, address], "ci (token old)")
        };
        state.note(token("old", 1), begin, at());
        assert_eq!(state.waiting.len(), ADDRESSES_ENTRIES_MAX + 1);
        // From wherever: an address that has had its entries, too.
        for address in 0..250 {
            state.note(from([198, 51, 100, address], "carol"), begin, at());
        }
        let named = |state: &State, who: &str| -> Vec<(u64, String)> {
            let entries = state.waiting.iter();
            let entries = entries.filter(|entry| entry.refusal.actor.who == who);
            entries
                .map(|entry| (entry.times, entry.refusal.why.clone()))
                .collect()
        };
        assert_eq!(named(&state, "carol").len(), NAME_ENTRIES_MAX);
        state.expire(begin + COUNTING_TIME);
        let carol = named(&state, "carol");
        assert_eq!(carol.len(), NAME_ENTRIES_MAX + 1);
        let (times, why) = carol.last().unwrap();
        assert_eq!(*times, 240);
        assert!(why.ends_with("from 240 addresses"), "{why}");
        assert_eq!(total(&state.waiting), 250 * 6 + 1 + 250);
        // Nor does one token leave none for another.
        state.waiting.clear();
        for number in 0..50 {
            let mut other = token("old", 1);
            other.subject = number.to_string();
            state.note(other, begin, at());
        }
        assert_eq!(state.waiting.len(), TOKEN_ENTRIES_MAX);
        state.note(token("other", 2), begin, at());
        assert_eq!(state.waiting.len(), TOKEN_ENTRIES_MAX + 1);
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
