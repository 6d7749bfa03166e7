//! Places for work that is dear: a few at a time, in the order they were asked for, and not all for
//! one client. Who finds none in time is told when to come again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::app::App;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Place, Queue};

/// After which time a client that found no place is to come again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How many places there are, and how long one is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Places.
    pub places: usize,
    /// Requests that have one or wait for one, of all clients.
    pub all_max: usize,
    /// Requests of one client that have one or wait for one.
    pub client_max: usize,
    /// How long a request waits.
    pub wait_max: Duration,
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
    by_network: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Taken {
    _place: OwnedSemaphorePermit,
    _among: Among,
}

/// The place of a request, among its extensions.
#[derive(Debug, Clone)]
pub struct Held(Arc<Mutex<Option<Taken>>>);

impl Held {
    /// Gives the place back before the answer is made: what is dear is done, and what is waited for
    /// now has places of its own.
    pub fn give_back(&self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(held.take());
    }
}

/// A request among those that have a place or wait for one.
#[derive(Debug)]
struct Among {
    clients: Arc<Mutex<Clients>>,
    network: Option<IpAddr>,
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
    pub async fn take(&self, metrics: &Metrics, network: Option<IpAddr>) -> Result<Taken> {
        let busy = || {
            metrics.busy(self.kind);
            Err(Error::NoPlace(RETRY_AFTER))
        };
        let Some(among) = self.join(network) else {
            return busy();
        };
        match timeout(self.rules.wait_max, self.free.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Taken {
                _place: place,
                _among: among,
            }),
            Ok(Err(closed)) => Err(Error::internal(closed)),
            Err(_) => busy(),
        }
    }

    fn join(&self, network: Option<IpAddr>) -> Option<Among> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.all >= self.rules.all_max {
            return None;
        }
        if let Some(network) = network {
            let count = clients.by_network.entry(network).or_default();
            if *count >= self.rules.client_max {
                return None;
            }
            *count += 1;
        }
        clients.all += 1;
        Some(Among {
            clients: self.clients.clone(),
            network,
        })
    }
}

impl Drop for Among {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.all -= 1;
        if let Some(network) = self.network
            && let Some(count) = clients.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                clients.by_network.remove(&network);
            }
        }
    }
}

/// Gives each request of a route that is dear its place. The place is held until the answer is
/// made, also when the client leaves before: the work goes on without it.
pub async fn layer(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let network = request
        .extensions()
        .get::<Client>()
        .and_then(Client::network);
    let taken = match app.dear().take(app.metrics(), network).await {
        Ok(taken) => taken,
        Err(error) => return error.into_response(),
    };
    let held = Held(Arc::new(Mutex::new(Some(taken))));
    request.extensions_mut().insert(held.clone());
    let span = tracing::Span::current();
    let work = async move {
        let (response, asked) = crate::query::noting(next.run(request)).await;
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
