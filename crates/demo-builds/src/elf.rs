//! A small writer of ELF64 executables: sections, symbols, notes and the program headers that map them.
//!
//! Knows the file format and nothing of unikernels or packages. Little-endian only. What it writes is laid out as a
//! linker would (`readelf -a` has no complaint), but nothing in it is meant to run.
//!
//! ```
//! use demo_builds::elf::{Access, Binding, Content, Elf, Machine, Section, Symbol, SymbolKind};
//!
//! let mut elf = Elf::new(Machine::X86_64);
//! let text = elf.add_section(Section::new(".text", Access::Code, Content::Bytes(vec![0xc3; 16])));
//! elf.add_symbol(Symbol {
//!     name: "_start".to_owned(),
//!     section: Some(text),
//!     offset: 0,
//!     bytes: 16,
//!     kind: SymbolKind::Function,
//!     binding: Binding::Global,
//! });
//! assert!(elf.stripped().len() < elf.with_symbols().len());
//! ```

/// Where the file's first byte is mapped: the address Solo5 loads its unikernels at.
const LOAD_ADDRESS: u64 = 0x10_0000;
const PAGE_BYTES: u64 = 0x1000;
const HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const SECTION_HEADER_BYTES: u64 = 64;
const SYMBOL_BYTES: u64 = 24;
/// Section index of symbols that belong to no section.
const ABSOLUTE: u16 = 0xfff1;

/// The processor the code is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

/// An executable to be written.
#[derive(Clone, Debug)]
pub struct Elf {
    machine: Machine,
    /// `EI_OSABI`: 0 for none (Linux and unikernels), 9 for FreeBSD.
    pub os_abi: u8,
    sections: Vec<Section>,
    symbols: Vec<Symbol>,
}

/// One section. Sections of one [`Access`] that follow each other share a segment.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name, with the dot.
    pub name: String,
    /// Who may do what with it once it is loaded.
    pub access: Access,
    /// Its bytes, or only their number.
    pub content: Content,
    /// Its alignment, a power of two.
    pub align: u64,
}

/// What a loaded section may be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Executed.
    Code,
    /// Read.
    ReadOnly,
    /// Read and written.
    Writable,
    /// Not loaded at all, as debug information is; dropped by [`Elf::stripped`].
    NotLoaded,
}

/// What a section holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes of the program.
    Bytes(Vec<u8>),
    /// One or more notes, see [`note`]; mapped by a program header of its own.
    Note(Vec<u8>),
    /// So many zero bytes that the file does not hold, as in `.bss`. Put such a section last among the loaded ones.
    Zeroed(u64),
}

/// Names a section of the [`Elf`] it was added to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SectionId(usize);

/// One symbol.
#[derive(Clone, Debug)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// The section it lies in; none for absolute symbols and names of source files.
    pub section: Option<SectionId>,
    /// Where in the section it starts.
    pub offset: u64,
    /// How long it is, 0 when it does not say.
    pub bytes: u64,
    /// What it is.
    pub kind: SymbolKind,
    /// Who sees it.
    pub binding: Binding,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SymbolKind {
    /// It does not say (`NOTYPE`), as OCaml's data and markers.
    Unknown,
    /// Data.
    Object,
    /// Code.
    Function,
    /// The name of the source file of the local symbols after it.
    File,
}

/// Who sees a symbol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding {
    /// The file that defines it.
    Local,
    /// All files.
    Global,
    /// All files, unless another one defines it too.
    Weak,
}

impl Section {
    /// A section aligned to 16 bytes (notes to 4).
    pub fn new(name: &str, access: Access, content: Content) -> Section {
        let align = match content {
            Content::Note(_) => 4,
            Content::Bytes(_) | Content::Zeroed(_) => 16,
        };
        Section {
            name: name.to_owned(),
            access,
            content,
            align,
        }
    }
}

/// The bytes of one note, padded as section and segment want them.
pub fn note(owner: &str, kind: u32, descriptor: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(u32_of(owner.len() + 1).to_le_bytes());
    out.extend(u32_of(descriptor.len()).to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(owner.as_bytes());
    out.push(0);
    pad(&mut out, 4);
    out.extend(descriptor);
    pad(&mut out, 4);
    out
}

impl Elf {
    /// An executable without sections.
    pub fn new(machine: Machine) -> Elf {
        Elf {
            machine,
            os_abi: 0,
            sections: Vec::new(),
            symbols: Vec::new(),
        }
    }

    /// Adds a section behind the others. At most 65,000 are meant to be added.
    pub fn add_section(&mut self, section: Section) -> SectionId {
        self.sections.push(section);
        SectionId(self.sections.len() - 1)
    }

    /// Adds a symbol behind the others of its binding: the format wants local symbols before all others.
    pub fn add_symbol(&mut self, symbol: Symbol) {
        self.symbols.push(symbol);
    }

    /// Where a section is loaded. What is added later does not move it, if that is not loaded.
    pub fn address(&self, section: SectionId) -> Option<u64> {
        let section = self.sections.get(section.0)?;
        let placed = self.placed(|_| true);
        let found = placed.iter().find(|placed| placed.is_of(section));
        found.map(|placed| placed.address)
    }

    /// The file with its symbol table and all of its sections.
    pub fn with_symbols(&self) -> Vec<u8> {
        let mut sections = self.placed(|_| true);
        let string_table = sections.len() + 2;
        let (symtab, strtab, locals) = self.symbol_tables(&sections);
        let symtab_offset = end_of(&sections).next_multiple_of(8);
        let strtab_offset = symtab_offset + symtab.len() as u64;
        sections.push(Placed {
            link: u32_of(string_table),
            info: locals,
            entry_bytes: SYMBOL_BYTES,
            ..Placed::table(".symtab", 2, &symtab, symtab_offset, 8)
        });
        sections.push(Placed::table(".strtab", 3, &strtab, strtab_offset, 1));
        self.file(&sections)
    }

    /// The same file as `strip` leaves it: no symbol table and only the sections that are loaded.
    pub fn stripped(&self) -> Vec<u8> {
        self.file(&self.placed(|section| section.access != Access::NotLoaded))
    }

    /// Gives each section that is kept its address and its place in the file. Both advance together, so that every
    /// segment is mapped at its place modulo the page size, as loaders require.
    fn placed(&self, keep: impl Fn(&Section) -> bool) -> Vec<Placed<'_>> {
        let kept: Vec<&Section> = self
            .sections
            .iter()
            .filter(|section| keep(section))
            .collect();
        let headers = HEADER_BYTES + PROGRAM_HEADER_BYTES * self.segments_max() as u64;
        let mut end = headers;
        let mut previous = None;
        let mut placed = Vec::with_capacity(kept.len() + 3);
        for section in kept
            .iter()
            .filter(|section| section.access != Access::NotLoaded)
        {
            if previous.is_some_and(|access| access != section.access) {
                end = end.next_multiple_of(PAGE_BYTES);
            }
            previous = Some(section.access);
            let offset = end.next_multiple_of(section.align.max(1));
            end = offset + section.bytes();
            placed.push(Placed::of(section, offset, LOAD_ADDRESS + offset));
        }
        let mut end = end_of(&placed).max(headers);
        for section in kept
            .iter()
            .filter(|section| section.access == Access::NotLoaded)
        {
            let offset = end.next_multiple_of(section.align.max(1));
            end = offset + section.bytes();
            placed.push(Placed::of(section, offset, 0));
        }
        placed
    }

    /// Room for the program headers: one for each change of access, each note and `.interp`.
    fn segments_max(&self) -> usize {
        let mut segments = 0;
        let mut previous = None;
        for section in self
            .sections
            .iter()
            .filter(|section| section.access != Access::NotLoaded)
        {
            segments += usize::from(previous != Some(section.access));
            segments += usize::from(matches!(section.content, Content::Note(_)));
            segments += usize::from(section.name == ".interp");
            previous = Some(section.access);
        }
        segments
    }

    /// `.symtab`, `.strtab` and the number of local symbols.
    fn symbol_tables(&self, sections: &[Placed<'_>]) -> (Vec<u8>, Vec<u8>, u32) {
        // Sections that are not loaded come last in the file, so an id is not yet an index.
        let place = |id: SectionId| {
            let section = self.sections.get(id.0)?;
            let index = sections.iter().position(|placed| placed.is_of(section))?;
            Some((u16_of(index + 1), sections[index].address))
        };
        let places: Vec<Option<(u16, u64)>> = (0..self.sections.len())
            .map(|index| place(SectionId(index)))
            .collect();
        let mut symtab = vec![0; 24];
        let mut strtab = vec![0];
        let mut locals = 1;
        let (first, then): (Vec<&Symbol>, Vec<&Symbol>) = self
            .symbols
            .iter()
            .partition(|symbol| symbol.binding == Binding::Local);
        for symbol in first.into_iter().chain(then) {
            let (section, address) = symbol
                .section
                .and_then(|id| places.get(id.0).copied().flatten())
                .unwrap_or((ABSOLUTE, 0));
            let (binding, kind) = (symbol.binding.code(), symbol.kind.code());
            locals += u32::from(symbol.binding == Binding::Local);
            symtab.extend(u32_of(strtab.len()).to_le_bytes());
            symtab.extend([binding << 4 | kind, 0]);
            symtab.extend(section.to_le_bytes());
            symtab.extend((address + symbol.offset).to_le_bytes());
            symtab.extend(symbol.bytes.to_le_bytes());
            strtab.extend(symbol.name.as_bytes());
            strtab.push(0);
        }
        (symtab, strtab, locals)
    }

    /// Puts headers, sections, their names and the section headers together.
    fn file(&self, sections: &[Placed<'_>]) -> Vec<u8> {
        let mut names = vec![0];
        let mut headers = vec![0; 64];
        for section in sections {
            headers.extend(section.header(u32_of(names.len())));
            names.extend(section.name.as_bytes());
            names.push(0);
        }
        let names_offset = end_of(sections);
        let names_name = u32_of(names.len());
        names.extend(b".shstrtab\0");
        headers.extend(Placed::table(".shstrtab", 3, &names, names_offset, 1).header(names_name));
        let headers_offset = (names_offset + names.len() as u64).next_multiple_of(8);

        let segments = self.segments(sections);
        let count = u32_of(segments.len() / 56);
        let entry = sections
            .iter()
            .find(|section| section.flags == 6)
            .map_or(0, |section| section.address);
        let mut out =
            Vec::with_capacity(usize::try_from(headers_offset).unwrap_or(0) + headers.len());
        out.extend([
            0x7f,
            b'E',
            b'L',
            b'F',
            2,
            1,
            1,
            self.os_abi,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        out.extend(2_u16.to_le_bytes());
        out.extend(match self.machine {
            Machine::X86_64 => 62_u16.to_le_bytes(),
            Machine::Aarch64 => 183_u16.to_le_bytes(),
        });
        out.extend(1_u32.to_le_bytes());
        out.extend(entry.to_le_bytes());
        out.extend(if count == 0 { 0 } else { HEADER_BYTES }.to_le_bytes());
        out.extend(headers_offset.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        let halves = [
            u16_of_u64(HEADER_BYTES),
            u16_of_u64(PROGRAM_HEADER_BYTES),
            u16_of_u64(count.into()),
            u16_of_u64(SECTION_HEADER_BYTES),
            u16_of(sections.len() + 2),
            u16_of(sections.len() + 1),
        ];
        for half in halves {
            out.extend(half.to_le_bytes());
        }
        out.extend(segments);
        for section in sections {
            if section.kind != 8 {
                out.resize(
                    usize::try_from(section.offset).unwrap_or(0).max(out.len()),
                    0,
                );
                out.extend(section.content);
            }
        }
        out.extend(names);
        pad(&mut out, 8);
        out.extend(headers);
        out
    }

    /// The program headers: `.interp`, one segment for each run of sections of one access, the notes.
    fn segments(&self, sections: &[Placed<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut header =
            |kind: u32, flags: u32, first: &Placed<'_>, last: &Placed<'_>, align: u64| {
                let file_end = if last.kind == 8 {
                    last.offset
                } else {
                    last.offset + last.bytes
                };
                out.extend(kind.to_le_bytes());
                out.extend(flags.to_le_bytes());
                for word in [
                    first.offset,
                    first.address,
                    first.address,
                    file_end - first.offset,
                ] {
                    out.extend(word.to_le_bytes());
                }
                out.extend((last.address + last.bytes - first.address).to_le_bytes());
                out.extend(align.to_le_bytes());
            };
        let loaded: Vec<&Placed<'_>> = sections
            .iter()
            .filter(|section| section.flags != 0)
            .collect();
        for section in loaded.iter().filter(|section| section.name == ".interp") {
            header(3, 4, section, section, 1);
        }
        for run in loaded.chunk_by(|left, right| left.flags == right.flags) {
            if let [first, .., last] | [first @ last] = run {
                let flags = match first.flags {
                    6 => 5,
                    3 => 6,
                    _ => 4,
                };
                header(1, flags, first, last, PAGE_BYTES);
            }
        }
        for section in loaded.iter().filter(|section| section.kind == 7) {
            header(4, 4, section, section, 4);
        }
        out
    }
}

/// A section with its place.
struct Placed<'a> {
    name: &'a str,
    section: Option<&'a Section>,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    bytes: u64,
    content: &'a [u8],
    link: u32,
    info: u32,
    align: u64,
    entry_bytes: u64,
}

impl<'a> Placed<'a> {
    fn is_of(&self, section: &Section) -> bool {
        self.section.is_some_and(|of| std::ptr::eq(of, section))
    }

    fn of(section: &'a Section, offset: u64, address: u64) -> Placed<'a> {
        let (kind, content): (u32, &[u8]) = match &section.content {
            Content::Bytes(bytes) => (1, bytes),
            Content::Note(bytes) => (7, bytes),
            Content::Zeroed(_) => (8, &[]),
        };
        let flags = match section.access {
            Access::Code => 6,
            Access::ReadOnly => 2,
            Access::Writable => 3,
            Access::NotLoaded => 0,
        };
        let bytes = section.bytes();
        let align = section.align;
        let section = Some(section);
        let name = section.map_or("", |section| section.name.as_str());
        Placed {
            name,
            section,
            kind,
            flags,
            address,
            offset,
            bytes,
            content,
            link: 0,
            info: 0,
            align,
            entry_bytes: 0,
        }
    }

    fn table(name: &'a str, kind: u32, content: &'a [u8], offset: u64, align: u64) -> Placed<'a> {
        let bytes = content.len() as u64;
        let (section, flags, address, link, info, entry_bytes) = (None, 0, 0, 0, 0, 0);
        Placed {
            name,
            section,
            kind,
            flags,
            address,
            offset,
            bytes,
            content,
            link,
            info,
            align,
            entry_bytes,
        }
    }

    fn header(&self, name: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend(name.to_le_bytes());
        out.extend(self.kind.to_le_bytes());
        for word in [self.flags, self.address, self.offset, self.bytes] {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.link.to_le_bytes());
        out.extend(self.info.to_le_bytes());
        out.extend(self.align.to_le_bytes());
        out.extend(self.entry_bytes.to_le_bytes());
        out
    }
}

impl Section {
    fn bytes(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) | Content::Note(bytes) => bytes.len() as u64,
            Content::Zeroed(bytes) => *bytes,
        }
    }
}

impl Binding {
    fn code(self) -> u8 {
        match self {
            Binding::Local => 0,
            Binding::Global => 1,
            Binding::Weak => 2,
        }
    }
}

impl SymbolKind {
    fn code(self) -> u8 {
        match self {
            SymbolKind::Unknown => 0,
            SymbolKind::Object => 1,
            SymbolKind::Function => 2,
            SymbolKind::File => 4,
        }
    }
}

/// Where the file ends behind these sections.
fn end_of(sections: &[Placed<'_>]) -> u64 {
    let end = |section: &Placed<'_>| {
        if section.kind == 8 {
            0
        } else {
            section.offset + section.bytes
        }
    };
    sections.iter().map(end).max().unwrap_or(HEADER_BYTES)
}

fn pad(out: &mut Vec<u8>, align: usize) {
    out.resize(out.len().next_multiple_of(align), 0);
}

fn u32_of(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn u16_of(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

fn u16_of_u64(n: u64) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
