//! What the crate promises, seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

// `cfg(test)` says nothing new of an integration test, but it tells clippy that helpers are tests.
#[cfg(test)]
mod attacks;

#[cfg(test)]
mod compare;

#[cfg(test)]
mod diff;

#[cfg(test)]
mod golden;

#[cfg(test)]
mod golden_compare;

#[cfg(test)]
mod meaning;

#[cfg(test)]
mod parse;

#[cfg(test)]
mod print;

#[cfg(test)]
mod switch_export;

#[cfg(test)]
mod version;
