//! A program that is killed at each step of what it does, one after the other: what was done is in the
//! audit record, once, and what was not done is not.

use std::collections::BTreeMap;

use builder_store::record::audit::{self, Filter};
use builder_store::{Store, access, builds, users};

use crate::build::Build;
use crate::carry::write_all;
use crate::crashes::try_upload;
use crate::server::BUILDER;
use crate::whole::is_whole;

use super::machine::{Fault, Machine, errno, kind};
use super::uploads::numbered;

/// More than any act has.
const STEPS_MAX: i64 = 400;

fn killed() -> Fault {
    Fault {
        kinds: kind::WRITE | kind::SYNC | kind::RENAME | kind::REMOVE,
        error: errno::KILLED,
        count: 1,
    }
}

/// How often each thing was done to a subject, as the audit record has it.
pub(crate) fn on_record(store: &Store, action: &str) -> BTreeMap<String, usize> {
    let filter = Filter {
        action: Some(action),
        outcome: Some("done"),
        ..Filter::default()
    };
    let mut all = BTreeMap::new();
    for entry in store
        .read(|tx| audit::newest(tx, &filter, 100_000))
        .unwrap()
    {
        *all.entry(entry.subject).or_default() += 1;
    }
    all
}

/// Each build that is there has one entry of its upload, and none that is not there has one.
#[track_caller]
pub(crate) fn each_build_is_on_record(store: &Store) {
    let names = store.read(|tx| builds::names(tx, None)).unwrap();
    let mut there = BTreeMap::new();
    for (job, uuid) in names {
        there.insert(format!("{job}/{uuid}"), 1);
    }
    assert_eq!(on_record(store, "upload"), there);
}

#[test]
fn an_upload_whose_server_is_killed_at_any_step_is_on_record_when_its_build_is_there() {
    let machine = Machine::new();
    let (mut kept, mut lost) = (0, 0);
    for step in 1..STEPS_MAX {
        let build = numbered(u128::try_from(step).unwrap());
        let mut process = machine.serve(&["--expired-jobs", "0"]);
        machine.fail(killed(), step);
        let answered = try_upload(process.address, &build);
        let was_killed = machine.mend() > 0;
        if was_killed {
            process.wait();
        } else {
            process.kill();
        }
        let store = Store::open(machine.datadir()).unwrap();
        let is_there = is_whole(&store, &build);
        assert!(is_there || !answered, "step {step}");
        each_build_is_on_record(&store);
        match is_there {
            true => kept += 1,
            false => lost += 1,
        }
        if !was_killed {
            println!("{step} steps; {kept} kept, {lost} lost");
            assert!(kept > 2 && lost > 10, "{kept} kept, {lost} lost");
            return;
        }
    }
    panic!("more steps than {STEPS_MAX}");
}

/// A command, what the audit record calls that, and what takes it back.
struct Act<'a> {
    command: &'a [&'a str],
    action: &'a str,
    subject: &'a str,
    is_done: &'a dyn Fn(&Store) -> bool,
    back: &'a [&'a str],
}

/// Kills the command at each of its steps; how often it had done its work.
fn kill_at_each_step(machine: &Machine, act: &Act<'_>) -> usize {
    let datadir = machine.datadir().to_str().unwrap();
    let whole = |command: &[&str]| [&["db"], command, &["-d", datadir]].concat().join(" ");
    let (command, back) = (whole(act.command), whole(act.back));
    let run = |line: &str| machine.try_run(&line.split(' ').collect::<Vec<_>>());
    let noted = |store: &Store| on_record(store, act.action).get(act.subject).copied();
    let before = noted(&Store::open_beside(machine.datadir()).unwrap()).unwrap_or_default();
    let mut done = 0;
    for step in 1..STEPS_MAX {
        machine.fail(killed(), step);
        let output = run(&command);
        let was_killed = machine.mend() > 0;
        assert!(was_killed || output.status.success(), "{output:?}");
        let store = Store::open_beside(machine.datadir()).unwrap();
        let is_done = (act.is_done)(&store);
        done += usize::from(is_done);
        let noted = noted(&store).unwrap_or_default();
        assert_eq!(noted, before + done, "{command}, killed at step {step}");
        drop(store);
        if is_done {
            let output = run(&back);
            assert!(output.status.success(), "{output:?}");
        }
        if !was_killed {
            println!("{command}: {step} steps, done after {done} of them");
            return done;
        }
    }
    panic!("{command}: more steps than {STEPS_MAX}");
}

#[test]
fn a_command_that_is_killed_at_any_step_is_on_record_when_it_took_place() {
    let machine = Machine::new();
    let builds = tempfile::tempdir().unwrap();
    let build = numbered(1);
    write_all(builds.path(), std::slice::from_ref(&build));
    let import = [
        "import",
        "--user",
        BUILDER.0,
        builds.path().to_str().unwrap(),
    ];
    let datadir = machine.datadir().to_str().unwrap();
    machine.run(&[&["db"], &import[..], &["-d", datadir]].concat());
    let bob = |store: &Store| store.read(|tx| users::by_name(tx, "bob")).unwrap();
    let access = |store: &Store| store.read(|tx| access::all(tx, Some("bob"))).unwrap();
    let subject = format!("job-1/{}", build.uuid);
    let user_add = ["user-add", "--scrypt-n", "16", "bob"];
    let acts = [
        Act {
            command: &user_add,
            action: "user-add",
            subject: "bob",
            is_done: &|store| bob(store).is_some(),
            back: &["user-remove", "bob"],
        },
        Act {
            command: &["job-remove", "job-1"],
            action: "build-remove",
            subject: &subject,
            is_done: &|store| !store.read(|tx| builds::exists(tx, build.uuid)).unwrap(),
            back: &import,
        },
    ];
    for act in &acts {
        assert!(kill_at_each_step(&machine, act) > 1, "{}", act.action);
    }
    machine.run(&[&["db"], &user_add[..], &["-d", datadir]].concat());
    let acts = [
        Act {
            command: &["access-add", "bob", "job-1"],
            action: "access-add",
            subject: "bob",
            is_done: &|store| !access(store).is_empty(),
            back: &["access-remove", "bob", "job-1"],
        },
        Act {
            command: &["user-disable", "bob"],
            action: "user-disable",
            subject: "bob",
            is_done: &|store| bob(store).unwrap().is_disabled(),
            back: &["user-update", "--scrypt-n", "16", "bob"],
        },
    ];
    machine.run(&[&["db"], &import[..], &["-d", datadir]].concat());
    for act in &acts {
        assert!(kill_at_each_step(&machine, act) > 1, "{}", act.action);
    }
}

fn whole<'a>(arguments: &[&'a str], datadir: &'a str) -> Vec<&'a str> {
    [&["db"], arguments, &["-d", datadir]].concat()
}

#[test]
fn on_a_full_disk_somebody_is_shut_out_and_a_vacuum_makes_room() {
    let machine = Machine::new();
    let datadir = machine.datadir().to_str().unwrap();
    machine.run(&whole(&["user-add", "--scrypt-n", "16", "bob"], datadir));
    machine.run(&whole(&["token-add", "--user", BUILDER.0, "ci"], datadir));
    let process = machine.serve(&["--expired-jobs", "0"]);
    for number in 1..4 {
        let build = Build {
            job: b"hello".to_vec(),
            ..numbered(number)
        };
        assert!(try_upload(process.address, &build));
    }
    let ballast = machine.datadir().join(builder_store::ballast::FILE);
    let held_ready = || std::fs::metadata(&ballast).map_or(0, |file| file.len());
    let full = Fault {
        kinds: kind::GROW,
        error: errno::ENOSPC,
        count: i64::MAX / 2,
    };
    for command in [
        &["user-disable", "bob"][..],
        &["token-revoke", "ci"],
        &["vacuum", "except-latest", "1"],
    ] {
        assert_eq!(held_ready(), builder_store::ballast::BYTES, "{command:?}");
        machine.fail(full, 1);
        let output = machine.try_run(&whole(command, datadir));
        assert!(machine.mend() > 0, "{command:?} met the full disk");
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("the disk is full: going on"), "{said}");
    }
    let store = Store::open_beside(machine.datadir()).unwrap();
    for action in ["user-disable", "token-revoke", "vacuum"] {
        assert_eq!(on_record(&store, action).values().sum::<usize>(), 1);
    }
    assert_eq!(on_record(&store, "build-remove").len(), 2);
    assert_eq!(store.read(|tx| builds::names(tx, None)).unwrap().len(), 1);
    // Where nothing is held ready it is said what to do.
    std::fs::remove_file(&ballast).unwrap();
    machine.fail(full, 1);
    let output = machine.try_run(&whole(&["user-remove", "bob"], datadir));
    assert!(machine.mend() > 0);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("free some MiB beside the data directory"),
        "{said}"
    );
}
