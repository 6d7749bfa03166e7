//! What power loss would leave: a disk keeps what was synced, and of the rest nothing is sure. So
//! before anything says that a file is there, its bytes, its name and the directories on the way to
//! it are synced.

use std::collections::BTreeSet;
use std::path::Path;

use crate::carry::write_all;
use crate::server::wait_until;

use super::machine::{Call, Machine};
use super::uploads::{by_hand, numbered, upload};

/// What is not sure to survive.
#[derive(Default)]
struct Unsynced {
    /// Files with bytes that were written and not synced.
    files: BTreeSet<String>,
    /// Directories with names that came and were not synced.
    directories: BTreeSet<String>,
}

impl Unsynced {
    fn names_changed_beside(&mut self, path: &str) {
        let directory = Path::new(path).parent().unwrap();
        self.directories
            .insert(directory.to_str().unwrap().to_owned());
    }

    /// Files of SQLite's own come and go: it syncs their directory where they are needed.
    fn is_of_sqlite(path: &str) -> bool {
        path.contains(".sqlite3-")
    }

    /// Directories that a row leads to: what is being prepared or can be made again is not kept.
    fn kept_directories(&self) -> Vec<&String> {
        let kept = |path: &&String| !path.starts_with("_staging") && !path.starts_with("_cache");
        self.directories.iter().filter(kept).collect()
    }

    fn call(&mut self, Call { what, path, to }: &Call) {
        match what.as_str() {
            "write" if path == "builder.sqlite3-wal" => {
                let missing = self.kept_directories();
                assert!(missing.is_empty(), "a row comes before {missing:?}");
                let record = "builder-web-record.sqlite3-wal";
                assert!(
                    !self.files.contains(record),
                    "a row comes before what the record says of it"
                );
                self.files.insert(path.clone());
            }
            "write" if path.starts_with("socket:") => {
                // The record was synced before that. What was noted there may be entered into the
                // audit record now or after a loss of power.
                let log = "builder.sqlite3-wal";
                assert!(
                    !self.files.contains(log),
                    "answered before {log} was synced"
                );
            }
            "create" => {
                self.files.insert(path.clone());
                if !Self::is_of_sqlite(path) {
                    self.names_changed_beside(path);
                }
            }
            "write" => {
                self.files.insert(path.clone());
            }
            "sync" => {
                self.files.remove(path);
                self.directories.remove(path);
            }
            "mkdir" => self.names_changed_beside(path),
            "rename" | "link" => {
                assert!(!self.files.contains(path), "{path} became {to} unsynced");
                self.names_changed_beside(to);
            }
            "remove" => {
                self.files.remove(path);
            }
            other => panic!("what is {other}?"),
        }
    }
}

/// Replays calls; how many files were brought to a place outside of `_staging`.
#[track_caller]
fn check(calls: &[Call]) -> usize {
    let mut unsynced = Unsynced::default();
    for call in calls {
        unsynced.call(call);
    }
    let moved = |call: &&Call| call.what == "rename" && !call.to.starts_with("_staging");
    calls.iter().filter(moved).count()
}

#[test]
fn what_an_upload_names_is_synced_before_its_rows_and_those_before_the_answer() {
    let machine = Machine::new();
    let process = machine.serve(&[]);
    let calls = machine.order_of(|| {
        assert_eq!(upload(&process, &numbered(1)).status, 201);
        // The same content, in another job.
        assert_eq!(upload(&process, &numbered(2)).status, 201);
        // One binary, sent by hand.
        assert_eq!(by_hand(&process, 3).status, 201);
        let pictures = machine.datadir().join("_cache/builder-web");
        wait_until("pictures are kept", || {
            std::fs::read_dir(&pictures).is_ok_and(|mut all| all.next().is_some())
        });
    });
    let moved = check(&calls);
    assert!(moved >= 2 * (5 + 2) + 3, "{moved} files");
    let wrote = |file: &str| {
        calls
            .iter()
            .any(|call| call.what == "write" && call.path.starts_with(file))
    };
    assert!(wrote("builder.sqlite3-wal") && wrote("socket:"));
}

#[test]
fn the_check_of_the_order_sees_what_is_missing() {
    let machine = Machine::new();
    let process = machine.serve(&[]);
    let calls = machine.order_of(|| {
        assert_eq!(upload(&process, &numbered(1)).status, 201);
    });
    // Everything up to the answer, without one of its syncs; those of _staging are for the sweep.
    let end = calls
        .iter()
        .position(|call| call.path.starts_with("socket:"));
    let before = &calls[..=end.unwrap()];
    let mut needed = 0;
    for (number, call) in before.iter().enumerate() {
        if call.what == "sync" {
            let without = [&before[..number], &before[number + 1..]].concat();
            needed += usize::from(std::panic::catch_unwind(|| check(&without)).is_err());
        }
    }
    assert!(needed >= 10, "{needed}");
}

#[test]
fn a_file_that_is_made_where_it_stays_is_seen_to_need_its_directory_synced() {
    let call = |what: &str, path: &str| Call {
        what: what.to_owned(),
        path: path.to_owned(),
        to: String::new(),
    };
    let made = [
        call("create", "job/uuid/console.txt"),
        call("write", "job/uuid/console.txt"),
        call("sync", "job/uuid/console.txt"),
    ];
    let row = [call("write", "builder.sqlite3-wal")];
    let synced = [call("sync", "job/uuid")];
    check(&[&made[..], &synced, &row].concat());
    let unsynced = [&made[..], &row].concat();
    assert!(std::panic::catch_unwind(|| check(&unsynced)).is_err());
}

#[test]
fn what_an_import_names_is_synced_before_its_rows() {
    let machine = Machine::new();
    let files = tempfile::tempdir().unwrap();
    write_all(files.path(), &[numbered(1), numbered(2)]);
    let datadir = machine.datadir().to_str().unwrap();
    let calls = machine.order_of(|| {
        machine.run(&[
            "db",
            "import",
            "-d",
            datadir,
            files.path().to_str().unwrap(),
        ]);
    });
    let moved = check(&calls);
    assert!(moved >= 2 * (5 + 2), "{moved} files");
}
