//! Uploads: what is kept, what is refused and when, and that nothing is left of what was refused.

use std::io::{Read, Write};
use std::net::SocketAddr;

use builder_exec::{ExecutionResult, Timestamp};
use builder_store::Sha256;
use uuid::Uuid;

use crate::build::{Build, MIRAGE, build, noise, switch, unikernel};
use crate::server::{ALICE, Answer, BUILDER, Server, basic, connect, exchange, head, now};

fn hello(number: u128) -> Build {
    build("hello", number)
        .file("bin/hello.hvt", noise(1000))
        .file("opam-switch", switch("x", "", ""))
}

fn manual(server: &Server, target: &str, body: &[u8]) -> Answer {
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

#[test]
fn the_same_content_under_two_paths_is_stored_once_and_both_paths_work() {
    let build = build("hello", 1)
        .file("bin/a", "same")
        .file("lib/b", "same")
        .file("empty", "")
        .file("empty2", "");
    let server = Server::of(&[build.clone(), {
        let mut again = build.clone();
        again.uuid = Uuid::from_u128(2);
        again
    }]);
    for path in ["bin/a", "lib/b"] {
        assert_eq!(
            server.get(&format!("{}/f/{path}", build.url())).text(),
            "same"
        );
    }
    for path in ["empty", "empty2"] {
        let answer = server.get(&format!("{}/f/{path}", build.url()));
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    let stored = server
        .files()
        .keys()
        .filter(|path| path.starts_with("_artifacts/") && !path.ends_with('/'))
        .count();
    assert_eq!(stored, 2);
    assert_eq!(
        server
            .location(&format!("/hash?sha256={}", Sha256::of(b"same")))
            .0,
        302
    );
}

#[test]
fn a_readme_is_shown_on_the_jobs_page_and_given_back_with_the_build() {
    for (paths, shown) in [
        (vec![("doc/x/README.md", "# Deep")], "Deep"),
        (vec![("README.md", "# Top")], "Top"),
        (
            vec![("doc/x/README.md", "# Deep"), ("README.md", "# Top")],
            "Top",
        ),
        (
            vec![("README.md", "# Top"), ("doc/x/README.md", "# Deep")],
            "Top",
        ),
        (
            vec![
                ("doc/x/README.md", "# First"),
                ("doc/y/README.md", "# Second"),
            ],
            "First",
        ),
    ] {
        let mut hello = hello(1);
        for (path, text) in &paths {
            hello = hello.file(path, text);
        }
        let server = Server::of(std::slice::from_ref(&hello));
        let page = server.page("/job/hello");
        assert!(page.contains(&format!("<h3>{shown}</h3>")), "{page}");
        assert!(page.matches("<h3>").count() == 1, "{page}");
        for (path, _) in &paths {
            assert_eq!(
                server.get(&format!("{}/f/{path}", hello.url())).status,
                404,
                "{path}"
            );
        }
        let exec = server.get(&format!("{}/exec", hello.url())).body;
        let back = read(&exec);
        assert_eq!(
            back.files[0],
            (b"README.md".to_vec(), format!("# {shown}").into_bytes())
        );
        // A build without one leaves what is known.
        server.keep(&build("hello", 2).later(60).file("bin/x", "x"));
        assert!(
            server
                .page("/job/hello")
                .contains(&format!("<h3>{shown}</h3>"))
        );
    }
}

#[test]
fn what_a_switch_says_of_a_job_is_replaced_by_what_a_later_upload_says() {
    let with = |number, synopsis: &str, fields: &str| {
        build("hello", number)
            .file("bin/x", "x")
            .file("opam-switch", switch("hello", fields, synopsis))
    };
    let server = Server::of(&[with(1, "Before", "")]);
    assert!(server.page("/").contains("Before") && server.page("/").contains("Packages"));
    server.keep(&with(2, "After", MIRAGE));
    let page = server.page("/");
    assert!(page.contains("After") && page.contains("Unikernels") && !page.contains("Before"));
}

/// An `exec` file, read by the reader that reads uploads.
pub(crate) fn read(exec: &[u8]) -> Build {
    use builder_exec::{Limits, Part, Reader};
    let mut build = build("", 0);
    build.platform = None;
    build.console.clear();
    let mut reader = Reader::new(exec, Limits::default());
    loop {
        match reader.next_part().unwrap() {
            Part::JobName(name) => build.job = name,
            Part::Script(script) => build.script = script.read_to_vec().unwrap(),
            Part::InputFile { .. } => panic!("no input files are written"),
            Part::Platform(platform) => build.platform = platform,
            Part::Uuid(uuid) => build.uuid = uuid,
            Part::ConsoleLine { delta_ns, text } => {
                build
                    .console
                    .insert(0, (delta_ns, text.read_to_vec().unwrap()));
            }
            Part::Times { start, finish } => (build.start, build.finish) = (start, finish),
            Part::Result(result) => build.result = result,
            Part::Artifact { path, data } => build.files.push((path, data.read_to_vec().unwrap())),
            Part::End => return build,
        }
    }
}

#[test]
fn a_build_taken_from_one_server_to_another_is_the_same_build() {
    let mut hello = build("a b+c", 1)
        .platform("a,b")
        .file("opam-switch", switch("x", MIRAGE, "A line"))
        .file("build-environment", "A=b")
        .file("bin/hello.hvt", unikernel("hvt", &[]))
        .file("system-packages", "x=1")
        .file("doc/x/README.md", "# Hello")
        .file("x.build-hashes", "gone")
        .ended(ExecutionResult::Signalled(-7));
    hello.console = vec![
        (0, b"a:b:c".to_vec()),
        (1_234_567_890, Vec::new()),
        (61_000_000_000, b"no end".to_vec()),
    ];
    hello.script = b"#!/bin/sh\nprintf '\\000\\377'\n\xff\x00".to_vec();
    let first = Server::of(std::slice::from_ref(&hello));
    let url = format!("/job/a%20b+c/build/{}", hello.uuid);
    let answer = first.get(&format!("{url}/exec"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(
        answer.header("content-length"),
        Some(answer.body.len().to_string().as_str())
    );
    let second = Server::new();
    assert_eq!(
        second.upload_bytes(BUILDER, answer.body.clone()).status,
        201
    );
    assert!(second.get(&format!("{url}/exec")).body == answer.body);
    for target in [url.as_str(), "/all-builds", "/job/a%20b+c"] {
        assert_eq!(first.json(target), second.json(target), "{target}");
        assert_eq!(first.page(target), second.page(target), "{target}");
    }
    for below in ["script", "console", "all.tar.gz"] {
        let target = format!("{url}/{below}");
        assert!(
            first.get(&target).body == second.get(&target).body,
            "{target}"
        );
    }
    let back = read(&answer.body);
    assert_eq!(
        (back.job, back.platform, back.uuid),
        (hello.job.clone(), hello.platform.clone(), hello.uuid)
    );
    assert_eq!(
        (back.script, back.start, back.finish, back.result),
        (
            hello.script.clone(),
            hello.start,
            hello.finish,
            hello.result.clone()
        )
    );
    // Times of console lines are kept to the millisecond.
    hello.console[1].0 = 1_235_000_000;
    assert_eq!(back.console, hello.console);
    assert!(!back.files.iter().any(|(path, _)| path == b"x.build-hashes"));
}

#[test]
fn every_way_a_build_can_end_is_shown_and_given_back() {
    for (number, (result, shown)) in (1..).zip([
        (ExecutionResult::Exited(0), "exited 0"),
        (ExecutionResult::Exited(1), "exited 1"),
        (ExecutionResult::Exited(255), "exited 255"),
        (ExecutionResult::Signalled(9), "signalled 9"),
        (ExecutionResult::Signalled(-7), "signalled -7"),
        (ExecutionResult::Stopped(-20), "stopped -20"),
        (ExecutionResult::Stopped(1), "stopped 1"),
        (
            ExecutionResult::Message(b"no <such> worker".to_vec()),
            "execution aborted: no &#60;such&#62; worker",
        ),
        (ExecutionResult::Message(Vec::new()), "execution aborted: "),
    ]) {
        let failed = build("fails", number).ended(result.clone());
        let server = Server::of(std::slice::from_ref(&failed));
        assert!(server.page(&failed.url()).contains(shown), "{shown}");
        assert!(server.page("/failed-builds").contains(shown), "{shown}");
        assert!(server.page("/job/fails/failed").contains(shown), "{shown}");
        let back = read(&server.get(&format!("{}/exec", failed.url())).body);
        assert_eq!(back.result, result);
    }
}

#[test]
fn a_console_is_shown_in_the_order_it_was_printed_whatever_is_in_its_lines() {
    let mut hello = hello(1);
    let lines: [&[u8]; 8] = [
        b"a:b:c",
        b"",
        b"no colon",
        b":",
        b"1.000s:x",
        b"\xff\xfe",
        b"tab\tand \x1b[1mcolour",
        b"last",
    ];
    hello.console = lines
        .iter()
        .zip(0..)
        .map(|(line, number)| (number * 1_500_000_000, line.to_vec()))
        .collect();
    let server = Server::of(std::slice::from_ref(&hello));
    let mut expected = Vec::new();
    for (delta, line) in &hello.console {
        expected.extend(
            format!(
                "{}.{:03}s:",
                delta / 1_000_000_000,
                delta / 1_000_000 % 1000
            )
            .as_bytes(),
        );
        expected.extend(line);
        expected.push(b'\n');
    }
    let shown = server.get(&format!("{}/console", hello.url())).body;
    assert!(shown == expected, "{}", String::from_utf8_lossy(&shown));
    assert_eq!(
        read(&server.get(&format!("{}/exec", hello.url())).body).console,
        hello.console
    );
}

#[test]
fn a_build_without_a_platform_is_on_no_platform() {
    let mut hello = hello(1);
    hello.platform = None;
    let server = Server::of(std::slice::from_ref(&hello));
    assert_eq!(server.json(&hello.url())["platform"], "no-platform");
    assert_eq!(
        server
            .location("/job/hello/build/latest?platform=no-platform")
            .0,
        307
    );
}

#[test]
fn times_before_1970_and_of_the_last_day_are_kept() {
    for (number, year) in (1..).zip([1950, 1969, 2000, 9999]) {
        let mut hello = hello(number);
        hello.start = Timestamp::from_civil(year, 12, 31, 23, 59, 59).unwrap();
        hello.finish = hello.start;
        let server = Server::of(std::slice::from_ref(&hello));
        assert_eq!(
            server.json(&hello.url())["start_time"],
            format!("{year}-12-31T23:59:59-00:00")
        );
    }
}

#[test]
fn what_the_ocaml_server_left_in_staging_does_not_stand_in_the_way() {
    let server = Server::new();
    let stale = server
        .datadir()
        .join("_staging")
        .join(hello(1).uuid.to_string());
    std::fs::create_dir(&stale).unwrap();
    std::fs::write(stale.join("artifact"), "half").unwrap();
    server.keep(&hello(1));
    assert!(
        server
            .get(&format!("{}/f/bin/hello.hvt", hello(1).url()))
            .body
            == noise(1000)
    );
    // The next start sweeps it.
    drop(server.again(builder_web::Clock::Stopped(now()), |_| {}));
    assert!(!stale.exists());
}

#[test]
fn a_fresh_data_directory_has_the_cache_that_hooks_write_to() {
    assert!(Server::new().datadir().join("_cache").is_dir());
}

#[test]
fn a_binary_uploaded_by_hand_is_a_build_of_now() {
    let server = Server::new();
    let answer = manual(
        &server,
        "/job/a%20b/platform/free%20bsd/upload?binary_name=x%20y.bin&z=1",
        b"binary",
    );
    assert_eq!((answer.status, answer.text().as_str()), (201, ""));
    let url = answer.header("location").unwrap().to_owned();
    assert!(url.starts_with("/job/a%20b/build/"), "{url}");
    let json = server.json(&url);
    assert_eq!(
        (&json["job"], &json["platform"]),
        (&"a b".into(), &"free bsd".into())
    );
    assert_eq!(
        (&json["start_time"], &json["finish_time"]),
        (
            &"2026-05-12T04:13:33-00:00".into(),
            &"2026-05-12T04:13:33-00:00".into()
        )
    );
    assert_eq!(
        server.location(&format!("{url}/main-binary")).1,
        format!("{url}/f/bin/x%20y.bin")
    );
    assert_eq!(
        server.get(&format!("{url}/f/bin/x%20y.bin")).text(),
        "binary"
    );
    assert_eq!(
        server.get(&format!("{url}/script")).text(),
        "# This artifact was manually built\n"
    );
    assert_eq!(server.get(&format!("{url}/console")).text(), "");
    assert!(server.page(&url).contains("exited 0"));
    let second = manual(&server, "/job/plain/platform/p/upload/", b"x");
    assert_eq!(second.status, 201);
    let url = second.header("location").unwrap();
    assert_eq!(
        server.location(&format!("{url}/main-binary")).1,
        format!("{url}/f/bin/plain.bin")
    );
}

#[test]
fn a_job_named_like_a_file_of_the_data_directory_is_refused_in_a_sentence() {
    let server = Server::new();
    std::fs::write(server.datadir().join("notes.txt"), "mine").unwrap();
    std::os::unix::fs::symlink("/nonexistent", server.datadir().join("gone")).unwrap();
    for job in ["notes.txt", "gone"] {
        let before = std::fs::read_dir(server.datadir()).unwrap().count();
        let answer = server.upload(&build(job, 1).file("bin/x", "x"));
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert!(answer.text().contains(job), "{}", answer.text());
        let after = std::fs::read_dir(server.datadir()).unwrap().count();
        assert_eq!(after, before);
    }
    let notes = std::fs::read(server.datadir().join("notes.txt")).unwrap();
    assert_eq!(notes, b"mine");
    assert_eq!(server.json("/all-builds")["jobs"], serde_json::json!([]));
}

#[test]
fn a_binary_by_hand_without_a_byte_is_refused() {
    let server = Server::new();
    let before = server.files();
    let answer = manual(&server, "/job/hello/platform/p/upload", b"");
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("the upload is empty"),
        "{}",
        answer.text()
    );
    assert_eq!(server.get("/job/hello").status, 404);
    assert_eq!(server.files(), before);
}

#[test]
fn a_binary_by_hand_with_a_bad_name_is_refused() {
    let server = Server::new();
    let before = server.files();
    for name in [
        "",
        ".",
        "..",
        "a%2Fb",
        "%2Fetc",
        "..%2F..%2Fx",
        "a%00b",
        "a%0Ab",
    ] {
        let answer = manual(
            &server,
            &format!("/job/x/platform/p/upload?binary_name={name}"),
            b"binary",
        );
        assert_eq!(answer.status, 400, "{name}");
        assert!(
            answer.text().contains("Bad binary name"),
            "{}",
            answer.text()
        );
        assert_eq!(server.files(), before);
    }
    let long = format!("/job/x/platform/p/upload?binary_name={}", "x".repeat(256));
    assert_eq!(manual(&server, &long, b"binary").status, 400);
    assert_eq!(server.files(), before);
}

#[test]
fn a_binary_by_hand_that_breaks_off_is_not_taken_for_the_whole() {
    let server = Server::new();
    let before = server.files();
    let address = server.listen();
    let authorization = basic(BUILDER);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", "1000"),
    ];
    let mut stream = connect(address);
    stream
        .write_all(head("POST", "/job/x/platform/p/upload", &headers).as_bytes())
        .unwrap();
    stream.write_all(b"only this").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    drop(stream);
    crate::server::wait_until("it is gone", || server.files() == before);
    assert_eq!(server.get("/job/x").status, 404);
    // In memory nothing but the header tells.
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", "1000"),
    ];
    let short = server.send("POST", "/job/x/platform/p/upload", &headers, "only this");
    assert_eq!(short.status, 400);
}
