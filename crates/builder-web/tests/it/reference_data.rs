//! A data directory that the OCaml server wrote, served as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use builder_exec::Timestamp;
use builder_web::Clock;

use crate::build::build;
use crate::program::succeeds;
use crate::server::{CHEAP, Server, files};

/// What was recorded of the OCaml server; in a folder beside this one or further up, if anywhere.
fn recorded(name: &str) -> Option<PathBuf> {
    let path = Path::new("shared/corpus/reference/databases").join(name);
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join(&path))
        .find(|path| path.exists());
    if found.is_none() {
        println!("not run: there is no {}", path.display());
    }
    found
}

/// `PRAGMA user_version` and `application_id`, from the database's first page.
fn pragmas(datadir: &Path) -> (u32, u32) {
    let bytes = std::fs::read(datadir.join("builder.sqlite3")).unwrap();
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(60), number(68))
}

const PRAGMAS: (u32, u32) = (18, 1_234_839_235);

fn sha256s(datadir: &Path) -> BTreeMap<String, String> {
    files(datadir)
        .into_iter()
        .filter(|(path, _)| !path.ends_with('/'))
        .collect()
}

fn june() -> Clock {
    Clock::Stopped(Timestamp::from_civil(2026, 6, 10, 0, 0, 0).unwrap())
}

#[test]
fn the_data_of_the_ocaml_server_is_served_and_left_as_it_is() {
    let Some(archive) = recorded("v18.tar.gz") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    succeeds(&data, "tar", &["xzf", archive.to_str().unwrap()]);
    let before = sha256s(&data);
    assert!(before.len() > 50);
    {
        let server = Server::on(&data, directory.path(), june(), |config| {
            config.expired_jobs = None
        });
        let jobs = server.json("/all-builds");
        let names: Vec<&str> = jobs["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["name"].as_str().unwrap())
            .collect();
        assert!(
            names.contains(&"unipi") && names.contains(&"albatross"),
            "{names:?}"
        );
        let mut builds = 0;
        for name in [
            "unipi",
            "albatross",
            "dnsvizor",
            "builder-web",
            "traceroute",
            "orb",
            "hello",
        ] {
            for target in [format!("/job/{name}"), format!("/job/{name}/failed")] {
                assert_eq!(server.get(&target).status, 200, "{target}");
            }
            for build in server.json(&format!("/job/{name}/failed"))["builds"]
                .as_array()
                .unwrap()
            {
                builds += 1;
                let url = format!("/job/{name}/build/{}", build["uuid"].as_str().unwrap());
                for below in ["", "/script", "/console", "/exec", "/all.tar.gz"] {
                    assert_eq!(
                        server.get(&format!("{url}{below}")).status,
                        200,
                        "{url}{below}"
                    );
                }
                if let Some(main) = build["main_binary"]["sha256"].as_str() {
                    let (status, file) = server.location(&format!("{url}/main-binary"));
                    assert_eq!(status, 302);
                    let bytes = server.get(&file).body;
                    assert_eq!(builder_store::Sha256::of(&bytes).to_hex(), main);
                    assert_eq!(server.location(&format!("/hash?sha256={main}")).0, 302);
                }
            }
        }
        assert!(builds >= 10, "{builds}");
        for target in [
            "/",
            "/failed-builds",
            "/job/unipi/build/latest",
            "/robots.txt",
        ] {
            assert!(server.get(target).status < 400, "{target}");
        }
        server.add_user(("new", "pw"), false, CHEAP);
        let exec = build("unipi", 1)
            .later(10_000_000)
            .input("x")
            .file("bin/x", "x")
            .file("README.md", "# Read")
            .exec();
        assert_eq!(server.upload_bytes(("new", "pw"), exec).status, 201);
        assert!(server.page("/job/unipi").contains("<h3>Read</h3>"));
        assert!(
            server
                .location("/job/unipi/build/latest")
                .1
                .contains(&build("", 1).uuid.to_string())
        );
    }
    let after = sha256s(&data);
    for (path, digest) in &before {
        assert_eq!(after.get(path), Some(digest), "{path}");
    }
    assert_eq!(pragmas(&data), PRAGMAS);
}

#[test]
fn its_log_ins_still_work() {
    let Some(archive) = recorded("v18.tar.gz") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    succeeds(&data, "tar", &["xzf", archive.to_str().unwrap()]);
    let server = Server::on(&data, directory.path(), june(), |_| {});
    let upload = |user, number| {
        server
            .upload_bytes(user, build("unipi", number).file("x", "x").exec())
            .status
    };
    assert_eq!(upload(("builder", "hunter2:with colon"), 1), 201);
    assert_eq!(upload(("builder", "hunter2"), 2), 401);
    assert_eq!(upload(("alice", "wrong"), 3), 401);
}

#[test]
fn a_database_of_the_schema_alone_is_served_and_keeps_its_marks() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    // As a hook or an administrator would look at it, and as the OCaml server makes it.
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../builder-store/schema/v18.sql");
    let read = format!(".read '{}'", schema.display());
    succeeds(&data, "sqlite3", &["builder.sqlite3", &read]);
    let shown = || {
        succeeds(
            &data,
            "sqlite3",
            &[
                "builder.sqlite3",
                "SELECT type, name, sql FROM sqlite_master ORDER BY type, name",
            ],
        )
    };
    let before = shown();
    {
        let server = Server::on(&data, directory.path(), june(), |_| {});
        assert_eq!(
            server.json("/all-builds")["jobs"].as_array().unwrap().len(),
            0
        );
        server.add_user(("new", "pw"), false, CHEAP);
        for number in 1..4 {
            let exec = build("hello", number)
                .input("x")
                .file("bin/x", "x")
                .file("README.md", "# Read")
                .exec();
            assert_eq!(server.upload_bytes(("new", "pw"), exec).status, 201);
        }
        // Others read it while the server runs.
        let count = succeeds(
            &data,
            "sqlite3",
            &[
                "builder.sqlite3",
                "SELECT count(*), (SELECT uuid FROM build WHERE id = 1) FROM build",
            ],
        );
        assert_eq!(
            String::from_utf8(count).unwrap().trim(),
            format!("3|{}", build("", 1).uuid)
        );
        let tags = succeeds(
            &data,
            "sqlite3",
            &["builder.sqlite3", "SELECT tag FROM tag ORDER BY tag"],
        );
        assert!(String::from_utf8(tags).unwrap().contains("readme.md\n"));
    }
    assert_eq!(shown(), before);
    assert_eq!(pragmas(&data), PRAGMAS);
}
