//! Programs that people have: curl, wget, and builder-web itself.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a program that is to be there, in a directory.
pub(crate) fn run<S: AsRef<OsStr>>(directory: &Path, program: &str, arguments: &[S]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        // Of the machine the test runs on: proxies and settings of its user are not wanted.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs the program {program}, which cannot be run: {error}")
        })
}

/// Runs it and expects it to succeed; what it printed.
pub(crate) fn succeeds<S: AsRef<OsStr>>(
    directory: &Path,
    program: &str,
    arguments: &[S],
) -> Vec<u8> {
    let output = run(directory, program, arguments);
    assert!(output.status.success(), "{program} failed: {output:?}");
    output.stdout
}
