//! What people and programs see of a build whose artifacts were removed.

use std::time::Duration;

use builder_exec::Timestamp;
use builder_store::record::pins;
use builder_store::removal::{Goal, Keep};
use builder_store::{Sha256, Store};

use crate::build::{Build, build};
use crate::server::{BUILDER, Server, operator, wait_until};

/// Two builds of the same input and output, an older one with another output, and none besides.
struct Story {
    server: Server,
    first: Build,
    again: Build,
}

fn story() -> Story {
    let server = Server::new();
    let first = build("hello", 1).file("bin/hello.hvt", "same").input("i");
    let again = build("hello", 2)
        .file("bin/hello.hvt", "same")
        .input("i")
        .later(1000);
    for build in [&first, &again] {
        assert_eq!(server.upload(build).status, 201);
    }
    Story {
        server,
        first,
        again,
    }
}

/// The oldest goes, on the first day of 2027.
pub(crate) fn vacuum(server: &Server) {
    assert_eq!(removed_by_vacuum(server), 1);
}

/// How many builds a vacuum removes that keeps the newest of each job.
pub(crate) fn removed_by_vacuum(server: &Server) -> usize {
    let goal = Goal::Vacuum {
        jobs: Vec::new(),
        platform: None,
        keep: Keep::Latest(1),
    };
    let now = Timestamp::from_civil(2027, 1, 1, 10, 0, 0).unwrap();
    let removed = Store::open_beside(server.datadir())
        .unwrap()
        .remove(&goal, &operator(), &now, &mut |_| {})
        .unwrap();
    removed.builds.len()
}

#[test]
fn the_page_of_a_removed_build_says_what_is_known_of_it_and_who_has_the_same_output() {
    let Story {
        server,
        first,
        again,
    } = story();
    let before = server.get(&first.url());
    assert!(before.text().contains("Reproduced by 1 other build"));
    vacuum(&server);
    let page = server.get(&first.url());
    assert_eq!(page.status, 200);
    let text = page.text();
    for part in [
        "Artifacts removed on",
        "2027-01-01",
        "bin/hello.hvt",
        &Sha256::of(b"same").to_hex(),
        &again.url(),
        "same input",
        &first.uuid.to_string(),
        BUILDER.0,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("/f/"), "nothing to download: {text}");
    let json = server.json(&first.url());
    assert_eq!(json["job"], "hello");
    assert_eq!(json["uuid"], first.uuid.to_string());
    assert_eq!(json["main_binary"], false);
    assert!(
        json["removed_time"]
            .to_string()
            .contains("2027-01-01T10:00:00")
    );
    assert_eq!(json["main_binary_sha256"], Sha256::of(b"same").to_hex());
}

#[test]
fn a_build_stays_reproduced_when_the_one_that_reproduced_it_is_removed() {
    let Story {
        server,
        first,
        again,
    } = story();
    vacuum(&server);
    let text = server.get(&again.url()).text();
    assert!(text.contains("Reproduced by 1 other build"), "{text}");
    assert!(text.contains(&first.url()), "{text}");
    assert!(text.contains("removed on 2027-01-01"), "{text}");
    // Another output of the same input is not forgotten either.
    let other = build("hello", 3)
        .file("bin/hello.hvt", "other")
        .input("i")
        .later(2000);
    assert_eq!(server.upload(&other).status, 201);
    vacuum(&server);
    let text = server.get(&other.url()).text();
    assert!(text.contains("Not reproducible"), "{text}");
    assert!(text.contains(&again.url()), "{text}");
}

#[test]
fn what_was_removed_is_gone_for_downloads_and_comparisons_and_said_so_in_json_too() {
    let Story {
        server,
        first,
        again,
    } = story();
    vacuum(&server);
    let url = first.url();
    let compare = |left: &Build, right: &Build| format!("/compare/{}/{}", left.uuid, right.uuid);
    for target in [
        format!("{url}/f/bin/hello.hvt"),
        format!("{url}/f/no/such"),
        format!("{url}/main-binary"),
        format!("{url}/script"),
        format!("{url}/console"),
        format!("{url}/console.html"),
        format!("{url}/exec"),
        format!("{url}/all.tar.gz"),
        compare(&first, &again),
        compare(&again, &first),
    ] {
        let answer = server.get(&target);
        assert_eq!(answer.status, 410, "{target}");
        let text = answer.text();
        assert!(
            text.contains("removed on 2027-01-01") && text.contains(&url),
            "{target}: {text}"
        );
        let json = server.get_with(&target, &[("accept", "application/json")]);
        assert_eq!(json.status, 410, "{target}");
        let error = json.json()["error"].to_string();
        assert!(error.contains("removed on 2027-01-01"), "{error}");
    }
    // What nobody knows is still unknown.
    let unknown = build("hello", 99);
    for target in [
        unknown.url(),
        format!("{}/f/x", unknown.url()),
        format!("{}/exec", unknown.url()),
        compare(&unknown, &again),
        format!("{}/f/no/such", again.url()),
    ] {
        assert_eq!(server.get(&target).status, 404, "{target}");
    }
}

#[test]
fn the_hash_of_a_removed_main_binary_leads_to_its_build_and_a_second_upload_is_a_build_again() {
    let server = Server::new();
    let old = build("hello", 1).file("bin/hello.hvt", "old");
    let new = build("hello", 2).file("bin/hello.hvt", "new").later(1000);
    for build in [&old, &new] {
        assert_eq!(server.upload(build).status, 201);
    }
    vacuum(&server);
    let hash = |content: &[u8]| server.get(&format!("/hash?sha256={}", Sha256::of(content)));
    let answer = hash(b"old");
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), Some(old.url().as_str()));
    assert_eq!(hash(b"never seen").status, 404);
    assert_eq!(server.upload(&old).status, 201);
    assert_eq!(
        server.get(&format!("{}/f/bin/hello.hvt", old.url())).body,
        b"old"
    );
    assert!(!server.get(&old.url()).text().contains("removed"));
}

#[test]
fn a_download_under_way_is_finished_when_its_build_is_removed() {
    use std::io::{Read, Write};
    let server = Server::new();
    let content = crate::build::noise(8 * 1024 * 1024);
    let old = build("hello", 1).file("bin/big", &content);
    let new = build("hello", 2).file("bin/big", "small").later(1000);
    for build in [&old, &new] {
        assert_eq!(server.upload(build).status, 201);
    }
    let address = server.listen();
    let mut slow = crate::server::connect(address);
    let target = format!("{}/f/bin/big", old.url());
    let head = crate::server::head("GET", &target, &[("connection", "close")]);
    slow.write_all(head.as_bytes()).unwrap();
    let mut answer = vec![0; 1000];
    slow.read_exact(&mut answer).unwrap();
    vacuum(&server);
    assert_eq!(server.get(&target).status, 410);
    slow.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&content), "{} bytes", answer.len());
}

#[test]
fn the_page_of_a_pinned_build_says_soon_that_it_is_kept_for_good_and_why() {
    // Pages are remembered for a while, and a pin is in no file that they are checked against.
    let server = Server::with(|config| {
        config.limits.page_cache_time_max = Duration::from_millis(50);
    });
    let hello = build("hello", 1).file("bin/hello.hvt", "hello");
    server.keep(&hello);
    let api = format!("/api/v1/builds/{}", hello.uuid);
    assert!(!server.page(&hello.url()).contains("for good"));
    assert_eq!(server.json(&api)["pinned"], serde_json::Value::Null);
    let at = Timestamp::from_civil(2026, 6, 1, 10, 0, 0).unwrap();
    let store = Store::open_beside(server.datadir()).unwrap();
    store
        .write(|tx| pins::add(tx, hello.uuid, "release <1.0>", &at))
        .unwrap();
    wait_until("the pin is shown", || {
        let page = server.page(&hello.url());
        page.contains("for good: pinned on")
            && page.contains("2026-06-01")
            && page.contains("release &#60;1.0&#62;")
    });
    wait_until("the pin is in the JSON", || {
        server.json(&api)["pinned"]["note"] == "release <1.0>"
    });
}
