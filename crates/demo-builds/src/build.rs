//! One build put together: its times, its artifacts, its exec file.

use std::io::{self, Write};

use builder_exec::{
    ArtifactLayout, ConsoleLayout, ExecutionResult, Layout, Timestamp, Uuid, Writer,
};
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::console::{self, Console};
use crate::host::Platform;
use crate::image::{Program, RunsOn, link};
use crate::jobs::Kind;
use crate::seed::{Seed, hex};
use crate::sources::Sources;
use crate::story::{self, Failure, ONE_MORE, Outcome, Plan, TODAY, Uploader};
use crate::switch::{self, Value};
use crate::tar::InstalledFile;
use crate::{deb, pkg, texts};

const DAY_S: i64 = 24 * 60 * 60;
/// How long ago the newest build finished.
const LAST_FINISHED_S: i64 = 150;
/// What a worker gives a build, and what the timed out one took.
const TIMEOUT_S: i64 = 60 * 60;

/// One invented build. It is small: its bytes are made when they are written.
#[derive(Clone)]
pub struct DemoBuild {
    plan: Plan,
    /// Which build of its job this is, from 1 on.
    number: u16,
    now: Timestamp,
}

/// All builds, oldest first, the newest finishing shortly before `now`. The same `now` gives the same bytes, and the
/// uuids are the same for any.
pub fn builds(now: Timestamp) -> impl Iterator<Item = DemoBuild> {
    let plans = story::plans();
    let number = |index: usize| number_at(&plans, index);
    let numbers: Vec<u16> = (0..plans.len()).map(number).collect();
    plans
        .into_iter()
        .zip(numbers)
        .map(move |(plan, number)| DemoBuild { plan, number, now })
}

/// One more build, that finished at `now`: the newest of its job, with other output than all of [`builds`]. The turns
/// from 0 on are builds of the same sources, each with a uuid of its own: those after the first reproduce it.
pub fn one_more(now: Timestamp, turn: u16) -> DemoBuild {
    let mut plans = story::plans();
    plans.push(ONE_MORE);
    let number = number_at(&plans, plans.len() - 1).saturating_add(turn);
    DemoBuild {
        plan: ONE_MORE,
        number,
        now,
    }
}

/// How many of the plans up to `index` are of the same job.
fn number_at(plans: &[Plan], index: usize) -> u16 {
    let same = plans[..=index]
        .iter()
        .filter(|plan| plan.job.name == plans[index].job.name);
    u16::try_from(same.count()).unwrap_or(u16::MAX)
}

/// Name and content of a file the build leaves behind.
type Artifact = (String, Vec<u8>);

/// All of a build, ready to be written.
struct Finished {
    script: String,
    console: Console,
    start: Timestamp,
    finish: Timestamp,
    result: ExecutionResult,
    artifacts: Vec<Artifact>,
}

impl DemoBuild {
    /// The id of the build, derived from its job and its number.
    pub fn uuid(&self) -> Uuid {
        let digest = Sha256::digest(format!("demo build {} of {}", self.number, self.job()));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        // Version 8 and variant 1: "custom" in RFC 9562.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid::from_bytes(bytes)
    }

    /// The name of the job.
    pub fn job(&self) -> &str {
        self.plan.job.name
    }

    /// Where it was built.
    pub fn platform(&self) -> &str {
        self.plan.platform.name()
    }

    /// The user who sends it: `builder`, or `rebuilder` who checks what the former built.
    pub fn uploader(&self) -> &str {
        match self.plan.uploader {
            Uploader::Builder => "builder",
            Uploader::Rebuilder => "rebuilder",
        }
    }

    /// Writes the exec file a builder would send to `out`.
    ///
    /// # Errors
    /// What writing to `out` fails with.
    pub fn write_exec(&self, out: &mut dyn Write) -> io::Result<()> {
        let finished = self.finished()?;
        let mut console = ConsoleLayout::default();
        for (delta_ns, line) in &finished.console.lines {
            console.add(*delta_ns, line.len() as u64);
        }
        let artifacts: Vec<ArtifactLayout<'_>> = finished
            .artifacts
            .iter()
            .map(|(path, content)| ArtifactLayout {
                path: path.as_bytes(),
                bytes: content.len() as u64,
            })
            .collect();
        let mut writer = Writer::new(
            out,
            Layout {
                job: self.job().as_bytes(),
                script_bytes: finished.script.len() as u64,
                platform: self.platform().as_bytes(),
                uuid: self.uuid(),
                console,
                start: finished.start,
                finish: finished.finish,
                result: &finished.result,
                artifacts: &artifacts,
            },
        );
        writer.script(&mut finished.script.as_bytes())?;
        for (delta_ns, line) in finished.console.lines.iter().rev() {
            writer.console_line(*delta_ns, line)?;
        }
        for (_, content) in &finished.artifacts {
            writer.artifact(&mut content.as_slice())?;
        }
        writer.finish()?;
        Ok(())
    }

    /// The exec file a builder would send.
    pub fn exec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // OK because writing into memory does not fail, and the writer is given what its layout says.
        self.write_exec(&mut out).expect("an exec file in memory");
        out
    }

    fn finished(&self) -> io::Result<Finished> {
        let plan = &self.plan;
        let sources = Sources::of(plan.job, plan.day);
        let epoch = self.midnight(sources.commit.day) + 15 * 60 * 60 + 37 * 60;
        let console = console::console(plan, &sources, epoch);
        let duration_ns = match plan.outcome {
            Outcome::TimesOut => TIMEOUT_S * 1_000_000_000 + 71_000_000,
            _ => console.duration_ns,
        };
        let (start, finish) = self.times(duration_ns);
        let context = Context {
            plan,
            sources: &sources,
            epoch,
            start,
        };
        Ok(Finished {
            script: console::script(plan, epoch),
            console,
            start,
            finish,
            result: result(plan),
            artifacts: context.artifacts()?,
        })
    }

    /// The start of a day of the story, in seconds since 1970.
    fn midnight(&self, day: u8) -> i64 {
        let today = self.now.unix_seconds().div_euclid(DAY_S);
        (today - i64::from(TODAY) + i64::from(day)) * DAY_S
    }

    fn times(&self, duration_ns: i64) -> (Timestamp, Timestamp) {
        let plan = &self.plan;
        let mut seed = Seed::of(&["start", plan.job.name, &self.number.to_string()]);
        let ms = i64::try_from(seed.below(40_000)).unwrap_or(0);
        let minutes = i64::from(plan.minute_of_day);
        let now_ms = self.now.unix_seconds() * 1000;
        let start_ms = match plan.day {
            TODAY => now_ms - LAST_FINISHED_S * 1000 - duration_ns / 1_000_000,
            day if day > TODAY => now_ms - duration_ns / 1_000_000,
            day => (self.midnight(day) + minutes * 60) * 1000 + ms,
        };
        let timestamp = |ms: i64| {
            let nanoseconds = u32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
            // Only a clock that is off by thousands of years leaves the range of timestamps.
            Timestamp::from_unix(ms.div_euclid(1000), nanoseconds).unwrap_or(self.now)
        };
        (
            timestamp(start_ms),
            timestamp(start_ms + duration_ns / 1_000_000),
        )
    }
}

fn result(plan: &Plan) -> ExecutionResult {
    match plan.outcome {
        Outcome::Succeeds => ExecutionResult::Exited(0),
        Outcome::Fails(Failure::Network) => ExecutionResult::Exited(40),
        Outcome::Fails(Failure::DiskFull | Failure::CompileError) => ExecutionResult::Exited(31),
        Outcome::Fails(Failure::MissingPackage) => ExecutionResult::Exited(10),
        Outcome::Fails(Failure::DeadLinks) => ExecutionResult::Exited(1),
        // The number OCaml has for SIGKILL.
        Outcome::OutOfMemory => ExecutionResult::Signalled(-7),
        Outcome::TimesOut => {
            ExecutionResult::Message(b"timeout: no result after 3600 seconds".to_vec())
        }
        Outcome::WorkerLost => {
            ExecutionResult::Message(b"worker went away: connection reset by peer".to_vec())
        }
    }
}

/// What artifacts are made from.
struct Context<'a> {
    plan: &'a Plan,
    sources: &'a Sources,
    epoch: i64,
    start: Timestamp,
}

impl Context<'_> {
    fn artifacts(&self) -> io::Result<Vec<Artifact>> {
        let plan = self.plan;
        let failure = match plan.outcome {
            Outcome::Succeeds => return self.of_success(),
            Outcome::Fails(failure) => failure,
            // The worker sends no files of a build that did not exit.
            Outcome::OutOfMemory | Outcome::TimesOut | Outcome::WorkerLost => return Ok(Vec::new()),
        };
        Ok(match failure {
            Failure::Network => vec![],
            Failure::DiskFull => vec![self.switch()],
            Failure::CompileError => vec![self.switch(), self.environment(), self.host()],
            Failure::MissingPackage => vec![self.environment(), self.host()],
            Failure::DeadLinks => vec![file("report/links.csv", texts::link_report(plan.day).1)],
        })
    }

    fn of_success(&self) -> io::Result<Vec<Artifact>> {
        let name = self.plan.job.name;
        let mut installed = match self.plan.job.kind {
            Kind::Script => {
                let (report, csv) = texts::link_report(self.plan.day);
                return Ok(vec![
                    file("bin/link-report.txt", report),
                    file("report/links.csv", csv),
                ]);
            }
            Kind::Unikernel { target, devices } => {
                let suffix = target.as_str();
                let program = link(&self.program(RunsOn::Solo5 { target, devices }));
                vec![
                    (format!("bin/{name}.{suffix}"), program.stripped()),
                    (format!("{name}.{suffix}.debug"), program.with_symbols()),
                ]
            }
            Kind::SystemPackage if self.plan.platform.is_debian() => {
                vec![(format!("bin/{name}.deb"), self.debian_package()?)]
            }
            Kind::SystemPackage => vec![(format!("bin/{name}.pkg"), self.freebsd_package()?)],
        };
        installed.push(file(
            &format!("doc/{name}/README.md"),
            texts::readme(self.sources),
        ));
        let hashes = self.build_hashes(&installed);
        installed.push(file(&format!("{name}.build-hashes"), hashes));
        installed.extend([self.switch(), self.environment(), self.host()]);
        Ok(installed)
    }

    fn switch(&self) -> Artifact {
        file("opam-switch", self.sources.switch_export())
    }

    fn environment(&self) -> Artifact {
        let Plan {
            job, platform, day, ..
        } = self.plan;
        file(
            "build-environment",
            platform.environment(job.name, self.epoch, *day),
        )
    }

    fn host(&self) -> Artifact {
        file(
            "system-packages",
            self.plan.platform.packages(self.plan.day),
        )
    }

    fn program(&self, runs_on: RunsOn) -> Program<'_> {
        let (job, sources) = (self.plan.job, self.sources);
        let stamps = sources.commit.stamps_build_time && matches!(runs_on, RunsOn::Solo5 { .. });
        Program {
            job: job.name,
            units: job.units.split_whitespace().collect(),
            words: job.words.split_whitespace().collect(),
            commit: sources.commit_number,
            compiler: sources.commit.compiler,
            libraries: sources.libraries(),
            runs_on,
            solo5: sources.version("solo5"),
            built_at: stamps.then(|| format!("built on {}", self.start.to_rfc3339())),
        }
    }

    /// The time of a package's files: that of the sources, or of the build where nobody took care of it.
    fn modified(&self) -> u64 {
        let seconds = match self.sources.commit.stamps_build_time {
            true => self.start.unix_seconds(),
            false => self.epoch,
        };
        u64::try_from(seconds).unwrap_or(0)
    }

    fn debian_package(&self) -> io::Result<Vec<u8>> {
        let (job, version) = (self.plan.job, self.sources.commit.version);
        let c_library = if self.plan.platform == Platform::Debian13 {
            "2.41"
        } else {
            "2.36"
        };
        let events = match (self.uses("conf-libev"), self.plan.platform) {
            (false, _) => "",
            (true, Platform::Debian13) => ", libev4t64 (>= 1:4.33)",
            (true, _) => ", libev4 (>= 1:4.04)",
        };
        let control = deb::Control {
            package: job.name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            maintainer: "Harbour Works <packages@harbour.example>".to_owned(),
            depends: format!("libc6 (>= {c_library}), libgmp10 (>= 2:6.2.1){events}"),
            description: format!("{}\n{}", job.synopsis, job.description),
        };
        let files = self.installed_files("/usr", link(&self.program(RunsOn::Linux)).stripped());
        deb::package(&control, &files, self.modified())
    }

    fn freebsd_package(&self) -> io::Result<Vec<u8>> {
        let (job, version) = (self.plan.job, self.sources.commit.version);
        let dependency = |name: &str, origin: &str, version: &str| {
            (name.to_owned(), origin.to_owned(), version.to_owned())
        };
        let mut depends = vec![dependency("gmp", "math/gmp", "6.3.0")];
        if self.uses("conf-libev") {
            depends.push(dependency("libev", "devel/libev", "4.33_1,1"));
        }
        let manifest = pkg::Manifest {
            name: job.name.to_owned(),
            version: version.to_owned(),
            abi: "FreeBSD:14:amd64".to_owned(),
            maintainer: "packages@harbour.example".to_owned(),
            www: format!("https://harbour.example/{}", job.name),
            comment: job.synopsis.to_owned(),
            description: job.description.to_owned(),
            depends,
        };
        let files = self.installed_files(
            "/usr/local",
            link(&self.program(RunsOn::FreeBsd)).stripped(),
        );
        pkg::package(&manifest, &files, self.modified())
    }

    fn uses(&self, package: &str) -> bool {
        !self.sources.version(package).is_empty()
    }

    /// What a package installs: the program, its README, a service for the daemon, a completion since its last release.
    fn installed_files(&self, prefix: &str, program: Vec<u8>) -> Vec<InstalledFile> {
        let (name, commit) = (self.plan.job.name, self.sources.commit);
        let modified = self.modified();
        let mut files = Vec::new();
        let mut add = |path: String, mode: u32, content: Vec<u8>| {
            files.push(InstalledFile {
                path,
                mode,
                modified,
                content,
            });
        };
        add(format!("{prefix}/bin/{name}"), 0o755, program);
        add(
            format!("{prefix}/share/doc/{name}/README.md"),
            0o644,
            texts::readme(self.sources).into_bytes(),
        );
        let change = format!("{name} {}: {}\n", commit.version, commit.subject);
        add(
            format!("{prefix}/share/doc/{name}/changelog"),
            0o644,
            change.into_bytes(),
        );
        if name == "ferryman" {
            let (path, mode, text) = match self.plan.platform.is_debian() {
                true => (
                    "/usr/lib/systemd/system/ferryman.service",
                    0o644,
                    FERRYMAN_UNIT,
                ),
                false => ("/usr/local/etc/rc.d/ferryman", 0o755, FERRYMAN_RC),
            };
            add(path.to_owned(), mode, text.as_bytes().to_vec());
        }
        if name == "ferryman" && commit.version == "1.5.0" {
            let path = format!("{prefix}/share/bash-completion/completions/ferryman");
            add(
                path,
                0o644,
                b"complete -W 'add info remove restart stats' ferryman\n".to_vec(),
            );
        }
        files
    }

    /// What the opam package added to the switch, with digests, as orb keeps it.
    fn build_hashes(&self, installed: &[Artifact]) -> String {
        let mut added: Vec<(String, String)> = installed
            .iter()
            .map(|(path, content)| {
                (
                    path.clone(),
                    format!("\"F:{}\"", hex(&Md5::digest(content))),
                )
            })
            .collect();
        added.push((format!("doc/{}", self.plan.job.name), "\"D\"".to_owned()));
        added.sort();
        let added = added
            .iter()
            .map(|(path, digest)| Value::when(path, digest))
            .collect();
        let mut text = switch::file(&[
            ("opam-version", Value::text("2.0")),
            ("added", Value::one_or_more(added)),
        ]);
        text.truncate(text.trim_end().len());
        text
    }
}

fn file(path: &str, text: String) -> Artifact {
    (path.to_owned(), text.into_bytes())
}

const FERRYMAN_UNIT: &str = "\
[Unit]
Description=Virtual machines of this host
After=network.target

[Service]
ExecStart=/usr/bin/ferryman daemon
Restart=on-failure

[Install]
WantedBy=multi-user.target
";

const FERRYMAN_RC: &str = "\
#!/bin/sh

# PROVIDE: ferryman
# REQUIRE: NETWORKING

. /etc/rc.subr

name=ferryman
rcvar=ferryman_enable
command=/usr/sbin/daemon
command_args=\"-r -P /var/run/ferryman.pid /usr/local/bin/ferryman daemon\"

load_rc_config $name
run_rc_command \"$1\"
";
