//! `/status`: how the service is.

use serde_json::{Value, json};

use crate::build::{Build, build};
use crate::server::{BUILDER, Server, now, wait_until};

/// Days before the clock of these tests' servers.
fn days_ago(days: i64) -> i64 {
    now().unix_seconds() - crate::build::start().unix_seconds() - days * 24 * 60 * 60
}

fn one(job: &str, number: u128, platform: &str, days: i64) -> Build {
    build(job, number).platform(platform).later(days_ago(days))
}

fn list(status: &Value, of: &str, name: &str) -> Vec<String> {
    let entries = status[of].as_array().unwrap().iter();
    entries
        .map(|entry| entry[name].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_status_says_what_came_last_from_where_and_how_much_there_is() {
    let server = Server::of(&[
        one("hello", 1, "debian-12", 3).file("bin/x", "1"),
        one("hello", 2, "freebsd-14", 30).file("bin/x", "2"),
        one("other", 3, "debian-12", 2).file("bin/y", "3"),
        one("other", 4, "debian-12", 1),
    ]);
    wait_until("builds are counted", || {
        !server.json("/api/v1/status")["stock"].is_null()
    });
    let status = server.json("/api/v1/status");
    // The numbers of what is still being worked on may be others by now.
    for part in ["version", "stock", "states", "platforms", "uploaders"] {
        assert_eq!(server.json("/status")[part], status[part], "{part}");
    }
    assert_eq!(
        list(&status, "platforms", "platform"),
        ["debian-12", "freebsd-14"]
    );
    assert_eq!(status["platforms"][0]["silent"], false);
    assert_eq!(status["platforms"][0]["jobs"], 2);
    assert_eq!(status["platforms"][1]["silent"], true);
    let last = |at: usize| status["platforms"][at]["last_build"]["uuid"].clone();
    assert_eq!(last(0), build("", 4).uuid.to_string());
    assert_eq!(last(1), build("", 2).uuid.to_string());
    assert_eq!(list(&status, "uploaders", "uploader"), [BUILDER.0]);
    let last = &status["uploaders"][0]["last_build"];
    assert_eq!(last["uuid"], build("", 4).uuid.to_string());
    let states = status["states"].as_array().unwrap();
    let count = |state: &str| {
        let of_state = states.iter().find(|entry| entry["state"] == state);
        of_state.unwrap()["job_platforms"].as_u64().unwrap()
    };
    assert_eq!(
        (count("built-once"), count("failed"), count("reproduced")),
        (2, 1, 0)
    );
    assert_eq!(
        status["stock"],
        json!({ "jobs": 2, "builds": 4, "failed_builds": 1, "artifacts": 3, "artifact_bytes": 3 })
    );
    let failures = status["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0]["build_count"], 1);
    let page = server.page("/status");
    for part in [
        "Nothing came in the last 7 days from freebsd-14.",
        "4, of which 1 failed",
        "3 files, 3 B",
        &build("other", 4).url(),
        &build("hello", 2).url(),
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let front = server.page("/");
    for link in ["/status", "/search", "/feed.atom", "/api/v1/openapi.json"] {
        let footer = front.split("<footer").nth(1).unwrap();
        assert!(
            footer.contains(&format!("href=\"{link}\"")),
            "{link} in {footer}"
        );
    }
}

#[test]
fn the_status_of_nothing_says_so() {
    let server = Server::new();
    let status = server.json("/api/v1/status");
    assert_eq!(status["platforms"], json!([]));
    assert_eq!(status["uploaders"], json!([]));
    assert!(server.page("/status").contains("Nothing was built yet."));
}
