//! What is counted as builds come in and go.

use builder_store::stock::{self, Artifacts};

use crate::data::{Data, New};

type Counts = (Vec<(String, String, u64, u64)>, Artifacts);

/// As our own tables have it.
fn counted(data: &Data) -> Option<Counts> {
    let (builds, artifacts) = data.store.read(stock::counted).unwrap()?;
    let mut builds: Vec<_> = builds
        .into_iter()
        .map(|of| (of.job, of.platform, of.builds, of.failed))
        .collect();
    builds.sort();
    Some((builds, artifacts))
}

/// As the v18 tables have it.
fn there_is(data: &Data) -> Counts {
    let sql = data.sql();
    let mut statement = sql
        .prepare(
            "SELECT j.name, b.platform, COUNT(*), SUM(b.main_binary IS NULL)
             FROM build b JOIN job j ON j.id = b.job GROUP BY 1, 2 ORDER BY 1, 2",
        )
        .unwrap();
    let builds = statement
        .query_map([], |row| {
            let count = |column| row.get::<_, u32>(column).map(u64::from);
            Ok((row.get(0)?, row.get(1)?, count(2)?, count(3)?))
        })
        .unwrap();
    let artifacts = sql
        .query_row(
            "SELECT COUNT(*), SUM(size) FROM (SELECT DISTINCT sha256, size FROM build_artifact)",
            [],
            |row| {
                Ok(Artifacts {
                    files: row.get::<_, u32>(0)?.into(),
                    bytes: row.get::<_, u32>(1)?.into(),
                })
            },
        )
        .unwrap();
    (builds.map(Result::unwrap).collect(), artifacts)
}

#[test]
fn builds_and_artifacts_are_counted_as_they_come_in_and_anew_when_others_remove_some() {
    let data = Data::new();
    data.keep(
        1,
        &New("a", "p", 10, &[("bin/x", "one"), ("doc", "shared")]),
    );
    data.keep(
        2,
        &New("a", "q", 20, &[("doc", "shared"), ("more", "shared")]),
    );
    data.keep(3, &New("b", "p", 30, &[("bin/x", "three"), ("y", "one")]));
    data.keep(4, &New("b", "p", 40, &[]));
    assert_eq!(counted(&data), Some(there_is(&data)));

    let sql = data.sql();
    sql.execute_batch(
        "UPDATE build SET main_binary = NULL WHERE id = 3;
         DELETE FROM build_artifact WHERE build = 3; DELETE FROM build WHERE id = 3;",
    )
    .unwrap();
    data.store.catch_up().unwrap();
    assert_eq!(counted(&data), Some(there_is(&data)));

    // What others add is counted with the next turn; until then nothing wrong is said.
    sql.execute_batch(
        "INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console,
           script, platform, user, job)
         SELECT '00000000-0000-0000-0000-000000000009', start_d, 0, finish_d, 0, 1, console,
           script, 'r', user, job FROM build WHERE id = 1",
    )
    .unwrap();
    assert_eq!(counted(&data), None);
    data.store.catch_up().unwrap();
    assert_eq!(counted(&data), Some(there_is(&data)));
}

#[test]
fn what_was_counted_is_not_told_while_builds_of_it_are_gone() {
    let data = Data::new();
    for number in 1..4 {
        data.keep(number, &New("a", "p", 10, &[("bin/x", "one")]));
    }
    data.store.catch_up().unwrap();
    assert_eq!(counted(&data).unwrap(), there_is(&data));
    // Not the newest: nothing else tells.
    let sql = data.sql();
    sql.execute_batch(
        "PRAGMA foreign_keys = OFF; DELETE FROM build_artifact WHERE build = 2;
         DELETE FROM build WHERE id = 2;",
    )
    .unwrap();
    assert_eq!(counted(&data), None);
    data.store.catch_up().unwrap();
    assert_eq!(counted(&data).unwrap(), there_is(&data));
}
