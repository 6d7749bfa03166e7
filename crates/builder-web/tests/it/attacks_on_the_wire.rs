//! Attacks on the way a request is read: over a raw socket, byte for byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::build::build;
use crate::program::Process;
use crate::server::{Answer, BUILDER, Server, basic, connect, exchange, wait_until};

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
    assert!(begin.elapsed() < Duration::from_secs(10));
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
    wait_until("both are there", || open() >= 1);
    let begin = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nhost: x\r\nx: yyyyyyyyyyyyyyyy" {
        if slow.write_all(&[*byte]).is_err() || open() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_until("both are gone", || open() == 0);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn nothing_that_was_sent_begins_a_line_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::serve_with(
        directory.path(),
        Path::new("/nonexistent"),
        &["--log-level", "debug", "--trusted-proxy", "127.0.0.1"],
    );
    let forged = "INFO forged";
    let targets = [
        "/%0aINFO%20forged",
        "/job/x%0d%0aINFO%20forged",
        "/hash?sha256=%0aINFO%20forged",
        "/job/%1b%5b31mINFO%20forged/build/latest",
    ];
    for target in targets {
        let headers = [
            ("x-request-id", "a b INFO forged"),
            ("x-forwarded-for", "INFO forged"),
        ];
        exchange(process.address, "GET", target, &headers, b"");
    }
    let user = basic(("x\nINFO forged", "pw"));
    let answer: Answer = exchange(
        process.address,
        "POST",
        "/upload",
        &[("authorization", &user)],
        b"",
    );
    assert_eq!(answer.status, 401);
    wait_until("it is logged", || process.log().contains(forged));
    for line in process.log().lines() {
        assert!(
            !line.starts_with(forged) && !line.contains('\u{1b}'),
            "{line:?}"
        );
    }
}
