//! Failed builds: why they failed, as far as their consoles tell, what they are filtered by, and when
//! they are looked at.

use std::time::Duration;

use builder_exec::ExecutionResult;

use crate::build::{Build, build, failed};
use crate::demo_site::demo_site;
use crate::server::Server;

#[test]
fn failed_builds_are_shown_with_their_class_line_and_last_lines() {
    let full = failed(
        "a",
        1,
        &[
            "cc x",
            "cp: No space left on device",
            "make: *** [x] Error 1",
        ],
    );
    let net = failed("b", 2, &["curl: (6) Could not resolve host: x"])
        .platform("freebsd-14")
        .later(60);
    let killed = Build {
        result: ExecutionResult::Signalled(-7),
        ..failed("a", 3, &["going on"]).later(120)
    };
    let server = Server::of(&[full.clone(), net.clone(), killed]);
    let all = server.json("/failed-builds");
    let classes: Vec<&str> = all["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| build["failure"]["class"].as_str().unwrap())
        .collect();
    assert_eq!(classes, ["killed", "network", "disk-full"]);
    let full_json = &all["builds"][2]["failure"];
    assert_eq!(full_json["line"], 2);
    assert_eq!(full_json["text"], "cp: No space left on device");
    assert_eq!(full_json["last_lines"][2], "make: *** [x] Error 1");

    let count = |target: &str| server.json(target)["builds"].as_array().unwrap().len();
    assert_eq!(count("/failed-builds?class=disk-full"), 1);
    assert_eq!(count("/failed-builds?job=a"), 2);
    assert_eq!(count("/failed-builds?job=a&platform=freebsd-14"), 0);
    assert_eq!(count("/failed-builds?platform=freebsd-14"), 1);
    assert_eq!(count("/failed-builds?job=nowhere"), 0);
    let page = server.page("/failed-builds?count=1&job=a");
    assert!(
        page.contains("/failed-builds?count=1&#38;start=1&#38;job=a"),
        "{page}"
    );
    assert!(page.contains("<option selected>a</option>"));
    let page = server.page("/failed-builds");
    assert!(page.contains("Disk full") && page.contains("cp: No space left on device"));
    assert!(page.contains(&format!("{}/console.html#L2", full.url())));
    assert!(server.page("/job/a").contains("Disk full: 1"));
}

#[test]
fn what_failed_builds_are_filtered_by_stays_chosen_and_is_said_where_there_are_none() {
    let net = failed("b", 2, &["curl: (6) Could not resolve host: x"]);
    let full = failed("a", 1, &["cp: No space left on device"]);
    let server = Server::of(&[full, net, build("fine", 3).file("bin/x", "x")]);
    let has = |target: &str, parts: &[&str]| {
        let page = server.page(target);
        for part in parts {
            assert!(page.contains(part), "{target}: {part} in {page}");
        }
        page
    };
    let page = has(
        "/failed-builds?class=network&job=a",
        &[
            "<title>Failed builds of a: Network ·",
            "</a>: Network</h1>",
            "<option value=\"network\" selected>Network (0)</option>",
            "<option value=\"disk-full\">Disk full (1)</option>",
            "None of class “Network” of a. <a href=\"/failed-builds?job=a\">1 of other classes</a>",
            "Feed of failed builds of a</a>, Network alone",
        ],
    );
    assert!(!page.contains("🥳"), "{page}");
    has(
        "/failed-builds?job=fine&platform=nowhere",
        &[
            "<option selected>fine</option>",
            "<option selected>nowhere</option>",
            "No failed builds to list: there are none of fine on nowhere 🥳",
        ],
    );
    let page = has(
        "/failed-builds?class=network&start=1",
        &[
            "There are no more: this list has 1. <a href=\"/failed-builds?count=20&#38;start=0&#38;class=network\">",
        ],
    );
    assert!(!page.contains("🥳"), "{page}");
    has(
        "/failed-builds?class=other",
        &["<a href=\"/failed-builds\">2 of other classes</a>"],
    );
    let none = Server::new();
    assert!(
        none.page("/failed-builds")
            .contains("<p>No failed builds to list 🥳</p>")
    );
}

#[test]
fn failures_that_another_server_took_in_are_looked_at_in_the_background() {
    // A page that is remembered is not looked at again for a while.
    let server = Server::with(|config| config.limits.page_cache_time_max = Duration::ZERO);
    server.keep(&failed("a", 1, &["cp: No space left on device"]));
    server
        .app
        .store()
        .write(|tx| {
            let found = builder_store::failures::list(tx, Default::default(), 0, 1)?;
            let (build, failure) = found.into_iter().next().unwrap();
            // As if it had not been looked at by this version.
            let failure = failure.unwrap();
            builder_store::failures::set(
                tx,
                build.id,
                build.uuid,
                0,
                &builder_store::failures::Failure {
                    class: "old".to_owned(),
                    ..failure
                },
            )
        })
        .unwrap();
    assert_eq!(
        server.json("/failed-builds")["builds"][0]["failure"]["class"],
        "old"
    );
    let _inside = server.runtime().enter();
    server.app.look_at_failures();
    crate::server::wait_until("the failure is looked at", || {
        server.json("/failed-builds")["builds"][0]["failure"]["class"] == "disk-full"
    });
}

#[test]
fn every_failure_of_the_demo_has_the_class_that_was_meant() {
    let server = demo_site();
    let json = server.json("/failed-builds?count=100");
    let mut classes: Vec<String> = json["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| {
            format!(
                "{} {}",
                build["job"].as_str().unwrap(),
                build["failure"]["class"].as_str().unwrap()
            )
        })
        .collect();
    classes.sort();
    assert_eq!(
        classes,
        [
            "almanac missing-package",
            "anvil out-of-memory",
            "anvil out-of-memory",
            "anvil timeout",
            "ferryman missing-package",
            "lantern network",
            "millrace compile-error",
            "millrace compile-error",
            "millrace disk-full",
            "nightly-links network",
            "sundial worker-lost",
        ]
    );
}
