//! `builder-db restore`: a data directory is again what its backup is, whatever was there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::backup::{Place, place, rows};
use crate::build::{build, noise};
use crate::carry::{db, some_builds};
use crate::cli::{call, upload};
use crate::documents::chapter;
use crate::program::{BUILDER_WEB, Process, succeeds};
use crate::server::{exchange, files};

impl Place {
    fn restore(&self, more: &[&str]) -> String {
        db(
            0,
            &[&["restore", "-d", &self.data, &self.dest], more].concat(),
        )
        .0
    }

    /// Uploads a build after the backup, and then nobody closes the databases.
    fn crash(&self) {
        let mut process = Process::serve(Path::new(&self.data), &[]);
        for number in 70..75 {
            let build = build("after", number)
                .file("bin/after.hvt", format!("after {number}").repeat(5000));
            let answer = upload(&process, ("builder", "pw"), &build.exec());
            assert_eq!(answer.status, 201);
        }
        process.kill();
        process.wait();
        let log = fs::metadata(self.at("builder.sqlite3-wal")).unwrap();
        assert!(log.len() > 10_000, "{log:?}");
    }

    fn at(&self, path: &str) -> PathBuf {
        Path::new(&self.data).join(path)
    }

    /// What was put aside, of the only restore there was.
    fn aside(&self) -> PathBuf {
        let all = fs::read_dir(self.at("_quarantine")).unwrap();
        let mut all: Vec<PathBuf> = all.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        let aside = all.remove(0);
        let name = aside.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("before-restore-"), "{name}");
        aside
    }

    #[track_caller]
    fn is_as_the_backup(&self) {
        assert_eq!(rows(&self.data), rows(&self.dest));
        assert_eq!(self.content(&self.data), self.content(&self.dest));
        for name in ["builder.sqlite3", "builder-web-record.sqlite3"] {
            let check = [name, "PRAGMA integrity_check"];
            let said = succeeds(Path::new(&self.data), "sqlite3", &check);
            assert_eq!(said, b"ok\n", "{name}");
        }
        db(0, &["verify-data-dir", "-d", &self.data]);
        assert!(!self.at("_restoring").exists());
        assert!(!self.at("builder.sqlite3-backup").exists());
    }
}

/// All files, with their bytes.
fn all(directory: &str) -> BTreeMap<String, String> {
    files(Path::new(directory))
}

#[test]
fn after_a_crash_nothing_of_the_old_databases_gets_into_the_restored_ones() {
    let place = place();
    db(
        0,
        &["pin", "-d", &place.data, &some_builds()[1].uuid.to_string()],
    );
    place.backup(&["--copy"]);
    let old_log = || fs::read(place.at("builder.sqlite3-wal")).unwrap();
    place.crash();
    let (log, database) = (old_log(), fs::read(place.at("builder.sqlite3")).unwrap());
    // And the disk was at fault, too.
    let name = builder_store::Sha256::of(&noise(200_000)).to_hex();
    let artifact = place.at("_artifacts").join(&name[..2]).join(&name);
    fs::remove_file(&artifact).unwrap();
    fs::write(&artifact, noise(200_000).to_ascii_lowercase()).unwrap();
    fs::remove_dir_all(place.at("a b+c")).unwrap();
    let said = place.restore(&[]);
    // The binary and two texts; what is whole is not copied.
    assert!(said.contains(" is restored from "), "{said}");
    assert!(said.contains("of which 3 ("), "{said}");
    assert!(
        said.contains("may be removed once it is not needed: rm -r"),
        "{said}"
    );
    let aside = place.aside();
    assert_eq!(fs::read(aside.join("builder.sqlite3-wal")).unwrap(), log);
    assert_eq!(fs::read(aside.join("builder.sqlite3")).unwrap(), database);
    assert!(aside.join("after").is_dir());
    place.is_as_the_backup();
    let (audit, _) = db(0, &["audit", "-d", &place.data]);
    assert!(audit.contains("restore"), "{audit}");
    let (pins, _) = db(0, &["pin-list", "-d", &place.data]);
    assert!(pins.contains(&some_builds()[1].uuid.to_string()), "{pins}");
    let process = Process::serve(Path::new(&place.data), &[]);
    let target = format!("{}/f/bin/hello.hvt", some_builds()[0].url());
    assert!(exchange(process.address, "GET", &target, &[], b"").body == noise(200_000));
    let lost = format!("{}/", build("after", 70).url());
    assert_eq!(
        exchange(process.address, "GET", &lost, &[], b"").status,
        404
    );
    // What was lost comes in once more.
    let again = build("after", 70).file("bin/after.hvt", "again");
    assert_eq!(
        upload(&process, ("builder", "pw"), &again.exec()).status,
        201
    );
}

#[test]
fn restored_again_and_back_to_what_was_there() {
    let place = place();
    place.backup(&["--copy"]);
    place.add(&build("more", 60).later(900).file("bin/y", "yy"));
    let (before, content) = (rows(&place.data), place.content(&place.data));
    place.restore(&[]);
    place.is_as_the_backup();
    let said = place.restore(&[]);
    assert!(said.contains("of which 0 (0 B) were copied"), "{said}");
    place.is_as_the_backup();
    // The first of the two.
    let mut asides: Vec<PathBuf> = fs::read_dir(place.at("_quarantine"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    asides.sort();
    assert_eq!(asides.len(), 2);
    let (kept, nested) = (format!("{}.kept", place.dest), asides[0].to_str().unwrap());
    let (_, err) = db(2, &["restore", "-d", &place.data, nested]);
    assert!(err.contains("one inside of the other"), "{err}");
    fs::rename(&asides[0], &kept).unwrap();
    let said = db(0, &["restore", "-d", &place.data, &kept, "--json"]).0;
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (
            json["copied"].as_u64(),
            json["damaged"].as_array().unwrap().len()
        ),
        (Some(3), 0)
    );
    assert_eq!(rows(&place.data), before);
    assert_eq!(place.content(&place.data), content);
    // Into a directory that is not there yet.
    let elsewhere = format!("{}.new", place.data);
    let said = db(0, &["restore", "-d", &elsewhere, &place.dest]).0;
    assert!(!said.contains("what was there"), "{said}");
    assert_eq!(rows(&elsewhere), rows(&place.dest));
}

#[test]
fn what_cannot_be_restored_changes_nothing() {
    let place = place();
    place.backup(&["--copy"]);
    let restore = ["restore", "-d", &place.data, &place.dest];
    // Somebody serves it, or the backup.
    let process = Process::serve(Path::new(&place.data), &[]);
    let (_, err) = db(2, &restore);
    assert!(err.contains("is in use: stop the server"), "{err}");
    assert!(err.contains("Nothing was changed"), "{err}");
    assert!(!place.at("_restoring").exists());
    process.terminate();
    drop(process);
    let before = all(&place.data);
    let lock = fs::File::open(format!("{}/builder.sqlite3-backup", place.dest)).unwrap();
    lock.lock().unwrap();
    let (_, err) = db(2, &restore);
    assert!(err.contains("is in use"), "{err}");
    drop(lock);
    // Nothing is written where a link leads.
    let elsewhere = place.at("../elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.at("_restoring")).unwrap();
    let (_, err) = db(1, &restore);
    assert!(err.contains("is a link, which is not followed"), "{err}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    fs::remove_file(place.at("_restoring")).unwrap();
    // It is none, or is not whole.
    let (_, err) = db(2, &["restore", "-d", &place.data, "/usr"]);
    assert!(err.contains("there is no builder.sqlite3 in it"), "{err}");
    let find = |content: &[u8]| -> PathBuf {
        let name = builder_store::Sha256::of(content).to_hex();
        Path::new("_artifacts").join(&name[..2]).join(name)
    };
    for root in [&place.data, &place.dest] {
        fs::remove_file(Path::new(root).join(find(b"x"))).unwrap();
    }
    let (_, err) = db(2, &restore);
    assert!(err.contains(&find(b"x").display().to_string()), "{err}");
    assert!(err.contains("lacks 1 of its files"), "{err}");
    let database = format!("{}/builder.sqlite3", place.dest);
    let whole = fs::read(&database).unwrap();
    let mut damaged = whole.clone();
    damaged[4096..20_000].fill(0xff);
    fs::write(&database, &damaged).unwrap();
    let (_, err) = db(2, &restore);
    assert!(err.contains("is no backup that can be restored"), "{err}");
    fs::write(&database, &whole).unwrap();
    // What it has made is in a place of its own, which the doctor names.
    let said =
        String::from_utf8(call(BUILDER_WEB, &["db", "doctor", "-d", &place.data], "").stdout);
    assert!(said.unwrap().contains("rm -r"));
    fs::remove_dir_all(place.at("_restoring")).unwrap();
    let mut after = all(&place.data);
    after.insert(find(b"x").display().to_string(), String::new());
    let names = |all: &BTreeMap<String, String>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    after.remove(&find(b"x").display().to_string());
    assert!(
        after
            .iter()
            .all(|(path, text)| before.get(path) == Some(text))
    );
    // Whoever knows that may have what there is.
    let said = place.restore(&["--incomplete"]);
    assert!(said.contains("; 1 file missing"), "{said}");
    assert_eq!(rows(&place.data), rows(&place.dest));
}

#[test]
fn killed_at_any_moment_it_leaves_the_old_or_the_new() {
    let place = place();
    place.backup(&["--copy"]);
    place.add(&build("more", 60).later(900).file("bin/y", "yy"));
    let old = (rows(&place.data), place.content(&place.data));
    let new = (rows(&place.dest), place.content(&place.dest));
    let mut kills = 0;
    for delay in (0..).step_by(4) {
        let mut child = Command::new(BUILDER_WEB)
            .args(["db", "restore", "-d", &place.data, &place.dest])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        // Any command finishes what is nearly done.
        db(0, &["pin-list", "-d", &place.data]);
        let found = (rows(&place.data), place.content(&place.data));
        assert!(found == old || found == new, "after {delay} ms");
        if found == new {
            assert!(!place.at("_restoring").exists());
            break;
        }
        assert!(!ended, "it ended without having restored");
        kills += 1;
    }
    assert!(kills > 0);
    place.is_as_the_backup();
}

#[test]
fn a_log_that_is_left_beside_a_copied_database_is_found_before_it_is_written_into_it() {
    let place = place();
    place.backup(&["--copy"]);
    place.crash();
    let database = format!("{}/builder.sqlite3", place.data);
    fs::copy(format!("{}/builder.sqlite3", place.dest), &database).unwrap();
    let copied = fs::read(&database).unwrap();
    let serve = [
        "serve",
        "-p",
        "0",
        "--metrics-address",
        "none",
        "-d",
        &place.data,
    ];
    let migrate = ["migrations", "up", "-d", &place.data];
    let list = ["db", "pin-list", "-d", &place.data];
    for arguments in [&serve[..], &migrate, &list] {
        let output = call(BUILDER_WEB, arguments, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {said}");
        assert!(
            said.contains("builder.sqlite3-wal is of another database"),
            "{said}"
        );
        assert!(fs::read(&database).unwrap() == copied, "{arguments:?}");
    }
    let json = call(
        BUILDER_WEB,
        &["db", "doctor", "--json", "-d", &place.data],
        "",
    )
    .stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let findings = json["findings"].as_array().unwrap();
    let finding = findings
        .iter()
        .find(|finding| {
            finding["what"]
                .as_str()
                .unwrap()
                .contains("of another database")
        })
        .unwrap();
    let mend = finding["mend"].as_str().unwrap();
    succeeds(Path::new(&place.data), "/bin/sh", &["-c", mend]);
    db(0, &["verify-data-dir", "--repair", "-d", &place.data]);
    assert_eq!(rows(&place.data), rows(&place.dest));
}

/// The commands of a block of the chapter, which follows a line that says something.
fn commands(says: &str) -> Vec<String> {
    let chapter = chapter("operate.md");
    let (_, rest) = chapter.split_once(says).expect("the chapter says it");
    let block = rest.lines().skip_while(|line| !line.starts_with("    "));
    let block = block.take_while(|line| line.starts_with("    "));
    block.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_steps_of_the_book_restore_a_site() {
    for says in ["### From the backup", "### By hand"] {
        let place = place();
        place.backup(&["--copy"]);
        place.crash();
        let steps = commands(says);
        assert!(steps.len() >= 4, "{steps:?}");
        let bin = place.at("../bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(BUILDER_WEB, bin.join("builder-db")).unwrap();
        let own = fs::metadata(&place.data).unwrap();
        use std::os::unix::fs::MetadataExt;
        let owner = format!("{}:{}", own.uid(), own.gid());
        for step in steps {
            // There is no service here, and the user is another.
            if step.starts_with("systemctl ") {
                continue;
            }
            let step = step
                .replace("/var/lib/builder-web", &place.data)
                .replace("/var/backups/builder-web", &place.dest)
                .replace("runuser -u builder -- ", "")
                .replace("-o builder -g builder", "")
                .replace("builder: ", &format!("{owner} "));
            let path = format!("PATH={}:$PATH; {step}", bin.display());
            succeeds(Path::new("/"), "/bin/sh", &["-ec", &path]);
        }
        assert_eq!(rows(&place.data), rows(&place.dest), "{says}");
        assert_eq!(place.content(&place.data), place.content(&place.dest));
        db(0, &["verify-data-dir", "-d", &place.data]);
    }
}
