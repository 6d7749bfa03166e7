//! A connection for one who wants the database to himself: migrations. They change the schema and
//! move files along with it, which is of SQLite alone, so they speak to it past the portable
//! [`Tx`](super::Tx); a database server will have migrations of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::sqlite::bytes;
use super::{Row, Value};
use crate::{Error, Result};

/// How long to wait for others before giving up: they are to be stopped, not waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);
/// Pages of the database in memory, in KiB (SQLite wants it negative): what bounds the memory of a
/// step, since changed pages beyond it go to the file.
const PAGE_CACHE_KIB: i64 = -16 * 1024;

/// Where SQLite's locks are, by its file format: in the index of the write-ahead log, and in the
/// database itself from the byte at 1 GiB on. What the file's name ends in, first byte, bytes.
const LOCKED: [(&str, u64, u64); 2] = [("-shm", 120, 9), ("", 1 << 30, 512)];

/// A connection, and while it writes the only one.
#[derive(Debug)]
pub(crate) struct Sole {
    connection: Connection,
}

impl Sole {
    /// Opens a database to change it.
    pub(crate) fn open(file: &Path) -> Result<Sole> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Sole::configured(Connection::open_with_flags(file, flags)?)
    }

    /// Keeps everybody else out from now on.
    pub(crate) fn seize(&self) -> Result<()> {
        // Leaving the write-ahead log fails while anybody else has the file open, as a running
        // server has. It sets the mode again when it starts.
        let mode: String =
            self.connection
                .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
        if mode == "wal" {
            return Err(Error::Database(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                None,
            )));
        }
        // The lock that the first transaction takes stays.
        self.connection
            .pragma_update(Some("main"), "locking_mode", "EXCLUSIVE")?;
        self.batch("BEGIN EXCLUSIVE; COMMIT")
    }

    /// Opens a database to look at it; no file is changed or created.
    pub(crate) fn look(file: &Path) -> Result<Sole> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        // A reader of a file with a write-ahead log creates that log, even if it is not there.
        let immutable = if uses_wal(file)? && !has_log(file) {
            "?immutable=1"
        } else {
            ""
        };
        let mut uri = OsString::from("file:").into_vec();
        for byte in file.as_os_str().as_bytes() {
            match byte {
                b'?' | b'#' | b'%' => uri.extend(format!("%{byte:02X}").into_bytes()),
                _ => uri.push(*byte),
            }
        }
        uri.extend(immutable.bytes());
        Sole::configured(Connection::open_with_flags(
            Path::new(&OsString::from_vec(uri)),
            flags,
        )?)
    }

    /// Removes SQLite's journal that a kill left after COMMIT. It holds nothing any more, so that it
    /// stays is no error either.
    pub(crate) fn remove_spent_journal(&self) {
        let path = self.connection.path().map(|path| format!("{path}-journal"));
        if path.is_some_and(|path| Path::new(&path).exists()) {
            // Any transaction that writes removes it.
            let _: Result<()> = self.batch("BEGIN EXCLUSIVE").and_then(|()| {
                let version = self.pragma("user_version")?;
                self.batch(&format!("PRAGMA user_version = {version}; COMMIT"))
            });
        }
    }

    fn configured(connection: Connection) -> Result<Sole> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "cache_size", PAGE_CACHE_KIB)?;
        connection.pragma_update(None, "temp_store", "FILE")?;
        // A table is replaced by dropping it while others point to it.
        connection.pragma_update(None, "foreign_keys", false)?;
        // Once COMMIT has returned, power loss does not take it back, so that files may go.
        connection.pragma_update(None, "synchronous", "EXTRA")?;
        Ok(Sole { connection })
    }

    /// Copies the database into a new file, which has no write-ahead log.
    pub(crate) fn copy(&self, to: &Path) -> Result<()> {
        super::sqlite::copy(&self.connection, "main", to)
    }

    pub(crate) fn pragma(&self, name: &str) -> Result<i64> {
        super::sqlite::pragma_int(&self.connection, "main", name)
    }

    /// Runs statements that answer no rows.
    pub(crate) fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Runs a statement, with values for `?1`, `?2`, ….
    pub(crate) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.execute(rusqlite::params_from_iter(params))?;
        Ok(())
    }

    /// The one number that a query answers.
    pub(crate) fn number(&self, sql: &str) -> Result<i64> {
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Hands each row of a query to `row`, none of them kept.
    pub(crate) fn for_each<E: From<Error>>(
        &self,
        sql: &str,
        mut row: impl FnMut(&Row<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut statement = self.connection.prepare(sql).map_err(Error::from)?;
        let mut rows = statement.query([]).map_err(Error::from)?;
        while let Some(found) = rows.next().map_err(Error::from)? {
            row(&Row::Sqlite(found))?;
        }
        Ok(())
    }
}

impl Row<'_> {
    /// The bytes of a text or blob, whatever they are.
    pub(crate) fn raw(&self, column: usize) -> Result<Option<Vec<u8>>> {
        match self {
            Row::Sqlite(row) => Ok(bytes(row, column)?.map(|bytes| bytes.into_owned())),
        }
    }
}

/// Whether a transaction that was cut short is to be rolled back, which one who only looks cannot.
pub(crate) fn is_to_be_rolled_back(error: &Error) -> bool {
    matches!(error, Error::Database(error)
        if error.sqlite_error_code() == Some(ErrorCode::ReadOnly))
}

/// Whether the file is none of SQLite's.
pub(crate) fn is_no_database(error: &Error) -> bool {
    matches!(error, Error::Database(error)
        if error.sqlite_error_code() == Some(ErrorCode::NotADatabase))
}

/// A write-ahead log that lies beside a database which has none, and so is of another that was there
/// before: SQLite would write it into this one. Of a database that has one, nothing tells whose it is.
pub(crate) fn log_of_another(file: &Path) -> Result<Option<PathBuf>> {
    if !file.is_file() || uses_wal(file)? || !has_log(file) {
        return Ok(None);
    }
    // Somebody may have begun with one since: the header is written first.
    let none = !uses_wal(file)? && has_log(file);
    Ok(none.then(|| log_of(file)))
}

/// Whether another process has a database open, as far as its locks tell: also where the database is
/// damaged. One that has no write-ahead log is locked while it is read or written only. Not to be asked
/// by who has it open: the locks of a process end when it closes a file.
pub(crate) fn is_open_elsewhere(database: &Path) -> Result<bool> {
    use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
    for (suffix, start, length) in LOCKED {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        let path = Path::new(&path);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(|source| Error::file("open", path, source))?,
        };
        let mut lock = Flock::from(FlockType::WriteLock);
        lock.offset_type = FlockOffsetType::Set;
        (lock.start, lock.length) = (start, length);
        let other = fcntl_getlk(&file, &lock)
            .map_err(|error| Error::file("look at the locks of", path, error.into()))?;
        if other.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the database was last written with a write-ahead log: its header says so.
fn uses_wal(file: &Path) -> Result<bool> {
    let mut header = Vec::new();
    File::open(file)
        .and_then(|file| file.take(20).read_to_end(&mut header))
        .map_err(|source| Error::file("read", file, source))?;
    Ok(header.get(18..20) == Some(&[2, 2]))
}

/// Whether there is a write-ahead log with something in it.
fn has_log(file: &Path) -> bool {
    fs::metadata(log_of(file)).is_ok_and(|log| log.len() > 0)
}

fn log_of(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}
