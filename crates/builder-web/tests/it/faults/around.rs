//! What else a machine does to a server: its clock goes back, its database is locked.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::server::{BUILDER, basic, exchange, wait_until};

use super::machine::Machine;
use super::uploads::{get, is_clean, is_whole_or_absent, numbered, upload};

/// Another process that has begun to write to the database, until this is dropped.
struct Lock(Child);

impl Lock {
    fn hold(machine: &Machine, database: &str) -> Lock {
        // Not before the server has kept what it does in the background.
        let mut child = Command::new("sqlite3")
            .args(["-bail", "-cmd", ".timeout 20000"])
            .arg(machine.datadir().join(database))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.as_mut().unwrap();
        input
            .write_all(b"BEGIN IMMEDIATE;\nSELECT 'held';\n")
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "held\n");
        Lock(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn a_database_that_others_lock_is_waited_for_and_then_the_client_is_told_to_come_again() {
    let machine = Machine::new();
    let process = machine.serve(&[]);
    let mut kept = vec![numbered(1)];
    assert_eq!(upload(&process, &kept[0]).status, 201);
    // That of the OCaml server, and both of ours.
    let databases = [
        "builder.sqlite3",
        "builder-web-record.sqlite3",
        "builder-web.sqlite3",
    ];
    for (number, database) in (2..).zip(databases) {
        let build = numbered(number);
        let lock = Lock::hold(&machine, database);
        for build in &kept {
            is_whole_or_absent(&process, build, true);
        }
        machine.be_impatient(true);
        let answer = upload(&process, &build);
        machine.be_impatient(false);
        assert_eq!(answer.status, 503, "{database}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("10"));
        assert_eq!(
            answer.text(),
            "another process has locked the database; try again in 10 s\n"
        );
        is_whole_or_absent(&process, &build, false);
        wait_until("nobody is to send uploads here", || {
            ready(&process).0 == 503
        });
        assert_eq!(
            ready(&process).1,
            "another process has locked the database: uploads are refused"
        );
        assert_eq!(get(&process, "/readyz").status, 200);
        // One that ends in time is not noticed.
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| upload(&process, &build));
            std::thread::sleep(Duration::from_millis(300));
            assert!(!waits.is_finished(), "{database}");
            drop(lock);
            assert_eq!(waits.join().unwrap().status, 201, "{database}");
        });
        is_whole_or_absent(&process, &build, true);
        assert_eq!(ready(&process).0, 200, "{database}");
        kept.push(build);
    }
    is_clean(&machine);
}

/// Whether it can take uploads, and why not.
fn ready(process: &crate::program::Process) -> (u16, String) {
    let accept = [("accept", "application/json")];
    let answer = exchange(process.address, "GET", "/readyz?for=uploads", &accept, b"");
    let why = match answer.status {
        200 => String::new(),
        _ => answer.json()["error"].as_str().unwrap().to_owned(),
    };
    (answer.status, why)
}

/// Nobody has to upload for it to be seen.
#[test]
fn a_database_that_others_lock_is_seen_by_who_asks_whether_uploads_are_taken() {
    let machine = Machine::new();
    let process = machine.serve(&[]);
    assert_eq!(ready(&process).0, 200);
    let lock = Lock::hold(&machine, "builder.sqlite3");
    wait_until("nobody is to send uploads here", || {
        ready(&process).0 == 503
    });
    drop(lock);
    wait_until("uploads are taken again", || ready(&process).0 == 200);
}

/// One binary, whose build has the time of the server.
fn upload_by_hand(process: &crate::program::Process, number: u128) -> u16 {
    let user = basic(BUILDER);
    let content = format!("binary {number}");
    let length = content.len().to_string();
    let headers = [("authorization", &*user), ("content-length", &*length)];
    let target = format!("/job/by-hand/platform/p/upload?binary_name=x{number}");
    exchange(
        process.address,
        "POST",
        &target,
        &headers,
        content.as_bytes(),
    )
    .status
}

#[test]
fn a_clock_that_goes_back_or_ahead_changes_nothing_of_what_is_kept() {
    const DAY: i64 = 24 * 60 * 60;
    let machine = Machine::new();
    let mut process = machine.serve(&["--expired-jobs", "0"]);
    #[expect(
        clippy::disallowed_methods,
        reason = "what the clock of this machine says"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let to_the_epoch = 60 - i64::try_from(now.as_secs()).unwrap();
    let offsets = [
        0,
        -3600,
        -DAY,
        0,
        -3650 * DAY,
        to_the_epoch,
        36_500 * DAY,
        0,
    ];
    for (number, offset) in (1..).zip(offsets) {
        machine.turn_clock(offset);
        assert_eq!(upload(&process, &numbered(number)).status, 201, "{offset}");
        assert_eq!(upload_by_hand(&process, number), 201, "{offset}");
        for target in [
            "/",
            "/all-builds",
            "/job/by-hand",
            "/failed-builds",
            "/feed.atom",
            "/job/by-hand/feed.atom",
            "/search?q=by-hand",
            "/api/v1/builds",
            "/readyz",
        ] {
            let answer = get(&process, target);
            assert_eq!(
                answer.status,
                200,
                "{target} at {offset}: {}",
                answer.text()
            );
        }
        for number in 1..=number {
            is_whole_or_absent(&process, &numbered(number), true);
        }
        let log = process.log();
        assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
        if offset < -DAY {
            // Also from the start.
            process.kill();
            process = machine.serve(&["--expired-jobs", "0"]);
        }
    }
    is_clean(&machine);
}
