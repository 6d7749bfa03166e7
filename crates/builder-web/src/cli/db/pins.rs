//! `db pin`, `unpin`, `pin-list`: builds that are never vacuumed.

use anyhow::Context;
use builder_store::record::pins;
use builder_store::{Store, builds};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::audit;
use super::table::Table;
use crate::Clock;
use crate::cli::{DatadirArg, Refused, say};

/// Characters of a note.
const NOTE_CHARS_MAX: usize = 1000;

#[derive(Debug, Args)]
pub(super) struct PinArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Why, for whoever looks at the list later
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    note: String,
    /// The build
    uuid: Uuid,
}

#[derive(Debug, Args)]
pub(super) struct UnpinArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The build
    uuid: Uuid,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn pin(args: &PinArgs) -> anyhow::Result<()> {
    let uuid = args.uuid;
    if args.note.chars().count() > NOTE_CHARS_MAX || args.note.chars().any(char::is_control) {
        return Err(Refused(format!(
            "a note is one line of at most {NOTE_CHARS_MAX} characters"
        ))
        .into());
    }
    let store = Store::open_beside(&args.datadir.datadir)?;
    let pinned = store
        .write(|tx| {
            let Some(build) = builds::by_uuid(tx, uuid)? else {
                return Ok(None);
            };
            pins::add(tx, uuid, &args.note, &Clock::System.now())?;
            let subject = format!("{}/{uuid}", build.job);
            audit::note(tx, "pin", &subject, &args.note)?;
            Ok(Some(build))
        })
        .context("pin the build")?
        .ok_or_else(|| Refused(format!("there is no build {uuid}")))?;
    say(&format!(
        "pinned build {uuid} of {}, which no vacuum will remove",
        pinned.job
    ));
    Ok(())
}

pub(super) fn unpin(args: &UnpinArgs) -> anyhow::Result<()> {
    let uuid = args.uuid;
    let store = Store::open_beside(&args.datadir.datadir)?;
    if store
        .write(|tx| {
            let was_pinned = pins::remove(tx, uuid)?;
            if was_pinned {
                let job = builds::by_uuid(tx, uuid)?.map(|build| build.job);
                let subject = format!("{}/{uuid}", job.unwrap_or_default());
                audit::note(tx, "unpin", &subject, "")?;
            }
            Ok(was_pinned)
        })
        .context("unpin the build")?
    {
        say(&format!("unpinned build {uuid}"));
        Ok(())
    } else {
        Err(Refused(format!(
            "build {uuid} is not pinned; builder-db pin-list shows which ones are"
        ))
        .into())
    }
}

pub(super) fn list(args: &ListArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let all = store.read(pins::all)?;
    if args.json {
        let pins: Vec<_> = all
            .iter()
            .map(|pin| {
                json!({
                    "uuid": pin.uuid,
                    "job": pin.job,
                    "platform": pin.platform,
                    "start_time": pin.start.to_rfc3339(),
                    "pinned_time": pin.pinned.to_rfc3339(),
                    "note": pin.note,
                })
            })
            .collect();
        say(&json!({ "pins": pins }).to_string());
        return Ok(());
    }
    let mut table = Table::new(["BUILD", "JOB", "PLATFORM", "STARTED", "NOTE"]);
    for pin in all {
        table.row([
            pin.uuid.to_string(),
            pin.job,
            pin.platform,
            pin.start.to_rfc3339(),
            pin.note,
        ]);
    }
    table.say();
    Ok(())
}
