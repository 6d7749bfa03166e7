//! What takes space in an ELF file: its loaded bytes, each counted once, by OCaml module and C file.
//!
//! OCaml units are counted from marker to marker, since most of their data has symbols without a
//! size; everything else symbol by symbol. What no symbol covers is told by section, so that the
//! sum is that of the sections. What is kept of a file is bounded whatever its symbols say, since
//! many names may share the bytes of one.

use std::collections::{BTreeMap, HashMap};

use object::elf::{
    FileHeader32, FileHeader64, SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, SHT_SYMTAB, STB_LOCAL,
    STT_FILE, STT_FUNC, STT_SECTION, STT_TLS,
};
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym};
use object::{Endianness, FileKind};
use serde::Serialize;
use symbol_names::{
    Marker, OcamlName, Units, library_and_module, library_of_symbol, marker, readable,
};

use crate::Error;
use crate::text;
use source_files::SourceFiles;

mod source_files;

/// Bytes of a file that are read. Debug binaries of unikernels have up to 60 MiB.
pub const BINARY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Symbols that are looked at; a large unikernel has 100,000.
pub const SYMBOLS_MAX: usize = 1_000_000;
/// Sections of a file; a linked one has some dozen, even with a section for each function before.
const SECTIONS_MAX: usize = 10_000;
/// Bytes of a symbol's name that are looked at.
const NAME_BYTES_MAX: usize = 512;
/// Parts that are told apart; large unikernels have some thousand. The others are one of their kind.
const PARTS_TOLD_MAX: usize = 50_000;
/// Bytes of the names of all these, with those of what they belong to. Large unikernels have 200 KiB.
const PART_NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the names of their largest functions. Large unikernels have 300 KiB.
const FUNCTION_NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Markers of a kind that are looked at, of two for each unit.
const MARKERS_MAX: usize = 2 * PARTS_TOLD_MAX;
/// What stands for the parts that are not told apart.
const NOT_TOLD_APART: &str = "not told apart";
/// What stands for the name of a symbol that is no text.
const NOT_A_NAME: &str = "(no text)";
/// Functions that are named of each part.
const LARGEST_MAX: usize = 5;

/// What stands for a file whose name nothing tells.
const UNKNOWN_FILE: &str = "unknown files";

/// What takes space in an ELF file. Holds nothing of the file itself, which may be dropped before
/// the next one is read.
#[derive(Debug)]
pub struct Binary {
    pub(crate) parts: Vec<Part>,
    /// Bytes of memory that are zero at the start and not in the file.
    pub(crate) zeroed_bytes: u64,
    /// Symbols that were not looked at, and functions that there was no room to name.
    pub(crate) symbols_left: usize,
}

/// A module, a C file, or what is left of a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    /// Library, package or, of what nobody claims, nothing.
    pub(crate) group: String,
    /// Module, file or section.
    pub(crate) name: String,
    pub(crate) code_bytes: u64,
    pub(crate) data_bytes: u64,
    /// Its largest functions.
    pub(crate) largest: Vec<(u64, String)>,
}

/// What a part of a binary is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = TreemapPartKind))]
pub enum Kind {
    /// An OCaml module.
    #[serde(rename = "ocaml")]
    OCaml,
    /// A part of OCaml's runtime.
    #[serde(rename = "runtime")]
    Runtime,
    /// C code, by library and file.
    #[serde(rename = "c")]
    C,
    /// What no symbol names, by section.
    #[serde(rename = "unnamed")]
    #[default]
    Unnamed,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::OCaml, Kind::Runtime, Kind::C, Kind::Unnamed];

    /// As people read it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::OCaml => "OCaml",
            Kind::Runtime => "OCaml runtime",
            Kind::C => "C",
            Kind::Unnamed => "Unnamed",
        }
    }
}

impl Part {
    pub(crate) fn bytes(&self) -> u64 {
        self.code_bytes.saturating_add(self.data_bytes)
    }
}

impl Binary {
    /// The loaded bytes of an ELF file.
    ///
    /// # Errors
    /// When `file` is no ELF file, is too large, or has nothing that is loaded.
    pub fn read(file: &[u8]) -> Result<Binary, Error> {
        let bytes = file.len() as u64;
        if bytes > BINARY_BYTES_MAX {
            return Err(Error::TooLarge {
                bytes,
                bytes_max: BINARY_BYTES_MAX,
            });
        }
        match FileKind::parse(file) {
            Ok(FileKind::Elf64) => read::<FileHeader64<Endianness>>(file),
            Ok(FileKind::Elf32) => read::<FileHeader32<Endianness>>(file),
            _ => Err(Error::NotElf("it begins otherwise".to_owned())),
        }
    }

    /// The sum of all parts.
    pub(crate) fn bytes(&self) -> u64 {
        let parts = self.parts.iter().map(Part::bytes);
        parts.fold(0, u64::saturating_add)
    }
}

/// A loaded section with bytes in the file.
struct Section {
    index: usize,
    start: u64,
    end: u64,
    is_code: bool,
    name: String,
}

struct Symbol<'f> {
    /// Among the loaded ones.
    section: usize,
    start: u64,
    bytes: u64,
    name: &'f str,
    is_function: bool,
    /// The source file that the linker was told.
    file: Option<&'f str>,
}

/// Addresses of a section, and whose they are.
#[derive(Clone, Copy)]
struct Claim {
    section: usize,
    start: u64,
    end: u64,
    owner: usize,
}

fn read<H: FileHeader<Endian = Endianness>>(file: &[u8]) -> Result<Binary, Error> {
    let malformed = |error: object::Error| Error::NotElf(error.to_string());
    let header = H::parse(file).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    let all = header.sections(endian, file).map_err(malformed)?;
    if all.len() > SECTIONS_MAX {
        return Err(Error::NotElf(format!(
            "it has {} sections, more than the {SECTIONS_MAX} that are looked at",
            all.len()
        )));
    }
    let mut sections = Vec::new();
    let mut zeroed_bytes = 0_u64;
    for (index, section) in all.iter().enumerate() {
        let flags = section.sh_flags(endian);
        let start: u64 = section.sh_addr(endian).into();
        let bytes: u64 = section.sh_size(endian).into();
        if !flags.contains(SHF_ALLOC) {
            continue;
        }
        if section.sh_type(endian) == SHT_NOBITS {
            zeroed_bytes = zeroed_bytes.saturating_add(bytes);
        } else if bytes > 0 && section.data(endian, file).is_ok() {
            sections.push(Section {
                index,
                start,
                end: start.saturating_add(bytes),
                is_code: flags.contains(SHF_EXECINSTR),
                name: section_name(all.section_name(endian, section).unwrap_or_default()),
            });
        }
    }
    if sections.is_empty() {
        return Err(Error::NothingLoaded);
    }
    let symbols = symbols(&all, endian, file, &sections);
    let (symbols, symbols_left) = symbols.map_err(malformed)?;
    let files = SourceFiles::read(&all, endian, file);
    let mut owners = Owners::new(&symbols, files);
    let ranges = ranges(&symbols, &sections, &mut owners);
    count(&symbols, &sections, &ranges, &mut owners);
    Ok(Binary {
        symbols_left: symbols_left + owners.symbols_left,
        parts: owners.finish(&sections),
        zeroed_bytes,
    })
}

fn section_name(bytes: &[u8]) -> String {
    let bytes = bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes);
    text::name(&String::from_utf8_lossy(bytes))
}

/// The symbols of loaded sections, and how many were left out.
fn symbols<'f, H: FileHeader<Endian = Endianness>>(
    all: &SectionTable<'f, H>,
    endian: Endianness,
    file: &'f [u8],
    sections: &[Section],
) -> object::Result<(Vec<Symbol<'f>>, usize)> {
    let table = all.symbols(endian, file, SHT_SYMTAB)?;
    let names: &[u8] = match all.section(table.string_section()) {
        Ok(section) => section.data(endian, file)?,
        // No table at all.
        Err(_) => &[],
    };
    let by_index: HashMap<usize, usize> = sections
        .iter()
        .enumerate()
        .map(|(place, section)| (section.index, place))
        .collect();
    let mut symbols = Vec::new();
    let mut of_file: Option<&str> = None;
    for (index, symbol) in table.enumerate().take(SYMBOLS_MAX) {
        let from = usize::try_from(symbol.st_name(endian)).unwrap_or(usize::MAX);
        let name = names.get(from..).unwrap_or_default();
        let name = name.get(..NAME_BYTES_MAX).unwrap_or(name);
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).unwrap_or(NOT_A_NAME);
        match symbol.st_type() {
            STT_FILE => of_file = Some(name).filter(|name| !name.is_empty()),
            STT_SECTION | STT_TLS => {}
            kind => {
                let section = table.symbol_section(endian, symbol, index).ok().flatten();
                let place = section.and_then(|section| by_index.get(&section.0));
                let Some(&place) = place else { continue };
                let local = symbol.st_bind() == STB_LOCAL;
                symbols.push(Symbol {
                    section: place,
                    start: symbol.st_value(endian).into(),
                    bytes: symbol.st_size(endian).into(),
                    name,
                    is_function: kind == STT_FUNC,
                    file: of_file.filter(|_| local),
                });
            }
        }
    }
    // The longer one first where several begin.
    symbols.sort_by_key(|symbol| (symbol.section, symbol.start, u64::MAX - symbol.bytes));
    Ok((symbols, table.len().saturating_sub(SYMBOLS_MAX)))
}

/// Who owns what, by name.
struct Owners<'f> {
    units: Units<'f>,
    files: SourceFiles,
    /// Without their names, which are in `by_name` until all are there.
    parts: Vec<Part>,
    by_name: HashMap<(Kind, String, String), usize>,
    /// What is left of [`PART_NAMES_BYTES_MAX`].
    part_names_left: usize,
    /// What is left of [`FUNCTION_NAMES_BYTES_MAX`].
    function_names_left: usize,
    /// Symbols that there was no room for.
    symbols_left: usize,
    by_unit: HashMap<&'f str, usize>,
    by_file: HashMap<&'f str, usize>,
    /// What is left of each loaded section.
    claimed: HashMap<usize, u64>,
}

impl<'f> Owners<'f> {
    fn new(symbols: &[Symbol<'f>], files: SourceFiles) -> Owners<'f> {
        Owners {
            units: Units::of(symbols.iter().map(|symbol| symbol.name)),
            files,
            parts: Vec::new(),
            by_name: HashMap::new(),
            part_names_left: PART_NAMES_BYTES_MAX,
            function_names_left: FUNCTION_NAMES_BYTES_MAX,
            symbols_left: 0,
            by_unit: HashMap::new(),
            by_file: HashMap::new(),
            claimed: HashMap::new(),
        }
    }

    fn named(&mut self, kind: Kind, group: &str, name: &str) -> usize {
        let mut key = (kind, group.to_owned(), name.to_owned());
        if let Some(owner) = self.by_name.get(&key) {
            return *owner;
        }
        let left = self.part_names_left.checked_sub(group.len() + name.len());
        match left {
            // There are no more of these than sections.
            _ if kind == Kind::Unnamed => {}
            Some(left) if self.parts.len() < PARTS_TOLD_MAX => self.part_names_left = left,
            _ => key = (kind, NOT_TOLD_APART.to_owned(), NOT_TOLD_APART.to_owned()),
        }
        *self.by_name.entry(key).or_insert_with(|| {
            self.parts.push(Part::default());
            self.parts.len() - 1
        })
    }

    fn unit(&mut self, unit: &'f str) -> usize {
        if let Some(owner) = self.by_unit.get(unit) {
            return *owner;
        }
        let owner = if unit.starts_with(|first: char| first.is_uppercase()) {
            let (library, module) = library_and_module(unit);
            let library = text::name(library);
            let module = match module {
                "" => library.clone(),
                module => text::name(module),
            };
            self.named(Kind::OCaml, &library, &module)
        } else {
            self.named(Kind::Runtime, "made by the compiler", &text::name(unit))
        };
        if self.by_unit.len() < PARTS_TOLD_MAX {
            self.by_unit.insert(unit, owner);
        }
        owner
    }

    fn of(&mut self, symbol: &Symbol<'f>) -> usize {
        if let Some(OcamlName { unit, .. }) = self.units.split(symbol.name) {
            return self.unit(unit);
        }
        let file = self.files.at(symbol.start);
        // Where a file lay tells more surely than how a symbol begins.
        let library = match file {
            Some(file) if file.package_is_known => None,
            _ => library_of_symbol(symbol.name),
        };
        if let Some(library) = library {
            let file = file.map_or(UNKNOWN_FILE.to_owned(), |file| file.name.clone());
            return self.named(Kind::C, library, &file);
        }
        if let Some(file) = file {
            let (kind, group, name) = (file.kind, file.group.clone(), file.name.clone());
            return self.named(kind, &group, &name);
        }
        if symbol.name.starts_with("caml_") {
            let file = symbol.file.map(text::name);
            return self.named(
                Kind::Runtime,
                "runtime",
                file.as_deref().unwrap_or(UNKNOWN_FILE),
            );
        }
        match symbol.file {
            Some(file) => match self.by_file.get(file) {
                Some(owner) => *owner,
                None => {
                    let owner = self.named(Kind::C, "C code", &text::name(file));
                    if self.by_file.len() < PARTS_TOLD_MAX {
                        self.by_file.insert(file, owner);
                    }
                    owner
                }
            },
            None => self.named(Kind::C, "C code", UNKNOWN_FILE),
        }
    }

    fn add(&mut self, owner: usize, section: usize, is_code: bool, bytes: u64) {
        let claimed = self.claimed.entry(section).or_default();
        *claimed = claimed.saturating_add(bytes);
        if let Some(part) = self.parts.get_mut(owner) {
            let sum = match is_code {
                true => &mut part.code_bytes,
                false => &mut part.data_bytes,
            };
            *sum = sum.saturating_add(bytes);
        }
    }

    /// A function of a part, if it is among its largest.
    fn function(&mut self, owner: usize, symbol: &Symbol<'f>) {
        let Some(part) = self.parts.get_mut(owner) else {
            return;
        };
        let at = part
            .largest
            .partition_point(|(bytes, _)| *bytes >= symbol.bytes);
        if at >= LARGEST_MAX || symbol.bytes == 0 || !symbol.is_function {
            return;
        }
        let name = match self.units.split(symbol.name) {
            Some(OcamlName { item, .. }) => text::name(&readable(item)),
            None => text::name(symbol.name),
        };
        let smallest = part.largest.get(LARGEST_MAX - 1);
        let freed = smallest.map_or(0, |(_, name)| name.len());
        let left = (self.function_names_left + freed).checked_sub(name.len());
        let Some(left) = left else {
            self.symbols_left += 1;
            return;
        };
        self.function_names_left = left;
        part.largest.truncate(LARGEST_MAX - 1);
        part.largest.insert(at, (symbol.bytes, name));
    }

    /// All parts with the rest of every section.
    fn finish(mut self, sections: &[Section]) -> Vec<Part> {
        for (place, section) in sections.iter().enumerate() {
            let all = section.end.saturating_sub(section.start);
            let claimed = self.claimed.get(&place).copied().unwrap_or_default();
            let owner = self.named(Kind::Unnamed, "", &section.name);
            self.add(owner, place, section.is_code, all.saturating_sub(claimed));
        }
        for ((kind, group, name), owner) in self.by_name {
            if let Some(part) = self.parts.get_mut(owner) {
                (part.kind, part.group, part.name) = (kind, group, name);
            }
        }
        self.parts.retain(|part| part.bytes() > 0);
        self.parts
    }
}

/// From marker to marker, in order and without overlaps.
fn ranges<'f>(symbols: &[Symbol<'f>], sections: &[Section], owners: &mut Owners<'f>) -> Vec<Claim> {
    let mut begun: BTreeMap<(usize, &str, bool), u64> = BTreeMap::new();
    let mut ended: HashMap<(usize, &str, bool), u64> = HashMap::new();
    for symbol in symbols {
        let Some(Marker {
            unit,
            of_code,
            is_end,
        }) = marker(symbol.name)
        else {
            continue;
        };
        let key = (symbol.section, unit, of_code);
        match is_end {
            true if ended.len() < MARKERS_MAX => ended.insert(key, symbol.start),
            false if begun.len() < MARKERS_MAX => begun.insert(key, symbol.start),
            _ => {
                owners.symbols_left += 1;
                None
            }
        };
    }
    let mut claims: Vec<Claim> = Vec::new();
    for ((section, unit, of_code), start) in begun {
        let Some(&end) = ended.get(&(section, unit, of_code)) else {
            continue;
        };
        let Some(of) = sections.get(section) else {
            continue;
        };
        let (start, end) = (start.max(of.start), end.min(of.end));
        if start < end {
            claims.push(Claim {
                section,
                start,
                end,
                owner: owners.unit(unit),
            });
        }
    }
    claims.sort_unstable_by_key(|claim| (claim.section, claim.start, claim.end, claim.owner));
    let mut until = (0, 0);
    claims.retain_mut(|claim| {
        if until.0 == claim.section {
            claim.start = claim.start.max(until.1);
        }
        if claim.start >= claim.end {
            return false;
        }
        until = (claim.section, claim.end);
        true
    });
    for claim in &claims {
        let is_code = sections
            .get(claim.section)
            .is_some_and(|section| section.is_code);
        owners.add(claim.owner, claim.section, is_code, claim.end - claim.start);
    }
    claims
}

/// Whether a symbol only says where a section begins or ends, and has nothing of its own.
fn is_of_the_linker(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "_end",
        "end",
        "_edata",
        "edata",
        "_etext",
        "etext",
        "__etext",
        "_stext",
        "_srodata",
        "_erodata",
        "_sdata",
        "_ebss",
        "__bss_start",
        "__data_start",
        "data_start",
        "__executable_start",
        "__ehdr_start",
        "_GLOBAL_OFFSET_TABLE_",
        "_DYNAMIC",
        "__GNU_EH_FRAME_HDR",
    ];
    NAMES.contains(&name) || name.is_empty() || name.starts_with('$')
}

/// Counts what symbols have outside of `ranges`, each address once. Both are in order.
fn count<'f>(
    symbols: &[Symbol<'f>],
    sections: &[Section],
    ranges: &[Claim],
    owners: &mut Owners<'f>,
) {
    let mut range = 0;
    let mut until = (usize::MAX, 0);
    for (at, symbol) in symbols.iter().enumerate() {
        let Some(section) = sections.get(symbol.section) else {
            continue;
        };
        if marker(symbol.name).is_some() || is_of_the_linker(symbol.name) {
            continue;
        }
        let end = match symbol.bytes {
            0 => next_start(symbols, at).unwrap_or(section.end),
            bytes => symbol.start.saturating_add(bytes),
        };
        if until.0 != symbol.section {
            until = (symbol.section, section.start);
        }
        let start = symbol.start.max(section.start);
        let (from, end) = (start.max(until.1), end.min(section.end));
        let key = (symbol.section, start);
        while ranges
            .get(range)
            .is_some_and(|range| (range.section, range.end) <= key)
        {
            range += 1;
        }
        let inside = ranges
            .get(range)
            .filter(|range| (range.section, range.start) <= key);
        if let Some(inside) = inside {
            owners.function(inside.owner, symbol);
        }
        if from >= end {
            continue;
        }
        let mut bytes = end - from;
        for covered in ranges.get(range..).unwrap_or_default() {
            if covered.section != symbol.section || covered.start >= end {
                break;
            }
            let overlap = covered.end.min(end).saturating_sub(covered.start.max(from));
            bytes = bytes.saturating_sub(overlap);
        }
        until.1 = end;
        if bytes > 0 {
            let owner = owners.of(symbol);
            owners.add(owner, symbol.section, section.is_code, bytes);
            if inside.is_none() {
                owners.function(owner, symbol);
            }
        }
    }
}

/// Where the next symbol of the same section begins, at another address.
fn next_start(symbols: &[Symbol<'_>], at: usize) -> Option<u64> {
    let this = symbols.get(at)?;
    // Sorted by address: found at once unless many names share an address, as the binary search
    // is for.
    let rest = symbols.get(at..)?;
    let same =
        rest.partition_point(|symbol| symbol.section == this.section && symbol.start == this.start);
    let next = rest.get(same)?;
    (next.section == this.section).then_some(next.start)
}
