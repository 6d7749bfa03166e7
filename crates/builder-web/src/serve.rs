//! The server: accepts connections, hands requests to the router, and on a signal to stop lets
//! what has begun come to its end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service as _;
use tracing::{debug, info, warn};

use crate::app::App;
use crate::client::{self, Encrypted, Peer, REQUEST_ID, RequestId};
use crate::config::Limits;
use crate::connections::{self, Connection, Connections, Speaker};
use crate::metrics::{Held, Place};
use crate::respond;
use crate::stalling::Stalling;
use crate::tls::Tls;

/// Descriptors for the databases, uploads and hooks, and for those who are turned away.
const DESCRIPTORS_RESERVED: usize = 128 + DOOR_MAX + TURNED_AWAY_READ_MAX;
/// How many are at the door at a time, for whom there may be no place; others wait to be accepted.
const DOOR_MAX: usize = 64;
/// How long one that makes way may take for it.
const WAY_TIME_MAX: Duration = Duration::from_secs(1);
/// For how long it is written to one, and then for how long, and how much, is read of what it sends:
/// a connection that is closed before is reset, and the client may never see the answer.
const TURN_AWAY_TIME_MAX: Duration = Duration::from_secs(1);
const TURN_AWAY_BYTES_MAX: u64 = 1024 * 1024;
/// Of how many at a time something is read; connections of others are closed at once.
const TURNED_AWAY_READ_MAX: usize = 32;
/// How often a lack of descriptors or places is noted in the log.
const WARNING_PERIOD: Duration = Duration::from_secs(30);

/// Where connections come in.
#[derive(Debug)]
pub enum Listener {
    /// At an address, with TLS or without.
    Tcp(TcpListener, Option<Tls>),
    /// At a file, which is removed in the end if it is ours.
    Unix(UnixListener, Option<Ours>),
}

/// The file of a Unix socket that we made.
#[derive(Debug)]
pub struct Ours(PathBuf);

impl Drop for Ours {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            debug!("the socket {} cannot be removed: {error}", self.0.display());
        }
    }
}

impl Listener {
    /// At an address, without TLS.
    pub fn tcp(listener: TcpListener) -> Listener {
        Listener::Tcp(listener, None)
    }

    /// At a file, which whoever `mode` lets write to it may connect to. A file that another
    /// server left is replaced, one where somebody listens is not.
    pub fn unix(path: &Path, mode: u32) -> io::Result<Listener> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};
        match std::fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "it is there, and no socket",
                ));
            }
            Ok(_) => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(io::Error::new(
                        io::ErrorKind::AddrInUse,
                        "another server listens there",
                    ));
                }
                std::fs::remove_file(path)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        Ok(Listener::Unix(listener, Some(Ours(path.to_owned()))))
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listener::Tcp(listener, tls) => match listener.local_addr() {
                Ok(address) if tls.is_some() => write!(f, "https://{address}"),
                Ok(address) => write!(f, "http://{address}"),
                Err(_) => f.write_str("an unknown address"),
            },
            Listener::Unix(listener, _) => {
                let address = listener.local_addr();
                let path = address
                    .as_ref()
                    .ok()
                    .and_then(|address| address.as_pathname());
                write!(f, "unix:{}", path.unwrap_or(Path::new("?")).display())
            }
        }
    }
}

/// Opens the address, so that it can be told before requests come in.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// What all connections have in common.
struct Serving {
    http: http1::Builder,
    places: Arc<Semaphore>,
    /// None from when the server stops.
    graceful: Mutex<Option<GracefulShutdown>>,
    router: Router,
    app: App,
    by_address: ByAddress,
    open: Connections,
    door: Arc<Semaphore>,
    of_one_address: Full,
    of_all: Full,
    turned_away: Arc<Semaphore>,
}

/// Why there is no place for a client.
struct Full {
    /// For the log.
    what: String,
    /// For the client.
    answer: &'static str,
    /// When that was in the log last, and how often it has been so since.
    noted: Mutex<(Option<Instant>, u64)>,
}

impl Full {
    fn new(what: String, answer: &'static str) -> Full {
        Full {
            what,
            answer,
            noted: Mutex::default(),
        }
    }
}

/// What a connection takes from others, from when it is accepted to its end.
struct Seat {
    _place: OwnedSemaphorePermit,
    /// None: the peer may have all there are.
    _among: Option<OfAddress>,
    /// None: it never has to make way.
    connection: Option<Connection>,
}

impl Seat {
    /// Ends when another client is to have it.
    async fn makes_way(&self) {
        match &self.connection {
            Some(connection) => connection.makes_way().await,
            None => std::future::pending().await,
        }
    }
}

/// How many times as many connections a site of IPv6 may have as one address.
const NETWORKS_MAX: usize = 2;

/// The connections of each address, which is a network with IPv6, and of each site there.
#[derive(Debug, Clone, Default)]
struct ByAddress(Arc<Mutex<HashMap<Source, usize>>>);

/// Where connections come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Network(IpAddr),
    Site(IpAddr),
}

/// A connection among those of its address.
struct OfAddress {
    by_address: ByAddress,
    sources: [Option<Source>; 2],
}

impl ByAddress {
    /// Counts one more connection of an address; none: it has as many as it may have.
    fn one_more(&self, address: IpAddr, max: usize) -> Option<OfAddress> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = [
            Some(Source::Network(client::network(address))),
            client::site(address).map(Source::Site),
        ];
        let is_full = |source: &Source| {
            let max = match source {
                Source::Network(_) => max,
                Source::Site(_) => max.saturating_mul(NETWORKS_MAX),
            };
            all.get(source).is_some_and(|count| *count >= max)
        };
        if sources.iter().flatten().any(is_full) {
            return None;
        }
        for source in sources.into_iter().flatten() {
            *all.entry(source).or_default() += 1;
        }
        Some(OfAddress {
            by_address: self.clone(),
            sources,
        })
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let all = &self.by_address.0;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        for source in self.sources.iter().flatten() {
            if let Some(count) = all.get_mut(source) {
                *count -= 1;
                if *count == 0 {
                    all.remove(source);
                }
            }
        }
    }
}

/// Serves beside the server proper, for as long as the process runs.
pub async fn run_beside(listeners: Vec<Listener>, router: Router, app: &App) {
    let serving = Arc::new(Serving::new(router, app));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept_all(listener, serving.clone()));
    }
    accepting.join_all().await;
}

/// Serves until `stop` ends, and then until every request that has begun is answered, or the time
/// for that is over.
pub async fn run(
    listeners: Vec<Listener>,
    router: Router,
    app: &App,
    stop: impl Future<Output = ()>,
) {
    let time_max = app.limits().shutdown_time_max;
    let serving = Arc::new(Serving::new(router, app));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept_all(listener, serving.clone()));
    }
    stop.await;
    app.stop_begins();
    // With them the listeners are closed.
    accepting.shutdown().await;
    info!("stopping when the requests under way are answered");
    // Who is still greeting has its own.
    let graceful = serving
        .graceful
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some(graceful) = graceful else { return };
    if timeout(time_max, graceful.shutdown()).await.is_err() {
        warn!("some requests took too long and were cut off");
    }
}

/// What came in, as it is before anything is said.
enum Caller {
    Tcp(TcpStream, Option<Tls>),
    Unix(UnixStream),
}

/// Accepts connections for as long as it is let.
async fn accept_all(listener: Listener, serving: Arc<Serving>) {
    let mut warned: Option<Instant> = None;
    loop {
        let Ok(door) = serving.door.clone().acquire_owned().await else {
            return;
        };
        let accepted = match &listener {
            Listener::Tcp(listener, tls) => match listener.accept().await {
                Ok((stream, peer)) => {
                    // Answers are written whole; nothing is gained by waiting to fill a packet.
                    stream.set_nodelay(true).map(|()| {
                        let caller = Caller::Tcp(stream, tls.clone());
                        serving.receive(caller, Peer::Address(peer.ip()), door);
                    })
                }
                Err(error) => Err(error),
            },
            Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                serving.receive(Caller::Unix(stream), Peer::Unix, door);
            }),
        };
        if let Err(error) = accepted {
            // Of one connection, or a lack of descriptors that passes.
            if warned.is_none_or(|at| at.elapsed() > WARNING_PERIOD) {
                warn!("connections are not accepted: {error}");
                warned = Some(Instant::now());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Agrees with a client on how to encrypt, in the time it has for the head of a request, and serves.
fn greet(serving: Arc<Serving>, tls: Tls, stream: TcpStream, peer: Peer, seat: Seat) {
    tokio::spawn(async move {
        let time_max = serving.app.limits().head_time_max;
        let greeted = tokio::select! {
            greeted = timeout(time_max, tls.accept(stream)) => greeted,
            () = seat.makes_way() => return,
        };
        match greeted {
            Ok(Ok(stream)) => serving.serve(stream, peer, true, seat),
            Ok(Err(error)) => debug!("a client speaks no TLS: {error}"),
            Err(_) => debug!("a client took too long for TLS"),
        }
    });
}

impl Serving {
    fn new(router: Router, app: &App) -> Serving {
        let limits = app.limits();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.head_time_max)
            .max_buf_size(limits.head_bytes_max)
            .half_close(true);
        let max = connections_max(limits);
        let of_one_address = format!(
            "connections of an address that has as many as it may have ({}) are answered 503",
            limits.connections_per_client_max
        );
        let of_all = format!(
            "all places for connections are taken ({max}): one that says nothing is closed for \
             each that comes, or that one is answered 503"
        );
        Serving {
            http,
            places: Arc::new(Semaphore::new(max)),
            graceful: Mutex::new(Some(GracefulShutdown::new())),
            router,
            app: app.clone(),
            by_address: ByAddress::default(),
            open: Connections::default(),
            door: Arc::new(Semaphore::new(DOOR_MAX)),
            of_one_address: Full::new(of_one_address, "too many connections from one address\n"),
            of_all: Full::new(of_all, "too many connections\n"),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_READ_MAX)),
        }
    }

    /// Finds a seat for a client that has come, or tells it that there is none. Meanwhile it is at the
    /// door.
    fn receive(self: &Arc<Self>, caller: Caller, peer: Peer, door: OwnedSemaphorePermit) {
        let network = match peer {
            // Whoever speaks for others sees to it that these do not have them all.
            _ if client::is_trusted(peer, &self.app.config().trusted_proxies) => None,
            Peer::Address(address) => Some(address),
            Peer::Unix => None,
        };
        let max = self.app.limits().connections_per_client_max;
        // Before anything is said: who greets for long has a connection, too.
        let among = network.map(|address| (address, self.by_address.one_more(address, max)));
        let among = match among {
            Some((_, None)) => return self.turn_away(caller, peer, door, &self.of_one_address),
            Some((address, Some(among))) => Some((address, among)),
            None => None,
        };
        let open = self.open.clone();
        let seat = move |place| {
            let (among, connection) = match among {
                Some((address, among)) => {
                    let from = client::site(address).unwrap_or_else(|| client::network(address));
                    (Some(among), Some(open.add(from)))
                }
                None => (None, None),
            };
            Seat {
                _place: place,
                _among: among,
                connection,
            }
        };
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return self.admit(caller, peer, seat(place));
        }
        if !self.open.make_way(Instant::now()) {
            return self.turn_away(caller, peer, door, &self.of_all);
        }
        self.note(peer, &self.of_all);
        let serving = self.clone();
        tokio::spawn(async move {
            let place = serving.places.clone().acquire_owned();
            match timeout(WAY_TIME_MAX, place).await {
                Ok(Ok(place)) => {
                    drop(door);
                    serving.admit(caller, peer, seat(place));
                }
                _ => serving.turn_away(caller, peer, door, &serving.of_all),
            }
        });
    }

    fn admit(self: &Arc<Self>, caller: Caller, peer: Peer, seat: Seat) {
        match caller {
            Caller::Tcp(stream, None) => self.serve(stream, peer, false, seat),
            Caller::Tcp(stream, Some(tls)) => greet(self.clone(), tls, stream, peer, seat),
            Caller::Unix(stream) => self.serve(stream, peer, false, seat),
        }
    }

    /// Counts that there was no place, and notes it in the log once in a while.
    fn note(&self, peer: Peer, full: &Full) {
        self.app.metrics().busy(Place::Connection);
        let mut noted = full.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, count) = &mut *noted;
        *count += 1;
        if at.is_none_or(|at| at.elapsed() > WARNING_PERIOD) {
            warn!(
                from = %peer,
                "{}: {count} since this was said last, the last from {peer}",
                full.what
            );
            (*at, *count) = (Some(Instant::now()), 0);
        }
    }

    /// Serves one connection in the background.
    fn serve<S>(&self, stream: S, peer: Peer, encrypted: bool, seat: Seat)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let metrics = self.app.metrics();
        let held = Held::new(&metrics.connections);
        let patience = self.app.limits().answer_patience();
        let connection = seat.connection.as_ref();
        let (speaker, sending) = (
            connection.map(Connection::speaker),
            connection.map(Connection::sending),
        );
        let stream = Stalling::new(stream, patience, metrics.traffic.clone()).telling(sending);
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
            request.extensions_mut().insert(peer);
            if encrypted {
                request.extensions_mut().insert(Encrypted);
            }
            if let Err(misaddressed) = client::addressed(&mut request) {
                request.extensions_mut().insert(misaddressed);
            }
            let request: Request = request.map(axum::body::Body::new);
            let speaking = speaker.as_ref().map(Speaker::speaks);
            // A router is always ready.
            let answer = router.clone().call(request);
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(answer.map(|body| connections::lasting(body, speaking)))
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let graceful = self.graceful.lock().unwrap_or_else(PoisonError::into_inner);
        // Too late: the server stops.
        let Some(connection) = graceful.as_ref().map(|graceful| graceful.watch(connection)) else {
            return;
        };
        drop(graceful);
        let unreadable = metrics.unreadable.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = connection => ended,
                () = seat.makes_way() => {
                    debug!(%peer, "a connection that says nothing makes way");
                    return;
                }
            };
            if let Err(error) = ended {
                // The client left, or sent no HTTP: that is answered 400 or 431 before it is a
                // request, and so has no name.
                if error.is_parse() {
                    unreadable.inc();
                }
                debug!(%peer, "a connection broke: {error}");
            }
            drop((seat, held));
        });
    }

    /// Tells a client for which there is no place so, if it reads.
    fn turn_away(&self, caller: Caller, from: Peer, door: OwnedSemaphorePermit, full: &Full) {
        self.note(from, full);
        match caller {
            Caller::Tcp(stream, None) => self.tell(stream, from, door, full.answer),
            Caller::Unix(stream) => self.tell(stream, from, door, full.answer),
            // Without a key there are no words that the client would understand.
            Caller::Tcp(_, Some(_)) => {}
        }
    }

    fn tell<S>(&self, mut stream: S, from: Peer, door: OwnedSemaphorePermit, why: &'static str)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let id = RequestId::new();
        debug!(id = id.as_str(), %from, "turned away: {}", why.trim_end());
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\nconnection: close\r\n{REQUEST_ID}: {}\r\n\
             content-type: {}\r\ncontent-length: {}\r\n\r\n{why}",
            id.as_str(),
            respond::TEXT,
            why.len()
        );
        let reading = self.turned_away.clone();
        tokio::spawn(async move {
            let told = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await
            };
            // A client that does not read it knows by the connection's end.
            let told = timeout(TURN_AWAY_TIME_MAX, told).await;
            // Others need not wait for what comes now.
            drop(door);
            if let (Ok(Ok(())), Ok(_reading)) = (told, reading.try_acquire()) {
                let mut sent = stream.take(TURN_AWAY_BYTES_MAX);
                let mut nowhere = tokio::io::sink();
                let read = tokio::io::copy(&mut sent, &mut nowhere);
                let _read = timeout(TURN_AWAY_TIME_MAX, read).await;
            }
        });
    }
}

/// As many as there may be, and there are descriptors for: each has a socket, and may have a file.
/// The process is allowed as many descriptors as the system lets it have.
fn connections_max(limits: &Limits) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    let open_max = match setrlimit(Resource::Nofile, all) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    };
    let open_max = open_max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    let possible = (open_max.saturating_sub(DESCRIPTORS_RESERVED) / 2).max(1);
    if possible < limits.connections_max {
        warn!(
            "{possible} connections at a time: the system lets this process open {open_max} files"
        );
    }
    possible.min(limits.connections_max)
}

/// From now on the system or the operator can ask the server to stop, which ends what is returned; a
/// second time ends the process. Before that, they end the process as they are. `also` stops it, too.
pub fn stop_signal(also: impl Future<Output = ()>) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = also => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            warn!("told to stop again: not waiting any longer");
            std::process::exit(1);
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_with_many_networks_has_twice_the_connections_of_one() {
        let all = ByAddress::default();
        let network = |number: u16| IpAddr::from([0x2001, 0xdb8, 1, number, 0, 0, 0, 1]);
        let mut held: Vec<_> = (0..3).map(|_| all.one_more(network(0), 3)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(all.one_more(network(0), 3).is_none());
        held.extend((1..4).map(|number| all.one_more(network(number), 3)));
        assert!(held.iter().all(Option::is_some));
        assert!(all.one_more(network(4), 3).is_none());
        for elsewhere in ["2001:db8:2::1", "192.0.2.1"] {
            assert!(all.one_more(elsewhere.parse().unwrap(), 3).is_some());
        }
        held.pop();
        assert!(all.one_more(network(4), 3).is_some());
        drop(held);
        assert!(all.0.lock().unwrap().is_empty());
    }
}
