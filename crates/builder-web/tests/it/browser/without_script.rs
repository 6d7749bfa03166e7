//! Without a script: everything works, the comforts are not shown.

use serde_json::json;

use super::Site;

#[test]
fn without_a_script_one_searches_filters_turns_pages_and_follows_links() {
    let site = Site::new();
    let browser = site.browser();
    browser.devtools(
        "Emulation.setScriptExecutionDisabled",
        &json!({ "value": true }),
    );
    let click = |selector: &str| browser.click(&browser.find(selector));

    browser.open("/");
    assert!(
        !browser.shows(".theme"),
        "no script ran: it shows this button"
    );
    browser.write(&browser.find(".filter input"), "lan");
    click(".filter button");
    browser.arrive("/?name=lan");
    let filtered = browser.has_source("/job/lantern");
    assert!(!filtered.contains("/job/ferryman"));
    browser.follow("lantern");
    browser.arrive_at("/job/lantern");
    browser.follow("debian-12");
    browser.arrive_at("/job/lantern?platform=debian-12");
    click(".timeline a");
    browser.arrive("/job/lantern/build/");
    browser.follow("Console output");
    browser.arrive("/console.html");
    browser.write(&browser.find("input[name=find]"), "orb");
    click(".console-tools button");
    browser.arrive("?find=orb");
    browser.has_source("<mark>");
    click(".found a");
    browser.arrive("#L");

    browser.write(&browser.find("#q"), "ferryman");
    click(".site-header form button");
    browser.arrive_at("/search?q=ferryman");
    browser.follow("ferryman");
    browser.arrive_at("/job/ferryman");

    browser.open("/failed-builds?count=1");
    let shown = browser.has_source("</html>");
    browser.follow("Older");
    browser.arrive_at("/failed-builds?count=1&start=1");
    assert_ne!(browser.has_source("</html>"), shown);
    browser.follow("Newer");
    browser.arrive_at("/failed-builds?count=1&start=0");
    assert_eq!(browser.has_source("</html>"), shown);
    browser.write(&browser.find("select[name=class]"), "Disk full");
    click(".filter button");
    browser.arrive("class=disk-full");

    let compared = site.compared("lantern", false);
    browser.open(&compared);
    browser.write(&browser.find("select[name=left]"), "opam-switch");
    browser.write(&browser.find("select[name=right]"), "opam-switch");
    click(".filter button");
    browser.arrive(&format!("{compared}/f?left=opam-switch"));
    browser.has_source("class=\"diff\"");
}
