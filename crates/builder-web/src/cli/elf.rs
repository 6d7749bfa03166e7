//! `builder-web elf`: what a unikernel on this disk says of itself.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{Refused, say};
use crate::derived::Solo5;

#[derive(Debug, Args)]
pub(super) struct ElfArgs {
    #[command(subcommand)]
    command: ElfCommand,
}

#[derive(Debug, Subcommand)]
enum ElfCommand {
    /// Print the Solo5 manifest and ABI of a unikernel
    ///
    /// The exit status is 1 when the file is no unikernel, 2 when it cannot be read.
    Manifest {
        /// Write them as JSON, as the build's page does
        #[arg(long)]
        json: bool,
        /// The unikernel
        file: PathBuf,
    },
}

pub(super) fn run(args: ElfArgs) -> anyhow::Result<()> {
    let ElfCommand::Manifest { json, file: path } = args.command;
    let mut file =
        File::open(&path).map_err(|error| Refused(format!("{}: {error}", path.display())))?;
    let unikernel = solo5_elf::read(&mut file).map_err(|error| match error {
        solo5_elf::Error::Io(error) => {
            anyhow::Error::from(Refused(format!("{}: {error}", path.display())))
        }
        error => anyhow::Error::from(error).context(path.display().to_string()),
    })?;
    let solo5 = Solo5::from(unikernel);
    if json {
        say(&serde_json::to_string(&solo5).context("write the manifest as JSON")?);
        return Ok(());
    }
    say(&format!(
        "runs on:  {}, ABI version {}",
        solo5.solo5_abi.target, solo5.solo5_abi.version
    ));
    say(&format!(
        "manifest: version {}",
        solo5.solo5_manifest.version
    ));
    match solo5.solo5_manifest.devices.as_slice() {
        [] => say("devices:  none"),
        devices => {
            say("devices:");
            for device in devices {
                say(&format!("  {:<12} {:?}", device.kind, device.name));
            }
        }
    }
    Ok(())
}
