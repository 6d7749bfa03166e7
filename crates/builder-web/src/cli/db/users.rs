//! `db user-…`.

use anyhow::Context;
use builder_store::Store;
use builder_store::users::{self, Added, Removed};
use clap::Args;
use serde_json::json;

use super::audit;
use super::password::{self, ScryptArgs};
use super::table::Table;
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
}

pub(super) fn add(args: &PasswordArgs) -> anyhow::Result<()> {
    let name = &args.name;
    let store = Store::open_beside(&args.datadir.datadir)?;
    check_name(name)?;
    // Before the password is typed for nothing; what counts is the answer below.
    if store.read(|tx| users::by_name(tx, name))?.is_some() {
        return Err(exists(name).into());
    }
    let password = password::ask(&args.scrypt, "user-add")?;
    let added = store
        .write(|tx| {
            let added = users::add(tx, name, &password, !args.unrestricted)?;
            if added == Added::Added {
                audit::note(tx, "user-add", name, args.may())?;
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
    let updated = store
        .write(|tx| {
            let updated = users::update(tx, name, &password, !args.unrestricted)?;
            if updated {
                audit::note(tx, "user-update", name, args.may())?;
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
    match store
        .write(|tx| {
            let removed = users::remove(tx, name)?;
            if removed == Removed::Removed {
                audit::note(tx, "user-remove", name, "")?;
            }
            Ok(removed)
        })
        .context("remove the user")?
    {
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
    if !store
        .write(|tx| {
            let disabled = users::disable(tx, name)?;
            if disabled {
                audit::note(tx, "user-disable", name, "")?;
            }
            Ok(disabled)
        })
        .context("disable the user")?
    {
        return Err(unknown(name).into());
    }
    say(&format!(
        "disabled user {name}, who cannot log in until given a password by user-update, and has no jobs on the access list any more"
    ));
    Ok(())
}

pub(super) fn list(args: &ListArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let all = store.read(users::all)?;
    let access = |user: &users::Listed| match (user.disabled, user.restricted) {
        (true, _) => "disabled",
        (false, true) => "restricted",
        (false, false) => "unrestricted",
    };
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
