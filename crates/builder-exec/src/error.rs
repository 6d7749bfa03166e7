//! Why a build could not be read, and at which byte.

use std::fmt;
use std::io;

/// Why a build could not be read, and at which byte.
#[derive(Debug)]
pub struct Error {
    /// Where in the input: the first byte of the value in question, or where the input ended.
    pub offset: u64,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong: one variant for each thing a caller would answer differently.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// The input ended before the build did: a broken connection, or a file that was cut off.
    #[error("the input ends inside {inside}")]
    Truncated {
        /// The part that is cut off.
        inside: String,
    },
    /// The build is larger than [`Limits`](crate::Limits) allows.
    #[error("{found} {what}, at most {limit} are accepted")]
    TooLarge {
        /// What there is too much of, in the plural: `bytes of script`.
        what: String,
        /// The limit.
        limit: u64,
        /// What was announced.
        found: u64,
    },
    /// The bytes are no build.
    #[error("expected {expected}, found {found}")]
    Malformed {
        /// What should be there.
        expected: String,
        /// What is there instead.
        found: String,
    },
    /// The input itself could not be read.
    #[error("cannot read the input")]
    Io(#[source] io::Error),
}

impl Error {
    /// The error inside an [`io::Error`] that came from [`Field`](crate::Field)'s `read`; any other is given back.
    ///
    /// Tells the two sides of a copy apart: `Ok` is trouble with the build, `Err` with where it was copied to.
    pub fn from_io(error: io::Error) -> Result<Error, io::Error> {
        error.downcast()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.offset, self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error.kind {
            ErrorKind::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            ErrorKind::TooLarge { .. } | ErrorKind::Malformed { .. } => io::ErrorKind::InvalidData,
            ErrorKind::Io(source) => source.kind(),
        };
        io::Error::new(kind, error)
    }
}
