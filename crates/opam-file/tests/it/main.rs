//! What the crate promises, seen from outside.

// `cfg(test)` says nothing new of an integration test, but it tells clippy that helpers are tests.
#[cfg(test)]
mod golden;

#[cfg(test)]
mod parse;

#[cfg(test)]
mod switch_export;
