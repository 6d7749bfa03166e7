//! What can go wrong with what is kept.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The result of a call on the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call on an open store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The build is already kept; nothing was changed.
    #[error("build with same uuid exists: {uuid}")]
    BuildExists {
        /// The name of the build that was there first.
        uuid: Uuid,
    },
    /// Something that is no directory has the name of the job in the data directory.
    #[error(
        "a job cannot be named {job} here: the data directory holds something else of that name"
    )]
    JobNameTaken {
        /// The name.
        job: String,
    },
    /// The directory of the job, or of the build, is a link; nothing was written.
    #[error(
        "job {job} takes no builds: {link} is a link in the data directory, which is not followed; \
         its operator finds what to do with builder-db doctor"
    )]
    JobIsLink {
        /// The name of the job.
        job: String,
        /// The link, below the data directory.
        link: PathBuf,
    },
    /// Whoever brings the build may not add it any more; nothing was changed.
    #[error("who brings this build may not add it any more")]
    NotAdmitted,
    /// The disk is full (or the quota is used up).
    #[error("no space left for {path}")]
    NoSpace {
        /// What could not be written.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried: `open`, `write`, …
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database refused a statement.
    #[error("the database refused a statement")]
    Database(#[from] rusqlite::Error),
    /// A row does not hold what its schema promises.
    #[error("the database holds {what} where {expected} was expected")]
    Row {
        /// What was found.
        what: String,
        /// What should have been there.
        expected: &'static str,
    },
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace {
                path: path.to_owned(),
            },
            _ => Error::File {
                action,
                path: path.to_owned(),
                source,
            },
        }
    }

    /// Whether the database file itself is damaged, or is no database.
    pub(crate) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let Error::Database(error) = self else {
            return false;
        };
        matches!(
            error.sqlite_error_code(),
            Some(DatabaseCorrupt | NotADatabase)
        )
    }

    /// Whether a file is not there.
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether another process has locked the database for longer than it was waited for.
    pub fn is_busy(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        let Error::Database(error) = self else {
            return false;
        };
        matches!(
            error.sqlite_error_code(),
            Some(DatabaseBusy | DatabaseLocked)
        )
    }

    /// Whether a row was to name another one that is not there any more.
    pub fn is_missing_row(&self) -> bool {
        let Error::Database(error) = self else {
            return false;
        };
        error.sqlite_error().map(|error| error.extended_code)
            == Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
    }

    /// Whether space on the disk is what was missing.
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::NoSpace { .. } => true,
            Error::Database(error) => {
                // The index of a write-ahead log says it in words of its own.
                error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
                    || error.sqlite_error().map(|error| error.extended_code)
                        == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
            }
            _ => false,
        }
    }
}

/// Why a data directory was not opened. Each message ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such directory.
    #[error("the data directory {0} does not exist; create it with: builder-web db migrate -d {0}")]
    NoDirectory(PathBuf),
    /// It is something else.
    #[error("the data directory {0} is no directory; check --datadir")]
    NotADirectory(PathBuf),
    /// The server cannot write there.
    #[error(
        "{path} cannot be written by the user who runs builder-web; \
         give it to that user, with everything in it: chown -R USER {directory}"
    )]
    NotWritable {
        /// What cannot be written.
        path: PathBuf,
        /// The data directory.
        directory: PathBuf,
    },
    /// The database has nothing in it, or not all that it should.
    #[error(
        "{database} lacks the table {table}; restore a backup with builder-db restore, \
         or, if it never held anything, remove it and run: builder-web db migrate -d {directory}"
    )]
    Incomplete {
        /// The file.
        database: PathBuf,
        /// The data directory.
        directory: PathBuf,
        /// What is missing.
        table: &'static str,
    },
    /// The directory is there, and nothing is in it.
    #[error(
        "there is no database in {0}, which is empty; check --datadir, or create one there with: \
         builder-web db migrate -d {0}"
    )]
    Empty(PathBuf),
    /// The file system cannot be written by anybody.
    #[error(
        "{directory} cannot be written: its file system is mounted read-only{}; \
         a disk with errors is mounted so, too, and dmesg tells; else mount it to be written with: {}",
        unit(.by_systemd, .directory), mounting(.directory)
    )]
    ReadOnly {
        /// The data directory.
        directory: PathBuf,
        /// Whether systemd started this process: its units have ways to mount it so for them alone.
        by_systemd: bool,
    },
    /// The directory holds other things and no database.
    #[error(
        "there is no database {database}, and {directory} is not empty; \
         check --datadir, or create a database there with: builder-web db migrate -d {directory}"
    )]
    NoDatabase {
        /// Where it was expected.
        database: PathBuf,
        /// The data directory.
        directory: PathBuf,
    },
    /// A directory in which the server writes and removes is a link.
    #[error(
        "{link} is a link to {target}, which is not followed: the server would write there, and remove; \
         stop the server and, so that a directory is made in its place, remove the link, which leaves what it leads to as it is, with: rm {link}"
    )]
    Link {
        /// The link.
        link: PathBuf,
        /// What it leads to, as it says.
        target: PathBuf,
    },
    /// `builder.sqlite3` is no SQLite database.
    #[error(
        "{0} is not an SQLite database; check --datadir, or restore a backup with builder-db restore"
    )]
    NotADatabase(PathBuf),
    /// The database belongs to another program.
    #[error(
        "{database} belongs to another program: its application_id is {found}, \
         that of builder-web is {expected}; check --datadir"
    )]
    Foreign {
        /// The file.
        database: PathBuf,
        /// The `application_id` it has.
        found: i64,
        /// The `application_id` of builder-web.
        expected: i64,
    },
    /// The schema is older than ours.
    #[error(
        "{database} has schema version {found}, version {expected} is needed; \
         bring it up with: builder-migrations up --datadir {directory}"
    )]
    Older {
        /// The file.
        database: PathBuf,
        /// The data directory.
        directory: PathBuf,
        /// The `user_version` it has.
        found: i64,
        /// The one needed.
        expected: i64,
    },
    /// The schema is newer than ours.
    #[error(
        "{database} has schema version {found}, newer than version {expected} of this builder-web; \
         install a newer builder-web, or go back with that one's: builder-migrations down --to {expected} --datadir {directory}"
    )]
    Newer {
        /// The file.
        database: PathBuf,
        /// The data directory.
        directory: PathBuf,
        /// The `user_version` it has.
        found: i64,
        /// The one needed.
        expected: i64,
    },
    /// The record is damaged. It is not made anew by itself, since nothing could tell again what is
    /// in it.
    #[error(
        "{file} is damaged ({why}); it has which builds are pinned, what was removed, the tokens and the \
         audit record, and cannot be derived from anything else: restore it from a backup, or, if there \
         is none, put it aside and go on with an empty one: \
         mv {file} {file}.damaged && builder-db record-anew --datadir {directory}"
    )]
    RecordDamaged {
        /// The data directory.
        directory: PathBuf,
        /// The file.
        file: PathBuf,
        /// What was found.
        why: String,
    },
    /// The record is not there any more.
    #[error(
        "{file} is missing; it has which builds are pinned, what was removed, the tokens and the audit \
         record, and cannot be derived from anything else: restore it from a backup, or, if there is \
         none, go on with an empty one: builder-db record-anew --datadir {directory}"
    )]
    RecordMissing {
        /// The data directory.
        directory: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// There is another record than before.
    #[error(
        "{file} is another one than before, with other pins, tokens and another audit record; put that \
         one back, or, if it is to be this one from now on, say so: \
         builder-db record-anew --datadir {directory}"
    )]
    RecordAnother {
        /// The data directory.
        directory: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// The record belongs to another program.
    #[error(
        "{file} belongs to another program: its application_id is {found}, \
         that of the record of builder-web is {expected}; restore it from a backup, or check --datadir"
    )]
    RecordForeign {
        /// The data directory.
        directory: PathBuf,
        /// The file.
        file: PathBuf,
        /// The `application_id` it has.
        found: i64,
        /// The one expected.
        expected: i64,
    },
    /// The record is of a newer builder-web.
    #[error(
        "{file} has version {found}, newer than version {expected} of this builder-web; \
         install a newer builder-web, or go back with that one's: \
         builder-db record-take-back --to {expected} --datadir {directory}"
    )]
    RecordNewer {
        /// The data directory.
        directory: PathBuf,
        /// The file.
        file: PathBuf,
        /// The `user_version` it has.
        found: i64,
        /// The newest this program knows.
        expected: i64,
    },
    /// What lies beside a database would be written into it, and is of another.
    #[error(
        "{log} is of another database than {database}, which was put in its place and has no such log; it is \
         not to be written into this one. Put it aside with: mv {log} {log}.old && rm -f {}",
        index_of(.log).display()
    )]
    LogOfAnother {
        /// The database.
        database: PathBuf,
        /// The write-ahead log.
        log: PathBuf,
    },
    /// A restore has the directory, or was interrupted when all that was left were renames.
    #[error("{0} is being restored from a backup; try again when that is done")]
    Restoring(PathBuf),
    /// What is derived cannot be made anew while others have it open.
    #[error(
        "{0} is damaged or of another version of builder-web, and a server has it open; restart the server, \
         which makes it anew, or use the builder-db of that server's version"
    )]
    OwnInUse(PathBuf),
    /// There is not even room for what SQLite needs to read.
    #[error(
        "the disk of {0} is so full that its databases cannot be opened: SQLite needs some 100 KiB beside \
         them; free that much and start again"
    )]
    NoSpace(PathBuf),
    /// Something else.
    #[error(
        "cannot open the data directory {directory}; check that it belongs to the user who runs builder-web"
    )]
    Other {
        /// The data directory.
        directory: PathBuf,
        /// What happened.
        #[source]
        source: Error,
    },
}

/// What SQLite keeps beside a write-ahead log.
fn index_of(log: &Path) -> PathBuf {
    let text = log.to_string_lossy();
    PathBuf::from(format!("{}-shm", text.trim_end_matches("-wal")))
}

/// What to look at where a service of systemd is told that nothing can be written.
fn unit(by_systemd: &bool, directory: &Path) -> String {
    if !by_systemd {
        return String::new();
    }
    format!(
        ", perhaps for this service alone: ProtectSystem=strict does that unless its unit has \
         ReadWritePaths={} (systemctl edit builder-web)",
        directory.display()
    )
}

/// The command that lets the file system of a directory be written.
fn mounting(directory: &Path) -> String {
    let place = crate::shell::quoted(&directory.display().to_string());
    let options = if cfg!(target_os = "freebsd") {
        "-u -o rw"
    } else {
        "-o remount,rw"
    };
    format!("mount {options} \"$(df -P {place} | awk 'END {{print $6}}')\"")
}

/// An error and what caused it, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
