//! `builder-db doctor`: what is not well is told, with a command, and the command mends it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::build::build;
use crate::carry::{db, empty, some_builds, write_all};
use crate::cli::call;
use crate::program::{BUILDER_WEB, Process, succeeds};

struct Place {
    holder: tempfile::TempDir,
    data: String,
    at: String,
}

fn place() -> Place {
    let (holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    db(0, &["import", "-d", &data, &at]);
    // The commands it tells are those of an installation.
    for name in ["builder-db", "builder-migrations", "builder-web"] {
        symlink(BUILDER_WEB, holder.path().join(name)).unwrap();
    }
    fs::create_dir_all(holder.path().join("config/upload-hooks")).unwrap();
    Place { holder, data, at }
}

impl Place {
    fn findings(&self, status: i32) -> Vec<(String, String, String, String)> {
        let config = self.holder.path().join("config");
        let arguments = [
            "doctor",
            "-d",
            &self.data,
            "-c",
            config.to_str().unwrap(),
            "--json",
        ];
        let output = call(BUILDER_WEB, &[&["db"], &arguments[..]].concat(), "");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = json["findings"].as_array().unwrap();
        // The machine the test runs on may be nearly full.
        let full = all.iter().any(|finding| finding["check"] == "space");
        let expected = if full { 1 } else { status };
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
        all.iter()
            .map(|finding| {
                (
                    text(&finding["level"]),
                    text(&finding["check"]),
                    text(&finding["what"]),
                    text(&finding["mend"]),
                )
            })
            .filter(|(_, check, ..)| check != "space")
            .collect()
    }

    /// A finding that only a person can see to.
    #[track_caller]
    fn told(&self, check: &str, what: &str) {
        let found = self.findings(1);
        let is_told = |(_, of, said, mend): &(String, String, String, String)| {
            of == check && said.contains(what) && mend.is_empty()
        };
        assert!(found.iter().any(is_told), "{found:#?}");
    }

    /// The one finding of a kind; runs its command, after which it is not found any more.
    #[track_caller]
    fn mended(&self, level: &str, check: &str, what: &str) {
        let of = |findings: &[(String, String, String, String)]| {
            let mut all = findings.iter().cloned();
            all.find(|(_, of, said, _)| of == check && said.contains(what))
        };
        let found = self.findings(i32::from(level != "note"));
        let Some((told, _, _, mend)) = of(&found) else {
            panic!("{check}: {what} is not in {found:#?}");
        };
        assert_eq!(told, level, "{found:#?}");
        let path = format!("{}:/usr/bin:/bin", self.holder.path().display());
        let command = format!(
            "PATH={path}; {}",
            mend.replace("BACKUP", "../backup")
                .replace("ELSEWHERE", "../elsewhere")
        );
        let output = call(
            "/bin/sh",
            &["-c", &format!("cd {}; {command}", self.data)],
            "",
        );
        assert!(output.status.success(), "{command}: {output:?}");
        let again = self.findings(0);
        assert!(of(&again).is_none(), "{command}: {again:#?}");
    }
}

#[test]
fn a_directory_that_is_well_has_no_findings_also_while_it_is_served() {
    let place = place();
    let quiet = |findings: &[(String, String, String, String)]| {
        // Test directories are for their user alone, but not on every machine.
        findings.iter().all(|(_, check, ..)| check == "permissions")
    };
    let found = place.findings(0);
    assert!(quiet(&found), "{found:#?}");
    let process = Process::serve(Path::new(&place.data), &[]);
    let found = place.findings(0);
    assert!(quiet(&found), "{found:#?}");
    drop(process);
    let config = place.holder.path().join("config");
    let (out, _) = db(
        0,
        &["doctor", "-d", &place.data, "-c", config.to_str().unwrap()],
    );
    assert!(out.ends_with(&format!("{} is well\n", place.data)), "{out}");
}

#[test]
fn each_finding_comes_with_the_command_that_mends_it() {
    let place = place();
    let data = Path::new(&place.data);
    db(
        0,
        &[
            "backup",
            "-d",
            &place.data,
            place.holder.path().join("backup").to_str().unwrap(),
        ],
    );
    let sqlite = |file: &str, sql: &str| {
        succeeds(data, "sqlite3", &[file, sql]);
    };

    sqlite("builder.sqlite3", "DROP INDEX idx_build_failed");
    place.mended("warning", "schema", "the index idx_build_failed is missing");

    fs::create_dir_all(data.join("_artifacts/00")).unwrap();
    fs::write(data.join("_artifacts/00").join("0".repeat(64)), "x").unwrap();
    place.mended("warning", "orphans", "1 file that nothing names");
    fs::create_dir(place.holder.path().join("elsewhere")).unwrap();
    fs::write(data.join("thesis.tex"), "x").unwrap();
    place.mended("warning", "orphans", "1 file where builder-web keeps none");
    place.mended("note", "quarantine", "1 file with 1 byte");

    let x = builder_store::Sha256::of(b"x").to_hex();
    fs::remove_file(data.join("_artifacts").join(&x[..2]).join(&x)).unwrap();
    place.mended(
        "problem",
        "files",
        "1 file that rows name, missing or of another size",
    );

    fs::create_dir_all(data.join("_staging/1.1")).unwrap();
    fs::write(data.join("_staging/1.1/lock"), "").unwrap();
    place.mended("warning", "staging", "1 directory of interrupted uploads");
    fs::create_dir_all(data.join(format!("_staging/{}", uuid::Uuid::from_u128(5)))).unwrap();
    place.mended(
        "warning",
        "staging",
        "1 directory of uploads to the OCaml server",
    );
    fs::create_dir_all(data.join("_staging/notes.1")).unwrap();
    place.told(
        "staging",
        "1 thing in _staging that builder-web did not make",
    );
    fs::remove_dir(data.join("_staging/notes.1")).unwrap();

    fs::write(data.join("builder-web.sqlite3"), "x".repeat(5000)).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _gone = fs::remove_file(data.join(format!("builder-web.sqlite3{suffix}")));
    }
    place.mended("warning", "derived", "is damaged");

    let hooks = place.holder.path().join("config/upload-hooks");
    fs::write(hooks.join("a.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(hooks.join("a.sh"), fs::Permissions::from_mode(0o744)).unwrap();
    place.mended(
        "warning",
        "hooks",
        "a.sh is not run: not everybody may execute it",
    );
    symlink("/nonexistent", hooks.join("b.sh")).unwrap();
    place.mended("warning", "hooks", "b.sh is not run");
    fs::write(hooks.join("c.sh.sample"), "#!/bin/sh\n").unwrap();
    place.mended("note", "hooks", "c.sh.sample is a sample");
}

#[test]
fn what_links_lead_to_is_neither_looked_at_nor_moved_by_a_command_that_is_told() {
    let place = place();
    let data = Path::new(&place.data);
    let outside = place.holder.path().join("outside");
    // Strangers' files, of a kind that is told of where it is ours.
    for (below, mode) in [("of/strangers", 0o000), ("of/more", 0o755)] {
        fs::create_dir_all(outside.join(below)).unwrap();
        fs::set_permissions(outside.join(below), fs::Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::lchown(outside.join("of"), Some(4242), None).ok();
    let has_all = || {
        let all = succeeds(&outside, "find", &["."]);
        String::from_utf8_lossy(&all).lines().count()
    };
    let before = has_all();
    symlink(&outside, data.join("myjob")).unwrap();
    let of_link = |check: &str| {
        let found = place.findings(1);
        found.into_iter().find(|(_, of, ..)| of == check)
    };
    assert_eq!(of_link("permissions").map(|found| found.2), None);
    let (_, _, what, mend) = of_link("links").unwrap();
    assert!(
        what.contains(&format!(
            "leads to {}, where other things are",
            outside.display()
        )),
        "{what}"
    );
    assert!(!mend.contains("mv"), "{mend}");
    place.mended("problem", "links", "1 link is in the place");
    assert_eq!(has_all(), before);
    assert!(!data.join("myjob").is_symlink());

    // Builds that an operator put elsewhere come back.
    let elsewhere = place.holder.path().join("it's elsewhere");
    fs::rename(data.join("hello"), &elsewhere).unwrap();
    symlink(&elsewhere, data.join("hello")).unwrap();
    place.mended("problem", "links", "where all is that belongs there");
    assert!(data.join("hello").is_dir() && !data.join("hello").is_symlink());
    db(0, &["verify-data-dir", "-d", &place.data]);
    // Not if there is anything else.
    fs::rename(data.join("hello"), &elsewhere).unwrap();
    fs::write(elsewhere.join("thesis.txt"), "x").unwrap();
    symlink(&elsewhere, data.join("hello")).unwrap();
    assert!(!of_link("links").unwrap().3.contains("mv"));
    let x = builder_store::Sha256::of(b"x").to_hex();
    let bucket = data.join("_artifacts").join(&x[..2]);
    fs::remove_file(data.join("hello")).unwrap();
    fs::remove_file(elsewhere.join("thesis.txt")).unwrap();
    fs::rename(&elsewhere, data.join("hello")).unwrap();
    fs::rename(&bucket, &elsewhere).unwrap();
    symlink(&elsewhere, &bucket).unwrap();
    place.mended("problem", "links", "where all is that belongs there");
    db(0, &["verify-data-dir", "-d", &place.data]);
}

#[test]
fn what_everybody_may_read_of_the_databases_is_told() {
    let place = place();
    let data = Path::new(&place.data);
    assert!(place.findings(0).is_empty());
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(data, 0o755);
    assert!(place.findings(0).is_empty());
    mode(&data.join("builder.sqlite3"), 0o644);
    place.mended(
        "warning",
        "permissions",
        "every user of this machine may read",
    );
}

#[test]
fn builds_from_the_future_and_damage_of_the_database_are_told() {
    let place = place();
    let data = Path::new(&place.data);
    let future = build("hello", 70).later(400_000_000);
    let file = format!("{}/future.exec", place.at);
    fs::write(&file, future.exec()).unwrap();
    db(0, &["import", "-d", &place.data, &file]);
    let found = place.findings(1);
    let clock = found
        .iter()
        .find(|(_, check, ..)| check == "clock")
        .unwrap();
    assert!(
        clock.2.contains("1 build started in the future"),
        "{found:#?}"
    );
    assert!(clock.2.contains(&future.uuid.to_string()), "{found:#?}");

    // In the middle of the table of builds.
    let database = data.join("builder.sqlite3");
    succeeds(
        data,
        "sqlite3",
        &[
            database.to_str().unwrap(),
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ],
    );
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(7);
    fs::write(&database, bytes).unwrap();
    let found = place.findings(1);
    assert!(
        found
            .iter()
            .any(|(level, check, what, _)| level == "problem"
                && check == "database"
                && (what.contains("is damaged") || what.contains("cannot be checked"))),
        "{found:#?}"
    );
}

#[test]
fn a_directory_that_cannot_be_opened_is_examined_all_the_same() {
    let place = place();
    let none = place.holder.path().join("none");
    let (out, _) = db(1, &["doctor", "-d", none.to_str().unwrap()]);
    let command = format!("$ builder-web db migrate -d {}", none.display());
    assert!(out.contains(&command), "{out}");
    db(0, &["migrate", "-d", none.to_str().unwrap()]);
    let down = ["migrations", "down", "--to", "15", "-d", &place.data];
    assert!(call(BUILDER_WEB, &down, "").status.success());
    place.mended(
        "problem",
        "schema",
        "the database has version 15, the server needs 18",
    );
    db(0, &["verify-data-dir", "-d", &place.data]);
}
