//! Commands that are killed at random points of their work, and what is left of a data directory then.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use builder_store::record::removed;
use builder_store::{Sha256, Store, builds, users};
use builder_web::auth::hash_password;
use uuid::Uuid;

use crate::build::{build, noise};
use crate::crashes::try_upload;
use crate::program::{BUILDER_WEB, Process};
use crate::server::{BUILDER, CHEAP, files};

/// How many kills a test makes: BUILDER_WEB_KILLS, or the test's own number.
pub(crate) fn kills(default: u32) -> u32 {
    std::env::var("BUILDER_WEB_KILLS").map_or(default, |kills| kills.parse().unwrap())
}

/// Moments to kill at: the same ones every time, before `time_max`.
pub(crate) struct Moments {
    state: u64,
    pub(crate) time_max: Duration,
}

impl Moments {
    pub(crate) fn new(time_max: Duration) -> Moments {
        Moments {
            state: 0x9E37_79B9_7F4A_7C15,
            time_max,
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        // xorshift
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let micros = u64::try_from(self.time_max.as_micros()).unwrap().max(1);
        Duration::from_micros(self.state % micros)
    }
}

/// `builder-web` with these arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BUILDER_WEB);
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Starts a command and kills it after a time; whether it had not ended before.
pub(crate) fn is_killed(command: &mut Command, after: Duration) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(
        status.signal().is_some() || status.success(),
        "it failed before it was killed: {status}"
    );
    status.signal() == Some(9)
}

/// Every build that is there has all its files, whatever else goes on.
pub(crate) fn check_builds(store: &Store) {
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
pub(crate) fn check_files(store: &Store, data: &Path) {
    for path in files(data).keys().filter(|path| !path.ends_with('/')) {
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

/// How often the vacuum is killed.
const KILLS: u32 = 24;

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
    let kills = kills(KILLS);
    let mut killed = 0;
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
        let begin = Instant::now();
        assert!(command(&vacuum).status().unwrap().success());
        let mut moments = Moments::new(begin.elapsed());
        let mut tries = 0;
        while killed < kills {
            tries += 1;
            assert!(tries < 100 + kills * 20, "it is never there to be killed");
            let begin = Instant::now();
            if is_killed(&mut command(&vacuum), moments.next()) {
                killed += 1;
            } else {
                moments.time_max = moments.time_max.max(begin.elapsed());
            }
            check_builds(&store);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(command(&vacuum).status().unwrap().success());
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
