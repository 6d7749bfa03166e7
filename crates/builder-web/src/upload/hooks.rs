//! Upload hooks: programs of the operator that are run after a build was kept.
//!
//! As on the OCaml server: every `*.sh` of `CONFIGDIR/upload-hooks/` that is a regular file (links
//! are followed) and executable by all, with the build described in its arguments. They are
//! started after the answer is decided and change nothing about it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use builder_exec::Timestamp;
use builder_store::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::app::App;
use crate::config::Config;

/// How long after a hook's end its output is waited for.
const OUTPUT_TIME_MAX: Duration = Duration::from_secs(5);

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

/// Runs hooks, some at a time.
#[derive(Debug)]
pub struct Hooks {
    directory: PathBuf,
    places: Arc<Semaphore>,
    time_max: Duration,
    output_bytes_max: u64,
}

impl Hooks {
    /// The hooks of a configuration directory.
    pub fn new(config: &Config) -> Hooks {
        Hooks {
            directory: config.configdir.join("upload-hooks"),
            places: Arc::new(Semaphore::new(config.limits.hooks_concurrent_max)),
            time_max: config.limits.hook_time_max,
            output_bytes_max: config.limits.hook_output_bytes_max,
        }
    }

    /// Starts every hook for a build, in the background.
    pub fn run(&self, app: &App, call: Option<HookCall>) {
        let Some(call) = call else { return };
        let arguments = call.arguments(app);
        for hook in hooks(&self.directory) {
            let run = Run {
                hook,
                arguments: arguments.clone(),
                uuid: call.uuid,
                time_max: self.time_max,
                output_bytes_max: self.output_bytes_max,
            };
            let places = self.places.clone();
            tokio::spawn(async move {
                // Closed only when the server is gone.
                if let Ok(_place) = places.acquire().await {
                    run.run().await;
                }
            });
        }
    }
}

impl HookCall {
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
    // No directory: no hooks.
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut hooks: Vec<PathBuf> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            // FreeBSD's package brings `*.sh.sample`, which are not to be run.
            if path.extension()? != "sh" {
                return None;
            }
            match fs::metadata(&path) {
                Ok(metadata) => (metadata.is_file()
                    && metadata.permissions().mode() & 0o111 == 0o111)
                    .then_some(path),
                Err(error) => {
                    warn!("hook {} is left out: {error}", path.display());
                    None
                }
            }
        })
        .collect();
    hooks.sort();
    hooks
}

struct Run {
    hook: PathBuf,
    arguments: Vec<OsString>,
    uuid: Uuid,
    time_max: Duration,
    output_bytes_max: u64,
}

impl Run {
    async fn run(self) {
        let (hook, uuid) = (self.hook.display(), self.uuid);
        let child = Command::new(&self.hook)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // One of its own, so that what the hook started can be ended with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                error!(build.uuid = %uuid, "hook {hook} cannot be started: {error}");
                return;
            }
        };
        let group = child.id();
        // Read on even when the hook has ended: what it left running may still print.
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = tokio::spawn(read_output(stdout, self.output_bytes_max));
        let stderr = tokio::spawn(read_output(stderr, self.output_bytes_max));
        let ended = timeout(self.time_max, child.wait()).await;
        if ended.is_err() {
            end_group(group);
        }
        for (stream, output) in [("stdout", stdout), ("stderr", stderr)] {
            let text = match timeout(OUTPUT_TIME_MAX, output).await {
                Ok(Ok(text)) => text,
                _ => "(something it started goes on printing)".to_owned(),
            };
            for line in text.lines() {
                info!(build.uuid = %uuid, stream, "hook {hook}: {line}");
            }
        }
        match ended {
            Ok(Ok(status)) if status.success() => {
                info!(build.uuid = %uuid, "hook {hook} has run");
            }
            Ok(Ok(status)) => error!(build.uuid = %uuid, "hook {hook} failed: {status}"),
            Ok(Err(error)) => error!(build.uuid = %uuid, "hook {hook} got lost: {error}"),
            Err(_) => error!(
                build.uuid = %uuid,
                "hook {hook} was killed: it took more than {} s",
                self.time_max.as_secs()
            ),
        }
    }
}

/// Ends a hook with everything it started.
fn end_group(group: Option<u32>) {
    let group = group
        .and_then(|group| i32::try_from(group).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group
        && let Err(error) =
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
    {
        warn!("a hook cannot be killed: {error}");
    }
}

/// What a hook printed, up to a limit; the rest is read and dropped, so that the hook can go on.
async fn read_output(output: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> String {
    let Some(mut output) = output else {
        return String::new();
    };
    let mut bytes = Vec::new();
    let read = (&mut output).take(bytes_max).read_to_end(&mut bytes).await;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if let Err(error) = read {
        text.push_str(&format!("\n(its output cannot be read: {error})"));
    } else if tokio::io::copy(&mut output, &mut tokio::io::sink())
        .await
        .is_ok_and(|more| more > 0)
    {
        text.push_str("\n(there was more)");
    }
    text
}
