//! How long the comparison of two unikernels takes, and how much memory: 20 MB and 60,000 symbols each, of which a tenth
//! changed and the rest moved. `cargo run --release -p artifact-diff --example elf_compare`
//!
//! Exit status 1 when a figure is out of bounds.

#![expect(clippy::cast_possible_truncation, reason = "the files have 20 MB")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use artifact_diff::{Detail, Hints, Limits, compare};
use demo_builds::elf::{Access, Binding, Content, Elf, Machine, Section, Symbol, SymbolKind};

const SYMBOLS: u64 = 60_000;
const FILE_BYTES: u64 = 20_000_000;
const ROUNDS: usize = 5;
const TIME_MAX: Duration = Duration::from_secs(1);
const MEMORY_KIB_MAX: u64 = 200 * 1024;

/// A unikernel whose every tenth module is of the given version. Its functions call each other, so that most of their
/// bytes change when one grows.
fn unikernel(version: u64) -> Vec<u8> {
    let function_bytes = FILE_BYTES / SYMBOLS - 60;
    let next = |random: &mut u64| {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random
    };
    let mut starts = Vec::new();
    let mut at = 0;
    for number in 0..SYMBOLS {
        starts.push(at);
        let grown = if number / 60 % 10 == 3 {
            version * (number % 7)
        } else {
            0
        };
        at += (function_bytes - 16 + number % 32 + grown).next_multiple_of(16);
    }
    starts.push(at);
    let mut text = Vec::with_capacity(at as usize);
    let mut symbols = Vec::new();
    for (number, ends) in starts.windows(2).enumerate() {
        let [start, end] = *ends else { continue };
        let number = number as u64;
        let changed = number / 60 % 10 == 3;
        let mut random = 88_172_645_463_325_252_u64.wrapping_mul(number + 1);
        while (text.len() as u64) < end {
            if text.len() as u64 + 13 <= end {
                let salt = if changed { version } else { 0 };
                text.extend((next(&mut random) ^ salt).to_le_bytes());
                let callee = starts[(next(&mut random) % SYMBOLS) as usize];
                text.push(0xe8);
                let relative = callee.wrapping_sub(text.len() as u64 + 4) as u32;
                text.extend(relative.to_le_bytes());
            } else {
                text.push(0x90);
            }
        }
        symbols.push((number, start, end - start));
    }
    let mut elf = Elf::new(Machine::X86_64);
    let section = elf.add_section(Section::new(".text", Access::Code, Content::Bytes(text)));
    for (number, offset, bytes) in symbols {
        elf.add_symbol(Symbol {
            name: format!(
                "camlLibrary_{}__Module_{}__function_{}_{}",
                number / 600,
                number / 60,
                number,
                number * 3 + version
            ),
            section: Some(section),
            offset,
            bytes,
            kind: SymbolKind::Function,
            binding: Binding::Global,
        });
    }
    elf.with_symbols()
}

/// From `/proc`, in KiB; none where there is no such file.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[expect(clippy::print_stdout, reason = "its figures are what it is for")]
fn main() -> ExitCode {
    // Made by another process, so that making them is not measured.
    let directory = std::env::temp_dir().join(format!("elf-compare-{}", std::process::id()));
    let paths = [directory.join("left"), directory.join("right")];
    if let Some(directory) = std::env::args().nth(1) {
        for (version, name) in ["left", "right"].into_iter().enumerate() {
            if let Err(error) = std::fs::write(
                std::path::Path::new(&directory).join(name),
                unikernel(version as u64),
            ) {
                println!("{error}");
                return ExitCode::FAILURE;
            }
        }
        return ExitCode::SUCCESS;
    }
    let made = std::fs::create_dir_all(&directory).and_then(|()| {
        std::process::Command::new(std::env::current_exe()?)
            .arg(&directory)
            .status()
    });
    let read = || -> Option<(Vec<u8>, Vec<u8>)> {
        made.ok()?.success().then_some(())?;
        let [left, right] = &paths;
        Some((std::fs::read(left).ok()?, std::fs::read(right).ok()?))
    };
    let files = read();
    drop(std::fs::remove_dir_all(&directory));
    let Some((left, right)) = files else {
        println!(
            "cannot make the files to compare in {}",
            directory.display()
        );
        return ExitCode::FAILURE;
    };
    let mut times = Vec::new();
    let mut summary = String::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let report = compare(&left, &right, &Hints::default(), &Limits::default());
        times.push(start.elapsed());
        if let Detail::Elf(elf) = &report.detail
            && let Some(symbols) = &elf.symbols
        {
            summary = format!(
                "{} symbols the same, {} only moved, {} modules changed",
                symbols.same_count,
                symbols.moved_count,
                symbols.groups.items.len()
            );
        }
    }
    times.sort();
    let time = times[times.len() / 2];
    let memory = peak_memory_kib();
    println!("files: {} and {} bytes; {summary}", left.len(), right.len());
    println!(
        "time: {} ms, at most {} ms",
        time.as_millis(),
        TIME_MAX.as_millis()
    );
    if let Some(memory) = memory {
        println!(
            "peak memory: {} MiB, at most {} MiB",
            memory / 1024,
            MEMORY_KIB_MAX / 1024
        );
    }
    match time <= TIME_MAX && memory.is_none_or(|memory| memory <= MEMORY_KIB_MAX) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
