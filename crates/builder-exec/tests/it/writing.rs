//! What a writer makes of a layout, and what it refuses.

use std::io;

use builder_exec::{ArtifactLayout, ExecutionResult, Timestamp, Writer};
use proptest::prelude::*;

use crate::build::{Build, any_build, read, sample};
use crate::der::Value;

proptest! {
    #[test]
    fn a_build_is_written_as_a_second_encoder_writes_it_and_reads_back(build in any_build()) {
        let build = Build { input_files: Vec::new(), platform: build.platform.or(Some(b"no-platform".to_vec())), ..build };
        let written = build.write().unwrap();
        prop_assert_eq!(&written, &build.encode());
        prop_assert_eq!(written.len() as u64, build.layout(&build.artifact_layouts()).encoded_bytes());
        prop_assert_eq!(read(&written[..]).unwrap(), build);
    }
}

#[test]
fn lengths_change_their_form_where_der_says() {
    for size in [0, 127, 128, 255, 256, 65_535, 65_536] {
        let build = Build {
            script: vec![b'x'; size],
            input_files: Vec::new(),
            ..sample()
        };
        assert_eq!(build.write().unwrap(), build.encode(), "{size}");
    }
}

#[test]
fn a_layout_of_any_size_can_be_measured() {
    let artifacts = [
        ArtifactLayout {
            path: b"a",
            bytes: u64::MAX,
        },
        ArtifactLayout {
            path: b"b",
            bytes: 1,
        },
    ];
    assert_eq!(sample().layout(&artifacts).encoded_bytes(), u64::MAX);
}

#[test]
fn a_fraction_is_written_as_the_reference_does() {
    let start = |picoseconds: u64| {
        let build = Build {
            start: Timestamp::new(20_585, picoseconds).unwrap(),
            input_files: Vec::new(),
            ..sample()
        };
        let written = build.write().unwrap();
        let text = written.windows(6).position(|six| six == b"202605").unwrap();
        String::from_utf8(
            written[text..]
                .split_inclusive(|byte| *byte == b'Z')
                .next()
                .unwrap()
                .to_vec(),
        )
        .unwrap()
    };
    assert_eq!(start(15_153_000_000_000_000), "20260512041233Z");
    assert_eq!(start(15_153_250_000_000_000), "20260512041233.250Z");
    assert_eq!(start(15_153_999_999_999_999), "20260512041233.999Z");
    assert_eq!(start(15_153_000_000_000_001), "20260512041233.000Z");
}

#[test]
fn results_are_written_with_their_numbers_sign() {
    for (result, bytes) in [
        (ExecutionResult::Exited(0), &[0xa0, 3, 2, 1, 0][..]),
        (ExecutionResult::Exited(128), &[0xa0, 4, 2, 2, 0, 0x80]),
        (ExecutionResult::Signalled(-7), &[0xa1, 3, 2, 1, 0xf9]),
        (ExecutionResult::Stopped(-129), &[0xa2, 4, 2, 2, 0xff, 0x7f]),
        (
            ExecutionResult::Message(b"no".to_vec()),
            &[0xa3, 4, 0x0c, 2, b'n', b'o'],
        ),
    ] {
        let build = Build {
            result,
            artifacts: Vec::new(),
            ..sample()
        };
        assert!(
            build
                .write()
                .unwrap()
                .ends_with(&[bytes, &[0x30, 0]].concat()),
            "{}",
            build.result
        );
    }
}

#[test]
fn results_are_shown_as_sentences() {
    assert_eq!(ExecutionResult::Exited(2).to_string(), "exited 2");
    assert_eq!(ExecutionResult::Signalled(-7).to_string(), "signalled -7");
    assert_eq!(ExecutionResult::Stopped(19).to_string(), "stopped 19");
    assert_eq!(
        ExecutionResult::Message(b"gone\xff".to_vec()).to_string(),
        "execution aborted: gone\u{fffd}"
    );
}

/// The message for what `write` does with a writer of the sample build.
fn refusal(write: impl FnOnce(Writer<'_, Vec<u8>>) -> io::Result<Vec<u8>>) -> String {
    let build = sample();
    let artifacts = build.artifact_layouts();
    let error = write(Writer::new(Vec::new(), build.layout(&artifacts))).expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    error.to_string()
}

fn script_and_console(writer: &mut Writer<'_, Vec<u8>>) -> io::Result<()> {
    writer.script(&mut &b"make\n"[..])?;
    writer.console_line(2_500_000, b"done")?;
    writer.console_line(1_000, b"+ make")
}

#[test]
fn parts_out_of_order_are_refused() {
    assert_eq!(refusal(|writer| writer.finish()), "the script is missing");
    let message = refusal(|mut writer| {
        writer.artifact(&mut &b"\x7fELF\xff\x00"[..])?;
        writer.finish()
    });
    assert_eq!(message, "the script is missing");
    let message = refusal(|mut writer| {
        writer.console_line(1_000, b"+ make")?;
        writer.finish()
    });
    assert_eq!(
        message,
        "console lines come after the script and before the artifacts"
    );
    let message = refusal(|mut writer| {
        script_and_console(&mut writer)?;
        writer.script(&mut &b"make\n"[..])?;
        writer.finish()
    });
    assert_eq!(message, "the script comes first, and once");
    let message = refusal(|mut writer| {
        script_and_console(&mut writer)?;
        writer.artifact(&mut &b"\x7fELF\xff\x00"[..])?;
        writer.console_line(1_000, b"+ make")?;
        writer.finish()
    });
    assert_eq!(
        message,
        "console lines come after the script and before the artifacts"
    );
}

#[test]
fn what_is_missing_is_named() {
    let message = refusal(|mut writer| {
        writer.script(&mut &b"make\n"[..])?;
        writer.console_line(2_500_000, b"done")?;
        writer.finish()
    });
    assert_eq!(
        message,
        "the console is smaller than its layout: 14 encoded bytes are missing"
    );
    let message = refusal(|mut writer| {
        script_and_console(&mut writer)?;
        writer.artifact(&mut &b"\x7fELF\xff\x00"[..])?;
        writer.finish()
    });
    assert_eq!(message, "artifact \"empty\" is missing");
}

#[test]
fn what_is_too_much_is_named() {
    let message = refusal(|mut writer| {
        script_and_console(&mut writer)?;
        writer.console_line(0, b"")?;
        writer.finish()
    });
    assert_eq!(message, "the console is larger than its layout");
    let message = refusal(|mut writer| {
        script_and_console(&mut writer)?;
        writer.artifact(&mut &b"\x7fELF\xff\x00"[..])?;
        writer.artifact(&mut &b""[..])?;
        writer.artifact(&mut &b""[..])?;
        writer.finish()
    });
    assert_eq!(message, "there are more artifacts than in the layout");
}

#[test]
fn a_size_that_differs_from_the_layout_is_refused() {
    let script = |script: &'static [u8]| {
        refusal(|mut writer| {
            writer.script(&mut &script[..])?;
            writer.finish()
        })
    };
    assert_eq!(
        script(b"make"),
        "the script is smaller than its layout: 5 bytes wanted, 4 given"
    );
    assert_eq!(
        script(b"make\n\n"),
        "the script is larger than its layout: 5 bytes wanted"
    );
    let artifact = |data: &'static [u8]| {
        refusal(|mut writer| {
            script_and_console(&mut writer)?;
            writer.artifact(&mut &data[..])?;
            writer.finish()
        })
    };
    assert_eq!(
        artifact(b"ELF"),
        "artifact \"bin/hello\" is smaller than its layout: 6 bytes wanted, 3 given"
    );
    assert_eq!(
        artifact(b"elfelfelf"),
        "artifact \"bin/hello\" is larger than its layout: 6 bytes wanted"
    );
}

#[test]
fn the_second_encoder_agrees_with_a_build_written_out_by_hand() {
    let build = Build {
        input_files: Vec::new(),
        console: Vec::new(),
        artifacts: Vec::new(),
        ..sample()
    };
    let by_hand = [
        &b"\xa0\x5e\x30\x5c"[..],
        b"\x30\x1b\x0c\x05hello\x0c\x05make\n\x30\x00\x0c\x09debian-12",
        b"\x0c\x10\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef",
        b"\x30\x00",
        b"\x30\x22\x18\x0f20260512041233Z\x18\x0f20260512041300Z",
        b"\xa0\x03\x02\x01\x00",
        b"\x30\x00",
    ]
    .concat();
    assert_eq!(build.encode(), by_hand);
    assert_eq!(build.write().unwrap(), by_hand);
    assert!(matches!(build.value(), Value::Values(0xa0, _)));
}
