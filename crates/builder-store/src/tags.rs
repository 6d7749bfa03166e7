//! The tables `tag` and `job_tag`: what is said of a job, taken from its newest upload that says it.

use crate::{Result, Tx};

/// What can be said of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Under which heading it is listed.
    Section,
    /// What it is, in a line.
    Synopsis,
    /// What it is, at length.
    Description,
    /// Its README, Markdown.
    Readme,
}

impl Tag {
    /// The name in the table. (`readme.md` is what existing databases have.)
    fn name(self) -> &'static str {
        match self {
            Tag::Section => "section",
            Tag::Synopsis => "synopsis",
            Tag::Description => "description",
            Tag::Readme => "readme.md",
        }
    }
}

/// What a tag says of a job.
pub fn value(tx: &mut Tx<'_>, job_id: i64, tag: Tag) -> Result<Option<String>> {
    tx.query_opt(
        "SELECT jt.value FROM job_tag jt JOIN tag t ON t.id = jt.tag
         WHERE t.tag = $1 AND jt.job = $2",
        &[tag.name().into(), job_id.into()],
        |row| row.text(0),
    )
}

/// Says it, in place of what was said before.
pub fn set(tx: &mut Tx<'_>, job_id: i64, tag: Tag, value: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO tag (tag) VALUES ($1) ON CONFLICT (tag) DO NOTHING",
        &[tag.name().into()],
    )?;
    tx.execute(
        "INSERT INTO job_tag (tag, value, job)
         VALUES ((SELECT id FROM tag WHERE tag = $1), $2, $3)
         ON CONFLICT (tag, job) DO UPDATE SET value = excluded.value",
        &[tag.name().into(), value.into(), job_id.into()],
    )?;
    Ok(())
}
