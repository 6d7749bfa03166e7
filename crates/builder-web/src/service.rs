//! What systemd and we tell each other: sockets it opened, that the server is ready, that it stops,
//! that it lives. Without systemd nothing of it does anything.

use std::io;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::{interval, timeout};
use tracing::warn;

use crate::app::App;
use crate::serve::Listener;

/// The sockets that systemd opened for us, if it did (`LISTEN_FDS`).
pub fn sockets() -> io::Result<Vec<Listener>> {
    let mut given = ListenFd::from_env();
    let mut all = Vec::new();
    for index in 0..given.len() {
        // Each kind refuses the other, and leaves it.
        let listener = match given.take_tcp_listener(index) {
            Ok(Some(tcp)) => {
                tcp.set_nonblocking(true)?;
                Listener::tcp(tokio::net::TcpListener::from_std(tcp)?)
            }
            _ => match given.take_unix_listener(index)? {
                Some(unix) => {
                    unix.set_nonblocking(true)?;
                    Listener::Unix(tokio::net::UnixListener::from_std(unix)?, None)
                }
                None => continue,
            },
        };
        all.push(listener);
    }
    Ok(all)
}

/// The server accepts requests.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The server was told to stop.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Tells, as often as systemd wants to hear it (`WatchdogSec=`), that the server lives: for as long
/// as its database answers.
pub async fn watchdog(app: App) {
    let Some(time_max) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = interval((time_max / 3).max(Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        match timeout(time_max / 2, app.read(builder_store::stock::answers)).await {
            Ok(Ok(())) => tell(NotifyState::Watchdog),
            Ok(Err(_)) | Err(_) => {
                warn!("the database does not answer: systemd is not told that the server lives")
            }
        }
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!("systemd cannot be told: {error}");
    }
}
