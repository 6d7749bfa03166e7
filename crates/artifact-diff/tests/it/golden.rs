//! The builds of the corpus where it is at hand, and those of the demo.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use artifact_diff::{Detail, Group, Hints, Kind, Limits, Presence, Report, compare};
use builder_exec::{Limits as ExecLimits, Part, Reader, Timestamp};

type Artifacts = BTreeMap<String, Vec<u8>>;

fn artifacts(exec: impl Read) -> Artifacts {
    let mut reader = Reader::new(exec, ExecLimits::default());
    let mut all = BTreeMap::new();
    loop {
        match reader.next_part().unwrap() {
            Part::Artifact { path, data } => {
                let path = String::from_utf8(path).unwrap();
                all.insert(path, data.read_to_vec().unwrap());
            }
            Part::End => return all,
            _ => {}
        }
    }
}

fn plain(left: &Artifacts, right: &Artifacts, path: &str) -> Report {
    compare(
        &left[path],
        &right[path],
        &Hints::default(),
        &Limits::default(),
    )
}

/// The builds of a job in the demo, oldest first.
fn demo(job: &str, platform: &str) -> Vec<Artifacts> {
    let now = Timestamp::from_civil(2026, 6, 1, 12, 0, 0).unwrap();
    demo_builds::builds(now)
        .filter(|build| build.job() == job && build.platform() == platform)
        .map(|build| artifacts(build.exec().as_slice()))
        .filter(|artifacts| artifacts.keys().any(|path| path.starts_with("bin/")))
        .collect()
}

#[test]
fn the_demos_unikernel_that_tells_when_it_was_built_is_identical_apart_from_that() {
    let builds = demo("lantern", "debian-12");
    let pairs = builds
        .windows(2)
        .map(|pair| plain(&pair[0], &pair[1], "bin/lantern.hvt"));
    let apart_from: Vec<Vec<Kind>> = pairs.map(|report| report.apart_from).collect();
    assert!(
        apart_from.contains(&vec![Kind::Timestamp]),
        "{apart_from:?}"
    );
}

#[test]
fn a_new_version_of_tls_is_seen_in_its_modules() {
    let builds = demo("lantern", "debian-12");
    let grown = builds
        .windows(2)
        .map(|pair| plain(&pair[0], &pair[1], "lantern.hvt.debug"));
    let modules = grown.filter_map(|report| match report.detail {
        Detail::Elf(elf) => Some(elf.symbols.unwrap().groups.items),
        _ => None,
    });
    let with_tls = modules
        .into_iter()
        .find(|groups| groups.iter().any(|group| group.name == "Tls__Engine"))
        .unwrap();
    for group in with_tls
        .iter()
        .filter(|group| group.group == Group::OcamlModule)
    {
        let known = ["Tls", "X509", "Mirage_crypto", "Dune__exe", "Ca_certs_nss"];
        assert!(
            known.iter().any(|library| group.name.starts_with(library)),
            "{group:?}",
        );
    }
}

#[test]
fn the_demos_package_that_was_built_twice_is_identical_apart_from_times() {
    let builds = demo("ferryman", "debian-12");
    let [.., first, second] = builds.as_slice() else {
        panic!()
    };
    let path = first.keys().find(|path| path.ends_with(".deb")).unwrap();
    let report = plain(first, second, path);
    assert_eq!(report.apart_from, [Kind::Timestamp], "{report}");
}

fn corpus(name: &str) -> Option<Artifacts> {
    let builds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/builds");
    let file = std::fs::File::open(builds.join(name)).ok()?;
    Some(artifacts(std::io::BufReader::new(file)))
}

#[test]
fn every_artifact_of_the_corpus_is_compared_as_what_it_is() {
    let pairs = [
        ("unipi-1.exec", "unipi-4-same-input-other-output.exec"),
        ("unipi-1.exec", "unipi-6-newer.exec"),
        ("albatross-1.exec", "albatross-2.exec"),
        ("dnsvizor-1.exec", "dnsvizor-2.exec"),
    ];
    for (left, right) in pairs {
        let Some((left_build, right_build)) = corpus(left).zip(corpus(right)) else {
            return;
        };
        for path in left_build
            .keys()
            .filter(|path| right_build.contains_key(*path))
        {
            let report = plain(&left_build, &right_build, path);
            let reversed = plain(&right_build, &left_build, path);
            assert_eq!(report.same, left_build[path] == right_build[path]);
            assert_eq!(report.apart_from, reversed.apart_from, "{path}");
            // Packages of the corpus begin as packages do, and go on with bytes of chance: that is said, and they are compared.
            let made_up = matches!(report.detail, Detail::Bytes(_)) && path.ends_with(".deb");
            assert_eq!(
                report.incomplete.is_empty(),
                !made_up,
                "{left} {right} {path}: {report}"
            );
            match &report.detail {
                Detail::Same => {}
                Detail::Elf(elf) => {
                    assert!(
                        elf.sections
                            .items
                            .iter()
                            .any(|section| section.presence == Presence::Differs)
                    );
                    let solo5 = elf
                        .notes
                        .items
                        .iter()
                        .filter(|note| note.name.starts_with("Solo5"));
                    assert!(
                        solo5.clone().count() == 2 || !path.contains("hvt"),
                        "{path}: {report}"
                    );
                }
                Detail::Text(text) => assert!(!text.diff.is_empty()),
                Detail::Packed(_) | Detail::Archive(_) => {}
                Detail::Bytes(_) => assert!(path.starts_with("bin/"), "{path}: {report}"),
            }
        }
    }
}
