//! Uploads: what is kept, what is refused and when, and that nothing is left of what was refused.

use std::io::{Read, Write};
use std::net::SocketAddr;

use uuid::Uuid;

use crate::build::{Build, build, noise, switch};
use crate::server::{ALICE, Answer, BUILDER, Server, basic, connect, exchange, head};

pub(crate) fn hello(number: u128) -> Build {
    build("hello", number)
        .file("bin/hello.hvt", noise(1000))
        .file("opam-switch", switch("x", "", ""))
}

pub(crate) fn manual(server: &Server, target: &str, body: &[u8]) -> Answer {
    server.send(
        "POST",
        target,
        &[("authorization", &basic(BUILDER))],
        body.to_vec(),
    )
}

#[test]
fn a_build_that_was_taken_in_answers_201_with_nothing_but_its_place() {
    let server = Server::new();
    let answer = server.upload(&hello(1));
    assert_eq!((answer.status, answer.text().as_str()), (201, ""));
    assert_eq!(answer.header("location"), Some(hello(1).url().as_str()));
    assert_eq!(server.get(&hello(1).url()).status, 200);
    assert!(
        server
            .get(&format!("{}/f/bin/hello.hvt", hello(1).url()))
            .body
            == noise(1000)
    );
}

#[test]
fn the_headers_of_builder_server_and_of_curl_make_no_difference() {
    let server = Server::new();
    let address = server.listen();
    let authorization = basic(BUILDER);
    for (number, extra) in (1..).zip([
        vec![("user-agent", "http-lwt-client/0.3")],
        vec![("content-type", "application/x-www-form-urlencoded")],
        vec![("content-type", "multipart/form-data; boundary=x")],
        vec![("accept", "application/json"), ("accept-encoding", "gzip")],
    ]) {
        let exec = hello(number).exec();
        let length = exec.len().to_string();
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("content-length", &length),
        ];
        headers.extend(&extra);
        let answer = exchange(address, "POST", "/upload", &headers, &exec);
        assert_eq!(answer.status, 201, "{extra:?}");
    }
}

#[test]
fn an_upload_in_chunks_of_unknown_length_is_taken_in() {
    let server = Server::new();
    let address = server.listen();
    let mut body = Vec::new();
    for chunk in hello(1).exec().chunks(700) {
        body.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend(chunk);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    let authorization = basic(BUILDER);
    let headers = [
        ("authorization", authorization.as_str()),
        ("transfer-encoding", "chunked"),
    ];
    assert_eq!(
        exchange(address, "POST", "/upload", &headers, &body).status,
        201
    );
}

#[test]
fn the_same_build_a_second_time_is_a_conflict_and_changes_nothing() {
    let server = Server::of(&[hello(1)]);
    let before = server.files();
    let mut other = build("other", 1).file("bin/x", "x");
    for again in [&hello(1), &other] {
        let answer = server.upload(again);
        assert_eq!(answer.status, 409);
        let text = answer.text();
        assert!(
            text.starts_with("Build with same uuid exists: ")
                && text.contains(&again.uuid.to_string()),
            "{text}"
        );
    }
    assert_eq!(server.files(), before);
    assert_eq!(server.get("/job/other").status, 404);
    other.uuid = Uuid::from_u128(7);
    server.keep(&other);
}

/// Cuts, swaps and adds bytes.
fn damaged() -> Vec<(&'static str, Vec<u8>)> {
    let exec = hello(1).exec();
    let mut cases = vec![
        ("empty", Vec::new()),
        ("text", b"this is no build".to_vec()),
        ("the other choice", vec![0xa1, 0x02, 0x05, 0x00]),
        ("more after the end", [&exec[..], b"x"].concat()),
        ("another tag", [b"\xa2", &exec[1..]].concat()),
        ("an endless length", vec![0xa0, 0x80, 0x30, 0x80]),
        (
            "a length beyond all bounds",
            vec![0xa0, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
    ];
    for end in [1, 2, 5, 20, 60, 100, exec.len() / 2, exec.len() - 1] {
        cases.push(("cut off", exec[..end].to_vec()));
    }
    cases
}

#[test]
fn what_is_no_build_is_refused_and_nothing_is_left_of_it() {
    let server = Server::of(&[hello(9)]);
    let before = server.files();
    for (what, bytes) in damaged() {
        let answer = server.upload_bytes(BUILDER, bytes.clone());
        let expected = if what == "a length beyond all bounds" {
            [400, 413].contains(&answer.status)
        } else {
            answer.status == 400
        };
        assert!(
            expected,
            "{what} of {} bytes: {} {}",
            bytes.len(),
            answer.status,
            answer.text()
        );
        assert!(!answer.text().trim().is_empty());
        assert_eq!(server.files(), before, "{what}");
    }
    server.keep(&hello(1));
}

#[test]
fn names_that_would_leave_their_place_or_take_ours_are_refused_and_nothing_is_written() {
    let server = Server::of(&[hello(9)]);
    let before = server.files();
    let long = "x".repeat(256);
    let refused = |what: &str, build: Build| {
        let answer = server.upload(&build);
        assert!(
            [400, 413].contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(server.files(), before, "{what}");
    };
    for job in [
        "",
        ".",
        "..",
        "/",
        "a/b",
        "../x",
        "/etc",
        "a/../../x",
        "_artifacts",
        "_staging",
        "_cache",
        "_Cache",
        "builder.sqlite3",
        "builder.sqlite3-wal",
        "BUILDER.SQLITE3",
        "builder-web.sqlite3",
        "builder-web-record.sqlite3",
        "lost+found",
        "a\0",
        "a\nb",
        "a\r",
        "\u{7f}",
        "\u{85}",
        &long,
    ] {
        refused(job, build(job, 1).file("bin/x", "x"));
        let target = format!("/job/{}/platform/p/upload", percent(job));
        let answer = manual(&server, &target, b"x");
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
        assert_eq!(server.files(), before, "{target}");
    }
    for platform in ["", "..", "a/b", "a\nb", &long] {
        refused(
            platform,
            build("hello", 1).platform(platform).file("bin/x", "x"),
        );
    }
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        ".",
        "..",
        "a/.",
        "a\0b",
        "a\nb",
        &"x/".repeat(3000),
        &long,
    ] {
        refused(path, build("hello", 1).file("bin/x", "x").file(path, "x"));
    }
    let mut bytes = build("hello", 1);
    bytes.job = b"\xff\xfe".to_vec();
    refused("no UTF-8", bytes);
    refused(
        "twice",
        build("hello", 1).file("bin/x", "x").file("bin/x", "y"),
    );
    refused(
        "twice after all",
        build("hello", 1).file("bin/x", "x").file("./bin/x", "y"),
    );
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let server = Server::of(&[hello(9)]);
    let address = server.listen();
    let before = server.files();
    let exec = build("broken", 1).file("bin/x", noise(500_000)).exec();
    let length = exec.len().to_string();
    let authorization = basic(BUILDER);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", length.as_str()),
    ];
    for sent in [0, 10, 100, 5_000, 300_000, exec.len() - 1] {
        let mut stream = connect(address);
        stream
            .write_all(head("POST", "/upload", &headers).as_bytes())
            .unwrap();
        stream.write_all(&exec[..sent]).unwrap();
        drop(stream);
        crate::server::wait_until("what was staged is gone", || server.files() == before);
    }
    assert_eq!(
        exchange(address, "POST", "/upload", &headers, &exec).status,
        201
    );
}

#[test]
fn a_client_that_stops_sending_is_given_up() {
    let server = Server::with(|config| {
        config.limits.upload_idle_time_max = std::time::Duration::from_millis(200)
    });
    let before = server.files();
    let address = server.listen();
    let authorization = basic(BUILDER);
    let mut stream = connect(address);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", "100000"),
        ("connection", "close"),
    ];
    stream
        .write_all(head("POST", "/upload", &headers).as_bytes())
        .unwrap();
    stream.write_all(&hello(1).exec()[..200]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer, false).status, 408);
    assert_eq!(server.files(), before);
}

/// Sends the head of a request and a part of its body, and reads the answer while the rest is
/// never sent.
fn answer_before_the_rest(address: SocketAddr, user: (&str, &str), build: &Build) -> u16 {
    let (first, rest) = build.exec_before_last_file();
    let authorization = basic(user);
    let length = (first.len() + rest.len()).to_string();
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", length.as_str()),
    ];
    let mut stream = connect(address);
    stream
        .write_all(head("POST", "/upload", &headers).as_bytes())
        .unwrap();
    stream.write_all(&first).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8_lossy(&status[9..]).parse().unwrap()
}

#[test]
fn who_may_not_and_what_is_there_already_is_refused_before_an_artifact_is_sent() {
    let server = Server::of(&[hello(1)]);
    let address = server.listen();
    let large = |job: &str, number| build(job, number).file("bin/x", noise(1_000_000));
    assert_eq!(
        answer_before_the_rest(address, ALICE, &large("hello", 2)),
        403
    );
    assert_eq!(
        answer_before_the_rest(address, BUILDER, &large("hello", 1)),
        409
    );
    assert_eq!(
        answer_before_the_rest(address, BUILDER, &large("other", 1)),
        409
    );
    assert_eq!(
        answer_before_the_rest(address, BUILDER, &large("_staging", 2)),
        400
    );
    assert_eq!(
        answer_before_the_rest(address, ("x", "y"), &large("hello", 2)),
        401
    );
}

#[test]
fn a_large_upload_with_a_wrong_password_still_reads_why() {
    let server = Server::new();
    let address = server.listen();
    let exec = build("big", 1).file("bin/x", noise(20_000_000)).exec();
    let length = exec.len().to_string();
    let authorization = basic((BUILDER.0, "wrong"));
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", length.as_str()),
    ];
    // A client that writes all before it reads; it closes the connection, or leaves that to us.
    for close in [true, false] {
        let mut stream = connect(address);
        let mut all = headers.to_vec();
        if close {
            all.push(("connection", "close"));
        }
        stream
            .write_all(head("POST", "/upload", &all).as_bytes())
            .unwrap();
        stream.write_all(&exec).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = Answer::parse(&answer, false);
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").is_some());
    }
}

#[test]
fn a_large_upload_that_is_refused_halfway_still_reads_why() {
    let server = Server::new();
    let address = server.listen();
    let authorization = basic(BUILDER);
    let build = build("big", 1)
        .file("bin/x", noise(3_000_000))
        .file("../leaves", "")
        .file("y", noise(20_000_000));
    let exec = build.exec();
    let length = exec.len().to_string();
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", length.as_str()),
    ];
    let answer = exchange(address, "POST", "/upload", &headers, &exec);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("../leaves"), "{}", answer.text());
    assert!(
        !server
            .files()
            .keys()
            .any(|path| path.starts_with("_staging/") && path != "_staging/")
    );
}

#[test]
fn two_uploads_of_one_build_at_the_same_time_are_one_build_and_one_conflict() {
    let server = Server::new();
    let address = server.listen();
    for number in 1..6 {
        let exec = build("hello", number)
            .file("bin/x", noise(200_000))
            .file("y", format!("{number}"))
            .exec();
        let length = exec.len().to_string();
        let authorization = basic(BUILDER);
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-length", length.as_str()),
        ];
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let two: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| exchange(address, "POST", "/upload", &headers, &exec).status)
                })
                .collect();
            two.into_iter().map(|one| one.join().unwrap()).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
        let url = build("hello", number).url();
        assert!(server.get(&format!("{url}/f/bin/x")).body == noise(200_000));
        assert_eq!(server.get(&format!("{url}/f/y")).text(), number.to_string());
        assert_eq!(server.get(&format!("{url}/console")).status, 200);
    }
    assert!(
        !server
            .files()
            .keys()
            .any(|path| path.starts_with("_staging/") && path != "_staging/")
    );
}

#[test]
fn many_uploads_at_the_same_time_are_all_kept() {
    let server = Server::with(|config| config.limits.uploads_concurrent_max = 3);
    let address = server.listen();
    let builds: Vec<Build> = (1..=8)
        .map(|number| {
            let own = noise(100_000 + usize::try_from(number).unwrap());
            build(["a", "b"][usize::try_from(number % 2).unwrap()], number)
                .file("bin/x", own)
                .file("same", noise(9_999))
        })
        .collect();
    std::thread::scope(|scope| {
        for build in &builds {
            scope.spawn(move || {
                let exec = build.exec();
                let length = exec.len().to_string();
                let authorization = basic(BUILDER);
                let headers = [
                    ("authorization", authorization.as_str()),
                    ("content-length", length.as_str()),
                ];
                assert_eq!(
                    exchange(address, "POST", "/upload", &headers, &exec).status,
                    201
                );
            });
        }
    });
    for build in &builds {
        for (path, content) in &build.files {
            let target = format!("{}/f/{}", build.url(), String::from_utf8_lossy(path));
            assert!(server.get(&target).body == *content, "{target}");
        }
    }
}
