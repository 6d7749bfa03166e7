//! The table `user`: its row and statements. What is in a password hash is not known here.

use crate::{Result, Tx, access};

/// A user who may upload.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its row.
    pub id: i64,
    /// The name to log in with.
    pub name: String,
    /// The password's scrypt hash.
    pub password: PasswordHash,
    /// May upload only to jobs on the user's access list.
    pub restricted: bool,
}

/// A scrypt hash with the parameters it was made with.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// The derived key, 32 bytes.
    pub hash: Vec<u8>,
    /// What the password was salted with.
    pub salt: Vec<u8>,
    /// scrypt's N, a power of two.
    pub scrypt_n: i64,
    /// scrypt's r.
    pub scrypt_r: i64,
    /// scrypt's p.
    pub scrypt_p: i64,
}

/// What [`add`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The user is new.
    Added,
    /// There is a user of that name, left as it is.
    Exists,
}

// A hash is no secret to print into a log.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl User {
    /// Whether neither a password nor a token lets the user in, until there is a password again.
    pub fn is_disabled(&self) -> bool {
        self.password.hash.is_empty()
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("restricted", &self.restricted)
            .finish_non_exhaustive()
    }
}

/// The names of all users, by their rows.
pub fn names_by_row(tx: &mut Tx<'_>) -> Result<std::collections::HashMap<i64, String>> {
    let names = tx.query(r#"SELECT id, username FROM "user""#, &[], |row| {
        Ok((row.int(0)?, row.text(1)?))
    })?;
    Ok(names.into_iter().collect())
}

/// The user of this name.
pub fn by_name(tx: &mut Tx<'_>, name: &str) -> Result<Option<User>> {
    tx.query_opt(
        r#"SELECT id, username, password_hash, password_salt, scrypt_n, scrypt_r, scrypt_p,
             restricted
           FROM "user" WHERE username = $1"#,
        &[name.into()],
        |row| {
            Ok(User {
                id: row.int(0)?,
                name: row.text(1)?,
                password: PasswordHash {
                    hash: row.blob(2)?,
                    salt: row.blob(3)?,
                    scrypt_n: row.int(4)?,
                    scrypt_r: row.int(5)?,
                    scrypt_p: row.int(6)?,
                },
                restricted: row.bool(7)?,
            })
        },
    )
}

/// The name of the user with this row.
pub fn name_by_id(tx: &mut Tx<'_>, id: i64) -> Result<Option<String>> {
    tx.query_opt(
        r#"SELECT username FROM "user" WHERE id = $1"#,
        &[id.into()],
        |row| row.text(0),
    )
}

/// The password of some user, always the same for the same number, if there is any: what to check
/// for one who does not exist, so that it takes as long.
pub fn some_password(tx: &mut Tx<'_>, number: u64) -> Result<Option<PasswordHash>> {
    let count = tx.query_opt(r#"SELECT COUNT(*) FROM "user""#, &[], |row| row.size(0))?;
    let Some(offset) = number.checked_rem(count.unwrap_or(0)) else {
        return Ok(None);
    };
    let offset = i64::try_from(offset).unwrap_or(0);
    tx.query_opt(
        r#"SELECT password_hash, password_salt, scrypt_n, scrypt_r, scrypt_p
           FROM "user" ORDER BY id LIMIT 1 OFFSET $1"#,
        &[offset.into()],
        |row| {
            Ok(PasswordHash {
                hash: row.blob(0)?,
                salt: row.blob(1)?,
                scrypt_n: row.int(2)?,
                scrypt_r: row.int(3)?,
                scrypt_p: row.int(4)?,
            })
        },
    )
}

/// Adds a user; one of that name is left as it is.
pub fn add(
    tx: &mut Tx<'_>,
    name: &str,
    password: &PasswordHash,
    restricted: bool,
) -> Result<Added> {
    let added = tx.execute(
        r#"INSERT INTO "user" (username, password_hash, password_salt, scrypt_n, scrypt_r,
             scrypt_p, restricted)
           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (username) DO NOTHING"#,
        &[
            name.into(),
            password.hash.as_slice().into(),
            password.salt.as_slice().into(),
            password.scrypt_n.into(),
            password.scrypt_r.into(),
            password.scrypt_p.into(),
            restricted.into(),
        ],
    )?;
    Ok(if added == 0 {
        Added::Exists
    } else {
        Added::Added
    })
}

/// Gives a user another password, and says anew whether access is restricted; whether there is one.
pub fn update(
    tx: &mut Tx<'_>,
    name: &str,
    password: &PasswordHash,
    restricted: bool,
) -> Result<bool> {
    let updated = tx.execute(
        r#"UPDATE "user" SET password_hash = $2, password_salt = $3, scrypt_n = $4, scrypt_r = $5,
             scrypt_p = $6, restricted = $7
           WHERE username = $1"#,
        &[
            name.into(),
            password.hash.as_slice().into(),
            password.salt.as_slice().into(),
            password.scrypt_n.into(),
            password.scrypt_r.into(),
            password.scrypt_p.into(),
            restricted.into(),
        ],
    )?;
    Ok(updated > 0)
}

/// Takes a user's password and access list away, as the OCaml server does: no password has the empty
/// hash. The user's builds keep their uploader. Whether there is such a user. Tokens are to be revoked
/// before, as with [`remove`]: another password would make them good again.
pub fn disable(tx: &mut Tx<'_>, name: &str) -> Result<bool> {
    let Some(user) = by_name(tx, name)? else {
        return Ok(false);
    };
    access::clear(tx, user.id)?;
    let none = PasswordHash {
        hash: Vec::new(),
        salt: Vec::new(),
        ..user.password
    };
    update(tx, name, &none, true)
}

/// What [`remove`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The user is gone, with the access list.
    Removed,
    /// There is no such user.
    Unknown,
    /// The user has uploaded this many builds, which name their uploader: nothing was changed.
    HasBuilds(u64),
}

/// What [`remove`] would do.
pub fn removal(tx: &mut Tx<'_>, name: &str) -> Result<Removed> {
    let Some(user) = by_name(tx, name)? else {
        return Ok(Removed::Unknown);
    };
    let builds = tx.query_opt(
        r#"SELECT count(*) FROM build WHERE "user" = $1"#,
        &[user.id.into()],
        |row| row.size(0),
    )?;
    Ok(match builds {
        Some(count @ 1..) => Removed::HasBuilds(count),
        _ => Removed::Removed,
    })
}

/// Removes a user who has uploaded no build that is there. The user's tokens are to be revoked
/// before: they are in another database, and those that are left are of the next user of the name.
pub fn remove(tx: &mut Tx<'_>, name: &str) -> Result<Removed> {
    let removal = removal(tx, name)?;
    if removal == Removed::Removed
        && let Some(user) = by_name(tx, name)?
    {
        access::clear(tx, user.id)?;
        tx.execute(r#"DELETE FROM "user" WHERE id = $1"#, &[user.id.into()])?;
    }
    Ok(removal)
}

/// A user as a list shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name to log in with.
    pub name: String,
    /// May upload only to jobs on the access list.
    pub restricted: bool,
    /// Cannot log in any more.
    pub disabled: bool,
    /// How many jobs are on the access list.
    pub jobs: u64,
    /// How many builds that are there the user has uploaded.
    pub builds: u64,
}

/// All users, by name.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<Listed>> {
    tx.query(
        r#"SELECT u.username, u.restricted, u.password_hash,
             (SELECT count(*) FROM access_list a WHERE a."user" = u.id),
             (SELECT count(*) FROM build b WHERE b."user" = u.id)
           FROM "user" u ORDER BY u.username"#,
        &[],
        |row| {
            Ok(Listed {
                name: row.text(0)?,
                restricted: row.bool(1)?,
                disabled: row.blob(2)?.is_empty(),
                jobs: row.size(3)?,
                builds: row.size(4)?,
            })
        },
    )
}
