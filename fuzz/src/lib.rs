//! What the fuzzer's targets do with one input, each a module of its name: `run` takes any bytes and
//! panics if something is wrong. Apart from the targets, which need libFuzzer and a nightly compiler,
//! so that a test replays `corpus/` without both.

pub mod archives;
pub mod console;
pub mod cursors;
pub mod elf_compare;
pub mod exec_reader;
pub mod inputs;
pub mod markdown;
pub mod opam;
pub mod pictures;
pub mod query;
pub mod requests;
pub mod search;
pub mod site;
pub mod solo5;
pub mod upload;

/// A target: its name, which is that of its corpus, and what it does with one input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 14] = [
    ("archives", archives::run),
    ("console", console::run),
    ("cursors", cursors::run),
    ("elf_compare", elf_compare::run),
    ("exec_reader", exec_reader::run),
    ("inputs", inputs::run),
    ("markdown", markdown::run),
    ("opam", opam::run),
    ("pictures", pictures::run),
    ("query", query::run),
    ("requests", requests::run),
    ("search", search::run),
    ("solo5", solo5::run),
    ("upload", upload::run),
];
