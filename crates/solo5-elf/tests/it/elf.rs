//! ELF files made up for the tests.

use std::io::Cursor;

use solo5_elf::{Abi, Device, DeviceType, Error, Manifest, Target, Unikernel, note};

/// What a file is made of. Everything else about it is as small as can be.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) sections: Vec<(&'static str, Vec<u8>)>,
    pub(crate) big_endian: bool,
    pub(crate) header: Header,
}

/// Which headers it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    Sections,
    Segments,
}

/// The size of a section header; they are the last thing in a file.
pub(crate) const SECTION_HEADER_BYTES: usize = 64;

impl File {
    pub(crate) fn of(unikernel: &Unikernel) -> File {
        File::with(
            note::manifest_note(&unikernel.manifest),
            note::abi_note(&unikernel.abi),
        )
    }

    pub(crate) fn with(manifest: Vec<u8>, abi: Vec<u8>) -> File {
        let sections = vec![
            (".interp", b"/nonexistent/solo5/\0".to_vec()),
            (
                ".note.solo5.not_openbsd",
                note_of(8, b"OpenBSD\0", 1, &[0; 4]),
            ),
            (".note.solo5.abi", abi),
            (".note.solo5.manifest", manifest),
        ];
        File {
            sections,
            big_endian: false,
            header: Header::Sections,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0; 64];
        let mut places = vec![(0_usize, 0, 0)]; // the section that is none
        let mut names = vec![0];
        for (name, content) in &self.sections {
            out.resize(out.len().next_multiple_of(4), 0);
            places.push((names.len(), out.len(), content.len()));
            names.extend(name.bytes().chain([0]));
            out.extend(content);
        }
        let name = names.len();
        names.extend(b".shstrtab\0");
        places.push((name, out.len(), names.len()));
        out.extend(&names);
        out.resize(out.len().next_multiple_of(8), 0);

        let headers = out.len();
        for (name, offset, size) in &places {
            match self.header {
                Header::Sections => {
                    let header = out.len();
                    out.resize(header + SECTION_HEADER_BYTES, 0);
                    self.put(&mut out, header, 4, *name);
                    self.put(&mut out, header + 24, 8, *offset);
                    self.put(&mut out, header + 32, 8, *size);
                }
                Header::Segments => {
                    let header = out.len();
                    out.resize(header + 56, 0);
                    let note = self
                        .sections
                        .iter()
                        .zip(&places[1..])
                        .any(|((name, _), (_, at, _))| at == offset && name.starts_with(".note"));
                    self.put(&mut out, header, 4, if note { 4 } else { 1 });
                    self.put(&mut out, header + 8, 8, *offset);
                    self.put(&mut out, header + 32, 8, *size);
                }
            }
        }
        out[..4].copy_from_slice(b"\x7fELF");
        out[4] = 2;
        out[5] = if self.big_endian { 2 } else { 1 };
        out[6] = 1;
        let (offset, size, count) = match self.header {
            Header::Sections => (0x28, (0x3a, 64), 0x3c),
            Header::Segments => (0x20, (0x36, 56), 0x38),
        };
        self.put(&mut out, offset, 8, headers);
        self.put(&mut out, size.0, 2, size.1);
        self.put(&mut out, count, 2, places.len());
        if self.header == Header::Sections {
            self.put(&mut out, 0x3e, 2, places.len() - 1);
        }
        out
    }

    /// Writes a number in the byte order of the file.
    fn put(&self, out: &mut [u8], offset: usize, bytes: usize, number: usize) {
        let number = u64::try_from(number).expect("64 bits");
        let (big, little) = (number.to_be_bytes(), number.to_le_bytes());
        let number = if self.big_endian {
            &big[8 - bytes..]
        } else {
            &little[..bytes]
        };
        out[offset..offset + bytes].copy_from_slice(number);
    }
}

/// Any note, with numbers in little-endian order.
pub(crate) fn note_of(owner_bytes: u32, owner: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
    let content_bytes = u32::try_from(content.len()).expect("short");
    let mut note: Vec<u8> = [owner_bytes, content_bytes, kind]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    note.extend(owner);
    note.resize(note.len().next_multiple_of(4), 0);
    note.extend(content);
    note
}

/// The same note with its three numbers in big-endian order.
pub(crate) fn big_endian(mut note: Vec<u8>) -> Vec<u8> {
    for number in note[..12].chunks_mut(4) {
        number.reverse();
    }
    note
}

pub(crate) fn unikernel(devices: &[(&str, DeviceType)]) -> Unikernel {
    let devices = devices.iter().map(|(name, kind)| Device {
        name: (*name).to_owned(),
        kind: *kind,
    });
    Unikernel {
        manifest: Manifest {
            version: 1,
            devices: devices.collect(),
        },
        abi: Abi {
            target: Target::Hvt,
            version: 2,
        },
    }
}

pub(crate) fn read(bytes: &[u8]) -> Result<Unikernel, Error> {
    solo5_elf::read(&mut Cursor::new(bytes))
}

pub(crate) fn refusal(bytes: &[u8]) -> String {
    read(bytes).expect_err("this is no unikernel").to_string()
}

/// Replaces bytes.
pub(crate) fn patched(mut bytes: Vec<u8>, offset: usize, new: &[u8]) -> Vec<u8> {
    bytes[offset..offset + new.len()].copy_from_slice(new);
    bytes
}
