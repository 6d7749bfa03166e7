//! Texts, compared by line.

use crate::causes::common_prefix;
use crate::report::TextDiff;
use crate::unpack::Budget;

/// Bytes of a line that are shown; a longer one is shortened around what differs.
const LINE_BYTES_MAX: usize = 400;
/// Bytes shown before the difference of a long line.
const LINE_BYTES_BEFORE: usize = 120;

/// UTF-8 without control characters but tabs, line ends, form feeds and escapes, by which logs are coloured.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    !bytes.iter().any(control) && std::str::from_utf8(bytes).is_ok()
}

/// Lines of the difference of one text that are shown.
const LINES_MAX: usize = 400;
/// Pairs of lines that may be told causes from.
const PAIRS_MAX: usize = 2000;

/// A line, and the one it was replaced by.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

pub(crate) fn diff(left: &[u8], right: &[u8], budget: &mut Budget) -> (TextDiff, Vec<Pair>) {
    let diff = opam_file::unified_diff("left", left, "right", right);
    let lines: Vec<&[u8]> = diff.split(|byte| *byte == b'\n').skip(2).collect();
    let lines = match lines.split_last() {
        Some((&[], rest)) => rest,
        _ => lines.as_slice(),
    };
    let pairs = pairs(lines);
    let shown = lines.len().min(budget.diff_lines).min(LINES_MAX);
    budget.diff_lines -= shown;
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate().take(shown) {
        text.push_str(&shortened(lines, number, line));
        text.push('\n');
    }
    let diff = TextDiff {
        diff: text,
        lines_left_out: (lines.len() - shown) as u64,
    };
    (diff, pairs)
}

/// Removed lines with the added ones after them, where there are as many.
fn pairs(lines: &[&[u8]]) -> Vec<Pair> {
    let sign = |line: &&[u8]| line.first().copied().unwrap_or(b' ');
    let mut pairs = Vec::new();
    let mut removed: &[&[u8]] = &[];
    for run in lines.chunk_by(|one, next| sign(one) == sign(next)) {
        match run.first().map(sign) {
            Some(b'-') => removed = run,
            Some(b'+') if removed.len() == run.len() => {
                for (left, right) in removed.iter().zip(run) {
                    if pairs.len() == PAIRS_MAX {
                        return pairs;
                    }
                    let content = |line: &[u8]| line.get(1..).unwrap_or_default().to_vec();
                    pairs.push((content(left), content(right)));
                }
                removed = &[];
            }
            _ => removed = &[],
        }
    }
    pairs
}

/// A long line around what differs from the line it was replaced by, or that replaced it.
fn shortened(lines: &[&[u8]], number: usize, line: &[u8]) -> String {
    if line.len() <= LINE_BYTES_MAX {
        return String::from_utf8_lossy(line).into_owned();
    }
    let sign = line.first().copied();
    let run = |sign: Option<u8>, from: usize, step: fn(usize) -> Option<usize>| {
        let mut at = from;
        while let Some(next) = step(at)
            && lines.get(next).and_then(|line| line.first()).copied() == sign
        {
            at = next;
        }
        at
    };
    let back: fn(usize) -> Option<usize> = |at| at.checked_sub(1);
    let forth: fn(usize) -> Option<usize> = |at| at.checked_add(1);
    // Removed lines stand before those that replace them, in the same order.
    let other = match sign {
        Some(b'-') => run(sign, number, forth)
            .checked_add(1)
            .and_then(|first| lines.get(first + (number - run(sign, number, back)))),
        Some(b'+') => {
            let first = run(sign, number, back);
            first.checked_sub(1).and_then(|last| {
                let start = run(Some(b'-'), last, back);
                lines
                    .get(start + (number - first))
                    .filter(|_| start + (number - first) <= last)
            })
        }
        _ => None,
    };
    let content = line.get(1..).unwrap_or_default();
    let same = other.map_or(0, |other| {
        common_prefix(content, other.get(1..).unwrap_or_default())
    });
    let start = match same > LINE_BYTES_BEFORE {
        true => same - LINE_BYTES_BEFORE,
        false => 0,
    };
    let end = content.len().min(start + LINE_BYTES_MAX);
    let mut text = String::from_utf8_lossy(line.get(..1).unwrap_or_default()).into_owned();
    if start > 0 {
        text.push('…');
    }
    text.push_str(&String::from_utf8_lossy(
        content.get(start..end).unwrap_or_default(),
    ));
    if end < content.len() {
        text.push('…');
    }
    text
}
