//! The password of a user, as it is given to a command.

use std::io::{BufRead, Read};

use anyhow::Context;
use builder_store::users::PasswordHash;
use clap::Args;

use crate::auth::{self, ScryptParams};
use crate::cli::Refused;

/// Bytes of a password that are read.
const PASSWORD_BYTES_MAX: u64 = 1024;

#[derive(Debug, Args)]
pub(super) struct ScryptArgs {
    /// scrypt's N: the cost, a power of two
    #[arg(long, default_value_t = ScryptParams::default().n, value_name = "N")]
    scrypt_n: i64,
    /// scrypt's r: the block size
    #[arg(long, default_value_t = ScryptParams::default().r, value_name = "R")]
    scrypt_r: i64,
    /// scrypt's p: the parallelism
    #[arg(long, default_value_t = ScryptParams::default().p, value_name = "P")]
    scrypt_p: i64,
}

/// Asks for a password and hashes it.
pub(super) fn ask(scrypt: &ScryptArgs) -> anyhow::Result<PasswordHash> {
    let password = read()?;
    let params = ScryptParams {
        n: scrypt.scrypt_n,
        r: scrypt.scrypt_r,
        p: scrypt.scrypt_p,
    };
    Ok(auth::hash_password(&password, params).map_err(|error| Refused(error.to_string()))?)
}

/// The first line of standard input.
fn read() -> anyhow::Result<Vec<u8>> {
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
