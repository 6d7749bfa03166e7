//! The table `record.pin`: builds that are never vacuumed.

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::db::{days, picoseconds};
use crate::{Result, Tx};

/// A build that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The build.
    pub uuid: Uuid,
    /// The name of its job.
    pub job: String,
    /// What it ran on.
    pub platform: String,
    /// When it started.
    pub start: Timestamp,
    /// Why it is pinned; empty if nobody said.
    pub note: String,
    /// When it was pinned.
    pub pinned: Timestamp,
}

/// Pins a build; one that is pinned already gets the new note.
pub fn add(tx: &mut Tx<'_>, uuid: Uuid, note: &str, now: &Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO record.pin (uuid, note, pinned_d, pinned_ps) VALUES ($1, $2, $3, $4)
         ON CONFLICT (uuid) DO UPDATE SET note = excluded.note",
        &[
            uuid.to_string().as_str().into(),
            note.into(),
            days(now),
            picoseconds(now),
        ],
    )?;
    Ok(())
}

/// Unpins a build; whether it was pinned.
pub fn remove(tx: &mut Tx<'_>, uuid: Uuid) -> Result<bool> {
    let removed = tx.execute(
        "DELETE FROM record.pin WHERE uuid = $1",
        &[uuid.to_string().as_str().into()],
    )?;
    Ok(removed > 0)
}

/// Why a build is pinned and since when, if it is.
pub fn of_build(tx: &mut Tx<'_>, uuid: Uuid) -> Result<Option<(String, Timestamp)>> {
    tx.query_opt(
        "SELECT note, pinned_d, pinned_ps FROM record.pin WHERE uuid = $1",
        &[uuid.to_string().as_str().into()],
        |row| Ok((row.text(0)?, row.timestamp(1)?)),
    )
}

/// Whether a build is pinned.
pub fn is_pinned(tx: &mut Tx<'_>, uuid: Uuid) -> Result<bool> {
    let found = tx.query_opt(
        "SELECT 1 FROM record.pin WHERE uuid = $1",
        &[uuid.to_string().as_str().into()],
        |row| row.int(0),
    )?;
    Ok(found.is_some())
}

/// All pinned builds that are there, by job, newest first.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<Pin>> {
    tx.query(
        "SELECT b.uuid, j.name, b.platform, b.start_d, b.start_ps, p.note, p.pinned_d, p.pinned_ps
         FROM record.pin p JOIN build b ON b.uuid = p.uuid JOIN job j ON j.id = b.job
         ORDER BY j.name, b.start_d DESC, b.start_ps DESC, b.id DESC",
        &[],
        |row| {
            Ok(Pin {
                uuid: row.uuid(0)?,
                job: row.text(1)?,
                platform: row.text(2)?,
                start: row.timestamp(3)?,
                note: row.text(5)?,
                pinned: row.timestamp(6)?,
            })
        },
    )
}
