//! Looks at builds that failed: reads the end of each console, lets [`crate::failure`] tell, and
//! keeps what it told. At upload; in the background for what others have written.

use std::sync::atomic::{AtomicBool, Ordering};

use builder_store::builds::Build;
use builder_store::failures::{self, Failure, Filter};
use builder_store::{Store, Tx};
use tracing::{info, warn};

use crate::console::outline;
use crate::error::with_causes;
use crate::failure::{self, Class};

/// Builds whose consoles are read before what was told of them is kept, so that uploads get their
/// turn and little is lost when the server stops.
const BUILDS_A_TURN: u32 = 64;

/// Whether someone is looking.
#[derive(Debug, Default)]
pub struct Looking(AtomicBool);

impl Looking {
    /// Looks at all failed builds that were not looked at yet, newest first, unless someone does,
    /// and until the server stops.
    pub fn catch_up(&self, store: &Store, stopping: impl Fn() -> bool) {
        if self.0.swap(true, Ordering::Acquire) {
            return;
        }
        match catch_up(store, stopping) {
            Ok(0) => {}
            Ok(count) => info!("looked at {count} failed builds"),
            Err(error) => warn!("cannot tell why builds failed: {}", with_causes(&error)),
        }
        self.0.store(false, Ordering::Release);
    }
}

fn catch_up(store: &Store, stopping: impl Fn() -> bool) -> builder_store::Result<usize> {
    let mut count = 0;
    loop {
        let unknown = store.read(|tx| failures::unknown(tx, failure::VERSION, BUILDS_A_TURN))?;
        let looked_at: Vec<(&Build, Failure)> = unknown
            .iter()
            .map(|build| (build, look_at(store, build)))
            .collect();
        store.write(|tx| {
            for (build, failure) in &looked_at {
                failures::set(tx, build.id, build.uuid, failure::VERSION, failure)?;
            }
            Ok(())
        })?;
        count += looked_at.len();
        if looked_at.len() < BUILDS_A_TURN as usize || stopping() {
            return Ok(count);
        }
    }
}

/// Looks at a build that was just kept. It is looked at again one day if that fails.
pub fn keep(store: &Store, build: &Build) {
    let failure = look_at(store, build);
    let kept =
        store.write(|tx| failures::set(tx, build.id, build.uuid, failure::VERSION, &failure));
    if let Err(error) = kept {
        let uuid = build.uuid;
        warn!(
            "cannot keep why build {uuid} failed: {}",
            with_causes(&error)
        );
    }
}

/// What result and console tell; without the console, what the result tells.
fn look_at(store: &Store, build: &Build) -> Failure {
    let uuid = build.uuid;
    let tail = match store.open_text(&build.console) {
        Ok((file, _)) => outline::tail(&file, failure::TAIL_BYTES_MAX)
            .inspect_err(|error| warn!("cannot read the console of build {uuid}: {error}"))
            .ok(),
        Err(error) => {
            warn!("build {uuid} has no console: {}", with_causes(&error));
            None
        }
    };
    let (before, tail) = tail.unwrap_or_default();
    let failure = failure::classify(&build.result, &tail);
    Failure {
        class: failure.class.name().to_owned(),
        told: failure
            .told
            .map(|(index, text)| (before + index as u64 + 1, text)),
        last_lines: failure.last_lines,
    }
}

/// A class by the name that is kept, in words; one that this version does not know as it is.
pub fn label(class: &str) -> &str {
    match Class::of_name(class) {
        Some(class) => class.label(),
        None => class,
    }
}

/// Failed builds on a job's page; all of them are on their own.
const HISTORY_BUILDS: u32 = 5;

/// Why builds of a job failed, in short: for `failure_history.html`.
#[derive(Debug)]
pub struct FailureHistory {
    /// The job's name.
    pub job: String,
    /// The platform it is about; none: all.
    pub platform: Option<String>,
    /// How many builds of each class there are; without a name those not looked at yet.
    pub classes: Vec<(Option<String>, u64)>,
    /// The newest of them.
    pub builds: Vec<(Build, Option<Failure>)>,
}

impl FailureHistory {
    /// Of a job by its row, on one platform or all.
    pub fn load(
        tx: &mut Tx<'_>,
        job_id: i64,
        job: &str,
        platform: Option<&str>,
    ) -> builder_store::Result<FailureHistory> {
        let filter = Filter {
            job_id: Some(job_id),
            platform,
            class: None,
        };
        Ok(FailureHistory {
            job: job.to_owned(),
            platform: platform.map(ToOwned::to_owned),
            classes: failures::classes(tx, filter)?,
            builds: failures::list(tx, filter, 0, HISTORY_BUILDS)?,
        })
    }
}
