//! The web front end of a reproducible-build system.

fn main() {}
