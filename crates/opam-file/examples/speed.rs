//! How fast files are read, in MB/s, and how long it takes to compare two switch exports, in ms of CPU:
//! `cargo run --release -p opam-file --example speed -- FILE… [--compare LEFT RIGHT]`

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use opam_file::{Document, SwitchExport};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let compare_at = arguments
        .iter()
        .position(|argument| argument == "--compare")
        .unwrap_or(arguments.len());
    let (files, rest) = arguments.split_at(compare_at);
    let files = files
        .iter()
        .map(|file| read(file))
        .collect::<io::Result<Vec<_>>>();
    let pair = rest
        .iter()
        .skip(1)
        .map(|file| read(file))
        .collect::<io::Result<Vec<_>>>();
    let (files, pair) = match (files, pair) {
        (Ok(files), Ok(pair)) => (files, pair),
        (Err(error), _) | (_, Err(error)) => return fail(&error.to_string()),
    };
    if !files.is_empty() {
        let bytes: usize = files.iter().map(Vec::len).sum();
        report(
            "syntax",
            bytes,
            best_of(|| {
                files
                    .iter()
                    .for_each(|file| drop(black_box(Document::parse(file))))
            }),
        );
        report(
            "switch exports",
            bytes,
            best_of(|| {
                files
                    .iter()
                    .for_each(|file| drop(black_box(SwitchExport::parse(file))))
            }),
        );
    }
    if let [left, right] = pair.as_slice() {
        let parse = |text: &[u8]| SwitchExport::parse(text).ok();
        let both = best_of(|| {
            let changes = parse(left)
                .zip(parse(right))
                .map(|(left, right)| left.compare(&right));
            drop(black_box(changes));
        });
        println!("read both and compare: {:.2} ms", both.as_secs_f64() * 1e3);
        if let Some((left, right)) = parse(left).zip(parse(right)) {
            let compare = best_of(|| drop(black_box(left.compare(&right))));
            println!("compare alone: {:.2} ms", compare.as_secs_f64() * 1e3);
        }
    }
    ExitCode::SUCCESS
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    fs::read(Path::new(file))
        .map_err(|error| io::Error::other(format!("cannot read {file}: {error}")))
}

fn fail(message: &str) -> ExitCode {
    println!("{message}");
    ExitCode::FAILURE
}

/// One thread, nothing to wait for: the shortest time on the clock is the CPU time.
fn best_of(run: impl Fn()) -> Duration {
    let times = (0..50).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn report(what: &str, bytes: usize, time: Duration) {
    let megabytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6;
    println!(
        "{what}: {megabytes:.2} MB in {:.2} ms, {:.0} MB/s",
        time.as_secs_f64() * 1e3,
        megabytes / time.as_secs_f64()
    );
}
