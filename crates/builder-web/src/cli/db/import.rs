//! `db import`: exec files into a data directory, by the code of `POST /upload`, without a server
//! or beside one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use builder_exec::{Part, Reader, Timestamp};
use builder_store::users::{self, User};
use builder_store::{Store, builds};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::account::{account, refuse_root};
use crate::app::App;
use crate::auth::Caller;
use crate::cli::progress::Progress;
use crate::cli::{DatadirArg, LogArgs, Refused, default_configdir, say, start_log};
use crate::clock::Clock;
use crate::config::Config;
use crate::show::counted;
use crate::upload::receive::{self, Received};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The user whose uploads these are [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Run the upload hooks for each build that is stored, as the server does
    #[arg(long)]
    hooks: bool,
    /// Directory of the configuration, with upload-hooks/
    #[arg(short, long, default_value = default_configdir(), value_name = "DIR")]
    configdir: PathBuf,
    /// Largest file to accept, in MiB
    #[arg(long, default_value_t = 4096, value_name = "MIB")]
    upload_limit: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// exec files, and directories with such: below them, files named full, *.full or *.exec are taken
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
}

/// A file that may be a build.
struct Candidate {
    path: PathBuf,
    bytes: u64,
    /// When the build started, and its name; none if it is no build.
    head: Option<(Timestamp, Uuid)>,
}

/// What became of one file.
enum Outcome {
    Stored(Received),
    Already(Uuid),
    Refused(String),
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    if args.hooks {
        let datadir = args.datadir.datadir.display().to_string();
        let command = ["import", "--hooks", "-d", &datadir, "…"];
        refuse_root(&args.datadir.datadir, &command)?;
    }
    let candidates = candidates(&args.files)?;
    let store = Store::open_beside(&args.datadir.datadir)?;
    start_log(&match args.hooks {
        true => LogArgs::of_hooks(),
        false => LogArgs::quiet(),
    })?;
    let user = uploader(&store, args.user.as_deref())?;
    let mut caller = Caller::local(user, account());
    caller.runs_hooks = args.hooks;
    store
        .sweep_interrupted()
        .context("remove what an interrupted upload left")?;
    let mut config = Config::new(args.datadir.datadir.clone(), args.configdir.clone());
    config.limits.upload_bytes_max = args.upload_limit.saturating_mul(1024 * 1024);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("start")?;
    let _entered = runtime.enter();
    let app = App::new(store, config, Clock::System);
    let total = candidates.iter().map(|candidate| candidate.bytes).sum();
    let progress = Progress::of_bytes("importing", total);
    let (mut stored, mut already) = (0, 0);
    let mut files = Vec::new();
    let mut refused = 0;
    for candidate in &candidates {
        let path = candidate.path.display();
        let outcome = import(&app, &caller, candidate, &progress);
        let (word, line, build) = match outcome {
            Outcome::Stored(received) => {
                stored += 1;
                let build = format!("{}/{}", received.job, received.uuid);
                if args.hooks
                    && let Some(call) = received.hook
                {
                    drop(app.hooks().run(&app, call));
                }
                ("stored", format!("stored {build}: {path}"), Some(build))
            }
            Outcome::Already(uuid) => {
                already += 1;
                let line = format!("there already {uuid}: {path}");
                ("there-already", line, Some(uuid.to_string()))
            }
            Outcome::Refused(why) => {
                refused += 1;
                progress.say_error(&format!("refused {path}: {why}"));
                files.push(json!({ "file": path.to_string(), "outcome": "refused", "why": why }));
                continue;
            }
        };
        if args.json {
            files.push(json!({ "file": path.to_string(), "outcome": word, "build": build }));
        } else if !progress.is_shown() {
            progress.say(&line);
        }
    }
    drop(progress);
    if args.hooks {
        // Each has its own limit; all that wait get their turn.
        runtime.block_on(app.hooks().finish(std::time::Duration::MAX));
    }
    app.store().catch_up().context("derive what pages show")?;
    if args.json {
        let json = json!({
            "datadir": args.datadir.datadir.display().to_string(),
            "stored": stored,
            "there_already": already,
            "refused": refused,
            "files": files,
        });
        say(&serde_json::to_string_pretty(&json).context("write JSON")?);
    } else {
        say(&format!(
            "stored {}, {already} there already, refused {}",
            counted(stored, "build"),
            counted(refused, "file")
        ));
    }
    match refused {
        0 => Ok(()),
        count => Err(anyhow!(
            "refused {}; what was refused is where it was",
            counted(count, "file")
        )),
    }
}

fn import(app: &App, caller: &Caller, candidate: &Candidate, progress: &Progress) -> Outcome {
    let mut file = match File::open(&candidate.path) {
        Ok(file) => CountingReader {
            file,
            progress,
            left: candidate.bytes,
        },
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let known = |uuid| app.store().read(|tx| builds::exists(tx, uuid));
    let received = match candidate.head {
        // What a server says after the head alone.
        Some((_, uuid)) if matches!(known(uuid), Ok(true)) => Ok(Outcome::Already(uuid)),
        _ => receive::exec(app, caller, &mut file).map(Outcome::Stored),
    };
    progress.add(file.left);
    match (received, candidate.head) {
        (Ok(outcome), _) => outcome,
        // Somebody else was faster.
        (Err(_), Some((_, uuid))) if matches!(known(uuid), Ok(true)) => Outcome::Already(uuid),
        (Err(error), _) => Outcome::Refused(error.message()),
    }
}

/// Tells the bar what is read.
struct CountingReader<'p> {
    file: File,
    progress: &'p Progress,
    left: u64,
}

impl Read for CountingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let counted = self.left.min(count as u64);
        self.left -= counted;
        self.progress.add(counted);
        Ok(count)
    }
}

/// Who uploads: whoever can write to the data directory may upload to any job.
fn uploader(store: &Store, name: Option<&str>) -> anyhow::Result<User> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => {
            let users = store.read(users::all)?;
            let mut names: Vec<String> = users.into_iter().map(|user| user.name).collect();
            match names.len() {
                1 => names.remove(0),
                0 => {
                    return Err(Refused(format!(
                        "a build belongs to the user who uploaded it, and there is none; add one with: echo PASSWORD | builder-db user-add NAME --datadir {}",
                        store.directory().display()
                    ))
                    .into());
                }
                _ => {
                    return Err(Refused(format!(
                        "whose uploads are these? Give --user, one of: {}",
                        names.join(", ")
                    ))
                    .into());
                }
            }
        }
    };
    let user = store.read(|tx| users::by_name(tx, &name))?;
    let user = user.ok_or_else(|| Refused(format!("there is no user {name}")))?;
    Ok(User {
        restricted: false,
        ..user
    })
}

/// The files, in the order in which their builds started: what a job's page says of it is taken
/// from its newest build, and a server took them in in that order. What is no build comes last.
fn candidates(paths: &[PathBuf]) -> anyhow::Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for path in paths {
        let metadata =
            fs::metadata(path).map_err(|error| Refused(format!("{}: {error}", path.display())))?;
        if !metadata.is_dir() {
            candidates.push(Candidate::new(path.clone(), metadata.len()));
            continue;
        }
        let before = candidates.len();
        let mut todo = vec![path.clone()];
        while let Some(directory) = todo.pop() {
            let failed = || format!("read {}", directory.display());
            for entry in fs::read_dir(&directory).with_context(failed)? {
                let path = entry.with_context(failed)?.path();
                let metadata = fs::metadata(&path);
                match metadata {
                    Ok(metadata) if metadata.is_dir() => todo.push(path),
                    Ok(metadata) if is_exec_name(&path) => {
                        candidates.push(Candidate::new(path, metadata.len()));
                    }
                    _ => {}
                }
            }
        }
        if candidates.len() == before {
            return Err(Refused(format!(
                "nothing below {} is named full, *.full or *.exec; name other files themselves",
                path.display()
            ))
            .into());
        }
    }
    candidates.sort_by(|left, right| {
        let key = |candidate: &Candidate| (candidate.head.is_none(), candidate.head);
        key(left).cmp(&key(right)).then(left.path.cmp(&right.path))
    });
    Ok(candidates)
}

/// As builder-server, `builder-db export` and browsers name them.
fn is_exec_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "full")
        || path
            .extension()
            .is_some_and(|extension| extension == "exec" || extension == "full")
}

impl Candidate {
    fn new(path: PathBuf, bytes: u64) -> Candidate {
        let head = head(&path);
        Candidate { path, bytes, head }
    }
}

/// Reads only as far as the times.
fn head(path: &Path) -> Option<(Timestamp, Uuid)> {
    let mut reader = Reader::new(File::open(path).ok()?, builder_exec::Limits::default());
    let mut uuid = None;
    loop {
        match reader.next_part().ok()? {
            Part::Uuid(name) => uuid = Some(name),
            Part::Times { start, .. } => return Some((start, uuid?)),
            Part::End => return None,
            _ => {}
        }
    }
}
