//! Pictures of builds: what takes space in a binary, and which opam package needs which.
//!
//! Bytes in, text out: each picture is one HTML document that stands alone, with its SVG, its style
//! and its script inside, and that a browser shows from anywhere, in a frame too. It asks for
//! nothing else, says so in its content security policy, and without its script is still a picture
//! and a table. What it tells is there as data, too, for programs. This crate does no I/O, has no
//! clock and no threads, and does not panic on any input; everything it reads or draws has a named
//! limit.
//!
//! ```
//! let switch = br#"
//!     opam-version: "2.0"
//!     roots: ["a.1"]
//!     installed: ["a.1" "b.2"]
//!     package "a" { opam-version: "2.0" depends: ["b"] }
//!     package "b" { opam-version: "2.0" }
//! "#;
//! let html = builder_viz::dependencies(switch).unwrap();
//! assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<svg"));
//! ```

mod binary;
mod changes;
mod data;
mod dominators;
mod graph;
mod graph_picture;
mod groups;
mod map;
mod page;
mod squarify;
mod text;
mod treemap;

pub use binary::{BINARY_BYTES_MAX, Binary, Kind, SYMBOLS_MAX};
pub use changes::{Side, treemap_changes};
pub use data::{
    Became, Dependencies, Dependency, DependencyPackage, PARTS_MAX, Treemap, TreemapChange,
    TreemapChanges, TreemapFunction, TreemapGroup, TreemapKind, TreemapPart, dependencies_data,
    treemap_changes_data, treemap_data,
};
pub use graph::{EDGES_MAX, PACKAGES_MAX, SWITCH_BYTES_MAX};
pub use graph_picture::dependencies;
pub use page::{framed, policy};
pub use treemap::treemap;

/// The version of [`treemap`] and [`treemap_data`]: counted up whenever the same binary gives
/// another picture or other data.
pub const TREEMAP_VERSION: u32 = 6;
/// The version of [`dependencies`] and [`dependencies_data`]: counted up whenever the same switch
/// gives another picture or other data.
pub const DEPENDENCIES_VERSION: u32 = 5;

/// Why there is nothing to draw. Each message is a sentence for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is larger than what is read.
    #[error("it has {bytes} bytes, more than the {bytes_max} that are drawn")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The file is not an ELF file, or contradicts itself.
    #[error("it cannot be read as an ELF file: {0}")]
    NotElf(String),
    /// No section of it is loaded from the file.
    #[error("nothing in it is loaded into memory")]
    NothingLoaded,
    /// The file is no switch export.
    #[error("it cannot be read as an opam switch export: {0}")]
    NotASwitch(opam_file::Error),
    /// The switch has no package to begin at.
    #[error("it names no root package")]
    NoRoot,
}
