//! Where a page of a list ends, as a text that a client hands back to get the next one. It names the
//! last entry, not a number of entries: what comes in meanwhile moves nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, Result};

/// Bytes of a cursor that are looked at: the longest holds a path.
const CURSOR_BYTES_MAX: usize = 8 * 1024;
/// Between the parts of a cursor: no name holds a control character.
const BETWEEN: &str = "\u{1f}";

/// A cursor of the list `list`, made of what tells its last entry from all others.
pub fn encode(list: &str, parts: &[&str]) -> String {
    let mut text = list.to_owned();
    for part in parts {
        text.push_str(BETWEEN);
        text.push_str(part);
    }
    URL_SAFE_NO_PAD.encode(text)
}

/// The parts of a cursor of the list `list`.
pub fn decode<const N: usize>(list: &str, cursor: &str) -> Result<[String; N]> {
    let parts = (cursor.len() <= CURSOR_BYTES_MAX)
        .then(|| URL_SAFE_NO_PAD.decode(cursor).ok())
        .flatten()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    parts
        .as_deref()
        .and_then(|text| text.strip_prefix(list)?.strip_prefix(BETWEEN))
        .map(|text| text.split(BETWEEN).map(str::to_owned).collect::<Vec<_>>())
        .and_then(|parts| parts.try_into().ok())
        .ok_or_else(wrong)
}

/// A number from a cursor.
pub fn number<T: std::str::FromStr>(part: &str) -> Result<T> {
    part.parse().map_err(|_| wrong())
}

/// What a client is told whose cursor is not one of ours.
pub fn wrong() -> Error {
    Error::BadRequest(
        "this cursor is not one that this list gave out; leave it out to begin anew".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_in_its_own_list_only() {
        let cursor = encode("files", &["bin/ü", "7"]);
        assert_eq!(decode::<2>("files", &cursor).unwrap(), ["bin/ü", "7"]);
        assert!(decode::<1>("files", &cursor).is_err());
        assert!(decode::<2>("file", &cursor).is_err());
        for wrong in ["", "!", "AAAA", &"A".repeat(10_000)] {
            assert!(decode::<1>("files", wrong).is_err(), "{wrong}");
        }
        assert!(number::<i64>("x").is_err());
    }
}
