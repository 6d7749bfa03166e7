//! Following the database with the index, a bounded number of builds at a time.

use std::collections::HashMap;

use builder_exec::Timestamp;

use super::{SWITCH_PATH, files, state};
use crate::db::{Row, Value};
use crate::latest::CaughtUp;
use crate::{Result, Sha256, Tx};

/// Builds that one turn takes on in the background: some tens of milliseconds under the writer's
/// lock.
pub(crate) const BUILDS_A_TURN: i64 = 1_000;
/// Builds that an upload takes on: its own, and a few that others added meanwhile. While there are
/// more, the background is at work on them.
pub(crate) const BUILDS_A_TURN_OF_AN_UPLOAD: i64 = 50;

/// A switch whose packages are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// The artifact.
    pub sha256: Sha256,
    /// Its size in bytes; none when the artifact is in no row any more.
    pub size: Option<u64>,
}

/// Up to which build the index goes; 0 when that build is not there any more.
pub(super) fn indexed_build(tx: &mut Tx<'_>) -> Result<i64> {
    let indexed = tx.query_opt(
        "SELECT p.indexed_build FROM own.search_progress p
         JOIN build b ON b.id = p.indexed_build AND b.uuid = p.indexed_uuid",
        &[],
        |row| row.int(0),
    )?;
    Ok(indexed.unwrap_or(0))
}

/// Forgets all that was indexed.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute(
        "UPDATE own.search_progress SET indexed_build = 0, indexed_uuid = ''",
        &[],
    )?;
    tx.execute("DELETE FROM own.switch", &[])?;
    tx.execute("DELETE FROM own.package_switch", &[])?;
    tx.execute("DELETE FROM own.package", &[])?;
    tx.execute("DELETE FROM own.package_name", &[])?;
    tx.execute("DELETE FROM own.file", &[])?;
    tx.execute("DELETE FROM own.file_word", &[])?;
    tx.execute("DELETE FROM own.file_job", &[])?;
    Ok(())
}

/// Follows the database, up to `builds_max` builds.
pub(crate) fn catch_up(tx: &mut Tx<'_>, builds_max: i64) -> Result<CaughtUp> {
    let indexed = indexed_build(tx)?;
    let mut last = None;
    let mut builds = 0;
    let mut newest: HashMap<(String, i64), files::Newest> = HashMap::new();
    let mut switches: Vec<Sha256> = Vec::new();
    tx.for_each(
        "SELECT b.id, b.job, b.start_d, b.start_ps, a.filepath, a.sha256
         FROM (SELECT id, job, start_d, start_ps FROM build
               WHERE id > $1 ORDER BY id LIMIT $2) b
         LEFT JOIN build_artifact a ON a.build = b.id
         ORDER BY b.id",
        &[indexed.into(), builds_max.into()],
        |row| {
            let id = row.int(0)?;
            // Also past one that makes no sense.
            if last != Some(id) {
                last = Some(id);
                builds += 1;
            }
            let Some(artifact) = row.or_left_out(Artifact::from_row(row))?.flatten() else {
                return Ok(());
            };
            // Builds that follow one another often share it.
            if artifact.path == SWITCH_PATH && switches.last() != Some(&artifact.sha256) {
                switches.push(artifact.sha256);
            }
            let this = files::Newest {
                start: artifact.start,
                build: id,
            };
            newest
                .entry((artifact.path, artifact.job))
                .and_modify(|known| *known = this.max(*known))
                .or_insert(this);
            Ok(())
        },
    )?;
    for sha256 in switches {
        tx.execute(
            "INSERT INTO own.switch (sha256, state, packages) VALUES ($1, $2, 0)
             ON CONFLICT (sha256) DO UPDATE SET state = excluded.state WHERE switch.state = $3",
            &[(&sha256).into(), state::UNREAD.into(), state::GONE.into()],
        )?;
    }
    for ((path, job), newest) in newest {
        files::add(tx, &path, job, newest)?;
    }
    if let Some(id) = last {
        tx.execute(
            "UPDATE own.search_progress SET indexed_build = $1,
               indexed_uuid = (SELECT b.uuid FROM build b WHERE b.id = $1)",
            &[id.into()],
        )?;
    }
    Ok(if builds == builds_max {
        CaughtUp::Partly
    } else {
        CaughtUp::Wholly
    })
}

/// An artifact of a build that is followed.
struct Artifact {
    job: i64,
    start: Timestamp,
    path: String,
    sha256: Sha256,
}

impl Artifact {
    /// None: the build has no artifacts.
    fn from_row(row: &Row<'_>) -> Result<Option<Artifact>> {
        let Some(path) = row.text_opt(4)? else {
            return Ok(None);
        };
        Ok(Some(Artifact {
            job: row.int(1)?,
            start: row.timestamp(2)?,
            path,
            sha256: row.sha256(5)?,
        }))
    }
}

/// Switches whose packages are to be told, the oldest first.
pub fn unread(tx: &mut Tx<'_>, count: u32) -> Result<Vec<Unread>> {
    tx.query(
        "SELECT s.sha256, (SELECT a.size FROM build_artifact a WHERE a.sha256 = s.sha256 LIMIT 1)
         FROM own.switch s WHERE s.state = $2 ORDER BY s.id LIMIT $1",
        &[i64::from(count).into(), state::UNREAD.into()],
        |row| {
            Ok(Unread {
                sha256: row.sha256(0)?,
                size: row.size_opt(1)?,
            })
        },
    )
}

/// Tells the packages of a switch: name and version of each. Nothing happens when the index has
/// not come to a build with this switch, or knows already.
pub fn set_packages<'p>(
    tx: &mut Tx<'_>,
    sha256: Sha256,
    packages: impl Iterator<Item = (&'p str, &'p str)>,
) -> Result<()> {
    let unread = tx.query_opt(
        "SELECT id FROM own.switch WHERE sha256 = $1 AND state <> $2",
        &[(&sha256).into(), state::READ.into()],
        |row| row.int(0),
    )?;
    let Some(switch) = unread else {
        return Ok(());
    };
    let mut count = 0_i64;
    for (name, version) in packages {
        let package = package_id(tx, name, version)?;
        tx.execute(
            "INSERT INTO own.package_switch (package, switch) VALUES ($1, $2)
             ON CONFLICT (package, switch) DO NOTHING",
            &[package.into(), switch.into()],
        )?;
        count += 1;
    }
    tx.execute(
        "UPDATE own.switch SET state = $2, packages = $3 WHERE id = $1",
        &[switch.into(), state::READ.into(), count.into()],
    )?;
    Ok(())
}

/// Notes that the packages of a switch cannot be told: it is damaged, or no switch.
pub fn set_unreadable(tx: &mut Tx<'_>, sha256: Sha256) -> Result<()> {
    tx.execute(
        "UPDATE own.switch SET state = $2 WHERE sha256 = $1 AND state = $3",
        &[
            (&sha256).into(),
            state::UNREADABLE.into(),
            state::UNREAD.into(),
        ],
    )?;
    Ok(())
}

fn package_id(tx: &mut Tx<'_>, name: &str, version: &str) -> Result<i64> {
    let name_id = id_of(
        tx,
        "SELECT id FROM own.package_name WHERE name = $1",
        "INSERT INTO own.package_name (name) VALUES ($1) RETURNING id",
        &[name.into()],
    )?;
    id_of(
        tx,
        "SELECT id FROM own.package WHERE name = $1 AND version = $2",
        "INSERT INTO own.package (name, version) VALUES ($1, $2) RETURNING id",
        &[name_id.into(), version.into()],
    )
}

/// The id of a row, which is added if it is not there.
fn id_of(
    tx: &mut Tx<'_>,
    find: &'static str,
    add: &'static str,
    params: &[Value<'_>],
) -> Result<i64> {
    match tx.query_opt(find, params, |row| row.int(0))? {
        Some(id) => Ok(id),
        None => added(tx, add, params),
    }
}

/// The id of a row that is added.
pub(super) fn added(tx: &mut Tx<'_>, add: &'static str, params: &[Value<'_>]) -> Result<i64> {
    tx.query_opt(add, params, |row| row.int(0))?
        .ok_or_else(|| crate::Error::Row {
            what: "no row".to_owned(),
            expected: "the row that was just added",
        })
}
