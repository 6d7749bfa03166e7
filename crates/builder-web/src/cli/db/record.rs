//! `db record-take-back` and `record-anew`.

use anyhow::Context;
use builder_store::record::Before;
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

#[derive(Debug, Args)]
pub(super) struct AnewArgs {
    #[command(flatten)]
    datadir: DatadirArg,
}

pub(super) fn anew(args: &AnewArgs) -> anyhow::Result<()> {
    let directory = &args.datadir.datadir;
    let before = record::go_on_with_another(directory, |tx, before| {
        let what = match before {
            Before::Missing => "the record before it is missing: this one begins empty",
            Before::Same | Before::Another => "another record than the one before",
        };
        audit::note(tx, "record-anew", "", what)
    })?;
    let file = directory.join(record::FILE);
    let file = file.display();
    say(&match before {
        Before::Same => format!("{file} is the one that was there before; nothing to do"),
        Before::Missing => {
            format!("{file} is empty now: no pins, no tokens, an audit record that begins today")
        }
        Before::Another => format!("{file} is the record from now on"),
    });
    Ok(())
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
