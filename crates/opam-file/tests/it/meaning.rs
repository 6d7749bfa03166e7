//! Which changes of an opam file matter for what is built.

use opam_file::OpamFile;

fn check(left: &str, right: &str, equal: bool) {
    let file = |fields: &str| {
        OpamFile::parse(
            format!("opam-version: \"2.0\" name: \"p\" version: \"1\"\n{fields}").as_bytes(),
        )
        .unwrap()
    };
    assert_eq!(
        file(left).effectively_equal(&file(right)),
        equal,
        "{left} and {right}"
    );
    assert_eq!(
        file(right).effectively_equal(&file(left)),
        equal,
        "{right} and {left}"
    );
}

const MD5_A: &str = "md5=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const MD5_B: &str = "md5=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn what_is_only_shown_to_people_does_not_matter() {
    for field in [
        "synopsis: \"s\"",
        "maintainer: \"m\"",
        "depexts: [\"d\"]",
        "flags: conf",
        "x-orb-dependencies: []",
    ] {
        check(field, "", true);
    }
    for field in [
        "depends: \"d\"",
        "build: [make]",
        "substs: \"s\"",
        "flags: plugin",
        "x-env-path-rewrite: [[A false]]",
    ] {
        check(field, "", false);
    }
}

#[test]
fn another_way_to_write_the_same_does_not_matter() {
    check("build: make", "build: [[make] []]", true);
    check("depends: [\"a\" \"b\"]", "depends: \"a\" & \"b\"", true);
    check("available: true", "", true);
    check("build: [make {(x)}]", "build: [make {x}]", true);
    check("available: 1 = x", "available: \"1\" = x", true);
    check("build-test: [make]", "run-test: [make]", true);
}

#[test]
fn another_shape_of_a_formula_matters_as_it_does_in_opam() {
    check("depends: [\"a\" (\"b\")]", "depends: [\"a\" \"b\"]", false);
    check("depends: [\"a\" \"b\"]", "depends: [\"b\" \"a\"]", false);
    check(
        "depends: [\"a\" {>= \"1.0\"}]",
        "depends: [\"a\" {>= \"1.00\"}]",
        false,
    );
    check("available: a & (b & c)", "available: (a & b) & c", false);
    check("available: a & b & c", "available: (a & b) & c", true);
    check("build: [make {true}]", "build: [make]", false);
}

#[test]
fn of_a_source_the_first_checksum_counts() {
    let url =
        |src: &str, checksums: &str| format!("url {{ src: \"{src}\" checksum: [{checksums}] }}");
    let (a, b) = (format!("\"{MD5_A}\""), format!("\"{MD5_B}\""));
    check(&url("https://x", &a), &url("https://y", &a), true);
    check(
        &url("https://x", &a),
        &url("https://x", &format!("{a} {b}")),
        true,
    );
    check(
        &url("https://x", &format!("{b} {a}")),
        &url("https://x", &format!("{a} {b}")),
        false,
    );
    check(&url("https://x", ""), &url("https://y", ""), false);
    check(&url("https://x", &a), &url("https://x", ""), false);
    check(&url("https://x", &a), "", false);
    let extra = |name: &str| format!("extra-source \"{name}\" {{ src: \"https://x\" }}");
    check(
        &format!("{} {}", extra("a"), extra("b")),
        &format!("{} {}", extra("b"), extra("a")),
        true,
    );
    check(&extra("a"), &extra("b"), false);
}
