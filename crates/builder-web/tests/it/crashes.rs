//! What is left when the server is killed in the middle of its work: all that it said it has, and
//! nothing else. Uploads and downloads are under way each time.
//!
//! BUILDER_WEB_KILLS says how often it is killed, BUILDER_WEB_SEED when:
//!
//!     BUILDER_WEB_KILLS=200 cargo nextest run -p builder-web crashes --no-capture

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
use crate::carry::{db, is_verified};
use crate::faults::acts::each_build_is_on_record;
use crate::interrupted::Random;
use crate::program::Process;
use crate::server::{BUILDER, CHEAP, basic, files, head, wait_until};
use crate::whole::is_whole;

/// How often the server is killed, if the environment does not say another number.
const KILLS: u128 = 24;

fn kills() -> u128 {
    std::env::var("BUILDER_WEB_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

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

/// A build whose download takes a while, so that kills come in the middle of it: before all others.
fn large() -> Build {
    build("one", 0).file("bin/large", noise(8_000_000))
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

/// What came of the downloads of one client.
#[derive(Default)]
struct Downloads {
    whole: usize,
    cut: usize,
}

/// Downloads an artifact: all of it, or an answer that shows that there should be more. Whether the
/// server is still there.
fn download(address: SocketAddr, build: &Build, seen: &mut Downloads) -> bool {
    let (path, content) = &build.files[seen.whole % build.files.len()];
    let target = format!("{}/f/{}", build.url(), String::from_utf8_lossy(path));
    let mut answer = Vec::new();
    let exchanged = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(head("GET", &target, &[("connection", "close")]).as_bytes())?;
        stream.read_to_end(&mut answer)
    });
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        seen.cut += usize::from(!answer.is_empty());
        return exchanged.is_ok();
    };
    let (head, body) = answer.split_at(end + 4);
    let head = String::from_utf8_lossy(head).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
    assert!(
        head.contains(&format!("content-length: {}\r\n", content.len())),
        "{head}"
    );
    assert!(content.starts_with(body), "{target}: other bytes");
    match body.len() == content.len() {
        true => seen.whole += 1,
        false => seen.cut += 1,
    }
    body.len() == content.len()
}

/// Opens what is left, and checks builds that were tried, and every file.
fn check<'b>(data: &Path, tried: impl Iterator<Item = (&'b Uuid, &'b (Build, bool))>) {
    let store = Store::open(data).unwrap();
    is_verified(&store);
    each_build_is_on_record(&store);
    for (uuid, (build, answered)) in tried {
        if !is_whole(&store, build) {
            assert!(!answered, "build {uuid} was answered 201 and is gone");
        }
    }
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
    let tried: Mutex<BTreeMap<Uuid, (Build, bool)>> = Mutex::default();
    let (mut whole, mut cut) = (0, 0);
    let mut random = Random::new();
    for kill in 0..kills() {
        let before_this: usize = tried.lock().unwrap().len();
        let mut process = Process::serve(data, &["--log-level", "warn,builder_web::cli=info"]);
        let address = process.address;
        if kill == 0 {
            assert!(try_upload(address, &large()));
            let mut tried = tried.lock().unwrap();
            tried.insert(large().uuid, (large(), true));
        }
        let (kept_before, answered_before): (Vec<Build>, usize) = {
            let tried = tried.lock().unwrap();
            let answered = || tried.values().filter(|(_, answered)| *answered);
            let builds = answered().rev().take(8).chain(answered().take(1));
            let builds = builds.map(|(build, _)| build.clone());
            (builds.collect(), answered().count())
        };
        std::thread::scope(|scope| {
            let downloads: Vec<_> = (0..2)
                .map(|client| {
                    let builds = &kept_before;
                    scope.spawn(move || {
                        let mut seen = Downloads::default();
                        let mut next = client;
                        while download(address, &builds[next % builds.len()], &mut seen) {
                            next += 1;
                        }
                        seen
                    })
                })
                .collect();
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
            let uploads = random.index(4);
            wait_until("builds are taken in", || {
                answered() >= answered_before + uploads
            });
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            process.kill();
            for download in downloads {
                let seen = download.join().unwrap();
                whole += seen.whole;
                cut += seen.cut;
            }
        });
        assert!(!process.log().contains("panicked"), "{}", process.log());
        // Those of this time; all of them in the end.
        let tried = tried.lock().unwrap();
        check(data, tried.iter().skip(before_this));
    }
    let tried = tried.into_inner().unwrap();
    check(data, tried.iter());
    db(0, &["verify-data-dir", "-d", data.to_str().unwrap()]);
    let answered = tried.values().filter(|(_, answered)| *answered).count();
    println!(
        "{} kills; {answered} of {} uploads were answered 201 and are there; {whole} downloads were \
         whole, {cut} were cut",
        kills(),
        tried.len()
    );
    assert!(answered > 0, "some uploads came through");
    assert!(answered < tried.len(), "some were interrupted");
    assert!(whole > 0, "some downloads came through");
    assert!(cut > 0, "some were interrupted");
}
