//! The v18 schema stays what it is: hooks and tools of existing installations read it themselves.

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::data::{Data, New};

/// All that `.schema` shows, and both marks.
fn schema(sql: &Connection) -> (Vec<String>, i64, i64) {
    let mut statement = sql
        .prepare("SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY rowid")
        .unwrap();
    let all = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mark = |name| {
        sql.pragma_query_value(None, name, |row| row.get(0))
            .unwrap()
    };
    (all, mark("application_id"), mark("user_version"))
}

#[test]
fn a_new_database_is_what_the_schema_file_says_and_stays_so() {
    let plain = Connection::open_in_memory().unwrap();
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/v18.sql"))
            .unwrap();
    plain.execute_batch(&text).unwrap();
    let expected = schema(&plain);
    assert_eq!((expected.1, expected.2), (1_234_839_235, 18));
    assert_eq!(
        expected
            .0
            .iter()
            .filter(|line| line.starts_with("table "))
            .count(),
        8,
        "seven tables, and SQLite's own"
    );
    let data = Data::new();
    assert_eq!(schema(&data.sql()), expected);
    for number in 1..5 {
        data.keep(
            number,
            &New("hello", "p", 100, &[("bin/x", "x"), ("y", "y")]),
        );
    }
    data.store.catch_up().unwrap();
    assert_eq!(schema(&data.sql()), expected);
    let data = data.reopen();
    assert_eq!(schema(&data.sql()), expected);
}

#[test]
fn a_database_of_the_ocaml_server_keeps_its_schema_to_the_letter() {
    // In a folder beside this one or further up, if anywhere.
    let name = "shared/corpus/reference/databases/v18.tar.gz";
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    let Some(archive) = archive else {
        println!("not run: there is no {name}");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .arg("xzf")
        .arg(&archive)
        .current_dir(&directory)
        .status()
        .unwrap();
    assert!(unpacked.success());
    let database = directory.path().join("builder.sqlite3");
    let before = schema(&Connection::open(&database).unwrap());
    let store = builder_store::Store::open(directory.path()).unwrap();
    store.catch_up().unwrap();
    drop(store);
    assert_eq!(schema(&Connection::open(&database).unwrap()), before);
    assert_eq!((before.1, before.2), (1_234_839_235, 18));
}

#[test]
fn the_main_binary_is_the_first_of_a_builds_artifacts_and_rows_have_the_form_that_hooks_read() {
    let data = Data::new();
    data.keep(
        0xabcd,
        &New("hello", "p", 100, &[("a", "1"), ("bin/x", "2"), ("z", "3")]),
    );
    let sql = data.sql();
    let (uuid, main, console): (String, String, String) = sql
        .query_row(
            "SELECT b.uuid, lower(hex(a.sha256)), b.console FROM build b JOIN build_artifact a ON a.id = b.main_binary",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(uuid, "00000000-0000-0000-0000-00000000abcd");
    assert_eq!(console, format!("hello/{uuid}/console.txt"));
    assert!(
        data.path()
            .join("_artifacts")
            .join(&main[..2])
            .join(&main)
            .is_file()
    );
    let first: String = sql
        .query_row(
            "SELECT filepath FROM build_artifact ORDER BY id LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(first, "bin/x");
    assert_eq!(
        sql.query_row("PRAGMA foreign_key_check", [], |_| Ok(()))
            .ok(),
        None
    );
}

#[test]
fn our_own_file_may_be_deleted_or_damaged_at_any_time() {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 100, &[("bin/x", "x")]));
    for damage in [None, Some("no database"), Some("")] {
        let own = data.path().join("builder-web.sqlite3");
        match damage {
            None => std::fs::remove_file(&own).unwrap(),
            Some(text) => std::fs::write(&own, text).unwrap(),
        }
        let store = builder_store::Store::open(data.path()).unwrap();
        store.catch_up().unwrap();
        let jobs = store.read(builder_store::latest::by_job).unwrap();
        assert_eq!(jobs.len(), 1, "{damage:?}");
    }
}
