//! Which source file the code of a binary is from, by its debug information.

use gimli::{EndianSlice, RunTimeEndian, Section as _};
use object::elf::SHF_COMPRESSED;
use object::read::elf::{FileHeader, SectionHeader, SectionTable};
use object::{Endian, Endianness};
use symbol_names::{is_runtime_path, package_of_path};

use super::Kind;
use crate::text;

/// Compilation units of debug information that are looked at; one for each C file.
const UNITS_MAX: usize = 4096;
/// Bytes of a unit's table of abbreviations. They have some KiB.
const ABBREVIATIONS_BYTES_MAX: usize = 32 * 1024;
/// Attributes of a unit's first entry. It has a dozen.
const ATTRIBUTES_MAX: usize = 64;
/// Ranges of addresses of all units.
const RANGES_MAX: usize = 200_000;

/// Which source file the code at an address is from, by its compilation unit.
pub(super) struct SourceFiles {
    files: Vec<SourceFile>,
    /// Start, end, file; by start.
    ranges: Vec<(u64, u64, usize)>,
}

pub(super) struct SourceFile {
    /// Its path tells whose it is.
    pub(super) package_is_known: bool,
    pub(super) kind: Kind,
    pub(super) group: String,
    pub(super) name: String,
}

type Slice<'f> = EndianSlice<'f, RunTimeEndian>;

impl SourceFiles {
    /// Debug information that is packed or damaged tells nothing: the symbols have to do.
    pub(super) fn read<H: FileHeader<Endian = Endianness>>(
        all: &SectionTable<'_, H>,
        endian: Endianness,
        file: &[u8],
    ) -> SourceFiles {
        let order = match endian.is_big_endian() {
            true => RunTimeEndian::Big,
            false => RunTimeEndian::Little,
        };
        let section = |id: gimli::SectionId| {
            let found = all.section_by_name(endian, id.name().as_bytes());
            let bytes = found
                .filter(|(_, section)| !section.sh_flags(endian).contains(SHF_COMPRESSED))
                .and_then(|(_, section)| section.data(endian, file).ok());
            Ok::<Slice<'_>, gimli::Error>(EndianSlice::new(bytes.unwrap_or_default(), order))
        };
        let mut files = SourceFiles {
            files: Vec::new(),
            ranges: Vec::new(),
        };
        if let Ok(dwarf) =
            gimli::DwarfSections::load(section).map(|sections| sections.borrow(|section| *section))
        {
            // What was read before the damage is as good as it was.
            let _: gimli::Result<()> = files.read_units(&dwarf, order);
        }
        files.ranges.sort_unstable();
        files
    }

    fn read_units(
        &mut self,
        dwarf: &gimli::Dwarf<Slice<'_>>,
        order: RunTimeEndian,
    ) -> gimli::Result<()> {
        let mut units = dwarf.units();
        let abbreviations = dwarf.debug_abbrev.reader().slice();
        for _ in 0..UNITS_MAX {
            let Some(header) = units.next()? else { break };
            let end = header
                .debug_abbrev_offset()
                .0
                .saturating_add(ABBREVIATIONS_BYTES_MAX);
            let bounded = abbreviations.get(..end).unwrap_or(abbreviations);
            let abbreviations = header.abbreviations(&gimli::DebugAbbrev::new(bounded, order));
            // A unit on its own may be damaged.
            if let Ok(abbreviations) = abbreviations {
                let _: gimli::Result<()> = self.read_unit(dwarf, header, &abbreviations);
            }
        }
        Ok(())
    }

    fn read_unit(
        &mut self,
        dwarf: &gimli::Dwarf<Slice<'_>>,
        header: gimli::UnitHeader<Slice<'_>>,
        abbreviations: &gimli::Abbreviations,
    ) -> gimli::Result<()> {
        let mut entries = header.entries(abbreviations);
        let Some(entry) = entries.next_dfs()? else {
            return Ok(());
        };
        let (mut name, mut directory) = (String::new(), String::new());
        let (mut low, mut high, mut ranges) = (None, None, None);
        for attribute in entry.attrs().iter().take(ATTRIBUTES_MAX) {
            let value = attribute.value();
            match attribute.name() {
                gimli::DW_AT_name => name = string(dwarf, value),
                gimli::DW_AT_comp_dir => directory = string(dwarf, value),
                gimli::DW_AT_low_pc => {
                    if let gimli::AttributeValue::Addr(address) = value {
                        low = Some(address);
                    }
                }
                gimli::DW_AT_high_pc => high = Some(value),
                gimli::DW_AT_ranges => {
                    if let gimli::AttributeValue::RangeListsRef(offset) = value {
                        ranges = Some(offset);
                    }
                }
                _ => {}
            }
        }
        if name.is_empty() || name.ends_with(".ml") {
            return Ok(());
        }
        let index = self.files.len();
        self.files.push(SourceFile::of(&directory, &name));
        if let Some(offset) = ranges {
            let mut ranges = dwarf.ranges.ranges(
                gimli::RangeListsOffset(offset.0),
                header.encoding(),
                low.unwrap_or_default(),
                &dwarf.debug_addr,
                gimli::DebugAddrBase(0),
            )?;
            while let Some(range) = ranges.next()? {
                self.add(range.begin, range.end, index);
                if self.ranges.len() >= RANGES_MAX {
                    break;
                }
            }
            return Ok(());
        }
        let end = match (low, high) {
            (Some(low), Some(gimli::AttributeValue::Addr(end))) if end > low => Some(end),
            (Some(low), Some(value)) => {
                value.udata_value().and_then(|bytes| low.checked_add(bytes))
            }
            _ => None,
        };
        if let (Some(low), Some(end)) = (low, end) {
            self.add(low, end, index);
        }
        Ok(())
    }

    fn add(&mut self, start: u64, end: u64, file: usize) {
        if start < end && self.ranges.len() < RANGES_MAX {
            self.ranges.push((start, end, file));
        }
    }

    pub(super) fn at(&self, address: u64) -> Option<&SourceFile> {
        let after = self.ranges.partition_point(|(start, ..)| *start <= address);
        let (_, end, file) = self.ranges.get(after.checked_sub(1)?)?;
        self.files.get(*file).filter(|_| address < *end)
    }
}

impl SourceFile {
    fn of(directory: &str, name: &str) -> SourceFile {
        let path = match name.starts_with('/') {
            true => name.to_owned(),
            false => format!("{directory}/{name}"),
        };
        let file = path.rsplit('/').next().unwrap_or_default();
        let (package_is_known, kind, group) = match package_of_path(&path) {
            _ if is_runtime_path(&path) => (true, Kind::Runtime, "runtime"),
            Some(package) => (true, Kind::C, package),
            None => (false, Kind::C, "C code"),
        };
        SourceFile {
            package_is_known,
            kind,
            group: text::cut(group, text::NAME_CHARS_MAX),
            name: text::cut(file, text::NAME_CHARS_MAX),
        }
    }
}

/// A string of debug information, cut off where names of files end.
fn string(dwarf: &gimli::Dwarf<Slice<'_>>, value: gimli::AttributeValue<Slice<'_>>) -> String {
    const PATH_BYTES_MAX: usize = 4096;
    let bytes = match value {
        gimli::AttributeValue::String(slice) => slice.slice(),
        gimli::AttributeValue::DebugStrRef(offset) => {
            let all = dwarf.debug_str.reader().slice();
            all.get(offset.0..).unwrap_or_default()
        }
        gimli::AttributeValue::DebugLineStrRef(offset) => {
            let all = dwarf.debug_line_str.reader().slice();
            all.get(offset.0..).unwrap_or_default()
        }
        _ => &[],
    };
    let bytes = bytes.get(..PATH_BYTES_MAX).unwrap_or(bytes);
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}
