//! Every command and option.

mod arenas;
mod db;
mod demo;
mod elf;
mod file;
mod generate;
mod help;
mod input;
mod limits;
mod log;
mod migrations;
mod ocaml;
mod opam;
mod progress;
mod serve;
mod viz;

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use builder_store::OpenError;
use clap::{Args, FromArgMatches, Parser, Subcommand};

use self::limits::LimitArgs;
use self::log::{say_error, say_note, start as start_log};
use crate::client::TrustedProxy;
use crate::metrics::influx::Collector;
use crate::unseen;

/// Exit status when the data directory cannot be served until somebody mends it, as of the OCaml
/// server; also when the command line makes no sense. A service is not started again after it, so
/// what may pass by itself has another one.
const EXIT_REFUSED: u8 = 2;

/// Takes in finished builds, keeps them, and shows and serves them.
///
/// Without a command, it serves.
#[derive(Debug, Parser)]
#[command(
    name = "builder-web",
    version = crate::VERSION,
    disable_help_flag = true,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
    /// Print help
    // `-h` is --host, as of the OCaml server.
    #[arg(long, global = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a data directory
    Serve(Box<ServeArgs>),
    /// Look after the database (also: builder-db)
    Db(db::DbArgs),
    /// Bring a data directory from one schema version to another (also: builder-migrations)
    Migrations(migrations::MigrationsArgs),
    /// Compare files on this disk
    File(file::FileArgs),
    /// Look into an executable on this disk
    Elf(elf::ElfArgs),
    /// Fill a directory with invented builds and serve it
    Demo(DemoArgs),
    /// Write manual pages, for all names of the program
    Man(generate::ManArgs),
    /// Print or write completions for shells
    Completions(generate::CompletionsArgs),
    /// Print and compare opam files and switch exports
    Opam(opam::OpamArgs),
    /// Draw what takes space in a binary, or which package needs which
    Viz(viz::VizArgs),
}

/// Options of the server.
#[derive(Debug, Args)]
struct ServeArgs {
    /// Port to listen on
    #[arg(short, long, default_value_t = 3000)]
    port: u16,
    /// Address to listen on
    #[arg(
        short = 'h',
        long,
        env = "BUILDER_WEB_HOST",
        default_value = "127.0.0.1"
    )]
    host: IpAddr,
    /// Listen at this file as a Unix socket, and at no address
    #[arg(long, value_name = "FILE", conflicts_with_all = ["port", "host"])]
    socket: Option<PathBuf>,
    /// Who may connect to the Unix socket: the mode of its file, in octal
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = mode)]
    socket_mode: u32,
    /// Speak TLS with this certificate and those it rests on, as PEM; read again on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    datadir: DatadirArg,
    /// Directory of the configuration, with upload-hooks/
    #[arg(short, long, default_value = default_configdir(), value_name = "DIR")]
    configdir: PathBuf,
    /// Leave jobs off the front page whose last build is older than this many days; 0: leave none off
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    expired_jobs: u32,
    #[command(flatten)]
    limits: LimitArgs,
    /// Where Prometheus finds /metrics, or "none" [default: 127.0.0.1:9180, if that is free]
    #[arg(long, env = "BUILDER_WEB_METRICS_ADDRESS", value_name = "ADDRESS:PORT")]
    metrics_address: Option<MetricsAddress>,
    /// Send metrics to this host every ten seconds, as Influx line protocol over TCP; the port is 8094 if none is given
    #[arg(long, value_name = "HOST[:PORT]")]
    influx: Option<Collector>,
    /// A proxy whose X-Forwarded-For, -Host, -Proto and X-Request-Id are believed: ADDRESS, ADDRESS/BITS, or "unix" for all who connect to a Unix socket; may be given several times
    #[arg(long = "trusted-proxy", value_name = "ADDRESS")]
    trusted_proxies: Vec<TrustedProxy>,
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    legacy: LegacyArgs,
}

/// What the pages say of the site.
#[derive(Debug, Args)]
struct SiteArgs {
    /// Name of the site, on every page
    #[arg(
        long,
        env = "BUILDER_WEB_SITE_NAME",
        default_value_t = crate::site::Site::default().name,
        value_name = "NAME"
    )]
    site_name: String,
    /// Picture beside the name: SVG, PNG, JPEG, GIF or WebP
    #[arg(long, env = "BUILDER_WEB_SITE_LOGO", value_name = "FILE")]
    site_logo: Option<PathBuf>,
    /// Markdown to show at the top of the front page
    #[arg(long, env = "BUILDER_WEB_SITE_INTRODUCTION", value_name = "FILE")]
    site_introduction: Option<PathBuf>,
    /// URL by which the web knows this site, for feeds; without it, the one each client uses
    #[arg(long, value_name = "URL", value_parser = crate::origin::parse)]
    public_url: Option<String>,
    /// Link at the foot of every page; may be given several times
    #[arg(long = "site-link", value_name = "TITLE=URL")]
    site_links: Vec<crate::site::Link>,
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("{text:?} is no mode in octal, as 660"))
}

/// Where metrics are served.
#[derive(Debug, Clone, Copy)]
enum MetricsAddress {
    /// Nowhere.
    None,
    /// At an address of their own.
    At(SocketAddr),
}

impl std::str::FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<MetricsAddress, String> {
        if text == "none" {
            return Ok(MetricsAddress::None);
        }
        text.parse().map(MetricsAddress::At).map_err(|_| {
            format!("{text:?} is no ADDRESS:PORT, as in 127.0.0.1:9180, and not \"none\"")
        })
    }
}

/// How the log is written.
#[derive(Debug, Args)]
struct LogArgs {
    /// Write the log as JSON, an object a line
    #[arg(long)]
    log_json: bool,
    /// What to log: a level, or levels by module as in RUST_LOG [default: info]
    // Without a default of clap, so that it is known whether anything was said.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER")]
    log_level: Option<String>,
}

impl LogArgs {
    /// For a command that says itself what it does.
    fn quiet() -> LogArgs {
        LogArgs {
            log_json: false,
            log_level: Some("warn".to_owned()),
        }
    }
}

impl LogArgs {
    /// The same for one that runs hooks: with what they print.
    fn of_hooks() -> LogArgs {
        LogArgs {
            log_level: Some("warn,builder_web::upload::hooks=info".to_owned()),
            ..LogArgs::quiet()
        }
    }
}

/// Options that installations of the OCaml server may still pass.
#[derive(Debug, Args)]
struct LegacyArgs {
    #[arg(long, hide = true)]
    cachedir: Option<PathBuf>,
    #[arg(long, hide = true)]
    run_batch_viz: bool,
    #[arg(short, long, hide = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[arg(long, hide = true, value_name = "LEVEL")]
    verbosity: Option<ocaml::Level>,
    #[arg(short, long, hide = true)]
    quiet: bool,
    #[arg(
        short,
        long,
        alias = "logging-levels",
        hide = true,
        value_name = "SOURCE:LEVEL",
        value_delimiter = ','
    )]
    logs: Vec<ocaml::Threshold>,
    /// Ours has colours on a terminal, and nowhere else.
    #[arg(long, hide = true, value_name = "WHEN")]
    color: Option<String>,
}

/// The data directory.
#[derive(Debug, Args)]
struct DatadirArg {
    /// Directory of the database and the artifacts
    #[arg(
        short,
        long,
        env = "BUILDER_WEB_DATADIR",
        default_value = default_datadir(),
        value_name = "DIR"
    )]
    datadir: PathBuf,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Port to listen on
    #[arg(short, long, default_value_t = 3000)]
    port: u16,
    /// Directory to fill; kept, and served as it is the next time
    #[arg(short, long, default_value = "./demo-data", value_name = "DIR")]
    datadir: PathBuf,
    #[command(flatten)]
    log: LogArgs,
}

fn default_datadir() -> &'static str {
    if cfg!(target_os = "freebsd") {
        "/var/db/builder-web"
    } else {
        "/var/lib/builder-web"
    }
}

fn default_configdir() -> &'static str {
    if cfg!(target_os = "freebsd") {
        "/usr/local/etc/builder-web"
    } else {
        "/etc/builder-web"
    }
}

/// Runs the program with its arguments, the first of which is the name it was called by.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let name = arguments
        .first()
        .map(PathBuf::from)
        .and_then(|path| path.file_name().map(|name| name.to_owned()));
    let outcome = if name.as_ref().is_some_and(|name| name == "builder-db") {
        db::run(parse::<db::BuilderDb>(help::builder_db(), arguments).db)
    } else if name.is_some_and(|name| name == "builder-migrations") {
        let command = help::builder_migrations();
        let arguments = parse::<migrations::BuilderMigrations>(command, arguments);
        migrations::run(arguments.migrations)
    } else {
        let cli: Cli = parse(help::builder_web(), arguments);
        match cli.command {
            None => serve::run(cli.serve),
            Some(Command::Serve(serve)) => serve::run(*serve),
            Some(Command::Db(db)) => db::run(db),
            Some(Command::Migrations(migrations)) => migrations::run(migrations),
            Some(Command::File(file)) => file::run(file),
            Some(Command::Elf(elf)) => elf::run(elf),
            Some(Command::Demo(demo)) => demo::run(demo),
            Some(Command::Man(args)) => generate::man(&args),
            Some(Command::Completions(args)) => generate::completions(&args),
            Some(Command::Opam(opam)) => opam::run(opam),
            Some(Command::Viz(viz)) => viz::run(viz),
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<AnswerIsNo>() => ExitCode::FAILURE,
        Err(error) => {
            say_error(&format!("builder-web: {error:#}"));
            let stays_so = match error.downcast_ref::<OpenError>() {
                // As a disk that cannot be read, or a file that another process has locked.
                Some(OpenError::Other { .. }) => false,
                Some(_) => true,
                None => error.is::<Refused>(),
            };
            match stays_so {
                true => ExitCode::from(EXIT_REFUSED),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Reads the command line. What makes no sense, and `--help`, end the program here.
fn parse<P: FromArgMatches>(command: clap::Command, arguments: Vec<OsString>) -> P {
    let matches = command.get_matches_from(arguments);
    P::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Something that is to be put right before the command can run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// A command whose answer was no, as `diff` says it: with the exit status, and nothing to complain of.
#[derive(Debug, thiserror::Error)]
#[error("the answer is no")]
struct AnswerIsNo;

/// What a command answers, with names from outside as [`unseen`] shows them. Nobody may be reading any
/// more: that is no reason to stop.
fn say(text: &str) {
    let text = unseen::lines(text);
    let _: std::io::Result<()> = writeln!(std::io::stdout(), "{text}");
}

/// What a command asks; the answer is on the same line. On standard error, so that it is seen when
/// the output goes elsewhere.
fn say_question(text: &str) {
    let text = unseen::lines(text);
    let _: std::io::Result<()> = write!(std::io::stderr(), "{text}");
}

/// A file that a command answers with, which may be no text.
fn say_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _: std::io::Result<()> = out.write_all(bytes).and_then(|()| out.flush());
}
