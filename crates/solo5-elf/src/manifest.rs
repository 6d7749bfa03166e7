//! The manifest note: the devices a unikernel wants to be given.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use crate::{Error, malformed};

/// The devices a unikernel wants to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The version of the form of the manifest. Only 1 is known.
    pub version: u32,
    /// The devices, in the order of the manifest, without the reserved first entry. At most 63.
    pub devices: Vec<Device>,
}

/// A device a unikernel wants to be given under this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name. Any bytes are accepted, those that are no UTF-8 replaced.
    pub name: String,
    /// What kind of device it is.
    pub kind: DeviceType,
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceType {
    /// A network interface.
    NetBasic,
    /// A disk.
    BlockBasic,
}

impl DeviceType {
    /// `NET_BASIC`, as Solo5 calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceType::NetBasic => "NET_BASIC",
            DeviceType::BlockBasic => "BLOCK_BASIC",
        }
    }
}

impl fmt::Display for DeviceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const VERSION: u32 = 1;

/// With the reserved first one.
const ENTRIES_MAX: u32 = 64;

/// Padding, version and the number of entries.
const HEADER_BYTES: usize = 12;
const NAME_BYTES: usize = 68;
const ENTRY_BYTES: usize = 104;

/// The types of entries.
const BLOCK_BASIC: u32 = 1;
const NET_BASIC: u32 = 2;
const RESERVED_FIRST: u32 = 0x4000_0000;

/// Numbers are little-endian in any file. Checked in the order of the reference, so that the first complaint is the same.
pub(crate) fn parse(descriptor: &[u8]) -> Result<Manifest, Error> {
    let Some((header, body)) = descriptor.split_first_chunk::<HEADER_BYTES>() else {
        return Err(malformed("manifest", "too small"));
    };
    if body.len() < ENTRY_BYTES {
        return Err(malformed("manifest", "too small"));
    }
    let [_, _, _, _, v0, v1, v2, v3, n0, n1, n2, n3] = *header;
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    let entries_count = u32::from_le_bytes([n0, n1, n2, n3]);
    if version != VERSION {
        return Err(malformed(
            "manifest",
            format!("unsupported version: {version}"),
        ));
    }
    if entries_count == 0 {
        return Err(malformed("manifest", "zero entries"));
    }
    if entries_count > ENTRIES_MAX {
        return Err(malformed(
            "manifest",
            format!("too many entries: {entries_count}"),
        ));
    }
    let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
    if u32::try_from(entries.len()) != Ok(entries_count) || !rest.is_empty() {
        let problem = format!("{entries_count} entries in {} bytes", descriptor.len());
        return Err(malformed("manifest", problem));
    }
    let [first, devices @ ..] = entries else {
        return Err(malformed("manifest", "zero entries"));
    };
    match Entry::parse(first) {
        Ok(Entry::ReservedFirst) => {}
        Ok(Entry::Device(_)) | Err(_) => {
            return Err(malformed(
                "manifest",
                "the first entry is not the reserved one",
            ));
        }
    }
    let devices = devices.iter().map(|entry| match Entry::parse(entry)? {
        Entry::Device(device) => Ok(device),
        Entry::ReservedFirst => Err(malformed(
            "manifest",
            "a reserved entry that is not the first",
        )),
    });
    Ok(Manifest {
        version,
        devices: devices.collect::<Result<_, _>>()?,
    })
}

enum Entry {
    ReservedFirst,
    Device(Device),
}

impl Entry {
    /// Name, type, 16 and 8 bytes for the host to fill in, and whether it did. The 7 bytes at the end are not looked at.
    fn parse(entry: &[u8; ENTRY_BYTES]) -> Result<Entry, Error> {
        let (name, rest) = entry.split_at(NAME_BYTES);
        let (kind, rest) = rest.split_at(4);
        let (u, rest) = rest.split_at(16);
        let (b, rest) = rest.split_at(8);
        let Some(name_end) = name.iter().position(|byte| *byte == 0) else {
            return Err(malformed("manifest", "unterminated device name"));
        };
        for (field, bytes) in [
            ("u", u),
            ("b", b),
            ("attached", rest.get(..1).unwrap_or_default()),
        ] {
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(malformed(
                    "manifest",
                    format!("non-zero {field} in an entry"),
                ));
            }
        }
        let kind = kind
            .iter()
            .rev()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let kind = match kind {
            BLOCK_BASIC => DeviceType::BlockBasic,
            NET_BASIC => DeviceType::NetBasic,
            RESERVED_FIRST if name.iter().all(|byte| *byte == 0) => {
                return Ok(Entry::ReservedFirst);
            }
            RESERVED_FIRST => return Err(malformed("manifest", "a reserved entry with a name")),
            _ => return Err(malformed("manifest", format!("unknown entry type: {kind}"))),
        };
        let name = name.get(..name_end).unwrap_or_default();
        Ok(Entry::Device(Device {
            name: String::from_utf8_lossy(name).into_owned(),
            kind,
        }))
    }
}

pub(crate) fn descriptor(manifest: &Manifest) -> Vec<u8> {
    let entries_count = u32::try_from(manifest.devices.len().saturating_add(1)).unwrap_or(u32::MAX);
    let mut out = vec![0; 4];
    out.extend(manifest.version.to_le_bytes());
    out.extend(entries_count.to_le_bytes());
    push_entry(&mut out, b"", RESERVED_FIRST);
    for device in &manifest.devices {
        let kind = match device.kind {
            DeviceType::NetBasic => NET_BASIC,
            DeviceType::BlockBasic => BLOCK_BASIC,
        };
        push_entry(&mut out, device.name.as_bytes(), kind);
    }
    out
}

fn push_entry(out: &mut Vec<u8>, name: &[u8], kind: u32) {
    let terminated = name
        .iter()
        .copied()
        .take(NAME_BYTES.saturating_sub(1))
        .chain(std::iter::repeat(0));
    out.extend(terminated.take(NAME_BYTES));
    out.extend(kind.to_le_bytes());
    out.extend([0; 32]);
}
