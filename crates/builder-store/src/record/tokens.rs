//! The tables `record.token` and `record.token_job`: what programs log in with. Of a token itself
//! only the digest is kept; who has the file cannot log in with it.
//!
//! One that was seen expired stays so, whatever the clock says later: it is then noted as revoked at
//! the very time of its expiry, which to any version is worth nothing. Nobody who revokes one hits
//! that picosecond.

use builder_exec::Timestamp;

use crate::db::{Row, Value, days, picoseconds};
use crate::{Result, Sha256, Tx};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Adding builds.
    Upload,
    /// Reading what only operators read: metrics and the audit record at the public address.
    Admin,
    /// Something that a newer builder-web knows, or nonsense: to this one it is worth nothing.
    Unknown,
}

/// A token, without itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its row.
    pub id: i64,
    /// What the operator calls it.
    pub name: String,
    /// The name of the user it stands for.
    pub user: String,
    /// What it is for.
    pub scope: Scope,
    /// The jobs it may add builds to; empty: all that the user may.
    pub jobs: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is worth nothing.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Whether it was seen expired: then it is, though the clock may have been put back.
    pub was_expired: bool,
    /// The last day that it let somebody in, as days since 1970; none: never, or not since that is
    /// kept.
    pub used_day: Option<i64>,
}

/// What is told of a token when it is added.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// What the operator calls it.
    pub name: &'a str,
    /// The name of the user it stands for.
    pub user: &'a str,
    /// The digest of the token.
    pub sha256: Sha256,
    /// What it is for.
    pub scope: Scope,
    /// The jobs it may add builds to; empty: all that the user may.
    pub jobs: &'a [String],
    /// From when on it is worth nothing.
    pub expires: Option<Timestamp>,
}

impl Scope {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Upload => "upload",
            Scope::Admin => "admin",
            Scope::Unknown => "unknown",
        }
    }
}

impl Token {
    /// Whether it is worth something.
    pub fn is_good(&self, now: &Timestamp) -> bool {
        self.scope != Scope::Unknown
            && self.revoked.is_none()
            && !self.was_expired
            && self.expires.is_none_or(|expires| *now < expires)
    }

    /// Whether it lets its user add builds to a job, if the user may.
    pub fn allows(&self, job: &str) -> bool {
        self.scope == Scope::Upload
            && (self.jobs.is_empty() || self.jobs.iter().any(|allowed| allowed == job))
    }

    fn from_row(row: &Row<'_>) -> Result<Token> {
        let time = |column: usize| -> Result<Option<Timestamp>> {
            match row.text_opt(column)? {
                Some(_) => row.timestamp(column).map(Some),
                None => Ok(None),
            }
        };
        let (expires, revoked) = (time(6)?, time(8)?);
        let was_expired = revoked.is_some() && revoked == expires;
        Ok(Token {
            id: row.int(0)?,
            name: row.text(1)?,
            user: row.text(2)?,
            scope: match row.text(3)?.as_str() {
                "upload" => Scope::Upload,
                "admin" => Scope::Admin,
                _ => Scope::Unknown,
            },
            jobs: Vec::new(),
            created: row.timestamp(4)?,
            expires,
            revoked: revoked.filter(|_| !was_expired),
            was_expired,
            used_day: row.int_opt(10)?,
        })
    }

    fn with_jobs(mut self, tx: &mut Tx<'_>) -> Result<Token> {
        self.jobs = tx.query(
            "SELECT job FROM record.token_job WHERE token = $1 ORDER BY job",
            &[self.id.into()],
            |row| row.text(0),
        )?;
        Ok(self)
    }
}

/// Adds a token; whether its name was free.
pub fn add(tx: &mut Tx<'_>, token: &NewToken<'_>, now: &Timestamp) -> Result<bool> {
    let added = tx.execute(
        "INSERT INTO record.token (name, username, sha256, scope, created_d, created_ps, expires_d,
           expires_ps)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING",
        &[
            token.name.into(),
            token.user.into(),
            (&token.sha256).into(),
            token.scope.name().into(),
            days(now),
            picoseconds(now),
            token.expires.as_ref().map_or(Value::Null, days),
            token.expires.as_ref().map_or(Value::Null, picoseconds),
        ],
    )?;
    if added == 0 {
        return Ok(false);
    }
    for job in token.jobs {
        tx.execute(
            "INSERT INTO record.token_job (token, job)
             SELECT id, $1 FROM record.token WHERE name = $2
             ON CONFLICT (token, job) DO NOTHING",
            &[job.as_str().into(), token.name.into()],
        )?;
    }
    Ok(true)
}

/// The token of this digest, good or not.
pub fn by_digest(tx: &mut Tx<'_>, sha256: &Sha256) -> Result<Option<Token>> {
    let found = tx.query_opt(
        "SELECT id, name, username, scope, created_d, created_ps, expires_d, expires_ps, revoked_d,
           revoked_ps, used_d
         FROM record.token WHERE sha256 = $1",
        &[sha256.into()],
        Token::from_row,
    )?;
    found.map(|token| token.with_jobs(tx)).transpose()
}

/// The token of this row, good or not.
pub fn by_id(tx: &mut Tx<'_>, id: i64) -> Result<Option<Token>> {
    let found = tx.query_opt(
        "SELECT id, name, username, scope, created_d, created_ps, expires_d, expires_ps, revoked_d,
           revoked_ps, used_d
         FROM record.token WHERE id = $1",
        &[id.into()],
        Token::from_row,
    )?;
    found.map(|token| token.with_jobs(tx)).transpose()
}

/// All tokens, those that are worth nothing any more too, by name.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<Token>> {
    let tokens = tx.query(
        "SELECT id, name, username, scope, created_d, created_ps, expires_d, expires_ps, revoked_d,
           revoked_ps, used_d
         FROM record.token ORDER BY name",
        &[],
        Token::from_row,
    )?;
    let with_jobs = tokens.into_iter().map(|token| token.with_jobs(tx));
    with_jobs.collect()
}

/// Makes a token worth nothing; whether there is one of this name that was not revoked before.
pub fn revoke(tx: &mut Tx<'_>, name: &str, now: &Timestamp) -> Result<bool> {
    let revoked = tx.execute(
        "UPDATE record.token SET revoked_d = $1, revoked_ps = $2
         WHERE name = $3
           AND (revoked_d IS NULL OR revoked_d = expires_d AND revoked_ps = expires_ps)",
        &[days(now), picoseconds(now), name.into()],
    )?;
    Ok(revoked > 0)
}

/// Makes all tokens of a user worth nothing; the names of those that were not revoked before. Tokens
/// are of whoever has the name, so none may be left to the next one who is given it.
pub fn revoke_all_of(tx: &mut Tx<'_>, user: &str, now: &Timestamp) -> Result<Vec<String>> {
    let names = tx.query(
        "SELECT name FROM record.token WHERE username = $1 AND revoked_d IS NULL ORDER BY name",
        &[user.into()],
        |row| row.text(0),
    )?;
    for name in &names {
        revoke(tx, name, now)?;
    }
    Ok(names)
}

/// Notes the day that a token let somebody in.
pub fn note_use(tx: &mut Tx<'_>, token: &Token, now: &Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE record.token SET used_d = $1 WHERE id = $2 AND (used_d IS NULL OR used_d < $1)",
        &[days(now), token.id.into()],
    )?;
    Ok(())
}

/// Whether there is a token that has expired and of which that is not noted.
pub fn any_expired(tx: &mut Tx<'_>, now: &Timestamp) -> Result<bool> {
    let found = tx.query_opt(
        "SELECT 1 FROM record.token WHERE revoked_d IS NULL
           AND (expires_d < $1 OR expires_d = $1 AND expires_ps <= $2) LIMIT 1",
        &[days(now), picoseconds(now)],
        |row| row.int(0),
    )?;
    Ok(found.is_some())
}

/// Notes all that have expired, so that they stay so.
pub fn note_expired(tx: &mut Tx<'_>, now: &Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE record.token SET revoked_d = expires_d, revoked_ps = expires_ps
         WHERE revoked_d IS NULL AND (expires_d < $1 OR expires_d = $1 AND expires_ps <= $2)",
        &[days(now), picoseconds(now)],
    )?;
    Ok(())
}
