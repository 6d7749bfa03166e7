//! What is in the files the builds leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};

use solo5_elf::{DeviceType, Target};

use crate::{Decoded, all, elf};

fn successful(job: &str) -> Vec<&'static Decoded> {
    all()
        .iter()
        .filter(|build| build.job == job && build.main_binary().is_some())
        .collect()
}

#[test]
fn unikernels_say_what_they_run_on_and_which_devices_they_want() {
    let describe = |job: &str| {
        let build = successful(job)[0];
        let unikernel = solo5_elf::read(&mut Cursor::new(build.main_binary().unwrap().1)).unwrap();
        let devices: Vec<(String, DeviceType)> = unikernel
            .manifest
            .devices
            .into_iter()
            .map(|device| (device.name, device.kind))
            .collect();
        (unikernel.abi.target, devices)
    };
    let net = |name: &str| (name.to_owned(), DeviceType::NetBasic);
    let storage = ("storage".to_owned(), DeviceType::BlockBasic);
    assert_eq!(describe("lantern"), (Target::Hvt, vec![net("service")]));
    assert_eq!(
        describe("millrace"),
        (
            Target::Hvt,
            vec![storage, net("service"), net("management")]
        )
    );
    assert_eq!(describe("sundial"), (Target::Spt, vec![net("service")]));
    assert_eq!(describe("pebble"), (Target::Hvt, vec![]));
}

#[test]
fn a_unikernel_build_leaves_what_orb_leaves() {
    let build = successful("lantern")[0];
    let paths: BTreeSet<&str> = build
        .artifacts
        .iter()
        .map(|(path, _)| path.as_str())
        .collect();
    let expected = [
        "bin/lantern.hvt",
        "build-environment",
        "doc/lantern/README.md",
        "lantern.build-hashes",
        "lantern.hvt.debug",
        "opam-switch",
        "system-packages",
    ];
    assert_eq!(paths, BTreeSet::from(expected));
    let environment = build.text("build-environment");
    assert!(environment.starts_with("HOME=") && environment.ends_with("\nOS=linux"));
    assert!(
        build
            .text("system-packages")
            .contains("\nlibgmp-dev=2:6.2.1+dfsg1-1.1\n")
    );
    assert!(
        build
            .text("lantern.build-hashes")
            .contains("  \"bin/lantern.hvt\" {\"F:")
    );
}

#[test]
fn one_unikernel_reports_metrics_and_all_name_their_lock_file() {
    for job in ["lantern", "millrace", "sundial", "pebble"] {
        let switch = successful(job)[0].text("opam-switch");
        assert!(switch.contains(&format!("roots: [\"{job}.dev\"]\n")));
        assert!(switch.contains("  x-mirage-opam-lock-location: \"mirage/"));
        assert!(switch.contains("  x-opam-monorepo-duniverse-dirs: ["));
        assert!(switch.contains("  x-orb-dependencies: ["));
        assert_eq!(
            switch.contains("    \"mirage-monitoring\" {?monorepo"),
            job == "millrace"
        );
    }
}

#[test]
fn a_plain_script_leaves_a_report_and_nothing_to_compare() {
    let build = successful("nightly-links")[0];
    assert!(build.input_id().is_none());
    assert_eq!(build.main_binary().unwrap().0, "bin/link-report.txt");
}

#[test]
fn a_readme_has_tables_code_links_and_tasks() {
    let readme = successful("lantern")[0].text("doc/lantern/README.md");
    for part in [
        "\n|:----",
        "\n```ocaml\n",
        "\n- [x] ",
        "](https://",
        "\n> ",
        "[^1]:",
    ] {
        assert!(readme.contains(part), "{part}");
    }
}

#[test]
fn a_debian_package_is_an_archive_of_archives() {
    let package = successful("ferryman")[0].main_binary().unwrap().1;
    assert!(package.starts_with(b"!<arch>\n"));
    let mut members = Vec::new();
    let mut at = 8;
    while at < package.len() {
        let header = std::str::from_utf8(&package[at..at + 60]).unwrap();
        let bytes: usize = header[48..58].trim().parse().unwrap();
        assert_eq!(&header[58..], "`\n");
        members.push((
            header[..16].trim().to_owned(),
            &package[at + 60..at + 60 + bytes],
        ));
        at += 60 + bytes.next_multiple_of(2);
    }
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["debian-binary", "control.tar.gz", "data.tar.gz"]);
    assert_eq!(members[0].1, b"2.0\n");
    assert_eq!(tar_names(members[1].1), ["./", "./control", "./md5sums"]);
    let data = tar_names(members[2].1);
    assert!(data.iter().any(|name| name == "./usr/bin/ferryman"));
    assert!(data.iter().any(|name| name == "./usr/share/"));
}

#[test]
fn a_freebsd_package_begins_with_its_manifests() {
    let build = successful("ferryman")
        .into_iter()
        .find(|build| build.platform == "freebsd-14.2")
        .unwrap();
    let (path, package) = build.main_binary().unwrap();
    assert_eq!(path, "bin/ferryman.pkg");
    let names = tar_names(package);
    assert_eq!(
        names[..3],
        ["+COMPACT_MANIFEST", "+MANIFEST", "/usr/local/bin/ferryman"]
    );
    assert!(
        build
            .text("system-packages")
            .contains("\npkgconf-2.2.0,1\n")
    );
    assert!(
        build
            .text("build-environment")
            .ends_with("OS_DISTRIBUTION=freebsd\nOS=freebsd")
    );
}

/// The names in a compressed tar archive, whose checksums must be right.
fn tar_names(compressed: &[u8]) -> Vec<String> {
    let mut archive = Vec::new();
    flate2::read::GzDecoder::new(compressed)
        .read_to_end(&mut archive)
        .unwrap();
    let mut names = Vec::new();
    let mut at = 0;
    while archive[at] != 0 {
        let header = &archive[at..at + 512];
        let number = |range: std::ops::Range<usize>| {
            let text = std::str::from_utf8(&header[range])
                .unwrap()
                .trim_matches(['\0', ' ']);
            usize::from_str_radix(text, 8).unwrap()
        };
        let sum: usize = header
            .iter()
            .enumerate()
            .map(|(i, byte)| {
                if (148..156).contains(&i) {
                    32
                } else {
                    usize::from(*byte)
                }
            })
            .sum();
        assert_eq!(number(148..156), sum);
        let name = header[..100].split(|byte| *byte == 0).next().unwrap();
        names.push(String::from_utf8(name.to_vec()).unwrap());
        at += 512 + number(124..136).next_multiple_of(512);
    }
    names
}

#[test]
fn the_debug_binary_has_the_sections_of_the_main_binary_byte_for_byte() {
    let build = successful("millrace")[0];
    let (stripped, debug) = (
        build.main_binary().unwrap().1,
        build.artifact("millrace.hvt.debug").unwrap(),
    );
    let (stripped, debug) = (elf::sections(stripped), elf::sections(debug));
    for name in [
        ".interp",
        ".note.solo5.manifest",
        ".text",
        ".rodata",
        ".data",
    ] {
        assert_eq!(stripped[name], debug[name], "{name}");
    }
    for name in [".symtab", ".debug_info", ".debug_line"] {
        assert!(
            debug.contains_key(name) && !stripped.contains_key(name),
            "{name}"
        );
    }
}

#[test]
fn a_new_version_of_a_package_changes_the_functions_of_that_package_only() {
    let lantern = successful("lantern");
    let (before, after) = (
        lantern[0],
        lantern
            .iter()
            .find(|build| build.output() != lantern[0].output())
            .unwrap(),
    );
    let functions = |build: &Decoded| elf_functions(build.artifact("lantern.hvt.debug").unwrap());
    let (before, after) = (functions(before), functions(after));
    assert!(before.len() > 3000, "{}", before.len());
    let changed: BTreeSet<&str> = after
        .iter()
        .filter(|(name, code)| before.get(*name) != Some(code))
        .map(|(name, _)| library(name))
        .collect();
    let expected = [
        "Mirage_crypto",
        "Mirage_crypto_ec",
        "Mirage_crypto_pk",
        "Mirage_crypto_rng",
        "Tls",
        "Tls_mirage",
        "X509",
    ];
    // The C code of the libraries moves with them and has names of its own.
    let changed: BTreeSet<&str> = changed
        .into_iter()
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(changed, BTreeSet::from(expected));
}

/// The library of an OCaml function, nothing for C.
fn library(name: &str) -> &str {
    let Some(name) = name
        .strip_prefix("caml")
        .filter(|name| name.starts_with(|c: char| c.is_uppercase()))
    else {
        return "";
    };
    name.split("__").next().unwrap()
}

/// Functions by name: their code.
fn elf_functions(file: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let sections = elf::sections(file);
    let (text, strings) = (&sections[".text"], &sections[".strtab"].bytes);
    let functions = sections[".symtab"]
        .bytes
        .chunks(24)
        .filter(|symbol| symbol[4] & 15 == 2);
    functions
        .map(|symbol| {
            let start = elf::word(symbol, 8, 8) - text.address;
            let code = text.bytes[start..start + elf::word(symbol, 16, 8)].to_vec();
            (elf::text_at(strings, elf::word(symbol, 0, 4)), code)
        })
        .collect()
}
