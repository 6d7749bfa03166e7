//! The table `access_list`: which jobs a restricted user may upload to.

use crate::{Result, Tx};

/// Whether the job is on the user's list. A job that does not exist yet is on nobody's.
pub fn allows(tx: &mut Tx<'_>, user_id: i64, job: &str) -> Result<bool> {
    let found = tx.query_opt(
        r#"SELECT 1 FROM access_list a JOIN job j ON j.id = a.job
           WHERE a."user" = $1 AND j.name = $2"#,
        &[user_id.into(), job.into()],
        |row| row.int(0),
    )?;
    Ok(found.is_some())
}

/// Puts a job on a user's list, where it may be already.
pub fn add(tx: &mut Tx<'_>, user_id: i64, job_id: i64) -> Result<()> {
    tx.execute(
        r#"INSERT INTO access_list ("user", job) VALUES ($1, $2)
           ON CONFLICT ("user", job) DO NOTHING"#,
        &[user_id.into(), job_id.into()],
    )?;
    Ok(())
}

/// Takes a job off a user's list; whether it was on it.
pub fn remove(tx: &mut Tx<'_>, user_id: i64, job_id: i64) -> Result<bool> {
    let removed = tx.execute(
        r#"DELETE FROM access_list WHERE "user" = $1 AND job = $2"#,
        &[user_id.into(), job_id.into()],
    )?;
    Ok(removed > 0)
}

/// The jobs on a user's list, by their rows.
pub(crate) fn jobs_of(tx: &mut Tx<'_>, user_id: i64) -> Result<Vec<i64>> {
    tx.query(
        r#"SELECT job FROM access_list WHERE "user" = $1 ORDER BY job"#,
        &[user_id.into()],
        |row| row.int(0),
    )
}

/// Takes all jobs off a user's list.
pub(crate) fn clear(tx: &mut Tx<'_>, user_id: i64) -> Result<()> {
    tx.execute(
        r#"DELETE FROM access_list WHERE "user" = $1"#,
        &[user_id.into()],
    )?;
    Ok(())
}

/// Who may upload to what: a user and a job on the user's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The name of the user.
    pub user: String,
    /// The name of the job.
    pub job: String,
}

/// All access lists, or that of one user, by user and job.
pub fn all(tx: &mut Tx<'_>, user: Option<&str>) -> Result<Vec<Access>> {
    tx.query(
        r#"SELECT u.username, j.name FROM access_list a
           JOIN "user" u ON u.id = a."user" JOIN job j ON j.id = a.job
           WHERE u.username = $1 OR $1 IS NULL
           ORDER BY u.username, j.name"#,
        &[user.into()],
        |row| {
            Ok(Access {
                user: row.text(0)?,
                job: row.text(1)?,
            })
        },
    )
}
