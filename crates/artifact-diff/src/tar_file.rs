//! The members of a tar archive.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use crate::archive::{Field, Member, Members, path};
use crate::report::Kind;
use crate::unpack::Budget;

const BLOCK_BYTES: usize = 512;
/// Bytes of the headers of one member, long names and other extensions among them: they are held in memory.
const HEADERS_BYTES_MAX: usize = 256 * 1024;
const HEADERS_TOO_LONG: &str = "the headers of a member are too long";

/// Whether a file begins with the header of a member: its checksum is right.
pub(crate) fn is_tar(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<BLOCK_BYTES>() else {
        return false;
    };
    let sum: u32 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| match (148..156).contains(&at) {
            true => 32,
            false => u32::from(*byte),
        })
        .sum();
    let digits = header.get(148..156).unwrap_or_default();
    let text = String::from_utf8_lossy(digits);
    let text = text.trim_matches([' ', '\0']);
    // 256 is the sum of an empty block, which begins no archive.
    sum > 256 && u32::from_str_radix(text, 8) == Ok(sum)
}

/// An archive of which headers are read, and contents skipped.
struct Headers<'b> {
    archive: Cursor<&'b [u8]>,
    /// Bytes read since the last member.
    read: &'b Cell<usize>,
}

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.archive.read(buffer)?;
        self.read.set(self.read.get() + count);
        match self.read.get() > HEADERS_BYTES_MAX {
            true => Err(io::Error::other(HEADERS_TOO_LONG)),
            false => Ok(count),
        }
    }
}

impl Seek for Headers<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.archive.seek(position)
    }
}

pub(crate) fn members(bytes: &[u8], budget: &mut Budget) -> Result<Members, String> {
    let read = Cell::new(0);
    let mut archive = tar::Archive::new(Headers {
        archive: Cursor::new(bytes),
        read: &read,
    });
    let entries = archive
        .entries_with_seek()
        .map_err(|error| format!("cannot be read as a tar archive: {error}"))?;
    let mut members = Vec::new();
    let mut end = 0;
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot be read as a tar archive: {error}"))?;
        let header = entry.header();
        let content_bytes = entry.size();
        let position = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        let start = position(entry.raw_file_position());
        let stop = start
            .saturating_add(position(content_bytes))
            .min(bytes.len());
        if start > stop {
            return Err("cannot be read as a tar archive: a member lies outside of it".to_owned());
        }
        let text = |bytes: Option<&[u8]>| bytes.map(path).unwrap_or_default();
        let number = |number: std::io::Result<u64>| {
            number.map_or_else(|_| "unreadable".to_owned(), |number| number.to_string())
        };
        let mode = header
            .mode()
            .map_or_else(|_| "unreadable".to_owned(), |mode| format!("{mode:04o}"));
        let user = text(header.username_bytes());
        let group = text(header.groupname_bytes());
        let owner = format!(
            "{user}:{group} ({}:{})",
            number(header.uid()),
            number(header.gid())
        );
        let link = entry.link_name_bytes().map(|link| path(&link));
        let field = |name, value, kind| Field { name, value, kind };
        let headers = bytes.get(end..start).unwrap_or_default();
        if headers.len() > HEADERS_BYTES_MAX {
            return Err(format!(
                "cannot be read as a tar archive: {HEADERS_TOO_LONG}"
            ));
        }
        let member = Member {
            path: path(&entry.path_bytes()),
            content: start..stop,
            fields: vec![
                field("kind", format!("{:?}", header.entry_type()), None),
                field("mode", mode, None),
                field("owner", owner, Some(Kind::UserName)),
                field("time", number(header.mtime()), Some(Kind::Timestamp)),
                field("link", link.unwrap_or_default(), None),
            ],
            framing: {
                let mut framing = framing(headers);
                end = stop.next_multiple_of(BLOCK_BYTES).min(bytes.len());
                // How much padding there is follows from the size; what is in it is to be zero.
                let padding = bytes.get(stop..end).unwrap_or_default();
                framing.extend(padding.iter().filter(|byte| **byte != 0));
                Sha256::digest(&framing).into()
            },
        };
        member.charge(budget)?;
        members.push(member);
        read.set(0);
    }
    // Empty blocks fill an archive up to the size of a tape's record.
    let rest = bytes.get(end..).unwrap_or_default();
    let rest_bytes = rest
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    Ok(Members {
        members,
        rest: end..end + rest_bytes,
    })
}

/// The headers of a member without times, owners, and the checksum over them.
fn framing(headers: &[u8]) -> Vec<u8> {
    let mut framing = headers.to_vec();
    let mut blocks = framing.chunks_mut(BLOCK_BYTES);
    while let Some(block) = blocks.next() {
        let extended = matches!(block.get(156), Some(b'x' | b'g'));
        let content_bytes = block
            .get(124..136)
            .and_then(|size| std::str::from_utf8(size).ok())
            .and_then(|size| usize::from_str_radix(size.trim_matches([' ', '\0']), 8).ok())
            .unwrap_or(0);
        // Owner and group as numbers; size, which the contents say too; time; checksum; both names.
        for range in [108..124, 124..136, 136..148, 148..156, 265..329] {
            if let Some(part) = block.get_mut(range) {
                part.fill(0);
            }
        }
        let long = matches!(block.get(156), Some(b'L' | b'K'));
        if extended || long {
            for _ in 0..content_bytes.div_ceil(BLOCK_BYTES) {
                let Some(content) = blocks.next() else { break };
                if extended {
                    forget_times(content);
                }
            }
        }
    }
    framing
}

/// Blanks the records of times and owners of an extended header, `LENGTH KEY=VALUE` with a line feed.
fn forget_times(content: &mut [u8]) {
    const FORGOTTEN: [&[u8]; 7] = [
        b"mtime=", b"atime=", b"ctime=", b"uid=", b"gid=", b"uname=", b"gname=",
    ];
    for record in content.split_inclusive_mut(|byte| *byte == b'\n') {
        let key = record.iter().position(|byte| *byte == b' ');
        let key = key
            .and_then(|space| record.get(space + 1..))
            .unwrap_or_default();
        if FORGOTTEN.iter().any(|forgotten| key.starts_with(forgotten)) {
            record.fill(0);
        }
    }
}
