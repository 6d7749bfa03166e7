//! What a reader makes of a stream, however it arrives and however it is used.

use std::io::{self, Cursor, Read};

use builder_exec::{Error, ErrorKind, ExecutionResult, Limits, Part, Reader};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::build::{any_build, read, read_by, refusal, sample};
use crate::der::{Value, explicit, sequence};

proptest! {
    #[test]
    fn a_build_reads_the_same_however_the_network_cuts_it(build in any_build(), cuts in vec(1..200_usize, 1..8)) {
        let encoded = build.encode();
        prop_assert_eq!(read(InPieces { bytes: &encoded, sizes: cuts.into_iter().cycle() }).unwrap(), build);
    }

    #[test]
    fn a_field_gives_the_same_bytes_whatever_the_size_of_the_buffer(build in any_build(), sizes in vec(1..100_usize, 1..5)) {
        let mut sizes = sizes.into_iter().cycle();
        let again = read_by(&build.encode()[..], Limits::default(), |field| {
            let mut bytes = Vec::new();
            loop {
                let mut buffer = vec![0; sizes.next().unwrap()];
                match field.read(&mut buffer).unwrap() {
                    0 => return Ok(bytes),
                    read => bytes.extend(&buffer[..read]),
                }
            }
        });
        prop_assert_eq!(again.unwrap(), build);
    }

    #[test]
    fn what_is_left_unread_of_a_field_is_skipped(mut build in any_build(), wanted in 0..40_u8) {
        let start_only = read_by(&build.encode()[..], Limits::default(), |field| {
            let mut bytes = Vec::new();
            field.take(wanted.into()).read_to_end(&mut bytes).unwrap();
            Ok(bytes)
        });
        let files = build.input_files.iter_mut().chain(&mut build.artifacts).map(|(_, data)| data);
        let lines = build.console.iter_mut().map(|(_, text)| text);
        for field in files.chain(lines).chain([&mut build.script]) {
            field.truncate(wanted.into());
        }
        prop_assert_eq!(start_only.unwrap(), build);
    }
}

#[test]
fn parts_come_in_the_order_they_are_sent() {
    let encoded = sample().encode();
    let mut reader = Reader::new(&encoded[..], Limits::default());
    let mut parts = Vec::new();
    loop {
        let part = format!("{:?}", reader.next_part().unwrap());
        parts.push(part.split([' ', '(']).next().unwrap().to_owned());
        if parts.last().unwrap() == "End" {
            break;
        }
    }
    assert_eq!(
        parts.join(" "),
        "JobName Script InputFile Platform Uuid ConsoleLine ConsoleLine Times Result Artifact Artifact End"
    );
    assert_eq!(reader.offset(), encoded.len() as u64);
}

#[test]
fn a_field_knows_its_size_before_it_is_read() {
    let encoded = sample().encode();
    let mut reader = Reader::new(&encoded[..], Limits::default());
    reader.next_part().unwrap();
    let Part::Script(mut script) = reader.next_part().unwrap() else {
        panic!("the script is second")
    };
    assert_eq!(script.size(), 5);
    script.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(script.size(), 5);
    assert_eq!(script.read_to_vec().unwrap(), b"ke\n");
}

#[test]
fn a_build_without_a_platform_has_none() {
    let build = crate::build::Build {
        platform: None,
        ..sample()
    };
    assert_eq!(read(&build.encode()[..]).unwrap().platform, None);
}

#[test]
fn strings_may_hold_any_bytes() {
    let all: Vec<u8> = (0..=255).collect();
    let mut build = sample();
    build.job = all[1..].to_vec();
    build.script = all.clone();
    build.platform = Some(all[..255].to_vec());
    build.console = vec![(0, all.clone())];
    build.result = ExecutionResult::Message(all.clone());
    build.artifacts = vec![(all.clone(), all)];
    assert_eq!(read(&build.encode()[..]).unwrap(), build);
}

#[test]
fn numbers_may_be_negative_and_as_long_as_64_bits() {
    for number in [
        0,
        1,
        127,
        128,
        255,
        256,
        -1,
        -128,
        -129,
        -32768,
        -32769,
        i64::MAX,
        i64::MIN,
    ] {
        let mut build = sample();
        build.result = ExecutionResult::Signalled(number);
        build.console = vec![(number, b"line".to_vec())];
        assert_eq!(read(&build.encode()[..]).unwrap(), build, "{number}");
    }
}

#[test]
fn a_number_of_65_bits_or_in_a_longer_form_is_refused() {
    let check = |content: &[u8]| {
        let Value::Values(_, mut parts) = sample().value().children()[0].clone() else {
            panic!("a sequence")
        };
        parts[4] = explicit(0, Value::Bytes(0x02, content.to_vec()));
        refusal(&explicit(0, sequence(parts)).encode())
    };
    let start =
        "byte 132: expected the exit code as an INTEGER in its shortest form, of 64 bits, found";
    assert_eq!(check(&[]), format!("{start} no bytes at all"));
    assert_eq!(
        check(&[0, 0x7f]),
        format!("{start} one with needless bytes in front")
    );
    assert_eq!(
        check(&[0xff, 0x80]),
        format!("{start} one with needless bytes in front")
    );
    assert_eq!(
        check(&[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        format!("{start} one of more than 64 bits")
    );
    assert_eq!(
        check(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0]),
        format!("{start} one of more than 64 bits")
    );
    assert_eq!(
        check(&[0x7f; 12]),
        format!("{start} one of more than 64 bits")
    );
}

#[test]
fn an_input_that_ends_early_is_told_from_a_wrong_one_at_every_byte() {
    let encoded = sample().encode();
    for end in 0..encoded.len() {
        let error = read(&encoded[..end]).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Truncated { .. }), "{error}");
        assert_eq!(error.offset, end as u64, "{error}");
        refusal(&encoded[..end]);
    }
}

#[test]
fn an_input_that_ends_early_says_inside_what() {
    let encoded = sample().encode();
    assert_eq!(
        refusal(b""),
        "byte 0: the input ends inside the tag and length of the build"
    );
    assert_eq!(
        refusal(&encoded[..14]),
        "byte 14: the input ends inside the job name: 5 bytes announced, 4 there"
    );
    let data = encoded
        .windows(4)
        .position(|four| four == b"\x7fELF")
        .unwrap();
    assert_eq!(
        refusal(&encoded[..data + 2]),
        format!(
            "byte {}: the input ends inside the artifact \"bin/hello\": 6 bytes announced, 2 there",
            data + 2
        )
    );
}

#[test]
fn a_byte_after_the_end_is_refused() {
    let mut encoded = sample().encode();
    encoded.push(0);
    assert_eq!(
        refusal(&encoded),
        format!(
            "byte {}: expected the end of the input, found more bytes",
            encoded.len() - 1
        )
    );
}

#[test]
fn the_empty_alternative_is_recognised_and_refused() {
    let message = "byte 0: expected the build ([0], tag 0xa0), found the empty alternative ([1] NULL), which holds none";
    assert_eq!(refusal(&[0xa1, 0x02, 0x05, 0x00]), message);
}

#[test]
fn no_flipped_byte_makes_it_panic() {
    let encoded = sample().encode();
    for at in 0..encoded.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut flipped = encoded.clone();
            flipped[at] ^= flip;
            let _ = read(&flipped[..]);
        }
    }
}

#[test]
fn an_error_inside_a_field_can_be_told_from_one_of_where_it_is_copied_to() {
    let encoded = sample().encode();
    let mut reader = Reader::new(&encoded[..17], Limits::default());
    reader.next_part().unwrap();
    let Part::Script(mut script) = reader.next_part().unwrap_or_else(|error| panic!("{error}"))
    else {
        panic!()
    };
    let error = io::copy(&mut script, &mut io::sink()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(
        error.to_string(),
        "byte 17: the input ends inside the script: 5 bytes announced, 0 there"
    );
    assert!(matches!(
        Error::from_io(error).unwrap().kind,
        ErrorKind::Truncated { .. }
    ));
    assert!(Error::from_io(io::Error::other("disk full")).is_err());
}

#[test]
fn a_failing_input_keeps_its_cause() {
    let encoded = sample().encode();
    let input = (&encoded[..30]).chain(Failing);
    let error = read(input).unwrap_err();
    assert_eq!(error.to_string(), "byte 30: cannot read the input");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "connection reset"
    );
    assert_eq!(
        io::Error::from(error).kind(),
        io::ErrorKind::ConnectionReset
    );
}

#[test]
fn an_interrupted_input_is_asked_again() {
    let encoded = sample().encode();
    let input = Interrupted {
        inner: &encoded[..],
        now: false,
    };
    assert_eq!(read(input).unwrap(), sample());
}

#[test]
fn gigabytes_pass_without_being_kept() {
    const SIZE: u64 = 3 << 30;
    let mut reader = Reader::new(one_artifact_of(SIZE, SIZE), Limits::default());
    let mut sizes = Vec::new();
    loop {
        match reader.next_part().unwrap() {
            Part::Artifact { data, .. } => sizes.push(data.size()),
            Part::End => break,
            _ => {}
        }
    }
    assert_eq!(sizes, [SIZE]);
    assert!(reader.offset() > SIZE);
}

#[test]
fn what_is_only_announced_takes_no_memory() {
    // Would fail to allocate if the size were believed.
    let limits = Limits {
        artifact_bytes_max: 1 << 60,
        exec_bytes_max: 1 << 61,
        ..Limits::default()
    };
    let mut reader = Reader::new(one_artifact_of(1 << 60, 1000).take(1100), limits);
    let error = loop {
        match reader.next_part().unwrap() {
            Part::Artifact { data, .. } => break data.read_to_vec().unwrap_err(),
            Part::End => panic!("there is an artifact"),
            _ => {}
        }
    };
    assert!(matches!(error.kind, ErrorKind::Truncated { .. }), "{error}");
}

#[test]
fn a_large_read_goes_straight_to_the_input() {
    let mut build = sample();
    build.artifacts = vec![(b"large".to_vec(), vec![7; 1_000_000])];
    let encoded = build.encode();
    let mut largest = 0;
    let input = Watched {
        inner: Cursor::new(&encoded),
        largest: &mut largest,
    };
    let again = read_by(input, Limits::default(), |field| {
        let mut bytes = vec![0; 2_000_000];
        let mut filled = 0;
        while let read @ 1.. = field.read(&mut bytes[filled..]).unwrap() {
            filled += read;
        }
        bytes.truncate(filled);
        Ok(bytes)
    });
    assert_eq!(again.unwrap(), build);
    assert!(largest > 900_000, "{largest}");
}

/// A build with one artifact of `announced` zero bytes, of which only `there` are there.
fn one_artifact_of(announced: u64, there: u64) -> impl Read {
    let mut build = sample();
    build.artifacts = Vec::new();
    let artifacts = [builder_exec::ArtifactLayout {
        path: b"large",
        bytes: announced,
    }];
    let mut start = Vec::new();
    // A writer that fails at the first byte of the artifact has written all that comes before.
    let mut writer = builder_exec::Writer::new(&mut start, build.layout(&artifacts));
    writer
        .script(&mut &build.script[..])
        .expect("memory takes all");
    for (delta, text) in &build.console {
        writer.console_line(*delta, text).expect("memory takes all");
    }
    writer.artifact(&mut io::empty()).expect_err("it is empty");
    Cursor::new(start).chain(io::repeat(0).take(there))
}

struct InPieces<'a, I> {
    bytes: &'a [u8],
    sizes: I,
}

impl<I: Iterator<Item = usize>> Read for InPieces<'_, I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().unwrap_or(1).min(out.len());
        self.bytes.read(&mut out[..size])
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(
            io::ErrorKind::ConnectionReset,
            "connection reset",
        ))
    }
}

struct Interrupted<R> {
    inner: R,
    now: bool,
}

impl<R: Read> Read for Interrupted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.now = !self.now;
        if self.now {
            Err(io::ErrorKind::Interrupted.into())
        } else {
            self.inner.read(&mut out[..1])
        }
    }
}

/// Remembers the largest piece that was read at once.
struct Watched<'a, R> {
    inner: R,
    largest: &'a mut usize,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        *self.largest = read.max(*self.largest);
        Ok(read)
    }
}
