//! The members of an ar archive, as Debian's packages are, with the long names of GNU and BSD.

use sha2::{Digest, Sha256};

use crate::archive::{Field, Member, Members, path};
use crate::report::Kind;
use crate::unpack::Budget;

const MAGIC_BYTES: usize = 8;
const HEADER_BYTES: usize = 60;

pub(crate) fn members(bytes: &[u8], budget: &mut Budget) -> Result<Members, String> {
    let mut members = Vec::new();
    let mut long_names: &[u8] = &[];
    let mut at = MAGIC_BYTES;
    while let Some(header) = bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk::<HEADER_BYTES>)
    {
        let field = |range| -> &str {
            let field = header
                .get::<std::ops::Range<usize>>(range)
                .unwrap_or_default();
            std::str::from_utf8(field).unwrap_or_default().trim_end()
        };
        let content_bytes: usize = field(48..58)
            .parse()
            .map_err(|_| "cannot be read as an ar archive: a member without a size")?;
        let start = at + HEADER_BYTES;
        let end = start
            .checked_add(content_bytes)
            .filter(|end| *end <= bytes.len())
            .ok_or("cannot be read as an ar archive: it ends inside a member")?;
        let mut content = start..end;
        let name = field(0..16);
        let name = if name == "//" {
            long_names = bytes.get(content.clone()).unwrap_or_default();
            name.to_owned()
        } else if let Some(length) = name.strip_prefix("#1/") {
            let length = length.parse().unwrap_or(0).min(content.len());
            let name = bytes.get(start..start + length).unwrap_or_default();
            content.start += length;
            path(name.split(|byte| *byte == 0).next().unwrap_or_default())
        } else if let Some(offset) = name
            .strip_prefix('/')
            .and_then(|at| at.parse::<usize>().ok())
        {
            let name = long_names.get(offset..).unwrap_or_default();
            let name = name.split(|byte| *byte == b'\n').next().unwrap_or_default();
            path(name.strip_suffix(b"/").unwrap_or(name))
        } else {
            match name {
                "/" | "/SYM64/" => name.to_owned(),
                name => name.strip_suffix('/').unwrap_or(name).to_owned(),
            }
        };
        let mut framing = header.to_vec();
        for range in [16..28, 28..40] {
            if let Some(part) = framing.get_mut(range) {
                part.fill(b' ');
            }
        }
        // What a size says differently the contents say too.
        if let Some(part) = framing.get_mut(48..58) {
            part.fill(b' ');
        }
        let next = end + end % 2;
        // A line end, which tells nothing, or whatever else somebody put there.
        match bytes.get(end..next) {
            Some([] | [b'\n']) => {}
            padding => framing.extend(padding.unwrap_or(b"none")),
        }
        let told = |name, value: &str, kind| Field {
            name,
            value: value.to_owned(),
            kind,
        };
        let member = Member {
            path: name,
            content,
            fields: vec![
                told("time", field(16..28), Some(Kind::Timestamp)),
                told(
                    "owner",
                    &format!("{}:{}", field(28..34), field(34..40)),
                    Some(Kind::UserName),
                ),
                told("mode", field(40..48), None),
            ],
            framing: Sha256::digest(&framing).into(),
        };
        member.charge(budget)?;
        members.push(member);
        at = next;
    }
    Ok(Members {
        members,
        rest: at.min(bytes.len())..bytes.len(),
    })
}
