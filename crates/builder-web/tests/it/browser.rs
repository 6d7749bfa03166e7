//! A real browser, Chromium, told what to do through its driver: the demo as its first visitor
//! meets it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{BUILDER, Server, now};

/// How the driver names an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

struct Element(String);

impl Browser {
    fn new() -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("this test needs chromedriver, which cannot be run: {error}")
            });
        let said = BufReader::new(driver.stdout.take().unwrap());
        let port = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .unwrap();
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Browser {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let user_data = format!("--user-data-dir={}", browser._profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &user_data,
        ];
        let started = browser.call(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": {
                "goog:chromeOptions": { "args": arguments },
                "goog:loggingPrefs": { "browser": "ALL" },
            } } }),
        );
        browser.session = format!("/session/{}", started["sessionId"].as_str().unwrap());
        browser
    }

    /// A call to the driver: HTTP with JSON both ways.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        // The driver does not close the connection.
        let mut answer = BufReader::new(socket);
        let mut length = 0;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            assert_ne!(answer.read_line(&mut head).unwrap(), 0, "{path}: {head}");
            if let Some((name, value)) = head[begin..].split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut json = vec![0; length];
        answer.read_exact(&mut json).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200"),
            "{method} {path} {body}: {json}"
        );
        json["value"].clone()
    }

    fn get(&self, what: &str) -> Value {
        self.call("GET", &format!("{}/{what}", self.session), &Value::Null)
    }

    fn post(&self, what: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}/{what}", self.session), body)
    }

    fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    fn title(&self) -> String {
        self.get("title").as_str().unwrap().to_owned()
    }

    /// The path of the page that is shown.
    fn path(&self) -> String {
        self.run("return location.pathname")
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn text(&self) -> String {
        self.run("return document.body.innerText")
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn find(&self, strategy: &str, value: &str) -> Element {
        let found = self.post("element", &json!({ "using": strategy, "value": value }));
        Element(found[ELEMENT].as_str().unwrap().to_owned())
    }

    fn click(&self, element: &Element) {
        self.post(&format!("element/{}/click", element.0), &json!({}));
    }

    fn follow(&self, link_text: &str) {
        self.click(&self.find("link text", link_text));
    }

    fn write(&self, element: &Element, text: &str) {
        self.post(
            &format!("element/{}/value", element.0),
            &json!({ "text": text }),
        );
    }

    /// What the browser complained of since it was last asked: refused resources, broken links.
    fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().unwrap().iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .filter(|message| !message.contains("favicon.ico"))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.call("DELETE", &self.session, &Value::Null);
        }
        let _: std::io::Result<()> = self.driver.kill();
        let _: std::io::Result<std::process::ExitStatus> = self.driver.wait();
    }
}

#[test]
fn a_visitor_finds_a_job_a_build_and_the_build_of_a_file_in_a_real_browser() {
    let server = Server::with(|config| config.expired_jobs = None);
    for build in demo_builds::builds(now()) {
        assert_eq!(server.upload_bytes(BUILDER, build.exec()).status, 201);
    }
    let base = format!("http://{}", server.listen());
    let browser = Browser::new();

    browser.open(&format!("{base}/"));
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
    let foreign = browser.run(
        "return performance.getEntriesByType('resource').map(entry => entry.name)
           .filter(name => !name.startsWith(location.origin))",
    );
    assert_eq!(foreign, json!([]));

    browser.follow("lantern");
    assert_eq!(browser.path(), "/job/lantern");
    let tables = browser.run("return document.querySelectorAll('.markdown table').length");
    assert!(tables.as_u64().unwrap() > 0, "the README has tables");
    browser.follow("debian-12");
    assert_eq!(
        browser.run("return location.search"),
        json!("?platform=debian-12")
    );
    browser.follow("With failed builds");
    assert_eq!(browser.path(), "/job/lantern/failed");
    assert_eq!(
        browser.run("return location.search"),
        json!("?platform=debian-12")
    );
    assert!(browser.text().contains("no main binary"));

    browser.click(&browser.find("css selector", ".output p a"));
    assert!(browser.path().starts_with("/job/lantern/build/"));
    let build = browser.path();
    let digest = browser.run("return document.querySelector('tr.main code.sha256').innerText");
    let digest = digest.as_str().unwrap().to_owned();
    browser.follow("Console output");
    assert!(browser.text().contains("orb"), "{}", browser.text());
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // What the page prints is found again by the form on every page.
    browser.open(&format!("{base}/failed-builds"));
    browser.write(&browser.find("css selector", "#q"), &format!(" {digest} "));
    browser.click(&browser.find("css selector", ".site-header form button"));
    assert_eq!(browser.path(), build);

    // Nothing is wider than a telephone.
    browser.post("window/rect", &json!({ "width": 500, "height": 900 }));
    for path in ["/", "/job/lantern", build.as_str(), "/failed-builds"] {
        browser.open(&format!("{base}{path}"));
        let wide = browser.run(
            "return document.documentElement.scrollWidth > document.documentElement.clientWidth",
        );
        assert_eq!(wide, json!(false), "{path} is to be scrolled sideways");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// The demo's builds, served.
fn demo() -> (Server, String) {
    let server = Server::with(|config| config.expired_jobs = None);
    for build in demo_builds::builds(now()) {
        assert_eq!(server.upload_bytes(BUILDER, build.exec()).status, 201);
    }
    let base = format!("http://{}", server.listen());
    (server, base)
}

/// A page of each kind, with something on it.
fn kinds(server: &Server) -> Vec<String> {
    let build = |job: &str, at: usize| {
        let all = server.json(&format!("/job/{job}?platform=debian-12"));
        all["builds"][at]["uuid"].as_str().unwrap().to_owned()
    };
    let failed = server.json("/failed-builds");
    let failed = &failed["builds"][0];
    vec![
        "/".to_owned(),
        "/all-builds?state=failed".to_owned(),
        "/job/lantern".to_owned(),
        "/job/ferryman?platform=debian-12".to_owned(),
        "/job/millrace/failed".to_owned(),
        format!("/job/lantern/build/{}", build("lantern", 0)),
        format!("/job/ferryman/build/{}", build("ferryman", 0)),
        format!(
            "/job/{}/build/{}",
            failed["job"].as_str().unwrap(),
            failed["uuid"].as_str().unwrap()
        ),
        format!("/compare/{}/{}", build("lantern", 1), build("lantern", 0)),
        "/failed-builds".to_owned(),
        "/nowhere".to_owned(),
    ]
}

#[test]
fn jobs_are_filtered_while_one_types_and_the_theme_is_remembered() {
    let (_server, base) = demo();
    let browser = Browser::new();
    browser.open(&format!("{base}/"));
    let shown = || {
        browser.run(
            "return [...document.querySelectorAll('.jobs tbody:not([hidden]) tr.job a')].map(link => link.textContent)",
        )
    };
    assert_eq!(shown().as_array().unwrap().len(), 8);
    browser.write(&browser.find("css selector", ".filter input"), "lan");
    assert_eq!(shown(), json!(["lantern"]));
    assert_eq!(browser.run("return location.search"), json!("?name=lan"));
    browser.open(&format!("{base}/"));
    browser.write(
        &browser.find("css selector", "select[name=state]"),
        "not reproducible",
    );
    assert_eq!(shown(), json!(["ferryman"]));
    // The same without a script, from the server.
    browser.open(&format!("{base}/?state=not-reproducible"));
    assert_eq!(shown(), json!(["ferryman"]));

    let ground = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.run(ground);
    browser.click(&browser.find("css selector", ".theme"));
    let dark = browser.run(ground);
    assert_ne!(light, dark);
    browser.open(&format!("{base}/job/lantern"));
    assert_eq!(browser.run(ground), dark, "remembered on the next page");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn no_page_is_wider_than_a_telephone_and_the_keyboard_reaches_everything() {
    let (server, base) = demo();
    let browser = Browser::new();
    browser.post(
        "goog/cdp/execute",
        &json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true } }),
    );
    for path in kinds(&server) {
        browser.open(&format!("{base}{path}"));
        let wide = browser.run("return document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= 360, "{path} is {wide} wide");
        let foreign = browser.run(
            "return performance.getEntriesByType('resource').map(entry => entry.name)
               .filter(name => !name.startsWith(location.origin))",
        );
        assert_eq!(foreign, json!([]), "{path}");
    }
    // From the keyboard alone: past the header, to the first job, to its page.
    browser.open(&format!("{base}/"));
    let body = browser.find("css selector", "body");
    browser.write(&body, "\u{e004}");
    let focused = "return document.activeElement.textContent";
    assert_eq!(browser.run(focused), json!("Skip to the content"));
    browser.write(&browser.find("css selector", ".skip"), "\u{e007}");
    assert_eq!(browser.run("return location.hash"), json!("#main"));
    let order = browser.run(
        "return [...document.querySelectorAll('a, button, input, select, summary')]
           .filter(element => element.tabIndex < 0 && !element.hidden).length",
    );
    assert_eq!(order, json!(0), "everything is reached with the tabulator");
}

#[test]
fn the_front_page_is_small_and_shown_at_once() {
    let (_server, base) = demo();
    let browser = Browser::new();
    browser.open(&format!("{base}/"));
    let entries = browser.run(
        "const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
         return all.map(entry => [entry.name, entry.transferSize])",
    );
    let entries = entries.as_array().unwrap();
    let bytes: u64 = entries.iter().map(|entry| entry[1].as_u64().unwrap()).sum();
    assert!(entries.len() <= 3, "{entries:?}");
    assert!(bytes <= 60 * 1024, "{bytes} bytes: {entries:?}");
    let paint = browser.run(
        "return performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0] ?? 0",
    );
    // A bound for a machine that runs other tests, too.
    assert!(paint.as_f64().unwrap() < 2_000.0, "{paint} ms");
}
