//! How the table follows the builds: what an input has shown, and when a platform ceased to be
//! reproducible. Asks nothing for pages.

use std::collections::{BTreeMap, BTreeSet};

use super::judged::{FAILED, NOT_REPRODUCIBLE, ONCE, REPEATED, REPRODUCED};
use super::{Key, last, last_good};
use crate::db::{days, picoseconds};
use crate::latest::Added;
use crate::{Result, Sha256, Tx, outputs};

/// Has everything followed from the first build on.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute("DELETE FROM own.past", &[])?;
    tx.execute("DELETE FROM own.ceased", &[])?;
    Ok(())
}

/// Follows with the table one turn of [`crate::latest::catch_up`]: the builds after `indexed`, and their
/// inputs.
pub(crate) fn add(
    tx: &mut Tx<'_>,
    builds: &[Added],
    inputs: &BTreeSet<Sha256>,
    indexed: i64,
) -> Result<()> {
    for build in builds {
        tx.execute(
            "INSERT INTO own.past (job, platform, start_d, start_ps, build, judged)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (job, platform, start_d, start_ps, build) DO UPDATE
             SET judged = excluded.judged",
            &[
                build.job.into(),
                build.platform.as_str().into(),
                days(&build.start),
                picoseconds(&build.start),
                build.id.into(),
                if build.failed { FAILED } else { ONCE }.into(),
            ],
        )?;
    }
    let Some(last) = builds.last() else {
        return Ok(());
    };
    let mut ceased = Vec::new();
    for input_id in inputs {
        judge(tx, *input_id, indexed, last.id, &mut ceased)?;
    }
    // When all is known of what was before.
    for ceased in &ceased {
        note(tx, ceased)?;
    }
    Ok(())
}

/// A successful build of an input.
struct Given {
    id: i64,
    job: i64,
    platform: String,
    start_d: i64,
    start_ps: i64,
    finish_d: i64,
    finish_ps: i64,
    output: Sha256,
    uploader: i64,
}

impl Given {
    fn key(&self) -> Key {
        (self.start_d, self.start_ps, self.id)
    }
}

/// An input that was built on a platform of a job and gave several outputs.
struct Ceased {
    input_id: Sha256,
    job: i64,
    platform: String,
    /// Of the builds there, the one that shows it.
    build: i64,
    /// When that was known: as the build ended that shows it.
    at: (i64, i64),
    /// The oldest of the builds there.
    oldest: Key,
}

/// Keeps what an input has shown with the builds of it up to row `last`, those after row `indexed`
/// being new. What it had shown before is not looked at again, unless that is another thing now.
fn judge(
    tx: &mut Tx<'_>,
    input_id: Sha256,
    indexed: i64,
    last: i64,
    ceased: &mut Vec<Ceased>,
) -> Result<()> {
    let known = tx.query_opt(
        "SELECT p.judged, m.sha256, b.user
         FROM build b CROSS JOIN build_artifact m ON m.id = b.main_binary
         CROSS JOIN own.past p ON p.job = b.job AND p.platform = b.platform AND p.start_d = b.start_d
           AND p.start_ps = b.start_ps AND p.build = b.id
         WHERE b.input_id = $1 AND b.id <= $2 LIMIT 1",
        &[(&input_id).into(), indexed.into()],
        |row| Ok((row.int(0)?, row.sha256(1)?, row.int(2)?)),
    )?;
    let known = known.filter(|(judged, ..)| *judged > ONCE);
    let from = known.map_or(0, |_| indexed);
    let mut given = of_input(tx, input_id, from, last)?;
    let mut outputs: BTreeMap<Sha256, u64> = BTreeMap::new();
    let mut uploaders: BTreeSet<i64> = BTreeSet::new();
    for build in &given {
        *outputs.entry(build.output).or_default() += 1;
        uploaders.insert(build.uploader);
    }
    let mut before: BTreeSet<Sha256> = BTreeSet::new();
    match known {
        // At least twice; where several uploaded it that is known, else it was this one alone.
        Some((_, output, uploader)) => {
            *outputs.entry(output).or_default() += 2;
            uploaders.insert(uploader);
        }
        None => {
            for (output, uploader) in removed_outputs(tx, input_id)? {
                before.insert(output);
                *outputs.entry(output).or_default() += 1;
                uploaders.insert(uploader);
            }
        }
    }
    let known = known.map(|(judged, ..)| judged);
    let judged = match (known, outputs.len()) {
        (Some(NOT_REPRODUCIBLE), _) | (_, 2..) => NOT_REPRODUCIBLE,
        _ if outputs.values().sum::<u64>() < 2 => ONCE,
        (Some(REPRODUCED), _) => REPRODUCED,
        _ if uploaders.len() > 1 => REPRODUCED,
        _ => REPEATED,
    };
    if known.is_some_and(|known| known != judged) {
        given = of_input(tx, input_id, 0, last)?;
    }
    for build in &given {
        tx.execute(
            "UPDATE own.past SET judged = $6
             WHERE job = $1 AND platform = $2 AND start_d = $3 AND start_ps = $4 AND build = $5
               AND judged <> $6",
            &[
                build.job.into(),
                build.platform.as_str().into(),
                build.start_d.into(),
                build.start_ps.into(),
                build.id.into(),
                judged.into(),
            ],
        )?;
    }
    if judged == NOT_REPRODUCIBLE {
        let known = known == Some(NOT_REPRODUCIBLE);
        ceased.extend(where_ceased(input_id, &given, known, before));
    }
    Ok(())
}

/// On which platforms of which jobs an input ceases to be reproducible with these builds, as they
/// came in; `known`: it had with those before them. `before`: what builds gave that are removed.
fn where_ceased(
    input_id: Sha256,
    given: &[Given],
    known: bool,
    mut before: BTreeSet<Sha256>,
) -> Vec<Ceased> {
    let shows = given.iter().position(|build| {
        before.insert(build.output);
        before.len() > 1
    });
    let shows = match known {
        true => 0,
        // Removed ones alone do.
        false => shows.unwrap_or(0),
    };
    let mut places: BTreeMap<(i64, &str), Vec<(usize, &Given)>> = BTreeMap::new();
    for (at, build) in given.iter().enumerate() {
        let place = (build.job, build.platform.as_str());
        places.entry(place).or_default().push((at, build));
    }
    let ceased = places.into_iter().filter_map(|((job, platform), builds)| {
        let newest_before = builds.iter().rev().find(|(at, _)| *at <= shows);
        let (build, shown_by) = match (newest_before, builds.first()) {
            (Some((_, build)), _) => (*build, given.get(shows)?),
            (None, Some((_, first))) => (*first, *first),
            (None, None) => return None,
        };
        Some(Ceased {
            input_id,
            job,
            platform: platform.to_owned(),
            build: build.id,
            at: (shown_by.finish_d, shown_by.finish_ps),
            oldest: builds.iter().map(|(_, build)| build.key()).min()?,
        })
    });
    ceased.collect()
}

/// Notes that a platform ceased to be reproducible, unless it was not before.
fn note(tx: &mut Tx<'_>, ceased: &Ceased) -> Result<()> {
    let (job, platform) = (ceased.job, ceased.platform.as_str());
    let good = last_good(tx, job, platform, Some(ceased.oldest))?;
    let bad = last(tx, job, platform, NOT_REPRODUCIBLE, Some(ceased.oldest))?;
    if bad > good {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO own.ceased (job, platform, input_id, build, at_d, at_ps)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (job, platform, input_id) DO NOTHING",
        &[
            job.into(),
            platform.into(),
            (&ceased.input_id).into(),
            ceased.build.into(),
            ceased.at.0.into(),
            ceased.at.1.into(),
        ],
    )?;
    Ok(())
}

/// The successful builds of an input after row `from`, up to row `last`, as they came in.
fn of_input(tx: &mut Tx<'_>, input_id: Sha256, from: i64, last: i64) -> Result<Vec<Given>> {
    tx.query_list(
        "SELECT b.id, b.job, b.platform, b.start_d, b.start_ps, b.finish_d, b.finish_ps, m.sha256,
           b.user
         FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.input_id = $1 AND b.id > $2 AND b.id <= $3 ORDER BY b.id",
        &[(&input_id).into(), from.into(), last.into()],
        |row| {
            Ok(Given {
                id: row.int(0)?,
                job: row.int(1)?,
                platform: row.text(2)?,
                start_d: row.int(3)?,
                start_ps: row.int(4)?,
                finish_d: row.int(5)?,
                finish_ps: row.int(6)?,
                output: row.sha256(7)?,
                uploader: row.int(8)?,
            })
        },
    )
}

/// What builds of an input gave that were removed, and who uploaded them: what one has shown is not
/// undone by that.
fn removed_outputs(tx: &mut Tx<'_>, input_id: Sha256) -> Result<Vec<(Sha256, i64)>> {
    tx.query_list(
        r#"SELECT r.main_sha256,
             COALESCE((SELECT u.id FROM "user" u WHERE u.username = r.uploader), $2)
           FROM record.removed_build r
           WHERE r.input_id = $1 AND r.main_sha256 IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM build b WHERE b.uuid = r.uuid)"#,
        &[(&input_id).into(), outputs::GONE.into()],
        |row| Ok((row.sha256(0)?, row.int(1)?)),
    )
}
