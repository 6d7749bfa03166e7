//! `builder-web.sqlite3`, opened: made anew where it is missing, damaged or of another version, since all
//! in it can be derived again. Knows nothing of what is in its tables.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::sole::Sole;
use super::sqlite;
use crate::store::{Role, adopt, other};
use crate::{Error, OpenError, Result};

/// The name of the file, in the data directory.
pub(crate) const OWN_DATABASE: &str = "builder-web.sqlite3";
/// The name the file is attached by.
const SCHEMA: &str = "own";
/// Version of the tables in `schema/own.sql`; a file of another version is made anew.
const OWN_VERSION: i64 = 9;
/// What the name of the mark beside it ends in that tells what was closed.
const CLOSED: &str = "-closed";

/// Attaches our own file. One that is damaged or of another version is made anew, since all in it can
/// be derived again; but not below a server that has it open.
pub(crate) fn prepare(
    directory: &Path,
    writer: &Connection,
    role: Role,
) -> std::result::Result<(), OpenError> {
    let failed = |source| other(directory, source);
    let own = directory.join(OWN_DATABASE);
    if own.exists() {
        match attach_known(writer, &own) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.is_damage() => {}
            // Locked, or out of reach: it may be good.
            Err(error) => return Err(failed(error)),
        }
        // Attached or not: what cannot be detached was not attached.
        let _: rusqlite::Result<usize> = writer.execute("DETACH DATABASE own", []);
        if role == Role::Beside && is_in_use(&own) {
            return Err(OpenError::OwnInUse(own));
        }
        tracing::warn!("{} is made anew", own.display());
    }
    make(writer, &own).map_err(failed)
}

/// Whether another connection has a database open. Nobody is known to have one that is none of
/// SQLite's.
fn is_in_use(database: &Path) -> bool {
    let seized = Sole::open(database).and_then(|sole| sole.seize());
    seized.is_err_and(|error| error.is_busy())
}

fn make(writer: &Connection, own: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal", CLOSED] {
        crate::artifacts::remove_file(&beside(own, suffix))?;
    }
    // Attaching creates none.
    sqlite::create_file(own).map_err(|source| Error::file("create", own, source))?;
    if let Some(directory) = own.parent() {
        adopt(own, directory)?;
    }
    sqlite::attach(writer, own, SCHEMA)?;
    sqlite::use_wal(writer, SCHEMA)?;
    writer.execute_batch(concat!(
        "BEGIN;",
        include_str!("../../schema/own.sql"),
        "COMMIT;"
    ))?;
    Ok(())
}

/// Notes that the file in a data directory was closed, once nobody has it open.
pub(crate) fn note_closed(directory: &Path) {
    let own = directory.join(OWN_DATABASE);
    if let Some(closed) = Closed::now(&own)
        && closed.note(&own).is_ok()
    {
        // Where it stays root's the next one who closes cannot write it.
        let _: Result<()> = adopt(&beside(&own, CLOSED), directory);
    }
}

/// Which state of our own file was closed, and so is whole: a mark beside it, for the next start. To
/// read all of it takes more than a second on a cold disk.
#[derive(Debug, PartialEq, Eq)]
struct Closed(String);

impl Closed {
    /// That of the file as it is; none while it has a write-ahead log: it is open, or was not closed.
    fn now(own: &Path) -> Option<Closed> {
        use std::os::unix::fs::MetadataExt;
        let log = beside(own, "-wal");
        if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
            return None;
        }
        let file = fs::metadata(own).ok()?;
        Some(Closed(format!(
            "{} {} {}.{:09}\n",
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec()
        )))
    }

    /// That of when it was last closed.
    fn noted(own: &Path) -> Option<Closed> {
        fs::read_to_string(beside(own, CLOSED)).ok().map(Closed)
    }

    /// Notes it. Where that fails the next start reads all of it.
    fn note(&self, own: &Path) -> io::Result<()> {
        fs::write(beside(own, CLOSED), &self.0)
    }
}

/// The name of a file beside another one.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Attaches our own file; whether it is whole and of the version we know.
fn attach_known(writer: &Connection, own: &Path) -> Result<bool> {
    let was_closed = Closed::now(own).is_some_and(|now| Closed::noted(own) == Some(now));
    sqlite::attach(writer, own, SCHEMA)?;
    if !writer.table_exists(Some(SCHEMA), "progress")? {
        return Ok(false);
    }
    let version: Option<i64> =
        writer.query_row("SELECT MAX(schema_version) FROM own.progress", [], |row| {
            row.get(0)
        })?;
    if version != Some(OWN_VERSION) {
        return Ok(false);
    }
    if was_closed {
        return Ok(true);
    }
    let check: String = writer.query_row("PRAGMA own.quick_check(1)", [], |row| row.get(0))?;
    Ok(check == "ok")
}
