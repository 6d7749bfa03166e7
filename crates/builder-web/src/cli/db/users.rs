//! `db user-…`.

use std::path::Path;

use anyhow::Context;
use builder_store::record::tokens;
use builder_store::users::{self, Added, Removed};
use builder_store::{Store, Tx};
use clap::Args;
use serde_json::json;

use super::audit;
use super::password::{self, ScryptArgs};
use super::table::Table;
use crate::Clock;
use crate::cli::{DatadirArg, Refused, say};
use crate::show::counted;

/// Options of what gives a user a password.
#[derive(Debug, Args)]
pub(super) struct PasswordArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The user may upload to every job, and to new ones
    #[arg(long)]
    unrestricted: bool,
    #[command(flatten)]
    scrypt: ScryptArgs,
    /// The name to log in with
    name: String,
}

/// Options of what concerns one user.
#[derive(Debug, Args)]
pub(super) struct UserArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The name to log in with
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Print a table: access, jobs on the access list, builds uploaded
    #[arg(short, long)]
    long: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "long")]
    json: bool,
}

impl PasswordArgs {
    fn may(&self) -> &'static str {
        if self.unrestricted {
            "may upload to every job"
        } else {
            "may upload to the jobs on its access list"
        }
    }

    /// What another password and access change, for the record.
    fn changes(&self, before: &users::User) -> String {
        let is = access(false, !self.unrestricted);
        let was = access(before.is_disabled(), before.restricted);
        match was == is {
            true => format!("password changed; {is} as before"),
            false => format!("password changed; {was} → {is}"),
        }
    }
}

/// What a user may do, in a word.
fn access(disabled: bool, restricted: bool) -> &'static str {
    match (disabled, restricted) {
        (true, _) => "disabled",
        (false, true) => "restricted",
        (false, false) => "unrestricted",
    }
}

impl UserArgs {
    pub(super) fn directory(&self) -> &Path {
        &self.datadir.datadir
    }
}

pub(super) fn add(args: &PasswordArgs) -> anyhow::Result<()> {
    let name = &args.name;
    check_name(name)?;
    // The first command of an installation, perhaps: before any server.
    let store = Store::open_or_fill(&args.datadir.datadir)?;
    // Before the password is typed for nothing; what counts is the answer below.
    if store.read(|tx| users::by_name(tx, name))?.is_some() {
        return Err(exists(name).into());
    }
    let password = password::ask(&args.scrypt, "user-add")?;
    // One of this name may have been removed by the OCaml tool, which knows of no tokens.
    let revoked = store
        .write(|tx| match users::by_name(tx, name)? {
            None => revoke_tokens(tx, name, "removed before"),
            Some(_) => Ok(Vec::new()),
        })
        .context("revoke the tokens of a user who was removed")?;
    say_revoked(&revoked);
    let added = store
        .write(|tx| {
            let added = users::add(tx, name, &password, !args.unrestricted)?;
            if added == Added::Added {
                audit::note_of_user(tx, "user-add", name, args.may())?;
            }
            Ok(added)
        })
        .context("add the user")?;
    match added {
        Added::Added => {
            say(&format!("added user {name}, who {}", args.may()));
            Ok(())
        }
        Added::Exists => Err(exists(name).into()),
    }
}

fn exists(name: &str) -> Refused {
    Refused(format!(
        "there is a user {name} already; to change the password: builder-db user-update {name}"
    ))
}

pub(super) fn update(args: &PasswordArgs) -> anyhow::Result<()> {
    let name = &args.name;
    let store = Store::open_beside(&args.datadir.datadir)?;
    store
        .read(|tx| users::by_name(tx, name))?
        .ok_or_else(|| unknown(name))?;
    let password = password::ask(&args.scrypt, "user-update")?;
    // The OCaml tool may have disabled the user, and knows of no tokens.
    let revoked = store
        .write(|tx| match users::by_name(tx, name)? {
            Some(user) if user.is_disabled() => revoke_tokens(tx, name, "disabled before"),
            _ => Ok(Vec::new()),
        })
        .context("revoke the tokens of a user who was disabled")?;
    say_revoked(&revoked);
    let updated = store
        .write(|tx| {
            let Some(before) = users::by_name(tx, name)? else {
                return Ok(false);
            };
            let updated = users::update(tx, name, &password, !args.unrestricted)?;
            if updated {
                audit::note_of_user(tx, "user-update", name, &args.changes(&before))?;
            }
            Ok(updated)
        })
        .context("update the user")?;
    if !updated {
        return Err(unknown(name).into());
    }
    say(&format!("updated user {name}, who {}", args.may()));
    Ok(())
}

pub(super) fn remove(args: &UserArgs) -> anyhow::Result<()> {
    let name = &args.name;
    let store = Store::open_beside(&args.datadir.datadir)?;
    // Users and tokens are in two databases, and COMMIT is atomic in each alone: tokens first, so
    // that an interruption leaves none to the next user of this name.
    let mut revoked = store
        .write(|tx| match users::removal(tx, name)? {
            Removed::Removed => revoke_tokens(tx, name, "removed"),
            Removed::Unknown | Removed::HasBuilds(_) => Ok(Vec::new()),
        })
        .context("revoke the tokens of the user")?;
    let (removed, since) = store
        .write(|tx| {
            let removed = users::remove(tx, name)?;
            if removed != Removed::Removed {
                return Ok((removed, Vec::new()));
            }
            // Those that were made meanwhile.
            let since = revoke_tokens(tx, name, "removed")?;
            audit::note_of_user(tx, "user-remove", name, "")?;
            Ok((removed, since))
        })
        .context("remove the user")?;
    revoked.extend(since);
    say_revoked(&revoked);
    match removed {
        Removed::Removed => {
            say(&format!("removed user {name}"));
            Ok(())
        }
        Removed::Unknown => Err(unknown(name).into()),
        Removed::HasBuilds(count) => Err(Refused(format!(
            "user {name} has uploaded {}, which name their uploader; to keep {name} from logging in: builder-db user-disable {name}",
            counted(count, "build")
        ))
        .into()),
    }
}

pub(super) fn disable(args: &UserArgs) -> anyhow::Result<()> {
    let name = &args.name;
    let store = Store::open_beside(&args.datadir.datadir)?;
    // As with one who is removed.
    let mut revoked = store
        .write(|tx| match users::by_name(tx, name)? {
            Some(_) => revoke_tokens(tx, name, "disabled"),
            None => Ok(Vec::new()),
        })
        .context("revoke the tokens of the user")?;
    let (disabled, since) = store
        .write(|tx| {
            if !users::disable(tx, name)? {
                return Ok((false, Vec::new()));
            }
            let since = revoke_tokens(tx, name, "disabled")?;
            audit::note_of_user(tx, "user-disable", name, "")?;
            Ok((true, since))
        })
        .context("disable the user")?;
    revoked.extend(since);
    say_revoked(&revoked);
    if !disabled {
        return Err(unknown(name).into());
    }
    say(&format!(
        "disabled user {name}, who cannot log in until given a password by user-update, and has no jobs on the access list any more"
    ));
    Ok(())
}

/// Revokes the tokens of a user to whom something was done, and notes each; their names.
fn revoke_tokens(tx: &mut Tx<'_>, user: &str, what: &str) -> builder_store::Result<Vec<String>> {
    let revoked = tokens::revoke_all_of(tx, user, &Clock::System.now())?;
    for token in &revoked {
        let why = format!("its user {user} was {what}");
        audit::note(tx, "token-revoke", token, &why)?;
    }
    Ok(revoked)
}

fn say_revoked(tokens: &[String]) {
    for token in tokens {
        say(&format!("revoked token {token}"));
    }
}

pub(super) fn list(args: &ListArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let all = store.read(users::all)?;
    let access = |user: &users::Listed| access(user.disabled, user.restricted);
    if args.json {
        let users: Vec<_> = all
            .iter()
            .map(|user| {
                json!({
                    "name": user.name,
                    "access": access(user),
                    "jobs": user.jobs,
                    "builds": user.builds,
                })
            })
            .collect();
        say(&json!({ "users": users }).to_string());
    } else if args.long {
        let mut table = Table::new(["USER", "ACCESS", "JOBS", "BUILDS"]);
        for user in &all {
            table.row([
                user.name.clone(),
                access(user).to_owned(),
                user.jobs.to_string(),
                user.builds.to_string(),
            ]);
        }
        table.say();
    } else {
        // As the OCaml tool: a name a line.
        for user in &all {
            say(&user.name);
        }
    }
    Ok(())
}

pub(super) fn unknown(name: &str) -> Refused {
    Refused(format!(
        "there is no user {name}; builder-db user-list shows who there is"
    ))
}

fn check_name(name: &str) -> anyhow::Result<()> {
    // HTTP Basic ends the name at the first colon.
    if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
        return Err(Refused(format!(
            "the user name {name:?} cannot be used to log in: it is empty, or holds a colon or a control character"
        ))
        .into());
    }
    Ok(())
}
