//! Which C source file code is from, by the debug information.

use std::borrow::Cow;
use std::rc::Rc;

use gimli::{EndianSlice, RunTimeEndian, SectionId};

use crate::elf::Elf;
use crate::unpack::{self, Budget};

/// Compilation units that are looked at, and ranges of code of all of them.
const UNITS_MAX: usize = 20_000;
/// Bytes of the names of all files and directories.
const NAMES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of the section with the shapes of entries: each unit may read all of it.
const SHAPES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a file's name, and of a directory's, that are kept.
const NAME_BYTES_MAX: usize = 512;

/// Code of one source file.
#[derive(Debug)]
pub(crate) struct CFile {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Without its directory.
    pub(crate) name: Rc<str>,
    /// Where it was compiled.
    pub(crate) directory: Rc<str>,
}

/// The content of a section of debug information, unpacked.
pub(crate) fn content<'f>(elf: &Elf<'f>, name: &str, budget: &mut Budget) -> Cow<'f, [u8]> {
    let Some(section) = elf.section(name.as_bytes()) else {
        return Cow::Borrowed(&[]);
    };
    if section.flags & object::elf::SHF_COMPRESSED.0 == 0 {
        return Cow::Borrowed(section.data);
    }
    // ElfXX_Chdr: what packed it (1: zlib), how large it is; for 64 bits with padding and an alignment of 8 bytes.
    let header = section.data;
    let u32_at = |at: usize| -> Option<u32> {
        let bytes = *header.get(at..)?.first_chunk()?;
        Some(match elf.little_endian {
            true => u32::from_le_bytes(bytes),
            false => u32::from_be_bytes(bytes),
        })
    };
    let mut unpacked = || {
        let is_64 = elf
            .header
            .iter()
            .any(|(field, value)| *field == "class" && value == "64 bits");
        let (size_at, header_bytes) = if is_64 { (8, 24) } else { (4, 12) };
        let bytes = u32_at(if is_64 && !elf.little_endian {
            size_at + 4
        } else {
            size_at
        })?;
        (u32_at(0)? == 1).then_some(())?;
        unpack::inflate(header.get(header_bytes..)?, bytes.into(), budget)
    };
    Cow::Owned(unpacked().unwrap_or_default())
}

/// By address. Empty when there is no debug information, or none that can be read.
pub(crate) fn c_files(elf: &Elf<'_>, budget: &mut Budget) -> Vec<CFile> {
    let held = budget.held_bytes;
    let files = files_within(elf, budget);
    budget.held_bytes = held;
    files
}

fn files_within(elf: &Elf<'_>, budget: &mut Budget) -> Vec<CFile> {
    let mut sections = Vec::new();
    for id in [
        SectionId::DebugInfo,
        SectionId::DebugAbbrev,
        SectionId::DebugStr,
        SectionId::DebugLineStr,
        SectionId::DebugLine,
        SectionId::DebugRanges,
        SectionId::DebugRngLists,
        SectionId::DebugAddr,
        SectionId::DebugStrOffsets,
    ] {
        sections.push((id, content(elf, id.name(), budget)));
    }
    let endian = match elf.little_endian {
        true => RunTimeEndian::Little,
        false => RunTimeEndian::Big,
    };
    let load = |id: SectionId| {
        let section = sections.iter().find(|(known, _)| *known == id);
        let bytes: &[u8] = section.map_or(&[], |(_, content)| content);
        Ok::<_, gimli::Error>(EndianSlice::new(bytes, endian))
    };
    let shapes = sections
        .iter()
        .find(|(id, _)| *id == SectionId::DebugAbbrev);
    if shapes.is_some_and(|(_, content)| content.len() > SHAPES_BYTES_MAX) {
        return Vec::new();
    }
    let Ok(dwarf) = gimli::Dwarf::load(load) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    let mut names_bytes = 0;
    let mut units = dwarf.units();
    for _ in 0..UNITS_MAX {
        let Ok(Some(header)) = units.next() else {
            break;
        };
        let Ok(unit) = dwarf.unit(header) else {
            continue;
        };
        let text = |text: Option<EndianSlice<'_, RunTimeEndian>>| {
            let bytes = text.map_or(&[][..], |text| text.slice());
            String::from_utf8_lossy(bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes)).into_owned()
        };
        let path = text(unit.name);
        let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name.is_empty() {
            continue;
        }
        let directory = match above {
            "" => text(unit.comp_dir),
            above if above.starts_with('/') => above.to_owned(),
            above => format!("{}/{above}", text(unit.comp_dir)),
        };
        names_bytes += name.len() + directory.len();
        if names_bytes > NAMES_BYTES_MAX || files.len() >= UNITS_MAX {
            break;
        }
        let (name, directory): (Rc<str>, Rc<str>) = (name.into(), directory.into());
        let Ok(mut ranges) = dwarf.unit_ranges(&unit) else {
            continue;
        };
        for _ in 0..UNITS_MAX {
            let Ok(Some(range)) = ranges.next() else {
                break;
            };
            if range.begin < range.end && files.len() < UNITS_MAX {
                files.push(CFile {
                    start: range.begin,
                    end: range.end,
                    name: name.clone(),
                    directory: directory.clone(),
                });
            }
        }
    }
    files.sort_by_key(|file| file.start);
    files
}

/// The file an address is of.
pub(crate) fn at(files: &[CFile], address: u64) -> Option<&CFile> {
    let after = files.partition_point(|file| file.start <= address);
    files
        .get(after.checked_sub(1)?)
        .filter(|file| address < file.end)
}
