//! `db record-take-back`.

use anyhow::Context;
use builder_store::{Store, record};
use clap::Args;

use super::audit;
use crate::cli::{DatadirArg, say};

#[derive(Debug, Args)]
pub(super) struct TakeBackArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The version that the older builder-web asks for
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    to: i64,
}

pub(super) fn take_back(args: &TakeBackArgs) -> anyhow::Result<()> {
    // Before, since the version that it goes back to may know nothing of who did what.
    Store::open_beside(&args.datadir.datadir)?
        .write(|tx| audit::note(tx, "record-take-back", &format!("version {}", args.to), ""))
        .context("note it in the audit record")?;
    record::take_back(&args.datadir.datadir, args.to)?;
    say(&format!(
        "builder-web-record.sqlite3 in {} is of version {} at most",
        args.datadir.datadir.display(),
        args.to
    ));
    Ok(())
}
