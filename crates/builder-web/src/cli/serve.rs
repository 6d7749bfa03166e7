//! `builder-web serve`: the server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use builder_store::Store;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::{LegacyArgs, MetricsAddress, Refused, ServeArgs, SiteArgs, arenas, start_log};
use crate::app::App;
use crate::auth::{self, refusals};
use crate::clock::Clock;
use crate::config::Config;
use crate::derived;
use crate::drawings;
use crate::error::with_causes;
use crate::metrics::influx::{self, Collector};
use crate::routes;
use crate::search;
use crate::serve::{self, Listener};
use crate::service;
use crate::site::{self, Logo, Site};
use crate::tls::Tls;

/// Where metrics are, when nothing else is said: on this machine only.
const METRICS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
/// How often it is looked whether others have written to the database.
const FOLLOW_PERIOD: Duration = Duration::from_secs(10);
/// How often the search index is rid of what is no longer kept.
const SWEEP_PERIOD: Duration = DAY;
/// A certificate that is valid for no longer than this should have been renewed: certbot and its kin
/// do it a month before.
const RENEWED_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn run(mut arguments: ServeArgs) -> anyhow::Result<()> {
    arenas::few();
    let legacy = arguments.legacy.log();
    // What is said in our own words counts.
    let overruled = legacy.filter.is_some() && arguments.log.log_level.is_some();
    arguments.log.log_level = arguments.log.log_level.or(legacy.filter);
    start_log(&arguments.log)?;
    warn_of(&arguments.legacy);
    if overruled {
        warn!("-v, -q, --verbosity and --logs are ignored beside --log-level or RUST_LOG");
    }
    if !legacy.unknown.is_empty() {
        warn!(
            "--logs is ignored for {}: the log has no such sources; --log-level names ours",
            legacy.unknown.join(", ")
        );
    }
    let limits = arguments.limits.limits();
    let site = site(arguments.site)?;
    let config = Config {
        datadir: arguments.datadir.datadir,
        configdir: arguments.configdir,
        expired_jobs: match arguments.expired_jobs {
            0 => None,
            days => Some(DAY * days),
        },
        site,
        trusted_proxies: arguments.trusted_proxies,
        limits,
    };
    let watch = Watch {
        metrics: arguments.metrics_address,
        influx: arguments.influx,
    };
    let listen = Listen {
        address: SocketAddr::new(arguments.host, arguments.port),
        socket: arguments.socket.map(|file| (file, arguments.socket_mode)),
        tls: arguments.tls_certificate.zip(arguments.tls_key),
    };
    run_server(config, listen, watch, |_| {})
}

/// Where the server listens, unless systemd opened sockets for it.
#[derive(Debug)]
pub(super) struct Listen {
    /// At this address.
    pub(super) address: SocketAddr,
    /// At this file with this mode instead.
    pub(super) socket: Option<(PathBuf, u32)>,
    /// With this certificate and this key.
    pub(super) tls: Option<(PathBuf, PathBuf)>,
}

impl Listen {
    async fn open(self) -> anyhow::Result<(Vec<Listener>, Option<Tls>)> {
        let tls = match self.tls {
            Some((certificates, key)) => Some(Tls::read(certificates, key).map_err(Refused)?),
            None => None,
        };
        let mut listeners = service::sockets().context("take the sockets that systemd opened")?;
        if listeners.is_empty() {
            listeners.push(match self.socket {
                Some((file, mode)) => Listener::unix(&file, mode)
                    .map_err(|error| cannot_listen(&file.display().to_string(), &error))?,
                None => {
                    let address = self.address;
                    let listener = serve::listen(address).await;
                    Listener::tcp(
                        listener.map_err(|error| cannot_listen(&address.to_string(), &error))?,
                    )
                }
            });
        }
        let mut plain = Vec::new();
        for listener in &mut listeners {
            match listener {
                Listener::Tcp(_, of_listener) => of_listener.clone_from(&tls),
                Listener::Unix(..) => plain.push(listener.to_string()),
            }
        }
        if tls.is_some() && !plain.is_empty() {
            let alone = plain.len() == listeners.len();
            let plain = plain.join(", ");
            if alone {
                return Err(Refused(format!(
                    "--tls-certificate is for TCP, and the server listens at {plain} only, where nothing is \
                     encrypted: leave it and --tls-key away, and let the proxy before the socket speak TLS"
                ))
                .into());
            }
            warn!("the certificate is for TCP alone: nothing is encrypted at {plain}");
        }
        Ok((listeners, tls))
    }
}

/// Why the server does not start. An address may be one that the network does not have yet, or that
/// another server has for a moment longer: that is worth another try.
fn cannot_listen(place: &str, error: &io::Error) -> anyhow::Error {
    let why = format!("cannot listen on {place}: {error}");
    match error.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => anyhow::Error::msg(why),
        _ => Refused(why).into(),
    }
}

/// How the server is watched.
#[derive(Debug)]
pub(super) struct Watch {
    /// Where `/metrics` is.
    pub(super) metrics: Option<MetricsAddress>,
    /// Where metrics are sent.
    pub(super) influx: Option<Collector>,
}

fn site(arguments: SiteArgs) -> Result<Site, Refused> {
    let logo = arguments.site_logo.as_deref().map(Logo::read);
    let introduction = arguments.site_introduction.as_deref();
    let introduction = introduction.map(site::read_introduction);
    Ok(Site {
        name: arguments.site_name,
        public_url: arguments.public_url,
        logo: logo.transpose().map_err(Refused)?,
        introduction: introduction.transpose().map_err(Refused)?,
        links: arguments.site_links,
    })
}

/// Serves until a signal to stop; `ready` is called with the address once requests are accepted.
pub(super) fn run_server(
    config: Config,
    listen: Listen,
    watch: Watch,
    ready: impl FnOnce(&str),
) -> anyhow::Result<()> {
    let store = Store::open(&config.datadir)?;
    if !config.configdir.is_dir() {
        // The OCaml server refuses to start; ours needs the directory only for hooks.
        warn!(
            "the configuration directory {} does not exist: no upload hook is run",
            config.configdir.display()
        );
    }
    // One may hang with the disk, see `page_cache`.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(2))
        .enable_all()
        .thread_name("builder-web")
        .build()
        .context("start threads")?;
    runtime.block_on(async {
        let (listeners, tls) = listen.open().await?;
        let addresses: Vec<String> = listeners.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        let datadir = config.datadir.display().to_string();
        let app = App::new(store, config, Clock::System);
        auth::tokens::note_expired(&app);
        if let Some(tls) = &tls {
            look_at_certificate(&app, tls);
        }
        let stops = Arc::new(AtomicBool::new(false));
        let follows = tokio::spawn(follow(app.clone(), stops.clone()));
        let cache = app.store().cache();
        tokio::task::spawn_blocking(move || {
            let seconds = u64::try_from(Clock::System.now().unix_seconds()).unwrap_or_default();
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            if let Err(error) = cache.sweep(&drawings::VERSIONS, now) {
                warn!("old pictures cannot be removed: {}", with_causes(&error));
            }
        });
        watch_server(&app, watch).await?;
        let store = app.store().clone();
        // Not of the runtime, whose end would wait for it: that it is cut off at any point is no harm.
        std::thread::spawn(move || match store.finish_removals() {
            Ok(files) if files.artifacts > 0 => info!(
                "finished a removal that was interrupted: {} artifacts",
                files.artifacts
            ),
            Ok(_) => {}
            Err(error) => warn!(
                "files of removed builds cannot be removed: {}",
                with_causes(&error)
            ),
        });
        // Before anybody is told that it serves, and may ask it to stop.
        let hung_up = hang_ups(
            app.clone(),
            tls,
            signal(SignalKind::hangup()).context("wait for signals")?,
            has_terminal(),
        );
        let asked_to_stop = serve::stop_signal(hung_up).context("wait for signals")?;
        info!("serving {datadir} on {addresses}");
        service::ready();
        tokio::spawn(service::watchdog(app.clone()));
        let again = app.blocking(|app| app.hooks().run_interrupted(app));
        if let Ok(Err(error)) = again.await {
            warn!(
                "hooks that were interrupted are not run again: {}",
                with_causes(&error)
            );
        }
        ready(&addresses);
        let mut stopping = Instant::now();
        let stop = async {
            asked_to_stop.await;
            stops.store(true, Ordering::Relaxed);
            follows.abort();
            service::stopping();
            stopping = Instant::now();
        };
        serve::run(listeners, routes::router(app.clone()), &app, stop).await;
        let left = app
            .limits()
            .shutdown_time_max
            .saturating_sub(stopping.elapsed());
        app.hooks().finish(left).await;
        app.blocking(refusals::finish).await.unwrap_or_default();
        info!("stopped");
        Ok(())
    })
}

/// Reads the certificate again whenever somebody asks for it: so one that was renewed comes into use
/// without a connection that is cut. Ends when the server is to: who closes the terminal that it runs
/// in wants that.
async fn hang_ups(app: App, tls: Option<Tls>, mut asked: Signal, runs_in_terminal: bool) {
    while asked.recv().await.is_some() {
        // Without a certificate nothing else can be meant.
        if runs_in_terminal && (tls.is_none() || !has_terminal()) {
            return;
        }
        let Some(tls) = tls.clone() else {
            info!("asked to read the certificate again, but there is none");
            continue;
        };
        let again = tls.clone();
        let read = tokio::task::spawn_blocking(move || again.read_again()).await;
        match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => {
                info!("the certificate was read again");
                look_at_certificate(&app, &tls);
            }
            Err(why) => {
                app.metrics().certificate_failures.inc();
                error!("still with the certificate as it was: {why}");
            }
        }
    }
    std::future::pending().await
}

/// Tells until when the certificate is valid: as a metric, and in the log when that is soon.
fn look_at_certificate(app: &App, tls: &Tls) {
    let file = tls.file().display();
    let end = match tls.end() {
        Ok(end) => end,
        Err(why) => {
            app.metrics().certificate(None);
            warn!("it cannot be told until when the certificate in {file} is valid: {why}");
            return;
        }
    };
    app.metrics().certificate(Some(end));
    let left = end.unix_seconds() - app.now().unix_seconds();
    let day = end.to_rfc3339();
    if left <= 0 {
        warn!("the certificate in {file} has ended, on {day}: clients refuse it; renew it");
    } else if left <= RENEWED_BEFORE.as_secs().cast_signed() {
        warn!("the certificate in {file} ends on {day}: renew it");
    }
}

/// Whether standard input is the terminal of our session. That daemon(8) was called in one does not
/// make it so, though it may leave it as our input.
fn has_terminal() -> bool {
    rustix::termios::tcgetpgrp(io::stdin()).is_ok()
}

/// Serves metrics at their own address, and sends them, in the background.
async fn watch_server(app: &App, watch: Watch) -> anyhow::Result<()> {
    let listener = match watch.metrics {
        Some(MetricsAddress::None) => None,
        Some(MetricsAddress::At(address)) => {
            let listener = serve::listen(address).await;
            let place = format!("{address} for metrics");
            Some(listener.map_err(|error| cannot_listen(&place, &error))?)
        }
        // Another server on this machine may have it: that is no reason not to serve.
        None => serve::listen(METRICS_ADDRESS)
            .await
            .inspect_err(|error| {
                warn!(
                    "metrics are not served: cannot listen on {METRICS_ADDRESS}: {error}; \
                     choose another --metrics-address, or \"none\""
                );
            })
            .ok(),
    };
    if let Some(listener) = listener {
        let listener = Listener::tcp(listener);
        info!("metrics are at {listener}/metrics");
        let (router, app) = (routes::watching(app.clone()), app.clone());
        tokio::spawn(async move {
            serve::run_beside(vec![listener], router, &app).await;
        });
    }
    if let Some(collector) = watch.influx {
        tokio::spawn(influx::send(app.clone(), collector, influx::PERIOD));
    }
    Ok(())
}

/// Follows the database with what is derived from it: after start what was kept before, and from
/// then on what others write.
async fn follow(app: App, stops: Arc<AtomicBool>) {
    let mut seen = None;
    let mut swept: Option<Instant> = None;
    loop {
        let generation = app.blocking(|app| app.store().generation().ok()).await;
        let generation = generation.unwrap_or_default();
        let sweeps = swept.is_none_or(|swept| swept.elapsed() > SWEEP_PERIOD);
        if generation != seen || sweeps {
            let (turn_app, stops) = (app.clone(), stops.clone());
            let turn = move || {
                let go_on = || !stops.load(Ordering::Relaxed);
                search::follow::follow(turn_app.store(), turn_app.limits(), &go_on)?;
                if sweeps && go_on() {
                    turn_app.store().sweep_search()?;
                }
                Ok::<_, builder_store::Error>(())
            };
            match tokio::task::spawn_blocking(turn).await {
                Ok(Ok(())) => {
                    if seen.is_none() {
                        let app = app.clone();
                        tokio::spawn(async move { derived::catch_up(&app).await });
                    }
                    seen = generation;
                    app.look_at_failures();
                }
                // The next turn goes on where this one stopped.
                Ok(Err(error)) => {
                    error!("what is derived is not up to date: {}", with_causes(&error))
                }
                Err(error) => error!("what is derived is not up to date: {error}"),
            }
            if sweeps {
                swept = Some(Instant::now());
            }
        }
        let store = app.store().clone();
        let swept = tokio::task::spawn_blocking(move || store.sweep_left_behind()).await;
        if let Err(error) = swept {
            error!("what a failed upload left is still there: {error}");
        }
        tokio::time::sleep(FOLLOW_PERIOD).await;
    }
}

fn warn_of(legacy: &LegacyArgs) {
    if let Some(cachedir) = &legacy.cachedir {
        warn!(
            "--cachedir {} is ignored: the cache is _cache in the data directory",
            cachedir.display()
        );
    }
    if legacy.run_batch_viz {
        warn!("--run-batch-viz is ignored: the server draws pictures itself, after each upload");
    }
}
