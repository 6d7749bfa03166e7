//! When what should happen again and again last happened, as the audit record has it: an upload (or, where
//! it has none, the newest build), a check of all files, a backup. So it is known after a restart too, and of commands beside the
//! server.

use std::time::Duration;

use builder_store::builds;
use builder_store::record::audit;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{FloatGauge, FloatGauges, label, register};
use crate::app::App;

/// A reader of metrics waits this long for the record to be read; the next one gets it. It is long
/// only after a start, when all of it is read.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Events {
    /// Up to which entry the record was read.
    seen: Mutex<i64>,
    upload: FloatGauge,
    verify: FloatGauges,
    backup: FloatGauge,
}

impl Events {
    pub(super) fn new(registry: &mut Registry) -> Events {
        let events = Events {
            seen: Mutex::default(),
            upload: register(
                registry,
                "last_upload_timestamp_seconds",
                "When a build was last kept, in seconds since 1970; NaN: not yet",
            ),
            verify: register(
                registry,
                "last_verify_timestamp_seconds",
                "When verify-data-dir last ended, by what it found, in seconds since 1970; NaN: not yet",
            ),
            backup: register(
                registry,
                "last_backup_timestamp_seconds",
                "When a backup was last complete, in seconds since 1970; NaN: not yet",
            ),
        };
        // No time has passed since what never was.
        events.upload.set(f64::NAN);
        events.backup.set(f64::NAN);
        for found in ["nothing", "faults"] {
            let gauge = events.verify.get_or_create_owned(&label("found", found));
            gauge.set(f64::NAN);
        }
        events
    }

    fn take(&self, last: &audit::Last) {
        let found = |what| self.verify.get_or_create_owned(&label("found", what));
        let gauge = match last.action.as_str() {
            audit::UPLOAD | audit::IMPORT => &self.upload,
            audit::VERIFY => &found("nothing"),
            audit::VERIFY_FAULTS => &found("faults"),
            audit::BACKUP => &self.backup,
            _ => return,
        };
        // Uploads and imports come in any order; what is later counts.
        gauge.set(gauge.get().max(last.at.unix_seconds() as f64));
    }
}

/// Reads what was added to the record since.
pub(super) async fn refresh(app: &App) {
    let app = app.clone();
    // Goes on when nobody waits any more.
    let read = tokio::spawn(async move { read(&app).await });
    let _late = timeout(WAIT_MAX, read).await;
}

async fn read(app: &App) {
    let events = &app.metrics().events;
    let Ok(mut seen) = events.seen.try_lock() else {
        return;
    };
    let after = *seen;
    // An error is in the log; the last values stay.
    if let Ok((newest, last)) = app.read(move |tx| audit::last(tx, after)).await {
        last.iter().for_each(|last| events.take(last));
        *seen = newest;
    }
    drop(seen);
    if events.upload.get().is_nan() {
        begin_with_newest(app).await;
    }
}

/// Where the record has no upload, the newest build tells when there was one: the OCaml server kept no
/// record, and that nothing comes in any more is to be seen after a change from it, too.
async fn begin_with_newest(app: &App) {
    if let Ok(newest) = app.read(|tx| builds::newest(tx, None, None, 1)).await
        && let Some(build) = newest.first()
    {
        // A builder's clock may be wrong.
        let at = build.finish.min(app.now());
        app.metrics().events.upload.set(at.unix_seconds() as f64);
    }
}
