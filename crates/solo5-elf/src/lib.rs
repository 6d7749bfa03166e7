//! What a Solo5 unikernel says about itself: manifest and ABI.
//!
//! A Solo5 unikernel is an ELF executable with two notes: the manifest lists the devices it wants to be given, the ABI
//! names the kind of host it runs on. [`read`] finds and checks both.
//!
//! The file may be anything that somebody uploaded, so only its headers and the two notes are read, each into memory
//! bounded by a named limit. This is why the ELF headers are read by hand here: of the general ELF readers those that
//! take a stream keep what they have read of it, and all that is needed are a dozen numbers at fixed places.
//!
//! ```
//! use std::io::Cursor;
//!
//! let script = Cursor::new("#!/bin/sh\n");
//! assert!(matches!(solo5_elf::read(&mut { script }), Err(solo5_elf::Error::NotElf)));
//! ```

use std::fmt;
use std::io::{self, Read, Seek};

mod elf;

mod abi;
mod manifest;

pub mod note;

pub use abi::{Abi, Target};
pub use manifest::{Device, DeviceType, Manifest};

/// A unikernel, as far as its notes describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unikernel {
    /// The devices it wants.
    pub manifest: Manifest,
    /// The host it is built for.
    pub abi: Abi,
}

/// Why a file is not read as a unikernel. Most files are none, so [`NotElf`](Error::NotElf) and
/// [`NoNote`](Error::NoNote) are nothing to worry about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No executable of the kind unikernels are: a script, a package, or one of 32 bits.
    #[error("not an ELF file of 64 bits")]
    NotElf,
    /// An executable without a manifest or without an ABI: not a unikernel, or not one of Solo5.
    #[error("no Solo5 manifest and ABI notes")]
    NoNote,
    /// The file contradicts itself, or the notes are not of a form known here.
    #[error("{place}: {problem}")]
    Malformed {
        /// The part of the file: `ELF`, `manifest` or `ABI`.
        place: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The file could not be read.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
}

/// Reads what a unikernel says about itself: its headers and its two notes, and nothing else of the file.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Unikernel, Error> {
    let notes = elf::Notes::find(file)?;
    Ok(Unikernel {
        manifest: manifest::parse(&notes.manifest)?,
        abi: abi::parse(&notes.abi)?,
    })
}

fn malformed(place: &'static str, problem: impl fmt::Display) -> Error {
    Error::Malformed {
        place,
        problem: problem.to_string(),
    }
}
