//! Files of builds: whole, in part, packed, and not again when nothing changed.

use std::io::Read;

use base64::Engine as _;
use builder_store::Sha256;

use crate::build::{Build, build, noise};
use crate::server::{Answer, Server, exchange};

const TEXT: &str = "text/plain; charset=utf-8";

fn hello() -> Build {
    build("hello", 1)
        .file("bin/hello.hvt", noise(300_000))
        .file("opam-switch", "a line of a switch\n".repeat(5_000))
        .file("doc/page.html", "<p>hello</p>".repeat(500))
        .file("doc/notes.md", "notes\n".repeat(1_000))
        .file("doc/empty", "")
        .file("x.build-hashes", "never kept")
}

fn file(path: &str) -> String {
    format!("{}/f/{path}", hello().url())
}

fn content(path: &str) -> Vec<u8> {
    let build = hello();
    build
        .files
        .iter()
        .find(|(known, _)| known == path.as_bytes())
        .unwrap()
        .1
        .clone()
}

fn tag(path: &str) -> String {
    let digest = Sha256::of(&content(path));
    base64::engine::general_purpose::STANDARD.encode(digest.as_bytes())
}

fn with(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    server.get_with(&file(path), headers)
}

#[test]
fn every_artifact_comes_as_it_was_uploaded_with_its_type() {
    let server = Server::of(&[hello()]);
    for (path, content_type) in [
        ("bin/hello.hvt", "application/octet-stream"),
        ("opam-switch", TEXT),
        ("doc/page.html", "text/html; charset=utf-8"),
        ("doc/notes.md", "text/x-markdown"),
        ("doc/empty", "application/octet-stream"),
    ] {
        let answer = with(&server, path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body == content(path), "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(
            answer.header("content-length"),
            Some(content(path).len().to_string().as_str())
        );
        assert_eq!(
            answer.header("etag"),
            Some(format!("\"{}\"", tag(path)).as_str())
        );
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        assert_eq!(answer.header("content-encoding"), None, "{path}");
        assert_eq!(
            answer.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
    }
    for missing in [
        "x.build-hashes",
        "bin",
        "bin/",
        "bin/hello",
        "",
        "BIN/hello.hvt",
    ] {
        assert_eq!(with(&server, missing, &[]).status, 404, "{missing}");
    }
}

#[test]
fn a_download_is_saved_under_its_own_name() {
    let named = build("a b", 1)
        .file("bin/a b\"c.hvt", "x")
        .file("doc/ü.txt", "x")
        .file("picture.png", "x")
        .file("drawing.svg", "x");
    let server = Server::of(std::slice::from_ref(&named));
    let url = format!("/job/a%20b/build/{}", named.uuid);
    for (path, disposition) in [
        (
            "f/bin/a%20b%22c.hvt",
            "attachment; filename=\"a b_c.hvt\"; filename*=UTF-8''a%20b%22c.hvt".to_owned(),
        ),
        (
            "f/doc/%C3%BC.txt",
            "inline; filename=\"_.txt\"; filename*=UTF-8''%C3%BC.txt".to_owned(),
        ),
        (
            "f/picture.png",
            "inline; filename=\"picture.png\"".to_owned(),
        ),
        (
            "f/drawing.svg",
            "attachment; filename=\"drawing.svg\"".to_owned(),
        ),
        (
            "exec",
            format!("attachment; filename=\"a b-{}.exec\"", named.uuid),
        ),
        (
            "all.tar.gz",
            format!("attachment; filename=\"a b-{}.tar.gz\"", named.uuid),
        ),
    ] {
        let answer = server.get(&format!("{url}/{path}"));
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(
            answer.header("content-disposition"),
            Some(disposition.as_str()),
            "{path}"
        );
    }
}

#[test]
fn a_part_of_a_file_is_sent_when_it_is_asked_for() {
    let server = Server::of(&[hello()]);
    let whole = content("bin/hello.hvt");
    let size = whole.len();
    for (range, first, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=65530-65545", 65_530, 65_546),
        ("bytes=299999-", 299_999, size),
        ("bytes=299990-999999", 299_990, size),
        ("bytes=-5", size - 5, size),
        ("bytes=-999999", 0, size),
        ("bytes=100-200000", 100, 200_001),
    ] {
        let answer = with(&server, "bin/hello.hvt", &[("range", range)]);
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.body == whole[first..end], "{range}");
        let expected = format!("bytes {first}-{}/{size}", end - 1);
        assert_eq!(answer.header("content-range"), Some(expected.as_str()));
        assert_eq!(
            answer.header("content-length"),
            Some((end - first).to_string().as_str())
        );
        assert_eq!(
            answer.header("etag"),
            Some(format!("\"{}\"", tag("bin/hello.hvt")).as_str())
        );
    }
}

#[test]
fn a_range_beyond_the_file_is_refused_with_its_size() {
    let server = Server::of(&[hello()]);
    for range in ["bytes=300000-", "bytes=900000-900001", "bytes=-0"] {
        let answer = with(&server, "bin/hello.hvt", &[("range", range)]);
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(
            answer.header("content-range"),
            Some("bytes */300000"),
            "{range}"
        );
    }
    assert_eq!(
        with(&server, "doc/empty", &[("range", "bytes=0-")]).status,
        416
    );
}

#[test]
fn several_ranges_or_one_that_makes_no_sense_give_the_whole_file() {
    let server = Server::of(&[hello()]);
    for range in [
        "bytes",
        "lines=0-1",
        "bytes=b-a",
        "bytes=5-1",
        "bytes=-",
        "bytes=0-1,5-6",
        "bytes=0-0,-1",
    ] {
        let answer = with(&server, "bin/hello.hvt", &[("range", range)]);
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 300_000),
            "{range}"
        );
    }
}

#[test]
fn a_download_is_resumed_only_if_it_is_still_the_same_file() {
    let server = Server::of(&[hello()]);
    let quoted = format!("\"{}\"", tag("bin/hello.hvt"));
    for (condition, status) in [
        (quoted.as_str(), 206),
        (format!("W/{quoted}").as_str(), 200),
        ("\"another\"", 200),
        ("Tue, 12 May 2026 04:12:33 GMT", 200),
    ] {
        let headers = [("range", "bytes=10-19"), ("if-range", condition)];
        assert_eq!(
            with(&server, "bin/hello.hvt", &headers).status,
            status,
            "{condition}"
        );
    }
}

#[test]
fn what_a_client_has_already_is_not_sent_again() {
    let server = Server::of(&[hello()]);
    let tag = tag("opam-switch");
    for known in [
        format!("\"{tag}\""),
        tag.clone(),
        format!("W/\"{tag}\""),
        format!("\"other\", \"{tag}\""),
        "*".to_owned(),
        format!("\"{tag}-gzip\""),
        format!("\"{tag}-zstd\""),
    ] {
        // The tag is that of what would have been sent.
        for (encoding, sent) in [("identity", ""), ("gzip", "-gzip"), ("zstd", "-zstd")] {
            let headers = [
                ("if-none-match", known.as_str()),
                ("accept-encoding", encoding),
            ];
            let answer = with(&server, "opam-switch", &headers);
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
            let sent = format!("\"{tag}{sent}\"");
            assert_eq!(answer.header("etag"), Some(sent.as_str()));
        }
    }
    let other = with(&server, "opam-switch", &[("if-none-match", "\"other\"")]);
    assert_eq!(other.status, 200);
}

#[test]
fn a_page_a_client_has_already_is_not_sent_again_until_something_is_uploaded() {
    let server = Server::of(&[hello()]);
    for target in [
        "/",
        "/all-builds",
        "/job/hello",
        hello().url().as_str(),
        "/failed-builds",
    ] {
        let first = server.get(target);
        let tag = first.header("etag").unwrap().to_owned();
        assert_eq!(first.header("cache-control"), Some("no-cache"), "{target}");
        for encoding in ["identity", "gzip", "zstd"] {
            let headers = [
                ("if-none-match", tag.as_str()),
                ("accept-encoding", encoding),
            ];
            assert_eq!(server.get_with(target, &headers).status, 304, "{target}");
        }
    }
    let tag = server.get("/").header("etag").unwrap().to_owned();
    server.keep(&build("other", 9).file("bin/x", "x"));
    assert_eq!(server.get_with("/", &[("if-none-match", &tag)]).status, 200);
    assert!(server.page("/").contains("/job/other"));
}

pub(crate) fn unpack(answer: &Answer) -> Vec<u8> {
    let mut out = Vec::new();
    match answer.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(&answer.body[..])
            .read_to_end(&mut out)
            .unwrap(),
        Some("zstd") => zstd::stream::read::Decoder::new(&answer.body[..])
            .unwrap()
            .read_to_end(&mut out)
            .unwrap(),
        other => panic!("packed as {other:?}"),
    };
    out
}

#[test]
fn a_large_console_is_not_read_for_who_asks_for_a_part_of_it_or_has_it() {
    let server = Server::of(&[hello()]);
    let target = format!("{}/console", hello().url());
    let before = server.get(&target);
    let tag = before.header("etag").unwrap().to_owned();
    let known = server.get_with(&target, &[("if-none-match", &tag)]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    // As large as one may be, many times: to read them all would take minutes.
    let path = walk(server.datadir(), "console.txt");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(1 << 30).unwrap();
    let address = server.listen();
    let begin = std::time::Instant::now();
    std::thread::scope(|scope| {
        for number in 0..64 {
            let (method, range, status) = match number % 2 {
                0 => ("HEAD", "bytes=0-0", 200),
                _ => ("GET", "bytes=1073741823-", 206),
            };
            let target = &target;
            scope.spawn(move || {
                let answer = exchange(address, method, target, &[("range", range)], b"");
                assert_eq!(answer.status, status);
                assert!(answer.body.len() <= 1);
            });
        }
        let other = build("other", 7).file("bin/x", "x");
        server.keep(&other);
    });
    assert!(begin.elapsed() < std::time::Duration::from_secs(20));
    // It is another one by now.
    let head = exchange(address, "HEAD", &target, &[("if-none-match", &tag)], b"");
    assert_eq!(head.status, 200);
    assert_ne!(head.header("etag"), Some(tag.as_str()));
}

/// The one file of this name.
fn walk(directory: &std::path::Path, name: &str) -> std::path::PathBuf {
    let output = crate::program::succeeds(directory, "find", &[".", "-name", name]);
    let found = String::from_utf8(output).unwrap();
    directory.join(found.trim())
}

#[test]
fn texts_are_packed_for_those_who_can_unpack_them() {
    let server = Server::of(&[hello()]);
    for path in ["opam-switch", "doc/page.html", "doc/notes.md"] {
        for encoding in ["gzip", "zstd"] {
            let answer = with(&server, path, &[("accept-encoding", encoding)]);
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-encoding"), Some(encoding), "{path}");
            assert!(unpack(&answer) == content(path), "{path}");
            assert!(answer.body.len() < content(path).len() / 2, "{path}");
            let expected = format!("\"{}-{encoding}\"", tag(path));
            assert_eq!(answer.header("etag"), Some(expected.as_str()));
            assert_eq!(answer.header("vary"), Some("accept-encoding"));
            assert_ne!(
                answer.header("content-length"),
                Some(content(path).len().to_string().as_str())
            );
        }
        let plain = with(&server, path, &[]);
        assert_eq!(plain.header("vary"), Some("accept-encoding"), "{path}");
        assert_eq!(plain.header("content-encoding"), None, "{path}");
    }
}

#[test]
fn pages_are_packed_for_those_who_can_unpack_them() {
    let server = Server::of(&[hello()]);
    for target in ["/", "/job/hello", hello().url().as_str()] {
        let plain = server.get(target);
        assert_eq!(
            plain.header("vary"),
            Some("accept, accept-encoding"),
            "{target}"
        );
        for encoding in ["gzip", "zstd"] {
            let packed = server.get_with(target, &[("accept-encoding", encoding)]);
            assert_eq!(
                packed.header("content-encoding"),
                Some(encoding),
                "{target}"
            );
            assert!(unpack(&packed) == plain.body, "{target}");
        }
    }
}

#[test]
fn a_binary_is_never_packed_and_a_part_of_a_text_neither() {
    let text_in_bin = build("text", 2).file("bin/script.txt", "aaaa".repeat(10_000));
    let server = Server::of(&[hello(), text_in_bin.clone()]);
    for target in [
        file("bin/hello.hvt"),
        format!("{}/f/bin/script.txt", text_in_bin.url()),
    ] {
        let answer = server.get_with(&target, &[("accept-encoding", "gzip, zstd, br")]);
        assert_eq!(answer.header("content-encoding"), None, "{target}");
    }
    let headers = [("accept-encoding", "gzip, zstd"), ("range", "bytes=0-9")];
    let part = with(&server, "opam-switch", &headers);
    assert_eq!((part.status, part.header("content-encoding")), (206, None));
    assert_eq!(part.text(), "a line of ");
}

#[test]
fn script_and_console_are_texts_with_ranges_and_tags_too() {
    let server = Server::of(&[hello()]);
    for (name, text) in [
        ("script", "#!/bin/sh\nmake\n"),
        ("console", "0.001s:+ make\n2.500s:done\n"),
    ] {
        let target = format!("{}/{name}", hello().url());
        let answer = server.get(&target);
        assert_eq!((answer.status, answer.text().as_str()), (200, text));
        assert_eq!(answer.header("content-type"), Some(TEXT));
        let tag = answer.header("etag").unwrap();
        // The same each time, whoever asks and for how much.
        let again = server.get_with(&target, &[("range", "bytes=1-2"), ("if-range", tag)]);
        assert_eq!((again.status, again.header("etag")), (206, Some(tag)));
        for known in [tag, tag.trim_matches('"')] {
            assert_eq!(
                server.get_with(&target, &[("if-none-match", known)]).status,
                304
            );
        }
        let part = server.get_with(&target, &[("range", "bytes=2-4")]);
        assert_eq!((part.status, part.text().as_str()), (206, &text[2..5]));
    }
}

#[test]
fn the_archive_holds_every_artifact_and_the_same_build_gives_the_same_archive() {
    let server = Server::of(&[hello()]);
    let target = format!("{}/all.tar.gz", hello().url());
    let answer = server.get(&target);
    assert_eq!(answer.header("content-type"), Some("application/tar+gzip"));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&answer.body[..]));
    let mut paths = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        assert!(bytes == content(&path), "{path}");
        assert_eq!(
            entry.header().mtime().unwrap(),
            hello().finish.unix_seconds().unsigned_abs()
        );
        paths.push(path);
    }
    assert_eq!(
        paths,
        [
            "bin/hello.hvt",
            "doc/empty",
            "doc/notes.md",
            "doc/page.html",
            "opam-switch"
        ]
    );
    assert!(server.get(&target).body == answer.body);
    let other = Server::of(&[build("else", 7), hello()]);
    assert!(other.get(&target).body == answer.body);
}

#[test]
fn an_artifact_whose_file_is_damaged_is_an_error_and_not_a_shorter_file() {
    let server = Server::of(&[hello()]);
    let path = server
        .app
        .store()
        .artifacts()
        .path(Sha256::of(&content("bin/hello.hvt")));
    std::fs::write(&path, "short").unwrap();
    assert_eq!(with(&server, "bin/hello.hvt", &[]).status, 500);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(with(&server, "bin/hello.hvt", &[]).status, 500);
    // The page of the build can do without.
    assert_eq!(server.get(&hello().url()).status, 200);
}

#[test]
fn downloads_over_a_socket_are_whole_and_have_their_length() {
    let server = Server::of(&[hello()]);
    let address = server.listen();
    for path in ["bin/hello.hvt", "opam-switch", "doc/empty"] {
        let answer = exchange(address, "GET", &file(path), &[], b"");
        assert!(
            answer.status == 200 && answer.body == content(path),
            "{path}"
        );
        assert_eq!(answer.header("transfer-encoding"), None);
        assert!(answer.header("content-length").is_some());
    }
    let packed = exchange(
        address,
        "GET",
        &file("opam-switch"),
        &[("accept-encoding", "gzip")],
        b"",
    );
    assert!(unpack(&packed) == content("opam-switch"));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_download_harms_nobody() {
    use std::io::Write;
    let big = build("big", 3).file("bin/big", noise(4_000_000));
    let server = Server::of(std::slice::from_ref(&big));
    let address = server.listen();
    for _ in 0..50 {
        let mut stream = crate::server::connect(address);
        let target = format!("{}/f/bin/big", big.url());
        stream
            .write_all(crate::server::head("GET", &target, &[]).as_bytes())
            .unwrap();
        let mut few = [0; 100];
        stream.read_exact(&mut few).unwrap();
    }
    let answer = exchange(
        address,
        "GET",
        &format!("{}/f/bin/big", big.url()),
        &[],
        b"",
    );
    assert!(answer.body == noise(4_000_000));
}

#[test]
fn a_build_is_sent_back_whatever_its_console_holds() {
    use builder_exec::{Limits, Part, Reader};
    let long = |mib: usize, more: usize| "y".repeat(mib * 1024 * 1024 + more);
    let line = |delta: i64, text: &str| (delta, text.to_owned());
    for (console, expected) in [
        (String::new(), vec![]),
        ("1.5s:a".to_owned(), vec![line(1_500_000_000, "a")]),
        (
            "no head\n0.001s:a\nno head\n\n0.002s:b\n".to_owned(),
            vec![
                line(0, "no head"),
                line(1_000_000, "a\nno head\n"),
                line(2_000_000, "b"),
            ],
        ),
        (
            "0.12345678\u{e9}s:a\n1s:b\n".to_owned(),
            vec![line(0, "0.12345678\u{e9}s:a"), line(1_000_000_000, "b")],
        ),
        (
            format!("1s:a\n2s:{}\n3s:{}\n4s:b\n", long(2, 100), long(3, 0)),
            vec![
                line(1_000_000_000, "a"),
                line(2_000_000_000, &long(2, 100)),
                line(3_000_000_000, &long(3, 0)),
                line(4_000_000_000, "b"),
            ],
        ),
    ] {
        let build = hello();
        let server = Server::of(std::slice::from_ref(&build));
        let kept = format!("hello/{}/console.txt", build.uuid);
        std::fs::write(server.datadir().join(kept), console).unwrap();
        let answer = server.get(&format!("{}/exec", build.url()));
        assert_eq!(answer.status, 200);
        let limits = Limits {
            console_line_bytes_max: 4 * 1024 * 1024,
            ..Limits::default()
        };
        let mut body = &answer.body[..];
        let mut reader = Reader::new(&mut body, limits);
        let mut lines = Vec::new();
        loop {
            match reader.next_part().unwrap() {
                Part::ConsoleLine { delta_ns, mut text } => {
                    let mut line = String::new();
                    text.read_to_string(&mut line).unwrap();
                    lines.insert(0, (delta_ns, line));
                }
                Part::End => break,
                _ => {}
            }
        }
        assert!(lines == expected);
    }
}

#[test]
fn a_head_request_is_answered_as_if_it_named_no_range() {
    let server = Server::of(&[hello()]);
    for range in ["bytes=0-9", "bytes=900000-", "bytes=0-1,5-6"] {
        let headers = [("range", range)];
        let answer = server.send("HEAD", &file("bin/hello.hvt"), &headers, "");
        assert_eq!(answer.status, 200, "{range}");
        assert_eq!(answer.header("content-length"), Some("300000"));
        assert_eq!(answer.header("content-range"), None);
        let console = format!("{}/console", hello().url());
        assert_eq!(server.send("HEAD", &console, &headers, "").status, 200);
    }
}

#[test]
fn not_modified_names_the_tag_of_what_would_have_been_sent() {
    let server = Server::of(&[hello()]);
    let tag = tag("opam-switch");
    for (headers, expected) in [
        (vec![("accept-encoding", "gzip")], format!("\"{tag}-gzip\"")),
        (vec![("accept-encoding", "zstd")], format!("\"{tag}-zstd\"")),
        (vec![], format!("\"{tag}\"")),
        (
            vec![("accept-encoding", "gzip"), ("range", "bytes=0-9")],
            format!("\"{tag}\""),
        ),
    ] {
        let sent = with(&server, "opam-switch", &headers);
        assert_eq!(sent.header("etag"), Some(expected.as_str()));
        let known = [&headers[..], &[("if-none-match", expected.as_str())]].concat();
        let answer = with(&server, "opam-switch", &known);
        assert_eq!(answer.status, 304, "{headers:?}");
        assert_eq!(answer.header("etag"), Some(expected.as_str()));
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
    }
}

#[test]
fn an_archive_that_a_client_has_is_not_made_again() {
    let server = Server::of(&[hello(), hello_again()]);
    let target = format!("{}/all.tar.gz", hello().url());
    let answer = server.get(&target);
    assert_eq!(answer.header("accept-ranges"), Some("none"));
    let tag = answer.header("etag").unwrap();
    let known = server.get_with(&target, &[("if-none-match", tag)]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(known.header("etag"), Some(tag));
    // The same files in a build that ended at another time are another archive.
    let other = format!("{}/all.tar.gz", hello_again().url());
    let other = server.get_with(&other, &[("if-none-match", tag)]);
    assert_eq!(other.status, 200);
    assert_ne!(other.header("etag"), Some(tag));
    let exec = server.get(&format!("{}/exec", hello().url()));
    assert_eq!(exec.header("accept-ranges"), Some("none"));
}

fn hello_again() -> Build {
    let mut again = hello().later(60);
    again.uuid = build("hello", 2).uuid;
    again
}
