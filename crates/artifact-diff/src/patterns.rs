//! What known kinds of differences look like: times, paths, names.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::limits::Hints;
use crate::report::Kind;

/// How far before a difference its token may begin.
const BEFORE_BYTES: usize = 192;
/// How far after it the token may end.
const AFTER_BYTES: usize = 320;

const MONTH: &str = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*";
const DAY: &str = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*";

/// In the order they are tried: the more telling first.
static PATTERNS: LazyLock<Vec<(Kind, Regex)>> = LazyLock::new(|| {
    let time = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?";
    let zone = r" ?(?:Z|UTC|GMT|[A-Z]{3,4}|[+-][0-9]{2}:?[0-9]{2})";
    let patterns = [
        (Kind::RandomId, "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}".to_owned()),
        (Kind::Timestamp, format!(r"(?:19|20)[0-9]{{2}}[-/][01][0-9][-/][0-3][0-9](?:[T _]{time}(?:{zone})?)?")),
        (Kind::Timestamp, format!(r"(?:{DAY},? )?[ 0-3]?[0-9][ -]{MONTH}[ -](?:19|20)[0-9]{{2}}(?: {time}(?:{zone})?)?")),
        (Kind::Timestamp, format!(r"(?:{DAY} )?{MONTH} +[0-9]{{1,2}} {time}(?: [A-Z]{{3,4}})? (?:19|20)[0-9]{{2}}")),
        (Kind::Timestamp, format!(r"{MONTH} +[0-9]{{1,2}},? (?:19|20)[0-9]{{2}}(?: {time})?")),
        (Kind::Timestamp, r"(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]T?[0-2][0-9][0-5][0-9](?:[0-5][0-9])?Z?".to_owned()),
        (Kind::Timestamp, r"\b(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])\b".to_owned()),
        (Kind::Timestamp, r"\b[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\b".to_owned()),
        // dune's sandboxes, the compilers' temporary files, mktemp's names.
        (Kind::RandomId, r"\b(?:build_[0-9a-f]{6}_[A-Za-z0-9_]+|(?:camlstartup|camlasm|camlprim|ocamlpp)[0-9a-f]{6}|cc[A-Za-z0-9]{6}\.[a-z]{1,3}|tmp[._-][A-Za-z0-9_]{4,16})".to_owned()),
        (Kind::RandomId, r"/(?:tmp|var/tmp)/[A-Za-z0-9._+-]+".to_owned()),
        (Kind::KernelVersion, r"(?:Linux|FreeBSD|OpenBSD|NetBSD) [0-9]+\.[0-9]+[A-Za-z0-9._+-]*".to_owned()),
        (Kind::KernelVersion, r"\b[0-9]+\.[0-9]+\.[0-9]+-[0-9]+(?:\.[0-9]+)*-[a-z0-9]+\b".to_owned()),
        (Kind::Locale, r"\b(?:(?:C|POSIX)\.(?:UTF-8|utf8)|[a-z]{2,3}_[A-Z]{2}(?:\.(?:UTF-8|utf8|ISO-?8859-[0-9]+))?)\b".to_owned()),
        (Kind::Locale, r"\b(?:LC_[A-Z]+|LANG|LANGUAGE)=[A-Za-z0-9_.@:-]*".to_owned()),
        (Kind::BuildPath, r"/[A-Za-z0-9._+@~-]+(?:/[A-Za-z0-9._+@~-]+)+".to_owned()),
    ];
    patterns
        .into_iter()
        // OK because a pattern that does not compile is found by every test.
        .filter_map(|(kind, pattern)| Some((kind, Regex::new(&format!("(?-u){pattern}")).ok()?)))
        .collect()
});

/// Seconds since 1970, as ten digits.
static SECONDS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?-u)\b[0-9]{10}\b").ok());

/// A text on both sides that stands for the same.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) kind: Kind,
    pub(crate) left: Range<usize>,
    pub(crate) right: Range<usize>,
}

/// What of a known kind explains that the sides differ at these places, the bytes from `same_bytes` before them being
/// the same on both. A match covers both places, and begins at the same distance before them.
pub(crate) fn find(
    left: &[u8],
    left_at: usize,
    right: &[u8],
    right_at: usize,
    same_bytes: usize,
    hints: &Hints,
) -> Option<Match> {
    if let Some(found) = of_hint(left, left_at, right, right_at, same_bytes, hints) {
        return Some(found);
    }
    let window = |bytes: &[u8], at: usize| {
        let start = at.saturating_sub(same_bytes.min(BEFORE_BYTES));
        let end = at.saturating_add(AFTER_BYTES).min(bytes.len());
        start..end.max(start)
    };
    let (left_window, right_window) = (window(left, left_at), window(right, right_at));
    let left_bytes = left.get(left_window.clone())?;
    let right_bytes = right.get(right_window.clone())?;
    let pair = |kind: Kind, regex: &Regex| {
        let covering = |bytes: &[u8], at: usize| {
            regex
                .find_iter(bytes)
                .map(|found| found.range())
                .find(|range| range.start <= at && at <= range.end)
        };
        let left_offset = left_at.checked_sub(left_window.start)?;
        let right_offset = right_at.checked_sub(right_window.start)?;
        let left_range = covering(left_bytes, left_offset)?;
        let right_range = covering(right_bytes, right_offset)?;
        let aligned = left_offset.checked_sub(left_range.start)
            == right_offset.checked_sub(right_range.start);
        let found = Match {
            kind,
            left: left_range.start + left_window.start..left_range.end + left_window.start,
            right: right_range.start + right_window.start..right_range.end + right_window.start,
        };
        // A token that ends before the difference does not explain it.
        (aligned && (found.left.end > left_at || found.right.end > right_at)).then_some(found)
    };
    let seconds = SECONDS.as_ref().and_then(|regex| {
        let found = pair(Kind::Timestamp, regex)?;
        let within = |bytes: &[u8], range: &Range<usize>, time: Option<(u64, u64)>| {
            let digits = std::str::from_utf8(bytes.get(range.clone())?).ok()?;
            let seconds: u64 = digits.parse().ok()?;
            let (from, until) = time?;
            (from..=until).contains(&seconds).then_some(())
        };
        within(left, &found.left, hints.left_time)?;
        within(right, &found.right, hints.right_time)?;
        Some(found)
    });
    seconds.or_else(|| {
        PATTERNS
            .iter()
            .filter_map(|(kind, regex)| pair(*kind, regex))
            .find(|found| found.kind != Kind::BuildPath || same_file(left, right, found))
    })
}

/// Two paths are of one file in two directories when their last name is the same.
fn same_file(left: &[u8], right: &[u8], found: &Match) -> bool {
    let name = |bytes: &[u8], range: &Range<usize>| -> Option<Vec<u8>> {
        let path = bytes.get(range.clone())?;
        let (name, above) = path
            .rsplit(|byte| *byte == b'/')
            .next()
            .zip(Some(path.len()))?;
        (name.len() < above).then(|| name.to_vec())
    };
    name(left, &found.left).is_some_and(|left| Some(left) == name(right, &found.right))
}

/// A text of the hints that is here on both sides.
fn of_hint(
    left: &[u8],
    left_at: usize,
    right: &[u8],
    right_at: usize,
    same_bytes: usize,
    hints: &Hints,
) -> Option<Match> {
    hints
        .texts
        .iter()
        .find_map(|(kind, left_text, right_text)| {
            let (left_text, right_text) = (left_text.as_bytes(), right_text.as_bytes());
            let same = left_text
                .iter()
                .zip(right_text)
                .take_while(|(left, right)| left == right)
                .count();
            // Two letters that are not the same explain anything.
            if left_text.len() < 3
                || right_text.len() < 3
                || left_text == right_text
                || same > same_bytes
            {
                return None;
            }
            let left_start = left_at.checked_sub(same)?;
            let right_start = right_at.checked_sub(same)?;
            let is_there = left.get(left_start..)?.starts_with(left_text)
                && right.get(right_start..)?.starts_with(right_text);
            is_there.then(|| Match {
                kind: *kind,
                left: left_start..left_start + left_text.len(),
                right: right_start..right_start + right_text.len(),
            })
        })
}

/// A short text with a mark in place of all that is of a known kind; none if nothing is.
pub(crate) fn placeholder(text: &[u8], hints: &Hints, on_left: bool) -> Option<Vec<u8>> {
    let mut marked = text.to_vec();
    for (kind, left, right) in &hints.texts {
        let hint = if on_left { left } else { right }.as_bytes();
        if hint.len() >= 3 && left != right {
            marked = replace(&marked, hint, mark(*kind));
        }
    }
    for (kind, regex) in PATTERNS.iter() {
        // Of a path its last name counts, which `same_file` looks at.
        if *kind != Kind::BuildPath {
            marked = regex.replace_all(&marked, mark(*kind)).into_owned();
        }
    }
    (marked != text).then_some(marked)
}

/// A control character, which no string has.
fn mark(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Timestamp => b"\x01",
        Kind::BuildPath => b"\x02",
        Kind::BuildId => b"\x03",
        Kind::FileOrder => b"\x04",
        Kind::UserName => b"\x05",
        Kind::RandomId => b"\x06",
        Kind::Locale => b"\x0e",
        Kind::KernelVersion => b"\x0f",
        Kind::HostName => b"\x10",
        Kind::Compression => b"\x11",
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(after) => {
                replaced.extend_from_slice(to);
                rest = after;
            }
            None => {
                replaced.push(*first);
                rest = after;
            }
        }
    }
    replaced
}
