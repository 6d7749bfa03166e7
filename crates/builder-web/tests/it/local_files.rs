//! What a maintainer does with files on the disk, without a server.

use std::fs;
use std::path::PathBuf;

use demo_builds::elf::{Access, Binding, Content, Elf, Machine, Section, Symbol, SymbolKind};
use tempfile::TempDir;

use crate::cli::call;
use crate::program::BUILDER_WEB;

struct Home(TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Exit status, standard output, standard error.
fn run(arguments: &[&str], input: &str) -> (i32, String, String) {
    let output = call(BUILDER_WEB, arguments, input);
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A switch whose root, `hello`, needs `lwt` in this version.
pub(crate) fn switch(lwt: &str) -> String {
    format!(
        r#"
        opam-version: "2.0"
        roots: ["hello.1.0"]
        installed: ["dune.3.17.2" "hello.1.0" "lwt.{lwt}"]
        package "hello" {{ opam-version: "2.0" version: "1.0" depends: ["lwt" "dune" {{build}}] }}
        package "lwt" {{ opam-version: "2.0" version: "{lwt}" depends: ["dune"] }}
        package "dune" {{ opam-version: "2.0" version: "3.17.2" build: [make "{lwt}"] }}
        "#
    )
}

/// The debug binary of a program with one module and one C function.
pub(crate) fn debug_binary(bytes: u64) -> Vec<u8> {
    let mut elf = Elf::new(Machine::X86_64);
    let code = vec![0x90; usize::try_from(bytes + 64).unwrap()];
    let text = elf.add_section(Section::new(".text", Access::Code, Content::Bytes(code)));
    let mut symbol = |name: &str, offset, bytes, kind| {
        elf.add_symbol(Symbol {
            name: name.to_owned(),
            section: Some(text),
            offset,
            bytes,
            kind,
            binding: Binding::Global,
        });
    };
    symbol("camlTls__Engine.code_begin", 0, 0, SymbolKind::Unknown);
    symbol(
        "camlTls__Engine.handle_12",
        0,
        bytes / 2,
        SymbolKind::Function,
    );
    symbol("camlTls__Engine.code_end", bytes, 0, SymbolKind::Unknown);
    symbol("mc_<aes>_encrypt", bytes, 64, SymbolKind::Function);
    elf.with_symbols()
}

#[test]
fn an_opam_file_is_printed_as_opam_does_and_what_is_wrong_is_told_with_its_place() {
    let file = "build: [[make]]\nopam-version: \"2.0\"\n  colour: red\n";
    let (code, out, error) = run(&["opam", "print", "-"], file);
    assert_eq!(
        (code, out.as_str()),
        (0, "opam-version: \"2.0\"\nbuild: make\n")
    );
    assert!(
        error.starts_with("standard input:3:3: colour is left out: "),
        "{error}"
    );

    let home = Home::new();
    let broken = home.put("opam", "opam-version: \"2.0\"\nbuild: [make");
    let (code, out, error) = run(&["opam", "print", &broken], "");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        error.starts_with(&format!("builder-web: {broken}:2:")),
        "{error}"
    );
    let (code, _, error) = run(&["opam", "print", "/no/such/opam"], "");
    assert!(code == 2 && error.contains("/no/such/opam"), "{error}");
}

#[test]
fn two_opam_files_are_equal_by_the_exit_status_and_trouble_is_told_apart() {
    let home = Home::new();
    let one = home.put("one", "opam-version: \"2.0\" build: [make] synopsis: \"a\"");
    let same = home.put(
        "same",
        "synopsis: \"b\" opam-version: \"2.0\" build: [[make]]",
    );
    let other = home.put("other", "opam-version: \"2.0\" build: [make \"all\"]");
    let status = |left: &str, right: &str| run(&["opam", "equal", left, right], "").0;
    assert_eq!(status(&one, &same), 0);
    assert_eq!(status(&one, &other), 1);
    assert_eq!(status(&one, &home.put("broken", "build:")), 2);
    assert_eq!(status(&one, "/no/such/file"), 2);
    assert_eq!(status("-", "-"), 2);
}

#[test]
fn two_switches_are_compared_for_people_and_for_programs() {
    let home = Home::new();
    let (old, new) = (home.put("old", switch("5.9.1")), switch("6.0.0"));
    let (code, out, error) = run(&["opam", "compare", &old, "-"], &new);
    assert_eq!(code, 0, "{error}");
    for part in [
        "Packages with another version (1):\n  lwt 5.9.1 -> 6.0.0\n",
        "Packages with changes in their opam file (1):\n  dune.3.17.2\n",
        "    -build: [make \"5.9.1\"]\n    +build: [make \"6.0.0\"]",
    ] {
        assert!(out.contains(part), "{part:?} in {out}");
    }
    let (_, out, _) = run(&["opam", "compare", "--json", &old, "-"], &new);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "opam_diff",
            "version_diff",
            "only_in_left",
            "only_in_right",
            "duniverse_diff"
        ]
    );
    assert_eq!(json["version_diff"][0]["version_right"], "6.0.0");
    let (_, out, _) = run(&["opam", "compare", &old, &old], "");
    assert_eq!(out, "No difference in packages.\n");
    let (code, _, error) = run(&["opam", "compare", &old, "-"], "opam-version: 2.0");
    assert!(code == 2 && error.contains("standard input:1:"), "{error}");
}

#[test]
fn pictures_of_files_on_the_disk_are_whole_pages() {
    let home = Home::new();
    let file = home.put("hello.debug", debug_binary(4096));
    let binary = home.put("hello.hvt", [0; 5000]);
    let page = home.path("treemap.html").display().to_string();
    let arguments = ["viz", "treemap", &file, "--binary", &binary, "-o", &page];
    let (code, out, error) = run(&arguments, "");
    assert_eq!((code, out.as_str(), error.as_str()), (0, "", ""));
    let html = fs::read_to_string(page).unwrap();
    for part in [
        "<!DOCTYPE html>",
        "Tls.Engine\n4.0 KiB",
        "handle 2.0 KiB",
        "Binary: 4.9 KiB",
        "mc_&lt;aes&gt;_encrypt",
    ] {
        assert!(html.contains(part), "{part:?} in {html}");
    }
    let (code, html, _) = run(&["viz", "dependencies", "-"], &switch("6.0.0"));
    assert!(
        code == 0 && html.contains("What hello 1.0 depends on"),
        "{html}"
    );
    let (code, _, error) = run(&["viz", "treemap", "-"], "no ELF");
    assert!(
        code == 2 && error.contains("standard input cannot be drawn"),
        "{error}"
    );
    let (code, _, error) = run(&["viz", "dependencies", "-"], "roots: [");
    assert!(code == 2 && error.contains("standard input:1:"), "{error}");
}
