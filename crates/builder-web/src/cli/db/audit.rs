//! `db audit`: who did what, and what was refused.

use builder_exec::Timestamp;
use builder_store::record::audit::{self, Event, Filter, Outcome};
use builder_store::record::pending::{self, Witness};
use builder_store::{Store, Tx};
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::account::account;
use super::table::Table;
use crate::cli::{DatadirArg, say, say_note};
use crate::view::AuditEntry;
use crate::{Clock, times};

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// By this user, with whichever token, or this account on the command line
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// What was done, or refused
    #[arg(long, value_name = "ACTION", value_parser = PossibleValuesParser::new(audit::ACTIONS))]
    action: Option<String>,
    /// What was refused alone
    #[arg(long)]
    refused: bool,
    /// From a day or time in UTC on, as 2027-01-31
    #[arg(long, value_parser = times::parse, value_name = "TIME")]
    since: Option<Timestamp>,
    /// How many at most: the newest
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    count: u32,
    /// Print JSON, an entry a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &AuditArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let filter = Filter {
        who: args.user.as_deref(),
        action: args.action.as_deref(),
        outcome: args.refused.then(|| Outcome::Refused.name()),
        since: args.since,
        before: None,
    };
    let mut entries = store.read(|tx| audit::newest(tx, &filter, args.count))?;
    if entries.is_empty() {
        say_note("no entries");
    }
    // As a log is read: the newest last.
    entries.reverse();
    if args.json {
        for entry in entries {
            say(&serde_json::to_string(&AuditEntry::of(entry))?);
        }
        return Ok(());
    }
    let mut table = Table::new([
        "TIME", "WHO", "FROM", "ACTION", "SUBJECT", "OUTCOME", "DETAIL",
    ]);
    for entry in entries {
        table.row([
            entry.at.to_rfc3339(),
            entry.actor.who,
            entry.actor.address,
            entry.action,
            entry.subject,
            entry.outcome,
            match entry.times {
                1 => entry.detail,
                times => format!("{} ({times} times)", entry.detail),
            },
        ]);
    }
    table.say();
    Ok(())
}

fn done<'a>(action: &'a str, subject: &'a str, detail: &'a str) -> Event<'a> {
    debug_assert!(
        audit::ACTIONS.contains(&action),
        "there is no action {action}"
    );
    Event {
        action,
        subject,
        outcome: Outcome::Done,
        detail,
    }
}

/// Notes what a command has done to a user, in its transaction and at the end of it.
pub(super) fn note_of_user(
    tx: &mut Tx<'_>,
    action: &str,
    name: &str,
    detail: &str,
) -> builder_store::Result<()> {
    let event = done(action, name, detail);
    let witness = Witness::User(name);
    pending::add(tx, &account(), &event, witness, &Clock::System.now())
}

/// Notes what a command has done, in its transaction: what changes no more than the record, or was
/// done before.
pub(in crate::cli) fn note(
    tx: &mut Tx<'_>,
    action: &str,
    subject: &str,
    detail: &str,
) -> builder_store::Result<()> {
    let event = done(action, subject, detail);
    audit::add(tx, &account(), &event, &Clock::System.now())
}
