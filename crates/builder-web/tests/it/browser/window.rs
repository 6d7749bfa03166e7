//! A browser window: Chromium, told what to do through its driver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::wait_until;

/// How the driver names an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window on a site.
pub(super) struct Browser {
    base: String,
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

pub(super) struct Element(String);

impl Browser {
    /// On the site at this address, `http://…` without a slash at its end.
    pub(super) fn on(base: &str) -> Browser {
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
            base: base.to_owned(),
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

    pub(super) fn get(&self, what: &str) -> Value {
        self.call("GET", &format!("{}/{what}", self.session), &Value::Null)
    }

    pub(super) fn post(&self, what: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}/{what}", self.session), body)
    }

    /// Goes to a page of the site.
    pub(super) fn open(&self, path: &str) {
        self.post("url", &json!({ "url": format!("{}{path}", self.base) }));
    }

    /// Where it is: the path with the query and the fragment. Works without a script.
    pub(super) fn place(&self) -> String {
        let url = self.get("url");
        let url = url.as_str().unwrap();
        url.strip_prefix(&self.base).unwrap_or(url).to_owned()
    }

    pub(super) fn title(&self) -> String {
        self.get("title").as_str().unwrap().to_owned()
    }

    /// Waits until it is at a place with this in it: the driver does not always wait for where a key
    /// or a button leads.
    pub(super) fn arrive(&self, part: &str) {
        wait_until(part, || self.place().contains(part));
    }

    pub(super) fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    pub(super) fn text(&self) -> String {
        self.run("return document.body.innerText")
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(super) fn find(&self, selector: &str) -> Element {
        self.find_by("css selector", selector)
    }

    fn find_by(&self, strategy: &str, value: &str) -> Element {
        let found = self.post("element", &json!({ "using": strategy, "value": value }));
        Element(found[ELEMENT].as_str().unwrap().to_owned())
    }

    /// Whether an element is to be seen. Works without a script.
    pub(super) fn shows(&self, selector: &str) -> bool {
        let Element(id) = self.find(selector);
        self.get(&format!("element/{id}/displayed")) == json!(true)
    }

    /// Presses a key, or some, in whatever has the focus.
    pub(super) fn press(&self, keys: &str) {
        let steps: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|step| json!({ "type": step, "value": key })))
            .collect();
        self.post(
            "actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": steps }] }),
        );
    }

    /// A command of Chromium's own protocol.
    pub(super) fn devtools(&self, command: &str, parameters: &Value) {
        self.post(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        );
    }

    /// As on a system that is set to light or dark.
    pub(super) fn prefer(&self, theme: &str) {
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] }),
        );
    }

    /// As wide as this, in pixels of a style sheet; below 500 it is a telephone.
    pub(super) fn be_wide(&self, width: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 }),
        );
    }

    pub(super) fn click(&self, element: &Element) {
        self.post(&format!("element/{}/click", element.0), &json!({}));
    }

    pub(super) fn follow(&self, link_text: &str) {
        self.click(&self.find_by("link text", link_text));
    }

    pub(super) fn write(&self, element: &Element, text: &str) {
        self.post(
            &format!("element/{}/value", element.0),
            &json!({ "text": text }),
        );
    }

    /// What was asked for, for the page that is shown: the address and the bytes that came.
    pub(super) fn requests(&self) -> Vec<(String, u64)> {
        let all = self.run(
            "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
               .map(entry => [entry.name, entry.transferSize])",
        );
        let all = all.as_array().unwrap().iter();
        all.map(|one| {
            (
                one[0].as_str().unwrap().to_owned(),
                one[1].as_u64().unwrap(),
            )
        })
        .collect()
    }

    /// Fails if a page asked another host for anything.
    pub(super) fn assert_nothing_foreign(&self) {
        for (url, _) in self.requests() {
            assert!(
                url.starts_with(&self.base),
                "{} asks for {url}",
                self.place()
            );
        }
    }

    /// What the browser complained of since it was last asked: refused resources, broken links.
    pub(super) fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().unwrap().iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .filter(|message| !message.contains("favicon.ico"))
            .collect()
    }
}

impl Browser {
    /// Closes the window; also while a test fails, when nothing may panic.
    fn close(&self) -> std::io::Result<()> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            socket,
            "DELETE {} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
            self.session
        )?;
        BufReader::new(socket).read_line(&mut String::new())?;
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.close();
        let _: std::io::Result<()> = self.driver.kill();
        let _: std::io::Result<std::process::ExitStatus> = self.driver.wait();
    }
}
