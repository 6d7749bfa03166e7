//! `builder-web-record.sqlite3`, opened: created when it is missing, brought up to date when it is
//! older, refused when it is newer, damaged or another program's. Never dropped: nothing could tell
//! again what is in it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::sqlite;
use crate::store::{adopt, other};
use crate::{Error, OpenError, Result, Tx};

/// `PRAGMA application_id` of the file.
const APPLICATION_ID: i64 = 1_651_987_013;
/// The name of the file, in the data directory.
pub const FILE: &str = "builder-web-record.sqlite3";
/// The name of a file beside `builder.sqlite3` that says which record there is: one that is missing, or
/// another, is told from a first start.
pub(crate) const MARK: &str = "builder.sqlite3-record";
/// The version from which on the record has an identity.
pub(crate) const IDENTITY_VERSION: i64 = 7;
/// The name the file is attached by.
pub(crate) const SCHEMA: &str = "record";

/// A change of the schema. Frozen once it was released: the next change is the next step.
struct Step {
    up: &'static str,
    down: &'static str,
}

/// The step at index N leads from version N to N + 1, and back. Together they make
/// `schema/record.sql`.
const STEPS: &[Step] = &[
    Step {
        up: include_str!("../../schema/record/1-up.sql"),
        down: include_str!("../../schema/record/1-down.sql"),
    },
    Step {
        up: include_str!("../../schema/record/2-up.sql"),
        down: include_str!("../../schema/record/2-down.sql"),
    },
    Step {
        up: include_str!("../../schema/record/3-up.sql"),
        down: include_str!("../../schema/record/3-down.sql"),
    },
    Step {
        up: include_str!("../../schema/record/4-up.sql"),
        down: include_str!("../../schema/record/4-down.sql"),
    },
    Step {
        up: include_str!("../../schema/record/5-up.sql"),
        down: include_str!("../../schema/record/5-down.sql"),
    },
    Step {
        up: include_str!("../../schema/record/6-up.sql"),
        down: include_str!("../../schema/record/6-down.sql"),
    },
    Step {
        up: include_str!("../../schema/record/7-up.sql"),
        down: include_str!("../../schema/record/7-down.sql"),
    },
];

/// The version that the steps lead to.
fn newest() -> i64 {
    // OK because there are not that many steps.
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Attaches the record to the connection that writes, and sees to it that it is there, the one that
/// was there before, and up to date.
pub(crate) fn prepare(
    writer: &mut Connection,
    directory: &Path,
) -> std::result::Result<(), OpenError> {
    let file = directory.join(FILE);
    // In this order: the mark is made after the file.
    if noted_identity(directory).is_some() && !file.exists() {
        return Err(OpenError::RecordMissing {
            directory: directory.to_owned(),
            file,
        });
    }
    prepare_any(writer, directory)?;
    let refused = |error: Error| refused(directory, &file, error);
    let identity = identity(writer).map_err(refused)?;
    match noted_identity(directory) {
        None => {
            // The next one who opens it tries again.
            if let Err(error) = note_identity(directory, &identity) {
                tracing::warn!("{}", crate::with_causes(&error));
            }
            Ok(())
        }
        Some(noted) if noted == identity => Ok(()),
        Some(_) => Err(OpenError::RecordAnother {
            directory: directory.to_owned(),
            file,
        }),
    }
}

/// What was in place of the record that there was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// The same: nothing was changed.
    Same,
    /// Nothing: there is an empty one now.
    Missing,
    /// Another one.
    Another,
}

/// Goes on with another record than before: the one that is there, or an empty one. `note` adds the
/// entry that says so, which is the first of an empty one.
pub fn go_on_with_another(
    directory: &Path,
    note: impl FnOnce(&mut Tx<'_>, Before) -> Result<()>,
) -> std::result::Result<Before, OpenError> {
    let file = directory.join(FILE);
    let failed = |source| other(directory, source);
    let database = directory.join(crate::store::DATABASE);
    let _checked = crate::store::check_version(directory, &database)?;
    let was_there = file.exists();
    let mut writer = sqlite::open_to_attach().map_err(failed)?;
    prepare_any(&mut writer, directory)?;
    let identity = identity(&writer).map_err(failed)?;
    let before = match noted_identity(directory) {
        Some(noted) if noted == identity => return Ok(Before::Same),
        _ if was_there => Before::Another,
        _ => Before::Missing,
    };
    let noted = writer
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Error::from)
        .and_then(|tx| {
            let mut tx = Tx::Sqlite(tx);
            note(&mut tx, before)?;
            tx.commit()
        });
    noted
        .and_then(|()| note_identity(directory, &identity))
        .map_err(failed)?;
    Ok(before)
}

fn identity(connection: &Connection) -> Result<String> {
    let sql = "SELECT id FROM record.identity";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Which record there was, as far as that is known.
pub(crate) fn noted_identity(directory: &Path) -> Option<String> {
    let noted = fs::read(directory.join(MARK)).ok()?;
    let noted = String::from_utf8_lossy(&noted).trim().to_owned();
    // One that was cut short by power loss says nothing.
    (!noted.is_empty()).then_some(noted)
}

/// Whichever record is put into a directory next is that of the directory.
pub(crate) fn forget_identity(directory: &Path) -> Result<()> {
    crate::artifacts::remove_file(&directory.join(MARK))
}

fn note_identity(directory: &Path, identity: &str) -> Result<()> {
    let mark = directory.join(MARK);
    let unfinished = directory.join(format!("{MARK}.{}.new", std::process::id()));
    let written = File::create(&unfinished).and_then(|mut file| {
        writeln!(file, "{identity}")?;
        file.sync_all()
    });
    written.map_err(|source| Error::file("write", &unfinished, source))?;
    adopt(&unfinished, directory)?;
    fs::rename(&unfinished, &mark).map_err(|source| Error::file("create", &mark, source))?;
    crate::artifacts::sync_directory(directory)
}

/// Attaches the record, whichever it is, brought up to date, or a new one.
fn prepare_any(writer: &mut Connection, directory: &Path) -> std::result::Result<(), OpenError> {
    let file = directory.join(FILE);
    let refused = |error: Error| refused(directory, &file, error);
    create(directory, &file).map_err(refused)?;
    attach(writer, directory).map_err(refused)?;
    check_identity(writer, directory, &file)?;
    let check: String = writer
        .query_row("PRAGMA record.quick_check(1)", [], |row| row.get(0))
        .map_err(|error| refused(error.into()))?;
    if check != "ok" {
        return Err(OpenError::RecordDamaged {
            directory: directory.to_owned(),
            file,
            why: check,
        });
    }
    sqlite::use_wal(writer, SCHEMA).map_err(refused)?;
    move_to(writer, newest()).map_err(refused)
}

/// Attaches the record, which is known to be there, to a connection.
pub(crate) fn attach(connection: &Connection, directory: &Path) -> Result<()> {
    sqlite::attach(connection, &directory.join(FILE), SCHEMA)
}

/// Takes the schema back to an older version, for an older builder-web. What the steps in between
/// brought is lost.
pub fn take_back(directory: &Path, version: i64) -> std::result::Result<(), OpenError> {
    let database = directory.join(crate::store::DATABASE);
    let _checked = crate::store::check_version(directory, &database)?;
    let mut writer = sqlite::open_to_attach().map_err(|source| other(directory, source))?;
    prepare(&mut writer, directory)?;
    if version < IDENTITY_VERSION {
        // It will have another one.
        forget_identity(directory).map_err(|source| other(directory, source))?;
    }
    move_to(&mut writer, version.clamp(0, newest()))
        .map_err(|error| refused(directory, &directory.join(FILE), error))
}

/// Makes an empty file if there is none; an empty file is an empty database. Under another name
/// first, so that one that was cut to nothing is told from one that was never filled.
fn create(directory: &Path, file: &Path) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    let artifacts = directory.join("_artifacts");
    let _creating = File::open(&artifacts)
        .and_then(|lock| lock.lock().map(|()| lock))
        .map_err(|source| Error::file("lock", &artifacts, source))?;
    if file.exists() {
        return Ok(());
    }
    let unfinished = directory.join(format!("{FILE}.new"));
    for suffix in ["", "-wal", "-shm", "-journal"] {
        crate::artifacts::remove_file(&directory.join(format!("{FILE}.new{suffix}")))?;
    }
    // Of one that was there before: SQLite would write it into this one.
    for suffix in ["-wal", "-shm", "-journal"] {
        let left = directory.join(format!("{FILE}{suffix}"));
        if left.exists() {
            let aside = directory.join(format!("{FILE}.before{suffix}"));
            fs::rename(&left, &aside).map_err(|source| Error::file("rename", &left, source))?;
        }
    }
    let connection = sqlite::create(&unfinished)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    // Now, while nobody else has the file open: two who set the mode at once are in each other's way.
    sqlite::use_wal(&connection, "main")?;
    connection
        .close()
        .map_err(|(_, error)| Error::from(error))?;
    adopt(&unfinished, directory)?;
    fs::rename(&unfinished, file).map_err(|source| Error::file("create", file, source))?;
    crate::artifacts::sync_directory(directory)
}

fn check_identity(
    writer: &Connection,
    directory: &Path,
    file: &Path,
) -> std::result::Result<(), OpenError> {
    let pragma = |name| {
        sqlite::pragma_int(writer, SCHEMA, name).map_err(|error| refused(directory, file, error))
    };
    let found = pragma("application_id")?;
    if found == 0 && fs::metadata(file).is_ok_and(|file| file.len() == 0) {
        return Err(OpenError::RecordDamaged {
            directory: directory.to_owned(),
            file: file.to_owned(),
            why: "it is empty".to_owned(),
        });
    }
    if found != APPLICATION_ID {
        return Err(OpenError::RecordForeign {
            directory: directory.to_owned(),
            file: file.to_owned(),
            found,
            expected: APPLICATION_ID,
        });
    }
    let found = pragma("user_version")?;
    if found > newest() {
        return Err(OpenError::RecordNewer {
            directory: directory.to_owned(),
            file: file.to_owned(),
            found,
            expected: newest(),
        });
    }
    Ok(())
}

/// Takes the steps from the version the file has to another one, all or none.
fn move_to(writer: &mut Connection, version: i64) -> Result<()> {
    if sqlite::pragma_int(writer, SCHEMA, "user_version")? == version {
        return Ok(());
    }
    let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let found = sqlite::pragma_int(&tx, SCHEMA, "user_version")?;
    for (leads_to, step) in (1..).zip(STEPS) {
        if found < leads_to && leads_to <= version {
            tx.execute_batch(step.up)?;
        }
    }
    for (leads_to, step) in (1..=newest()).rev().zip(STEPS.iter().rev()) {
        if version < leads_to && leads_to <= found {
            tx.execute_batch(step.down)?;
        }
    }
    tx.pragma_update(Some(SCHEMA), "user_version", version)?;
    Ok(tx.commit()?)
}

/// An error of opening the record, as what it means.
fn refused(directory: &Path, file: &Path, error: Error) -> OpenError {
    if error.is_damage() {
        let why = match &error {
            Error::Database(cause) => cause.to_string(),
            other => other.to_string(),
        };
        return OpenError::RecordDamaged {
            directory: directory.to_owned(),
            file: file.to_owned(),
            why,
        };
    }
    other(directory, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute("ATTACH DATABASE ':memory:' AS record", [])
            .unwrap();
        connection
            .pragma_update(Some(SCHEMA), "application_id", APPLICATION_ID)
            .unwrap();
        connection
    }

    /// All statements of the schema without comments and blanks, and both marks.
    fn schema(connection: &Connection) -> (Vec<String>, i64, i64) {
        let mut statement = connection
            .prepare("SELECT coalesce(sql, name) FROM record.sqlite_master ORDER BY name")
            .unwrap();
        let all = statement
            .query_map([], |row| row.get::<_, String>(0))
            .unwrap()
            .map(|sql| {
                let sql = sql.unwrap();
                let code = sql.lines().map(|line| line.split("--").next().unwrap());
                let code = code.collect::<Vec<_>>().join(" ");
                let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
                // Where a column was added SQLite leaves the blanks as they were.
                code.replace(" ,", ",").replace(" )", ")")
            })
            .collect();
        let mark = |name| sqlite::pragma_int(connection, SCHEMA, name).unwrap();
        (all, mark("application_id"), mark("user_version"))
    }

    #[test]
    fn the_steps_add_up_to_the_schema_as_it_is_today() {
        let mut stepped = empty();
        move_to(&mut stepped, newest()).unwrap();
        let whole = empty();
        whole
            .execute_batch(include_str!("../../schema/record.sql"))
            .unwrap();
        assert_eq!(schema(&stepped), schema(&whole));
        assert_eq!(schema(&whole).2, newest(), "record.sql says its version");
        assert_eq!(schema(&whole).1, APPLICATION_ID);
    }

    #[test]
    fn each_step_down_undoes_its_step_up() {
        let mut connection = empty();
        for version in 0..newest() {
            move_to(&mut connection, version).unwrap();
            let before = schema(&connection);
            move_to(&mut connection, version + 1).unwrap();
            assert_ne!(schema(&connection), before);
            move_to(&mut connection, version).unwrap();
            assert_eq!(schema(&connection), before, "step {}", version + 1);
        }
        move_to(&mut connection, newest()).unwrap();
        move_to(&mut connection, 0).unwrap();
        assert_eq!(schema(&connection).0, Vec::<String>::new());
    }
}
