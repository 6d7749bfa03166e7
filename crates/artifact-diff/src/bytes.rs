//! Files of which nothing is known: the bytes around the first differences.

use crate::report::{BytesDiff, HexRows, Listed};

const ROW_BYTES: usize = 16;
/// Rows shown of each place.
const ROWS: usize = 4;
/// Places shown.
const PLACES_MAX: usize = 6;

pub(crate) fn diff(left: &[u8], right: &[u8]) -> BytesDiff {
    let mut differing = left.len().abs_diff(right.len()) as u64;
    let mut places: Vec<usize> = Vec::new();
    let mut more = 0;
    let mut shown_until = 0;
    const CHUNK: usize = 4096;
    for (number, (left, right)) in left.chunks(CHUNK).zip(right.chunks(CHUNK)).enumerate() {
        if left == right {
            continue;
        }
        for (offset, _) in left
            .iter()
            .zip(right)
            .enumerate()
            .filter(|(_, (left, right))| left != right)
        {
            differing += 1;
            let at = number * CHUNK + offset;
            if at >= shown_until {
                let row = at - at % ROW_BYTES;
                match places.len() < PLACES_MAX {
                    true => places.push(row),
                    false => more += 1,
                }
                shown_until = row + ROWS * ROW_BYTES;
            }
        }
    }
    let common = left.len().min(right.len());
    if left.len() != right.len() && common >= shown_until {
        match places.len() < PLACES_MAX {
            true => places.push(common - common % ROW_BYTES),
            false => more += 1,
        }
    }
    let rows = |bytes: &[u8], at: usize| -> Vec<String> {
        let end = bytes.len().min(at + ROWS * ROW_BYTES);
        let rows = bytes.get(at..end).unwrap_or_default().chunks(ROW_BYTES);
        rows.map(row).collect()
    };
    BytesDiff {
        differing_bytes: differing,
        places: Listed {
            items: places
                .into_iter()
                .map(|at| HexRows {
                    offset: at as u64,
                    left: rows(left, at),
                    right: rows(right, at),
                })
                .collect(),
            left_out: more,
        },
    }
}

/// Bytes that are not the same at their place, and those that the longer one has more.
pub(crate) fn differing(left: &[u8], right: &[u8]) -> u64 {
    let differing = left.iter().zip(right).filter(|(left, right)| left != right);
    (differing.count() + left.len().abs_diff(right.len())) as u64
}

fn row(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for number in 0..ROW_BYTES {
        // OK because writing to a string does not fail.
        let _ = match bytes.get(number) {
            Some(byte) => write!(text, "{byte:02x} "),
            None => write!(text, "   "),
        };
    }
    text.push(' ');
    text.extend(bytes.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    }));
    text
}
