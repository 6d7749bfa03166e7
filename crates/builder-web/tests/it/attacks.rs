//! Attacks, each by its name: what was uploaded or asked for does not get out of its place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use builder_exec::ExecutionResult;
use builder_store::Sha256;

use crate::build::{Build, MIRAGE, build, switch, unikernel};
use crate::server::{BUILDER, Server, basic, exchange};

/// What would run if it came through anywhere.
pub(crate) const SCRIPT: &str = "<script>alert(1)</script>";
/// What would run if it came through inside of an attribute.
pub(crate) const ATTRIBUTE: &str = "\" onmouseover=\"alert(2)\" x='";

/// A build that attacks with every text that it brings. A job's name and a platform hold no slash.
pub(crate) fn hostile(number: u128) -> Build {
    let name = SCRIPT.replace('/', "\\") + ATTRIBUTE;
    let markdown = format!(
        "# {SCRIPT}\n\n[x](javascript:alert(3)) <img src=x onerror=alert(4)> ![x](https://evil.example/x.png)\n\n\
         <iframe src=\"https://evil.example\"></iframe><form action=\"https://evil.example\"><input name=x></form>\n\n\
         <a href=\"&#106;avascript:alert(5)\">x</a> <style>*{{background:url(https://evil.example)}}</style>\n\n\
         ```{ATTRIBUTE}\n{SCRIPT}\n```\n"
    );
    let synopsis = SCRIPT.replace('"', "'");
    let fields =
        format!("{MIRAGE} description: \"\"\"{SCRIPT} [x](javascript:alert(6)) {ATTRIBUTE}\"\"\"");
    build(&name, number)
        .platform(&name)
        .file(
            &format!("bin/{SCRIPT}{ATTRIBUTE}"),
            unikernel("hvt", &[("net", SCRIPT), ("block", ATTRIBUTE)]),
        )
        .file(&format!("{SCRIPT}{ATTRIBUTE}.html"), SCRIPT)
        .file("README.md", markdown)
        .file("opam-switch", switch("x", &fields, &synopsis))
        .file("build-environment", SCRIPT)
        .file("system-packages", SCRIPT)
        .ended(ExecutionResult::Message(
            format!("{SCRIPT}{ATTRIBUTE}").into_bytes(),
        ))
}

pub(crate) fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Every page that shows something of [`hostile`].
fn pages(job: &str, uuids: &[String]) -> Vec<String> {
    let job = percent(job);
    let mut all = vec![
        "/".to_owned(),
        "/all-builds".to_owned(),
        "/failed-builds".to_owned(),
        format!("/failed-builds?platform={job}"),
        format!("/failed-builds?platform={}", percent(ATTRIBUTE)),
        format!("/job/{job}"),
        format!("/job/{job}/failed"),
        format!("/job/{job}?platform={job}"),
        format!(
            "/job/{job}?platform={}",
            percent(&(SCRIPT.to_owned() + ATTRIBUTE))
        ),
        format!("/job/none{job}"),
        format!("/nowhere/{job}"),
        format!("/hash?sha256={job}"),
    ];
    all.extend(uuids.iter().map(|uuid| format!("/job/{job}/build/{uuid}")));
    all
}

#[test]
fn html_in_uploaded_texts_never_comes_through() {
    let failed = Build {
        files: Vec::new(),
        ..hostile(3)
    };
    let again = Build {
        start: failed.finish,
        ..hostile(2)
    };
    let builds = [hostile(1), again, failed];
    let server = Server::of(&builds);
    let job = String::from_utf8(builds[0].job.clone()).unwrap();
    let uuids: Vec<String> = builds.iter().map(|build| build.uuid.to_string()).collect();
    let mut shown = 0;
    for target in pages(&job, &uuids) {
        let answer = server.get_with(
            &target,
            &[("host", "b"), ("referer", "http://b/\"><script>")],
        );
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8"),
            "{target}"
        );
        // The one script that is ours, and nothing else that would run or be loaded.
        let whole = answer.text();
        let begin = whole.find("<script src=\"/script.js?v=").unwrap();
        let end = begin + whole[begin..].find("></script>").unwrap();
        let html = [&whole[..begin], &whole[end + "></script>".len()..]].concat();
        // Pictures of a build are in frames, at our own addresses.
        let html = html.replace("<iframe src=\"/job/%", "<our-frame \"/job/%");
        let lower = html.to_lowercase();
        for bad in [
            "<script",
            "<img",
            "<iframe",
            "<style",
            "<input name",
            "evil.example\"",
            "src=",
            "href=\"javascript",
        ] {
            assert!(!lower.contains(bad), "{bad} on {target}: {html}");
        }
        // Whatever is inside of a tag is ours: no attribute of theirs.
        for tag in html
            .split('<')
            .skip(1)
            .filter_map(|rest| rest.split('>').next())
        {
            let outside: String = tag.split('"').step_by(2).collect();
            for bad in ["onmouseover", "onerror", "alert"] {
                assert!(!outside.contains(bad), "<{tag}> on {target}");
            }
        }
        shown += usize::from(html.contains("alert(1)"));
    }
    assert!(
        shown >= 8,
        "the texts are shown, as texts: on {shown} pages"
    );
}

#[test]
fn html_in_uploaded_texts_is_data_in_json() {
    let server = Server::of(&[hostile(1)]);
    let answer = server.get_with("/all-builds", &[("accept", "application/json")]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let name = answer.json()["jobs"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(name.as_bytes(), hostile(1).job);
}

#[test]
fn no_page_may_run_scripts_but_its_own_or_load_from_elsewhere() {
    let server = Server::of(&[hostile(1)]);
    let digest = Sha256::of(&server.get("/script.js").body);
    let script = format!("'sha256-{}'", STANDARD.encode(digest.as_bytes()));
    let integrity = format!("integrity=\"{}\"", script.trim_matches('\''));
    assert!(server.page("/").contains(&integrity), "{integrity}");
    let job = String::from_utf8(hostile(1).job).unwrap();
    let mut all = pages(&job, &[hostile(1).uuid.to_string()]);
    all.extend([
        "/robots.txt".to_owned(),
        "/job/none/build/latest".to_owned(),
    ]);
    for target in all {
        let answer = server.get(&target);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("base-uri 'none'"),
            "{target}"
        );
        for loose in ["unsafe", "*", "http"] {
            assert!(!policy.contains(loose), "{policy}");
        }
        for directive in policy.split("; ") {
            let (name, sources) = directive.split_once(' ').unwrap();
            let allowed = match name {
                // The icon is in the page.
                "img-src" => "'self' data:",
                "script-src" => script.as_str(),
                "style-src" | "connect-src" | "frame-src" | "form-action" | "frame-ancestors" => {
                    "'self'"
                }
                _ => "'none'",
            };
            assert_eq!(sources, allowed, "{policy}");
        }
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{target}"
        );
        assert_eq!(
            answer.header("referrer-policy"),
            Some("same-origin"),
            "{target}"
        );
    }
}

#[test]
fn an_uploaded_script_cannot_become_part_of_a_page() {
    let build = build("hello", 1)
        .file("doc/x.js", "alert(1)")
        .file("doc/x.css", "p {}");
    let server = Server::of(std::slice::from_ref(&build));
    let style = server.get(&format!("{}/f/doc/x.css", build.url()));
    assert_eq!(
        style.header("vary"),
        Some("accept-encoding, sec-fetch-dest")
    );
    let target = format!("{}/f/doc/x.js", build.url());
    for (wanted, status) in [
        ("script", 403),
        ("serviceworker", 403),
        ("style", 403),
        ("document", 200),
        ("empty", 200),
    ] {
        let answer = server.get_with(&target, &[("sec-fetch-dest", wanted)]);
        assert_eq!(answer.status, status, "{wanted}");
        // Nor is it one that a cache has kept of a download.
        let vary = answer.header("vary").unwrap();
        assert!(vary.contains("sec-fetch-dest"), "{wanted}: {vary}");
    }
}

#[test]
fn an_uploaded_page_is_shown_in_a_sandbox() {
    let build = build("hello", 1)
        .file("bin/x", "x")
        .file("page.html", SCRIPT)
        .file("x.svg", "<svg onload='alert(1)'/>")
        .file("x.js", "alert(1)")
        .file("x.xml", "<x/>")
        .file("noextension", SCRIPT);
    let server = Server::of(std::slice::from_ref(&build));
    for below in [
        "f/page.html",
        "f/x.svg",
        "f/x.js",
        "f/x.xml",
        "f/noextension",
        "f/bin/x",
        "script",
        "console",
        "exec",
        "all.tar.gz",
    ] {
        for range in ["", "bytes=0-0"] {
            let target = format!("{}/{below}", build.url());
            let headers: &[(&str, &str)] = if range.is_empty() {
                &[]
            } else {
                &[("range", range)]
            };
            let answer = server.get_with(&target, headers);
            assert_eq!(
                answer.header("content-security-policy"),
                Some("sandbox; default-src 'none'"),
                "{target}"
            );
            assert_eq!(
                answer.header("x-content-type-options"),
                Some("nosniff"),
                "{target}"
            );
        }
    }
    for below in ["f/page.html", "f/x.svg", "f/x.js"] {
        let answer = server.get(&format!("{}/{below}", build.url()));
        assert!(
            answer
                .header("content-disposition")
                .unwrap()
                .starts_with("attachment"),
            "{below}"
        );
    }
}

#[test]
fn a_name_cannot_put_a_header_into_an_answer() {
    let odd = "x\u{2028}é\"; filename=evil; y=\\";
    let build = build(odd, 1)
        .file(&format!("bin/{odd}"), "x")
        .file(&format!("{odd}.txt"), "x");
    let server = Server::of(std::slice::from_ref(&build));
    let address = server.listen();
    let (job, uuid) = (percent(odd), build.uuid);
    for target in [
        format!("/job/{job}/build/latest"),
        format!("/job/{job}/build/latest/f/%0d%0aset-cookie:%20x"),
        format!("/job/{job}/build/{uuid}/main-binary"),
        format!("/job/{job}/build/{uuid}/f/bin/{job}"),
        format!("/job/{job}/build/{uuid}/f/{job}.txt"),
        format!("/job/{job}/build/{uuid}/exec"),
        "/job/x%0d%0aset-cookie:%20x/build/latest".to_owned(),
        "/job/x?platform=%0d%0aset-cookie:%20x".to_owned(),
        "/hash?sha256=%0d%0aset-cookie:%20x".to_owned(),
        "/%0d%0aset-cookie:%20x".to_owned(),
    ] {
        let answer = exchange(address, "GET", &target, &[], b"");
        assert!(answer.status < 500, "{target}");
        for (name, value) in &answer.headers {
            assert_ne!(name, "set-cookie", "{target}");
            assert!(
                value
                    .as_bytes()
                    .iter()
                    .all(|byte| (0x20..0x7f).contains(byte)),
                "{name} of {target}"
            );
        }
        if let Some(disposition) = answer.header("content-disposition") {
            assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
            assert!(disposition.contains("filename*=UTF-8''"), "{disposition}");
            let outside: String = disposition.split('"').step_by(2).collect();
            assert!(!outside.contains("evil;"), "{disposition}");
        }
        if let Some(location) = answer.header("location") {
            assert!(location.starts_with("/job/"), "{location}");
        }
    }
}

#[test]
fn a_redirect_never_leads_to_another_host() {
    let server = Server::of(&[build("\\evil.example", 1).file("bin/x", "x")]);
    for target in [
        "/job/%5Cevil.example/build/latest",
        "/job/%5Cevil.example/build/latest///evil.example/",
        "/job/%5Cevil.example/build/latest/%2F%2Fevil.example",
        "/job/%5Cevil.example/build/latest/@evil.example",
    ] {
        let (status, location) = server.location(target);
        assert_eq!(status, 307, "{target}");
        assert!(
            location.starts_with("/job/%5Cevil.example/build/f63a5b8a-"),
            "{location}"
        );
    }
    assert_eq!(server.get("//evil.example/").status, 404);
    assert_eq!(server.get("//evil.example/..").status, 404);
}

#[test]
fn a_path_cannot_leave_its_build() {
    let build = build("hello", 1).file("bin/x", "x").file("a/b", "b");
    let server = Server::of(std::slice::from_ref(&build));
    std::fs::write(server.datadir().join("secret"), "secret").unwrap();
    let address = server.listen();
    let up = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "%252e%252e",
        "..%00",
        "..%5c",
        "%c0%ae%c0%ae",
    ];
    let slash = ["/", "%2f", "%2F", "%252f", "%5c", "//"];
    for dots in up {
        for between in slash {
            let climb = format!("{dots}{between}").repeat(4);
            for target in [
                format!("{}/f/{climb}secret", build.url()),
                format!("{}/f/a/{climb}builder.sqlite3", build.url()),
                format!("{}/f/{climb}etc/passwd", build.url()),
                format!("/job/{climb}secret"),
                format!("/job/hello/build/{climb}secret"),
                format!("/job/hello/{climb}secret"),
                format!("/{climb}secret"),
            ] {
                let answer = exchange(address, "GET", &target, &[], b"");
                assert!(
                    [400, 404].contains(&answer.status),
                    "{target}: {}",
                    answer.status
                );
                assert!(
                    !answer.text().contains("root:") && answer.text() != "secret",
                    "{target}"
                );
            }
        }
    }
    for below in [
        "f//a/b",
        "f/a//b",
        "f/./a/b",
        "f/a/./b",
        "f/a/../a/b",
        "f/a%2fb/",
        "f//etc/passwd",
        "f/%2fetc%2fpasswd",
    ] {
        let answer = exchange(
            address,
            "GET",
            &format!("{}/{below}", build.url()),
            &[],
            b"",
        );
        assert_eq!(answer.status, 404, "{below}");
    }
}

#[test]
fn a_binary_uploaded_by_hand_cannot_leave_its_place() {
    let server = Server::new();
    let before = server.files();
    let around = std::fs::read_dir(server.datadir().parent().unwrap())
        .unwrap()
        .count();
    for (target, status) in [
        ("/job/%2e%2e/platform/p/upload", 400),
        ("/job/..%2fx/platform/p/upload", 400),
        ("/job/%2e%2e%2fx/platform/p/upload", 400),
        ("/job/%2Fetc/platform/p/upload", 400),
        ("/job/x/platform/..%2f..%2fx/upload", 400),
        ("/job/x/platform/%2e%2e/upload", 400),
        ("/job/_artifacts/platform/p/upload", 400),
        ("/job/builder.sqlite3/platform/p/upload", 400),
        ("/job/x/platform/p/upload?binary_name=..%2f..%2f..%2fx", 400),
        ("/job/x/platform/p/upload?binary_name=%2e%2e", 400),
        ("/job/a/../b/platform/p/upload", 404),
    ] {
        let headers = [("authorization", &*basic(BUILDER))];
        let answer = server.send("POST", target, &headers, "evil");
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert_eq!(server.files(), before, "{target}");
    }
    assert_eq!(
        std::fs::read_dir(server.datadir().parent().unwrap())
            .unwrap()
            .count(),
        around
    );
    // Encoded twice is a name with percent signs, and stays in its place.
    let headers = [("authorization", &*basic(BUILDER))];
    assert_eq!(
        server
            .send("POST", "/job/%252e%252e/platform/p/upload", &headers, "x")
            .status,
        201
    );
    assert!(server.datadir().join("%2e%2e").is_dir());
}

#[test]
fn sql_in_a_name_is_a_name() {
    let name = "x'; DROP TABLE build; --";
    let hostile = build(name, 1)
        .platform(name)
        .file(&format!("bin/{name}"), "x");
    let server = Server::of(&[build("hello", 2).file("bin/x", "y"), hostile.clone()]);
    let job = percent(name);
    assert_eq!(
        server.get(&format!("/job/{job}?platform={job}")).status,
        200
    );
    assert_eq!(
        server
            .get(&format!("/job/{job}/build/{}/f/bin/{job}", hostile.uuid))
            .text(),
        "x"
    );
    assert_eq!(
        server
            .get("/job/hello?platform=%27%20OR%201=1")
            .text()
            .matches("/build/")
            .count(),
        0
    );
    assert_eq!(
        server.json("/all-builds")["jobs"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn bytes_that_are_no_text_in_a_url_are_an_error_of_the_client() {
    let server = Server::of(&[build("hello", 1).file("bin/x", "x")]);
    for target in [
        "/job/%ff",
        "/job/%ff/build/latest",
        "/job/hello/build/%ff",
        "/job/hello/build/latest/%ff",
        "/%ff",
        "/job/%zz",
        "/job/%",
        "/job/hello?platform=%ff",
    ] {
        let status = server.get(target).status;
        assert!([200, 307, 400, 404].contains(&status), "{target}: {status}");
    }
}

#[test]
fn a_name_in_a_url_that_is_not_utf_8_is_answered_in_a_sentence() {
    let hello = build("hello", 1).file("bin/x", "x");
    let server = Server::of(std::slice::from_ref(&hello));
    for (target, name) in [
        ("/job/%ff".to_owned(), "job"),
        (format!("{}/f/%ff", hello.url()), "path"),
        (format!("/compare/%ff/{}", hello.uuid), "left"),
    ] {
        let answer = server.get_with(&target, &[("accept", "application/json")]);
        assert_eq!(answer.status, 404, "{target}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(
            error.contains(&format!("the {name} in this address")) && error.contains("UTF-8"),
            "{target}: {error}"
        );
    }
}

#[test]
fn a_request_smuggled_with_two_lengths_is_refused() {
    let server = Server::new();
    let address = server.listen();
    let authorization = basic(BUILDER);
    let exec = build("hello", 1).exec();
    let length = exec.len().to_string();
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", "5"),
        ("content-length", length.as_str()),
    ];
    assert_eq!(
        exchange(address, "POST", "/upload", &headers, b"").status,
        400
    );
}

#[test]
fn html_in_a_console_is_text() {
    let hello = Build {
        console: vec![(
            0,
            format!("{SCRIPT}{ATTRIBUTE}\u{1b}[31m\u{1b}]0;title\u{7}").into_bytes(),
        )],
        ..build("hello", 1)
    };
    let server = Server::of(std::slice::from_ref(&hello));
    let answer = server.get(&format!("{}/console", hello.url()));
    assert_eq!(answer.status, 200);
    if answer.header("content-type") == Some("text/html; charset=utf-8") {
        assert!(!answer.text().contains(SCRIPT), "{}", answer.text());
    } else {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("sandbox"));
    }
    for target in [
        hello.url(),
        "/failed-builds".to_owned(),
        "/job/hello/failed".to_owned(),
    ] {
        let html = server.page(&target);
        assert!(
            !html.contains(SCRIPT) && !html.contains("\" onmouseover"),
            "{target}"
        );
    }
}

#[test]
fn what_is_nothing_but_depth_or_length_is_taken_in_quickly() {
    let deep = [
        ("README.md", "> ".repeat(400_000)),
        ("README.md", "[".repeat(500_000)),
        ("README.md", "*a **a ".repeat(100_000)),
        ("opam-switch", "[".repeat(500_000)),
        ("opam-switch", format!("x: {}", "( ".repeat(300_000))),
        ("build-environment", "=".repeat(1_000_000)),
        ("system-packages", "\n".repeat(1_000_000)),
    ];
    let server = Server::new();
    for (number, (name, text)) in (1..).zip(&deep) {
        let begin = std::time::Instant::now();
        let bomb = build("bomb", number)
            .file("bin/x", number.to_string())
            .file(name, text);
        server.keep(&bomb);
        for target in [bomb.url(), "/job/bomb".to_owned(), "/".to_owned()] {
            assert_eq!(server.get(&target).status, 200, "{name} {number} {target}");
        }
        let other = build("bomb", 100 + number)
            .file("bin/x", "y")
            .file(name, "x");
        server.keep(&other);
        let compare = format!("/compare/{}/{}", bomb.uuid, other.uuid);
        assert_eq!(server.get(&compare).status, 200, "{name} {number}");
        let took = begin.elapsed();
        assert!(
            took < std::time::Duration::from_secs(20),
            "{name} {number}: {took:?}"
        );
    }
}

#[test]
fn what_looks_like_a_hash_or_a_uuid_and_is_none_finds_nothing() {
    let hello = build("hello", 1).file("bin/x", "x");
    let server = Server::of(std::slice::from_ref(&hello));
    let uuid = hello.uuid.to_string();
    let digest = builder_store::Sha256::of(b"x").to_hex();
    assert_eq!(server.get(&format!("/hash?sha256={digest}")).status, 302);
    let fullwidth: String = digest
        .chars()
        .map(|char| char::from_u32(u32::from(char) + 0xfee0).unwrap())
        .collect();
    for odd in [
        percent(&fullwidth),
        format!("0x{digest}"),
        format!("{digest}0"),
        digest[1..].to_owned(),
        format!("%2B{}", &digest[1..]),
        format!("-{}", &digest[1..]),
        format!("{}%00", &digest[..63]),
        format!("{}%EF%BC%91", &digest[..61]),
        digest.replace(|char: char| char.is_ascii_alphabetic(), "%D0%B0"),
    ] {
        let status = server.get(&format!("/hash?sha256={odd}")).status;
        assert!([400, 404].contains(&status), "{odd}: {status}");
    }
    for odd in [
        uuid.replace('-', ""),
        format!("%7B{uuid}%7D"),
        format!("urn:uuid:{uuid}"),
        format!("{uuid}z"),
        format!("{uuid}%00"),
        uuid.replace('-', "%E2%80%90"),
        uuid.replacen(|char: char| char.is_ascii_digit(), "%EF%BC%96", 1),
        format!("+{}", &uuid[1..]),
    ] {
        for target in [
            format!("/job/hello/build/{odd}"),
            format!("/compare/{odd}/{uuid}"),
        ] {
            let status = server.get(&target).status;
            assert!([400, 404].contains(&status), "{target}: {status}");
        }
    }
}
