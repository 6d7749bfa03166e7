//! The pages, one a file: its handler, what it loads and what it shows.

pub mod build;
pub mod build_file;
pub mod builds;
pub mod compare;
pub mod failed_builds;
pub mod hash;
pub mod job;
pub mod robots;
pub mod style;
