//! The README's first command, as a newcomer runs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program;

/// A demo that is running.
struct Demo {
    process: Child,
    curl: String,
    said: Vec<String>,
}

impl Demo {
    fn start(directory: &Path) -> Demo {
        let mut process = Command::new(env!("CARGO_BIN_EXE_builder-web"))
            .args(["demo", "--port", "0", "--log-level", "warn"])
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let done = line.contains("Ctrl-C");
            said.push(line);
            if done {
                break;
            }
        }
        let curl = said.iter().find(|line| line.contains("curl --user"));
        let curl = curl.unwrap_or_else(|| panic!("{said:?}")).trim().to_owned();
        Demo {
            process,
            curl,
            said,
        }
    }

    /// Runs the printed line, and gives the status that was answered.
    fn upload(&self, directory: &Path) -> String {
        let line = format!("{} --silent --write-out %{{http_code}}", self.curl);
        let answered = program::succeeds(directory, "sh", &["-c", &line]);
        String::from_utf8(answered).unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.process.kill();
        let _: std::io::Result<std::process::ExitStatus> = self.process.wait();
    }
}

#[test]
fn the_demo_fills_its_directory_once_and_prints_a_line_that_uploads_one_more_build() {
    let home = tempfile::tempdir().unwrap();
    let first = Demo::start(home.path());
    assert!(
        first
            .said
            .iter()
            .any(|line| line.contains("took in 67 builds")),
        "{:?}",
        first.said
    );
    assert!(home.path().join("demo-data/builder.sqlite3").is_file());
    assert_eq!(first.upload(home.path()), "201");
    drop(first);
    let again = Demo::start(home.path());
    assert!(
        !again.said.iter().any(|line| line.contains("took in")),
        "{:?}",
        again.said
    );
    assert_eq!(again.upload(home.path()), "201");
    // A build is taken in once.
    assert!(again.upload(home.path()).ends_with("409"));
}
