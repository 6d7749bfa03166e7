//! The program as an administrator calls it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::build::{build, noise};
use crate::program::{BUILDER_WEB, Process, succeeds};
use crate::server::{Answer, basic, connect, exchange, head, wait_until};

/// Runs the program, by any of its names, to its end.
pub(crate) fn call(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses may not read its input.
    let _sent = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Calls it, and expects exit status 2 and a sentence with these parts.
pub(crate) fn refuses(arguments: &[&str], input: &str, parts: &[&str]) {
    let output = call(BUILDER_WEB, arguments, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

pub(crate) fn migrate(datadir: &str) -> String {
    let output = call(BUILDER_WEB, &["db", "migrate", "-d", datadir], "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn add_user(datadir: &str, name: &str, password: &str) {
    let arguments = [
        "db",
        "user-add",
        "-d",
        datadir,
        "--unrestricted",
        "--scrypt-n",
        "16",
        name,
    ];
    let output = call(BUILDER_WEB, &arguments, &format!("{password}\n"));
    assert!(output.status.success(), "{output:?}");
}

/// A directory for data, with its path as text.
pub(crate) fn directory() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").to_str().unwrap().to_owned();
    (directory, data)
}

pub(crate) fn upload(process: &Process, user: (&str, &str), exec: &[u8]) -> Answer {
    let (length, authorization) = (exec.len().to_string(), basic(user));
    let headers = [
        ("content-length", length.as_str()),
        ("authorization", authorization.as_str()),
    ];
    exchange(process.address, "POST", "/upload", &headers, exec)
}

#[test]
fn a_data_directory_that_cannot_be_served_is_refused_with_what_to_do() {
    let (holder, data) = directory();
    let serve = ["serve", "-p", "0", "-d", &data];
    let command = format!("builder-web db migrate -d {data}");
    refuses(&serve, "", &["does not exist", &command]);
    refuses(&serve[1..], "", &["does not exist", &command]);
    std::fs::create_dir(&data).unwrap();
    let stray = Path::new(&data).join("stray");
    std::fs::write(&stray, "x").unwrap();
    refuses(&serve, "", &["is not empty", &command]);
    assert_eq!(
        std::fs::read_dir(&data).unwrap().count(),
        1,
        "nothing was written"
    );
    std::fs::remove_file(&stray).unwrap();
    let database = Path::new(&data).join("builder.sqlite3");
    std::fs::write(
        &database,
        "this is some other file, and no database\n".repeat(50),
    )
    .unwrap();
    refuses(&serve, "", &["is not an SQLite database", "--datadir"]);
    std::fs::remove_file(&database).unwrap();
    migrate(&data);
    let sql = |sql: &str| succeeds(holder.path(), "sqlite3", &[database.to_str().unwrap(), sql]);
    for (pragma, parts) in [
        (
            "application_id = 7",
            vec!["belongs to another program", "7", "--datadir"],
        ),
        (
            "user_version = 17",
            vec!["version 17", "18", "builder-migrations up --datadir"],
        ),
        (
            "user_version = 19",
            vec!["version 19", "newer", "builder-migrations down --to 18"],
        ),
        (
            "user_version = 0",
            vec!["version 0", "builder-migrations up"],
        ),
    ] {
        sql("PRAGMA application_id = 1234839235; PRAGMA user_version = 18;");
        sql(&format!("PRAGMA {pragma};"));
        let before = sql(".dump");
        refuses(&serve, "", &parts);
        refuses(&["db", "migrate", "-d", &data], "", &parts);
        refuses(&["db", "user-add", "-d", &data, "x"], "pw\n", &parts);
        assert!(sql(".dump") == before, "{pragma}");
    }
    sql("PRAGMA application_id = 1234839235; PRAGMA user_version = 18;");
    Process::serve(Path::new(&data), &[]);
}

#[test]
fn an_empty_directory_becomes_a_data_directory_when_it_is_served() {
    let (_holder, data) = directory();
    std::fs::create_dir(&data).unwrap();
    let process = Process::serve(Path::new(&data), &[]);
    assert_eq!(exchange(process.address, "GET", "/", &[], b"").status, 200);
    for name in ["builder.sqlite3", "_artifacts", "_staging", "_cache"] {
        assert!(Path::new(&data).join(name).exists(), "{name}");
    }
}

#[test]
fn what_is_made_is_for_user_and_group_and_what_is_there_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let (holder, data) = directory();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let nested = holder.path().join("srv/builds");
    let migrated = |at: &Path| {
        let script = format!(
            "umask 000; exec {BUILDER_WEB} db migrate -d {}",
            at.display()
        );
        crate::program::succeeds(holder.path(), "sh", &["-c", &script]);
        // The others are made when it is opened.
        let script = format!(
            "umask 000; exec {BUILDER_WEB} db user-list -d {}",
            at.display()
        );
        crate::program::succeeds(holder.path(), "sh", &["-c", &script]);
    };
    let databases = [
        "builder.sqlite3",
        "builder-web.sqlite3",
        "builder-web-record.sqlite3",
    ];
    migrated(&nested);
    assert_eq!(mode(&nested), 0o750);
    for name in databases {
        assert_eq!(mode(&nested.join(name)), 0o640, "{name}");
    }
    std::fs::create_dir(&data).unwrap();
    let data = Path::new(&data);
    std::fs::set_permissions(data, PermissionsExt::from_mode(0o755)).unwrap();
    migrated(data);
    assert_eq!(mode(data), 0o755);
    for name in databases {
        std::fs::set_permissions(data.join(name), PermissionsExt::from_mode(0o644)).unwrap();
    }
    migrated(data);
    for name in databases {
        assert_eq!(mode(&data.join(name)), 0o644, "{name}");
    }
}

#[test]
fn a_directory_without_a_database_is_told_as_it_is_and_an_empty_one_is_filled_with_the_first_user()
{
    let (_holder, data) = directory();
    let command = format!("builder-web db migrate -d {data}");
    let list = ["db", "user-list", "-d", &data];
    let add = ["db", "user-add", "-d", &data, "--scrypt-n", "16", "alice"];
    let status = ["migrations", "status", "-d", &data];
    for arguments in [&list[..], &add, &status] {
        refuses(arguments, "pw\n", &["does not exist", &command]);
    }
    std::fs::create_dir(&data).unwrap();
    for arguments in [&list[..], &status] {
        refuses(arguments, "", &["which is empty", &command]);
    }
    let stray = Path::new(&data).join("stray");
    std::fs::write(&stray, "x").unwrap();
    for arguments in [&list[..], &add, &status] {
        refuses(arguments, "pw\n", &["is not empty", &command]);
    }
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    std::fs::remove_file(&stray).unwrap();
    let nameless = ["db", "user-add", "-d", &data, ""];
    refuses(&nameless, "pw\n", &["cannot be used to log in"]);
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    assert!(call(BUILDER_WEB, &add, "pw\n").status.success());
    assert_eq!(call(BUILDER_WEB, &list, "").stdout, b"alice\n");
    Process::serve(Path::new(&data), &[]);
}

/// Calls it where the file system of the data directory is mounted read-only; none: this machine lets
/// nobody mount anything.
fn call_read_only(data: &str, environment: &[&str], arguments: &[&str]) -> Option<Output> {
    let may = Command::new("unshare").args(["-rm", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script =
        "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec env -i \"$@\"";
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, data])
        .args(environment)
        .arg(BUILDER_WEB)
        .args(arguments)
        .output();
    Some(output.unwrap())
}

#[test]
fn a_file_system_that_is_mounted_read_only_is_told_rather_than_an_owner() {
    let (_holder, data) = directory();
    migrate(&data);
    let told = |environment: &[&str], arguments: &[&str], status: i32| {
        let output = call_read_only(&data, environment, arguments)?;
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("mounted read-only"), "{said}");
        assert!(said.contains("mount -o remount,rw"), "{said}");
        for wrong in ["chown", "chmod -R", "belongs to the user", "code 14"] {
            assert!(!said.contains(wrong), "{wrong}: {said}");
        }
        Some(said)
    };
    for arguments in [
        ["serve", "-p", "0", "-d", &data].as_slice(),
        &["db", "user-list", "-d", &data],
        &["migrations", "down", "--to", "17", "-d", &data],
    ] {
        let Some(said) = told(&[], arguments, 2) else {
            return;
        };
        assert!(!said.contains("ReadWritePaths"), "{said}");
        let said = told(&["INVOCATION_ID=0123"], arguments, 2).unwrap();
        assert!(said.contains(&format!("ReadWritePaths={data}")), "{said}");
    }
    let said = told(&[], &["db", "doctor", "-d", &data], 1).unwrap();
    assert_eq!(said.matches("is mounted read-only").count(), 1, "{said}");
    let new = format!("{data}/new");
    told(&[], &["db", "migrate", "-d", &new], 2).unwrap();
}

#[test]
fn migrate_creates_a_database_once_and_says_so() {
    let (_holder, data) = directory();
    assert!(migrate(&data).contains("created a database in"));
    let before = std::fs::read(Path::new(&data).join("builder.sqlite3")).unwrap();
    assert!(migrate(&data).contains("is up to date"));
    assert!(std::fs::read(Path::new(&data).join("builder.sqlite3")).unwrap() == before);
}

#[test]
fn a_user_is_added_and_may_upload_at_once_also_by_the_name_builder_db() {
    let (holder, data) = directory();
    let builder_db = holder.path().join("builder-db");
    std::os::unix::fs::symlink(BUILDER_WEB, &builder_db).unwrap();
    let builder_db = builder_db.to_str().unwrap();
    assert!(
        call(builder_db, &["migrate", "-d", &data], "")
            .status
            .success()
    );
    let process = Process::serve(Path::new(&data), &[]);
    let added = call(
        builder_db,
        &["user-add", "-d", &data, "--unrestricted", "alice"],
        "p:w with blank \r\nmore\n",
    );
    assert!(added.status.success(), "{added:?}");
    assert_eq!(
        String::from_utf8_lossy(&added.stdout),
        "added user alice, who may upload to every job\n"
    );
    assert_eq!(
        upload(
            &process,
            ("alice", "p:w with blank "),
            &build("hello", 1).exec()
        )
        .status,
        201
    );
    assert_eq!(
        upload(
            &process,
            ("alice", "p:w with blank"),
            &build("hello", 2).exec()
        )
        .status,
        401
    );
    let restricted = call(builder_db, &["user-add", "-d", &data, "bob"], "pw");
    assert!(String::from_utf8_lossy(&restricted.stdout).contains("the jobs on its access list"));
    assert_eq!(
        upload(&process, ("bob", "pw"), &build("hello", 3).exec()).status,
        403
    );
    let db = ["db", "user-add", "-d", &data];
    let with = |name| [&db[..], &[name]].concat();
    refuses(&with("alice"), "pw\n", &["there is a user alice already"]);
    refuses(&with("a:b"), "pw\n", &["cannot be used to log in"]);
    refuses(&with(""), "pw\n", &["cannot be used to log in"]);
    refuses(&with("carol"), "", &["the password is empty"]);
    refuses(&with("carol"), "\n", &["the password is empty"]);
    refuses(&with("carol"), &"x".repeat(1025), &["more than 1024 bytes"]);
    refuses(
        &[&db[..], &["--scrypt-n", "1000", "carol"]].concat(),
        "pw\n",
        &["no power of two"],
    );
    assert_eq!(
        upload(&process, ("carol", "pw"), &build("hello", 4).exec()).status,
        401
    );
}

#[test]
fn options_of_the_ocaml_server_are_accepted_with_a_word_on_what_became_of_them() {
    let (_holder, data) = directory();
    migrate(&data);
    let legacy = [
        "--cachedir",
        "/old",
        "--run-batch-viz",
        "--expired-jobs",
        "0",
        "-h",
        "127.0.0.2",
        "-vv",
        "--color=never",
        "--logs=caqti:debug",
    ];
    let process = Process::serve(Path::new(&data), &legacy);
    assert_eq!(
        process.address.ip().to_string(),
        "127.0.0.2",
        "-h is --host"
    );
    let log = process.log();
    for warned in [
        "--cachedir /old is ignored",
        "--run-batch-viz is ignored",
        "--logs is ignored for caqti",
    ] {
        assert!(log.contains(warned), "{warned} in {log}");
    }
    assert_eq!(
        log.matches("WARN").count(),
        4,
        "and the configuration: {log}"
    );
    assert_eq!(exchange(process.address, "GET", "/", &[], b"").status, 200);
    wait_until("-vv is debug", || process.log().contains("DEBUG"));
}

#[test]
fn the_ocaml_servers_options_for_the_log_say_how_much_is_logged() {
    let (_holder, data) = directory();
    migrate(&data);
    // Refused after the log has begun, and the warnings of the start.
    let said = |arguments: &[&str]| {
        let nowhere = ["-d", &data, "--site-logo", "/nonexistent"];
        let arguments = [&nowhere[..], &["--cachedir", "x"], arguments].concat();
        let output = call(BUILDER_WEB, &arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&["-v"]).contains("--cachedir x is ignored"));
    assert!(!said(&["-q"]).contains("--cachedir x is ignored"));
    assert!(!said(&["-l", "*:error"]).contains("--cachedir x is ignored"));
    let beside = said(&["--quiet", "--log-level", "info"]);
    assert!(
        beside.contains("are ignored beside --log-level"),
        "{beside}"
    );
    refuses(
        &["-d", &data, "--verbosity=loud"],
        "",
        &["none of quiet, error"],
    );
}

#[test]
fn what_makes_no_sense_on_the_command_line_is_status_2() {
    let (_holder, data) = directory();
    migrate(&data);
    for arguments in [
        vec!["--no-such-option"],
        vec!["serve", "-p", "70000"],
        vec!["-h", "not an address"],
        vec!["db", "no-such-command"],
        vec!["serve", "-d", &data, "--log-level", "no=such=level"],
    ] {
        refuses(&arguments, "", &[]);
    }
    let help = call(BUILDER_WEB, &["--help"], "");
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.status.success() && text.contains("--expired-jobs") && !text.contains("--cachedir"),
        "{text}"
    );
    let version = call(BUILDER_WEB, &["--version"], "");
    assert!(version.status.success() && version.stdout.starts_with(b"builder-web "));
}

#[test]
fn a_port_that_is_taken_is_told() {
    let (_holder, data) = directory();
    migrate(&data);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = call(BUILDER_WEB, &["-d", &data, "-p", &port], "");
    let said = String::from_utf8_lossy(&output.stderr);
    // Who has it may be about to end.
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot listen on 127.0.0.1") && said.contains(&port),
        "{said}"
    );
}

#[test]
fn a_server_that_is_told_to_stop_finishes_what_has_begun() {
    let (_holder, data) = directory();
    migrate(&data);
    add_user(&data, "builder", "pw");
    let mut process = Process::serve(Path::new(&data), &[]);
    let exec = build("hello", 1).file("bin/x", noise(300_000)).exec();
    let (length, authorization) = (exec.len().to_string(), basic(("builder", "pw")));
    let headers = [
        ("content-length", length.as_str()),
        ("authorization", authorization.as_str()),
    ];
    let mut slow = connect(process.address);
    slow.write_all(head("POST", "/upload", &headers).as_bytes())
        .unwrap();
    slow.write_all(&exec[..100_000]).unwrap();
    // It is under way when something of it is staged.
    let staging = Path::new(&data).join("_staging");
    wait_until("the upload begins", || {
        std::fs::read_dir(&staging).unwrap().count() > 0
    });
    process.terminate();
    wait_until("nobody else is let in", || {
        TcpStream::connect(process.address).is_err()
    });
    slow.write_all(&exec[100_000..]).unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer, false).status, 201);
    assert!(process.wait().success());
    wait_until("it says so", || process.log().contains("stopped"));
    let again = Process::serve(Path::new(&data), &[]);
    let target = format!("{}/f/bin/x", build("hello", 1).url());
    assert!(exchange(again.address, "GET", &target, &[], b"").body == noise(300_000));
}

#[test]
fn an_idle_server_stops_at_once() {
    let (_holder, data) = directory();
    migrate(&data);
    let mut process = Process::serve(Path::new(&data), &[]);
    // A connection that is kept open and asks for nothing does not hold it up.
    let mut idle = connect(process.address);
    idle.write_all(head("GET", "/", &[]).as_bytes()).unwrap();
    let mut some = [0; 12];
    idle.read_exact(&mut some).unwrap();
    assert_eq!(&some, b"HTTP/1.1 200");
    let begin = std::time::Instant::now();
    process.terminate();
    assert!(process.wait().success());
    assert!(begin.elapsed() < std::time::Duration::from_secs(10));
}

#[test]
fn the_log_can_be_json_and_holds_no_password() {
    let (_holder, data) = directory();
    migrate(&data);
    add_user(&data, "builder", "secretpassword");
    let process = Process::serve(Path::new(&data), &["--log-json", "--log-level", "trace"]);
    assert_eq!(
        upload(
            &process,
            ("builder", "secretpassword"),
            &build("hello", 1).exec()
        )
        .status,
        201
    );
    assert_eq!(
        upload(
            &process,
            ("builder", "wrongpassword"),
            &build("hello", 2).exec()
        )
        .status,
        401
    );
    wait_until("both are logged", || {
        process.log().contains("refused a log-in")
    });
    let log = process.log();
    for line in log.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "{line}"
        );
    }
    for secret in [
        "secretpassword",
        "wrongpassword",
        &basic(("builder", "secretpassword"))[6..],
    ] {
        assert!(!log.contains(secret), "{secret}");
    }
    assert!(log.contains("stored build"));
}
