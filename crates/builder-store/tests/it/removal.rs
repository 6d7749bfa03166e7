//! Removing builds: what goes, what stays, and what becomes of an interrupted removal.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use builder_exec::Timestamp;
use builder_store::record::{pins, removed};
use builder_store::removal::{self, Event, Files, Goal, Keep};
use builder_store::{Sha256, Store, builds, jobs};
use uuid::Uuid;

use crate::data::{Data, New, operator};

fn vacuum(keep: Keep) -> Goal {
    Goal::Vacuum {
        jobs: Vec::new(),
        platform: None,
        keep,
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_700_000_000, 0).unwrap()
}

fn remove(data: &Data, goal: &Goal) -> removal::Removed {
    data.store
        .remove(goal, &operator(), &now(), &mut |_| {})
        .unwrap()
}

fn numbers(builds: &[removal::Listed]) -> Vec<u128> {
    builds.iter().map(|build| build.uuid.as_u128()).collect()
}

fn there(data: &Data, number: u128) -> bool {
    let uuid = Uuid::from_u128(number);
    data.store.read(|tx| builds::exists(tx, uuid)).unwrap()
}

fn artifact(data: &Data, content: &str) -> bool {
    let sha256 = Sha256::of(content.as_bytes());
    data.store.artifacts().open(sha256).is_ok()
}

/// Five builds of a job, the newest with the highest number; 2 and 4 have failed, 3 is elsewhere.
fn five() -> Data {
    let data = Data::new();
    for (number, platform, main) in [
        (1, "debian-12", "bin/x"),
        (2, "debian-12", "log"),
        (3, "freebsd-14", "bin/x"),
        (4, "debian-12", "log"),
        (5, "debian-12", "bin/x"),
    ] {
        let own = format!("main of {number}");
        let files = [(main, own.as_str()), ("shared", "shared")];
        data.keep(
            number,
            &New(
                "hello",
                platform,
                100 * i64::try_from(number).unwrap(),
                &files,
            ),
        );
    }
    data
}

#[test]
fn what_goes_is_what_the_command_says() {
    let data = five();
    let at = |seconds| Keep::EndedAfter(Timestamp::from_unix(seconds, 0).unwrap());
    for (keep, platform, expected) in [
        (at(99), None, vec![]),
        (at(200), None, vec![2, 1]),
        (at(200), Some("freebsd-14"), vec![]),
        (at(1000), None, vec![5, 4, 3, 2, 1]),
        (Keep::Latest(1), None, vec![4, 3, 2, 1]),
        (Keep::Latest(4), None, vec![1]),
        (Keep::Latest(5), None, vec![]),
        (Keep::Latest(900), None, vec![]),
        (Keep::Latest(1), Some("debian-12"), vec![4, 2, 1]),
        (Keep::LatestSuccessful(1), None, vec![4, 3, 2, 1]),
        (Keep::LatestSuccessful(2), None, vec![2, 1]),
        (Keep::LatestSuccessful(3), None, vec![]),
        (Keep::LatestSuccessful(4), None, vec![]),
        (Keep::LatestSuccessful(2), Some("debian-12"), vec![]),
        (Keep::LatestSuccessful(1), Some("debian-12"), vec![4, 2, 1]),
    ] {
        let goal = Goal::Vacuum {
            jobs: Vec::new(),
            platform: platform.map(str::to_owned),
            keep,
        };
        let plan = data.store.read(|tx| removal::plan(tx, &goal)).unwrap();
        assert_eq!(numbers(&plan.builds), expected, "{keep:?} {platform:?}");
    }
    assert!((1..=5).all(|number| there(&data, number)), "nothing went");
}

#[test]
fn a_removal_frees_only_what_no_other_build_has_and_leaves_no_empty_directory() {
    let data = five();
    data.keep(6, &New("other", "p", 10, &[("bin/x", "main of 1")]));
    let goal = vacuum(Keep::EndedAfter(Timestamp::from_unix(300, 0).unwrap()));
    let only_hello = Goal::Vacuum {
        jobs: vec![
            data.store
                .read(|tx| jobs::id_by_name(tx, "hello"))
                .unwrap()
                .unwrap(),
        ],
        platform: None,
        keep: Keep::EndedAfter(Timestamp::from_unix(300, 0).unwrap()),
    };
    let plan = data
        .store
        .read(|tx| removal::plan(tx, &only_hello))
        .unwrap();
    assert_eq!(numbers(&plan.builds), [3, 2, 1]);
    assert_eq!(plan.bytes(), 2 * "main of N".len() as u64);
    let removed = remove(&data, &only_hello);
    assert_eq!(numbers(&removed.builds), [3, 2, 1]);
    let files = Files {
        artifacts: 2,
        bytes: plan.bytes(),
    };
    assert_eq!(removed.files, files);
    assert!(artifact(&data, "main of 1") && artifact(&data, "shared"));
    assert!(!artifact(&data, "main of 2") && !artifact(&data, "main of 3"));
    assert_eq!(numbers(&remove(&data, &goal).builds), [6]);
    assert!(!artifact(&data, "main of 1"));
    assert!(
        !data.path().join("other").exists(),
        "its job's directory is empty"
    );
    // The rest: two builds with their texts, three artifacts.
    assert_eq!(data.files().len(), 2 * 2 + 3, "{:?}", data.files());
    for entry in fs::read_dir(data.path().join("_artifacts")).unwrap() {
        assert!(
            fs::read_dir(entry.unwrap().path())
                .unwrap()
                .next()
                .is_some()
        );
    }
    let broken: Option<i64> = data
        .sql()
        .query_row("PRAGMA foreign_key_check", [], |row| row.get(1))
        .ok();
    assert_eq!(broken, None);
}

#[test]
fn what_is_known_of_a_removed_build_outlives_it() {
    let data = five();
    let before = data
        .store
        .read(|tx| builds::by_uuid(tx, Uuid::from_u128(1)))
        .unwrap()
        .unwrap();
    remove(&data, &vacuum(Keep::Latest(1)));
    let data = data.reopen();
    let known = data
        .store
        .read(|tx| removed::by_uuid(tx, Uuid::from_u128(1)))
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            known.job,
            known.platform,
            known.start,
            known.finish,
            known.result
        ),
        (
            before.job,
            before.platform,
            before.start,
            before.finish,
            before.result
        )
    );
    assert_eq!(known.main_binary, before.main_binary);
    assert_eq!((known.uploader.as_str(), known.removed), ("user", now()));
    let failed = data
        .store
        .read(|tx| removed::by_uuid(tx, Uuid::from_u128(2)))
        .unwrap()
        .unwrap();
    assert_eq!(failed.main_binary, None);
    assert_eq!(
        data.store
            .read(|tx| removed::by_uuid(tx, Uuid::from_u128(5)))
            .unwrap(),
        None
    );
    // Uploaded again, it is a build like any other.
    data.keep(
        1,
        &New("hello", "debian-12", 100, &[("bin/x", "main of 1")]),
    );
    assert_eq!(
        data.store
            .read(|tx| removed::by_uuid(tx, Uuid::from_u128(1)))
            .unwrap(),
        None
    );
    data.store.finish_removals().unwrap();
    assert!(artifact(&data, "main of 1"));
}

#[test]
fn a_pinned_build_is_not_vacuumed_and_goes_with_its_job() {
    let data = five();
    data.store
        .write(|tx| pins::add(tx, Uuid::from_u128(1), "release", &now()))
        .unwrap();
    let removed = remove(&data, &vacuum(Keep::Latest(1)));
    assert_eq!(
        (numbers(&removed.builds), numbers(&removed.pinned)),
        (vec![4, 3, 2], vec![1])
    );
    assert!(artifact(&data, "main of 1"));
    let job = data
        .store
        .read(|tx| jobs::id_by_name(tx, "hello"))
        .unwrap()
        .unwrap();
    let pinned = data
        .store
        .read(|tx| removal::pinned_of_job(tx, job))
        .unwrap();
    assert_eq!(numbers(&pinned), [1]);
    remove(&data, &Goal::Job(job));
    assert_eq!(data.store.read(jobs::all).unwrap(), []);
    assert_eq!(data.files(), Vec::<String>::new());
    assert_eq!(data.store.read(pins::all).unwrap(), []);
    let left: i64 = data.sql().query_row(
        "SELECT (SELECT count(*) FROM build) + (SELECT count(*) FROM build_artifact) + (SELECT count(*) FROM job_tag)",
        [],
        |row| row.get(0),
    ).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_removal_that_was_cut_off_between_its_two_transactions_did_not_happen() {
    let data = five();
    let record = data.path().join("builder-web-record.sqlite3");
    // As after the first of them: recorded and listed, and all rows still there.
    let sql = rusqlite::Connection::open(record).unwrap();
    let sha256 = Sha256::of(b"main of 1").to_hex();
    sql.execute_batch(&format!(
        "INSERT INTO file_removal VALUES ('artifact', '{sha256}'), ('build', 'hello/{}');
         INSERT INTO removed_build VALUES ('{0}', 'hello', 'debian-12', 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, 'user', 0, 0);",
        Uuid::from_u128(1)
    )).unwrap();
    drop(sql);
    let before = data.files();
    assert_eq!(
        data.store
            .read(|tx| removed::by_uuid(tx, Uuid::from_u128(1)))
            .unwrap(),
        None
    );
    assert_eq!(data.store.finish_removals().unwrap(), Files::default());
    assert_eq!(data.files(), before);
    data.sql()
        .execute_batch("BEGIN; DELETE FROM build_artifact WHERE build = 1; DELETE FROM build WHERE id = 1; COMMIT")
        .unwrap();
    assert_eq!(
        data.store
            .read(|tx| removed::by_uuid(tx, Uuid::from_u128(1)))
            .unwrap(),
        None,
        "forgotten"
    );
    // And after the second: rows gone, files there.
    let sql = rusqlite::Connection::open(data.path().join("builder-web-record.sqlite3")).unwrap();
    sql.execute_batch(&format!(
        "INSERT INTO file_removal VALUES ('artifact', '{sha256}'), ('build', 'hello/{}'), ('build', '../outside'), ('artifact', '../x'), ('other', 'x')",
        Uuid::from_u128(1)
    )).unwrap();
    assert_eq!(data.store.finish_removals().unwrap().artifacts, 1);
    assert!(!artifact(&data, "main of 1"));
    assert_eq!(data.files().len(), before.len() - 3);
    let left: i64 = sql
        .query_row("SELECT count(*) FROM file_removal", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn pictures_and_facts_of_an_artifact_go_with_it() {
    let data = five();
    let kind = builder_store::derived::Kind {
        name: "solo5",
        version: 2,
    };
    let (gone, stays) = (Sha256::of(b"main of 1"), Sha256::of(b"main of 5"));
    let picture = |sha256: Sha256| data.path().join(format!("_cache/treemap_3/{sha256}.html"));
    fs::create_dir(data.path().join("_cache/treemap_3")).unwrap();
    for sha256 in [gone, stays] {
        data.store
            .write(|tx| builder_store::derived::set(tx, kind, sha256, b"fact"))
            .unwrap();
        fs::write(picture(sha256), "picture").unwrap();
    }
    remove(&data, &vacuum(Keep::Latest(1)));
    let fact = |sha256| {
        data.store
            .read(|tx| builder_store::derived::get(tx, kind, sha256))
            .unwrap()
    };
    assert_eq!((fact(gone), fact(stays)), (None, Some(b"fact".to_vec())));
    assert!(!picture(gone).exists() && picture(stays).exists());
}

#[test]
fn uploads_of_the_same_content_beside_a_removal_keep_it() {
    let data = Data::new();
    let path = data.path().to_owned();
    let shared: Vec<String> = (0..40).map(|number| format!("content {number}")).collect();
    let files: Vec<(String, &str)> = shared
        .iter()
        .enumerate()
        .map(|(number, content)| (format!("f{number}"), content.as_str()))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, content)| (path.as_str(), *content))
        .collect();
    let done = AtomicBool::new(false);
    let mut kept = 0;
    std::thread::scope(|scope| {
        // Another connection to the database, as another process has.
        scope.spawn(|| {
            let beside = Store::open_beside(&path).unwrap();
            while !done.load(Ordering::Relaxed) {
                beside
                    .remove(
                        &vacuum(Keep::EndedAfter(now())),
                        &operator(),
                        &now(),
                        &mut |_| {},
                    )
                    .unwrap();
                // Who waits for the writer's lock polls.
                std::thread::sleep(std::time::Duration::from_millis(40));
            }
        });
        for number in 1..13 {
            data.keep(number, &New("hello", "p", 100, &files));
            // All that a row names is there, whenever one looks.
            let whole = data.store.write(|tx| {
                if !builds::exists(tx, Uuid::from_u128(number))? {
                    return Ok(true);
                }
                kept += 1;
                Ok(shared.iter().all(|content| artifact(&data, content)))
            });
            assert!(whole.unwrap(), "build {number} has lost a file");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(kept > 0, "some were seen before they were removed");
    remove(&data, &vacuum(Keep::EndedAfter(now())));
    assert_eq!(data.files(), Vec::<String>::new());
}

#[test]
fn only_one_removal_runs_at_a_time_and_a_start_waits_for_none() {
    let data = five();
    let lock = fs::File::open(data.path().join("_artifacts")).unwrap();
    lock.lock().unwrap();
    assert_eq!(data.store.finish_removals().unwrap(), Files::default());
    std::thread::scope(|scope| {
        let (told, waits) = std::sync::mpsc::channel();
        let store = &data.store;
        scope.spawn(move || {
            store
                .remove(
                    &vacuum(Keep::Latest(1)),
                    &operator(),
                    &now(),
                    &mut |event| {
                        if event == Event::Waiting {
                            // Who was told once may listen no more.
                            let _unheard = told.send(());
                        }
                    },
                )
                .unwrap();
        });
        waits.recv().expect("it says that it waits");
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(there(&data, 1));
        drop(lock);
    });
    assert!(!there(&data, 1));
}
