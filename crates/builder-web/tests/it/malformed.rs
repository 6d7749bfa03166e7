//! Thousands of uploads that are none, at a server that runs and takes in good ones meanwhile:
//! what the fuzz targets begin with, and builds with bytes changed, cut out, doubled, or swapped.
//!
//! BUILDER_WEB_MALFORMED says how many are to be refused; what is printed at the end are the figures.
//! What earlier runs of the fuzz targets found is begun with, too, where it is there:
//!
//!     BUILDER_WEB_MALFORMED=10000 cargo nextest run -p builder-web malformed --no-capture

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;

use crate::build::{Build, build, noise, switch};
use crate::carry::{db, empty};
use crate::interrupted::Random;
use crate::program::Process;
use crate::server::{basic, connect, exchange, head};

/// Uploads that are refused, if the environment does not say another number.
const REFUSED: u64 = 400;
/// After each so many a good build is uploaded.
const GOOD_EACH: u64 = 50;
const USER: (&str, &str) = ("builder", "pw");
/// By how much the server may grow from when half of the uploads were refused to when all were. In the
/// first half caches fill, and the allocator finds out how much is needed at a time.
const GROWTH_BYTES_MAX: u64 = 1024 * 1024;
/// And more for each upload in that time: one in fifteen is a build after all, and SQLite's caches fill.
const GROWTH_BYTES_EACH: u64 = 100;
/// How often its memory is looked at.
const LOOKS: usize = 100;
/// Characters of an answer that say which it is.
const KIND_CHARS: usize = 72;

/// What the mutations begin with.
fn seeds() -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let corpus = fuzz.join("corpus");
    let mut seeds = Vec::new();
    for target in ["exec_reader", "upload"] {
        let found = fs::read_dir(fuzz.join("target/corpus").join(target));
        for entry in found.into_iter().flatten() {
            seeds.push(fs::read(entry.unwrap().path()).unwrap());
        }
    }
    for target in ["exec_reader", "upload", "opam", "archives", "solo5"] {
        for entry in fs::read_dir(corpus.join(target)).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            // What is no build is a file of one.
            if !["exec_reader", "upload"].contains(&target) {
                let carrier = build("seed", seeds.len() as u128)
                    .file("bin/x", &bytes)
                    .file("opam-switch", &bytes)
                    .file("README.md", &bytes);
                seeds.push(carrier.exec());
            }
            seeds.push(bytes);
        }
    }
    let real = build("seed", 1000)
        .input("i")
        .file("bin/x.hvt", noise(30_000))
        .file("README.md", "# x")
        .file("opam", switch("x", "", "s"));
    seeds.push(real.exec());
    seeds
}

/// Changes some bytes somewhere.
fn mutate(random: &mut Random, seeds: &[Vec<u8>], mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        let at = random.index(bytes.len());
        let length_max = if random.below(4) == 0 { 2000 } else { 12 };
        let length = random.index(length_max);
        let end = (at + length).min(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let doubled = bytes[at..end].to_vec();
                bytes.splice(at..at, doubled);
            }
            3 => {
                let other = &seeds[random.index(seeds.len())];
                let from = random.index(other.len());
                let to = (from + length).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            4 => {
                // A length beyond all there is.
                let long = [0x84, 0xff, 0xff, 0xff, 0xff];
                bytes.splice(at..(at + 1).min(bytes.len()), long);
            }
            5 => bytes[at..end].fill(b'\0'),
            _ => {
                for byte in &mut bytes[at..end] {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

/// Gives a build another uuid, where it still has one: once its own is kept, no other upload would get
/// beyond that.
fn give_uuid(random: &mut Random, body: &mut [u8]) {
    const HEAD: [u8; 2] = [0x0c, 16];
    let Some(at) = body
        .windows(HEAD.len() + 16)
        .position(|some| some.starts_with(&HEAD))
    else {
        return;
    };
    for byte in &mut body[at + HEAD.len()..][..16] {
        *byte = u8::try_from(random.below(256)).unwrap();
    }
}

/// What an answer says, without what is different in each.
fn kind(text: &str) -> String {
    let mut kind = String::new();
    for char in text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(KIND_CHARS)
    {
        match char {
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            char if char.is_ascii_graphic() || char == ' ' => kind.push(char),
            _ => kind.push('.'),
        }
    }
    // Names and paths are those of the upload.
    match kind.find(['"', '\'']) {
        Some(quote) => kind[..quote].to_owned(),
        None => kind,
    }
}

/// Sends a body, at times with another length than it has; the answer, if there was one: its status
/// and what it says.
fn send(process: &Process, body: &[u8], announced: usize) -> Option<(u16, String)> {
    let (length, user) = (announced.to_string(), basic(USER));
    let headers = [
        ("connection", "close"),
        ("content-length", &length),
        ("authorization", &user),
    ];
    let mut stream = connect(process.address);
    let mut request = head("POST", "/upload", &headers).into_bytes();
    request.extend(body);
    // The server may have enough before all is sent.
    let _cut = stream.write_all(&request);
    let _cut = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _cut = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let (_, text) = answer.split_once("\r\n\r\n")?;
    Some((status, text.to_owned()))
}

/// By how much a process has grown in the second half of these looks at its memory: from around the
/// middle of them to their end. A single look may be in the middle of an upload.
fn growth(memory: &[u64]) -> u64 {
    let median = |looks: &[u64]| {
        let mut looks = looks.to_vec();
        looks.sort_unstable();
        looks[looks.len() / 2]
    };
    let part = memory.len() / 10;
    let middle = memory.len() / 2;
    let before = median(&memory[middle - part / 2..=middle + part / 2]);
    median(&memory[memory.len() - part..]).saturating_sub(before)
}

fn growth_max(uploads: u64) -> u64 {
    GROWTH_BYTES_MAX + uploads / 2 * GROWTH_BYTES_EACH
}

#[test]
fn a_leak_of_some_hundred_bytes_for_each_of_many_uploads_is_growth() {
    let looks = |uploads: u64, leak: u64| -> Vec<u64> {
        // An upload may be in memory at each third look; caches are full after a third.
        let look = |percent: u64| {
            let cached = percent.min(33) * 300_000;
            30_000_000 + cached + (percent % 3) / 2 * 4_000_000 + uploads * leak * percent / 100
        };
        (0..100).map(look).collect()
    };
    assert_eq!(growth(&looks(10_000, 0)), 0);
    assert!(growth(&looks(10_000, 100)) < growth_max(10_000));
    assert!(growth(&looks(10_000, 400)) > growth_max(10_000));
    assert!(growth(&looks(REFUSED, 7_000)) > growth_max(REFUSED));
}

/// Bytes in memory, of no file, and open files of a process.
fn held(process: &Process) -> (u64, usize) {
    let of = |name: &str| format!("/proc/{}/{name}", process.id());
    let status = fs::read_to_string(of("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    let files = fs::read_dir(of("fd")).unwrap().count();
    (kib.parse::<u64>().unwrap() * 1024, files)
}

fn good(number: u64) -> Build {
    build("good", 0xa000_0000 + u128::from(number))
        .later(i64::try_from(number).unwrap())
        .file("bin/x", format!("binary {number}").repeat(1000))
}

#[test]
fn malformed_uploads_are_refused_and_nothing_is_lost_leaked_or_left() {
    let refused_min = std::env::var("BUILDER_WEB_MALFORMED");
    let refused_min = refused_min.map_or(REFUSED, |refused| refused.parse().unwrap());
    let (_holder, data, _) = empty();
    let process = Process::serve(
        Path::new(&data),
        &["--log-level", "warn,builder_web::cli=info"],
    );
    let seeds = seeds();
    let mut random = Random::new();
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let mut unanswered = 0;
    let mut kept = Vec::new();
    let mut begun = None;
    let mut looks = Vec::new();
    let (mut uploads, mut refused) = (0, 0);
    while refused < refused_min {
        let number = uploads;
        uploads += 1;
        if refused >= refused_min / 10 && begun.is_none() {
            begun = Some(held(&process));
        }
        let done = usize::try_from(refused * LOOKS as u64 / refused_min).unwrap();
        if done >= looks.len() {
            looks.push(held(&process).0);
        }
        if number % GOOD_EACH == 0 {
            let good = good(number);
            let exec = good.exec();
            let answer = send(&process, &exec, exec.len());
            assert_eq!(answer.map(|(status, _)| status), Some(201), "{number}");
            kept.push(good);
        }
        let seed = seeds[random.index(seeds.len())].clone();
        let mut body = mutate(&mut random, &seeds, seed);
        give_uuid(&mut random, &mut body);
        let announced = match random.below(10) {
            0 => body.len() + 1 + random.index(100),
            1 => random.index(body.len()),
            _ => body.len(),
        };
        match send(&process, &body, announced) {
            Some((status, text)) => {
                refused += u64::from(status != 201);
                *statuses.entry(status).or_default() += 1;
                *ends.entry(format!("{status} {}", kind(&text))).or_default() += 1;
            }
            None => unanswered += 1,
        }
    }
    let (memory_before, files_before) = begun.unwrap();
    let (memory, files) = held(&process);
    println!(
        "{refused} of {uploads} refused, beside {} good ones; answers {statuses:?}, none to {unanswered}; \
         memory {} KiB after a tenth, {} KiB at the end, {} KiB more in the second half; \
         open files {files_before}, {files}",
        kept.len(),
        memory_before / 1024,
        memory / 1024,
        growth(&looks) / 1024
    );
    let mut told: Vec<(&String, &u64)> = ends.iter().collect();
    told.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (end, count) in told {
        println!("{count:7}  {end}");
    }
    let known = [201, 400, 403, 408, 409, 413];
    assert!(
        statuses.keys().all(|status| known.contains(status)),
        "{statuses:?}"
    );
    assert!(statuses[&400] > uploads / 2, "{statuses:?}");
    // They get far: some are builds still, few are refused for their uuid alone, and the others end
    // in many places.
    let count = |status: u16| statuses.get(&status).copied().unwrap_or_default();
    assert!(count(201) >= uploads / 50, "{statuses:?}");
    assert!(count(409) <= uploads / 50, "{statuses:?}");
    assert!(ends.len() >= 10, "{ends:?}");
    // Who announces more than is sent hangs up; nobody else is left without an answer.
    assert!(unanswered <= uploads / 5, "{unanswered}");
    assert!(growth(&looks) <= growth_max(refused), "{looks:?}");
    assert!(files <= files_before + 16, "{files_before} {files}");
    for good in &kept {
        let target = format!("{}/f/bin/x", good.url());
        let answer = exchange(process.address, "GET", &target, &[], b"");
        assert!(
            answer.status == 200 && answer.body == good.files[0].1,
            "{target}"
        );
    }
    let log = process.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    db(0, &["verify-data-dir", "-d", &data]);
    let staging = fs::read_dir(Path::new(&data).join("_staging")).unwrap();
    assert_eq!(staging.count(), 0);
}
