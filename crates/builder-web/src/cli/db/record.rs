//! `db record-take-back`.

use builder_store::record;
use clap::Args;

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
    record::take_back(&args.datadir.datadir, args.to)?;
    say(&format!(
        "builder-web-record.sqlite3 in {} is of version {} at most",
        args.datadir.datadir.display(),
        args.to
    ));
    Ok(())
}
