//! The configurations of reverse proxies that the book has, as they stand there, before a server.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use builder_web::config::Limits;

use crate::build::{build, noise};
use crate::cli::call;
use crate::documents::chapter;
use crate::program::{BUILDER_WEB, Process, run, succeeds};
use crate::server::wait_until;
use crate::service::{Service, make_certificate};

/// nginx, with the configuration of the book, in a directory of its own.
struct Nginx {
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl Nginx {
    fn start(directory: &Path, upstream: &str) -> Nginx {
        make_certificate(directory, "cert.pem", "key.pem");
        // A port that is free may be another's before nginx has it.
        let nginx = (0..20).find_map(|_| Nginx::at(free_port(), directory, upstream));
        nginx.expect("there is a port for nginx")
    }

    /// At a port, unless somebody else has it.
    fn at(port: u16, directory: &Path, upstream: &str) -> Option<Nginx> {
        let conf = directory.join("nginx.conf");
        fs::write(&conf, configuration(directory, port, upstream)).unwrap();
        let conf = conf.to_str().unwrap();
        succeeds(directory, "nginx", &["-t", "-q", "-c", conf]);
        let child = Command::new("nginx")
            .args(["-c", conf])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut nginx = Nginx {
            child,
            directory: directory.to_owned(),
            port,
        };
        let mut has_ended = false;
        wait_until("nginx answers", || {
            let url = nginx.url("/healthz");
            let answers = nginx.curl(&[&url]).is_some_and(|said| said.contains("ok"));
            has_ended = nginx.child.try_wait().unwrap().is_some();
            answers || has_ended
        });
        let log = fs::read_to_string(directory.join("error.log")).unwrap_or_default();
        let is_taken = has_ended && log.contains("Address already in use");
        assert!(is_taken || !has_ended, "{log}");
        (!is_taken).then_some(nginx)
    }

    fn url(&self, target: &str) -> String {
        format!("https://localhost:{}{target}", self.port)
    }

    /// What it answers, with its head; none: it does not.
    fn curl(&self, arguments: &[&str]) -> Option<String> {
        let mut all = vec!["-sS", "-i", "--cacert", "cert.pem"];
        all.extend(arguments);
        let output = run(&self.directory, "curl", &all);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The blocks of code in the chapter on proxies that say something.
fn blocks(says: &str) -> Vec<String> {
    let all = chapter("proxy.md");
    let blocks = all
        .split("\n\n")
        .fold(vec![String::new()], |mut all, part| {
            match part.lines().all(|line| line.starts_with("    ")) {
                true => all.last_mut().unwrap().push_str(&format!("{part}\n\n")),
                false => all.push(String::new()),
            }
            all
        });
    let found: Vec<String> = blocks
        .into_iter()
        .filter(|block| block.contains(says))
        .collect();
    assert!(!found.is_empty(), "{says} is in no block");
    found
}

/// What the book has, with this machine's addresses and files, and what is around it.
fn configuration(directory: &Path, port: u16, upstream: &str) -> String {
    let mut server = blocks("server_name").remove(0);
    let mut replace = |from: &str, to: &str| {
        assert!(server.contains(from), "{from} is not in {server}");
        server = server.replace(from, to);
    };
    let at = directory.display();
    let letsencrypt = "/etc/letsencrypt/live/builds.example.org";
    replace(
        &format!("{letsencrypt}/fullchain.pem"),
        &format!("{at}/cert.pem"),
    );
    replace(
        &format!("{letsencrypt}/privkey.pem"),
        &format!("{at}/key.pem"),
    );
    replace("builds.example.org", "localhost");
    replace("proxy_pass http://127.0.0.1:3000;", upstream);
    // The line as it stands is that of Debian's nginx; newer ones take both, and prefer what the comment has.
    let (line, newer) = ("listen 443 ssl http2;", "listen 443 ssl; http2 on;");
    assert!(server.contains(&format!("{line} # from nginx 1.25.1 on, rather: {newer}\n")));
    if knows_http2_on() {
        server = server.replace(&format!("{line} # from nginx 1.25.1 on, rather: "), "");
    }
    server = server.replace("listen 443 ", &format!("listen 127.0.0.1:{port} "));
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {at}/{of};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{server}\n}}\n"
    )
}

/// Whether this nginx is of 1.25.1 at least.
fn knows_http2_on() -> bool {
    let output = run(Path::new("/"), "nginx", &["-v"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = said.split("nginx/").nth(1).unwrap().split_whitespace();
    let numbers: Vec<u32> = version
        .take(1)
        .flat_map(|version| version.split('.'))
        .map(|number| number.parse().unwrap())
        .collect();
    numbers >= vec![1, 25, 1]
}

#[test]
fn nginx_as_documented_lets_pages_and_large_uploads_through() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    let server = Process::serve(&data, &["--trusted-proxy", "127.0.0.1"]);
    let datadir = data.to_str().unwrap();
    let add = [
        "db",
        "user-add",
        "--unrestricted",
        "--scrypt-n",
        "16",
        "-d",
        datadir,
        "ci",
    ];
    assert!(call(BUILDER_WEB, &add, "pw\n").status.success());
    let upstream = format!("proxy_pass http://{};", server.address);
    let nginx = Nginx::start(directory.path(), &upstream);

    let page = nginx.curl(&[&nginx.url("/")]).unwrap();
    assert!(page.starts_with("HTTP/2 200"), "{page}");
    let id = page
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "));
    let is_of_nginx = |id: &str| id.len() == 32 && id.chars().all(|char| char.is_ascii_hexdigit());
    assert!(is_of_nginx(id.unwrap().trim()), "{id:?}");
    let feed = nginx.curl(&[&nginx.url("/feed.atom")]).unwrap();
    assert!(feed.contains("href=\"https://localhost/"), "{feed}");
    // What a client says of itself is not handed on.
    let of_client = [
        ["-H", "X-Forwarded-Host: elsewhere.example"],
        ["-H", "X-Forwarded-Proto: http"],
    ];
    let mut arguments = of_client.concat();
    let url = nginx.url("/feed.atom");
    arguments.push(&url);
    let feed = nginx.curl(&arguments).unwrap();
    assert!(feed.contains("href=\"https://localhost/"), "{feed}");
    assert!(!feed.contains("elsewhere"), "{feed}");

    let large = build("hello", 1).file("bin/hello.hvt", noise(20 << 20));
    let exec = directory.path().join("build.exec");
    fs::write(&exec, large.exec()).unwrap();
    let body = format!("@{}", exec.display());
    let upload = |user: &str| {
        let url = nginx.url("/upload");
        let answer = nginx.curl(&[
            "-H",
            "expect:",
            "--user",
            user,
            "--data-binary",
            &body,
            &url,
        ]);
        answer.unwrap_or_default()
    };
    // Answered before it is read to its end.
    let refused = upload("ci:wrong");
    assert!(refused.starts_with("HTTP/2 401"), "{refused}");
    let kept = upload("ci:pw");
    assert!(kept.starts_with("HTTP/2 201"), "{kept}");
    let binary = nginx.url("/job/hello/build/latest/main-binary");
    let arguments = ["-sSfL", "--cacert", "cert.pem", &binary];
    let output = run(directory.path(), "curl", &arguments);
    assert!(output.stdout == noise(20 << 20), "the binary comes back");
}

#[test]
fn nginx_as_documented_speaks_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    let socket = directory.path().join("http.sock");
    let path = socket.to_str().unwrap();
    let arguments = ["--socket", path, "--trusted-proxy", "unix"];
    let _service = Service::start(&mut Service::serve(&data, &arguments));
    let documented = blocks("http://unix:").remove(0);
    let documented = documented.trim();
    assert_eq!(documented, "proxy_pass http://unix:/run/builder-web.sock;");
    let upstream = documented.replace("/run/builder-web.sock", path);
    let nginx = Nginx::start(directory.path(), &upstream);
    let feed = nginx.curl(&[&nginx.url("/feed.atom")]).unwrap();
    assert!(feed.contains("href=\"https://localhost/"), "{feed}");
}

#[test]
fn a_proxy_waits_for_longer_than_an_upload_waits_for_its_turn() {
    let server = blocks("server_name").remove(0);
    for directive in ["proxy_send_timeout", "proxy_read_timeout"] {
        let (_, rest) = server.split_once(directive).unwrap();
        let minutes = rest.trim_start().split_once("m;").unwrap().0;
        let seconds = minutes.parse::<u64>().unwrap() * 60;
        assert!(
            seconds > Limits::default().upload_wait_time_max.as_secs(),
            "{directive}"
        );
    }
    assert!(chapter("proxy.md").contains("an upload may wait five minutes"));
}
