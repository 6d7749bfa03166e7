//! Where the two notes are in an ELF file. Knows ELF headers; knows nothing of what the notes say.
//!
//! They are found by the names of their sections, as the reference does, and in a file without section headers by its
//! note segments, as Solo5's own tools do.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io::{Read, Seek, SeekFrom};

use crate::{Error, malformed, note};

/// The content of both notes.
pub(crate) struct Notes {
    pub(crate) manifest: Vec<u8>,
    pub(crate) abi: Vec<u8>,
}

/// The names of all sections. Some hundred bytes are usual, a few KiB in a file with debug information.
const NAMES_BYTES_MAX: u64 = 1024 * 1024;

/// A section or segment of notes: the largest manifest has 6,688 bytes, and others may stand beside it.
const NOTES_BYTES_MAX: u64 = 64 * 1024;

/// How many segments of notes are looked at. A unikernel has four.
const NOTE_SEGMENTS_MAX: usize = 64;

const HEADER_BYTES: usize = 64;
const SECTION_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;

const NOTE_SEGMENT: u32 = 4;

impl Notes {
    pub(crate) fn find(file: &mut (impl Read + Seek)) -> Result<Notes, Error> {
        let mut elf = Elf::open(file)?;
        if elf.sections.count == 0 || elf.sections.offset == 0 || elf.names_section == 0 {
            return Notes::in_segments(&mut elf);
        }
        let manifest_name: &[u8] = b".note.solo5.manifest\0";
        let abi_name: &[u8] = b".note.solo5.abi\0";
        let [manifest, abi] = elf.sections_named([manifest_name, abi_name])?;
        let (Some(manifest), Some(abi)) = (manifest, abi) else {
            return Err(Error::NoNote);
        };
        let manifest = elf
            .notes(manifest)?
            .of_type(note::MANIFEST)?
            .ok_or(Error::NoNote)?;
        let abi = elf.notes(abi)?.of_type(note::ABI)?.ok_or(Error::NoNote)?;
        Ok(Notes { manifest, abi })
    }

    fn in_segments(elf: &mut Elf<'_, impl Read + Seek>) -> Result<Notes, Error> {
        let (mut manifest, mut abi) = (None, None);
        for place in elf.note_segments()? {
            let notes = elf.notes(place)?;
            manifest = manifest.or(notes.of_type(note::MANIFEST)?);
            abi = abi.or(notes.of_type(note::ABI)?);
        }
        match (manifest, abi) {
            (Some(manifest), Some(abi)) => Ok(Notes { manifest, abi }),
            _ => Err(Error::NoNote),
        }
    }
}

/// An ELF file whose header is read.
struct Elf<'f, F> {
    file: &'f mut F,
    file_bytes: u64,
    order: ByteOrder,
    sections: Table,
    names_section: u16,
    segments: Table,
}

#[derive(Clone, Copy)]
enum ByteOrder {
    Little,
    Big,
}

/// Headers of the same size, one after the other.
#[derive(Clone, Copy)]
struct Table {
    offset: u64,
    count: u16,
    header_bytes: u16,
}

/// A piece of the file, not yet known to lie within it.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    bytes: u64,
}

/// The bytes of a section or segment of notes.
struct NoteBytes {
    bytes: Vec<u8>,
    order: ByteOrder,
}

impl<'f, F: Read + Seek> Elf<'f, F> {
    fn open(file: &'f mut F) -> Result<Elf<'f, F>, Error> {
        let file_bytes = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut header = Vec::new();
        file.take(64).read_to_end(&mut header)?;
        let &[0x7f, b'E', b'L', b'F', class, order, ..] = header.as_slice() else {
            return Err(Error::NotElf);
        };
        if class != 2 {
            return Err(Error::NotElf);
        }
        let order = match order {
            1 => ByteOrder::Little,
            2 => ByteOrder::Big,
            _ => return Err(malformed("ELF", format!("unknown byte order: {order}"))),
        };
        let Some(header) = header.first_chunk::<HEADER_BYTES>() else {
            return Err(malformed("ELF", "the file ends inside its header"));
        };
        if header
            .get(9..16)
            .is_none_or(|padding| padding.iter().any(|byte| *byte != 0))
        {
            return Err(malformed("ELF", "non-zero padding in the header"));
        }
        Ok(Elf {
            file,
            file_bytes,
            order,
            segments: Table {
                offset: order.u64_at(header, 0x20),
                header_bytes: order.u16_at(header, 0x36),
                count: order.u16_at(header, 0x38),
            },
            sections: Table {
                offset: order.u64_at(header, 0x28),
                header_bytes: order.u16_at(header, 0x3a),
                count: order.u16_at(header, 0x3c),
            },
            names_section: order.u16_at(header, 0x3e),
        })
    }

    /// The first section of each name, which is to end in NUL. All sections must have a name, as the reference demands.
    fn sections_named<const N: usize>(
        &mut self,
        names: [&[u8]; N],
    ) -> Result<[Option<Place>; N], Error> {
        let table = self.table(self.sections, SECTION_BYTES, "section")?;
        let (sections, _) = table.as_chunks::<SECTION_BYTES>();
        let Some(names_section) = sections.get(usize::from(self.names_section)) else {
            return Err(malformed(
                "ELF",
                "no section with the names of the sections",
            ));
        };
        let known = self.read(
            self.section_place(names_section),
            NAMES_BYTES_MAX,
            "the names of the sections",
        )?;
        let mut places = [None; N];
        // What stands before the last NUL ends at one.
        let (last, _) = known
            .iter()
            .enumerate()
            .rfind(|(_, byte)| **byte == 0)
            .unzip();
        for section in sections {
            let start = usize::try_from(self.order.u32_at(section, 0)).unwrap_or(usize::MAX);
            if last.is_none_or(|last| start > last) {
                return Err(malformed(
                    "ELF",
                    "a section whose name is not among the names",
                ));
            }
            let name = known.get(start..).unwrap_or_default();
            for (place, wanted) in places.iter_mut().zip(names) {
                if place.is_none() && name.starts_with(wanted) {
                    *place = Some(self.section_place(section));
                }
            }
        }
        Ok(places)
    }

    fn section_place(&self, section: &[u8; SECTION_BYTES]) -> Place {
        Place {
            offset: self.order.u64_at(section, 24),
            bytes: self.order.u64_at(section, 32),
        }
    }

    fn note_segments(&mut self) -> Result<Vec<Place>, Error> {
        if self.segments.count == 0 {
            return Ok(Vec::new());
        }
        let table = self.table(self.segments, SEGMENT_BYTES, "segment")?;
        let (segments, _) = table.as_chunks::<SEGMENT_BYTES>();
        let notes = segments
            .iter()
            .filter(|segment| self.order.u32_at(*segment, 0) == NOTE_SEGMENT);
        let place = |segment: &[u8; SEGMENT_BYTES]| Place {
            offset: self.order.u64_at(segment, 8),
            bytes: self.order.u64_at(segment, 32),
        };
        Ok(notes.map(place).take(NOTE_SEGMENTS_MAX).collect())
    }

    /// All headers of a table; at most 65,535 of them, since that is what fits into their count.
    fn table(&mut self, table: Table, header_bytes: usize, name: &str) -> Result<Vec<u8>, Error> {
        if usize::from(table.header_bytes) != header_bytes {
            let problem = format!(
                "{name} headers of {} bytes, {header_bytes} wanted",
                table.header_bytes
            );
            return Err(malformed("ELF", problem));
        }
        let bytes = u64::from(table.count).saturating_mul(u64::from(table.header_bytes));
        self.read(
            Place {
                offset: table.offset,
                bytes,
            },
            bytes,
            &format!("the {name} headers"),
        )
    }

    fn notes(&mut self, place: Place) -> Result<NoteBytes, Error> {
        Ok(NoteBytes {
            bytes: self.read(place, NOTES_BYTES_MAX, "the notes")?,
            order: self.order,
        })
    }

    fn read(&mut self, place: Place, bytes_max: u64, name: &str) -> Result<Vec<u8>, Error> {
        let Place { offset, bytes } = place;
        if bytes > bytes_max {
            return Err(malformed(
                "ELF",
                format!("{name} have {bytes} bytes, at most {bytes_max} are read"),
            ));
        }
        if offset
            .checked_add(bytes)
            .is_none_or(|end| end > self.file_bytes)
        {
            return Err(malformed("ELF", format!("{name} lie outside of the file")));
        }
        self.file.seek(SeekFrom::Start(offset))?;
        let mut read = Vec::new();
        self.file.take(bytes).read_to_end(&mut read)?;
        match u64::try_from(read.len()) == Ok(bytes) {
            true => Ok(read),
            false => Err(malformed(
                "ELF",
                format!("the file was cut short while {name} were read"),
            )),
        }
    }
}

impl NoteBytes {
    /// The content of the first note of Solo5 and this type.
    fn of_type(&self, wanted: u32) -> Result<Option<Vec<u8>>, Error> {
        let cut_off = || malformed("ELF", "a note that ends outside of its section");
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            let (header, after) = rest.split_first_chunk::<12>().ok_or_else(cut_off)?;
            let owner_bytes = self.order.u32_at(header, 0);
            let content_bytes = self.order.u32_at(header, 4);
            let kind = self.order.u32_at(header, 8);
            let (owner, after) = split_padded(after, owner_bytes).ok_or_else(cut_off)?;
            let (content, after) = split_padded(after, content_bytes).ok_or_else(cut_off)?;
            if kind == wanted && owner == note::OWNER {
                return Ok(Some(content.to_vec()));
            }
            rest = after;
        }
        Ok(None)
    }
}

/// So many bytes, and what comes after them at a multiple of four. The padding of the last one may be missing.
fn split_padded(bytes: &[u8], count: u32) -> Option<(&[u8], &[u8])> {
    let (taken, after) = bytes.split_at_checked(usize::try_from(count).ok()?)?;
    let padding = taken.len().wrapping_neg() & 3;
    Some((taken, after.get(padding..).unwrap_or_default()))
}

impl ByteOrder {
    // A number that reaches out of its header would be zero; the offsets here are constants that lie within.

    fn u16_at(self, bytes: &[u8], offset: usize) -> u16 {
        let bytes = array_at(bytes, offset);
        match self {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32_at(self, bytes: &[u8], offset: usize) -> u32 {
        let bytes = array_at(bytes, offset);
        match self {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u64_at(self, bytes: &[u8], offset: usize) -> u64 {
        let bytes = array_at(bytes, offset);
        match self {
            ByteOrder::Little => u64::from_le_bytes(bytes),
            ByteOrder::Big => u64::from_be_bytes(bytes),
        }
    }
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes
        .get(offset..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .unwrap_or([0; N])
}
