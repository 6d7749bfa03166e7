//! The table `job`: its statements.

use crate::{JobName, Result, Tx, latest};

/// A job with what its tags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its row.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Under which heading it is listed.
    pub section: Option<String>,
    /// What it is, in a line.
    pub synopsis: Option<String>,
}

/// The row of the job of this name.
pub fn id_by_name(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>> {
    tx.query_opt(
        "SELECT id FROM job WHERE name = $1",
        &[name.into()],
        |row| row.int(0),
    )
}

/// All jobs by name, whether they have tags and builds or not.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<Job>> {
    tx.query(
        "SELECT j.id, j.name, section.value, synopsis.value
         FROM job j
         LEFT JOIN job_tag section ON section.job = j.id
           AND section.tag = (SELECT id FROM tag WHERE tag = 'section')
         LEFT JOIN job_tag synopsis ON synopsis.job = j.id
           AND synopsis.tag = (SELECT id FROM tag WHERE tag = 'synopsis')
         ORDER BY j.name",
        &[],
        |row| {
            Ok(Job {
                id: row.int(0)?,
                name: row.text(1)?,
                section: row.text_opt(2)?,
                synopsis: row.text_opt(3)?,
            })
        },
    )
}

/// The platforms a job has builds on, by name.
pub fn platforms(tx: &mut Tx<'_>, job_id: i64) -> Result<Vec<String>> {
    let indexed = latest::indexed_build(tx)?;
    if latest::is_far_behind(tx, indexed)? {
        return tx.query(
            "SELECT DISTINCT platform FROM build WHERE job = $1 ORDER BY platform",
            &[job_id.into()],
            |row| row.text(0),
        );
    }
    // The plus keeps the search to the few builds that are not counted yet.
    tx.query(
        "SELECT t.platform FROM own.tally t WHERE t.job = $1 AND t.builds > 0 AND $2 > 0
         UNION SELECT b.platform FROM build b WHERE b.id > $2 AND +b.job = $1
         ORDER BY 1",
        &[job_id.into(), indexed.into()],
        |row| row.text(0),
    )
}

/// The row of the job of this name, added if it is new.
pub(crate) fn ensure(tx: &mut Tx<'_>, name: &JobName) -> Result<i64> {
    if let Some(id) = id_by_name(tx, name.as_str())? {
        return Ok(id);
    }
    tx.execute(
        "INSERT INTO job (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
        &[name.as_str().into()],
    )?;
    id_by_name(tx, name.as_str())?.ok_or_else(|| crate::Error::Row {
        what: "no row".to_owned(),
        expected: "the job that was just added",
    })
}
