//! A build read from a stream, one part after the other, holding no more than a small buffer.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::mem;

use uuid::Uuid;

use crate::der::{self, LengthStart, Tag};
use crate::{Error, ErrorKind, ExecutionResult, Limits, Timestamp};

/// Reads a build part by part.
///
/// The DER is read strictly: lengths and integers in their shortest form, nothing left over anywhere, nothing after the
/// end. Strings may hold any bytes, though their type is called UTF8String: artifacts are sent in them.
///
/// Reads ahead by up to 64 KiB, but never past the end of a well-formed build without saying so.
pub struct Reader<R> {
    input: R,
    limits: Limits,
    buffer: Box<[u8]>,
    /// The bytes of `buffer` that are read from the input and not yet consumed.
    buffered: std::ops::Range<usize>,
    offset: u64,
    state: State,
    /// The whole build and the job within it, known once their first bytes are read.
    build: Span,
    job: Span,
    /// How many items, and bytes of text, have come of the list that is being read.
    list_items: u64,
    list_bytes: u64,
    /// The string handed out as the last [`Field`], and how much of it is still unread.
    field_name: Cow<'static, str>,
    field_bytes: u64,
    field_left: u64,
}

/// A part of a build, in the order they are sent.
#[derive(Debug)]
pub enum Part<'r, R> {
    /// The name of the job.
    JobName(Vec<u8>),
    /// The script that was run.
    Script(Field<'r, R>),
    /// A file that was sent along with the job. builder-web keeps none of them.
    InputFile {
        /// Where the script found it.
        path: Vec<u8>,
        /// Its content.
        data: Field<'r, R>,
    },
    /// The platform the job ran on; builds from before there were platforms have none.
    Platform(Option<Vec<u8>>),
    /// The id of the build.
    Uuid(Uuid),
    /// A line of console output. The newest comes first.
    ConsoleLine {
        /// Nanoseconds since the start of the build.
        delta_ns: i64,
        /// The line, without its line end.
        text: Field<'r, R>,
    },
    /// When the script was run.
    Times {
        /// When it began.
        start: Timestamp,
        /// When it ended. Nothing here says that this is later.
        finish: Timestamp,
    },
    /// How the script ended.
    Result(ExecutionResult),
    /// A file that the script left behind.
    Artifact {
        /// Its path below the build directory, as sent: it may be empty, absolute, or hold `..`.
        path: Vec<u8>,
        /// Its content.
        data: Field<'r, R>,
    },
    /// All was read, and the input ended exactly there.
    End,
}

/// The bytes of one string of the build, read through [`io::Read`]; what is left unread is skipped by the reader.
///
/// Errors from `read` hold an [`Error`], which [`Error::from_io`] takes out again.
pub struct Field<'r, R> {
    reader: &'r mut Reader<R>,
}

/// What comes next. A list has a span once its header is read.
enum State {
    Job,
    Script,
    InputFiles(Option<Span>),
    Uuid,
    Console(Option<Span>),
    Result,
    Artifacts(Option<Span>),
    End,
    Failed,
}

/// A constructed value that is being read.
#[derive(Clone, Copy)]
struct Span {
    name: &'static str,
    end: u64,
}

const INPUT: Span = Span {
    name: "input",
    end: u64::MAX,
};

const BUFFER_BYTES: usize = 64 * 1024;

/// Pieces of a field that are at least this large are read straight to where they are wanted: copying them costs more
/// than asking the input more often.
const DIRECT_BYTES_MIN: usize = 8 * 1024;

/// Longer than any time with a fraction that means something.
const TIME_BYTES_MAX: u64 = 64;

impl<R: Read> Reader<R> {
    /// A reader at the start of a build.
    pub fn new(input: R, limits: Limits) -> Reader<R> {
        Reader {
            input,
            limits,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            buffered: 0..0,
            offset: 0,
            state: State::Job,
            build: INPUT,
            job: INPUT,
            list_items: 0,
            list_bytes: 0,
            field_name: Cow::Borrowed("script"),
            field_bytes: 0,
            field_left: 0,
        }
    }

    /// The next part, in the order they are sent. Unread bytes of the part before are skipped. After [`Part::End`]
    /// always [`Part::End`], and after an error always an error.
    pub fn next_part(&mut self) -> Result<Part<'_, R>, Error> {
        // Each step below sets the state that comes after it once it has succeeded.
        let state = mem::replace(&mut self.state, State::Failed);
        if !matches!(state, State::Failed) {
            self.skip_field()?;
        }
        match state {
            State::Job => self.job_name(),
            State::Script => self.script(),
            State::InputFiles(list) => self.input_file_or_platform(list),
            State::Uuid => self.uuid(),
            State::Console(list) => self.console_line_or_times(list),
            State::Result => self.result(),
            State::Artifacts(list) => self.artifact_or_end(list),
            State::End => {
                self.state = State::End;
                Ok(Part::End)
            }
            State::Failed => Err(malformed(
                self.offset,
                "no further call after an error",
                "one",
            )),
        }
    }

    /// How many bytes of the build are consumed so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The input. What was read ahead of [`offset`](Reader::offset) is lost, so before [`Part::End`] this is good for
    /// little but draining it.
    pub fn into_inner(self) -> R {
        self.input
    }

    // The parts, in their order.

    fn job_name(&mut self) -> Result<Part<'_, R>, Error> {
        self.build = self.enter_build()?;
        self.job = self.enter("job", self.build)?;
        let name = self.short_string("job name", self.limits.job_name_bytes_max, self.job)?;
        self.state = State::Script;
        Ok(Part::JobName(name))
    }

    fn script(&mut self) -> Result<Part<'_, R>, Error> {
        let size = self.string_header("script", self.limits.script_bytes_max, self.job)?;
        self.state = State::InputFiles(None);
        Ok(Part::Script(self.field(Cow::Borrowed("script"), size)))
    }

    fn input_file_or_platform(&mut self, list: Option<Span>) -> Result<Part<'_, R>, Error> {
        let list = self.list("input file list", self.job, list)?;
        if self.offset == list.end {
            return self.platform();
        }
        self.count_item("input files", self.limits.input_files_max)?;
        let (path, name, size) = self.file("input file", self.limits.input_file_bytes_max, list)?;
        self.state = State::InputFiles(Some(list));
        Ok(Part::InputFile {
            path,
            data: self.field(Cow::Owned(name), size),
        })
    }

    fn platform(&mut self) -> Result<Part<'_, R>, Error> {
        let platform = if self.offset == self.job.end {
            None
        } else {
            Some(self.short_string("platform", self.limits.platform_bytes_max, self.job)?)
        };
        ends_at(self.offset, self.job)?;
        self.state = State::Uuid;
        Ok(Part::Platform(platform))
    }

    fn uuid(&mut self) -> Result<Part<'_, R>, Error> {
        let at = self.offset;
        let (_, size) = self.header("uuid", &[Tag::UTF8_STRING], self.build)?;
        if size != 16 {
            return Err(malformed(
                at,
                "a uuid of 16 bytes",
                format!("one of {size}"),
            ));
        }
        let bytes = self.content("uuid", size)?;
        let uuid =
            Uuid::from_slice(&bytes).map_err(|error| malformed(at, "a uuid", error.to_string()))?;
        self.state = State::Console(None);
        Ok(Part::Uuid(uuid))
    }

    fn console_line_or_times(&mut self, list: Option<Span>) -> Result<Part<'_, R>, Error> {
        let list = self.list("console", self.build, list)?;
        if self.offset == list.end {
            return self.times();
        }
        self.count_item("console lines", self.limits.console_lines_max)?;
        let line = self.enter("console line", list)?;
        let delta_ns = self.integer("delta of the console line", line)?;
        let at = self.offset;
        let size = self.string_header(
            "text of the console line",
            self.limits.console_line_bytes_max,
            line,
        )?;
        ends_at(self.offset.saturating_add(size), line)?;
        self.list_bytes = self.list_bytes.saturating_add(size);
        self.check(
            format_args!("bytes of console"),
            at,
            self.list_bytes,
            self.limits.console_bytes_max,
        )?;
        self.state = State::Console(Some(list));
        Ok(Part::ConsoleLine {
            delta_ns,
            text: self.field(Cow::Borrowed("text of the console line"), size),
        })
    }

    fn times(&mut self) -> Result<Part<'_, R>, Error> {
        let times = self.enter("times", self.build)?;
        let start = self.time("start time", times)?;
        let finish = self.time("finish time", times)?;
        ends_at(self.offset, times)?;
        self.state = State::Result;
        Ok(Part::Times { start, finish })
    }

    fn result(&mut self) -> Result<Part<'_, R>, Error> {
        let kinds = [
            Tag::EXPLICIT_0,
            Tag::EXPLICIT_1,
            Tag::EXPLICIT_2,
            Tag::EXPLICIT_3,
        ];
        let (kind, size) = self.header("result", &kinds, self.build)?;
        let result = Span {
            name: "result",
            end: self.offset.saturating_add(size),
        };
        let part = match kind {
            Tag::EXPLICIT_0 => ExecutionResult::Exited(self.integer("exit code", result)?),
            Tag::EXPLICIT_1 => ExecutionResult::Signalled(self.integer("signal", result)?),
            Tag::EXPLICIT_2 => ExecutionResult::Stopped(self.integer("signal", result)?),
            _ => ExecutionResult::Message(self.short_string(
                "message",
                self.limits.message_bytes_max,
                result,
            )?),
        };
        ends_at(self.offset, result)?;
        self.state = State::Artifacts(None);
        Ok(Part::Result(part))
    }

    fn artifact_or_end(&mut self, list: Option<Span>) -> Result<Part<'_, R>, Error> {
        let entered = list.is_some();
        let list = self.list("artifact list", self.build, list)?;
        if !entered {
            ends_at(list.end, self.build)?;
        }
        if self.offset == list.end {
            return self.end();
        }
        self.count_item("artifacts", self.limits.artifacts_max)?;
        let (path, name, size) = self.file("artifact", self.limits.artifact_bytes_max, list)?;
        self.state = State::Artifacts(Some(list));
        Ok(Part::Artifact {
            path,
            data: self.field(Cow::Owned(name), size),
        })
    }

    fn end(&mut self) -> Result<Part<'_, R>, Error> {
        if self.fill()? {
            return Err(malformed(self.offset, "the end of the input", "more bytes"));
        }
        self.state = State::End;
        Ok(Part::End)
    }

    // What the parts are made of.

    /// `[0] EXPLICIT SEQUENCE`, of which the inner one fills the outer.
    fn enter_build(&mut self) -> Result<Span, Error> {
        let at = self.offset;
        if self.next_tag()? == Some(Tag::EXPLICIT_1) {
            let found = "the empty alternative ([1] NULL), which holds none";
            return Err(malformed(at, expected("build", &[Tag::EXPLICIT_0]), found));
        }
        let (_, size) = self.tag_and_length("build", &[Tag::EXPLICIT_0])?;
        let end = self.offset.saturating_add(size);
        self.check(
            format_args!("bytes of build"),
            at,
            end,
            self.limits.exec_bytes_max,
        )?;
        let wrapper = Span {
            name: "wrapper of the build",
            end,
        };
        let build = self.enter("build", wrapper)?;
        ends_at(build.end, wrapper)?;
        Ok(build)
    }

    fn enter(&mut self, name: &'static str, within: Span) -> Result<Span, Error> {
        let (_, size) = self.header(name, &[Tag::SEQUENCE], within)?;
        Ok(Span {
            name,
            end: self.offset.saturating_add(size),
        })
    }

    fn list(
        &mut self,
        name: &'static str,
        within: Span,
        entered: Option<Span>,
    ) -> Result<Span, Error> {
        match entered {
            Some(list) => Ok(list),
            None => {
                self.list_items = 0;
                self.list_bytes = 0;
                self.enter(name, within)
            }
        }
    }

    fn count_item(&mut self, what: &'static str, limit: u64) -> Result<(), Error> {
        self.list_items = self.list_items.saturating_add(1);
        self.check(format_args!("{what}"), self.offset, self.list_items, limit)
    }

    /// Path and data. Gives the path, a name of the file for messages, and the size of the data, which come next.
    fn file(
        &mut self,
        name: &'static str,
        limit: u64,
        list: Span,
    ) -> Result<(Vec<u8>, String, u64), Error> {
        let file = self.enter(name, list)?;
        let path = self.short_string(
            &format!("path of the {name}"),
            self.limits.artifact_path_bytes_max,
            file,
        )?;
        let name = format!("{name} {:?}", String::from_utf8_lossy(&path));
        let size = self.string_header(&name, limit, file)?;
        ends_at(self.offset.saturating_add(size), file)?;
        Ok((path, name, size))
    }

    fn short_string(&mut self, name: &str, limit: u64, within: Span) -> Result<Vec<u8>, Error> {
        let size = self.string_header(name, limit, within)?;
        self.content(name, size)
    }

    fn string_header(&mut self, name: &str, limit: u64, within: Span) -> Result<u64, Error> {
        let at = self.offset;
        let (_, size) = self.header(name, &[Tag::UTF8_STRING], within)?;
        self.check(format_args!("bytes of {name}"), at, size, limit)?;
        Ok(size)
    }

    fn integer(&mut self, name: &str, within: Span) -> Result<i64, Error> {
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

    fn time(&mut self, name: &str, within: Span) -> Result<Timestamp, Error> {
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
    fn content(&mut self, name: &str, size: u64) -> Result<Vec<u8>, Error> {
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

    fn field(&mut self, name: Cow<'static, str>, size: u64) -> Field<'_, R> {
        self.field_name = name;
        self.field_bytes = size;
        self.field_left = size;
        Field { reader: self }
    }

    fn skip_field(&mut self) -> Result<(), Error> {
        while self.field_left > 0 {
            if !self.fill()? {
                return Err(self.truncated(&self.field_name, self.field_bytes, self.field_left));
            }
            let skipped = length(self.take_buffered(self.field_left));
            self.field_left = self.field_left.saturating_sub(skipped);
        }
        Ok(())
    }

    // Tags and lengths.

    /// The header of a value that must lie within another.
    fn header(&mut self, name: &str, tags: &[Tag], within: Span) -> Result<(Tag, u64), Error> {
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

    fn tag_and_length(&mut self, name: &str, tags: &[Tag]) -> Result<(Tag, u64), Error> {
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

    fn next_tag(&mut self) -> Result<Option<Tag>, Error> {
        self.fill()?;
        let next = self
            .buffer
            .get(self.buffered.clone())
            .and_then(<[u8]>::first);
        Ok(next.copied().map(Tag::of_byte))
    }

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
    fn fill(&mut self) -> Result<bool, Error> {
        if self.buffered.is_empty() {
            let read = read_some(&mut self.input, &mut self.buffer, self.offset)?;
            self.buffered = 0..read;
        }
        Ok(!self.buffered.is_empty())
    }

    /// Consumes and gives what is buffered, `limit` bytes at most.
    fn take_buffered(&mut self, limit: u64) -> &[u8] {
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

    /// Reads a piece of the field that was handed out last; 0 at its end.
    fn read_field(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let wanted = usize::try_from(self.field_left)
            .unwrap_or(usize::MAX)
            .min(out.len());
        let Some(out) = out.get_mut(..wanted).filter(|out| !out.is_empty()) else {
            return Ok(0);
        };
        let read = if self.buffered.is_empty() && wanted >= DIRECT_BYTES_MIN {
            let read = read_some(&mut self.input, out, self.offset)?;
            self.offset = self
                .offset
                .saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            read
        } else {
            self.fill()?;
            let taken = self.take_buffered(self.field_left.min(length(out)));
            if let Some(out) = out.get_mut(..taken.len()) {
                out.copy_from_slice(taken);
            }
            taken.len()
        };
        if read == 0 {
            return Err(self.truncated(&self.field_name, self.field_bytes, self.field_left));
        }
        self.field_left = self
            .field_left
            .saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }

    // Errors.

    fn check(
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

    fn truncated(&self, name: &str, announced: u64, missing: u64) -> Error {
        let there = announced.saturating_sub(missing);
        let inside = format!("the {name}: {announced} bytes announced, {there} there");
        Error {
            offset: self.offset,
            kind: ErrorKind::Truncated { inside },
        }
    }
}

impl<R: Read> Field<'_, R> {
    /// How many bytes the field has, read or not.
    pub fn size(&self) -> u64 {
        self.reader.field_bytes
    }

    /// The rest of the field in memory: only for those whose limit is small enough for that.
    pub fn read_to_vec(mut self) -> Result<Vec<u8>, Error> {
        // Grows as bytes come: what is only announced takes no memory.
        let mut bytes = Vec::new();
        let read = self.read_to_end(&mut bytes);
        read.map_err(|error| {
            let offset = self.reader.offset;
            Error::from_io(error).unwrap_or_else(|error| Error {
                offset,
                kind: ErrorKind::Io(error),
            })
        })?;
        Ok(bytes)
    }
}

impl<R: Read> Read for Field<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.reader.read_field(out)?)
    }
}

impl<R> fmt::Debug for Field<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("size", &self.reader.field_bytes)
            .field("left", &self.reader.field_left)
            .finish()
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
fn expected(name: &str, tags: &[Tag]) -> String {
    let tags: Vec<String> = tags.iter().map(|tag| tag.describe()).collect();
    format!("the {name} ({})", tags.join(", or "))
}

fn malformed(offset: u64, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error {
        offset,
        kind: ErrorKind::Malformed {
            expected: expected.into(),
            found: found.into(),
        },
    }
}

/// What ends here must be the last thing in `span`.
fn ends_at(end: u64, span: Span) -> Result<(), Error> {
    match span.end.saturating_sub(end) {
        0 => Ok(()),
        left => Err(malformed(
            end,
            format!("the end of the {}", span.name),
            format!("{left} bytes more"),
        )),
    }
}

fn length(bytes: &[u8]) -> u64 {
    // OK because a usize has at most 64 bits.
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
