//! Bounds: each at what is allowed and one beyond.

use std::io::{Read, Write};
use std::time::Duration;

use builder_web::connections::SILENCE_MIN;

use crate::build::{Build, build, noise};
use crate::program::run;
use crate::server::{Answer, BUILDER, Server, basic, connect, exchange, head, wait_until};

fn hello(number: u128) -> Build {
    build("hello", number).file("bin/x", noise(5_000))
}

#[test]
fn an_upload_of_just_the_limit_is_taken_and_one_byte_more_is_not() {
    let bytes = hello(1).exec().len();
    for (limit, status) in [(bytes, 201), (bytes - 1, 413), (100, 413)] {
        let limit = u64::try_from(limit).unwrap();
        let server = Server::with(|config| config.limits.upload_bytes_max = limit);
        // With its length announced, and without.
        let authorization = basic(BUILDER);
        let length = bytes.to_string();
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-length", length.as_str()),
        ];
        assert_eq!(
            server
                .send("POST", "/upload", &headers, hello(1).exec())
                .status,
            status
        );
        let answer = server.upload(&hello(2));
        assert_eq!(answer.status, status, "{}", answer.text());
        let kept = server
            .files()
            .keys()
            .any(|path| path.starts_with("_artifacts/") && path != "_artifacts/");
        assert_eq!(kept, status == 201);
    }
    for (limit, status) in [(100, 201), (99, 413)] {
        let server = Server::with(|config| config.limits.upload_bytes_max = limit);
        let authorization = basic(BUILDER);
        for headers in [vec![], vec![("content-length", "100")]] {
            let mut all = vec![("authorization", authorization.as_str())];
            all.extend(headers);
            let answer = server.send("POST", "/job/x/platform/p/upload", &all, noise(100));
            assert_eq!(answer.status, status);
        }
    }
}

#[test]
fn an_upload_is_refused_while_the_disk_has_too_little_room() {
    let server = Server::with(|config| config.limits.disk_reserve_bytes = u64::MAX);
    let before = server.files();
    for target in ["/upload", "/job/x/platform/p/upload"] {
        let answer = server.send(
            "POST",
            target,
            &[("authorization", &basic(BUILDER))],
            hello(1).exec(),
        );
        assert_eq!(answer.status, 507);
        assert!(answer.text().contains("disk is full"), "{}", answer.text());
    }
    assert_eq!(server.files(), before);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_readme_beyond_the_limit_is_left_out_and_the_build_is_kept() {
    for (bytes, shown) in [(100, true), (101, false)] {
        let server = Server::with(|config| config.limits.readme_bytes_max = 100);
        let readme = format!("{:x<bytes$}", "# Title\n\n");
        server.keep(&hello(1).file("README.md", readme));
        assert_eq!(server.page("/job/hello").contains("<h3>Title</h3>"), shown);
    }
}

#[test]
fn a_switch_beyond_the_limit_is_kept_and_says_nothing_of_the_job() {
    let switch = crate::build::switch("x", "", "Its synopsis");
    for (limit, says) in [(switch.len(), true), (switch.len() - 1, false)] {
        let limit = u64::try_from(limit).unwrap();
        let server = Server::with(|config| config.limits.opam_switch_bytes_max = limit);
        let build = hello(1).file("opam-switch", &switch);
        server.keep(&build);
        assert_eq!(server.page("/").contains("Its synopsis"), says);
        assert_eq!(
            server.get(&format!("{}/f/opam-switch", build.url())).text(),
            switch
        );
    }
}

#[test]
fn a_client_that_does_not_finish_its_request_is_cut_off() {
    let server = Server::with(|config| config.limits.head_time_max = Duration::from_millis(200));
    let mut stream = connect(server.listen());
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut answer = Vec::new();
    // Cut with an answer that says so, or without one.
    stream.read_to_end(&mut answer).unwrap();
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let server = Server::with(|config| config.limits.head_bytes_max = 16 * 1024);
    let address = server.listen();
    let long = "x".repeat(64 * 1024);
    let mut stream = connect(address);
    // The server may stop reading in the middle.
    let _sent = stream.write_all(head("GET", "/", &[("x-long", &long)]).as_bytes());
    let mut answer = Vec::new();
    let _read = stream.read_to_end(&mut answer);
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let short = "x".repeat(8 * 1024);
    assert_eq!(
        exchange(address, "GET", "/", &[("x-long", &short)], b"").status,
        200
    );
}

#[test]
fn who_comes_when_all_connections_are_busy_is_told_when_to_come_again() {
    let server = Server::with(|config| config.limits.connections_max = 2);
    let address = server.listen();
    let authorization = basic(BUILDER);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", "100000"),
    ];
    let busy = [connect(address), connect(address)].map(|mut stream| {
        stream
            .write_all(head("POST", "/upload", &headers).as_bytes())
            .unwrap();
        stream
    });
    wait_until("both are busy", || {
        server.app.metrics().requests_in_flight.get() == 2
    });
    // However long they say no more.
    std::thread::sleep(SILENCE_MIN + Duration::from_millis(200));
    for request in ["", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut third = connect(address);
        third.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        third.read_to_end(&mut answer).unwrap();
        let answer = Answer::parse(&answer, false);
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("10"))
        );
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(answer.text(), "too many connections\n");
    }
    drop(busy);
    wait_until("there is room again", || {
        server.app.metrics().connections.get() == 0
    });
    assert_eq!(exchange(address, "GET", "/", &[], b"").status, 200);
}

#[test]
fn a_client_that_waits_for_a_word_is_told_no_without_sending_its_body() {
    let server = Server::with(|config| config.limits.upload_bytes_max = 1_000);
    let address = server.listen();
    for (user, length, status) in [(("x", "y"), "100", "401"), (BUILDER, "5000000", "413")] {
        let authorization = basic(user);
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-length", length),
            ("expect", "100-continue"),
        ];
        let mut stream = connect(address);
        stream
            .write_all(head("POST", "/upload", &headers).as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(!answer.contains("100 Continue"), "{answer}");
    }
}

#[test]
fn two_thousand_downloads_leave_no_file_open() {
    let build = hello(1);
    let server = Server::of(std::slice::from_ref(&build));
    let target = format!("{}/f/bin/x", build.url());
    let open = || std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    let Ok(_) = open() else {
        // Not on Linux: nothing to count.
        return;
    };
    for _ in 0..50 {
        server.get(&target);
    }
    let before = open().unwrap();
    for _ in 0..2_000 {
        assert_eq!(server.get(&target).status, 200);
    }
    let after = open().unwrap();
    // Other tests of this process open and close files meanwhile.
    assert!(
        after < before + 500,
        "{before} files were open, then {after}"
    );
}

#[test]
fn curl_that_expects_a_word_gets_it_and_uploads() {
    let server = Server::new();
    let address = server.listen();
    let directory = tempfile::tempdir().unwrap();
    let exec = build("big", 1).file("bin/x", noise(3_000_000)).exec();
    std::fs::write(directory.path().join("x.full"), &exec).unwrap();
    let url = format!("http://{address}/upload");
    let upload = |user: &str| {
        let arguments = [
            "-sv",
            "-o",
            "out",
            "-w",
            "%{http_code}",
            "--expect100-timeout",
            "30",
            "-H",
            "Expect: 100-continue",
            "-u",
            user,
            "--data-binary",
            "@x.full",
            &url,
        ];
        let output = run(directory.path(), "curl", &arguments);
        assert!(output.status.success(), "{output:?}");
        let log = String::from_utf8_lossy(&output.stderr).contains("100 Continue");
        (String::from_utf8_lossy(&output.stdout).into_owned(), log)
    };
    assert_eq!(
        upload("builder:hunter2:with colon"),
        ("201".to_owned(), true)
    );
    assert_eq!(
        upload("builder:hunter2:with colon"),
        ("409".to_owned(), true)
    );
    assert_eq!(upload("builder:wrong"), ("401".to_owned(), false));
}
