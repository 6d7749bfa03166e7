//! How much there is: builds, artifacts, databases, room on the disk. Looked up again only when
//! something was written.

use std::time::Duration;

use builder_store::stock::{self, Artifacts, Builds};
use builder_store::{failures, search};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Gauges, Labels, OTHER, label, register, signed};
use crate::app::App;

/// Jobs on platforms that are told apart, those with the most builds; others are counted together.
const JOBS_MAX: usize = 500;
/// A reader of metrics waits this long for the numbers; the next one gets them.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Stock {
    /// Of which state of the database the numbers are.
    generation: Mutex<Option<i64>>,
    /// Held by who looks at what is not counted.
    looks: Mutex<()>,
    builds: Gauges,
    failed: Gauges,
    artifacts: Gauge,
    artifact_bytes: Gauge,
    database_bytes: Gauges,
    free_bytes: Gauge,
    backlog: Gauges,
}

impl Stock {
    pub(super) fn new(registry: &mut Registry) -> Stock {
        Stock {
            generation: Mutex::default(),
            looks: Mutex::default(),
            builds: register(registry, "builds", "Builds by job and platform"),
            failed: register(
                registry,
                "failed_builds",
                "Builds without a main binary by job and platform",
            ),
            artifacts: register(registry, "artifacts", "Artifacts, each content once"),
            artifact_bytes: register(
                registry,
                "artifact_bytes",
                "Bytes of artifacts, each content once",
            ),
            database_bytes: register(
                registry,
                "database_bytes",
                "Bytes of each database with its write-ahead log",
            ),
            free_bytes: register(
                registry,
                "disk_free_bytes",
                "Free bytes on the disk of the data directory",
            ),
            backlog: register(
                registry,
                "backlog",
                "What is still to be read, compared or kept in the background, by what for",
            ),
        }
    }

    fn show(&self, builds: &[Builds], artifacts: Artifacts) {
        self.builds.clear();
        self.failed.clear();
        for (number, of) in builds.iter().enumerate() {
            let labels: Labels = if number < JOBS_MAX {
                vec![("job", of.job.clone()), ("platform", of.platform.clone())]
            } else {
                vec![("job", OTHER.to_owned()), ("platform", OTHER.to_owned())]
            };
            self.builds.get_or_create(&labels).inc_by(signed(of.builds));
            self.failed.get_or_create(&labels).inc_by(signed(of.failed));
        }
        self.artifacts.set(signed(artifacts.files));
        self.artifact_bytes.set(signed(artifacts.bytes));
    }
}

/// Brings the numbers up to date, if they are not and it is time.
pub(super) async fn refresh(app: &App) {
    for work in [
        // Both go on when nobody waits any more.
        tokio::spawn(look(app.clone())),
        tokio::spawn(count(app.clone())),
    ] {
        let _late = timeout(WAIT_MAX, work).await;
    }
}

/// What changes without a commit, or costs little. On a disk that hangs one hangs, and the last values
/// stay.
async fn look(app: App) {
    let stock = &app.metrics().stock;
    let Ok(_looks) = stock.looks.try_lock() else {
        return;
    };
    let backlog = |work, count: u64| {
        let gauge = stock.backlog.get_or_create_owned(&label("work", work));
        gauge.set(signed(count));
    };
    backlog("inputs", app.comparisons().pending() as u64);
    let sizes = app.blocking(|app| {
        let store = app.store();
        (store.free_bytes(), stock::database_bytes(store))
    });
    if let Ok((free, databases)) = sizes.await {
        // An error is in the log of `free_bytes`' other uses; the last value stays.
        if let Ok(free) = free {
            stock.free_bytes.set(signed(free));
        }
        for (file, bytes) in databases {
            let gauge = stock
                .database_bytes
                .get_or_create_owned(&label("file", file));
            gauge.set(signed(bytes));
        }
    }
    // An error is in the log; the last values stay.
    let behind = app.read(|tx| Ok((search::progress(tx)?, failures::unknown_count(tx)?)));
    if let Ok((progress, failed)) = behind.await {
        backlog("builds", progress.builds_left);
        backlog("switches", progress.switches_left);
        backlog("failures", failed);
    }
}

async fn count(app: App) {
    let stock = &app.metrics().stock;
    let Ok(mut known) = stock.generation.try_lock() else {
        return;
    };
    let generation = app.blocking(|app| app.store().generation());
    let Ok(Ok(generation)) = generation.await else {
        return;
    };
    if *known == Some(generation) {
        return;
    }
    // While not all are counted, the last numbers stay.
    if let Ok(Some((builds, artifacts))) = app.read(stock::counted).await {
        stock.show(&builds, artifacts);
        *known = Some(generation);
    }
}
