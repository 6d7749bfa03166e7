//! What was computed from artifacts: kept by content, so that nothing is computed twice.

use crate::{Result, Sha256, Tx};

/// What is computed, and by which version of the computation. A new version ignores what the ones
/// before it kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Its name, such as `solo5`.
    pub name: &'static str,
    /// Counted up when the same artifact gives another value.
    pub version: i64,
}

/// What was computed from this artifact, if it was.
pub fn get(tx: &mut Tx<'_>, kind: Kind, sha256: Sha256) -> Result<Option<Vec<u8>>> {
    tx.query_opt(
        "SELECT value FROM own.derived WHERE kind = $1 AND version = $2 AND sha256 = $3",
        &[kind.name.into(), kind.version.into(), (&sha256).into()],
        |row| row.blob(0),
    )
}

/// Keeps what was computed from this artifact.
pub fn set(tx: &mut Tx<'_>, kind: Kind, sha256: Sha256, value: &[u8]) -> Result<()> {
    tx.execute(
        "INSERT INTO own.derived (kind, version, sha256, value) VALUES ($1, $2, $3, $4)
         ON CONFLICT (kind, version, sha256) DO UPDATE SET value = excluded.value",
        &[
            kind.name.into(),
            kind.version.into(),
            (&sha256).into(),
            value.into(),
        ],
    )?;
    Ok(())
}

/// What is kept is of these kinds and versions.
pub(crate) fn kinds(tx: &mut Tx<'_>) -> Result<Vec<(String, i64)>> {
    let mut all: Vec<(String, i64)> = Vec::new();
    loop {
        // Each time the first after the last one: a step in the index, not a scan of it.
        let (name, version) = all
            .last()
            .map_or(("", 0), |(name, version)| (name, *version));
        let next = tx.query_opt(
            "SELECT kind, version FROM own.derived WHERE (kind, version) > ($1, $2)
             ORDER BY kind, version LIMIT 1",
            &[name.into(), version.into()],
            |row| Ok((row.text(0)?, row.int(1)?)),
        )?;
        match next {
            Some(next) => all.push(next),
            None => return Ok(all),
        }
    }
}

/// Forgets what was computed from an artifact that is there no more.
pub(crate) fn forget(tx: &mut Tx<'_>, kinds: &[(String, i64)], sha256: Sha256) -> Result<()> {
    for (kind, version) in kinds {
        tx.execute(
            "DELETE FROM own.derived WHERE kind = $1 AND version = $2 AND sha256 = $3",
            &[kind.as_str().into(), (*version).into(), (&sha256).into()],
        )?;
    }
    Ok(())
}

/// Removes some of what is kept of a kind, other versions and whatever is more than `max`, but not what was computed
/// from `newest`. Which ones is left to chance: nothing says which are of use.
pub fn trim(tx: &mut Tx<'_>, kind: Kind, newest: Sha256, max: u32) -> Result<()> {
    tx.execute(
        "DELETE FROM own.derived WHERE kind = $1 AND version <> $2",
        &[kind.name.into(), kind.version.into()],
    )?;
    let count = tx.query_opt(
        "SELECT count(*) FROM own.derived WHERE kind = $1",
        &[kind.name.into()],
        |row| row.int(0),
    )?;
    let too_many = count.unwrap_or(0) - i64::from(max);
    if too_many > 0 {
        tx.execute(
            "DELETE FROM own.derived WHERE kind = $1 AND sha256 IN (
               SELECT sha256 FROM own.derived WHERE kind = $1 AND sha256 <> $2 ORDER BY random() LIMIT $3)",
            &[kind.name.into(), (&newest).into(), too_many.into()],
        )?;
    }
    Ok(())
}
