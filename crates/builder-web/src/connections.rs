//! Which connections are open, and which of them makes way when a client comes and every place is
//! taken: one that says nothing, of whoever has most of these. Knows neither HTTP nor sockets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

/// For how long a connection may say nothing whatever happens: its request may be on its way.
pub const SILENCE_MIN: Duration = Duration::from_secs(1);

/// The connections that may have to make way.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    next: u64,
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    from: IpAddr,
    /// Requests whose answer is not at its end.
    requests: usize,
    /// Since when there is none.
    silent_since: Instant,
    /// What was answered is not all sent.
    sending: Arc<AtomicBool>,
    /// Told to make way.
    told: bool,
    way: Arc<Notify>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Connection {
    all: Connections,
    number: u64,
    sending: Arc<AtomicBool>,
    way: Arc<Notify>,
}

/// That a connection has a request whose answer is not at its end, until it is dropped.
#[derive(Debug)]
pub struct Speaking {
    all: Connections,
    number: u64,
}

impl Connections {
    /// One that says nothing yet. `from` is what is bounded together: an address, or a site.
    pub fn add(&self, from: IpAddr) -> Connection {
        let (sending, way) = (Arc::<AtomicBool>::default(), Arc::<Notify>::default());
        let mut all = self.lock();
        let number = all.next;
        all.next += 1;
        let open = Open {
            from,
            requests: 0,
            silent_since: Instant::now(),
            sending: sending.clone(),
            told: false,
            way: way.clone(),
        };
        all.open.insert(number, open);
        Connection {
            all: self.clone(),
            number,
            sending,
            way,
        }
    }

    /// Tells one that has said nothing for long enough to make way; whether there was one. Of those
    /// who have most connections that say nothing it is the one that has said nothing for longest,
    /// so that many of one client make way before the one of another.
    pub fn make_way(&self, now: Instant) -> bool {
        let mut all = self.lock();
        let is_silent =
            |open: &Open| open.requests == 0 && !open.told && !open.sending.load(Ordering::Relaxed);
        let mut silent: HashMap<IpAddr, usize> = HashMap::new();
        for open in all.open.values().filter(|open| is_silent(open)) {
            *silent.entry(open.from).or_default() += 1;
        }
        let long_enough = all.open.iter_mut().filter(|(_, open)| {
            is_silent(open) && now.saturating_duration_since(open.silent_since) >= SILENCE_MIN
        });
        let first = long_enough.min_by_key(|(number, open)| {
            let of_its_client = silent.get(&open.from).copied().unwrap_or_default();
            (
                std::cmp::Reverse(of_its_client),
                open.silent_since,
                **number,
            )
        });
        let Some((_, open)) = first else {
            return false;
        };
        open.told = true;
        open.way.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// What notes that a request has come.
    pub fn speaker(&self) -> Speaker {
        Speaker {
            all: self.all.clone(),
            number: self.number,
        }
    }

    /// To be set while what was answered cannot be sent.
    pub fn sending(&self) -> Arc<AtomicBool> {
        self.sending.clone()
    }

    /// Ends when it has to make way.
    pub async fn makes_way(&self) {
        self.way.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.lock().open.remove(&self.number);
    }
}

/// Notes the requests of a connection.
#[derive(Debug, Clone)]
pub struct Speaker {
    all: Connections,
    number: u64,
}

impl Speaker {
    /// A request has come.
    pub fn speaks(&self) -> Speaking {
        if let Some(open) = self.all.lock().open.get_mut(&self.number) {
            open.requests += 1;
        }
        Speaking {
            all: self.all.clone(),
            number: self.number,
        }
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        if let Some(open) = self.all.lock().open.get_mut(&self.number) {
            open.requests -= 1;
            open.silent_since = Instant::now();
        }
    }
}

/// The body of an answer, with what is to last as long as it does.
pub fn lasting(body: Body, speaking: Option<Speaking>) -> Body {
    match speaking {
        Some(speaking) => Body::new(Lasting {
            body,
            _speaking: speaking,
        }),
        None => body,
    }
}

struct Lasting {
    body: Body,
    _speaking: Speaking,
}

impl HttpBody for Lasting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(connection: &Connection) -> bool {
        connection.all.lock().open[&connection.number].told
    }

    #[test]
    fn who_has_most_that_say_nothing_makes_way_and_of_these_the_oldest() {
        let all = Connections::default();
        let from = |number: u8| all.add(IpAddr::from([192, 0, 2, number]));
        let alone = from(1);
        let many = [from(2), from(2), from(2)];
        let later = Instant::now() + SILENCE_MIN;
        assert!(all.make_way(later));
        assert!(told(&many[0]) && !told(&alone));
        assert!(all.make_way(later));
        assert!(told(&many[1]) && !told(&alone));
        // Now each has one, and the older goes.
        assert!(all.make_way(later));
        assert!(told(&alone));
        assert!(all.make_way(later));
        assert!(told(&many[2]));
        assert!(!all.make_way(later));
        drop((alone, many));
        assert!(all.lock().open.is_empty());
    }

    #[test]
    fn who_speaks_or_is_sent_something_or_has_just_come_stays() {
        let all = Connections::default();
        let one = all.add(IpAddr::from([192, 0, 2, 1]));
        assert!(!all.make_way(Instant::now()));
        let later = || Instant::now() + SILENCE_MIN;
        let speaking = one.speaker().speaks();
        assert!(!all.make_way(later()));
        drop(speaking);
        one.sending().store(true, Ordering::Relaxed);
        assert!(!all.make_way(later()));
        one.sending().store(false, Ordering::Relaxed);
        assert!(!all.make_way(Instant::now()));
        assert!(all.make_way(later()));
    }
}
