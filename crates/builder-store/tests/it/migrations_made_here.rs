//! Migrations of a small data directory that is made here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use builder_store::migrations::{self, Direction, Event, Goal, MigrationError, Options, Outcome};
use builder_store::{Sha256, Store};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::migrations::{bytes, options, picture, run, run_with, step, walk};

const V14: &str = "
CREATE TABLE job (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name VARCHAR(255) NOT NULL UNIQUE);
CREATE TABLE build (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, uuid VARCHAR(36) NOT NULL UNIQUE,
  start_d INTEGER NOT NULL, start_ps INTEGER NOT NULL, finish_d INTEGER NOT NULL, finish_ps INTEGER NOT NULL,
  result_code INTEGER NOT NULL, result_msg TEXT, console TEXT NOT NULL, script TEXT NOT NULL,
  main_binary INTEGER, user INTEGER NOT NULL, job INTEGER NOT NULL, input_id BLOB,
  FOREIGN KEY(main_binary) REFERENCES build_artifact(id) DEFERRABLE INITIALLY DEFERRED,
  FOREIGN KEY(user) REFERENCES user(id), FOREIGN KEY(job) REFERENCES job(id));
CREATE TABLE build_artifact (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, filepath TEXT NOT NULL, localpath TEXT NOT NULL,
  sha256 BLOB NOT NULL, size INTEGER NOT NULL, build INTEGER NOT NULL,
  FOREIGN KEY(build) REFERENCES build(id), UNIQUE(build, filepath));
CREATE TABLE user (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, username VARCHAR(255) NOT NULL UNIQUE,
  password_hash BLOB NOT NULL, password_salt BLOB NOT NULL, scrypt_n INTEGER NOT NULL,
  scrypt_r INTEGER NOT NULL, scrypt_p INTEGER NOT NULL, restricted BOOLEAN NOT NULL);
CREATE TABLE access_list (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, user INTEGER NOT NULL, job INTEGER NOT NULL,
  FOREIGN KEY(user) REFERENCES user(id), FOREIGN KEY(job) REFERENCES job(id), UNIQUE(user, job));
CREATE TABLE tag (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, tag VARCHAR(255) NOT NULL UNIQUE);
CREATE TABLE job_tag (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, tag INTEGER NOT NULL, value TEXT NOT NULL,
  job INTEGER NOT NULL, FOREIGN KEY(job) REFERENCES job(id), FOREIGN KEY(tag) REFERENCES tag(id), UNIQUE(tag, job));
CREATE INDEX idx_build_job_start ON build(job, start_d DESC, start_ps DESC);
CREATE INDEX idx_build_failed ON build(job, start_d DESC, start_ps DESC) WHERE result_code <> 0;
CREATE INDEX idx_build_input_id ON build(input_id);
CREATE INDEX idx_build_main_binary ON build(main_binary);
CREATE INDEX idx_build_artifact_sha256 ON build_artifact(sha256);
INSERT INTO user VALUES (1, 'builder', X'00', X'00', 16384, 8, 1, 0), (2, 'by-hand', X'00', X'00', 16384, 8, 1, 1);
INSERT INTO job VALUES (1, 'hello'), (2, 'dns');
INSERT INTO access_list VALUES (1, 2, 1);
PRAGMA user_version = 14;
PRAGMA application_id = 1234839235;
";

/// Builds that share most of their artifacts; two lack a build-environment, and are by-hand's.
pub(crate) fn v14() -> TempDir {
    let directory = TempDir::new().unwrap();
    let db = Connection::open(directory.path().join("builder.sqlite3")).unwrap();
    db.execute_batch(V14).unwrap();
    db.execute_batch("BEGIN").unwrap();
    for id in 1..=24_i64 {
        let (job, name) = if id % 2 == 0 {
            (1, "hello")
        } else {
            (2, "dns")
        };
        let by_hand = id % 12 == 0;
        // Bytes that are no text, among them NUL.
        let mut uuid = *Sha256::of(&id.to_le_bytes()).as_bytes();
        uuid[3] = 0;
        let hex: String = uuid[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let dashed = format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        );
        let home = format!("{name}/{dashed}");
        let main = id * 4;
        db.execute(
            &format!(
                "INSERT INTO build VALUES (?1, CAST(?2 AS TEXT), 18000, ?1, 18000, ?1, ?3, NULL,
                 '{home}/console.txt', '{home}/script.txt', ?4, ?5, ?6, ?7)"
            ),
            rusqlite::params![
                id,
                &uuid[..16],
                id % 3,
                (id % 3 == 0).then_some(main),
                if by_hand { 2 } else { 1 },
                job,
                &uuid[..]
            ],
        )
        .unwrap();
        let put = |path: &str, content: String| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put(&format!("{home}/console.txt"), format!("console {id}"));
        put(&format!("{home}/script.txt"), "make".to_owned());
        let artifacts = [
            ("bin/x.hvt", format!("binary {}", id / 3)),
            ("opam-switch", "switch".to_owned()),
            (
                "build-environment",
                format!(
                    "OS=linux\nOS_DISTRIBUTION=debian\nOS_VERSION={}\n",
                    10 + id % 3
                ),
            ),
        ];
        for (number, (path, content)) in artifacts.into_iter().enumerate() {
            if by_hand && path == "build-environment" {
                continue;
            }
            let localpath = format!("{home}/output/{path}");
            db.execute(
                "INSERT INTO build_artifact VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                rusqlite::params![
                    main + i64::try_from(number).unwrap(),
                    path,
                    localpath,
                    &Sha256::of(content.as_bytes()).as_bytes()[..],
                    i64::try_from(content.len()).unwrap(),
                    id
                ],
            )
            .unwrap();
            put(&localpath, content);
        }
    }
    db.execute_batch("COMMIT").unwrap();
    directory
}

pub(crate) fn by_hand() -> Options {
    Options {
        platforms: BTreeMap::from([("by-hand".to_owned(), "freebsd-12".to_owned())]),
        dry_run: false,
    }
}

pub(crate) fn query<T: rusqlite::types::FromSql>(directory: &Path, sql: &str) -> T {
    Connection::open(directory.join("builder.sqlite3"))
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_directory_of_2021_comes_up_to_date_and_goes_back() {
    let directory = v14();
    let at = directory.path();
    let before = picture(at);
    let outcome = run_with(at, Goal::Up(18), &by_hand(), &mut |_| {}).unwrap();
    assert_eq!(outcome, Outcome { from: 14, to: 18 });

    let platforms: String = query(
        at,
        "SELECT group_concat(platform) FROM (SELECT platform FROM build ORDER BY id LIMIT 13)",
    );
    assert_eq!(
        platforms,
        "debian-11,debian-12,debian-10,debian-11,debian-12,debian-10,debian-11,debian-12,debian-10,\
         debian-11,debian-12,freebsd-12,debian-11"
    );
    let uuids: i64 = query(
        at,
        "SELECT count(*) FROM build WHERE uuid = lower(uuid) AND length(uuid) = 36",
    );
    assert_eq!(uuids, 24);
    let after = picture(at);
    let contents: i64 = query(at, "SELECT count(DISTINCT sha256) FROM build_artifact");
    let kept = after.files.iter().filter(|(path, sha256)| {
        path.starts_with("_artifacts/") && path.ends_with(&format!("{}/{sha256}", &sha256[..2]))
    });
    assert_eq!(kept.count(), usize::try_from(contents).unwrap());
    assert!(!after.files.keys().any(|path| path.contains("/output/")));
    // The server of today takes it.
    Store::open(at).unwrap();
    assert!(at.join("builder-web.sqlite3").exists());
    let record = at.join("builder-web-record.sqlite3");
    let recorded = fs::read(&record).unwrap();

    run(at, Goal::Down(14)).unwrap();
    assert!(fs::read(&record).unwrap() == recorded, "left alone");
    let back = picture(at);
    assert_eq!(back.rows, before.rows);
    assert_eq!(back.files, before.files);
    assert_eq!(back.pragmas, before.pragmas);
}

#[test]
fn a_build_without_a_platform_is_listed_and_nothing_is_changed() {
    let directory = v14();
    let before = bytes(directory.path());
    let refused = run_with(
        directory.path(),
        Goal::Up(18),
        &Options::default(),
        &mut |_| {},
    )
    .unwrap_err();
    assert!(refused.is_refusal());
    let message = refused.to_string();
    assert!(
        message.starts_with("nothing tells the platform of 2 builds:\n  hello/"),
        "{message}"
    );
    assert_eq!(
        message.matches("uploaded by by-hand").count(),
        2,
        "{message}"
    );
    assert!(message.contains("--platform USER=PLATFORM"), "{message}");
    assert_eq!(bytes(directory.path()), before);
}

#[test]
fn a_platform_for_nobody_is_refused() {
    let directory = v14();
    let before = bytes(directory.path());
    for (user, platform, says) in [
        ("by-hnad", "freebsd-12", "no user by-hnad"),
        ("by-hand", "free/bsd", "cannot be a platform"),
    ] {
        let options = Options {
            platforms: BTreeMap::from([(user.to_owned(), platform.to_owned())]),
            dry_run: false,
        };
        let refused = run_with(directory.path(), Goal::Up(18), &options, &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    assert_eq!(bytes(directory.path()), before);
}

#[test]
fn a_dry_run_says_the_sql_and_the_moves_and_changes_nothing() {
    let directory = v14();
    let at = directory.path();
    let dry = |goal, options: &Options| {
        let before = bytes(at);
        let (mut sql, mut moves) = (String::new(), Vec::new());
        let options = Options {
            dry_run: true,
            ..options.clone()
        };
        run_with(at, goal, &options, &mut |event| match event {
            Event::Sql(statement) => sql.push_str(&format!("{statement};\n")),
            Event::Move { from, to } => {
                moves.push((from.display().to_string(), to.display().to_string()));
            }
            _ => {}
        })
        .unwrap();
        assert_eq!(bytes(at), before);
        (sql, moves)
    };
    let (sql, moves) = dry(Goal::Up(18), &by_hand());
    assert_eq!(moves.len(), 70);
    assert!(moves[0].0.contains("/output/") && moves[0].1.starts_with("_artifacts/"));
    for statement in [
        "INSERT INTO new_build ",
        "UPDATE build SET uuid",
        "PRAGMA user_version = 18",
    ] {
        assert!(sql.contains(statement), "{sql}");
    }
    // It is what would be done: the same SQL brings the database up.
    run_with(at, Goal::Up(17), &by_hand(), &mut |_| {}).unwrap();
    let (sql, _) = dry(Goal::Up(18), &by_hand());
    let copy = TempDir::new().unwrap();
    fs::copy(
        at.join("builder.sqlite3"),
        copy.path().join("builder.sqlite3"),
    )
    .unwrap();
    let db = Connection::open(copy.path().join("builder.sqlite3")).unwrap();
    db.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))
        .unwrap();
    drop(db);
    run(at, Goal::Up(18)).unwrap();
    assert_eq!(picture(copy.path()).rows, picture(at).rows);
    // Also where our server has been, which keeps a write-ahead log.
    drop(Store::open(at).unwrap());
    let (sql, moves) = dry(Goal::Down(14), &Options::default());
    assert_eq!(moves.len(), 70);
    assert!(moves[0].0.starts_with("_artifacts/"));
    assert!(sql.contains("PRAGMA user_version = 14"), "{sql}");
}

#[test]
fn a_database_that_is_not_for_us_is_refused_and_left_alone() {
    for (pragma, says) in [
        ("PRAGMA user_version = 13", "never released"),
        ("PRAGMA user_version = 19", "newer"),
        ("PRAGMA application_id = 7", "another program"),
    ] {
        let directory = v14();
        Connection::open(directory.path().join("builder.sqlite3"))
            .unwrap()
            .execute_batch(pragma)
            .unwrap();
        let before = bytes(directory.path());
        let refused = run(directory.path(), Goal::Up(18)).unwrap_err();
        assert!(
            refused.is_refusal() && refused.to_string().contains(says),
            "{refused}"
        );
        let status = migrations::status(directory.path()).unwrap_err();
        assert!(status.to_string().contains(says), "{status}");
        assert_eq!(bytes(directory.path()), before);
    }
    let directory = v14();
    fs::write(directory.path().join("builder.sqlite3"), "x".repeat(9000)).unwrap();
    let refused = run(directory.path(), Goal::Up(18)).unwrap_err();
    assert!(
        refused.to_string().contains("not an SQLite database"),
        "{refused}"
    );
}

#[test]
fn a_goal_that_lies_elsewhere_is_refused() {
    let directory = v14();
    let at = directory.path();
    for (goal, says) in [
        (Goal::Up(19), "no version 19"),
        (Goal::Down(13), "no version 13"),
        (Goal::Down(16), "builder-migrations up --to 16"),
        (
            Goal::Step(step("2022-05-09"), Direction::Up),
            "begins at version 15",
        ),
        (
            Goal::Step(step("2021-11-05"), Direction::Down),
            "begins at version 15",
        ),
    ] {
        let refused = run(at, goal).unwrap_err();
        assert!(
            refused.is_refusal() && refused.to_string().contains(says),
            "{refused}"
        );
    }
    assert_eq!(run(at, Goal::Up(14)).unwrap(), Outcome { from: 14, to: 14 });
    run_with(at, Goal::Up(16), &by_hand(), &mut |_| {}).unwrap();
    let refused = run(at, Goal::Up(15)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("builder-migrations down --to 15"),
        "{refused}"
    );
}

#[test]
fn a_running_server_is_to_be_stopped_first_and_cannot_start_meanwhile() {
    let directory = v14();
    let at = directory.path();
    run_with(at, Goal::Up(18), &by_hand(), &mut |_| {}).unwrap();
    let store = Store::open(at).unwrap();
    let refused = run(at, Goal::Down(17)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is in use by another program; stop the server"),
        "{refused}"
    );
    // To look is allowed.
    assert_eq!(migrations::status(at).unwrap().version, 18);
    drop(store);
    let mut tried = 0;
    run_with(at, Goal::Down(17), &options(), &mut |event| {
        if matches!(event, Event::Step(..) | Event::Committed(..)) {
            tried += 1;
            let other = Connection::open(at.join("builder.sqlite3")).unwrap();
            other.busy_timeout(Duration::from_millis(1)).unwrap();
            other.execute("UPDATE job SET name = 'x'", []).unwrap_err();
        }
    })
    .unwrap();
    assert_eq!(tried, 2);
}

#[test]
fn a_missing_file_is_named_and_nothing_is_changed() {
    let directory = v14();
    let at = directory.path();
    run_with(at, Goal::Up(17), &by_hand(), &mut |_| {}).unwrap();
    let mut one = None;
    walk(at, &mut |path| {
        if path.ends_with("opam-switch") {
            one = Some(path.to_owned());
        }
    });
    let one = one.unwrap();
    fs::remove_file(&one).unwrap();
    let before = picture(at);
    let refused = run(at, Goal::Up(18)).unwrap_err().to_string();
    let name = one.strip_prefix(at).unwrap().display();
    assert!(
        refused.starts_with(&format!("1 files are missing:\n  {name}\n")),
        "{refused}"
    );
    assert_eq!(picture(at), before);
}

#[test]
fn of_two_files_that_should_be_the_same_the_right_one_is_kept_and_the_other_too() {
    for damage in ["first", "second"] {
        let directory = v14();
        let at = directory.path();
        run_with(at, Goal::Up(17), &by_hand(), &mut |_| {}).unwrap();
        let nth = if damage == "first" { 0 } else { 1 };
        let path: String = query(
            at,
            &format!(
                "SELECT localpath FROM build_artifact WHERE filepath = 'opam-switch' ORDER BY id LIMIT 1 OFFSET {nth}"
            ),
        );
        fs::write(at.join(&path), "damage").unwrap();
        let mut aside = Vec::new();
        run_with(at, Goal::Up(18), &options(), &mut |event| {
            if let Event::PutAside { to, .. } = event {
                aside.push(fs::read_to_string(at.join(to)).unwrap());
            }
        })
        .unwrap();
        assert!(!aside.is_empty() && aside.iter().all(|text| text == "damage"));
        let right = Sha256::of(b"switch").to_hex();
        let kept = fs::read(at.join("_artifacts").join(&right[..2]).join(&right)).unwrap();
        assert_eq!(kept, b"switch");
    }
}

#[test]
fn a_path_that_leaves_the_directory_is_refused() {
    for path in ["../../etc/passwd", "/etc/passwd", "", "_artifacts/ab/cd"] {
        let directory = v14();
        let at = directory.path();
        run_with(at, Goal::Up(17), &by_hand(), &mut |_| {}).unwrap();
        Connection::open(at.join("builder.sqlite3"))
            .unwrap()
            .execute(
                "UPDATE build_artifact SET localpath = ?1 WHERE id = 4",
                [path],
            )
            .unwrap();
        let before = picture(at);
        let refused = run(at, Goal::Up(18)).unwrap_err();
        assert!(matches!(refused, MigrationError::Elsewhere(_)), "{refused}");
        assert_eq!(picture(at), before);
    }
}
