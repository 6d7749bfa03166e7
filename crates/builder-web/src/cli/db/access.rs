//! `db access-…`: which jobs a restricted user may upload to.

use std::path::Path;

use anyhow::Context;
use builder_store::{Store, Tx, access, jobs, users};
use clap::Args;
use serde_json::json;

use super::audit;
use super::table::Table;
use super::users::unknown;
use crate::cli::{DatadirArg, Refused, say};

#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The name of the user
    user: String,
    /// The name of the job
    job: String,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The access list of this user alone
    user: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl AccessArgs {
    pub(super) fn directory(&self) -> &Path {
        &self.datadir.datadir
    }
}

pub(super) fn add(args: &AccessArgs) -> anyhow::Result<()> {
    let AccessArgs { user, job, .. } = args;
    change(args, "access-add", |tx, user, job| {
        let restricted = user.restricted;
        access::add(tx, user.id, job)?;
        Ok(restricted)
    })
    .map(|restricted| {
        say(&format!("user {user} may upload to job {job}"));
        if !restricted {
            say(&format!(
                "note: {user} is unrestricted, and may upload to every job anyway"
            ));
        }
    })
}

pub(super) fn remove(args: &AccessArgs) -> anyhow::Result<()> {
    let AccessArgs { user, job, .. } = args;
    let (was, restricted) = change(args, "access-remove", |tx, user, job| {
        Ok((access::remove(tx, user.id, job)?, user.restricted))
    })?;
    match (was, restricted) {
        (true, true) => say(&format!("user {user} may not upload to job {job} any more")),
        (false, true) => say(&format!("job {job} was not on the access list of {user}")),
        (_, false) => say(&format!(
            "job {job} is not on the access list of {user}, who is unrestricted and may upload to every job"
        )),
    }
    Ok(())
}

fn change<T>(
    args: &AccessArgs,
    action: &str,
    change: impl FnOnce(&mut Tx<'_>, &users::User, i64) -> builder_store::Result<T>,
) -> anyhow::Result<T> {
    let AccessArgs { user, job, .. } = args;
    let store = Store::open_beside(&args.datadir.datadir)?;
    let changed = store
        .write(|tx| {
            let Some(user) = users::by_name(tx, user)? else {
                return Ok(Err(unknown(user)));
            };
            let Some(job) = jobs::id_by_name(tx, job)? else {
                return Ok(Err(no_job(job)));
            };
            let changed = change(tx, &user, job)?;
            audit::note_of_user(tx, action, &user.name, &args.job)?;
            Ok(Ok(changed))
        })
        .context("change the access list")?;
    Ok(changed?)
}

pub(super) fn list(args: &ListArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let all = store.read(|tx| {
        if let Some(user) = &args.user
            && users::by_name(tx, user)?.is_none()
        {
            return Ok(Err(unknown(user)));
        }
        access::all(tx, args.user.as_deref()).map(Ok)
    })??;
    if args.json {
        let access: Vec<_> = all
            .iter()
            .map(|access| json!({ "user": access.user, "job": access.job }))
            .collect();
        say(&json!({ "access": access }).to_string());
        return Ok(());
    }
    let mut table = Table::new(["USER", "JOB"]);
    for access in all {
        table.row([access.user, access.job]);
    }
    table.say();
    Ok(())
}

pub(super) fn no_job(job: &str) -> Refused {
    Refused(format!(
        "there is no job {job}: a job is there from its first build on"
    ))
}
