//! `builder-db verify-…`: damage of every kind is found, named, and mended where it can be.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::build::{build, noise};
use crate::carry::{db, empty, some_builds, write_all};
use crate::program::Process;
use crate::server::{exchange, files};

/// A data directory with builds.
fn filled() -> (tempfile::TempDir, String) {
    let (holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    db(0, &["import", "-d", &data, &at]);
    (holder, data)
}

fn artifact(data: &str, content: &[u8]) -> PathBuf {
    let name = builder_store::Sha256::of(content).to_hex();
    Path::new(data)
        .join("_artifacts")
        .join(&name[..2])
        .join(name)
}

fn verify(status: i32, data: &str, more: &[&str]) -> Value {
    let arguments = [&["verify-data-dir", "-d", data, "--json"], more].concat();
    serde_json::from_str(&db(status, &arguments).0).unwrap()
}

/// The fault of each file, with its path.
fn faults(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = report["problems"].as_array().unwrap().iter();
    let mut all: Vec<_> = all
        .map(|problem| (text(&problem["fault"]), text(&problem["path"])))
        .collect();
    all.sort();
    all
}

fn home(number: usize) -> String {
    format!("hello/{}", some_builds()[number].uuid)
}

#[test]
fn a_sound_directory_is_found_sound_also_while_it_is_served() {
    let (_holder, data) = filled();
    let (out, _) = db(0, &["verify-data-dir", "-d", &data]);
    assert!(
        out.contains("8 consoles and scripts") && out.contains("all as they should be"),
        "{out}"
    );
    let process = Process::serve(Path::new(&data), &[]);
    assert_eq!(verify(0, &data, &["--jobs", "3"])["open"], 0);
    drop(process);
    assert_eq!(
        verify(0, &data, &["--repair"])["problems"],
        serde_json::json!([])
    );
}

#[test]
fn each_kind_of_damage_is_named_and_mended_from_a_copy() {
    let (holder, data) = filled();
    let copy = holder.path().join("copy");
    crate::program::succeeds(holder.path(), "cp", &["-a", &data, copy.to_str().unwrap()]);
    let sound = files(Path::new(&data));
    let binary = artifact(&data, &noise(200_000));
    let name = binary.strip_prefix(&data).unwrap().display().to_string();
    fs::write(&binary, &noise(200_000)[..1000]).unwrap();
    let packages = artifact(&data, b"libc6=2.36");
    fs::write(&packages, "libc6=2.37").unwrap();
    let x = artifact(&data, b"x");
    fs::remove_file(&x).unwrap();
    let script = format!("{}/script.txt", home(0));
    fs::remove_file(Path::new(&data).join(&script)).unwrap();
    let stray = format!("_artifacts/00/{}", "0".repeat(64));
    fs::create_dir_all(Path::new(&data).join("_artifacts/00")).unwrap();
    fs::write(Path::new(&data).join(&stray), "nobody's").unwrap();

    let below = |path: &Path| path.strip_prefix(&data).unwrap().display().to_string();
    let mut expected = vec![
        ("truncated".to_owned(), name.clone()),
        ("changed".to_owned(), below(&packages)),
        ("missing".to_owned(), below(&x)),
        ("missing".to_owned(), script.clone()),
        ("stray".to_owned(), stray.clone()),
    ];
    expected.sort();
    let report = verify(1, &data, &[]);
    assert_eq!(faults(&report), expected);
    let of = |fault: &str| {
        let all = report["problems"].as_array().unwrap();
        all.iter()
            .find(|problem| problem["fault"] == fault)
            .unwrap()
            .clone()
    };
    let truncated = of("truncated");
    assert_eq!(truncated["expected_bytes"], 200_000);
    assert_eq!(truncated["found_bytes"], 1000);
    assert_eq!(truncated["builds"], 2);
    assert_eq!(
        truncated["named_by"][0],
        format!("{} bin/hello.hvt", home(1))
    );
    let (out, err) = db(1, &["verify-data-dir", "-d", &data]);
    assert!(
        out.contains(&name) && err.contains("5 files not as it should be"),
        "{out}{err}"
    );
    assert!(err.contains("add --repair"), "{err}");
    // Only looking changed nothing.
    assert_eq!(faults(&verify(1, &data, &[])), expected);

    let copy = copy.to_str().unwrap();
    let mended = verify(0, &data, &["--repair", "--from", copy]);
    assert_eq!(faults(&mended), expected);
    let mut now = files(Path::new(&data));
    now.retain(|path, _| !path.starts_with("_quarantine"));
    assert_eq!(now, sound);
    // What was damaged, and what was nobody's, is kept.
    let aside = |path: &str| fs::read(Path::new(&data).join("_quarantine").join(path)).unwrap();
    assert_eq!(aside(&name), &noise(200_000)[..1000]);
    assert_eq!(aside(&stray), b"nobody's");
    assert_eq!(verify(0, &data, &[])["problems"], serde_json::json!([]));
}

#[test]
fn what_lies_elsewhere_in_the_directory_is_found_there() {
    let (_holder, data) = filled();
    let binary = artifact(&data, &noise(200_000));
    // As version 17 had it, and as a repair put it aside.
    let output = Path::new(&data).join(home(0)).join("output/bin/hello.hvt");
    fs::create_dir_all(output.parent().unwrap()).unwrap();
    fs::rename(&binary, &output).unwrap();
    let x = artifact(&data, b"x");
    fs::create_dir(Path::new(&data).join("_quarantine")).unwrap();
    fs::rename(&x, Path::new(&data).join("_quarantine/some")).unwrap();
    verify(0, &data, &["--repair"]);
    assert!(fs::read(binary).unwrap() == noise(200_000));
    assert_eq!(fs::read(x).unwrap(), b"x");
    assert!(!output.exists() && !output.parent().unwrap().exists());
    verify(0, &data, &[]);
}

#[test]
fn a_lost_text_is_replaced_by_one_that_says_so_until_it_is_found() {
    let (holder, data) = filled();
    let copy = holder.path().join("copy");
    crate::program::succeeds(holder.path(), "cp", &["-a", &data, copy.to_str().unwrap()]);
    for text in ["console.txt", "script.txt"] {
        fs::remove_file(Path::new(&data).join(home(0)).join(text)).unwrap();
    }
    verify(1, &data, &[]);
    verify(0, &data, &["--repair"]);
    let process = Process::serve(Path::new(&data), &[]);
    let url = some_builds()[0].url();
    let console = exchange(process.address, "GET", &format!("{url}/console"), &[], b"");
    assert!(
        console.text().contains("this text was lost"),
        "{}",
        console.text()
    );
    assert_eq!(
        exchange(process.address, "GET", &format!("{url}/exec"), &[], b"").status,
        200
    );
    drop(process);
    let noted = verify(0, &data, &[]);
    assert_eq!(noted["open"], 0);
    assert_eq!(
        faults(&noted)
            .iter()
            .filter(|(fault, _)| fault == "stand-in")
            .count(),
        2
    );
    verify(0, &data, &["--repair", "--from", copy.to_str().unwrap()]);
    assert_eq!(verify(0, &data, &[])["problems"], serde_json::json!([]));
}

#[test]
fn what_is_lost_stays_an_error_and_what_is_not_ours_stays_where_it_is() {
    let (_holder, data) = filled();
    fs::write(artifact(&data, b"x"), "y").unwrap();
    fs::write(Path::new(&data).join("notes of the operator"), "x2").unwrap();
    let (out, err) = db(1, &["verify-data-dir", "-d", &data, "--repair"]);
    assert!(out.contains("moved to _quarantine/_artifacts/"), "{out}");
    assert!(
        out.contains("left alone: builder-web keeps no files here"),
        "{out}"
    );
    assert!(err.contains("add --from DIR"), "{err}");
    assert!(Path::new(&data).join("notes of the operator").exists());
    let faults = faults(&verify(1, &data, &[]));
    assert_eq!(faults[0].0, "missing");
    assert_eq!(
        faults[1],
        ("stray".to_owned(), "notes of the operator".to_owned())
    );
}

#[test]
fn the_same_input_with_two_outputs_is_told() {
    let (_holder, data, at) = empty();
    write_all(Path::new(&at), &some_builds());
    db(0, &["import", "-d", &data, &at]);
    // Options of the OCaml tool change nothing.
    let ocaml = ["verify-input-id", "-v", "--verbosity=info", "-d", &data];
    let (out, _) = db(0, &ocaml);
    assert_eq!(out, "the same input always gave the same main binary\n");
    let other = build("hello", 7)
        .later(500)
        .input("a")
        .file("bin/hello.hvt", "other");
    fs::write(format!("{at}/other.exec"), other.exec()).unwrap();
    db(0, &["import", "-d", &data, &at]);
    let (out, err) = db(1, &["verify-input-id", "-d", &data]);
    assert!(
        out.contains("gave 2 outputs") && out.contains(&other.uuid.to_string()),
        "{out}"
    );
    assert!(err.contains("1 input gave more than one output"), "{err}");
    let (out, _) = db(1, &["verify-input-id", "-d", &data, "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json[0]["outputs"].as_array().unwrap().len(), 2);
    assert_eq!(json[0]["outputs"][1]["builds"].as_array().unwrap().len(), 2);
}

#[test]
fn pictures_are_checked_as_hooks_left_them() {
    let (_holder, data) = filled();
    let builds = some_builds();
    let switch = &builds[0]
        .files
        .iter()
        .find(|(path, _)| path == b"opam-switch")
        .unwrap()
        .1;
    let switch = builder_store::Sha256::of(switch).to_hex();
    let cache = Path::new(&data).join("_cache");
    let put = |path: &str, text: &str| {
        let path = cache.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let (out, _) = db(0, &["verify-cache-dir", "-d", &data]);
    assert!(out.contains("0 pictures"), "{out}");
    put(&format!("dependencies_2/{switch}.html"), "<html>");
    put("dependencies_2/.done", "");
    put("builder-web/x", "");
    db(0, &["verify-cache-dir", "-d", &data]);
    put("treemap_x/y", "");
    put(&format!("dependencies_1/{switch}.html"), "");
    put(&format!("dependencies_2/{}.html", "0".repeat(64)), "<html>");
    fs::remove_file(cache.join(format!("dependencies_2/{switch}.html"))).unwrap();
    let (out, _) = db(1, &["verify-cache-dir", "-d", &data, "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    let mut found: Vec<&str> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["fault"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["empty", "missing", "orphan", "unknown"]);
    let (_, err) = db(
        2,
        &[
            "verify-cache-dir",
            "-d",
            &data,
            "--cachedir",
            "/nonexistent",
        ],
    );
    assert!(err.contains("does not exist"), "{err}");
}
