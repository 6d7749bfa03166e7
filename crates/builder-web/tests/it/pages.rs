//! Pages: how their URLs may be written, and where their links and redirects lead.

use std::collections::{BTreeMap, BTreeSet};

use builder_exec::ExecutionResult;
use builder_store::Sha256;

use crate::build::{Build, MIRAGE, build, switch, unikernel};
use crate::server::{BUILDER, Server, basic, exchange};

/// One build with one of everything.
pub(crate) fn hello() -> Build {
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
