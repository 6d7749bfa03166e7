//! Pages: what is on them, where their links lead, and how their URLs may be written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use builder_exec::{ExecutionResult, Timestamp};
use builder_store::Sha256;
use builder_web::Clock;

use crate::build::{Build, MIRAGE, build, switch, unikernel};
use crate::server::{BUILDER, Server, basic, exchange, now, wait_until};

/// One build with one of everything.
fn hello() -> Build {
    build("hello", 1)
        .file("bin/hello.hvt", unikernel("hvt", &[("net", "service")]))
        .file("doc/hello/README.md", "# Hello\n\nIt says *hello*.")
        .file("opam-switch", switch("hello", MIRAGE, "A hello unikernel"))
        .file("build-environment", "OS=debian")
        .file("system-packages", "libc6=2.36")
}

/// Every URL that answers 200 to a GET, on a server with [`hello`].
fn targets() -> Vec<String> {
    let build = hello().url();
    let mut all: Vec<String> = [
        "/",
        "/all-builds",
        "/failed-builds",
        "/job/hello",
        "/job/hello/failed",
        "/robots.txt",
    ]
    .map(str::to_owned)
    .into();
    for below in [
        "",
        "/script",
        "/console",
        "/exec",
        "/all.tar.gz",
        "/f/opam-switch",
        "/f/bin/hello.hvt",
    ] {
        all.push(format!("{build}{below}"));
    }
    all
}

/// Every URL that answers with a redirect.
fn redirects() -> Vec<String> {
    let build = hello().url();
    let digest = Sha256::of(&hello().files[0].1);
    vec![
        "/job/hello/build/latest".to_owned(),
        "/job/hello/build/latest/main-binary".to_owned(),
        format!("{build}/main-binary"),
        format!("/hash?sha256={digest}"),
    ]
}

#[test]
fn every_page_answers_and_says_what_it_is() {
    let server = Server::of(&[hello()]);
    for target in targets() {
        let answer = server.get(&target);
        assert_eq!(answer.status, 200, "{target}");
        let is_page = !["/robots", "/script", "/console", "/exec", "/all.tar", "/f/"]
            .iter()
            .any(|file| target.contains(file));
        let html = answer.header("content-type") == Some("text/html; charset=utf-8");
        assert_eq!(html, is_page, "{target}");
    }
    for target in redirects() {
        assert!((300..400).contains(&server.get(&target).status), "{target}");
    }
}

#[test]
fn one_trailing_slash_is_as_good_as_none() {
    let server = Server::of(&[hello()]);
    for target in targets()
        .iter()
        .filter(|target| *target != "/" && !target.contains("/f/"))
    {
        let (plain, slash) = (server.get(target), server.get(&format!("{target}/")));
        assert_eq!(slash.status, 200, "{target}/");
        assert!(plain.body == slash.body, "{target}/");
        assert_eq!(server.get(&format!("{target}//")).status, 404, "{target}//");
    }
    for target in redirects() {
        let slashed = target.replace("?", "/?");
        let slashed = if slashed == target {
            format!("{target}/")
        } else {
            slashed
        };
        let (plain, slash) = (server.location(&target), server.location(&slashed));
        // Below latest/ the rest is handed on as it is.
        assert_eq!(slash.1.trim_end_matches('/'), plain.1, "{slashed}");
        assert_eq!(slash.0, plain.0);
    }
}

#[test]
fn a_query_string_that_means_nothing_changes_nothing() {
    let server = Server::of(&[hello()]);
    for target in targets() {
        let (plain, queried) = (
            server.get(&target),
            server.get(&format!("{target}?utm=x&y=%ff&&=")),
        );
        assert_eq!(queried.status, 200, "{target}");
        assert!(plain.body == queried.body, "{target}");
    }
    for target in redirects() {
        let mark = if target.contains('?') { '&' } else { '?' };
        assert_eq!(
            server.location(&format!("{target}{mark}utm=x")),
            server.location(&target)
        );
    }
    let upload = server.send(
        "POST",
        "/upload?utm=x",
        &[("authorization", &basic(BUILDER))],
        build("x", 2).exec(),
    );
    assert_eq!(upload.status, 201);
}

#[test]
fn head_answers_as_get_does_without_the_body() {
    let server = Server::of(&[hello()]);
    let address = server.listen();
    let mut all = targets();
    all.extend(redirects());
    all.extend([
        "/nowhere".to_owned(),
        "/job/none".to_owned(),
        "/hash".to_owned(),
    ]);
    for target in all {
        for accept in ["text/html", "application/json"] {
            let headers = [("accept", accept)];
            let get = exchange(address, "GET", &target, &headers, b"");
            let head = exchange(address, "HEAD", &target, &headers, b"");
            assert_eq!(head.status, get.status, "{target}");
            let mut differing: Vec<&str> = Vec::new();
            for name in get.headers.keys().chain(head.headers.keys()) {
                // What is not known before it is made has no length, and no body to tell how it is sent.
                if !["date", "transfer-encoding", "x-request-id"].contains(&name.as_str())
                    && get.headers.get(name) != head.headers.get(name)
                {
                    differing.push(name.as_str());
                }
            }
            assert_eq!(differing, Vec::<&str>::new(), "{target}");
            let length = get.header("content-length");
            if target.ends_with("all.tar.gz") {
                assert_eq!(length, None);
            } else {
                assert_eq!(
                    length,
                    Some(get.body.len().to_string().as_str()),
                    "{target}"
                );
            }
        }
    }
}

#[test]
fn other_methods_are_refused_with_those_that_are_possible() {
    let server = Server::of(&[hello()]);
    let mut all = targets();
    all.extend(redirects());
    for target in all {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = server.send(method, &target, &[], "");
            assert_eq!(answer.status, 405, "{method} {target}");
            assert_eq!(
                answer.header("allow"),
                Some("GET,HEAD"),
                "{method} {target}"
            );
        }
    }
    for target in ["/upload", "/upload/", "/job/x/platform/y/upload"] {
        for method in ["GET", "PUT", "HEAD"] {
            let answer = server.send(method, target, &[], "");
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some("POST")),
                "{target}"
            );
        }
    }
    assert_eq!(server.send("DELETE", "/nowhere", &[], "").status, 404);
}

#[test]
fn what_does_not_exist_is_a_page_with_a_way_on() {
    let server = Server::of(&[hello()]);
    let uuid = hello().uuid;
    let unknown = build("", 99).uuid;
    for target in [
        "/nowhere".to_owned(),
        "/job".to_owned(),
        "/job/".to_owned(),
        "/job/none".to_owned(),
        "/job/none/failed".to_owned(),
        "/job/none/build/latest".to_owned(),
        "/job/none/build/latest/main-binary".to_owned(),
        "/job/hello/build".to_owned(),
        "/job/hello/build/latest?platform=none".to_owned(),
        format!("/job/hello/build/{unknown}"),
        format!("/job/hello/build/{unknown}/main-binary"),
        format!("/job/hello/build/{unknown}/f/bin/hello.hvt"),
        format!("/job/hello/build/{unknown}/script"),
        format!("/job/hello/build/{unknown}/console"),
        format!("/job/hello/build/{unknown}/exec"),
        format!("/job/hello/build/{unknown}/all.tar.gz"),
        format!("/job/hello/build/{uuid}/f/none"),
        format!("/job/hello/build/{uuid}/nothing"),
        // More, or less, than a uuid (O6).
        format!("/job/hello/build/{uuid}zz"),
        format!("/job/hello/build/{uuid}zz/script"),
        format!("/job/hello/build/{{{uuid}}}")
            .replace('{', "%7B")
            .replace('}', "%7D"),
        format!("/job/hello/build/{}", uuid.simple()),
        "/job/hello/build/x".to_owned(),
        format!("/hash?sha256={}", "0".repeat(64)),
    ] {
        for json in [false, true] {
            let accept = if json {
                "application/json"
            } else {
                "text/html"
            };
            let headers = [
                ("accept", accept),
                ("accept-encoding", "gzip"),
                ("host", "b.example"),
                ("referer", "https://b.example/job/hello?x=1"),
            ];
            let answer = server.get_with(&target, &headers);
            assert_eq!(answer.status, 404, "{target}");
            assert_eq!(answer.header("content-encoding"), None, "{target}");
            let vary = answer.header("vary");
            assert_eq!(vary, Some("accept, sec-fetch-dest"), "{target}");
            if json {
                assert!(answer.json()["error"].is_string(), "{target}");
            } else {
                let text = answer.text();
                assert!(text.contains("This page does not exist"), "{target}");
                assert!(text.contains("href=\"/job/hello?x=1\""), "{target}: {text}");
            }
        }
    }
    let elsewhere = [
        ("host", "b.example"),
        ("referer", "https://elsewhere.example/"),
    ];
    assert!(
        !server
            .get_with("/nowhere", &elsewhere)
            .text()
            .contains("elsewhere")
    );
}

#[test]
fn a_uuid_may_be_written_in_upper_case_and_is_shown_in_lower_case() {
    let server = Server::of(&[hello()]);
    let upper = format!(
        "/job/hello/build/{}",
        hello().uuid.to_string().to_uppercase()
    );
    let page = server.page(&upper);
    assert!(page.contains(&hello().uuid.to_string()));
    assert!(!page.contains(&hello().uuid.to_string().to_uppercase()));
    assert_eq!(server.json(&upper)["uuid"], hello().uuid.to_string());
    assert!(
        server
            .location(&format!("{upper}/main-binary"))
            .1
            .starts_with(&hello().url())
    );
}

fn odd() -> Vec<Build> {
    [
        "a b+c",
        "100%",
        "q\"<b>&'",
        "x?y#z",
        "…",
        "..x",
        "é;,=@:!$*()",
        "back\\slash",
        "|^{}[]`~",
        "%2e%2e",
        "latest",
        "failed",
    ]
    .into_iter()
    .zip(100..)
    .map(|(job, number)| {
        build(job, number)
            .platform(["a,b", "p q&r=s+t%", "ü\"<"][usize::try_from(number % 3).unwrap()])
            .file(
                "bin/x~1 y",
                unikernel("spt", &[("block", "a\"<"), ("net", "b")]),
            )
            .file("doc/a+b&c=d?e#f%20 %2e.txt", "odd")
            .file("..x/ü ß/…", "odd")
            .file("latest", "odd")
            .file("README.md", "# Read\n\nme")
    })
    .collect()
}

/// The links of a page, as a browser would follow them.
fn links(html: &str) -> BTreeSet<String> {
    let mut links = BTreeSet::new();
    for attribute in [" href=\"", " src=\"", " action=\""] {
        for part in html.split(attribute).skip(1) {
            let link = part.split('"').next().unwrap();
            // Within the page, or of the page itself.
            if link.starts_with('#') || link.starts_with("data:") {
                continue;
            }
            let link = link
                .replace("&#34;", "\"")
                .replace("&#39;", "'")
                .replace("&#60;", "<")
                .replace("&#62;", ">");
            links.insert(link.replace("&#38;", "&").replace("&amp;", "&"));
        }
    }
    links
}

#[test]
fn every_link_on_every_page_leads_somewhere_on_this_server_whatever_the_names() {
    let mut builds = odd();
    builds.extend(
        (20..70).map(|number| build("fails", number).later(i64::try_from(number).unwrap())),
    );
    builds.push(build("a b+c", 90).later(500).file("bin/x~1 y", "newer"));
    builds.push(hello());
    let server = Server::of(&builds);
    let mut todo = vec!["/".to_owned(), "/failed-builds".to_owned()];
    let mut seen: BTreeMap<String, u16> = BTreeMap::new();
    while let Some(target) = todo.pop() {
        if seen.contains_key(&target) {
            continue;
        }
        let answer = server.get(&target);
        seen.insert(target.clone(), answer.status);
        let fine = matches!(answer.status, 200 | 302 | 307) || target == "/hash";
        assert!(fine, "{target} answers {}", answer.status);
        if answer.header("content-type") == Some("text/html; charset=utf-8") {
            for link in links(&answer.text()) {
                // Where the page is, is told with the host.
                let own = link.strip_prefix("http://localhost");
                let link = own.unwrap_or(&link).to_owned();
                assert!(
                    link.starts_with('/') && !link.starts_with("//"),
                    "{link} on {target}"
                );
                todo.push(link);
            }
        }
    }
    // Each build has its page, and on it are its files.
    for build in odd() {
        // A line of its console is no other page.
        let of_build: std::collections::BTreeSet<&str> = seen
            .keys()
            .filter(|url| url.contains(&build.uuid.to_string()))
            .map(|url| url.split(['#', '?']).next().unwrap())
            .collect();
        assert_eq!(
            of_build.len(),
            1 + 4 + ["console", "console.html", "script", "all.tar.gz", "exec"].len(),
            "{of_build:?}"
        );
    }
    assert!(
        seen.keys()
            .filter(|url| url.starts_with("/failed-builds"))
            .count()
            >= 3
    );
}

#[test]
fn redirects_are_written_as_the_oldest_clients_parse_them() {
    let odd = build("a b+c", 1).platform("a,b").file("bin/x~1 y", "x");
    let other = build("a b+c", 2)
        .later(60)
        .platform("other")
        .file("bin/x~1 y", "y");
    let server = Server::of(&[odd.clone(), other.clone()]);
    let of = |build: &Build| format!("/job/a%20b+c/build/{}", build.uuid);
    let (first, second) = (of(&odd), of(&other));
    let digest = Sha256::of(b"x");
    for (target, status, location) in [
        ("/job/a%20b+c/build/latest".to_owned(), 307, second.clone()),
        ("/job/a%20b+c/build/latest/".to_owned(), 307, second.clone()),
        (
            "/job/a%20b%2Bc/build/latest".to_owned(),
            307,
            second.clone(),
        ),
        (
            "/job/%61%20b%2bc/build/latest?x=1".to_owned(),
            307,
            second.clone(),
        ),
        (
            "/job/a%20b+c/build/latest/main-binary".to_owned(),
            307,
            format!("{second}/main-binary"),
        ),
        (
            "/job/a%20b+c/build/latest/f/bin/a".to_owned(),
            307,
            format!("{second}/f/bin/a"),
        ),
        (
            "/job/a%20b+c/build/latest/f/bin/x~1%20y".to_owned(),
            307,
            format!("{second}/f/bin/x~1%20y"),
        ),
        (
            "/job/a%20b+c/build/latest/f/a%2Fb%3f?q=1".to_owned(),
            307,
            format!("{second}/f/a%2Fb%3f"),
        ),
        (
            "/job/a%20b+c/build/latest/console/".to_owned(),
            307,
            format!("{second}/console/"),
        ),
        (
            "/job/a%20b+c/build/latest?platform=a,b".to_owned(),
            307,
            first.clone(),
        ),
        (
            "/job/a%20b+c/build/latest?platform=a%2Cb".to_owned(),
            307,
            first.clone(),
        ),
        (
            "/job/a%20b+c/build/latest?platform=".to_owned(),
            307,
            second.clone(),
        ),
        (
            "/job/a%20b+c/build/latest/main-binary?platform=a,b".to_owned(),
            307,
            format!("{first}/main-binary"),
        ),
        (
            "/job/a%20b+c/build/latest/f/bin/x?platform=a,b&y=1".to_owned(),
            307,
            format!("{first}/f/bin/x"),
        ),
        (format!("/hash?sha256={digest}"), 302, first.clone()),
        (format!("/hash/?sha256={digest}&x=1"), 302, first.clone()),
        (
            format!("{first}/main-binary"),
            302,
            format!("{first}/f/bin/x~1%20y"),
        ),
        (
            format!("{first}/main-binary/"),
            302,
            format!("{first}/f/bin/x~1%20y"),
        ),
    ] {
        for accept in ["text/html", "application/json"] {
            let answer = server.get_with(&target, &[("accept", accept), ("host", "b.example")]);
            assert_eq!(
                (answer.status, answer.header("location")),
                (status, Some(location.as_str())),
                "{target}"
            );
            assert!(
                answer.body.is_empty() && answer.header("content-type").is_none(),
                "{target}"
            );
        }
    }
}

#[test]
fn a_digest_is_found_however_it_was_copied() {
    let server = Server::of(&[hello()]);
    let digest = Sha256::of(&hello().files[0].1).to_hex();
    for given in [
        digest.clone(),
        digest.to_uppercase(),
        format!("SHA256:{digest}"),
        format!("sha256:{digest}"),
        format!("%20{digest}%0A"),
        format!("+SHA256:+{digest}+"),
    ] {
        assert_eq!(
            server.location(&format!("/hash?sha256={given}")).1,
            hello().url(),
            "{given}"
        );
    }
    for (query, status) in [
        (String::new(), 400),
        ("?sha256=".to_owned(), 400),
        ("?sha256=xyz".to_owned(), 400),
        (format!("?sha256={}", &digest[1..]), 400),
        (format!("?sha256={digest}0"), 400),
        (format!("?sha256=md5:{digest}"), 400),
        (format!("?SHA256={digest}"), 400),
        (format!("?sha256={}", "0".repeat(64)), 404),
    ] {
        assert_eq!(
            server.get(&format!("/hash{query}")).status,
            status,
            "{query}"
        );
    }
}

#[test]
fn a_digest_leads_to_the_newest_build_that_has_it_by_start_time_not_by_upload() {
    let old = build("hello", 1).file("x", "same");
    let newer = build("other", 2).later(60).file("bin/y", "same");
    let server = Server::of(&[newer.clone(), old.clone()]);
    let target = format!("/hash?sha256={}", Sha256::of(b"same"));
    assert_eq!(server.location(&target).1, newer.url());
}

#[test]
fn latest_is_the_newest_success_by_start_time_and_success_is_one_file_in_bin() {
    let ok = |number, seconds| {
        build("hello", number)
            .later(seconds)
            .file("bin/a", format!("{number}"))
    };
    let server = Server::of(&[
        ok(1, 100),
        // Uploaded later, built earlier.
        ok(2, 50),
        // The exit code is irrelevant.
        ok(3, 200).ended(ExecutionResult::Exited(1)),
        build("hello", 4).later(300),
        build("hello", 5)
            .later(400)
            .file("bin/a", "x")
            .file("bin/b", "y"),
        build("hello", 6).later(500).file("sbin/a", "x"),
    ]);
    assert_eq!(
        server.location("/job/hello/build/latest").1,
        build("hello", 3).url()
    );
    for number in [4, 5, 6] {
        assert_eq!(
            server
                .get(&format!("{}/main-binary", build("hello", number).url()))
                .status,
            404
        );
    }
    let failed = server.page("/failed-builds");
    for (number, listed) in [
        (1, false),
        (2, false),
        (3, false),
        (4, true),
        (5, true),
        (6, true),
    ] {
        assert_eq!(
            failed.contains(&build("hello", number).url()),
            listed,
            "{number}"
        );
    }
    assert!(server.page("/").contains(&build("hello", 3).url()));
}

#[test]
fn a_build_under_another_jobs_name_is_shown_under_its_own() {
    let server = Server::of(&[hello(), build("other", 2).file("bin/x", "x")]);
    let wrong = hello().url().replace("/job/hello/", "/job/other/");
    assert_eq!(server.json(&wrong)["job"], "hello");
    let page = server.page(&wrong);
    assert!(page.contains(&hello().url()) && !page.contains(&wrong));
    assert!(
        server
            .location(&format!("{wrong}/main-binary"))
            .1
            .starts_with(&hello().url())
    );
    for below in ["script", "console", "exec", "all.tar.gz", "f/opam-switch"] {
        assert_eq!(
            server.get(&format!("{wrong}/{below}")).status,
            200,
            "{below}"
        );
    }
}

#[test]
fn the_front_page_shows_the_newest_build_of_each_platform_and_the_newest_success() {
    let server = Server::of(&[
        build("hello", 1).file("bin/x", "1"),
        build("hello", 2).later(10).file("bin/x", "2"),
        build("hello", 3)
            .later(5)
            .platform("freebsd-14")
            .file("bin/x", "3"),
        build("hello", 4).later(20),
    ]);
    let page = server.page("/");
    for (number, shown) in [(1, false), (2, true), (3, true), (4, true)] {
        assert_eq!(
            page.contains(&build("hello", number).url()),
            shown,
            "{number}"
        );
    }
    assert!(page.find("debian-12").unwrap() < page.find("freebsd-14").unwrap());
    assert!(page.contains(&format!("SHA256:{}", Sha256::of(b"2"))));
    assert!(page.contains("2026-05-12 04:12:43Z"));
}

#[test]
fn a_job_that_says_nothing_of_itself_is_listed_all_the_same() {
    let server = Server::new();
    let manual = server.send(
        "POST",
        "/job/plain/platform/any/upload",
        &[("authorization", &basic(BUILDER))],
        "binary",
    );
    assert_eq!(manual.status, 201);
    for target in ["/", "/all-builds"] {
        let page = server.page(target);
        assert!(
            page.contains("Uncategorized") && page.contains("href=\"/job/plain\""),
            "{page}"
        );
    }
}

#[test]
fn jobs_without_a_build_of_late_are_off_the_front_page_unless_that_is_turned_off() {
    let server = Server::of(&[hello()]);
    let day = 24 * 60 * 60;
    let lists = |after_days: i64, expired: Option<u64>, target: &str| {
        let later = Timestamp::from_unix(now().unix_seconds() + after_days * day, 0).unwrap();
        let server = server.again(Clock::Stopped(later), |config| {
            config.expired_jobs = expired.map(|days| Duration::from_secs(days * 24 * 60 * 60));
        });
        server.page(target).contains("/job/hello")
    };
    assert!(lists(29, Some(30), "/"));
    assert!(!lists(31, Some(30), "/"));
    assert!(lists(31, Some(32), "/"));
    assert!(lists(10_000, None, "/"));
    assert!(lists(10_000, Some(30), "/all-builds"));
}

#[test]
fn a_job_leaves_the_front_page_when_its_time_has_come_without_a_restart() {
    let stopped = Server::new();
    let server = stopped.again(Clock::System, |config| {
        config.expired_jobs = Some(Duration::from_secs(2));
        config.limits.page_cache_time_max = Duration::ZERO;
    });
    server.add_user(("now", "pw"), false, crate::server::CHEAP);
    let begin = std::time::Instant::now();
    let manual = server.send(
        "POST",
        "/job/hello/platform/any/upload",
        &[("authorization", &basic(("now", "pw")))],
        "x",
    );
    assert_eq!(manual.status, 201);
    let listed = server.page("/").contains("/job/hello");
    // On a machine so slow that the time is over, nothing can be said.
    assert!(listed || begin.elapsed() > Duration::from_secs(1));
    wait_until("the job expires", || {
        !server.page("/").contains("/job/hello")
    });
    assert!(server.page("/all-builds").contains("/job/hello"));
}

#[test]
fn a_job_page_shows_what_the_job_is_and_keeps_the_platform_that_was_chosen() {
    let server = Server::of(&[
        hello(),
        build("hello", 2)
            .later(60)
            .platform("a,b")
            .file("bin/hello.hvt", "other")
            .file("README.md", "# Top"),
        build("hello", 3).later(70).platform("a,b"),
    ]);
    let page = server.page("/job/hello");
    for part in [
        "A hello unikernel",
        "<h3>Top</h3>",
        "/job/hello/failed\"",
        "/job/hello?platform=a,b\"",
        "/job/hello?platform=debian-12\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let chosen = server.page("/job/hello?platform=a,b");
    assert!(chosen.contains("/job/hello/failed?platform=a,b\""));
    assert!(chosen.contains(&build("hello", 2).url()) && !chosen.contains(&hello().url()));
    // It left nothing: it is told of as a failure, and is none of the outputs.
    let outputs = server.json("/job/hello?platform=a,b")["builds"].to_string();
    assert!(!outputs.contains(&build("hello", 3).uuid.to_string()));
    let (timeline, _) = chosen.split_once("<h2>Outputs</h2>").unwrap();
    assert!(timeline.contains(&build("hello", 3).url()));
    let failed = server.page("/job/hello/failed?platform=a,b");
    assert!(failed.contains("/job/hello?platform=a,b\""));
    assert!(failed.contains(&build("hello", 3).url()) && failed.contains(&build("hello", 2).url()));
    let none = server.get("/job/hello?platform=none");
    assert!(none.status == 200 && none.text().contains("There are none on none"));
}

#[test]
fn failed_builds_are_listed_newest_first_in_pages() {
    let server = Server::of(
        &(1..=25)
            .map(|number| {
                let platform = if number == 7 { "a,b" } else { "debian-12" };
                build("hello", number)
                    .later(i64::try_from(number).unwrap())
                    .platform(platform)
            })
            .collect::<Vec<_>>(),
    );
    let shown = |target: &str| -> Vec<u128> {
        let page = server.page(target);
        let mut at: Vec<(usize, u128)> = (1..=25)
            .filter_map(|n| Some((page.find(&build("hello", n).url())?, n)))
            .collect();
        at.sort_unstable();
        at.into_iter().map(|(_, number)| number).collect()
    };
    let down = |from: u128, to: u128| -> Vec<u128> { (to..=from).rev().collect() };
    assert_eq!(shown("/failed-builds"), down(25, 6));
    assert!(
        server
            .page("/failed-builds")
            .contains("href=\"/failed-builds?count=20&#38;start=20\"")
    );
    assert_eq!(shown("/failed-builds?count=20&start=20"), down(5, 1));
    assert_eq!(shown("/failed-builds?count=3&start=1"), down(24, 22));
    assert_eq!(shown("/failed-builds?count=x&start=-1"), down(25, 6));
    assert_eq!(shown("/failed-builds?platform=a,b"), [7]);
    assert_eq!(shown("/failed-builds?count=99999999999"), down(25, 6));
    assert_eq!(shown("/failed-builds?count=4000000000"), down(25, 1));
    assert_eq!(shown("/failed-builds?count=-1").len(), 20);
    assert!(
        server
            .page("/failed-builds?start=4294967295&count=4294967295")
            .contains("No failed builds to list")
    );
    assert!(
        server
            .page("/failed-builds?start=25")
            .contains("No failed builds to list 🥳")
    );
    assert!(
        !server
            .page("/failed-builds?start=5")
            .contains("rel=\"next\"")
    );
}

#[test]
fn a_build_page_tells_whether_it_was_reproduced() {
    let main = |number, seconds, input: &str, output: &str| {
        build("hello", number)
            .later(seconds)
            .input(input)
            .file("bin/x", output)
    };
    let verdict = |builds: &[Build], says: &str, names: &[&Build]| {
        let server = Server::of(builds);
        let page = server.page(&builds[0].url());
        assert!(page.contains(says), "{says} in {page}");
        for build in names {
            assert!(page.contains(&build.url()), "{page}");
        }
    };
    let first = main(1, 0, "i", "o");
    let (again, third) = (
        main(2, 10, "i", "o").platform("other"),
        main(3, 20, "i", "o"),
    );
    let (other_output, other_input) = (main(4, 30, "i", "p"), main(5, 40, "j", "o"));
    verdict(
        std::slice::from_ref(&first),
        "Built once from this input",
        &[],
    );
    verdict(
        &[first.clone(), again.clone()],
        "Reproduced by 1 other build",
        &[&again],
    );
    verdict(
        &[first.clone(), again.clone(), third.clone()],
        "Reproduced by 2 other builds",
        &[&again, &third],
    );
    verdict(
        &[first.clone(), again.clone(), other_output.clone()],
        "Not reproducible",
        &[&other_output, &again],
    );
    verdict(
        &[first.clone(), other_input.clone()],
        "Built once from this input",
        &[&other_input],
    );
    verdict(
        &[build("hello", 6).file("bin/x", "x")],
        "Its input was not recorded",
        &[],
    );
    verdict(&[build("hello", 7)], "no main binary", &[]);
}

#[test]
fn a_build_page_shows_its_files_digests_devices_and_neighbours() {
    let before = build("hello", 2).later(-60).file("bin/hello.hvt", "before");
    let after = build("hello", 3).later(60).file("bin/hello.hvt", "after");
    let newest = build("hello", 4).later(120).file("bin/hello.hvt", "newest");
    let two = build("two", 5).file(
        "bin/two.hvt",
        unikernel(
            "hvt",
            &[("net", "service"), ("block", "disk"), ("net", "m")],
        ),
    );
    let none = build("none", 6).file("bin/none.spt", unikernel("spt", &[]));
    let server = Server::of(&[
        hello(),
        before.clone(),
        after.clone(),
        newest.clone(),
        two.clone(),
        none.clone(),
    ]);
    let page = server.page(&hello().url());
    for (path, content) in hello()
        .files
        .iter()
        .filter(|(path, _)| !path.ends_with(b"README.md"))
    {
        assert!(page.contains(&format!("/f/{}\"", String::from_utf8_lossy(path))));
        assert!(page.contains(&format!("SHA256:{}", Sha256::of(content))));
    }
    assert!(!page.contains("README.md"));
    for part in [
        "exited 0",
        "20 s",
        "2026-05-12 04:12:33Z",
        "debian-12",
        &before.url(),
        &after.url(),
        &newest.url(),
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let devices = |build: &Build| server.page(&build.url()).replace("&#34;", "'");
    assert!(devices(&hello()).contains("solo5 hvt with net devices 'service'"));
    assert!(
        devices(&two)
            .contains("solo5 hvt with block devices 'disk', and net devices 'service', 'm'")
    );
    assert!(devices(&none).contains("solo5 spt with no devices in solo5 manifest"));
}

#[test]
fn a_page_shows_an_upload_at_once_also_one_by_another_process() {
    let server = Server::of(&[hello()]);
    let other = server.again(Clock::Stopped(now()), |_| {});
    assert!(!server.page("/").contains("/job/second"));
    assert!(!other.page("/").contains("/job/second"));
    server.keep(&build("second", 2).file("bin/x", "x"));
    for server in [&server, &other] {
        assert!(server.page("/").contains("/job/second"));
    }
    assert!(!other.page("/job/second").contains("y.hvt"));
    server.keep(&build("second", 3).later(60).file("bin/y.hvt", "y"));
    assert!(other.page("/job/second").contains("y.hvt"));
}

#[test]
fn crawlers_are_asked_to_leave_large_things_alone() {
    let server = Server::new();
    let answer = server.get("/robots.txt");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let text = answer.text();
    assert!(text.starts_with("User-agent: *\n"));
    for what in [
        "f/",
        "main-binary",
        "script",
        "console",
        "all.tar.gz",
        "exec",
    ] {
        assert!(
            text.contains(&format!("Disallow: /job/*/build/*/{what}\n")),
            "{what}"
        );
    }
    assert!(text.contains("Disallow: /compare/\n"));
}

#[test]
fn every_build_can_be_taken_to_another_server_and_the_page_says_what_that_leaves_out() {
    let bare = build("bare", 1);
    let full = build("full", 2).file("bin/x", "x");
    let server = Server::of(&[bare.clone(), full.clone()]);
    for build in [&bare, &full] {
        let page = server.page(&build.url());
        assert!(page.contains(&format!("href=\"{}/exec\"", build.url())));
        assert!(page.contains("Build hashes are not kept"));
        assert!(!page.contains("as it was uploaded"));
    }
}

#[test]
fn the_latest_build_is_among_other_outputs_only_if_its_output_is_another() {
    let one = build("hello", 1).file("bin/x", "x");
    let same = build("hello", 2).later(60).file("bin/x", "x");
    let other = build("hello", 3).later(120).file("bin/x", "y");
    let heading = "<h2>Other outputs on debian-12</h2>";
    let server = Server::of(&[one.clone(), same.clone()]);
    let page = server.page(&one.url());
    assert!(!page.contains(heading));
    assert!(page.contains("The latest build on debian-12 has the same output"));
    assert!(!server.page(&same.url()).contains("The latest build"));
    server.keep(&other);
    let page = server.page(&one.url());
    let (_, below) = page.split_once(heading).unwrap();
    assert!(below.contains("The latest build:"));
    assert!(!page.contains("has the same output"));
}

#[test]
fn a_front_page_of_many_jobs_leads_to_its_sections() {
    let server = Server::new();
    let keep = |number: u128| {
        let mut build = build(&format!("job-{number}"), number).file("bin/hello.hvt", "hello");
        if number.is_multiple_of(2) {
            build = build.file("opam-switch", switch("hello", MIRAGE, "A hello unikernel"));
        }
        server.keep(&build);
    };
    (1..=10).for_each(keep);
    assert!(!server.page("/").contains("href=\"#section-1\""));
    (11..=31).for_each(keep);
    let page = server.page("/");
    for (number, name) in [(1, "Unikernels"), (2, "Uncategorized")] {
        assert!(page.contains(&format!("<a href=\"#section-{number}\">{name}</a>")));
        assert!(page.contains(&format!("<h2 id=\"section-{number}\">{name}</h2>")));
    }
}
