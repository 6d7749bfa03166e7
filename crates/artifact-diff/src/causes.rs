//! Whether two files are the same once what is of a known kind is put aside.
//!
//! Both are walked side by side. Where they differ, what stands there is to be of a known kind on both sides; then the
//! walk goes on behind it. Everything it did not put aside was the same, byte for byte.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::limits::{Hints, Limits};
use crate::patterns;
use crate::report::{Cause, Kind};

/// Bytes of a sample of a cause.
const SAMPLE_BYTES_MAX: usize = 160;

/// How far behind a text of a known kind the padding may begin that makes up for its length.
const PADDED_BYTES_MAX: usize = 512;

/// A part of a file of which it is known what it is, such as the build id.
#[derive(Debug, Clone)]
pub(crate) struct KnownPart {
    pub(crate) bytes: Range<usize>,
    pub(crate) kind: Kind,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Nothing was left over.
    pub(crate) explained: bool,
    pub(crate) causes: Causes,
}

/// Known causes by kind, each with its first place.
#[derive(Debug, Default, Clone)]
pub(crate) struct Causes(BTreeMap<Kind, Cause>);

impl Causes {
    pub(crate) fn add(&mut self, kind: Kind, place: &str, left: &str, right: &str) {
        self.add_many(Cause {
            kind,
            count: 1,
            place: place.to_owned(),
            left: left.to_owned(),
            right: right.to_owned(),
        });
    }

    pub(crate) fn add_many(&mut self, cause: Cause) {
        match self.0.get_mut(&cause.kind) {
            Some(known) => known.count = known.count.saturating_add(cause.count),
            None => {
                self.0.insert(cause.kind, cause);
            }
        }
    }

    /// Those of something inside, `place` being where that is.
    pub(crate) fn add_inner(&mut self, place: &str, inner: &[Cause]) {
        for cause in inner {
            let place = match cause.place.as_str() {
                "" => place.to_owned(),
                inner => format!("{place}: {inner}"),
            };
            self.add_many(Cause {
                place,
                ..cause.clone()
            });
        }
    }

    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.0.contains_key(&kind)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The most frequent first.
    pub(crate) fn into_list(self) -> Vec<Cause> {
        let mut list: Vec<Cause> = self.0.into_values().collect();
        list.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        list
    }
}

/// Walks two files side by side. `place` says where an offset of the left file is, in words.
pub(crate) fn walk(
    left: &[u8],
    right: &[u8],
    known: (&[KnownPart], &[KnownPart]),
    place: &dyn Fn(usize) -> String,
    hints: &Hints,
    limits: &Limits,
) -> Walk {
    let mut walk = Walk::default();
    let (mut left_at, mut right_at) = (0, 0);
    // Where the bytes before the current place begin to be the same.
    let mut same_since = 0;
    for _ in 0..=limits.places_max {
        let same = common_prefix(
            left.get(left_at..).unwrap_or_default(),
            right.get(right_at..).unwrap_or_default(),
        );
        left_at += same;
        right_at += same;
        if left_at >= left.len() && right_at >= right.len() {
            walk.explained = true;
            return walk;
        }
        // Padding follows what it pads, in the same line.
        let since = left.get(same_since..left_at).unwrap_or_default();
        if since.len() <= PADDED_BYTES_MAX
            && !since.contains(&b'\n')
            && let Some((left_end, right_end)) = padding(left, left_at, right, right_at)
        {
            (left_at, right_at) = (left_end, right_end);
            same_since = left_at;
            continue;
        }
        let part = |parts: &[KnownPart], at: usize| {
            parts.iter().find(|part| part.bytes.contains(&at)).cloned()
        };
        let parts = part(known.0, left_at).zip(part(known.1, right_at));
        let found = match parts {
            Some((left_part, right_part)) if left_part.kind == right_part.kind => {
                Some(patterns::Match {
                    kind: left_part.kind,
                    left: left_part.bytes,
                    right: right_part.bytes,
                })
            }
            _ => patterns::find(
                left,
                left_at,
                right,
                right_at,
                left_at.saturating_sub(same_since),
                hints,
            ),
        };
        let Some(found) = found else {
            return walk;
        };
        // Backwards would be without end.
        if found.left.end < left_at || found.right.end < right_at {
            return walk;
        }
        match walk.causes.has(found.kind) {
            true => walk.causes.add(found.kind, "", "", ""),
            false => {
                let sample = |bytes, range| match found.kind {
                    Kind::BuildId => hex(sample(bytes, range)),
                    _ => printable(sample(bytes, range)),
                };
                walk.causes.add(
                    found.kind,
                    &place(left_at),
                    &sample(left, &found.left),
                    &sample(right, &found.right),
                );
            }
        }
        (left_at, right_at) = (found.left.end, found.right.end);
        same_since = left_at;
    }
    walk
}

/// A text that is shorter on one side is followed by more padding there, so that what comes after it stands at the same
/// place again.
fn padding(left: &[u8], left_at: usize, right: &[u8], right_at: usize) -> Option<(usize, usize)> {
    let is_padding = |bytes: &[u8], range: Range<usize>| {
        let padding = bytes.get(range)?;
        let first = padding.first()?;
        ((*first == 0 || *first == b' ') && padding.iter().all(|byte| byte == first)).then_some(())
    };
    if left_at < right_at {
        is_padding(left, left_at..right_at)?;
        Some((right_at, right_at))
    } else if right_at < left_at {
        is_padding(right, right_at..left_at)?;
        Some((left_at, left_at))
    } else {
        None
    }
}

/// How many bytes are the same from the start.
pub(crate) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    const CHUNK: usize = 4096;
    let mut same = 0;
    for (left, right) in left.chunks(CHUNK).zip(right.chunks(CHUNK)) {
        if left != right {
            return same
                + left
                    .iter()
                    .zip(right)
                    .take_while(|(left, right)| left == right)
                    .count();
        }
        same += left.len();
    }
    same
}

fn sample<'b>(bytes: &'b [u8], range: &Range<usize>) -> &'b [u8] {
    let bytes = bytes.get(range.clone()).unwrap_or_default();
    bytes.get(..SAMPLE_BYTES_MAX).unwrap_or(bytes)
}

/// Text as it is, but for control characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|char| {
            if char.is_control() && char != '\t' {
                '\u{fffd}'
            } else {
                char
            }
        })
        .collect()
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // OK because writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
