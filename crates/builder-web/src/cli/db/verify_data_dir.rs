//! `db verify-data-dir`: whether the files are what the database says, and mending them.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use builder_store::record::audit;
use builder_store::verify::{self, Mended, Plan, Problem, Report};
use builder_store::{Store, migrations};
use clap::Args;
use serde_json::{Value, json};

use crate::Clock;
use crate::cli::progress::Progress;
use crate::cli::{DatadirArg, Refused, say, say_error};
use crate::error::with_causes;
use crate::show::{self, counted};

#[derive(Debug, Args)]
pub(super) struct VerifyDataDirArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Files to read at the same time [default: one a core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Put back what can be found elsewhere, and move into _quarantine what is damaged or belongs
    /// to nothing; no file is removed
    #[arg(long)]
    repair: bool,
    /// Where to look for lost files: a backup, or any directory; may be repeated
    #[arg(long, value_name = "DIR", requires = "repair")]
    from: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VerifyDataDirArgs) -> anyhow::Result<()> {
    let datadir = &args.datadir.datadir;
    if let Ok(status) = migrations::status(datadir)
        && let Some(command) = status.interrupted
    {
        // Files are at two places until it is seen to.
        return Err(Refused(format!(
            "{command} was interrupted; first run: builder-migrations up --datadir {}",
            datadir.display()
        ))
        .into());
    }
    let store = Store::open_beside(datadir)?;
    for from in &args.from {
        std::fs::read_dir(from)
            .map_err(|error| Refused(format!("--from {}: {error}", from.display())))?;
    }
    let threads = match args.jobs {
        Some(jobs) => usize::from(jobs),
        None => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let plan = Plan::load(&store).context("read the database")?;
    let progress = Progress::of_bytes("reading", plan.bytes);
    let mut report = plan
        .verify(&store, threads, &|bytes| progress.add(bytes))
        .context("verify the data directory")?;
    drop(progress);
    if args.repair {
        let now = Clock::System.now().to_rfc3339();
        verify::repair(&store, &mut report, &args.from, &now)
            .context("repair the data directory")?;
        let problems = report.problems.iter();
        let mended = problems
            .filter(|problem| !problem.mended.is_empty())
            .count();
        if mended > 0 {
            let detail = format!("{} dealt with", counted(mended, "problem"));
            store
                .write(|tx| super::note(tx, "repair", "", &detail))
                .context("note the repair in the audit record")?;
        }
    }
    let open = report.open_problems();
    note(&store, &report, open);
    if args.json {
        let json = serde_json::to_string_pretty(&json(&store, &report)).context("write JSON")?;
        say(&json);
    } else {
        print(&report, args.repair);
    }
    if open == 0 {
        return Ok(());
    }
    let hint = if args.repair {
        "what is lost may be in a backup (add --from DIR); what is not builder-web's is to be moved by hand"
    } else {
        "add --repair to mend what can be mended"
    };
    Err(anyhow!(
        "{} not as it should be in {}; {hint}",
        counted(open, "file"),
        store.directory().display()
    ))
}

/// So that who watches a server is told when its files were last read. That it cannot be noted, as on
/// a disk that became read-only, is no reason to say less.
fn note(store: &Store, report: &Report, open: usize) {
    let read = report.artifacts + report.texts;
    let (action, detail) = match open {
        0 => (audit::VERIFY, format!("{read} files read")),
        open => (
            audit::VERIFY_FAULTS,
            format!("{open} of {read} files not as they should be"),
        ),
    };
    if let Err(error) = store.write(|tx| super::note(tx, action, "", &detail)) {
        say_error(&format!(
            "this cannot be noted in the audit record: {}",
            with_causes(&error)
        ));
    }
}

fn print(report: &Report, repaired: bool) {
    let rows: Vec<[String; 3]> = report.problems.iter().map(row).collect();
    let heads = ["FAULT", "EXPECTED BYTES", "FOUND BYTES"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&heads]).map(|row| row[column].len());
        cells.max().unwrap_or(0)
    };
    let line = |[fault, expected, found]: &[String; 3]| {
        format!(
            "{fault:<0$}  {expected:>1$}  {found:>2$}",
            width(0),
            width(1),
            width(2)
        )
    };
    if !rows.is_empty() {
        say(&line(&heads));
    }
    for (row, problem) in rows.iter().zip(&report.problems) {
        say(&line(row));
        // On a line of its own: an artifact's path has 78 characters, and is to be copied whole.
        say(&format!("  {}", problem.path.display()));
        if let Some(builds) = builds(problem) {
            say(&format!("  of {builds}"));
        }
        if let verify::Fault::Unreadable(why) = &problem.fault {
            say(&format!("  {why}"));
        }
        for mended in &problem.mended {
            say(&format!("  {}", told(mended)));
        }
        if repaired && problem.mended.is_empty() && problem.is_open() {
            let why = match problem.fault {
                verify::Fault::Stray => "left alone: builder-web keeps no files here",
                _ => "its content was found nowhere",
            };
            say(&format!("  {why}"));
        }
    }
    say(&format!(
        "{}, {} consoles and scripts, {} read; {}",
        counted(report.artifacts, "artifact"),
        report.texts,
        show::bytes(&report.bytes),
        match (report.problems.len(), report.open_problems()) {
            (0, _) => "all as they should be".to_owned(),
            (all, 0) => format!("{all} noted, none open"),
            (all, open) => format!("{all} noted, {open} open"),
        }
    ));
}

fn row(problem: &Problem) -> [String; 3] {
    let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
    [
        problem.fault.name().to_owned(),
        bytes(problem.expected_bytes),
        bytes(problem.found_bytes),
    ]
}

fn builds(problem: &Problem) -> Option<String> {
    if problem.named_by.is_empty() {
        return None;
    }
    let more = problem.builds.saturating_sub(problem.named_by.len() as u64);
    let more = match more {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!("{}{more}", problem.named_by.join(", ")))
}

fn told(mended: &Mended) -> String {
    match mended {
        Mended::Restored(from) => format!("restored from {}", from.display()),
        Mended::Quarantined(to) => format!("moved to {}", to.display()),
        Mended::Removed => "removed, as was begun with its build".to_owned(),
        Mended::StandIn => "replaced by a text that says that it was lost".to_owned(),
        Mended::Meanwhile => "right again meanwhile, or of no build any more".to_owned(),
    }
}

fn json(store: &Store, report: &Report) -> Value {
    let problems = report.problems.iter().map(|problem| {
        let mended = problem.mended.iter().map(|mended| match mended {
            Mended::Restored(from) => json!({ "restored_from": from.display().to_string() }),
            Mended::Quarantined(to) => json!({ "quarantined_as": to.display().to_string() }),
            Mended::StandIn => json!({ "stand_in": true }),
            Mended::Removed => json!({ "removed": true }),
            Mended::Meanwhile => json!({ "meanwhile": true }),
        });
        json!({
            "path": problem.path.display().to_string(),
            "fault": problem.fault.name(),
            "expected_bytes": problem.expected_bytes,
            "found_bytes": problem.found_bytes,
            "named_by": problem.named_by,
            "builds": problem.builds,
            "mended": mended.collect::<Vec<_>>(),
            "open": problem.is_open(),
        })
    });
    json!({
        "datadir": store.directory().display().to_string(),
        "artifacts": report.artifacts,
        "texts": report.texts,
        "bytes": report.bytes,
        "problems": problems.collect::<Vec<_>>(),
        "open": report.open_problems(),
    })
}
