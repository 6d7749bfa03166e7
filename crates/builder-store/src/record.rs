//! What is in `builder-web-record.sqlite3`, attached as schema `record`: what builder-web alone
//! knows and nothing could tell again, a table or two a module. `db/record.rs` opens it.
//!
//! It is a file of its own because the v18 database keeps its schema, and what is derived is made
//! anew at will. The OCaml server and its tools know nothing of it: what it says of a build holds
//! only as far as `builder.sqlite3` does not say otherwise. COMMIT is atomic in each file by itself;
//! where a change concerns both, the order is chosen such that what a power failure leaves between
//! the two is harmless, and mended at the next start.

pub mod audit;
pub mod hook_runs;
pub mod pins;
pub mod removed;
pub mod tokens;

pub use crate::db::record::{FILE, take_back};
