//! A data directory, open: one connection that writes, some that read, and the artifacts.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::artifacts::{ARTIFACTS, CACHE, STAGING, links_at_the_top};
use crate::db::own::{self, OWN_DATABASE};
use crate::db::record;
use crate::db::sole::log_of_another;
use crate::db::sqlite::{self, BUSY_TIMEOUT, Use};
use crate::db::writer::{Held, Writer};
use crate::record::pending;
use crate::{
    Artifacts, Error, OpenError, Result, Tx, backup, ballast, latest, restore, search, stock,
    with_causes,
};

/// `PRAGMA application_id` of the database, since the OCaml server's first release.
pub(crate) const APPLICATION_ID: i64 = 1_234_839_235;
/// `PRAGMA user_version` of the schema in `schema/v18.sql`.
pub(crate) const SCHEMA_VERSION: i64 = 18;
/// Connections that read at the same time; further readers wait. Two a core of a small server,
/// and some for pages that wait for the disk.
const READERS_MAX: usize = 6;

/// Tables of the v18 schema.
const TABLES: [&str; 7] = [
    "job",
    "build",
    "build_artifact",
    "user",
    "access_list",
    "tag",
    "job_tag",
];

/// Of a data directory that we make, less what the umask takes.
const DATA_DIRECTORY_MODE: u32 = 0o750;

pub(crate) const DATABASE: &str = "builder.sqlite3";
/// The name that the database is attached by to the connection that writes.
const BUILDER: &str = "builder";

/// An open data directory. Share it behind an `Arc`.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    artifacts: Artifacts,
    writer: Writer,
    readers: Mutex<Readers>,
    reader_back: Condvar,
    watcher: Mutex<Connection>,
    /// Of [`Store::read_anew`]; none: not opened yet, or not well.
    looker: Mutex<Option<Connection>>,
    /// An upload of this process could not be taken back: see [`Store::sweep_left_behind`].
    pub(crate) left_behind: AtomicBool,
    /// Bytes of all uploads that were written since it was looked whether the disk is getting full.
    pub(crate) unchecked_bytes: AtomicU64,
}

#[derive(Debug)]
struct Readers {
    idle: Vec<Connection>,
    open: usize,
}

/// Who opens a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The server, of which there is one.
    Server,
    /// A command, while a server may be running.
    Beside,
}

/// What [`Store::create`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// There was no database; there is one now.
    New,
    /// The database was there, and was left as it is.
    Existed,
}

impl Store {
    /// Makes `directory` a data directory, and creates it if need be. A database that is there
    /// already is left as it is.
    pub fn create(directory: &Path) -> std::result::Result<Created, OpenError> {
        create_data_directory(directory)
            .map_err(|source| other(directory, Error::file("create", directory, source)))?;
        restore::finish(directory).map_err(|source| other(directory, source))?;
        let database = directory.join(DATABASE);
        if database.exists() {
            return Ok(Created::Existed);
        }
        create_database(directory, &database).map_err(|source| other(directory, source))?;
        Ok(Created::New)
    }

    /// Opens a data directory for a server: one with a database of our version, or an empty one,
    /// where the database is created. Sweeps what interrupted uploads left behind.
    pub fn open(directory: &Path) -> std::result::Result<Store, OpenError> {
        if !directory.exists() {
            return Err(OpenError::NoDirectory(directory.to_owned()));
        }
        if !directory.is_dir() {
            return Err(OpenError::NotADirectory(directory.to_owned()));
        }
        restore::finish(directory).map_err(|source| other(directory, source))?;
        fill_if_empty(directory)?;
        let store = Store::open_as(directory, Role::Server)?;
        store.check_writable()?;
        // From here on it has a life of its own.
        crate::artifacts::remove_file(&directory.join(backup::MARK))
            .map_err(|source| other(directory, source))?;
        if let Err(error) = ballast::make(directory) {
            tracing::warn!(
                "{}; it is tried again at the next start",
                with_causes(&error)
            );
        }
        if let Err(error) = store.sweep_staging() {
            // What is kept can be shown all the same, and uploads try it again.
            tracing::error!(
                "what interrupted uploads left cannot be removed: {}",
                with_causes(&error)
            );
            store.left_behind.store(true, Ordering::Relaxed);
        }
        Ok(store)
    }

    /// Opens a data directory for a command, beside a server that may be running: there is to be
    /// a database, and what others have under way is left alone.
    pub fn open_beside(directory: &Path) -> std::result::Result<Store, OpenError> {
        Store::open_as(directory, Role::Beside)
    }

    /// As [`Store::open_beside`], but makes the database in an empty directory, as a server does at its
    /// start: for what is done before that.
    pub fn open_or_fill(directory: &Path) -> std::result::Result<Store, OpenError> {
        if directory.is_dir() {
            restore::finish(directory).map_err(|source| other(directory, source))?;
            fill_if_empty(directory)?;
        }
        Store::open_beside(directory)
    }

    fn open_as(directory: &Path, role: Role) -> std::result::Result<Store, OpenError> {
        let database = directory.join(DATABASE);
        if !directory.exists() {
            return Err(OpenError::NoDirectory(directory.to_owned()));
        }
        if !directory.is_dir() {
            return Err(OpenError::NotADirectory(directory.to_owned()));
        }
        restore::finish(directory).map_err(|source| other(directory, source))?;
        if !database.exists() {
            return Err(no_database(directory));
        }
        let failed = |source| other(directory, source);
        let checked = check_version(directory, &database)?;
        if let Some((link, target)) = links_at_the_top(directory).next() {
            return Err(OpenError::Link { link, target });
        }
        prepare_directories(directory, &checked).map_err(failed)?;
        // Whoever restores looks who has the database open after having said that it is complete.
        if restore::is_complete(directory) {
            return Err(OpenError::Restoring(directory.to_owned()));
        }
        // In this order: see `crate::record`.
        let mut writer = sqlite::open_to_attach().map_err(failed)?;
        record::prepare(&mut writer, directory)?;
        sqlite::attach(&writer, &database, BUILDER).map_err(failed)?;
        own::prepare(directory, &writer, role)?;
        let store = Store::with_writer(directory, writer).map_err(failed)?;
        store.settle_interrupted();
        Ok(store)
    }

    /// Enters into the audit record what was interrupted on the way there.
    fn settle_interrupted(&self) {
        let settled = self.read(pending::is_any).and_then(|any| match any {
            // Who writes begins with that.
            true => self.write(|_| Ok(())),
            false => Ok(()),
        });
        if let Err(error) = settled {
            tracing::warn!(
                "acts that were interrupted are not in the audit record yet: {}",
                with_causes(&error)
            );
        }
    }

    fn with_writer(directory: &Path, writer: Connection) -> Result<Store> {
        let watcher = sqlite::open(&directory.join(DATABASE), Use::Read)?;
        Ok(Store {
            directory: directory.to_owned(),
            artifacts: Artifacts::new(directory.join(ARTIFACTS)),
            writer: Writer::new(writer),
            readers: Mutex::new(Readers {
                idle: Vec::new(),
                open: 0,
            }),
            reader_back: Condvar::new(),
            watcher: Mutex::new(watcher),
            looker: Mutex::default(),
            left_behind: AtomicBool::new(false),
            unchecked_bytes: AtomicU64::new(0),
        })
    }

    /// Finds out what the next upload would: whether everything can be written.
    pub fn check_writable(&self) -> std::result::Result<(), OpenError> {
        use rustix::fs::{Access, access};
        let not_writable = |path: &Path, error| match error {
            rustix::io::Errno::ROFS => read_only(&self.directory),
            _ => OpenError::NotWritable {
                path: path.to_owned(),
                directory: self.directory.clone(),
            },
        };
        let mut paths = vec![self.directory.clone()];
        for child in [
            ARTIFACTS,
            STAGING,
            CACHE,
            DATABASE,
            OWN_DATABASE,
            record::FILE,
        ] {
            paths.push(self.directory.join(child));
        }
        for path in paths {
            let mode = if path.is_dir() {
                Access::WRITE_OK | Access::EXEC_OK
            } else {
                Access::WRITE_OK
            };
            access(&path, mode).map_err(|error| not_writable(&path, error))?;
        }
        Ok(())
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The artifacts, by content.
    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    /// Opens a console or script at the path its build's row gives, and tells its size in bytes.
    pub fn open_text(&self, path: &str) -> Result<(File, u64)> {
        // A row is of whoever may write to the database: it leads to nothing outside.
        let plain = |part| matches!(part, Component::Normal(_));
        if !Path::new(path).components().all(plain) {
            return Err(Error::Row {
                what: format!("the path {path:?}"),
                expected: "a path below the data directory",
            });
        }
        crate::artifacts::open_beneath(&self.directory, Path::new(path))
    }

    /// Runs `read` on one moment of the database. Waits while all readers are busy.
    pub fn read<T>(&self, read: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let mut reader = Reader {
            store: self,
            connection: Some(self.reader()?),
        };
        let Some(connection) = &mut reader.connection else {
            // OK because it is taken only when the reader is dropped.
            unreachable!("a reader has a connection");
        };
        let tx = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        read(&mut Tx::Sqlite(tx))
    }

    /// As [`Store::read`], from the files rather than from what was read of them before. One at a time.
    pub(crate) fn read_anew<T>(&self, read: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let mut looker = lock(&self.looker);
        // Kept, since to close one is for a moment in the way of other processes.
        let mut connection = match looker.take() {
            Some(connection) => connection,
            None => self.open_reader()?,
        };
        connection.execute_batch("PRAGMA shrink_memory")?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let value = read(&mut Tx::Sqlite(tx))?;
        *looker = Some(connection);
        Ok(value)
    }

    /// Runs `write` as the only writer and commits what it did; an error undoes all of it. While
    /// another process has locked the database it is waited for, 20 seconds, however many wait:
    /// then [`Error::is_busy`] of the error.
    pub fn write<T>(&self, write: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        self.write_within(BUSY_TIMEOUT, write)
    }

    /// As [`Store::write`], but another process that has locked the database is waited for no longer
    /// than `wait_max`.
    pub fn write_within<T>(
        &self,
        wait_max: Duration,
        write: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        let held = self.writer.take(wait_max)?;
        let mut tx = Tx::Sqlite(held.begin()?);
        if pending::is_any(&mut tx)? {
            drop(tx);
            // What is seen not to have taken place must not do so later.
            overwrite_failed_commit(held.connection())?;
            tx = Tx::Sqlite(held.begin()?);
            pending::settle(&mut tx)?;
        }
        let value = write(&mut tx)?;
        let has_acted = pending::is_any(&mut tx)?;
        tx.commit()?;
        if has_acted && let Err(error) = enter_acts(&held) {
            tracing::warn!(
                "what was done is entered into the audit record later: {}",
                with_causes(&error)
            );
        }
        Ok(value)
    }

    /// For how long another process has been seen to lock the database, or one of ours beside it,
    /// against those who write; none: none does. Seen by whoever writes, or by asking this.
    pub fn locked_for(&self) -> Result<Option<Duration>> {
        self.writer.locked_for()
    }

    /// After a COMMIT that failed, makes sure that it does not succeed in the end. One that failed
    /// when it was synced is in the write-ahead log as a whole: after a crash SQLite would find it
    /// there, unless something else was written in its place.
    pub(crate) fn settle_failed_commit(&self) -> Result<()> {
        overwrite_failed_commit(self.writer.take(BUSY_TIMEOUT)?.connection())
    }

    /// A number that is another one after every commit to `builder.sqlite3`, by whichever process.
    /// What is only in our own files changes without it: what is derived from the builds, what is
    /// pinned.
    pub fn generation(&self) -> Result<i64> {
        let watcher = lock(&self.watcher);
        sqlite::pragma_int(&watcher, "main", "data_version")
    }

    /// As [`Store::generation`], unless somebody else is looking at it: none. So of those who must not
    /// wait for a disk one at most does.
    pub fn generation_unless_asked(&self) -> Result<Option<i64>> {
        let watcher = match self.watcher.try_lock() {
            Ok(watcher) => watcher,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        sqlite::pragma_int(&watcher, "main", "data_version").map(Some)
    }

    /// Brings what we derive from the database up to date, a chunk of builds at a time, so that
    /// uploads get their turn. For the background, after start and when others have written.
    pub fn catch_up(&self) -> Result<()> {
        self.catch_up_while(&|| true)
    }

    /// As [`Store::catch_up`], until `go_on` says otherwise: the next call goes on from there.
    pub fn catch_up_while(&self, go_on: &dyn Fn() -> bool) -> Result<()> {
        if self.read(latest::is_behind_a_removal)? {
            self.write(latest::forget)?;
        }
        let index = |tx: &mut Tx<'_>| search::catch_up(tx, search::BUILDS_A_TURN);
        while go_on() && self.write(latest::catch_up)? == latest::CaughtUp::Partly {
            give_way();
        }
        while go_on() && self.write(index)? == latest::CaughtUp::Partly {
            give_way();
        }
        let count = |tx: &mut Tx<'_>| stock::catch_up(tx, stock::BUILDS_A_TURN);
        while go_on() && self.write(count)? == latest::CaughtUp::Partly {
            give_way();
        }
        Ok(())
    }

    /// Takes out of the search index what no build has any more, in turns as [`Store::catch_up`].
    pub fn sweep_search(&self) -> Result<()> {
        search::sweep(self)
    }

    /// Derives all from the beginning, as if nothing had been derived before.
    pub fn derive_anew(&self) -> Result<()> {
        self.write(latest::forget)?;
        self.write(search::forget)?;
        self.catch_up()
    }

    /// Copies what is not derived of the databases, of one moment, to new files.
    pub(crate) fn copy_databases(&self, main: &Path, record: &Path) -> Result<()> {
        let mut source = self.open_reader()?;
        let moment = source.transaction_with_behavior(TransactionBehavior::Deferred)?;
        // A transaction sees each file as of when it first reads it: nobody writes in between.
        self.write(|_| {
            for schema in ["main", "record"] {
                sqlite::pragma_int(&moment, schema, "schema_version")?;
            }
            Ok(())
        })?;
        sqlite::copy(&moment, "main", main)?;
        sqlite::copy(&moment, "record", record)
    }

    /// Free space for new files, in bytes.
    pub fn free_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.directory)
            .map_err(|error| Error::file("look at", &self.directory, io::Error::from(error)))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn reader(&self) -> Result<Connection> {
        let mut readers = lock(&self.readers);
        loop {
            if let Some(reader) = readers.idle.pop() {
                return Ok(reader);
            }
            if readers.open < READERS_MAX {
                readers.open += 1;
                drop(readers);
                return self.open_reader().inspect_err(|_| {
                    lock(&self.readers).open -= 1;
                    self.reader_back.notify_one();
                });
            }
            readers = self
                .reader_back
                .wait(readers)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open_reader(&self) -> Result<Connection> {
        let reader = sqlite::open(&self.directory.join(DATABASE), Use::Read)?;
        sqlite::attach(&reader, &self.directory.join(OWN_DATABASE), "own")?;
        record::attach(&reader, &self.directory)?;
        Ok(reader)
    }

    fn give_back(&self, reader: Connection) {
        lock(&self.readers).idle.push(reader);
        self.reader_back.notify_one();
    }
}

/// The last who closes a database takes its write-ahead log into it.
impl Drop for Store {
    fn drop(&mut self) {
        lock(&self.readers).idle.clear();
        drop(lock(&self.looker).take());
        self.writer.close();
        own::note_closed(&self.directory);
    }
}

/// A connection that is given back however its use ends.
struct Reader<'s> {
    store: &'s Store,
    connection: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.store.give_back(connection);
        }
    }
}

/// Gives what we create the owner of what it is beside: a command that root runs leaves nothing
/// that the server cannot write.
pub(crate) fn adopt(path: &Path, like: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(like).map_err(|source| Error::file("look at", like, source))?;
    std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))
        .map_err(|source| Error::file("change the owner of", path, source))
}

/// Lets an upload that waits for the writer's lock have it: a lock that is taken again at once may
/// not be given to those who wait.
pub(crate) fn give_way() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Writes to `builder.sqlite3` the number that it has: nothing is changed, but what a COMMIT that
/// failed may have left in the write-ahead log.
fn overwrite_failed_commit(writer: &Connection) -> Result<()> {
    Ok(writer.pragma_update(Some(BUILDER), "user_version", SCHEMA_VERSION)?)
}

/// Enters acts into the audit record that have just been committed. It is not synced: lost with the
/// power, it is done again by whoever writes next.
fn enter_acts(held: &Held<'_>) -> Result<()> {
    let writer = held.connection();
    sqlite::sync_commits(writer, record::SCHEMA, false)?;
    let entered = held.begin().and_then(|tx| {
        let mut tx = Tx::Sqlite(tx);
        pending::settle(&mut tx)?;
        tx.commit()
    });
    sqlite::sync_commits(writer, record::SCHEMA, true)?;
    entered
}

/// A panic elsewhere leaves a connection usable: SQLite rolled its transaction back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a data directory cannot be opened, where nothing more is known of the error.
pub(crate) fn other(directory: &Path, source: Error) -> OpenError {
    if source.is_no_space() {
        return OpenError::NoSpace(directory.to_owned());
    }
    // SQLite says only that it cannot open a file.
    if is_read_only(directory) {
        return read_only(directory);
    }
    OpenError::Other {
        directory: directory.to_owned(),
        source,
    }
}

/// Makes a data directory, for its user and group alone; one that is there keeps its mode.
pub(crate) fn create_data_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    let made = fs::DirBuilder::new()
        .mode(DATA_DIRECTORY_MODE)
        .create(directory);
    match made {
        // Made meanwhile.
        Err(_) if directory.is_dir() => Ok(()),
        made => made,
    }
}

/// Whether nothing can be written to the file system that a path is on, or would be on.
pub(crate) fn is_read_only(path: &Path) -> bool {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    let there = path.ancestors().find(|path| path.exists());
    let stat = there.and_then(|path| statvfs(path).ok());
    stat.is_some_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

pub(crate) fn read_only(directory: &Path) -> OpenError {
    OpenError::ReadOnly {
        directory: directory.to_owned(),
        // systemd tells each service which start this is.
        by_systemd: std::env::var_os("INVOCATION_ID").is_some(),
    }
}

/// Why there is nothing to open in a directory.
pub(crate) fn no_database(directory: &Path) -> OpenError {
    match is_empty(directory) {
        Ok(true) => OpenError::Empty(directory.to_owned()),
        Ok(false) => OpenError::NoDatabase {
            database: directory.join(DATABASE),
            directory: directory.to_owned(),
        },
        Err(source) => other(directory, source),
    }
}

fn is_empty(directory: &Path) -> Result<bool> {
    let mut entries =
        fs::read_dir(directory).map_err(|source| Error::file("read", directory, source))?;
    // A file system of its own has a lost+found from the start.
    Ok(!entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found")))
}

/// Makes the database, where there is nothing at all.
fn fill_if_empty(directory: &Path) -> std::result::Result<(), OpenError> {
    let database = directory.join(DATABASE);
    if database.exists() {
        return Ok(());
    }
    match no_database(directory) {
        OpenError::Empty(_) => {
            create_database(directory, &database).map_err(|source| other(directory, source))
        }
        error => Err(error),
    }
}

/// Written under another name and renamed, so that an interruption leaves no half schema.
fn create_database(directory: &Path, database: &Path) -> Result<()> {
    let unfinished = directory.join(format!("{DATABASE}.new"));
    if unfinished.exists() {
        fs::remove_file(&unfinished)
            .map_err(|source| Error::file("remove", &unfinished, source))?;
    }
    let connection = sqlite::create(&unfinished)?;
    connection.execute_batch(concat!(
        "BEGIN;",
        include_str!("../schema/v18.sql"),
        "COMMIT;"
    ))?;
    connection
        .close()
        .map_err(|(_, error)| Error::from(error))?;
    adopt(&unfinished, directory)?;
    fs::rename(&unfinished, database).map_err(|source| Error::file("create", database, source))?;
    crate::artifacts::sync_directory(directory)
}

pub(crate) fn check_version(
    directory: &Path,
    database: &Path,
) -> std::result::Result<Connection, OpenError> {
    // The file is read by whichever call comes first.
    let refused = |error| match &error {
        Error::Database(cause)
            if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) =>
        {
            OpenError::NotADatabase(database.to_owned())
        }
        _ => other(directory, error),
    };
    check_logs(directory)?;
    let connection = sqlite::open(database, Use::Write).map_err(refused)?;
    let pragma = |name| sqlite::pragma_int(&connection, "main", name).map_err(refused);
    let application_id = pragma("application_id")?;
    let missing = || -> std::result::Result<Option<&'static str>, OpenError> {
        for table in TABLES {
            let there = connection.table_exists(Some("main"), table);
            if !there.map_err(|error| refused(error.into()))? {
                return Ok(Some(table));
            }
        }
        Ok(None)
    };
    let incomplete = |table| OpenError::Incomplete {
        database: database.to_owned(),
        directory: directory.to_owned(),
        table,
    };
    if application_id == 0
        && let Some(table) = missing()?
    {
        return Err(incomplete(table));
    }
    if application_id != APPLICATION_ID {
        return Err(OpenError::Foreign {
            database: database.to_owned(),
            found: application_id,
            expected: APPLICATION_ID,
        });
    }
    let version = pragma("user_version")?;
    if version < SCHEMA_VERSION {
        return Err(OpenError::Older {
            database: database.to_owned(),
            directory: directory.to_owned(),
            found: version,
            expected: SCHEMA_VERSION,
        });
    }
    if version > SCHEMA_VERSION {
        return Err(OpenError::Newer {
            database: database.to_owned(),
            directory: directory.to_owned(),
            found: version,
            expected: SCHEMA_VERSION,
        });
    }
    if let Some(table) = missing()? {
        return Err(incomplete(table));
    }
    Ok(connection)
}

/// Refuses databases beside which lies what SQLite would write into them, and is of others.
pub(crate) fn check_logs(directory: &Path) -> std::result::Result<(), OpenError> {
    for name in [DATABASE, record::FILE] {
        let database = directory.join(name);
        let log = log_of_another(&database).map_err(|source| other(directory, source))?;
        if let Some(log) = log {
            return Err(OpenError::LogOfAnother { database, log });
        }
    }
    Ok(())
}

/// Makes what is to be there before a build can be kept.
fn prepare_directories(directory: &Path, writer: &Connection) -> Result<()> {
    // Hooks make directories inside of _cache, without its parent.
    for child in [ARTIFACTS, STAGING, CACHE] {
        let child = directory.join(child);
        if !child.is_dir() {
            fs::create_dir_all(&child).map_err(|source| Error::file("create", &child, source))?;
            adopt(&child, directory)?;
        }
    }
    sqlite::use_wal(writer, "main")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_must_not_wait_learns_the_generation_unless_somebody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let generation = store.generation().unwrap();
        assert_eq!(store.generation_unless_asked().unwrap(), Some(generation));
        let asks = lock(&store.watcher);
        assert_eq!(store.generation_unless_asked().unwrap(), None);
        drop(asks);
        assert_eq!(store.generation_unless_asked().unwrap(), Some(generation));
    }
}
