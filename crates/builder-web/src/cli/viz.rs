//! `builder-web viz`: pictures of files on the disk, without a server.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::input::{self, Input};
use super::{Refused, opam, say_bytes};

#[derive(Debug, Args)]
pub(super) struct VizArgs {
    #[command(subcommand)]
    command: VizCommand,
}

#[derive(Debug, Subcommand)]
enum VizCommand {
    /// Draw what takes space in a binary, as a page of HTML
    Treemap {
        /// An ELF file with symbols, such as hello.hvt.debug; - is standard input
        file: PathBuf,
        /// The binary that was made of it, to measure against
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
        #[command(flatten)]
        out: OutArgs,
    },
    /// Draw which package of a switch needs which, as a page of HTML
    Dependencies {
        /// What `opam switch export --full` wrote, such as the opam-switch of a build; - is standard input
        file: PathBuf,
        #[command(flatten)]
        out: OutArgs,
    },
}

#[derive(Debug, Args)]
struct OutArgs {
    /// Write to this file; otherwise to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: VizArgs) -> anyhow::Result<()> {
    let (input, out, html) = match arguments.command {
        VizCommand::Treemap { file, binary, out } => {
            let input = input::read(&file, builder_viz::BINARY_BYTES_MAX)?;
            let binary_bytes = binary.as_deref().map(size).transpose()?;
            let html = builder_viz::treemap(&input.bytes, binary_bytes);
            (input, out, html)
        }
        VizCommand::Dependencies { file, out } => {
            let input = input::read(&file, builder_viz::SWITCH_BYTES_MAX)?;
            let html = builder_viz::dependencies(&input.bytes);
            (input, out, html)
        }
    };
    let html = html.map_err(|error| refused(&input, error))?;
    match out.output {
        None => say_bytes(html.as_bytes()),
        Some(path) => {
            let cannot = |error| Refused(format!("cannot write {}: {error}", path.display()));
            std::fs::write(&path, html).map_err(cannot)?;
        }
    }
    Ok(())
}

fn size(path: &Path) -> anyhow::Result<u64> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| Refused(format!("cannot open {}: {error}", path.display())))?;
    Ok(metadata.len())
}

fn refused(input: &Input, error: builder_viz::Error) -> anyhow::Error {
    match error {
        builder_viz::Error::NotASwitch(error) => opam::refused(input, &error),
        error => Refused(format!("{} cannot be drawn: {error}", input.name)).into(),
    }
}
