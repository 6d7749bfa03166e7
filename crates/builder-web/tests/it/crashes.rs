//! What is left when the server is killed in the middle of its work: all that it said it has, and
//! nothing else.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use builder_store::users::{self, Added};
use builder_store::{Sha256, Store, builds};
use builder_web::auth::hash_password;
use uuid::Uuid;

use crate::build::{Build, build, noise};
use crate::program::Process;
use crate::server::{BUILDER, CHEAP, basic, files, head, wait_until};

/// How often the server is killed.
const KILLS: u128 = 36;

fn numbered(number: u128) -> Build {
    let own = format!("artifact of build {number}").repeat(500);
    build(
        ["one", "two"][usize::from(number.is_multiple_of(2))],
        number,
    )
    .file("bin/x", own)
    .file("shared", noise(30_000))
    .file("also-own", number.to_string())
    .input("i")
}

/// Uploads a build; whether it was answered 201. The server may go away at any time.
pub(crate) fn try_upload(address: SocketAddr, build: &Build) -> bool {
    let exec = build.exec();
    let (length, authorization) = (exec.len().to_string(), basic(BUILDER));
    let headers = [
        ("connection", "close"),
        ("content-length", &length),
        ("authorization", &authorization),
    ];
    let mut answer = Vec::new();
    let exchanged = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(head("POST", "/upload", &headers).as_bytes())?;
        stream.write_all(&exec)?;
        stream.read_to_end(&mut answer)
    });
    // What was read of the answer counts, even if its end was not.
    drop(exchanged);
    answer.starts_with(b"HTTP/1.1 201")
}

/// Opens what is left, and checks every build that was tried.
fn check(data: &Path, tried: &BTreeMap<Uuid, (Build, bool)>) {
    let store = Store::open(data).unwrap();
    let mut kept = 0;
    for (uuid, (build, answered)) in tried {
        let found = store.read(|tx| builds::by_uuid(tx, *uuid)).unwrap();
        let Some(found) = found else {
            assert!(!answered, "build {uuid} was answered 201 and is gone");
            continue;
        };
        kept += 1;
        for text in [&found.console, &found.script] {
            assert!(store.open_text(text).is_ok(), "{text}");
        }
        let artifacts = store.read(|tx| builds::artifacts(tx, found.id)).unwrap();
        assert_eq!(artifacts.len(), build.files.len(), "{uuid}");
        for artifact in artifacts {
            let (mut file, size) = store.artifacts().open(artifact.sha256).unwrap();
            assert_eq!(size, artifact.size);
            assert_eq!(
                Sha256::of_reader(&mut file).unwrap(),
                artifact.sha256,
                "{}",
                artifact.path
            );
        }
    }
    let answered = tried.values().filter(|(_, answered)| *answered).count();
    assert!(kept >= answered);
    for path in files(data).keys().filter(|path| !path.ends_with('/')) {
        assert!(!path.starts_with("_staging/"), "{path} is left");
        if path.starts_with("_cache/") {
            continue;
        }
        if let Some(hex) = path.strip_prefix("_artifacts/") {
            let sha256 = Sha256::from_hex(&hex[3..]).unwrap();
            let named = store.read(|tx| builds::names_artifact(tx, sha256)).unwrap();
            assert!(named, "{path} belongs to no build");
        } else {
            let uuid = Uuid::parse_str(path.split('/').nth(1).unwrap()).unwrap();
            assert!(
                store.read(|tx| builds::exists(tx, uuid)).unwrap(),
                "{path} belongs to no build"
            );
        }
    }
    assert_eq!(std::fs::read_dir(data.join("_staging")).unwrap().count(), 0);
}

#[test]
fn a_killed_server_has_kept_what_it_answered_and_leaves_nothing_half_done() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let hash = hash_password(BUILDER.1.as_bytes(), CHEAP).unwrap();
    let added = Store::open(data)
        .unwrap()
        .write(|tx| users::add(tx, BUILDER.0, &hash, false));
    assert_eq!(added.unwrap(), Added::Added);
    let tried = Mutex::new(BTreeMap::new());
    for kill in 0..KILLS {
        let mut process = Process::serve(data, &["--log-level", "warn,builder_web::cli=info"]);
        let address = process.address;
        std::thread::scope(|scope| {
            for client in 0..3 {
                let tried = &tried;
                scope.spawn(move || {
                    // Until the server is gone.
                    for turn in 0..200 {
                        let build = numbered(kill * 1000 + client * 200 + turn + 1);
                        tried
                            .lock()
                            .unwrap()
                            .insert(build.uuid, (build.clone(), false));
                        if !try_upload(address, &build) {
                            break;
                        }
                        tried.lock().unwrap().insert(build.uuid, (build, true));
                    }
                });
            }
            // After some uploads, somewhere in the next ones, at another place each time.
            let answered = || {
                tried
                    .lock()
                    .unwrap()
                    .values()
                    .filter(|(_, answered)| *answered)
                    .count()
            };
            let before = answered();
            let uploads = usize::try_from(kill % 4).unwrap();
            wait_until("builds are taken in", || answered() >= before + uploads);
            let micros = u64::try_from(kill * 7919 % 20_000).unwrap();
            std::thread::sleep(Duration::from_micros(micros));
            process.kill();
        });
        check(data, &tried.lock().unwrap());
    }
    let tried = tried.into_inner().unwrap();
    let answered = tried.values().filter(|(_, answered)| *answered).count();
    assert!(answered > 0, "some uploads came through");
    assert!(answered < tried.len(), "some were interrupted");
}
