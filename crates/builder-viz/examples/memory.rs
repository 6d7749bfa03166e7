//! How much memory a drawing takes beside its file, of ELF files that were made to take much: with as many symbols,
//! names, units, source files and sections as fit. `cargo run --release -p builder-viz --example memory`
//!
//! Each is drawn by a process of its own, as every picture that there is. Exit status 1 when a figure is out of bounds.

#![expect(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "its figures are what it is for, and its files are small"
)]

use std::process::{Command, ExitCode};
use std::time::Instant;

use builder_viz::{BINARY_BYTES_MAX, Binary, Side};

/// Beside the file.
const MEMORY_KIB_MAX: u64 = 128 * 1024;
/// As many as are looked at.
const SYMBOLS: u64 = builder_viz::SYMBOLS_MAX as u64;

type Failure = Box<dyn std::error::Error>;

/// A section of a file to be made.
struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    content: Vec<u8>,
    link: u32,
    entry_bytes: u64,
}

/// An ELF file with these symbols in a section of code that is as long as the symbols need, and further sections.
fn elf(symbols: &[u8], strings: Vec<u8>, code_bytes: u64, more: Vec<Section>) -> Vec<u8> {
    let section = |name, kind, flags, content, link, entry_bytes| Section {
        name,
        kind,
        flags,
        content,
        link,
        entry_bytes,
    };
    let code = vec![0x90; code_bytes as usize];
    let mut sections = vec![
        section(".text", 1, 6, code, 0, 0),
        section(".symtab", 2, 0, symbols.to_vec(), 3, 24),
        section(".strtab", 3, 0, strings, 0, 0),
        section(".shstrtab", 3, 0, Vec::new(), 0, 0),
    ];
    sections.extend(more);
    let mut names = vec![0];
    let mut starts = Vec::new();
    for section in &sections {
        starts.push(names.len() as u32);
        names.extend(section.name.bytes().chain([0]));
    }
    if let Some(of_names) = sections.get_mut(3) {
        of_names.content = names;
    }
    let contents: usize = sections.iter().map(|section| section.content.len()).sum();
    let headers_at = 64 + contents;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    file.extend([0; 16]);
    file.extend((headers_at as u64).to_le_bytes());
    file.extend([0; 4]);
    for number in [64, 0, 0, 64, sections.len() as u16 + 1, 4] {
        file.extend(number.to_le_bytes());
    }
    let mut headers = vec![0; 64];
    for (section, name) in sections.iter().zip(starts) {
        let at = file.len() as u64;
        headers.extend(name.to_le_bytes());
        headers.extend(section.kind.to_le_bytes());
        for number in [section.flags, 0, at, section.content.len() as u64] {
            headers.extend(number.to_le_bytes());
        }
        headers.extend(section.link.to_le_bytes());
        headers.extend(0_u32.to_le_bytes());
        for number in [1, section.entry_bytes] {
            headers.extend(number.to_le_bytes());
        }
        file.extend(&section.content);
    }
    file.extend(headers);
    file
}

/// A symbol as it stands in the table: of a function in the section of code, or the name of a source file.
fn symbol(name: u64, is_local: bool, is_file: bool, place: Option<(u64, u64)>) -> Vec<u8> {
    let mut symbol = (name as u32).to_le_bytes().to_vec();
    let kind = if is_file { 4 } else { 2 };
    symbol.extend([if is_local { kind } else { 0x10 | kind }, 0]);
    let section: u16 = if place.is_some() { 1 } else { 0xfff1 };
    symbol.extend(section.to_le_bytes());
    let (start, bytes) = place.unwrap_or_default();
    symbol.extend(start.to_le_bytes());
    symbol.extend(bytes.to_le_bytes());
    symbol
}

/// Different characters of four bytes, each a different name of the rest: a name begins at each of them, and they share
/// all their bytes.
fn overlapping_names(count: u64) -> Vec<u8> {
    let mut strings = vec![0];
    let mut random = 88_172_645_463_325_252_u64;
    for _ in 0..count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let char = char::from_u32(0x2_0000 + (random % 0x8000) as u32).unwrap_or('x');
        strings.extend(char.to_string().bytes());
    }
    strings.push(0);
    strings
}

/// Functions with these names, one after the other.
fn functions(bytes: u64, names: impl Iterator<Item = String>) -> Vec<u8> {
    let (mut symbols, mut strings) = (vec![0; 24], vec![0]);
    let mut start = 0;
    for name in names {
        let at = strings.len() as u64;
        strings.extend(name.bytes().chain([0]));
        symbols.extend(symbol(at, false, false, Some((start, bytes))));
        start += bytes;
    }
    elf(&symbols, strings, start, Vec::new())
}

const CASES: [&str; 8] = [
    "functions",
    "functions with long names",
    "source files with names that overlap",
    "modules",
    "modules with long names",
    "markers of modules",
    "sections",
    "a large file",
];

fn file(case: &str) -> Result<Vec<u8>, Failure> {
    // Of two symbols each.
    let pairs = || 0..SYMBOLS / 2;
    Ok(match case {
        "functions" => functions(16, (0..SYMBOLS).map(|number| format!("f{number}"))),
        "functions with long names" => {
            let long = "f".repeat(100);
            functions(16, (0..SYMBOLS).map(|number| format!("{number}{long}")))
        }
        "source files with names that overlap" => {
            let strings = overlapping_names(SYMBOLS);
            let mut symbols = vec![0; 24];
            for number in pairs() {
                symbols.extend(symbol(1 + 8 * number, true, true, None));
                let place = Some((16 * number, 16));
                symbols.extend(symbol(5 + 8 * number, true, false, place));
            }
            elf(&symbols, strings, 16 * SYMBOLS / 2, Vec::new())
        }
        "modules" => functions(
            16,
            (0..SYMBOLS).map(|number| format!("camlM{number}.f_{number}")),
        ),
        "modules with long names" => {
            let long = "x".repeat(95);
            functions(
                16,
                (0..SYMBOLS).map(|number| format!("camlM{number}{long}.f")),
            )
        }
        "markers of modules" => functions(
            16,
            pairs().flat_map(|number| {
                ["code_begin", "code_end"].map(|which| format!("camlM{number}.{which}"))
            }),
        ),
        "sections" => {
            let one = |number: u8| Section {
                name: ".section",
                kind: 1,
                flags: 2,
                content: vec![number; 1024],
                link: 0,
                entry_bytes: 0,
            };
            let sections = (0..9000_u16).map(|number| one(number as u8)).collect();
            elf(&[0; 24], vec![0], 16, sections)
        }
        "a large file" => {
            let beside = SYMBOLS * 60;
            let names = (0..SYMBOLS).map(|number| format!("f{number}"));
            functions((BINARY_BYTES_MAX - beside) / SYMBOLS, names)
        }
        _ => return Err(format!("there is no case {case:?}").into()),
    })
}

/// From `/proc`, in KiB; none where there is no such file.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Every picture of a file, and of it beside itself; their bytes.
fn draw(path: &std::path::Path) -> Result<(u64, usize), Failure> {
    let file = std::fs::read(path)?;
    let bytes = file.len() as u64;
    let mut drawn = builder_viz::treemap(&file, Some(bytes))?.len();
    drawn += serde_json::to_vec(&builder_viz::treemap_data(&file, None)?)?.len();
    let left = Binary::read(&file)?;
    drop(file);
    let right = Binary::read(&std::fs::read(path)?)?;
    drawn += serde_json::to_vec(&builder_viz::treemap_changes_data(&left, &right))?.len();
    let side = |binary| Side {
        name: "side",
        url: None,
        binary,
    };
    drawn += builder_viz::treemap_changes(side(&left), side(&right), None).len();
    Ok((bytes, drawn))
}

fn run(arguments: &[String]) -> Result<bool, Failure> {
    if let [what, case, path] = arguments {
        let path = std::path::Path::new(path);
        if what == "make" {
            std::fs::write(path, file(case)?)?;
            return Ok(true);
        }
        let start = Instant::now();
        let (bytes, drawn) = draw(path)?;
        let beside = peak_memory_kib().unwrap_or(0).saturating_sub(bytes >> 10);
        println!(
            "{case}: {} KiB, {} ms, {} MiB of memory beside the file; {} KiB of pictures",
            bytes >> 10,
            start.elapsed().as_millis(),
            beside >> 10,
            drawn >> 10,
        );
        return Ok(beside <= MEMORY_KIB_MAX);
    }
    let path = std::env::temp_dir().join(format!("drawing-{}", std::process::id()));
    let mut fits = true;
    let is_asked =
        |case: &&&str| arguments.is_empty() || arguments.iter().any(|asked| asked == **case);
    for case in CASES.iter().filter(is_asked) {
        for what in ["make", "draw"] {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([what, case]).arg(&path);
            fits &= command.status()?.success();
        }
    }
    std::fs::remove_file(&path)?;
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
