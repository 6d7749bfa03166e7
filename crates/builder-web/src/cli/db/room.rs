//! Commands that make room or shut somebody out, on a disk that is full.

use std::path::Path;

use anyhow::Context;
use builder_store::{Error, OpenError, ballast, with_causes};

use crate::cli::say_note;

/// Runs a command. Where there is no room for what it writes, what is held ready for that is given up,
/// and it runs once more: it has done nothing, or goes on where it was.
pub(super) fn with(
    directory: &Path,
    command: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let first = command();
    if !first.as_ref().is_err_and(is_no_space) {
        return first;
    }
    let again = match ballast::give_up(directory) {
        Ok(true) => {
            say_note("the disk is full: going on with the room that is held ready for this");
            command()
        }
        Ok(false) => first,
        Err(error) => {
            say_note(&with_causes(&error));
            first
        }
    };
    match &again {
        Err(error) if is_no_space(error) => {
            return again.context(
                "the disk is full, and this needs some room of its own: free some MiB beside the data \
                 directory (logs, caches, _quarantine, _cache) and run it again; a vacuum needs less \
                 with --job or an earlier time",
            );
        }
        _ => {}
    }
    // For the next time.
    if let Err(error) = ballast::make(directory) {
        say_note(&with_causes(&error));
    }
    again
}

fn is_no_space(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<Error>()
            .is_some_and(Error::is_no_space)
            || matches!(
                cause.downcast_ref::<OpenError>(),
                Some(OpenError::NoSpace(_))
            )
    })
}
