//! What is said of a build's reproducibility: the same wherever it is said, before and after our own
//! tables have followed, and after builds are removed.

use builder_exec::Timestamp;
use builder_store::verdict::{self, Verdict};
use builder_store::{builds, jobs, latest, removal};
use uuid::Uuid;

use crate::data::{Data, New, operator};

use Verdict::{BuiltOnce, Changed, Failed, NotReproducible, Reproduced, Unchanged};

/// Reproduced, all by one uploader.
fn by(by: u64) -> Verdict {
    Reproduced { by, uploaders: 0 }
}

/// The verdict on a build of job `a`, asked for alone, and as part of its job's history.
fn verdict_on(data: &Data, number: u128) -> Verdict {
    data.store
        .read(|tx| {
            let build = builds::by_uuid(tx, Uuid::from_u128(number))?.unwrap();
            let alone = verdict::of_build(tx, &build)?;
            assert_eq!(verdict::of_builds(tx, [&build])?, [alone], "among others");
            for platform in [None, Some(build.platform.as_str())] {
                let history = builds::history(tx, build.job_id, platform, None, 100)?;
                let verdicts = verdict::of_history(tx, &history)?;
                let at = history.iter().position(|known| known.id == build.id);
                assert_eq!(
                    verdicts[at.unwrap()],
                    alone,
                    "in the history on {platform:?}"
                );
            }
            Ok(alone)
        })
        .unwrap()
}

/// What the front page says of the newest successful builds of a job.
fn listed(data: &Data, job: &str) -> Vec<(String, u128, Verdict)> {
    data.store
        .read(|tx| {
            let job = jobs::id_by_name(tx, job)?.unwrap();
            let latest = latest::by_job(tx)?.remove(&job).unwrap_or_default();
            Ok(latest
                .into_iter()
                .filter_map(|latest| {
                    let build = latest.successful?;
                    Some((latest.platform, build.uuid.as_u128(), latest.verdict))
                })
                .collect())
        })
        .unwrap()
}

/// The front page says the same as the build itself, before and after the table has followed.
fn check_listed(data: &Data) {
    for job in ["a", "b"] {
        let before = listed(data, job);
        for (platform, number, verdict) in &before {
            assert_eq!(*verdict, verdict_on(data, *number), "{job} on {platform}");
        }
        data.store.catch_up().unwrap();
        assert_eq!(listed(data, job), before, "{job} after catching up");
    }
}

/// A main binary with this content.
fn output(content: &str) -> [(&'static str, &str); 1] {
    [("bin/x", content)]
}

/// One of each: the jobs `a` and `b` on two platforms.
fn one_of_each() -> Data {
    let data = Data::new();
    data.keep_from("i1", 1, &New("a", "p", 100, &output("o1")));
    // From another input, the same output.
    data.keep_from("i2", 2, &New("a", "p", 200, &output("o1")));
    // From another input, another output.
    data.keep_from("i3", 3, &New("a", "p", 300, &output("o2")));
    // Again, on another platform and in another job.
    data.keep_from("i4", 4, &New("a", "p", 400, &output("o3")));
    data.keep_from("i4", 5, &New("a", "q", 410, &output("o3")));
    data.keep_from("i4", 6, &New("b", "q", 420, &output("o3")));
    // Again, and not the same.
    data.keep_from("i5", 7, &New("a", "p", 500, &output("o4")));
    data.keep_from("i5", 8, &New("b", "p", 510, &output("o5")));
    // A failed build of the same input is no evidence.
    data.keep_from("i6", 9, &New("a", "p", 600, &output("o6")));
    data.keep_from("i6", 10, &New("a", "p", 610, &[]));
    // Without an input.
    data.keep(11, &New("a", "p", 700, &output("o6")));
    data.keep(12, &New("a", "p", 800, &output("o7")));
    data
}

#[test]
fn a_verdict_is_what_its_definition_says() {
    let data = one_of_each();
    for (number, expected) in [
        (1, BuiltOnce),
        (2, Unchanged),
        (3, Changed),
        (4, by(2)),
        (5, by(2)),
        (6, by(2)),
        (7, NotReproducible),
        (8, NotReproducible),
        (9, Changed),
        (10, Failed),
        (11, Unchanged),
        (12, Changed),
    ] {
        assert_eq!(verdict_on(&data, number), expected, "build {number}");
    }
    check_listed(&data);
}

#[test]
fn contradicted_is_not_reproducible_however_often_it_was_reproduced() {
    let data = Data::new();
    for number in 1..=3 {
        data.keep_from("i", number, &New("a", "p", 100, &output("same")));
    }
    assert_eq!(verdict_on(&data, 1), by(2));
    data.keep_from("i", 4, &New("b", "p", 100, &output("other")));
    for number in 1..=4 {
        assert_eq!(verdict_on(&data, number), NotReproducible);
    }
}

#[test]
fn a_build_that_comes_late_changes_what_is_said_of_those_that_are_there() {
    let data = one_of_each();
    data.keep_from("i7", 20, &New("a", "q", 900, &output("o8")));
    assert_eq!(listed(&data, "a")[1], ("q".to_owned(), 20, Changed));
    // Started between the two.
    data.keep_from("i8", 21, &New("a", "q", 890, &output("o8")));
    assert_eq!(listed(&data, "a")[1], ("q".to_owned(), 20, Unchanged));
    // In another job, of the same input.
    data.keep_from("i7", 22, &New("b", "r", 10, &output("o8")));
    assert_eq!(listed(&data, "a")[1], ("q".to_owned(), 20, by(1)));
    data.keep_from("i7", 23, &New("b", "r", 11, &output("o9")));
    assert_eq!(listed(&data, "a")[1], ("q".to_owned(), 20, NotReproducible));
    check_listed(&data);
}

#[test]
fn the_newest_build_is_the_failed_one_when_it_is_newer() {
    let data = one_of_each();
    data.keep(30, &New("b", "p", 5_000, &[]));
    for _ in ["before catching up", "after"] {
        let latest = data.store.read(|tx| {
            let job = jobs::id_by_name(tx, "b")?.unwrap();
            Ok(latest::by_job(tx)?.remove(&job).unwrap())
        });
        let [p, q] = &latest.unwrap()[..] else {
            panic!("two platforms");
        };
        assert_eq!(p.newest().unwrap().uuid.as_u128(), 30);
        assert_eq!(p.newest_verdict(), Failed);
        assert_eq!(p.verdict, NotReproducible);
        assert_eq!(q.newest_verdict(), by(2));
        assert!(q.failed.is_none());
        data.store.catch_up().unwrap();
    }
}

fn remove(data: &Data, number: u128) {
    let sql = data.sql();
    let uuid = Uuid::from_u128(number).to_string();
    for statement in [
        "UPDATE build SET main_binary = NULL WHERE uuid = ?1",
        "DELETE FROM build_artifact WHERE build = (SELECT id FROM build WHERE uuid = ?1)",
        "DELETE FROM build WHERE uuid = ?1",
    ] {
        sql.execute(statement, [&uuid]).unwrap();
    }
}

#[test]
fn a_verdict_does_not_outlive_the_build_it_rests_on() {
    // Removed by another program, while no server runs.
    let data = one_of_each();
    remove(&data, 8);
    remove(&data, 6);
    let data = data.reopen();
    data.store.catch_up().unwrap();
    check_listed(&data);
    // While one does.
    for number in [5, 12, 11, 9, 7] {
        remove(&data, number);
        data.store.catch_up().unwrap();
        let said = listed(&data, "a");
        for (platform, number, verdict) in &said {
            assert_eq!(*verdict, verdict_on(&data, *number), "on {platform}");
        }
    }
    assert_eq!(listed(&data, "a"), [("p".to_owned(), 4, Changed)]);
}

/// Says `by` of the last builds of job `a`, before and after our own tables have followed.
fn check_many(data: &Data, last: u128, expected: Verdict) {
    for _ in ["before", "after"] {
        for number in [last, last - 1] {
            assert_eq!(verdict_on(data, number), expected, "build {number}");
        }
        check_listed(data);
    }
}

#[test]
fn an_input_with_many_builds_is_judged_as_one_with_few() {
    let data = Data::new();
    for number in 1..=40 {
        let start = 100 + i64::try_from(number / 3).unwrap();
        data.keep_from("i", number, &New("a", "p", start, &output("same")));
    }
    data.keep(90, &New("b", "p", 1, &output("b")));
    check_many(&data, 40, by(39));
    // Others add one, which the table does not have yet.
    data.sql()
        .execute_batch(
            "INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console,
               script, platform, user, job, input_id)
             SELECT '00000000-0000-0000-0000-000000000029', start_d, 1, finish_d, 1, 0, console,
               script, platform, user, job, input_id FROM build WHERE id = 1;
             INSERT INTO build_artifact (filepath, sha256, size, build)
             SELECT filepath, sha256, size, (SELECT MAX(id) FROM build) FROM build_artifact
             WHERE build = 1;
             UPDATE build SET main_binary = (SELECT MAX(id) FROM build_artifact)
             WHERE id = (SELECT MAX(id) FROM build);",
        )
        .unwrap();
    check_many(&data, 0x29, by(40));
    // Others remove some.
    remove(&data, 7);
    remove(&data, 8);
    data.store.catch_up().unwrap();
    check_many(&data, 0x29, by(38));
    // We remove some, which showed what they showed, and one comes back.
    let goal = removal::Goal::Vacuum {
        jobs: Vec::new(),
        platform: None,
        keep: removal::Keep::Latest(10),
    };
    let now = Timestamp::from_unix(1_700_000_000, 0).unwrap();
    data.store
        .remove(&goal, &operator(), &now, &mut |_| {})
        .unwrap();
    assert_eq!(verdict_on(&data, 40), by(38));
    data.keep_from("i", 2, &New("a", "p", 100, &output("same")));
    assert_eq!(verdict_on(&data, 40), by(38));
    check_many(&data, 40, by(38));
    // One contradicts.
    data.keep_from("i", 0x2a, &New("b", "p", 10, &output("another")));
    assert_eq!(verdict_on(&data, 40), NotReproducible);
    // All is made anew.
    let data = data.reopen();
    data.store.derive_anew().unwrap();
    assert_eq!(verdict_on(&data, 40), NotReproducible);
    check_listed(&data);
}

#[test]
fn who_repeats_oneself_is_told_from_others() {
    let data = Data::new();
    data.keep_from("i", 1, &New("a", "p", 100, &output("o")));
    data.keep_from("i", 2, &New("a", "p", 200, &output("o")));
    assert_eq!(verdict_on(&data, 2), by(1));
    assert!(by(1).is_by_itself());
    data.keep_of("carol", "i", 3, &New("a", "q", 300, &output("o")));
    data.keep_of("carol", "i", 4, &New("b", "q", 400, &output("o")));
    data.keep_of("dave", "i", 5, &New("b", "q", 500, &output("o")));
    let reproduced = |by, uploaders| Reproduced { by, uploaders };
    for (number, expected) in [
        (1, reproduced(4, 2)),
        (3, reproduced(4, 2)),
        (5, reproduced(4, 2)),
    ] {
        assert_eq!(verdict_on(&data, number), expected, "build {number}");
    }
    check_listed(&data);
    // Also of an input with many builds, and when some are removed.
    for number in 6..60 {
        data.keep_from("i", number, &New("a", "p", 600, &output("o")));
    }
    assert_eq!(verdict_on(&data, 59), reproduced(58, 2));
    check_listed(&data);
    let b = data.store.read(|tx| jobs::id_by_name(tx, "b")).unwrap();
    let goal = removal::Goal::Vacuum {
        jobs: vec![b.unwrap()],
        platform: None,
        keep: removal::Keep::Latest(1),
    };
    let now = Timestamp::from_unix(1_700_000_000, 0).unwrap();
    data.store
        .remove(&goal, &operator(), &now, &mut |_| {})
        .unwrap();
    assert_eq!(verdict_on(&data, 59), reproduced(58, 2));
    data.store.catch_up().unwrap();
    assert_eq!(verdict_on(&data, 59), reproduced(58, 2));
}
