//! What builder-web keeps: the database and the artifacts. The only crate that knows SQL and
//! paths below the data directory. Synchronous: callers choose the thread. Knows nothing of HTTP,
//! of opam files or of what is inside an artifact.
//!
//! The layout of the data directory is that of the OCaml server (robur-coop/builder-web):
//!
//! | path | what |
//! |---|---|
//! | `builder.sqlite3` | the database, schema version 18, see `schema/v18.sql` |
//! | `_artifacts/ab/abcd…` | an artifact, named by the SHA-256 of its bytes |
//! | `JOB/UUID/console.txt`, `JOB/UUID/script.txt` | a build's console and script |
//! | `_staging/` | uploads under way |
//! | `_cache/` | pictures of artifacts, made by upload hooks and by us, see `cache.rs` |
//! | `builder-web.sqlite3` | ours alone: what can be derived again, see `schema/own.sql` |
//! | `builder-web-record.sqlite3` | ours alone: pins, what was removed; never dropped, see `schema/record.sql` |
//! | `builder.sqlite3-migration` | what a migration under way does with files, see `migrations/moves.rs` |
//! | `builder.sqlite3-record` | which record there is, so that one that is lost is not begun anew unnoticed |
//! | `builder.sqlite3-ballast` | room that is given up when the disk is full, see `ballast.rs` |
//! | `builder.sqlite3-backup` | marks a directory that is a backup, see `backup.rs` |
//! | `_restoring/` | what a restore makes before it is put in place, see `restore.rs` |
//! | `_quarantine/` | files that were not what their row says, put aside by a migration or a repair |

mod artifacts;
mod db;
mod error;
mod fitness;
mod names;
mod outputs;
mod sha256;
mod stage;
mod store;

pub mod access;
pub mod backup;
pub mod ballast;
pub mod builds;
pub mod cache;
pub mod derived;
pub mod doctor;
pub mod failures;
pub mod jobs;
pub mod latest;
pub mod listing;
pub mod migrations;
pub mod neighbours;
pub mod past;
pub mod record;
pub mod removal;
pub mod restore;
pub mod search;
pub mod shell;
pub mod stock;
pub mod tags;
pub mod tracked;
pub mod users;
pub mod verdict;
pub mod verify;
pub mod verify_cache;

pub use artifacts::{ArtifactReader, Artifacts, Check, Damage};
pub use db::Tx;
pub use error::{Error, OpenError, Result, with_causes};
pub use fitness::Unfit;
pub use names::{ArtifactPath, JobName, NameError, PlainFileName, Platform};
pub use sha256::Sha256;
pub use stage::{SpaceChecked, StagedArtifact, Staging, TextFile, TextFileWriter};
pub use store::{Created, Store};
