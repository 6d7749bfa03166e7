//! The server: accepts connections, hands requests to the router, and on a signal to stop lets
//! what has begun come to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::config::Limits;
use crate::stalling::Stalling;

/// Descriptors for the databases, uploads and hooks.
const DESCRIPTORS_RESERVED: usize = 128;
/// How often a lack of descriptors is noted in the log.
const WARNING_PERIOD: Duration = Duration::from_secs(30);

/// Opens the address, so that it can be told before requests come in.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop` ends, and then until every request that has begun is answered, or the time
/// for that is over.
pub async fn run(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(connections_max(limits)));
    let mut warned: Option<Instant> = None;
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_time_max)
        .max_buf_size(limits.head_bytes_max)
        .half_close(true);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stop => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Of one connection, or a lack of descriptors that passes.
                if warned.is_none_or(|at| at.elapsed() > WARNING_PERIOD) {
                    warn!("connections are not accepted: {error}");
                    warned = Some(Instant::now());
                }
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let stream = Stalling::new(stream, limits.answer_stall_time_max);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // The client left, or sent no HTTP.
                debug!("a connection broke: {error}");
            }
            drop(place);
        });
    }
    drop(listener);
    info!("stopping when the requests under way are answered");
    if timeout(limits.shutdown_time_max, graceful.shutdown())
        .await
        .is_err()
    {
        warn!("some requests took too long and were cut off");
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

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Answers are written whole; nothing is gained by waiting to fill a packet.
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Ends when the system or the operator asks the server to stop; a second time ends the process.
pub async fn stop_signal() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        warn!("told to stop again: not waiting any longer");
        std::process::exit(1);
    });
    Ok(())
}
