//! The password of a user, as it is given to a command.

use std::io::{self, BufRead, IsTerminal, Read};

use anyhow::Context;
use builder_store::users::PasswordHash;
use clap::Args;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::auth::{self, ScryptParams};
use crate::cli::{Refused, say_question};

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

/// Asks for a password and hashes it: twice on a terminal, without showing it, else once for the
/// first line of standard input.
pub(super) fn ask(scrypt: &ScryptArgs, command: &str) -> anyhow::Result<PasswordHash> {
    let password = if io::stdin().is_terminal() {
        typed()?
    } else {
        read()?
    };
    if password.is_empty() {
        return Err(Refused(format!(
            "the password is empty; give it on standard input: echo PASSWORD | builder-db {command} NAME"
        ))
        .into());
    }
    if password.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(Refused(format!(
            "the password has more than {PASSWORD_BYTES_MAX} bytes"
        ))
        .into());
    }
    let params = ScryptParams {
        n: scrypt.scrypt_n,
        r: scrypt.scrypt_r,
        p: scrypt.scrypt_p,
    };
    Ok(auth::hash_password(&password, params).map_err(|error| Refused(error.to_string()))?)
}

/// Asks on the terminal, twice.
fn typed() -> anyhow::Result<Vec<u8>> {
    let password = prompt("Password: ")?;
    if prompt("Again: ")? != password {
        return Err(Refused("the two passwords differ; nothing was changed".to_owned()).into());
    }
    Ok(password)
}

/// A line that is not shown while it is typed.
fn prompt(question: &str) -> anyhow::Result<Vec<u8>> {
    let _hidden = Hidden::new().context("keep the terminal from showing the password")?;
    // Only now: what is typed before would be shown.
    say_question(question);
    read()
}

/// The terminal shows no input until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Hidden> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // But go on to the next line.
        hidden.local_modes.insert(LocalModes::ECHONL);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nothing to be done about a terminal that is gone.
        let _: Result<(), _> = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// The first line of standard input.
fn read() -> anyhow::Result<Vec<u8>> {
    let mut password = Vec::new();
    io::stdin()
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
    Ok(password)
}
