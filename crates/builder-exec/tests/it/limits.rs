//! Each limit, at the bound and one past it.

use builder_exec::{ErrorKind, ExecutionResult, Limits};

use crate::build::{Build, read_with, sample};

/// `build` passes when the limit is `bound`, and is refused for `message` when it is one less.
fn check(build: &Build, limit: fn(&mut Limits) -> &mut u64, bound: u64, message: &str) {
    let encoded = build.encode();
    let mut limits = Limits::default();
    *limit(&mut limits) = bound;
    assert_eq!(
        read_with(&encoded[..], limits.clone()).as_ref().ok(),
        Some(build)
    );
    *limit(&mut limits) -= 1;
    let error = read_with(&encoded[..], limits).expect_err("one past the limit");
    assert!(matches!(error.kind, ErrorKind::TooLarge { .. }), "{error}");
    assert_eq!(error.to_string(), message);
}

#[test]
fn the_whole_build_is_bounded() {
    let message = "byte 0: 169 bytes of build, at most 168 are accepted";
    check(
        &sample(),
        |limits| &mut limits.exec_bytes_max,
        sample().encode().len() as u64,
        message,
    );
}

#[test]
fn the_name_of_the_job_is_bounded() {
    let message = "byte 8: 5 bytes of job name, at most 4 are accepted";
    check(
        &sample(),
        |limits| &mut limits.job_name_bytes_max,
        5,
        message,
    );
}

#[test]
fn the_platform_is_bounded() {
    let message = "byte 36: 9 bytes of platform, at most 8 are accepted";
    check(
        &sample(),
        |limits| &mut limits.platform_bytes_max,
        9,
        message,
    );
}

#[test]
fn the_script_is_bounded() {
    let message = "byte 15: 5 bytes of script, at most 4 are accepted";
    check(&sample(), |limits| &mut limits.script_bytes_max, 5, message);
}

#[test]
fn input_files_are_bounded_in_number_and_size() {
    let message = "byte 24: 1 input files, at most 0 are accepted";
    check(&sample(), |limits| &mut limits.input_files_max, 1, message);
    let message = "byte 30: 4 bytes of input file \"in\", at most 3 are accepted";
    check(
        &sample(),
        |limits| &mut limits.input_file_bytes_max,
        4,
        message,
    );
}

#[test]
fn the_console_is_bounded_in_lines_in_the_length_of_one_and_in_all() {
    let message = "byte 80: 2 console lines, at most 1 are accepted";
    check(
        &sample(),
        |limits| &mut limits.console_lines_max,
        2,
        message,
    );
    let message = "byte 86: 6 bytes of text of the console line, at most 5 are accepted";
    check(
        &sample(),
        |limits| &mut limits.console_line_bytes_max,
        6,
        message,
    );
    let message = "byte 86: 10 bytes of console, at most 9 are accepted";
    check(
        &sample(),
        |limits| &mut limits.console_bytes_max,
        10,
        message,
    );
}

#[test]
fn the_message_of_an_aborted_run_is_bounded() {
    let build = Build {
        result: ExecutionResult::Message(b"no worker".into()),
        ..sample()
    };
    let message = "byte 132: 9 bytes of message, at most 8 are accepted";
    check(&build, |limits| &mut limits.message_bytes_max, 9, message);
}

#[test]
fn artifacts_are_bounded_in_number_in_size_and_in_the_length_of_their_paths() {
    let message = "byte 158: 2 artifacts, at most 1 are accepted";
    check(&sample(), |limits| &mut limits.artifacts_max, 2, message);
    let message = "byte 150: 6 bytes of artifact \"bin/hello\", at most 5 are accepted";
    check(
        &sample(),
        |limits| &mut limits.artifact_bytes_max,
        6,
        message,
    );
    let message = "byte 139: 9 bytes of path of the artifact, at most 8 are accepted";
    check(
        &sample(),
        |limits| &mut limits.artifact_path_bytes_max,
        9,
        message,
    );
}

#[test]
fn a_size_is_refused_before_its_bytes_are_read() {
    let encoded = sample().encode();
    let limits = Limits {
        exec_bytes_max: 100,
        ..Limits::default()
    };
    let error = read_with(&encoded[..3], limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "byte 0: 169 bytes of build, at most 100 are accepted"
    );
}
