//! A machine on which things fail when a test says so: the real program runs, and `shim.c` stands
//! between it and the C library.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::cli::{add_user, migrate};
use crate::program::{BUILDER_WEB, Process, succeeds};
use crate::server::BUILDER;

/// Kinds of calls, as `enum kind` of the shim has them.
pub(crate) mod kind {
    pub(crate) const OPEN_TO_READ: i64 = 1;
    pub(crate) const OPEN_TO_WRITE: i64 = 2;
    pub(crate) const MAKE_DIRECTORY: i64 = 4;
    pub(crate) const WRITE: i64 = 8;
    pub(crate) const SYNC: i64 = 16;
    pub(crate) const RENAME: i64 = 32;
    pub(crate) const REMOVE: i64 = 64;
    pub(crate) const READ: i64 = 128;
    pub(crate) const RESIZE: i64 = 256;
    /// A file becomes longer, which takes room on the disk.
    pub(crate) const GROW: i64 = 512;
}

/// Errors of Linux.
pub(crate) mod errno {
    /// No error: the program is killed before it does the call.
    pub(crate) const KILLED: i64 = -1;
    pub(crate) const NONE: i64 = 0;
    pub(crate) const EIO: i64 = 5;
    pub(crate) const EMFILE: i64 = 24;
    pub(crate) const ENOSPC: i64 = 28;
    pub(crate) const EROFS: i64 = 30;
}

/// What fails: calls of these kinds, with this error, this many from the first one on. With the
/// error [`errno::NONE`], calls that read or write do some of what they are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kinds: i64,
    pub(crate) error: i64,
    pub(crate) count: i64,
}

/// Numbers of the shim, as its `enum control` has them.
#[derive(Clone, Copy)]
enum Control {
    Kinds,
    First,
    Count,
    Error,
    Seen,
    Failed,
    Clock,
    Logging,
    Impatient,
    Forgetful,
    Forgotten,
    End,
}

/// A data directory with [`BUILDER`], on such a machine.
pub(crate) struct Machine {
    holder: TempDir,
    control: File,
    datadir: PathBuf,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let holder = tempfile::tempdir().unwrap();
        let root = holder.path().canonicalize().unwrap();
        let source = root.join("shim.c");
        fs::write(&source, include_str!("shim.c")).unwrap();
        let arguments = ["-shared", "-fPIC", "-O1", "-o", "shim.so", "shim.c", "-ldl"];
        succeeds(&root, "cc", &arguments);
        let numbers = vec![0; 8 * Control::End as usize];
        fs::write(root.join("control"), numbers).unwrap();
        let control = File::options()
            .read(true)
            .write(true)
            .open(root.join("control"))
            .unwrap();
        let datadir = root.join("data");
        fs::create_dir(&datadir).unwrap();
        migrate(datadir.to_str().unwrap());
        add_user(datadir.to_str().unwrap(), BUILDER.0, BUILDER.1);
        Machine {
            holder,
            control,
            datadir,
        }
    }

    pub(crate) fn datadir(&self) -> &Path {
        &self.datadir
    }

    fn environment(&self) -> [(&'static str, PathBuf); 4] {
        let at = |name: &str| self.holder.path().join(name);
        [
            ("LD_PRELOAD", at("shim.so")),
            ("FAULTS_CONTROL", at("control")),
            ("FAULTS_BELOW", self.datadir.clone()),
            ("FAULTS_LOG", at("log")),
        ]
    }

    /// The server, on this machine.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Process {
        let environment = self.environment();
        Process::serve_in(
            &environment
                .each_ref()
                .map(|(name, value)| (*name, value.as_os_str())),
            &self.datadir,
            Path::new("/nonexistent"),
            arguments,
        )
    }

    /// A command, on this machine, which is to succeed.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let output = self.try_run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// A command, on this machine; if it asks, it is given a password.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> Output {
        let password = self.holder.path().join("password");
        fs::write(&password, "password\n").unwrap();
        Command::new(BUILDER_WEB)
            .args(arguments)
            .stdin(File::open(&password).unwrap())
            .env_clear()
            .envs(self.environment())
            .output()
            .unwrap()
    }

    fn set(&self, control: Control, number: i64) {
        self.control
            .write_all_at(&number.to_ne_bytes(), 8 * control as u64)
            .unwrap();
    }

    fn get(&self, control: Control) -> i64 {
        let mut bytes = [0; 8];
        self.control
            .read_exact_at(&mut bytes, 8 * control as u64)
            .unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// From now on, lets the `first` call that `fault` is about fail, counted from one.
    pub(crate) fn fail(&self, fault: Fault, first: i64) {
        self.mend();
        self.set(Control::Error, fault.error);
        self.set(Control::Count, fault.count);
        self.set(Control::First, first);
        self.set(Control::Kinds, fault.kinds);
    }

    /// Nothing fails any more; how many calls did.
    pub(crate) fn mend(&self) -> i64 {
        self.set(Control::Kinds, 0);
        self.set(Control::First, 0);
        self.set(Control::Seen, 0);
        let failed = self.get(Control::Failed);
        self.set(Control::Failed, 0);
        failed
    }

    /// Sets the clock of the day this many seconds off.
    pub(crate) fn turn_clock(&self, seconds: i64) {
        self.set(Control::Clock, seconds);
    }

    /// Whether waiting for a locked database takes no time.
    pub(crate) fn be_impatient(&self, impatient: bool) {
        self.set(Control::Impatient, i64::from(impatient));
    }

    /// From now on the disk has forgotten a bit of this byte of a file: it is read as another one,
    /// and nothing else of the file changes, none of its times.
    pub(crate) fn forget(&self, file: &Path, at: usize) {
        use std::os::unix::fs::MetadataExt;
        let inode = fs::metadata(file).unwrap().ino();
        self.set(Control::Forgotten, i64::try_from(at).unwrap());
        self.set(Control::Forgetful, inode.cast_signed());
    }

    /// It remembers again.
    pub(crate) fn remember(&self) {
        self.set(Control::Forgetful, 0);
    }

    /// The calls that succeeded while `work` was done, in their order: what, and with which paths
    /// below the data directory.
    pub(crate) fn order_of(&self, work: impl FnOnce()) -> Vec<Call> {
        let log = self.holder.path().join("log");
        fs::write(&log, "").unwrap();
        self.set(Control::Logging, 1);
        work();
        self.set(Control::Logging, 0);
        let text = fs::read_to_string(&log).unwrap();
        let below = |path: &str| match Path::new(path).strip_prefix(&self.datadir) {
            Ok(path) => path.to_str().unwrap().to_owned(),
            Err(_) => path.to_owned(),
        };
        text.lines()
            .map(|line| {
                let mut parts = line.split('\t');
                let mut next = || parts.next().unwrap();
                Call {
                    what: next().to_owned(),
                    path: below(next()),
                    to: below(next()),
                }
            })
            .collect()
    }
}

/// A call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) what: String,
    pub(crate) path: String,
    pub(crate) to: String,
}
