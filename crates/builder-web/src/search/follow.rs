//! Tells the index which packages are in the switches it does not know yet: those the OCaml server
//! stored, and those that others added. An upload tells its own.

use builder_store::search::{self, Unread};
use builder_store::{Result, Store};
use opam_file::{Package, SwitchExport};

use crate::config::Limits;
use crate::error::with_causes;

/// Switches that are told in one transaction: some tens of milliseconds under the writer's lock.
const SWITCHES_A_TURN: u32 = 16;

/// Brings the index up to date, in short turns, while `go_on` says so. Goes on where the last call
/// stopped.
pub fn follow(store: &Store, limits: &Limits, go_on: &dyn Fn() -> bool) -> Result<()> {
    store.catch_up_while(go_on)?;
    loop {
        let unread = store.read(|tx| search::unread(tx, SWITCHES_A_TURN))?;
        if unread.is_empty() || !go_on() {
            return Ok(());
        }
        // Read before the writer's lock is taken.
        let read: Vec<(Unread, Option<Vec<Package>>)> = unread
            .into_iter()
            .map(|unread| (unread, packages(store, limits, unread)))
            .collect();
        store.write(|tx| {
            for (unread, packages) in &read {
                match packages {
                    Some(packages) => search::set_packages(tx, unread.sha256, names(packages))?,
                    None => search::set_unreadable(tx, unread.sha256)?,
                }
            }
            Ok(())
        })?;
    }
}

/// Names and versions, as the index keeps them.
pub fn names(packages: &[Package]) -> impl Iterator<Item = (&str, &str)> {
    packages
        .iter()
        .map(|package| (package.name.as_str(), package.version.as_str()))
}

/// The packages of a switch; none when it cannot be read, which the log says.
fn packages(store: &Store, limits: &Limits, unread: Unread) -> Option<Vec<Package>> {
    let Unread { sha256, size } = unread;
    let limit = limits.opam_switch_bytes_max;
    match size {
        Some(size) if size <= limit => {}
        Some(size) => {
            tracing::warn!(
                "the opam switch {sha256} has {size} bytes, more than {limit}: its packages cannot be \
                 searched for"
            );
            return None;
        }
        None => {
            tracing::info!("the opam switch {sha256} is of no build any more");
            return None;
        }
    }
    let bytes = match store.artifacts().bytes(sha256, limit) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(
                "the opam switch {sha256} cannot be searched: {}",
                with_causes(&error)
            );
            return None;
        }
    };
    match SwitchExport::parse(&bytes) {
        Ok(switch) => Some(switch.installed),
        Err(error) => {
            tracing::info!("the opam switch {sha256} cannot be searched: {error}");
            None
        }
    }
}
