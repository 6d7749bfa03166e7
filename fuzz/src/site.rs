//! A site for targets that need one: a data directory with a user, and builds if they are wanted.

use std::net::{IpAddr, Ipv4Addr};

use builder_exec::{
    ArtifactLayout, ConsoleLayout, ExecutionResult, Layout, Timestamp, Uuid, Writer,
};
use builder_store::record::audit::Actor;
use builder_store::{Store, users};
use builder_web::Clock;
use builder_web::app::App;
use builder_web::auth::{Caller, ScryptParams, hash_password};
use builder_web::client::TrustedProxy;
use builder_web::config::Config;
use builder_web::upload::receive;
use tempfile::TempDir;

/// A peer that is believed whom it speaks for.
pub const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The password of the user `fuzz`.
const PASSWORD: &[u8] = b"fuzz";
/// Cheap to check.
const SCRYPT: ScryptParams = ScryptParams { n: 16, r: 1, p: 1 };

/// A data directory that is served.
pub struct Site {
    /// What requests have at hand.
    pub app: App,
    /// Who uploads.
    pub user: Caller,
    /// Removed with the site.
    pub directory: TempDir,
}

impl Site {
    /// With the user `fuzz`, whose password is `fuzz`, and no builds.
    pub fn empty() -> Site {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let password = hash_password(PASSWORD, SCRYPT).unwrap();
        let user = store
            .write(|tx| {
                users::add(tx, "fuzz", &password, false)?;
                users::by_name(tx, "fuzz")
            })
            .unwrap()
            .unwrap();
        let mut config = Config::new(directory.path().into(), directory.path().into());
        config.limits.disk_reserve_bytes = 0;
        config.trusted_proxies = vec![TrustedProxy::Network(PROXY, 32)];
        let actor = Actor {
            who: "fuzz".to_owned(),
            address: "-".to_owned(),
            request: String::new(),
        };
        Site {
            app: App::new(store, config, Clock::System),
            user: Caller::local(user, actor),
            directory,
        }
    }

    /// With two builds of the job `hello` that differ, and one that failed. Their uuids end in 1, 2
    /// and 3.
    pub fn with_builds() -> Site {
        let site = Site::empty();
        let binary = b"\x7fELF, or so it says".repeat(50);
        let files = |input: &str, readme: &str| {
            vec![
                ("bin/hello.hvt", [&binary[..], input.as_bytes()].concat()),
                ("doc/README.md", readme.into()),
                ("opam-switch", switch(input).into()),
                (
                    "build-environment",
                    format!("PATH=/bin\nX={input}\n").into(),
                ),
                ("system-packages", format!("libc6=2.36\nx={input}\n").into()),
            ]
        };
        let good = ExecutionResult::Exited(0);
        let bad = ExecutionResult::Exited(2);
        site.keep(1, &good, &files("1.0", "# Hello\n\n[a link](x)\n"));
        site.keep(2, &good, &files("2.0~beta", "# <b>Hello</b>\n"));
        site.keep(3, &bad, &[]);
        site
    }

    fn keep(&self, number: u128, result: &ExecutionResult, files: &[(&str, Vec<u8>)]) {
        let script = b"#!/bin/sh\nmake\n";
        let lines: [&[u8]; 3] = [
            b"+ make",
            b"\x1b[31merror\x1b[0m: no space left on device",
            b"50 %\r100 %",
        ];
        let mut console = ConsoleLayout::default();
        for line in lines {
            console.add(1_000_000, line.len() as u64);
        }
        let artifacts: Vec<ArtifactLayout<'_>> = files
            .iter()
            .map(|(path, content)| ArtifactLayout {
                path: path.as_bytes(),
                bytes: content.len() as u64,
            })
            .collect();
        let start = 1_770_000_000 + i64::try_from(number).unwrap();
        let layout = Layout {
            job: b"hello",
            script_bytes: script.len() as u64,
            platform: b"debian-12",
            uuid: Uuid::from_u128(0xf63a_5b8a_0000_4000_8000_0000_0000_0000 | number),
            console,
            start: Timestamp::from_unix(start, 0).unwrap(),
            finish: Timestamp::from_unix(start + 20, 0).unwrap(),
            result,
            artifacts: &artifacts,
        };
        let mut writer = Writer::new(Vec::new(), layout);
        writer.script(&mut &script[..]).unwrap();
        for line in lines {
            writer.console_line(1_000_000, line).unwrap();
        }
        for (_, content) in files {
            writer.artifact(&mut &content[..]).unwrap();
        }
        let exec = writer.finish().unwrap();
        receive::exec(&self.app, &self.user, &mut &exec[..]).unwrap();
    }
}

fn switch(version: &str) -> String {
    format!(
        "opam-version: \"2.0\"\ncompiler: [\"ocaml.5.3.0\"]\nroots: [\"hello.{version}\"]\n\
         installed: [\"hello.{version}\" \"ocaml.5.3.0\"]\n\
         package \"hello\" {{\n  opam-version: \"2.0\"\n  version: \"{version}\"\n  \
         depends: [\"ocaml\" {{>= \"4.14\"}}]\n}}\n"
    )
}
