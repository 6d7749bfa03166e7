//! Programs that people have: curl, wget, and builder-web itself.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

/// Runs a program that is to be there, in a directory.
pub(crate) fn run<S: AsRef<OsStr>>(directory: &Path, program: &str, arguments: &[S]) -> Output {
    let mut command = Command::new(program);
    if program == "sqlite3" {
        // A server may be writing.
        command.args(["-cmd", ".timeout 20000"]);
    }
    command
        .args(arguments)
        .current_dir(directory)
        // Of the machine the test runs on: proxies and settings of its user are not wanted.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs the program {program}, which cannot be run: {error}")
        })
}

/// Runs it and expects it to succeed; what it printed.
pub(crate) fn succeeds<S: AsRef<OsStr>>(
    directory: &Path,
    program: &str,
    arguments: &[S],
) -> Vec<u8> {
    let output = run(directory, program, arguments);
    assert!(output.status.success(), "{program} failed: {output:?}");
    output.stdout
}

/// builder-web, serving.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
}

/// The program that is tested.
pub(crate) const BUILDER_WEB: &str = env!("CARGO_BIN_EXE_builder-web");

impl Process {
    /// Starts it on a data directory, at a free port, and waits until it serves.
    pub(crate) fn serve(datadir: &Path, arguments: &[&str]) -> Process {
        Process::serve_with(datadir, Path::new("/nonexistent"), arguments)
    }

    /// Starts it with a configuration directory too.
    pub(crate) fn serve_with(datadir: &Path, configdir: &Path, arguments: &[&str]) -> Process {
        Process::serve_in(&[], datadir, configdir, arguments)
    }

    /// Starts it with these variables in its environment, and no others.
    pub(crate) fn serve_in(
        environment: &[(&str, &OsStr)],
        datadir: &Path,
        configdir: &Path,
        arguments: &[&str],
    ) -> Process {
        let mut child = Command::new(BUILDER_WEB)
            .args(["-p", "0", "--metrics-address", "127.0.0.1:0", "-c"])
            .arg(configdir)
            .arg("-d")
            .arg(datadir)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let note = |line: &str, log: &Mutex<String>| {
            let mut log = log.lock().unwrap();
            log.push_str(line);
            log.push('\n');
        };
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("builder-web does not serve: {}", log.lock().unwrap());
            };
            note(&line, &log);
            if let Some((_, rest)) = line.split_once(" on http://") {
                let end = rest.find(|char: char| !(char.is_ascii_digit() || ".:".contains(char)));
                break rest[..end.unwrap_or(rest.len())].parse().unwrap();
            }
        };
        let more = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                note(&line, &more);
            }
        });
        Process {
            child,
            address,
            log,
        }
    }

    /// Where its metrics are.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        let log = self.log();
        let (_, rest) = log.split_once("metrics are at http://").unwrap();
        let (address, _) = rest.split_once('/').unwrap();
        address.parse().unwrap()
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
    }

    /// Ends it as a power failure would, but for what the system has not written yet.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
