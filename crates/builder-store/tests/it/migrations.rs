//! Data directories of every version, and what the OCaml server's own tool made of one.
//!
//! Where our result is another than the OCaml tool's, on purpose:
//!
//! * Going down, files of the same content are hard links to one another, not copies.
//! * Empty directories are removed: `output/` going up, those below `_artifacts/` going down.
//! * The order of rows in `sqlite_sequence`, and of tables in a dump, is not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder_store::migrations::{
    self, Direction, Event, Goal, MigrationError, Options, Outcome, STEPS, Step,
};
use builder_store::{Sha256, Store};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

/// What a data directory holds: the schema and rows, and every other file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub pragmas: Vec<i64>,
    pub schema: BTreeSet<(String, String, String)>,
    pub rows: BTreeMap<String, BTreeSet<Vec<String>>>,
    pub files: BTreeMap<String, String>,
}

pub(crate) fn picture(directory: &Path) -> Picture {
    let db = Connection::open(directory.join("builder.sqlite3")).unwrap();
    let pragmas = ["application_id", "user_version"]
        .map(|name| db.pragma_query_value(None, name, |row| row.get(0)).unwrap())
        .to_vec();
    let intact: String = db
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(intact, "ok");
    let schema: BTreeSet<(String, String, String)> = db
        .prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_master")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut rows = BTreeMap::new();
    for (_, table, _) in schema.iter().filter(|(kind, ..)| kind == "table") {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let all = statement
            .query_map([], |row| {
                Ok((0..columns)
                    .map(|column| literal(row.get_ref(column).unwrap()))
                    .collect())
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        rows.insert(table.clone(), all);
    }
    drop(db);
    let mut files = BTreeMap::new();
    walk(directory, &mut |path| {
        if !path.to_string_lossy().contains(".sqlite3") {
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            files.insert(name, Sha256::of(&fs::read(path).unwrap()).to_hex());
        }
    });
    Picture {
        pragmas,
        schema,
        rows,
        files,
    }
}

/// A value as in a dump, but with every byte of texts that are none.
fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => format!("'{}'", text.escape_ascii()),
        ValueRef::Blob(blob) => format!("X'{}'", blob.escape_ascii()),
    }
}

pub(crate) fn walk(directory: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, each);
        } else {
            each(&path);
        }
    }
}

/// Every file with its bytes, the database too, and every directory.
pub(crate) fn bytes(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    walk(directory, &mut |path| {
        all.insert(path.to_owned(), fs::read(path).unwrap());
    });
    all
}

#[track_caller]
pub(crate) fn assert_same(ours: &Picture, expected: &Picture) {
    // Smaller pieces first, for an error that can be read.
    assert_eq!(ours.pragmas, expected.pragmas);
    assert_eq!(ours.schema, expected.schema);
    for (table, rows) in &expected.rows {
        let missing: Vec<_> = rows.difference(&ours.rows[table]).take(3).collect();
        let extra: Vec<_> = ours.rows[table].difference(rows).take(3).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{table} lacks {missing:#?}, has too much {extra:#?}"
        );
    }
    assert_eq!(ours.files, expected.files);
    assert_eq!(ours, expected);
}

pub(crate) fn run(directory: &Path, goal: Goal) -> Result<Outcome, MigrationError> {
    run_with(directory, goal, &options(), &mut |_| {})
}

pub(crate) fn run_with(
    directory: &Path,
    goal: Goal,
    options: &Options,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, MigrationError> {
    migrations::run(directory, goal, options, tell)
}

/// As the OCaml tool had it built in for this user, when the corpus was made.
pub(crate) fn options() -> Options {
    Options {
        platforms: BTreeMap::from([("builder".to_owned(), "ubuntu-20.04".to_owned())]),
        dry_run: false,
    }
}

pub(crate) fn step(name: &str) -> &'static Step {
    STEPS.iter().find(|step| step.name == name).unwrap()
}

fn corpus() -> Option<PathBuf> {
    let corpus =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/reference/databases");
    if !corpus.is_dir() {
        println!("not compared: there is no {}", corpus.display());
        return None;
    }
    Some(corpus)
}

fn unpack(corpus: &Path, name: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let status = Command::new("tar")
        .arg("xzf")
        .arg(corpus.join(format!("{name}.tar.gz")))
        .arg("-C")
        .arg(directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    directory
}

/// The other result: rows from its database, files from its list.
fn reference(corpus: &Path, name: &str) -> Picture {
    let expected = picture(unpack(corpus, name).path());
    let list = fs::read_to_string(corpus.join(format!("{name}.files"))).unwrap();
    let mut files: BTreeMap<String, String> = list
        .lines()
        .map(|line| {
            let (sha256, path) = line.split_once("  ./").unwrap();
            (path.to_owned(), sha256.to_owned())
        })
        .collect();
    files.remove("builder.sqlite3");
    assert_eq!(expected.files, files);
    expected
}

#[test]
fn each_step_makes_what_the_ocaml_tool_made_of_the_same_directory() {
    let Some(corpus) = corpus() else { return };
    for (before, name, direction, after) in [
        (
            "v14-rolled-back",
            "2021-11-05",
            Direction::Up,
            "v15-migrated",
        ),
        ("v15-migrated", "2022-05-09", Direction::Up, "v16-migrated"),
        ("v16-migrated", "2023-09-11", Direction::Up, "v17-migrated"),
        ("v17-migrated", "2023-09-14", Direction::Up, "v18-migrated"),
        ("v18", "2023-09-14", Direction::Down, "v17-rolled-back"),
        (
            "v17-rolled-back",
            "2023-09-11",
            Direction::Down,
            "v16-rolled-back",
        ),
        (
            "v16-rolled-back",
            "2022-05-09",
            Direction::Down,
            "v15-rolled-back",
        ),
        (
            "v15-rolled-back",
            "2021-11-05",
            Direction::Down,
            "v14-rolled-back",
        ),
    ] {
        println!("{before} to {after}");
        let directory = unpack(&corpus, before);
        run(directory.path(), Goal::Step(step(name), direction)).unwrap();
        assert_same(&picture(directory.path()), &reference(&corpus, after));
    }
}

#[test]
fn all_steps_in_a_row_make_what_the_ocaml_tool_made() {
    let Some(corpus) = corpus() else { return };
    let directory = unpack(&corpus, "v18");
    run(directory.path(), Goal::Down(14)).unwrap();
    assert_same(
        &picture(directory.path()),
        &reference(&corpus, "v14-rolled-back"),
    );
    run(directory.path(), Goal::Up(18)).unwrap();
    assert_same(
        &picture(directory.path()),
        &reference(&corpus, "v18-migrated"),
    );
    Store::open(directory.path()).unwrap();
}

#[test]
fn the_platform_is_in_the_build_environment() {
    let Some(corpus) = corpus() else { return };
    let directory = unpack(&corpus, "v14-rolled-back");
    let before = picture(directory.path());
    let refused = run_with(
        directory.path(),
        Goal::Up(18),
        &Options::default(),
        &mut |_| {},
    );
    // One upload by hand has no build-environment.
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains(
            "platform of 1 builds:\n  hello/a930344e-a9b0-5c69-9d85-11feef23ab5c, uploaded by "
        ),
        "{message}"
    );
    assert_eq!(picture(directory.path()), before);
}
