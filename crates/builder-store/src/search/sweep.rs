//! Taking out of the index what no build has any more, in short turns.

use super::{SWITCH_PATH, files, state};
use crate::db::{days, picoseconds};
use crate::store::give_way;
use crate::{Result, Store};

/// Rows that one turn looks at.
const ROWS_A_TURN: i64 = 500;

/// Takes out switches and files that no build has any more.
pub(crate) fn sweep(store: &Store) -> Result<()> {
    sweep_switches(store)?;
    sweep_files(store)
}

fn sweep_switches(store: &Store) -> Result<()> {
    let mut after = 0;
    let mut gone = false;
    while let Some(last) = store.write(|tx| {
        let rows = tx.query(
            "SELECT s.id, EXISTS (SELECT 1 FROM build_artifact a
                                  WHERE a.sha256 = s.sha256 AND a.filepath = $3)
             FROM own.switch s WHERE s.id > $1 ORDER BY s.id LIMIT $2",
            &[after.into(), ROWS_A_TURN.into(), SWITCH_PATH.into()],
            |row| Ok((row.int(0)?, row.bool(1)?)),
        )?;
        for (switch, _) in rows.iter().filter(|(_, there)| !there) {
            tx.execute(
                "UPDATE own.switch SET state = $2 WHERE id = $1",
                &[(*switch).into(), state::GONE.into()],
            )?;
            gone = true;
        }
        Ok(rows.last().map(|(last, _)| *last))
    })? {
        after = last;
        give_way();
    }
    if !gone {
        return Ok(());
    }
    let mut after = 0;
    while let Some(last) = store.write(|tx| {
        let packages = tx.query(
            "SELECT id FROM own.package WHERE id > $1 ORDER BY id LIMIT $2",
            &[after.into(), ROWS_A_TURN.into()],
            |row| row.int(0),
        )?;
        for package in &packages {
            tx.execute(
                "DELETE FROM own.package_switch WHERE package = $1
                 AND switch IN (SELECT id FROM own.switch WHERE state = $2)",
                &[(*package).into(), state::GONE.into()],
            )?;
            tx.execute(
                "DELETE FROM own.package WHERE id = $1
                 AND NOT EXISTS (SELECT 1 FROM own.package_switch WHERE package = $1)",
                &[(*package).into()],
            )?;
        }
        Ok(packages.last().copied())
    })? {
        after = last;
        give_way();
    }
    store.write(|tx| {
        tx.execute(
            "DELETE FROM own.switch WHERE state = $1",
            &[state::GONE.into()],
        )?;
        tx.execute(
            "DELETE FROM own.package_name
             WHERE NOT EXISTS (SELECT 1 FROM own.package p WHERE p.name = package_name.id)",
            &[],
        )?;
        Ok(())
    })
}

fn sweep_files(store: &Store) -> Result<()> {
    let mut after = (0, 0);
    while let Some(last) = store.write(|tx| {
        let rows = tx.query(
            "SELECT fj.file, fj.job, f.path,
               EXISTS (SELECT 1 FROM build b JOIN build_artifact a ON a.build = b.id
                       WHERE b.id = fj.build AND b.job = fj.job AND a.filepath = f.path)
             FROM own.file_job fj JOIN own.file f ON f.id = fj.file
             WHERE (fj.file, fj.job) > ($1, $2) ORDER BY fj.file, fj.job LIMIT $3",
            &[after.0.into(), after.1.into(), ROWS_A_TURN.into()],
            |row| Ok((row.int(0)?, row.int(1)?, row.text(2)?, row.bool(3)?)),
        )?;
        for (file, job, path, _) in rows.iter().filter(|(_, _, _, there)| !there) {
            tx.execute(
                "DELETE FROM own.file_job WHERE file = $1 AND job = $2",
                &[(*file).into(), (*job).into()],
            )?;
            if let Some(build) = files::newest_with(tx, *job, path)? {
                tx.execute(
                    "INSERT INTO own.file_job (file, job, build, start_d, start_ps)
                     VALUES ($1, $2, $3, $4, $5)",
                    &[
                        (*file).into(),
                        (*job).into(),
                        build.id.into(),
                        days(&build.start),
                        picoseconds(&build.start),
                    ],
                )?;
                continue;
            }
            let elsewhere = tx.query_opt(
                "SELECT 1 FROM own.file_job WHERE file = $1 LIMIT 1",
                &[(*file).into()],
                |row| row.int(0),
            )?;
            if elsewhere.is_none() {
                for word in files::words(path) {
                    tx.execute(
                        "DELETE FROM own.file_word WHERE word = $1 AND file = $2",
                        &[word.as_str().into(), (*file).into()],
                    )?;
                }
                tx.execute("DELETE FROM own.file WHERE id = $1", &[(*file).into()])?;
            }
        }
        Ok(rows.last().map(|(file, job, _, _)| (*file, *job)))
    })? {
        after = last;
        give_way();
    }
    Ok(())
}
