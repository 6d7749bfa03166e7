//! Faults at each step of an upload: of the first step of a kind, of the second, and so on until
//! an upload has no more of them.

use builder_store::{Store, builds};

use crate::build::{Build, build, noise};
use crate::carry::{db, is_verified};
use crate::program::Process;
use crate::server::{Answer, BUILDER, basic, exchange};
use crate::whole::{self, is_whole};

use super::acts::each_build_is_on_record;
use super::machine::{Fault, Machine, errno, kind};

/// More than any upload has of one kind of steps.
const STEPS_MAX: i64 = 400;
/// Once it has begun, it stays.
const FOR_GOOD: i64 = i64::MAX / 2;
/// Whatever puts something on a disk.
const WRITES: i64 = kind::OPEN_TO_WRITE | kind::MAKE_DIRECTORY | kind::WRITE | kind::RESIZE;

/// A build with artifacts of its own and one that all of them share, in a job of its own.
pub(crate) fn numbered(number: u128) -> Build {
    build(&format!("job-{number}"), number)
        .later(i64::try_from(number).unwrap())
        .input("i")
        .file("bin/x", noise(20_000 + usize::try_from(number).unwrap()))
        .file("shared", noise(10_000))
}

pub(crate) fn upload(process: &Process, build: &Build) -> Answer {
    let exec = build.exec();
    let (length, user) = (exec.len().to_string(), basic(BUILDER));
    let headers = [("content-length", &*length), ("authorization", &*user)];
    exchange(process.address, "POST", "/upload", &headers, &exec)
}

pub(crate) fn get(process: &Process, target: &str) -> Answer {
    exchange(process.address, "GET", target, &[], b"")
}

/// A build is there with all that belongs to it, or nothing of it is.
#[track_caller]
pub(crate) fn is_whole_or_absent(process: &Process, build: &Build, kept: bool) {
    let is_there = |below: &str| get(process, &format!("{}{below}", build.url()));
    let statuses = |status: u16| assert_eq!(status, if kept { 200 } else { 404 });
    statuses(is_there("").status);
    for (below, text) in [
        ("/console", whole::console(build)),
        ("/script", build.script.clone()),
    ] {
        let answer = is_there(below);
        statuses(answer.status);
        assert!(!kept || answer.body == text, "{below}: {}", answer.text());
    }
    for (path, content) in &build.files {
        let path = std::str::from_utf8(path).unwrap();
        let answer = is_there(&format!("/f/{path}"));
        statuses(answer.status);
        assert!(!kept || answer.body == *content, "{path}");
    }
}

/// Every file belongs to a build, and is what it should be.
#[track_caller]
pub(crate) fn is_clean(machine: &Machine) {
    let datadir = machine.datadir().to_str().unwrap();
    db(0, &["verify-data-dir", "-d", datadir]);
    nothing_is_staged(machine);
}

#[track_caller]
fn nothing_is_staged(machine: &Machine) {
    let staging = std::fs::read_dir(machine.datadir().join("_staging")).unwrap();
    assert_eq!(staging.count(), 0);
}

/// The same while a server runs, at a moment when it takes in nothing; and every build is there.
#[track_caller]
fn all_are_kept(machine: &Machine, process: &Process, kept: &[Build]) {
    let store = Store::open_beside(machine.datadir()).unwrap();
    is_verified(&store);
    each_build_is_on_record(&store);
    nothing_is_staged(machine);
    // The newest may be half there; those before were looked at when they were it.
    for build in kept.iter().rev().take(2) {
        assert!(is_whole(&store, build), "{}", build.url());
    }
    let gone = store.read(|tx| {
        let mut gone = Vec::new();
        for build in kept {
            if !builds::exists(tx, build.uuid)? {
                gone.push(build.url());
            }
        }
        Ok(gone)
    });
    assert_eq!(gone.unwrap(), Vec::<String>::new());
    if let Some(build) = kept.last() {
        assert_eq!(get(process, &build.url()).status, 200, "{}", build.url());
    }
}

/// What happens to the server after a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoesOn,
    IsKilled,
}

/// Lets each step of an upload fail, one after the other; how many there were.
fn at_each_step(fault: Fault, then: Then) -> i64 {
    let machine = Machine::new();
    let serve = || machine.serve(&["--log-level", "warn,builder_web::cli=info"]);
    let mut process = serve();
    // What is made once is there.
    let first = numbered(1);
    assert_eq!(upload(&process, &first).status, 201);
    let mut refused = 0;
    let mut all = vec![first];
    for step in 1..STEPS_MAX {
        let build = numbered(1000 + u128::try_from(step).unwrap());
        let what = format!("{fault:?} from step {step} on");
        machine.fail(fault, step);
        let answer = upload(&process, &build);
        assert!(
            [201, 500, 503, 507].contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        let mut kept = answer.status == 201;
        if then == Then::IsKilled {
            process.kill();
        }
        let failed = machine.mend();
        if then == Then::IsKilled {
            process = serve();
            // Killed before it was answered, it may be there: as a whole.
            kept = get(&process, &build.url()).status == 200 || kept;
        }
        is_whole_or_absent(&process, &build, kept);
        // The client tries again, and the server goes on.
        let again = upload(&process, &build);
        let expected = if kept { 409 } else { 201 };
        assert_eq!(again.status, expected, "{what}: {}", process.log());
        is_whole_or_absent(&process, &build, true);
        all.push(build);
        all_are_kept(&machine, &process, &all);
        assert!(!process.log().contains("panicked"), "{}", process.log());
        refused += i64::from(answer.status != 201);
        if failed == 0 {
            assert!(refused > 0 && kept, "{fault:?} never hurt");
            for build in &all {
                is_whole_or_absent(&process, build, true);
            }
            is_clean(&machine);
            println!("{fault:?}: {} steps, {refused} refused", step - 1);
            return step - 1;
        }
    }
    panic!("{fault:?}: more steps than {STEPS_MAX}");
}

fn once(kinds: i64, error: i64) -> Fault {
    Fault {
        kinds,
        error,
        count: 1,
    }
}

fn for_good(kinds: i64, error: i64) -> Fault {
    Fault {
        kinds,
        error,
        count: FOR_GOOD,
    }
}

#[test]
fn a_sync_that_fails_at_any_step_of_an_upload_loses_nothing() {
    let steps = at_each_step(once(kind::SYNC, errno::EIO), Then::GoesOn);
    assert!(steps >= 10, "{steps}");
    at_each_step(for_good(kind::SYNC, errno::EIO), Then::GoesOn);
}

#[test]
fn a_server_that_is_killed_after_a_failed_sync_finds_no_build_half_there() {
    at_each_step(once(kind::SYNC, errno::EIO), Then::IsKilled);
    at_each_step(for_good(kind::SYNC, errno::EIO), Then::IsKilled);
}

#[test]
fn a_server_that_is_killed_when_the_disk_is_full_finds_no_build_half_there() {
    at_each_step(for_good(WRITES, errno::ENOSPC), Then::IsKilled);
}

#[test]
fn a_server_that_is_killed_after_a_failed_rename_finds_no_build_half_there() {
    at_each_step(once(kind::RENAME, errno::EIO), Then::IsKilled);
}

#[test]
fn a_server_that_is_killed_on_a_read_only_disk_finds_no_build_half_there() {
    let kinds = WRITES | kind::RENAME | kind::REMOVE;
    at_each_step(for_good(kinds, errno::EROFS), Then::IsKilled);
}

/// What an upload by hand is of: its build is named by the server.
pub(crate) fn by_hand(process: &Process, number: i64) -> Answer {
    let user = basic(BUILDER);
    let content = noise(20_000 + usize::try_from(number).unwrap());
    let length = content.len().to_string();
    let headers = [("authorization", &*user), ("content-length", &*length)];
    let target = format!("/job/by-hand-{number}/platform/p/upload?binary_name=x");
    exchange(process.address, "POST", &target, &headers, &content)
}

#[test]
fn an_upload_by_hand_is_whole_or_absent_whatever_fails() {
    for fault in [
        for_good(WRITES, errno::ENOSPC),
        once(kind::SYNC, errno::EIO),
        once(kind::RENAME, errno::EIO),
    ] {
        let machine = Machine::new();
        let process = machine.serve(&["--expired-jobs", "0"]);
        assert_eq!(by_hand(&process, 0).status, 201);
        let mut refused = 0;
        let steps = (1..STEPS_MAX).find(|step| {
            machine.fail(fault, *step);
            let answer = by_hand(&process, *step);
            let failed = machine.mend();
            let job = get(&process, &format!("/job/by-hand-{step}"));
            let status = if answer.status == 201 { 200 } else { 404 };
            assert_eq!(job.status, status, "{fault:?} {step}: {}", answer.text());
            refused += i64::from(status == 404);
            // The next one sweeps what could not be taken back.
            assert_eq!(by_hand(&process, -*step + STEPS_MAX * 2).status, 201);
            all_are_kept(&machine, &process, &[]);
            failed == 0
        });
        assert!(steps.is_some() && refused > 0, "{fault:?}");
        is_clean(&machine);
    }
}

/// Whether the build, the first one, is there and every kind of page is shown.
fn shows(process: &Process, build: &Build) {
    is_whole_or_absent(process, build, true);
    for target in [
        "/",
        "/job/job-1",
        "/failed-builds",
        "/search?q=job",
        "/feed.atom",
        "/readyz",
    ] {
        let answer = get(process, target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
}

#[test]
fn what_is_kept_is_shown_while_the_disk_is_full_or_read_only() {
    let machine = Machine::new();
    let process = machine.serve(&["--expired-jobs", "0"]);
    let build = numbered(1);
    assert_eq!(upload(&process, &build).status, 201);
    for error in [errno::ENOSPC, errno::EROFS] {
        let kinds = WRITES | kind::RENAME | kind::REMOVE | kind::SYNC;
        machine.fail(for_good(kinds, error), 1);
        shows(&process, &build);
        let refused = upload(&process, &numbered(2));
        assert!(
            [500, 503, 507].contains(&refused.status),
            "{}",
            refused.status
        );
        machine.mend();
    }
    assert_eq!(upload(&process, &numbered(2)).status, 201);
    is_clean(&machine);
}

#[test]
fn a_server_that_starts_on_a_full_disk_shows_what_is_kept_and_takes_builds_once_there_is_room() {
    let machine = Machine::new();
    let mut process = machine.serve(&["--expired-jobs", "0"]);
    let build = numbered(1);
    assert_eq!(upload(&process, &build).status, 201);
    // As after a loss of power; an upload was interrupted, and its intent cannot be read.
    process.kill();
    let left = machine.datadir().join("_staging/1.1/intent");
    std::fs::create_dir_all(&left).unwrap();
    machine.fail(
        for_good(kind::GROW | kind::MAKE_DIRECTORY, errno::ENOSPC),
        1,
    );
    let process = machine.serve(&["--expired-jobs", "0"]);
    assert!(process.log().contains("what interrupted uploads left"));
    shows(&process, &build);
    let refused = upload(&process, &numbered(2));
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert!(machine.mend() > 0);
    std::fs::remove_dir(&left).unwrap();
    assert_eq!(upload(&process, &numbered(2)).status, 201);
    is_whole_or_absent(&process, &build, true);
    is_clean(&machine);
}

#[test]
fn a_disk_without_room_for_what_sqlite_needs_to_read_is_told() {
    let machine = Machine::new();
    // Stopped, it has given that back.
    let mut process = machine.serve(&[]);
    process.terminate();
    assert!(process.wait().success());
    machine.fail(for_good(kind::GROW, errno::ENOSPC), 1);
    let datadir = machine.datadir().to_str().unwrap();
    let output = machine.try_run(&["db", "verify-data-dir", "-d", datadir]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is so full that"), "{said}");
    assert!(machine.mend() > 0);
    is_clean(&machine);
}

#[test]
fn calls_that_do_some_of_what_they_are_asked_for_lose_nothing() {
    let machine = Machine::new();
    let process = machine.serve(&["--expired-jobs", "0"]);
    let some = for_good(kind::WRITE | kind::READ, errno::NONE);
    machine.fail(some, 1);
    let build = numbered(1);
    assert_eq!(upload(&process, &build).status, 201);
    assert_eq!(by_hand(&process, 2).status, 201);
    is_whole_or_absent(&process, &build, true);
    let halved = machine.mend();
    assert!(halved > 100, "{halved}");
    all_are_kept(&machine, &process, &[build]);
    is_clean(&machine);
}

#[test]
fn a_rename_or_removal_that_fails_at_any_step_of_an_upload_loses_nothing() {
    let steps = at_each_step(once(kind::RENAME, errno::EIO), Then::GoesOn);
    assert!(steps >= 5, "{steps}");
    at_each_step(
        for_good(kind::RENAME | kind::REMOVE, errno::EIO),
        Then::GoesOn,
    );
}

#[test]
fn a_file_that_cannot_be_opened_at_any_step_of_an_upload_loses_nothing() {
    let opens = kind::OPEN_TO_READ | kind::OPEN_TO_WRITE | kind::MAKE_DIRECTORY;
    let steps = at_each_step(once(opens, errno::EMFILE), Then::GoesOn);
    assert!(steps >= 10, "{steps}");
    at_each_step(for_good(opens, errno::EMFILE), Then::GoesOn);
}

#[test]
fn a_read_or_write_that_fails_at_any_step_of_an_upload_loses_nothing() {
    let steps = at_each_step(once(kind::WRITE | kind::RESIZE, errno::EIO), Then::GoesOn);
    assert!(steps >= 10, "{steps}");
    at_each_step(once(kind::READ, errno::EIO), Then::GoesOn);
}

#[test]
fn a_disk_that_is_full_from_any_step_of_an_upload_on_loses_nothing() {
    let steps = at_each_step(for_good(WRITES, errno::ENOSPC), Then::GoesOn);
    assert!(steps >= 20, "{steps}");
}

#[test]
fn a_disk_that_is_read_only_from_any_step_of_an_upload_on_loses_nothing() {
    let kinds = WRITES | kind::RENAME | kind::REMOVE;
    let steps = at_each_step(for_good(kinds, errno::EROFS), Then::GoesOn);
    assert!(steps >= 25, "{steps}");
}
