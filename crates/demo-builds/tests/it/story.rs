//! The story the builds tell together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use builder_exec::{ExecutionResult, Timestamp};

use crate::{Decoded, all, decode, now};

#[test]
fn the_same_time_gives_the_same_bytes() {
    for (left, right) in demo_builds::builds(now())
        .zip(demo_builds::builds(now()))
        .step_by(7)
    {
        assert_eq!(left.exec(), right.exec());
    }
}

#[test]
fn another_time_keeps_the_uuids_and_no_two_builds_share_one() {
    let later = Timestamp::from_civil(2031, 2, 3, 0, 10, 0).unwrap();
    let uuids: Vec<_> = demo_builds::builds(now())
        .map(|build| build.uuid())
        .collect();
    assert!(
        demo_builds::builds(later)
            .map(|build| build.uuid())
            .eq(uuids.iter().copied())
    );
    let distinct: BTreeSet<_> = uuids.iter().collect();
    assert_eq!(distinct.len(), uuids.len());
    assert!(!uuids.contains(&demo_builds::one_more(now(), 0).uuid()));
}

#[test]
fn builds_come_oldest_first_and_the_newest_has_just_finished() {
    for (hour, minute) in [(0, 3), (12, 0), (23, 59)] {
        let now = Timestamp::from_civil(2026, 1, 1, hour, minute, 0).unwrap();
        // Not all of them, so that three clocks are affordable.
        let builds: Vec<Decoded> = demo_builds::builds(now)
            .enumerate()
            .filter(|(index, _)| index % 9 == 0 || *index > 60)
            .map(|(_, build)| decode(&build))
            .collect();
        assert!(builds.is_sorted_by_key(|build| build.start));
        let newest = builds.last().unwrap();
        assert!(newest.finish < now && now.unix_seconds() - newest.finish.unix_seconds() < 600);
        assert!(
            builds
                .iter()
                .all(|build| build.start < build.finish && build.finish < now)
        );
    }
    let days = (now().unix_seconds() - all()[0].start.unix_seconds()) / 86_400;
    assert!((85..=90).contains(&days), "{days}");
    assert!(all().is_sorted_by_key(|build| build.start));
}

#[test]
fn there_are_some_sixty_builds_of_eight_jobs_on_several_platforms() {
    let jobs: BTreeSet<&str> = all().iter().map(|build| build.job.as_str()).collect();
    assert_eq!(jobs.len(), 8);
    assert!((58..=68).contains(&all().len()), "{}", all().len());
    let mut platforms: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for build in all() {
        platforms
            .entry(&build.job)
            .or_default()
            .insert(&build.platform);
    }
    assert_eq!(
        platforms["ferryman"],
        BTreeSet::from(["debian-12", "freebsd-14.2"])
    );
    assert_eq!(
        platforms["almanac"],
        BTreeSet::from(["debian-12", "debian-13"])
    );
    assert!(
        platforms
            .values()
            .filter(|platforms| platforms.len() > 1)
            .count()
            >= 4
    );
}

#[test]
fn all_artifacts_together_are_at_most_sixty_mebibytes() {
    let distinct: HashMap<&[u8], ()> = all()
        .iter()
        .flat_map(|build| &build.artifacts)
        .map(|(_, content)| (content.as_slice(), ()))
        .collect();
    let bytes: usize = distinct.keys().map(|content| content.len()).sum();
    assert!(bytes < 60 * 1024 * 1024, "{bytes}");
}

/// Pairs of successful builds of a job, the older first.
fn pairs() -> impl Iterator<Item = (&'static Decoded, &'static Decoded)> {
    all().iter().enumerate().flat_map(|(index, left)| {
        let later = all()[index + 1..]
            .iter()
            .filter(move |right| right.job == left.job);
        later
            .map(move |right| (left, right))
            .filter(|(left, right)| left.output().and(right.output()).is_some())
    })
}

#[test]
fn rebuilder_reproduces_what_builder_built() {
    let jobs: BTreeSet<&str> = pairs()
        .filter(|(left, right)| left.uploader != right.uploader && left.input_id().is_some())
        .filter(|(left, right)| {
            left.input_id() == right.input_id() && left.output() == right.output()
        })
        .map(|(left, _)| left.job.as_str())
        .collect();
    assert_eq!(
        jobs,
        BTreeSet::from(["ferryman", "lantern", "millrace", "sundial"])
    );
}

#[test]
fn the_same_input_gives_other_output_where_the_time_of_the_build_gets_in() {
    let jobs: Vec<&str> = pairs()
        .filter(|(left, right)| left.input_id().is_some() && left.input_id() == right.input_id())
        .filter(|(left, right)| left.output() != right.output())
        .map(|(left, _)| left.job.as_str())
        .collect();
    assert_eq!(jobs, ["lantern", "lantern", "lantern", "ferryman"]);
}

#[test]
fn lantern_stops_reproducing_and_does_so_again() {
    let lantern: Vec<&Decoded> = all()
        .iter()
        .filter(|build| build.job == "lantern")
        .collect();
    let shares_output = |build: &&Decoded| {
        lantern
            .iter()
            .filter(|other| other.output() == build.output())
            .count()
            > 1
    };
    let shares: Vec<bool> = lantern
        .iter()
        .filter(|build| build.output().is_some())
        .map(shares_output)
        .collect();
    let first_alone = shares.iter().position(|shared| !shared).unwrap();
    assert!(shares[..first_alone].len() >= 8);
    assert!(shares[shares.len() - 5..].iter().all(|shared| *shared));
}

#[test]
fn different_inputs_give_the_same_output_after_host_updates_and_on_another_platform() {
    let same_output = || {
        pairs().filter(|(left, right)| {
            left.output() == right.output() && left.input_id() != right.input_id()
        })
    };
    assert!(same_output().any(|(left, right)| left.platform == right.platform));
    assert!(same_output().any(|(left, right)| left.platform != right.platform));
}

#[test]
fn builds_end_in_every_way_and_their_consoles_say_why() {
    let count = |result: fn(&ExecutionResult) -> bool| {
        all().iter().filter(|build| result(&build.result)).count()
    };
    assert_eq!(count(|result| *result == ExecutionResult::Signalled(-7)), 2);
    assert_eq!(
        count(|result| matches!(result, ExecutionResult::Message(_))),
        2
    );
    assert_eq!(
        count(|result| matches!(result, ExecutionResult::Exited(code) if *code != 0)),
        7
    );
    for (code, says) in [
        (40, "Could not resolve host"),
        (31, "No space left on device"),
        (31, "an expression was expected of type"),
        (10, "Unable to locate package"),
        (10, "No packages available to install"),
        (1, "Operation timed out"),
    ] {
        let found = all().iter().any(|build| {
            build.result == ExecutionResult::Exited(code) && build.console_text().contains(says)
        });
        assert!(found, "{says}");
    }
    let killed = all()
        .iter()
        .find(|build| build.result == ExecutionResult::Signalled(-7))
        .unwrap();
    assert!(killed.console_text().contains("Out of memory"));
    let timed_out = ExecutionResult::Message(b"timeout: no result after 3600 seconds".to_vec());
    let timed_out = all()
        .iter()
        .find(|build| build.result == timed_out)
        .unwrap();
    assert!(timed_out.finish.unix_seconds() - timed_out.start.unix_seconds() >= 3600);
}

#[test]
fn failed_builds_have_no_main_binary_and_killed_ones_no_files() {
    let mut failed_with_switch = 0;
    for build in all() {
        match build.result {
            ExecutionResult::Exited(0) => assert!(build.main_binary().is_some()),
            ExecutionResult::Exited(_) => {
                assert!(build.main_binary().is_none());
                failed_with_switch += usize::from(build.artifact("opam-switch").is_some());
            }
            _ => assert!(build.artifacts.is_empty()),
        }
    }
    assert!(failed_with_switch >= 3);
}

#[test]
fn consoles_have_dozens_of_lines_in_time_order_some_of_them_in_colour() {
    for build in all() {
        assert!(
            (20..=400).contains(&build.console.len()),
            "{} {}",
            build.job,
            build.console.len()
        );
        assert!(
            build
                .console
                .is_sorted_by(|newer, older| newer.0 >= older.0)
        );
        let duration_s = build.finish.unix_seconds() - build.start.unix_seconds() + 1;
        assert!(build.console[0].0 / 1_000_000_000 <= duration_s);
        assert!(build.script.starts_with("#!/bin/sh\n"));
    }
    let coloured = all()
        .iter()
        .filter(|build| build.console_text().contains("\x1b[3"))
        .count();
    assert!(coloured > 20 && coloured < all().len());
}

#[test]
fn one_more_build_is_the_newest_and_its_output_is_new() {
    let more = decode(&demo_builds::one_more(now(), 0));
    let newest = all().last().unwrap();
    assert_eq!(more.job, newest.job);
    assert!(more.start > newest.start && more.finish <= now());
    assert!(all().iter().all(|build| build.output() != more.output()));
    assert!(more.text("opam-switch").contains("/tls-2.0.1.tbz"));
}
