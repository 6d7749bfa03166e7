//! The values that a build is made of, read from a stream: tags, lengths and what is short enough to
//! keep, with what lies where in the messages. Knows DER, and nothing of builds.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use crate::der::{self, LengthStart, Tag};
use crate::{Error, ErrorKind, Timestamp};

/// A constructed value that is being read.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) name: &'static str,
    pub(super) end: u64,
}

pub(super) const INPUT: Span = Span {
    name: "input",
    end: u64::MAX,
};

const BUFFER_BYTES: usize = 64 * 1024;

/// Pieces of a field that are at least this large are read straight to where they are wanted: copying them costs more
/// than asking the input more often.
const DIRECT_BYTES_MIN: usize = 8 * 1024;

/// Longer than any time with a fraction that means something.
const TIME_BYTES_MAX: u64 = 64;

/// A stream of values, and how far it is consumed.
pub(super) struct Values<R> {
    input: R,
    buffer: Box<[u8]>,
    /// The bytes of `buffer` that are read from the input and not yet consumed.
    buffered: Range<usize>,
    /// How many bytes are consumed.
    pub(super) offset: u64,
}

impl<R: Read> Values<R> {
    pub(super) fn new(input: R) -> Values<R> {
        Values {
            input,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            buffered: 0..0,
            offset: 0,
        }
    }

    /// The input, without what was read ahead.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    // Values.

    /// The header of a constructed value.
    pub(super) fn enter(&mut self, name: &'static str, within: Span) -> Result<Span, Error> {
        let (_, size) = self.header(name, &[Tag::SEQUENCE], within)?;
        Ok(Span {
            name,
            end: self.offset.saturating_add(size),
        })
    }

    /// A string that is short enough to keep.
    pub(super) fn short_string(
        &mut self,
        name: &str,
        limit: u64,
        within: Span,
    ) -> Result<Vec<u8>, Error> {
        let size = self.string_header(name, limit, within)?;
        self.content(name, size)
    }

    /// The size of a string, whose bytes come next.
    pub(super) fn string_header(
        &mut self,
        name: &str,
        limit: u64,
        within: Span,
    ) -> Result<u64, Error> {
        let at = self.offset;
        let (_, size) = self.header(name, &[Tag::UTF8_STRING], within)?;
        self.check(format_args!("bytes of {name}"), at, size, limit)?;
        Ok(size)
    }

    /// A number of 64 bits.
    pub(super) fn integer(&mut self, name: &str, within: Span) -> Result<i64, Error> {
        let at = self.offset;
        let (_, size) = self.header(name, &[Tag::INTEGER], within)?;
        // Two bytes show whether it is in its shortest form; nine are enough to know that it is too long.
        let content = self.content(name, size.min(9))?;
        der::integer(&content).map_err(|found| {
            malformed(
                at,
                format!("the {name} as an INTEGER in its shortest form, of 64 bits"),
                found,
            )
        })
    }

    /// A time, in either of its two forms.
    pub(super) fn time(&mut self, name: &str, within: Span) -> Result<Timestamp, Error> {
        let at = self.offset;
        let (tag, size) = self.header(name, &[Tag::UTC_TIME, Tag::GENERALIZED_TIME], within)?;
        self.check(format_args!("bytes of {name}"), at, size, TIME_BYTES_MAX)?;
        let text = self.content(name, size)?;
        let (time, form) = match tag {
            Tag::UTC_TIME => (der::utc_time(&text), "YYMMDDhhmmssZ"),
            _ => (der::generalized_time(&text), "YYYYMMDDhhmmss[.fff]Z"),
        };
        time.ok_or_else(|| {
            malformed(
                at,
                format!("the {name} as {form}"),
                format!("{:?}", String::from_utf8_lossy(&text)),
            )
        })
    }

    /// The content of a value that is short enough to keep.
    pub(super) fn content(&mut self, name: &str, size: u64) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        let mut left = size;
        while left > 0 {
            if !self.fill()? {
                return Err(self.truncated(name, size, left));
            }
            let some = self.take_buffered(left);
            content.extend_from_slice(some);
            left = left.saturating_sub(length(some));
        }
        Ok(content)
    }

    // Tags and lengths.

    /// The header of a value that must lie within another.
    pub(super) fn header(
        &mut self,
        name: &str,
        tags: &[Tag],
        within: Span,
    ) -> Result<(Tag, u64), Error> {
        let at = self.offset;
        if at >= within.end {
            return Err(malformed(
                at,
                expected(name, tags),
                format!("the end of the {}", within.name),
            ));
        }
        let (tag, size) = self.tag_and_length(name, tags)?;
        let room = within.end.saturating_sub(self.offset);
        if self.offset > within.end || size > room {
            let expected = format!("the {name} to end within the {}", within.name);
            return Err(malformed(
                at,
                expected,
                format!("{size} bytes announced where {room} are left"),
            ));
        }
        Ok((tag, size))
    }

    /// The header of a value that may be one of these.
    pub(super) fn tag_and_length(&mut self, name: &str, tags: &[Tag]) -> Result<(Tag, u64), Error> {
        let at = self.offset;
        let tag = Tag::of_byte(self.header_byte(name)?);
        if !tags.contains(&tag) {
            return Err(malformed(at, expected(name, tags), tag.describe_found()));
        }
        let size = match der::length_start(self.header_byte(name)?) {
            LengthStart::Short(size) => size,
            LengthStart::Long(count) => {
                let mut bytes = Vec::with_capacity(count);
                while bytes.len() < count {
                    bytes.push(self.header_byte(name)?);
                }
                der::long_length(&bytes).ok_or_else(|| {
                    malformed(
                        at,
                        format!("the length of the {name} in its shortest form"),
                        "a longer one",
                    )
                })?
            }
            LengthStart::Bad(found) => {
                return Err(malformed(at, format!("the length of the {name}"), found));
            }
        };
        Ok((tag, size))
    }

    /// The tag that comes next, not consumed; none at the end.
    pub(super) fn next_tag(&mut self) -> Result<Option<Tag>, Error> {
        self.fill()?;
        let next = self
            .buffer
            .get(self.buffered.clone())
            .and_then(<[u8]>::first);
        Ok(next.copied().map(Tag::of_byte))
    }

    /// A byte of a header.
    fn header_byte(&mut self, name: &str) -> Result<u8, Error> {
        if self.fill()?
            && let [byte] = self.take_buffered(1)
        {
            return Ok(*byte);
        }
        let inside = format!("the tag and length of the {name}");
        Err(Error {
            offset: self.offset,
            kind: ErrorKind::Truncated { inside },
        })
    }

    // Bytes.

    /// Reads from the input if nothing is buffered; false at its end.
    pub(super) fn fill(&mut self) -> Result<bool, Error> {
        if self.buffered.is_empty() {
            let read = read_some(&mut self.input, &mut self.buffer, self.offset)?;
            self.buffered = 0..read;
        }
        Ok(!self.buffered.is_empty())
    }

    /// Consumes and gives what is buffered, `limit` bytes at most.
    pub(super) fn take_buffered(&mut self, limit: u64) -> &[u8] {
        let count = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(self.buffered.len());
        let start = self.buffered.start;
        let end = start.saturating_add(count);
        self.buffered.start = end;
        let taken = self.buffer.get(start..end).unwrap_or_default();
        self.offset = self.offset.saturating_add(length(taken));
        taken
    }

    /// Reads some of what comes next, past the buffer if `out` has room for much; 0 at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.buffered.is_empty() && out.len() >= DIRECT_BYTES_MIN {
            let read = read_some(&mut self.input, out, self.offset)?;
            self.offset = self
                .offset
                .saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            return Ok(read);
        }
        self.fill()?;
        let taken = self.take_buffered(length(out));
        if let Some(out) = out.get_mut(..taken.len()) {
            out.copy_from_slice(taken);
        }
        Ok(taken.len())
    }

    // Errors.

    /// Refuses what is beyond a limit.
    pub(super) fn check(
        &self,
        what: fmt::Arguments<'_>,
        at: u64,
        found: u64,
        limit: u64,
    ) -> Result<(), Error> {
        if found <= limit {
            return Ok(());
        }
        Err(Error {
            offset: at,
            kind: ErrorKind::TooLarge {
                what: what.to_string(),
                limit,
                found,
            },
        })
    }

    /// The error that the input ended within a value.
    pub(super) fn truncated(&self, name: &str, announced: u64, missing: u64) -> Error {
        let there = announced.saturating_sub(missing);
        let inside = format!("the {name}: {announced} bytes announced, {there} there");
        Error {
            offset: self.offset,
            kind: ErrorKind::Truncated { inside },
        }
    }
}

fn read_some(input: &mut impl Read, out: &mut [u8], offset: u64) -> Result<usize, Error> {
    loop {
        match input.read(out) {
            // A reader that claims more than it was given room for is not believed.
            Ok(read) => return Ok(read.min(out.len())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Error {
                    offset,
                    kind: ErrorKind::Io(error),
                });
            }
        }
    }
}

/// `the start time (UTCTime, tag 0x17, or GeneralizedTime, tag 0x18)`
pub(super) fn expected(name: &str, tags: &[Tag]) -> String {
    let tags: Vec<String> = tags.iter().map(|tag| tag.describe()).collect();
    format!("the {name} ({})", tags.join(", or "))
}

pub(super) fn malformed(
    offset: u64,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Error {
    Error {
        offset,
        kind: ErrorKind::Malformed {
            expected: expected.into(),
            found: found.into(),
        },
    }
}

/// What ends here must be the last thing in `span`.
pub(super) fn ends_at(end: u64, span: Span) -> Result<(), Error> {
    match span.end.saturating_sub(end) {
        0 => Ok(()),
        left => Err(malformed(
            end,
            format!("the end of the {}", span.name),
            format!("{left} bytes more"),
        )),
    }
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    // OK because a usize has at most 64 bits.
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
