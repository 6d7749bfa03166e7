//! Attacks on the way a request is read: over a raw socket, byte for byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::build::{Build, build};
use crate::program::Process;
use crate::server::{BUILDER, Server, basic, connect, exchange, wait_until};

/// What comes back when these bytes are sent at once and nothing more.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // The server may have enough before all is sent.
    let _cut = stream.write_all(bytes);
    let _cut = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _cut = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_request_that_two_readers_would_end_at_different_places_is_refused() {
    let server = Server::new();
    let address = server.listen();
    let user = basic(BUILDER);
    let inner = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let chunked = format!("0\r\n\r\n{inner}");
    let length = format!("content-length: {}", chunked.len());
    for (shape, headers) in [
        (
            "both, length first",
            format!("{length}\r\ntransfer-encoding: chunked"),
        ),
        (
            "both, chunked first",
            format!("transfer-encoding: chunked\r\n{length}"),
        ),
        (
            "chunked twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked".to_owned(),
        ),
        (
            "chunked, then not",
            "transfer-encoding: chunked, identity".to_owned(),
        ),
        (
            "not quite chunked",
            format!("transfer-encoding: xchunked\r\n{length}"),
        ),
        (
            "a blank before the colon",
            format!("transfer-encoding : chunked\r\n{length}"),
        ),
        (
            "a folded line",
            format!("x: y\r\n transfer-encoding: chunked\r\n{length}"),
        ),
        (
            "a tab and a folded line",
            format!("transfer-encoding:\r\n\tchunked\r\n{length}"),
        ),
        (
            "a null byte",
            format!("transfer-encoding: chunked\0\r\n{length}"),
        ),
        ("two lengths", format!("content-length: 0\r\n{length}")),
        (
            "a list of lengths",
            format!("content-length: 0, {}", chunked.len()),
        ),
        (
            "a length with a sign",
            format!("content-length: +{}", chunked.len()),
        ),
        ("a negative length", "content-length: -1".to_owned()),
        (
            "a length in hexadecimal",
            format!("content-length: {:#x}", chunked.len()),
        ),
        (
            "a length that is too long",
            "content-length: 99999999999999999999999".to_owned(),
        ),
    ] {
        let request = format!(
            "POST /upload HTTP/1.1\r\nhost: x\r\nauthorization: {user}\r\n{headers}\r\n\r\n{chunked}"
        );
        let said = raw(address, request.as_bytes());
        assert!(
            !said.contains("ok\n"),
            "{shape}: the inner request was answered: {said}"
        );
        assert!(said.matches("HTTP/1.").count() <= 1, "{shape}: {said}");
        let refused = said.is_empty() || said.starts_with("HTTP/1.1 4");
        assert!(refused, "{shape}: {said}");
    }
    for chunks in [
        "-1\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhelloXX0\r\n\r\n",
    ] {
        let request = format!(
            "POST /upload HTTP/1.1\r\nhost: x\r\nauthorization: {user}\r\n\
             transfer-encoding: chunked\r\n\r\n{chunks}{inner}"
        );
        let said = raw(address, request.as_bytes());
        assert!(!said.contains("ok\n"), "{chunks:?}: {said}");
        assert!(
            !said.contains(" 201 ") && said.matches("HTTP/1.").count() <= 1,
            "{chunks:?}: {said}"
        );
    }
    // Nothing of it hurt: whole requests one after the other are answered one by one.
    let said = raw(address, inner.repeat(3).as_bytes());
    assert_eq!(said.matches("ok\n").count(), 3, "{said}");
}

#[test]
fn a_request_says_once_which_host_it_is_for() {
    let server = Server::new();
    let address = server.listen();
    let first_line = |said: &str| said.lines().next().unwrap_or_default().to_owned();
    for hosts in [
        "",
        "host: a\r\nhost: b\r\n",
        "host: a\r\nHost: a\r\n",
        "host: a\r\nhost:\r\n",
        "host: a b\r\n",
        "host: a/b\r\n",
        "host: a, b\r\n",
        "host: user@a\r\n",
        "host: http://a\r\n",
        "host: a:b:c\r\n",
        "host: a:b\r\n",
        "host: [::1\r\n",
        "host: \u{e9}\r\n",
        "x-host: a\r\n",
    ] {
        for begin in [
            "GET / HTTP/1.1",
            "GET http://a/ HTTP/1.1",
            "HEAD /nowhere HTTP/1.1",
        ] {
            let next = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
            let said = raw(address, format!("{begin}\r\n{hosts}\r\n{next}").as_bytes());
            assert_eq!(
                first_line(&said),
                "HTTP/1.1 400 Bad Request",
                "{begin} {hosts:?}: {said}"
            );
            assert_eq!(
                said.matches("HTTP/1.").count(),
                1,
                "{begin} {hosts:?}: {said}"
            );
            assert!(said.contains("x-request-id: "), "{said}");
        }
    }
    let twice = "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n";
    assert_eq!(
        first_line(&raw(address, twice.as_bytes())),
        "HTTP/1.0 400 Bad Request"
    );
    // Those of clients: albatross, mollymawk, curl, wget, a browser, a proxy, and a probe of old.
    for (version, hosts) in [
        ("1.1", "host: builds.example\r\n"),
        ("1.1", "Host: builds.example:3000\r\n"),
        ("1.1", "HOST:\t127.0.0.1:3000 \r\n"),
        ("1.1", "Host: [2001:db8::1]:3000\r\n"),
        ("1.1", "Host: builder_web-1.internal.\r\n"),
        ("1.1", "Host: xn--bcher-kva.example\r\n"),
        ("1.1", "Host:\r\n"),
        ("1.0", "Host: builds.example\r\n"),
        ("1.0", ""),
    ] {
        let request = format!("GET /healthz HTTP/{version}\r\n{hosts}\r\n");
        let said = raw(address, request.as_bytes());
        assert!(said.contains(" 200 OK"), "{version} {hosts:?}: {said}");
    }
    // A target with a host goes before the header.
    let request = "GET http://public.example:81/feed.atom HTTP/1.1\r\nhost: other.example\r\n\r\n";
    let said = raw(address, request.as_bytes());
    assert!(said.contains("http://public.example:81/"), "{said}");
    assert!(!said.contains("other.example"), "{said}");
    // So do those who watch.
    assert_eq!(exchange(address, "GET", "/healthz", &[], b"").status, 200);
}

#[test]
fn what_is_no_request_is_refused_and_harms_nobody() {
    let server = Server::new();
    let address = server.listen();
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nx\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\n",
        b"",
    ] {
        let said = raw(address, bytes);
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.0 4"),
            "{bytes:?}: {said}"
        );
    }
    assert_eq!(exchange(address, "GET", "/healthz", &[], b"").status, 200);
}

#[test]
fn a_query_string_may_be_long_but_not_without_end() {
    let server = Server::of(&[build("hello", 1).file("bin/x", "x")]);
    let address = server.listen();
    let begin = Instant::now();
    for query in [
        "x".repeat(50_000),
        "&".repeat(50_000),
        "a=b&".repeat(10_000),
        "%".repeat(50_000),
        format!("platform={}", "%00".repeat(15_000)),
        format!("count={}&start={}", "9".repeat(20_000), "9".repeat(20_000)),
    ] {
        for path in ["/", "/job/hello", "/failed-builds", "/hash", "/all-builds"] {
            let answer = exchange(address, "GET", &format!("{path}?{query}"), &[], b"");
            assert!(
                [200, 307, 400, 404, 414].contains(&answer.status),
                "{path}: {}",
                answer.status
            );
        }
    }
    let said = raw(
        address,
        format!("GET /?{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1 << 20)).as_bytes(),
    );
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_client_that_sends_a_byte_a_second_or_hangs_up_halfway_holds_nothing() {
    let server = Server::with(|config| config.limits.head_time_max = Duration::from_millis(300));
    let address = server.listen();
    let open = || server.app.metrics().connections.get();
    let mut slow = connect(address);
    let mut half = connect(address);
    half.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let begin = Instant::now();
    slow.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: x\r\nx: ".iter();
    for byte in head.chain(std::iter::repeat_n(&b'y', 1000)) {
        // Whatever it is told, the end comes.
        let sent = slow.write_all(&[*byte]);
        let is_open = match slow.read(&mut [0; 4096]) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        };
        if sent.is_err() || !is_open {
            break;
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "it is let go on");
    let _reset = half.read_to_end(&mut Vec::new());
    wait_until("both are gone", || open() == 0);
}

#[test]
fn nothing_that_was_sent_begins_a_line_of_the_log() {
    for form in ["text", "json"] {
        let (holder, data, _) = crate::carry::empty();
        let config = holder.path().join("config");
        let hooks = config.join("upload-hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        // A hook repeats what it is told, and some more.
        let draft = holder.path().join("draft");
        let script = "#!/bin/sh\nprintf 'x\\nINFO forged\\r\\033[31m%s\\n' \"$3\"\n";
        std::fs::write(&draft, script).unwrap();
        let hook = hooks.join("talks.sh");
        for (program, first, second) in [
            ("cp", draft.as_path(), hook.as_path()),
            ("chmod", Path::new("755"), &hook),
        ] {
            crate::program::succeeds(holder.path(), program, &[first, second]);
        }
        let mut arguments = vec!["--log-level", "debug", "--trusted-proxy", "127.0.0.1"];
        if form == "json" {
            arguments.push("--log-json");
        }
        let process = Process::serve_with(data.as_ref(), &config, &arguments);
        send_forgeries(&process);
        wait_until("all is logged", || {
            let log = process.log();
            log.contains("talks.sh has run") && log.matches("forged").count() > 10
        });
        for line in process.log().lines() {
            assert!(!line.starts_with("INFO forged"), "{line:?}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
            if form == "json" {
                serde_json::from_str::<serde_json::Value>(line)
                    .unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
    }
}

/// Sends lines of a log in all that a client may choose.
fn send_forgeries(process: &Process) {
    let send = |method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]| {
        exchange(process.address, method, target, headers, body).status
    };
    for target in [
        "/%0aINFO%20forged",
        "/job/x%0d%0aINFO%20forged",
        "/hash?sha256=%0aINFO%20forged",
        "/job/%1b%5b31mINFO%20forged/build/latest",
        "/search?q=%0aINFO%20forged",
        "/package/x%0aINFO%20forged",
    ] {
        let headers = [
            ("x-request-id", "a b INFO forged"),
            ("x-forwarded-for", "INFO forged"),
        ];
        send("GET", target, &headers, b"");
    }
    let wrong = basic(("x\nINFO forged", "pw"));
    assert_eq!(
        send("POST", "/upload", &[("authorization", &wrong)], b""),
        401
    );
    let user = basic(("builder", "pw"));
    let upload = |build: &Build| {
        let exec = build.exec();
        let length = exec.len().to_string();
        let headers = [("authorization", &*user), ("content-length", &*length)];
        send("POST", "/upload", &headers, &exec)
    };
    let forged = "x\r\nINFO forged\u{1b}[31m";
    let refused = [
        build(forged, 1).file("bin/x", "x"),
        build("x", 2).platform(forged).file("bin/x", "x"),
        build("x", 3).file(forged, "x"),
    ];
    for build in &refused {
        assert_eq!(upload(build), 400);
    }
    // These are names: two of them are line ends to some, and none to a log.
    let odd = "x\u{2028}\u{2029}INFO forged\u{202e}";
    let kept = build(odd, 4)
        .platform(odd)
        .file("bin/x", "x")
        .ended(builder_exec::ExecutionResult::Message(forged.into()));
    assert_eq!(upload(&kept), 201);
    let by_hand = "/job/x%0aINFO%20forged/platform/p/upload?binary_name=x%0aINFO%20forged";
    assert_eq!(
        send("POST", by_hand, &[("authorization", &user)], b"x"),
        400
    );
}
