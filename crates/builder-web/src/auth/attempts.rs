//! Wrong passwords, remembered for some minutes, so that guessing becomes slow.
//!
//! Counted for each address, and for each user from each address: the right password from another
//! address is let in at once, whatever others have tried. A user whom many addresses try costs
//! each of them all but one of its free attempts. Which users there are makes no difference. With IPv6
//! an address is a network, and all networks of a site are counted together, too: one who guesses may
//! have 65,536.
//!
//! An address may be shared, by an office or a network that a builder is in. Where a user has logged
//! in from an address before, only wrong passwords for this user from there count: nobody who
//! guesses others, or the same user from elsewhere, keeps the builder out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use builder_store::Sha256;

use crate::client;
use crate::config::Limits;

/// Wrong passwords for one user, from wherever, after which each address has one free attempt.
const SIEGE: u32 = 20;
/// How many times as many wrong passwords a site of IPv6 has free as one of its networks: there may be
/// several people.
const NETWORKS_FREE: u32 = 8;
/// For how long a user is known at an address after a right password was looked at: a month, since
/// some jobs are built once a week.
const KNOWN_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Addresses at which a user is known, so that a user who has many takes no room from others.
const KNOWN_PER_USER_MAX: usize = 16;

/// Who guesses, or whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// An address, at any user.
    From(Option<IpAddr>),
    /// A site of IPv6, at any user.
    Site(IpAddr),
    /// An address at a user. Users are kept as digests: names are from outside, and may be long.
    At(Option<IpAddr>, Sha256),
    /// Anybody at a user.
    Of(Sha256),
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    count: u32,
    last: Instant,
}

/// The table of wrong passwords.
#[derive(Debug)]
pub(super) struct Attempts {
    free: u32,
    delay: Duration,
    delay_max: Duration,
    memory_time: Duration,
    max: usize,
    table: Mutex<HashMap<Key, Wrong>>,
    known: Mutex<Known>,
}

/// From where users have logged in, and when last.
#[derive(Debug, Default)]
struct Known(HashMap<Sha256, Vec<(Option<IpAddr>, Instant)>>);

impl Known {
    fn holds(&self, user: Sha256, from: Option<IpAddr>, now: Instant) -> bool {
        let places = self.0.get(&user).map_or(&[][..], Vec::as_slice);
        places
            .iter()
            .any(|(place, at)| *place == from && now.duration_since(*at) <= KNOWN_TIME)
    }

    /// Nobody but who has a password gets in, so that there are no more users in here than there
    /// are; `users_max` is for sites that make users by the thousand.
    fn note(&mut self, user: Sha256, from: Option<IpAddr>, now: Instant, users_max: usize) {
        if !self.0.contains_key(&user) && self.0.len() >= users_max {
            let last =
                |(_, places): &(&Sha256, &Vec<(_, Instant)>)| places.last().map(|(_, at)| *at);
            if let Some(oldest) = self.0.iter().min_by_key(last).map(|(user, _)| *user) {
                self.0.remove(&oldest);
            }
        }
        let places = self.0.entry(user).or_default();
        places.retain(|(place, _)| *place != from);
        // The oldest is the first.
        if places.len() >= KNOWN_PER_USER_MAX {
            places.remove(0);
        }
        places.push((from, now));
    }
}

impl Attempts {
    /// An empty one.
    pub(super) fn new(limits: &Limits) -> Attempts {
        Attempts {
            free: limits.log_in_failures_free,
            delay: limits.log_in_delay,
            delay_max: limits.log_in_delay_max,
            memory_time: limits.log_in_memory_time,
            max: limits.log_in_table_max,
            table: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Whether a user has logged in from there.
    pub(super) fn knows(&self, user: &str, from: Option<IpAddr>, now: Instant) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.holds(Sha256::of(user.as_bytes()), from, now)
    }

    /// How long `from` has to wait before a password for `user` is looked at; none: not at all.
    pub(super) fn wait(&self, user: &str, from: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let is_known = self.knows(user, from, now);
        let user = Sha256::of(user.as_bytes());
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |key| self.fresh(&table, key, now).map_or(0, |wrong| wrong.count);
        let free = if !is_known && count(Key::Of(user)) >= SIEGE {
            self.free.min(1)
        } else {
            self.free
        };
        let at_all = (!is_known).then_some((Key::From(from), self.free * 2));
        let site = from.and_then(client::site).filter(|_| !is_known);
        let site = site.map(|site| (Key::Site(site), self.free * 2 * NETWORKS_FREE));
        [Some((Key::At(from, user), free)), at_all, site]
            .into_iter()
            .flatten()
            .filter_map(|(key, free)| {
                let wrong = self.fresh(&table, key, now)?;
                let beyond = wrong.count.checked_sub(free)?;
                let delay = self.delay.saturating_mul(1 << beyond.min(16));
                let until = wrong.last + delay.min(self.delay_max);
                until
                    .checked_duration_since(now)
                    .filter(|left| !left.is_zero())
            })
            .max()
    }

    /// A password was wrong.
    pub(super) fn wrong(&self, user: &str, from: Option<IpAddr>, now: Instant) {
        let user = Sha256::of(user.as_bytes());
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let site = from.and_then(client::site).map(Key::Site);
        let keys = [Key::From(from), Key::At(from, user), Key::Of(user)];
        for key in keys.into_iter().chain(site) {
            if !table.contains_key(&key) {
                self.make_room(&mut table, now);
            }
            let wrong = table.entry(key).or_insert(Wrong {
                count: 0,
                last: now,
            });
            if now.duration_since(wrong.last) > self.memory_time {
                wrong.count = 0;
            }
            wrong.count = wrong.count.saturating_add(1);
            wrong.last = now;
        }
    }

    /// A password was right: what was mistyped before does not matter any more, and the user is
    /// known there.
    pub(super) fn right(&self, user: &str, from: Option<IpAddr>, now: Instant) {
        let user = Sha256::of(user.as_bytes());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.note(user, from, now, self.max);
        drop(known);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // The address stays: one's own password is no licence to guess those of others.
        table.remove(&Key::At(from, user));
    }

    fn fresh<'t>(
        &self,
        table: &'t HashMap<Key, Wrong>,
        key: Key,
        now: Instant,
    ) -> Option<&'t Wrong> {
        let wrong = table.get(&key)?;
        (now.duration_since(wrong.last) <= self.memory_time).then_some(wrong)
    }

    /// Forgets what is old, and where nothing is, the oldest.
    fn make_room(&self, table: &mut HashMap<Key, Wrong>, now: Instant) {
        if table.len() < self.max {
            return;
        }
        table.retain(|_, wrong| now.duration_since(wrong.last) <= self.memory_time);
        while table.len() >= self.max {
            let Some(oldest) = table.iter().min_by_key(|(_, wrong)| wrong.last) else {
                return;
            };
            let oldest = *oldest.0;
            table.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn guessing_becomes_slower_and_is_forgotten() {
        let attempts = Attempts::new(&Limits::default());
        let begin = Instant::now();
        for _ in 0..5 {
            assert_eq!(attempts.wait("alice", address(1), begin), None);
            attempts.wrong("alice", address(1), begin);
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(attempts.wait("alice", address(1), begin).unwrap().as_secs());
            attempts.wrong("alice", address(1), begin);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(
            attempts.wait("alice", address(2), begin),
            None,
            "from elsewhere"
        );
        assert!(
            attempts.wait("bob", address(1), begin).is_some(),
            "the address is slow"
        );
        let later = begin + Duration::from_secs(61);
        assert_eq!(attempts.wait("alice", address(1), later), None);
        attempts.right("alice", address(1), later);
        let next_day = begin + Duration::from_secs(24 * 60 * 60);
        attempts.wrong("alice", address(1), next_day);
        assert_eq!(attempts.wait("alice", address(1), next_day), None);
    }

    #[test]
    fn a_user_whom_many_try_is_one_attempt_each_and_never_locked_out() {
        let attempts = Attempts::new(&Limits::default());
        let now = Instant::now();
        for last in 0..100 {
            assert_eq!(
                attempts.wait("alice", address(last), now),
                None,
                "the first"
            );
            attempts.wrong("alice", address(last), now);
        }
        assert!(
            attempts.wait("alice", address(99), now).is_some(),
            "the second"
        );
        assert_eq!(attempts.wait("alice", address(200), now), None, "herself");
        assert_eq!(attempts.wait("bob", address(99), now), None, "another user");
    }

    #[test]
    fn a_user_who_is_known_at_an_address_waits_for_no_guesses_but_those_at_this_user_there() {
        let attempts = Attempts::new(&Limits::default());
        let now = Instant::now();
        attempts.right("alice", address(1), now);
        for number in 0..100 {
            attempts.wrong(&format!("user{number}"), address(1), now);
            attempts.wrong("alice", address(2), now);
            attempts.wrong("bob", address(1), now);
        }
        assert_eq!(attempts.wait("alice", address(1), now), None);
        assert!(attempts.wait("carol", address(1), now).is_some());
        assert!(attempts.wait("bob", address(1), now).is_some());
        // Also under siege she has all her free attempts, and no more.
        for _ in 0..5 {
            assert_eq!(attempts.wait("alice", address(1), now), None);
            attempts.wrong("alice", address(1), now);
        }
        assert!(attempts.wait("alice", address(1), now).is_some());
        // A month later she is not known there any more.
        let later = now + KNOWN_TIME + Duration::from_secs(1);
        for _ in 0..20 {
            attempts.wrong("bob", address(1), later);
        }
        assert!(attempts.wait("alice", address(1), later).is_some());
    }

    #[test]
    fn guessing_from_ever_other_networks_of_a_site_becomes_slower_too() {
        let attempts = Attempts::new(&Limits::default());
        let now = Instant::now();
        let network =
            |site: u16, number: u16| Some(IpAddr::from([0x2001, 0xdb8, site, number, 0, 0, 0, 0]));
        attempts.right("alice", network(1, 7), now);
        for number in 0..80 {
            let user = format!("user{number}");
            assert_eq!(attempts.wait(&user, network(1, number), now), None);
            attempts.wrong(&user, network(1, number), now);
        }
        assert!(attempts.wait("another", network(1, 100), now).is_some());
        assert_eq!(attempts.wait("alice", network(1, 7), now), None, "is known");
        assert_eq!(attempts.wait("another", network(2, 0), now), None);
    }

    #[test]
    fn where_users_are_known_is_bounded_for_each_and_for_all() {
        let limits = Limits {
            log_in_table_max: 30,
            ..Limits::default()
        };
        let attempts = Attempts::new(&limits);
        let begin = Instant::now();
        attempts.right("alice", address(0), begin);
        for last in 1..=255_u8 {
            let now = begin + Duration::from_millis(last.into());
            attempts.right("mallory", address(last), now);
        }
        let known = |user: &str, from| {
            let known = attempts.known.lock().unwrap();
            known.holds(
                Sha256::of(user.as_bytes()),
                from,
                begin + Duration::from_secs(2),
            )
        };
        assert!(known("alice", address(0)), "others take nothing from her");
        let places = (1..=255).filter(|last| known("mallory", address(*last)));
        assert_eq!(places.collect::<Vec<_>>(), (240..=255).collect::<Vec<u8>>());
        for number in 0..100_u64 {
            let now = begin + Duration::from_secs(1) + Duration::from_millis(number);
            attempts.right(&number.to_string(), address(1), now);
        }
        assert_eq!(attempts.known.lock().unwrap().0.len(), 30);
        assert!(!known("alice", address(0)), "the oldest");
        assert!(known("99", address(1)));
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_goes_first() {
        let limits = Limits {
            log_in_table_max: 30,
            ..Limits::default()
        };
        let attempts = Attempts::new(&limits);
        let begin = Instant::now();
        for number in 0..100_u64 {
            let now = begin + Duration::from_millis(number);
            attempts.wrong(&number.to_string(), address(1), now);
        }
        assert!(attempts.table.lock().unwrap().len() <= 30);
        let now = begin + Duration::from_millis(100);
        assert!(
            attempts.wait("new", address(1), now).is_some(),
            "the busiest is still known"
        );
    }
}
