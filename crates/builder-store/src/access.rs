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
