//! Links in the place of what the server reads: they lead to nothing outside of the data directory.

use crate::build::build;
use crate::server::Server;

#[test]
fn a_link_or_a_path_of_a_row_leads_to_nothing_outside_of_the_data_directory() {
    let hello = build("hello", 1).file("bin/x", "x").file("more", "more");
    let server = Server::of(std::slice::from_ref(&hello));
    let secret = server.datadir().parent().unwrap().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let artifact = |content: &[u8]| {
        let name = builder_store::Sha256::of(content).to_hex();
        server
            .datadir()
            .join("_artifacts")
            .join(&name[..2])
            .join(name)
    };
    let console = server
        .datadir()
        .join("hello")
        .join(hello.uuid.to_string())
        .join("console.txt");
    for file in [artifact(b"x"), console] {
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&secret, &file).unwrap();
    }
    std::fs::remove_file(artifact(b"more")).unwrap();
    let pipe = artifact(b"more");
    crate::program::succeeds(server.datadir(), "mkfifo", &[pipe.to_str().unwrap()]);
    for below in ["f/bin/x", "f/more", "console", "exec"] {
        let answer = server.get(&format!("{}/{below}", hello.url()));
        assert_eq!(answer.status, 500, "{below}");
        assert!(!answer.text().contains("secret"), "{below}");
    }
    let database = server.datadir().join("builder.sqlite3");
    for path in ["../secret", secret.to_str().unwrap(), "hello/../../secret"] {
        let sql = format!("UPDATE build SET script = '{path}'");
        let arguments = [database.to_str().unwrap(), &sql];
        crate::program::succeeds(server.datadir(), "sqlite3", &arguments);
        let answer = server.get(&format!("{}/script", hello.url()));
        assert_eq!(answer.status, 500, "{path}: {}", answer.text());
    }
}

#[test]
fn a_link_in_the_place_of_a_directory_leads_to_nothing_outside_of_the_data_directory() {
    let (linked, inner) = (build("hello", 1), build("inner", 2));
    let of_bucket = build("other", 3).file("bin/x", "x");
    let server = Server::of(&[linked.clone(), inner.clone(), of_bucket.clone()]);
    let outside = tempfile::tempdir().unwrap();
    // What an operator does who is short of space, and what an attacker would.
    let bucket = &builder_store::Sha256::of(b"x").to_hex()[..2];
    let directories = [
        "hello".to_owned(),
        format!("inner/{}", inner.uuid),
        format!("_artifacts/{bucket}"),
    ];
    let move_out = |directory: &str, number: usize| {
        let (from, to) = (
            server.datadir().join(directory),
            outside.path().join(number.to_string()),
        );
        std::fs::rename(&from, &to).unwrap();
        std::os::unix::fs::symlink(&to, &from).unwrap();
    };
    for (number, directory) in directories.iter().enumerate() {
        move_out(directory, number);
    }
    let all_outside = || {
        let all = crate::program::succeeds(outside.path(), "find", &["."]);
        String::from_utf8(all).unwrap().lines().count()
    };
    let before = all_outside();
    for build in [&linked, &inner] {
        for below in ["console", "script", "exec"] {
            let answer = server.get(&format!("{}/{below}", build.url()));
            assert_eq!(answer.status, 500, "{below}: {}", answer.text());
        }
        assert_eq!(server.get(&build.url()).status, 200);
    }
    let answer = server.get(&format!("{}/f/bin/x", of_bucket.url()));
    assert_eq!(answer.status, 500);
    // Nothing is written through one.
    let answer = server.upload(&build("hello", 4));
    assert_eq!(answer.status, 409);
    let said = answer.text();
    assert!(
        said.contains("hello is a link in the data directory"),
        "{said}"
    );
    assert!(!said.contains(outside.path().to_str().unwrap()), "{said}");
    let again = build("other", 5).file("bin/x", "x");
    assert_eq!(server.upload(&again).status, 500);
    let data = server.datadir().to_str().unwrap();
    let db = |arguments: &[&str]| {
        let all = [&["db"], arguments, &["-d", data]].concat();
        crate::program::run(server.datadir(), crate::program::BUILDER_WEB, &all)
    };
    // A repair neither.
    std::fs::remove_file(
        outside
            .path()
            .join("0")
            .join(linked.uuid.to_string())
            .join("console.txt"),
    )
    .unwrap();
    let before_repair = all_outside();
    assert_eq!(before_repair, before - 1);
    let repaired = db(&["verify-data-dir", "--repair"]);
    assert_eq!(repaired.status.code(), Some(1), "{repaired:?}");
    let said = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert!(said.contains("which is not followed"), "{said}");
    // Nor is anything removed.
    assert_eq!(db(&["job-remove", "hello"]).status.code(), Some(0));
    assert_eq!(all_outside(), before_repair);
    assert!(!server.datadir().join("_quarantine").exists());
    let doctor = db(&["doctor", "-c", "/nonexistent"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        said.contains("3 links are in the place of directories"),
        "{said}"
    );
    // All artifacts may be elsewhere, and the data directory itself.
    std::fs::remove_file(server.datadir().join("_artifacts").join(bucket)).unwrap();
    std::fs::rename(
        outside.path().join("2"),
        server.datadir().join("_artifacts").join(bucket),
    )
    .unwrap();
    move_out("_artifacts", 3);
    let answer = server.get(&format!("{}/f/bin/x", of_bucket.url()));
    assert_eq!((answer.status, answer.text().as_str()), (200, "x"));
    assert_eq!(server.upload(&again).status, 201);
    let verified = db(&["verify-data-dir", "--json"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(!said.contains("_artifacts"), "{said}");
}

#[test]
fn a_directory_that_is_written_to_and_swept_is_refused_where_it_is_a_link() {
    let hello = build("hello", 1).file("bin/x", "x");
    let (holder, data, at) = crate::carry::empty();
    crate::carry::write_all(at.as_ref(), std::slice::from_ref(&hello));
    crate::carry::db(0, &["import", "-d", &data, &at]);
    let outside = tempfile::tempdir().unwrap();
    // Names that would be swept, restored from and drawn over.
    let picture = builder_store::Sha256::of(b"x").to_hex();
    for below in [
        "1.1/lock",
        "plain",
        "treemap_1/x.html",
        "builder-web/treemap-1/x.html",
    ] {
        let file = outside.path().join(below.replace('x', &picture));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    let uuid = outside.path().join(hello.uuid.to_string());
    std::fs::create_dir(uuid).unwrap();
    // A file that a repair would put aside.
    let artifact = std::path::Path::new(&data)
        .join("_artifacts")
        .join(&picture[..2])
        .join(&picture);
    std::fs::write(artifact, "y").unwrap();
    let before = crate::server::files(outside.path());
    let run = |arguments: &[&str]| {
        crate::program::run(holder.path(), crate::program::BUILDER_WEB, arguments)
    };
    let backup = holder.path().join("backup");
    for name in ["_staging", "_cache", "_quarantine"] {
        let link = std::path::Path::new(&data).join(name);
        let _there = std::fs::remove_dir_all(&link);
        std::os::unix::fs::symlink(outside.path(), &link).unwrap();
        for arguments in [
            &["-p", "0", "-d", &data][..],
            &["db", "verify-data-dir", "--repair", "-d", &data],
            &["db", "verify-cache-dir", "-d", &data],
            &["db", "vacuum", "except-latest", "1", "-d", &data],
            &["db", "import", "-d", &data, &at],
        ] {
            let refused = run(arguments);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(said.contains(&format!("{name} is a link to ")), "{said}");
        }
        let doctor = run(&["db", "doctor", "-d", &data, "-c", "/nonexistent"]);
        assert_eq!(doctor.status.code(), Some(1));
        let said = String::from_utf8_lossy(&doctor.stdout);
        assert!(said.contains(&format!("$ rm {data}/{name}\n")), "{said}");
        assert!(!said.contains("1.1"), "{said}");
        assert_eq!(crate::server::files(outside.path()), before, "{name}");
        std::fs::remove_file(&link).unwrap();
        // Nor is a backup made there.
        std::fs::create_dir_all(&backup).unwrap();
        std::fs::write(backup.join("builder.sqlite3-backup"), "a backup of x\n").unwrap();
        let _there = std::fs::remove_dir_all(backup.join(name));
        std::os::unix::fs::symlink(outside.path(), backup.join(name)).unwrap();
        let refused = run(&["db", "backup", "-d", &data, backup.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("which is not followed"), "{said}");
        std::fs::remove_file(backup.join(name)).unwrap();
        assert_eq!(crate::server::files(outside.path()), before, "{name}");
    }
    crate::carry::db(1, &["verify-data-dir", "--repair", "-d", &data]);
    assert!(std::path::Path::new(&data).join("_quarantine").is_dir());
}

#[test]
fn a_link_that_comes_while_the_server_runs_is_not_followed_either() {
    let server = Server::new();
    let outside = tempfile::tempdir().unwrap();
    for below in ["1.1", "treemap_1"] {
        std::fs::create_dir(outside.path().join(below)).unwrap();
    }
    let picture = builder_store::Sha256::of(b"x").to_hex();
    std::fs::write(
        outside.path().join(format!("treemap_1/{picture}.html")),
        "secret",
    )
    .unwrap();
    let before = crate::server::files(outside.path());
    for name in ["_staging", "_cache"] {
        std::fs::remove_dir_all(server.datadir().join(name)).unwrap();
        std::os::unix::fs::symlink(outside.path(), server.datadir().join(name)).unwrap();
    }
    let hello = build("hello", 1).file("bin/x", "x");
    assert_eq!(server.upload(&hello).status, 500);
    std::fs::remove_file(server.datadir().join("_staging")).unwrap();
    std::fs::create_dir(server.datadir().join("_staging")).unwrap();
    server.keep(&hello);
    let answer = server.get(&format!("{}/viztreemap", hello.url()));
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    assert_eq!(crate::server::files(outside.path()), before);
}

#[test]
fn a_hook_that_is_a_link_is_run_and_a_broken_one_harms_nobody() {
    // As on the OCaml server: the directory is the operator's.
    let server = Server::new();
    let mark = server.configdir().join("ran");
    let script = format!(": > '{}'", mark.display());
    let hooks = server.configdir().join("upload-hooks");
    let real = server.configdir().join("real");
    let made = crate::hooks::hook(&server, "real", 0o755, &script);
    std::fs::rename(made, &real).unwrap();
    std::os::unix::fs::symlink(&real, hooks.join("link.sh")).unwrap();
    std::os::unix::fs::symlink("link-to-itself.sh", hooks.join("link-to-itself.sh")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", hooks.join("broken.sh")).unwrap();
    std::os::unix::fs::symlink("/", hooks.join("directory.sh")).unwrap();
    server.keep(&build("hello", 1).file("bin/x", "x"));
    crate::server::wait_until("the linked hook has run", || mark.exists());
}
