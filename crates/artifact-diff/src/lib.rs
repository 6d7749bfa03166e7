//! Compares two artifacts of builds and says what differs, and why.
//!
//! [`compare`] takes the bytes of two files. ELF files are compared by header, segments, sections, notes, symbols and
//! strings; packages and archives (Debian's `.deb`, FreeBSD's `.pkg`, tar, ar, gzip, xz, zstd) are unpacked and compared
//! member by member, each as what it is; texts by line; everything else by its bytes around the first differences.
//!
//! Where a difference is of a kind that is known to make builds differ (the time, the build's directory, its machine),
//! the [`Report`] names that [`Kind`] first. [`Report::apart_from`] is only filled when everything of these kinds was
//! put aside and the rest was the same, byte for byte.
//!
//! The files may be anything that somebody uploaded: nothing here panics, and what is read, unpacked and reported is
//! bounded by [`Limits`]. There is no I/O and no clock.
//!
//! ```
//! use artifact_diff::{Hints, Kind, Limits, compare};
//!
//! let report = compare(b"built 2026-05-12\n", b"built 2026-05-13\n", &Hints::default(), &Limits::default());
//! assert_eq!(report.apart_from, [Kind::Timestamp]);
//! ```
#![warn(clippy::indexing_slicing)]

mod limits;
mod report;

mod compare;

mod ar_file;
mod archive;
mod tar_file;
mod unpack;

mod elf_diff;

mod elf;
mod segments_and_notes;
mod symbols;

mod addresses;
mod c_files;

mod bytes;
mod strings;
mod text;

mod causes;
mod patterns;

mod say;

pub use compare::compare;
pub use limits::{Hints, Limits};
pub use report::{
    ArchiveDiff, BytesDiff, Cause, Detail, Difference, ElfDiff, FieldChange, FileFacts, Format,
    Group, GroupDiff, HexRows, Kind, Listed, MemberDiff, NoteDiff, PackedDiff, Presence, Report,
    SectionDiff, SectionFacts, StringsDiff, SymbolChange, SymbolDiff, SymbolsDiff, TextDiff,
    Unattributed, VERSION,
};
pub use symbols::c_group;
