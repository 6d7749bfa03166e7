//! Upload hooks: programs of the operator that are run after a build was kept.
//!
//! As on the OCaml server: every `*.sh` of `CONFIGDIR/upload-hooks/` that is a regular file (links
//! are followed) and executable by all, with the build described in its arguments. They are
//! started after the answer is decided and change nothing about it. A server that is told to stop
//! waits for them; one that is killed runs them again at its next start: that they are to be run is
//! on record before the build is, until all have ended.

mod kin;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use builder_exec::Timestamp;
use builder_store::record::hook_runs;
use builder_store::{Sha256, builds};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{error, info, warn};
use uuid::Uuid;

use self::kin::Mark;
use crate::app::App;
use crate::config::Config;
use crate::error::with_causes;
use crate::show::visible;

/// How long after a hook's end its output is waited for, and how long for the end of a line.
const OUTPUT_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a hook's output that are read at a time.
const OUTPUT_BUFFER_BYTES: usize = 8 * 1024;
/// How often hooks that were interrupted are run again: what they start may be what ends the server.
const TRIES_MAX: u64 = 3;

/// What a hook is told of a build.
#[derive(Debug, Clone)]
pub struct HookCall {
    /// When the build started.
    pub start: Timestamp,
    /// The digest of its main binary.
    pub sha256: Sha256,
    /// Its job.
    pub job: String,
    /// Its name.
    pub uuid: Uuid,
    /// Its platform.
    pub platform: String,
    /// Where the main binary is inside the build.
    pub main_binary: String,
}

/// How a hook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookEnd {
    /// Its exit status was 0.
    Succeeded,
    /// It was another one, or it could not be started.
    Failed,
    /// It took too long and was killed.
    Killed,
}

impl HookEnd {
    /// Every way to end.
    pub const ALL: [HookEnd; 3] = [HookEnd::Succeeded, HookEnd::Failed, HookEnd::Killed];

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            HookEnd::Succeeded => "succeeded",
            HookEnd::Failed => "failed",
            HookEnd::Killed => "killed",
        }
    }
}

/// Runs hooks, some at a time.
#[derive(Debug)]
pub struct Hooks {
    directory: PathBuf,
    places: Arc<Semaphore>,
    time_max: Duration,
    output_bytes_max: u64,
    under_way: UnderWay,
}

impl Hooks {
    /// The hooks of a configuration directory.
    pub fn new(config: &Config) -> Hooks {
        Hooks {
            directory: config.configdir.join("upload-hooks"),
            places: Arc::new(Semaphore::new(config.limits.hooks_concurrent_max)),
            time_max: config.limits.hook_time_max,
            output_bytes_max: config.limits.hook_output_bytes_max,
            under_way: UnderWay::default(),
        }
    }

    /// Whether there is one.
    pub fn any(&self) -> bool {
        let all = look(&self.directory);
        all.iter()
            .any(|(_, state)| matches!(state, HookState::Runs))
    }

    /// Starts every hook for a build, in the background; how each ended, by its file name. A hook
    /// that the server had no time for is not among them.
    pub fn run(&self, app: &App, call: HookCall) -> JoinHandle<Vec<(String, HookEnd)>> {
        let arguments = call.arguments(app);
        let directory = self.directory.clone();
        let (places, under_way) = (self.places.clone(), self.under_way.clone());
        let (time_max, output_bytes_max) = (self.time_max, self.output_bytes_max);
        let app = app.clone();
        // Under way from here on: a stop that comes while they are looked up waits for them.
        let name = format!("the hooks of build {}", call.uuid);
        let all = under_way.add(name, Phase::Whole);
        tokio::spawn(async move {
            let found = tokio::task::spawn_blocking(move || hooks(&directory)).await;
            let found = found.unwrap_or_default();
            let count = found.len();
            let mut ends = JoinSet::new();
            for hook in found {
                let name = format!("hook {} for build {}", hook.display(), call.uuid);
                let place = under_way.add(name, Phase::Waits);
                let run = Run {
                    hook,
                    arguments: arguments.clone(),
                    uuid: call.uuid,
                    time_max,
                    output_bytes_max,
                };
                let (places, app) = (places.clone(), app.clone());
                ends.spawn(async move {
                    // Closed only when the server is gone.
                    let _turn = places.acquire().await.ok().filter(|_| place.begin())?;
                    let begin = Instant::now();
                    let name = run.hook.file_name().map(|name| name.to_string_lossy());
                    let name = name.unwrap_or_default().into_owned();
                    let end = run.run().await;
                    app.metrics().hook(&name, end, begin.elapsed());
                    Some((name, end))
                });
            }
            let ends: Vec<_> = ends.join_all().await.into_iter().flatten().collect();
            if ends.len() == count {
                note_end(&app, call.uuid).await;
            }
            drop(all);
            ends
        })
    }

    /// Runs the hooks of builds that were interrupted, in the background. Where something is wrong
    /// with one build, those of the others are run.
    pub fn run_interrupted(&self, app: &App) -> builder_store::Result<()> {
        for (uuid, tries) in app.store().write(hook_runs::try_again)? {
            if let Err(error) = self.run_again(app, uuid, tries) {
                error!(
                    build.uuid = %uuid,
                    "the hooks of build {uuid}, which were interrupted, cannot be run again: {}",
                    with_causes(&error)
                );
            }
        }
        Ok(())
    }

    fn run_again(&self, app: &App, uuid: Uuid, tries: u64) -> builder_store::Result<()> {
        if tries >= TRIES_MAX {
            error!(
                build.uuid = %uuid,
                "the hooks of build {uuid} were interrupted again and again, and are not run \
                 any more; run them with: builder-db run-hooks {uuid}"
            );
            return app.store().write(|tx| hook_runs::ended(tx, uuid));
        }
        match HookCall::of(app, uuid)? {
            Some(call) => {
                info!(build.uuid = %uuid, "running hooks again that were interrupted");
                drop(self.run(app, call));
                Ok(())
            }
            // The upload was interrupted too, or the build was removed since.
            None => app.store().write(|tx| hook_runs::ended(tx, uuid)),
        }
    }

    /// The file names of those that are there now.
    pub fn names(&self) -> Vec<String> {
        let all = look(&self.directory).into_iter();
        all.filter(|(_, state)| matches!(state, HookState::Runs))
            .filter_map(|(path, _)| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect()
    }

    /// How many run, and how many wait for their turn.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.under_way.0.borrow();
        let count = |phase| {
            let all = state.hooks.values();
            all.filter(|(_, other)| *other == phase).count()
        };
        (count(Phase::Runs), count(Phase::Waits))
    }

    /// Waits until all hooks have ended, those too that wait for their turn. Those that run when
    /// the time is over are left to it, but nobody reads what they print any more; those that have
    /// not begun are named in the log. The next start runs both.
    pub async fn finish(&self, time_max: Duration) {
        let mut state = self.under_way.0.subscribe();
        let all_ended = state.wait_for(|state| state.hooks.is_empty());
        if timeout(time_max, all_ended).await.is_ok() {
            return;
        }
        let mut left = BTreeMap::new();
        self.under_way.0.send_modify(|state| {
            state.stopped = true;
            left.clone_from(&state.hooks);
        });
        for (name, phase) in left.into_values() {
            match phase {
                Phase::Runs => warn!("{name} is left running, and run again at the next start"),
                Phase::Waits => error!(
                    "{name} was not started: the server had to stop before; the next start runs it"
                ),
                Phase::Whole => {}
            }
        }
    }
}

/// Takes the hooks of a build off the record: all have ended.
async fn note_end(app: &App, uuid: Uuid) {
    let noted = app.blocking(move |app| app.store().write(|tx| hook_runs::ended(tx, uuid)));
    if let Ok(Err(error)) = noted.await {
        warn!(
            build.uuid = %uuid,
            "that its hooks have run cannot be noted, so that they are run again: {}",
            with_causes(&error)
        );
    }
}

/// The hooks that run or wait for their turn.
#[derive(Debug, Clone, Default)]
struct UnderWay(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The name of each.
    hooks: BTreeMap<u64, (String, Phase)>,
    /// No other may begin.
    stopped: bool,
}

/// How far a hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is no hook: all those of a build, until that they have ended is on record.
    Whole,
    Waits,
    Runs,
}

/// The place of one hook among those under way, until it is dropped.
struct Place {
    under_way: UnderWay,
    number: u64,
}

impl UnderWay {
    fn add(&self, name: String, phase: Phase) -> Place {
        let mut number = 0;
        self.0.send_modify(|state| {
            number = state.next;
            state.next += 1;
            state.hooks.insert(number, (name, phase));
        });
        Place {
            under_way: self.clone(),
            number,
        }
    }
}

impl Place {
    /// Whether it may begin, which is noted.
    fn begin(&self) -> bool {
        let mut may = false;
        self.under_way.0.send_modify(|state| {
            may = !state.stopped;
            if may && let Some((_, phase)) = state.hooks.get_mut(&self.number) {
                *phase = Phase::Runs;
            }
        });
        may
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.0.send_modify(|state| {
            state.hooks.remove(&self.number);
        });
    }
}

impl HookCall {
    /// What hooks are told of a build that is kept; none: there is no such build, or it has no main
    /// binary.
    pub fn of(app: &App, uuid: Uuid) -> builder_store::Result<Option<HookCall>> {
        let build = app.store().read(|tx| builds::by_uuid(tx, uuid))?;
        Ok(build.and_then(|build| {
            let main = build.main_binary?;
            Some(HookCall {
                start: build.start,
                sha256: main.sha256,
                job: build.job,
                uuid,
                platform: build.platform,
                main_binary: main.path,
            })
        }))
    }

    /// The arguments, in the order that hooks expect. The last is the main binary's file, whose
    /// name has no extension: hooks look at `--main-binary-filepath`.
    fn arguments(&self, app: &App) -> Vec<OsString> {
        let datadir = app.store().directory();
        let path = |name: &str, path: &Path| {
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(path);
            argument
        };
        vec![
            format!("--build-time={}", self.start.compact()).into(),
            format!("--sha256={}", self.sha256).into(),
            format!("--job={}", self.job).into(),
            format!("--uuid={}", self.uuid).into(),
            format!("--platform={}", self.platform).into(),
            path("cache-dir", &datadir.join("_cache")),
            path("data-dir", datadir),
            format!("--main-binary-filepath={}", self.main_binary).into(),
            app.store().artifacts().path(self.sha256).into(),
        ]
    }
}

/// The hooks that are there now. One that cannot be looked at is left out and noted.
fn hooks(directory: &Path) -> Vec<PathBuf> {
    let mut hooks: Vec<PathBuf> = look(directory)
        .into_iter()
        .filter_map(|(path, state)| match state {
            HookState::Runs => Some(path),
            HookState::Unreachable(error) => {
                warn!("hook {} is left out: {error}", path.display());
                None
            }
            HookState::NotExecutable | HookState::Other => None,
        })
        .collect();
    hooks.sort();
    hooks
}

/// What something in `upload-hooks/` is.
#[derive(Debug)]
pub enum HookState {
    /// It is run after each upload with a main binary.
    Runs,
    /// A script that not everybody may execute: it is not run.
    NotExecutable,
    /// A script that cannot be looked at, such as a symbolic link to nowhere.
    Unreachable(std::io::Error),
    /// Something else, such as `*.sh.sample`, which FreeBSD's package brings.
    Other,
}

/// All that is in a directory of hooks. No directory: no hooks.
pub fn look(directory: &Path) -> Vec<(PathBuf, HookState)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let state = |path: &Path| {
        if path.extension().is_none_or(|extension| extension != "sh") {
            return HookState::Other;
        }
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => HookState::Other,
            Ok(metadata) if metadata.permissions().mode() & 0o111 == 0o111 => HookState::Runs,
            Ok(_) => HookState::NotExecutable,
            Err(error) => HookState::Unreachable(error),
        }
    };
    paths
        .map(|path| {
            let state = state(&path);
            (path, state)
        })
        .collect()
}

struct Run {
    hook: PathBuf,
    arguments: Vec<OsString>,
    uuid: Uuid,
    time_max: Duration,
    output_bytes_max: u64,
}

impl Run {
    async fn run(self) -> HookEnd {
        let (hook, uuid) = (self.hook.display(), self.uuid);
        let mark = Mark::new();
        let child = match self.start(Command::new(&self.hook), &mark) {
            // A script that does not say what runs it is the shell's.
            Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                let mut shell = Command::new("/bin/sh");
                shell.arg(&self.hook);
                self.start(shell, &mark)
            }
            child => child,
        };
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                error!(build.uuid = %uuid, "hook {hook} cannot be started: {error}");
                return HookEnd::Failed;
            }
        };
        let stdout = tokio::spawn(self.output("stdout").log(child.stdout.take()));
        let stderr = tokio::spawn(self.output("stderr").log(child.stderr.take()));
        let ended = timeout(self.time_max, child.wait()).await;
        // It is not waited for yet: its number is nobody else's.
        if let (Err(_), Some(hook)) = (&ended, child.id()) {
            let killed = tokio::task::spawn_blocking(move || mark.end(hook)).await;
            if let Err(error) = killed {
                error!("a hook was not killed: {error}");
            }
        }
        // Its last words come before its end. What it left running may go on printing: that is
        // read for as long as it does.
        let output = async { (stdout.await, stderr.await) };
        if timeout(OUTPUT_TIME_MAX, output).await.is_err() {
            info!(build.uuid = %uuid, "something that hook {hook} started goes on");
        }
        match ended {
            Ok(Ok(status)) if status.success() => {
                info!(build.uuid = %uuid, "hook {hook} has run");
                HookEnd::Succeeded
            }
            Ok(Ok(status)) => {
                error!(build.uuid = %uuid, "hook {hook} failed: {status}");
                HookEnd::Failed
            }
            Ok(Err(error)) => {
                error!(build.uuid = %uuid, "hook {hook} got lost: {error}");
                HookEnd::Failed
            }
            Err(_) => {
                error!(
                    build.uuid = %uuid,
                    "hook {hook} was killed: it took more than {} s",
                    self.time_max.as_secs()
                );
                HookEnd::Killed
            }
        }
    }

    fn start(&self, mut program: Command, mark: &Mark) -> io::Result<Child> {
        let (variable, value) = mark.variable();
        program
            .args(&self.arguments)
            .env(variable, value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // One of its own, so that what the hook started can be ended with it.
            .process_group(0)
            .spawn()
    }

    fn output(&self, stream: &'static str) -> Output {
        Output {
            hook: self.hook.clone(),
            uuid: self.uuid,
            stream,
            bytes_left: self.output_bytes_max,
        }
    }
}

/// One of a hook's two streams, on its way to the log.
struct Output {
    hook: PathBuf,
    uuid: Uuid,
    stream: &'static str,
    bytes_left: u64,
}

impl Output {
    /// Logs each line when it comes, up to a limit; the rest is read and dropped, so that the hook
    /// can go on.
    async fn log(mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut line = Vec::new();
        let mut buffer = vec![0; OUTPUT_BUFFER_BYTES];
        loop {
            let read = match timeout(OUTPUT_TIME_MAX, from.read(&mut buffer)).await {
                Ok(Ok(0)) => break,
                Ok(Ok(read)) => read,
                Ok(Err(error)) => {
                    self.line(&mut line);
                    self.say(format_args!("(its output cannot be read: {error})"));
                    return;
                }
                // Perhaps there is no end of this line for long.
                Err(_) => {
                    self.line(&mut line);
                    continue;
                }
            };
            let taken = usize::try_from(self.bytes_left).map_or(read, |left| left.min(read));
            self.bytes_left -= taken as u64;
            for part in buffer[..taken].split_inclusive(|byte| *byte == b'\n') {
                line.extend(part);
                if part.ends_with(b"\n") {
                    line.pop();
                    self.say(format_args!("{}", String::from_utf8_lossy(&line)));
                    line.clear();
                }
            }
            if taken < read {
                self.line(&mut line);
                self.say(format_args!("(there was more)"));
                // Its end and an error are the same here: nothing more is said.
                let _end = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
                return;
            }
        }
        self.line(&mut line);
    }

    /// Logs the beginning of a line that has no end, if there is one.
    fn line(&self, line: &mut Vec<u8>) {
        if !line.is_empty() {
            self.say(format_args!("{}", String::from_utf8_lossy(line)));
            line.clear();
        }
    }

    fn say(&self, text: std::fmt::Arguments<'_>) {
        let (hook, stream) = (self.hook.display(), self.stream);
        let text = visible(&text.to_string());
        info!(build.uuid = %self.uuid, stream, "hook {hook}: {text}");
    }
}
