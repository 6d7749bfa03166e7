//! Places for work that is dear: a few at a time, in the order they were asked for, and not all for
//! one client. Who finds none in time is told when to come again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::app::App;
use crate::client::{self, Client};
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Place, Queue};
use crate::origin;

/// After which time a client that found no place is to come again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Who reads more bytes than this of what was uploaded to make a page takes one of the places for pages
/// that are dear.
pub const DEAR_BYTES_MIN: u64 = 1024 * 1024;

/// How many places there are, and how long one is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Places.
    pub places: usize,
    /// Places that one client may have: the others are there for others, however many it waits for.
    pub client_places: usize,
    /// Requests that have one or wait for one, of all clients.
    pub all_max: usize,
    /// Requests of one client that have one or wait for one.
    pub client_max: usize,
    /// How long a request waits.
    pub wait_max: Duration,
}

/// Who takes places, as far as shares go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// Somebody at an address, or in a network of IPv6.
    Network(IpAddr),
    /// A user, by name, with whichever token.
    User(String),
}

impl Rules {
    /// Requests of all networks of a site of IPv6: others find room, however many networks it has.
    fn site_max(&self) -> usize {
        (self.all_max * 3 / 4).max(self.client_max)
    }
}

impl Who {
    /// The site of a network.
    fn site(&self) -> Option<IpAddr> {
        match self {
            Who::Network(address) => client::site(*address),
            Who::User(_) => None,
        }
    }

    /// A client that has not said who it is. One without an address is nobody in particular.
    pub fn is(client: Option<&Client>) -> Option<Who> {
        client.and_then(Client::network).map(Who::Network)
    }
}

tokio::task_local! {
    static ASKS: Option<Who>;
}

/// Makes a page for `who`.
pub async fn scope<T>(who: Option<Who>, page: impl Future<Output = T>) -> T {
    ASKS.scope(who, page).await
}

/// Who asks for the page of this task, within [`scope`].
pub fn who_asks() -> Option<Who> {
    ASKS.try_with(Clone::clone).unwrap_or_default()
}

/// Places of one kind.
#[derive(Debug)]
pub struct Places {
    kind: Place,
    rules: Rules,
    free: Arc<Semaphore>,
    clients: Arc<Mutex<Clients>>,
}

#[derive(Debug, Default)]
struct Clients {
    all: usize,
    shares: HashMap<Who, Share>,
    /// Requests of each site that have a place or wait for one.
    sites: HashMap<IpAddr, usize>,
}

/// What one client has.
#[derive(Debug)]
struct Share {
    /// Requests that have a place or wait for one.
    count: usize,
    free: Arc<Semaphore>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Taken {
    _place: OwnedSemaphorePermit,
    _of_share: Option<OwnedSemaphorePermit>,
    _among: Among,
}

/// The place of a request, among its extensions.
#[derive(Debug, Clone)]
pub struct Held {
    taken: Arc<Mutex<Option<Taken>>>,
    who: Option<Who>,
}

impl Held {
    /// Who has it.
    pub fn who(&self) -> Option<Who> {
        self.who.clone()
    }

    /// Waits without the place for what has places of its own, and then for a place again.
    pub async fn without<T>(&self, app: &App, waiting: impl Future<Output = T>) -> Result<T> {
        self.give_back();
        let done = waiting.await;
        let taken = app.dear().take(app.metrics(), self.who()).await?;
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        Ok(done)
    }

    fn give_back(&self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        drop(taken.take());
    }
}

/// A request among those that have a place or wait for one.
#[derive(Debug)]
struct Among {
    clients: Arc<Mutex<Clients>>,
    who: Option<Who>,
}

impl Places {
    /// All of them free.
    pub fn new(kind: Place, rules: Rules) -> Places {
        Places {
            kind,
            rules,
            free: Arc::new(Semaphore::new(rules.places)),
            clients: Arc::default(),
        }
    }

    /// How many are taken, and how many requests wait for one.
    pub fn queue(&self) -> Queue {
        let all = self
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .all;
        let taken = self.rules.places - self.free.available_permits();
        Queue {
            taken,
            waiting: all.saturating_sub(taken),
        }
    }

    /// Waits for a place, at most for the time there is. A client without an address is nobody in
    /// particular, and is held to the bound of all.
    pub async fn take(&self, metrics: &Metrics, who: Option<Who>) -> Result<Taken> {
        let busy = || {
            metrics.busy(self.kind);
            Err(Error::NoPlace(RETRY_AFTER))
        };
        let Some((among, share)) = self.join(who) else {
            return busy();
        };
        let both = async {
            // The own one first: who waits for it stands in nobody's way.
            let of_share = match share {
                Some(share) => Some(share.acquire_owned().await?),
                None => None,
            };
            let place = self.free.clone().acquire_owned().await?;
            Ok::<_, AcquireError>((place, of_share))
        };
        match timeout(self.rules.wait_max, both).await {
            Ok(Ok((place, of_share))) => Ok(Taken {
                _place: place,
                _of_share: of_share,
                _among: among,
            }),
            Ok(Err(closed)) => Err(Error::internal(closed)),
            Err(_) => busy(),
        }
    }

    fn join(&self, who: Option<Who>) -> Option<(Among, Option<Arc<Semaphore>>)> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.all >= self.rules.all_max {
            return None;
        }
        let site = who.as_ref().and_then(Who::site);
        let of_site = site.and_then(|site| clients.sites.get(&site));
        if of_site.is_some_and(|count| *count >= self.rules.site_max()) {
            return None;
        }
        let free = match &who {
            Some(who) => {
                let share = clients.shares.entry(who.clone());
                let share = share.or_insert_with(|| Share {
                    count: 0,
                    free: Arc::new(Semaphore::new(self.rules.client_places)),
                });
                if share.count >= self.rules.client_max {
                    return None;
                }
                share.count += 1;
                Some(share.free.clone())
            }
            None => None,
        };
        clients.all += 1;
        if let Some(site) = site {
            *clients.sites.entry(site).or_default() += 1;
        }
        let among = Among {
            clients: self.clients.clone(),
            who,
        };
        Some((among, free))
    }
}

impl Drop for Among {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.all -= 1;
        if let Some(site) = self.who.as_ref().and_then(Who::site)
            && let Some(count) = clients.sites.get_mut(&site)
        {
            *count -= 1;
            if *count == 0 {
                clients.sites.remove(&site);
            }
        }
        if let Some(who) = &self.who
            && let Some(share) = clients.shares.get_mut(who)
        {
            share.count -= 1;
            if share.count == 0 {
                clients.shares.remove(who);
            }
        }
    }
}

/// Gives each request of a route that is dear its place. The place is held until the answer is
/// made, also when the client leaves before: the work goes on without it.
pub async fn layer(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let who = Who::is(request.extensions().get::<Client>());
    let taken = match app.dear().take(app.metrics(), who.clone()).await {
        Ok(taken) => taken,
        Err(error) => return error.into_response(),
    };
    let held = Held {
        taken: Arc::new(Mutex::new(Some(taken))),
        who,
    };
    request.extensions_mut().insert(held.clone());
    let span = tracing::Span::current();
    // What is known of the request goes on with it into another task.
    let (origin, asks) = (origin::current(), who_asks());
    let work = async move {
        let page = scope(asks, crate::query::noting(next.run(request)));
        let (response, asked) = match origin {
            Some(origin) => origin::scope(origin, page).await,
            None => page.await,
        };
        held.give_back();
        (response, asked)
    };
    match tokio::spawn(tracing::Instrument::instrument(work, span)).await {
        Ok((response, asked)) => {
            crate::query::note(asked);
            response
        }
        Err(error) => Error::internal(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn rules() -> Rules {
        Rules {
            places: 4,
            client_places: 3,
            all_max: 12,
            client_max: 8,
            wait_max: Duration::from_millis(50),
        }
    }

    fn user(name: &str) -> Option<Who> {
        Some(Who::User(name.to_owned()))
    }

    #[tokio::test]
    async fn one_client_has_neither_all_places_nor_all_there_is_to_wait_in() {
        let metrics = Arc::new(Metrics::new(Clock::System.now()));
        let places = Arc::new(Places::new(Place::Upload, rules()));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(places.take(&metrics, user("greedy")).await.unwrap());
        }
        let mut greedy = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (places, metrics) = (places.clone(), metrics.clone());
            greedy.spawn(async move { places.take(&metrics, user("greedy")).await.is_ok() });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(places.clients.lock().unwrap().all, 8, "those wait");
        // Others need not: there is a place, and room to wait for it.
        let address = Some(Who::Network([192, 0, 2, 1].into()));
        for other in [user("other"), address, None] {
            assert!(places.take(&metrics, other).await.is_ok());
        }
        assert!(greedy.join_all().await.iter().all(|got| !got));
        held.pop();
        assert!(places.take(&metrics, user("greedy")).await.is_ok());
        drop(held);
        let clients = places.clients.lock().unwrap();
        assert!(clients.all == 0 && clients.shares.is_empty());
        assert_eq!(places.free.available_permits(), 4);
    }

    #[tokio::test]
    async fn a_site_with_many_networks_leaves_room_for_others() {
        let metrics = Arc::new(Metrics::new(Clock::System.now()));
        let places = Arc::new(Places::new(Place::Upload, rules()));
        let network = |number: u16| {
            let network = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, number, 0, 0, 0, 0);
            Some(Who::Network(network.into()))
        };
        let mut all = tokio::task::JoinSet::new();
        for number in 0..100 {
            let (places, metrics) = (places.clone(), metrics.clone());
            all.spawn(async move { places.take(&metrics, network(number)).await });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(places.clients.lock().unwrap().all, 9, "of twelve");
        let elsewhere = Who::Network([0x2001, 0xdb8, 2, 0, 0, 0, 0, 0].into());
        assert!(places.join(Some(elsewhere)).is_some());
        drop(all.join_all().await);
        let clients = places.clients.lock().unwrap();
        assert!(clients.all == 0 && clients.sites.is_empty());
    }
}
