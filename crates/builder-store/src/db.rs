//! The database seam: the only place, with `db/`, where a driver is named.
//!
//! SQL is written once, with `$1` parameters, in the part of SQL that SQLite and PostgreSQL share.
//! A second database is a second variant of [`Tx`] and [`Row`], not a second set of statements.

pub(crate) mod own;
pub(crate) mod record;
pub(crate) mod sole;
pub(crate) mod sqlite;
pub(crate) mod writer;

use std::borrow::Cow;

use builder_exec::Timestamp;
use uuid::Uuid;

use crate::{Error, Result, Sha256};

/// One transaction: what it reads is of one moment, what it writes is kept whole or not at all.
#[derive(Debug)]
pub enum Tx<'c> {
    /// On SQLite.
    Sqlite(rusqlite::Transaction<'c>),
}

/// A parameter of a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Null,
    Int(i64),
    Bool(bool),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// A row of an answer; columns are counted from 0.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
}

/// What [`Tx::execute`] changed.
pub(crate) type RowsChanged = usize;

impl Tx<'_> {
    /// Runs a query and reads each row. `sql` is a literal: it is the key of the cache of prepared
    /// statements and never holds data.
    pub(crate) fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut from_row: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.for_each(sql, params, |row| {
            all.push(from_row(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// As [`Tx::query`], for lists that people look at: a row that makes no sense is left out, and
    /// the log says which.
    pub(crate) fn query_list<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut from_row: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.for_each(sql, params, |row| {
            all.extend(row.or_left_out(from_row(row))?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Runs a query and hands each row to `row`, none of them kept.
    pub(crate) fn for_each(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut row: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Tx::Sqlite(tx) => {
                let mut statement = tx.prepare_cached(sql)?;
                sqlite::bind(&mut statement, params)?;
                let mut rows = statement.raw_query();
                while let Some(found) = rows.next()? {
                    row(&Row::Sqlite(found))?;
                }
                Ok(())
            }
        }
    }

    /// The first row of a query, if there is one.
    pub(crate) fn query_opt<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        from_row: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        match self {
            Tx::Sqlite(tx) => {
                let mut statement = tx.prepare_cached(sql)?;
                sqlite::bind(&mut statement, params)?;
                let mut rows = statement.raw_query();
                match rows.next()? {
                    Some(row) => from_row(&Row::Sqlite(row)).map(Some),
                    None => Ok(None),
                }
            }
        }
    }

    /// Runs a statement that answers no rows.
    pub(crate) fn execute(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
    ) -> Result<RowsChanged> {
        match self {
            Tx::Sqlite(tx) => {
                let mut statement = tx.prepare_cached(sql)?;
                sqlite::bind(&mut statement, params)?;
                Ok(statement.raw_execute()?)
            }
        }
    }

    pub(crate) fn commit(self) -> Result<()> {
        match self {
            Tx::Sqlite(tx) => Ok(tx.commit()?),
        }
    }
}

impl Row<'_> {
    /// What was read from this row of a list, or none where it makes no sense: the log says which
    /// row of which id (its first column) that is.
    pub(crate) fn or_left_out<T>(&self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error @ Error::Row { .. }) => {
                let id = self.int(0).unwrap_or_default();
                tracing::error!("row {id} is left out of a list: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64> {
        match self {
            Row::Sqlite(row) => sqlite::value(row, column),
        }
    }

    pub(crate) fn int_opt(&self, column: usize) -> Result<Option<i64>> {
        match self {
            Row::Sqlite(row) => sqlite::value(row, column),
        }
    }

    pub(crate) fn bool(&self, column: usize) -> Result<bool> {
        match self {
            Row::Sqlite(row) => sqlite::value(row, column),
        }
    }

    /// Text; where the OCaml server stored bytes that are not UTF-8, they read as U+FFFD.
    pub(crate) fn text(&self, column: usize) -> Result<String> {
        self.text_opt(column)?.ok_or_else(|| Error::Row {
            what: "NULL".to_owned(),
            expected: "a text",
        })
    }

    pub(crate) fn text_opt(&self, column: usize) -> Result<Option<String>> {
        Ok(self
            .bytes(column)?
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(crate) fn blob(&self, column: usize) -> Result<Vec<u8>> {
        self.bytes(column)?
            .map(Cow::into_owned)
            .ok_or_else(|| Error::Row {
                what: "NULL".to_owned(),
                expected: "a blob",
            })
    }

    pub(crate) fn sha256(&self, column: usize) -> Result<Sha256> {
        self.sha256_opt(column)?.ok_or_else(|| Error::Row {
            what: "NULL".to_owned(),
            expected: "a SHA-256 of 32 bytes",
        })
    }

    pub(crate) fn sha256_opt(&self, column: usize) -> Result<Option<Sha256>> {
        let Some(bytes) = self.bytes(column)? else {
            return Ok(None);
        };
        match <[u8; 32]>::try_from(bytes.as_ref()) {
            Ok(bytes) => Ok(Some(Sha256::from_bytes(bytes))),
            Err(_) => Err(Error::Row {
                what: format!("a blob of {} bytes", bytes.len()),
                expected: "a SHA-256 of 32 bytes",
            }),
        }
    }

    pub(crate) fn uuid(&self, column: usize) -> Result<Uuid> {
        let text = self.text(column)?;
        Uuid::parse_str(&text).map_err(|_| Error::Row {
            what: format!("{text:?}"),
            expected: "a uuid",
        })
    }

    /// A size or count; the schema's integers are signed, ours are not.
    pub(crate) fn size(&self, column: usize) -> Result<u64> {
        let size = self.int(column)?;
        u64::try_from(size).map_err(|_| Error::Row {
            what: size.to_string(),
            expected: "a size in bytes",
        })
    }

    pub(crate) fn size_opt(&self, column: usize) -> Result<Option<u64>> {
        match self.bytes(column)? {
            Some(_) => self.size(column).map(Some),
            None => Ok(None),
        }
    }

    /// A time from two columns, days and picoseconds, as the schema keeps it.
    pub(crate) fn timestamp(&self, column: usize) -> Result<Timestamp> {
        let (days, picoseconds) = (self.int(column)?, self.int(column + 1)?);
        u64::try_from(picoseconds)
            .ok()
            .and_then(|picoseconds| Timestamp::new(days, picoseconds))
            .ok_or_else(|| Error::Row {
                what: format!("day {days}, picosecond {picoseconds}"),
                expected: "a time",
            })
    }

    fn bytes(&self, column: usize) -> Result<Option<Cow<'_, [u8]>>> {
        match self {
            Row::Sqlite(row) => sqlite::bytes(row, column),
        }
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::Blob(value)
    }
}

impl<'a> From<&'a Sha256> for Value<'a> {
    fn from(value: &'a Sha256) -> Self {
        Value::Blob(value.as_bytes())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// Days of a time, as the schema keeps it.
pub(crate) fn days(time: &Timestamp) -> Value<'static> {
    Value::Int(time.days())
}

/// Picoseconds of a time within its day, as the schema keeps it.
pub(crate) fn picoseconds(time: &Timestamp) -> Value<'static> {
    // OK because a day has 86_400_000_000_000_000 picoseconds, which an i64 holds.
    Value::Int(i64::try_from(time.picoseconds()).unwrap_or(i64::MAX))
}

/// Before what, and after what, uuids are that begin with `beginning` and come after `after`, as the
/// schema keeps them.
pub(crate) fn uuid_bounds(beginning: &str, after: Option<Uuid>) -> (String, String) {
    // '~' comes after all that is in a uuid.
    let end = format!("{beginning}~");
    (
        end,
        after.map_or_else(String::new, |after| after.to_string()),
    )
}
