//! Artifacts that a disk has damaged: whatever way they are asked for, nobody gets one that could
//! be taken for the whole.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use builder_store::Sha256;

use crate::build::{Build, build, noise};
use crate::program::succeeds;
use crate::server::{Server, connect, exchange, head, wait_until};

const BIG: usize = 3_000_000;

/// With a large and a small binary and a large text.
fn hello() -> Build {
    build("hello", 1)
        .file("bin/big", noise(BIG))
        .file("bin/small", "small")
        .file("text.txt", "All work and no play.\n".repeat(20_000))
}

fn place(server: &Server, content: &[u8]) -> PathBuf {
    let artifacts = server.app.store().artifacts();
    artifacts.path(Sha256::of(content))
}

/// Turns one bit around, as a disk does: no time of the file changes that can be set back.
fn flip(server: &Server, content: &[u8], at: usize) {
    let path = place(server, content);
    let before = server.datadir().join("before");
    succeeds(
        server.datadir(),
        "touch",
        &["-r", path.to_str().unwrap(), "before"],
    );
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[content[at] ^ 0x10], u64::try_from(at).unwrap())
        .unwrap();
    succeeds(
        server.datadir(),
        "touch",
        &["-r", "before", path.to_str().unwrap()],
    );
    fs::remove_file(before).unwrap();
}

fn mend(server: &Server, content: &[u8]) {
    fs::write(place(server, content), content).unwrap();
}

/// A file whose first byte nobody gets before all of it was compared takes a place, and there are
/// others for who asks for something else.
#[test]
fn who_asks_for_parts_of_many_large_artifacts_makes_nobody_else_wait() {
    const LARGE: usize = 40;
    let server = Server::with(|config| {
        config.limits.place_wait_time_max = Duration::from_millis(200);
        config.limits.dear_per_client_max = 4;
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    });
    let content = |number: usize| {
        let mut content = noise(4_000_000);
        content[0] = u8::try_from(number).unwrap();
        content
    };
    let mut large = build("large", 1);
    for number in 0..LARGE {
        large = large.file(&format!("bin/{number}"), content(number));
    }
    let small = build("small", 2).file("bin/x", "small");
    server.keep(&large);
    server.keep(&small);
    let address = server.listen();
    let get = |target: String, from: &str, range: &str| {
        let headers = [("range", range), ("x-forwarded-for", from)];
        exchange(address, "GET", &target, &headers, b"")
    };
    let statuses = std::thread::scope(|scope| {
        let crawler: Vec<_> = (0..LARGE)
            .map(|number| {
                let target = format!("{}/f/bin/{number}", large.url());
                scope.spawn(move || get(target, "192.0.2.66", "bytes=0-0").status)
            })
            .collect();
        for other in 1..20 {
            let from = format!("192.0.2.{other}");
            let answer = get(format!("{}/f/bin/x", small.url()), &from, "bytes=1-2");
            assert_eq!((answer.status, &*answer.body), (206, b"ma".as_slice()));
        }
        let statuses = crawler.into_iter().map(|one| one.join().unwrap());
        statuses.collect::<Vec<u16>>()
    });
    assert!(statuses.contains(&206), "{statuses:?}");
    assert!(statuses.contains(&503), "{statuses:?}");
    assert!(statuses.iter().all(|status| [206, 503].contains(status)));
    // And it is over when it is over.
    let again = get(
        format!("{}/f/bin/0", large.url()),
        "192.0.2.66",
        "bytes=0-0",
    );
    assert_eq!((again.status, &*again.body), (206, [0].as_slice()));
    wait_until("nobody has a place or waits for one", || {
        let queues = server.app.queues();
        let taken = queues.iter().map(|(_, queue)| queue.taken + queue.waiting);
        taken.sum::<usize>() == 0
    });
}

/// Everything that comes over the connection: the head, and what there is of the body. Nothing of
/// either where it was broken off before the head had left.
pub(crate) fn raw(
    address: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
) -> (String, Vec<u8>) {
    let mut stream = connect(address);
    let all = [&[("connection", "close")], headers].concat();
    stream
        .write_all(head("GET", target, &all).as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = answer.split_off(end.map_or(0, |end| end + 4));
    assert!(end.is_some() || body.is_empty(), "half a head");
    (String::from_utf8(answer).unwrap(), body)
}

#[test]
fn a_flipped_bit_is_never_sent_as_if_the_file_were_whole() {
    let hello = hello();
    let server = Server::of(std::slice::from_ref(&hello));
    let address = server.listen();
    let content = noise(BIG);
    let target = format!("{}/f/bin/big", hello.url());
    let get = |headers: &[(&str, &str)]| exchange(address, "GET", &target, headers, b"");
    for (number, at) in [0, 70_000, BIG / 2, BIG - 1].into_iter().enumerate() {
        // Found whole a moment ago, or not.
        if number % 2 == 1 {
            assert!(get(&[]).body == content);
        }
        flip(&server, &content, at);
        let (head, body) = raw(address, &target, &[]);
        assert!(
            head.contains(&format!("content-length: {BIG}\r\n")),
            "{head}"
        );
        assert!(body.len() < BIG, "{} bytes came", body.len());
        assert!(!body.is_empty() && !body.starts_with(&content));
        // From then on it is said in words.
        for headers in [&[][..], &[("range", "bytes=5-9")]] {
            let answer = get(headers);
            assert_eq!(answer.status, 500, "{at}");
            let said = answer.text();
            assert!(
                said.contains("damaged") && said.contains("verify-data-dir --repair"),
                "{said}"
            );
        }
        mend(&server, &content);
        assert!(get(&[]).body == content, "{at}");
    }
}

#[test]
fn a_part_of_a_damaged_file_is_not_sent_even_if_that_part_is_good() {
    let hello = hello();
    let server = Server::of(std::slice::from_ref(&hello));
    let content = noise(BIG);
    let target = format!("{}/f/bin/big", hello.url());
    let part = || server.get_with(&target, &[("range", "bytes=5-9")]);
    assert_eq!(part().body, content[5..10]);
    flip(&server, &content, BIG - 1);
    assert_eq!(part().status, 500);
    assert_eq!(server.get(&target).status, 500);
    mend(&server, &content);
    let answer = part();
    assert_eq!((answer.status, &*answer.body), (206, &content[5..10]));
}

#[test]
fn a_small_file_that_is_damaged_is_answered_with_what_to_do() {
    let hello = hello();
    let server = Server::of(std::slice::from_ref(&hello));
    let target = format!("{}/f/bin/small", hello.url());
    flip(&server, b"small", 2);
    let answer = server.get_with(&target, &[("accept", "application/json")]);
    assert_eq!(answer.status, 500);
    let said = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(
        said.contains("builder-db verify-data-dir --repair"),
        "{said}"
    );
    mend(&server, b"small");
    assert_eq!(server.get(&target).text(), "small");
}

#[test]
fn packed_texts_are_refused_and_archives_and_builds_with_a_damaged_file_have_no_end() {
    let hello = hello();
    let server = Server::of(std::slice::from_ref(&hello));
    let address = server.listen();
    let text = &hello.files[2].1;
    for (number, encoding) in ["gzip", "zstd"].into_iter().enumerate() {
        flip(&server, text, text.len() - 1 - number);
        let target = format!("{}/f/text.txt", hello.url());
        let get = || server.get_with(&target, &[("accept-encoding", encoding)]);
        assert_eq!(get().status, 500, "{encoding}");
        mend(&server, text);
        assert_eq!(get().header("content-encoding"), Some(encoding));
    }
    let archive = format!("{}/all.tar.gz", hello.url());
    let exec = format!("{}/exec", hello.url());
    let (_, whole) = raw(address, &archive, &[]);
    assert!(whole.ends_with(b"0\r\n\r\n"));
    let whole = exchange(address, "GET", &exec, &[], b"").body.len();
    // The last bit of the last one in each: all before it has been sent by then.
    for content in [text.as_slice(), b"small", &noise(BIG)] {
        flip(&server, content, content.len() - 1);
        let (_, body) = raw(address, &archive, &[]);
        assert!(!body.ends_with(b"0\r\n\r\n"), "it has an end");
        let (head, body) = raw(address, &exec, &[]);
        let length = format!("content-length: {whole}\r\n");
        assert!(head.is_empty() || head.contains(&length), "{head}");
        assert!(body.len() < whole, "{} of {whole}", body.len());
        mend(&server, content);
    }
}

#[test]
fn a_file_that_is_gone_or_of_another_length_is_an_error_in_every_form() {
    let hello = hello();
    let server = Server::of(std::slice::from_ref(&hello));
    let content = noise(BIG);
    let path = place(&server, &content);
    let target = format!("{}/f/bin/big", hello.url());
    for damage in [
        Some(&content[..BIG - 1]),
        Some(&[&content, &b"x"[..]].concat()),
        None,
    ] {
        match damage {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        for headers in [&[][..], &[("range", "bytes=0-9")]] {
            assert_eq!(server.get_with(&target, headers).status, 500);
        }
        // What is said of it elsewhere needs no file.
        assert_eq!(server.get(&hello.url()).status, 200);
        mend(&server, &content);
        assert_eq!(server.get(&target).status, 200);
    }
}

#[test]
fn a_picture_of_a_damaged_file_says_so_as_its_download_does() {
    let debug = crate::local_files::debug_binary(4096);
    let other = crate::local_files::debug_binary(8192);
    let of = |number, debug: &[u8]| {
        build("hello", number)
            .file("bin/hello", format!("stripped {number}"))
            .file("hello.debug", debug)
    };
    let builds = [of(1, &debug), of(2, &other)];
    // None is drawn before it is asked for.
    let server = Server::with(|config| config.limits.drawings_waiting_max = 0);
    builds.iter().for_each(|build| server.keep(build));
    flip(&server, &debug, debug.len() / 2);
    let json = [("accept", "application/json")];
    let download = server.get_with(&format!("{}/f/hello.debug", builds[0].url()), &json);
    assert_eq!(download.status, 500);
    let (uuid, pair) = (
        builds[0].uuid,
        format!("{}/{}", builds[0].uuid, builds[1].uuid),
    );
    for target in [
        format!("/job/hello/build/{uuid}/viztreemap"),
        format!("/compare/{pair}/viztreemap"),
        format!("/api/v1/compare/{pair}/treemap"),
    ] {
        let answer = server.get_with(&target, &json);
        assert_eq!(answer.status, 500, "{target}");
        assert_eq!(answer.json()["error"], download.json()["error"], "{target}");
    }
    mend(&server, &debug);
    assert_eq!(
        server.get(&format!("/compare/{pair}/viztreemap")).status,
        200
    );
}

#[test]
fn nothing_is_said_of_a_damaged_file_as_if_it_were_the_one_that_was_uploaded() {
    let builds = [1, 2].map(|number| {
        build("hello", number)
            .later(i64::try_from(number).unwrap())
            .file("bin/x", format!("binary {number}").repeat(100))
            .file("build-environment", format!("A={number}"))
            .file("system-packages", "x=1")
    });
    let server = Server::of(&builds);
    flip(&server, b"A=2", 2);
    let binary = &builds[1].files[0].1;
    flip(&server, binary, 1);
    let page = server.page(&format!("/compare/{}/{}", builds[0].uuid, builds[1].uuid));
    assert!(
        page.contains("build-environment of the right build cannot be read"),
        "{page}"
    );
    assert!(
        page.contains(&format!("the file {} cannot be read", Sha256::of(binary))),
        "{page}"
    );
}
