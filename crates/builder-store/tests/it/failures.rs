//! What is told of failed builds, and for which builds it is believed.

use builder_store::failures::{self, Failure, Filter};
use builder_store::jobs;
use uuid::Uuid;

use crate::data::{Data, New};

fn failure(class: &str) -> Failure {
    Failure {
        class: class.to_owned(),
        told: Some((17, "No space left".to_owned())),
        last_lines: vec!["one".to_owned(), "two".to_owned()],
    }
}

/// The number and class of each failed build.
fn listed(data: &Data, filter: Filter<'_>) -> Vec<(u128, Option<String>)> {
    let found = data.store.read(|tx| failures::list(tx, filter, 0, 100));
    let listed = found.unwrap().into_iter();
    listed
        .map(|(build, failure)| (build.uuid.as_u128(), failure.map(|failure| failure.class)))
        .collect()
}

fn tell(data: &Data, number: u128, class: &str, version: i64) {
    data.store
        .write(|tx| {
            let uuid = Uuid::from_u128(number);
            let build = builder_store::builds::by_uuid(tx, uuid)?.unwrap();
            failures::set(tx, build.id, uuid, version, &failure(class))
        })
        .unwrap();
}

fn unknown(data: &Data, version: i64) -> usize {
    let unknown = data.store.read(|tx| failures::unknown(tx, version, 100));
    unknown.unwrap().len()
}

#[test]
fn failed_builds_are_listed_by_job_platform_and_class_newest_first() {
    let data = Data::new();
    data.keep(1, &New("a", "p", 10, &[]));
    data.keep(2, &New("a", "q", 20, &[]));
    data.keep(3, &New("b", "p", 30, &[]));
    data.keep(4, &New("b", "p", 40, &[("bin/x", "x")]));
    assert_eq!(unknown(&data, 1), 3);
    tell(&data, 1, "disk-full", 1);
    tell(&data, 3, "network", 1);
    tell(&data, 3, "timeout", 1);

    let some = |class: &str| Some(class.to_owned());
    let all = Filter::default();
    assert_eq!(
        listed(&data, all),
        [(3, some("timeout")), (2, None), (1, some("disk-full"))]
    );
    let platform = Filter {
        platform: Some("p"),
        ..all
    };
    assert_eq!(
        listed(&data, platform),
        [(3, some("timeout")), (1, some("disk-full"))]
    );
    let class = Filter {
        class: Some("disk-full"),
        ..all
    };
    assert_eq!(listed(&data, class), [(1, some("disk-full"))]);
    let job_id = data.store.read(|tx| jobs::id_by_name(tx, "a")).unwrap();
    let job = Filter { job_id, ..all };
    assert_eq!(listed(&data, job), [(2, None), (1, some("disk-full"))]);
    let classes = data.store.read(|tx| failures::classes(tx, all)).unwrap();
    assert_eq!(
        classes,
        [(None, 1), (some("disk-full"), 1), (some("timeout"), 1)]
    );
    assert_eq!(data.store.read(failures::jobs).unwrap(), ["a", "b"]);
    assert_eq!(data.store.read(failures::platforms).unwrap(), ["p", "q"]);

    // What an older version told is shown until the newer one has looked.
    assert_eq!(unknown(&data, 1), 1);
    assert_eq!(unknown(&data, 2), 3);
    let one = data.store.read(|tx| {
        let build = builder_store::builds::by_uuid(tx, Uuid::from_u128(1))?.unwrap();
        failures::of_build(tx, build.id)
    });
    assert_eq!(one.unwrap(), Some(failure("disk-full")));
}

#[test]
fn what_is_told_of_a_build_is_not_believed_of_another_one_in_its_row() {
    let data = Data::new();
    data.keep(1, &New("a", "p", 10, &[]));
    tell(&data, 1, "disk-full", 1);
    let sql = data.sql();
    let other = Uuid::from_u128(9).to_string();
    sql.execute("UPDATE build SET uuid = ?1", [other]).unwrap();
    assert_eq!(listed(&data, Filter::default()), [(9, None)]);
    assert_eq!(unknown(&data, 1), 1);
    tell(&data, 9, "network", 1);
    assert_eq!(
        listed(&data, Filter::default()),
        [(9, Some("network".to_owned()))]
    );
}

#[test]
fn failures_that_others_added_stand_between_those_that_are_listed_already() {
    let data = Data::new();
    data.keep(1, &New("a", "p", 10, &[]));
    data.keep(2, &New("a", "p", 30, &[]));
    data.keep(3, &New("b", "q", 40, &[("bin/x", "x")]));
    tell(&data, 2, "network", 1);
    let other = Uuid::from_u128(9).to_string();
    data.sql()
        .execute(
            "INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console,
               script, platform, user, job)
             SELECT ?1, start_d, start_ps + 10000000000000, finish_d, finish_ps, 1, console,
               script, 'q', user, job FROM build WHERE id = 1",
            [other],
        )
        .unwrap();
    let check = |when: &str| {
        let numbers = |filter, start, count| -> Vec<u128> {
            let found = data
                .store
                .read(|tx| failures::list(tx, filter, start, count));
            let found = found.unwrap().into_iter();
            found.map(|(build, _)| build.uuid.as_u128()).collect()
        };
        let all = Filter::default();
        let job_id = data.store.read(|tx| jobs::id_by_name(tx, "a")).unwrap();
        let job = Filter { job_id, ..all };
        for filter in [all, job] {
            assert_eq!(numbers(filter, 0, 9), [2, 9, 1], "{when}");
            assert_eq!(numbers(filter, 1, 1), [9], "{when}");
            assert_eq!(numbers(filter, 2, 9), [1], "{when}");
            let classes = data.store.read(|tx| failures::classes(tx, filter));
            let network = Some("network".to_owned());
            assert_eq!(classes.unwrap(), [(None, 2), (network, 1)], "{when}");
        }
        let platforms = data.store.read(failures::platforms).unwrap();
        assert_eq!(platforms, ["p", "q"], "{when}");
        let of_job = data.store.read(|tx| jobs::platforms(tx, job_id.unwrap()));
        assert_eq!(of_job.unwrap(), ["p", "q"], "{when}");
        assert_eq!(unknown(&data, 1), 2, "{when}");
    };
    check("before it was followed");
    data.store.catch_up().unwrap();
    check("after that");
    data.store.derive_anew().unwrap();
    check("derived anew");
}

#[test]
fn the_same_are_listed_while_our_own_table_is_far_behind() {
    let data = Data::new();
    for (number, job) in [(1, "a"), (2, "b"), (3, "c")] {
        data.keep(number, &New(job, "p", 10, &[("bin/x", "x")]));
    }
    data.sql()
        .execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1500)
             INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console,
               script, platform, user, job)
             SELECT format('00000000-0000-0000-0001-%012x', n), n * 7919 % 1500, n % 3, 4000, 0, 1,
               '', '', CASE n % 5 WHEN 0 THEN 'q' ELSE 'p' END, 1, n % 3 + 1 FROM n",
        )
        .unwrap();
    for number in 4..40 {
        tell(&data, (1 << 48) + number * 37, "network", 1);
    }
    let filters = [
        Filter::default(),
        Filter {
            platform: Some("q"),
            ..Filter::default()
        },
        Filter {
            class: Some("network"),
            ..Filter::default()
        },
        Filter {
            platform: Some("p"),
            class: Some("network"),
            ..Filter::default()
        },
    ];
    let all = || {
        let lists = filters.map(|filter| {
            [(0, 20), (15, 20), (1490, 20)].map(|(start, count)| {
                let list = data
                    .store
                    .read(|tx| failures::list(tx, filter, start, count))
                    .unwrap();
                let after = list.last().map(|(build, _)| build.age());
                let next = data
                    .store
                    .read(|tx| failures::before(tx, filter, after, 7))
                    .unwrap();
                (list, next)
            })
        });
        let classes = data.store.read(|tx| failures::classes(tx, filters[0]));
        let platforms = data.store.read(failures::platforms);
        (lists, classes.unwrap(), platforms.unwrap())
    };
    let behind = all();
    assert_eq!(behind.0[0][0].0.len(), 20);
    assert_eq!(behind.0[2][0].0.len(), 20);
    data.store.catch_up().unwrap();
    assert_eq!(all(), behind);
}
