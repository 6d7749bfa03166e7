//! What holds on every kind of page, in light and dark, on a wide window and on a telephone: the
//! rules of accessible pages, nothing to scroll sideways, no complaint, no request to another host.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::Site;
use super::window::Browser;
use crate::links;

/// The source of axe-core, which knows the rules of accessible pages: installed from its lock file
/// where `scripts/test` has not done so.
fn axe() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/axe");
    let source = directory.join("node_modules/axe-core/axe.min.js");
    if !source.exists() {
        let installed = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&directory)
            .output();
        let installed = installed.unwrap_or_else(|error| {
            panic!("this test needs npm to install axe-core, which cannot be run: {error}")
        });
        assert!(installed.status.success(), "npm ci: {installed:?}");
    }
    std::fs::read_to_string(&source).unwrap()
}

/// Opens what is folded, which axe-core does not look into, and gives the width of the page. Of
/// what is there in hundreds a dozen is kept: they are all alike, and axe-core is slow.
const UNFOLD: &str = "
    for (const part of document.querySelectorAll('details')) part.open = true;
    const wide = document.documentElement.scrollWidth;
    for (const list of document.querySelectorAll('tbody, ul, ol, pre code, .console'))
      while (list.children.length > 12) list.lastElementChild.remove();
    return wide";

/// What axe-core said of the page that is shown.
struct Findings {
    /// What keeps somebody from using it.
    serious: Vec<Value>,
    /// Texts whose contrast was measured and is enough, and those where it could not be measured.
    readable: u64,
    unmeasured: Vec<Value>,
}

fn examine(browser: &Browser, axe: &str, options: &Value) -> Findings {
    browser.run(axe);
    let found = browser.post(
        "execute/async",
        &json!({ "args": [options], "script":
            "const done = arguments[1];
             const told = rule => ({ rule: rule.id, help: rule.help, count: rule.nodes.length, first: rule.nodes.slice(0, 3).map(node =>
               ({ html: node.html.slice(0, 300), why: node.failureSummary })) });
             const contrast = rules => rules.filter(rule => rule.id === 'color-contrast');
             // Texts of pictures are measured by pictures.js; of a console that is scrolled, most is outside.
             const outside = rule => ({ ...rule, nodes: rule.nodes.filter(node => !document.querySelector(node.target[0])?.closest('svg, .tail')) });
             axe.run(arguments[0].pictures ? document : { exclude: ['svg'] }, arguments[0].rules).then(found => done({
               serious: found.violations.filter(rule => ['serious', 'critical'].includes(rule.impact)).map(told),
               readable: contrast(found.passes).reduce((sum, rule) => sum + rule.nodes.length, 0),
               unmeasured: contrast(found.incomplete).map(outside).filter(rule => rule.nodes.length).map(told) }),
             error => done({ serious: [String(error)], readable: 0, unmeasured: [] }))" }),
    );
    let list = |name: &str| found[name].as_array().unwrap().clone();
    Findings {
        serious: list("serious"),
        readable: found["readable"].as_u64().unwrap(),
        unmeasured: list("unmeasured"),
    }
}

/// All rules that axe-core has on its own, and that of the size of what is pointed at.
fn all_rules() -> Value {
    json!({ "iframes": false, "rules": { "target-size": { "enabled": true } } })
}

/// Looks at a page in both themes and widths, and adds what is wrong with it.
fn check(browser: &Browser, axe: &str, path: &str, wrong: &Mutex<Vec<String>>) {
    let note = |what: String| wrong.lock().unwrap().push(format!("{path}: {what}"));
    let everything = json!({ "pictures": true, "rules": all_rules() });
    let without_pictures = json!({ "rules": all_rules() });
    // The other theme is other colours and nothing else.
    let colours = json!({ "rules": { "iframes": false, "runOnly": ["color-contrast", "link-in-text-block"] } });
    let mut grounds = Vec::new();
    for width in [1200, 360] {
        browser.be_wide(width);
        browser.open(path);
        // Painted, so that pictures and fonts have their size.
        browser.until("return document.readyState", |state| state == "complete");
        let wide = browser.run(UNFOLD);
        if wide.as_u64().unwrap() > u64::from(width) {
            note(format!("{wide} wide in a window of {width}"));
        }
        for theme in ["light", "dark"] {
            browser.prefer(theme);
            let options = match (width, theme) {
                (1200, "light") => &everything,
                (_, "light") => &without_pictures,
                _ => &colours,
            };
            let found = examine(browser, axe, options);
            for finding in &found.serious {
                note(format!("{theme}, {width} wide: {finding:#}"));
            }
            // On a telephone wide tables reach out of the window, where nothing is measured.
            for text in found.unmeasured.iter().filter(|_| width > 360) {
                note(format!(
                    "{theme}: the contrast cannot be measured of {text:#}"
                ));
            }
            if found.readable < 5 {
                note(format!(
                    "{theme}: the contrast of {} texts was measured",
                    found.readable
                ));
            }
            grounds.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
        }
        browser.assert_nothing_foreign();
    }
    if grounds[0] == grounds[1] || grounds[0] != grounds[2] {
        note(format!("the themes have the grounds {grounds:?}"));
    }
    // That a page does not exist is told by the browser, too.
    let is_error = |said: &String| {
        said.contains(path) && said.contains("the server responded with a status of 4")
    };
    for said in browser.complaints() {
        if !is_error(&said) {
            note(said);
        }
    }
}

#[test]
fn every_kind_of_page_is_accessible_and_fits_in_light_and_dark_wide_and_narrow() {
    let axe = axe();
    let site = Site::new();
    let left = Mutex::new([site.kinds(), site.add_a_long_job()].concat());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let browser = site.browser();
                loop {
                    let next = left.lock().unwrap().pop();
                    let Some(path) = next else { break };
                    check(&browser, &axe, &path, &wrong);
                }
            });
        }
    });
    let browser = site.browser();
    for path in site.remove_one() {
        check(&browser, &axe, &path, &wrong);
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // What finds nothing finds something where there is something. Not by a style attribute: the
    // page's own policy would not let it in.
    for (theme, pale) in [("light", "#bbb"), ("dark", "#444")] {
        browser.prefer(theme);
        browser.open("/");
        browser.run(&format!(
            "document.querySelector('main').innerHTML = '<h1>Pale</h1><p>pale</p><input><div><button>a</button><button>b</button></div>';
             document.querySelector('main p').style.color = '{pale}';
             for (const button of document.querySelectorAll('main button'))
               Object.assign(button.style, {{ width: '12px', height: '12px', minHeight: 0, padding: 0 }})"
        ));
        let found = examine(&browser, &axe, &json!({ "rules": all_rules() }));
        let rules: Vec<_> = found
            .serious
            .iter()
            .map(|finding| &finding["rule"])
            .collect();
        let expected = ["color-contrast", "label", "target-size"];
        assert_eq!(rules, expected, "{theme}");
    }
}

#[test]
fn no_page_that_links_lead_to_complains_or_asks_another_host() {
    let site = Site::new();
    site.add_a_long_job();
    let mut pages = links::walk(&site.server).pages;
    let mut kinds = BTreeSet::new();
    // One of each kind, or all.
    pages.retain(|page| kinds.insert(links::kind_of(page)) || links::all_are_wanted());
    assert!(kinds.len() > 25, "{kinds:#?}");
    let (left, wrong) = (Mutex::new(pages), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let browser = site.browser();
                loop {
                    let next = left.lock().unwrap().pop_first();
                    let Some(path) = next else { break };
                    browser.open(&path);
                    browser.until("return document.readyState", |state| state == "complete");
                    let said = [browser.complaints(), browser.foreign()].concat();
                    let said = said.iter().map(|said| format!("{path}: {said}"));
                    wrong.lock().unwrap().extend(said);
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<String>::new());

    // What finds nothing finds something where there is something: the page's own policy refuses this.
    let browser = site.browser();
    browser.open("/");
    browser.post(
        "execute/async",
        &json!({ "args": [], "script":
            "const image = new Image();
             image.onerror = arguments[0];
             image.src = 'http://other.example/x.png';
             document.body.append(image)" }),
    );
    browser.complains("other.example");
}

#[test]
fn the_texts_of_pictures_stand_out_from_what_is_behind_them() {
    let site = Site::new();
    let browser = site.browser();
    browser.be_wide(1200);
    let measure = || browser.run(include_str!("pictures.js"));
    let build = site.build("lantern", 0);
    let compared = site.compared("lantern", false);
    for path in [
        format!("{build}/viztreemap"),
        format!("{build}/vizdependencies"),
        format!("{compared}/viztreemap"),
    ] {
        for theme in ["light", "dark"] {
            browser.prefer(theme);
            browser.open(&path);
            let found = measure();
            assert_eq!(found["pale"], json!([]), "{path}, {theme}");
            assert!(found["measured"].as_u64().unwrap() > 50, "{path}: {found}");
        }
    }
    // What finds nothing finds something where there is something.
    browser.run(
        "document.body.innerHTML = '<svg width=\"200\" height=\"40\"><rect width=\"200\" height=\"40\" fill=\"#777\"/>\
         <text x=\"5\" y=\"20\" fill=\"#999\">pale</text></svg>'",
    );
    assert_eq!(measure()["pale"].as_array().unwrap().len(), 1);
}
