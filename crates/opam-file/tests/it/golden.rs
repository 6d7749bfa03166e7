//! Agreement with opam-format 2.5.2 on files it has printed and compared. The files are many and not part of this
//! repository: they are looked for in a folder `shared` beside it or further up, and without it nothing is checked here.

use std::cmp::Ordering;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use opam_file::{Document, OpamFile, compare_names, version};

#[expect(clippy::print_stdout, reason = "says that nothing was checked")]
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared").join(path));
    let found = folders.find(|path| path.exists());
    if found.is_none() {
        println!("not checked: there is no folder shared/{path}");
    }
    found
}

/// The pairs of files `NAME.in`, `NAME.out` of a folder.
fn check_folder(path: &str, convert: fn(&[u8]) -> Vec<u8>) {
    let Some(folder) = shared(path) else { return };
    let mut checked = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let input = entry.unwrap().path();
        if input.extension().is_some_and(|extension| extension == "in") {
            let expected = expected_text(&fs::read(input.with_extension("out")).unwrap());
            let found = convert(&fs::read(&input).unwrap());
            assert_eq!(
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(&expected),
                "{}",
                input.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 0);
}

fn expected_text(text: &[u8]) -> Vec<u8> {
    let Some(errors) = text.windows(5).position(|window| window == b"\nERR ") else {
        return text.to_vec();
    };
    let (printed, errors) = text.split_at(errors + 1);
    let errors = String::from_utf8_lossy(errors).into_owned();
    let mut dropped: Vec<&str> = errors
        .lines()
        .filter_map(|line| line.strip_prefix("ERR ")?.split(':').next())
        .collect();
    dropped.sort();
    [
        printed,
        dropped
            .iter()
            .map(|name| format!("ERR {name}\n"))
            .collect::<String>()
            .as_bytes(),
    ]
    .concat()
}

#[test]
fn untyped_files_are_printed_as_opam_prints_them() {
    check_folder("spec/vectors/raw", |input| {
        Document::parse(input).unwrap().print()
    });
}

#[test]
fn opam_files_are_printed_as_opam_prints_them() {
    check_folder("spec/vectors/print", |input| {
        // Dropped fields stand behind the text, one line `ERR field: where` each and one for the reason, in no order.
        let file = OpamFile::parse(input).unwrap();
        let mut text = file.print();
        let mut dropped: Vec<String> = file
            .problems()
            .into_iter()
            .map(|problem| problem.name)
            .collect();
        dropped.sort();
        text.extend(
            dropped
                .iter()
                .flat_map(|name| format!("ERR {name}\n").into_bytes()),
        );
        text
    });
}

#[test]
fn versions_are_ordered_as_opam_orders_them() {
    let Some(path) = shared("spec/vectors/versions.txt") else {
        return;
    };
    for line in fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [left, relation, right] = line
            .split_whitespace()
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let expected = match relation {
            "<" => Ordering::Less,
            "=" => Ordering::Equal,
            _ => Ordering::Greater,
        };
        assert_eq!(
            version::compare(left.as_bytes(), right.as_bytes()),
            expected,
            "{line}"
        );
        assert_eq!(
            version::compare(right.as_bytes(), left.as_bytes()),
            expected.reverse(),
            "{line}"
        );
    }
}

#[test]
fn names_are_ordered_as_opam_orders_them() {
    let Some(path) = shared("spec/vectors/names-sorted.txt") else {
        return;
    };
    let text = fs::read_to_string(path).unwrap();
    let names: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(names.is_sorted_by(|a, b| compare_names(a.as_bytes(), b.as_bytes()).is_lt()));
}

#[test]
fn the_meaning_of_small_files_is_compared_as_in_opam() {
    let Some(path) = shared("spec/vectors/effectively-equal.json") else {
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for case in cases {
        let file = |side: &str| {
            let body = case[side].as_str().unwrap();
            OpamFile::parse(
                format!("opam-version: \"2.0\"\nname: \"p\"\nversion: \"1\"\n{body}").as_bytes(),
            )
            .unwrap()
        };
        let equal = file("left").effectively_equal(&file("right"));
        assert_eq!(
            equal,
            case["effectively_equal"].as_bool().unwrap(),
            "{case}"
        );
    }
}

/// The lines of a compressed file, as JSON.
fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn changed_files_of_the_opam_repository_are_printed_and_compared_as_in_opam() {
    let Some(path) = shared("corpus/opam-files/changed.jsonl.gz") else {
        return;
    };
    let cases = json_lines(&path);
    assert_eq!(cases.len(), 328);
    for case in cases {
        let file = |side: &str| OpamFile::parse(case[side].as_str().unwrap().as_bytes()).unwrap();
        for side in ["left", "right"] {
            let expected = case[format!("printed_{side}")].as_str().unwrap();
            // The golden texts were recorded without the final line feed.
            assert_eq!(
                String::from_utf8_lossy(&file(side).print()),
                format!("{expected}\n")
            );
        }
        let equal = file("left").effectively_equal(&file("right"));
        assert_eq!(
            equal,
            case["effectively_equal"].as_bool().unwrap(),
            "{case}"
        );
    }
}
