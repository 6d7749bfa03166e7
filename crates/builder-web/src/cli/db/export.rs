//! `db export` and `db extract-build`: builds as the exec files a builder would send.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use builder_store::{JobName, Store, builds, jobs};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use crate::cli::progress::Progress;
use crate::cli::{DatadirArg, Refused, say};
use crate::exec_file::ExecFile;
use crate::names;
use crate::show::counted;

/// What is collected before it is written.
const BUFFER_BYTES: usize = 256 * 1024;

#[derive(Debug, Args)]
pub(super) struct ExtractArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// The file to write
    #[arg(long, default_value = "full", value_name = "FILE")]
    dest: PathBuf,
    /// The build
    #[arg(value_name = "UUID")]
    build: String,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Directory to write to, as JOB/UUID.exec; created if need be
    #[arg(long, value_name = "DIR")]
    dest: PathBuf,
    /// Every build
    #[arg(long, conflicts_with_all = ["job", "uuids"], required_unless_present_any = ["job", "uuids"])]
    all: bool,
    /// Every build of a job; may be repeated
    #[arg(long)]
    job: Vec<String>,
    /// These builds
    #[arg(value_name = "UUID")]
    uuids: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn extract(args: &ExtractArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let uuid = parse(&args.build)?;
    let exec = ExecFile::load(&store, uuid).with_context(|| format!("read build {uuid}"))?;
    let exec = exec.ok_or_else(|| no_build(uuid))?;
    write(&store, exec, &args.dest)
}

/// What became of one build.
enum Written {
    Whole,
    Already,
    /// It was removed since it was listed.
    Gone,
}

pub(super) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let wanted = wanted(&store, args)?;
    fs::create_dir_all(&args.dest)
        .map_err(|error| Refused(format!("cannot create {}: {error}", args.dest.display())))?;
    let progress = Progress::of_count("exporting", wanted.len() as u64);
    let (mut written, mut already, mut gone) = (0, 0, 0);
    let mut failed: Vec<(String, String)> = Vec::new();
    for (job, uuid) in &wanted {
        let name = format!("{job}/{uuid}");
        match one(&store, job, *uuid, &args.dest) {
            Ok(Written::Whole) => {
                written += 1;
                if !progress.is_shown() && !args.json {
                    progress.say(&format!("exported {name}"));
                }
            }
            Ok(Written::Already) => already += 1,
            Ok(Written::Gone) => gone += 1,
            Err(error) => {
                let error = format!("{error:#}");
                progress.say_error(&format!("not exported {name}: {error}"));
                failed.push((name, error));
            }
        }
        progress.add(1);
    }
    drop(progress);
    if args.json {
        let failed = failed
            .iter()
            .map(|(build, error)| json!({ "build": build, "error": error }));
        let json = json!({
            "dest": args.dest.display().to_string(),
            "exported": written,
            "there_already": already,
            "removed_meanwhile": gone,
            "failed": failed.collect::<Vec<_>>(),
        });
        say(&serde_json::to_string_pretty(&json).context("write JSON")?);
    } else {
        let gone = match gone {
            0 => String::new(),
            gone => format!(", {gone} removed meanwhile"),
        };
        say(&format!(
            "exported {} to {}, {already} there already{gone}",
            counted(written, "build"),
            args.dest.display()
        ));
    }
    match failed.len() {
        0 => Ok(()),
        count => Err(anyhow!(
            "{} could not be exported; builder-db verify-data-dir --datadir {} says what is wrong",
            counted(count, "build"),
            store.directory().display()
        )),
    }
}

/// The builds that were asked for, oldest first.
fn wanted(store: &Store, args: &ExportArgs) -> anyhow::Result<Vec<(String, Uuid)>> {
    if args.all {
        return store
            .read(|tx| builds::names(tx, None))
            .context("list the builds");
    }
    let mut wanted = Vec::new();
    for job in &args.job {
        if store.read(|tx| jobs::id_by_name(tx, job))?.is_none() {
            return Err(Refused(format!("there is no job {job}")).into());
        }
        wanted.append(&mut store.read(|tx| builds::names(tx, Some(job)))?);
    }
    for uuid in &args.uuids {
        let uuid = parse(uuid)?;
        let build = store.read(|tx| builds::by_uuid(tx, uuid))?;
        let build = build.ok_or_else(|| no_build(uuid))?;
        wanted.push((build.job, uuid));
    }
    Ok(wanted)
}

fn one(store: &Store, job: &str, uuid: Uuid, dest: &Path) -> anyhow::Result<Written> {
    // Rows of others may hold any name; this one becomes a directory.
    let directory = dest.join(JobName::parse(job.as_bytes())?.as_str());
    let path = directory.join(format!("{uuid}.exec"));
    // Only what is complete has this name.
    if path.exists() {
        return Ok(Written::Already);
    }
    let Some(exec) = ExecFile::load(store, uuid)? else {
        return Ok(Written::Gone);
    };
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    write(store, exec, &path)?;
    Ok(Written::Whole)
}

/// Under another name until it is complete and synced.
fn write(store: &Store, exec: ExecFile, path: &Path) -> anyhow::Result<()> {
    let failed = || format!("write {}", path.display());
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        // A pipe, a terminal: nothing can be renamed to there.
        let out = File::options().write(true).open(path);
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out.with_context(failed)?);
        return exec.write_to(store, &mut out).with_context(failed);
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(&unfinished)?);
        exec.write_to(store, &mut out)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&unfinished, path)
    };
    let written = write();
    if written.is_err() {
        // It may not be there.
        let _: std::io::Result<()> = fs::remove_file(&unfinished);
    }
    written.with_context(failed)
}

fn parse(uuid: &str) -> anyhow::Result<Uuid> {
    Ok(names::uuid(uuid).ok_or_else(|| {
        Refused(format!(
            "{uuid:?} is no uuid: it has 36 characters, such as f63a5b8a-9ab3-40a3-8cfc-000000000001"
        ))
    })?)
}

fn no_build(uuid: Uuid) -> Refused {
    Refused(format!("there is no build {uuid}"))
}
