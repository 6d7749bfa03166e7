//! Who may upload: HTTP Basic, the access list, and passwords that are not hashed each time.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use builder_web::auth::ScryptParams;

use crate::build::{Build, build};
use crate::server::{ALICE, BUILDER, CHEAP, Server, basic};

fn hello(number: u128) -> Build {
    build("hello", number).file("bin/x", "x")
}

fn check(server: &Server, authorization: &str, number: u128, status: u16) {
    for (target, number) in [
        ("/upload", number),
        ("/job/manual/platform/p/upload", number),
    ] {
        let answer = server.send(
            "POST",
            target,
            &[("authorization", authorization)],
            hello(number).exec(),
        );
        assert_eq!(
            answer.status,
            status,
            "{target} {authorization:?}: {}",
            answer.text()
        );
        let asks = answer.header("www-authenticate");
        assert_eq!(asks.is_some(), status == 401, "{authorization:?}");
        if let Some(asks) = asks {
            assert_eq!(asks, "Basic realm=\"builder-web\"");
        }
    }
}

#[test]
fn a_name_and_its_password_are_let_in_however_the_header_is_written() {
    let server = Server::new();
    let encoded = STANDARD.encode("builder:hunter2:with colon");
    for (header, number) in [
        format!("Basic {encoded}"),
        format!("basic {encoded}"),
        format!("BASIC   {encoded} "),
    ]
    .iter()
    .zip(1..)
    {
        check(&server, header, number, 201);
    }
}

#[test]
fn everybody_else_is_asked_for_name_and_password() {
    let server = Server::with(|config| config.limits.log_in_failures_free = 1000);
    let encoded = STANDARD.encode("builder:hunter2:with colon");
    for header in [
        String::new(),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        encoded.clone(),
        format!("Bearer {encoded}"),
        format!("Basic{encoded}"),
        "Basic !!! not base64 !!!".to_owned(),
        format!("Basic {}", STANDARD.encode("no colon")),
        format!("Basic {}", STANDARD.encode(b"\xff\xfe:pw")),
        basic(("builder", "wrong")),
        basic(("builder", "")),
        basic(("builder", "hunter2")),
        basic(("builder", "hunter2:with colon ")),
        basic(("Builder", BUILDER.1)),
        basic(("", BUILDER.1)),
        basic(("nobody", "pw")),
        basic(("builder' OR '1'='1", "pw")),
        basic(("builder", &"x".repeat(100_000))),
    ] {
        check(&server, &header, 1, 401);
    }
    assert_eq!(
        server.send("POST", "/upload", &[], hello(1).exec()).status,
        401
    );
    assert_eq!(
        server.json("/all-builds")["jobs"].as_array().unwrap().len(),
        0
    );
}

#[test]
fn a_password_may_be_any_bytes_that_are_no_text() {
    let server = Server::new();
    server.add_user(("odd", "pä:ss\u{1F511}:"), false, CHEAP);
    check(&server, &basic(("odd", "pä:ss\u{1F511}:")), 1, 201);
    check(&server, &basic(("odd", "pä:ss\u{1F511}")), 2, 401);
}

#[test]
fn a_restricted_user_uploads_to_the_jobs_on_the_list_and_to_no_other() {
    let server = Server::of(&[hello(1), build("other", 2)]);
    server.allow("alice", "hello");
    let upload = |job: &str, number| {
        let answer = server.upload_bytes(ALICE, build(job, number).file("bin/x", "x").exec());
        (answer.status, answer.text())
    };
    assert_eq!(upload("hello", 3).0, 201);
    let (status, why) = upload("other", 4);
    assert_eq!(status, 403);
    assert!(why.contains("alice") && why.contains("other"), "{why}");
    assert_eq!(upload("new", 5).0, 403);
    let manual = |job: &str| {
        let target = format!("/job/{job}/platform/p/upload");
        server
            .send("POST", &target, &[("authorization", &basic(ALICE))], "x")
            .status
    };
    assert_eq!(
        (manual("hello"), manual("other"), manual("new")),
        (201, 403, 403)
    );
    // Refused before anything is kept: the job is still not there.
    assert_eq!(server.get("/job/new").status, 404);
}

/// Takes some tenths of a second to check.
const DEAR: ScryptParams = ScryptParams {
    n: 1 << 17,
    r: 8,
    p: 1,
};

#[test]
fn a_password_that_was_right_a_moment_ago_is_not_hashed_again() {
    let server = Server::new();
    let user = ("dear", "pw");
    server.add_user(user, false, DEAR);
    let time = |password: &str, number: u128| {
        let begin = Instant::now();
        let status = server
            .upload_bytes((user.0, password), hello(number).exec())
            .status;
        (status, begin.elapsed())
    };
    let (status, first) = time("pw", 1);
    assert_eq!(status, 201);
    let again: Vec<Duration> = (2..7)
        .map(|number| {
            let (status, took) = time("pw", number);
            assert_eq!(status, 201);
            took
        })
        .collect();
    let quickest = again.iter().min().unwrap();
    assert!(
        *quickest < first / 3,
        "the first took {first:?}, then {again:?}"
    );
    let (status, wrong) = time("pW", 9);
    assert_eq!(status, 401);
    assert!(
        wrong > *quickest * 2,
        "a wrong password is hashed each time: {wrong:?}"
    );
}

#[test]
fn a_changed_password_or_a_removed_user_counts_at_once() {
    let server = Server::new();
    let user = ("carol", "old");
    server.add_user(user, false, CHEAP);
    check(&server, &basic(user), 1, 201);
    // As builder-db does it: another process, another connection.
    let other = tempfile::tempdir().unwrap();
    let sql = |statement: &str| {
        let database = server.datadir().join("builder.sqlite3");
        let arguments = [database.to_str().unwrap(), statement];
        crate::program::succeeds(other.path(), "sqlite3", &arguments);
    };
    let new = builder_web::auth::hash_password(b"new", CHEAP).unwrap();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    sql(&format!(
        "UPDATE user SET password_hash = x'{}', password_salt = x'{}' WHERE username = 'carol'",
        hex(&new.hash),
        hex(&new.salt)
    ));
    check(&server, &basic(user), 2, 401);
    check(&server, &basic(("carol", "new")), 3, 201);
    sql("UPDATE user SET username = 'gone' WHERE username = 'carol'");
    check(&server, &basic(("carol", "new")), 4, 401);
}

#[test]
fn a_password_is_hashed_again_when_it_was_right_too_long_ago() {
    let server = Server::with(|config| config.limits.password_cache_time = Duration::ZERO);
    let user = ("dear", "pw");
    server.add_user(
        user,
        false,
        ScryptParams {
            n: 1 << 15,
            r: 8,
            p: 1,
        },
    );
    let quickest = (1..4)
        .map(|number| {
            let begin = Instant::now();
            assert_eq!(server.upload_bytes(user, hello(number).exec()).status, 201);
            begin.elapsed()
        })
        .min()
        .unwrap();
    assert!(quickest > Duration::from_millis(20), "{quickest:?}");
}

#[test]
fn reading_needs_no_password_and_a_wrong_one_does_not_matter() {
    let server = Server::of(&[hello(1)]);
    for target in ["/", "/job/hello", "/all-builds"] {
        let answer = server.get_with(target, &[("authorization", "Basic nonsense")]);
        assert_eq!(answer.status, 200, "{target}");
    }
}
