//! What people read when a build failed, and how they follow jobs: consoles, failures, feeds,
//! badges, the description for a browser's address bar.

use builder_exec::ExecutionResult;
use roxmltree::{Document, Node};

use crate::build::{Build, build};
use crate::demo_site::demo_site;
use crate::server::{ALICE, Server, now};

/// A build that failed and printed these lines, a second apart.
fn failed(job: &str, number: u128, lines: &[&str]) -> Build {
    let mut build = build(job, number);
    build.result = ExecutionResult::Exited(1);
    build.console = (1..)
        .map(|second: i64| second * 1_000_000_000)
        .zip(lines.iter().map(|line| line.as_bytes().to_vec()))
        .collect();
    build
}

fn console(build: &Build) -> String {
    format!("{}/console.html", build.url())
}

#[test]
fn a_console_has_numbers_times_and_colours_and_its_text_is_one_click_away() {
    let mut build = failed(
        "hello",
        1,
        &[
            "+ make",
            "\x1b[31;1mbad\x1b[0m",
            "x.c:1:1: error: no",
            "end",
        ],
    );
    build.console[3].0 = 120_000_000_000;
    let server = Server::of(std::slice::from_ref(&build));
    let page = server.page(&console(&build));
    for part in [
        "id=\"L1\"",
        "href=\"#L2\"",
        "<span class=\"in-red bold\">bad</span>",
        "class=\"line error told waited\" id=\"L3\"",
        "class=\"line slow\" id=\"L4\"",
        "2:00.000",
        "+1:57.000",
        "First error, line 3",
        "Compile error",
        "#L3\"",
        &format!("{}/console\">Raw text", build.url()),
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Clients know the text, whatever they accept.
    let text = server.get_with(
        &format!("{}/console", build.url()),
        &[("accept", "text/html,*/*;q=0.8")],
    );
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let json = server.json(&console(&build));
    assert_eq!(json["line_count"], 4);
    assert_eq!(json["first_error"], 3);
    assert_eq!(json["lines"][3]["wait"], 117.0);
    assert_eq!(json["failure"]["class"], "compile-error");
}

#[test]
fn words_are_found_in_all_of_a_console_and_shown_where_they_are() {
    let lines: Vec<String> = (1..=2500).map(|number| format!("line {number}.")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let build = failed("hello", 1, &lines);
    let server = Server::of(std::slice::from_ref(&build));
    let first = server.page(&console(&build));
    assert!(first.contains("id=\"L1000\"") && !first.contains("id=\"L1001\""));
    assert!(first.contains("?from=1001\" rel=\"next\""));
    let last = server.page(&format!("{}?from=2001", console(&build)));
    assert!(last.contains("id=\"L2500\"") && !last.contains("rel=\"next\""));
    let found = server.page(&format!("{}?find=LINE+2345.", console(&build)));
    assert!(found.contains("1 line with"));
    assert!(found.contains("id=\"L2345\""), "the page of the line");
    assert!(found.contains("<mark>line 2345.</mark>"));
    let none = server.page(&format!("{}?find=%3Cnothing%3E", console(&build)));
    assert!(none.contains("0 lines with") && !none.contains("<nothing>"));
    for odd in ["0", "-1", "x", "9223372036854775807"] {
        let page = server.page(&format!("{}?from={odd}", console(&build)));
        assert!(page.contains("class=\"console\""), "{odd}");
    }
    let empty = failed("hello", 2, &[]);
    server.keep(&empty);
    assert!(
        server
            .page(&console(&empty))
            .contains("Nothing was printed.")
    );
}

#[test]
fn a_colour_lasts_from_one_page_of_a_console_to_the_next() {
    let lines: Vec<String> = (1..=1020)
        .map(|number| match number {
            990 => "\x1b[31mfrom here on".to_owned(),
            1010 => "to here\x1b[0m".to_owned(),
            _ => format!("line {number}."),
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let build = failed("hello", 1, &lines);
    let server = Server::of(std::slice::from_ref(&build));
    for from in [900, 1001, 1005] {
        let page = server.page(&format!("{}?from={from}", console(&build)));
        let red = page.contains("<span class=\"in-red\">line 1005.</span>");
        assert!(
            red && page.contains("<span class=\"in-red\">to here</span>"),
            "{from}: {page}"
        );
        assert!(
            !page.contains("<span class=\"in-red\">line 1011."),
            "{from}"
        );
    }
}

#[test]
fn a_hostile_console_is_text_and_nothing_else() {
    let lines = [
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "\x1b[31m<b>\x1b[0m&amp;\"'",
        "\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\",
        "\u{202e}txt.exe",
        "</code></div></main><h1>forged</h1>",
        "10%\r20%\rdone",
        "a\nb\nc",
    ];
    let mut build = failed("hello", 1, &lines);
    build
        .console
        .push((9_000_000_000, b"\xff\xfe\x00\x9b31m".to_vec()));
    build.console.push((9_500_000_000, vec![b'y'; 1_000_000]));
    let server = Server::of(std::slice::from_ref(&build));
    for page in [
        server.page(&console(&build)),
        server.page(&format!("{}?find=%3Cscript%3E", console(&build))),
        server.page("/failed-builds"),
        server.page("/job/hello"),
    ] {
        for evil in [
            "<script>alert",
            "<img src=x",
            "<b>",
            "<h1>forged",
            "javascript:",
            "\u{202e}",
            "\x1b",
        ] {
            assert!(!page.contains(evil), "{evil:?}");
        }
        assert!(page.len() < 1_000_000, "{}", page.len());
    }
    let page = server.page(&console(&build));
    assert!(page.contains("&#60;script&#62;"));
    assert!(page.contains("&#60;U+202E&#62;txt.exe"));
    assert!(page.contains("done <i class=\"note\">written over 2 times</i>"));
    assert!(page.contains("973 KiB more in the raw text"));
}

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
    let build = failed("a", 1, &["cp: No space left on device"]);
    let server = Server::of(&[build]);
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
