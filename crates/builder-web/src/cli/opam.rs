//! `builder-web opam`: opam files and switch exports on the disk, without a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use opam_file::{OpamFile, SwitchExport};

use super::input::{self, Input};
use super::{AnswerIsNo, Refused, say_bytes, say_error};
use crate::opam_report;

/// Bytes of a file that are read; the largest switch exports have some MiB.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct OpamArgs {
    #[command(subcommand)]
    command: OpamCommand,
}

#[derive(Debug, Subcommand)]
enum OpamCommand {
    /// Print an opam file as opam does: fields in its order, values normalised
    Print {
        /// An opam file; - is standard input
        file: PathBuf,
    },
    /// Tell whether two opam files build the same package: exit status 0 if so, 1 if not, 2 in trouble
    ///
    /// What is only shown to people does not count, and of a source with checksums only the first does.
    Equal {
        /// An opam file; - is standard input
        left: PathBuf,
        /// Another one
        right: PathBuf,
    },
    /// Tell what differs between two switches
    Compare {
        /// What `opam switch export --full` wrote, such as the opam-switch of a build; - is standard input
        left: PathBuf,
        /// Another one
        right: PathBuf,
        /// Print JSON: opam_diff of the page that compares two builds
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: OpamArgs) -> anyhow::Result<()> {
    match arguments.command {
        OpamCommand::Print { file } => {
            let file = input::read(&file, FILE_BYTES_MAX)?;
            let opam = opam_file(&file)?;
            for problem in opam.problems() {
                let position = problem.position;
                say_error(&format!(
                    "{}:{}:{}: {} is left out: {}",
                    file.name,
                    position.line,
                    position.column + 1,
                    problem.name,
                    problem.what
                ));
            }
            say_bytes(&opam.print());
            Ok(())
        }
        OpamCommand::Equal { left, right } => {
            let (left, right) = input::read_two(&left, &right, FILE_BYTES_MAX)?;
            let equal = opam_file(&left)?.effectively_equal(&opam_file(&right)?);
            match equal {
                true => Ok(()),
                false => Err(AnswerIsNo.into()),
            }
        }
        OpamCommand::Compare { left, right, json } => {
            let (left, right) = input::read_two(&left, &right, FILE_BYTES_MAX)?;
            let comparison = switch(&left)?.compare(&switch(&right)?);
            let text = match json {
                true => format!("{}\n", opam_report::json(&comparison)),
                false => opam_report::text(&comparison),
            };
            say_bytes(text.as_bytes());
            Ok(())
        }
    }
}

fn opam_file(input: &Input) -> anyhow::Result<OpamFile> {
    OpamFile::parse(&input.bytes).map_err(|error| refused(input, &error))
}

fn switch(input: &Input) -> anyhow::Result<SwitchExport> {
    SwitchExport::parse(&input.bytes).map_err(|error| refused(input, &error))
}

/// As compilers say it, so that editors find the place: columns from 1.
pub(super) fn refused(input: &Input, error: &opam_file::Error) -> anyhow::Error {
    let message = format!(
        "{}:{}:{}: {}",
        input.name,
        error.line,
        error.column + 1,
        error.what
    );
    Refused(message).into()
}
