//! The table `record.hook_run`: builds whose upload hooks have not all ended. A row is written
//! before the build is, and dropped when its hooks have ended; so what is found at a start was
//! interrupted, or is of a build that did not come to be.

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::db::{days, picoseconds};
use crate::{Error, Result, Tx, builds};

/// Notes that the hooks of a build that is about to be kept are to be run. Gives
/// [`Error::BuildExists`] where it is there already: its own hooks were asked for with it.
pub fn ask(tx: &mut Tx<'_>, uuid: Uuid, now: &Timestamp) -> Result<()> {
    if builds::exists(tx, uuid)? {
        return Err(Error::BuildExists { uuid });
    }
    tx.execute(
        "INSERT INTO record.hook_run (uuid, asked_d, asked_ps, tries) VALUES ($1, $2, $3, 0)
         ON CONFLICT (uuid) DO NOTHING",
        &[
            uuid.to_string().as_str().into(),
            days(now),
            picoseconds(now),
        ],
    )?;
    Ok(())
}

/// Notes that the hooks of a build have ended, or that there is no such build.
pub fn ended(tx: &mut Tx<'_>, uuid: Uuid) -> Result<()> {
    tx.execute(
        "DELETE FROM record.hook_run WHERE uuid = $1",
        &[uuid.to_string().as_str().into()],
    )?;
    Ok(())
}

/// How many builds there are whose hooks have not all ended.
pub fn count(tx: &mut Tx<'_>) -> Result<u64> {
    let counts = tx.query("SELECT COUNT(*) FROM record.hook_run", &[], |row| {
        row.size(0)
    })?;
    Ok(counts.first().copied().unwrap_or_default())
}

/// The builds whose hooks were interrupted, those asked for first first, and how often each was
/// tried again before; one more is noted of each. What names no build is dropped, and the log says
/// so.
pub fn try_again(tx: &mut Tx<'_>) -> Result<Vec<(Uuid, u64)>> {
    let mut all = Vec::new();
    let mut senseless = Vec::new();
    tx.for_each(
        "SELECT uuid, tries FROM record.hook_run ORDER BY asked_d, asked_ps, uuid",
        &[],
        |row| {
            match (row.uuid(0), row.size(1)) {
                (Ok(uuid), Ok(tries)) => all.push((uuid, tries)),
                (Err(error @ Error::Row { .. }), _) | (_, Err(error @ Error::Row { .. })) => {
                    tracing::error!("the hooks of a build are not run again: {error}");
                    senseless.push(row.blob(0)?);
                }
                (Err(error), _) | (_, Err(error)) => return Err(error),
            }
            Ok(())
        },
    )?;
    for name in senseless {
        tx.execute(
            "DELETE FROM record.hook_run WHERE CAST(uuid AS BLOB) = $1",
            &[name.as_slice().into()],
        )?;
    }
    tx.execute("UPDATE record.hook_run SET tries = tries + 1", &[])?;
    Ok(all)
}
