//! What the crate promises, seen from outside.

mod golden;
mod parse;
mod switch_export;
