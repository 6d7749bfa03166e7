//! What differs between two switches, in the forms that programs and people read.

use opam_file::{Comparison, Package};
use serde_json::{Value, json};

/// `opam_diff` of the page that compares two builds, as clients read it.
pub fn json(opam: &Comparison) -> Value {
    let diffs: Vec<Value> = opam
        .opam_diff
        .iter()
        .map(|diff| {
            json!({
                "package_version": diff.package.to_string(),
                "effectively_equal": diff.effectively_equal,
                "diff": diff.diff,
            })
        })
        .collect();
    let versions: Vec<Value> = opam
        .version_diff
        .iter()
        .map(|diff| {
            json!({
                "name": diff.name,
                "version_left": diff.version_left,
                "version_right": diff.version_right,
            })
        })
        .collect();
    let packages = |list: &[Package]| -> Vec<Value> {
        list.iter()
            .map(|package| json!({ "name": package.name, "version": package.version }))
            .collect()
    };
    json!({
        "opam_diff": diffs,
        "version_diff": versions,
        "only_in_left": packages(&opam.only_in_left),
        "only_in_right": packages(&opam.only_in_right),
        "duniverse_diff": duniverse_json(opam),
    })
}

/// Always an object: where the directories cannot be read, its lists are empty and `error` says why.
fn duniverse_json(opam: &Comparison) -> Value {
    let duniverse = match &opam.duniverse_diff {
        Ok(duniverse) => duniverse,
        Err(error) => {
            return json!({ "left": [], "right": [], "detailed_diff": [], "error": error.to_string() });
        }
    };
    let directories = |list: &[opam_file::Directory]| -> Vec<Value> {
        list.iter()
            .map(|directory| json!({ "name": directory.name, "value": directory.url }))
            .collect()
    };
    let changed: Vec<Value> = duniverse
        .detailed_diff
        .iter()
        .map(|change| json!({ "name": change.name }))
        .collect();
    json!({
        "left": directories(&duniverse.left),
        "right": directories(&duniverse.right),
        "detailed_diff": changed,
    })
}

/// The same for a person at a terminal: a heading for each kind of change, and nothing for what
/// did not change.
pub fn text(opam: &Comparison) -> String {
    let mut out = String::new();
    let mut list = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{title} ({}):\n", lines.len()));
        for line in lines {
            out.push_str("  ");
            out.push_str(line.trim_end());
            out.push('\n');
        }
    };
    // As on the page: from a to z.
    let packages = |packages: &[Package]| packages.iter().rev().map(Package::to_string).collect();
    list("Packages removed", packages(&opam.only_in_left));
    list("Packages added", packages(&opam.only_in_right));
    let changed = opam.version_diff.iter();
    let changed = changed.map(|change| {
        format!(
            "{} {} -> {}",
            change.name, change.version_left, change.version_right
        )
    });
    list("Packages with another version", changed.collect());
    match &opam.duniverse_diff {
        Ok(duniverse) => {
            let directories = |all: &[opam_file::Directory]| {
                all.iter().map(opam_file::Directory::to_string).collect()
            };
            list(
                "Duniverse directories removed",
                directories(&duniverse.left),
            );
            list("Duniverse directories added", directories(&duniverse.right));
            let changed = duniverse.detailed_diff.iter();
            let changed = changed.map(opam_file::DirectoryChange::to_string);
            list(
                "Duniverse directories with other content",
                changed.collect(),
            );
        }
        Err(error) => list(
            "Duniverse directories cannot be compared",
            vec![error.clone()],
        ),
    }
    let files = opam.opam_diff.iter().rev();
    let files: Vec<String> = files
        .map(|diff| {
            let lines: Vec<String> = diff
                .diff
                .lines()
                .map(|line| format!("    {line}"))
                .collect();
            format!("{}\n{}", diff.package, lines.join("\n"))
        })
        .collect();
    list("Packages with changes in their opam file", files);
    if out.is_empty() {
        out.push_str("No difference in packages.\n");
    }
    out
}
