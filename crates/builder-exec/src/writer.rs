//! A build written to a stream: sizes first, then the bytes, none of them kept.

use std::io::{self, Read, Write};

use uuid::Uuid;

use crate::der::{self, Tag};
use crate::{ExecutionResult, Timestamp};

/// All of a build but its bytes. DER puts the size of a thing in front of it, so the sizes must be known first.
#[derive(Debug, Clone)]
pub struct Layout<'a> {
    /// The name of the job.
    pub job: &'a [u8],
    /// The size of the script.
    pub script_bytes: u64,
    /// The platform. It is always written, though readers do without.
    pub platform: &'a [u8],
    /// The id of the build.
    pub uuid: Uuid,
    /// The size of the console output.
    pub console: ConsoleLayout,
    /// When the script began.
    pub start: Timestamp,
    /// When it ended.
    pub finish: Timestamp,
    /// How it ended.
    pub result: &'a ExecutionResult,
    /// The artifacts, in the order in which they will be written.
    pub artifacts: &'a [ArtifactLayout<'a>],
}

/// One artifact but its bytes.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactLayout<'a> {
    /// Its path below the build directory.
    pub path: &'a [u8],
    /// Its size.
    pub bytes: u64,
}

/// Adds up the encoded size of console lines, so that the lines themselves need not be kept.
#[derive(Debug, Clone, Default)]
pub struct ConsoleLayout {
    encoded_bytes: u64,
}

/// Writes a build: first [`script`](Writer::script), then each [`console_line`](Writer::console_line), then each
/// [`artifact`](Writer::artifact), then [`finish`](Writer::finish). Anything in another order, or of another size than
/// the layout says, is an error of kind [`InvalidData`](io::ErrorKind::InvalidData), after which the output is useless.
#[derive(Debug)]
pub struct Writer<'a, W> {
    out: W,
    layout: Layout<'a>,
    next: Next<'a>,
}

#[derive(Debug)]
enum Next<'a> {
    Script,
    ConsoleLine { bytes_left: u64 },
    Artifact { left: &'a [ArtifactLayout<'a>] },
}

impl ConsoleLayout {
    /// Adds a line; the order does not matter.
    pub fn add(&mut self, delta_ns: i64, text_bytes: u64) {
        self.encoded_bytes = self
            .encoded_bytes
            .saturating_add(console_line_bytes(delta_ns, text_bytes));
    }
}

impl Layout<'_> {
    /// The size of the whole encoded build.
    pub fn encoded_bytes(&self) -> u64 {
        der::value_bytes(der::value_bytes(self.content_bytes()))
    }

    fn content_bytes(&self) -> u64 {
        sum([
            der::value_bytes(self.job_bytes()),
            der::value_bytes(16),
            der::value_bytes(self.console.encoded_bytes),
            length(&self.times()),
            length(&self.result()),
            der::value_bytes(self.artifacts_bytes()),
        ])
    }

    fn job_bytes(&self) -> u64 {
        sum([
            der::value_bytes(length(self.job)),
            der::value_bytes(self.script_bytes),
            der::value_bytes(0), // no input files: they are not kept
            der::value_bytes(length(self.platform)),
        ])
    }

    fn artifacts_bytes(&self) -> u64 {
        sum(self
            .artifacts
            .iter()
            .map(|artifact| der::value_bytes(artifact.content_bytes())))
    }

    fn times(&self) -> Vec<u8> {
        let mut times = Vec::new();
        for time in [self.start, self.finish] {
            der::push_value(
                &mut times,
                Tag::GENERALIZED_TIME,
                der::generalized_time_content(time).as_bytes(),
            );
        }
        value(Tag::SEQUENCE, &times)
    }

    fn result(&self) -> Vec<u8> {
        let integer = |number: &i64| value(Tag::INTEGER, &der::integer_content(*number));
        match self.result {
            ExecutionResult::Exited(code) => value(Tag::EXPLICIT_0, &integer(code)),
            ExecutionResult::Signalled(signal) => value(Tag::EXPLICIT_1, &integer(signal)),
            ExecutionResult::Stopped(signal) => value(Tag::EXPLICIT_2, &integer(signal)),
            ExecutionResult::Message(message) => {
                value(Tag::EXPLICIT_3, &value(Tag::UTF8_STRING, message))
            }
        }
    }
}

impl ArtifactLayout<'_> {
    fn content_bytes(&self) -> u64 {
        sum([
            der::value_bytes(length(self.path)),
            der::value_bytes(self.bytes),
        ])
    }
}

impl<'a, W: Write> Writer<'a, W> {
    /// A writer of one build. Nothing is written before the script is.
    pub fn new(out: W, layout: Layout<'a>) -> Writer<'a, W> {
        Writer {
            out,
            layout,
            next: Next::Script,
        }
    }

    /// Writes the script, and what comes before it.
    pub fn script(&mut self, data: &mut dyn Read) -> io::Result<()> {
        let Next::Script = self.next else {
            return Err(invalid("the script comes first, and once".to_owned()));
        };
        let layout = &self.layout;
        let mut before = Vec::new();
        der::push_header(
            &mut before,
            Tag::EXPLICIT_0,
            der::value_bytes(layout.content_bytes()),
        );
        der::push_header(&mut before, Tag::SEQUENCE, layout.content_bytes());
        der::push_header(&mut before, Tag::SEQUENCE, layout.job_bytes());
        der::push_value(&mut before, Tag::UTF8_STRING, layout.job);
        der::push_header(&mut before, Tag::UTF8_STRING, layout.script_bytes);
        let mut after = Vec::new();
        der::push_header(&mut after, Tag::SEQUENCE, 0);
        der::push_value(&mut after, Tag::UTF8_STRING, layout.platform);
        der::push_value(&mut after, Tag::UTF8_STRING, layout.uuid.as_bytes());
        der::push_header(&mut after, Tag::SEQUENCE, layout.console.encoded_bytes);

        self.out.write_all(&before)?;
        copy_exactly(data, &mut self.out, layout.script_bytes, || {
            "the script".to_owned()
        })?;
        self.out.write_all(&after)?;
        self.next = Next::ConsoleLine {
            bytes_left: self.layout.console.encoded_bytes,
        };
        Ok(())
    }

    /// Writes a line of console output. The newest comes first.
    pub fn console_line(&mut self, delta_ns: i64, text: &[u8]) -> io::Result<()> {
        self.console_line_from(delta_ns, length(text), &mut &*text)
    }

    /// Writes a line of console output whose text is read from `text`.
    pub fn console_line_from(
        &mut self,
        delta_ns: i64,
        text_bytes: u64,
        text: &mut dyn Read,
    ) -> io::Result<()> {
        let Next::ConsoleLine { bytes_left } = self.next else {
            return Err(invalid(
                "console lines come after the script and before the artifacts".to_owned(),
            ));
        };
        let Some(bytes_left) = bytes_left.checked_sub(console_line_bytes(delta_ns, text_bytes))
        else {
            return Err(invalid("the console is larger than its layout".to_owned()));
        };
        let mut before = Vec::new();
        der::push_header(
            &mut before,
            Tag::SEQUENCE,
            console_line_content_bytes(delta_ns, text_bytes),
        );
        der::push_value(&mut before, Tag::INTEGER, &der::integer_content(delta_ns));
        der::push_header(&mut before, Tag::UTF8_STRING, text_bytes);
        self.out.write_all(&before)?;
        copy_exactly(text, &mut self.out, text_bytes, || {
            "a console line".to_owned()
        })?;
        self.next = Next::ConsoleLine { bytes_left };
        Ok(())
    }

    /// Writes the next artifact of the layout.
    pub fn artifact(&mut self, data: &mut dyn Read) -> io::Result<()> {
        let [artifact, left @ ..] = self.artifacts_left()? else {
            return Err(invalid(
                "there are more artifacts than in the layout".to_owned(),
            ));
        };
        let mut before = Vec::new();
        der::push_header(&mut before, Tag::SEQUENCE, artifact.content_bytes());
        der::push_value(&mut before, Tag::UTF8_STRING, artifact.path);
        der::push_header(&mut before, Tag::UTF8_STRING, artifact.bytes);
        self.out.write_all(&before)?;
        copy_exactly(data, &mut self.out, artifact.bytes, || name(artifact))?;
        self.next = Next::Artifact { left };
        Ok(())
    }

    /// Writes what is left and gives the output back, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        if let [artifact, ..] = self.artifacts_left()? {
            return Err(invalid(format!("{} is missing", name(artifact))));
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// The artifacts still to come. Leaves the console behind if this is its end.
    fn artifacts_left(&mut self) -> io::Result<&'a [ArtifactLayout<'a>]> {
        match self.next {
            Next::Script => Err(invalid("the script is missing".to_owned())),
            Next::ConsoleLine { bytes_left: 0 } => {
                let layout = &self.layout;
                let mut between = layout.times();
                between.extend(layout.result());
                der::push_header(&mut between, Tag::SEQUENCE, layout.artifacts_bytes());
                self.out.write_all(&between)?;
                let left = layout.artifacts;
                self.next = Next::Artifact { left };
                Ok(left)
            }
            Next::ConsoleLine { bytes_left } => Err(invalid(format!(
                "the console is smaller than its layout: {bytes_left} encoded bytes are missing"
            ))),
            Next::Artifact { left } => Ok(left),
        }
    }
}

/// Copies `bytes` bytes, and makes sure that there are no more.
fn copy_exactly(
    data: &mut dyn Read,
    out: &mut dyn Write,
    bytes: u64,
    name: impl Fn() -> String,
) -> io::Result<()> {
    let copied = io::copy(&mut (&mut *data).take(bytes), out)?;
    if copied < bytes {
        return Err(invalid(format!(
            "{} is smaller than its layout: {bytes} bytes wanted, {copied} given",
            name()
        )));
    }
    let more = io::copy(&mut data.take(1), &mut io::sink())?;
    if more > 0 {
        return Err(invalid(format!(
            "{} is larger than its layout: {bytes} bytes wanted",
            name()
        )));
    }
    Ok(())
}

fn name(artifact: &ArtifactLayout<'_>) -> String {
    format!("artifact {:?}", String::from_utf8_lossy(artifact.path))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn console_line_bytes(delta_ns: i64, text_bytes: u64) -> u64 {
    der::value_bytes(console_line_content_bytes(delta_ns, text_bytes))
}

fn console_line_content_bytes(delta_ns: i64, text_bytes: u64) -> u64 {
    sum([
        der::value_bytes(der::integer_content_bytes(delta_ns)),
        der::value_bytes(text_bytes),
    ])
}

fn value(tag: Tag, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    der::push_value(&mut value, tag, content);
    value
}

/// A sum that stays at the top: no build is that large, and no disk.
fn sum(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

fn length(bytes: &[u8]) -> u64 {
    // OK because a usize has at most 64 bits.
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
