//! `builder-web serve`: the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use builder_store::Store;
use tracing::{error, info, warn};

use super::{LegacyArgs, Refused, ServeArgs, SiteArgs, start_log};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::error::with_causes;
use crate::site::{self, Logo, Site};
use crate::{routes, serve};

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn run(arguments: ServeArgs) -> anyhow::Result<()> {
    start_log(&arguments.log)?;
    warn_of(&arguments.legacy);
    let site = site(arguments.site)?;
    let config = Config {
        datadir: arguments.datadir.datadir,
        configdir: arguments.configdir,
        expired_jobs: match arguments.expired_jobs {
            0 => None,
            days => Some(DAY * days),
        },
        site,
        limits: Limits {
            upload_bytes_max: arguments.upload_limit.saturating_mul(MIB),
            page_cache_bytes_max: usize::from(arguments.page_cache) * 1024 * 1024,
            ..Limits::default()
        },
    };
    let address = SocketAddr::new(arguments.host, arguments.port);
    run_server(config, address, |_| {})
}

fn site(arguments: SiteArgs) -> Result<Site, Refused> {
    let logo = arguments.site_logo.as_deref().map(Logo::read);
    let introduction = arguments.site_introduction.as_deref();
    let introduction = introduction.map(site::read_introduction);
    Ok(Site {
        name: arguments.site_name,
        logo: logo.transpose().map_err(Refused)?,
        introduction: introduction.transpose().map_err(Refused)?,
        links: arguments.site_links,
    })
}

/// Serves until a signal to stop; `ready` is called with the address once requests are accepted.
pub(super) fn run_server(
    config: Config,
    address: SocketAddr,
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let store = Store::open(&config.datadir)?;
    if !config.configdir.is_dir() {
        // The OCaml server refuses to start; ours needs the directory only for hooks.
        warn!(
            "the configuration directory {} does not exist: no upload hook is run",
            config.configdir.display()
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("builder-web")
        .build()
        .context("start threads")?;
    runtime.block_on(async {
        let listener = serve::listen(address)
            .await
            .map_err(|error| Refused(format!("cannot listen on {address}: {error}")))?;
        let address = listener.local_addr().context("learn the address")?;
        let limits = config.limits.clone();
        let datadir = config.datadir.display().to_string();
        let app = App::new(store, config, Clock::System);
        let store = app.store().clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = store.catch_up() {
                error!("what is derived cannot be kept: {}", with_causes(&error));
            }
        });
        info!("serving {datadir} on http://{address}");
        ready(address);
        let mut stopping = Instant::now();
        let stop = async {
            if let Err(error) = serve::stop_signal().await {
                error!("signals cannot be waited for: {error}");
                std::future::pending::<()>().await;
            }
            stopping = Instant::now();
        };
        serve::run(listener, routes::router(app.clone()), &limits, stop).await;
        let left = limits.shutdown_time_max.saturating_sub(stopping.elapsed());
        app.hooks().finish(left).await;
        info!("stopped");
        Ok(())
    })
}

fn warn_of(legacy: &LegacyArgs) {
    if let Some(cachedir) = &legacy.cachedir {
        warn!(
            "--cachedir {} is ignored: the cache is _cache in the data directory",
            cachedir.display()
        );
    }
    if let Some(influx) = &legacy.influx {
        warn!(
            "--influx {influx} is ignored: metrics are not sent to Influx any more; read the log instead"
        );
    }
    if legacy.run_batch_viz {
        warn!("--run-batch-viz is ignored: run batch-viz.sh from cron instead");
    }
}
