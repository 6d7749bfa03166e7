//! Mending beside others who upload and remove: what became right, or nobody's, between the look and
//! the repair is left as it is.

use std::fs;
use std::path::PathBuf;

use builder_exec::Timestamp;
use builder_store::removal::Goal;
use builder_store::verify::{Mended, Plan, Report, repair};
use builder_store::{Sha256, jobs};

use crate::data::{Data, New, operator};

const BINARY: &str = "the bytes of a binary";

fn hello() -> New<'static> {
    New("hello", "p", 10, &[("bin/x", BINARY)])
}

fn binary(data: &Data) -> PathBuf {
    data.store.artifacts().path(Sha256::of(BINARY.as_bytes()))
}

fn look(data: &Data) -> Report {
    let plan = Plan::load(&data.store).unwrap();
    plan.verify(&data.store, 1, &|_| {}).unwrap()
}

/// What was done about the one problem of a report.
fn mended(data: &Data, mut report: Report, from: &[PathBuf]) -> Vec<Mended> {
    assert_eq!(report.problems.len(), 1, "{report:?}");
    repair(&data.store, &mut report, from, "today").unwrap();
    assert_eq!(report.open_problems(), 0, "{report:?}");
    report.problems.remove(0).mended
}

#[test]
fn what_an_upload_brought_again_is_not_put_aside() {
    for damage in [Some("the bytes of a penguin"), Some("the"), None] {
        let data = Data::new();
        data.keep(1, &hello());
        match damage {
            Some(bytes) => fs::write(binary(&data), bytes).unwrap(),
            None => fs::remove_file(binary(&data)).unwrap(),
        }
        let report = look(&data);
        data.keep(2, &hello());
        assert_eq!(
            mended(&data, report, &[]),
            [Mended::Meanwhile],
            "{damage:?}"
        );
        assert_eq!(fs::read_to_string(binary(&data)).unwrap(), BINARY);
        assert!(!data.path().join("_quarantine").exists());
        assert!(look(&data).problems.is_empty());
    }
}

#[test]
fn a_text_that_is_there_again_is_not_put_aside() {
    let data = Data::new();
    data.keep(1, &hello());
    let console = format!("hello/{}/console.txt", uuid::Uuid::from_u128(1));
    let console = data.path().join(console);
    fs::remove_file(&console).unwrap();
    let report = look(&data);
    fs::write(&console, "0.000s:again\n").unwrap();
    assert_eq!(mended(&data, report, &[]), [Mended::Meanwhile]);
    assert_eq!(fs::read_to_string(&console).unwrap(), "0.000s:again\n");
    assert!(!data.path().join("_quarantine").exists());
}

#[test]
fn what_no_build_names_any_more_is_not_put_back() {
    let data = Data::new();
    data.keep(1, &hello());
    data.keep(2, &New("other", "p", 10, &[("bin/y", "y")]));
    let backup = data.path().join("_quarantine");
    fs::create_dir(&backup).unwrap();
    fs::rename(binary(&data), backup.join("found")).unwrap();
    let report = look(&data);
    let all = data.store.read(jobs::all).unwrap();
    let job = all.iter().find(|job| job.name == "hello").unwrap();
    let goal = Goal::Job(job.id);
    let now = Timestamp::from_unix(1_700_000_000, 0).unwrap();
    data.store
        .remove(&goal, &operator(), &now, &mut |_| {})
        .unwrap();
    assert_eq!(mended(&data, report, &[]), [Mended::Meanwhile]);
    assert!(!binary(&data).exists());
}
