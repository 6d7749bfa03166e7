//! Agreement with builder-web's own comparison of switch exports, on golden files that are not part of this repository.

use std::fs;
use std::path::Path;

use opam_file::{Comparison, DuniverseDiff, Package, SwitchExport};
use serde_json::{Value, json};

use crate::golden::shared;

fn read(path: &Path) -> SwitchExport {
    SwitchExport::parse(&fs::read(path).unwrap()).unwrap()
}

/// As upstream writes it, with the text of an error in place of the duniverse directories.
fn as_json(comparison: &Comparison) -> Value {
    let packages = |packages: &[Package]| -> Vec<Value> {
        packages
            .iter()
            .map(|package| json!({"name": package.name, "version": package.version}))
            .collect()
    };
    let duniverse = |diff: &DuniverseDiff| {
        let directories = |directories: &[opam_file::Directory]| -> Vec<Value> {
            directories
                .iter()
                .map(|directory| json!({"name": directory.name, "value": directory.url}))
                .collect()
        };
        let changes: Vec<Value> = diff
            .detailed_diff
            .iter()
            .map(|change| json!({"name": change.name}))
            .collect();
        json!({"left": directories(&diff.left), "right": directories(&diff.right), "detailed_diff": changes})
    };
    let opam_diff = comparison.opam_diff.iter().map(|diff| {
        json!({"package_version": diff.package.to_string(), "effectively_equal": diff.effectively_equal, "diff": diff.diff})
    });
    let version_diff = comparison.version_diff.iter().map(|diff| {
        json!({"name": diff.name, "version_left": diff.version_left, "version_right": diff.version_right})
    });
    json!({
        "opam_diff": opam_diff.collect::<Vec<_>>(),
        "version_diff": version_diff.collect::<Vec<_>>(),
        "only_in_left": packages(&comparison.only_in_left),
        "only_in_right": packages(&comparison.only_in_right),
        "duniverse_diff": comparison.duniverse_diff.as_ref().map_or_else(|error| json!(error), duniverse),
    })
}

/// The form of the page, one line an entry.
fn as_text(comparison: &Comparison) -> String {
    let mut text = String::new();
    for diff in &comparison.opam_diff {
        text += &format!("opam: {}\n{}\n", diff.package, diff.diff);
    }
    let mut list = |mark: &str, lines: Vec<String>| {
        lines
            .iter()
            .for_each(|line| text += &format!("{mark}: {line}\n"))
    };
    list(
        "ver",
        comparison
            .version_diff
            .iter()
            .map(ToString::to_string)
            .collect(),
    );
    list(
        "left",
        comparison
            .only_in_left
            .iter()
            .rev()
            .map(ToString::to_string)
            .collect(),
    );
    list(
        "right",
        comparison
            .only_in_right
            .iter()
            .rev()
            .map(ToString::to_string)
            .collect(),
    );
    match &comparison.duniverse_diff {
        Ok(diff) => {
            list("dl", diff.left.iter().map(ToString::to_string).collect());
            list("dr", diff.right.iter().map(ToString::to_string).collect());
            list(
                "dd",
                diff.detailed_diff.iter().map(ToString::to_string).collect(),
            );
        }
        Err(error) => list("dunierr", vec![error.clone()]),
    }
    text
}

#[test]
fn small_switches_are_compared_as_in_builder_web() {
    let Some(folder) = shared("spec/vectors/compare") else {
        return;
    };
    let mut checked = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let left = entry.unwrap().path();
        if left.extension().is_none_or(|extension| extension != "left") {
            continue;
        }
        let comparison = read(&left).compare(&read(&left.with_extension("right")));
        // Where upstream has no answer, any will do.
        if let Ok(expected) = fs::read(left.with_extension("json")) {
            let expected: Value = serde_json::from_slice(&expected).unwrap();
            assert_eq!(as_json(&comparison), expected, "{}", left.display());
            let expected = fs::read_to_string(left.with_extension("txt")).unwrap();
            let expected = if expected == "\n" { "" } else { &expected };
            assert_eq!(as_text(&comparison), expected, "{}", left.display());
        }
        checked += 1;
    }
    assert_eq!(checked, 23);
}

#[test]
fn real_switches_are_compared_as_in_builder_web() {
    let (Some(answers), Some(switches)) = (
        shared("corpus/reference/opamdiff"),
        shared("corpus/switches"),
    ) else {
        return;
    };
    let mut checked = 0;
    for entry in fs::read_dir(answers).unwrap() {
        let answer = entry.unwrap().path();
        let (left, right) = answer
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .split_once('~')
            .unwrap();
        let [left, right] =
            [left, right].map(|name| read(&switches.join(format!("{name}.export"))));
        let expected: Value = serde_json::from_slice(&fs::read(&answer).unwrap()).unwrap();
        assert_eq!(
            as_json(&left.compare(&right)),
            expected,
            "{}",
            answer.display()
        );
        checked += 1;
    }
    assert!(checked > 0);
}
