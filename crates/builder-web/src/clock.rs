//! The time. Passed in, so that tests can stop it.

use std::time::SystemTime;

use builder_exec::Timestamp;

/// Tells the time.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's.
    System,
    /// Always the same.
    Stopped(Timestamp),
}

impl Clock {
    /// What time it is.
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => system_time(),
            Clock::Stopped(at) => *at,
        }
    }
}

fn system_time() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system"
    )]
    let now = SystemTime::now();
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_unix(seconds, since.subsec_nanos()))
        // A clock that is beyond the year 9999 tells nothing.
        .unwrap_or(Timestamp::EPOCH)
}
