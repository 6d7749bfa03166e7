//! The one connection that writes, for one thread at a time, and how long others wait for it.
//!
//! Threads of this process wait for each other as long as it takes: each has the connection for
//! some milliseconds. While another process has locked the database all of them wait together, and
//! none longer than if it were alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, ffi};

use super::sqlite::BUSY_TIMEOUT;
use crate::{Error, Result};

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    state: Mutex<State>,
    back: Condvar,
}

#[derive(Debug)]
struct State {
    /// None: somebody has it.
    connection: Option<Connection>,
    /// Since when another process is seen to have locked the database.
    locked_since: Option<Instant>,
}

impl State {
    /// How much longer one who came at `came` waits; none: for as long as it takes.
    fn left(&self, came: Instant, wait_max: Duration) -> Option<Duration> {
        let since = self.locked_since?.max(came);
        Some(wait_max.saturating_sub(since.elapsed()))
    }
}

impl Writer {
    pub(crate) fn new(connection: Connection) -> Writer {
        Writer {
            state: Mutex::new(State {
                connection: Some(connection),
                locked_since: None,
            }),
            back: Condvar::new(),
        }
    }

    /// The connection, for as long as what is given back lives. Fails as busy when another process
    /// keeps those who have it from writing for `wait_max`.
    pub(crate) fn take(&self, wait_max: Duration) -> Result<Held<'_>> {
        let came = Instant::now();
        let mut state = self.state();
        loop {
            if let Some(connection) = state.connection.take() {
                return Ok(Held {
                    writer: self,
                    connection: Some(connection),
                    came,
                    wait_max,
                });
            }
            state = match state.left(came, wait_max) {
                None => self
                    .back
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Err(busy()),
                Some(left) => {
                    let waited = self.back.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// For how long another process has been seen to keep us from writing; none: it does not. Tries
    /// to, unless somebody has the connection.
    pub(crate) fn locked_for(&self) -> Result<Option<Duration>> {
        let connection = self.state().connection.take();
        if connection.is_some() {
            let held = Held {
                writer: self,
                connection,
                came: Instant::now(),
                wait_max: Duration::ZERO,
            };
            match held.begin() {
                Err(Error::Database(error)) if is_busy(&error) => {}
                begun => begun?.rollback()?,
            }
        }
        let since = self.state().locked_since;
        Ok(since.map(|since| since.elapsed()))
    }

    /// Closes the connection, unless somebody has it.
    pub(crate) fn close(&self) {
        drop(self.state().connection.take());
    }

    /// A panic elsewhere leaves the connection usable: SQLite rolled its transaction back.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection, in the hands of one thread; given back however its use ends.
#[derive(Debug)]
pub(crate) struct Held<'w> {
    writer: &'w Writer,
    connection: Option<Connection>,
    came: Instant,
    wait_max: Duration,
}

impl Held<'_> {
    pub(crate) fn connection(&self) -> &Connection {
        let Some(connection) = &self.connection else {
            // OK because it is taken only when this is dropped.
            unreachable!("who holds it has it");
        };
        connection
    }

    /// Begins to write. Another process that has locked the database is waited for, for what is
    /// left of the time that those who wait have together.
    pub(crate) fn begin(&self) -> Result<Transaction<'_>> {
        let connection = self.connection();
        let begin = |wait: Duration| {
            connection.busy_timeout(wait)?;
            let begun = Transaction::new_unchecked(connection, TransactionBehavior::Immediate);
            connection.busy_timeout(BUSY_TIMEOUT)?;
            begun
        };
        let begun = match begin(Duration::ZERO) {
            Err(error) if is_busy(&error) => begin(self.wait_for_others()),
            begun => begun,
        };
        if begun.is_ok() {
            self.writer.state().locked_since = None;
        }
        Ok(begun?)
    }

    /// Lets all who wait know that another process has locked the database; how long this one waits
    /// for that to end.
    fn wait_for_others(&self) -> Duration {
        let mut state = self.writer.state();
        state.locked_since.get_or_insert_with(Instant::now);
        self.writer.back.notify_all();
        let left = state.left(self.came, self.wait_max);
        left.unwrap_or(self.wait_max)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.writer.state().connection = self.connection.take();
        self.writer.back.notify_one();
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn busy() -> Error {
    let busy = ffi::Error::new(ffi::SQLITE_BUSY);
    Error::Database(rusqlite::Error::SqliteFailure(busy, None))
}
