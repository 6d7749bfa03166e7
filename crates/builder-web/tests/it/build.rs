//! Finished builds, made up for a test: what is said of them in one line, and their `exec` form.
//! Encoded by hand, so that what the server reads is not checked by what it writes with.

use builder_exec::{ExecutionResult, Timestamp};
use demo_builds::elf::{Access, Content, Elf, Machine, Section};
use solo5_elf::{Abi, Device, DeviceType, Manifest, Target, note};
use uuid::Uuid;

/// A finished build.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) job: Vec<u8>,
    pub(crate) uuid: Uuid,
    pub(crate) platform: Option<Vec<u8>>,
    pub(crate) script: Vec<u8>,
    /// Oldest first.
    pub(crate) console: Vec<(i64, Vec<u8>)>,
    pub(crate) start: Timestamp,
    pub(crate) finish: Timestamp,
    pub(crate) result: ExecutionResult,
    pub(crate) files: Vec<(Vec<u8>, Vec<u8>)>,
}

/// When builds start that say nothing else: a minute before [`crate::server::NOW`].
pub(crate) fn start() -> Timestamp {
    Timestamp::from_civil(2026, 5, 12, 4, 12, 33).unwrap()
}

/// Build number `number` of a job: successful, without files. The number is in its uuid.
pub(crate) fn build(job: &str, number: u128) -> Build {
    let seconds = start().unix_seconds();
    Build {
        job: job.into(),
        uuid: Uuid::from_u128(0xf63a_5b8a_9ab3_40a3_8cfc_0000_0000_0000 | number),
        platform: Some(b"debian-12".to_vec()),
        script: b"#!/bin/sh\nmake\n".to_vec(),
        console: vec![
            (1_000_000, b"+ make".to_vec()),
            (2_500_000_000, b"done".to_vec()),
        ],
        start: start(),
        finish: Timestamp::from_unix(seconds + 20, 0).unwrap(),
        result: ExecutionResult::Exited(0),
        files: Vec::new(),
    }
}

/// A build of a job that failed and printed these lines, a second apart.
pub(crate) fn failed(job: &str, number: u128, lines: &[&str]) -> Build {
    Build {
        result: ExecutionResult::Exited(1),
        console: (1..)
            .map(|second: i64| second * 1_000_000_000)
            .zip(lines.iter().map(|line| line.as_bytes().to_vec()))
            .collect(),
        ..build(job, number)
    }
}

impl Build {
    pub(crate) fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Build {
        self.files.push((path.into(), content.as_ref().to_vec()));
        self
    }

    pub(crate) fn platform(mut self, platform: &str) -> Build {
        self.platform = Some(platform.into());
        self
    }

    /// Started this many seconds after [`start`]; took twenty.
    pub(crate) fn later(mut self, seconds: i64) -> Build {
        let start = start().unix_seconds() + seconds;
        self.start = Timestamp::from_unix(start, 0).unwrap();
        self.finish = Timestamp::from_unix(start + 20, 0).unwrap();
        self
    }

    pub(crate) fn ended(mut self, result: ExecutionResult) -> Build {
        self.result = result;
        self
    }

    /// With the three files that make its input known, all from one word.
    pub(crate) fn input(self, input: &str) -> Build {
        self.file("opam-switch", switch("x", "", input))
            .file("build-environment", format!("PATH={input}"))
            .file("system-packages", "libc6=2.36")
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "/job/{}/build/{}",
            String::from_utf8_lossy(&self.job),
            self.uuid
        )
    }

    /// As builder-server sends it.
    pub(crate) fn exec(&self) -> Vec<u8> {
        let mut job = [string(&self.job), string(&self.script), sequence(&[])].concat();
        job.extend(self.platform.iter().flat_map(|platform| string(platform)));
        let console: Vec<Vec<u8>> = self
            .console
            .iter()
            .rev()
            .map(|(delta, text)| sequence(&[integer(*delta), string(text)]))
            .collect();
        let (tag, result) = match &self.result {
            ExecutionResult::Exited(code) => (0xa0, integer(*code)),
            ExecutionResult::Signalled(signal) => (0xa1, integer(*signal)),
            ExecutionResult::Stopped(signal) => (0xa2, integer(*signal)),
            ExecutionResult::Message(message) => (0xa3, string(message)),
        };
        let files: Vec<Vec<u8>> = self
            .files
            .iter()
            .map(|(path, content)| sequence(&[string(path), string(content)]))
            .collect();
        let content = sequence(&[
            sequence(&[job]),
            string(self.uuid.as_bytes()),
            sequence(&console),
            sequence(&[time(&self.start), time(&self.finish)]),
            value(tag, &result),
            sequence(&files),
        ]);
        value(0xa0, &content)
    }

    /// All of the `exec` form before the content of its last file, and that content.
    pub(crate) fn exec_before_last_file(&self) -> (Vec<u8>, Vec<u8>) {
        let mut exec = self.exec();
        let (_, content) = self.files.last().unwrap();
        let rest = exec.split_off(exec.len() - content.len());
        (exec, rest)
    }
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=127 => out.push(u8::try_from(short).unwrap()),
        long => {
            let bytes = long.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            out.push(0x80 | u8::try_from(bytes.len() - zeros).unwrap());
            out.extend(&bytes[zeros..]);
        }
    }
    out.extend(content);
    out
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    value(0x30, &parts.concat())
}

fn string(bytes: &[u8]) -> Vec<u8> {
    value(0x0c, bytes)
}

fn time(time: &Timestamp) -> Vec<u8> {
    value(0x18, format!("{}Z", time.compact()).as_bytes())
}

fn integer(number: i64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    // As few bytes as still tell the sign.
    let needless = bytes
        .windows(2)
        .take_while(|pair| match pair[0] {
            0x00 => pair[1] < 0x80,
            0xff => pair[1] >= 0x80,
            _ => false,
        })
        .count();
    value(0x02, &bytes[needless..])
}

/// A unikernel for `target` with these devices, `net` or `block` each.
pub(crate) fn unikernel(target: &str, devices: &[(&str, &str)]) -> Vec<u8> {
    let target = match target {
        "hvt" => Target::Hvt,
        "spt" => Target::Spt,
        "xen" => Target::Xen,
        other => panic!("no such target {other}"),
    };
    let devices = devices
        .iter()
        .map(|(kind, name)| Device {
            name: (*name).to_owned(),
            kind: match *kind {
                "net" => DeviceType::NetBasic,
                "block" => DeviceType::BlockBasic,
                other => panic!("no such device {other}"),
            },
        })
        .collect();
    let manifest = note::manifest_note(&Manifest {
        version: 1,
        devices,
    });
    let abi = note::abi_note(&Abi { target, version: 2 });
    let mut elf = Elf::new(Machine::X86_64);
    for (name, note) in [(".note.solo5.abi", abi), (".note.solo5.manifest", manifest)] {
        elf.add_section(Section::new(name, Access::ReadOnly, Content::Note(note)));
    }
    elf.stripped()
}

/// A switch whose only root is `root`, with a synopsis.
pub(crate) fn switch(root: &str, fields: &str, synopsis: &str) -> String {
    format!(
        "opam-version: \"2.0\"\nroots: [\"{root}.1\"]\ninstalled: [\"{root}.1\"]\n\
         package \"{root}\" {{ opam-version: \"2.0\" synopsis: \"{synopsis}\" {fields} }}\n"
    )
}

/// What makes a switch that of a unikernel.
pub(crate) const MIRAGE: &str = "x-mirage-opam-lock-location: \"x.opam.locked\"";

/// Bytes that no packing makes smaller, the same ones each time.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}
