//! `builder-web demo`: invented builds, taken in by the code that takes in real ones, and served.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow};
use builder_store::users::{self, User};
use builder_store::{Store, builds};
use demo_builds::DemoBuild;

use super::serve::{Listen, Watch, run_server};
use super::{DemoArgs, MetricsAddress, say, start_log};
use crate::app::App;
use crate::auth::{self, Caller, ScryptParams};
use crate::clock::Clock;
use crate::config::Config;
use crate::upload::receive;

/// Of every demo user: the demo listens on this machine only.
const PASSWORD: &str = "demo";
/// Whose credentials the `curl` line has.
const USER: &str = "builder";
/// The build that the `curl` line uploads, below the data directory, where no job can be.
const ONE_MORE: &str = "_cache/one-more.exec";

pub(super) fn run(arguments: DemoArgs) -> anyhow::Result<()> {
    let datadir = arguments.datadir;
    let config = Config {
        // The demo may be looked at again after months.
        expired_jobs: None,
        ..Config::new(datadir.clone(), datadir.clone())
    };
    Store::create(&datadir)?;
    // Before the log: sixty lines of builds that were taken in tell a visitor nothing.
    fill(&config)?;
    start_log(&arguments.log)?;
    let listen = Listen {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), arguments.port),
        socket: None,
        tls: None,
    };
    let watch = Watch {
        metrics: Some(MetricsAddress::None),
        influx: None,
    };
    run_server(config, listen, watch, |address| {
        let file = datadir.join(ONE_MORE);
        say(&format!(
            "\n  Open {address}/\n\
             \n  Demo user {USER}, password {PASSWORD}. Upload one more build with:\n\
             \n    curl --user {USER}:{PASSWORD} --data-binary @{} {address}/upload\n\
             \n  The builds are in {} and are kept; remove it to start anew. Stop with Ctrl-C.\n",
            file.display(),
            datadir.display(),
        ));
    })
}

/// Takes in those of the demo's builds that are not there yet: all, none, or what an interrupted
/// run left out.
fn fill(config: &Config) -> anyhow::Result<()> {
    let begin = Instant::now();
    let app = App::new(Store::open(&config.datadir)?, config.clone(), Clock::System);
    let now = app.now();
    let mut taken = 0;
    for build in demo_builds::builds(now) {
        let uuid = build.uuid();
        if app.store().read(|tx| builds::exists(tx, uuid))? {
            continue;
        }
        let uploader = user(&app, build.uploader())?;
        let caller = Caller::local(uploader, super::db::account());
        receive::exec(&app, &caller, &mut build.exec().as_slice())
            .map_err(|error| anyhow!("the demo's build {uuid} was refused: {error:?}"))?;
        taken += 1;
    }
    user(&app, USER)?;
    for turn in 0.. {
        let build = demo_builds::one_more(now, turn);
        let uuid = build.uuid();
        if !app.store().read(|tx| builds::exists(tx, uuid))? {
            write_one_more(&build, &config.datadir.join(ONE_MORE))?;
            break;
        }
    }
    if taken > 0 {
        say(&format!(
            "took in {taken} builds in {:.1} s",
            begin.elapsed().as_secs_f64()
        ));
    }
    Ok(())
}

fn write_one_more(build: &DemoBuild, path: &Path) -> anyhow::Result<()> {
    fs::write(path, build.exec()).with_context(|| format!("write {}", path.display()))
}

/// The user of this name, added if there is none.
fn user(app: &App, name: &str) -> anyhow::Result<User> {
    if let Some(user) = app.store().read(|tx| users::by_name(tx, name))? {
        return Ok(user);
    }
    let password = auth::hash_password(PASSWORD.as_bytes(), ScryptParams::default())?;
    app.store()
        .write(|tx| users::add(tx, name, &password, false))?;
    app.store()
        .read(|tx| users::by_name(tx, name))?
        .with_context(|| format!("find the user {name} that was just added"))
}
