//! A server for a test: a data directory of its own, the clock stopped, users who may upload.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use base64::Engine as _;
use builder_exec::Timestamp;
use builder_store::{Sha256, Store, access, jobs, users};
use builder_web::app::App;
use builder_web::auth::{ScryptParams, hash_password};
use builder_web::config::Config;
use builder_web::{Clock, routes, serve};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::build::Build;

/// May upload to every job.
pub(crate) const BUILDER: (&str, &str) = ("builder", "hunter2:with colon");
/// May upload to the jobs on her list.
pub(crate) const ALICE: (&str, &str) = ("alice", "pw");

/// Cheap to check, for users who are not what a test is about.
pub(crate) const CHEAP: ScryptParams = ScryptParams { n: 16, r: 1, p: 1 };

/// The time on every server's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_civil(2026, 5, 12, 4, 13, 33).unwrap()
}

/// Who acts on the command line.
pub(crate) fn operator() -> builder_store::record::audit::Actor {
    builder_store::record::audit::Actor {
        who: "operator".to_owned(),
        address: "command line".to_owned(),
        request: String::new(),
    }
}

pub(crate) struct Server {
    pub(crate) app: App,
    router: Router,
    runtime: Option<Runtime>,
    directory: Option<TempDir>,
    datadir: PathBuf,
    configdir: PathBuf,
}

impl Server {
    /// An empty one.
    pub(crate) fn new() -> Server {
        Server::with(|_| {})
    }

    /// An empty one that is set up differently.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Server {
        let server = Server::prepared(|datadir| std::fs::create_dir(datadir).unwrap(), change);
        server.add_user(BUILDER, false, CHEAP);
        server.add_user(ALICE, true, CHEAP);
        server
    }

    /// With a copy of a data directory that nobody writes to.
    pub(crate) fn of_copy(datadir: &Path, change: impl FnOnce(&mut Config)) -> Server {
        Server::prepared(|copy| copy_directory(datadir, copy), change)
    }

    /// On directories of its own, one of them made by `prepare`.
    fn prepared(prepare: impl FnOnce(&Path), change: impl FnOnce(&mut Config)) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let datadir = directory.path().join("data");
        prepare(&datadir);
        let configdir = directory.path().join("config");
        std::fs::create_dir(&configdir).unwrap();
        let mut server = Server::on(&datadir, &configdir, Clock::Stopped(now()), change);
        server.directory = Some(directory);
        server
    }

    /// One with builds, taken in in this order.
    pub(crate) fn of(builds: &[Build]) -> Server {
        let server = Server::new();
        for build in builds {
            server.keep(build);
        }
        server
    }

    /// On a data directory that is there, without users of ours.
    pub(crate) fn on(
        datadir: &Path,
        configdir: &Path,
        clock: Clock,
        change: impl FnOnce(&mut Config),
    ) -> Server {
        let mut config = Config::new(datadir.to_owned(), configdir.to_owned());
        // The disk a test runs on may be nearly full.
        config.limits.disk_reserve_bytes = 0;
        change(&mut config);
        let store = Store::open(datadir).unwrap();
        let app = App::new(store, config, clock);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Server {
            router: routes::router(app.clone()),
            app,
            runtime: Some(runtime),
            directory: None,
            datadir: datadir.to_owned(),
            configdir: configdir.to_owned(),
        }
    }

    /// A second server on the same directories, at another time or set up differently.
    pub(crate) fn again(&self, clock: Clock, change: impl FnOnce(&mut Config)) -> Server {
        Server::on(&self.datadir, &self.configdir, clock, change)
    }

    pub(crate) fn datadir(&self) -> &Path {
        &self.datadir
    }

    pub(crate) fn configdir(&self) -> &Path {
        &self.configdir
    }

    pub(crate) fn add_user(
        &self,
        (name, password): (&str, &str),
        restricted: bool,
        scrypt: ScryptParams,
    ) {
        let hash = hash_password(password.as_bytes(), scrypt).unwrap();
        let added = self
            .app
            .store()
            .write(|tx| users::add(tx, name, &hash, restricted))
            .unwrap();
        assert_eq!(added, users::Added::Added);
    }

    /// Puts a job that is there on a user's list.
    pub(crate) fn allow(&self, user: &str, job: &str) {
        self.app
            .store()
            .write(|tx| {
                let user = users::by_name(tx, user)?.unwrap();
                let job = jobs::id_by_name(tx, job)?.unwrap();
                access::add(tx, user.id, job)
            })
            .unwrap();
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// Sends a request to the router and reads all of the answer.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::new(body.into());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = target
            .parse()
            .unwrap_or_else(|error| panic!("{target}: {error}"));
        for (name, value) in headers {
            request.headers_mut().append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        self.send_request(request)
    }

    /// Sends what was made elsewhere.
    pub(crate) fn send_request(&self, request: Request<Body>) -> Answer {
        let target = request.uri().to_string();
        let router = self.router.clone();
        self.runtime().block_on(async move {
            let response = router.oneshot(request).await.unwrap();
            let (head, body) = response.into_parts();
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body
                    .collect()
                    .await
                    .map(|body| body.to_bytes().to_vec())
                    .unwrap_or_else(|error| {
                        panic!("the answer to {target} was broken off: {error}")
                    }),
            }
        })
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], Body::empty())
    }

    pub(crate) fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", target, headers, Body::empty())
    }

    /// A page that is there, as text.
    pub(crate) fn page(&self, target: &str) -> String {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.text()
    }

    /// A page that is there, as JSON.
    pub(crate) fn json(&self, target: &str) -> Value {
        let answer = self.get_with(target, &[("accept", "application/json")]);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    /// Where a redirect leads.
    pub(crate) fn location(&self, target: &str) -> (u16, String) {
        let answer = self.get(target);
        let location = answer.header("location").unwrap_or_default();
        assert!(answer.body.is_empty(), "{target}: {}", answer.text());
        (answer.status, location.to_owned())
    }

    pub(crate) fn upload(&self, build: &Build) -> Answer {
        self.upload_bytes(BUILDER, build.exec())
    }

    pub(crate) fn upload_bytes(&self, user: (&str, &str), exec: impl Into<Body>) -> Answer {
        self.send("POST", "/upload", &[("authorization", &basic(user))], exec)
    }

    /// Uploads a build that is to be taken in.
    pub(crate) fn keep(&self, build: &Build) {
        let answer = self.upload(build);
        assert_eq!(answer.status, 201, "{}: {}", build.url(), answer.text());
    }

    /// Listens on a socket from here on.
    pub(crate) fn listen(&self) -> SocketAddr {
        let listener = self
            .runtime()
            .block_on(serve::listen("127.0.0.1:0".parse().unwrap()))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (router, app) = (self.router.clone(), self.app.clone());
        self.runtime().spawn(async move {
            let listeners = vec![serve::Listener::tcp(listener)];
            serve::run(listeners, router, &app, std::future::pending()).await;
        });
        address
    }

    /// The digest of each file of the data directory that is no database, by its path; empty
    /// directories too, except those the server keeps.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        files(&self.datadir)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The digest of each file below a directory that is no database, by its path. Without the pictures
/// of the server: they are drawn in the background, and come when they come. What a server removes
/// while this looks is not there.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(next) = todo.pop() {
        let Some(entries) = unless_gone(std::fs::read_dir(&next)) else {
            assert_ne!(next, directory, "there is no such directory");
            all.remove(&format!("{}/", name_below(directory, &next)));
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = name_below(directory, &path);
            if name == "_cache/builder-web" {
                continue;
            }
            if path.is_dir() {
                all.insert(format!("{name}/"), String::new());
                todo.push(path);
            } else if !name.contains(".sqlite3")
                && let Some(content) = unless_gone(std::fs::read(&path))
            {
                all.insert(name, Sha256::of(&content).to_hex());
            }
        }
    }
    all
}

fn name_below(directory: &Path, path: &Path) -> String {
    path.strip_prefix(directory).unwrap().display().to_string()
}

/// Fails with every error but that of a file that is not there, or no more.
fn unless_gone<T>(read: std::io::Result<T>) -> Option<T> {
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(read.unwrap()),
    }
}

/// How long a test waits before it fails: long enough for a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what happens in the background, and fails if it does not.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The `Authorization` of a user with a password.
pub(crate) fn basic((user, password): (&str, &str)) -> String {
    let both = format!("{user}:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(both)
    )
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Reads an answer as it came over a socket, up to its end.
    pub(crate) fn parse(bytes: &[u8], head_only: bool) -> Answer {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        if status == 100 {
            return Answer::parse(&bytes[end + 4..], head_only);
        }
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let mut answer = Answer {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        if head_only {
            assert_eq!(answer.body, b"", "an answer to HEAD has no body");
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            assert_eq!(answer.header("content-length"), None);
            answer.body = unchunk(&answer.body);
        } else if let Some(length) = answer.header("content-length") {
            assert_eq!(
                answer.body.len().to_string(),
                length,
                "the length is as announced"
            );
        }
        answer
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&bytes[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        out.extend(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 2 + size + 2..];
        if size == 0 {
            return out;
        }
    }
}

/// The head of a request, without its end.
pub(crate) fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: builds.example\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // A server that never answers is a failure, not a test that hangs.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Writes a whole request before reading anything, as plain clients do, and reads the answer up to
/// the end of the connection.
pub(crate) fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = connect(address);
    let mut all = vec![("connection", "close")];
    all.extend(headers);
    stream
        .write_all(head(method, target, &all).as_bytes())
        .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        // What is no HTTP is answered and not read to its end: the connection is reset after that.
        let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(reset && !answer.is_empty(), "{target}: {error}");
    }
    Answer::parse(&answer, method == "HEAD")
}
