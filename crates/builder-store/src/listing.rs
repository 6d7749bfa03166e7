//! Lists of builds for programs: by what they are, a page at a time from a given build on. What is
//! known of a build is in no table, so a list of one state looks at builds one after the other, and
//! at so many for a page: a page may have fewer than were asked for, and still there are more.

use builder_exec::Timestamp;

use crate::builds::{self, Build, select_build};
use crate::db::{days, picoseconds};
use crate::verdict::{self, Judged, Verdict};
use crate::{Result, Sha256, Tx};

/// Builds whose verdicts are looked up for a page of a list of one state: some tens of milliseconds.
const JUDGED_MAX: usize = 1_000;
/// Builds that are looked at together.
const JUDGED_AT_ONCE: usize = 200;
/// Rows that are looked through for a page of builds on one platform, or of failed ones, among those
/// of all jobs: there is no index by platform.
const ROWS_MAX: i64 = 50_000;

/// Part of a list, and the place of its last build, behind which it goes on; none: it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<Place> {
    /// The builds.
    pub builds: Vec<Judged>,
    /// Where it goes on.
    pub next: Option<Place>,
}

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
    /// Of a verdict of this name.
    pub state: Option<String>,
}

impl Filter {
    /// Whether a main binary is asked for, be it by the state.
    fn successful(&self) -> Option<bool> {
        let by_state = self.state.as_deref().map(|state| state != FAILED);
        self.successful.or(by_state)
    }

    /// Whether no build can be so.
    fn is_contradictory(&self) -> bool {
        let failed = self.state.as_deref().map(|state| state == FAILED);
        failed.is_some() && self.successful == failed
    }

    fn has_state(&self, verdict: Verdict) -> bool {
        self.state
            .as_deref()
            .is_none_or(|state| verdict.name() == state)
    }

    /// Whether the state is told by the rows alone, or does not matter.
    fn is_plain(&self) -> bool {
        self.state.as_deref().is_none_or(|state| state == FAILED)
    }
}

/// The one state that is told by a build's row.
const FAILED: &str = "failed";

/// Collects `count` builds of a state from what `next` gives: builds in their order behind the one
/// it is given, at most so many.
fn part<Place: Clone>(
    tx: &mut Tx<'_>,
    filter: &Filter,
    count: usize,
    place: impl Fn(&Build) -> Place,
    mut next: impl FnMut(&mut Tx<'_>, Option<Place>, usize) -> Result<Vec<Build>>,
) -> Result<Part<Place>> {
    let mut part = Part {
        builds: Vec::new(),
        next: None,
    };
    if filter.is_contradictory() {
        return Ok(part);
    }
    let (at_once, judged_max) = match filter.is_plain() {
        true => (count, count),
        false => (JUDGED_AT_ONCE, JUDGED_MAX),
    };
    let mut judged = 0;
    while judged < judged_max {
        // One more than is looked at tells whether there are more.
        let mut builds = next(tx, part.next.take(), at_once + 1)?;
        let more = builds.len() > at_once;
        builds.truncate(at_once);
        judged += builds.len();
        let mut all = verdict::judged(tx, builds)?.into_iter().peekable();
        while let Some((build, verdict)) = all.next() {
            let is_last = !more && all.peek().is_none();
            part.next = (!is_last).then(|| place(&build));
            if filter.has_state(verdict) {
                part.builds.push((build, verdict));
            }
            if part.builds.len() == count {
                return Ok(part);
            }
        }
        if !more {
            break;
        }
    }
    Ok(part)
}

/// Builds of a job, newest first: up to `count` of those that are older than `before`, a value of
/// [`Build::age`].
pub fn of_job(
    tx: &mut Tx<'_>,
    job_id: i64,
    filter: &Filter,
    before: Option<(Timestamp, i64)>,
    count: usize,
) -> Result<Part<(Timestamp, i64)>> {
    part(tx, filter, count, Build::age, |tx, next, count| {
        rows_of_job(tx, job_id, filter, next.or(before), count)
    })
}

fn rows_of_job(
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
    let successful = filter.successful().map_or(-1, i64::from);
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
/// When they started plays no part in it.
pub fn uploads(
    tx: &mut Tx<'_>,
    filter: &Filter,
    before: Option<i64>,
    count: usize,
) -> Result<Part<i64>> {
    let newest = tx.query_opt("SELECT MAX(id) FROM build", &[], |row| row.int_opt(0))?;
    let newest = newest.flatten().unwrap_or(0);
    let first = before.map_or(newest, |before| before.saturating_sub(1).min(newest));
    let by_index = filter.input_id.is_some() || filter.output.is_some();
    let is_sparse = filter.platform.is_some() || filter.successful().is_some();
    let after = match is_sparse && !by_index {
        true => first.saturating_sub(ROWS_MAX).max(0),
        false => 0,
    };
    let place = |build: &Build| build.id;
    let mut part = part(tx, filter, count, place, |tx, next, count| {
        let before = next.unwrap_or(first.saturating_add(1));
        rows_of_all(tx, filter, (after, before), count)
    })?;
    if part.next.is_none() && after > 0 && !filter.is_contradictory() {
        // That was the end of the rows that were looked through, not of the list.
        part.next = Some(after.saturating_add(1));
    }
    Ok(part)
}

/// As [`uploads`], of the rows between two.
fn rows_of_all(
    tx: &mut Tx<'_>,
    filter: &Filter,
    (after, before): (i64, i64),
    count: usize,
) -> Result<Vec<Build>> {
    // Each begins with what there is an index for.
    let sql = match (&filter.input_id, &filter.output) {
        (Some(_), _) => select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.input_id = $6 AND (m.sha256 = $7 OR $7 IS NULL)
               AND b.id > $1 AND b.id < $2
               AND (b.platform = $3 OR $3 IS NULL)
               AND ($4 = -1 OR $4 = 1 AND b.main_binary IS NOT NULL
                    OR $4 = 0 AND b.main_binary IS NULL)
             ORDER BY b.id DESC LIMIT $5"
        ),
        (None, Some(_)) => select_build!(
            "FROM build_artifact m CROSS JOIN build b ON b.main_binary = m.id
             JOIN job j ON j.id = b.job
             WHERE m.sha256 = $7 AND $6 IS NULL
               AND b.id > $1 AND b.id < $2
               AND (b.platform = $3 OR $3 IS NULL) AND $4 <> 0
             ORDER BY b.id DESC LIMIT $5"
        ),
        (None, None) => select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.id > $1 AND b.id < $2
               AND (b.platform = $3 OR $3 IS NULL)
               AND ($4 = -1 OR $4 = 1 AND b.main_binary IS NOT NULL
                    OR $4 = 0 AND b.main_binary IS NULL)
               AND $6 IS NULL AND $7 IS NULL
             ORDER BY b.id DESC LIMIT $5"
        ),
    };
    let successful = filter.successful().map_or(-1, i64::from);
    tx.query(
        sql,
        &[
            after.into(),
            before.into(),
            filter.platform.as_deref().into(),
            successful.into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
            filter.input_id.as_ref().into(),
            filter.output.as_ref().into(),
        ],
        Build::from_row,
    )
}

/// Builds among which [`newest_of_uploaders`] looks.
pub const NEWEST_UPLOADS: i64 = 10_000;

/// The last upload of each user, the newest first, among the last [`NEWEST_UPLOADS`]: there is no
/// index by user.
pub fn newest_of_uploaders(tx: &mut Tx<'_>) -> Result<Vec<Judged>> {
    let newest = tx.query(
        "SELECT MAX(b.id) FROM build b
         WHERE b.id > (SELECT COALESCE(MAX(n.id), 0) FROM build n) - $1
         GROUP BY b.user ORDER BY MAX(b.id) DESC",
        &[NEWEST_UPLOADS.into()],
        |row| row.int(0),
    )?;
    let mut all = Vec::with_capacity(newest.len());
    for id in newest {
        all.extend(builds::by_id(tx, id)?);
    }
    verdict::judged(tx, all)
}
