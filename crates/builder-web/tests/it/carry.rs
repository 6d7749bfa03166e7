//! Builds carried from one data directory to another as exec files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use builder_store::Store;
use builder_store::verify::Plan;

use crate::build::{Build, build, noise};
use crate::cli::{add_user, call, directory, migrate, refuses};
use crate::program::{BUILDER_WEB, Process, succeeds};
use crate::server::{exchange, files};

/// Builds of which some share artifacts, and one failed.
pub(crate) fn some_builds() -> Vec<Build> {
    vec![
        build("hello", 1)
            .input("a")
            .file("bin/hello.hvt", noise(200_000))
            .file("doc/README.md", "# Hello"),
        build("hello", 2)
            .later(100)
            .input("a")
            .file("bin/hello.hvt", noise(200_000)),
        build("hello", 3).later(200).input("b"),
        build("a b+c", 4)
            .later(300)
            .platform("freebsd-14.2")
            .file("bin/x y", "x"),
    ]
}

/// Writes each as a file, as builder-server does.
pub(crate) fn write_all(at: &Path, builds: &[Build]) {
    for build in builds {
        let home = at.join(build.uuid.to_string());
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("full"), build.exec()).unwrap();
    }
}

/// A data directory with one user, and a directory of files beside it.
pub(crate) fn empty() -> (tempfile::TempDir, String, String) {
    let (holder, data) = directory();
    migrate(&data);
    add_user(&data, "builder", "pw");
    let files = holder.path().join("files").to_str().unwrap().to_owned();
    fs::create_dir(&files).unwrap();
    (holder, data, files)
}

/// Runs a command of `db`, and expects this exit status.
#[track_caller]
pub(crate) fn db(status: i32, arguments: &[&str]) -> (String, String) {
    let all = [&["db"], arguments].concat();
    let output: Output = call(BUILDER_WEB, &all, "");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}\n{out}\n{err}"
    );
    (out, err)
}

/// What `verify-data-dir` finds, without a process of its own: nothing.
#[track_caller]
pub(crate) fn is_verified(store: &Store) {
    let plan = Plan::load(store).unwrap();
    let report = plan.verify(store, 1, &|_| ()).unwrap();
    assert_eq!(report.open_problems(), 0, "{:?}", report.problems);
}

fn dump(data: &str) -> String {
    let database = format!("{data}/builder.sqlite3");
    String::from_utf8(succeeds(
        Path::new(data),
        "sqlite3",
        &[
            &database,
            ".dump build",
            ".dump build_artifact",
            ".dump job_tag",
        ],
    ))
    .unwrap()
}

#[test]
fn imported_files_are_kept_as_a_server_would_keep_them() {
    let (_uploaded, by_server, _) = empty();
    let process = Process::serve(Path::new(&by_server), &[]);
    for build in some_builds() {
        let answer = crate::cli::upload(&process, ("builder", "pw"), &build.exec());
        assert_eq!(answer.status, 201);
    }
    drop(process);
    let (_imported, data, at) = empty();
    // In whatever order the files are found.
    write_all(Path::new(&at), &some_builds());
    let (out, _) = db(0, &["import", "-d", &data, &at]);
    assert!(
        out.contains("stored hello/f63a5b8a-9ab3-40a3-8cfc-000000000001: "),
        "{out}"
    );
    assert!(
        out.ends_with("stored 4 builds, 0 there already, refused 0 files\n"),
        "{out}"
    );
    assert_eq!(dump(&data), dump(&by_server));
    let kept = |directory: &str| {
        let mut all = files(Path::new(directory));
        // A server draws pictures; who imports many builds does not wait for that.
        all.retain(|path, _| !path.starts_with("_cache/"));
        all
    };
    assert_eq!(kept(&data), kept(&by_server));
    // A second time, nothing is stored.
    let before = dump(&data);
    let (out, _) = db(0, &["import", "-d", &data, &at]);
    assert_eq!(out.matches("there already f63a5b8a").count(), 4, "{out}");
    assert!(
        out.ends_with("stored 0 builds, 4 there already, refused 0 files\n"),
        "{out}"
    );
    assert_eq!(dump(&data), before);
}

#[test]
fn what_is_no_build_is_refused_with_a_reason_and_the_rest_is_stored() {
    let (_holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    fs::write(
        format!("{at}/broken.exec"),
        &some_builds()[0].exec()[..5000],
    )
    .unwrap();
    fs::write(format!("{at}/text.full"), "no build").unwrap();
    fs::write(format!("{at}/not-looked-at"), "no build").unwrap();
    let taken = build("_artifacts", 9).exec();
    fs::write(format!("{at}/name.exec"), taken).unwrap();
    let (out, err) = db(1, &["import", "-d", &data, &at, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["stored"], 4);
    assert_eq!(json["refused"], 3);
    assert_eq!(json["files"].as_array().unwrap().len(), 7);
    for why in [
        "name.exec: job name \"_artifacts\" is a name builder-web uses itself",
        "broken.exec: this is no build",
        "text.full: this is no build",
        "refused 3 files",
    ] {
        assert!(err.contains(why), "{why} in {err}");
    }
    db(0, &["verify-data-dir", "-d", &data]);
}

#[test]
fn an_import_that_makes_no_sense_is_refused_before_it_begins() {
    let (holder, data) = directory();
    migrate(&data);
    let at = holder.path().join("x.exec");
    fs::write(&at, build("hello", 1).exec()).unwrap();
    let at = at.to_str().unwrap();
    let import = ["db", "import", "-d", &data, at];
    refuses(&import, "", &["there is none; add one with", "user-add"]);
    add_user(&data, "one", "pw");
    add_user(&data, "two", "pw");
    refuses(&import, "", &["Give --user, one of: one, two"]);
    let with = |more: &[&'static str]| [&import[..], more].concat();
    refuses(&with(&["--user", "three"]), "", &["there is no user three"]);
    refuses(&with(&["/nonexistent"]), "", &["/nonexistent"]);
    refuses(&with(&["/proc/self/fdinfo"]), "", &["*.exec"]);
    db(0, &with(&["--user", "two"])[1..]);
}

#[test]
fn hooks_are_run_for_imported_builds_when_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let (holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    let config = holder.path().join("config");
    let hooks = config.join("upload-hooks");
    fs::create_dir_all(&hooks).unwrap();
    let said = holder.path().join("said");
    let hook = hooks.join("note.sh");
    fs::write(
        &hook,
        format!("#!/bin/sh\necho \"$4\" >> {}\n", said.display()),
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let config = config.to_str().unwrap();
    let import = ["import", "-d", &data, "-c", config, &at];
    db(0, &import);
    assert!(!said.exists());
    let (_other, data, _) = empty();
    db(0, &["import", "-d", &data, "-c", config, "--hooks", &at]);
    let said = fs::read_to_string(said).unwrap();
    // Those with a main binary.
    assert_eq!(said.matches("--uuid=").count(), 3, "{said}");
}

#[test]
fn what_is_exported_and_imported_elsewhere_is_the_same_builds() {
    let (holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    db(0, &["import", "-d", &data, &at]);
    let export = |data: &str, name: &str| {
        let dest = holder.path().join(name).to_str().unwrap().to_owned();
        let (out, _) = db(0, &["export", "-d", data, "--all", "--dest", &dest]);
        let all = exported(Path::new(&dest));
        (dest, out, all)
    };
    let (dest, out, first) = export(&data, "first");
    assert!(out.contains("exported 4 builds to "), "{out}");
    assert_eq!(first.len(), 4);
    assert!(first.contains_key(&format!("a b+c/{}.exec", some_builds()[3].uuid)));
    let (_other, copy, _) = empty();
    db(0, &["import", "-d", &copy, &dest]);
    let (_, _, second) = export(&copy, "second");
    assert!(first == second);
    // As a client downloads it.
    let process = Process::serve(Path::new(&data), &[]);
    let build = &some_builds()[0];
    let answer = exchange(
        process.address,
        "GET",
        &format!("{}/exec", build.url()),
        &[],
        b"",
    );
    assert!(answer.body == first[&format!("hello/{}.exec", build.uuid)]);
    // One alone, under the name that the OCaml tool gives it.
    let uuid = build.uuid.to_string();
    let full = holder.path().join("full");
    succeeds(
        holder.path(),
        BUILDER_WEB,
        &["db", "extract-build", "-d", &data, &uuid],
    );
    assert!(fs::read(&full).unwrap() == answer.body);
    let piped = succeeds(
        holder.path(),
        "sh",
        &[
            "-c",
            &format!("{BUILDER_WEB} db extract-build -d {data} {uuid} --dest /dev/stdout | cat"),
        ],
    );
    assert!(piped == answer.body);
}

fn exported(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for job in fs::read_dir(at).unwrap() {
        let job = job.unwrap();
        for file in fs::read_dir(job.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(at).unwrap().display().to_string();
            all.insert(name, fs::read(path).unwrap());
        }
    }
    all
}

#[test]
fn an_export_goes_on_where_it_was_interrupted() {
    let (holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    db(0, &["import", "-d", &data, &at]);
    let dest = holder.path().join("out");
    let dest = dest.to_str().unwrap();
    db(
        0,
        &["export", "-d", &data, "--job", "hello", "--dest", dest],
    );
    assert_eq!(exported(Path::new(dest)).len(), 3);
    let [one, two] = [0, 1].map(|at| format!("{dest}/hello/{}.exec", some_builds()[at].uuid));
    fs::rename(&one, format!("{one}.part")).unwrap();
    fs::write(format!("{one}.part"), "half").unwrap();
    let untouched = fs::metadata(&two).unwrap().modified().unwrap();
    let (out, _) = db(0, &["export", "-d", &data, "--all", "--dest", dest]);
    assert!(
        out.ends_with(&format!("exported 2 builds to {dest}, 2 there already\n")),
        "{out}"
    );
    assert_eq!(exported(Path::new(dest)).len(), 4, "what was half is whole");
    assert_eq!(fs::metadata(&two).unwrap().modified().unwrap(), untouched);
}

#[test]
fn a_build_that_cannot_be_exported_is_named_and_leaves_no_file() {
    let (holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    db(0, &["import", "-d", &data, &at]);
    let path = files(Path::new(&data))
        .into_keys()
        .find(|path| path.starts_with("_artifacts/") && !path.ends_with('/'))
        .unwrap();
    fs::remove_file(Path::new(&data).join(path)).unwrap();
    let dest = holder.path().join("out");
    let dest = dest.to_str().unwrap();
    let (_, err) = db(1, &["export", "-d", &data, "--all", "--dest", dest]);
    assert!(
        err.contains("not exported ") && err.contains("verify-data-dir"),
        "{err}"
    );
    assert!(
        exported(Path::new(dest))
            .keys()
            .all(|name| name.ends_with(".exec"))
    );
    for (arguments, says) in [
        (vec!["extract-build", "-d", &data, "x"], "is no uuid"),
        (
            vec![
                "extract-build",
                "-d",
                &data,
                "f63a5b8a-9ab3-40a3-8cfc-00000000ffff",
            ],
            "there is no build",
        ),
        (
            vec!["export", "-d", &data, "--dest", dest, "--job", "none"],
            "there is no job none",
        ),
        (vec!["export", "-d", &data, "--dest", dest], "--all"),
    ] {
        let (_, err) = db(2, &arguments);
        assert!(err.contains(says), "{says} in {err}");
    }
}
