//! What the crate promises, seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod attacks;
mod compare;
mod diff;
mod golden;
mod golden_compare;
mod growth;
mod meaning;
mod parse;
mod print;
mod switch_export;
mod version;
