//! How opam files look when printed.

use opam_file::{Document, OpamFile};
use proptest::prelude::*;

/// A file of the fields given, printed without its first line.
fn check(fields: &str, expected: &str) {
    assert_eq!(printed(fields), expected, "{fields}");
}

fn printed(fields: &str) -> String {
    let file = OpamFile::parse(format!("opam-version: \"2.0\"\n{fields}").as_bytes()).unwrap();
    let text = String::from_utf8(file.print()).unwrap();
    text.strip_prefix("opam-version: \"2.0\"\n")
        .unwrap()
        .trim_end_matches('\n')
        .to_owned()
}

/// The names of fields and sections that were dropped.
fn dropped(fields: &str) -> Vec<String> {
    let file = OpamFile::parse(format!("opam-version: \"2.0\"\n{fields}").as_bytes()).unwrap();
    file.problems()
        .into_iter()
        .map(|problem| problem.name)
        .collect()
}

#[test]
fn fields_come_in_the_order_of_opam() {
    check(
        "x-b: 1 install: [make] synopsis: \"s\" url { src: \"https://e\" } x-a: 2 depends: \"d\" version: \"1\" name: \"n\"",
        "name: \"n\"\nversion: \"1\"\nsynopsis: \"s\"\ndepends: [\"d\"]\ninstall: make\nurl {\n  src: \"https://e\"\n}\nx-a: 2\nx-b: 1",
    );
}

#[test]
fn brackets_that_hold_one_element_are_left_out() {
    check("build: \"make\"", "build: \"make\"");
    check("build: [[\"make\"]]", "build: \"make\"");
    check("build: [[\"make\" \"x\"]]", "build: [\"make\" \"x\"]");
    check("build: [\"make\"] {dev}", "build: [\"make\"] {dev}");
    check(
        "build: [[\"a\"] [\"b\"]]",
        "build: [\n  [\"a\"]\n  [\"b\"]\n]",
    );
    check("build: []", "");
    check("authors: [\"a\"]", "authors: \"a\"");
    check("setenv: [[PATH += \"a\"]]", "setenv: PATH += \"a\"");
    check("setenv: [A = \"b\"]", "setenv: A = \"b\"");
    check("available: [arch = \"x\"]", "available: arch = \"x\"");
    check(
        "extra-files: [\"f\" \"6aef5a674977ebc5ec853dc4f85cf2BB\"]",
        "extra-files: [\"f\" \"md5=6aef5a674977ebc5ec853dc4f85cf2bb\"]",
    );
}

#[test]
fn filters_get_only_the_parentheses_they_need() {
    check(
        "available: [(a & (b & c)) | (d | e)]",
        "available: a & b & c | d | e",
    );
    check("available: (a | b) & c", "available: (a | b) & c");
    check(
        "available: !(a) & !(b & c) & !(d = \"e\") & ?(f | g)",
        "available: !a & !(b & c) & !(d = \"e\") & ?(f | g)",
    );
    check("available: 1 = \"1\"", "available: \"1\" = \"1\"");
    check("available: true", "");
    check(
        "build: [\"a\" {true} \"b\" {(dev)}]",
        "build: [\n  \"a\"\n  \"b\" {dev}\n]",
    );
}

#[test]
fn package_formulas_are_split_where_their_elements_join() {
    check(
        "depends: \"a\" & \"b\" & (\"c\" | \"d\")",
        "depends: [\"a\" \"b\" (\"c\" | \"d\")]",
    );
    check(
        "depends: [\"a\" | \"b\" & \"c\"]",
        "depends: [\"a\" | \"b\" & \"c\"]",
    );
    check("depends: [(\"c\" \"d\")]", "depends: [(\"c\" & \"d\")]");
    check(
        "depends: [\"a\" {>= \"1\" < \"2\"}]",
        "depends: [\n  \"a\" {>= \"1\" & < \"2\"}\n]",
    );
    check(
        "depends: [\"a\" {!(build | >= \"1\")}]",
        "depends: [\n  \"a\" {(!build & < \"1\")}\n]",
    );
    check(
        "depends: [\"a\" {!!x & !(!(b))}]",
        "depends: [\n  \"a\" {!!x & (!!b)}\n]"
            .replace("(!!b)", "((!!b))")
            .as_str(),
    );
    check(
        "depends: [\"a\" {} \"b\" {true}]",
        "depends: [\n  \"a\"\n  \"b\" {()}\n]",
    );
    check(
        "depopts: [\"a\" & \"b\" (\"c\" | \"d\")]",
        "depopts: [\"b\" \"a\" \"c\" \"d\"]",
    );
    check(
        "conflicts: [\"a\" & \"b\" | \"c\"]",
        "conflicts: [\"a\" \"b\" \"c\"]",
    );
    check("depends: [()]", "depends: [()]");
}

#[test]
fn long_values_are_broken_where_opam_breaks_them() {
    let long = "x".repeat(70);
    check(
        &format!("synopsis: \"{long}\""),
        &format!("synopsis:\n  \"{long}\""),
    );
    let (a, b, c) = ("a".repeat(22), "b".repeat(22), "c".repeat(22));
    let names = format!("\"{a}\" \"{b}\" \"{c}\"");
    check(
        &format!("authors: [{names}]"),
        &format!("authors: [\n  {names}\n]"),
    );
    check(
        &format!("tags: [{names} \"d\"]"),
        &format!("tags: [\n  \"{a}\"\n  \"{b}\"\n  \"{c}\"\n  \"d\"\n]"),
    );
    check(
        &format!("available: {a} = \"x\" & {b} = \"y\" & {c}"),
        &format!("available:\n  {a} = \"x\" & {b} = \"y\" &\n  {c}"),
    );
}

#[test]
fn strings_of_several_lines_are_triple_quoted() {
    check("homepage: \"a\nb\"", "homepage: \"\"\"\\\na\nb\"\"\"");
    check(
        "x-a: \"\n \\\"\\\"\\\" \\\\ \\\"\"",
        "x-a: \"\"\"\n \\\"\"\" \\\\ \\\"\"\"\"",
    );
    check("x-a: \"a\\\"b\\\\\\tc\"", "x-a: \"a\\\"b\\\\\tc\"");
}

#[test]
fn addresses_and_checksums_are_normalised() {
    check(
        "dev-repo: \"git@example.org:x/y.git\"",
        "dev-repo: \"ssh://git@example.org/x/y.git\"",
    );
    check(
        "dev-repo: \"git+https://example.org/y.git#main\"",
        "dev-repo: \"git+https://example.org/y.git#main\"",
    );
    check(
        "dev-repo: \"git://example.org:9418/y\"",
        "dev-repo: \"git://example.org:9418/y\"",
    );
    check(
        "dev-repo: \"hg+ssh://example.org/y\"",
        "dev-repo: \"hg+ssh://example.org/y\"",
    );
    check(
        "url { git: \"example.org:y\" }",
        "url {\n  src: \"git+ssh://example.org/y\"\n}",
    );
    check(
        "url { archive: \"example.org/y.tgz\" }",
        "url {\n  src: \"http://example.org/y.tgz\"\n}",
    );
    check(
        "url { checksum: \"md5=6aef5a674977ebc5ec853dc4f85cf2bb\" }",
        "",
    );
    assert_eq!(
        dropped("dev-repo: \"gopher://x\" url { src: \"svn+https://x\" }"),
        ["dev-repo", "url.src", "url"]
    );
    let swh = "https://swhid.opam.ocaml.org/swh:1:rev:0123456789012345678901234567890123456789";
    check(
        &format!("url {{ src: \"https://a\" mirrors: [\"https://b\" \"{swh}\"] }}"),
        &format!(
            "url {{\n  src: \"https://a\"\n  mirrors: [\n    \"{swh}\"\n    \"https://b\"\n  ]\n}}"
        ),
    );
}

#[test]
fn obsolete_fields_are_printed_as_today() {
    check(
        "author: \"a\" build-test: [\"t\"] run-test: [\"r\"]",
        "authors: \"a\"\nrun-test: [\n  [\"t\"]\n  [\"r\"]\n]",
    );
    check(
        "os: [\"linux\" !\"freebsd\"] ocaml-version: [>= \"4.0\"]",
        "available: (os = \"linux\" | os != \"freebsd\") & ocaml-version >= \"4.0\"",
    );
    check(
        "descr: \"first\nsecond\nthird\"",
        "synopsis: \"first\"\ndescription: \"\"\"\\\nsecond\nthird\"\"\"",
    );
    check("description: \"d\"", "synopsis: \"\"\ndescription: \"d\"");
    check(
        "depexts: [[[\"a\" \"b\" \"c\"] [\"y\" \"X\" \"y\"]]]",
        "depexts: [\"X\" \"y\"] {\"a\" & \"b\" & \"c\"}",
    );
    check(
        "extra-sources: [\"https://a/b.patch\" \"md5=6aef5a674977ebc5ec853dc4f85cf2bb\"]",
        "extra-source \"b.patch\" {\n  src: \"https://a/b.patch\"\n  checksum: \"md5=6aef5a674977ebc5ec853dc4f85cf2bb\"\n}",
    );
    check(
        "tags: [\"flags:conf\" \"a\" \"flags:conf\"] flags: [plugin conf odd]",
        "tags: [\"a\" \"flags:conf\"]\nflags: plugin",
    );
}

#[test]
fn what_opam_does_not_understand_is_dropped_and_named() {
    assert_eq!(
        dropped("bogus: 1 license: \"a\" license: \"b\" depends: [1] s {}"),
        ["bogus", "license", "s", "depends"]
    );
    assert_eq!(
        dropped("authors: [\"a\"] {x} build: [[\"a\"] \"b\"] available: [a b]"),
        ["authors", "available", "build"]
    );
    assert_eq!(dropped("url \"x\" { src: \"https://a\" }"), ["url"]);
    assert_eq!(
        dropped("extra-source { src: \"https://a\" }"),
        ["extra-source"]
    );
    assert_eq!(dropped("depends: [\"a\" {!(!(!(!(!x))))}]"), ["depends"]);
    assert_eq!(
        dropped("depends: [\"a\" {= \"1 2\"} \"b\" {= \"%{x}%\"}]"),
        ["depends"]
    );
    assert!(
        dropped(
            "depends: [\"b\" {= \"1.%{x}%\"}] x-anything: [{}]"
                .replace("[{}]", "[a {}]")
                .as_str()
        )
        .is_empty()
    );
}

proptest! {
    #[test]
    fn what_was_printed_is_read_as_the_same(text in "(([a-z]: )?([\\[({] ?|[\\])}] ?|[ab=<>!?&|]|[ab]: |\"[a\\\\\"\n]{0,9}\" |[a-d0-9]{1,30} )){0,40}") {
        for text in [text.clone(), format!("x: [{text}]"), format!("x: ({text})"), format!("x {{ y: {text} }}")] {
            let Ok(document) = Document::parse(text.as_bytes()) else { continue };
            let printed = document.print();
            let again = Document::parse(&printed).unwrap();
            prop_assert_eq!(again.print(), printed.clone());
            // An empty list is printed as nothing, everything else is there again.
            if !text.contains("[]") && !text.contains("[ ]") {
                prop_assert_eq!(format!("{again:?}"), format!("{document:?}"));
            }
        }
    }

    #[test]
    fn no_value_makes_reading_a_field_panic(
        field in "synopsis|authors|depends|depopts|conflicts|available|flags|setenv|build|patches|features|depexts|dev-repo|pin-depends|extra-files|os|ocaml-version|extra-sources|x-a",
        value in "([\\[({]|[\\])}]|[<=>!?&|]|[a-c]|\"[a-c:/+.%{}#=]{0,9}\"| ){0,30}",
    ) {
        if let Ok(file) = OpamFile::parse(format!("{field}: {value}").as_bytes()) {
            let printed = file.print();
            prop_assert!(OpamFile::parse(&printed).is_ok());
            prop_assert!(file.effectively_equal(&file));
        }
    }
}
