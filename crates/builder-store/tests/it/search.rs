//! What is found, however it came into the database, and however it left it.

use builder_store::Sha256;
use builder_store::search::{self, DigestRange, FilePlace, PackagePlace};
use rusqlite::params;
use uuid::Uuid;

use crate::data::{Data, New};

/// Tells the packages of every switch that is not read: its text is `NAME.VERSION …`.
fn read_switches(data: &Data) {
    for unread in data.store.read(|tx| search::unread(tx, 1_000)).unwrap() {
        let (mut file, _) = data.store.artifacts().open(unread.sha256).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        let packages = text
            .split(' ')
            .map(|package| package.split_once('.').unwrap());
        let set =
            |tx: &mut builder_store::Tx<'_>| search::set_packages(tx, unread.sha256, packages);
        data.store.write(set).unwrap();
    }
}

fn keep(data: &Data, number: u128, job: &str, switch: &str) {
    let files = [("bin/x", "x"), ("opam-switch", switch)];
    let start = i64::try_from(number).unwrap() * 100;
    data.keep(number, &New(job, "p", start, &files));
}

/// The builds with a package of one of these versions, `count` a page, a list a page.
fn with(data: &Data, name: &str, versions: &[&str], count: usize) -> Vec<Vec<u128>> {
    let mut pages = Vec::new();
    let mut after: Option<PackagePlace> = None;
    loop {
        let page = data.store.read(|tx| {
            let all = search::versions(tx, name)?;
            let wanted = all
                .iter()
                .filter(|known| versions.contains(&known.version.as_str()));
            let packages: Vec<i64> = wanted.map(|known| known.package).collect();
            search::builds_with(tx, &packages, after, count)
        });
        let page = page.unwrap();
        pages.push(
            page.builds
                .iter()
                .map(|found| found.build.uuid.as_u128())
                .collect(),
        );
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

/// Files as `PATH of JOB in NUMBER`, `count` a page, all pages.
fn files(data: &Data, beginning: &str, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut after: Option<FilePlace> = None;
    loop {
        let page = data.store.read(|tx| {
            search::files(
                tx,
                beginning,
                &|path| path.contains(beginning),
                after.as_ref(),
                count,
            )
        });
        let page = page.unwrap();
        assert!(page.files.len() <= count);
        all.extend(page.files.iter().map(|found| {
            format!(
                "{} of {} in {}",
                found.path,
                found.build.job,
                found.build.uuid.as_u128()
            )
        }));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

fn remove_behind(data: &Data, number: u128) {
    let sql = data.sql();
    let uuid = Uuid::from_u128(number).to_string();
    for statement in [
        "UPDATE build SET main_binary = NULL WHERE uuid = ?1",
        "DELETE FROM build_artifact WHERE build = (SELECT id FROM build WHERE uuid = ?1)",
        "DELETE FROM build WHERE uuid = ?1",
    ] {
        sql.execute(statement, params![uuid]).unwrap();
    }
}

#[test]
fn builds_are_found_by_their_packages_the_newest_input_first_a_page_at_a_time() {
    let data = Data::new();
    let (old, new) = ("tls.1.0 lwt.5.7", "tls.2.0 lwt.5.7");
    for (number, switch) in [(1, old), (2, new), (3, "lwt.5.8"), (4, old), (5, old)] {
        keep(&data, number, "hello", switch);
    }
    read_switches(&data);
    assert_eq!(with(&data, "tls", &["1.0"], 10), [vec![5, 4, 1]]);
    assert_eq!(with(&data, "tls", &["1.0", "2.0"], 10), [vec![2, 5, 4, 1]]);
    for count in 1..4 {
        let pages = with(&data, "lwt", &["5.7", "5.8"], count);
        assert!(
            pages
                .iter()
                .all(|page| !page.is_empty() && page.len() <= count),
            "{pages:?}"
        );
        assert_eq!(pages.concat(), [3, 2, 5, 4, 1], "{count} a page");
    }
    assert_eq!(with(&data, "lwt", &["5.9"], 10), [vec![]]);
    assert_eq!(with(&data, "none", &["1.0"], 10), [vec![]]);
}

#[test]
fn a_cursor_stands_where_it_is_while_builds_come_in() {
    let data = Data::new();
    for number in 1..=4 {
        keep(&data, number, "hello", "tls.1.0");
    }
    read_switches(&data);
    let tls = |data: &Data, after| {
        let page = data.store.read(|tx| {
            let package = search::versions(tx, "tls")?[0].package;
            search::builds_with(tx, &[package], after, 2)
        });
        let page = page.unwrap();
        let numbers: Vec<u128> = page
            .builds
            .iter()
            .map(|found| found.build.uuid.as_u128())
            .collect();
        (numbers, page.next)
    };
    let (first, next) = tls(&data, None);
    assert_eq!(first, [4, 3]);
    keep(&data, 5, "hello", "tls.1.0");
    assert_eq!(tls(&data, next), (vec![2, 1], None));
}

#[test]
fn the_latest_builds_with_a_package_are_named_for_each_job() {
    let data = Data::new();
    keep(&data, 1, "hello", "tls.1.0");
    keep(&data, 2, "hello", "tls.2.0");
    keep(&data, 3, "other", "tls.1.0");
    keep(&data, 4, "third", "lwt.1");
    read_switches(&data);
    let latest = |versions: &[&str], after, count| {
        let found = data.store.read(|tx| {
            let packages: Vec<i64> = search::versions(tx, "tls")?
                .into_iter()
                .filter(|known| versions.contains(&known.version.as_str()))
                .map(|known| known.package)
                .collect();
            search::latest_with(tx, "tls", &packages, after, count)
        });
        let (found, next) = found.unwrap();
        let numbers: Vec<u128> = found
            .iter()
            .map(|found| found.build.uuid.as_u128())
            .collect();
        (numbers, next)
    };
    let both = ["1.0", "2.0"];
    assert_eq!(latest(&both, None, 2), (vec![2, 3], None));
    assert_eq!(latest(&["1.0"], None, 2), (vec![3], None));
    let (first, next) = latest(&both, None, 1);
    assert_eq!(first, [2]);
    assert!(next.is_some());
    assert_eq!(latest(&both, next, 1), (vec![3], None));
}

#[test]
fn files_are_found_by_the_beginning_of_a_word_each_job_once_with_its_newest_build() {
    let data = Data::new();
    for (number, job, path) in [
        (1, "hello", "bin/hello-key.hvt"),
        (2, "hello", "bin/hello-key.hvt"),
        (3, "copy", "bin/hello-key.hvt"),
        (4, "copy", "lib/keys/key.pem"),
        (5, "copy", "doc/monkey.txt"),
    ] {
        let start = i64::try_from(number).unwrap();
        data.keep(number, &New(job, "p", start, &[(path, "x")]));
    }
    for count in [1, 2, 10] {
        assert_eq!(
            files(&data, "key", count),
            [
                "bin/hello-key.hvt of hello in 2",
                "bin/hello-key.hvt of copy in 3",
                "lib/keys/key.pem of copy in 4",
            ],
            "{count} a page"
        );
    }
    assert_eq!(files(&data, "doc/mon", 10), ["doc/monkey.txt of copy in 5"]);
    assert_eq!(files(&data, "nothing", 10), Vec::<String>::new());
}

#[test]
fn a_file_that_many_jobs_have_is_listed_for_each() {
    let data = Data::new();
    let sql = data.sql();
    sql.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
         INSERT INTO job (name) SELECT 'job-' || i FROM n;
         INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console, script, platform, user, job)
         SELECT printf('00000000-0000-0000-0000-%012x', id), id, 0, 0, 0, 0, '', '', 'p', 1, id FROM job;
         INSERT INTO build_artifact (filepath, sha256, size, build) SELECT 'bin/same', zeroblob(32), 1, id FROM build;",
    )
    .unwrap();
    data.store.catch_up().unwrap();
    for count in [7, 1_000] {
        let mut all = files(&data, "same", count);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 450, "{count} a page");
    }
}

#[test]
fn what_others_add_is_found_after_catching_up_and_what_they_remove_never() {
    let data = Data::new();
    keep(&data, 1, "hello", "tls.1.0");
    keep(&data, 2, "hello", "tls.1.0");
    read_switches(&data);
    remove_behind(&data, 2);
    assert_eq!(with(&data, "tls", &["1.0"], 10), [vec![1]]);
    assert_eq!(files(&data, "opam", 10), ["opam-switch of hello in 1"]);
    remove_behind(&data, 1);
    assert_eq!(with(&data, "tls", &["1.0"], 10), [vec![]]);
    assert_eq!(files(&data, "opam", 10), Vec::<String>::new());
    let data = data.between(|| {});
    keep(&data, 3, "other", "tls.3.0");
    let data = data.between(|| {});
    let sql = data.sql();
    sql.execute_batch(
        "INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console, script, platform, user, job)
         SELECT '00000000-0000-0000-0000-000000000009', 9, 0, 0, 0, 0, '', '', 'p', 1, id FROM job WHERE name = 'other';
         INSERT INTO build_artifact (filepath, sha256, size, build)
         SELECT 'opam-switch', a.sha256, a.size, last_insert_rowid() FROM build_artifact a WHERE a.filepath = 'opam-switch';",
    )
    .unwrap();
    assert!(!data.store.read(search::progress).unwrap().is_complete());
    data.store.catch_up().unwrap();
    read_switches(&data);
    assert!(data.store.read(search::progress).unwrap().is_complete());
    assert_eq!(with(&data, "tls", &["3.0"], 10), [vec![9, 3]]);
}

#[test]
fn sweeping_takes_out_what_no_build_has_and_nothing_else() {
    let data = Data::new();
    keep(&data, 1, "hello", "tls.1.0 gone.1");
    keep(&data, 2, "hello", "tls.2.0");
    data.keep(3, &New("hello", "p", 1, &[("bin/only", "y")]));
    read_switches(&data);
    remove_behind(&data, 1);
    remove_behind(&data, 3);
    data.store.sweep_search().unwrap();
    let own = rusqlite::Connection::open(data.path().join("builder-web.sqlite3")).unwrap();
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        own.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let counts = [
        "switch",
        "package_name",
        "package",
        "package_switch",
        "file",
        "file_job",
    ]
    .map(count);
    assert_eq!(counts, [1, 1, 1, 1, 2, 2]);
    assert_eq!(with(&data, "tls", &["2.0"], 10), [vec![2]]);
    assert_eq!(files(&data, "x", 10), ["bin/x of hello in 2"]);
    // It comes back, and is read again.
    keep(&data, 4, "hello", "tls.1.0 gone.1");
    read_switches(&data);
    assert_eq!(with(&data, "gone", &["1"], 10), [vec![4]]);
}

#[test]
fn a_long_history_is_indexed_in_turns_and_goes_on_where_it_stopped() {
    let data = Data::new();
    data.sql()
        .execute_batch(
            "INSERT INTO job (name) VALUES ('hello');
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
             INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console, script, platform, user, job)
             SELECT printf('00000000-0000-0000-0000-%012x', i), i, 0, 0, 0, 0, '', '', 'p', 1, 1 FROM n;
             INSERT INTO build_artifact (filepath, sha256, size, build)
             SELECT 'out/file-' || (id % 10), zeroblob(32), 1, id FROM build;",
        )
        .unwrap();
    // An upload takes on a part only.
    keep(&data, 5_000, "hello", "tls.1.0");
    let left = data.store.read(search::progress).unwrap().builds_left;
    assert!((2_000..2_501).contains(&left), "{left}");
    let data = data.reopen();
    assert_eq!(data.store.read(search::progress).unwrap().builds_left, left);
    data.store.catch_up().unwrap();
    assert_eq!(files(&data, "file-3", 10), ["out/file-3 of hello in 2493"]);
    read_switches(&data);
    assert_eq!(with(&data, "tls", &["1.0"], 10), [vec![5_000]]);
}

#[test]
fn digests_and_uuids_are_found_by_their_beginning() {
    let data = Data::new();
    for number in 1..=3 {
        data.keep(
            number,
            &New("hello", "p", 1, &[("bin/x", "same"), ("y", "other")]),
        );
    }
    let same = Sha256::of(b"same");
    let range = DigestRange::of(&same.to_hex()[..10]).unwrap();
    let found = data
        .store
        .read(|tx| search::artifacts_in(tx, range, 10))
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].sha256, found[0].build.uuid.as_u128()), (same, 3));
    let everything = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f",
    ]
    .map(|digit| {
        let range = DigestRange::of(digit).unwrap();
        data.store
            .read(|tx| search::artifacts_in(tx, range, 10))
            .unwrap()
            .len()
    });
    assert_eq!(everything.iter().sum::<usize>(), 2);
    let (page, next) = data
        .store
        .read(|tx| search::with_artifact(tx, same, None, 2))
        .unwrap();
    assert_eq!(page.len(), 2);
    let (rest, end) = data
        .store
        .read(|tx| search::with_artifact(tx, same, next, 2))
        .unwrap();
    assert_eq!((rest.len(), end), (1, None));
    let beginning = "00000000-0000-0000-0000-00000000000";
    let uuids = data
        .store
        .read(|tx| search::uuids_from(tx, beginning, None, 10))
        .unwrap();
    assert_eq!(uuids.len(), 3);
    let after = uuids[0].uuid;
    let rest = data
        .store
        .read(|tx| search::uuids_from(tx, beginning, Some(after), 10))
        .unwrap();
    assert_eq!(rest, uuids[1..]);
}
