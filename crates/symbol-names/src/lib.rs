//! What the names of symbols and of source files say: which OCaml module something is of, which
//! opam package, which C library. Names are text of any kind, since anybody may have made the file;
//! nothing here panics, and there is no I/O.

#![warn(clippy::indexing_slicing)]

mod c;
mod ocaml;

pub use c::{is_runtime_path, library_of_symbol, package_of_path, without_suffixes};
pub use ocaml::{Marker, OcamlName, Units, library_and_module, marker, readable, without_stamps};
