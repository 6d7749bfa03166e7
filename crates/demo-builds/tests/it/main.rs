//! What the invented builds are promised to show, found out from their exec files alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod elf;
mod files;
mod story;

use std::sync::OnceLock;

use builder_exec::{ExecutionResult, Limits, Part, Reader, Timestamp, Uuid};
use sha2::{Digest, Sha256};

/// A build as a server finds it in an exec file.
pub(crate) struct Decoded {
    pub(crate) job: String,
    pub(crate) platform: String,
    pub(crate) uploader: String,
    pub(crate) uuid: Uuid,
    pub(crate) script: String,
    /// Newest first, as sent.
    pub(crate) console: Vec<(i64, String)>,
    pub(crate) start: Timestamp,
    pub(crate) finish: Timestamp,
    pub(crate) result: ExecutionResult,
    pub(crate) artifacts: Vec<(String, Vec<u8>)>,
}

impl Decoded {
    pub(crate) fn artifact(&self, path: &str) -> Option<&[u8]> {
        let found = self.artifacts.iter().find(|(name, _)| name == path);
        found.map(|(_, content)| content.as_slice())
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.artifact(path).unwrap().to_vec()).unwrap()
    }

    /// Path and content of the single artifact below `bin/`.
    pub(crate) fn main_binary(&self) -> Option<(&str, &[u8])> {
        let mut binaries = self
            .artifacts
            .iter()
            .filter(|(path, _)| path.starts_with("bin/"));
        match (binaries.next(), binaries.next()) {
            (Some((path, content)), None) => Some((path, content)),
            _ => None,
        }
    }

    pub(crate) fn output(&self) -> Option<[u8; 32]> {
        self.main_binary()
            .map(|(_, content)| Sha256::digest(content).into())
    }

    pub(crate) fn input_id(&self) -> Option<[u8; 32]> {
        let mut hasher = Sha256::new();
        for path in ["opam-switch", "build-environment", "system-packages"] {
            hasher.update(Sha256::digest(self.artifact(path)?));
        }
        Some(hasher.finalize().into())
    }

    pub(crate) fn console_text(&self) -> String {
        let lines: Vec<&str> = self
            .console
            .iter()
            .rev()
            .map(|(_, line)| line.as_str())
            .collect();
        lines.join("\n")
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_civil(2026, 6, 1, 12, 0, 0).unwrap()
}

/// All builds, decoded once for all tests.
pub(crate) fn all() -> &'static [Decoded] {
    static ALL: OnceLock<Vec<Decoded>> = OnceLock::new();
    ALL.get_or_init(|| {
        demo_builds::builds(now())
            .map(|build| decode(&build))
            .collect()
    })
}

pub(crate) fn decode(build: &demo_builds::DemoBuild) -> Decoded {
    let exec = build.exec();
    let mut decoded = Decoded {
        job: String::new(),
        platform: String::new(),
        uploader: build.uploader().to_owned(),
        uuid: Uuid::nil(),
        script: String::new(),
        console: Vec::new(),
        start: now(),
        finish: now(),
        result: ExecutionResult::Stopped(0),
        artifacts: Vec::new(),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let mut reader = Reader::new(exec.as_slice(), Limits::default());
    loop {
        match reader.next_part().unwrap() {
            Part::JobName(name) => decoded.job = text(name),
            Part::Script(script) => decoded.script = text(script.read_to_vec().unwrap()),
            Part::InputFile { .. } => panic!("builders send no input files here"),
            Part::Platform(platform) => decoded.platform = text(platform.unwrap()),
            Part::Uuid(uuid) => decoded.uuid = uuid,
            Part::ConsoleLine {
                delta_ns,
                text: line,
            } => {
                decoded
                    .console
                    .push((delta_ns, text(line.read_to_vec().unwrap())));
            }
            Part::Times { start, finish } => (decoded.start, decoded.finish) = (start, finish),
            Part::Result(result) => decoded.result = result,
            Part::Artifact { path, data } => {
                decoded
                    .artifacts
                    .push((text(path), data.read_to_vec().unwrap()));
            }
            Part::End => break,
        }
    }
    assert_eq!(decoded.job, build.job());
    assert_eq!(decoded.platform, build.platform());
    assert_eq!(decoded.uuid, build.uuid());
    decoded
}
