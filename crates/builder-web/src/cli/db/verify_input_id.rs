//! `db verify-input-id`: whether the same input always gave the same main binary.

use anyhow::{Context, anyhow};
use builder_store::{Store, builds};
use clap::Args;
use serde_json::json;

use crate::cli::{DatadirArg, say};
use crate::show::counted;

#[derive(Debug, Args)]
pub(super) struct VerifyInputIdArgs {
    #[command(flatten)]
    datadir: DatadirArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VerifyInputIdArgs) -> anyhow::Result<()> {
    let store = Store::open_beside(&args.datadir.datadir)?;
    let found = store
        .read(builds::inputs_with_several_outputs)
        .context("read the database")?;
    let outputs = |builds: &[builds::Build]| {
        let mut by_output: Vec<(String, Vec<String>)> = Vec::new();
        for build in builds {
            let Some(main) = &build.main_binary else {
                continue;
            };
            let (sha256, name) = (
                main.sha256.to_hex(),
                format!("{}/{}", build.job, build.uuid),
            );
            match by_output.iter_mut().find(|(known, _)| *known == sha256) {
                Some((_, names)) => names.push(name),
                None => by_output.push((sha256, vec![name])),
            }
        }
        by_output
    };
    if args.json {
        let found = found.iter().map(|(input, builds)| {
            let outputs = outputs(builds)
                .into_iter()
                .map(|(sha256, builds)| json!({ "sha256": sha256, "builds": builds }));
            json!({ "input_id": input.to_hex(), "outputs": outputs.collect::<Vec<_>>() })
        });
        let found = found.collect::<Vec<_>>();
        say(&serde_json::to_string_pretty(&found).context("write JSON")?);
    } else {
        for (input, builds) in &found {
            let outputs = outputs(builds);
            say(&format!("input {input} gave {} outputs", outputs.len()));
            for (sha256, builds) in outputs {
                say(&format!("  {sha256}"));
                for build in builds {
                    say(&format!("    {build}"));
                }
            }
        }
    }
    match found.len() {
        0 => {
            if !args.json {
                say("the same input always gave the same main binary");
            }
            Ok(())
        }
        count => Err(anyhow!(
            "{} gave more than one output; /compare/LEFT/RIGHT shows what differs between two builds",
            counted(count, "input")
        )),
    }
}
