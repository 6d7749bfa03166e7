//! `db verify-cache-dir`: whether the pictures of artifacts are whole.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use builder_store::Store;
use builder_store::cache::Cache;
use builder_store::verify_cache::{self, CacheProblem};
use clap::Args;
use serde_json::json;

use crate::cli::{DatadirArg, Refused, say};
use crate::show::counted;

#[derive(Debug, Args)]
pub(super) struct VerifyCacheDirArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Directory of the pictures [default: _cache in the data directory]
    #[arg(long, env = "BUILDER_WEB_CACHEDIR", value_name = "DIR")]
    cachedir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VerifyCacheDirArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let cache = match &args.cachedir {
        Some(directory) => Cache::at(directory),
        None => store.cache(),
    };
    let directory = cache.directory().display().to_string();
    if !cache.directory().is_dir() {
        return Err(Refused(format!("the cache directory {directory} does not exist")).into());
    }
    let (pictures, problems) =
        verify_cache::verify(&store, &cache).context("verify the cache directory")?;
    let open = problems.iter().filter(|problem| !problem.is_note()).count();
    if args.json {
        let all = problems.iter().map(|problem| {
            let build = match problem {
                CacheProblem::Missing(_, build) => Some(build),
                _ => None,
            };
            json!({
                "path": problem.path().display().to_string(),
                "fault": problem.name(),
                "build": build,
                "open": !problem.is_note(),
            })
        });
        let json = json!({
            "cachedir": directory,
            "pictures": pictures,
            "problems": all.collect::<Vec<_>>(),
            "open": open,
        });
        say(&serde_json::to_string_pretty(&json).context("write JSON")?);
    } else {
        for problem in &problems {
            let of = match problem {
                CacheProblem::Missing(_, build) => format!("  of {build}"),
                CacheProblem::NotDone(_) => "  (is batch-viz.sh at work?)".to_owned(),
                CacheProblem::Orphan(_) => "  (no build has this artifact any more)".to_owned(),
                _ => String::new(),
            };
            say(&format!(
                "{:<10}  {}{of}",
                problem.name(),
                problem.path().display()
            ));
        }
        say(&format!(
            "{pictures} pictures in {directory}, {} noted, {open} open",
            problems.len()
        ));
    }
    match open {
        0 => Ok(()),
        open => Err(anyhow!(
            "{} not as it should be in {directory}; all there can be made again, so what is listed may be removed",
            counted(open, "file")
        )),
    }
}
