//! What happened to a job in the order of time: when an output changed, and when a platform ceased to
//! be reproducible.

use std::collections::BTreeMap;

use builder_exec::Timestamp;

use super::{Age, follows, moment, successful_before};
use crate::builds::{Build, select_build};
use crate::{Result, Sha256, Tx, builds};

/// Builds that are looked through for changes of the output.
const CHANGES_MAX: u32 = 1_000;
/// Of these, read at a time: most jobs have enough changes among fewer.
const OUTCOMES_AT_ONCE: u32 = 100;

/// A build whose output is another one than that of the successful build before it on its platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The build.
    pub build: Build,
    /// The one before; none where it is the first.
    pub before: Option<Build>,
}

/// What of a build tells whether it changed the output.
struct Outcome {
    age: Age,
    platform: String,
    /// None: it failed.
    output: Option<Sha256>,
}

/// Where the output of a job changed, or where there was none before, newest first: on one platform
/// where given, at most `count`, among so many of the newest builds as are looked through.
pub fn changes(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: Option<&str>,
    count: usize,
) -> Result<Vec<Change>> {
    // By platform: the oldest build of the last output that was seen.
    let mut last: BTreeMap<String, (Age, Sha256)> = BTreeMap::new();
    let mut found: Vec<(Age, Option<i64>)> = Vec::new();
    let mut before = None;
    for _ in 0..CHANGES_MAX / OUTCOMES_AT_ONCE {
        if found.len() >= count {
            break;
        }
        let outcomes = outcomes(tx, job_id, platform, before)?;
        // Not by their number: rows that cannot be read are left out.
        let Some(oldest) = outcomes.last() else { break };
        before = Some(oldest.age);
        for Outcome {
            age,
            platform,
            output,
        } in outcomes
        {
            let Some(output) = output else { continue };
            if let Some((newer, known)) = last.insert(platform, (age, output))
                && known != output
            {
                found.push((newer, Some(age.1)));
            }
        }
    }
    // What is before the oldest that was looked at is looked up.
    for (age, output) in last.into_values() {
        let Some(build) = builds::by_id(tx, age.1)? else {
            continue;
        };
        match successful_before(tx, &build)? {
            Some(before) if has_output(&before, output) => {}
            Some(before) => found.push((age, Some(before.id))),
            None => found.push((age, None)),
        }
    }
    found.sort_unstable_by_key(|(age, _)| std::cmp::Reverse(*age));
    let mut changes = Vec::new();
    for ((_, id), before) in found.into_iter().take(count) {
        let before = match before {
            Some(before) => builds::by_id(tx, before)?,
            None => None,
        };
        if let Some(build) = builds::by_id(tx, id)? {
            changes.push(Change { build, before });
        }
    }
    Ok(changes)
}

fn has_output(build: &Build, output: Sha256) -> bool {
    let main = build.main_binary.as_ref();
    main.is_some_and(|main| main.sha256 == output)
}

/// The newest [`OUTCOMES_AT_ONCE`] that are older than `before`.
fn outcomes(
    tx: &mut Tx<'_>,
    job_id: i64,
    platform: Option<&str>,
    before: Option<Age>,
) -> Result<Vec<Outcome>> {
    let sql = match platform.is_some() && follows(tx)? {
        true => {
            "SELECT p.start_d, p.start_ps, p.build, p.platform, m.sha256
             FROM own.past p CROSS JOIN build b ON b.id = p.build AND b.job = p.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE p.job = $1 AND p.platform = $2 AND (p.start_d, p.start_ps, p.build) < ($3, $4, $5)
             ORDER BY p.start_d DESC, p.start_ps DESC, p.build DESC LIMIT $6"
        }
        false => {
            "SELECT b.start_d, b.start_ps, b.id, b.platform, m.sha256
             FROM build b LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1 AND (b.platform = $2 OR $2 IS NULL) AND b.start_d <= $3
               AND (b.start_d, b.start_ps, b.id) < ($3, $4, $5)
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT $6"
        }
    };
    let [start_d, start_ps, id] = moment(before);
    tx.query_list(
        sql,
        &[
            job_id.into(),
            platform.into(),
            start_d,
            start_ps,
            id,
            i64::from(OUTCOMES_AT_ONCE).into(),
        ],
        |row| {
            Ok(Outcome {
                age: (row.timestamp(0)?, row.int(2)?),
                platform: row.text(3)?,
                output: row.sha256_opt(4)?,
            })
        },
    )
}

/// That a platform of a job ceased to be reproducible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The build that shows it.
    pub build: Build,
    /// A build of the same input with another output; none when it was removed.
    pub other: Option<Build>,
    /// When it was known: as the later of the two ended.
    pub at: Timestamp,
}

/// When platforms ceased to be reproducible, the last time first: of one job, on one platform, where
/// given; `count` at most.
pub fn ceased(
    tx: &mut Tx<'_>,
    job_id: Option<i64>,
    platform: Option<&str>,
    count: u32,
) -> Result<Vec<Event>> {
    macro_rules! select_ceased {
        ($job:literal) => {
            concat!(
                "SELECT c.at_d, c.at_ps, c.build FROM own.ceased c
                 WHERE ",
                $job,
                " AND (c.platform = $2 OR $2 IS NULL)
                  AND EXISTS (SELECT 1 FROM build b WHERE b.id = c.build AND b.job = c.job)
                  ORDER BY c.at_d DESC, c.at_ps DESC, c.build DESC LIMIT $3"
            )
        };
    }
    let sql = match job_id {
        Some(_) => select_ceased!("c.job = $1"),
        None => select_ceased!("$1 IS NULL"),
    };
    let found = tx.query_list(
        sql,
        &[job_id.into(), platform.into(), i64::from(count).into()],
        |row| Ok((row.timestamp(0)?, row.int(2)?)),
    )?;
    let mut events = Vec::with_capacity(found.len());
    for (at, build) in found {
        if let Some(build) = builds::by_id(tx, build)? {
            let other = other_output(tx, &build)?;
            events.push(Event { build, other, at });
        }
    }
    Ok(events)
}

/// The first build of the same input with another output.
fn other_output(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Build>> {
    let (Some(input_id), Some(main)) = (&build.input_id, &build.main_binary) else {
        return Ok(None);
    };
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.input_id = $1 AND m.sha256 <> $2 ORDER BY b.id LIMIT 1"
        ),
        &[input_id.into(), (&main.sha256).into()],
        Build::from_row,
    )
}
