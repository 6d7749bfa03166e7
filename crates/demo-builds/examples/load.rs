//! Puts a server under load and says how long answers took; `scripts/bench-load` runs it.
//!
//! `load ADDRESS SECONDS READERS PAUSE PAGES UPLOADERS CREDENTIALS BUILD MARK CONTENTS DOWNLOADERS FILES`
//!
//! - PAGES and FILES are files of targets, one a line. Before a page stands what it is counted as; a
//!   `#` after it asks for JSON.
//! - BUILD is an exec file. Its uuid, the 16 bytes after the first MARK, is another one in each
//!   upload, and its times of day are; the 8 bytes after the second MARK make CONTENTS different
//!   contents, in turn.
//! - CREDENTIALS are for `Authorization: Basic`.
//!
//! A reader looks at a page for PAUSE milliseconds on average, the others send their next request as
//! soon as they have read the answer to the last: each from an address of its own, as a proxy would
//! tell it. Prints a line for each kind: its name, how many answers
//! there were, and the median, 90 %, 99 %, 99.9 % and longest time in ms; then errors.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An answer that takes longer is an error.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// A time in an exec file, and where in it the time of day begins.
const TIME: &[u8] = b"\x18\x0f00000000000000Z";
const TIME_OF_DAY: usize = 10;
/// Errors that are printed; all are counted.
const ERRORS_SHOWN: usize = 20;

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<String>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Plan {
    address: String,
    end: Instant,
    /// How long a reader looks at a page, in milliseconds on average.
    pause: u64,
    pages: Vec<(String, String)>,
    files: Vec<String>,
    credentials: String,
    build: Vec<u8>,
    uuid_at: usize,
    content_at: usize,
    /// Where the times of day are in its two times.
    times_at: [usize; 2],
    contents: u64,
    uploaded: AtomicU64,
}

/// Times by what was asked for, and what went wrong.
#[derive(Default)]
struct Log {
    times: BTreeMap<String, Vec<Duration>>,
    errors: Vec<String>,
}

impl Log {
    fn note(&mut self, kind: &str, target: &str, begin: Instant, answer: io::Result<u16>) {
        match answer {
            Ok(200..=399) => {
                let times = self.times.entry(kind.to_owned()).or_default();
                times.push(begin.elapsed());
            }
            Ok(status) => self.errors.push(format!("{status} for {target}")),
            Err(error) => self.errors.push(format!("{error} for {target}")),
        }
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    let [
        address,
        seconds,
        readers,
        pause,
        pages,
        uploaders,
        credentials,
        build,
        mark,
        contents,
        downloaders,
        files,
    ] = arguments
    else {
        return Err(io::Error::other("twelve arguments are needed"));
    };
    let number = |text: &String| text.parse::<u64>().map_err(io::Error::other);
    let build = fs::read(build)?;
    let mark = mark.as_bytes();
    let mut marks = build
        .windows(mark.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == mark)
        .map(|(at, _)| at + mark.len());
    let (Some(uuid_at), Some(content_at)) = (marks.next(), marks.next()) else {
        return Err(io::Error::other("the build has no two marks"));
    };
    let mut times = build.windows(TIME.len()).enumerate().filter(|(_, bytes)| {
        let like = |(byte, like): (&u8, &u8)| match like {
            b'0' => byte.is_ascii_digit(),
            _ => byte == like,
        };
        bytes.iter().zip(TIME).all(like)
    });
    let mut time = || times.next().map(|(at, _)| at + TIME_OF_DAY);
    let (Some(start), Some(finish)) = (time(), time()) else {
        return Err(io::Error::other("the build has no two times"));
    };
    let lines = |path: &String| -> io::Result<Vec<String>> {
        let text = fs::read_to_string(path)?;
        Ok(text.lines().map(ToOwned::to_owned).collect())
    };
    let pages = lines(pages)?.into_iter().filter_map(|line| {
        let (kind, target) = line.split_once(' ')?;
        Some((kind.to_owned(), target.to_owned()))
    });
    let plan = Arc::new(Plan {
        address: address.clone(),
        end: Instant::now() + Duration::from_secs(number(seconds)?),
        pause: number(pause)?,
        pages: pages.collect(),
        files: lines(files)?,
        credentials: credentials.clone(),
        build,
        uuid_at,
        content_at,
        times_at: [start, finish],
        contents: number(contents)?.max(1),
        uploaded: AtomicU64::new(0),
    });
    let mut clients = Vec::new();
    for (count, client) in [
        (number(readers)?, read as fn(&Plan, u64) -> Log),
        (number(uploaders)?, upload),
        (number(downloaders)?, download),
    ] {
        for _ in 0..count {
            let plan = plan.clone();
            let name = clients.len() as u64;
            clients.push(thread::spawn(move || client(&plan, name)));
        }
    }
    let mut all = Log::default();
    for client in clients {
        let log = client
            .join()
            .map_err(|_| io::Error::other("a client panicked"))?;
        for (kind, times) in log.times {
            all.times.entry(kind).or_default().extend(times);
        }
        all.errors.extend(log.errors);
    }
    print(all);
    Ok(())
}

fn print(log: Log) {
    let mut pages = Vec::new();
    for (kind, times) in &log.times {
        if !kind.starts_with('(') {
            pages.extend_from_slice(times);
        }
    }
    for (kind, times) in log.times {
        print_times(&kind, times);
    }
    print_times("(pages)", pages);
    println!("errors {}", log.errors.len());
    for error in log.errors.iter().take(ERRORS_SHOWN) {
        println!("error {error}");
    }
}

fn print_times(kind: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let count = times.len();
    // In thousandths.
    let at = |part: usize| {
        let time = times.get((count * part / 1000).min(count.saturating_sub(1)));
        time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    println!(
        "{kind} {count} {:.2} {:.2} {:.2} {:.2} {:.2}",
        at(500),
        at(900),
        at(990),
        at(999),
        at(1000)
    );
}

/// Numbers that look like chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
        all.get(usize::try_from(self.next() % count).ok()?)
    }
}

fn read(plan: &Plan, client: u64) -> Log {
    let mut log = Log::default();
    let mut chance = Chance(client);
    let mut connection = None;
    while Instant::now() < plan.end {
        let Some((kind, target)) = chance.one_of(&plan.pages) else {
            break;
        };
        let (path, accept) = match target.strip_suffix('#') {
            Some(path) => (path, "application/json"),
            None => (target.as_str(), "text/html"),
        };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: load\r\nAccept: {accept}\r\nAccept-Encoding: gzip\r\n\
             X-Forwarded-For: 10.0.0.{client}\r\n\r\n"
        );
        let begin = Instant::now();
        let answer = ask(plan, &mut connection, &[head.as_bytes()]);
        log.note(kind, target, begin, answer);
        if plan.pause > 0 {
            thread::sleep(Duration::from_millis(chance.next() % (2 * plan.pause)));
        }
    }
    log
}

fn download(plan: &Plan, client: u64) -> Log {
    let mut log = Log::default();
    let mut chance = Chance(client);
    let mut connection = None;
    while Instant::now() < plan.end {
        let Some(target) = chance.one_of(&plan.files) else {
            break;
        };
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: load\r\nX-Forwarded-For: 10.0.0.{client}\r\n\r\n"
        );
        let begin = Instant::now();
        let answer = ask(plan, &mut connection, &[head.as_bytes()]);
        log.note("(download)", target, begin, answer);
    }
    log
}

fn upload(plan: &Plan, client: u64) -> Log {
    let mut log = Log::default();
    // Another one in each run: a uuid can be taken in once.
    let mut chance = Chance(u64::from(std::process::id()) << 32 | client);
    let mut connection = None;
    let mut build = plan.build.clone();
    while Instant::now() < plan.end {
        let number = plan.uploaded.fetch_add(1, Ordering::Relaxed);
        let uuid = [chance.next().to_be_bytes(), chance.next().to_be_bytes()].concat();
        build[plan.uuid_at..][..16].copy_from_slice(&uuid);
        let (hour, minute, second) = (number / 3600 % 24, number / 60 % 60, number % 60);
        let time = format!("{hour:02}{minute:02}{second:02}");
        for at in plan.times_at {
            build[at..][..time.len()].copy_from_slice(time.as_bytes());
        }
        let content = (number % plan.contents).to_be_bytes();
        build[plan.content_at..][..8].copy_from_slice(&content);
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: load\r\nAuthorization: Basic {}\r\n\
             Content-Length: {}\r\nX-Forwarded-For: 10.0.0.{client}\r\n\r\n",
            plan.credentials,
            build.len()
        );
        let begin = Instant::now();
        let answer = ask(plan, &mut connection, &[head.as_bytes(), &build]);
        log.note("(upload)", "/upload", begin, answer);
    }
    log
}

type Connection = BufReader<TcpStream>;

/// Sends a request and reads the whole answer; its status.
fn ask(plan: &Plan, connection: &mut Option<Connection>, request: &[&[u8]]) -> io::Result<u16> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(&plan.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
            stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
            BufReader::with_capacity(64 * 1024, stream)
        }
    };
    for part in request {
        stream.get_mut().write_all(part)?;
    }
    let (status, keeps) = answer(&mut stream)?;
    if keeps {
        *connection = Some(stream);
    }
    Ok(status)
}

/// Reads an answer: its status, and whether another request may follow.
fn answer(stream: &mut Connection) -> io::Result<(u16, bool)> {
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status: u16 = status.ok_or_else(|| io::Error::other("no status"))?;
    let (mut length, mut chunked, mut keeps) = (0, false, true);
    loop {
        let header = line(stream)?;
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => keeps = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    if !chunked {
        skip(stream, length)?;
        return Ok((status, keeps));
    }
    loop {
        let size = u64::from_str_radix(&line(stream)?, 16).map_err(io::Error::other)?;
        skip(stream, size)?;
        line(stream)?;
        if size == 0 {
            return Ok((status, keeps));
        }
    }
}

fn line(stream: &mut Connection) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn skip(stream: &mut Connection, length: u64) -> io::Result<()> {
    match io::copy(&mut stream.take(length), &mut io::sink())? {
        read if read == length => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
