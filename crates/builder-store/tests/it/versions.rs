//! Directories that are not opened, each with what to do about it.

use builder_store::{OpenError, Store};
use rusqlite::Connection;

use crate::data::Data;

#[test]
fn what_is_not_ours_or_of_another_version_is_refused_and_left_alone() {
    let data = Data::new();
    let sql = data.sql();
    let refused = |statement: &str| {
        sql.execute_batch("PRAGMA application_id = 1234839235; PRAGMA user_version = 18;")
            .unwrap();
        sql.execute_batch(statement).unwrap();
        Store::open(data.path()).unwrap_err()
    };
    assert!(matches!(
        refused("PRAGMA application_id = 1"),
        OpenError::Foreign { found: 1, .. }
    ));
    assert!(matches!(
        refused("PRAGMA user_version = 17"),
        OpenError::Older { found: 17, .. }
    ));
    assert!(matches!(
        refused("PRAGMA user_version = 19"),
        OpenError::Newer { found: 19, .. }
    ));
    let message = refused("PRAGMA user_version = 17").to_string();
    assert!(
        message.contains("builder-migrations up --datadir"),
        "{message}"
    );
    sql.execute_batch("PRAGMA user_version = 18").unwrap();
    assert!(Store::open(data.path()).is_ok());
}

#[test]
fn a_file_that_is_no_database_is_called_that() {
    for content in [
        "short",
        &"some text that is longer than a page of SQLite\n".repeat(200),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("builder.sqlite3");
        std::fs::write(&database, content).unwrap();
        let error = Store::open(directory.path()).unwrap_err();
        assert!(matches!(error, OpenError::NotADatabase(_)), "{error}");
        assert_eq!(std::fs::read_to_string(&database).unwrap(), content);
    }
}

#[test]
fn an_empty_database_file_is_not_taken_for_ours() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("builder.sqlite3"), "").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Incomplete { table: "job", .. }),
        "{error}"
    );
}

#[test]
fn a_directory_is_filled_only_when_it_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none");
    assert!(matches!(
        Store::open(&missing),
        Err(OpenError::NoDirectory(_))
    ));
    assert!(!missing.exists());
    std::fs::write(directory.path().join("other"), "").unwrap();
    assert!(matches!(
        Store::open(directory.path()),
        Err(OpenError::NoDatabase { .. })
    ));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(matches!(
        Store::open_or_fill(directory.path()),
        Err(OpenError::NoDatabase { .. })
    ));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(matches!(
        Store::open_or_fill(&missing),
        Err(OpenError::NoDirectory(_))
    ));
    // A file system of its own is as good as empty.
    for open in [Store::open, Store::open_or_fill] {
        let mount = tempfile::tempdir().unwrap();
        std::fs::create_dir(mount.path().join("lost+found")).unwrap();
        assert!(matches!(
            Store::open_beside(mount.path()),
            Err(OpenError::Empty(_))
        ));
        assert!(open(mount.path()).is_ok());
        assert!(Store::open_beside(mount.path()).is_ok());
    }
}

#[test]
fn a_database_that_was_half_created_is_created_again() {
    let directory = tempfile::tempdir().unwrap();
    let unfinished = directory.path().join("builder.sqlite3.new");
    Connection::open(&unfinished)
        .unwrap()
        .execute_batch("CREATE TABLE job (x)")
        .unwrap();
    builder_store::Store::create(directory.path()).unwrap();
    assert!(!unfinished.exists());
    assert!(Store::open(directory.path()).is_ok());
}
