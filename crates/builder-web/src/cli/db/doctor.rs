//! `db doctor`: what is not well, each with the command that mends it.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use builder_store::doctor::{self, Finding, Level, quoted};
use clap::Args;
use serde_json::json;

use crate::Clock;
use crate::cli::{DatadirArg, default_configdir, say};
use crate::show::counted;
use crate::upload::hooks::{self, HookState};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Directory of the configuration, with upload-hooks/
    #[arg(short, long, default_value = default_configdir(), value_name = "DIR")]
    configdir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<()> {
    let datadir = &args.datadir.datadir;
    let mut findings = doctor::examine(datadir, &Clock::System.now());
    findings.append(&mut examine_hooks(&args.configdir));
    findings.sort_by_key(|finding| finding.level);
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    if args.json {
        let all = findings.iter().map(|finding| {
            json!({
                "check": finding.check,
                "level": finding.level.name(),
                "what": finding.what,
                "mend": finding.mend,
            })
        });
        let json = json!({
            "datadir": datadir.display().to_string(),
            "findings": all.collect::<Vec<_>>(),
            "problems": problems,
            "warnings": warnings,
        });
        say(&serde_json::to_string_pretty(&json).context("write JSON")?);
    } else {
        for finding in &findings {
            say(&format!(
                "{:<8} {:<12} {}",
                finding.level.name(),
                finding.check,
                finding.what
            ));
            if let Some(mend) = &finding.mend {
                say(&format!("{:22}$ {mend}", ""));
            }
        }
        if problems + warnings == 0 {
            say(&format!("{} is well", datadir.display()));
        }
    }
    if problems + warnings == 0 {
        return Ok(());
    }
    Err(anyhow!(
        "{} and {} in {}",
        counted(problems, "problem"),
        counted(warnings, "warning"),
        datadir.display()
    ))
}

/// What looks like a hook and will not be run, or the other way round.
fn examine_hooks(configdir: &Path) -> Vec<Finding> {
    let directory = configdir.join("upload-hooks");
    if !directory.is_dir() {
        return vec![Finding::new(
            "hooks",
            Level::Note,
            format!(
                "there is no {}: no hook is run after an upload",
                directory.display()
            ),
            format!("mkdir -p {}", quoted(&directory)),
        )];
    }
    let mut findings = Vec::new();
    let mut all = hooks::look(&directory);
    all.sort_by(|left, right| left.0.cmp(&right.0));
    for (path, state) in all {
        let (name, argument) = (path.display(), quoted(&path));
        let text = name.to_string();
        findings.push(match state {
            HookState::Runs => continue,
            HookState::NotExecutable => Finding::new(
                "hooks",
                Level::Warning,
                format!("{name} is not run: not everybody may execute it"),
                format!("chmod a+x {argument}"),
            ),
            HookState::Unreachable(error) => Finding::new(
                "hooks",
                Level::Warning,
                format!("{name} is not run: {error}"),
                format!("rm {argument}  # or put back what it points to"),
            ),
            HookState::Other => match text.strip_suffix(".sample") {
                Some(hook) if !Path::new(hook).exists() => Finding::new(
                    "hooks",
                    Level::Note,
                    format!("{name} is a sample, and is not run"),
                    format!(
                        "cp {argument} {0} && chmod a+x {0}",
                        quoted(Path::new(hook))
                    ),
                ),
                Some(_) => continue,
                None if path.is_dir() => continue,
                None => Finding::new(
                    "hooks",
                    Level::Note,
                    format!("{name} is not run: the names of hooks end in .sh"),
                    format!("mv {argument} {argument}.sh"),
                ),
            },
        });
    }
    findings
}
