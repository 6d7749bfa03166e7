//! All that a hook has started, to be ended with it: what left its process group, too. It is found in
//! `/proc` (Linux): by descent, and, where what is between has ended, by a mark in the environment that
//! whatever it starts inherits. Elsewhere it is the process group alone. Knows nothing of builds.

use std::ffi::OsString;

use rustix::process::{Pid, Signal, kill_process_group};
use tracing::warn;
use uuid::Uuid;

/// The variable that marks what a hook has started.
const VARIABLE: &str = "BUILDER_WEB_HOOK";

/// What a hook hands on to all that it starts.
#[derive(Debug, Clone)]
pub(super) struct Mark(String);

impl Mark {
    /// One that no other run of a hook has.
    pub(super) fn new() -> Mark {
        Mark(Uuid::new_v4().to_string())
    }

    /// As a variable of the environment.
    pub(super) fn variable(&self) -> (&'static str, OsString) {
        (VARIABLE, OsString::from(&self.0))
    }

    /// Ends a hook, which is the first of its process group and was not waited for yet, with all that
    /// it has started. Blocks for a moment.
    pub(super) fn end(&self, hook: u32) {
        let Some(hook) = i32::try_from(hook).ok().and_then(Pid::from_raw) else {
            return;
        };
        #[cfg(target_os = "linux")]
        let found = proc::hold(hook, format!("{VARIABLE}={}", self.0).as_bytes());
        if let Err(error) = kill_process_group(hook, Signal::KILL) {
            warn!("a hook cannot be killed: {error}");
        }
        #[cfg(target_os = "linux")]
        proc::kill(&found);
    }
}

#[cfg(target_os = "linux")]
mod proc {
    use std::collections::{HashMap, HashSet};
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
    use tracing::warn;

    /// For how long processes are looked for that start others while they are ended.
    const TIME_MAX: Duration = Duration::from_secs(5);

    /// A process: its number may be another's later, not with the same start.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub(super) struct Process {
        pid: i32,
        /// In ticks since the machine started.
        start: u64,
    }

    struct Look {
        process: Process,
        parent: i32,
        has_ended: bool,
    }

    /// Finds all that a process has started, and stops each, so that it starts no other meanwhile.
    pub(super) fn hold(root: Pid, mark: &[u8]) -> Vec<Process> {
        let begin = Instant::now();
        let mut found = HashSet::new();
        loop {
            let new: Vec<Process> = of(root, mark)
                .into_iter()
                .filter(|process| !found.contains(process))
                .collect();
            if new.is_empty() || begin.elapsed() > TIME_MAX {
                return found.into_iter().collect();
            }
            for process in new {
                process.signal(Signal::STOP);
                found.insert(process);
            }
        }
    }

    /// Ends them, whether they are stopped or not.
    pub(super) fn kill(found: &[Process]) {
        for process in found {
            process.signal(Signal::KILL);
        }
    }

    /// The process itself, what descends from it, and what has the mark, without what has ended.
    fn of(root: Pid, mark: &[u8]) -> HashSet<Process> {
        let ourselves = i32::try_from(std::process::id()).unwrap_or_default();
        let all: Vec<Look> = pids().filter_map(look).collect();
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for look in &all {
            children
                .entry(look.parent)
                .or_default()
                .push(look.process.pid);
        }
        let mut theirs = HashSet::new();
        let marked = all.iter().filter(|look| is_marked(look.process.pid, mark));
        let mut todo: Vec<i32> = marked.map(|look| look.process.pid).collect();
        todo.push(root.as_raw_nonzero().get());
        while let Some(pid) = todo.pop() {
            // The first process has whoever lost its parent, and is nobody's descendant.
            if pid > 1 && pid != ourselves && theirs.insert(pid) {
                todo.extend(children.get(&pid).into_iter().flatten());
            }
        }
        all.into_iter()
            .filter(|look| !look.has_ended && theirs.contains(&look.process.pid))
            .map(|look| look.process)
            .collect()
    }

    fn pids() -> impl Iterator<Item = i32> {
        let entries = fs::read_dir("/proc").into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
    }

    /// None: it is gone.
    fn look(pid: i32) -> Option<Look> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses, and may hold any.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = str::from_utf8(&stat[end + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // The 22nd of all, of which these are the third and the fourth.
        let start = fields.nth(17)?.parse().ok()?;
        Some(Look {
            process: Process { pid, start },
            parent,
            has_ended: matches!(state, "Z" | "X" | "x"),
        })
    }

    /// Of processes of other users it cannot be told.
    fn is_marked(pid: i32, mark: &[u8]) -> bool {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|one| one == mark))
    }

    impl Process {
        fn signal(self, signal: Signal) {
            let Some(pid) = Pid::from_raw(self.pid) else {
                return;
            };
            // What is open stays this process, whoever has its number later; a system that has no
            // such thing, or lets us not have it, is asked by number.
            let open: Option<OwnedFd> = pidfd_open(pid, PidfdFlags::empty()).ok();
            if look(self.pid).is_none_or(|look| look.process != self) {
                return;
            }
            let sent = match &open {
                Some(open) => pidfd_send_signal(open, signal),
                None => kill_process(pid, signal),
            };
            match sent {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => warn!("what a hook has started cannot be killed: {error}"),
            }
        }
    }
}
