//! `db run-hooks`: the upload hooks of a build, once more.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use builder_store::Store;
use clap::Args;
use uuid::Uuid;

use super::account::refuse_root;
use super::audit;
use crate::app::App;
use crate::cli::{DatadirArg, LogArgs, Refused, default_configdir, say, start_log};
use crate::clock::Clock;
use crate::config::Config;
use crate::show::counted;
use crate::upload::hooks::{HookCall, HookEnd};

#[derive(Debug, Args)]
pub(super) struct RunHooksArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Directory of the configuration, with upload-hooks/
    #[arg(short, long, default_value = default_configdir(), value_name = "DIR")]
    configdir: PathBuf,
    /// The build
    uuid: Uuid,
}

pub(super) fn run(args: &RunHooksArgs) -> anyhow::Result<()> {
    let uuid = args.uuid;
    let (datadir, configdir) = (
        args.datadir.datadir.display().to_string(),
        args.configdir.display().to_string(),
    );
    let command = [
        "run-hooks",
        "-d",
        &datadir,
        "-c",
        &configdir,
        &uuid.to_string(),
    ];
    refuse_root(&args.datadir.datadir, &command)?;
    let store = Store::open_beside(&args.datadir.datadir)?;
    start_log(&LogArgs::of_hooks())?;
    let config = Config::new(args.datadir.datadir.clone(), args.configdir.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("start")?;
    let _entered = runtime.enter();
    let app = App::new(store, config, Clock::System);
    let call = HookCall::of(&app, uuid)?
        .ok_or_else(|| Refused(format!("there is no build {uuid} with a main binary")))?;
    let subject = format!("{}/{uuid}", call.job);
    app.store()
        .write(|tx| audit::note(tx, "run-hooks", &subject, ""))
        .context("note it in the audit record")?;
    let ends = runtime
        .block_on(app.hooks().run(&app, call))
        .context("run the hooks")?;
    for (name, end) in &ends {
        say(&format!("{name} {}", end.name()));
    }
    let failed = ends.iter().filter(|(_, end)| *end != HookEnd::Succeeded);
    match failed.count() {
        0 => {
            say(&format!(
                "ran {} for {subject}",
                counted(ends.len(), "hook")
            ));
            Ok(())
        }
        count => Err(anyhow!("{} did not succeed", counted(count, "hook"))),
    }
}
