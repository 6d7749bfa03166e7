//! opam files: parse, print, switch exports, version order, comparison.
//!
//! Files are byte strings: nothing here asks for UTF-8. Reading takes time in proportion to the file, nesting is
//! limited, and no input makes it panic. This crate does no I/O and reads no clock.
//!
//! ```
//! use opam_file::{OpamFile, SwitchExport};
//!
//! let file = OpamFile::parse(b"opam-version: \"2.0\" depends: [\"dune\"] build: [[make]]").unwrap();
//! assert_eq!(file.mentioned_packages(), ["dune"]);
//! assert_eq!(file.print(), b"opam-version: \"2.0\"\ndepends: [\"dune\"]\nbuild: make\n");
//!
//! let error = OpamFile::parse(b"opam-version: \"2.0\"\nbuild: [make").err().unwrap();
//! assert_eq!(error.line, 2);
//!
//! let old = SwitchExport::parse(br#"opam-version: "2.0" installed: ["lwt.5.9.1"]"#).unwrap();
//! let new = SwitchExport::parse(br#"opam-version: "2.0" installed: ["lwt.6.0.0"]"#).unwrap();
//! assert_eq!(old.compare(&new).version_diff[0].to_string(), "lwt.5.9.1->6.0.0");
//! ```
//!
//! Three layers: [`Document`] is the file as it was written, with places; [`OpamFile`] knows which fields there are and
//! what their values mean; [`SwitchExport`] is a set of packages with the opam file of each.

mod compare;
mod diff;
mod duniverse;
mod field_values;
mod formula;
mod lexer;
mod opam_file;
mod package;
mod parser;
mod printer;
mod switch_export;
mod typed;
mod url;
mod value;
pub mod version;

pub use compare::{Comparison, OpamDiff, VersionDiff};
pub use diff::unified_diff;
pub use duniverse::{Directory, DirectoryChange, DuniverseDiff, HashChange};
pub use opam_file::OpamFile;
pub use package::{Package, compare_names};
pub use parser::{Error, FILE_BYTES_MAX, NESTING_MAX};
pub use switch_export::SwitchExport;
pub use typed::Problem;
pub use url::{Hash, HashKind};
pub use value::{
    Document, EnvOp, Item, ItemKind, Items, Kind, LogOp, Position, PrefixOp, RelOp, Span, Value,
    Values,
};
