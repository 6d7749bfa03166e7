//! `db backup`: a second data directory, made and brought up to date while the server serves.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use builder_store::Store;
use builder_store::backup::{self, Event, How};
use builder_store::record::audit;
use clap::Args;
use serde_json::json;

use crate::cli::progress::Progress;
use crate::cli::{DatadirArg, Refused, say, say_error};
use crate::error::with_causes;
use crate::show::{self, counted};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Copy every file, also where it could be a second name of the same file
    #[arg(long)]
    copy: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Directory of the backup: empty, not there yet, or a backup made before
    dest: PathBuf,
}

pub(super) fn run(args: &BackupArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let how = if args.copy { How::Copy } else { How::Link };
    let mut progress: Option<Progress> = None;
    let outcome = backup::run(&store, &args.dest, how, &mut |event| match event {
        Event::Progress { done, total } => progress
            .get_or_insert_with(|| Progress::of_count("backing up", total))
            .set(done),
        Event::Damaged(path) => {
            let text = format!(
                "not backed up, since it is missing or damaged: {}",
                path.display()
            );
            match &progress {
                Some(progress) => progress.say_error(&text),
                None => say_error(&text),
            }
        }
        _ => {}
    });
    drop(progress);
    let outcome = outcome.map_err(|error| match error.is_refusal() {
        true => anyhow::Error::from(Refused(error.to_string())),
        false => error.into(),
    })?;
    let dest = args.dest.display();
    if outcome.damaged.is_empty() {
        let detail = format!("{} files, {} new", outcome.files, outcome.added);
        let noted = store.write(|tx| super::note(tx, audit::BACKUP, &dest.to_string(), &detail));
        // It is complete all the same.
        if let Err(error) = noted {
            say_error(&format!(
                "the backup cannot be noted in the audit record: {}",
                with_causes(&error)
            ));
        }
    }
    if args.json {
        let damaged = outcome
            .damaged
            .iter()
            .map(|path| path.display().to_string());
        let json = json!({
            "datadir": store.directory().display().to_string(),
            "dest": dest.to_string(),
            "files": outcome.files,
            "added": outcome.added,
            "added_bytes": outcome.added_bytes,
            "removed": outcome.removed,
            "damaged": damaged.collect::<Vec<_>>(),
        });
        say(&serde_json::to_string_pretty(&json).context("write JSON")?);
    } else {
        say(&format!(
            "{dest} is a backup of {}: {} files, of which {} ({}) are new; removed {}",
            store.directory().display(),
            outcome.files,
            outcome.added,
            show::bytes(&outcome.added_bytes),
            outcome.removed
        ));
    }
    match outcome.damaged.len() {
        0 => Ok(()),
        count => Err(anyhow!(
            "the backup lacks {}; see: builder-db verify-data-dir --datadir {}",
            counted(count, "file"),
            store.directory().display()
        )),
    }
}
