//! JSON as clients have been reading it for years: names, order and types of its members.

use serde_json::Value;

use crate::build::{Build, MIRAGE, build, switch, unikernel};
use crate::server::Server;

fn hello() -> Build {
    build("hello", 1)
        .file("bin/hello.hvt", unikernel("hvt", &[("net", "service")]))
        .file("opam-switch", switch("hello", MIRAGE, "A hello unikernel"))
}

fn check(server: &Server, target: &str, expected: &str) {
    for accept in [
        "application/json",
        "text/html;q=1, application/json;q=0.1",
        "text/html,APPLICATION/JSON",
    ] {
        let answer = server.get_with(target, &[("accept", accept)]);
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let expected: Value = serde_json::from_str(expected).unwrap();
        let old = as_of_old(&answer.json(), &expected);
        assert_eq!(old.to_string(), expected.to_string(), "{target}");
    }
}

/// Whether the absence of a member tells something to clients: of a job in the list, or of a build.
fn is_told_by_absence(name: &str, known: &serde_json::Map<String, Value>) -> bool {
    name.starts_with("solo5_") || name == "latest" && known.contains_key("synopsis")
}

/// JSON without what was added to it behind the members that clients have known for long.
fn as_of_old(json: &Value, expected: &Value) -> Value {
    match (json, expected) {
        (Value::Object(members), Value::Object(known)) => {
            let first: Vec<&String> = members.keys().take(known.len()).collect();
            assert_eq!(first, known.keys().collect::<Vec<_>>());
            let members = members.iter().filter_map(|(name, value)| {
                let old = match known.get(name) {
                    Some(known) => as_of_old(value, known),
                    None if is_told_by_absence(name, known) => value.clone(),
                    None => return None,
                };
                Some((name.clone(), old))
            });
            Value::Object(members.collect())
        }
        (Value::Array(items), Value::Array(known)) if items.len() == known.len() => {
            let items = items.iter().zip(known);
            items.map(|(item, known)| as_of_old(item, known)).collect()
        }
        _ => json.clone(),
    }
}

#[test]
fn the_job_list_is_written_as_mollymawk_reads_it() {
    let server = Server::of(&[
        hello(),
        build("orb", 2).file("bin/orb.deb", "deb"),
        build("broken", 3),
    ]);
    let uuid = hello().uuid;
    let expected = format!(
        "{{\"jobs\":[{{\"name\":\"hello\",\"synopsis\":\"A hello unikernel\",\"latest\":{{\"uuid\":\"{uuid}\",\
         \"solo5_manifest\":{{\"type\":\"solo5.manifest\",\"version\":1,\"devices\":[{{\"name\":\"service\",\"type\":\"NET_BASIC\"}}]}},\
         \"solo5_abi\":{{\"type\":\"solo5.abi\",\"target\":\"hvt\",\"version\":2}}}}}},\
         {{\"name\":\"orb\",\"synopsis\":\"\"}}],\
         \"jobs_by_section\":{{\"Unikernels\":[{{\"name\":\"hello\",\"synopsis\":\"A hello unikernel\"}}],\
         \"Uncategorized\":[{{\"name\":\"orb\",\"synopsis\":\"\"}}]}}}}"
    );
    check(&server, "/", &expected);
    check(&server, "/all-builds", &expected);
}

#[test]
fn an_empty_server_lists_no_jobs() {
    check(
        &Server::new(),
        "/all-builds",
        "{\"jobs\":[],\"jobs_by_section\":{}}",
    );
}

#[test]
fn sections_come_from_z_to_a_and_jobs_from_a_to_z() {
    let job = |name: &str, number, fields: &str| {
        build(name, number)
            .file("bin/x", "x")
            .file("opam-switch", switch("x", fields, ""))
    };
    let server = Server::of(&[
        job("zulu", 1, ""),
        job("alpha", 2, ""),
        job("mike", 3, MIRAGE),
        job("bravo", 4, MIRAGE),
        build("none", 5).file("bin/x", "x"),
    ]);
    let list = server.json("/all-builds");
    let names = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&list["jobs"]),
        ["bravo", "mike", "none", "alpha", "zulu"]
    );
    let sections: Vec<&String> = list["jobs_by_section"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(sections, ["Unikernels", "Uncategorized", "Packages"]);
    assert_eq!(
        names(&list["jobs_by_section"]["Packages"]),
        ["alpha", "zulu"]
    );
}

#[test]
fn the_builds_of_a_job_have_their_main_binary_as_an_object_or_null() {
    let server = Server::of(&[
        build("hello", 1).file("bin/hello.hvt", "old"),
        build("hello", 2).later(60).file("bin/hello.hvt", "newer"),
        build("hello", 3).later(120),
    ]);
    let (old, newer, failed) = (build("", 1).uuid, build("", 2).uuid, build("", 3).uuid);
    let digest = |text: &str| builder_store::Sha256::of(text.as_bytes()).to_hex();
    let good = format!(
        "{{\"uuid\":\"{newer}\",\"main_binary\":{{\"filename\":\"hello.hvt\",\"sha256\":\"{}\",\"size\":5}}}},\
         {{\"uuid\":\"{old}\",\"main_binary\":{{\"filename\":\"hello.hvt\",\"sha256\":\"{}\",\"size\":3}}}}",
        digest("newer"),
        digest("old")
    );
    check(&server, "/job/hello", &format!("{{\"builds\":[{good}]}}"));
    check(
        &server,
        "/job/hello/failed",
        &format!("{{\"builds\":[{{\"uuid\":\"{failed}\",\"main_binary\":null}},{good}]}}"),
    );
    check(&server, "/job/hello?platform=none", "{\"builds\":[]}");
}

#[test]
fn an_output_stands_in_a_jobs_list_once_by_the_newest_build_that_has_it_in_any_job() {
    let server = Server::of(&[
        build("hello", 1).file("bin/hello.hvt", "same"),
        build("hello", 2).later(60).file("bin/hello.hvt", "same"),
        build("copy", 3)
            .later(120)
            .platform("freebsd-14")
            .file("bin/hello.hvt", "same"),
    ]);
    let builds = server.json("/job/hello");
    assert_eq!(builds["builds"].as_array().unwrap().len(), 1);
    assert_eq!(builds["builds"][0]["uuid"], build("", 3).uuid.to_string());
}

#[test]
fn a_build_is_written_with_times_to_the_second_and_an_unknown_zone() {
    let server = Server::of(&[hello(), build("orb", 2)]);
    let (uuid, orb) = (hello().uuid, build("orb", 2).uuid);
    check(
        &server,
        &format!("/job/hello/build/{uuid}"),
        &format!(
            "{{\"job\":\"hello\",\"uuid\":\"{uuid}\",\"platform\":\"debian-12\",\
             \"start_time\":\"2026-05-12T04:12:33-00:00\",\"finish_time\":\"2026-05-12T04:12:53-00:00\",\"main_binary\":true,\
             \"solo5_manifest\":{{\"type\":\"solo5.manifest\",\"version\":1,\"devices\":[{{\"name\":\"service\",\"type\":\"NET_BASIC\"}}]}},\
             \"solo5_abi\":{{\"type\":\"solo5.abi\",\"target\":\"hvt\",\"version\":2}}}}"
        ),
    );
    check(
        &server,
        &format!("/job/orb/build/{orb}"),
        &format!(
            "{{\"job\":\"orb\",\"uuid\":\"{orb}\",\"platform\":\"debian-12\",\
             \"start_time\":\"2026-05-12T04:12:33-00:00\",\"finish_time\":\"2026-05-12T04:12:53-00:00\",\"main_binary\":false}}"
        ),
    );
}

#[test]
fn errors_are_json_for_those_who_ask_for_json_whatever_the_status() {
    let server = Server::new();
    let uuid = build("", 1).uuid;
    for (method, target, status) in [
        ("GET", "/nowhere".to_owned(), 404),
        ("GET", "/job/none".to_owned(), 404),
        ("GET", format!("/job/none/build/{uuid}"), 404),
        ("GET", format!("/job/none/build/{uuid}/main-binary"), 404),
        ("GET", "/hash".to_owned(), 400),
        ("DELETE", "/".to_owned(), 405),
        ("POST", "/upload".to_owned(), 401),
    ] {
        let answer = server.send(method, &target, &[("accept", "application/json")], "");
        assert_eq!(answer.status, status, "{target}");
        let json = answer.json();
        let message = json["error"].as_str().unwrap();
        assert!(!message.is_empty(), "{target}");
        assert_eq!(json.as_object().unwrap().len(), 1, "{target}");
    }
}
