//! `db token-…`: what programs log in with.

use std::path::Path;

use anyhow::Context;
use builder_exec::Timestamp;
use builder_store::record::tokens::{self, NewToken, Scope, Token};
use builder_store::users::{self, User};
use builder_store::{JobName, Store, Tx, access, jobs};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::audit;
use super::table::Table;
use super::users::unknown;
use crate::auth;
use crate::cli::{DatadirArg, Refused, say, say_note};
use crate::{Clock, times};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeArg {
    /// Add builds
    Upload,
    /// Read /metrics and /audit at the public address
    Admin,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The user for whom it stands: it may do no more than this one
    #[arg(long, value_name = "USER")]
    user: String,
    /// A job it may add builds to; may be given several times [default: all that the user may]
    #[arg(long = "job", value_name = "JOB")]
    jobs: Vec<String>,
    /// What it is for
    #[arg(long, value_enum, default_value = "upload")]
    scope: ScopeArg,
    /// From when on it is worth nothing: a day or time in UTC, as 2027-01-31 [default: never]
    #[arg(long, value_parser = times::parse, value_name = "TIME")]
    expires: Option<Timestamp>,
    /// What to call it, in lists and in the audit record
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// What it is called
    name: String,
}

impl RevokeArgs {
    pub(super) fn directory(&self) -> &Path {
        &self.datadir.datadir
    }
}

pub(super) fn add(args: &AddArgs) -> anyhow::Result<()> {
    let name = args.name.as_str();
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(Refused(format!(
            "the token name {name:?} is not 1 to 64 letters, digits, '-', '_' and '.'"
        ))
        .into());
    }
    for job in &args.jobs {
        JobName::parse(job.as_bytes()).map_err(|error| Refused(error.to_string()))?;
    }
    let now = Clock::System.now();
    if args.expires.is_some_and(|expires| expires <= now) {
        return Err(Refused("--expires is in the past".to_owned()).into());
    }
    let scope = match args.scope {
        ScopeArg::Upload => Scope::Upload,
        ScopeArg::Admin => Scope::Admin,
    };
    if scope == Scope::Admin && !args.jobs.is_empty() {
        return Err(Refused("--job is for tokens that upload".to_owned()).into());
    }
    let store = Store::open_beside(&args.datadir.datadir)?;
    let token = auth::tokens::new();
    let notes = store
        .write(|tx| {
            let user = match users::by_name(tx, &args.user)? {
                None => return Ok(Err(unknown(&args.user))),
                Some(user) if user.is_disabled() => {
                    return Ok(Err(Refused(format!(
                        "user {0} is disabled; to let {0} log in again: builder-db user-update {0}",
                        user.name
                    ))));
                }
                Some(user) => user,
            };
            let new = NewToken {
                name,
                user: &args.user,
                sha256: auth::tokens::digest(token.as_bytes()),
                scope,
                jobs: &args.jobs,
                expires: args.expires,
            };
            if !tokens::add(tx, &new, &now)? {
                return Ok(Err(Refused(format!(
                    "there is, or was, a token {name} already; choose another name"
                ))));
            }
            audit::note(tx, "token-add", name, &detail(args, scope))?;
            Ok(Ok(notes_of_jobs(tx, args, &user)?))
        })
        .context("add the token")??;
    for note in notes {
        say_note(&format!("note: {note}"));
    }
    say_note(&format!(
        "token {name} for user {}; it is shown this once. Give it as the password of {}, or as Authorization: Bearer",
        args.user, args.user
    ));
    say(&token);
    Ok(())
}

/// What a new token may do, for the record. The jobs last: of many, not all are kept.
fn detail(args: &AddArgs, scope: Scope) -> String {
    let until = match args.expires {
        Some(expires) => format!("until {}", expires.to_rfc3339()),
        None => "for ever".to_owned(),
    };
    let jobs = match (scope, args.jobs.is_empty()) {
        (Scope::Admin | Scope::Unknown, _) => String::new(),
        (Scope::Upload, true) => ", all jobs of the user".to_owned(),
        (Scope::Upload, false) => format!(", jobs: {}", args.jobs.join(", ")),
    };
    format!("{} for {}, {until}{jobs}", scope.name(), args.user)
}

/// Jobs of a token to which it adds no builds yet. No reason to refuse it: a job is there from its
/// first build on, which may be the one that the token is for.
fn notes_of_jobs(
    tx: &mut Tx<'_>,
    args: &AddArgs,
    user: &User,
) -> builder_store::Result<Vec<String>> {
    let AddArgs { user: name, .. } = args;
    let mut notes = Vec::new();
    for job in &args.jobs {
        let is_there = jobs::id_by_name(tx, job)?.is_some();
        match (is_there, user.restricted) {
            (true, true) if !access::allows(tx, user.id, job)? => notes.push(format!(
                "user {name} may not upload to job {job}, and so may not the token: builder-db access-add {name} {job}"
            )),
            (false, true) => notes.push(format!(
                "there is no job {job}: a job is there from its first build on, which is for a user without restrictions, and {name} is restricted"
            )),
            (false, false) => notes.push(format!(
                "there is no job {job} yet, the first build of which the token may add; if another was meant: builder-db token-revoke {}",
                args.name
            )),
            (true, _) => {}
        }
    }
    Ok(notes)
}

pub(super) fn list(args: &ListArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let (all, users) = store.read(|tx| Ok((tokens::all(tx)?, users::all(tx)?)))?;
    let state = |token: &Token, now: &Timestamp| {
        let user = users.iter().find(|user| user.name == token.user);
        state(token, user, now)
    };
    let now = Clock::System.now();
    if args.json {
        let tokens: Vec<_> = all
            .iter()
            .map(|token| {
                json!({
                    "name": token.name,
                    "user": token.user,
                    "scope": token.scope.name(),
                    "jobs": token.jobs,
                    "state": state(token, &now),
                    "created": token.created.to_rfc3339(),
                    "expires": token.expires.map(Timestamp::to_rfc3339),
                    "revoked": token.revoked.map(Timestamp::to_rfc3339),
                    "used": token.used_day.and_then(day),
                })
            })
            .collect();
        say(&json!({ "tokens": tokens }).to_string());
        return Ok(());
    }
    let mut table = Table::new([
        "TOKEN",
        "USER",
        "SCOPE",
        "JOBS",
        "STATE",
        "EXPIRES",
        "LAST USED",
    ]);
    for token in &all {
        table.row([
            token.name.clone(),
            token.user.clone(),
            token.scope.name().to_owned(),
            match (token.scope, token.jobs.is_empty()) {
                (Scope::Admin | Scope::Unknown, _) => "-".to_owned(),
                (Scope::Upload, true) => "all of the user".to_owned(),
                (Scope::Upload, false) => token.jobs.join(","),
            },
            state(token, &now).to_owned(),
            token
                .expires
                .map_or_else(|| "never".to_owned(), Timestamp::to_rfc3339),
            token
                .used_day
                .and_then(day)
                .unwrap_or_else(|| "never".to_owned()),
        ]);
    }
    table.say();
    Ok(())
}

/// A day, as a date.
fn day(day: i64) -> Option<String> {
    let date = Timestamp::new(day, 0)?.to_rfc3339();
    date.split('T').next().map(ToOwned::to_owned)
}

fn state(token: &Token, user: Option<&users::Listed>, now: &Timestamp) -> &'static str {
    match (token.revoked, token.is_good(now), user) {
        (Some(_), _, _) => "revoked",
        _ if token.scope == Scope::Unknown => "refused",
        (None, false, _) => "expired",
        // By another program than this one, which revokes them.
        (None, true, None) => "user removed",
        (None, true, Some(user)) if user.disabled => "user disabled",
        (None, true, Some(_)) => "good",
    }
}

pub(super) fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let name = &args.name;
    let store = Store::open_beside(&args.datadir.datadir)?;
    let revoked = store
        .write(|tx| {
            let revoked = tokens::revoke(tx, name, &Clock::System.now())?;
            if revoked {
                audit::note(tx, "token-revoke", name, "")?;
            }
            Ok(revoked)
        })
        .context("revoke the token")?;
    if !revoked {
        return Err(Refused(format!(
            "there is no token {name} that is not revoked already; builder-db token-list shows which there are"
        ))
        .into());
    }
    say(&format!(
        "revoked token {name}: it is worth nothing from now on"
    ));
    Ok(())
}
