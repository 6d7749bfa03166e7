//! An ELF file taken apart: headers, sections, symbols. Knows nothing of comparing.

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endian, Endianness};

use crate::limits::Limits;

/// A file taken apart; parts of it that cannot be read are left out and named in `problems`.
#[derive(Debug)]
pub(crate) struct Elf<'f> {
    pub(crate) machine: elf::Machine,
    pub(crate) little_endian: bool,
    /// What the header says: field and value, in words.
    pub(crate) header: Vec<(&'static str, String)>,
    /// What each segment says, in words.
    pub(crate) segments: Vec<String>,
    pub(crate) sections: Vec<Section<'f>>,
    /// Defined symbols with a section, in the file's order.
    pub(crate) symbols: Vec<Symbol<'f>>,
    pub(crate) problems: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Section<'f> {
    pub(crate) name: &'f [u8],
    pub(crate) kind: elf::SectionType,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Empty for sections without content in the file, and those that lie outside of it.
    pub(crate) data: &'f [u8],
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol<'f> {
    pub(crate) name: &'f str,
    /// The source file of a local symbol.
    pub(crate) file: Option<&'f str>,
    pub(crate) section: usize,
    pub(crate) address: u64,
    pub(crate) bytes: u64,
}

impl Section<'_> {
    pub(crate) fn name(&self) -> String {
        crate::archive::path(self.name)
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.flags & elf::SHF_ALLOC.0 != 0
    }

    pub(crate) fn is_code(&self) -> bool {
        self.flags & elf::SHF_EXECINSTR.0 != 0
    }

    pub(crate) fn is_note(&self) -> bool {
        self.kind == elf::SHT_NOTE
    }

    pub(crate) fn has_content(&self) -> bool {
        self.kind != elf::SHT_NOBITS && self.kind != elf::SHT_NULL
    }

    /// How to stack frames are unwound: follows from the code.
    pub(crate) fn is_unwinding(&self) -> bool {
        self.name.starts_with(b".eh_frame")
    }
}

impl<'f> Elf<'f> {
    pub(crate) fn parse(bytes: &'f [u8], limits: &Limits) -> Result<Elf<'f>, String> {
        match bytes.get(4) {
            Some(1) => read::<FileHeader32<Endianness>>(bytes, limits),
            Some(2) => read::<FileHeader64<Endianness>>(bytes, limits),
            _ => Err("cannot be read as ELF: neither of 32 nor of 64 bits".to_owned()),
        }
    }

    pub(crate) fn section(&self, name: &[u8]) -> Option<&Section<'f>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The section an offset of the file is in.
    pub(crate) fn section_at(&self, offset: u64) -> Option<&Section<'f>> {
        self.sections.iter().find(|section| {
            section.has_content()
                && section.offset <= offset
                && offset - section.offset < section.bytes
        })
    }
}

fn read<'f, H: FileHeader<Endian = Endianness>>(
    bytes: &'f [u8],
    limits: &Limits,
) -> Result<Elf<'f>, String> {
    let unreadable = |error: object::read::Error| format!("cannot be read as ELF: {error}");
    let header = H::parse(bytes).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let mut problems = Vec::new();
    let mut elf = Elf {
        machine: header.e_machine(endian),
        little_endian: endian.is_little_endian(),
        header: header_fields(header, endian),
        segments: Vec::new(),
        sections: Vec::new(),
        symbols: Vec::new(),
        problems: Vec::new(),
    };
    match header.program_headers(endian, bytes) {
        Ok(segments) => {
            elf.segments = segments
                .iter()
                .map(|segment| segment_words(segment, endian))
                .collect();
        }
        Err(error) => problems.push(format!("segments: {error}")),
    }
    match header.sections(endian, bytes) {
        Ok(sections) => {
            if sections.len() > limits.sections_max {
                problems.push(format!(
                    "only the first {} sections were compared",
                    limits.sections_max
                ));
            }
            let mut content_bytes: usize = 0;
            for section in sections.iter().take(limits.sections_max) {
                let name = sections
                    .section_name(endian, section)
                    .unwrap_or_else(|error| {
                        problems.push(format!("the name of a section: {error}"));
                        b"?"
                    });
                let data = section.data(endian, bytes).unwrap_or_else(|error| {
                    problems.push(format!("{}: {error}", crate::archive::path(name)));
                    &[]
                });
                content_bytes = content_bytes.saturating_add(data.len());
                let data = match content_bytes <= bytes.len().saturating_mul(OVERLAP_MAX) {
                    true => data,
                    false => {
                        problems.push(format!(
                            "{}: not compared, since sections overlap",
                            crate::archive::path(name)
                        ));
                        &[]
                    }
                };
                elf.sections.push(Section {
                    name,
                    kind: section.sh_type(endian),
                    flags: section.sh_flags(endian).0,
                    address: section.sh_addr(endian).into(),
                    offset: section.sh_offset(endian).into(),
                    bytes: section.sh_size(endian).into(),
                    data,
                });
            }
            match sections.symbols(endian, bytes, elf::SHT_SYMTAB) {
                Ok(symbols) => {
                    let mut file = None;
                    elf.symbols
                        .reserve_exact(symbols.len().min(limits.symbols_max));
                    for (index, symbol) in symbols.enumerate() {
                        let name = symbols
                            .symbol_name(endian, symbol)
                            .ok()
                            .and_then(|name| std::str::from_utf8(name).ok());
                        let Some(name) = name.filter(|name| !name.is_empty()) else {
                            continue;
                        };
                        match symbol.st_type() {
                            elf::STT_FILE => {
                                file = Some(name);
                                continue;
                            }
                            elf::STT_SECTION | elf::STT_TLS => continue,
                            _ => {}
                        }
                        let section = symbols.symbol_section(endian, symbol, index);
                        let Ok(Some(section)) = section else { continue };
                        if elf.symbols.len() >= limits.symbols_max {
                            problems.push(format!(
                                "only the first {} symbols were compared",
                                limits.symbols_max
                            ));
                            break;
                        }
                        elf.symbols.push(Symbol {
                            name,
                            file: file.filter(|_| symbol.st_bind() == elf::STB_LOCAL),
                            section: section.0,
                            address: symbol.st_value(endian).into(),
                            bytes: symbol.st_size(endian).into(),
                        });
                    }
                }
                Err(error) => problems.push(format!("symbols: {error}")),
            }
        }
        Err(error) => problems.push(format!("sections: {error}")),
    }
    problems.truncate(PROBLEMS_MAX);
    elf.problems = problems;
    Ok(elf)
}

/// How many times the file the contents of all sections may be: each is looked through. No linker lets them overlap.
const OVERLAP_MAX: usize = 2;

/// Problems of one file that are told.
const PROBLEMS_MAX: usize = 8;

fn header_fields<H: FileHeader<Endian = Endianness>>(
    header: &H,
    endian: Endianness,
) -> Vec<(&'static str, String)> {
    let class = match header.is_class_64() {
        true => "64 bits",
        false => "32 bits",
    };
    let order = match endian.is_little_endian() {
        true => "little-endian",
        false => "big-endian",
    };
    let kind = match header.e_type(endian) {
        elf::ET_REL => "relocatable object".to_owned(),
        elf::ET_EXEC => "executable".to_owned(),
        elf::ET_DYN => "shared object or position-independent executable".to_owned(),
        elf::ET_CORE => "core dump".to_owned(),
        other => format!("{:#x}", other.0),
    };
    let machine = match header.e_machine(endian) {
        elf::EM_X86_64 => "x86-64".to_owned(),
        elf::EM_AARCH64 => "aarch64".to_owned(),
        elf::EM_386 => "x86".to_owned(),
        elf::EM_ARM => "arm".to_owned(),
        elf::EM_RISCV => "risc-v".to_owned(),
        elf::EM_PPC64 => "power".to_owned(),
        elf::EM_S390 => "s390".to_owned(),
        other => format!("{:#x}", other.0),
    };
    let os_abi = match header.e_ident().os_abi {
        elf::ELFOSABI_NONE => "none".to_owned(),
        elf::ELFOSABI_GNU => "GNU".to_owned(),
        elf::ELFOSABI_FREEBSD => "FreeBSD".to_owned(),
        elf::ELFOSABI_OPENBSD => "OpenBSD".to_owned(),
        other => format!("{:#x}", other.0),
    };
    let entry: u64 = header.e_entry(endian).into();
    vec![
        ("class", class.to_owned()),
        ("byte order", order.to_owned()),
        ("type", kind),
        ("machine", machine),
        ("OS ABI", os_abi),
        ("flags", format!("{:#x}", header.e_flags(endian).0)),
        ("entry point", format!("{entry:#x}")),
        ("number of segments", header.e_phnum(endian).to_string()),
        ("number of sections", header.e_shnum(endian).to_string()),
    ]
}

fn segment_words<P: ProgramHeader<Endian = Endianness>>(segment: &P, endian: Endianness) -> String {
    let kind = match segment.p_type(endian) {
        elf::PT_LOAD => "load".to_owned(),
        elf::PT_DYNAMIC => "dynamic".to_owned(),
        elf::PT_INTERP => "interpreter".to_owned(),
        elf::PT_NOTE => "note".to_owned(),
        elf::PT_TLS => "thread-local".to_owned(),
        elf::PT_PHDR => "headers".to_owned(),
        elf::PT_GNU_EH_FRAME => "unwinding".to_owned(),
        elf::PT_GNU_STACK => "stack".to_owned(),
        elf::PT_GNU_RELRO => "read-only after relocation".to_owned(),
        other => format!("{:#x}", other.0),
    };
    let flags = segment.p_flags(endian).0;
    let flag = |bit: elf::ProgramFlags, letter: char| match flags & bit.0 {
        0 => '-',
        _ => letter,
    };
    let address: u64 = segment.p_vaddr(endian).into();
    let file_bytes: u64 = segment.p_filesz(endian).into();
    let memory_bytes: u64 = segment.p_memsz(endian).into();
    let mut words = format!(
        "{kind} {}{}{} at {address:#x}, {memory_bytes} bytes",
        flag(elf::PF_R, 'r'),
        flag(elf::PF_W, 'w'),
        flag(elf::PF_X, 'x'),
    );
    if file_bytes != memory_bytes {
        words.push_str(&format!(", {file_bytes} of them in the file"));
    }
    words
}
