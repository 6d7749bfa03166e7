//! A browser window: Chromium, told what to do through its driver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How the driver names an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How long what the browser does after a key, a click or a load may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the driver may take for a call; longer than what it waits for itself.
const CALL_TIME_MAX: Duration = Duration::from_secs(180);
/// How long the driver waits for a script or a page, in milliseconds.
const DRIVER_PATIENCE: u64 = 90_000;

/// A browser window on a site.
pub(super) struct Browser {
    base: String,
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

/// An element, found anew each time it is used: the page may be another one by then.
pub(super) struct Element {
    strategy: &'static str,
    value: String,
}

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
                "timeouts": { "script": DRIVER_PATIENCE, "pageLoad": DRIVER_PATIENCE },
            } } }),
        );
        browser.session = format!("/session/{}", started["sessionId"].as_str().unwrap());
        browser
    }

    /// A call to the driver that succeeds.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.attempt(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path} {body}: {error}"))
    }

    /// A call to the driver: HTTP with JSON both ways. It refuses what cannot be done at the moment,
    /// such as using an element of a page that is just being left.
    fn attempt(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(CALL_TIME_MAX)).unwrap();
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
        match head.starts_with("HTTP/1.1 200") {
            true => Ok(json["value"].clone()),
            false => Err(json["value"].clone()),
        }
    }

    /// Asks again and again until this gives something, and fails if it does not: with what it last
    /// gave instead.
    fn wait<T>(&self, what: &str, mut ask: impl FnMut() -> Result<T, Value>) -> T {
        let begin = Instant::now();
        loop {
            match ask() {
                Ok(found) => return found,
                Err(instead) if begin.elapsed() > PATIENCE => {
                    let place = self.place();
                    panic!("waited too long at {place} for {what}: {instead}")
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
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
        self.wait(part, || match self.place() {
            place if place.contains(part) => Ok(()),
            place => Err(place.into()),
        });
    }

    /// Waits until it is at just this place.
    pub(super) fn arrive_at(&self, place: &str) {
        self.wait(place, || match self.place() {
            at if at == place => Ok(()),
            at => Err(at.into()),
        });
    }

    /// What a script returns now, of a page that does nothing by itself any more.
    pub(super) fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a script returns what is wanted; gives that.
    pub(super) fn until(&self, script: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("{}/execute/sync", self.session);
        let body = json!({ "script": script, "args": [] });
        self.wait(script, || match self.attempt("POST", &path, &body)? {
            value if wanted(&value) => Ok(value),
            value => Err(value),
        })
    }

    /// Waits until a script returns this.
    pub(super) fn becomes(&self, script: &str, value: &Value) {
        self.until(script, |now| now == value);
    }

    /// Waits until the text of the page has this.
    pub(super) fn says(&self, part: &str) {
        let has = |text: &Value| text.as_str().is_some_and(|text| text.contains(part));
        self.until("return document.body.innerText", has);
    }

    /// Waits until the page as it is in HTML has this. Works without a script.
    pub(super) fn has_source(&self, part: &str) -> String {
        let path = format!("{}/source", self.session);
        self.wait(part, || match self.attempt("GET", &path, &Value::Null)? {
            Value::String(source) if source.contains(part) => Ok(source),
            other => Err(other),
        })
    }

    pub(super) fn find(&self, selector: &str) -> Element {
        Element {
            strategy: "css selector",
            value: selector.to_owned(),
        }
    }

    /// Waits until there is such an element that does what it is asked to.
    fn with<T>(
        &self,
        Element { strategy, value }: &Element,
        ask: impl Fn(&str) -> Result<T, Value>,
    ) -> T {
        let path = format!("{}/element", self.session);
        let body = json!({ "using": strategy, "value": value });
        self.wait(value, || {
            let found = self.attempt("POST", &path, &body)?;
            let id = found[ELEMENT].as_str().unwrap_or_default();
            ask(&format!("{path}/{id}"))
        })
    }

    /// Whether an element is to be seen. Works without a script.
    pub(super) fn shows(&self, selector: &str) -> bool {
        self.with(&self.find(selector), |element| {
            self.attempt("GET", &format!("{element}/displayed"), &Value::Null)
        }) == json!(true)
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
        self.with(element, |path| {
            self.attempt("POST", &format!("{path}/click"), &json!({}))
        });
    }

    pub(super) fn follow(&self, link_text: &str) {
        self.click(&Element {
            strategy: "link text",
            value: link_text.to_owned(),
        });
    }

    pub(super) fn write(&self, element: &Element, text: &str) {
        self.with(element, |path| {
            self.attempt("POST", &format!("{path}/value"), &json!({ "text": text }))
        });
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

    /// What the page that is shown asked other hosts for.
    pub(super) fn foreign(&self) -> Vec<String> {
        let urls = self.requests().into_iter().map(|(url, _)| url);
        urls.filter(|url| !url.starts_with(&self.base)).collect()
    }

    /// Fails if a page asked another host for anything.
    pub(super) fn assert_nothing_foreign(&self) {
        assert_eq!(self.foreign(), Vec::<String>::new(), "at {}", self.place());
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

    /// Waits until the browser complains of something with this in it: it does so a moment later.
    pub(super) fn complains(&self, part: &str) {
        let mut said = Vec::new();
        self.wait(part, || {
            said.extend(self.complaints());
            match said.iter().any(|said| said.contains(part)) {
                true => Ok(()),
                false => Err(json!(said)),
            }
        });
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
