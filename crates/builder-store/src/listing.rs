//! Lists of builds for programs: by what they are, a page at a time from a given build on.

use builder_exec::Timestamp;

use crate::builds::{Build, select_build};
use crate::db::{days, picoseconds};
use crate::{Result, Sha256, Tx};

/// Which builds of a job are asked for; what is not given does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// On this platform.
    pub platform: Option<String>,
    /// With a main binary, or without.
    pub successful: Option<bool>,
    /// Started then or later.
    pub since: Option<Timestamp>,
    /// Started before.
    pub until: Option<Timestamp>,
    /// With this main binary.
    pub output: Option<Sha256>,
    /// From this input.
    pub input_id: Option<Sha256>,
}

/// Builds of a job, newest first: up to `count` of those that are older than `before`, a value of
/// [`Build::age`].
pub fn of_job(
    tx: &mut Tx<'_>,
    job_id: i64,
    filter: &Filter,
    before: Option<(Timestamp, i64)>,
    count: usize,
) -> Result<Vec<Build>> {
    let until = filter.until.map(|until| (until, i64::MIN));
    let before = before.into_iter().chain(until).min();
    let (before_d, before_ps, before_id) = match &before {
        Some((start, id)) => (days(start), picoseconds(start), *id),
        None => (i64::MAX.into(), i64::MAX.into(), i64::MAX),
    };
    let (since_d, since_ps) = match &filter.since {
        Some(since) => (days(since), picoseconds(since)),
        None => (i64::MIN.into(), 0.into()),
    };
    let successful = filter.successful.map_or(-1, i64::from);
    tx.query(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND (b.start_d, b.start_ps, b.id) < ($2, $3, $4)
               AND (b.start_d, b.start_ps) >= ($5, $6)
               AND (b.platform = $7 OR $7 IS NULL)
               AND (m.sha256 = $8 OR $8 IS NULL)
               AND (b.input_id = $9 OR $9 IS NULL)
               AND ($10 = -1 OR $10 = 1 AND b.main_binary IS NOT NULL
                    OR $10 = 0 AND b.main_binary IS NULL)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $11"
        ),
        &[
            job_id.into(),
            before_d,
            before_ps,
            before_id.into(),
            since_d,
            since_ps,
            filter.platform.as_deref().into(),
            filter.output.as_ref().into(),
            filter.input_id.as_ref().into(),
            successful.into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
        ],
        Build::from_row,
    )
}

/// Builds of all jobs, the last upload first: up to `count` of those whose row is before `before`.
pub fn uploads(tx: &mut Tx<'_>, before: Option<i64>, count: usize) -> Result<Vec<Build>> {
    tx.query(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.id < $1 ORDER BY b.id DESC LIMIT $2"
        ),
        &[
            before.unwrap_or(i64::MAX).into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
        ],
        Build::from_row,
    )
}
