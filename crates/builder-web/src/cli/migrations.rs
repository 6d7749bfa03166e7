//! `builder-web migrations`, also `builder-migrations`: bringing a data directory from one schema
//! version to another.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use builder_store::Store;
use builder_store::migrations::{
    self, Direction, Event, Goal, MigrationError, Options, STEPS, Step, VERSION_MAX,
};
use clap::{ArgAction, Args, Parser, Subcommand};

use super::progress::Progress;
use super::{DatadirArg, Refused, ocaml, say, say_error};

/// `builder-migrations`, under its own name.
#[derive(Debug, Parser)]
#[command(
    name = "builder-migrations",
    version,
    about = "Bring a data directory from one schema version to another"
)]
pub(super) struct BuilderMigrations {
    #[command(flatten)]
    pub(super) migrations: MigrationsArgs,
}

#[derive(Debug, Args)]
pub(super) struct MigrationsArgs {
    #[command(subcommand)]
    command: MigrationsCommand,
}

#[derive(Debug, Subcommand)]
enum MigrationsCommand {
    /// Bring a data directory up to date, or to a version on the way
    Up {
        /// The version to stop at
        #[arg(long, value_name = "N", default_value_t = VERSION_MAX)]
        to: i64,
        #[command(flatten)]
        platforms: PlatformArgs,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Take a data directory back to an older version
    Down {
        /// The version to stop at
        #[arg(long, value_name = "N")]
        to: i64,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Show the version of a data directory, and what leads to and from it
    Status {
        #[command(flatten)]
        datadir: DatadirArg,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add the platform to builds (version 14 to 15)
    #[command(name = "migrate-2021-11-05")]
    Migrate20211105 {
        #[command(flatten)]
        platforms: PlatformArgs,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Take the platform out of builds (version 15 to 14)
    #[command(name = "rollback-2021-11-05")]
    Rollback20211105(RunArgs),
    /// Write uuids in hexadecimal digits (version 15 to 16)
    #[command(name = "migrate-2022-05-09")]
    Migrate20220509(RunArgs),
    /// Write uuids as 16 bytes (version 16 to 15)
    #[command(name = "rollback-2022-05-09")]
    Rollback20220509(RunArgs),
    /// Index failed builds by their lack of a main binary (version 16 to 17)
    #[command(name = "migrate-2023-09-11")]
    Migrate20230911(RunArgs),
    /// Index failed builds by their exit code (version 17 to 16)
    #[command(name = "rollback-2023-09-11")]
    Rollback20230911(RunArgs),
    /// Keep artifacts by their content, each once (version 17 to 18)
    #[command(name = "migrate-2023-09-14")]
    Migrate20230914(RunArgs),
    /// Keep artifacts by job and build (version 18 to 17)
    #[command(name = "rollback-2023-09-14")]
    Rollback20230914(RunArgs),
}

#[derive(Debug, Args)]
struct PlatformArgs {
    /// The platform of all builds that USER uploaded before there were platforms; may be repeated
    ///
    /// Without it, the platform of a build is taken from its build-environment.
    #[arg(long = "platform", value_name = "USER=PLATFORM", value_parser = user_and_platform)]
    platforms: Vec<(String, String)>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Print the SQL and the file moves, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the SQL as it is run
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
    /// As of the OCaml tool: quiet, error, warning, info or debug
    #[arg(long, value_name = "LEVEL", hide = true)]
    verbosity: Option<ocaml::Level>,
}

fn user_and_platform(argument: &str) -> Result<(String, String), String> {
    match argument.split_once('=') {
        Some((user, platform)) if !user.is_empty() && !platform.is_empty() => {
            Ok((user.to_owned(), platform.to_owned()))
        }
        _ => Err("give USER=PLATFORM, such as builder=debian-12".to_owned()),
    }
}

pub(super) fn run(arguments: MigrationsArgs) -> anyhow::Result<()> {
    use Direction::{Down, Up};
    use MigrationsCommand as Command;
    let none = PlatformArgs {
        platforms: Vec::new(),
    };
    let [m20211105, m20220509, m20230911, m20230914] = &STEPS;
    match arguments.command {
        Command::Up { to, platforms, run } => go(Goal::Up(to), platforms, run),
        Command::Down { to, run } => go(Goal::Down(to), none, run),
        Command::Status { datadir, json } => status(datadir.datadir, json),
        Command::Migrate20211105 { platforms, run } => {
            go(Goal::Step(m20211105, Up), platforms, run)
        }
        Command::Rollback20211105(run) => go(Goal::Step(m20211105, Down), none, run),
        Command::Migrate20220509(run) => go(Goal::Step(m20220509, Up), none, run),
        Command::Rollback20220509(run) => go(Goal::Step(m20220509, Down), none, run),
        Command::Migrate20230911(run) => go(Goal::Step(m20230911, Up), none, run),
        Command::Rollback20230911(run) => go(Goal::Step(m20230911, Down), none, run),
        Command::Migrate20230914(run) => go(Goal::Step(m20230914, Up), none, run),
        Command::Rollback20230914(run) => go(Goal::Step(m20230914, Down), none, run),
    }
}

fn go(goal: Goal, platforms: PlatformArgs, run: RunArgs) -> anyhow::Result<()> {
    let mut by_user = BTreeMap::new();
    for (user, platform) in platforms.platforms {
        if let Some(other) = by_user.insert(user.clone(), platform.clone())
            && other != platform
        {
            return Err(Refused(format!(
                "--platform gives user {user} both {other} and {platform}"
            ))
            .into());
        }
    }
    let directory = run.datadir.datadir.clone();
    let options = Options {
        platforms: by_user,
        dry_run: run.dry_run,
    };
    let level = ocaml::level(run.verbose, run.verbosity, run.quiet);
    let quiet = level.is_some_and(|level| level <= ocaml::Level::Error);
    let mut narrator = Narrator {
        dry_run: run.dry_run,
        verbose: level.is_some_and(|level| level >= ocaml::Level::Info),
        quiet,
        progress: None,
    };
    let note = |detail: &str| -> anyhow::Result<()> {
        // There is an audit record from the first time that builder-web opened the directory.
        if run.dry_run || !directory.join(builder_store::record::FILE).exists() {
            return Ok(());
        }
        let store = Store::open_beside(&directory)?;
        store
            .write(|tx| super::db::note(tx, "migrate", "", detail))
            .context("note the migration in the audit record")
    };
    let down = matches!(goal, Goal::Down(_) | Goal::Step(_, Direction::Down));
    // A directory of an older version has no place for it: noted before, or after.
    let leaves =
        down && migrations::status(&directory).is_ok_and(|status| status.version == VERSION_MAX);
    if leaves {
        note(&format!("down from version {VERSION_MAX}"))?;
    }
    let outcome = migrations::run(&directory, goal, &options, &mut |event| {
        narrator.tell(event)
    });
    narrator.clear();
    if let (true, Err(error)) = (leaves, &outcome)
        && migrations::status(&directory).is_ok_and(|status| status.version == VERSION_MAX)
    {
        note(&format!("not down from version {VERSION_MAX}: {error}"))?;
    }
    let outcome = outcome.map_err(refused)?;
    if outcome.to == VERSION_MAX && outcome.from != outcome.to {
        note(&format!("up from version {}", outcome.from))?;
    }
    if !quiet {
        let (from, to) = (outcome.from, outcome.to);
        let directory = directory.display();
        say(&if from == to {
            format!("{directory} has version {to}; nothing to do")
        } else if run.dry_run {
            format!("-- nothing was changed: {directory} has version {from}")
        } else {
            format!("{directory} has version {to} now, after {from}")
        });
    }
    Ok(())
}

fn status(directory: PathBuf, json: bool) -> anyhow::Result<()> {
    let status = migrations::status(&directory).map_err(refused)?;
    if json {
        let steps: Vec<_> = STEPS
            .iter()
            .map(|step| {
                serde_json::json!({
                    "name": step.name,
                    "from": step.from,
                    "to": step.to,
                    "about": step.about(Direction::Up),
                    "applied": step.to <= status.version,
                })
            })
            .collect();
        let status = serde_json::json!({
            "datadir": directory.display().to_string(),
            "version": status.version,
            "latest": VERSION_MAX,
            "interrupted": status.interrupted,
            "steps": steps,
        });
        say(&serde_json::to_string_pretty(&status).context("write JSON")?);
        return Ok(());
    }
    let mut text = format!("{} has version {}", directory.display(), status.version);
    if status.version == VERSION_MAX {
        text.push_str(", which is up to date");
    }
    for step in &STEPS {
        let applied = if step.to <= status.version { "x" } else { " " };
        text.push_str(&format!(
            "\n  [{applied}] {} to {}  {}  {}",
            step.from,
            step.to,
            step.name,
            step.about(Direction::Up)
        ));
    }
    if let Some(command) = status.interrupted {
        text.push_str(&format!(
            "\n{command} was interrupted; what it left is seen to by the next: builder-migrations up --datadir {}",
            directory.display()
        ));
    }
    say(&text);
    Ok(())
}

fn refused(error: MigrationError) -> anyhow::Error {
    if error.is_refusal() {
        Refused(error.to_string()).into()
    } else {
        error.into()
    }
}

/// Says what is done: in words, or in a dry run as SQL with comments.
struct Narrator {
    dry_run: bool,
    verbose: bool,
    quiet: bool,
    /// What is being counted, on a terminal.
    progress: Option<(&'static str, Progress)>,
}

impl Narrator {
    fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Progress { what, done, total } => self.progress(what, done, total),
            Event::PutAside { from, to } => {
                self.clear();
                say_error(&format!(
                    "builder-migrations: {} is not what it should be, or is in the way; kept as {}",
                    from.display(),
                    to.display()
                ));
            }
            _ if self.quiet => {}
            Event::Sql(sql) if self.dry_run || self.verbose => {
                self.clear();
                say(&format!("{sql};"));
            }
            Event::Move { from, to } => {
                say(&format!("-- move {} to {}", from.display(), to.display()));
            }
            Event::Step(step, direction) => self.heading(&heading(step, direction)),
            // Each step that moves files ends in this; to say it each time is of no use.
            Event::Left { command, finish } if self.dry_run || self.verbose => {
                let what = match finish {
                    true => "removing the old places of files that were moved",
                    false => "taking back what was begun",
                };
                self.heading(&format!("{command}: {what}"));
            }
            _ => {}
        }
    }

    fn heading(&mut self, text: &str) {
        self.clear();
        say(&if self.dry_run {
            format!("-- {text}")
        } else {
            text.to_owned()
        });
    }

    fn progress(&mut self, what: &'static str, done: u64, total: u64) {
        if self.quiet || self.dry_run {
            return;
        }
        match &self.progress {
            Some((counted, progress)) if *counted == what => progress.set(done),
            _ => {
                self.clear();
                let progress = Progress::of_count(what, total);
                progress.set(done);
                self.progress = Some((what, progress));
            }
        }
    }

    fn clear(&mut self) {
        self.progress = None;
    }
}

fn heading(step: &Step, direction: Direction) -> String {
    let (from, to) = step.versions(direction);
    format!("version {from} to {to}: {}", step.about(direction))
}
