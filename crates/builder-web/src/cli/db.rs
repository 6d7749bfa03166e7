//! `builder-web db`, also `builder-db`: looking after the database.

use std::io::{BufRead, Read};

use anyhow::Context;
use builder_store::users::{self, Added};
use builder_store::{Created, Store};

use super::{DbCommand, Refused, say};
use crate::auth::{self, ScryptParams};

/// Bytes of a password that are read.
const PASSWORD_BYTES_MAX: u64 = 1024;

pub(super) fn run(command: DbCommand) -> anyhow::Result<()> {
    match command {
        DbCommand::Migrate { datadir } => {
            let directory = datadir.datadir;
            let created = Store::create(&directory)?;
            // Opening checks the version and makes the directories.
            Store::open_beside(&directory)?;
            say(&match created {
                Created::New => format!("created a database in {}", directory.display()),
                Created::Existed => {
                    format!("the database in {} is up to date", directory.display())
                }
            });
            Ok(())
        }
        DbCommand::UserAdd {
            datadir,
            unrestricted,
            scrypt,
            name,
        } => {
            let store = Store::open_beside(&datadir.datadir)?;
            check_user_name(&name)?;
            let password = read_password()?;
            let params = ScryptParams {
                n: scrypt.scrypt_n,
                r: scrypt.scrypt_r,
                p: scrypt.scrypt_p,
            };
            let password = auth::hash_password(&password, params)
                .map_err(|error| Refused(error.to_string()))?;
            let added = store
                .write(|tx| users::add(tx, &name, &password, !unrestricted))
                .context("add the user")?;
            match added {
                Added::Added => {
                    let may = if unrestricted {
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
    }
}

fn check_user_name(name: &str) -> anyhow::Result<()> {
    // HTTP Basic ends the name at the first colon.
    if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
        return Err(Refused(format!(
            "the user name {name:?} cannot be used to log in: it is empty, or holds a colon or a control character"
        ))
        .into());
    }
    Ok(())
}

/// The first line of standard input.
fn read_password() -> anyhow::Result<Vec<u8>> {
    let mut password = Vec::new();
    std::io::stdin()
        .lock()
        .take(PASSWORD_BYTES_MAX + 1)
        .read_until(b'\n', &mut password)
        .context("read the password from standard input")?;
    if password.ends_with(b"\n") {
        password.pop();
        if password.ends_with(b"\r") {
            password.pop();
        }
    }
    if password.is_empty() {
        return Err(Refused(
            "the password is empty; give it on standard input: echo PASSWORD | builder-db user-add NAME".to_owned(),
        )
        .into());
    }
    if password.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(Refused(format!(
            "the password has more than {PASSWORD_BYTES_MAX} bytes"
        ))
        .into());
    }
    Ok(password)
}
