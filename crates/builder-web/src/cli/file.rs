//! `builder-web file`: what the comparison page says, of files on this disk.

use std::path::PathBuf;

use anyhow::Context;
use artifact_diff::{Hints, Limits, compare};
use clap::{Args, Subcommand};

use super::input;
use super::{AnswerIsNo, say};

/// Bytes of a file that is compared: both are held in memory.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    #[command(subcommand)]
    command: FileCommand,
}

#[derive(Debug, Subcommand)]
enum FileCommand {
    /// Say what differs between two files, and why
    ///
    /// ELF files are compared by section and symbol; packages and archives are unpacked; texts are compared by line.
    /// The exit status is 0 when the files are the same, 1 when they differ, 2 when that cannot be told.
    Compare {
        /// Write the whole comparison as JSON
        #[arg(long)]
        json: bool,
        /// The file on the left
        left: PathBuf,
        /// The file on the right
        right: PathBuf,
    },
}

pub(super) fn run(args: FileArgs) -> anyhow::Result<()> {
    let FileCommand::Compare { json, left, right } = args.command;
    let (left, right) = input::read_two(&left, &right, FILE_BYTES_MAX)?;
    // The memory is that of whoever asks.
    let limits = Limits {
        held_bytes_max: 4 * FILE_BYTES_MAX,
        unpacked_bytes_max: 2 * FILE_BYTES_MAX,
        symbols_max: 1_000_000,
        ..Limits::default()
    };
    let report = compare(&left.bytes, &right.bytes, &Hints::default(), &limits);
    match json {
        true => {
            say(&serde_json::to_string_pretty(&report).context("write the comparison as JSON")?)
        }
        false => say(report.to_string().trim_end()),
    }
    match report.same {
        true => Ok(()),
        false => Err(AnswerIsNo.into()),
    }
}
