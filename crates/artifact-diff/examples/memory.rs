//! How much memory the comparison of two files takes at most that were made to take much: packed, nested, with as many
//! members, symbols, strings and lines as fit. `cargo run --release -p artifact-diff --example memory`
//!
//! Each pair is compared by a process of its own. Exit status 1 when a figure is out of bounds.

#![expect(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "its figures are what it is for, and its files are small"
)]

use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::Instant;

use artifact_diff::{Hints, Limits, compare};
use demo_builds::elf::{Access, Binding, Content, Elf, Machine, Section, Symbol, SymbolKind};

/// Both files with what they unpack to, and what is made of them.
const MEMORY_KIB_MAX: u64 = (120 + 65) * 1024;

type Failure = Box<dyn std::error::Error>;

/// Bytes that pack a hundred times, others on each side.
fn packable(bytes: usize, mut random: u64) -> Vec<u8> {
    let mut content = vec![1; bytes];
    for chunk in content.chunks_mut(256) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if let Some(first) = chunk.first_mut() {
            *first = random as u8;
        }
    }
    content
}

fn gzip(content: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(content)?;
    Ok(packed.finish()?)
}

fn zstd_with_window(content: &[u8], log: u32) -> Result<Vec<u8>, Failure> {
    let mut packed = zstd::Encoder::new(Vec::new(), 1)?;
    packed.window_log(log)?;
    packed.write_all(content)?;
    Ok(packed.finish()?)
}

fn xz(content: &[u8], preset: u32) -> Result<Vec<u8>, Failure> {
    let mut packed = liblzma::write::XzEncoder::new(Vec::new(), preset);
    packed.write_all(content)?;
    Ok(packed.finish()?)
}

fn tar(members: impl Iterator<Item = (String, Vec<u8>)>) -> Result<Vec<u8>, Failure> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &*content)?;
    }
    Ok(tar.into_inner()?)
}

/// Symbols that are on one side only, each in a source file of its own if that is wanted.
fn symbols(count: u64, side: u64, with_files: bool) -> Vec<u8> {
    let mut elf = Elf::new(Machine::X86_64);
    let text = packable(16 * count as usize, side + 1);
    let section = elf.add_section(Section::new(".text", Access::Code, Content::Bytes(text)));
    let binding = if with_files {
        Binding::Local
    } else {
        Binding::Global
    };
    for number in 0..count {
        if with_files {
            elf.add_symbol(Symbol {
                name: format!("{side}{number}.c"),
                section: None,
                offset: 0,
                bytes: 0,
                kind: SymbolKind::File,
                binding,
            });
        }
        elf.add_symbol(Symbol {
            name: format!("{side}x{number}"),
            section: Some(section),
            offset: number * 16,
            bytes: 16,
            kind: SymbolKind::Function,
            binding,
        });
    }
    elf.with_symbols()
}

/// Sections that all are the same part of the file.
fn overlapping(bytes: usize, side: u64) -> Vec<u8> {
    const SECTIONS: u16 = 4000;
    let mut names = vec![0];
    let mut starts = Vec::new();
    for number in 0..SECTIONS {
        starts.push(names.len() as u32);
        names.extend(format!(".d{number}\0").bytes());
    }
    let names_name = names.len() as u32;
    names.extend(b".shstrtab\0");
    let strings = (0..bytes / 512).map(|number| format!("{side}{number:0510}\0"));
    let content = strings.collect::<String>().into_bytes();
    let names_at = 64 + content.len();
    let headers_at = (names_at + names.len()).next_multiple_of(8);
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    file.extend([0; 16]);
    file.extend((headers_at as u64).to_le_bytes());
    file.extend([0; 4]);
    for number in [64, 0, 0, 64, SECTIONS + 2, SECTIONS + 1] {
        file.extend(number.to_le_bytes());
    }
    file.extend(&content);
    file.extend(&names);
    file.resize(headers_at, 0);
    file.extend([0; 64]);
    let mut header = |name: u32, kind: u32, flags: u64, at: usize, size: usize| {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        for number in [flags, 0, at as u64, size as u64, 0, 1, 0] {
            file.extend(number.to_le_bytes());
        }
    };
    for start in starts {
        header(start, 1, 2, 64, content.len());
    }
    header(names_name, 3, 0, names_at, names.len());
    file
}

const CASES: [&str; 15] = [
    "bytes",
    "gzip",
    "zstd",
    "zstd with a large window",
    "xz",
    "xz -9",
    "gzip in gzip",
    "many members",
    "members with long names",
    "archives in an archive",
    "symbols",
    "files of symbols",
    "strings",
    "sections that overlap",
    "short lines",
];

fn file(case: &str, side: u64) -> Result<Vec<u8>, Failure> {
    const MIB: usize = 1 << 20;
    let some = |bytes| packable(bytes, 88_172_645_463_325_252 + side);
    // No text: the report of bytes is the longest.
    let content = |number: usize| format!("\u{1}{side}{number}{}", "x".repeat(400)).into_bytes();
    Ok(match case {
        "bytes" => some(60 * MIB),
        "gzip" => gzip(&some(59 * MIB))?,
        "zstd" => zstd_with_window(&some(59 * MIB), 23)?,
        "zstd with a large window" => zstd_with_window(&some(59 * MIB), 27)?,
        "xz" => xz(&some(54 * MIB), 6)?,
        "xz -9" => xz(&some(60 * MIB), 9)?,
        "gzip in gzip" => gzip(&gzip(&some(60 * MIB))?)?,
        "many members" => tar((0..24_000).map(|number| (number.to_string(), content(number))))?,
        "members with long names" => {
            let long = "\u{2}".repeat(4090);
            tar((0..10_000).map(|number| (format!("{number}{long}"), vec![side as u8])))?
        }
        "archives in an archive" => {
            let mut archives = Vec::new();
            for outer in 0..100_usize {
                let members =
                    (0..200).map(|number| (number.to_string(), content(200 * outer + number)));
                archives.push((outer.to_string(), tar(members)?));
            }
            tar(archives.into_iter())?
        }
        "symbols" => symbols(1_000_000, side, false),
        "files of symbols" => symbols(400_000, side, true),
        "strings" => {
            let strings = (0..3_000_000).map(|number| format!("{side}{number:011}\0"));
            let content = Content::Bytes(strings.collect::<String>().into_bytes());
            let mut elf = Elf::new(Machine::X86_64);
            elf.add_section(Section::new(".rodata", Access::ReadOnly, content));
            elf.with_symbols()
        }
        "sections that overlap" => overlapping(2 * MIB, side),
        "short lines" => [b'a' + side as u8, b'\n'].repeat(4 * MIB),
        _ => return Err(format!("there is no case {case:?}").into()),
    })
}

/// From `/proc`, in KiB; none where there is no such file.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn run(arguments: &[String]) -> Result<bool, Failure> {
    if let [what, case, directory] = arguments {
        let directory = std::path::Path::new(directory);
        if what == "make" {
            std::fs::write(directory.join("left"), file(case, 0)?)?;
            std::fs::write(directory.join("right"), file(case, 1)?)?;
            return Ok(true);
        }
        let left = std::fs::read(directory.join("left"))?;
        let right = std::fs::read(directory.join("right"))?;
        let start = Instant::now();
        let report = compare(&left, &right, &Hints::default(), &Limits::default());
        let memory = peak_memory_kib().unwrap_or(0);
        println!(
            "{case}: {} KiB each, {} ms, {} MiB of memory; a report of {} KiB {:?}",
            left.len() >> 10,
            start.elapsed().as_millis(),
            memory >> 10,
            serde_json::to_vec(&report)?.len() >> 10,
            report.incomplete,
        );
        return Ok(memory <= MEMORY_KIB_MAX);
    }
    let directory = std::env::temp_dir().join(format!("comparing-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let mut fits = true;
    let is_asked =
        |case: &&&str| arguments.is_empty() || arguments.iter().any(|asked| asked == **case);
    for case in CASES.iter().filter(is_asked) {
        for what in ["make", "compare"] {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([what, case]).arg(&directory);
            fits &= command.status()?.success();
        }
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(fits)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
