//! Headers, segments and notes of two ELF files.

use std::io::Cursor;

use crate::causes::{KnownPart, hex, printable};
use crate::elf::{Elf, Section};
use crate::limits::Limits;
use crate::report::{FieldChange, Kind, Listed, NoteDiff, Presence};

/// Notes of one file that are read.
const NOTES_MAX: usize = 64;
/// Bytes of a note that are shown.
const NOTE_BYTES_MAX: usize = 64;

/// GNU's note with the build id.
const BUILD_ID: u32 = 3;
const SOLO5_MANIFEST: u32 = 0x3154_464d;
const SOLO5_ABI: u32 = 0x3149_4241;

pub(crate) fn header(left: &Elf<'_>, right: &Elf<'_>) -> Vec<FieldChange> {
    left.header
        .iter()
        .zip(&right.header)
        .filter(|((_, left), (_, right))| left != right)
        .map(|((field, left), (_, right))| FieldChange {
            field: (*field).to_owned(),
            left: left.clone(),
            right: right.clone(),
        })
        .collect()
}

pub(crate) fn segments(left: &Elf<'_>, right: &Elf<'_>, limits: &Limits) -> Listed<FieldChange> {
    let count = left.segments.len().max(right.segments.len());
    let at = |elf: &Elf<'_>, number: usize| elf.segments.get(number).cloned().unwrap_or_default();
    let changes = (0..count)
        .map(|number| FieldChange {
            field: format!("segment {number}"),
            left: at(left, number),
            right: at(right, number),
        })
        .filter(|change| change.left != change.right);
    Listed::cut(changes.collect(), limits.listed_max)
}

/// A note, with where its content is in the file.
pub(crate) struct Note<'f> {
    owner: &'f [u8],
    kind: u32,
    content: &'f [u8],
    offset: u64,
}

pub(crate) fn notes<'f>(elf: &Elf<'f>) -> Vec<Note<'f>> {
    let mut notes = Vec::new();
    for section in elf.sections.iter().filter(|section| section.is_note()) {
        read_notes(elf, section, &mut notes);
    }
    notes
}

/// Three numbers, the owner, the content, both padded to a multiple of four.
fn read_notes<'f>(elf: &Elf<'f>, section: &Section<'f>, notes: &mut Vec<Note<'f>>) {
    let number = |bytes: &[u8]| -> Option<u32> {
        let bytes = *bytes.first_chunk()?;
        Some(match elf.little_endian {
            true => u32::from_le_bytes(bytes),
            false => u32::from_be_bytes(bytes),
        })
    };
    let mut at = 0;
    while notes.len() < NOTES_MAX {
        let note = section.data.get(at..).and_then(|rest| {
            let owner_bytes = usize::try_from(number(rest)?).ok()?;
            let content_bytes = usize::try_from(number(rest.get(4..)?)?).ok()?;
            let kind = number(rest.get(8..)?)?;
            let content_at = 12_usize.checked_add(owner_bytes.checked_next_multiple_of(4)?)?;
            let end = content_at.checked_add(content_bytes)?;
            let note = Note {
                owner: rest.get(12..12_usize.checked_add(owner_bytes)?)?,
                kind,
                content: rest.get(content_at..end)?,
                offset: section.offset.checked_add((at + content_at) as u64)?,
            };
            Some((note, end.checked_next_multiple_of(4)?))
        });
        let Some((note, bytes)) = note else { return };
        notes.push(note);
        at += bytes;
    }
}

impl Note<'_> {
    fn owner(&self) -> String {
        let owner = self
            .owner
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        printable(owner.get(..64).unwrap_or(owner))
    }

    fn is_build_id(&self) -> bool {
        self.owner == b"GNU\0" && self.kind == BUILD_ID
    }

    fn name(&self) -> String {
        match (self.owner, self.kind) {
            (b"GNU\0", BUILD_ID) => "build id".to_owned(),
            (b"GNU\0", 1) => "GNU ABI".to_owned(),
            (b"GNU\0", 5) => "GNU properties".to_owned(),
            (b"Solo5\0", SOLO5_MANIFEST) => "Solo5 manifest".to_owned(),
            (b"Solo5\0", SOLO5_ABI) => "Solo5 ABI".to_owned(),
            _ => format!("{} {:#x}", self.owner(), self.kind),
        }
    }

    fn words(&self, unikernel: Option<&solo5_elf::Unikernel>) -> String {
        match (self.owner, self.kind, unikernel) {
            (b"Solo5\0", SOLO5_MANIFEST, Some(unikernel)) => manifest_words(&unikernel.manifest),
            (b"Solo5\0", SOLO5_ABI, Some(unikernel)) => abi_words(&unikernel.abi),
            _ => match self.content.get(..NOTE_BYTES_MAX) {
                Some(cut) if self.content.len() > NOTE_BYTES_MAX => {
                    format!("{}… ({} bytes)", hex(cut), self.content.len())
                }
                _ => hex(self.content),
            },
        }
    }
}

fn manifest_words(manifest: &solo5_elf::Manifest) -> String {
    let devices: Vec<String> = manifest
        .devices
        .iter()
        .map(|device| format!("{} {:?}", device.kind.as_str(), device.name))
        .collect();
    match devices.as_slice() {
        [] => format!("version {}, no devices", manifest.version),
        devices => format!("version {}, {}", manifest.version, devices.join(", ")),
    }
}

fn abi_words(abi: &solo5_elf::Abi) -> String {
    format!("{}, version {}", abi.target.as_str(), abi.version)
}

/// All notes of both, those of the same name in their order.
pub(crate) fn compare(
    (left_file, left): (&[u8], &[Note<'_>]),
    (right_file, right): (&[u8], &[Note<'_>]),
    limits: &Limits,
) -> Listed<NoteDiff> {
    let unikernel = |file: &[u8]| solo5_elf::read(&mut Cursor::new(file)).ok();
    let (left_solo5, right_solo5) = (unikernel(left_file), unikernel(right_file));
    let mut taken = vec![false; right.len()];
    let mut all = Vec::new();
    for note in left {
        let other = right.iter().zip(&mut taken).find(|(other, taken)| {
            !**taken && other.owner == note.owner && other.kind == note.kind
        });
        let other = other.map(|(other, taken)| {
            *taken = true;
            other
        });
        all.push(NoteDiff {
            name: note.name(),
            presence: match other {
                None => Presence::OnlyLeft,
                Some(other) if other.content == note.content => Presence::Same,
                Some(_) => Presence::Differs,
            },
            left: Some(note.words(left_solo5.as_ref())),
            right: other.map(|other| other.words(right_solo5.as_ref())),
        });
    }
    let rest = right.iter().zip(&taken).filter(|(_, taken)| !**taken);
    all.extend(rest.map(|(note, _)| NoteDiff {
        name: note.name(),
        presence: Presence::OnlyRight,
        left: None,
        right: Some(note.words(right_solo5.as_ref())),
    }));
    Listed::cut(all, limits.listed_max)
}

/// The build id and the checksum of the debug file: both follow from the rest.
pub(crate) fn known_parts(elf: &Elf<'_>, notes: &[Note<'_>]) -> Vec<KnownPart> {
    let place = |offset: u64, bytes: u64| {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(bytes).ok()?)?;
        Some(KnownPart {
            bytes: start..end,
            kind: Kind::BuildId,
        })
    };
    let build_ids = notes
        .iter()
        .filter(|note| note.is_build_id())
        .filter_map(|note| place(note.offset, note.content.len() as u64));
    // The name of the debug file, padded, then the checksum in the last four bytes.
    let debug_link = elf
        .section(b".gnu_debuglink")
        .filter(|section| section.data.len() > 4)
        .and_then(|section| {
            place(
                section.offset.checked_add(section.bytes)?.checked_sub(4)?,
                4,
            )
        });
    build_ids.chain(debug_link).collect()
}

/// The build id, in hexadecimal.
pub(crate) fn build_id(notes: &[Note<'_>]) -> Option<String> {
    let note = notes.iter().find(|note| note.is_build_id())?;
    Some(hex(note
        .content
        .get(..NOTE_BYTES_MAX)
        .unwrap_or(note.content)))
}
