//! A build held in memory: made up, read from a stream, written to one.

use std::io::{self, Read};

use builder_exec::{
    ArtifactLayout, ConsoleLayout, Error, ExecutionResult, Layout, Limits, Part, Reader, Timestamp,
    Uuid, Writer,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::der::{Value, explicit, generalized_time, integer, sequence, string};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Build {
    pub(crate) job: Vec<u8>,
    pub(crate) script: Vec<u8>,
    pub(crate) input_files: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) platform: Option<Vec<u8>>,
    pub(crate) uuid: Uuid,
    pub(crate) console: Vec<(i64, Vec<u8>)>,
    pub(crate) start: Timestamp,
    pub(crate) finish: Timestamp,
    pub(crate) result: ExecutionResult,
    pub(crate) artifacts: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A small build with one of everything.
pub(crate) fn sample() -> Build {
    Build {
        job: b"hello".into(),
        script: b"make\n".into(),
        input_files: vec![(b"in".into(), b"data".into())],
        platform: Some(b"debian-12".into()),
        uuid: Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        console: vec![(2_500_000, b"done".into()), (1_000, b"+ make".into())],
        start: Timestamp::from_civil(2026, 5, 12, 4, 12, 33).expect("a date"),
        finish: Timestamp::from_civil(2026, 5, 12, 4, 13, 0).expect("a date"),
        result: ExecutionResult::Exited(0),
        artifacts: vec![
            (b"bin/hello".into(), b"\x7fELF\xff\x00".into()),
            (b"empty".into(), b"".into()),
        ],
    }
}

impl Build {
    /// As the second encoder has it.
    pub(crate) fn value(&self) -> Value {
        let files = |files: &[(Vec<u8>, Vec<u8>)]| {
            sequence(
                files
                    .iter()
                    .map(|(path, data)| sequence([string(path), string(data)])),
            )
        };
        let mut job = vec![
            string(&self.job),
            string(&self.script),
            files(&self.input_files),
        ];
        job.extend(self.platform.as_deref().map(string));
        let time = |time: &Timestamp| {
            let (year, month, day, hour, minute, second) = time.civil();
            let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
            match time.picoseconds() % 1_000_000_000_000 {
                0 => generalized_time(&format!("{text}Z")),
                fraction => generalized_time(&format!("{text}.{:03}Z", fraction / 1_000_000_000)),
            }
        };
        let result = match &self.result {
            ExecutionResult::Exited(number) => explicit(0, integer(*number)),
            ExecutionResult::Signalled(number) => explicit(1, integer(*number)),
            ExecutionResult::Stopped(number) => explicit(2, integer(*number)),
            ExecutionResult::Message(message) => explicit(3, string(message)),
        };
        let body = sequence([
            sequence(job),
            string(self.uuid.as_bytes()),
            sequence(
                self.console
                    .iter()
                    .map(|(delta, text)| sequence([integer(*delta), string(text)])),
            ),
            sequence([time(&self.start), time(&self.finish)]),
            result,
            files(&self.artifacts),
        ]);
        explicit(0, body)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.value().encode()
    }

    /// As [`Writer`] has it: with a platform, without input files.
    pub(crate) fn write(&self) -> io::Result<Vec<u8>> {
        let artifacts = self.artifact_layouts();
        let mut writer = Writer::new(Vec::new(), self.layout(&artifacts));
        writer.script(&mut &self.script[..])?;
        for (delta, text) in &self.console {
            writer.console_line(*delta, text)?;
        }
        for (_, data) in &self.artifacts {
            writer.artifact(&mut &data[..])?;
        }
        writer.finish()
    }

    pub(crate) fn artifact_layouts(&self) -> Vec<ArtifactLayout<'_>> {
        self.artifacts
            .iter()
            .map(|(path, data)| ArtifactLayout {
                path,
                bytes: data.len() as u64,
            })
            .collect()
    }

    pub(crate) fn layout<'a>(&'a self, artifacts: &'a [ArtifactLayout<'a>]) -> Layout<'a> {
        let mut console = ConsoleLayout::default();
        for (delta, text) in &self.console {
            console.add(*delta, text.len() as u64);
        }
        Layout {
            job: &self.job,
            script_bytes: self.script.len() as u64,
            platform: self.platform.as_deref().unwrap_or(b"no-platform"),
            uuid: self.uuid,
            console,
            start: self.start,
            finish: self.finish,
            result: &self.result,
            artifacts,
        }
    }
}

/// Reads all of a build; every field by `read_field`.
pub(crate) fn read_by(
    input: impl Read,
    limits: Limits,
    mut read_field: impl FnMut(&mut dyn Read) -> Result<Vec<u8>, Error>,
) -> Result<Build, Error> {
    let mut build = Build {
        console: Vec::new(),
        input_files: Vec::new(),
        artifacts: Vec::new(),
        ..sample()
    };
    let mut reader = Reader::new(input, limits);
    loop {
        match reader.next_part()? {
            Part::JobName(name) => build.job = name,
            Part::Script(mut data) => build.script = read_field(&mut data)?,
            Part::InputFile { path, mut data } => {
                build.input_files.push((path, read_field(&mut data)?))
            }
            Part::Platform(platform) => build.platform = platform,
            Part::Uuid(uuid) => build.uuid = uuid,
            Part::ConsoleLine { delta_ns, mut text } => {
                build.console.push((delta_ns, read_field(&mut text)?))
            }
            Part::Times { start, finish } => (build.start, build.finish) = (start, finish),
            Part::Result(result) => build.result = result,
            Part::Artifact { path, mut data } => {
                build.artifacts.push((path, read_field(&mut data)?))
            }
            Part::End => break,
        }
    }
    assert!(
        matches!(reader.next_part(), Ok(Part::End)),
        "the end stays the end"
    );
    Ok(build)
}

pub(crate) fn read_with(input: impl Read, limits: Limits) -> Result<Build, Error> {
    read_by(input, limits, |field| {
        let mut bytes = Vec::new();
        field
            .read_to_end(&mut bytes)
            .map_err(|error| Error::from_io(error).expect("ours"))?;
        Ok(bytes)
    })
}

pub(crate) fn read(input: impl Read) -> Result<Build, Error> {
    read_with(input, Limits::default())
}

/// The message of a build that is refused.
pub(crate) fn refusal(input: &[u8]) -> String {
    let whole = read(input).expect_err("this is no build").to_string();
    let mut reader = Reader::new(input, Limits::default());
    let skipping = loop {
        match reader.next_part() {
            Ok(Part::End) => panic!("only reading the fields finds out: {whole}"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(reader.next_part().is_err(), "no part comes after an error");
    assert_eq!(whole, skipping, "reading and skipping find the same");
    whole
}

pub(crate) fn any_build() -> impl Strategy<Value = Build> {
    let bytes = || vec(any::<u8>(), 0..300);
    let files = || vec((vec(any::<u8>(), 0..140), bytes()), 0..4);
    let job = (
        vec(any::<u8>(), 0..=255),
        bytes(),
        files(),
        proptest::option::of(vec(any::<u8>(), 0..=255)),
    );
    let console = vec((any::<i64>(), bytes()), 0..6);
    (
        job,
        any::<u128>(),
        console,
        any_time(),
        any_time(),
        any_result(),
        files(),
    )
        .prop_map(
            |(
                (job, script, input_files, platform),
                uuid,
                console,
                start,
                finish,
                result,
                artifacts,
            )| Build {
                job,
                script,
                input_files,
                platform,
                uuid: Uuid::from_u128(uuid),
                console,
                start,
                finish,
                result,
                artifacts,
            },
        )
}

/// Any time to the millisecond, which is what is written.
fn any_time() -> impl Strategy<Value = Timestamp> {
    (
        -719_528_i64..=2_932_896,
        prop_oneof![Just(0_u64), 0..1000_u64],
        0..86_400_u64,
    )
        .prop_map(|(days, ms, second)| {
            Timestamp::new(days, (second * 1000 + ms) * 1_000_000_000).expect("in range")
        })
}

fn any_result() -> impl Strategy<Value = ExecutionResult> {
    prop_oneof![
        any::<i64>().prop_map(ExecutionResult::Exited),
        any::<i64>().prop_map(ExecutionResult::Signalled),
        (-200..200_i64).prop_map(ExecutionResult::Stopped),
        vec(any::<u8>(), 0..300).prop_map(ExecutionResult::Message),
    ]
}
