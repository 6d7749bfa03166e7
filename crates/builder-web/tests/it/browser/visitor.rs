//! A visitor with a mouse: from the front page to a build and its console, filters, search, theme.

use serde_json::json;

use super::Site;
use crate::server::wait_until;

#[test]
fn a_visitor_finds_a_job_a_build_and_the_build_of_a_file() {
    let site = Site::new();
    let browser = site.browser();
    browser.open("/");
    assert_eq!(browser.title(), "Reproducible builds");
    let text = browser.text();
    for part in ["Unikernels", "Packages", "lantern", "SHA256:"] {
        assert!(
            text.contains(part),
            "{part} is not on the front page: {text}"
        );
    }
    // The style sheet was let in and taken.
    let family = browser.run("return getComputedStyle(document.body).fontFamily");
    assert!(family.as_str().unwrap().contains("system-ui"), "{family}");

    browser.follow("lantern");
    browser.arrive("/job/lantern");
    assert_eq!(browser.place(), "/job/lantern");
    let tables = browser.run("return document.querySelectorAll('.markdown table').length");
    assert!(tables.as_u64().unwrap() > 0, "the README has tables");
    browser.follow("debian-12");
    browser.arrive("/job/lantern?platform=debian-12");
    assert_eq!(browser.place(), "/job/lantern?platform=debian-12");
    browser.follow("With failed builds");
    browser.arrive("/job/lantern/failed?platform=debian-12");
    assert_eq!(browser.place(), "/job/lantern/failed?platform=debian-12");
    assert!(browser.text().contains("no main binary"));

    browser.click(&browser.find(".output p a"));
    let build = browser.place();
    assert!(build.starts_with("/job/lantern/build/"), "{build}");
    let digest = browser.run("return document.querySelector('tr.main code.sha256').innerText");
    let digest = digest.as_str().unwrap().to_owned();
    browser.follow("Console output");
    assert_eq!(browser.place(), format!("{build}/console.html"));
    assert!(browser.text().contains("orb"), "{}", browser.text());

    // What the page prints is found again by the form on every page.
    browser.open("/failed-builds");
    browser.write(&browser.find("#q"), &format!(" {digest} "));
    browser.click(&browser.find(".site-header form button"));
    browser.arrive(&build);
    assert_eq!(browser.place(), build);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn jobs_are_filtered_while_one_types_and_the_theme_is_remembered() {
    let site = Site::new();
    let browser = site.browser();
    browser.prefer("light");
    browser.open("/");
    let shown = || {
        browser.run(
            "return [...document.querySelectorAll('.jobs tbody:not([hidden]) tr.job a')].map(link => link.textContent)",
        )
    };
    assert_eq!(shown().as_array().unwrap().len(), 8);
    browser.write(&browser.find(".filter input"), "lan");
    assert_eq!(shown(), json!(["lantern"]));
    browser.arrive("/?name=lan");
    assert_eq!(browser.place(), "/?name=lan");
    browser.open("/");
    browser.write(&browser.find("select[name=state]"), "not reproducible");
    assert_eq!(shown(), json!(["ferryman"]));
    browser.open("/");
    browser.write(&browser.find("select[name=platform]"), "debian-13");
    assert_eq!(shown(), json!(["almanac"]));

    let ground = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.run(ground);
    browser.click(&browser.find(".theme"));
    let dark = browser.run(ground);
    assert_ne!(light, dark);
    browser.open("/job/lantern");
    assert_eq!(browser.run(ground), dark, "remembered on the next page");
    browser.prefer("dark");
    browser.click(&browser.find(".theme"));
    browser.open("/");
    assert_eq!(browser.run(ground), light, "against the system, too");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_search_box_finds_jobs_packages_files_digests_and_builds() {
    let site = Site::new();
    let browser = site.browser();
    let build = &site.builds("lantern")[0];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let search = |words: &str| {
        browser.open("/job/ferryman");
        browser.write(&browser.find("#q"), words);
        browser.click(&browser.find(".site-header form button"));
        wait_until(words, || browser.place() != "/job/ferryman");
        browser.place()
    };
    assert_eq!(search("lantern"), "/search?q=lantern");
    for part in ["Jobs", "Files", "bin/lantern.hvt"] {
        assert!(browser.text().contains(part), "{}", browser.text());
    }
    browser.follow("lantern");
    browser.arrive("/job/lantern");
    assert_eq!(browser.place(), "/job/lantern");
    search("tls < 2.0.1");
    browser.click(&browser.find("#builds + p a"));
    browser.arrive("/package/tls?version=");
    let page = site.build("lantern", 0);
    assert_eq!(search(&text(&build["uuid"])), page);
    assert_eq!(search(&text(&build["main_binary"]["sha256"])), page);
    search(&text(&build["main_binary"]["sha256"])[..12]);
    assert!(
        browser.text().contains("bin/lantern.hvt"),
        "{}",
        browser.text()
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_console_is_searched_its_first_error_shown_and_its_lines_linked() {
    let site = Site::new();
    let browser = site.browser();
    let failed = site.failed("compile-error");
    browser.open(&format!("{failed}/console.html"));
    browser.click(&browser.find(".console-tools .choice a"));
    let place = browser.place();
    let (_, line) = place.split_once("#L").unwrap_or_else(|| panic!("{place}"));
    // The line is marked, and in the window.
    let chosen = browser.run(
        "const line = document.querySelector('.console .chosen'), at = line.getBoundingClientRect();
         return [line.id, at.top >= 0 && at.bottom <= innerHeight]",
    );
    assert_eq!(chosen, json!([format!("L{line}"), true]));
    browser.click(&browser.find("#L2 > a"));
    assert!(
        browser.place().ends_with("/console.html#L2"),
        "{}",
        browser.place()
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('.chosen').length"),
        json!(1)
    );
    // What is sent to a colleague shows the same lines.
    browser.open("/");
    browser.open(&format!("{failed}/console.html#L3-L5"));
    let chosen = "return [...document.querySelectorAll('.chosen')].map(line => line.id)";
    assert_eq!(browser.run(chosen), json!(["L3", "L4", "L5"]));
    browser.write(&browser.find("input[name=find]"), "error");
    browser.click(&browser.find(".console-tools button"));
    browser.arrive("?find=error");
    let marks = browser.run("return document.querySelectorAll('.console mark').length");
    assert!(marks.as_u64().unwrap() > 0);
    browser.follow("Raw text");
    assert!(browser.place().ends_with("/console"), "{}", browser.place());
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_front_page_is_small_and_asks_for_little() {
    let site = Site::new();
    let browser = site.browser();
    browser.open("/");
    let requests = browser.requests();
    assert!(requests.len() <= 3, "{requests:?}");
    let bytes: u64 = requests.iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes <= 60 * 1024, "{bytes} bytes: {requests:?}");
    // How soon it is painted is measured by `scripts/bench-paint`; a browser notes it some time
    // after the page was loaded.
    let painted = "return performance.getEntriesByName('first-contentful-paint').length";
    wait_until("a first paint", || browser.run(painted) == json!(1));
}
