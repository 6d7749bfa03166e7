//! The documentation: whole, linked, and up to date with the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::call;
use crate::program::BUILDER_WEB;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The pages of the book, by their file names.
fn pages() -> BTreeSet<String> {
    let directory = fs::read_dir(workspace().join("docs/src")).unwrap();
    let names = directory.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).collect()
}

/// A chapter of the book, by the name of its file.
pub(crate) fn chapter(name: &str) -> String {
    fs::read_to_string(workspace().join("docs/src").join(name)).unwrap()
}

/// Where the links of a Markdown file lead, without anchors.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#', ' ']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[test]
fn every_page_of_the_book_is_in_its_contents_and_every_link_leads_to_a_file() {
    let pages = pages();
    let contents = fs::read_to_string(workspace().join("docs/src/SUMMARY.md")).unwrap();
    let listed: BTreeSet<String> = links(&contents).into_iter().map(str::to_owned).collect();
    let written: BTreeSet<String> = pages
        .iter()
        .filter(|page| *page != "SUMMARY.md")
        .cloned()
        .collect();
    assert_eq!(listed, written);
    let mut followed = 0;
    let of_root = ["README.md", "ARCHITECTURE.md", "CHANGES.md"].map(PathBuf::from);
    let of_book = pages.iter().map(|page| Path::new("docs/src").join(page));
    for file in of_book.chain(of_root) {
        let text = fs::read_to_string(workspace().join(&file)).unwrap();
        for target in links(&text) {
            let path = workspace().join(&file).with_file_name(target);
            assert!(path.exists(), "{target} in {}", file.display());
            followed += 1;
        }
    }
    assert!(followed > 15, "{followed} links");
}

/// What mdBook calls the place of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|char| match char {
        ' ' => Some('-'),
        '-' | '_' => Some(char),
        _ => char.is_alphanumeric().then(|| char.to_ascii_lowercase()),
    });
    kept.collect()
}

#[test]
fn every_link_into_a_chapter_leads_to_a_heading() {
    let mut followed = 0;
    for page in pages() {
        let text = chapter(&page);
        let targets = text.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split(')').next()?.split_once('#'));
        for (file, place) in targets.filter(|(file, _)| !file.contains("://")) {
            let other = chapter(if file.is_empty() { &page } else { file });
            let mut headings = other.lines().filter(|line| line.starts_with('#'));
            let found = headings.any(|line| anchor(line.trim_start_matches('#')) == place);
            assert!(found, "{file}#{place} in {page} leads nowhere");
            followed += 1;
        }
    }
    assert!(followed > 5, "{followed} links");
}

#[test]
fn every_option_of_the_server_is_documented() {
    let book: String = pages()
        .iter()
        .map(|page| fs::read_to_string(workspace().join("docs/src").join(page)).unwrap())
        .collect();
    let help = call(BUILDER_WEB, &["serve", "--help"], "");
    let help = String::from_utf8(help.stdout).unwrap();
    let options: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && *word != "--help")
        .map(|word| word.trim_end_matches([',', ';', '.']))
        .collect();
    assert!(options.len() > 20, "{options:?}");
    for option in options {
        assert!(book.contains(option), "{option} is on no page of the book");
    }
}

#[test]
fn every_variable_of_the_server_is_documented() {
    let book: String = pages().iter().map(|page| chapter(page)).collect();
    let help = call(BUILDER_WEB, &["serve", "--help"], "");
    let help = String::from_utf8(help.stdout).unwrap();
    let variables: BTreeSet<&str> = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split(['=', ']']).next())
        .collect();
    assert!(variables.contains("BUILDER_WEB_HOST"), "{variables:?}");
    for variable in variables {
        assert!(
            book.contains(variable),
            "{variable} is on no page of the book"
        );
    }
}

#[test]
fn what_to_do_on_each_alert_is_documented() {
    let rules = fs::read_to_string(workspace().join("packaging/alerts.yml")).unwrap();
    let runbook = chapter("alerts.md");
    let names = |text: &str, before: &str| -> Vec<String> {
        let names = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(before));
        names.map(str::to_owned).collect()
    };
    let alerts = names(&rules, "- alert: ");
    assert!(alerts.len() > 5, "{alerts:?}");
    assert_eq!(names(&runbook, "## "), alerts, "in the order of the rules");
}

#[test]
fn figures_of_the_dashboard_have_units_thresholds_and_one_table_each() {
    let dashboard = workspace().join("packaging/grafana-dashboard.json");
    let dashboard = fs::read_to_string(dashboard).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let (mut stats, mut tables) = (0, 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = &panel["title"];
        let Some(targets) = panel["targets"].as_array() else {
            continue;
        };
        let field = &panel["fieldConfig"]["defaults"];
        let with_unit = panel["fieldConfig"]["overrides"].to_string();
        for target in targets {
            let (expression, name) = (target["expr"].as_str().unwrap(), &target["refId"]);
            let of_its_own = with_unit.contains(&format!("\"options\":{name}"));
            let is_of_bytes = expression.contains("_bytes");
            let shown_as = field["unit"].as_str().unwrap();
            assert!(
                of_its_own || is_of_bytes == matches!(shown_as, "bytes" | "Bps"),
                "{title} shows {expression} as {shown_as}"
            );
        }
        match panel["type"].as_str().unwrap() {
            // Without, Grafana has its own: red from 80 on.
            "stat" => {
                assert!(field["thresholds"]["steps"].is_array(), "{title}");
                stats += 1;
            }
            "table" => {
                let merged = panel["transformations"].to_string().contains("\"merge\"");
                assert!(merged || targets.len() == 1, "{title} has several tables");
                tables += 1;
            }
            _ => {}
        }
    }
    assert!(stats > 5 && tables > 0);
}

#[test]
fn packages_are_all_made_with_the_same_rust() {
    let version = fs::read_to_string(workspace().join("packaging/rust-version")).unwrap();
    let version = version.trim();
    let container = fs::read_to_string(workspace().join("packaging/oci/Containerfile")).unwrap();
    assert!(container.contains(&format!("FROM rust:{version}-slim-bookworm")));
    // Else rustup looks for the one that rust-toolchain.toml names, which the image does not have.
    let toolchain = format!("ENV RUSTUP_TOOLCHAIN={version}\n");
    let copied = container.split_once("COPY . .").unwrap().0;
    assert!(copied.contains(&toolchain));
    let least = env!("CARGO_PKG_RUST_VERSION");
    let numbers = |version: &str| -> Vec<u32> {
        let parts = version.split('.');
        parts.map(|part| part.parse().unwrap()).collect()
    };
    assert!(numbers(version) >= numbers(least), "{version}, {least}");
}

#[test]
fn the_book_lifts_each_setting_that_keeps_hooks_from_gaining_rights() {
    // Those of systemd.exec(5) that bring NoNewPrivileges with them, and the rights themselves.
    const KEEPING: [&str; 17] = [
        "CapabilityBoundingSet",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "NoNewPrivileges",
        "PrivateDevices",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "SystemCallArchitectures",
        "SystemCallFilter",
        "SystemCallLog",
    ];
    let unit = workspace().join("packaging/debian/builder-web.service");
    let unit = fs::read_to_string(unit).unwrap();
    let chapter = chapter("systemd.md");
    let (_, lifting) = chapter.split_once("    NoNewPrivileges=no\n").unwrap();
    let (lifting, _) = lifting.split_once("\n\n").unwrap();
    let mut lifted = 0;
    for name in KEEPING {
        let is_set = unit
            .lines()
            .any(|line| line.starts_with(&format!("{name}=")));
        if is_set && name != "NoNewPrivileges" {
            let line = lifting
                .lines()
                .find_map(|line| line.trim().strip_prefix(&format!("{name}=")));
            let lifts = line.is_some_and(|value| ["", "no", "~"].contains(&value));
            assert!(lifts, "{name}: {line:?}");
            lifted += 1;
        }
    }
    assert_eq!(lifted, lifting.matches('=').count() - 1, "{lifting}");
}
