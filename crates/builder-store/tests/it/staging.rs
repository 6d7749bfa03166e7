//! Uploads that end early, in every state they can be left in.

use std::fs;

use builder_store::{Error, Sha256, Store, builds};
use uuid::Uuid;

use crate::data::{Data, New, texts};

const FILES: &[(&str, &str)] = &[("bin/x", "main"), ("y", "other")];

fn staged(data: &Data) -> usize {
    fs::read_dir(data.path().join("_staging")).unwrap().count()
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    let data = Data::new();
    let before = data.files();
    let mut staging = data.store.stage(0).unwrap();
    texts(&staging);
    staging.artifact(&mut &b"content"[..]).unwrap().unwrap();
    assert_eq!(staged(&data), 1);
    drop(staging);
    assert_eq!((data.files(), staged(&data)), (before, 0));
}

#[test]
fn a_known_uuid_changes_nothing_and_takes_nothing_away() {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 1, FILES));
    let before = data.files();
    for job in ["hello", "other"] {
        let again = data.try_keep(1, &New(job, "q", 2, &[("bin/x", "main"), ("new", "new")]));
        assert!(matches!(again, Err(Error::BuildExists { uuid }) if uuid == Uuid::from_u128(1)));
        assert_eq!((data.files(), staged(&data)), (before.clone(), 0));
    }
}

#[test]
fn content_that_two_builds_share_is_there_once_and_stays_when_one_fails() {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 1, FILES));
    let path = data.store.artifacts().path(Sha256::of(b"main"));
    data.keep(2, &New("hello", "p", 2, FILES));
    let count = data
        .files()
        .iter()
        .filter(|file| file.starts_with("_artifacts/"))
        .count();
    assert_eq!(count, 2);
    // The rows of the third cannot be written.
    data.sql().execute_batch("PRAGMA foreign_keys = OFF; CREATE TRIGGER no BEFORE INSERT ON build BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    let before = data.files();
    assert!(
        data.try_keep(
            3,
            &New("hello", "p", 3, &[("bin/x", "main"), ("z", "of its own")])
        )
        .is_err()
    );
    assert_eq!((data.files(), staged(&data)), (before.clone(), 0));
    assert!(
        data.try_keep(4, &New("alone", "p", 3, &[("z", "of its own")]))
            .is_err()
    );
    assert_eq!((data.files(), staged(&data)), (before, 0));
    assert!(!data.path().join("alone").exists());
    assert_eq!(fs::read(path).unwrap(), b"main");
}

/// What a crash leaves: a staging directory with an intent, and some of it moved already.
fn crash(data: &Data, name: &str, intent: &str) {
    let directory = data.path().join("_staging").join(name);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("lock"), "").unwrap();
    fs::write(directory.join("intent"), intent).unwrap();
    fs::write(directory.join("console.txt"), "half").unwrap();
}

#[test]
fn what_a_crash_had_moved_is_taken_back_at_the_next_start() {
    let data = Data::new();
    data.keep(1, &New("hello", "p", 1, FILES));
    let before = data.files();
    let (kept, stray) = (Sha256::of(b"main"), Sha256::of(b"stray"));
    let stray_path = data.store.artifacts().path(stray);
    fs::create_dir_all(stray_path.parent().unwrap()).unwrap();
    fs::write(&stray_path, "stray").unwrap();
    let home = data
        .path()
        .join("crashed")
        .join(Uuid::from_u128(9).to_string());
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("console.txt"), "moved").unwrap();
    crash(
        &data,
        "1.0",
        &format!(
            "build crashed/{}\nartifact {stray}\nartifact {kept}\nartifact {}",
            Uuid::from_u128(9),
            &stray.to_hex()[..20]
        ),
    );
    // Committed, and killed before the intent was removed.
    crash(
        &data,
        "1.1",
        &format!("build hello/{}\nartifact {kept}\n", Uuid::from_u128(1)),
    );
    // Of the OCaml server, without lock and intent.
    let theirs = data
        .path()
        .join("_staging")
        .join(Uuid::from_u128(5).to_string());
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("artifact"), "half").unwrap();
    // Of a backup that was interrupted.
    fs::write(data.path().join("_staging/half"), "x").unwrap();
    let data = data.reopen();
    assert_eq!((data.files(), staged(&data)), (before, 0));
    assert!(!data.path().join("crashed").exists());
    assert!(
        data.store
            .read(|tx| builds::exists(tx, Uuid::from_u128(1)))
            .unwrap()
    );
}

#[test]
fn what_is_neither_ours_nor_of_the_ocaml_server_stays_in_staging() {
    let data = Data::new();
    let staging = data.path().join("_staging");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("lock"), "").unwrap();
    for name in ["precious.1", "1.precious", "1.", "notes", "{5}", "5"] {
        fs::create_dir(staging.join(name)).unwrap();
        fs::write(staging.join(name).join("lock"), "").unwrap();
    }
    for name in ["7.7", "file", "00000000-0000-0000-0000-000000000007"] {
        fs::write(staging.join(name), "x").unwrap();
    }
    for name in ["8.8", "00000000-0000-0000-0000-000000000008"] {
        std::os::unix::fs::symlink(outside.path(), staging.join(name)).unwrap();
    }
    let before = staged(&data);
    let data = data.reopen();
    data.store.sweep_interrupted().unwrap();
    assert_eq!(staged(&data), before);
    assert!(outside.path().join("lock").exists());
}

#[test]
fn an_intent_that_names_places_outside_takes_nothing_away() {
    let data = Data::new();
    let outside = data.path().join("precious");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "x").unwrap();
    crash(
        &data,
        "1.0",
        "build precious\nbuild ../..\nbuild precious/file\nartifact ../precious/file\nnonsense\n\n",
    );
    let data = data.reopen();
    assert!(outside.join("file").exists());
    assert_eq!(staged(&data), 0);
}

#[test]
fn an_upload_that_is_under_way_in_another_process_is_not_swept() {
    let data = Data::new();
    let mut staging = data.store.stage(0).unwrap();
    texts(&staging);
    staging.artifact(&mut &b"content"[..]).unwrap().unwrap();
    // Such as builder-db, or a second server.
    let other = Store::open(data.path()).unwrap();
    assert_eq!(staged(&data), 1);
    assert!(staging.open(Sha256::of(b"content")).is_ok());
    drop(other);
}
