//! The table `record.audit`: who did what from where, and what was refused. It is only added to;
//! what was done stays. What was refused is what strangers fill: of that the newest of each action
//! are kept, so that wrong passwords push out no upload that a user was refused.

use builder_exec::Timestamp;

use crate::db::{Row, Value, days, picoseconds};
use crate::{Result, Tx};

/// Refusals of an action that are kept; older ones are dropped. Triggers of the schema have it too.
pub const REFUSALS_MAX: i64 = 50_000;
/// Actions that anybody was ever refused: more than there are.
const ACTIONS_MAX: usize = 64;
/// Characters of a text in an entry: it may be from outside.
const TEXT_CHARS_MAX: usize = 300;

/// A build came in over the network.
pub const UPLOAD: &str = "upload";
/// A build was brought on the command line.
pub const IMPORT: &str = "import";
/// A build was removed.
pub const BUILD_REMOVE: &str = "build-remove";
/// Every file was read, and is what it should be.
pub const VERIFY: &str = "verify";
/// Every file was read, and some are not what they should be.
pub const VERIFY_FAULTS: &str = "verify-faults";
/// A backup was made or brought up to date.
pub const BACKUP: &str = "backup";
/// Somebody wanted to be let in.
pub const LOG_IN: &str = "log-in";

/// The actions there are, by what they are of.
pub const ACTIONS: [&str; 25] = [
    UPLOAD,
    IMPORT,
    LOG_IN,
    "user-add",
    "user-update",
    "user-disable",
    "user-remove",
    "access-add",
    "access-remove",
    "token-add",
    "token-revoke",
    "pin",
    "unpin",
    "vacuum",
    "job-remove",
    BUILD_REMOVE,
    "run-hooks",
    BACKUP,
    "restore",
    VERIFY,
    VERIFY_FAULTS,
    "repair",
    "migrate",
    "record-take-back",
    "record-anew",
];

/// Who acts, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of the user, with that of the token; on the command line that of the account.
    pub who: String,
    /// The address of the client; `command line` there.
    pub address: String,
    /// The name of the request; empty on the command line.
    pub request: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused: nothing was changed.
    Refused,
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What was done, in a word or two: `upload`, `user-add`.
    pub action: &'a str,
    /// What it was done to.
    pub subject: &'a str,
    /// What came of it.
    pub outcome: Outcome,
    /// More of it, or why it was refused.
    pub detail: &'a str,
}

/// An entry of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its row; a later entry has a greater one.
    pub id: i64,
    /// When it was.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub subject: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// More of it.
    pub detail: String,
    /// How often: what is refused again and again has one entry, of the last time.
    pub times: u64,
}

/// Which entries are asked for; none: all.
#[derive(Debug, Clone, Default)]
pub struct Filter<'a> {
    /// By this user, with whichever token.
    pub who: Option<&'a str>,
    /// Of this action.
    pub action: Option<&'a str>,
    /// `done` or `refused`.
    pub outcome: Option<&'a str>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before the entry of this row.
    pub before: Option<i64>,
}

impl Outcome {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
        }
    }
}

impl Entry {
    fn from_row(row: &Row<'_>) -> Result<Entry> {
        Ok(Entry {
            id: row.int(0)?,
            at: row.timestamp(1)?,
            actor: Actor {
                who: row.text(3)?,
                address: row.text(4)?,
                request: row.text(5)?,
            },
            action: row.text(6)?,
            subject: row.text(7)?,
            outcome: row.text(8)?,
            detail: row.text(9)?,
            times: row.size(10)?,
        })
    }
}

/// Adds an entry of something that changes no more than the record: what is done to
/// `builder.sqlite3` is added by [`pending::add`](super::pending::add).
pub fn add(tx: &mut Tx<'_>, actor: &Actor, event: &Event<'_>, now: &Timestamp) -> Result<()> {
    add_times(tx, actor, event, 1, now)
}

/// Adds an entry of what happened several times, the last time now.
pub fn add_times(
    tx: &mut Tx<'_>,
    actor: &Actor,
    event: &Event<'_>,
    times: u64,
    now: &Timestamp,
) -> Result<()> {
    let [who, subject, detail] = [&actor.who, event.subject, event.detail].map(short);
    tx.execute(
        "INSERT INTO record.audit (at_d, at_ps, who, address, request, action, subject, outcome,
           detail, times)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            days(now),
            picoseconds(now),
            who.into(),
            actor.address.as_str().into(),
            actor.request.as_str().into(),
            event.action.into(),
            subject.into(),
            event.outcome.name().into(),
            detail.into(),
            i64::try_from(times).unwrap_or(i64::MAX).into(),
        ],
    )?;
    Ok(())
}

/// Drops the refusals of each action that are beyond those that are kept. Walks their index: for
/// now and then.
pub fn prune_refusals(tx: &mut Tx<'_>) -> Result<()> {
    let mut action = String::new();
    for _ in 0..ACTIONS_MAX {
        let next = tx.query_opt(
            "SELECT min(action) FROM record.audit WHERE outcome = 'refused' AND action > $1",
            &[action.as_str().into()],
            |row| row.text_opt(0),
        )?;
        let Some(next) = next.flatten() else { break };
        let end = tx.query_opt(
            "SELECT id FROM record.audit WHERE outcome = 'refused' AND action = $1
             ORDER BY id DESC LIMIT 1 OFFSET $2",
            &[next.as_str().into(), REFUSALS_MAX.into()],
            |row| row.int(0),
        )?;
        if let Some(end) = end {
            // Triggers see to it that no others go.
            tx.execute(
                "INSERT INTO record.refusal_end (action, id) VALUES ($1, $2)
                 ON CONFLICT (action) DO UPDATE SET id = excluded.id",
                &[next.as_str().into(), end.into()],
            )?;
            tx.execute(
                "DELETE FROM record.audit WHERE outcome = 'refused' AND action = $1 AND id <= $2",
                &[next.as_str().into(), end.into()],
            )?;
        }
        action = next;
    }
    Ok(())
}

/// The newest entries, newest first: at most `count`.
pub fn newest(tx: &mut Tx<'_>, filter: &Filter<'_>, count: u32) -> Result<Vec<Entry>> {
    let since = filter.since.as_ref();
    tx.query(
        "SELECT id, at_d, at_ps, who, address, request, action, subject, outcome, detail,
           times
         FROM record.audit
         WHERE (who = $1 OR substr(who, 1, length($1) + 8) = $1 || ' (token ' OR $1 IS NULL)
           AND (action = $2 OR $2 IS NULL) AND (outcome = $3 OR $3 IS NULL)
           AND (at_d > $4 OR at_d = $4 AND at_ps >= $5 OR $4 IS NULL) AND (id < $6 OR $6 IS NULL)
         ORDER BY id DESC LIMIT $7",
        &[
            filter.who.into(),
            filter.action.into(),
            filter.outcome.into(),
            since.map_or(Value::Null, days),
            since.map_or(Value::Null, picoseconds),
            filter.before.into(),
            i64::from(count).into(),
        ],
        Entry::from_row,
    )
}

/// When something was last done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// What: see [`Event::action`].
    pub action: String,
    /// When.
    pub at: Timestamp,
}

/// When each thing that was done after the entry of a row was last done; and the newest row, for the
/// next time.
pub fn last(tx: &mut Tx<'_>, after: i64) -> Result<(i64, Vec<Last>)> {
    let newest = tx.query_opt(
        "SELECT COALESCE(MAX(id), 0) FROM record.audit",
        &[],
        |row| row.int(0),
    )?;
    let last = tx.query(
        "SELECT a.action, a.at_d, a.at_ps
         FROM (SELECT MAX(id) AS id FROM record.audit WHERE id > $1 AND outcome = 'done'
               GROUP BY action) n
         JOIN record.audit a ON a.id = n.id",
        &[after.into()],
        |row| {
            Ok(Last {
                action: row.text(0)?,
                at: row.timestamp(1)?,
            })
        },
    )?;
    Ok((newest.unwrap_or(0).max(after), last))
}

/// As much of a text as an entry keeps.
pub fn short(text: &str) -> &str {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
