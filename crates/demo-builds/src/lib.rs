//! Invented finished builds, as the exec files a builder would send.
//!
//! Some sixty builds of eight jobs within ninety days, for an empty builder-web to be filled with: unikernels for two
//! targets, packages for two systems, a plain script; builds that are reproduced and builds that are not, and all the
//! ways a build can fail. Nothing is downloaded, nothing is random, and the clock is an argument: the same time gives
//! the same bytes.
//!
//! Knows nothing of the server and its database. In reading order: `story` is what happened, `jobs` what is built,
//! `catalogue` from what; `build` puts one build together.
//!
//! ```
//! use builder_exec::Timestamp;
//!
//! let now = Timestamp::from_civil(2026, 6, 1, 12, 0, 0).ok_or("no such time")?;
//! let newest = demo_builds::builds(now).last().ok_or("no builds")?;
//! assert_eq!(newest.job(), "lantern");
//! assert!(newest.exec().len() > 1_000_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod story;

mod jobs;

mod build;

mod sources;

mod catalogue;

mod image;

mod c_code;

mod dwarf;

mod host;

mod console;

mod texts;

pub mod elf;

pub mod switch;

pub mod deb;

pub mod pkg;

mod tar;

mod seed;

pub use build::{DemoBuild, builds, one_more};
pub use tar::InstalledFile;
