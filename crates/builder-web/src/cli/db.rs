//! `builder-web db`, also `builder-db`: looking after the database. One command, or a few that
//! belong together, a file.

mod access;
mod account;
mod audit;
mod backup;
mod doctor;
mod export;
mod import;
mod migrate;
mod password;
mod pins;
mod record;
mod remove;
mod restore;
mod room;
mod run_hooks;
mod table;
mod tokens;
mod users;
mod verify_cache_dir;
mod verify_data_dir;
mod verify_input_id;

pub(super) use self::account::account;
pub(super) use self::audit::note;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Args)]
pub(super) struct DbArgs {
    #[command(subcommand)]
    command: DbCommand,
    #[command(flatten)]
    ocaml: OcamlArgs,
}

/// As of the OCaml tool, whose answers were its log. Ours say what they have to say.
#[derive(Debug, Args)]
struct OcamlArgs {
    #[arg(long, value_name = "LEVEL", global = true, hide = true)]
    verbosity: Option<super::ocaml::Level>,
    #[arg(short, long, global = true, hide = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[arg(short, long, global = true, hide = true)]
    quiet: bool,
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
    /// Add a user who may upload
    ///
    /// The password is asked for on a terminal, or is the first line of standard input. In an empty data
    /// directory the database is made.
    UserAdd(users::PasswordArgs),
    /// Give a user another password, and say anew whether access is restricted
    ///
    /// The password is asked for on a terminal, or is the first line of standard input. Without
    /// --unrestricted the user may then upload only to the jobs on the access list.
    UserUpdate(users::PasswordArgs),
    /// Remove a user who has not uploaded any build that is still there, and revoke the user's tokens
    UserRemove(users::UserArgs),
    /// Keep a user from logging in, empty the access list, and revoke the user's tokens
    UserDisable(users::UserArgs),
    /// List the users
    UserList(users::ListArgs),
    /// Let a restricted user upload to a job
    AccessAdd(access::AccessArgs),
    /// Let a restricted user no longer upload to a job
    AccessRemove(access::AccessArgs),
    /// List which user may upload to which job
    AccessList(access::ListArgs),
    /// Remove a job with all its builds
    ///
    /// What is known of the builds is kept, and shown on their pages. Can run while the server does.
    JobRemove(remove::JobRemoveArgs),
    /// Remove old builds
    ///
    /// Artifacts that a remaining build has are kept, and so are pinned builds. What is known of the
    /// builds that go is kept too, and shown on their pages. Can run while the server does; when it
    /// is interrupted, its next run finishes the work.
    Vacuum(remove::VacuumArgs),
    /// Keep a build from ever being vacuumed
    Pin(pins::PinArgs),
    /// Let a pinned build be vacuumed again
    Unpin(pins::UnpinArgs),
    /// List the pinned builds
    PinList(pins::ListArgs),
    /// Take builder-web-record.sqlite3 back to an older version; stop the server first
    ///
    /// Needed only before an older builder-web is installed, which says so. What newer versions
    /// keep there is lost.
    RecordTakeBack(record::TakeBackArgs),
    /// Go on with another builder-web-record.sqlite3 than before; stop the server first
    ///
    /// Needed only where that file is lost, or was replaced by one that is no backup of it: nothing
    /// starts until it is said that this is meant. Where there is none an empty one is made.
    RecordAnew(record::AnewArgs),
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
    /// Make the data directory what a backup is, while no server has it open
    ///
    /// What was there is put aside, not removed. Interrupted, it has changed nothing, or is finished
    /// by the next command or start of the server.
    Restore(restore::RestoreArgs),
    /// Take in exec files without a server
    Import(import::ImportArgs),
    /// Write builds as exec files to a directory
    Export(export::ExportArgs),
    /// Write one build as an exec file
    ExtractBuild(export::ExtractArgs),
    /// Run the upload hooks for a build once more
    RunHooks(run_hooks::RunHooksArgs),
    /// Make a token that programs log in with; it is printed once
    TokenAdd(tokens::AddArgs),
    /// List the tokens
    TokenList(tokens::ListArgs),
    /// Make a token worth nothing
    TokenRevoke(tokens::RevokeArgs),
    /// Show who did what, and what was refused
    Audit(audit::AuditArgs),
}

pub(super) fn run(args: DbArgs) -> anyhow::Result<()> {
    match args.command {
        DbCommand::TokenAdd(args) => tokens::add(&args),
        DbCommand::TokenList(args) => tokens::list(&args),
        DbCommand::TokenRevoke(args) => room::with(args.directory(), || tokens::revoke(&args)),
        DbCommand::Audit(args) => audit::run(&args),
        DbCommand::RunHooks(args) => run_hooks::run(&args),
        DbCommand::Migrate(args) => migrate::run(&args),
        DbCommand::UserAdd(args) => users::add(&args),
        DbCommand::UserUpdate(args) => users::update(&args),
        DbCommand::UserRemove(args) => room::with(args.directory(), || users::remove(&args)),
        DbCommand::UserDisable(args) => room::with(args.directory(), || users::disable(&args)),
        DbCommand::UserList(args) => users::list(&args),
        DbCommand::AccessAdd(args) => access::add(&args),
        DbCommand::AccessRemove(args) => room::with(args.directory(), || access::remove(&args)),
        DbCommand::AccessList(args) => access::list(&args),
        DbCommand::JobRemove(args) => room::with(args.directory(), || remove::job_remove(&args)),
        DbCommand::Vacuum(args) => room::with(args.directory(), || remove::vacuum(&args)),
        DbCommand::Pin(args) => pins::pin(&args),
        DbCommand::Unpin(args) => pins::unpin(&args),
        DbCommand::PinList(args) => pins::list(&args),
        DbCommand::RecordTakeBack(args) => record::take_back(&args),
        DbCommand::RecordAnew(args) => record::anew(&args),
        DbCommand::VerifyDataDir(args) => verify_data_dir::run(&args),
        DbCommand::VerifyInputId(args) => verify_input_id::run(&args),
        DbCommand::VerifyCacheDir(args) => verify_cache_dir::run(&args),
        DbCommand::Doctor(args) => doctor::run(&args),
        DbCommand::Backup(args) => backup::run(&args),
        DbCommand::Restore(args) => restore::run(&args),
        DbCommand::Import(args) => import::run(&args),
        DbCommand::Export(args) => export::export(&args),
        DbCommand::ExtractBuild(args) => export::extract(&args),
    }
}
