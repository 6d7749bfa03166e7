//! `/api/v1`: what is described is what is answered.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::build::{Build, build, switch};
use crate::demo_site::demo_site;
use crate::openapi::closed;
use crate::removed::vacuum;
use crate::server::Server;

pub(crate) fn description(server: &Server) -> Value {
    server.json("/api/v1/openapi.json")
}

/// The schema of an answer, with all it refers to.
pub(crate) fn validator(description: &Value, schema: &Value) -> jsonschema::Validator {
    let mut schema = schema.clone();
    schema["components"] = description["components"].clone();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Fills a path of the description with names that there are.
fn filled(server: &Server, path: &str) -> Vec<String> {
    let jobs = server.json("/api/v1/jobs");
    let job = jobs["items"][0]["name"].as_str().unwrap().to_owned();
    let builds = server.json(&format!("/api/v1/jobs/{job}/builds"));
    let uuid = |index: usize| builds["items"][index]["uuid"].as_str().unwrap().to_owned();
    let all = server.json("/api/v1/builds?limit=200");
    let all = all["items"].as_array().unwrap();
    let failed = all
        .iter()
        .find(|build| build["successful"] == false)
        .unwrap();
    let failed = failed["uuid"].as_str().unwrap().to_owned();
    let good = all
        .iter()
        .find(|build| build["successful"] == true)
        .unwrap();
    let sha256 = good["main_binary"]["sha256"].as_str().unwrap().to_owned();
    let packages = server.json("/api/v1/packages");
    let package = packages["items"][0]["name"].as_str().unwrap().to_owned();
    if path == "/api/v1/compare/{left}/{right}/file" {
        // A binary with symbols, and a text.
        let builds = server.json("/api/v1/jobs/millrace/builds");
        let uuid = |index: usize| builds["items"][index]["uuid"].as_str().unwrap().to_owned();
        let target = path
            .replace("{left}", &uuid(1))
            .replace("{right}", &uuid(0));
        let files = ["millrace.hvt.debug", "opam-switch"];
        return files.map(|file| format!("{target}?left={file}")).to_vec();
    }
    if ["/treemap", "/dependencies"]
        .iter()
        .any(|end| path.ends_with(end))
    {
        // A failed build has neither a binary nor a switch to draw.
        let builds = server.json("/api/v1/jobs/millrace/builds?result=successful");
        let uuid = |index: usize| builds["items"][index]["uuid"].as_str().unwrap().to_owned();
        let target = path
            .replace("{uuid}", &uuid(0))
            .replace("{left}", &uuid(1))
            .replace("{right}", &uuid(0));
        return vec![target];
    }
    [uuid(0), failed]
        .into_iter()
        .map(|one| {
            path.replace("{job}", &job)
                .replace("{uuid}", &one)
                .replace("{left}", &one)
                .replace("{right}", &uuid(1))
                .replace("{sha256}", &sha256)
                .replace("{name}", &package)
        })
        .collect()
}

#[test]
fn every_operation_answers_as_it_is_described() {
    let server = demo_site();
    let description = description(&server);
    assert_eq!(description["openapi"], "3.1.0");
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 15);
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            assert_eq!(method, "get", "{path}");
            let good = &operation["responses"]["200"]["content"]["application/json"]["schema"];
            assert!(good.is_object(), "{path}");
            let validator = closed(&description, good);
            if path == "/audit" {
                // For operators alone; `tokens.rs` reads it.
                assert_eq!(server.get(path).status, 401);
                continue;
            }
            for target in filled(&server, path) {
                // Of one that failed early no switch was recorded.
                if path.ends_with("/packages") && server.get(&target).status == 404 {
                    continue;
                }
                // Nothing was removed from the demo.
                if path.contains("removed-builds") {
                    assert_eq!(server.get(&target).status, 404, "{target}");
                    continue;
                }
                let queries = ["", "?limit=2", "?q=tls+%3C+9", "?q=e", "?version=%3C+9999"];
                for query in queries {
                    let target = match target.contains('?') {
                        true => format!("{target}{}", query.replacen('?', "&", 1)),
                        false => format!("{target}{query}"),
                    };
                    let answer = server.get(&target);
                    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
                    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
                    let json = answer.json();
                    let errors: Vec<String> = validator
                        .iter_errors(&json)
                        .map(|error| format!("{} at {}", error, error.instance_path()))
                        .collect();
                    assert_eq!(errors, Vec::<String>::new(), "{target}");
                }
            }
        }
    }
}

/// The operation that answers at this address: of those whose paths fit, the one with the fewest
/// places for names.
fn operation(description: &Value, target: &str) -> Value {
    let path = target.split('?').next().unwrap();
    let fits = |template: &str| {
        template.split('/').count() == path.split('/').count()
            && template
                .split('/')
                .zip(path.split('/'))
                .all(|(known, part)| known.starts_with('{') || known == part)
    };
    let paths = description["paths"].as_object().unwrap();
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    let fitting = fitting.min_by_key(|(template, _)| template.matches('{').count());
    fitting.unwrap().1["get"].clone()
}

#[test]
fn no_line_of_a_console_has_a_number_that_programs_cannot_hold() {
    let hello = build("hello", 1).file("bin/x", "x");
    let server = Server::of(std::slice::from_ref(&hello));
    let page = format!("{}/console.html", hello.url());
    let api = format!("/api/v1/builds/{}/console", hello.uuid);
    let json = ("accept", "application/json");
    let described = operation(&description(&server), &api);
    let parameters = described["parameters"].as_array().unwrap().iter();
    let from = parameters.clone().find(|known| known["name"] == "from");
    assert_eq!(from.unwrap()["schema"]["maximum"], json!(i64::MAX));
    for (target, headers) in [(&page, vec![]), (&page, vec![json]), (&api, vec![])] {
        for (from, status) in [
            ("9223372036854775807", 200),
            ("9223372036854775808", 400),
            ("18446744073709551615", 400),
            ("18446744073709551616", 400),
        ] {
            let answer = server.get_with(&format!("{target}?from={from}"), &headers);
            assert_eq!(answer.status, status, "{target} {headers:?} {from}");
            if status == 400 {
                let said = "at most 9223372036854775807";
                assert!(answer.text().contains(said), "{}", answer.text());
            }
        }
    }
}

#[test]
fn errors_are_as_they_are_described() {
    let server = Server::of(&[build("hello", 1)
        .file("bin/x", "x")
        .file("opam-switch", switch("hello", "", ""))]);
    let description = description(&server);
    let schema = json!({ "$ref": "#/components/schemas/ApiError" });
    let validator = validator(&description, &schema);
    let uuid = build("", 9).uuid;
    for (target, status) in [
        ("/api/v1/nowhere".to_owned(), 404),
        ("/api/v1/jobs/none".to_owned(), 404),
        ("/api/v1/jobs/none/builds".to_owned(), 404),
        ("/api/v1/jobs/hello/latest?platform=none".to_owned(), 404),
        (format!("/api/v1/builds/{uuid}"), 404),
        (format!("/api/v1/builds/{uuid}/console"), 404),
        (format!("/api/v1/builds/{uuid}/console?from=last"), 400),
        (format!("/api/v1/builds/{uuid}/artifacts"), 404),
        (format!("/api/v1/builds/{uuid}/treemap"), 404),
        (format!("/api/v1/builds/{uuid}/dependencies"), 404),
        (format!("/api/v1/compare/{uuid}/{uuid}/treemap"), 404),
        (format!("/api/v1/compare/{uuid}/{uuid}"), 404),
        (format!("/api/v1/removed-builds/{uuid}"), 404),
        ("/api/v1/hashes/zz".to_owned(), 400),
        (format!("/api/v1/hashes/{}", "0".repeat(64)), 404),
        ("/api/v1/packages/none".to_owned(), 404),
        ("/api/v1/packages/none/builds".to_owned(), 404),
        ("/api/v1/packages/hello/builds?version=%3C".to_owned(), 400),
        ("/api/v1/jobs?limit=0".to_owned(), 400),
        ("/api/v1/jobs?limit=201".to_owned(), 400),
        ("/api/v1/jobs?limit=x".to_owned(), 400),
        ("/api/v1/jobs?cursor=x".to_owned(), 400),
        ("/api/v1/builds?cursor=AAAA".to_owned(), 400),
        ("/api/v1/search?q=x&cursor=AAAA".to_owned(), 400),
        ("/api/v1/search?q=x&kind=none".to_owned(), 400),
        ("/api/v1/failures?job=none".to_owned(), 404),
        ("/api/v1/failures?class=so-so".to_owned(), 400),
        ("/api/v1/jobs/hello/builds?result=so-so".to_owned(), 400),
        ("/api/v1/jobs/hello/builds?since=yesterday".to_owned(), 400),
        ("/api/v1/jobs/hello/builds?output=12".to_owned(), 400),
    ] {
        // Whatever the client accepts.
        let answer = server.get(&target);
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        if target != "/api/v1/nowhere" {
            let operation = operation(&description, &target);
            assert!(
                operation["responses"].get(status.to_string()).is_some(),
                "{target} answers {status}, which is not described"
            );
        }
        assert!(
            validator.is_valid(&answer.json()),
            "{target}: {}",
            answer.text()
        );
    }
    assert_eq!(server.send("POST", "/api/v1/jobs", &[], "").status, 405);
    // As a form sends it: an empty cursor is none.
    for list in ["jobs?", "builds?", "packages?", "failures?", "search?q=&"] {
        let whole = server.json(&format!("/api/v1/{list}"));
        assert_eq!(server.json(&format!("/api/v1/{list}cursor=")), whole);
    }
}

#[test]
fn parameters_take_each_value_that_is_described_and_no_other() {
    let server = demo_site();
    let description = description(&server);
    let mut seen = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        let parameters = operations["get"]["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let schema = &parameter["schema"];
            let name = parameter["name"].as_str().unwrap();
            let path = path.replace("{job}", "lantern").replace("{name}", "tls");
            let is_free = schema["enum"].is_null() && schema["pattern"].is_null();
            if is_free || parameter["in"] != "query" || path.contains('{') {
                continue;
            }
            seen.insert(name.to_owned());
            let target =
                format!("{path}?q=tls&kind=jobs&{name}=").replace("kind=jobs&kind", "kind");
            let ask = |value: &str| server.get(&format!("{target}{value}")).status;
            assert_eq!(ask(""), 200, "{target}");
            for value in schema["enum"].as_array().into_iter().flatten() {
                let value = value.as_str().unwrap();
                assert_eq!(ask(value), 200, "{target}{value}");
            }
            assert_eq!(ask("something-else"), 400, "{target}");
        }
    }
    for name in [
        "state", "kind", "class", "result", "cursor", "since", "until", "output", "input_id",
    ] {
        assert!(seen.contains(name), "{name} among {seen:?}");
    }
}

#[test]
fn what_was_removed_is_gone_as_it_is_described() {
    let build = |number: u128| {
        let later = i64::try_from(number).unwrap() * 60;
        build("hello", number).later(later).file("bin/x", "x")
    };
    let server = Server::of(&[build(1), build(2)]);
    vacuum(&server);
    let description = description(&server);
    let (gone, there) = (build(1).uuid, build(2).uuid);
    for target in [
        format!("/api/v1/builds/{gone}"),
        format!("/api/v1/builds/{gone}/artifacts"),
        format!("/api/v1/builds/{gone}/console"),
        format!("/api/v1/compare/{gone}/{there}"),
        format!("/api/v1/compare/{there}/{gone}/file?left=bin/x"),
    ] {
        let answer = server.get(&target);
        assert_eq!(answer.status, 410, "{target}: {}", answer.text());
        let described = operation(&description, &target);
        let schema = &described["responses"]["410"]["content"]["application/json"]["schema"];
        assert!(
            closed(&description, schema).is_valid(&answer.json()),
            "{target}"
        );
    }
    let kept = format!("/api/v1/removed-builds/{gone}");
    let schema = &operation(&description, &kept)["responses"]["200"]["content"]["application/json"]
        ["schema"];
    let errors: Vec<String> = closed(&description, schema)
        .iter_errors(&server.json(&kept))
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn every_route_is_described_and_the_committed_description_is_what_is_served() {
    let server = Server::new();
    let described: BTreeSet<String> = description(&server)["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let urls = include_str!("../../src/urls.rs");
    let routes: BTreeSet<String> = urls
        .lines()
        .filter_map(|line| {
            let line = line.trim().strip_prefix("pub const ")?;
            line.strip_prefix("API_")
                .or_else(|| line.strip_prefix("AUDIT:"))?
                .split('"')
                .nth(1)
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(described, routes);
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let served = server.get("/api/v1/openapi.json").text();
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        std::fs::write(&file, &served).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == served,
        "docs/openapi.json is not what is served: run this test with WRITE_OPENAPI=1"
    );
}

fn numbers(server: &Server, target: &str) -> Vec<u128> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    let mark = if target.contains('?') { '&' } else { '?' };
    loop {
        let page = server.json(&format!("{target}{mark}limit=2{cursor}"));
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{target}");
        for item in items {
            let build = if item["build"].is_object() {
                &item["build"]
            } else {
                item
            };
            let uuid: uuid::Uuid = build["uuid"].as_str().unwrap().parse().unwrap();
            all.push(uuid.as_u128() & 0xffff);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn builds_are_listed_by_what_they_are_a_part_at_a_time() {
    let one = |number: u128, content: &str| -> Build {
        build("hello", number)
            .later(i64::try_from(number).unwrap() * 60)
            .file("bin/hello.hvt", content)
            .input("same")
    };
    let server = Server::of(&[
        one(1, "a"),
        one(2, "b").platform("freebsd-14"),
        build("hello", 3).later(180),
        one(4, "b"),
        build("other", 5).later(1),
        one(6, "a"),
    ]);
    let builds = "/api/v1/jobs/hello/builds";
    let output = builder_store::Sha256::of(b"b");
    for (target, expected) in [
        (builds.to_owned(), vec![6, 4, 3, 2, 1]),
        (format!("{builds}?platform=freebsd-14"), vec![2]),
        (format!("{builds}?result=failed"), vec![3]),
        (format!("{builds}?result=successful"), vec![6, 4, 2, 1]),
        (format!("{builds}?output={output}"), vec![4, 2]),
        (
            format!("{builds}?since=2026-05-12T04:15:33Z"),
            vec![6, 4, 3],
        ),
        (format!("{builds}?until=2026-05-12T04:15:33Z"), vec![2, 1]),
        (format!("{builds}?since=2026-05-13"), vec![]),
        ("/api/v1/builds".to_owned(), vec![6, 5, 4, 3, 2, 1]),
        ("/api/v1/failures".to_owned(), vec![3, 5]),
        ("/api/v1/failures?job=other".to_owned(), vec![5]),
        (format!("/api/v1/hashes/{output}"), vec![4, 2]),
        ("/api/v1/packages/x/builds".to_owned(), vec![6, 4, 2, 1]),
    ] {
        assert_eq!(numbers(&server, &target), expected, "{target}");
    }
    let detail = server.json(&format!("/api/v1/builds/{}", build("", 1).uuid));
    assert_eq!(
        detail["state"],
        json!({ "verdict": "not-reproducible", "reproduced_by": 0, "uploaders": 0 })
    );
    assert_eq!(detail["input"]["opam_packages"], 1);
    assert_eq!(detail["uploader"], "builder");
    assert_eq!(detail["reproduced_by"].as_array().unwrap().len(), 1);
    let latest = server.json("/api/v1/jobs/hello/latest?platform=freebsd-14");
    assert_eq!(latest["uuid"], build("", 2).uuid.to_string());
}

#[test]
fn a_cursor_stands_while_builds_come_in() {
    let server = Server::of(&[
        build("hello", 1),
        build("hello", 2).later(1),
        build("hello", 3).later(2),
    ]);
    for list in ["/api/v1/builds", "/api/v1/jobs/hello/builds"] {
        let first = server.json(&format!("{list}?limit=2"));
        let cursor = first["next_cursor"].as_str().unwrap();
        let rest = server.json(&format!("{list}?limit=2&cursor={cursor}"));
        server.keep(&build("hello", 100 + list.len() as u128).later(900));
        let again = server.json(&format!("{list}?limit=2&cursor={cursor}"));
        assert_eq!(rest, again, "{list}");
    }
}

#[test]
fn a_console_is_given_a_part_at_a_time() {
    let mut hello = build("hello", 1);
    hello.console = (0..25)
        .map(|line| (line * 1_000_000, format!("line {}", line + 1).into_bytes()))
        .collect();
    let server = Server::of(std::slice::from_ref(&hello));
    let api = format!("/api/v1/builds/{}/console", hello.uuid);
    let (mut lines, mut cursor) = (Vec::new(), String::new());
    loop {
        let part = server.json(&format!("{api}?limit=10{cursor}"));
        let shown = part["lines"].as_array().unwrap();
        assert!(shown.len() <= 10);
        lines.extend(shown.iter().map(|line| line["line"].as_u64().unwrap()));
        match part["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(lines, (1..=25).collect::<Vec<u64>>());
    let part = server.json(&format!("{api}?from=20&limit=2"));
    assert_eq!(part["lines"][0]["line"], 20);
    assert!(part["next_cursor"].is_string());
    for wrong in ["limit=0", "limit=1001", "cursor=x", "from=last"] {
        assert_eq!(server.get(&format!("{api}?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn builds_say_their_state_and_are_listed_by_it() {
    let one = |number: u128, platform: &str, content: &str, input: &str| {
        build("hello", number)
            .later(i64::try_from(number).unwrap() * 60)
            .platform(platform)
            .file("bin/hello.hvt", content)
            .input(input)
    };
    let server = Server::of(&[
        one(1, "debian-12", "a", "i"),
        one(2, "debian-12", "a", "i"),
        one(3, "freebsd-14", "b", "j"),
        one(4, "debian-12", "c", "k"),
        build("hello", 5).later(300),
    ]);
    let job = "/api/v1/jobs/hello/builds";
    for list in ["/api/v1/builds", job] {
        for (query, expected) in [
            ("state=reproduced", vec![2, 1]),
            ("state=built-once", vec![3]),
            ("state=changed", vec![4]),
            ("state=failed", vec![5]),
            ("platform=freebsd-14", vec![3]),
            ("state=reproduced&platform=freebsd-14", vec![]),
            ("state=", vec![5, 4, 3, 2, 1]),
        ] {
            assert_eq!(
                numbers(&server, &format!("{list}?{query}")),
                expected,
                "{list}?{query}"
            );
        }
        let states: Vec<Value> = server.json(list)["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|build| build["state"]["verdict"].clone())
            .collect();
        let expected = [
            "failed",
            "changed",
            "built-once",
            "reproduced",
            "reproduced",
        ];
        assert_eq!(states, expected, "{list}");
        assert_eq!(server.get(&format!("{list}?state=good")).status, 400);
    }
}

#[test]
fn an_empty_parameter_is_as_good_as_none_and_times_are_read_as_they_are_described() {
    let server = Server::of(&[build("hello", 1).file("bin/x", "x")]);
    for (target, parameter) in [
        ("/api/v1/jobs", "section"),
        ("/api/v1/jobs/hello/history", "failed"),
        ("/api/v1/jobs/hello/builds", "since"),
    ] {
        let with_empty = server.json(&format!("{target}?{parameter}="));
        assert_eq!(with_empty, server.json(target), "{parameter}");
    }
    let status = |time: &str| {
        let target = format!("/api/v1/jobs/hello/builds?since={time}");
        server.get(&target).status
    };
    for time in [
        "2026-05-12",
        "2026-05-12T04:12:33.5Z",
        "2026-05-12T04:12:33-00:00",
    ] {
        assert_eq!(status(time), 200, "{time}");
    }
    for time in ["2026-5-1", "%2B2026-05-01", "2026-05-12T04:12:33"] {
        assert_eq!(status(time), 400, "{time}");
    }
}
