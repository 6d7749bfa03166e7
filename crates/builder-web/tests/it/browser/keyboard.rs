//! The keyboard alone: everything is reached, and where one is can be seen.

use serde_json::json;

use super::Site;
use super::window::Browser;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// On with the tabulator until the element is reached, whose focus is then to be seen: it is in the
/// window, and has an outline of a colour that stands out from the ground by 3 to 1.
fn reach(browser: &Browser, selector: &str) {
    for _ in 0..80 {
        browser.press(TAB);
        let there = format!("return document.activeElement.matches({})", json!(selector));
        if browser.run(&there) != json!(true) {
            continue;
        }
        let seen = "const element = document.activeElement, style = getComputedStyle(element), at = element.getBoundingClientRect();
             const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(part => { const c = part / 255;
               return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4 }); return .2126 * r + .7152 * g + .0722 * b };
             const [one, other] = [light(style.outlineColor), light(getComputedStyle(document.body).backgroundColor)];
             return { outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
               inside: at.width > 0 && at.bottom > 0 && at.top < innerHeight && at.right > 0 && at.left < innerWidth,
               contrast: (Math.max(one, other) + .05) / (Math.min(one, other) + .05) >= 3 }";
        let all = json!({ "outlined": true, "inside": true, "contrast": true });
        browser.becomes(seen, &all);
        return;
    }
    panic!("the keyboard does not reach {selector}");
}

#[test]
fn the_keyboard_reaches_the_search_the_theme_the_filter_and_the_first_download() {
    let site = Site::new();
    let browser = site.browser();
    browser.prefer("light");
    browser.open("/");
    // Past the header at once.
    reach(&browser, ".skip");
    browser.press(ENTER);
    browser.arrive("/#main");
    reach(&browser, "main *");
    browser.open("/");
    for theme in ["light", "dark"] {
        browser.prefer(theme);
        browser.open("/");
        reach(&browser, "#q");
    }
    reach(&browser, ".theme");
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let before = browser.run(ground);
    browser.press(" ");
    browser.until(ground, |ground| *ground != before);
    reach(&browser, ".filter input[name=name]");
    browser.press("lan");
    browser.arrive("/?name=lan");
    reach(&browser, ".jobs a[href*='/f/']");
    // A download: taken by the keyboard, from the place that the link names.
    browser.run("addEventListener('click', event => { event.preventDefault(); window.taken = event.target.pathname })");
    browser.press(ENTER);
    let file = format!("{}/f/bin/lantern.hvt", site.build("lantern", 0));
    browser.becomes("return window.taken", &json!(file));
    assert_eq!(site.server.get(&file).status, 200);

    browser.open("/");
    reach(&browser, "a[href='/failed-builds']");
    browser.press(ENTER);
    browser.arrive("/failed-builds");
    reach(&browser, "#q");
    browser.press("lantern");
    browser.press(ENTER);
    browser.arrive("/search?q=lantern");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn nothing_that_can_be_used_is_out_of_the_keyboards_reach() {
    let site = Site::new();
    let browser = site.browser();
    for path in [
        "/",
        "/job/lantern",
        &site.build("lantern", 0),
        &site.compared("lantern", false),
    ] {
        browser.open(path);
        // By hand, since a positive order would be as bad as none. A point on a chart leads where a
        // link that is reached does, too.
        let unreachable = browser.run(
            "const reached = new Set([...document.querySelectorAll('a[href]')]
               .filter(link => link.tabIndex === 0).map(link => link.getAttribute('href')));
             return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]
               .filter(element => element.id !== 'main' && !element.disabled && element.tabIndex !== 0)
               .filter(element => !element.closest('.chart') || !reached.has(element.getAttribute('href')))
               .map(element => element.outerHTML)",
        );
        assert_eq!(unreachable, json!([]), "{path}");
    }
    // Folded parts are opened by it.
    browser.open(&site.build("lantern", 0));
    reach(&browser, "details > summary");
    browser.press(ENTER);
    let open = "return document.activeElement.parentElement.open";
    browser.becomes(open, &json!(true));
}
