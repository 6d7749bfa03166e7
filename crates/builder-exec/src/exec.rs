//! How the run of a build's script ended.

use std::fmt;

/// How the run of a build's script ended.
///
/// Numbers are kept as they were sent: the sender is an OCaml program, whose signals have negative numbers of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExecutionResult {
    /// The script ended with this exit code; only 0 is a success.
    Exited(i64),
    /// The script was killed by this signal.
    Signalled(i64),
    /// The script was stopped by this signal.
    Stopped(i64),
    /// The script never ran to an end, for the reason given: usually text, but any bytes are kept.
    Message(Vec<u8>),
}

impl fmt::Display for ExecutionResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecutionResult::Exited(code) => write!(f, "exited {code}"),
            ExecutionResult::Signalled(signal) => write!(f, "signalled {signal}"),
            ExecutionResult::Stopped(signal) => write!(f, "stopped {signal}"),
            ExecutionResult::Message(message) => {
                write!(f, "execution aborted: {}", String::from_utf8_lossy(message))
            }
        }
    }
}
