//! `builder-web db`, also `builder-db`: looking after the database. One command, or a few that
//! belong together, a file.

mod migrate;
mod password;
mod record;
mod users;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Args)]
pub(super) struct DbArgs {
    #[command(subcommand)]
    command: DbCommand,
}

/// `builder-db`, under its own name.
#[derive(Debug, Parser)]
#[command(
    name = "builder-db",
    version,
    about = "Look after the database of builder-web"
)]
pub(super) struct BuilderDb {
    #[command(flatten)]
    pub(super) db: DbArgs,
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    /// Create the data directory and its database, if they are not there
    Migrate(migrate::MigrateArgs),
    /// Add a user who may upload; the password is read from standard input
    UserAdd(users::AddArgs),
    /// Take builder-web-record.sqlite3 back to an older version; stop the server first
    ///
    /// Needed only before an older builder-web is installed, which says so. What newer versions
    /// keep there is lost.
    RecordTakeBack(record::TakeBackArgs),
}

pub(super) fn run(args: DbArgs) -> anyhow::Result<()> {
    match args.command {
        DbCommand::Migrate(args) => migrate::run(&args),
        DbCommand::UserAdd(args) => users::add(&args),
        DbCommand::RecordTakeBack(args) => record::take_back(&args),
    }
}
