//! What the crate promises, seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod golden;
mod golden_compare;
mod parse;
mod switch_export;
