//! What is in `builder-web-record.sqlite3`, attached as schema `record`: what builder-web alone
//! knows and nothing could tell again, a table or two a module. `db/record.rs` opens it.
//!
//! It is a file of its own because the v18 database keeps its schema, and what is derived is made
//! anew at will. The OCaml server and its tools know nothing of it: what it says of a build holds
//! only as far as `builder.sqlite3` does not say otherwise. COMMIT is atomic in each file by itself, and is
//! done in this one first: what a power failure leaves between the two is a row here about what did
//! not take place, which is harmless, and mended by who writes next (`pending`) or at the next start.

pub mod audit;
pub mod hook_runs;
pub mod pending;
pub mod pins;
pub mod removed;
pub mod tokens;

pub use crate::db::record::{Before, FILE, go_on_with_another, take_back};
