//! The writer of ELF files by itself, read back with a reader of a dozen lines.

use std::collections::BTreeMap;
use std::io::Cursor;

use demo_builds::elf::{Access, Binding, Content, Elf, Machine, Section, Symbol, SymbolKind};
use solo5_elf::note::{abi_note, manifest_note};
use solo5_elf::{Abi, Device, DeviceType, Manifest, Target, Unikernel};

fn section(name: &str, access: Access, bytes: &[u8]) -> Section {
    Section::new(name, access, Content::Bytes(bytes.to_vec()))
}

#[test]
fn the_smallest_unikernel_is_two_notes() {
    let unikernel = Unikernel {
        manifest: Manifest {
            version: 1,
            devices: vec![Device {
                name: "disk".to_owned(),
                kind: DeviceType::BlockBasic,
            }],
        },
        abi: Abi {
            target: Target::Virtio,
            version: 1,
        },
    };
    let mut elf = Elf::new(Machine::Aarch64);
    for (name, note) in [
        (".note.solo5.abi", abi_note(&unikernel.abi)),
        (".note.solo5.manifest", manifest_note(&unikernel.manifest)),
    ] {
        elf.add_section(Section::new(name, Access::ReadOnly, Content::Note(note)));
    }
    for file in [elf.stripped(), elf.with_symbols()] {
        assert_eq!(solo5_elf::read(&mut Cursor::new(file)).unwrap(), unikernel);
    }
}

#[test]
fn a_file_without_sections_is_still_one_of_elf() {
    let file = Elf::new(Machine::X86_64).stripped();
    assert_eq!(
        sections(&file).into_keys().collect::<Vec<_>>(),
        ["", ".shstrtab"]
    );
    assert!(matches!(
        solo5_elf::read(&mut Cursor::new(file)),
        Err(solo5_elf::Error::NoNote)
    ));
}

#[test]
fn every_loaded_section_lies_at_its_place_of_the_page() {
    let mut elf = Elf::new(Machine::X86_64);
    elf.add_section(section(".debug_info", Access::NotLoaded, &[1; 33]));
    elf.add_section(section(".text", Access::Code, &[2; 5001]));
    elf.add_section(section(".rodata", Access::ReadOnly, &[3; 17]));
    elf.add_section(section(".data", Access::Writable, &[4; 9000]));
    elf.add_section(Section::new(
        ".bss",
        Access::Writable,
        Content::Zeroed(1 << 30),
    ));
    let (stripped, whole) = (elf.stripped(), elf.with_symbols());
    assert!(whole.len() < 40_000, "zeroes are not written");
    assert!(!sections(&stripped).contains_key(".debug_info"));
    let (stripped, whole) = (sections(&stripped), sections(&whole));
    assert_eq!(whole[".debug_info"].bytes, [1; 33]);
    for name in [".text", ".rodata", ".data"] {
        assert_eq!(stripped[name], whole[name], "{name}");
        assert_eq!(
            whole[name].address % 4096,
            whole[name].offset % 4096,
            "{name}"
        );
    }
    let pages = [".text", ".rodata", ".data"].map(|name| whole[name].address / 4096);
    assert!(
        pages.is_sorted_by(|left, right| left < right),
        "no page is both code and data"
    );
}

#[test]
fn local_symbols_come_first_and_name_their_section_wherever_it_moved() {
    let mut elf = Elf::new(Machine::X86_64);
    let info = elf.add_section(section(".debug_info", Access::NotLoaded, &[0; 8]));
    let text = elf.add_section(section(".text", Access::Code, &[0xc3; 64]));
    for (name, section, offset, binding) in [
        ("global", Some(text), 16, Binding::Global),
        ("weak", Some(text), 32, Binding::Weak),
        ("local", Some(text), 48, Binding::Local),
        ("entry", Some(info), 4, Binding::Local),
        ("file.c", None, 0, Binding::Local),
    ] {
        let kind = if section.is_none() {
            SymbolKind::File
        } else {
            SymbolKind::Function
        };
        elf.add_symbol(Symbol {
            name: name.to_owned(),
            section,
            offset,
            bytes: 8,
            kind,
            binding,
        });
    }
    let file = elf.with_symbols();
    let sections = sections(&file);
    let strings = &sections[".strtab"].bytes;
    let symbols: Vec<(String, usize, usize)> = sections[".symtab"]
        .bytes
        .chunks(24)
        .skip(1)
        .map(|symbol| {
            (
                text_at(strings, word(symbol, 0, 4)),
                word(symbol, 6, 2),
                word(symbol, 8, 8),
            )
        })
        .collect();
    let address = sections[".text"].address;
    let expected = [
        ("local", sections[".text"].index, address + 48),
        ("entry", sections[".debug_info"].index, 4),
        ("file.c", 0xfff1, 0),
        ("global", sections[".text"].index, address + 16),
        ("weak", sections[".text"].index, address + 32),
    ];
    assert_eq!(
        symbols,
        expected.map(|(name, index, value)| (name.to_owned(), index, value))
    );
    assert_eq!(sections[".symtab"].info, 4);
}

/// A section as its header has it.
#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) index: usize,
    pub(crate) address: usize,
    pub(crate) offset: usize,
    pub(crate) info: usize,
    pub(crate) bytes: Vec<u8>,
}

/// Sections by name.
pub(crate) fn sections(file: &[u8]) -> BTreeMap<String, Found> {
    let headers = word(file, 0x28, 8);
    let (count, names) = (word(file, 0x3c, 2), word(file, 0x3e, 2));
    let found = |index: usize| {
        let header = &file[headers + 64 * index..][..64];
        let (offset, bytes) = (word(header, 24, 8), word(header, 32, 8));
        let bytes = match word(header, 4, 4) {
            8 => Vec::new(),
            _ => file[offset..offset + bytes].to_vec(),
        };
        Found {
            index,
            address: word(header, 16, 8),
            offset,
            info: word(header, 44, 4),
            bytes,
        }
    };
    let names = found(names).bytes;
    let name = |index: usize| text_at(&names, word(file, headers + 64 * index, 4));
    (0..count)
        .map(|index| (name(index), found(index)))
        .collect()
}

pub(crate) fn word(bytes: &[u8], at: usize, width: usize) -> usize {
    let mut word = [0; 8];
    word[..width].copy_from_slice(&bytes[at..at + width]);
    usize::try_from(u64::from_le_bytes(word)).unwrap()
}

pub(crate) fn text_at(table: &[u8], at: usize) -> String {
    let text = table[at..].split(|byte| *byte == 0).next().unwrap();
    String::from_utf8(text.to_vec()).unwrap()
}
