//! Names that hold characters which nobody sees, or which turn the direction of what follows.

use serde_json::Value;

use crate::build::failed;
use crate::program::{BUILDER_WEB, run};
use crate::server::{Server, basic};
use crate::tokens::{Site, hello};

/// A name with a right-to-left override, as the OCaml server takes it, too.
const TURNED: &str = "a\u{202e}b";
/// One of a letter that is not of Latin, as it is; and one that is.
const ALIKE: [&str; 2] = ["p\u{435}bble", "pebble"];

#[test]
fn commands_and_the_log_show_what_nobody_sees_of_a_name() {
    let site = Site::new();
    let user = basic(("ci", "password"));
    let build = hello(TURNED, 1);
    assert_eq!(site.upload(&user, &build), 201);
    assert_eq!(site.upload(&user, &build), 409);
    site.user("user-add", "b\u{2066}ob", &[]);
    site.db(&["access-add", "b\u{2066}ob", TURNED]);
    site.db(&["pin", "--note", "\u{200b}kept", &build.uuid.to_string()]);
    let hidden = ["\u{202e}", "\u{2066}", "\u{200b}"];
    let shown = |arguments: &[&str], what: &str| {
        let output = run(
            site.directory.path(),
            BUILDER_WEB,
            &site.arguments(arguments),
        );
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(what), "{arguments:?}: {said}");
        assert!(!hidden.iter().any(|char| said.contains(char)), "{said}");
        said
    };
    shown(&["audit"], r"a\u202eb/");
    shown(&["audit"], r"b\u2066ob");
    shown(&["user-list"], r"b\u2066ob");
    shown(&["access-list"], r"a\u202eb");
    shown(&["pin-list"], r"\u200bkept");
    shown(
        &["access-remove", "ci", "x\u{202e}"],
        r"there is no job x\u202e",
    );
    shown(
        &["access-remove", "b\u{2066}ob", TURNED],
        r"user b\u2066ob may not upload to job a\u202eb",
    );
    // JSON is what it was, spelled otherwise.
    let said = shown(&["access-list", "--json"], "access");
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["access"], Value::Array(Vec::new()));
    let subjects: Vec<String> = site
        .audit(&["--action", "access-add"])
        .iter()
        .map(|entry| format!("{} {}", entry["subject"], entry["detail"]))
        .collect();
    assert_eq!(subjects, [format!("\"b\u{2066}ob\" \"{TURNED}\"")]);
    shown(&["audit", "--json"], r"a\u202eb");
    let log = site.process.log();
    assert!(log.contains(r"of a\u202eb"), "{log}");
    assert!(!hidden.iter().any(|char| log.contains(char)), "{log}");
}

#[test]
fn on_pages_a_name_does_not_turn_what_stands_around_it() {
    let build = hello(TURNED, 1)
        .platform("debian\u{2067}12")
        .file("lib/\u{202d}y", "y");
    let broken = failed(TURNED, 2, &["error: x"]).later(60);
    let server = Server::of(&[build.clone(), broken]);
    let job = "/job/a%E2%80%AEb";
    let uuid = build.uuid;
    for target in [
        "/",
        "/?q=a%E2%80%AEb",
        "/failed-builds",
        "/status",
        "/search?q=a%E2%80%AEb",
        job,
        &format!("{job}/build/{uuid}"),
        &format!("{job}/feed.atom"),
        &format!("{job}/changes.atom"),
        &format!("{job}/badge.svg"),
        "/failed-builds.atom",
        "/no/page%E2%80%AE",
    ] {
        let answer = server.get(target);
        assert!(
            answer.status == 200 || target == "/no/page%E2%80%AE",
            "{target}"
        );
        let text = answer.text();
        for turning in ["\u{202d}", "\u{202e}", "\u{2067}"] {
            assert!(!text.contains(turning), "{target}: {text}");
        }
    }
    let page = server.page(job);
    assert!(page.contains("<h1>a&#60;U+202E&#62;b</h1>"), "{page}");
    assert!(page.contains("debian&#60;U+2067&#62;12"), "{page}");
    let page = server.page(&format!("{job}/build/{uuid}"));
    assert!(page.contains("&#60;U+202D&#62;y"), "{page}");
    // Links lead there, and programs get the name as it is.
    let front = server.page("/");
    assert!(front.contains(&format!("href=\"{job}")), "{front}");
    assert_eq!(server.json("/")["jobs"][0]["name"], TURNED);
}

#[test]
fn the_doctor_notes_jobs_whose_names_look_like_others() {
    let site = Site::new();
    let user = basic(("ci", "password"));
    let told = || -> Vec<String> {
        let arguments = site.arguments(&["doctor", "--json", "-c", "/nonexistent"]);
        let output = run(site.directory.path(), BUILDER_WEB, &arguments);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = json["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["check"] == "jobs")
            .map(|finding| format!("{} {}", finding["level"], finding["what"]).replace('"', ""))
            .collect()
    };
    for (number, job) in (1..).zip(["größe", ALIKE[1]]) {
        assert_eq!(site.upload(&user, &hello(job, number)), 201);
    }
    assert_eq!(told(), [""; 0]);
    assert_eq!(site.upload(&user, &hello(ALIKE[0], 3)), 201);
    assert_eq!(
        told(),
        ["note job p\u{435}bble (p<U+0435>bble) looks like pebble, and is another job"]
    );
}
