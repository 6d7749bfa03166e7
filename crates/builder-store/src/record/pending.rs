//! The table `record.pending`: entries of the audit record whose acts are in `builder.sqlite3`. COMMIT
//! is atomic in each file alone, and is done in the record first: so an interruption leaves an entry
//! here without its act, never an act without its entry. Whoever writes next sees which of them took
//! place: those are entered, the others forgotten. To write is to have locked all files, so nobody is
//! between the two meanwhile.

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::db::{Value, days, picoseconds};
use crate::record::audit::{Actor, Event, short};
use crate::{Result, Sha256, Tx, access, users};

/// By what is seen that an act took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness<'a> {
    /// The build is there.
    Build(Uuid),
    /// The build is not there any more.
    NoBuild(Uuid),
    /// The user of this name is as after the act: there or not, with this password and access list.
    User(&'a str),
}

const BUILD: &str = "build";
const NO_BUILD: &str = "no build";
const USER: &str = "user";

/// Adds an entry of an act that this transaction has done to `builder.sqlite3`.
pub fn add(
    tx: &mut Tx<'_>,
    actor: &Actor,
    event: &Event<'_>,
    witness: Witness<'_>,
    now: &Timestamp,
) -> Result<()> {
    let [who, subject, detail] = [&actor.who, event.subject, event.detail].map(short);
    let (witness, name, state) = match witness {
        Witness::Build(uuid) => (BUILD, uuid.to_string(), None),
        Witness::NoBuild(uuid) => (NO_BUILD, uuid.to_string(), None),
        Witness::User(name) => (USER, name.to_owned(), state_of_user(tx, name)?),
    };
    tx.execute(
        "INSERT INTO record.pending (at_d, at_ps, who, address, request, action, subject, detail,
           witness, witness_name, witness_state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            days(now),
            picoseconds(now),
            who.into(),
            actor.address.as_str().into(),
            actor.request.as_str().into(),
            event.action.into(),
            subject.into(),
            detail.into(),
            witness.into(),
            name.as_str().into(),
            state.as_ref().map_or(Value::Null, Into::into),
        ],
    )?;
    Ok(())
}

/// Whether there are any.
pub(crate) fn is_any(tx: &mut Tx<'_>) -> Result<bool> {
    let found = tx.query_opt("SELECT 1 FROM record.pending LIMIT 1", &[], |row| {
        row.int(0)
    })?;
    Ok(found.is_some())
}

/// Enters what took place, and forgets the rest. As the only writer, before anything else is done.
pub(crate) fn settle(tx: &mut Tx<'_>) -> Result<()> {
    let users = tx.query(
        "SELECT id, witness_name, witness_state FROM record.pending WHERE witness = $1",
        &[USER.into()],
        |row| Ok((row.int(0)?, row.text(1)?, row.sha256_opt(2)?)),
    )?;
    let mut gone = tx.query(
        "SELECT id FROM record.pending
         WHERE witness = $1 AND NOT EXISTS (SELECT 1 FROM build b WHERE b.uuid = witness_name)
            OR witness = $2 AND EXISTS (SELECT 1 FROM build b WHERE b.uuid = witness_name)",
        &[BUILD.into(), NO_BUILD.into()],
        |row| row.int(0),
    )?;
    for (id, name, state) in users {
        if state_of_user(tx, &name)? != state {
            gone.push(id);
        }
    }
    for id in gone {
        let what = tx.query_opt(
            "SELECT action, subject, who FROM record.pending WHERE id = $1",
            &[id.into()],
            |row| Ok([row.text(0)?, row.text(1)?, row.text(2)?]),
        )?;
        let [action, subject, who] = what.unwrap_or_default();
        tracing::warn!(
            "{action} {subject:?} by {who:?} was interrupted and did not take place: it is not in the \
             audit record"
        );
        tx.execute("DELETE FROM record.pending WHERE id = $1", &[id.into()])?;
    }
    // What a newer builder-web looks at cannot be seen here.
    tx.execute(
        "INSERT INTO record.audit (at_d, at_ps, who, address, request, action, subject, outcome,
           detail)
         SELECT at_d, at_ps, who, address, request, action, subject, 'done',
           CASE WHEN witness IN ($1, $2, $3) THEN detail
             ELSE detail || ' (interrupted: it may have taken place)' END
         FROM record.pending ORDER BY id",
        &[BUILD.into(), NO_BUILD.into(), USER.into()],
    )?;
    tx.execute("DELETE FROM record.pending", &[])?;
    Ok(())
}

/// All that acts change of a user, as a digest; none: there is no such user.
fn state_of_user(tx: &mut Tx<'_>, name: &str) -> Result<Option<Sha256>> {
    let Some(user) = users::by_name(tx, name)? else {
        return Ok(None);
    };
    let password = &user.password;
    let mut state = Vec::new();
    for part in [&password.hash, &password.salt] {
        state.extend((part.len() as u64).to_le_bytes());
        state.extend(part);
    }
    let numbers = [password.scrypt_n, password.scrypt_r, password.scrypt_p];
    let jobs = access::jobs_of(tx, user.id)?;
    for number in [&numbers[..], &[i64::from(user.restricted)], &jobs].concat() {
        state.extend(number.to_le_bytes());
    }
    Ok(Some(Sha256::of(&state)))
}
