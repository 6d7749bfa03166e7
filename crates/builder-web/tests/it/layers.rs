//! Rules of the code's layers that no compiler checks: who may name what.

use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A source without its tests, which stand at its end, and without comments.
struct Source {
    path: String,
    code: String,
}

/// The sources below a directory of a crate.
fn sources(directory: &str) -> Vec<Source> {
    let mut all = Vec::new();
    let mut todo = vec![workspace().join("crates").join(directory)];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let lines = code
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                let lines = lines.map(|line| line.split(" // ").next().unwrap());
                let crates = workspace().join("crates");
                all.push(Source {
                    path: path.strip_prefix(crates).unwrap().display().to_string(),
                    code: lines.collect::<Vec<_>>().join("\n"),
                });
            }
        }
    }
    assert!(!all.is_empty(), "{directory} has sources");
    all
}

/// The names in a section of a crate's `Cargo.toml`.
fn dependencies(name: &str, sections: &[&str]) -> Vec<String> {
    let manifest =
        std::fs::read_to_string(workspace().join("crates").join(name).join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut all = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim();
        } else if sections.contains(&section)
            && let Some((name, _)) = line.split_once(['.', ' ', '='])
            && !name.is_empty()
            && !name.starts_with('#')
        {
            all.push(name.to_owned());
        }
    }
    let has_section = sections.iter().any(|section| manifest.contains(section));
    assert_eq!(has_section, !all.is_empty(), "dependencies of {name}");
    all
}

const RUN: &[&str] = &["[dependencies]", "[build-dependencies]"];
const ALL: &[&str] = &[
    "[dependencies]",
    "[build-dependencies]",
    "[dev-dependencies]",
];

/// Only these files say one of these words.
fn only(directory: &str, words: &[&str], allowed: &[&str]) {
    let mut used = 0;
    for source in sources(directory) {
        for word in words.iter().filter(|word| source.code.contains(**word)) {
            let may = allowed.iter().any(|file| source.path.ends_with(file));
            assert!(may, "{} says {word}, which is for {allowed:?}", source.path);
            used += 1;
        }
    }
    assert!(
        allowed.is_empty() || used > 0,
        "{words:?} is said nowhere: is the rule still right?"
    );
}

#[test]
fn the_web_crate_cannot_reach_a_database_or_a_bucket() {
    for driver in [
        "rusqlite",
        "libsqlite3-sys",
        "sqlx",
        "diesel",
        "postgres",
        "tokio-postgres",
        "object_store",
    ] {
        let all = dependencies("builder-web", ALL);
        assert!(
            !all.iter().any(|name| name == driver),
            "builder-web depends on {driver}"
        );
    }
    only(
        "builder-web/src",
        &["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM"],
        &[],
    );
}

#[test]
fn parsers_touch_nothing_but_what_they_are_given() {
    for name in [
        "artifact-diff",
        "builder-exec",
        "builder-viz",
        "opam-file",
        "solo5-elf",
        "symbol-names",
    ] {
        for dependency in dependencies(name, RUN) {
            assert!(
                !["tokio", "hyper", "axum", "rusqlite", "rustix"].contains(&dependency.as_str()),
                "{name}: {dependency}"
            );
        }
        let words = [
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "SystemTime",
            "Instant::now",
            "tokio",
            "tracing",
        ];
        only(&format!("{name}/src"), &words, &[]);
    }
}

#[test]
fn the_store_waits_for_nobody() {
    for dependency in dependencies("builder-store", RUN) {
        assert!(
            !["tokio", "hyper", "axum", "futures-util"].contains(&dependency.as_str()),
            "{dependency}"
        );
    }
    only(
        "builder-store/src",
        &["async fn", "async move", ".await", "tokio"],
        &[],
    );
}

#[test]
fn only_the_stores_database_files_name_the_driver() {
    // error.rs keeps the driver's error as a cause, store.rs keeps its connections.
    only(
        "builder-store/src",
        &["rusqlite"],
        &[
            "src/db.rs",
            "db/own.rs",
            "db/sqlite.rs",
            "db/record.rs",
            "db/sole.rs",
            "db/writer.rs",
            "src/error.rs",
            "src/store.rs",
        ],
    );
}

#[test]
fn work_moves_to_another_thread_in_one_place() {
    // app.rs for requests; the two kinds of bodies, which are polled after the request's handler
    // has ended; and the server's start, before there is a request.
    only(
        "builder-web/src",
        &["spawn_blocking"],
        &[
            "src/app.rs",
            "src/stream.rs",
            "src/file_body.rs",
            "cli/serve.rs",
            // Looks for hooks after the answer, when no request is at hand any more.
            "upload/hooks.rs",
        ],
    );
}

#[test]
fn a_page_knows_no_other_page() {
    for source in sources("builder-web/src/pages") {
        for word in ["crate::pages", "super::"] {
            assert!(!source.code.contains(word), "{} says {word}", source.path);
        }
    }
}

#[test]
fn a_url_is_spelled_in_one_place() {
    for source in sources("builder-web/src") {
        let may = source.path.ends_with("src/urls.rs");
        // What crawlers are told are patterns of their own language.
        let code = source.code.replace("Disallow: /job/", "");
        assert!(
            may || !code.contains("/job/") || source.path.ends_with("cli/demo.rs"),
            "{} spells a URL",
            source.path
        );
    }
    for template in templates() {
        assert!(
            !template.code.contains("\"/job/") && !template.code.contains("/build/"),
            "{}",
            template.path
        );
    }
}

#[test]
fn the_time_is_asked_for_in_one_place() {
    for directory in ["builder-web/src", "builder-store/src", "demo-builds/src"] {
        let allowed: &[&str] = if directory == "builder-web/src" {
            &["src/clock.rs"]
        } else {
            &[]
        };
        only(directory, &["SystemTime::now"], allowed);
    }
}

#[test]
fn the_status_of_an_error_is_picked_in_one_place() {
    let statuses = [
        "BAD_REQUEST",
        "UNAUTHORIZED",
        "FORBIDDEN",
        "CONFLICT",
        "PAYLOAD_TOO_LARGE",
        "INTERNAL_SERVER_ERROR",
        "INSUFFICIENT_STORAGE",
        "NOT_FOUND",
    ];
    only(
        "builder-web/src",
        &statuses
            .map(|status| format!("StatusCode::{status}"))
            .each_ref()
            .map(|status| status.as_str()),
        &["src/error.rs"],
    );
}

fn templates() -> Vec<Source> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let all: Vec<Source> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| Source {
            code: std::fs::read_to_string(&path).unwrap(),
            path: path.display().to_string(),
        })
        .collect();
    assert!(all.len() > 5);
    all
}

#[test]
fn templates_escape_everything_and_load_nothing_from_elsewhere() {
    for mut template in templates() {
        // The one script, which every page has and works without.
        template.code = template
            .code
            .replace("<script src=\"{{ layout.script }}\" integrity=\"{{ layout.script_digest }}\"></script>", "");
        for word in [
            "|safe",
            "| safe",
            "|escape",
            "autoescape",
            "<script",
            "style=",
            "onclick",
            "http://",
            "https://",
            "javascript:",
        ] {
            assert!(
                !template.code.contains(word),
                "{} says {word}",
                template.path
            );
        }
    }
    // What is printed as it is can be made in one way only.
    only(
        "builder-web/src",
        &["filters::Safe", "HtmlSafe", "MaybeSafe", "MarkupDisplay"],
        &["src/markdown.rs"],
    );
}

#[test]
fn only_commands_print() {
    only(
        "builder-web/src",
        &["println!", "eprintln!", "print!("],
        &[],
    );
    only(
        "builder-web/src",
        &["io::stdout()", "io::stderr()"],
        &["src/cli.rs", "src/cli/log.rs"],
    );
    for name in [
        "builder-store",
        "builder-exec",
        "builder-viz",
        "opam-file",
        "solo5-elf",
        "symbol-names",
        "artifact-diff",
        "demo-builds",
    ] {
        only(
            &format!("{name}/src"),
            &["println!", "eprintln!", "dbg!"],
            &[],
        );
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_switched_off() {
    for name in [
        "builder-web",
        "builder-store",
        "builder-exec",
        "builder-viz",
        "opam-file",
        "solo5-elf",
        "symbol-names",
        "artifact-diff",
        "demo-builds",
    ] {
        for source in sources(&format!("{name}/src")) {
            let code = source.code.replace(['\n', ' '], "");
            assert!(
                !code.contains("#[allow(") && !code.contains("#![allow("),
                "{}",
                source.path
            );
            for part in code.split("[expect(").skip(1) {
                assert!(
                    part.split(")]").next().unwrap().contains("reason="),
                    "{}",
                    source.path
                );
            }
        }
    }
}
