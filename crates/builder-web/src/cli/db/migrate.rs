//! `db migrate`.

use builder_store::{Created, Store};
use clap::Args;

use crate::cli::{DatadirArg, say};

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    datadir: DatadirArg,
}

pub(super) fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    let directory = &args.datadir.datadir;
    let created = Store::create(directory)?;
    // Opening checks the version and makes the directories.
    Store::open_beside(directory)?;
    say(&match created {
        Created::New => format!("created a database in {}", directory.display()),
        Created::Existed => {
            format!("the database in {} is up to date", directory.display())
        }
    });
    Ok(())
}
