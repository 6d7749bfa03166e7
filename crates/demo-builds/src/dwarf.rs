//! Debug information, as little of it as tells which source file and line each function comes from: a compilation unit
//! for every C file, and a line table for every file. OCaml's compiler makes no units, only lines.

/// A source file and what was compiled from it.
pub(crate) struct SourceFile {
    pub(crate) name: String,
    /// The directory it was compiled in, for C.
    pub(crate) directory: Option<String>,
    /// Where each function starts in `.text` and how long it is, in order.
    pub(crate) functions: Vec<(u64, u64)>,
}

/// The content of the three sections.
#[derive(Default)]
pub(crate) struct Dwarf {
    pub(crate) abbrev: Vec<u8>,
    pub(crate) info: Vec<u8>,
    pub(crate) line: Vec<u8>,
}

const PRODUCER: &[u8] = b"GNU C11 12.2.0 -O2 -g\0";
/// The only kind of entry: a compilation unit without children. Pairs of attribute and form:
/// producer, language, name, directory, start, length, place of its lines.
const ABBREVIATIONS: [u8; 20] = [
    1, 0x11, 0, 0x25, 0x08, 0x13, 0x0b, 0x03, 0x08, 0x1b, 0x08, 0x11, 0x01, 0x12, 0x07, 0x10, 0x17,
    0, 0, 0,
];
const C99: u8 = 0x0c;

/// Debug information of DWARF version 4, for a program whose `.text` is at an address.
pub(crate) fn dwarf(files: &[SourceFile], text_address: u64) -> Dwarf {
    let mut out = Dwarf {
        abbrev: ABBREVIATIONS.to_vec(),
        ..Dwarf::default()
    };
    for file in files {
        let (Some(first), Some(last)) = (file.functions.first(), file.functions.last()) else {
            continue;
        };
        let start = text_address + first.0;
        let bytes = last.0 + last.1 - first.0;
        if let Some(directory) = &file.directory {
            let mut unit = Vec::new();
            unit.extend(4_u16.to_le_bytes());
            unit.extend(0_u32.to_le_bytes());
            unit.extend([8, 1]);
            unit.extend(PRODUCER);
            unit.push(C99);
            for text in [&file.name, directory] {
                unit.extend(text.as_bytes());
                unit.push(0);
            }
            unit.extend(start.to_le_bytes());
            unit.extend(bytes.to_le_bytes());
            unit.extend(u32_of(out.line.len()).to_le_bytes());
            extend_with_length(&mut out.info, &unit);
        }
        let mut table = 4_u16.to_le_bytes().to_vec();
        extend_with_length(&mut table, &line_header(&file.name));
        table.extend(line_program(&file.functions, start, bytes));
        extend_with_length(&mut out.line, &table);
    }
    out
}

/// What comes before the instructions: their parameters, no directories, one file.
fn line_header(name: &str) -> Vec<u8> {
    let mut header = vec![1, 1, 1, 0xfb, 14, 13];
    header.extend([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]);
    header.push(0);
    header.extend(name.as_bytes());
    header.extend([0, 0, 0, 0, 0]);
    header
}

/// Instructions that give each function a line, a few further down than the one before.
fn line_program(functions: &[(u64, u64)], start: u64, bytes: u64) -> Vec<u8> {
    let mut program = vec![0, 9, 2];
    program.extend(start.to_le_bytes());
    let mut at = functions.first().map_or(0, |(offset, _)| *offset);
    let end = at + bytes;
    let mut lines = 8;
    for (offset, bytes) in functions {
        advance_pc(&mut program, offset - at);
        // Lines are less than 64, so that a signed number of one byte holds them.
        program.extend([3, lines, 1]);
        lines = u8::try_from(3 + (bytes / 30).min(59)).unwrap_or(3);
        at = *offset;
    }
    advance_pc(&mut program, end - at);
    program.extend([0, 1, 1]);
    program
}

fn advance_pc(program: &mut Vec<u8>, mut bytes: u64) {
    program.push(2);
    loop {
        let low = u8::try_from(bytes & 0x7f).unwrap_or(0);
        bytes >>= 7;
        if bytes == 0 {
            program.push(low);
            return;
        }
        program.push(low | 0x80);
    }
}

fn extend_with_length(out: &mut Vec<u8>, content: &[u8]) {
    out.extend(u32_of(content.len()).to_le_bytes());
    out.extend(content);
}

fn u32_of(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
