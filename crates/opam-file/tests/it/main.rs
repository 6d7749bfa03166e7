//! What the crate promises, seen from outside.

mod parse;
mod switch_export;
