//! A visitor with a mouse: from the front page to a build and its console, filters, search, theme.

use serde_json::{Value, json};

use builder_web::urls;

use super::Site;

/// A number of things, of which there is at least one.
fn is_some(number: &Value) -> bool {
    number.as_u64().is_some_and(|number| number > 0)
}

#[test]
fn a_visitor_finds_a_job_a_build_and_the_build_of_a_file() {
    let site = Site::new();
    let browser = site.browser();
    browser.open("/");
    assert_eq!(browser.title(), "Reproducible builds");
    for part in ["Unikernels", "Packages", "lantern", "SHA256:"] {
        browser.says(part);
    }
    // The style sheet was let in and taken.
    let has_ours = |family: &Value| family.as_str().is_some_and(|all| all.contains("system-ui"));
    browser.until(
        "return getComputedStyle(document.body).fontFamily",
        has_ours,
    );

    browser.follow("lantern");
    browser.arrive_at("/job/lantern");
    // The README has tables.
    browser.until(
        "return document.querySelectorAll('.markdown table').length",
        is_some,
    );
    browser.follow("debian-12");
    browser.arrive_at("/job/lantern?platform=debian-12");
    browser.follow("With failed builds");
    browser.arrive_at("/job/lantern/failed?platform=debian-12");
    browser.says("no main binary");

    browser.click(&browser.find(".output p a"));
    browser.arrive("/job/lantern/build/");
    let build = browser.place();
    let digest = browser.until(
        "return document.querySelector('tr.main code.sha256').innerText",
        Value::is_string,
    );
    let digest = digest.as_str().unwrap().to_owned();
    browser.follow("Console output");
    browser.arrive_at(&format!("{build}/console.html"));
    browser.says("orb");

    // What the page prints is found again by the form on every page.
    browser.open("/failed-builds");
    browser.write(&browser.find("#q"), &format!(" {digest} "));
    browser.click(&browser.find(".site-header form button"));
    let sha256 = digest.trim_start_matches("SHA256:");
    browser.arrive_at(&format!("{build}#sha256-{sha256}"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn jobs_are_filtered_while_one_types_and_the_theme_is_remembered() {
    let site = Site::new();
    let browser = site.browser();
    browser.prefer("light");
    browser.open("/");
    let shown = "return [...document.querySelectorAll('.jobs tbody:not([hidden]) tr.job a')].map(link => link.textContent)";
    browser.until(shown, |jobs| {
        jobs.as_array().is_some_and(|all| all.len() == 8)
    });
    browser.write(&browser.find(".filter input"), "lan");
    browser.becomes(shown, &json!(["lantern"]));
    browser.arrive_at("/?name=lan");
    // From an address that is filtered already, without another page.
    browser.open("/?state=not-reproducible");
    browser.becomes(shown, &json!(["ferryman"]));
    browser.run("window.same = true");
    browser.write(&browser.find("select[name=state]"), "all");
    browser.until(shown, |jobs| {
        jobs.as_array().is_some_and(|all| all.len() == 8)
    });
    browser.write(&browser.find(".filter input"), "lan");
    browser.becomes(shown, &json!(["lantern"]));
    browser.arrive_at("/?name=lan");
    assert_eq!(browser.run("return window.same"), json!(true));
    browser.open("/");
    browser.write(&browser.find("select[name=state]"), "not reproducible");
    browser.becomes(shown, &json!(["ferryman"]));
    browser.open("/");
    browser.write(&browser.find("select[name=platform]"), "debian-13");
    browser.becomes(shown, &json!(["almanac"]));

    let ground = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.until(ground, Value::is_string);
    browser.click(&browser.find(".theme"));
    let dark = browser.until(ground, |ground| *ground != light);
    // Remembered on the next page, and against the system, too.
    browser.open("/job/lantern");
    browser.becomes(ground, &dark);
    browser.prefer("dark");
    browser.click(&browser.find(".theme"));
    browser.becomes(ground, &light);
    browser.open("/");
    browser.becomes(ground, &light);
    // Back to what the system has, and along with it.
    browser.click(&browser.find(".theme"));
    browser.open("/");
    browser.becomes(ground, &dark);
    browser.prefer("light");
    browser.becomes(ground, &light);

    // What a button did is said to those who do not see it.
    browser.click(&browser.find("button.copy"));
    let said = "return document.querySelector('[role=status]').textContent";
    browser.until(said, |said| {
        *said == json!("Copied") || *said == json!("Selected")
    });
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_search_box_finds_jobs_packages_files_digests_and_builds() {
    let site = Site::new();
    let browser = site.browser();
    let build = &site.builds("lantern")[0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let search = |words: &str, leads_to: &str| {
        browser.open("/job/ferryman");
        browser.write(&browser.find("#q"), words);
        browser.click(&browser.find(".site-header form button"));
        browser.arrive_at(leads_to);
    };
    search("lantern", "/search?q=lantern");
    for part in ["Jobs", "Files", "bin/lantern.hvt"] {
        browser.says(part);
    }
    browser.follow("lantern");
    browser.arrive_at("/job/lantern");
    search("tls < 2.0.1", "/search?q=tls+%3C+2.0.1");
    browser.click(&browser.find("#builds + p a"));
    browser.arrive("/package/tls?version=");
    let page = site.build("lantern", 0);
    search(&text(&build["uuid"]), &page);
    let digest = text(&build["main_binary"]["sha256"]);
    search(&digest, &format!("{page}#sha256-{digest}"));
    browser.becomes(
        "return document.querySelector(':target').className",
        &json!("get"),
    );
    search(&digest[..12], &format!("/search?q={}", &digest[..12]));
    browser.says("bin/lantern.hvt");
    // A job's name that was chosen in the address bar leads to the job.
    let words = urls::SEARCH_TEMPLATE.replace("{searchTerms}", "lantern");
    browser.open(&words);
    browser.arrive_at("/job/lantern");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_console_is_searched_its_first_error_shown_and_its_lines_linked() {
    let site = Site::new();
    let browser = site.browser();
    let failed = site.failed("compile-error");
    browser.open(&format!("{failed}/console.html"));
    browser.click(&browser.find(".console-tools .choice a"));
    browser.arrive("#L");
    let place = browser.place();
    let (_, line) = place.split_once("#L").unwrap_or_else(|| panic!("{place}"));
    // The line is marked, and in the window.
    let chosen = "const line = document.querySelector('.console .chosen'), at = line.getBoundingClientRect();
         return [line.id, at.top >= 0 && at.bottom <= innerHeight]";
    browser.becomes(chosen, &json!([format!("L{line}"), true]));
    browser.click(&browser.find("#L2 > a"));
    browser.arrive_at(&format!("{failed}/console.html#L2"));
    let chosen = "return [...document.querySelectorAll('.chosen')].map(line => line.id)";
    browser.becomes(chosen, &json!(["L2"]));
    // What is sent to a colleague shows the same lines.
    browser.open("/");
    browser.open(&format!("{failed}/console.html#L3-L5"));
    browser.becomes(chosen, &json!(["L3", "L4", "L5"]));
    browser.write(&browser.find("input[name=find]"), "error");
    browser.click(&browser.find(".console-tools button"));
    browser.arrive("?find=error");
    browser.until(
        "return document.querySelectorAll('.console mark').length",
        is_some,
    );
    browser.follow("Raw text");
    browser.arrive_at(&format!("{failed}/console"));
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
    browser.becomes(painted, &json!(1));
}
