//! Files made to take long, to take much memory, or to overflow the stack. Tests run on threads with the stack of a
//! worker thread of a server, so getting through is what is checked.

use opam_file::{NESTING_MAX, OpamFile, SwitchExport, unified_diff};

/// Reads, prints and compares a package with these fields.
fn check(fields: &str) {
    let export = |more: &str| {
        let text = format!(
            "opam-version: \"2.0\" roots: [\"a.1\"] installed: [\"a.1\"] package \"a\" {{ opam-version: \"2.0\" {fields} {more} }}"
        );
        SwitchExport::parse(text.as_bytes())
    };
    let (Ok(left), Ok(right)) = (export(""), export("build: [make]")) else {
        panic!("{fields:.50} is not read")
    };
    let printed = left.overlay("a").unwrap().print();
    assert!(OpamFile::parse(&printed).is_ok());
    left.compare(&right);
}

#[test]
fn the_deepest_nesting_is_read_printed_and_compared() {
    let nested = |open: &str, close: &str| {
        let count = NESTING_MAX as usize - 4;
        format!("{}\"a\"{}", open.repeat(count), close.repeat(count))
    };
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("!", ""),
        ("?", ""),
        ("", " {a}"),
        ("\"a\" {(", ")}"),
    ] {
        let value = nested(open, close);
        for field in ["depends", "available", "build", "os", "conflicts", "x-a"] {
            if !value.contains("{(") {
                check(&format!("{field}: {value}"));
            }
        }
    }
    // Each of these takes three levels: the group and both operators.
    let mixed = |open: &str, close: &str| {
        let count = NESTING_MAX as usize / 3 - 2;
        format!("{}{close}{}", open.repeat(count), ")".repeat(count))
    };
    check(&format!("depends: [\"a\" {{{}}}]", mixed("a & (b | ", "c")));
    check(&format!(
        "depends: [{}]",
        mixed("\"a\" & (\"b\" | ", "\"c\"")
    ));
    check(&format!("available: {}", mixed("a & (b | ", "c")));
}

#[test]
fn long_files_of_one_kind_are_read_in_time() {
    const COUNT: usize = 20_000;
    let numbered = |line: fn(usize) -> String| (0..COUNT).map(line).collect::<String>();
    check(&numbered(|i| format!("x-{i}: {i}\n")));
    check(&numbered(|i| format!("f{i}: {i}\n")));
    check(&numbered(|i| {
        format!("extra-source \"{i}\" {{ src: \"https://{i}\" }}\n")
    }));
    check(&format!(
        "url {{ {} }}",
        numbered(|i| format!("f{i}: {i}\n"))
    ));
    check(&format!(
        "tags: [{}]",
        numbered(|i| format!("\"flags:{i}\" "))
    ));
    check(&format!(
        "depends: {}\"b\"",
        "\"a\" & \"c\" | ".repeat(COUNT)
    ));
    check(&format!("depopts: {}\"b\"", "\"a\" & ".repeat(COUNT)));
    check(&format!(
        "depexts: [[[{}] [\"x\"]]]",
        "\"a\" ".repeat(COUNT)
    ));
    check(&format!(
        "description: \"\"\"\n{}\"\"\"",
        "\\\"\\\"".repeat(COUNT)
    ));
    check(&format!("dev-repo: \"git://{}\"", "ab:1/".repeat(COUNT)));
    check(&format!(
        "depends: [\"a\" {{{}{}x{}}}]",
        "!(".repeat(90),
        "a & b | ".repeat(COUNT),
        ")".repeat(90)
    ));
    check(&format!(
        "x-opam-monorepo-duniverse-dirs: [{}]",
        numbered(|i| format!("[\"u\" \"{i}\"]"))
    ));
}

#[test]
fn the_difference_of_texts_without_anything_in_common_is_found_in_time() {
    let text = |mut seed: u64, kinds: u64| {
        let mut lines = String::new();
        for _ in 0..20_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            lines += &format!("{}\n", (seed >> 33) % kinds);
        }
        lines
    };
    for kinds in [2, 1_000] {
        unified_diff(
            "l",
            text(1, kinds).as_bytes(),
            "r",
            text(2, kinds).as_bytes(),
        );
    }
}
