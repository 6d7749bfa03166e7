//! The newest build of each job and platform, also when others write to the database.

use builder_store::{builds, jobs, latest};
use rusqlite::params;
use uuid::Uuid;

use crate::data::{Data, New};

/// The newest builds as the table of our own has them.
fn listed(data: &Data) -> Vec<(String, String, u128)> {
    let by_job = data.store.read(latest::by_job).unwrap();
    let mut all: Vec<_> = by_job
        .into_values()
        .flatten()
        .filter_map(|latest| latest.successful)
        .map(|build| (build.job, build.platform, build.uuid.as_u128()))
        .collect();
    all.sort();
    all
}

/// The same, asked for one by one from the v18 tables.
fn looked_up(data: &Data) -> Vec<(String, String, u128)> {
    let found = data.store.read(|tx| {
        let mut all = Vec::new();
        for job in jobs::all(tx)? {
            for platform in jobs::platforms(tx, job.id)? {
                if let Some(build) = builds::latest_successful(tx, job.id, Some(&platform))? {
                    all.push((build.job, build.platform, build.uuid.as_u128()));
                }
            }
        }
        Ok(all)
    });
    let mut all = found.unwrap();
    all.sort();
    all
}

/// Both before and after our own table has followed.
fn check(data: &Data, expected: &[(&str, &str, u128)]) {
    let expected: Vec<(String, String, u128)> = expected
        .iter()
        .map(|(job, platform, number)| ((*job).to_owned(), (*platform).to_owned(), *number))
        .collect();
    assert_eq!(looked_up(data), expected);
    assert_eq!(listed(data), expected, "before catching up");
    data.store.catch_up().unwrap();
    assert_eq!(listed(data), expected, "after catching up");
}

const MAIN: &[(&str, &str)] = &[("bin/x", "x")];

/// As the OCaml server adds a build: its rows alone matter here.
fn add_behind(data: &Data, number: u128, job: &str, platform: &str, start_d: i64, main: bool) {
    let sql = data.sql();
    sql.execute("INSERT OR IGNORE INTO job (name) VALUES (?1)", [job])
        .unwrap();
    sql.execute(
        "INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console, script, platform, user, job)
         VALUES (?1, ?2, 0, ?2, 0, 0, '', '', ?3, 1, (SELECT id FROM job WHERE name = ?4))",
        params![Uuid::from_u128(number).to_string(), start_d, platform, job],
    )
    .unwrap();
    let build = sql.last_insert_rowid();
    if main {
        sql.execute("INSERT INTO build_artifact (filepath, sha256, size, build) VALUES ('bin/x', zeroblob(32), 1, ?1)", [build]).unwrap();
        sql.execute(
            "UPDATE build SET main_binary = ?1 WHERE id = ?2",
            [sql.last_insert_rowid(), build],
        )
        .unwrap();
    }
}

/// As `builder-db` removes a build.
fn remove_behind(data: &Data, number: u128) {
    let sql = data.sql();
    let uuid = Uuid::from_u128(number).to_string();
    sql.execute(
        "UPDATE build SET main_binary = NULL WHERE uuid = ?1",
        [&uuid],
    )
    .unwrap();
    sql.execute(
        "DELETE FROM build_artifact WHERE build = (SELECT id FROM build WHERE uuid = ?1)",
        [&uuid],
    )
    .unwrap();
    assert_eq!(
        sql.execute("DELETE FROM build WHERE uuid = ?1", [&uuid])
            .unwrap(),
        1
    );
}

#[test]
fn the_newest_is_by_start_whatever_the_order_of_uploads() {
    let data = Data::new();
    for (number, start) in [(1, 500), (2, 900), (3, 700), (4, 100)] {
        data.keep(number, &New("hello", "p", start, MAIN));
    }
    data.keep(5, &New("hello", "p", 1_000, &[("x", "no main binary")]));
    data.keep(6, &New("hello", "q", 50, MAIN));
    data.keep(7, &New("failing", "p", 50, &[]));
    check(&data, &[("hello", "p", 2), ("hello", "q", 6)]);
}

#[test]
fn builds_that_another_program_adds_are_seen_at_once() {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 10 * 86_400, MAIN));
    check(&data, &[("hello", "p", 1)]);
    add_behind(&data, 2, "hello", "p", 9, true);
    check(&data, &[("hello", "p", 1)]);
    add_behind(&data, 3, "hello", "p", 11, true);
    add_behind(&data, 4, "hello", "p", 12, false);
    add_behind(&data, 5, "new", "q", 1, true);
    check(&data, &[("hello", "p", 3), ("new", "q", 5)]);
    // Ours comes after theirs, and is older.
    data.keep(6, &New("hello", "p", 10 * 86_400 + 1, MAIN));
    check(&data, &[("hello", "p", 3), ("new", "q", 5)]);
}

#[test]
fn builds_that_another_program_removes_are_gone_at_once() {
    let data = Data::new();
    for (number, start) in [(1, 100), (2, 300), (3, 200)] {
        data.keep(number, &New("hello", "p", start, MAIN));
    }
    data.keep(4, &New("hello", "q", 1, MAIN));
    check(&data, &[("hello", "p", 2), ("hello", "q", 4)]);
    remove_behind(&data, 2);
    check(&data, &[("hello", "p", 3), ("hello", "q", 4)]);
    remove_behind(&data, 4);
    check(&data, &[("hello", "p", 3)]);
    remove_behind(&data, 3);
    remove_behind(&data, 1);
    check(&data, &[]);
    data.sql().execute("DELETE FROM job", []).unwrap();
    check(&data, &[]);
    data.keep(5, &New("hello", "p", 5, MAIN));
    check(&data, &[("hello", "p", 5)]);
}

#[test]
fn what_happened_while_we_were_not_running_is_seen() {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 100, MAIN));
    data.keep(2, &New("hello", "p", 200, MAIN));
    let data = data.reopen();
    remove_behind(&data, 2);
    add_behind(&data, 3, "other", "p", 7, true);
    let data = data.reopen();
    check(&data, &[("hello", "p", 1), ("other", "p", 3)]);
}

#[test]
fn a_long_history_is_followed_in_turns() {
    let data = Data::new();
    let sql = data.sql();
    sql.execute_batch(
        "INSERT INTO job (name) VALUES ('hello');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
         INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console, script, platform, user, job)
         SELECT printf('00000000-0000-0000-0000-%012x', i), i * 7 % 12007, 0, 0, 0, 0, '', '', 'p' || (i % 3), 1, 1 FROM n;
         INSERT INTO build_artifact (filepath, sha256, size, build) SELECT 'bin/x', zeroblob(32), 1, id FROM build WHERE id % 5 > 0;
         UPDATE build SET main_binary = (SELECT a.id FROM build_artifact a WHERE a.build = build.id);",
    )
    .unwrap();
    let expected = looked_up(&data);
    assert_eq!(expected.len(), 3);
    assert_eq!(listed(&data), expected);
    data.store.catch_up().unwrap();
    assert_eq!(listed(&data), expected);
    let indexed: i64 = rusqlite::Connection::open(data.path().join("builder-web.sqlite3"))
        .unwrap()
        .query_row("SELECT indexed_build FROM progress", [], |row| row.get(0))
        .unwrap();
    assert_eq!(indexed, 12_000);
}

#[test]
fn another_programs_commit_changes_the_generation_and_reading_does_not() {
    let data = Data::new();
    let first = data.store.generation().unwrap();
    listed(&data);
    assert_eq!(data.store.generation().unwrap(), first);
    add_behind(&data, 1, "hello", "p", 1, true);
    let second = data.store.generation().unwrap();
    assert_ne!(second, first);
    data.keep(2, &New("hello", "p", 1, MAIN));
    assert_ne!(data.store.generation().unwrap(), second);
}

/// How far our own tables have come: the last build, and how many.
fn progress(data: &Data) -> (i64, i64) {
    let own = rusqlite::Connection::open(data.path().join("builder-web.sqlite3")).unwrap();
    own.query_row(
        "SELECT indexed_build, indexed_count FROM progress",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .unwrap()
}

#[test]
fn rows_that_make_no_sense_are_passed_once() {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 10, MAIN));
    add_behind(&data, 2, "hello", "p", 11, true);
    let sql = data.sql();
    let spoil = |number: u128, uuid: &str| {
        let changed = sql.execute(
            "UPDATE build SET uuid = ?2 WHERE uuid = ?1",
            [&Uuid::from_u128(number).to_string(), uuid],
        );
        assert_eq!(changed.unwrap(), 1);
    };
    spoil(2, "no uuid");
    data.store.catch_up().unwrap();
    assert_eq!(progress(&data), (2, 2), "the last one makes no sense");
    assert_eq!(listed(&data), [("hello".to_owned(), "p".to_owned(), 1)]);
    // What was derived stays: another turn finds nothing to do.
    let own = rusqlite::Connection::open(data.path().join("builder-web.sqlite3")).unwrap();
    let tally = |sql: &str| own.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    own.execute("UPDATE tally SET builds = 70 WHERE NOT failed", [])
        .unwrap();
    data.store.catch_up().unwrap();
    assert_eq!(tally("SELECT SUM(builds) FROM tally WHERE NOT failed"), 70);
    // More than one turn of them.
    sql.execute_batch(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5003)
         INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console,
           script, platform, user, job)
         SELECT 'none ' || n, 12, 0, 12, 0, 0, '', '', 'p', 1, 1 FROM n",
    )
    .unwrap();
    data.keep(3, &New("hello", "p", 20 * 86_400, MAIN));
    data.store.catch_up().unwrap();
    assert_eq!(progress(&data), (5_006, 5_006));
    assert_eq!(listed(&data), [("hello".to_owned(), "p".to_owned(), 3)]);
    assert_eq!(tally("SELECT SUM(builds) FROM tally WHERE NOT failed"), 71);
}

#[test]
fn the_same_are_newest_while_our_own_table_is_far_behind() {
    let data = Data::new();
    for (number, job) in [(1, "a"), (2, "b"), (3, "c")] {
        data.keep(number, &New(job, "p", 10, MAIN));
    }
    data.sql()
        .execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1500)
             INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console,
               script, main_binary, platform, user, job)
             SELECT format('00000000-0000-0000-0001-%012x', n), n * 7919 % 1500, n % 3, 4000, 0, 0,
               '', '', CASE n % 4 WHEN 0 THEN NULL ELSE 1 END,
               CASE n % 5 WHEN 0 THEN 'q' ELSE 'p' END, 1, n % 3 + 1 FROM n",
        )
        .unwrap();
    let all = || {
        let mut all: Vec<_> = data
            .store
            .read(latest::by_job)
            .unwrap()
            .into_iter()
            .collect();
        all.sort_by_key(|(job, _)| *job);
        all
    };
    let behind = all();
    assert_eq!(behind.len(), 3);
    assert!(behind.iter().all(|(_, platforms)| platforms.len() == 2));
    assert_eq!(listed(&data), looked_up(&data));
    data.store.catch_up().unwrap();
    assert_eq!(all(), behind);
}
