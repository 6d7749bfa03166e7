//! Uploads that were taken in: what is kept of them and shown, those by hand too.

use std::io::{Read, Write};

use builder_exec::{ExecutionResult, Timestamp};
use builder_store::Sha256;
use uuid::Uuid;

use crate::build::{Build, MIRAGE, build, noise, switch, unikernel};
use crate::server::{BUILDER, Server, basic, connect, head, now};
use crate::upload::{hello, manual};

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
