//! Finding things: one box for everything, and the page of a package.

use builder_store::Sha256;
use builder_web::config::Limits;
use builder_web::search::follow;
use serde_json::Value;

use crate::build::{Build, build};
use crate::removed::{removed_by_vacuum, vacuum};
use crate::server::{Server, wait_until};

/// A switch with these packages, as opam exports it.
fn switch(packages: &[&str]) -> String {
    let packages: Vec<String> = packages
        .iter()
        .map(|package| format!("\"{package}\""))
        .collect();
    let packages = packages.join(" ");
    format!("opam-version: \"2.0\"\nroots: [\"hello.1\"]\ninstalled: [\"hello.1\" {packages}]\n")
}

/// Build `number` of a job with these packages.
fn with(job: &str, number: u128, packages: &[&str]) -> Build {
    build(job, number)
        .later(i64::try_from(number).unwrap() * 60)
        .file(&format!("bin/{job}.hvt"), format!("binary {number}"))
        .file("opam-switch", switch(packages))
}

/// Builds with old and new versions of a package.
fn server() -> Server {
    Server::of(&[
        with("hello", 1, &["tls.1.0.0", "lwt.5.7.0"]),
        with("hello", 2, &["tls.2.0.0", "lwt.5.7.0"]),
        with("hello", 3, &["tls.2.0.1", "lwt.5.7.0"]),
        with("dns-server", 4, &["tls.2.0.1~beta", "lwt.5.7.0"]),
        with("plain", 5, &["lwt.5.8.0"]),
    ])
}

fn uuids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    let uuid = |item: &Value| item["build"]["uuid"].as_str().unwrap().to_owned();
    items.iter().map(uuid).collect()
}

fn uuid(number: u128) -> String {
    build("", number).uuid.to_string()
}

fn found(server: &Server, query: &str) -> Value {
    let mut encoded = String::new();
    for char in query.chars() {
        match char {
            ' ' => encoded.push('+'),
            '<' | '>' | '&' | '+' => encoded.push_str(&format!("%{:02X}", u32::from(char))),
            other => encoded.push(other),
        }
    }
    server.json(&format!("/search?q={encoded}"))
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect()
}

#[test]
fn builds_are_found_by_the_versions_of_a_package_in_opams_order() {
    let server = server();
    for (query, numbers) in [
        ("tls < 2.0.1", vec![4, 2, 1]),
        ("tls<=2.0.1", vec![4, 3, 2, 1]),
        ("tls = 2.0.1", vec![3]),
        ("tls.2.0.1", vec![3]),
        ("tls 2.0.0", vec![2]),
        ("tls >= 2.0.0 & < 2.0.1", vec![4, 2]),
        ("tls > 3", vec![]),
        ("none < 1", vec![]),
    ] {
        let expected: Vec<String> = numbers.into_iter().map(uuid).collect();
        assert_eq!(uuids(&found(&server, query)["builds"]), expected, "{query}");
    }
    let page = server.get("/search?q=tls+%3C+2.0.1").text();
    assert!(page.contains("tls.2.0.1~beta"), "{page}");
    assert!(page.contains("/package/tls?version=%3C%202.0.1"), "{page}");
}

#[test]
fn one_box_finds_jobs_packages_files_and_builds() {
    let server = server();
    assert_eq!(names(&found(&server, "dns")["jobs"]), ["dns-server"]);
    assert_eq!(names(&found(&server, "SERVER")["jobs"]), ["dns-server"]);
    assert_eq!(names(&found(&server, "hello")["packages"]), ["hello"]);
    assert_eq!(names(&found(&server, "t")["packages"]), ["tls", "lwt"]);
    let versions = &found(&server, "tls")["packages"]["items"][0]["versions"];
    assert_eq!(
        versions.to_string(),
        "[\"2.0.1\",\"2.0.1~beta\",\"2.0.0\",\"1.0.0\"]"
    );
    let paths = |query: &str| -> Vec<String> {
        let files = found(&server, query)["files"]["items"].clone();
        let path = |file: &Value| file["path"].as_str().unwrap().to_owned();
        let mut paths: Vec<String> = files.as_array().unwrap().iter().map(path).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths("server.hvt"), ["bin/dns-server.hvt"]);
    assert_eq!(paths("bin/hel"), ["bin/hello.hvt"]);
    assert_eq!(
        paths("*.hvt"),
        ["bin/dns-server.hvt", "bin/hello.hvt", "bin/plain.hvt"]
    );
    // A wildcard may stand for the beginning of a word.
    assert_eq!(paths("*ello.hvt"), ["bin/hello.hvt"]);
    assert_eq!(paths("dns?server.hvt"), ["bin/dns-server.hvt"]);
    assert_eq!(paths("d?s-server*"), ["bin/dns-server.hvt"]);
    assert_eq!(paths("pla*vt"), ["bin/plain.hvt"]);
    assert_eq!(paths("*lain*t"), Vec::<String>::new());
    assert_eq!(paths("opam-switch").len(), 3);
    let digest = Sha256::of(b"binary 3").to_hex();
    assert_eq!(
        uuids(&found(&server, &format!("SHA256:{}", &digest[..8]))["builds"]),
        [uuid(3)]
    );
    assert_eq!(uuids(&found(&server, &digest)["builds"]), [uuid(3)]);
    let all = uuids(&found(&server, &uuid(1)[..20])["builds"]);
    assert_eq!(all, [1, 2, 3, 4, 5].map(uuid));
}

#[test]
fn a_pattern_that_cannot_be_looked_up_says_so_instead_of_nothing_was_found() {
    let server = server();
    let cannot = "Files cannot be looked for by this pattern";
    for (target, says) in [
        ("q=*lain", true),
        ("q=*lain&kind=files", true),
        ("q=*lain&kind=jobs", false),
        ("q=*lain.hvt", false),
        ("q=*none.hvt", false),
        ("q=lain", false),
    ] {
        let page = server.page(&format!("/search?{target}"));
        assert_eq!(page.contains(cannot), says, "{target}: {page}");
    }
    let page = server.page("/search?q=*lain");
    assert!(page.contains("/job/plain\""), "jobs are: {page}");
    let page = server.page("/search?q=*none");
    assert!(page.contains("Nothing else was found"), "{page}");
    let problem = |query: &str| found(&server, query)["problem"].clone();
    let problem = (problem("*lain"), problem("*lain.hvt"));
    assert!(problem.0.as_str().unwrap().starts_with(cannot));
    assert_eq!(problem.1, Value::Null);
}

#[test]
fn a_whole_uuid_or_digest_leads_straight_to_its_build() {
    let server = server();
    let (digest, build) = (Sha256::of(b"binary 2"), with("hello", 2, &[]).url());
    let file = format!("{build}#sha256-{digest}");
    for (query, wanted) in [
        (uuid(2), &build),
        (uuid(2).to_uppercase(), &build),
        (digest.to_hex(), &file),
        (format!("SHA256:{digest}"), &file),
        (format!("+{digest}+"), &file),
    ] {
        assert_eq!(
            server.location(&format!("/search?q={query}")),
            (302, wanted.clone()),
            "{query}"
        );
    }
    let unknown = server.get(&format!("/search?q={}", uuid(99)));
    assert_eq!(unknown.status, 200);
    assert!(unknown.text().contains("Nothing was found"));
}

#[test]
fn every_list_goes_on_from_its_cursor_to_its_end() {
    let builds: Vec<Build> = (1..=120)
        .map(|number| with(&format!("job-{:03}", number % 70), number, &["tls.1.0.0"]))
        .collect();
    let server = Server::of(&builds);
    for (kind, query, count) in [
        ("jobs", "job", 70),
        ("files", "hvt", 70),
        ("builds", "tls = 1.0.0", 120),
        ("builds", &uuid(1)[..20], 120),
    ] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let target = format!("/search?kind={kind}&q={}{cursor}", query.replace(' ', "+"));
            let list = server.json(&target)[kind].clone();
            let items = list["items"].as_array().unwrap();
            assert!(!items.is_empty() && items.len() <= 50, "{target}");
            seen.extend(items.iter().map(Value::to_string));
            match list["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((all, seen.len()), (count, count), "{kind} {query}");
    }
    let wrong = server.get("/search?kind=files&q=hvt&cursor=AAAA");
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("cursor"));
}

/// Builds that the same four digits find by uuid, by artifact and by input, and the digits.
fn found_in_every_way() -> (Vec<Build>, String) {
    let first = build("hello", 1)
        .file("bin/hello.hvt", "binary 1")
        .input("i");
    let inputs = first.files[1..].iter();
    let inputs: Vec<u8> = inputs
        .flat_map(|(_, content)| *Sha256::of(content).as_bytes())
        .collect();
    let digits = Sha256::of(&inputs).to_hex()[..4].to_owned();
    let mut contents = (0..)
        .map(|number| format!("binary {number}"))
        .filter(|content| Sha256::of(content.as_bytes()).to_hex().starts_with(&digits));
    let named = |job: &str, number: u128| {
        let mut build = build(job, number);
        let uuid = format!("{digits}{}", &build.uuid.to_string()[4..]);
        build.uuid = uuid.parse().unwrap();
        build.later(i64::try_from(number).unwrap() * 60)
    };
    let builds = vec![
        first,
        named("hello", 2).file("bin/hello.hvt", contents.next().unwrap()),
        named("hello", 3).file("bin/hello.hvt", contents.next().unwrap()),
        // Not removed: the newest of their jobs.
        build("hello", 4).later(240).file("bin/hello.hvt", "last"),
        named("other", 5)
            .file("bin/other.hvt", contents.next().unwrap())
            .input("i"),
    ];
    (builds, digits)
}

#[test]
fn each_build_is_listed_once_for_each_way_it_is_found_whatever_the_size_of_a_part() {
    let (builds, digits) = found_in_every_way();
    let server = Server::of(&builds);
    let walk = |kind: &str, limit: usize| {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let target = format!("/api/v1/search?kind={kind}&q={digits}&limit={limit}{cursor}");
            let list = server.json(&target)[kind].clone();
            let items = list["items"].as_array().unwrap();
            assert!(!items.is_empty() && items.len() <= limit, "{target}");
            seen.extend(items.iter().map(Value::to_string));
            match list["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return seen,
            }
        }
    };
    // By uuid three, by artifact three, by input one: the newest that has it.
    let all = walk("builds", 200);
    assert_eq!(all.len(), 7, "{all:#?}");
    for limit in 1..=8 {
        assert_eq!(walk("builds", limit), all, "{limit}");
    }
    assert_eq!(removed_by_vacuum(&server), 3);
    let all = walk("removed", 200);
    assert_eq!(all.len(), 5, "{all:#?}");
    for limit in 1..=6 {
        assert_eq!(walk("removed", limit), all, "{limit}");
    }
}

#[test]
fn a_silly_query_gets_a_page_that_helps() {
    let server = server();
    for query in [
        "",
        "+",
        "%20%20",
        "%ff",
        "sha256:",
        "sha256:zz",
        "%3C",
        "tls+%3C",
        "%00",
        "..",
        &"x".repeat(9_000),
        "%3Cscript%3Ealert(1)",
    ] {
        let page = server.get(&format!("/search?q={query}"));
        assert_eq!(page.status, 200, "{query}");
        let text = page.text();
        assert!(text.contains("You can look for"), "{query}: {text}");
        assert!(!text.contains("<script>alert"), "{query}");
        server.json(&format!("/search?q={query}"));
    }
    assert_eq!(server.get("/search").status, 200);
}

#[test]
fn a_packages_page_lists_its_versions_and_the_jobs_whose_latest_build_has_it() {
    let server = server();
    let page = server.json("/package/tls");
    let versions: Vec<&str> = page["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["2.0.1", "2.0.1~beta", "2.0.0", "1.0.0"]);
    let latest = |target: &str| -> Vec<String> {
        let page = server.json(target);
        let line = |one: &Value| {
            format!(
                "{} {}",
                one["build"]["job"].as_str().unwrap(),
                one["version"].as_str().unwrap()
            )
        };
        page["latest"]
            .as_array()
            .unwrap()
            .iter()
            .map(line)
            .collect()
    };
    assert_eq!(
        latest("/package/tls"),
        ["dns-server 2.0.1~beta", "hello 2.0.1"]
    );
    assert_eq!(
        latest("/package/tls?version=%3C+2.0.1"),
        ["dns-server 2.0.1~beta"]
    );
    let html = server.get("/package/tls").text();
    assert!(html.contains("/package/tls?version=2.0.1~beta"), "{html}");
    let html = server.get("/package/tls?version=2.0.0").text();
    assert!(html.contains(&with("hello", 2, &[]).url()), "{html}");
    assert!(html.contains("No job's latest build does"), "{html}");
    assert_eq!(server.get("/package/none").status, 404);
    assert_eq!(server.get("/package/tls?version=%3C").status, 400);
}

#[test]
fn what_was_stored_without_us_is_found_after_the_background_has_read_it() {
    let server = server();
    // What is being drawn has another name when it is done, and could not be copied.
    wait_until("all is drawn", || {
        let queues = server.app.queues();
        let left = queues.iter().map(|(_, queue)| queue.taken + queue.waiting);
        left.sum::<usize>() == 0
    });
    // As in a directory of the OCaml server: all but the file that is ours.
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(server.datadir())
        .arg(copy.path().join("data"))
        .status();
    assert!(copied.unwrap().success());
    let datadir = copy.path().join("data");
    for suffix in ["", "-wal", "-shm"] {
        let _: std::io::Result<()> =
            std::fs::remove_file(datadir.join(format!("builder-web.sqlite3{suffix}")));
    }
    let store = builder_store::Store::open(&datadir).unwrap();
    let switches = || -> u64 {
        let progress = store.read(builder_store::search::progress).unwrap();
        progress.builds_left + progress.switches_left
    };
    assert!(switches() > 0);
    // Interrupted at once, and again.
    follow::follow(&store, &Limits::default(), &|| false).unwrap();
    assert!(switches() > 0);
    follow::follow(&store, &Limits::default(), &|| true).unwrap();
    assert_eq!(switches(), 0);
    let versions = store
        .read(|tx| builder_store::search::versions(tx, "tls"))
        .unwrap();
    assert_eq!(versions.len(), 4);
}

#[test]
fn results_say_the_state_of_each_build() {
    let same = |number: u128| {
        build("hello", number)
            .later(i64::try_from(number).unwrap() * 60)
            .file("bin/hello.hvt", "same")
            .input("i")
    };
    let server = Server::of(&[same(1), same(2)]);
    let digest = &Sha256::of(b"same").to_hex()[..12];
    for target in [
        format!("/search?q={digest}"),
        "/search?q=hello.hvt".to_owned(),
    ] {
        let page = server.page(&target);
        assert!(
            page.contains(">reproduced by 1, same uploader</span>"),
            "{target}: {page}"
        );
        let found = server.json(&target);
        let builds = [&found["builds"]["items"], &found["files"]["items"]];
        let states = builds.iter().flat_map(|list| list.as_array().unwrap());
        let states: Vec<&Value> = states
            .map(|hit| &hit["build"]["state"]["verdict"])
            .collect();
        assert!(!states.is_empty(), "{target}");
        assert!(
            states.iter().all(|state| **state == "reproduced"),
            "{states:?}"
        );
    }
}

#[test]
fn removed_builds_are_found_by_what_is_known_of_them() {
    let one = |number: u128| {
        build("hello", number)
            .later(i64::try_from(number).unwrap() * 60)
            .file("bin/hello.hvt", format!("binary {number}"))
            .input(&format!("i{number}"))
    };
    let server = Server::of(&[one(1), one(2)]);
    let old = server.json(&format!("/api/v1/builds/{}", uuid(1)));
    vacuum(&server);
    let output = old["main_binary"]["sha256"].as_str().unwrap();
    let input = old["input_id"].as_str().unwrap();
    // The whole name leads there; its beginning lists it.
    for query in [uuid(1), output.to_owned()] {
        assert_eq!(
            server.location(&format!("/search?q={query}")),
            (302, one(1).url())
        );
    }
    for query in [output, &output[..10], input, &input[..10], &uuid(1)] {
        let found = found(&server, query);
        let removed = found["removed"]["items"].as_array().unwrap();
        assert_eq!(removed.len(), 1, "{query}: {found:#}");
        assert_eq!(removed[0]["uuid"], uuid(1), "{query}");
        assert_eq!(
            found["builds"]["items"].as_array().unwrap().len(),
            0,
            "{query}"
        );
    }
    // That of both begins alike.
    let found = found(&server, &uuid(1)[..18]);
    assert_eq!(found["removed"]["items"].as_array().unwrap().len(), 1);
    assert_eq!(found["builds"]["items"].as_array().unwrap().len(), 1);
    let page = server.page(&format!("/search?q={}", &output[..10]));
    assert!(
        page.contains("Removed builds") && page.contains(&one(1).url()),
        "{page}"
    );
    let alone = server.json(&format!("/api/v1/search?q={}&kind=removed", &output[..10]));
    assert_eq!(alone["removed"]["items"][0]["uuid"], uuid(1));
}

#[test]
fn a_search_for_nothing_says_how_to_search() {
    let server = Server::new();
    for target in ["/search", "/search?q="] {
        let page = server.page(target);
        assert!(page.contains("You can look for"), "{page}");
        // The box on each page may be sent as it is.
        assert!(!page.contains(" required"), "{page}");
    }
}
