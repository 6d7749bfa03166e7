//! `builder-web db`, also `builder-db`: looking after the database. One command, or a few that
//! belong together, a file.

mod backup;
mod doctor;
mod export;
mod import;
mod migrate;
mod password;
mod record;
mod users;
mod verify_cache_dir;
mod verify_data_dir;
mod verify_input_id;

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
    /// Check that all files are what the database says they are
    VerifyDataDir(verify_data_dir::VerifyDataDirArgs),
    /// Check that the same input always gave the same main binary
    VerifyInputId(verify_input_id::VerifyInputIdArgs),
    /// Check the pictures of artifacts in the cache
    VerifyCacheDir(verify_cache_dir::VerifyCacheDirArgs),
    /// Look for what is not well, and say what mends it
    Doctor(doctor::DoctorArgs),
    /// Make a backup, or bring one up to date, while the server serves
    Backup(backup::BackupArgs),
    /// Take in exec files without a server
    Import(import::ImportArgs),
    /// Write builds as exec files to a directory
    Export(export::ExportArgs),
    /// Write one build as an exec file
    ExtractBuild(export::ExtractArgs),
}

pub(super) fn run(args: DbArgs) -> anyhow::Result<()> {
    match args.command {
        DbCommand::Migrate(args) => migrate::run(&args),
        DbCommand::UserAdd(args) => users::add(&args),
        DbCommand::RecordTakeBack(args) => record::take_back(&args),
        DbCommand::VerifyDataDir(args) => verify_data_dir::run(&args),
        DbCommand::VerifyInputId(args) => verify_input_id::run(&args),
        DbCommand::VerifyCacheDir(args) => verify_cache_dir::run(&args),
        DbCommand::Doctor(args) => doctor::run(&args),
        DbCommand::Backup(args) => backup::run(&args),
        DbCommand::Import(args) => import::run(&args),
        DbCommand::Export(args) => export::export(&args),
        DbCommand::ExtractBuild(args) => export::extract(&args),
    }
}
