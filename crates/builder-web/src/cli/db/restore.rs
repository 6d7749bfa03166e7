//! `db restore`: a data directory that is again what a backup is.

use std::path::PathBuf;

use anyhow::Context;
use builder_store::Store;
use builder_store::restore::{self, Event};
use clap::Args;
use serde_json::json;

use crate::cli::progress::Progress;
use crate::cli::{DatadirArg, Refused, say, say_error};
use crate::clock::Clock;
use crate::show::{self, counted};

/// What is done in the record of who did what.
const ACTION: &str = "restore";

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Also restore from a backup that lacks files
    #[arg(long)]
    incomplete: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Directory of the backup
    backup: PathBuf,
}

pub(super) fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let datadir = &args.datadir.datadir;
    let mut progress: Option<Progress> = None;
    let now = Clock::System.now();
    let outcome =
        restore::run(
            &args.backup,
            datadir,
            args.incomplete,
            &now,
            &mut |event| match event {
                Event::Progress { done, total } => progress
                    .get_or_insert_with(|| Progress::of_count("restoring", total))
                    .set(done),
                Event::Damaged(path) => {
                    let text = format!("missing or damaged: {}", path.display());
                    match &progress {
                        Some(progress) => progress.say_error(&text),
                        None => say_error(&text),
                    }
                }
                _ => {}
            },
        );
    drop(progress);
    let outcome = outcome.map_err(|error| match error.is_refusal() {
        true => anyhow::Error::from(Refused(format!("{error}. Nothing was changed"))),
        false => error.into(),
    })?;
    let (backup, place) = (args.backup.display().to_string(), datadir.display());
    let noted = Store::open_beside(datadir).map_err(anyhow::Error::from);
    let noted = noted.and_then(|store| {
        let detail = format!("{} files, {} missing", outcome.files, outcome.damaged.len());
        Ok(store.write(|tx| super::note(tx, ACTION, &backup, &detail))?)
    });
    // It is restored all the same.
    if let Err(error) = noted {
        say_error(&format!(
            "the restore cannot be noted in the audit record: {error:#}"
        ));
    }
    let aside = outcome.put_aside.as_ref().map(|aside| datadir.join(aside));
    if args.json {
        let damaged = outcome
            .damaged
            .iter()
            .map(|path| path.display().to_string());
        let json = json!({
            "datadir": place.to_string(),
            "backup": backup,
            "files": outcome.files,
            "copied": outcome.copied,
            "copied_bytes": outcome.copied_bytes,
            "damaged": damaged.collect::<Vec<_>>(),
            "put_aside": aside.map(|aside| aside.display().to_string()),
        });
        say(&serde_json::to_string_pretty(&json).context("write JSON")?);
        return Ok(());
    }
    say(&format!(
        "{place} is restored from {backup}: {} files, of which {} ({}) were copied, the others were there and whole{}",
        outcome.files,
        outcome.copied,
        show::bytes(&outcome.copied_bytes),
        match outcome.damaged.len() {
            0 => String::new(),
            missing => format!("; {} missing", counted(missing, "file")),
        }
    ));
    if let Some(aside) = aside {
        say(&format!(
            "what was there is in {}, and may be removed once it is not needed: rm -r {0}",
            aside.display()
        ));
    }
    say(&owner(datadir)?);
    Ok(())
}

/// Whose all of it is: what the server runs as.
fn owner(datadir: &std::path::Path) -> anyhow::Result<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(datadir).context("look at the data directory")?;
    let place = datadir.display();
    Ok(match metadata.uid() {
        0 => format!(
            "it belongs to root; give it to the user of the server: chown -R builder: {place}"
        ),
        uid => format!(
            "it belongs to the user with the number {uid}; if the server runs as another: chown -R USER: {place}"
        ),
    })
}
