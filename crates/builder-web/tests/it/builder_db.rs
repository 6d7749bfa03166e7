//! `builder-db` as an operator calls it: users, access, pins and removal.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::build::build;
use crate::program::{BUILDER_WEB, Process};
use crate::server::{Answer, basic, exchange};

/// A data directory and the commands on it.
struct Db {
    _holder: tempfile::TempDir,
    data: String,
}

impl Db {
    fn new() -> Db {
        let holder = tempfile::tempdir().unwrap();
        let data = holder.path().join("data").to_str().unwrap().to_owned();
        let db = Db {
            _holder: holder,
            data,
        };
        db.does(&["migrate"], "");
        db
    }

    fn with_user() -> Db {
        let db = Db::new();
        db.does(
            &["user-add", "--unrestricted", "--scrypt-n", "16", "boss"],
            "pw\n",
        );
        db
    }

    fn call(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(BUILDER_WEB)
            .arg("db")
            .args(arguments)
            .env_clear()
            .env("BUILDER_WEB_DATADIR", &self.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _sent = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Calls it and expects success; what it printed.
    fn does(&self, arguments: &[&str], input: &str) -> String {
        let output = self.call(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.does(arguments, "")).unwrap()
    }

    /// Calls it and expects exit status 2; what it said.
    fn refuses(&self, arguments: &[&str], input: &str) -> String {
        let output = self.call(arguments, input);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        said
    }

    fn serve(&self) -> Process {
        Process::serve(Path::new(&self.data), &[])
    }
}

fn upload(process: &Process, user: (&str, &str), exec: &[u8]) -> Answer {
    let (length, authorization) = (exec.len().to_string(), basic(user));
    let headers = [
        ("content-length", length.as_str()),
        ("authorization", authorization.as_str()),
    ];
    exchange(process.address, "POST", "/upload", &headers, exec)
}

#[test]
fn a_user_is_given_another_password_disabled_and_removed_while_the_server_runs() {
    let db = Db::with_user();
    let server = db.serve();
    let status = |user, number| upload(&server, user, &build("hello", number).exec()).status;
    db.does(&["user-add", "--scrypt-n", "16", "alice"], "one\n");
    assert_eq!(
        status(("alice", "one"), 1),
        403,
        "no job is on the list yet"
    );
    assert_eq!(status(("boss", "pw"), 1), 201);
    let said = db.does(&["access-add", "alice", "hello"], "");
    assert_eq!(said, "user alice may upload to job hello\n");
    assert_eq!(status(("alice", "one"), 2), 201);
    assert_eq!(db.does(&["access-list"], ""), "USER   JOB\nalice  hello\n");
    assert_eq!(
        db.json(&["access-list", "alice", "--json"])["access"][0]["job"],
        "hello"
    );
    db.does(&["access-remove", "alice", "hello"], "");
    assert_eq!(status(("alice", "one"), 3), 403);
    db.does(&["access-add", "alice", "hello"], "");

    let said = db.does(&["user-update", "--scrypt-n", "16", "alice"], "two\n");
    assert!(
        said.contains("may upload to the jobs on its access list"),
        "{said}"
    );
    assert_eq!(status(("alice", "one"), 3), 401);
    assert_eq!(status(("alice", "two"), 3), 201);
    db.does(
        &["user-update", "--unrestricted", "--scrypt-n", "16", "alice"],
        "two\n",
    );
    assert_eq!(
        upload(&server, ("alice", "two"), &build("new", 4).exec()).status,
        201
    );

    assert_eq!(
        db.does(&["user-list"], ""),
        "alice\nboss\n",
        "a name a line, for scripts"
    );
    let said = db.refuses(&["user-remove", "alice"], "");
    assert!(
        said.contains("3 builds") && said.contains("user-disable alice"),
        "{said}"
    );
    db.does(&["user-disable", "alice"], "");
    for password in ["two", "one", ""] {
        assert_eq!(status(("alice", password), 5), 401, "{password:?}");
    }
    assert_eq!(db.does(&["access-list"], ""), "USER  JOB\n");
    let long = db.does(&["user-list", "--long"], "");
    assert!(long.contains("alice  disabled"), "{long}");
    let json = db.json(&["user-list", "--json"]);
    assert_eq!(json["users"][0]["access"], "disabled");
    assert_eq!(json["users"][0]["builds"], 3);
    db.does(&["user-add", "--scrypt-n", "16", "bob"], "pw\n");
    db.does(&["user-remove", "bob"], "");
    for command in ["user-remove", "user-disable"] {
        assert!(
            db.refuses(&[command, "bob"], "")
                .contains("there is no user bob")
        );
    }
    assert!(
        db.refuses(&["user-update", "bob"], "x\n")
            .contains("there is no user bob")
    );
    assert!(
        db.refuses(&["access-add", "bob", "hello"], "")
            .contains("there is no user bob")
    );
    assert!(
        db.refuses(&["access-add", "boss", "nothing"], "")
            .contains("there is no job nothing")
    );
    assert!(
        db.refuses(&["access-list", "bob"], "")
            .contains("there is no user bob")
    );
}

/// On a terminal of its own, typing each line after what asks for it.
fn on_a_terminal(db: &Db, command: &str, dialogue: &[(&str, &str)]) -> (String, bool) {
    let mut child = Command::new("script")
        .args(["-qec", &format!("{BUILDER_WEB} db {command}"), "/dev/null"])
        .env("BUILDER_WEB_DATADIR", &db.data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs the program script, of bsdutils");
    let mut out = child.stdout.take().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut shown = Vec::new();
    for (question, answer) in dialogue {
        let from = shown.len();
        let mut byte = [0];
        while !String::from_utf8_lossy(&shown[from..]).ends_with(question) {
            assert_eq!(
                out.read(&mut byte).unwrap(),
                1,
                "{:?}",
                String::from_utf8_lossy(&shown)
            );
            shown.push(byte[0]);
        }
        writeln!(keyboard, "{answer}").unwrap();
    }
    out.read_to_end(&mut shown).unwrap();
    let status = child.wait().unwrap();
    (String::from_utf8(shown).unwrap(), status.success())
}

#[test]
fn on_a_terminal_a_password_is_typed_twice_and_not_shown() {
    let db = Db::new();
    let add = "user-add --unrestricted --scrypt-n 16 alice";
    let (shown, good) = on_a_terminal(&db, add, &[("Password: ", "sesame"), ("Again: ", "seesaw")]);
    assert!(
        !good && shown.contains("the two passwords differ"),
        "{shown}"
    );
    assert_eq!(db.does(&["user-list"], ""), "");
    let (shown, good) = on_a_terminal(&db, add, &[("Password: ", "sesame"), ("Again: ", "sesame")]);
    assert!(good && shown.contains("added user alice"), "{shown}");
    assert!(!shown.contains("sesame"), "{shown}");
    let server = db.serve();
    assert_eq!(
        upload(&server, ("alice", "sesame"), &build("hello", 1).exec()).status,
        201
    );
    // Before anything is typed for nothing.
    let (shown, good) = on_a_terminal(&db, "user-add alice", &[]);
    assert!(!good && shown.contains("user-update alice"), "{shown}");
}

#[test]
fn a_vacuum_says_what_would_go_then_removes_it_under_a_running_server() {
    let db = Db::with_user();
    let server = db.serve();
    let builds: Vec<_> = (1..=4)
        .map(|number| {
            let build = build("hello", number)
                .file("bin/x", format!("binary {number}"))
                .file("shared", "s");
            let build = build.later(i64::try_from(number).unwrap() * 86_400);
            assert_eq!(upload(&server, ("boss", "pw"), &build.exec()).status, 201);
            build
        })
        .collect();
    let get = |target: &str| exchange(server.address, "GET", target, &[], b"");
    let uuid = |index: usize| builds[index].uuid.to_string();
    // The page is in the server's memory from here on.
    assert_eq!(get(&builds[0].url()).status, 200);
    assert!(get("/job/hello").text().contains(&uuid(0)));

    let said = db.does(&["pin", &uuid(1), "--note", "release 1.0"], "");
    assert!(said.contains("pinned build"), "{said}");
    assert!(db.does(&["pin-list"], "").contains("release 1.0"));
    assert_eq!(db.json(&["pin-list", "--json"])["pins"][0]["uuid"], uuid(1));

    let said = db.does(&["vacuum", "except-latest", "1", "--dry-run"], "");
    assert!(
        said.contains(
            "would remove 2 builds, and 2 artifacts that no other build has: 16 B would be freed"
        ) && said.contains("kept, because pinned: 1 build")
            && said.contains(&uuid(0))
            && said.contains(&uuid(2))
            && !said.contains(&uuid(3)),
        "{said}"
    );
    assert!(get("/job/hello").text().contains(&uuid(0)), "nothing went");
    let json = db.json(&[
        "vacuum",
        "except-latest",
        "1",
        "--json",
        "--dry-run",
        "--job",
        "hello",
    ]);
    assert_eq!(json["builds"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&json["bytes"], &json["dry_run"]),
        (&16.into(), &true.into())
    );

    let older = builds[0].start.to_rfc3339();
    let said = db.does(&["vacuum", "older-than", &older, "--platform", "other"], "");
    assert!(said.contains("removed 0 builds"), "{said}");
    let said = db.does(&["vacuum", "except-latest", "1"], "");
    assert!(
        said.contains("removed 2 builds, and 2 artifacts that no other build has: 16 B freed"),
        "{said}"
    );
    assert!(
        !get("/job/hello").text().contains(&uuid(0)),
        "the server has noticed"
    );
    assert_eq!(
        get(&format!("{}/f/bin/x", builds[1].url())).body,
        b"binary 2"
    );
    assert_eq!(get(&format!("{}/f/shared", builds[3].url())).body, b"s");

    db.does(&["unpin", &uuid(1)], "");
    assert!(
        db.refuses(&["unpin", &uuid(1)], "")
            .contains("is not pinned")
    );
    assert!(
        db.refuses(&["pin", &uuid(0)], "")
            .contains("there is no build")
    );
    let said = db.does(&["vacuum", "except-latest-successful", "1"], "");
    assert!(said.contains("removed 1 build, and 1 artifact"), "{said}");
    for arguments in [
        vec!["vacuum", "except-latest", "0"],
        vec!["vacuum", "older-than", "yesterday"],
        vec!["vacuum", "except-latest", "1", "--job", "nothing"],
        vec!["vacuum"],
    ] {
        db.refuses(&arguments, "");
    }
    assert_eq!(get(&builds[3].url()).status, 200);
}

#[test]
fn a_job_is_removed_with_all_its_builds_but_not_while_one_is_pinned() {
    let db = Db::with_user();
    let server = db.serve();
    for number in 1..=60 {
        let build = build("hello", number).file("bin/x", "same");
        assert_eq!(upload(&server, ("boss", "pw"), &build.exec()).status, 201);
    }
    let other = build("other", 100).file("bin/x", "same");
    assert_eq!(upload(&server, ("boss", "pw"), &other.exec()).status, 201);
    let pinned = build("hello", 1).uuid.to_string();
    db.does(&["pin", &pinned], "");
    let said = db.refuses(&["job-remove", "hello"], "");
    assert!(said.contains(&pinned) && said.contains("--force"), "{said}");
    let said = db.does(&["job-remove", "hello", "--force", "--dry-run"], "");
    assert!(
        said.starts_with("JOB") && said.lines().nth(1).unwrap().starts_with("hello  60"),
        "many builds are listed by job: {said}"
    );
    assert!(said.contains("60 builds, and 0 artifacts"), "{said}");
    let said = db.does(&["job-remove", "hello", "--force"], "");
    assert!(said.ends_with("removed job hello\n"), "{said}");
    let get = |target: &str| exchange(server.address, "GET", target, &[], b"");
    assert_eq!(get("/job/hello").status, 404);
    assert!(!get("/all-builds").text().contains("hello"));
    assert_eq!(get(&format!("{}/f/bin/x", other.url())).body, b"same");
    assert!(!Path::new(&db.data).join("hello").exists());
    assert_eq!(
        db.does(&["job-remove", "hello"], ""),
        "there is no job hello\n"
    );
    // And the name is free for a new one.
    assert_eq!(
        upload(&server, ("boss", "pw"), &build("hello", 7).exec()).status,
        201
    );
}

#[test]
fn the_account_that_acts_is_on_record_and_not_one_that_it_makes_up() {
    let db = Db::new();
    let us = Command::new("id").arg("-un").output().unwrap();
    let us = String::from_utf8(us.stdout).unwrap().trim().to_owned();
    let act = |name: &str, value: &str, platform: &str| {
        let arguments = [
            "db",
            "vacuum",
            "except-latest",
            "1",
            "--platform",
            platform,
            "-d",
        ];
        let output = Command::new(BUILDER_WEB)
            .args(arguments)
            .arg(&db.data)
            .env(name, value)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    act("USER", "mallory", "one");
    act("LOGNAME", "mallory", "two");
    act("SUDO_USER", "alice", "three");
    let audit = db.does(&["audit", "--action", "vacuum", "--json"], "");
    let who = |line: &str| {
        let entry: Value = serde_json::from_str(line).unwrap();
        entry["who"].as_str().unwrap().to_owned()
    };
    let all: Vec<String> = audit.lines().map(who).collect();
    // Only root cannot make that up.
    let by_sudo = match us.as_str() {
        "root" => "alice",
        us => us,
    };
    assert_eq!(all, [us.as_str(), us.as_str(), by_sudo]);
}

#[test]
fn that_the_record_was_taken_back_is_the_last_that_it_says() {
    let db = Db::new();
    db.does(&["record-take-back", "--to", "4"], "");
    let audit = db.does(&["audit"], "");
    let last = audit.lines().last().unwrap();
    assert!(
        last.contains("record-take-back") && last.contains("version 4"),
        "{audit}"
    );
}
