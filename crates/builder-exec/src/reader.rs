//! A build read from a stream, one part after the other, holding no more than a small buffer: which
//! parts come in which order. What a part is made of is read by `values`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::mem;

use uuid::Uuid;

use crate::der::Tag;
use crate::{Error, ErrorKind, ExecutionResult, Limits, Timestamp};
use values::{INPUT, Span, Values, ends_at, expected, length, malformed};

mod values;

/// Reads a build part by part.
///
/// The DER is read strictly: lengths and integers in their shortest form, nothing left over anywhere, nothing after the
/// end. Strings may hold any bytes, though their type is called UTF8String: artifacts are sent in them.
///
/// Reads ahead by up to 64 KiB, but never past the end of a well-formed build without saying so.
pub struct Reader<R> {
    values: Values<R>,
    limits: Limits,
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

impl<R: Read> Reader<R> {
    /// A reader at the start of a build.
    pub fn new(input: R, limits: Limits) -> Reader<R> {
        Reader {
            values: Values::new(input),
            limits,
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
                self.values.offset,
                "no further call after an error",
                "one",
            )),
        }
    }

    /// How many bytes of the build are consumed so far.
    pub fn offset(&self) -> u64 {
        self.values.offset
    }

    /// The input. What was read ahead of [`offset`](Reader::offset) is lost, so before [`Part::End`] this is good for
    /// little but draining it.
    pub fn into_inner(self) -> R {
        self.values.into_input()
    }

    // The parts, in their order.

    fn job_name(&mut self) -> Result<Part<'_, R>, Error> {
        self.build = self.enter_build()?;
        self.job = self.values.enter("job", self.build)?;
        let name =
            self.values
                .short_string("job name", self.limits.job_name_bytes_max, self.job)?;
        self.state = State::Script;
        Ok(Part::JobName(name))
    }

    fn script(&mut self) -> Result<Part<'_, R>, Error> {
        let size = self
            .values
            .string_header("script", self.limits.script_bytes_max, self.job)?;
        self.state = State::InputFiles(None);
        Ok(Part::Script(self.field(Cow::Borrowed("script"), size)))
    }

    fn input_file_or_platform(&mut self, list: Option<Span>) -> Result<Part<'_, R>, Error> {
        let list = self.list("input file list", self.job, list)?;
        if self.values.offset == list.end {
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
        let platform = if self.values.offset == self.job.end {
            None
        } else {
            Some(
                self.values
                    .short_string("platform", self.limits.platform_bytes_max, self.job)?,
            )
        };
        ends_at(self.values.offset, self.job)?;
        self.state = State::Uuid;
        Ok(Part::Platform(platform))
    }

    fn uuid(&mut self) -> Result<Part<'_, R>, Error> {
        let at = self.values.offset;
        let (_, size) = self
            .values
            .header("uuid", &[Tag::UTF8_STRING], self.build)?;
        if size != 16 {
            return Err(malformed(
                at,
                "a uuid of 16 bytes",
                format!("one of {size}"),
            ));
        }
        let bytes = self.values.content("uuid", size)?;
        let uuid =
            Uuid::from_slice(&bytes).map_err(|error| malformed(at, "a uuid", error.to_string()))?;
        self.state = State::Console(None);
        Ok(Part::Uuid(uuid))
    }

    fn console_line_or_times(&mut self, list: Option<Span>) -> Result<Part<'_, R>, Error> {
        let list = self.list("console", self.build, list)?;
        if self.values.offset == list.end {
            return self.times();
        }
        self.count_item("console lines", self.limits.console_lines_max)?;
        let line = self.values.enter("console line", list)?;
        let delta_ns = self.values.integer("delta of the console line", line)?;
        let at = self.values.offset;
        let size = self.values.string_header(
            "text of the console line",
            self.limits.console_line_bytes_max,
            line,
        )?;
        ends_at(self.values.offset.saturating_add(size), line)?;
        self.list_bytes = self.list_bytes.saturating_add(size);
        self.values.check(
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
        let times = self.values.enter("times", self.build)?;
        let start = self.values.time("start time", times)?;
        let finish = self.values.time("finish time", times)?;
        ends_at(self.values.offset, times)?;
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
        let (kind, size) = self.values.header("result", &kinds, self.build)?;
        let result = Span {
            name: "result",
            end: self.values.offset.saturating_add(size),
        };
        let part = match kind {
            Tag::EXPLICIT_0 => ExecutionResult::Exited(self.values.integer("exit code", result)?),
            Tag::EXPLICIT_1 => ExecutionResult::Signalled(self.values.integer("signal", result)?),
            Tag::EXPLICIT_2 => ExecutionResult::Stopped(self.values.integer("signal", result)?),
            _ => ExecutionResult::Message(self.values.short_string(
                "message",
                self.limits.message_bytes_max,
                result,
            )?),
        };
        ends_at(self.values.offset, result)?;
        self.state = State::Artifacts(None);
        Ok(Part::Result(part))
    }

    fn artifact_or_end(&mut self, list: Option<Span>) -> Result<Part<'_, R>, Error> {
        let entered = list.is_some();
        let list = self.list("artifact list", self.build, list)?;
        if !entered {
            ends_at(list.end, self.build)?;
        }
        if self.values.offset == list.end {
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
        if self.values.fill()? {
            return Err(malformed(
                self.values.offset,
                "the end of the input",
                "more bytes",
            ));
        }
        self.state = State::End;
        Ok(Part::End)
    }

    // What the parts are made of.

    /// `[0] EXPLICIT SEQUENCE`, of which the inner one fills the outer.
    fn enter_build(&mut self) -> Result<Span, Error> {
        let at = self.values.offset;
        if self.values.next_tag()? == Some(Tag::EXPLICIT_1) {
            let found = "the empty alternative ([1] NULL), which holds none";
            return Err(malformed(at, expected("build", &[Tag::EXPLICIT_0]), found));
        }
        let (_, size) = self.values.tag_and_length("build", &[Tag::EXPLICIT_0])?;
        let end = self.values.offset.saturating_add(size);
        self.values.check(
            format_args!("bytes of build"),
            at,
            end,
            self.limits.exec_bytes_max,
        )?;
        let wrapper = Span {
            name: "wrapper of the build",
            end,
        };
        let build = self.values.enter("build", wrapper)?;
        ends_at(build.end, wrapper)?;
        Ok(build)
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
                self.values.enter(name, within)
            }
        }
    }

    fn count_item(&mut self, what: &'static str, limit: u64) -> Result<(), Error> {
        self.list_items = self.list_items.saturating_add(1);
        self.values.check(
            format_args!("{what}"),
            self.values.offset,
            self.list_items,
            limit,
        )
    }

    /// Path and data. Gives the path, a name of the file for messages, and the size of the data, which come next.
    fn file(
        &mut self,
        name: &'static str,
        limit: u64,
        list: Span,
    ) -> Result<(Vec<u8>, String, u64), Error> {
        let file = self.values.enter(name, list)?;
        let path = self.values.short_string(
            &format!("path of the {name}"),
            self.limits.artifact_path_bytes_max,
            file,
        )?;
        let name = format!("{name} {:?}", String::from_utf8_lossy(&path));
        let size = self.values.string_header(&name, limit, file)?;
        ends_at(self.values.offset.saturating_add(size), file)?;
        Ok((path, name, size))
    }

    fn field(&mut self, name: Cow<'static, str>, size: u64) -> Field<'_, R> {
        self.field_name = name;
        self.field_bytes = size;
        self.field_left = size;
        Field { reader: self }
    }

    fn skip_field(&mut self) -> Result<(), Error> {
        while self.field_left > 0 {
            if !self.values.fill()? {
                return Err(self.values.truncated(
                    &self.field_name,
                    self.field_bytes,
                    self.field_left,
                ));
            }
            let skipped = length(self.values.take_buffered(self.field_left));
            self.field_left = self.field_left.saturating_sub(skipped);
        }
        Ok(())
    }

    /// Reads a piece of the field that was handed out last; 0 at its end.
    fn read_field(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let wanted = usize::try_from(self.field_left)
            .unwrap_or(usize::MAX)
            .min(out.len());
        let Some(out) = out.get_mut(..wanted).filter(|out| !out.is_empty()) else {
            return Ok(0);
        };
        let read = self.values.read(out)?;
        if read == 0 {
            return Err(self
                .values
                .truncated(&self.field_name, self.field_bytes, self.field_left));
        }
        self.field_left = self
            .field_left
            .saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
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
            let offset = self.reader.values.offset;
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
