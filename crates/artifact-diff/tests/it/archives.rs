//! Packages and archives, member by member.

use std::io::Write;

use artifact_diff::{Detail, Hints, Kind, Limits, Presence, Report, compare};
use demo_builds::{InstalledFile, deb, pkg};

fn plain(left: &[u8], right: &[u8]) -> Report {
    compare(left, right, &Hints::default(), &Limits::default())
}

fn file(path: &str, modified: u64, content: &[u8]) -> InstalledFile {
    InstalledFile {
        path: path.to_owned(),
        mode: 0o644,
        modified,
        content: content.to_vec(),
    }
}

fn debian(files: &[InstalledFile]) -> Vec<u8> {
    let control = deb::Control {
        package: "ferryman".to_owned(),
        version: "1.4.0".to_owned(),
        architecture: "amd64".to_owned(),
        maintainer: "Harbour <packages@harbour.example>".to_owned(),
        depends: "libc6".to_owned(),
        description: "carries\nmachines".to_owned(),
    };
    deb::package(&control, files, 7).unwrap()
}

fn freebsd(files: &[InstalledFile]) -> Vec<u8> {
    let text = |text: &str| text.to_owned();
    let manifest = pkg::Manifest {
        name: text("ferryman"),
        version: text("1.4.0"),
        abi: text("FreeBSD:14:amd64"),
        maintainer: text("packages@harbour.example"),
        www: text("https://harbour.example"),
        comment: text("carries"),
        description: text("machines"),
        depends: vec![],
    };
    pkg::package(&manifest, files, 7).unwrap()
}

/// The members of the innermost archives that differ, with their paths.
fn members(report: &Report) -> Vec<(String, Presence)> {
    match &report.detail {
        Detail::Packed(packed) => members(&packed.content),
        Detail::Archive(archive) => archive
            .members
            .items
            .iter()
            .flat_map(|member| match &member.report {
                Some(report) if !members(report).is_empty() => members(report),
                _ => vec![(member.path.clone(), member.presence)],
            })
            .collect(),
        _ => vec![],
    }
}

#[test]
fn a_debian_package_that_differs_in_times_is_identical_apart_from_them() {
    let package = |time| {
        debian(&[
            file("/usr/bin/a", time, b"\x7f binary"),
            file("/usr/share/b", 3, b"text\n"),
        ])
    };
    let report = plain(&package(1_778_559_153), &package(1_778_569_153));
    assert_eq!(report.apart_from, [Kind::Timestamp], "{report}");
    assert_eq!(
        members(&report),
        [("./usr/bin/a".to_owned(), Presence::Same)]
    );
    let text = report.to_string();
    assert!(
        text.starts_with("Identical apart from timestamps.\n"),
        "{text}"
    );
    assert!(text.contains("time: 1778559153 → 1778569153"), "{text}");
}

#[test]
fn a_member_that_differs_is_compared_as_what_it_is() {
    let package = |line: &str| {
        debian(&[file(
            "/usr/share/b",
            3,
            format!("a\n{line}\nc\n").as_bytes(),
        )])
    };
    let report = plain(&package("left"), &package("right"));
    assert!(report.apart_from.is_empty());
    assert!(report.to_string().contains("-left\n"), "{report}");
    // The checksums that the package holds of its files differ too.
    assert_eq!(
        members(&report),
        [
            ("./md5sums".to_owned(), Presence::Differs),
            ("./usr/share/b".to_owned(), Presence::Differs)
        ]
    );
}

#[test]
fn a_freebsd_package_is_unpacked_and_its_owner_and_order_are_looked_at() {
    let (a, b) = (
        file("/usr/local/bin/a", 1, b"a"),
        file("/usr/local/bin/b", 1, b"b"),
    );
    let report = plain(
        &freebsd(&[a.clone(), b.clone()]),
        &freebsd(&[a.clone(), file("/usr/local/bin/b", 2, b"b")]),
    );
    assert_eq!(report.apart_from, [Kind::Timestamp], "{report}");
    let report = plain(&freebsd(std::slice::from_ref(&a)), &freebsd(&[a, b]));
    assert!(
        members(&report).contains(&("/usr/local/bin/b".to_owned(), Presence::OnlyRight)),
        "{report}"
    );
}

fn tarball(members: &[(&str, u64, u64, &[u8])]) -> Vec<u8> {
    tarball_of_mode(0o644, members)
}

fn tarball_of_mode(mode: u32, members: &[(&str, u64, u64, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, time, owner, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(*time);
        header.set_uid(*owner);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn order_owner_and_time_of_members_are_known_causes_and_mode_is_not() {
    let left = tarball(&[("a", 1, 0, b"a"), ("b", 1, 0, b"b")]);
    let right = tarball(&[("b", 2, 7, b"b"), ("a", 1, 0, b"a")]);
    let report = plain(&left, &right);
    assert_eq!(
        report.apart_from,
        [Kind::Timestamp, Kind::FileOrder, Kind::UserName],
        "{report}"
    );
    let other_mode = tarball_of_mode(0o645, &[("a", 1, 0, b"a"), ("b", 1, 0, b"b")]);
    let report = plain(&left, &other_mode);
    assert!(report.apart_from.is_empty(), "{report}");
    assert!(report.to_string().contains("mode: 0644 → 0645"), "{report}");
}

fn packed(format: &str, content: &[u8]) -> Vec<u8> {
    match format {
        "gzip" => {
            let mut encoder = flate2::GzBuilder::new()
                .mtime(5)
                .write(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        "xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 3);
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        _ => zstd::encode_all(content, 3).unwrap(),
    }
}

#[test]
fn what_is_packed_by_gzip_xz_or_zstd_is_unpacked() {
    let (left, right) = (
        tarball(&[("a", 1, 0, b"one\n")]),
        tarball(&[("a", 1, 0, b"two\n")]),
    );
    for format in ["gzip", "xz", "zstd"] {
        let report = plain(&packed(format, &left), &packed(format, &right));
        assert_eq!(
            members(&report),
            [("a".to_owned(), Presence::Differs)],
            "{format}: {report}"
        );
        assert!(report.to_string().contains("-one\n"), "{report}");
    }
    let report = plain(&packed("xz", &left), &packed("zstd", &left));
    assert_eq!(report.apart_from, [Kind::Compression], "{report}");
}

fn assert_incomplete(report: &Report, because: &str) {
    assert!(
        report.incomplete.iter().any(|why| why.contains(because)),
        "{report}"
    );
}

#[test]
fn a_bomb_is_named_and_not_unpacked() {
    let limits = Limits {
        unpacked_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let zeros = vec![0; 3 << 20];
    let mut other = zeros.clone();
    other.push(1);
    for format in ["gzip", "xz", "zstd"] {
        let report = compare(
            &packed(format, &zeros),
            &packed(format, &other),
            &Hints::default(),
            &limits,
        );
        assert_incomplete(&report, "unpacks to more than 1048576 bytes");
    }
    // By ratio: 20 MiB from some KiB.
    let zeros = vec![0; 20 << 20];
    let report = plain(&packed("zstd", &zeros), &packed("xz", &zeros));
    assert_incomplete(&report, "unpacks to more than");
    let many: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let members: Vec<(&str, u64, u64, &[u8])> = many
        .iter()
        .map(|name| (name.as_str(), 1, 0, b"".as_slice()))
        .collect();
    let limits = Limits {
        members_max: 300,
        ..Limits::default()
    };
    let report = compare(
        &tarball(&members),
        &tarball(&members[1..]),
        &Hints::default(),
        &limits,
    );
    assert_incomplete(&report, "too many members");
}

#[test]
fn both_files_and_what_they_unpack_to_are_held_within_the_limit() {
    let limits = Limits {
        held_bytes_max: 10 << 20,
        ..Limits::default()
    };
    let content = |bytes: usize, last: u8| {
        let mut content: Vec<u8> = (0..bytes)
            .map(|at| {
                if at % 64 == 0 {
                    u8::try_from(at / 64 % 251).unwrap()
                } else {
                    1
                }
            })
            .collect();
        content.push(last);
        content
    };
    let compared = |format, bytes| {
        let [left, right] = [1, 2].map(|last| packed(format, &content(bytes, last)));
        compare(&left, &right, &Hints::default(), &limits)
    };
    for format in ["gzip", "xz", "zstd"] {
        assert_incomplete(&compared(format, 6 << 20), "unpacks to more than");
        let report = compared(format, 2 << 20);
        assert!(report.incomplete.is_empty(), "{format}: {report}");
    }
    // What is unpacked after something else, and not beside it.
    let member = |last| packed("gzip", &content(2 << 20, last));
    let archive = |last| {
        let content = member(last);
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let members: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), 1, 0, content.as_slice()))
            .collect();
        tarball(&members)
    };
    let report = compare(&archive(1), &archive(2), &Hints::default(), &limits);
    assert!(!report.to_string().contains("unpacks to more"), "{report}");
    // What is noted of members.
    let names: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    let archive = |content| {
        let members: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), 1, 0, content))
            .collect();
        tarball(&members)
    };
    let limits = Limits {
        held_bytes_max: 50 << 20,
        ..Limits::default()
    };
    let report = compare(&archive(b"1"), &archive(b"2"), &Hints::default(), &limits);
    assert_incomplete(&report, "too many members");
}

#[test]
fn members_are_listed_from_the_outside_in() {
    let limits = Limits {
        members_listed_max: 12,
        listed_max: 10,
        ..Limits::default()
    };
    let numbers: Vec<String> = (0..5).map(|number| number.to_string()).collect();
    let archive = |content: &[u8]| {
        let members: Vec<_> = numbers
            .iter()
            .map(|name| (name.as_str(), 1, 0, content))
            .collect();
        tarball(&members)
    };
    let left = archive(&archive(b"left"));
    let right = archive(&archive(b"right"));
    let report = compare(&left, &right, &Hints::default(), &limits);
    let Detail::Archive(outer) = &report.detail else {
        panic!("{report}")
    };
    assert_eq!(outer.members.items.len(), 5);
    let inner =
        outer
            .members
            .items
            .iter()
            .map(|member| match &member.report.as_ref().unwrap().detail {
                Detail::Archive(inner) => (inner.members.items.len(), inner.members.left_out),
                _ => panic!("{report}"),
            });
    let inner: Vec<_> = inner.collect();
    assert_eq!(inner, [(5, 0), (2, 3), (0, 5), (0, 5), (0, 5)]);
}

#[test]
fn a_member_whose_headers_are_as_large_as_a_file_is_not_read_into_memory() {
    let archive = |last: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(7);
        let name = format!("{}{last}", "x".repeat(1 << 20));
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, name, b"content".as_slice())
            .unwrap();
        tar.into_inner().unwrap()
    };
    let report = plain(&archive("1"), &archive("2"));
    assert_incomplete(&report, "the headers of a member are too long");
}

#[test]
fn nesting_ends_somewhere() {
    let (mut left, mut right) = (b"left".to_vec(), b"right".to_vec());
    for _ in 0..10 {
        (left, right) = (packed("gzip", &left), packed("gzip", &right));
    }
    let report = plain(&left, &right);
    assert!(
        report.to_string().contains("packed more than 6 deep"),
        "{report}"
    );
}

/// An `ar` archive of one member of three bytes, which is padded so.
fn padded(time: u32, padding: &[u8]) -> Vec<u8> {
    let header = format!(
        "{:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n",
        "a/", 0, 0, 644, 3
    );
    [b"!<arch>\n", header.as_bytes(), b"abc", padding].concat()
}

#[test]
fn what_a_member_is_padded_with_is_not_put_aside() {
    let apart_from = |left: &[u8], right: &[u8]| {
        let report = plain(&padded(1_794_198_636, left), &padded(1_794_242_425, right));
        assert_eq!(report.causes.len(), 1, "{report:?}");
        report.apart_from
    };
    assert_eq!(apart_from(b"\n", b"\n"), [Kind::Timestamp]);
    assert_eq!(apart_from(b"x", b"x"), [Kind::Timestamp]);
    for (left, right) in [(b"\n", b"x".as_slice()), (b"\n", b""), (b"x", b"y")] {
        assert_eq!(apart_from(left, right), [], "{left:?} {right:?}");
    }
}
