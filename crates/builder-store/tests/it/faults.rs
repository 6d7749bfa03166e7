//! What goes wrong around a store: restored backups, damaged files, full disks, commands beside a
//! running server.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use builder_store::{Error, OpenError, Store, TextFile, builds, latest};
use uuid::Uuid;

use crate::data::{Data, New, texts};

fn bin(job: &str, start: i64) -> New<'_> {
    New(job, "debian-12", start, &[("bin/x", "binary")])
}

/// The jobs that have a latest build.
fn listed(data: &Data) -> Vec<String> {
    let latest = data.store.read(latest::by_job).unwrap();
    let mut jobs: Vec<String> = latest
        .into_values()
        .flatten()
        .filter_map(|latest| Some(latest.successful?.job))
        .collect();
    jobs.sort();
    jobs
}

#[test]
fn after_a_backup_was_restored_new_builds_are_listed() {
    let data = Data::new();
    data.keep(1, &bin("first", 10));
    let backup = data.path().join("backup");
    data.sql()
        .execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
        .unwrap();
    for number in 2..6 {
        data.keep(number, &bin("lost", 20));
    }
    assert_eq!(listed(&data), ["first", "lost"]);
    let directory = data.path().to_owned();
    let data = data.between(|| {
        for suffix in ["-wal", "-shm"] {
            let _: std::io::Result<()> =
                fs::remove_file(directory.join(format!("builder.sqlite3{suffix}")));
        }
        fs::rename(&backup, directory.join("builder.sqlite3")).unwrap();
    });
    assert_eq!(listed(&data), ["first"]);
    data.keep(10, &bin("new", 30));
    assert_eq!(listed(&data), ["first", "new"]);
    for number in 11..20 {
        data.keep(number, &bin("newer", 40));
    }
    assert_eq!(listed(&data), ["first", "new", "newer"]);
}

#[test]
fn a_damaged_file_of_derived_facts_is_made_anew() {
    for damage in ["head", "middle", "empty"] {
        let data = Data::new();
        for number in 1..40 {
            data.keep(number, &bin("job", i64::try_from(number).unwrap()));
        }
        let own = data.path().join("builder-web.sqlite3");
        let data = data.between(|| {
            let mut bytes = fs::read(&own).unwrap();
            match damage {
                "head" => bytes[..100].fill(7),
                "middle" => bytes[4096..].fill(7),
                _ => bytes.clear(),
            }
            fs::write(&own, bytes).unwrap();
        });
        assert_eq!(listed(&data), ["job"], "{damage}");
        data.keep(100, &bin("other", 100));
        assert_eq!(listed(&data), ["job", "other"], "{damage}");
    }
}

#[test]
fn a_command_beside_a_server_leaves_uploads_under_way_alone() {
    let data = Data::new();
    let staging = data.store.stage(0).unwrap();
    texts(&staging);
    // As an OCaml server would leave, or be filling.
    let other = data.path().join("_staging/1111");
    fs::create_dir(&other).unwrap();
    let beside = Store::open_beside(data.path()).unwrap();
    assert!(beside.read(builder_store::jobs::all).unwrap().is_empty());
    assert!(other.is_dir());
    assert_eq!(
        fs::read_dir(data.path().join("_staging")).unwrap().count(),
        2
    );
    drop(staging);
}

#[test]
fn a_command_is_told_that_there_is_no_database_and_creates_none() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(
        Store::open_beside(directory.path()),
        Err(OpenError::Empty(_))
    ));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        Store::open(&file),
        Err(OpenError::NotADirectory(_))
    ));
}

#[test]
fn a_database_without_its_tables_is_refused() {
    let data = Data::new();
    data.sql().execute_batch("DROP TABLE access_list").unwrap();
    let refused = Store::open(data.path()).unwrap_err();
    assert!(
        refused.to_string().contains("lacks the table access_list"),
        "{refused}"
    );
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("builder.sqlite3"), "").unwrap();
    let refused = Store::open(directory.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Incomplete { .. }), "{refused}");
}

#[test]
fn a_reader_that_panics_leaves_its_place_to_the_next() {
    let data = Data::new();
    for _ in 0..20 {
        let read = AssertUnwindSafe(|| data.store.read::<()>(|_| panic!("on purpose")));
        assert!(catch_unwind(read).is_err());
    }
    assert!(
        !data
            .store
            .read(|tx| builds::exists(tx, Uuid::nil()))
            .unwrap()
    );
}

#[test]
fn an_upload_stops_when_the_reserve_of_the_disk_is_touched() {
    let data = Data::new();
    let mut staging = data.store.stage(u64::MAX).unwrap();
    let refused = staging.artifact(&mut &b"bytes"[..]).unwrap_err();
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    drop(staging);
    assert_eq!(data.files(), Vec::<String>::new());
}

/// A directory on a disk on which nobody else writes much, where there is one.
fn quiet_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

#[test]
fn uploads_at_the_same_time_leave_the_reserve_of_the_disk_whatever_they_write() {
    const MIB: u64 = 1 << 20;
    const ROOM: u64 = 32 * MIB;
    // What is between two looks, and what eight have in hand or in buffers at each.
    const BEYOND: u64 = 8 * MIB;
    let directory = quiet_directory();
    Store::create(directory.path()).unwrap();
    let store = Store::open(directory.path()).unwrap();
    let reserve = store.free_bytes().unwrap() - ROOM;
    let content = vec![7; 256 * 1024];
    let write_on = |out: &mut dyn Write| {
        let mut written = 0;
        loop {
            match out.write_all(&content) {
                Ok(()) => written += content.len() as u64,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
                    return written;
                }
            }
            assert!(written <= 2 * ROOM, "it has no end");
        }
    };
    let stagings = Mutex::new(Vec::new());
    let (store, stagings, write_on) = (&store, &stagings, &write_on);
    let written: u64 = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    let mut staging = store.stage(reserve).unwrap();
                    let written = match number % 4 {
                        0 => write_on(&mut staging.scratch().unwrap()),
                        1 => write_on(&mut staging.text(TextFile::Console).unwrap()),
                        2 => write_on(&mut staging.text(TextFile::Script).unwrap()),
                        _ => {
                            let refused = staging.artifact(&mut io::repeat(7)).unwrap_err();
                            assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
                            0
                        }
                    };
                    stagings.lock().unwrap().push(staging);
                    written
                })
            })
            .collect();
        uploads.into_iter().map(|one| one.join().unwrap()).sum()
    });
    let free = store.free_bytes().unwrap();
    // Others may write to the disk meanwhile, or leave more of it: one of the two tells.
    assert!(
        written <= ROOM + BEYOND || free >= reserve - BEYOND,
        "{written} written, {free} of {reserve} free"
    );
    // Who is given up makes room for others.
    stagings.lock().unwrap().clear();
    let mut staging = store.stage(reserve).unwrap();
    assert!(staging.artifact(&mut &b"bytes"[..]).unwrap().is_ok());
}

#[test]
fn builds_that_started_together_are_told_apart_by_when_they_came_in() {
    let data = Data::new();
    for (number, platform) in [(1, "debian-12"), (2, "freebsd-14.2"), (3, "debian-12")] {
        data.keep(number, &New("job", platform, 10, &[("bin/x", "binary")]));
    }
    let newest = Uuid::from_u128(3);
    let found = data
        .store
        .read(|tx| {
            let job = builder_store::jobs::id_by_name(tx, "job")?.unwrap();
            let latest = builds::latest_successful(tx, job, None)?.unwrap();
            let sha256 = latest.main_binary.as_ref().unwrap().sha256;
            let by_hash = builds::newest_with_artifact(tx, sha256)?.unwrap();
            let output = builds::outputs(tx, job, None)?.remove(0).build;
            let by_job = latest::by_job(tx)?.remove(&job).unwrap();
            let front = by_job.into_iter().filter_map(|latest| latest.successful);
            let front = front.max_by_key(builds::Build::age).unwrap();
            Ok([latest.uuid, by_hash.uuid, output.uuid, front.uuid])
        })
        .unwrap();
    assert_eq!(found, [newest; 4]);
}

/// Another process that has begun to write.
fn lock(data: &Data) -> rusqlite::Connection {
    let other = data.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[test]
fn all_who_wait_for_another_process_wait_together_and_none_after_the_other() {
    const WAIT_MAX: Duration = Duration::from_millis(700);
    let data = Data::new();
    let locked = lock(&data);
    let begin = Instant::now();
    let write = || data.store.write_within(WAIT_MAX, |_| Ok(()));
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..32).map(|_| scope.spawn(write)).collect();
        for one in all {
            assert!(one.join().unwrap().unwrap_err().is_busy());
        }
    });
    let waited = begin.elapsed();
    assert!(waited >= WAIT_MAX, "{waited:?}");
    assert!(waited < 12 * WAIT_MAX, "one after the other: {waited:?}");
    // Those who come later wait as long as they may, and a lock that ends in time is not noticed.
    let write = || data.store.write_within(30 * WAIT_MAX, |_| Ok(()));
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(write)).collect();
        std::thread::sleep(WAIT_MAX / 4);
        locked.execute_batch("ROLLBACK").unwrap();
        for one in all {
            one.join().unwrap().unwrap();
        }
    });
    // Who waits for a thread of this process waits as long as it takes.
    std::thread::scope(|scope| {
        let (begun, wait) = std::sync::mpsc::channel();
        let store = &data.store;
        scope.spawn(move || {
            let slow = store.write(|_| {
                begun.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(200));
                Ok(())
            });
            slow.unwrap();
        });
        wait.recv().unwrap();
        store
            .write_within(Duration::from_millis(20), |_| Ok(()))
            .unwrap();
    });
}

#[test]
fn a_command_of_another_version_makes_nothing_anew_below_a_server() {
    let data = Data::new();
    data.keep(1, &bin("job", 1));
    let own = data.path().join("builder-web.sqlite3");
    rusqlite::Connection::open(&own)
        .unwrap()
        .execute("UPDATE progress SET schema_version = 1", [])
        .unwrap();
    let version = || {
        let own = rusqlite::Connection::open(&own).unwrap();
        let version = own.query_row("SELECT schema_version FROM progress", [], |row| row.get(0));
        version.map(|version: i64| version).unwrap()
    };
    let refused = Store::open_beside(data.path()).unwrap_err();
    assert!(matches!(refused, OpenError::OwnInUse(_)), "{refused}");
    assert_eq!(version(), 1);
    assert_eq!(listed(&data), ["job"]);
    data.keep(2, &bin("other", 2));
    assert_eq!(listed(&data), ["job", "other"]);
    // Without a server it is nobody's.
    let directory = data.path().to_owned();
    let data = data.between(|| {
        let beside = Store::open_beside(&directory).unwrap();
        assert_ne!(version(), 1);
        drop(beside);
    });
    assert_eq!(listed(&data), ["job", "other"]);
}

#[test]
fn a_directory_that_cannot_be_swept_keeps_no_server_from_its_start() {
    let data = Data::new();
    let staging = data.path().join("_staging");
    let data = data.between(|| {
        // Its intent cannot be read.
        fs::create_dir_all(staging.join("1.1/intent")).unwrap();
        fs::create_dir(staging.join("2.1")).unwrap();
    });
    assert!(staging.join("1.1").is_dir());
    assert!(!staging.join("2.1").exists(), "others are swept");
    fs::remove_dir(staging.join("1.1/intent")).unwrap();
    // The next upload tries it again.
    data.keep(1, &bin("job", 1));
    assert!(!staging.join("1.1").exists());
}

#[test]
fn derived_facts_are_read_as_a_whole_at_start_unless_they_are_as_they_were_closed() {
    let data = Data::new();
    for number in 1..40 {
        data.keep(number, &bin("job", i64::try_from(number).unwrap()));
    }
    let own = data.path().join("builder-web.sqlite3");
    let mark = data.path().join("builder-web.sqlite3-closed");
    assert!(!mark.exists());
    // Damage that a start does not find which reads nothing of it, and that changes no time.
    let damage = || {
        let times = fs::metadata(&own).unwrap().modified().unwrap();
        let mut bytes = fs::read(&own).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 4096].fill(7);
        let file = fs::File::options().write(true).open(&own).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.set_modified(times).unwrap();
    };
    let is_damaged = || {
        let bytes = fs::read(&own).unwrap();
        bytes
            .windows(4096)
            .any(|bytes| bytes.iter().all(|byte| *byte == 7))
    };
    let data = data.between(|| assert!(mark.exists()));
    let data = data.between(damage);
    assert!(is_damaged(), "it was not read");
    let data = data.between(|| fs::remove_file(&mark).unwrap());
    assert!(!is_damaged(), "it was made anew");
    assert_eq!(listed(&data), ["job"]);
}
