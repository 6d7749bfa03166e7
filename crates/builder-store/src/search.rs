//! The search index: where packages and files are. Our own tables, which follow the database.
//!
//! A switch is indexed once by its content: 90,000 builds have few distinct ones. What is in a
//! switch is told by the caller ([`set_packages`]): nothing here knows opam. Builds that have a
//! switch are found through the database's own index of digests, so that a row that others add or
//! remove is never answered wrongly, only late.
//!
//! Nothing is dropped when the last build that was indexed is gone: contents stay true, and every
//! row about a build is checked against it when it is read. What no build has any more is swept.

mod digests;
mod files;
mod follow;
mod packages;
mod sweep;

pub use digests::{
    Digest, DigestRange, Part, artifacts_in, inputs_in, uuids_from, with_artifact, with_input,
};
pub use files::{FilePlace, FilesPage, Found, files};
pub use follow::{Unread, set_packages, set_unreadable, unread};
pub use packages::{
    LatestPlace, LatestWith, PackageBuilds, PackagePlace, Version, WithPackage, builds_with,
    latest_with, newest_with, package_names, packages_of_build, switches_count, versions,
};

pub(crate) use follow::{BUILDS_A_TURN, BUILDS_A_TURN_OF_AN_UPLOAD, catch_up, forget};
pub(crate) use sweep::sweep;

use crate::{Result, Tx};

/// Where the switch of a build is among its artifacts.
pub const SWITCH_PATH: &str = "opam-switch";

/// How a row of `own.switch` stands: the values of its column `state`.
mod state {
    pub(super) const UNREAD: i64 = 0;
    pub(super) const READ: i64 = 1;
    pub(super) const UNREADABLE: i64 = 2;
    pub(super) const GONE: i64 = 3;
}

/// How far the index has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Builds that are not in the index yet: at most this many, counted by their ids.
    pub builds_left: u64,
    /// Switches whose packages are not known yet.
    pub switches_left: u64,
}

impl Progress {
    /// Whether all that is kept can be found.
    pub fn is_complete(&self) -> bool {
        self.builds_left == 0 && self.switches_left == 0
    }
}

/// How far the index has come.
pub fn progress(tx: &mut Tx<'_>) -> Result<Progress> {
    let indexed = follow::indexed_build(tx)?;
    let newest = tx.query_opt("SELECT COALESCE(MAX(id), 0) FROM build", &[], |row| {
        row.int(0)
    })?;
    let left = newest.unwrap_or(0).saturating_sub(indexed);
    let unread = tx.query_opt(
        "SELECT COUNT(*) FROM own.switch WHERE state = $1",
        &[state::UNREAD.into()],
        |row| row.int(0),
    )?;
    Ok(Progress {
        builds_left: u64::try_from(left).unwrap_or(0),
        switches_left: u64::try_from(unread.unwrap_or(0)).unwrap_or(0),
    })
}
