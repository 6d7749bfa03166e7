//! Every URL there is, asked of a server whose builds are full of HTML and scripts: nothing of it runs.
//! The URLs are read from the program, so that one that is new is looked at, too.

use builder_exec::ExecutionResult;

use crate::attacks::{ATTRIBUTE, SCRIPT, hostile, percent};
use crate::build::{Build, switch};
use crate::server::Server;

/// Every pattern of a URL, as the router has them.
fn patterns() -> Vec<&'static str> {
    let lines = include_str!("../../src/urls.rs").lines();
    lines
        .filter_map(|line| {
            let (_, value) = line.strip_prefix("    pub const ")?.split_once(" = \"")?;
            value.strip_suffix("\";")
        })
        .collect()
}

/// What can be asked of a pattern about builds of [`hostile`].
fn targets(pattern: &str, builds: &[Build]) -> Vec<String> {
    let job = percent(std::str::from_utf8(&builds[0].job).unwrap());
    let (first, second) = (builds[0].uuid.to_string(), builds[1].uuid.to_string());
    let both = percent(&(SCRIPT.to_owned() + ATTRIBUTE));
    let path = format!("bin/{both}");
    let digest = builder_store::Sha256::of(&builds[0].files[0].1).to_hex();
    let plain = pattern
        .replace("{job}", &job)
        .replace("{platform}", &job)
        .replace("{left}", &first)
        .replace("{right}", &second)
        .replace("{name}", &percent(SCRIPT))
        .replace("{sha256}", &digest)
        .replace("{*rest}", &format!("f/{path}"));
    let mut all = Vec::new();
    for build in builds {
        let plain = plain.replace("{uuid}", &build.uuid.to_string());
        let paths = build.files.iter().map(|(path, _)| {
            let path = percent(std::str::from_utf8(path).unwrap());
            plain.replace("{*path}", &path.replace("%2F", "/"))
        });
        all.extend(paths);
        all.push(plain.replace("{*path}", &both));
    }
    all.sort();
    all.dedup();
    let queries = [
        format!("platform={job}&job={job}&class={both}&name={both}"),
        format!("q={both}&version={both}&find={both}&count={both}&cursor={both}"),
        format!("left={path}&right={path}&sha256={both}&before={both}&page={both}"),
    ];
    let with: Vec<String> = all
        .iter()
        .flat_map(|target| queries.iter().map(move |query| format!("{target}?{query}")))
        .collect();
    all.extend(with);
    all
}

/// How many elements of this name an HTML text has.
fn elements(html: &str, name: &str) -> usize {
    html.to_lowercase().matches(&format!("<{name}")).count()
}

/// Checks that nothing of theirs runs in an answer, whatever it is; the kind of the answer.
fn harmless(target: &str, answer: &crate::server::Answer) -> &'static str {
    assert!(answer.status < 500, "{target}: {}", answer.text());
    assert_eq!(
        answer.header("x-content-type-options"),
        Some("nosniff"),
        "{target}"
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{target}: {policy}");
    let file = policy.starts_with("sandbox");
    if file || answer.body.is_empty() {
        return "file";
    }
    let text = answer.text();
    let content_type = answer.header("content-type").unwrap_or_default();
    let (media, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    match media {
        "application/json" | "application/x-suggestions+json" => {
            serde_json::from_slice::<serde_json::Value>(&answer.body)
                .unwrap_or_else(|error| panic!("{target}: {error}: {text}"));
            "json"
        }
        "text/html" => {
            // The data of our own script in a picture is in a script, too.
            for bad in [
                SCRIPT,
                "<img",
                "<form action=\"http",
                "javascript:",
                "<iframe src=\"h",
            ] {
                assert!(!text.contains(bad), "{bad} on {target}: {text}");
            }
            for tag in text
                .split('<')
                .skip(1)
                .filter_map(|rest| rest.split('>').next())
            {
                let outside: String = tag.split('"').step_by(2).collect();
                for bad in ["onmouseover", "onerror", "onload"] {
                    assert!(!outside.contains(bad), "<{tag}> on {target}");
                }
            }
            "html"
        }
        media if media.ends_with("xml") => {
            let document = roxmltree::Document::parse(&text)
                .unwrap_or_else(|error| panic!("{target}: {error}: {text}"));
            for node in document.descendants().filter(roxmltree::Node::is_element) {
                let name = node.tag_name().name();
                assert!(
                    !["script", "iframe", "foreignObject"].contains(&name),
                    "{target}"
                );
                for attribute in node.attributes() {
                    assert!(!attribute.name().starts_with("on"), "{target}");
                    assert!(!attribute.value().starts_with("javascript:"), "{target}");
                }
            }
            "xml"
        }
        "text/plain" | "text/css" | "text/javascript" | "application/javascript" | "image/png" => {
            "other"
        }
        "application/openmetrics-text" => "other",
        other => panic!("{target} is {other}: is it harmless?"),
    }
}

#[test]
fn what_was_uploaded_runs_nowhere_on_any_url() {
    let failed = Build {
        files: Vec::new(),
        console: vec![(0, format!("error: {SCRIPT}{ATTRIBUTE}").into_bytes())],
        ..hostile(3)
    };
    // A picture of its packages has their names; a comparison has all there is.
    let switch = switch("x", "", "s").replacen(
        "installed: [",
        &format!("installed: [\"{SCRIPT}.1\" \"<b onmouseover=alert(8)>.2\" "),
        1,
    );
    let other = Build {
        script: format!("#!/bin/sh\n{SCRIPT}\n").into_bytes(),
        ..hostile(2)
    };
    let succeeded = hostile(4)
        .ended(ExecutionResult::Exited(0))
        .file("doc/opam-switch", &switch);
    let mut other = other.ended(ExecutionResult::Exited(0)).later(100);
    for (path, content) in &mut other.files {
        match path.as_slice() {
            b"opam-switch" => *content = switch.clone().into_bytes(),
            b"README.md" => {}
            _ => content.extend(ATTRIBUTE.as_bytes()),
        }
    }
    let builds = [succeeded, other, failed];
    let server = Server::of(&builds);
    let patterns = patterns();
    assert!(patterns.len() > 60, "{patterns:?}");
    let mut kinds = std::collections::BTreeMap::new();
    let mut walk = |accept: &str| {
        for pattern in &patterns {
            for target in targets(pattern, &builds) {
                let answer = server.get_with(&target, &[("accept", accept)]);
                *kinds.entry(harmless(&target, &answer)).or_insert(0) += 1;
                // Our own script, and no other.
                if answer.header("content-type") == Some("text/html; charset=utf-8")
                    && !target.contains("/viz")
                    && !answer
                        .header("content-security-policy")
                        .unwrap()
                        .starts_with("sandbox")
                {
                    assert_eq!(elements(&answer.text(), "script"), 1, "{target}");
                }
            }
        }
    };
    walk("text/html");
    walk("application/json");
    // What is said of builds whose artifacts were removed is the same.
    let datadir = server.datadir().to_str().unwrap();
    let vacuum = ["db", "vacuum", "except-latest", "1", "-d", datadir];
    crate::program::succeeds(server.datadir(), crate::program::BUILDER_WEB, &vacuum);
    walk("text/html");
    println!("{kinds:?}");
    for kind in ["file", "html", "json", "xml", "other"] {
        assert!(
            kinds.get(kind).is_some_and(|count| *count > 20),
            "{kinds:?}"
        );
    }
}
