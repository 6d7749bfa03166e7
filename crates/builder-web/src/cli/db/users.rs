//! `db user-…`.

use anyhow::Context;
use builder_store::Store;
use builder_store::users::{self, Added};
use clap::Args;

use super::password::{self, ScryptArgs};
use crate::cli::{DatadirArg, Refused, say};

#[derive(Debug, Args)]
pub(super) struct AddArgs {
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

pub(super) fn add(args: &AddArgs) -> anyhow::Result<()> {
    let name = &args.name;
    let store = Store::open_beside(&args.datadir.datadir)?;
    check_name(name)?;
    let password = password::ask(&args.scrypt)?;
    let added = store
        .write(|tx| users::add(tx, name, &password, !args.unrestricted))
        .context("add the user")?;
    match added {
        Added::Added => {
            let may = if args.unrestricted {
                "may upload to every job"
            } else {
                "may upload to the jobs on its access list"
            };
            say(&format!("added user {name}, who {may}"));
            Ok(())
        }
        Added::Exists => Err(Refused(format!("there is a user {name} already")).into()),
    }
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
