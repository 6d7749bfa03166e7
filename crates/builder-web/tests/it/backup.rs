//! `builder-db backup`: what it makes is a data directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::build::{Build, build, noise};
use crate::carry::{db, empty, some_builds, write_all};
use crate::cli::upload;
use crate::program::{Process, succeeds};
use crate::server::{exchange, files};

pub(crate) struct Place {
    pub(crate) _holder: tempfile::TempDir,
    pub(crate) data: String,
    pub(crate) dest: String,
    at: String,
}

/// A data directory with builds, and where a backup may go.
pub(crate) fn place() -> Place {
    let (holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    db(0, &["import", "-d", &data, &at]);
    let dest = holder.path().join("backup").to_str().unwrap().to_owned();
    Place {
        _holder: holder,
        data,
        dest,
        at,
    }
}

impl Place {
    pub(crate) fn backup(&self, more: &[&str]) -> String {
        db(
            0,
            &[&["backup", "-d", &self.data, &self.dest], more].concat(),
        )
        .0
    }

    pub(crate) fn add(&self, build: &Build) {
        let file = format!("{}/{}.exec", self.at, build.uuid);
        fs::write(&file, build.exec()).unwrap();
        db(0, &["import", "-d", &self.data, &file]);
    }

    fn remove(&self, build: &Build) {
        let database = format!("{}/builder.sqlite3", self.data);
        let sql = format!(
            "DELETE FROM build_artifact WHERE build = (SELECT id FROM build WHERE uuid = '{0}');
             DELETE FROM build WHERE uuid = '{0}';",
            build.uuid
        );
        succeeds(Path::new(&self.data), "sqlite3", &[&database, &sql]);
        db(0, &["verify-data-dir", "-d", &self.data, "--repair"]);
    }

    /// What the builds consist of: every file that the database names.
    pub(crate) fn content(&self, of: &str) -> BTreeMap<String, String> {
        let mut all = files(Path::new(of));
        all.retain(|path, _| !path.starts_with('_') || path.starts_with("_artifacts/"));
        all.retain(|path, _| !path.ends_with('/'));
        all
    }
}

pub(crate) fn rows(directory: &str) -> String {
    let database = format!("{directory}/builder.sqlite3");
    String::from_utf8(succeeds(
        Path::new(directory),
        "sqlite3",
        &[&database, ".dump"],
    ))
    .unwrap()
}

#[test]
fn a_backup_can_be_served_and_is_a_data_directory_from_then_on() {
    let place = place();
    let out = place.backup(&[]);
    assert!(out.contains(" are new; removed 0"), "{out}");
    assert_eq!(rows(&place.dest), rows(&place.data));
    assert_eq!(place.content(&place.dest), place.content(&place.data));
    db(0, &["verify-data-dir", "-d", &place.dest]);
    let process = Process::serve(Path::new(&place.dest), &[]);
    let build = &some_builds()[0];
    let target = format!("{}/f/bin/hello.hvt", build.url());
    assert!(exchange(process.address, "GET", &target, &[], b"").body == noise(200_000));
    let more = crate::build::build("hello", 50).exec();
    assert_eq!(upload(&process, ("builder", "pw"), &more).status, 201);
    let refused = ["backup", "-d", &place.data, &place.dest];
    drop(process);
    // What was uploaded there would be lost.
    let (_, err) = db(2, &refused);
    assert!(err.contains("a server has served it since"), "{err}");
}

/// Commands that open a backup note which record it has.
#[test]
fn a_backup_that_was_looked_at_takes_a_record_that_was_begun_anew() {
    let place = place();
    place.backup(&[]);
    db(0, &["verify-data-dir", "-d", &place.dest]);
    assert!(
        Path::new(&place.dest)
            .join("builder.sqlite3-record")
            .exists()
    );
    fs::remove_file(format!("{}/builder-web-record.sqlite3", place.data)).unwrap();
    db(0, &["record-anew", "-d", &place.data]);
    place.backup(&[]);
    db(0, &["verify-data-dir", "-d", &place.dest]);
    let (actions, _) = db(0, &["audit", "-d", &place.dest, "--action", "record-anew"]);
    assert!(actions.contains("record-anew"), "{actions}");
}

#[test]
fn a_second_run_brings_what_is_new_and_then_removes_what_is_gone() {
    let place = place();
    place.backup(&[]);
    let out = place.backup(&[]);
    assert!(out.contains("of which 0 (0 B) are new; removed 0"), "{out}");
    let more = build("more", 60).later(900).file("bin/y", "yy");
    place.add(&more);
    place.remove(&some_builds()[3]);
    let out = place.backup(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    // A binary and two texts came; a binary and two texts went.
    assert_eq!(
        (json["added"].as_u64(), json["removed"].as_u64()),
        (Some(3), Some(3)),
        "{out}"
    );
    assert_eq!(rows(&place.dest), rows(&place.data));
    assert_eq!(place.content(&place.dest), place.content(&place.data));
    assert!(!Path::new(&place.dest).join("a b+c").exists());
    db(0, &["verify-data-dir", "-d", &place.dest]);
}

#[test]
fn files_are_shared_unless_copies_are_asked_for() {
    let place = place();
    let name = builder_store::Sha256::of(&noise(200_000)).to_hex();
    let inode = |directory: &str| {
        let path = Path::new(directory)
            .join("_artifacts")
            .join(&name[..2])
            .join(&name);
        fs::metadata(path).unwrap().ino()
    };
    place.backup(&[]);
    assert_eq!(inode(&place.data), inode(&place.dest));
    let out = place.backup(&["--copy"]);
    assert!(out.contains("of which 15 (196 KiB) are new"), "{out}");
    assert_ne!(inode(&place.data), inode(&place.dest));
    let before = inode(&place.dest);
    let out = place.backup(&["--copy"]);
    assert!(out.contains("of which 0 (0 B) are new"), "{out}");
    assert_eq!(inode(&place.dest), before);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let place = place();
    let Place { data, dest, .. } = &place;
    fs::create_dir(dest).unwrap();
    fs::write(format!("{dest}/thesis.tex"), "x").unwrap();
    let (_, err) = db(2, &["backup", "-d", data, dest]);
    assert!(err.contains("is not empty, and is no backup"), "{err}");
    assert_eq!(fs::read_dir(dest).unwrap().count(), 1);
    let inside = format!("{data}/backup");
    let (_, err) = db(2, &["backup", "-d", data, &inside]);
    assert!(err.contains("one inside of the other"), "{err}");
    // Another data directory is no backup.
    let (_holder, other, _) = empty();
    let before = rows(&other);
    let (_, err) = db(2, &["backup", "-d", data, &other]);
    assert!(err.contains("is no backup"), "{err}");
    assert_eq!(rows(&other), before);
    fs::remove_file(format!("{dest}/thesis.tex")).unwrap();
    place.backup(&[]);
    // Somebody reads it.
    let lock = fs::File::open(format!("{dest}/builder.sqlite3-backup")).unwrap();
    lock.lock().unwrap();
    let (_, err) = db(2, &["backup", "-d", data, dest]);
    assert!(err.contains("is in use"), "{err}");
}

#[test]
fn what_is_damaged_is_named_and_what_the_backup_has_of_it_stays() {
    let place = place();
    place.backup(&["--copy"]);
    let find = |content: &[u8]| -> PathBuf {
        let name = builder_store::Sha256::of(content).to_hex();
        Path::new("_artifacts").join(&name[..2]).join(name)
    };
    let (known, new) = (find(b"x"), find(b"new"));
    place.add(&build("more", 61).file("bin/new", "new"));
    fs::remove_file(Path::new(&place.data).join(&known)).unwrap();
    fs::write(Path::new(&place.data).join(&new), "old").unwrap();
    let (out, err) = db(1, &["backup", "-d", &place.data, &place.dest, "--copy"]);
    let new = new.display().to_string();
    assert!(
        err.contains(&new) && !err.contains(&known.display().to_string()),
        "{err}"
    );
    assert!(
        out.contains("is a backup of") && err.contains("verify-data-dir"),
        "{out}{err}"
    );
    assert_eq!(fs::read(Path::new(&place.dest).join(&known)).unwrap(), b"x");
    // From there it comes back.
    let repair = [
        "verify-data-dir",
        "-d",
        &place.data,
        "--repair",
        "--from",
        &place.dest,
    ];
    let (out, _) = db(1, &repair);
    assert!(out.contains("restored from"), "{out}");
    assert_eq!(fs::read(Path::new(&place.data).join(&known)).unwrap(), b"x");
}

#[test]
fn a_backup_of_a_server_at_work_is_of_one_moment() {
    let place = place();
    let process = Process::serve(Path::new(&place.data), &[]);
    let (stop, number) = (AtomicBool::new(false), AtomicU64::new(1000));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = number.fetch_add(1, Ordering::Relaxed);
                let own = format!("own {number}").repeat(1000);
                let build = build("busy", number.into())
                    .file("bin/x", own)
                    .file("shared", noise(10_000));
                let answer = upload(&process, ("builder", "pw"), &build.exec());
                assert_eq!(answer.status, 201);
            }
        });
        // And others remove builds.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                db(
                    0,
                    &[
                        "vacuum",
                        "except-latest",
                        "2",
                        "--job",
                        "hello",
                        "-d",
                        &place.data,
                    ],
                );
                if number.load(Ordering::Relaxed) > 1003 {
                    db(
                        0,
                        &[
                            "vacuum",
                            "except-latest",
                            "2",
                            "--job",
                            "busy",
                            "-d",
                            &place.data,
                        ],
                    );
                }
            }
        });
        for _ in 0..4 {
            place.backup(&[]);
            db(0, &["verify-data-dir", "-d", &place.dest]);
        }
        stop.store(true, Ordering::Relaxed);
    });
    place.backup(&[]);
    assert_eq!(rows(&place.dest), rows(&place.data));
    assert_eq!(place.content(&place.dest), place.content(&place.data));
    // Some uploads came through meanwhile.
    assert!(number.load(Ordering::Relaxed) > 1003);
}
