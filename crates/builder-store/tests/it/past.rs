//! The builds of a job on a platform, and since when they are reproduced or not: the same from our
//! own table as from the v18 tables, and however long ago it began.

use builder_store::builds::{self, Build};
use builder_store::past::{self, Count, Standing};
use builder_store::{Tx, jobs, latest};
use rusqlite::Connection;
use uuid::Uuid;

use crate::data::{Data, New};

/// Has our own table know nothing, as in the first seconds after it was made anew.
fn forget(data: &Data) {
    let own = Connection::open(data.path().join("builder-web.sqlite3")).unwrap();
    own.execute(
        "UPDATE progress SET indexed_build = 0, indexed_uuid = '', indexed_count = 0",
        [],
    )
    .unwrap();
}

/// What `read` finds by our own table, which is held against what it finds without.
fn read<T: PartialEq + std::fmt::Debug>(
    data: &Data,
    read: impl Fn(&mut Tx<'_>) -> builder_store::Result<T>,
) -> T {
    let listed = data.store.read(&read).unwrap();
    forget(data);
    assert_eq!(data.store.read(&read).unwrap(), listed, "without our table");
    data.store.catch_up().unwrap();
    assert_eq!(data.store.read(&read).unwrap(), listed, "made anew");
    listed
}

fn standing(data: &Data, job: &str, platform: &str) -> Standing {
    read(data, |tx| {
        let job = jobs::id_by_name(tx, job)?.unwrap();
        past::standing(tx, job, platform)
    })
}

fn number_of(build: &Build) -> u128 {
    build.uuid.as_u128()
}

fn count(builds: u64) -> Count {
    Count {
        builds,
        more: false,
    }
}

/// In numbers: of builds, and of the first or last of them.
fn told(standing: Standing) -> (&'static str, u64, u128, Option<u128>) {
    match standing {
        Standing::Untold => ("untold", 0, 0, None),
        Standing::NothingBuilt => ("nothing built", 0, 0, None),
        Standing::NeverRepeated => ("never repeated", 0, 0, None),
        Standing::Reproduced { builds, since, .. } => {
            ("reproduced", builds.builds, number_of(&since), None)
        }
        Standing::NotSince {
            first,
            reproduced_before,
            before,
            ..
        } => (
            "not since",
            reproduced_before.builds,
            number_of(&first),
            before.as_deref().map(number_of),
        ),
    }
}

#[test]
fn a_platform_is_reproduced_since_the_last_build_that_was_not() {
    let data = Data::new();
    let keep = |input: &str, number: u128, output: &str| {
        let start = i64::try_from(number).unwrap() * 100;
        let main = [("bin/x", output)];
        let files: &[_] = if output.is_empty() { &[] } else { &main };
        data.keep_from(input, number, &New("a", "p", start, files));
    };
    keep("i1", 1, "");
    assert_eq!(
        told(standing(&data, "a", "p")),
        ("nothing built", 0, 0, None)
    );
    keep("i1", 2, "o1");
    assert_eq!(
        told(standing(&data, "a", "p")),
        ("never repeated", 0, 0, None)
    );
    // Elsewhere, the same.
    data.keep_from("i1", 3, &New("b", "q", 5, &[("bin/x", "o1")]));
    assert_eq!(told(standing(&data, "a", "p")), ("reproduced", 1, 2, None));
    assert_eq!(told(standing(&data, "b", "q")), ("reproduced", 1, 3, None));
    keep("i2", 4, "o2");
    keep("i2", 5, "o2");
    assert_eq!(told(standing(&data, "a", "p")), ("reproduced", 3, 2, None));
    keep("i3", 6, "o3");
    keep("i3", 7, "o4");
    keep("i4", 8, "o5");
    let not_since = ("not since", 3, 6, Some(5));
    assert_eq!(told(standing(&data, "a", "p")), not_since);
    // Good again: since the first that is.
    keep("i4", 9, "o5");
    assert_eq!(told(standing(&data, "a", "p")), ("reproduced", 2, 8, None));
    // Evidence that comes late counts for what was built long ago.
    data.keep_from("i2", 10, &New("b", "q", 5, &[("bin/x", "other")]));
    data.keep_from("i4", 11, &New("b", "q", 6, &[("bin/x", "other")]));
    assert_eq!(
        told(standing(&data, "a", "p")),
        ("not since", 1, 4, Some(2))
    );
    assert_eq!(
        told(standing(&data, "b", "q")),
        ("not since", 1, 10, Some(3))
    );
}

#[test]
fn who_repeats_what_only_he_built_is_told_from_others() {
    let data = Data::new();
    let by_others = || match standing(&data, "a", "p") {
        Standing::Reproduced {
            builds, by_others, ..
        } => (builds.builds, by_others),
        other => panic!("{other:?}"),
    };
    for (input, numbers, output) in [("i1", [1, 2], "o1"), ("i2", [3, 4], "o2")] {
        for number in numbers {
            let start = i64::try_from(number).unwrap() * 100;
            data.keep_from(input, number, &New("a", "p", start, &[("bin/x", output)]));
        }
    }
    assert_eq!(by_others(), (4, 0));
    // Elsewhere, the same.
    data.keep_of("other", "i2", 5, &New("b", "q", 5, &[("bin/x", "o2")]));
    assert_eq!(by_others(), (4, 2));
    data.keep_from("i2", 6, &New("a", "p", 600, &[("bin/x", "o2")]));
    assert_eq!(by_others(), (5, 3));
    data.keep_of("third", "i1", 7, &New("b", "q", 6, &[("bin/x", "o1")]));
    assert_eq!(by_others(), (5, 5));
}

#[test]
fn what_is_told_is_the_same_from_our_own_table_as_from_the_builds() {
    let data = Data::new();
    // Numbers that look random and are the same each time.
    let mut seed = 7u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for number in 1..=120 {
        let mut either = |one, other| if next(2) == 0 { one } else { other };
        let (job, platform) = (either("a", "b"), either("p", "q"));
        let input = format!("i{}", next(40));
        let start = i64::try_from(next(1_000)).unwrap();
        let output = format!("{input}{}", u8::from(next(9) == 0));
        let main = [("bin/x", output.as_str())];
        let files: &[_] = if next(8) == 0 { &[] } else { &main };
        let user = if next(2) == 0 { "user" } else { "other" };
        data.keep_of(user, &input, number, &New(job, platform, start, files));
        if number % 6 == 0 {
            for (job, platform) in [("a", "p"), ("a", "q"), ("b", "p"), ("b", "q")] {
                let found = read(&data, |tx| {
                    let Some(job) = jobs::id_by_name(tx, job)? else {
                        return Ok(None);
                    };
                    let newest = past::newest(tx, job, platform, None, 50)?;
                    let before = newest.get(3).map(Build::age);
                    let mut beside = Vec::new();
                    for build in &newest {
                        beside.push(past::successful_before(tx, build)?);
                        beside.push(past::successful_after(tx, build)?);
                    }
                    let mut changes = past::changes(tx, job, Some(platform), 50)?;
                    changes.extend(past::changes(tx, job, None, 5)?);
                    Ok(Some((
                        past::standing(tx, job, platform)?,
                        past::failing(tx, job, platform)?,
                        past::newest(tx, job, platform, before, 5)?,
                        latest::of_job(tx, job)?,
                        beside,
                        changes,
                        newest,
                    )))
                });
                if let Some((_, failing, _, latest, beside, changes, newest)) = found {
                    let of_platform = newest.iter().rev();
                    let successful: Vec<&Build> = of_platform
                        .filter(|build| build.main_binary.is_some())
                        .collect();
                    let mut expected = Vec::new();
                    for (at, build) in successful.iter().enumerate() {
                        let before = at.checked_sub(1).map(|at| successful[at]);
                        let output = |build: &Build| build.main_binary.clone().unwrap().sha256;
                        if before.is_none_or(|before| output(before) != output(build)) {
                            expected.push((number_of(build), before.map(number_of)));
                        }
                    }
                    expected.reverse();
                    let found: Vec<(u128, Option<u128>)> = changes
                        .iter()
                        .take(expected.len())
                        .map(|change| {
                            (
                                number_of(&change.build),
                                change.before.as_ref().map(number_of),
                            )
                        })
                        .collect();
                    assert_eq!(found, expected);
                    for (at, build) in newest.iter().enumerate() {
                        let is_built = |build: &&Build| build.main_binary.is_some();
                        let before = newest[at + 1..].iter().find(is_built);
                        let after = newest[..at].iter().rev().find(is_built);
                        assert_eq!(beside[2 * at].as_ref(), before, "before {}", build.id);
                        assert_eq!(beside[2 * at + 1].as_ref(), after, "after {}", build.id);
                    }
                    let failed = newest
                        .iter()
                        .take_while(|build| build.main_binary.is_none());
                    assert_eq!(failing, count(failed.count() as u64));
                    let of_platform = latest.iter().find(|latest| latest.platform == platform);
                    let known = of_platform.and_then(|latest| latest.newest());
                    assert_eq!(known, newest.first());
                }
            }
        }
    }
}

/// Many builds of a job on the platform `p`, an hour each, all of one input and output, and one on `q`
/// long before.
fn many(builds: u32) -> Data {
    let data = Data::new();
    data.keep_from("i", 1, &New("a", "q", 0, &[("bin/x", "o")]));
    let sql = data.sql();
    sql.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {builds})
         INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console, script, platform, user, job, input_id)
         SELECT printf('00000000-0000-0000-0001-%012x', i), 20000 + i / 24, i % 24 * 3600000000000000, 30000, 0, 0, '', '', 'p', 1, 1,
           (SELECT input_id FROM build WHERE id = 1) FROM n;
         INSERT INTO build_artifact (filepath, sha256, size, build)
         SELECT 'bin/x', (SELECT sha256 FROM build_artifact WHERE id = 1), 1, id FROM build WHERE id > 1;
         UPDATE build SET main_binary = (SELECT a.id FROM build_artifact a WHERE a.build = build.id);"
    ))
    .unwrap();
    data
}

#[test]
fn a_run_is_told_from_its_beginning_however_long_it_is() {
    let data = many(1_500);
    data.store.catch_up().unwrap();
    let of_p = |tx: &mut Tx<'_>| past::standing(tx, 1, "p");
    let Standing::Reproduced {
        builds,
        since,
        earlier,
        ..
    } = data.store.read(of_p).unwrap()
    else {
        panic!("reproduced");
    };
    assert_eq!((builds.builds, builds.more), (1_000, true));
    assert_eq!(since.start.days(), 20_000);
    assert!(!earlier);
    // Before the table has followed only a part is looked at, and that is said.
    forget(&data);
    let Standing::Reproduced {
        builds, earlier, ..
    } = data.store.read(of_p).unwrap()
    else {
        panic!("reproduced");
    };
    assert_eq!((builds.builds, builds.more, earlier), (300, true, true));
}

#[test]
fn changes_of_the_output_are_found_however_far_they_are_apart() {
    let data = many(350);
    data.sql()
        .execute(
            "UPDATE build_artifact SET sha256 = zeroblob(32) WHERE build BETWEEN 100 AND 240",
            [],
        )
        .unwrap();
    data.store.catch_up().unwrap();
    let changes = |platform: Option<&str>, count: usize| -> Vec<(i64, Option<i64>)> {
        let changes = read(&data, |tx| past::changes(tx, 1, platform, count));
        let ids = changes.iter().map(|change| {
            let before = change.before.as_ref();
            (change.build.id, before.map(|before| before.id))
        });
        ids.collect()
    };
    let of_p = [(241, Some(240)), (100, Some(99)), (2, None)];
    assert_eq!(changes(Some("p"), 50), of_p);
    assert_eq!(changes(Some("p"), 1), of_p[..1]);
    assert_eq!(changes(Some("q"), 50), [(1, None)]);
    let all = [&of_p[..], &[(1, None)]].concat();
    assert_eq!(changes(None, 50), all);
    assert_eq!(changes(None, 2), all[..2]);
}

#[test]
fn a_platform_that_is_built_rarely_is_found_among_many_builds() {
    let data = many(1_500);
    let on_q = read(&data, |tx| past::newest(tx, 1, "q", None, 100));
    assert_eq!(on_q.len(), 1);
    let newest = read(&data, |tx| past::newest(tx, 1, "p", None, 100));
    let all = data
        .store
        .read(|tx| builds::history(tx, 1, None, None, 100));
    assert_eq!(newest, all.unwrap());
}

#[test]
fn it_is_noted_when_a_platform_ceases_to_be_reproducible() {
    let data = Data::new();
    let keep = |input: &str, number: u128, job: &str, platform: &str, output: &str| {
        let start = i64::try_from(number).unwrap() * 100;
        data.keep_from(
            input,
            number,
            &New(job, platform, start, &[("bin/x", output)]),
        );
    };
    let noted = |job: Option<&str>, platform: Option<&str>| -> Vec<(u128, Option<u128>, i64)> {
        let events = read(&data, |tx| {
            let job = match job {
                Some(job) => jobs::id_by_name(tx, job)?,
                None => None,
            };
            past::ceased(tx, job, platform, 10)
        });
        let numbers = events.iter().map(|event| {
            let other = event.other.as_ref().map(number_of);
            (number_of(&event.build), other, event.at.unix_seconds())
        });
        numbers.collect()
    };
    keep("i1", 1, "a", "p", "o1");
    keep("i1", 2, "a", "p", "o1");
    assert_eq!(noted_now(&data), []);
    keep("i2", 3, "a", "p", "o2");
    keep("i2", 4, "b", "p", "o3");
    // Both jobs cease with the later build; each is told by a build of its own.
    let mut both = noted_now(&data);
    both.sort_unstable();
    assert_eq!(both, [(3, Some(4), 400), (4, Some(3), 400)]);
    // It stays so: nothing new.
    keep("i3", 5, "a", "p", "o4");
    keep("i3", 6, "a", "p", "o5");
    assert_eq!(noted_now(&data).len(), 2);
    // Good again, and then not.
    keep("i4", 7, "a", "p", "o6");
    keep("i4", 8, "a", "p", "o6");
    keep("i5", 9, "a", "p", "o7");
    keep("i5", 10, "a", "p", "o8");
    let a = [(10, Some(9), 1_000), (3, Some(4), 400)];
    assert_eq!(noted(Some("a"), None), a);
    assert_eq!(noted(Some("a"), Some("p")), a);
    assert_eq!(noted(Some("b"), None), [(4, Some(3), 400)]);
    assert_eq!(noted(None, Some("q")), []);
    // An input that is known to give several outputs comes to another platform.
    keep("i5", 11, "a", "q", "o7");
    assert_eq!(noted(None, Some("q")), [(11, Some(10), 1_100)]);
}

/// As they are noted, without making the table anew.
fn noted_now(data: &Data) -> Vec<(u128, Option<u128>, i64)> {
    let events = data.store.read(|tx| past::ceased(tx, None, None, 10));
    let numbers = events.unwrap().into_iter().map(|event| {
        let other = event.other.as_ref().map(number_of);
        (number_of(&event.build), other, event.at.unix_seconds())
    });
    numbers.collect()
}

#[test]
fn a_build_that_is_gone_is_not_named() {
    let data = Data::new();
    for number in 1..=3 {
        let start = i64::try_from(number).unwrap() * 100;
        data.keep_from("i", number, &New("a", "p", start, &[("bin/x", "o")]));
    }
    let sql = data.sql();
    for statement in [
        "UPDATE build SET main_binary = NULL WHERE id = 1",
        "DELETE FROM build_artifact WHERE build = 1",
        "DELETE FROM build WHERE id = 1",
    ] {
        sql.execute(statement, []).unwrap();
    }
    let standing = data.store.read(|tx| past::standing(tx, 1, "p")).unwrap();
    let Standing::Reproduced { since, .. } = standing else {
        panic!("reproduced");
    };
    assert_eq!(since.uuid, Uuid::from_u128(2));
    let newest = data.store.read(|tx| past::newest(tx, 1, "p", None, 9));
    assert_eq!(newest.unwrap().len(), 2);
}
