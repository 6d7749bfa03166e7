//! What is said on standard error: the log, and what commands complain of. Where that is the journal of
//! systemd, each line begins with its priority (sd-daemon(3)), so that `journalctl -p err` has what went
//! wrong.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::{LogArgs, Refused};
use crate::unseen;

/// What is logged when nothing is said.
const DEFAULT: &str = "info";

/// Begins the log.
pub(super) fn start(log: &LogArgs) -> anyhow::Result<()> {
    let filter = log.log_level.as_deref().unwrap_or(DEFAULT);
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Refused(format!("--log-level {filter:?}: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(Log);
    if log.log_json {
        builder.json().init();
    } else {
        builder.with_ansi(io::stderr().is_terminal()).init();
    }
    Ok(())
}

/// What a command complains of.
pub(super) fn say_error(text: &str) {
    say_at(Level::ERROR, text);
}

/// What a command says beside its answer.
pub(super) fn say_note(text: &str) {
    say_at(Level::INFO, text);
}

fn say_at(level: Level, text: &str) {
    let line = format!("{}\n", unseen::lines(text));
    let _: io::Result<()> = Said(level).write_all(line.as_bytes());
}

/// Standard error, for the log.
struct Log;

impl MakeWriter<'_> for Log {
    type Writer = Said;

    fn make_writer(&self) -> Said {
        Said(Level::INFO)
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> Said {
        Said(*metadata.level())
    }
}

/// Something of a level on its way to standard error.
struct Said(Level);

impl Write for Said {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        // Colours are the formatter's own; of what it was given, it leaves nothing but what is not seen.
        let shown = match std::str::from_utf8(text) {
            Ok(text) => unseen::shown(text),
            Err(_) => String::from_utf8_lossy(text),
        };
        match is_journal() {
            true => io::stderr().write_all(&with_priority(self.0, shown.as_bytes()))?,
            false => io::stderr().write_all(shown.as_bytes())?,
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Each line with its priority, as syslog(3) numbers them.
fn with_priority(level: Level, text: &[u8]) -> Vec<u8> {
    let priority: &[u8] = match level {
        Level::ERROR => b"<3>",
        Level::WARN => b"<4>",
        Level::INFO => b"<6>",
        Level::DEBUG | Level::TRACE => b"<7>",
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| [priority, line].concat()).collect()
}

/// Whether standard error is the stream to the journal that systemd names, and not one that somebody
/// put in its place since (systemd.exec(5)).
fn is_journal() -> bool {
    static IS_JOURNAL: OnceLock<bool> = OnceLock::new();
    *IS_JOURNAL.get_or_init(|| {
        let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let ours = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        let ours = ours.and_then(|file| file.metadata());
        ours.is_ok_and(|ours| named == format!("{}:{}", ours.dev(), ours.ino()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_priority() {
        let text = with_priority(Level::ERROR, b"one\ntwo\n");
        assert_eq!(text, b"<3>one\n<3>two\n");
        assert_eq!(with_priority(Level::TRACE, b"x"), b"<7>x");
    }
}
