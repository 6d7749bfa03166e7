//! How people follow jobs: feeds, badges, the description for a browser's address bar.

use roxmltree::{Document, Node};

use crate::build::{Build, build, failed};
use crate::server::{ALICE, Server, now};

/// The text of the child of this name.
fn child<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    let found = node
        .children()
        .find(|child| child.has_tag_name(("http://www.w3.org/2005/Atom", name)));
    found
        .unwrap_or_else(|| panic!("no {name}"))
        .text()
        .unwrap_or_default()
}

fn entries<'a>(document: &'a Document<'_>) -> Vec<Node<'a, 'a>> {
    document
        .root_element()
        .children()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2005/Atom", "entry")))
        .collect()
}

/// Holds a feed against RFC 4287 and gives the titles of its entries.
fn check_feed(server: &Server, target: &str) -> Vec<String> {
    let answer = server.get(target);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/atom+xml; charset=utf-8")
    );
    let text = answer.text();
    let document =
        Document::parse(&text).unwrap_or_else(|error| panic!("{target}: {error}: {text}"));
    let feed = document.root_element();
    assert!(feed.has_tag_name(("http://www.w3.org/2005/Atom", "feed")));
    let author = feed.children().find(|node| node.has_tag_name("author"));
    assert!(author.is_some() || text.contains("<author><name>"));
    let mut ids = vec![child(feed, "id").to_owned()];
    let link = |node: Node<'_, '_>, rel: &str| {
        let mut links = node
            .children()
            .filter(|node| node.tag_name().name() == "link");
        links
            .find(|link| link.attribute("rel") == Some(rel))
            .unwrap()
            .attribute("href")
            .unwrap()
            .to_owned()
    };
    assert!(link(feed, "self").ends_with(target));
    assert!(!child(feed, "title").is_empty());
    let mut newest = String::new();
    for entry in entries(&document) {
        ids.push(child(entry, "id").to_owned());
        let url = link(entry, "alternate");
        let path = url
            .strip_prefix("http://localhost")
            .unwrap_or_else(|| panic!("{url}"));
        assert_eq!(server.get(path).status, 200, "{path}");
        let updated = child(entry, "updated");
        assert!(updated.ends_with('Z') && updated.len() == 20, "{updated}");
        newest = newest.max(updated.to_owned());
        assert!(!child(entry, "summary").is_empty());
    }
    if !newest.is_empty() {
        assert_eq!(child(feed, "updated"), newest);
    }
    for id in &ids {
        let uuid = id.strip_prefix("urn:uuid:").unwrap();
        uuid::Uuid::parse_str(uuid).unwrap();
    }
    ids.sort();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "each id is there once");
    entries(&document)
        .iter()
        .map(|entry| child(*entry, "title").to_owned())
        .collect()
}

fn hello(number: u128, content: &str, later: i64) -> Build {
    build("hello", number).file("bin/x", content).later(later)
}

#[test]
fn feeds_tell_of_builds_changes_and_failures() {
    let server = Server::of(&[
        hello(1, "one", 0),
        hello(2, "one", 10),
        hello(3, "two", 20),
        failed(
            "hello",
            4,
            &["evil \u{1b}[31m<&>\u{7}\u{1} Could not resolve host"],
        )
        .later(30),
        build("other", 5).file("bin/y", "y").platform("freebsd-14"),
    ]);
    assert_eq!(check_feed(&server, "/feed.atom").len(), 5);
    assert_eq!(
        check_feed(&server, "/feed.atom?platform=freebsd-14").len(),
        1
    );
    assert_eq!(
        check_feed(&server, "/job/hello/feed.atom"),
        [
            "hello on debian-12: failed, network",
            "hello on debian-12: changed",
            "hello on debian-12: unchanged",
            "hello on debian-12: only built once",
        ]
    );
    assert_eq!(
        check_feed(&server, "/job/hello/changes.atom"),
        [
            "hello on debian-12: the output changed",
            "hello on debian-12: the first output"
        ]
    );
    assert_eq!(
        check_feed(&server, "/job/hello/changes.atom?platform=none").len(),
        0
    );
    assert_eq!(
        check_feed(&server, "/failed-builds.atom"),
        ["hello on debian-12: failed, network"]
    );
    assert_eq!(check_feed(&server, "/job/hello/failed.atom").len(), 1);
    assert_eq!(
        check_feed(&server, "/failed-builds.atom?class=network"),
        ["hello on debian-12: failed, network"]
    );
    assert_eq!(
        check_feed(&server, "/job/hello/failed.atom?class=disk-full").len(),
        0
    );
    assert_eq!(check_feed(&server, "/job/other/failed.atom").len(), 0);
    assert_eq!(server.get("/job/nowhere/feed.atom").status, 404);

    // Most who ask have seen it.
    let answer = server.get("/feed.atom");
    let tag = answer.header("etag").unwrap().to_owned();
    assert_eq!(answer.header("last-modified"), None);
    let again = |name: &str, value: &str| server.get_with("/feed.atom", &[(name, value)]).status;
    assert_eq!(again("if-none-match", &tag), 304);
    // Ended before all the others, and came in after them: no date would tell.
    server.keep(&hello(9, "three", -90));
    assert_eq!(again("if-none-match", &tag), 200);
    assert_eq!(
        again("if-modified-since", "Sun, 29 Nov 2099 00:00:00 GMT"),
        200
    );

    // Pages name their feeds.
    for (page, feed) in [
        ("/", "/feed.atom"),
        ("/job/hello", "/job/hello/changes.atom"),
        ("/failed-builds", "/failed-builds.atom"),
    ] {
        let page = server.page(page);
        let link = format!("href=\"{feed}\"");
        assert!(
            page.contains("application/atom+xml") && page.contains(&link),
            "{link}"
        );
    }
}

#[test]
fn links_of_feeds_begin_with_the_public_url_or_with_the_host_that_was_asked() {
    let server = Server::of(&[hello(1, "one", 0)]);
    let asked = server
        .get_with("/feed.atom", &[("host", "builds.example:8080")])
        .text();
    assert!(
        asked.contains("href=\"http://builds.example:8080/feed.atom\""),
        "{asked}"
    );
    let odd = server.get_with("/feed.atom", &[("host", "a\"b<c>")]).text();
    assert!(odd.contains("http://localhost/feed.atom"), "{odd}");
    // Who is not trusted changes nothing.
    let forged = server.get_with(
        "/feed.atom",
        &[
            ("host", "x"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
        ],
    );
    assert!(!forged.text().contains("evil.example"));
    let public = server.again(builder_web::Clock::Stopped(now()), |config| {
        config.site.public_url = Some("https://builds.example.org".to_owned());
    });
    let text = public.get_with("/feed.atom", &[("host", "x")]).text();
    assert!(
        text.contains("href=\"https://builds.example.org/job/hello/build/"),
        "{text}"
    );
}

#[test]
fn a_badge_says_each_state_in_words_and_colour() {
    let check = |builds: &[Build], platform: &str, words: &str, colour: &str| {
        let server = Server::of(builds);
        let answer = server.get(&format!("/job/hello/badge.svg{platform}"));
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("image/svg+xml; charset=utf-8")
        );
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        let tag = answer.header("etag").unwrap().to_owned();
        let again = format!("/job/hello/badge.svg{platform}");
        assert_eq!(
            server.get_with(&again, &[("if-none-match", &tag)]).status,
            304
        );
        let text = answer.text();
        let document = Document::parse(&text).unwrap();
        let svg = document.root_element();
        assert_eq!(svg.attribute("role"), Some("img"));
        let title = svg
            .children()
            .find(|node| node.tag_name().name() == "title")
            .unwrap();
        assert!(
            title.text().unwrap().ends_with(&format!(": {words}")),
            "{text}"
        );
        assert!(text.contains(colour), "{words}: {text}");
    };
    let with_input = |number: u128, content: &str| {
        hello(number, content, i64::try_from(number).unwrap())
            .file("opam-switch", "opam-version: \"2.0\"")
            .file("build-environment", "A=1")
            .file("system-packages", "x=1")
    };
    check(&[hello(1, "one", 0)], "", "only built once", "#4c5661");
    check(
        &[hello(1, "one", 0), hello(2, "one", 9)],
        "",
        "unchanged",
        "#4c5661",
    );
    check(
        &[hello(1, "one", 0), hello(2, "two", 9)],
        "",
        "changed",
        "#0b549b",
    );
    check(
        &[with_input(1, "one"), with_input(2, "one")],
        "",
        "reproduced by 1, same uploader",
        "#4b7060",
    );
    check(
        &[with_input(1, "one"), with_input(2, "two")],
        "",
        "not reproducible",
        "#9a3c00",
    );
    check(
        &[failed("hello", 1, &[])],
        "?platform=debian-12",
        "failed",
        "#a8201a",
    );
    check(
        &[hello(1, "one", 0)],
        "?platform=none",
        "no builds",
        "#4c5661",
    );
    // Only what another uploader built again has the green of what is reproduced.
    let server = Server::of(&[with_input(1, "one")]);
    server.allow(ALICE.0, "hello");
    let by_alice = with_input(2, "one").exec();
    assert_eq!(server.upload_bytes(ALICE, by_alice).status, 201);
    let badge = server.get("/job/hello/badge.svg").text();
    assert!(
        badge.contains(": reproduced by 1</title>") && badge.contains("#0b6233"),
        "{badge}"
    );
    let server = Server::of(&[build("a<b>&\"c", 1).file("bin/x", "x")]);
    let odd = server.get("/job/a%3Cb%3E&%22c/badge.svg").text();
    assert!(
        Document::parse(&odd)
            .unwrap()
            .root_element()
            .attribute("aria-label")
            .unwrap()
            .starts_with("a<b>&\"c")
    );
    assert_eq!(server.get("/job/nowhere/badge.svg").status, 404);
}

#[test]
fn what_was_built_once_is_nowhere_as_green_as_what_is_reproduced() {
    let style = Server::new().page("/style.css");
    let green = |of: &str| {
        let mut rules = style.lines().filter(|line| {
            let selectors = line.split('{').next().unwrap_or_default();
            selectors
                .split(',')
                .any(|selector| selector.trim().ends_with(of))
        });
        rules.any(|rule| rule.contains("var(--good"))
    };
    for part in [".state", ".verdict"] {
        assert!(green(&format!("{part}.reproduced")), "{style}");
        for once in ["unchanged", "changed", "built-once"] {
            assert!(!green(&format!("{part}.{once}")), "{part}.{once}");
        }
    }
}

#[test]
fn a_browser_completes_the_names_of_jobs() {
    let server = Server::of(&[
        hello(1, "x", 0),
        build("shell", 2).file("bin/x", "x"),
        build("help", 3).file("bin/x", "x"),
    ]);
    let answer = server.get("/suggest?q=HEL");
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-suggestions+json")
    );
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json[0], "HEL");
    assert_eq!(json[1], serde_json::json!(["hello", "help", "shell"]));
    assert_eq!(json[3][0], "http://localhost/job/hello");
    let none: serde_json::Value = serde_json::from_slice(&server.get("/suggest?q=").body).unwrap();
    assert_eq!(none[1], serde_json::json!([]));
    let description = server.get("/opensearch.xml").text();
    let document = Document::parse(&description).unwrap();
    let urls: Vec<&str> = document
        .descendants()
        .filter(|node| node.tag_name().name() == "Url")
        .map(|node| node.attribute("template").unwrap())
        .collect();
    assert_eq!(
        urls,
        [
            "http://localhost/search?q={searchTerms}&straight=1",
            "http://localhost/suggest?q={searchTerms}"
        ]
    );
    assert!(server.page("/").contains("href=\"/opensearch.xml\""));
    // What a browser makes of a suggestion that was chosen.
    let search = |words: &str| {
        let url = urls[0].replace("{searchTerms}", words);
        url.trim_start_matches("http://localhost").to_owned()
    };
    assert_eq!(
        server.location(&search("+hello+")),
        (302, "/job/hello".to_owned())
    );
    for words in ["hel", "Hello", ""] {
        assert_eq!(server.get(&search(words)).status, 200, "{words}");
    }
    // Typed on a page of ours, it lists what else has the name.
    assert_eq!(server.get("/search?q=hello").status, 200);
    assert_eq!(
        server.get("/search?q=hello&straight=1&kind=files").status,
        200
    );
}
