//! The form of both notes, and how to write them: for tests, and for unikernels made up for a demonstration.

use crate::manifest::{self, Manifest};
use crate::{Abi, abi};

pub(crate) const OWNER: &[u8; 6] = b"Solo5\0";

/// What a note is about: `MFT1` and `ABI1`, as little-endian numbers.
pub(crate) const MANIFEST: u32 = 0x3154_464d;
pub(crate) const ABI: u32 = 0x3149_4241;

/// The bytes of a section `.note.solo5.abi`.
pub fn abi_note(abi: &Abi) -> Vec<u8> {
    write(ABI, &abi::descriptor(abi))
}

/// The bytes of a section `.note.solo5.manifest`. Names of devices are cut to the 67 bytes that fit; how many devices
/// there are is not checked, though a reader takes 63 at most.
pub fn manifest_note(manifest: &Manifest) -> Vec<u8> {
    write(MANIFEST, &manifest::descriptor(manifest))
}

fn write(kind: u32, descriptor: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    let owner_bytes = 6_u32;
    let descriptor_bytes = u32::try_from(descriptor.len()).unwrap_or(u32::MAX);
    for number in [owner_bytes, descriptor_bytes, kind] {
        note.extend(number.to_le_bytes());
    }
    note.extend(OWNER);
    note.extend([0; 2]); // to a multiple of four
    note.extend(descriptor);
    note
}
