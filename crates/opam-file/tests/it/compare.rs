//! What is said about two switches.

use opam_file::{Comparison, SwitchExport};

fn export(fields: &str) -> SwitchExport {
    SwitchExport::parse(format!("opam-version: \"2.0\"\n{fields}").as_bytes()).unwrap()
}

/// A switch with one root, `r`, and these duniverse directories.
fn unikernel(directories: &str) -> SwitchExport {
    export(&format!(
        "roots: [\"r.1\"] installed: [\"r.1\"]
        package \"r\" {{ opam-version: \"2.0\" version: \"1\" x-opam-monorepo-duniverse-dirs: {directories} }}"
    ))
}

/// One line for each thing that changed.
fn shown(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(
        comparison
            .opam_diff
            .iter()
            .map(|diff| format!("opam {}", diff.package)),
    );
    lines.extend(
        comparison
            .version_diff
            .iter()
            .map(|diff| format!("version {diff}")),
    );
    lines.extend(
        comparison
            .only_in_left
            .iter()
            .map(|package| format!("left {package}")),
    );
    lines.extend(
        comparison
            .only_in_right
            .iter()
            .map(|package| format!("right {package}")),
    );
    match &comparison.duniverse_diff {
        Ok(diff) => {
            lines.extend(
                diff.left
                    .iter()
                    .map(|directory| format!("left {directory}")),
            );
            lines.extend(
                diff.right
                    .iter()
                    .map(|directory| format!("right {directory}")),
            );
            lines.extend(
                diff.detailed_diff
                    .iter()
                    .map(|change| format!("changed {change}")),
            );
        }
        Err(error) => lines.push(error.clone()),
    }
    lines
}

fn check(left: &SwitchExport, right: &SwitchExport, expected: &[&str]) {
    assert_eq!(shown(&left.compare(right)), expected);
}

const NO_ROOT: &str = "not a single root package found in opam switch export";

#[test]
fn packages_that_came_went_or_changed_are_listed() {
    let left = export("installed: [\"a.1\" \"b.1\" \"c.1\" \"d.1.0\" \"D.2\"]");
    let right = export("installed: [\"d.1.00\" \"c.2\" \"e.1\" \"b.0\" \"f.1\"]");
    check(
        &left,
        &right,
        &[
            "version b.1->0",
            "version c.1->2",
            "left D.2",
            "left a.1",
            "right f.1",
            "right e.1",
            NO_ROOT,
        ],
    );
}

#[test]
fn the_difference_of_an_opam_file_is_that_of_the_printed_files() {
    let package = |fields: &str| {
        export(&format!(
            "installed: [\"a.1\"] package \"a\" {{ opam-version: \"2.0\" version: \"1\" {fields} }}"
        ))
    };
    let comparison = package("synopsis: \"s\"").compare(&package("build: [ [make]\n[\"x\"] ]"));
    let [diff] = comparison.opam_diff.as_slice() else {
        panic!("one difference is expected")
    };
    assert_eq!(
        diff.diff,
        "--- left/a/opam\n+++ right/a/opam\n@@ -1,4 +1,7 @@\n opam-version: \"2.0\"\n name: \"a\"\n version: \"1\"\n-synopsis: \"s\"\n+build: [\n+  [make]\n+  [\"x\"]\n+]"
    );
    assert!(
        package("synopsis: \"s\"")
            .compare(&package("synopsis: \"t\""))
            .opam_diff
            .is_empty()
    );
}

#[test]
fn an_opam_file_on_one_side_only_is_shown_whole() {
    let with = export("installed: [\"a.1\"] package \"a\" { opam-version: \"2.0\" }");
    let without = export("installed: [\"a.1\"]");
    assert_eq!(
        with.compare(&without).opam_diff[0].diff,
        "--- left/a/opam\n+++ right/a/opam\n@@ -1,2 +0,0 @@\n-opam-version: \"2.0\"\n-name: \"a\""
    );
    check(&without, &without, &[NO_ROOT]);
}

#[test]
fn pins_compilers_and_roots_that_are_not_installed_do_no_harm() {
    let odd =
        export("pinned: \"p.1\" compiler: [\"c.1\"] roots: [\"r.1\"] installed: [\"a.1\" \"a.2\"]");
    check(
        &odd,
        &odd,
        &[
            "version a.2->1",
            "opam switch export doesn't contain the main package",
        ],
    );
}

#[test]
fn duniverse_directories_are_compared_by_their_hashes_then_by_their_url() {
    let hash = |digit: &str| format!("\"sha256={}\"", digit.repeat(64));
    let (one, two) = (hash("1"), hash("2"));
    let md5 = format!("\"MD5={}\"", "A".repeat(32));
    let left = unikernel(&format!(
        "[[\"u\" \"same\" [{one}]] [\"u\" \"gone\"] [\"u\" \"changed\" [{md5} {one}]] [\"u#1\" \"git\"] [\"u\" \"lost\" [{one}]]]"
    ));
    let right = unikernel(&format!(
        "[[\"v\" \"same\" [{one}]] [\"u\" \"new\"] [\"v\" \"changed\" [{two}]] [\"u#2\" \"git\"] [\"u\" \"lost\"]]"
    ));
    let (ones, twos, a) = ("1".repeat(64), "2".repeat(64), "a".repeat(32));
    check(
        &left,
        &right,
        &[
            "left gone (u)",
            "right new (u)",
            &format!("changed changed (u->v) sha256 {ones}->{twos}, md5 {a}->NONE"),
            "changed git (u#1->u#2) ",
            &format!("changed lost (u) sha256 {ones}->NONE"),
        ],
    );
}

#[test]
fn duniverse_directories_that_cannot_be_read_are_an_error_text() {
    let good = unikernel("[]");
    for (directories, error) in [
        ("\"u\"", "expected a list or a nested list"),
        ("[\"u\" \"d\"]", "expected a list of URL, DIR, [HASHES]"),
        (
            "[[\"u\" \"d\" [] []]]",
            "expected a list of URL, DIR, [HASHES]",
        ),
        ("[[u \"d\"]]", "couldn't find a string url"),
        ("[[\"u\" d]]", "couldn't find a string directory"),
        ("[[\"u\" \"d\" \"h\"]]", "couldn't decode hashes"),
        ("[[\"u\" d [h]]]", "couldn't find a string hash"),
        (
            "[[\"u\" \"d\" [\"md5=h\"]]]",
            "couldn't decode opam hash in md5=h",
        ),
    ] {
        check(&unikernel(directories), &good, &[error]);
        check(&good, &unikernel(directories), &[error]);
    }
    check(
        &good,
        &export("roots: [\"r.1\" \"s.1\"]"),
        &["left r.1", NO_ROOT],
    );
}
