//! Without a script: everything works, the comforts are not shown.

use serde_json::{Value, json};

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
    let source = || {
        let Value::String(source) = browser.get("source") else {
            panic!("a page has a source")
        };
        source
    };

    browser.open("/");
    assert!(
        !browser.shows(".theme"),
        "no script ran: it shows this button"
    );
    browser.write(&browser.find(".filter input"), "lan");
    click(".filter button");
    browser.arrive("/?name=lan");
    assert!(source().contains("/job/lantern") && !source().contains("/job/ferryman"));
    browser.follow("lantern");
    browser.follow("debian-12");
    browser.arrive("/job/lantern?platform=debian-12");
    assert_eq!(browser.place(), "/job/lantern?platform=debian-12");
    click(".timeline a");
    browser.arrive("/job/lantern/build/");
    browser.follow("Console output");
    browser.write(&browser.find("input[name=find]"), "orb");
    click(".console-tools button");
    browser.arrive("?find=orb");
    assert!(source().contains("<mark>"));
    click(".found a");
    browser.arrive("#L");

    browser.write(&browser.find("#q"), "ferryman");
    click(".site-header form button");
    browser.arrive("/search?q=ferryman");
    assert_eq!(browser.place(), "/search?q=ferryman");
    browser.follow("ferryman");
    browser.arrive("/job/ferryman");
    assert_eq!(browser.place(), "/job/ferryman");

    browser.open("/failed-builds?count=1");
    let first = source();
    browser.follow("Older");
    assert_ne!(source(), first);
    browser.follow("Newer");
    assert_eq!(source(), first);
    browser.write(&browser.find("select[name=class]"), "Disk full");
    click(".filter button");
    browser.arrive("class=disk-full");

    let compared = site.compared("lantern", false);
    browser.open(&compared);
    browser.write(&browser.find("select[name=left]"), "opam-switch");
    browser.write(&browser.find("select[name=right]"), "opam-switch");
    click(".filter button");
    assert!(
        browser
            .place()
            .starts_with(&format!("{compared}/f?left=opam-switch"))
    );
    assert!(source().contains("class=\"diff\""));
}
