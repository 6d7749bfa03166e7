//! What is left when a migration is killed, and that the next run brings it to its end.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use builder_store::migrations::{self, Goal};

use crate::migrations::{assert_same, picture, run_with};
use crate::migrations_made_here::{by_hand, v14};

/// Kills of one run of the test; BUILDER_WEB_KILLS says another number.
const KILLS: u64 = 48;

/// Not a test: what is killed. Set for it: the directory, the goal, and, for a kill from inside,
/// the number of the event.
#[test]
fn child() {
    let Some(directory) = std::env::var_os("MIGRATE_CHILD") else {
        return;
    };
    let goal = match std::env::var("MIGRATE_GOAL").unwrap().as_str() {
        "up" => Goal::Up(18),
        _ => Goal::Down(14),
    };
    let last: u64 = std::env::var("MIGRATE_EVENTS").unwrap().parse().unwrap();
    let mut events = 0;
    run_with(Path::new(&directory), goal, &by_hand(), &mut |_| {
        events += 1;
        if events == last {
            kill_self();
        }
    })
    .unwrap();
}

fn kill_self() {
    let pid = std::process::id().to_string();
    Command::new("kill").args(["-KILL", &pid]).status().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

fn start_child(directory: &Path, goal: &str, events: u64) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "migrations_killed::child", "--nocapture"])
        .env("MIGRATE_CHILD", directory)
        .env("MIGRATE_GOAL", goal)
        .env("MIGRATE_EVENTS", events.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// xorshift: the same numbers every time.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn whenever_it_is_killed_the_next_run_brings_it_where_it_should_be() {
    let kills: u64 = std::env::var("BUILDER_WEB_KILLS")
        .ok()
        .map_or(KILLS, |kills| kills.parse().unwrap());
    // What it comes to without kills, and how long and how many events that takes.
    let whole = v14();
    let at = whole.path();
    let mut events = BTreeMap::new();
    let mut expected = BTreeMap::new();
    let mut took = BTreeMap::new();
    for (name, goal) in [
        ("up", Goal::Up(18)),
        ("down", Goal::Down(14)),
        ("up", Goal::Up(18)),
    ] {
        let mut count = 0_u64;
        let begin = Instant::now();
        run_with(at, goal, &by_hand(), &mut |_| count += 1).unwrap();
        events.insert(name, count);
        expected.insert(name, picture(at));
        // Nothing is left to do for it.
        assert!(start_child(at, name, 0).wait().unwrap().success());
        took.insert(name, begin.elapsed());
    }
    let mut random = 0x9E37_79B9_7F4A_7C15;
    let (mut killed, mut left, mut tries) = (0, 0, 0);
    let directory = v14();
    let at = directory.path();
    run_with(at, Goal::Up(18), &by_hand(), &mut |_| {}).unwrap();
    while killed < kills {
        for (name, goal) in [("down", Goal::Down(14)), ("up", Goal::Up(18))] {
            // One, two or three kills before it may finish.
            for _ in 0..1 + next_random(&mut random) % 3 {
                tries += 1;
                assert!(
                    tries < 40 + kills * 20,
                    "the child is never there to be killed"
                );
                let inside = next_random(&mut random).is_multiple_of(2);
                let status = if inside {
                    let last = 1 + next_random(&mut random) % events[name];
                    start_child(at, name, last).wait().unwrap()
                } else {
                    let mut child = start_child(at, name, 0);
                    let most = u64::try_from(took[name].as_micros()).unwrap();
                    std::thread::sleep(Duration::from_micros(next_random(&mut random) % most));
                    child.kill().unwrap();
                    child.wait().unwrap()
                };
                killed += u64::from(status.signal() == Some(9));
                left += u64::from(at.join("builder.sqlite3-migration").exists());
            }
            run_with(at, goal, &by_hand(), &mut |_| {}).unwrap();
            assert_same(&picture(at), &expected[name]);
            assert_eq!(migrations::status(at).unwrap().interrupted, None);
        }
    }
    println!("{killed} kills, {left} of them while files moved");
    assert!(left > 0);
}
