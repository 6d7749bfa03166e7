//! Which outputs an input gave, and how many builds each has: what verdicts rest on.
//!
//! Where an input has a few builds, as nearly all have, they are counted. Those of an input with
//! many, such as one that is built each hour to see whether it still reproduces, are in a table of
//! our own, as far as `own.progress` goes; what is after that is counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Result, Sha256, Tx, latest};

/// With more builds than these an input comes into the table: so many are counted in a tenth of a
/// millisecond.
const FEW: i64 = 32;

/// Outputs, each with how many builds of each uploader (a row of users) have it.
pub(crate) type Outputs = BTreeMap<Sha256, BTreeMap<i64, i64>>;

/// Stands for uploaders of removed builds who are no users any more.
pub(crate) const GONE: i64 = -1;

fn tallied(rows: Vec<(Sha256, i64, i64)>) -> Outputs {
    let mut outputs = Outputs::default();
    for (sha256, uploader, builds) in rows {
        outputs.entry(sha256).or_default().insert(uploader, builds);
    }
    outputs
}

/// The outputs of an input. What a build has shown is not undone by removing it.
pub(crate) fn of_input(tx: &mut Tx<'_>, input_id: Sha256) -> Result<Outputs> {
    let mut outputs = in_table(tx, input_id)?;
    let indexed = match outputs.is_empty() {
        true => 0,
        false => latest::indexed_build(tx)?,
    };
    if indexed == 0 {
        return counted(tx, input_id, i64::MAX);
    }
    tx.for_each(
        "SELECT m.sha256, b.user FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.input_id = $1 AND b.id > $2",
        &[(&input_id).into(), indexed.into()],
        |row| {
            let uploaders = outputs.entry(row.sha256(0)?).or_default();
            *uploaders.entry(row.int(1)?).or_default() += 1;
            Ok(())
        },
    )?;
    Ok(outputs)
}

fn in_table(tx: &mut Tx<'_>, input_id: Sha256) -> Result<Outputs> {
    let rows = tx.query(
        "SELECT sha256, uploader, builds FROM own.output WHERE input_id = $1",
        &[(&input_id).into()],
        |row| Ok((row.sha256(0)?, row.int(1)?, row.int(2)?)),
    )?;
    Ok(tallied(rows))
}

/// Of builds up to this row, and of those that were removed.
fn counted(tx: &mut Tx<'_>, input_id: Sha256, last: i64) -> Result<Outputs> {
    let rows = tx.query(
        r#"SELECT o.sha256, o.uploader, COUNT(*) FROM (
           SELECT m.sha256 AS sha256, b.user AS uploader
           FROM build b JOIN build_artifact m ON m.id = b.main_binary
           WHERE b.input_id = $1 AND b.id <= $2
           UNION ALL
           SELECT r.main_sha256,
             COALESCE((SELECT u.id FROM "user" u WHERE u.username = r.uploader), $3)
           FROM record.removed_build r
           WHERE r.input_id = $1 AND r.main_sha256 IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM build b WHERE b.uuid = r.uuid)
         ) o GROUP BY o.sha256, o.uploader"#,
        &[(&input_id).into(), last.into(), GONE.into()],
        |row| Ok((row.sha256(0)?, row.int(1)?, row.int(2)?)),
    )?;
    Ok(tallied(rows))
}

/// The outputs of the builds of one turn of [`latest::catch_up`], by their inputs.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    outputs: BTreeMap<Sha256, Outputs>,
    again: BTreeSet<Sha256>,
}

impl Turn {
    /// `again`: the build was removed, is back, and is counted already.
    pub(crate) fn take(&mut self, input_id: Sha256, output: Sha256, uploader: i64, again: bool) {
        let outputs = self.outputs.entry(input_id).or_default();
        let uploaders = outputs.entry(output).or_default();
        *uploaders.entry(uploader).or_default() += 1;
        if again {
            self.again.insert(input_id);
        }
    }
}

/// Follows with the table a turn that ends with the build of this row.
pub(crate) fn add(tx: &mut Tx<'_>, turn: &Turn, last: i64) -> Result<()> {
    for (input_id, outputs) in &turn.outputs {
        if turn.again.contains(input_id) {
            tx.execute(
                "DELETE FROM own.output WHERE input_id = $1",
                &[input_id.into()],
            )?;
        }
        if !in_table(tx, *input_id)?.is_empty() {
            put(tx, *input_id, outputs)?;
        } else if has_many(tx, *input_id)? {
            let outputs = counted(tx, *input_id, last)?;
            put(tx, *input_id, &outputs)?;
        }
    }
    Ok(())
}

fn has_many(tx: &mut Tx<'_>, input_id: Sha256) -> Result<bool> {
    let many = tx.query_opt(
        "SELECT 1 FROM build WHERE input_id = $1 LIMIT 1 OFFSET $2",
        &[(&input_id).into(), FEW.into()],
        |row| row.int(0),
    )?;
    Ok(many.is_some())
}

fn put(tx: &mut Tx<'_>, input_id: Sha256, outputs: &Outputs) -> Result<()> {
    for (output, uploaders) in outputs {
        for (uploader, builds) in uploaders {
            tx.execute(
                "INSERT INTO own.output (input_id, sha256, uploader, builds)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (input_id, sha256, uploader) DO UPDATE
                 SET builds = builds + excluded.builds",
                &[
                    (&input_id).into(),
                    output.into(),
                    (*uploader).into(),
                    (*builds).into(),
                ],
            )?;
        }
    }
    Ok(())
}

/// Has everything counted from the first build on.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute("DELETE FROM own.output", &[])?;
    Ok(())
}
