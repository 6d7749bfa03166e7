//! SQLite: opening the files, pragmas, binding and reading values.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Connection, OpenFlags};

use super::{Tx, Value};
use crate::{Error, Result};

/// How long a statement waits for another process that writes. The hooks and command-line tools
/// of an installation write rarely and briefly.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// Statements kept prepared on each connection: all there are.
const STATEMENTS_MAX: usize = 128;
/// Pages of the database in memory for each connection, in KiB (SQLite wants it negative).
const PAGE_CACHE_KIB: i64 = -2048;

/// Of a database that we make, less what the umask takes.
const DATABASE_MODE: u32 = 0o640;

/// How a connection will be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Reads only; the connection refuses to write.
    Read,
    /// Reads and writes.
    Write,
}

/// Opens an existing database file, without our own beside it.
pub(crate) fn open(file: &Path, r#use: Use) -> Result<Connection> {
    // A reader needs the write flag too: in WAL mode it notes in shared memory what it reads.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    configured(Connection::open_with_flags(file, flags)?, r#use)
}

/// Opens a connection that writes to nothing but the files that are attached to it. COMMIT is done in
/// one after the other, in the order in which they were attached.
pub(crate) fn open_to_attach() -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    configured(Connection::open_in_memory_with_flags(flags)?, Use::Write)
}

fn configured(connection: Connection, r#use: Use) -> Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "cache_size", PAGE_CACHE_KIB)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // An upload answered 201 survives power loss: each COMMIT is synced.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A plan does not depend on the values that are bound: otherwise SQLite prepares a statement
    // anew for most of them, which takes longer than running it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if r#use == Use::Read {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(connection)
}

/// Creates an empty database file.
pub(crate) fn create(file: &Path) -> Result<Connection> {
    create_file(file).map_err(|source| Error::file("create", file, source))?;
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// An empty file is an empty database. One that is ours holds password hashes, or who did what from
/// where, and so is not for everybody, as SQLite would make it; what it keeps beside it has its mode.
pub(crate) fn create_file(file: &Path) -> io::Result<()> {
    let mut new = File::options();
    new.write(true).create_new(true).mode(DATABASE_MODE);
    new.open(file).map(drop)
}

/// Puts another file beside the main one, under a name of its own.
pub(crate) fn attach(connection: &Connection, file: &Path, schema: &str) -> Result<()> {
    let path = file.to_str().ok_or_else(|| Error::Row {
        what: format!("the path {}", file.display()),
        expected: "a UTF-8 path to the data directory",
    })?;
    connection.execute("ATTACH DATABASE ?1 AS ?2", [path, schema])?;
    connection.pragma_update(Some(schema), "cache_size", PAGE_CACHE_KIB)?;
    sync_commits(connection, schema, true)
}

/// Whether COMMIT returns when what it wrote is synced, from the next transaction on. If not, the next
/// one that is synced syncs it too.
pub(crate) fn sync_commits(connection: &Connection, schema: &str, sync: bool) -> Result<()> {
    let mode = if sync { "FULL" } else { "NORMAL" };
    Ok(connection.pragma_update(Some(schema), "synchronous", mode)?)
}

/// Pages of a database that are copied at a time.
const COPIED_PAGES: std::ffi::c_int = 4096;

/// Copies a database into a new file, by SQLite's online backup: as the transaction sees it that
/// `from` has open, whatever others write meanwhile. The copy has no write-ahead log.
pub(crate) fn copy(from: &Connection, schema: &str, to: &Path) -> Result<()> {
    let mut copy = create(to)?;
    // Nobody reads it before it is synced as a whole.
    copy.pragma_update(None, "synchronous", "OFF")?;
    let backup = Backup::new_with_names(from, schema, &mut copy, "main")?;
    while backup.step(COPIED_PAGES)? != StepResult::Done {}
    drop(backup);
    let mode: String =
        copy.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
    let check: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    copy.close().map_err(|(_, error)| Error::from(error))?;
    if check != "ok" || mode != "delete" {
        return Err(Error::Row {
            what: format!("{check} (journal mode {mode})"),
            expected: "a sound database",
        });
    }
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|source| Error::file("sync", to, source))
}

/// Reads one moment of a database file that is nobody's yet.
pub(crate) fn read_file<T>(file: &Path, read: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
    let mut connection = open(file, Use::Read)?;
    read(&mut Tx::Sqlite(connection.transaction()?))
}

/// Readers do not wait for the writer, nor it for them. The setting stays in the file.
pub(crate) fn use_wal(connection: &Connection, schema: &str) -> Result<()> {
    let mode: String =
        connection
            .pragma_update_and_check(Some(schema), "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::Row {
            what: format!("journal mode {mode}"),
            expected: "journal mode wal (is the file system shared over a network?)",
        });
    }
    Ok(())
}

pub(crate) fn pragma_int(connection: &Connection, schema: &str, name: &str) -> Result<i64> {
    Ok(connection.pragma_query_value(Some(schema), name, |row| row.get(0))?)
}

/// Binds `$1`, `$2`, … by their number: SQLite itself would count them in order of appearance.
pub(super) fn bind(
    statement: &mut rusqlite::CachedStatement<'_>,
    params: &[Value<'_>],
) -> Result<()> {
    const NAMES: [&str; 16] = [
        "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14",
        "$15", "$16",
    ];
    if params.len() > NAMES.len() {
        return Err(rusqlite::Error::InvalidParameterCount(params.len(), NAMES.len()).into());
    }
    for (value, name) in params.iter().zip(NAMES) {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(())
}

/// A value of a row. One of another type was written by somebody else: it is the row that makes no
/// sense.
pub(super) fn value<T: FromSql>(row: &rusqlite::Row<'_>, column: usize) -> Result<T> {
    row.get(column).map_err(|error| match error {
        rusqlite::Error::InvalidColumnType(_, name, found) => Error::Row {
            what: format!("{found} in column {name}"),
            expected: "a number",
        },
        other => other.into(),
    })
}

pub(super) fn bytes<'r>(
    row: &'r rusqlite::Row<'_>,
    column: usize,
) -> Result<Option<Cow<'r, [u8]>>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(Cow::Borrowed(bytes)),
        // SQLite keeps what it is given; a number in a text column reads as its digits.
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        ValueRef::Real(number) => Some(Cow::Owned(number.to_string().into_bytes())),
    })
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Blob(value) => ValueRef::Blob(value),
        }))
    }
}
