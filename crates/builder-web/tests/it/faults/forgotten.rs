//! A disk that has forgotten a bit of a file: nothing of the file tells, none of its times. Whoever
//! asks, and in whatever form, the bit is found before its piece is sent.

use std::fs;
use std::path::PathBuf;

use builder_store::Sha256;

use crate::build::{Build, build, noise};
use crate::damaged::raw;
use crate::program::Process;
use crate::server::Answer;

use super::machine::{Fault, Machine, errno, kind};
use super::uploads::{get, is_clean, upload};

/// Of five pieces and a part of one.
const BIG: usize = 350_000;
const PIECE: usize = 64 * 1024;
const TEXT: &str = "All work and no play.\n";

fn hello() -> Build {
    build("hello", 1)
        .input("x")
        .file("bin/big", noise(BIG))
        .file("bin/small", "small")
        .file("text.txt", TEXT.repeat(20_000))
}

struct Disk {
    machine: Machine,
    hello: Build,
}

impl Disk {
    fn new() -> Disk {
        let machine = Machine::new();
        let hello = hello();
        assert_eq!(upload(&machine.serve(&[]), &hello).status, 201);
        Disk { machine, hello }
    }

    fn url(&self, below: &str) -> String {
        format!("{}/{below}", self.hello.url())
    }

    fn content(&self, path: &str) -> &[u8] {
        let (_, content) = self
            .hello
            .files
            .iter()
            .find(|(of, _)| of == path.as_bytes())
            .unwrap();
        content
    }

    fn place(&self, path: &str) -> PathBuf {
        let name = Sha256::of(self.content(path)).to_hex();
        let artifacts = self.machine.datadir().join("_artifacts");
        artifacts.join(&name[..2]).join(name)
    }

    fn forget(&self, path: &str, at: usize) {
        self.machine.forget(&self.place(path), at);
    }

    /// A server that has found every artifact whole.
    fn serve(&self) -> Process {
        self.machine.remember();
        let process = self.machine.serve(&[]);
        for (path, content) in &self.hello.files {
            let path = std::str::from_utf8(path).unwrap();
            assert!(get(&process, &self.url(&format!("f/{path}"))).body == *content);
        }
        process
    }
}

/// An answer that began so, or was broken off before its head had left.
#[track_caller]
fn begins(head: &str, with: &str) {
    assert!(head.is_empty() || head.starts_with(with), "{head}");
}

#[track_caller]
fn says_damaged(answer: &Answer) {
    assert_eq!(answer.status, 500, "{}", answer.text());
    let said = answer.text();
    assert!(said.contains("verify-data-dir --repair"), "{said}");
}

#[test]
fn a_forgotten_bit_is_found_before_its_piece_is_sent() {
    let disk = Disk::new();
    let content = disk.content("bin/big");
    let url = disk.url("f/bin/big");
    for at in [PIECE, 2 * PIECE - 1, BIG / 2, BIG - 1] {
        let process = disk.serve();
        disk.forget("bin/big", at);
        let (head, body) = raw(process.address, &url, &[]);
        begins(&head, "HTTP/1.1 200");
        assert!(body.len() <= at / PIECE * PIECE, "{} of {at}", body.len());
        assert!(content.starts_with(&body), "{at}");
        // From then on it is said in words.
        says_damaged(&get(&process, &url));
    }
    // In the first piece there is nothing to be broken off.
    let process = disk.serve();
    disk.forget("bin/big", 17);
    says_damaged(&get(&process, &url));
    disk.machine.remember();
    is_clean(&disk.machine);
}

#[test]
fn parts_are_sent_of_pieces_that_are_whole_and_of_no_others() {
    let disk = Disk::new();
    let content = disk.content("bin/big");
    let url = disk.url("f/bin/big");
    let at = 3 * PIECE + 100;
    let process = disk.serve();
    disk.forget("bin/big", at);
    let part = |begin: usize, end: usize| {
        let range = format!("bytes={begin}-{}", end - 1);
        raw(process.address, &url, &[("range", &range)])
    };
    for (begin, end) in [
        (0, 1),
        (5, 3 * PIECE),
        (PIECE - 1, PIECE + 1),
        (4 * PIECE, BIG),
    ] {
        let (head, body) = part(begin, end);
        assert!(head.starts_with("HTTP/1.1 206"), "{head}");
        assert_eq!(body, content[begin..end], "{begin}-{end}");
    }
    // Begun before it, broken off before it.
    let (head, body) = part(PIECE + 7, BIG);
    begins(&head, "HTTP/1.1 206");
    assert!(body.len() <= 2 * PIECE - 7, "{}", body.len());
    assert!(content[PIECE + 7..].starts_with(&body));
    // In its piece, even beside it.
    for (begin, end) in [(at, at + 1), (3 * PIECE, 3 * PIECE + 1)] {
        let process = disk.serve();
        disk.forget("bin/big", at);
        let range = format!("bytes={begin}-{}", end - 1);
        let (head, body) = raw(process.address, &url, &[("range", &range)]);
        assert!(head.starts_with("HTTP/1.1 500"), "{head}");
        assert!(String::from_utf8(body).unwrap().contains("damaged"));
    }
}

#[test]
fn small_files_are_refused_and_what_is_made_of_a_forgetful_one_has_no_end() {
    let disk = Disk::new();
    let process = disk.serve();
    disk.forget("bin/small", 4);
    says_damaged(&get(&process, &disk.url("f/bin/small")));
    for encoding in ["gzip", "zstd"] {
        let process = disk.serve();
        let packed = || {
            let headers = [("accept-encoding", encoding)];
            raw(process.address, &disk.url("f/text.txt"), &headers)
        };
        let (head, whole) = packed();
        assert!(head.contains(&format!("content-encoding: {encoding}")));
        assert!(whole.ends_with(b"0\r\n\r\n"));
        disk.forget("text.txt", TEXT.len() * 20_000 - 1);
        let (head, body) = packed();
        begins(&head, "HTTP/1.1 200");
        assert!(!body.ends_with(b"0\r\n\r\n"), "it has an end");
    }
    for path in ["bin/big", "bin/small", "text.txt"] {
        let process = disk.serve();
        let (_, archive) = raw(process.address, &disk.url("all.tar.gz"), &[]);
        assert!(archive.ends_with(b"0\r\n\r\n"));
        let exec = get(&process, &disk.url("exec")).body.len();
        disk.forget(path, disk.content(path).len() - 1);
        let (_, body) = raw(process.address, &disk.url("all.tar.gz"), &[]);
        assert!(!body.ends_with(b"0\r\n\r\n"), "{path}: it has an end");
        let (head, body) = raw(process.address, &disk.url("exec"), &[]);
        let length = format!("content-length: {exec}\r\n");
        assert!(head.is_empty() || head.contains(&length), "{head}");
        assert!(body.len() < exec, "{path}: {} of {exec}", body.len());
    }
}

#[test]
fn nothing_is_drawn_compared_or_read_out_of_a_forgetful_file() {
    let disk = Disk::new();
    let other = build("hello", 2).later(1).input("y");
    {
        let process = disk.serve();
        assert_eq!(upload(&process, &other).status, 201);
    }
    // What was drawn and derived after the upload is not at hand any more.
    let datadir = disk.machine.datadir();
    let forget_derived = || {
        let _drawn = fs::remove_dir_all(datadir.join("_cache/builder-web"));
        for file in [
            "builder-web.sqlite3",
            "builder-web.sqlite3-wal",
            "builder-web.sqlite3-shm",
        ] {
            let _derived = fs::remove_file(datadir.join(file));
        }
    };
    let picture = disk.url("vizdependencies");
    let compare = format!("/compare/{}/{}", disk.hello.uuid, other.uuid);
    disk.forget("opam-switch", 3);
    forget_derived();
    let process = disk.machine.serve(&[]);
    assert_eq!(get(&process, &picture).status, 500);
    let page = get(&process, &compare);
    assert!(
        page.text()
            .contains("opam-switch of the left build cannot be read"),
        "{}",
        page.text()
    );
    drop(process);
    disk.machine.remember();
    forget_derived();
    let process = disk.machine.serve(&[]);
    assert_eq!(get(&process, &picture).status, 200);
    assert!(!get(&process, &compare).text().contains("cannot be read"));
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_not_sent_as_if_it_could() {
    let disk = Disk::new();
    let content = disk.content("bin/big");
    let url = disk.url("f/bin/big");
    let process = disk.serve();
    let whole = |body: &[u8]| body == content;
    let mut cut = 0;
    for read in 1..100 {
        let fault = Fault {
            kinds: kind::READ,
            error: errno::EIO,
            count: 1,
        };
        disk.machine.fail(fault, read);
        let (head, body) = raw(process.address, &url, &[]);
        let failed = disk.machine.mend();
        let sent = !head.starts_with("HTTP/1.1 500");
        assert!(!sent || head.is_empty() || head.starts_with("HTTP/1.1 200"));
        assert!(!sent || content.starts_with(&body), "read {read}");
        cut += usize::from(!sent || !whole(&body));
        if failed == 0 {
            assert!(whole(&body));
            break;
        }
    }
    assert!(cut > 0);
    assert!(whole(&raw(process.address, &url, &[]).1));
}
