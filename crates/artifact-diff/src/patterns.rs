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

/// What a kind looks like, and what a regular expression cannot say of it.
struct Pattern {
    kind: Kind,
    regex: Regex,
    /// Whether a text that matches, in the file it is in, is one. What merely looks like one is a difference.
    is_one: fn(&[u8], &Range<usize>) -> bool,
    /// Whether two that are one stand for the same.
    are_the_same: fn(&[u8], &[u8]) -> bool,
}

/// In the order they are tried: the more telling first.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let time = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?";
    let zone = r" ?(?:Z|UTC|GMT|[A-Z]{3,4}|[+-][0-9]{2}:?[0-9]{2})";
    // The flavours of Debian, Ubuntu and their like; without one it may be the version of anything.
    let flavour = "(?:generic|lowlatency|virtual|kvm|aws|azure|gcp|oracle|lts|(?:[a-z]+-)?(?:amd64|arm64|armmp|686|686-pae|i386|riscv64|ppc64el|s390x))";
    let any: fn(&[u8], &Range<usize>) -> bool = |_, _| true;
    let alike: fn(&[u8], &[u8]) -> bool = |_, _| true;
    let patterns = [
        (Kind::RandomId, "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}".to_owned(), any, alike),
        (Kind::Timestamp, format!(r"(?:19|20)[0-9]{{2}}[-/][01][0-9][-/][0-3][0-9](?:[T _]{time}(?:{zone})?)?"), any, alike),
        (Kind::Timestamp, format!(r"(?:{DAY},? )?[ 0-3]?[0-9][ -]{MONTH}[ -](?:19|20)[0-9]{{2}}(?: {time}(?:{zone})?)?"), any, alike),
        (Kind::Timestamp, format!(r"(?:{DAY} )?{MONTH} +[0-9]{{1,2}} {time}(?: [A-Z]{{3,4}})? (?:19|20)[0-9]{{2}}"), any, alike),
        (Kind::Timestamp, format!(r"{MONTH} +[0-9]{{1,2}},? (?:19|20)[0-9]{{2}}(?: {time})?"), any, alike),
        (Kind::Timestamp, r"\b(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]T?[0-2][0-9][0-5][0-9](?:[0-5][0-9])?Z?\b".to_owned(), any, alike),
        (Kind::Timestamp, r"\b[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\b".to_owned(), is_time_of_day, alike),
        // dune's sandboxes, the compilers' temporary files, mktemp's names.
        (Kind::RandomId, r"\bbuild_[0-9a-f]{6}_[A-Za-z0-9_]+".to_owned(), any, same_sandbox),
        (Kind::RandomId, r"\b(?:camlstartup|camlasm|camlprim|ocamlpp)[0-9a-f]{6}".to_owned(), any, alike),
        (Kind::RandomId, r"\b(?:cc[A-Za-z0-9]{6}\.[a-z]{1,3}|tmp[._-][A-Za-z0-9_]{4,16})".to_owned(), is_temporary, alike),
        (Kind::RandomId, r"/(?:tmp|var/tmp)/[A-Za-z0-9._+-]+".to_owned(), is_temporary, alike),
        (Kind::KernelVersion, r"(?:Linux|FreeBSD|OpenBSD|NetBSD) [0-9]+\.[0-9]+[A-Za-z0-9._+-]*".to_owned(), any, alike),
        (Kind::KernelVersion, format!(r"\b[2-9]\.[0-9]+\.[0-9]+-[0-9]+(?:\.[0-9]+)*-{flavour}\b"), any, alike),
        (Kind::Locale, r"\b(?:(?:C|POSIX)\.(?:UTF-8|utf8)|[a-z]{2,3}_[A-Z]{2}\.(?:UTF-8|utf8|ISO-?8859-[0-9]+))\b".to_owned(), any, alike),
        (Kind::Locale, r"\b(?:LC_[A-Z]+|LANG|LANGUAGE)=[A-Za-z0-9_.@:-]*".to_owned(), any, same_variable),
        (Kind::BuildPath, r"/[A-Za-z0-9._+@~-]+(?:/[A-Za-z0-9._+@~-]+)+".to_owned(), is_build_path, same_file),
    ];
    patterns
        .into_iter()
        // OK because a pattern that does not compile is found by every test.
        .filter_map(|(kind, pattern, is_one, are_the_same)| {
            let regex = Regex::new(&format!("(?-u){pattern}")).ok()?;
            Some(Pattern {
                kind,
                regex,
                is_one,
                are_the_same,
            })
        })
        .collect()
});

/// Directories of the system: that something in them differs says which version of it was there, not where was built.
const SYSTEM_DIRECTORIES: [&[u8]; 12] = [
    b"/usr/bin/",
    b"/usr/sbin/",
    b"/usr/lib",
    b"/usr/include/",
    b"/usr/share/",
    b"/usr/local/",
    b"/bin/",
    b"/sbin/",
    b"/lib",
    b"/etc/",
    b"/proc/",
    b"/sys/",
];

/// Not a part of more with colons, such as an address of a network card.
fn is_time_of_day(file: &[u8], range: &Range<usize>) -> bool {
    let before = range.start.checked_sub(1).and_then(|at| file.get(at));
    before != Some(&b':') && file.get(range.end) != Some(&b':')
}

/// Whether a temporary file's name was made up by a program rather than by a person, and says no version.
fn is_temporary(file: &[u8], range: &Range<usize>) -> bool {
    let token = file.get(range.clone()).unwrap_or_default();
    let name = token
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    let name = match name.split_at_checked(2) {
        Some((b"cc", rest)) if !token.starts_with(b"/") => rest.get(..6).unwrap_or(rest),
        _ => name,
    };
    let is_version = name.windows(3).any(|three| {
        matches!(three, [left, b'.', right] if left.is_ascii_digit() && right.is_ascii_digit())
    });
    let is_made_up = name.iter().any(u8::is_ascii_digit)
        || name.windows(2).any(|two| matches!(two, [left, right] if left.is_ascii_lowercase() && right.is_ascii_uppercase()));
    is_made_up && !is_version
}

/// An absolute path of a file system where things are built: not of an address on the web, nor a part of a relative path.
fn is_build_path(file: &[u8], range: &Range<usize>) -> bool {
    let before = file.get(..range.start).unwrap_or_default();
    let is_relative = match before {
        // As in file:///home.
        [.., b':', b'/', b'/'] => false,
        [.., b'/' | b'.' | b'_' | b'+' | b'@' | b'~'] => true,
        // An option of a compiler: -I/home, -fdebug-prefix-map=/home.
        [.., b'-', letter] => !letter.is_ascii_uppercase(),
        [.., byte] => byte.is_ascii_alphanumeric(),
        [] => false,
    };
    let path = file.get(range.clone()).unwrap_or_default();
    !is_relative
        && !SYSTEM_DIRECTORIES
            .iter()
            .any(|directory| path.starts_with(directory))
}

/// Sandboxes of the same package: `build_`, six digits, and its name.
fn same_sandbox(left: &[u8], right: &[u8]) -> bool {
    const BEFORE_NAME: usize = "build_123456".len();
    left.get(BEFORE_NAME..) == right.get(BEFORE_NAME..)
}

/// The same variable, with another value.
fn same_variable(left: &[u8], right: &[u8]) -> bool {
    let name = |text: &[u8]| text.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    name(left) == name(right)
}

/// Two paths are of one file in two directories when their last name is the same.
fn same_file(left: &[u8], right: &[u8]) -> bool {
    let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
    name(left) == name(right)
}

/// A date of eight digits. Versions look the same, so it counts only in a build that ran about then.
static DATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?-u)\b20[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])\b").ok()
});

/// How far from a build the dates in it may be, as clocks and time zones go.
const DATE_SLACK_S: u64 = 2 * 86_400;

/// Midnight of a date of eight digits, in seconds since 1970.
fn date_seconds(digits: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    // Years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    // From the first of March of the year 0 to 1970.
    days.checked_sub(719_469)?.checked_mul(86_400)
}

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
    let pair = |kind: Kind, regex: &Regex, is_one: fn(&[u8], &Range<usize>) -> bool| {
        let covering = |file: &[u8], window: &Range<usize>, at: usize| {
            regex
                .find_iter(file.get(window.clone())?)
                .map(|found| found.start() + window.start..found.end() + window.start)
                .find(|range| range.start <= at && at <= range.end)
                .filter(|range| is_one(file, range))
        };
        let found = Match {
            kind,
            left: covering(left, &left_window, left_at)?,
            right: covering(right, &right_window, right_at)?,
        };
        let aligned =
            left_at.checked_sub(found.left.start) == right_at.checked_sub(found.right.start);
        // A token that ends before the difference does not explain it.
        (aligned && (found.left.end > left_at || found.right.end > right_at)).then_some(found)
    };
    // Numbers that are a time only where something was built at that time.
    let of_time = |regex: &Option<Regex>, slack: u64, seconds: fn(&[u8]) -> Option<u64>| {
        let found = pair(Kind::Timestamp, regex.as_ref()?, |_, _| true)?;
        let within = |bytes: &[u8], range: &Range<usize>, time: Option<(u64, u64)>| {
            let seconds = seconds(bytes.get(range.clone())?)?;
            let (from, until) = time?;
            (from.saturating_sub(slack)..=until.saturating_add(slack))
                .contains(&seconds)
                .then_some(())
        };
        within(left, &found.left, hints.left_time)?;
        within(right, &found.right, hints.right_time)?;
        Some(found)
    };
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
    of_time(&SECONDS, 0, number)
        .or_else(|| of_time(&DATE, DATE_SLACK_S, date_seconds))
        .or_else(|| {
            PATTERNS.iter().find_map(|pattern| {
                let found = pair(pattern.kind, &pattern.regex, pattern.is_one)?;
                let text = |bytes: &[u8], range: &Range<usize>| {
                    bytes.get(range.clone()).map(<[u8]>::to_vec)
                };
                let (left, right) = text(left, &found.left).zip(text(right, &found.right))?;
                (pattern.are_the_same)(&left, &right).then_some(found)
            })
        })
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
    for pattern in PATTERNS.iter() {
        // Of a path its last name counts, which `same_file` looks at.
        if pattern.kind != Kind::BuildPath {
            let marked_too = pattern.regex.replace_all(&marked, mark(pattern.kind));
            marked = marked_too.into_owned();
        }
    }
    if let Some(date) = DATE.as_ref() {
        marked = date
            .replace_all(&marked, mark(Kind::Timestamp))
            .into_owned();
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
