//! Lists of builds for programs, and the builds a build is compared with.

use builder_store::listing::{self, Filter};
use builder_store::neighbours::{self, NAMED_MAX};
use builder_store::verdict::Verdict;
use builder_store::{Sha256, builds, jobs};
use uuid::Uuid;

use crate::data::{Data, New};

/// A main binary with this content.
fn output(content: &str) -> [(&'static str, &str); 1] {
    [("bin/x", content)]
}

fn filter(platform: Option<&str>, state: Option<&str>) -> Filter {
    Filter {
        platform: platform.map(str::to_owned),
        state: state.map(str::to_owned),
        ..Filter::default()
    }
}

/// All parts of the list of uploads, each with the numbers of its builds.
fn uploads(data: &Data, filter: &Filter, count: usize) -> Vec<Vec<u128>> {
    let mut parts = Vec::new();
    let mut before = None;
    loop {
        let part = data
            .store
            .read(|tx| listing::uploads(tx, filter, before, count))
            .unwrap();
        let numbers = part.builds.iter().map(|(build, _)| build.uuid.as_u128());
        parts.push(numbers.collect());
        before = part.next;
        if before.is_none() {
            return parts;
        }
    }
}

/// The same of the list of the builds of the job `a`.
fn of_job(data: &Data, filter: &Filter, count: usize) -> Vec<Vec<u128>> {
    let mut parts = Vec::new();
    let mut before = None;
    loop {
        let part = data
            .store
            .read(|tx| {
                let job = jobs::id_by_name(tx, "a")?.unwrap();
                listing::of_job(tx, job, filter, before, count)
            })
            .unwrap();
        let numbers = part.builds.iter().map(|(build, _)| build.uuid.as_u128());
        parts.push(numbers.collect());
        before = part.next;
        if before.is_none() {
            return parts;
        }
    }
}

fn one_of_each() -> Data {
    let data = Data::new();
    data.keep_from("i1", 1, &New("a", "p", 100, &output("o1")));
    data.keep_from("i2", 2, &New("a", "p", 200, &output("o1")));
    data.keep_from("i3", 3, &New("a", "p", 300, &output("o2")));
    data.keep_from("i4", 4, &New("a", "q", 400, &output("o3")));
    data.keep_from("i4", 5, &New("b", "q", 500, &output("o3")));
    data.keep_from("i5", 6, &New("a", "p", 600, &output("o4")));
    data.keep_from("i5", 7, &New("a", "p", 700, &output("o5")));
    data.keep(8, &New("a", "q", 800, &[]));
    data
}

#[test]
fn builds_are_listed_by_their_state_and_platform() {
    let data = one_of_each();
    for (platform, state, expected) in [
        (None, None, vec![8, 7, 6, 5, 4, 3, 2, 1]),
        (Some("q"), None, vec![8, 5, 4]),
        (None, Some("built-once"), vec![1]),
        (None, Some("unchanged"), vec![2]),
        (None, Some("changed"), vec![3]),
        (None, Some("reproduced"), vec![5, 4]),
        (None, Some("not-reproducible"), vec![7, 6]),
        (None, Some("failed"), vec![8]),
        (Some("p"), Some("failed"), vec![]),
        (Some("nowhere"), None, vec![]),
    ] {
        let filter = filter(platform, state);
        for count in [1, 2, 100] {
            let listed = uploads(&data, &filter, count);
            assert_eq!(listed.concat(), expected, "{filter:?}, {count} at a time");
            assert!(listed.iter().all(|part| part.len() <= count));
            let in_job: Vec<u128> = expected.iter().copied().filter(|id| *id != 5).collect();
            assert_eq!(
                of_job(&data, &filter, count).concat(),
                in_job,
                "of the job, {filter:?}, {count} at a time"
            );
        }
    }
    let contradiction = Filter {
        successful: Some(true),
        ..filter(None, Some("failed"))
    };
    assert_eq!(uploads(&data, &contradiction, 10), [[0_u128; 0]]);
    let of_input = Filter {
        input_id: Some(Sha256::of(b"i4")),
        ..Filter::default()
    };
    assert_eq!(uploads(&data, &of_input, 1).concat(), [5, 4]);
    let of_output = Filter {
        output: Some(Sha256::of(b"o1")),
        ..Filter::default()
    };
    assert_eq!(uploads(&data, &of_output, 1).concat(), [2, 1]);
    let of_both = Filter {
        output: Some(Sha256::of(b"o5")),
        input_id: Some(Sha256::of(b"i5")),
        ..Filter::default()
    };
    assert_eq!(uploads(&data, &of_both, 10), [[7]]);
}

/// As many builds more as are asked for, each a copy of a build but for its name.
fn copy(data: &Data, of: u128, count: u32) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, result_msg,
           console, script, platform, main_binary, input_id, user, job)
         SELECT printf('{:04x}%04x-0000-0000-0000-000000000000', n.i), start_d, start_ps, finish_d,
           finish_ps, result_code, result_msg, console, script, platform, main_binary, input_id,
           user, job
         FROM n, build WHERE uuid = '{}'",
        of,
        Uuid::from_u128(of)
    );
    data.sql().execute(&sql, []).unwrap();
}

#[test]
fn what_is_rare_is_found_a_part_at_a_time_however_much_is_between() {
    let data = Data::new();
    data.keep_from("i1", 1, &New("a", "rare", 100, &output("o1")));
    data.keep_from("i1", 2, &New("a", "p", 100, &output("o2")));
    data.keep(3, &New("a", "p", 50, &output("o3")));
    copy(&data, 3, 2_500);
    let not_reproducible = filter(None, Some("not-reproducible"));
    let parts = uploads(&data, &not_reproducible, 10);
    assert_eq!(parts.concat(), [2, 1]);
    assert!(parts.len() > 2, "{} builds were judged at once", 2_500);
    assert_eq!(of_job(&data, &not_reproducible, 10).concat(), [2, 1]);
    copy(&data, 2, 60_000);
    let parts = uploads(&data, &filter(Some("rare"), None), 10);
    assert_eq!(parts, [vec![], vec![1]]);
}

#[test]
fn a_build_names_the_newest_of_its_neighbours_and_counts_the_others() {
    let data = Data::new();
    data.keep_from("i", 1_000, &New("a", "p", 10, &output("mine")));
    let more = NAMED_MAX as u128 + 5;
    for number in 1..=more {
        let start = i64::try_from(number).unwrap() * 10;
        data.keep_from("i", number, &New("a", "p", start, &output("mine")));
        let other = format!("other {number}");
        data.keep_from("i", 100 + number, &New("a", "p", start, &output(&other)));
        let input = format!("i{number}");
        data.keep_from(&input, 200 + number, &New("a", "p", start, &output("mine")));
    }
    // Of each other output and input the newest.
    data.keep_from("i", 300, &New("a", "p", 9_000, &output("other 3")));
    data.keep_from("i3", 301, &New("a", "p", 9_000, &output("mine")));
    data.store
        .read(|tx| {
            let build = builds::by_uuid(tx, Uuid::from_u128(1_000))?.unwrap();
            let of_input = neighbours::of_input(tx, &build)?;
            let of_output = neighbours::of_output(tx, &build)?;
            for (kind, neighbours, first, verdict) in [
                (
                    "same output",
                    &of_input.same_output,
                    25,
                    Verdict::NotReproducible,
                ),
                (
                    "other outputs",
                    &of_input.other_outputs,
                    300,
                    Verdict::NotReproducible,
                ),
                (
                    "other inputs",
                    &of_output,
                    301,
                    Verdict::Reproduced {
                        by: 1,
                        uploaders: 0,
                    },
                ),
            ] {
                assert_eq!(neighbours.count, 25, "{kind}");
                assert_eq!(neighbours.newest.len(), NAMED_MAX, "{kind}");
                assert_eq!(neighbours.left_out(), 5, "{kind}");
                assert_eq!(neighbours.newest[0].0.uuid.as_u128(), first, "{kind}");
                assert_eq!(neighbours.newest[0].1, verdict, "{kind}");
                assert_eq!(neighbours.uploaders.len(), 1, "{kind}");
                let newest = neighbours.newest.iter();
                assert!(newest.is_sorted_by_key(|(build, _)| std::cmp::Reverse(build.age())));
            }
            Ok(())
        })
        .unwrap();
}
