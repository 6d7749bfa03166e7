//! Pages where somebody shares or copies what they say: previews, absolute links, command lines,
//! pages of lists.

use std::process::Command;

use builder_web::Clock;
use builder_web::client::Peer;

use crate::build::{Build, build, unikernel};
use crate::program::{BUILDER_WEB, Process, succeeds};
use crate::server::{Answer, Server, now};

/// What a page says of itself in an element of its head that ends so: exactly one.
fn said(html: &str, name: &str) -> String {
    let begin = format!("<meta property=\"{name}\" content=\"");
    let parts: Vec<&str> = html.split(&begin).collect();
    assert_eq!(parts.len(), 2, "{name} in {html}");
    parts[1].split('"').next().unwrap().to_owned()
}

fn title(html: &str) -> String {
    let rest = html.split("<title>").nth(1).unwrap();
    rest.split("</title>").next().unwrap().to_owned()
}

fn server() -> Server {
    Server::of(&[
        build("hello", 1).file("bin/hello.hvt", "one").input("a"),
        build("hello", 2)
            .later(60)
            .file("bin/hello.hvt", "two")
            .input("b"),
        build("hello", 3).later(120),
    ])
}

#[test]
fn a_page_that_is_shared_says_what_it_is_where_it_is_and_shows_a_picture() {
    let server = server();
    let (one, two) = (build("hello", 1), build("hello", 2));
    let compare = format!("/compare/{}/{}", one.uuid, two.uuid);
    for (target, about) in [
        ("/".to_owned(), "Reproducible builds"),
        ("/all-builds".to_owned(), "All jobs of Reproducible builds"),
        (
            "/job/hello".to_owned(),
            "hello: builds and whether they were reproduced",
        ),
        (
            "/job/hello/failed?platform=debian-12".to_owned(),
            "hello on debian-12: all builds, also those that failed",
        ),
        (
            one.url(),
            "hello on debian-12: only built once, 2026-05-12 04:12:33Z",
        ),
        (
            format!("{}/console.html", build("hello", 3).url()),
            "Console of hello on debian-12, 2026-05-12 04:14:33Z",
        ),
        (
            "/failed-builds?job=hello".to_owned(),
            "Failed builds of hello",
        ),
        (
            compare.clone(),
            "hello: 2026-05-12 04:12:33Z and 2026-05-12 04:13:33Z compared",
        ),
        (
            format!("{compare}/f?left=bin/hello.hvt"),
            "bin/hello.hvt of hello: what differs",
        ),
        ("/package/x".to_owned(), "x: which builds contain it"),
        ("/search?q=hello".to_owned(), "What was found for hello"),
    ] {
        let html = server.page(&target);
        assert_eq!(said(&html, "og:title"), about, "{target}");
        assert!(title(&html).ends_with("Reproducible builds"), "{target}");
        assert!(said(&html, "og:description").len() > 10, "{target}");
        let url = format!("http://localhost{target}");
        assert_eq!(said(&html, "og:url"), url);
        assert!(html.contains(&format!("<link rel=\"canonical\" href=\"{url}\">")));
        let picture = said(&html, "og:image");
        let picture = picture.strip_prefix("http://localhost").unwrap();
        let answer = server.get(picture);
        assert_eq!(answer.header("content-type"), Some("image/png"), "{target}");
        assert!(answer.body.starts_with(b"\x89PNG"), "{target}");
        // Every page has a title of its own, and what it is called by is the same for everyone.
        let odd = server.page(&format!(
            "{target}{}utm=1",
            if target.contains('?') { '&' } else { '?' }
        ));
        assert_eq!(said(&odd, "og:url"), url);
    }
    // A wrong name of the job in a URL is not handed on.
    let html = server.page(&one.url().replace("hello", "other"));
    assert_eq!(
        said(&html, "og:url"),
        format!("http://localhost{}", one.url())
    );
}

/// A request that a proxy hands on.
fn through_proxy(server: &Server, target: &str, host: &str) -> Answer {
    let mut request = axum::http::Request::new(axum::body::Body::empty());
    *request.uri_mut() = target.parse().unwrap();
    request.extensions_mut().insert(Peer::Unix);
    for (name, value) in [
        ("host", "backend"),
        ("x-forwarded-host", host),
        ("x-forwarded-proto", "https"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    server.send_request(request)
}

#[test]
fn absolute_links_begin_with_what_the_client_asked_and_nobody_gets_those_of_another() {
    let server = server();
    let page = |server: &Server, host: &str| {
        let answer = server.get_with("/job/hello", &[("host", host)]);
        answer.text()
    };
    for host in ["one.example", "two.example:8080", "one.example"] {
        let html = page(&server, host);
        assert_eq!(said(&html, "og:url"), format!("http://{host}/job/hello"));
        assert!(html.contains(&format!(
            "[![hello](&#60;http://{host}/job/hello/badge.svg&#62;)](&#60;http://{host}/job/hello&#62;)"
        )));
    }
    let trusting = server.again(Clock::Stopped(now()), |config| {
        config.trusted_proxies = vec!["unix".parse().unwrap()];
    });
    // One of the pages that wait for a place.
    let uuids = [build("", 1).uuid, build("", 2).uuid];
    let compare = format!("/compare/{}/{}", uuids[0], uuids[1]);
    let compared = format!("content=\"https://b.example{compare}\"");
    for (target, link) in [
        (&*compare, &*compared),
        ("/job/hello", "content=\"https://b.example/job/hello\""),
        ("/feed.atom", "href=\"https://b.example/feed.atom\""),
        ("/opensearch.xml", "https://b.example/search?q="),
        ("/suggest?q=hel", "[\"https://b.example/job/hello\"]"),
    ] {
        let text = through_proxy(&trusting, target, "b.example").text();
        assert!(text.contains(link), "{target}: {text}");
        assert!(!text.contains("backend"), "{target}");
    }
    let public = server.again(Clock::Stopped(now()), |config| {
        config.site.public_url = Some("https://builds.example.org".to_owned());
    });
    let html = page(&public, "one.example");
    assert_eq!(
        said(&html, "og:url"),
        "https://builds.example.org/job/hello"
    );
    let json = public.json(&format!("/api/v1/builds/{}", build("", 1).uuid));
    let check = json["commands"]["check"].as_str().unwrap();
    assert!(check.contains("https://builds.example.org/job/"), "{check}");
}

#[test]
fn the_commands_of_a_page_fetch_and_check_what_it_shows() {
    let server = Server::new();
    let odd = build("a b'$(x)", 1)
        .file(
            "bin/x y'$(touch z).hvt",
            unikernel("hvt", &[("net", "service"), ("block", "data")]),
        )
        .input("i");
    server.keep(&odd);
    let address = server.listen().to_string();
    let json: serde_json::Value = {
        let target = format!("http://{address}/api/v1/builds/{}", odd.uuid);
        let home = tempfile::tempdir().unwrap();
        serde_json::from_slice(&succeeds(home.path(), "curl", &["-sf", &target])).unwrap()
    };
    let command = |name: &str| json["commands"][name].as_str().unwrap().to_owned();
    let home = tempfile::tempdir().unwrap();
    // As they are, in a shell.
    let said = succeeds(home.path(), "sh", &["-ec", &command("check")]);
    assert!(String::from_utf8_lossy(&said).ends_with(": OK\n"));
    // opam alone is not the real one: it gives the prefix that the output would be in.
    let bin = home.path().join("path");
    std::fs::create_dir(&bin).unwrap();
    let prefix = home.path().join("again");
    std::fs::create_dir_all(prefix.join("bin")).unwrap();
    std::fs::copy(
        home.path().join("x y'$(touch z).hvt"),
        prefix.join("bin/x y'$(touch z).hvt"),
    )
    .unwrap();
    let opam = format!(
        "#!/bin/sh\necho \"$@\" >> opam.log\ncase \"$1\" in var) echo {};; esac\n",
        prefix.display()
    );
    std::fs::write(bin.join("opam"), opam).unwrap();
    succeeds(home.path(), "chmod", &["+x", "path/opam"]);
    let rebuild = format!("PATH=$PWD/path:$PATH\n{}", command("rebuild"));
    let said = succeeds(home.path(), "sh", &["-ec", &rebuild]);
    assert!(String::from_utf8_lossy(&said).ends_with(": OK\n"));
    assert_eq!(
        std::fs::read_to_string(prefix.join("opam.log")).unwrap(),
        "init --yes --bare --no-setup\nswitch create --yes again --empty\nswitch import --yes --switch=again opam-switch\nvar --switch=again prefix\n"
    );
    for name in ["opam-switch", "build-environment", "system-packages"] {
        assert!(prefix.join(name).exists(), "{name}");
    }
    assert!(!home.path().join("z").exists() && !prefix.join("z").exists());
    assert_eq!(
        command("run"),
        "solo5-hvt --mem=32 --net:service=tap0 --block:data=data.img -- 'x y'\\''$(touch z).hvt'\n\
         # or, with albatross:\n\
         albatross-client create --mem=32 --net=service:service --block=data:data 'a b'\\''$(x)' 'x y'\\''$(touch z).hvt'"
    );
    // There is no tender of this kind for other targets.
    let other = build("xen", 2).file("bin/x.xen", unikernel("xen", &[]));
    server.keep(&other);
    let json = server.json(&format!("/api/v1/builds/{}", other.uuid));
    assert!(json["solo5"].is_object());
    assert!(json["commands"]["run"].is_null());
    for (number, file, run) in [
        (3, "tool.deb", Some("apt install ./tool.deb")),
        (4, "tool.pkg", Some("pkg add tool.pkg")),
        (5, "tool.com", None),
    ] {
        let package = build("tool", number).file(&format!("bin/{file}"), "x");
        server.keep(&package);
        let json = server.json(&format!("/api/v1/builds/{}", package.uuid));
        assert_eq!(json["commands"]["run"].as_str(), run);
        let page = server.page(&package.url());
        assert_eq!(page.contains("Install it"), run.is_some(), "{file}");
    }
}

#[test]
fn a_site_is_named_on_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let (data, logo, introduction) = (
        data.to_str().unwrap(),
        home.path().join("logo.png"),
        home.path().join("introduction.md"),
    );
    succeeds(home.path(), BUILDER_WEB, &["db", "migrate", "-d", data]);
    std::fs::write(&logo, b"\x89PNG and more").unwrap();
    std::fs::write(&introduction, "Built by *us* <script>alert(1)</script>").unwrap();
    let arguments = [
        "--site-name",
        "Builds <of> ours",
        "--site-logo",
        logo.to_str().unwrap(),
        "--site-introduction",
        introduction.to_str().unwrap(),
        "--site-link",
        "Imprint=/imprint",
        "--site-link",
        "Sources=https://example.org/a?b=c",
        "--public-url",
        "https://builds.example.org/",
    ];
    let process = Process::serve(data.as_ref(), &arguments);
    let url = |target: &str| format!("http://{}{target}", process.address);
    let get = |target: &str| succeeds(home.path(), "curl", &["-sf", &url(target)]);
    let html = String::from_utf8(get("/")).unwrap();
    for part in [
        "<title>Builds &#60;of&#62; ours</title>",
        "Built by <em>us</em>",
        "<a href=\"/imprint\">Imprint</a>",
        "<a href=\"https://example.org/a?b=c\">Sources</a>",
        "<img src=\"/logo?v=",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
    assert!(!html.contains("<script>alert"));
    // A logo that is no SVG is the picture of what is shared, too.
    let picture = said(&html, "og:image");
    let picture = picture.strip_prefix("https://builds.example.org").unwrap();
    assert_eq!(get(picture), b"\x89PNG and more");
    for wrong in [
        ["--site-link", "Imprint=javascript:alert(1)"],
        ["--site-logo", "/nonexistent.png"],
        ["--public-url", "builds.example.org"],
    ] {
        let output = Command::new(BUILDER_WEB)
            .args(["serve", "-d", data, "-p", "0"])
            .args(wrong)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?} {output:?}");
    }
}

/// Follows the links to older pages of a list from here on; what each page shows.
fn pages(server: &Server, target: &str, shown: impl Fn(&str) -> Vec<String>) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut next = Some(target.to_owned());
    while let Some(target) = next {
        let html = server.page(&target);
        all.push(shown(&html));
        assert!(all.len() < 50, "pages go round");
        next = html
            .split("rel=\"next\"")
            .next()
            .filter(|_| html.contains("rel=\"next\""))
            .map(|before| {
                let href = before.rsplit("href=\"").next().unwrap();
                href.split('"').next().unwrap().replace("&#38;", "&")
            });
    }
    all
}

#[test]
fn a_job_with_many_builds_is_shown_page_by_page_each_output_once() {
    let server = Server::of(&[build("hello", 1)]);
    // Builds that failed stand alone: each is an entry of its own.
    let copies = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 325)
        INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, result_msg,
          console, script, platform, main_binary, user, job, input_id)
        SELECT printf('f63a5b8a-9ab3-40a3-8cfc-%012x', i), start_d, start_ps + i * 60000000000000,
          finish_d, finish_ps + i * 60000000000000, result_code, result_msg, console, script,
          platform, main_binary, user, job, input_id FROM build, n";
    succeeds(server.datadir(), "sqlite3", &["builder.sqlite3", copies]);
    let uuids: Vec<String> = (1..=325)
        .rev()
        .map(|number| build("hello", number).uuid.to_string())
        .collect();
    let shown = |html: &str| -> Vec<String> {
        let articles = html.split("<article class=\"output\">").skip(1);
        articles
            .map(|article| {
                let link = article.split("/build/").nth(1).unwrap();
                link[..36].to_owned()
            })
            .collect()
    };
    let all = pages(&server, "/job/hello/failed", shown);
    // 300 builds in pages of twenty, then those before them.
    assert_eq!(all.len(), 17);
    assert_eq!(all.concat(), uuids);
    let last = server.page(&format!("/job/hello/failed?before={}", uuids[299]));
    assert!(last.contains("rel=\"prev\""));
    let odd = server.page("/job/hello/failed?page=x");
    assert_eq!(shown(&odd), all[0]);
    // The same for programs.
    let mut found = Vec::new();
    let mut target = "/api/v1/jobs/hello/history?failed=true".to_owned();
    loop {
        let part = server.json(&target);
        for output in part["outputs"].as_array().unwrap() {
            found.push(output["newest"]["uuid"].as_str().unwrap().to_owned());
        }
        let Some(next) = part["next_cursor"].as_str() else {
            break;
        };
        target = format!("/api/v1/jobs/hello/history?failed=true&cursor={next}");
    }
    assert_eq!(found, uuids);
    // A feed has the newest fifty.
    let feed = server.get("/feed.atom").text();
    assert_eq!(feed.matches("<entry>").count(), 50);
    assert!(feed.contains(&uuids[0]) && feed.contains(&uuids[49]) && !feed.contains(&uuids[50]));
}

#[test]
fn failed_builds_are_shown_page_by_page_each_once() {
    let builds: Vec<Build> = (1..=45)
        .map(|number: u128| build("hello", number).later(i64::try_from(number).unwrap() * 60))
        .collect();
    let server = Server::of(&builds);
    let shown = |html: &str| -> Vec<String> {
        let items = html
            .split("<ul class=\"failures\">")
            .nth(1)
            .unwrap_or_default();
        let items = items.split("<h2><a href=\"").skip(1);
        items
            .map(|item| item.split('"').next().unwrap()[17..].to_owned())
            .collect()
    };
    let all = pages(&server, "/failed-builds?job=hello", shown);
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [20, 20, 5]);
    let uuids: Vec<String> = builds
        .iter()
        .rev()
        .map(|build| build.uuid.to_string())
        .collect();
    assert_eq!(all.concat(), uuids);
}

#[test]
fn whatever_was_uploaded_is_text_in_a_feed() {
    let evil = "<b>&amp;\"'\u{1}]]></b>";
    let server = Server::of(&[
        build("j<i>&\"", 1)
            .platform("p<i>&\"")
            .file("bin/x<i>&\".hvt", "x"),
        build("j<i>&\"", 2)
            .platform("p<i>&\"")
            .later(60)
            .ended(builder_exec::ExecutionResult::Message(evil.into())),
    ]);
    for feed in [
        "/feed.atom",
        "/failed-builds.atom",
        "/job/j%3Ci%3E&%22/feed.atom",
        "/job/j%3Ci%3E&%22/changes.atom",
        "/job/j%3Ci%3E&%22/failed.atom?platform=p%3Ci%3E%26%22",
    ] {
        let text = server.get(feed).text();
        let document = roxmltree::Document::parse(&text)
            .unwrap_or_else(|error| panic!("{feed}: {error}: {text}"));
        let names: Vec<&str> = document
            .descendants()
            .filter(roxmltree::Node::is_element)
            .map(|node| node.tag_name().name())
            .collect();
        assert!(
            !names.contains(&"b") && !names.contains(&"i"),
            "{feed}: {names:?}"
        );
        assert!(names.contains(&"entry"), "{feed}");
        let entry = document
            .descendants()
            .find(|node| node.tag_name().name() == "entry")
            .unwrap();
        let title = entry
            .children()
            .find(|node| node.tag_name().name() == "title");
        let title = title.and_then(|title| title.text()).unwrap();
        assert!(title.starts_with("j<i>&\" on p<i>&\": "), "{feed}: {title}");
    }
}
