//! Whether a build is kept as a whole: each row and each byte that its upload leaves.

use std::collections::BTreeMap;
use std::io::Read;

use builder_store::{Sha256, Store, builds, jobs};

use crate::build::Build;

/// The console of a build, as it is kept.
pub(crate) fn console(build: &Build) -> Vec<u8> {
    let line = |(delta, text): &(i64, Vec<u8>)| {
        let milliseconds = delta / 1_000_000;
        let head = format!("{}.{:03}s:", milliseconds / 1000, milliseconds % 1000);
        [head.as_bytes(), text, b"\n"].concat()
    };
    build.console.iter().flat_map(line).collect()
}

/// Whether there is such a build; one that is there has all that was uploaded, and nothing else.
#[track_caller]
pub(crate) fn is_whole(store: &Store, build: &Build) -> bool {
    let uuid = build.uuid;
    let Some(found) = store.read(|tx| builds::by_uuid(tx, uuid)).unwrap() else {
        return false;
    };
    assert_eq!(found.job.as_bytes(), build.job, "{uuid}");
    assert_eq!(Some(found.platform.as_bytes()), build.platform.as_deref());
    assert_eq!((found.start, found.finish), (build.start, build.finish));
    assert_eq!(found.result, build.result, "{uuid}");
    for (path, expected) in [
        (&found.console, console(build)),
        (&found.script, build.script.clone()),
    ] {
        let mut text = Vec::new();
        let (mut file, _) = store.open_text(path).unwrap();
        file.read_to_end(&mut text).unwrap();
        assert!(text == expected, "{path} of {uuid}");
    }
    let expected: BTreeMap<&[u8], (Sha256, u64)> = build
        .files
        .iter()
        .map(|(path, content)| (&**path, (Sha256::of(content), content.len() as u64)))
        .collect();
    let artifacts = store.read(|tx| builds::artifacts(tx, found.id)).unwrap();
    let kept = artifacts.iter().map(|artifact| {
        let what = (artifact.sha256, artifact.size);
        (artifact.path.as_bytes(), what)
    });
    assert_eq!(kept.len(), expected.len(), "{uuid}");
    assert_eq!(kept.collect::<BTreeMap<_, _>>(), expected, "{uuid}");
    for (path, (sha256, size)) in &expected {
        let (mut file, bytes) = store.artifacts().open(*sha256).unwrap();
        let path = String::from_utf8_lossy(path);
        assert_eq!(bytes, *size, "{path} of {uuid}");
        let digest = Sha256::of_reader(&mut file).unwrap();
        assert_eq!(digest, *sha256, "{path} of {uuid}");
    }
    let mut binaries = expected
        .iter()
        .filter(|(path, _)| path.starts_with(b"bin/"));
    let main = binaries.next().filter(|_| binaries.next().is_none());
    let found_main = found.main_binary.as_ref();
    let found_main = found_main.map(|main| (main.path.as_bytes(), (main.sha256, main.size)));
    assert_eq!(found_main, main.map(|(path, what)| (*path, *what)));
    let inputs = ["opam-switch", "build-environment", "system-packages"];
    let inputs = inputs.map(|input| expected.get(input.as_bytes()));
    let digests: Vec<u8> = inputs
        .iter()
        .flatten()
        .flat_map(|(sha256, _)| *sha256.as_bytes())
        .collect();
    let input_id = (digests.len() == 3 * 32).then(|| Sha256::of(&digests));
    assert_eq!(found.input_id, input_id, "{uuid}");
    // What its switch says of the job: that of each of these builds says the same.
    let jobs = store.read(jobs::all).unwrap();
    let job = jobs.iter().find(|job| job.id == found.job_id).unwrap();
    if inputs[0].is_some() {
        assert_eq!(job.section.as_deref(), Some("Packages"), "{uuid}");
    }
    true
}
