//! How far a command is: a bar on a terminal, and nothing where nobody looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{say, say_error};

/// Between two pictures of a bar that does not move, so that it is seen to be alive.
const TICK: Duration = Duration::from_millis(250);

/// A bar on standard error, if that is a terminal. Gone when dropped.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of bytes.
    pub(super) fn of_bytes(what: &'static str, total: u64) -> Progress {
        Progress::new(
            what,
            total,
            "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        )
    }

    /// Of anything that is counted.
    pub(super) fn of_count(what: &'static str, total: u64) -> Progress {
        Progress::new(what, total, "{msg} {wide_bar} {pos} of {len}, {eta} left")
    }

    fn new(what: &'static str, total: u64, template: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        // OK because the templates above are ours: a wrong one shows in any test on a terminal.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Progress(bar)
    }

    /// Whether somebody sees it.
    pub(super) fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// So much more is done.
    pub(super) fn add(&self, more: u64) {
        self.0.inc(more);
    }

    /// So much is done.
    pub(super) fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Prints a line of the command's answer above the bar.
    pub(super) fn say(&self, text: &str) {
        self.0.suspend(|| say(text));
    }

    /// Prints a complaint above the bar.
    pub(super) fn say_error(&self, text: &str) {
        self.0.suspend(|| say_error(text));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
