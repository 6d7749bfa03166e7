//! A vacuum that is killed at random points of its work, while a server takes in builds of the same
//! content as those that go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use builder_store::record::removed;
use builder_store::{Sha256, Store, builds, users};
use builder_web::auth::hash_password;
use uuid::Uuid;

use crate::build::{build, noise};
use crate::crashes::try_upload;
use crate::interrupted::{Killer, kills, whole};
use crate::program::Process;
use crate::server::{BUILDER, CHEAP, files};

/// Every build that is there has all its files, whatever else goes on.
fn check_builds(store: &Store) {
    // As the only writer: nothing goes or comes meanwhile.
    let check = store.write(|tx| {
        for (_, uuid) in builds::names(tx, None)? {
            let Some(build) = builds::by_uuid(tx, uuid)? else {
                continue;
            };
            for text in [&build.console, &build.script] {
                assert!(store.open_text(text).is_ok(), "{text} is lost");
            }
            for artifact in builds::artifacts(tx, build.id)? {
                let (mut file, size) = store.artifacts().open(artifact.sha256)?;
                let sha256 = Sha256::of_reader(&mut file).unwrap();
                assert_eq!((sha256, size), (artifact.sha256, artifact.size));
            }
        }
        Ok(())
    });
    check.unwrap();
}

/// Every file belongs to a build.
fn check_files(store: &Store, data: &Path) {
    for path in files(data).keys().filter(|path| !path.ends_with('/')) {
        if path.starts_with("_cache/") {
            continue;
        }
        let belongs = if let Some(hex) = path.strip_prefix("_artifacts/") {
            let sha256 = Sha256::from_hex(&hex[3..]).unwrap();
            store.read(|tx| builds::names_artifact(tx, sha256))
        } else {
            let uuid = Uuid::parse_str(path.split('/').nth(1).unwrap()).unwrap();
            store.read(|tx| builds::exists(tx, uuid))
        };
        assert!(belongs.unwrap(), "{path} belongs to no build");
    }
}

#[test]
fn a_vacuum_that_is_killed_under_uploads_of_the_same_content_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let hash = hash_password(BUILDER.1.as_bytes(), CHEAP).unwrap();
    let added = Store::open(data)
        .unwrap()
        .write(|tx| users::add(tx, BUILDER.0, &hash, false));
    added.unwrap();
    let server = Process::serve(data, &["--log-level", "warn,builder_web::cli=info"]);
    let address = server.address;
    let path = data.to_str().unwrap();
    let vacuum = ["db", "vacuum", "except-latest", "1", "-d", path];
    let store = Store::open_beside(data).unwrap();
    let tried = Mutex::new(BTreeMap::new());
    let stop = AtomicBool::new(false);
    let upload = |number: u128| {
        // A few contents, over and over, some of them several in a build.
        let content = number % 3;
        let mut build = build("job", number)
            .later(i64::try_from(number).unwrap())
            .file("bin/x", format!("binary {content}").repeat(100))
            .file("shared", noise(20_000))
            .file("own", number.to_string());
        for file in 0..8 {
            build = build.file(&format!("f{file}"), format!("{file} of {content}"));
        }
        tried.lock().unwrap().insert(build.uuid, false);
        if try_upload(address, &build) {
            tried.lock().unwrap().insert(build.uuid, true);
        }
    };
    let mut killer = Killer::new();
    std::thread::scope(|scope| {
        for client in 0..2 {
            let (stop, upload) = (&stop, &upload);
            scope.spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    upload(turn * 2 + client + 1);
                }
            });
        }
        let mut takes = whole(&vacuum);
        while killer.killed < kills() {
            let begin = Instant::now();
            if killer.kill(&vacuum, takes).is_none() {
                takes = takes.max(begin.elapsed());
            }
            check_builds(&store);
        }
        stop.store(true, Ordering::Relaxed);
    });
    whole(&vacuum);
    check_builds(&store);
    check_files(&store, data);
    let tried = tried.into_inner().unwrap();
    let (mut there, mut gone) = (0, 0);
    for (uuid, answered) in &tried {
        let (exists, removed) = store
            .read(|tx| Ok((builds::exists(tx, *uuid)?, removed::by_uuid(tx, *uuid)?)))
            .unwrap();
        assert!(
            exists || removed.is_some() || !answered,
            "build {uuid} was answered 201 and nobody knows it"
        );
        there += u32::from(exists);
        gone += u32::from(removed.is_some());
    }
    assert_eq!(there, 1, "the newest");
    assert!(gone > 0);
}
