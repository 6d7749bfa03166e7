//! What people see when they compare two files.
#![expect(clippy::unwrap_used, reason = "a test fails where it is wrong")]

mod archives;
mod elf;
mod golden;
mod known_causes;
mod texts;
