//! What is read from `opam switch export`.

use opam_file::SwitchExport;

const HELLO: &str = r#"
opam-version: "2.0"
compiler: ["ocaml-base-compiler.4.14.2"]
roots: ["hello.1.0"]
installed: ["ocaml.4.14.2" "hello.1.0" "base-unix.base" "hello.1.00"]
pinned: "hello.1.0" {"git+https://example.org/hello.git"}
package "hello" {
  opam-version: "2.0"
  version: "1.0"
  synopsis: " Greets "
  description: "\nAt length.\n"
  depends: ["ocaml" {>= "4.08"} ("lwt" | "async" {with-test})]
  x-mirage-opam-lock-location: []
}
"#;

/// Lists of packages as text, or the error.
fn check(text: &str, expected: &str) {
    let found = match SwitchExport::parse(text.as_bytes()) {
        Ok(export) => [
            &export.compiler,
            &export.roots,
            &export.installed,
            &export.pinned,
        ]
        .map(|packages| {
            packages
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .join(" | "),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "{text}");
}

#[test]
fn the_packages_of_a_switch_are_read() {
    check(
        HELLO,
        "ocaml-base-compiler.4.14.2 | hello.1.0 | base-unix.base hello.1.0 ocaml.4.14.2 | hello.1.0",
    );
}

#[test]
fn what_an_overlay_says_is_read() {
    let export = SwitchExport::parse(HELLO.as_bytes()).unwrap();
    let hello = export.overlay(&export.root().unwrap().name).unwrap();
    assert_eq!(hello.synopsis().as_deref(), Some("Greets"));
    assert_eq!(hello.description_body().as_deref(), Some("At length."));
    assert!(hello.has_field("x-mirage-opam-lock-location") && !hello.has_field("x-mirage"));
    assert!(
        hello.depends_on("async") && !hello.depends_on("with-test") && !hello.depends_on("4.08")
    );
    assert_eq!(hello.mentioned_packages(), ["async", "lwt", "ocaml"]);
    assert!(export.overlay("ocaml").is_none());
}

#[test]
fn a_version_that_opam_cannot_read_is_an_error() {
    let top = "unsupported or missing `opam-version`, which should be 2.1 or older";
    check("", &format!("line 1, column 0: {top}"));
    check("opam-version: \"2.2\"", &format!("line 1, column 0: {top}"));
    check("opam-version: 2", &format!("line 1, column 0: {top}"));
    check("opam-version: \"2.1\"", " |  |  | ");
    let overlay =
        "line 2, column 1: unsupported or missing `opam-version`, which should be 2.0 or older";
    check("opam-version: \"2.0\"\n package \"a\" {}", overlay);
    check(
        "opam-version: \"2.0\"\n package \"a\" {opam-version: \"2.1\"}",
        overlay,
    );
    check(
        "opam-version: \"2.0\"\npackage \"a b\" {}",
        "line 2, column 0: `a b` is not a package name",
    );
}

#[test]
fn other_mistakes_are_warnings() {
    let text = "opam-version: \"2.0\" roots: [\"a\"] installed: \"a.1\" x-a: 1 x-a: 1 package { } url { } compiler: [] compiler: []";
    check(text, " |  |  | ");
    let problems = SwitchExport::parse(text.as_bytes()).unwrap().problems;
    let names: Vec<_> = problems
        .iter()
        .map(|problem| problem.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "roots",
            "installed",
            "x-a",
            "x-a",
            "package",
            "url",
            "compiler"
        ]
    );
}
