//! The record: what builder-web alone knows, and what becomes of its file.

use std::fs;

use builder_exec::Timestamp;
use builder_store::record::audit::{self, Event, Filter, Outcome};
use builder_store::record::{self, Before, pins};
use builder_store::{OpenError, Store, Tx};
use rusqlite::Connection;
use uuid::Uuid;

use crate::data::{Data, New, operator};

const FILE: &str = "builder-web-record.sqlite3";
/// Says which record there is.
const MARK: &str = "builder.sqlite3-record";

fn pinned(store: &Store) -> Vec<u128> {
    let all = store.read(pins::all).unwrap();
    all.iter().map(|pin| pin.uuid.as_u128()).collect()
}

/// A data directory with a build, which is pinned.
fn with_pin() -> Data {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 100, &[("bin/x", "x")]));
    data.store
        .write(|tx| pins::add(tx, Uuid::from_u128(1), "why", &Timestamp::EPOCH))
        .unwrap();
    assert_eq!(pinned(&data.store), [1]);
    data
}

#[test]
fn the_record_is_made_beside_a_database_that_has_none_and_outlives_the_derived_file() {
    let data = with_pin();
    let file = data.path().join(FILE);
    let own = data.path().join("builder-web.sqlite3");
    let data = data.between(|| fs::remove_file(&own).unwrap());
    assert_eq!(pinned(&data.store), [1]);
    // As a directory of the OCaml server is: with none of our files.
    let data_mark = data.path().join(MARK);
    let data = data.between(|| {
        fs::remove_file(&own).unwrap();
        fs::remove_file(&file).unwrap();
        fs::remove_file(data_mark).unwrap();
        // Left by a creation that was interrupted.
        fs::write(file.with_extension("sqlite3.new"), "half").unwrap();
    });
    assert_eq!(pinned(&data.store), [] as [u128; 0]);
    assert!(file.exists() && !file.with_extension("sqlite3.new").exists());
}

#[test]
fn a_damaged_or_foreign_record_is_refused_with_what_to_do_and_left_as_it_is() {
    for damage in ["head", "middle", "empty", "text", "foreign", "newer"] {
        let data = with_pin();
        let file = data.path().join(FILE);
        let path = data.path().to_owned();
        // Closed, so that all of it is in the file itself.
        let data = data.reopen();
        drop(data.store);
        let sql = |sql| Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        match damage {
            "head" => bytes[..100].fill(7),
            "middle" => bytes[4096..].fill(7),
            "empty" => bytes.clear(),
            "text" => bytes = b"no database at all\n".repeat(300),
            "foreign" => {
                sql("PRAGMA application_id = 7");
                bytes = fs::read(&file).unwrap();
            }
            _ => {
                sql("PRAGMA user_version = 1000");
                bytes = fs::read(&file).unwrap();
            }
        }
        fs::write(&file, &bytes).unwrap();
        let says = match damage {
            "foreign" => "belongs to another program",
            "newer" => "builder-db record-take-back --to ",
            _ => "restore it from a backup",
        };
        for refused in [Store::open(&path), Store::open_beside(&path)] {
            let refused = refused.unwrap_err();
            let said = refused.to_string();
            assert!(said.contains(says), "{damage}: {said}");
            assert!(said.contains(FILE), "{damage}: {said}");
            if matches!(refused, OpenError::RecordDamaged { .. }) {
                for what in ["pinned", "removed", "tokens", "audit record", "record-anew"] {
                    assert!(said.contains(what), "{damage}: {said}");
                }
            }
            assert!(!matches!(refused, OpenError::Other { .. }), "{damage}");
        }
        assert!(fs::read(&file).unwrap() == bytes, "{damage}");
        // What the message says helps.
        if damage != "newer" {
            fs::rename(&file, file.with_extension("damaged")).unwrap();
            let before = record::go_on_with_another(&path, |_, _| Ok(())).unwrap();
            assert_eq!(before, Before::Missing);
            Store::open(&path).unwrap();
        }
    }
}

#[test]
fn the_record_goes_back_to_an_older_version_and_up_again() {
    let data = with_pin();
    let path = data.path().to_owned();
    drop(data.store);
    let version = || -> i64 {
        Connection::open(path.join(FILE))
            .unwrap()
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    assert!(version() > 0);
    record::take_back(&path, 0).unwrap();
    assert_eq!(version(), 0);
    let store = Store::open(&path).unwrap();
    assert_eq!(pinned(&store), [] as [u128; 0]);
    assert!(version() > 0);
}

#[test]
fn the_record_is_made_once_by_whoever_comes_first() {
    let data = Data::new();
    let path = data.path().to_owned();
    drop(data.store);
    for _ in 0..8 {
        for file in [FILE, MARK] {
            let _: std::io::Result<()> = fs::remove_file(path.join(file));
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| Store::open_beside(&path).unwrap().read(pins::all).unwrap());
            }
        });
    }
}

fn refuse(tx: &mut Tx<'_>, action: &str, count: i64) -> builder_store::Result<()> {
    let event = Event {
        action,
        subject: "",
        outcome: Outcome::Refused,
        detail: "",
    };
    (0..count).try_for_each(|_| audit::add(tx, &operator(), &event, &Timestamp::EPOCH))
}

#[test]
fn of_each_action_the_newest_refusals_stay_and_nobody_can_take_them_away() {
    let data = Data::new();
    let write = |write: fn(&mut Tx<'_>) -> builder_store::Result<()>| data.store.write(write);
    write(|tx| {
        refuse(tx, "upload", 5)?;
        refuse(tx, "log-in", audit::REFUSALS_MAX + 3)
    })
    .unwrap();
    let sql = Connection::open(data.path().join(FILE)).unwrap();
    let left = || -> Vec<i64> {
        let mut counts = sql
            .prepare("SELECT count(*) FROM audit GROUP BY action ORDER BY action")
            .unwrap();
        let counts = counts.query_map([], |row| row.get(0)).unwrap();
        counts.map(Result::unwrap).collect()
    };
    let oldest = "DELETE FROM audit WHERE id IN (SELECT min(id) FROM audit GROUP BY action)";
    assert!(sql.execute_batch(oldest).is_err());
    write(audit::prune_refusals).unwrap();
    assert_eq!(left(), [audit::REFUSALS_MAX, 5]);
    for id in ["6", "8", "9", "100000"] {
        let _earlier = sql.execute_batch(&format!(
            "INSERT INTO refusal_end VALUES ('log-in', {id})
             ON CONFLICT (action) DO UPDATE SET id = excluded.id"
        ));
        assert!(sql.execute_batch(oldest).is_err(), "{id}");
        assert_eq!(left(), [audit::REFUSALS_MAX, 5]);
    }
    // One more, and the oldest may go again.
    write(|tx| refuse(tx, "log-in", 1)).unwrap();
    write(audit::prune_refusals).unwrap();
    assert_eq!(left(), [audit::REFUSALS_MAX, 5]);
}

/// What the audit record says of `action`.
fn noted(store: &Store, action: &str) -> Vec<(String, String)> {
    let filter = Filter {
        action: Some(action),
        ..Filter::default()
    };
    let all = store.read(|tx| audit::newest(tx, &filter, 100)).unwrap();
    all.into_iter()
        .rev()
        .map(|entry| (entry.subject, entry.detail))
        .collect()
}

#[test]
fn what_was_interrupted_is_entered_if_it_took_place() {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 100, &[("bin/x", "x")]));
    let sql = Connection::open(data.path().join(FILE)).unwrap();
    let pending = |action: &str, witness: &str, name: &str| {
        sql.execute(
            "INSERT INTO pending VALUES (NULL, 1, 0, 'who', '-', '', ?1, ?2, '', ?3, ?2, NULL)",
            [action, name, witness],
        )
        .unwrap();
    };
    let (here, gone) = (
        Uuid::from_u128(1).to_string(),
        Uuid::from_u128(2).to_string(),
    );
    for uuid in [&here, &gone] {
        pending("upload", "build", uuid);
        pending("build-remove", "no build", uuid);
    }
    pending("user-remove", "user", "user");
    pending("user-remove", "user", "carol");
    pending("something", "of a newer version", "new");
    // A command, which only reads.
    let beside = Store::open_beside(data.path()).unwrap();
    let plain = |subject: &str| (subject.to_owned(), String::new());
    assert_eq!(noted(&beside, "upload"), [plain(&here)]);
    assert_eq!(noted(&beside, "build-remove"), [plain(&gone)]);
    assert_eq!(noted(&beside, "user-remove"), [plain("carol")]);
    let unknown = " (interrupted: it may have taken place)".to_owned();
    assert_eq!(noted(&beside, "something"), [("new".to_owned(), unknown)]);
    let left: i64 = sql
        .query_row("SELECT count(*) FROM pending", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_record_that_is_missing_or_another_is_no_first_start() {
    let data = with_pin();
    let (path, file) = (data.path().to_owned(), data.path().join(FILE));
    let data = data.reopen();
    drop(data.store);
    let aside = file.with_extension("aside");
    fs::rename(&file, &aside).unwrap();
    // What SQLite would write into another one.
    fs::write(path.join(format!("{FILE}-wal")), "of the one before").unwrap();
    for refused in [Store::open(&path), Store::open_beside(&path)] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, OpenError::RecordMissing { .. }));
        let said = refused.to_string();
        for what in ["pinned", "removed", "tokens", "audit record", "record-anew"] {
            assert!(said.contains(what), "{said}");
        }
    }
    assert!(!file.exists(), "none is made");
    // Nor if what is derived is gone, too.
    fs::remove_file(path.join("builder-web.sqlite3")).unwrap();
    assert!(Store::open(&path).is_err());
    let anew = || {
        record::go_on_with_another(&path, |tx, before| {
            let event = Event {
                action: "record-anew",
                subject: "",
                outcome: Outcome::Done,
                detail: &format!("{before:?}"),
            };
            audit::add(tx, &operator(), &event, &Timestamp::EPOCH)
        })
        .unwrap()
    };
    assert_eq!(anew(), Before::Missing);
    assert_eq!(anew(), Before::Same);
    let store = Store::open(&path).unwrap();
    let missing = [(String::new(), "Missing".to_owned())];
    assert_eq!(noted(&store, "record-anew"), missing);
    assert_eq!(pinned(&store), [] as [u128; 0]);
    drop(store);
    // The one from before is found: it is not taken without a word either.
    fs::rename(&file, file.with_extension("empty")).unwrap();
    fs::rename(&aside, &file).unwrap();
    let refused = Store::open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::RecordAnother { .. }));
    assert_eq!(anew(), Before::Another);
    let store = Store::open(&path).unwrap();
    assert_eq!(pinned(&store), [1]);
    let another = [(String::new(), "Another".to_owned())];
    assert_eq!(noted(&store, "record-anew"), another);
}
