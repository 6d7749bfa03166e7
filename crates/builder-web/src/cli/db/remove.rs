//! `db vacuum` and `db job-remove`: removing builds, beside a server that serves them.

use std::path::Path;

use anyhow::Context;
use builder_exec::Timestamp;
use builder_store::removal::{self, Event, Files, Goal, Keep, Listed};
use builder_store::{Store, jobs};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::access::no_job;
use super::account::account;
use super::audit;
use super::table::Table;
use crate::cli::{DatadirArg, Refused, say, say_note};
use crate::show::{self, counted};
use crate::{Clock, times};

/// Up to this many builds are listed one by one, more of them job by job.
const BUILDS_LISTED_MAX: usize = 50;

#[derive(Debug, Args)]
pub(super) struct VacuumArgs {
    #[command(subcommand)]
    which: Which,
}

/// Which builds stay.
#[derive(Debug, Subcommand)]
enum Which {
    /// Remove builds that ended at a time or before it
    OlderThan {
        /// A day in UTC (2024-01-31: its beginning) or an RFC 3339 time in UTC (2024-01-31T12:00:00Z)
        #[arg(value_parser = times::parse)]
        time: Timestamp,
        #[command(flatten)]
        options: VacuumOptions,
    },
    /// Remove all but the newest N builds of each job, successful or not
    ExceptLatest {
        /// How many stay
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        n: u32,
        #[command(flatten)]
        options: VacuumOptions,
    },
    /// Remove what is older than the newest N successful builds of each job
    ///
    /// Failed builds among those N, or after them, stay too. A job with fewer than N successful
    /// builds keeps all.
    ExceptLatestSuccessful {
        /// How many successful builds stay
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        n: u32,
        #[command(flatten)]
        options: VacuumOptions,
    },
}

#[derive(Debug, Args)]
struct VacuumOptions {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Vacuum this job; may be given more than once [default: all jobs]
    #[arg(long = "job", value_name = "JOB")]
    jobs: Vec<String>,
    /// Consider builds on this platform alone; the others stay and are not counted
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Print what would be removed and how much space that frees, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct JobRemoveArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Remove pinned builds too
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// The name of the job
    job: String,
}

impl VacuumArgs {
    pub(super) fn directory(&self) -> &Path {
        let (Which::OlderThan { options, .. }
        | Which::ExceptLatest { options, .. }
        | Which::ExceptLatestSuccessful { options, .. }) = &self.which;
        &options.datadir.datadir
    }
}

impl JobRemoveArgs {
    pub(super) fn directory(&self) -> &Path {
        &self.datadir.datadir
    }
}

pub(super) fn vacuum(args: &VacuumArgs) -> anyhow::Result<()> {
    let (keep, options) = match &args.which {
        Which::OlderThan { time, options } => (Keep::EndedAfter(*time), options),
        Which::ExceptLatest { n, options } => (Keep::Latest(*n), options),
        Which::ExceptLatestSuccessful { n, options } => (Keep::LatestSuccessful(*n), options),
    };
    let store = Store::open_beside(&options.datadir.datadir)?;
    let jobs = store.read(|tx| {
        let mut found = Vec::new();
        for name in &options.jobs {
            match jobs::id_by_name(tx, name)? {
                Some(job) => found.push(job),
                None => return Ok(Err(no_job(name))),
            }
        }
        Ok(Ok(found))
    })??;
    let goal = Goal::Vacuum {
        jobs,
        platform: options.platform.clone(),
        keep,
    };
    let what = match &keep {
        Keep::EndedAfter(time) => format!("what ended at {} or before", time.to_rfc3339()),
        Keep::Latest(count) => format!("all but the latest {count}"),
        Keep::LatestSuccessful(count) => format!("all but the latest {count} that succeeded"),
    };
    let platform = options.platform.as_deref();
    let event = Noted {
        action: "vacuum",
        subject: &options.jobs.join(", "),
        detail: &match platform {
            Some(platform) => format!("{what}, on {platform}"),
            None => what,
        },
    };
    run(&store, &goal, &event, &options.output)
}

pub(super) fn job_remove(args: &JobRemoveArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let Some(job) = store.read(|tx| jobs::id_by_name(tx, &args.job))? else {
        // As the OCaml tool: removed is removed.
        store.finish_removals()?;
        if args.output.json {
            say(&to_json(&args.output, &[], &[], Files::default()).to_string());
        } else {
            say(&format!("there is no job {}", args.job));
        }
        return Ok(());
    };
    let pinned = store.read(|tx| removal::pinned_of_job(tx, job))?;
    if !pinned.is_empty() && !args.force {
        let uuids: Vec<String> = pinned.iter().map(|build| build.uuid.to_string()).collect();
        return Err(Refused(format!(
            "{} of job {} {} pinned: {}; unpin what may go (builder-db unpin UUID), or remove all with --force",
            counted(pinned.len(), "build"),
            args.job,
            if pinned.len() == 1 { "is" } else { "are" },
            uuids.join(", ")
        ))
        .into());
    }
    let event = Noted {
        action: "job-remove",
        subject: &args.job,
        detail: if args.force { "pinned builds, too" } else { "" },
    };
    run(&store, &Goal::Job(job), &event, &args.output)?;
    if !args.output.json && !args.output.dry_run {
        let job = &args.job;
        match store.read(|tx| jobs::id_by_name(tx, job))? {
            None => say(&format!("removed job {job}")),
            Some(_) => say(&format!(
                "job {job} stays: a build of it came in while those before were removed; run this again to remove it, too"
            )),
        }
    }
    Ok(())
}

/// What the audit record says of a command.
struct Noted<'a> {
    action: &'static str,
    subject: &'a str,
    detail: &'a str,
}

fn run(store: &Store, goal: &Goal, event: &Noted<'_>, output: &OutputArgs) -> anyhow::Result<()> {
    let (builds, pinned, files) = if output.dry_run {
        let plan = store.read(|tx| removal::plan(tx, goal))?;
        let files = Files {
            artifacts: u64::try_from(plan.artifacts.len()).unwrap_or(u64::MAX),
            bytes: plan.bytes(),
        };
        (plan.builds, plan.pinned, files)
    } else {
        // Before the first build goes: what is interrupted is on record, too.
        store
            .write(|tx| audit::note(tx, event.action, event.subject, event.detail))
            .context("note the removal in the audit record")?;
        let removed = store
            .remove(goal, &account(), &Clock::System.now(), &mut tell)
            .context("remove builds; what was begun is finished by the next run, or the next start of the server")?;
        (removed.builds, removed.pinned, removed.files)
    };
    if output.json {
        say(&to_json(output, &builds, &pinned, files).to_string());
        return Ok(());
    }
    say_builds(&builds);
    say(&format!(
        "{} {}, and {} that no other build has: {} {}",
        if output.dry_run {
            "would remove"
        } else {
            "removed"
        },
        counted(builds.len(), "build"),
        counted(files.artifacts, "artifact"),
        show::bytes(&files.bytes),
        if output.dry_run {
            "would be freed"
        } else {
            "freed"
        },
    ));
    if !pinned.is_empty() {
        say(&format!(
            "kept, because pinned: {}",
            counted(pinned.len(), "build")
        ));
        for build in &pinned {
            say(&format!("  {} of {}", build.uuid, build.job));
        }
    }
    Ok(())
}

fn tell(event: Event) {
    match event {
        Event::Waiting => say_note("another process is removing builds; waiting for its end"),
        Event::Finished(files) => say_note(&format!(
            "finished a removal that was interrupted: {}, {} freed",
            counted(files.artifacts, "artifact"),
            show::bytes(&files.bytes)
        )),
        Event::Files(_) => {}
    }
}

/// Build by build, or job by job when there are many.
fn say_builds(builds: &[Listed]) {
    if builds.is_empty() {
        return;
    }
    if builds.len() <= BUILDS_LISTED_MAX {
        let mut table = Table::new(["BUILD", "JOB", "PLATFORM", "STARTED", "OUTCOME"]);
        for build in builds {
            table.row([
                build.uuid.to_string(),
                build.job.clone(),
                build.platform.clone(),
                build.start.to_rfc3339(),
                build.outcome().to_owned(),
            ]);
        }
        return table.say();
    }
    let mut table = Table::new(["JOB", "BUILDS", "FAILED", "OLDEST", "NEWEST"]);
    for job in builds.chunk_by(|one, other| one.job == other.job) {
        let failed = job.iter().filter(|build| !build.successful).count();
        let started = |build: Option<&Listed>| {
            build.map_or_else(String::new, |build| build.start.to_rfc3339())
        };
        table.row([
            job.first()
                .map_or_else(String::new, |build| build.job.clone()),
            job.len().to_string(),
            failed.to_string(),
            started(job.last()),
            started(job.first()),
        ]);
    }
    table.say();
}

fn to_json(output: &OutputArgs, builds: &[Listed], pinned: &[Listed], files: Files) -> Value {
    let list = |builds: &[Listed]| -> Vec<Value> {
        builds
            .iter()
            .map(|build| {
                json!({
                    "uuid": build.uuid,
                    "job": build.job,
                    "platform": build.platform,
                    "start_time": build.start.to_rfc3339(),
                    "finish_time": build.finish.to_rfc3339(),
                    "main_binary": build.successful,
                })
            })
            .collect()
    };
    json!({
        "dry_run": output.dry_run,
        "builds": list(builds),
        "pinned": list(pinned),
        "artifacts": files.artifacts,
        "bytes": files.bytes,
    })
}
