//! Whole files: where the notes are looked for, and what is no unikernel.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use proptest::prelude::*;
use solo5_elf::DeviceType::NetBasic;
use solo5_elf::{Error, note};

use crate::elf::{
    File, Header, SECTION_HEADER_BYTES, big_endian, note_of, patched, read, refusal, unikernel,
};

fn sample() -> File {
    File::of(&unikernel(&[("service", NetBasic)]))
}

/// Where the header of the section with this number begins.
fn section_header(bytes: &[u8], number: usize) -> usize {
    bytes.len() - (sample().sections.len() + 2 - number) * SECTION_HEADER_BYTES
}

const INTERP: usize = 1;
const MANIFEST: usize = 4;
const NAMES: usize = 5;

#[test]
fn the_notes_are_found_by_the_names_of_their_sections() {
    assert_eq!(
        read(&sample().bytes()).unwrap(),
        unikernel(&[("service", NetBasic)])
    );
}

#[test]
fn without_section_headers_the_note_segments_are_searched() {
    let segments = File {
        header: Header::Segments,
        ..sample()
    };
    assert_eq!(
        read(&segments.bytes()).unwrap(),
        unikernel(&[("service", NetBasic)])
    );
    let mut without_abi = segments;
    without_abi
        .sections
        .retain(|(name, _)| *name != ".note.solo5.abi");
    assert!(matches!(read(&without_abi.bytes()), Err(Error::NoNote)));
}

#[test]
fn all_notes_may_stand_in_one_segment() {
    let file = sample();
    let all = [
        file.sections[1].1.clone(),
        file.sections[2].1.clone(),
        file.sections[3].1.clone(),
    ]
    .concat();
    let file = File {
        sections: vec![(".note", all)],
        header: Header::Segments,
        ..file
    };
    assert_eq!(
        read(&file.bytes()).unwrap(),
        unikernel(&[("service", NetBasic)])
    );
}

#[test]
fn a_file_without_any_headers_has_no_note() {
    let bytes = patched(sample().bytes(), 0x3c, &[0, 0]);
    assert!(matches!(read(&bytes), Err(Error::NoNote)));
}

#[test]
fn a_big_endian_file_is_read_in_its_order_and_its_notes_content_is_not() {
    let mut file = File {
        big_endian: true,
        ..sample()
    };
    for (name, content) in &mut file.sections {
        if name.starts_with(".note") {
            *content = big_endian(content.clone());
        }
    }
    assert_eq!(
        read(&file.bytes()).unwrap(),
        unikernel(&[("service", NetBasic)])
    );
    file.header = Header::Segments;
    assert_eq!(
        read(&file.bytes()).unwrap(),
        unikernel(&[("service", NetBasic)])
    );
}

#[test]
fn what_is_no_elf_file_of_64_bits_is_told_from_a_damaged_one() {
    let elf = sample().bytes();
    for bytes in [
        &b""[..],
        b"#!/bin/sh\nexec true\n",
        b"\x7fEL",
        b"!<arch>\n",
        b"PK\x03\x04",
        &patched(elf.clone(), 4, &[1]),
    ] {
        assert!(matches!(read(bytes), Err(Error::NotElf)), "{bytes:?}");
    }
    assert_eq!(refusal(b""), "not an ELF file of 64 bits");
    assert_eq!(
        refusal(&patched(elf.clone(), 5, &[3])),
        "ELF: unknown byte order: 3"
    );
    for padding in 9..16 {
        assert_eq!(
            refusal(&patched(elf.clone(), padding, &[1])),
            "ELF: non-zero padding in the header"
        );
    }
    assert!(
        read(&patched(elf, 7, &[3, 9])).is_ok(),
        "the system and its version may be any"
    );
}

#[test]
fn an_executable_without_the_notes_is_no_unikernel() {
    for missing in [".note.solo5.abi", ".note.solo5.manifest"] {
        let mut file = sample();
        file.sections.retain(|(name, _)| *name != missing);
        assert!(
            matches!(read(&file.bytes()), Err(Error::NoNote)),
            "{missing}"
        );
        assert_eq!(refusal(&file.bytes()), "no Solo5 manifest and ABI notes");
    }
}

#[test]
fn a_section_is_known_by_its_whole_name() {
    let mut file = sample();
    for (name, _) in &mut file.sections {
        *name = match *name {
            ".note.solo5.abi" => ".note.solo5.abi2",
            name => name,
        };
    }
    assert!(matches!(read(&file.bytes()), Err(Error::NoNote)));
}

#[test]
fn the_first_section_of_a_name_counts() {
    let mut file = sample();
    file.sections.push((
        ".note.solo5.manifest",
        note::manifest_note(&unikernel(&[]).manifest),
    ));
    assert_eq!(
        read(&file.bytes()).unwrap(),
        unikernel(&[("service", NetBasic)])
    );
}

#[test]
fn a_note_of_another_owner_or_type_is_passed_over() {
    let real = sample().sections[3].1.clone();
    let abi = sample().sections[2].1.clone();
    let others = [
        note_of(6, b"Solo6\0", 0x3154_464d, b"content"),
        note_of(5, b"Solo5", 0x3154_464d, b""),
        note_of(6, b"Solo5\0", 1, &[0; 5]),
        note_of(0, b"", 0x3154_464d, b"x"),
    ];
    for other in &others {
        let padded = [
            other.clone(),
            vec![0; other.len().next_multiple_of(4) - other.len()],
        ]
        .concat();
        let file = File::with([padded, real.clone()].concat(), abi.clone());
        assert_eq!(
            read(&file.bytes()).unwrap(),
            unikernel(&[("service", NetBasic)])
        );
        assert!(matches!(
            read(&File::with(other.clone(), abi.clone()).bytes()),
            Err(Error::NoNote)
        ));
    }
    assert!(matches!(
        read(&File::with(Vec::new(), abi).bytes()),
        Err(Error::NoNote)
    ));
}

#[test]
fn a_note_that_reaches_out_of_its_section_is_refused() {
    let file = sample();
    let (manifest, abi) = (&file.sections[3].1, &file.sections[2].1);
    for (offset, number) in [(0, [0xff; 4]), (4, [0xff; 4]), (4, [221, 0, 0, 0])] {
        let bytes = File::with(patched(manifest.clone(), offset, &number), abi.clone()).bytes();
        assert_eq!(
            refusal(&bytes),
            "ELF: a note that ends outside of its section"
        );
    }
    for size in 1..20 {
        let bytes = File::with(manifest[..size].to_vec(), abi.clone()).bytes();
        assert_eq!(
            refusal(&bytes),
            "ELF: a note that ends outside of its section"
        );
    }
}

#[test]
fn a_section_that_reaches_out_of_the_file_is_refused() {
    let bytes = sample().bytes();
    let header = section_header(&bytes, MANIFEST);
    let far = (bytes.len() as u64).to_le_bytes();
    assert_eq!(
        refusal(&patched(bytes.clone(), header + 24, &far)),
        "ELF: the notes lie outside of the file"
    );
    assert_eq!(
        refusal(&patched(bytes.clone(), header + 24, &[0xff; 8])),
        "ELF: the notes lie outside of the file"
    );
    let size = (64 * 1024_u64).to_le_bytes();
    assert_eq!(
        refusal(&patched(bytes.clone(), header + 32, &size)),
        "ELF: the notes lie outside of the file"
    );
    // Sections that are of no interest may lie anywhere.
    let interp = section_header(&bytes, INTERP);
    assert!(read(&patched(bytes, interp + 24, &[0xff; 16])).is_ok());
}

#[test]
fn no_more_is_read_than_the_limits_say() {
    let bytes = sample().bytes();
    let notes = patched(
        bytes.clone(),
        section_header(&bytes, MANIFEST) + 32,
        &(64 * 1024 + 1_u64).to_le_bytes(),
    );
    assert_eq!(
        refusal(&notes),
        "ELF: the notes have 65537 bytes, at most 65536 are read"
    );
    let names = patched(
        bytes.clone(),
        section_header(&bytes, NAMES) + 32,
        &(1024 * 1024 + 1_u64).to_le_bytes(),
    );
    assert_eq!(
        refusal(&names),
        "ELF: the names of the sections have 1048577 bytes, at most 1048576 are read"
    );
    let mut file = sample();
    file.sections[3].1.resize(64 * 1024, 0);
    assert!(read(&file.bytes()).is_ok());
    // As many note segments as are looked at, and one more.
    let other = (".note.other", note_of(4, b"GNU\0", 3, b""));
    for (others, found) in [(61, true), (62, true), (63, false)] {
        let mut file = File {
            header: Header::Segments,
            ..sample()
        };
        file.sections
            .retain(|(name, _)| name.contains("manifest") || name.contains("abi"));
        file.sections.splice(0..0, vec![other.clone(); others]);
        assert_eq!(read(&file.bytes()).is_ok(), found, "{others}");
    }
}

#[test]
fn every_section_must_have_a_name() {
    let bytes = sample().bytes();
    let message = "ELF: a section whose name is not among the names";
    for name in [1000_u32, u32::MAX] {
        let bytes = patched(
            bytes.clone(),
            section_header(&bytes, INTERP),
            &name.to_le_bytes(),
        );
        assert_eq!(refusal(&bytes), message);
    }
    // The last name without its NUL.
    let names = section_header(&bytes, NAMES);
    let size = u64::from_le_bytes(bytes[names + 32..names + 40].try_into().unwrap());
    assert_eq!(
        refusal(&patched(
            bytes.clone(),
            names + 32,
            &(size - 1).to_le_bytes()
        )),
        message
    );
    assert_eq!(refusal(&patched(bytes, names + 32, &[0; 8])), message);
}

#[test]
fn the_section_with_the_names_must_exist() {
    for index in [6_u16, 0xffff] {
        let bytes = patched(sample().bytes(), 0x3e, &index.to_le_bytes());
        assert_eq!(
            refusal(&bytes),
            "ELF: no section with the names of the sections"
        );
    }
}

#[test]
fn headers_must_have_their_size_and_lie_within_the_file() {
    let bytes = sample().bytes();
    assert_eq!(
        refusal(&patched(bytes.clone(), 0x3a, &[40])),
        "ELF: section headers of 40 bytes, 64 wanted"
    );
    assert_eq!(
        refusal(&patched(bytes.clone(), 0x3c, &[0xff; 2])),
        "ELF: the section headers lie outside of the file"
    );
    // All 64 bits of the offset count, not only the lower 32.
    assert_eq!(
        refusal(&patched(bytes.clone(), 0x2c, &[1])),
        "ELF: the section headers lie outside of the file"
    );
    assert_eq!(
        refusal(&patched(bytes, 0x28, &[0xff; 8])),
        "ELF: the section headers lie outside of the file"
    );
    let segments = File {
        header: Header::Segments,
        ..sample()
    }
    .bytes();
    assert_eq!(
        refusal(&patched(segments.clone(), 0x36, &[57])),
        "ELF: segment headers of 57 bytes, 56 wanted"
    );
    assert_eq!(
        refusal(&patched(segments, 0x20, &[0xff; 8])),
        "ELF: the segment headers lie outside of the file"
    );
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    for header in [Header::Sections, Header::Segments] {
        let bytes = File { header, ..sample() }.bytes();
        for end in 0..bytes.len() {
            let error = read(&bytes[..end]).unwrap_err();
            assert_eq!(matches!(error, Error::NotElf), end < 6, "{error}");
        }
    }
}

#[test]
fn only_headers_and_notes_are_read_of_a_large_file() {
    // A hole of 8 GiB between the header and the rest.
    let small = sample().bytes();
    let hole = 8_u64 << 30;
    let mut shifted = patched(
        small.clone(),
        0x28,
        &(section_header(&small, 0) as u64 + hole).to_le_bytes(),
    );
    for number in 0..=NAMES {
        let at = section_header(&small, number) + 24;
        let offset = u64::from_le_bytes(shifted[at..at + 8].try_into().unwrap());
        shifted = patched(shifted, at, &(offset + hole).to_le_bytes());
    }
    let mut file = WithHole {
        bytes: &shifted,
        hole,
        position: 0,
        read_bytes: 0,
    };
    assert_eq!(
        solo5_elf::read(&mut file).unwrap(),
        unikernel(&[("service", NetBasic)])
    );
    assert!(file.read_bytes < 2000, "{}", file.read_bytes);
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_cause() {
    let error = solo5_elf::read(&mut Failing).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the file");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "disk on fire"
    );
}

proptest! {
    #[test]
    fn no_changed_bytes_make_it_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), segments: bool) {
        let header = if segments { Header::Segments } else { Header::Sections };
        let mut bytes = File { header, ..sample() }.bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes);
    }
}

/// Zeros between the first 64 bytes and the others.
struct WithHole<'a> {
    bytes: &'a [u8],
    hole: u64,
    position: u64,
    read_bytes: usize,
}

impl Read for WithHole<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (offset, end) = match self.position {
            position @ 0..64 => (position, 64),
            position if position >= 64 + self.hole => (position - self.hole, self.bytes.len()),
            _ => panic!("the hole is read"),
        };
        let start = usize::try_from(offset).expect("small").min(end);
        let read = (&self.bytes[start..end]).read(out)?;
        self.position += read as u64;
        self.read_bytes += read;
        Ok(read)
    }
}

impl Seek for WithHole<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            _ => self.bytes.len() as u64 + self.hole,
        };
        Ok(self.position)
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("disk on fire"))
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        Cursor::new(b"").seek(to)
    }
}
