//! The server as a service of the system: sockets, what it tells systemd, TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::program::{BUILDER_WEB, run, succeeds};
use crate::server::{Answer, PATIENCE, connect, head, wait_until};

/// builder-web, with the lines of its log up to the one that says where it serves, and those after.
pub(crate) struct Service {
    child: Child,
    log: String,
    later: Arc<Mutex<String>>,
}

impl Service {
    pub(crate) fn start(command: &mut Command) -> Service {
        let mut service = Service {
            child: command.stderr(Stdio::piped()).spawn().unwrap(),
            log: String::new(),
            later: Arc::default(),
        };
        let mut lines = BufReader::new(service.child.stderr.take().unwrap()).lines();
        while !service.log.contains("serving ") {
            let Some(Ok(line)) = lines.next() else {
                panic!("builder-web does not serve: {}", service.log);
            };
            service.log.push_str(&line);
            service.log.push('\n');
        }
        let later = service.later.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                later.lock().unwrap().push_str(&line);
            }
        });
        service
    }

    pub(crate) fn serve(datadir: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(BUILDER_WEB);
        command
            .args(["--metrics-address", "none", "-c", "/nonexistent", "-d"])
            .arg(datadir)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn port(&self) -> u16 {
        let line = self.log.lines().last().unwrap();
        let digits = line.rsplit(':').next().unwrap();
        let end = digits.find(|char: char| !char.is_ascii_digit());
        digits[..end.unwrap_or(digits.len())].parse().unwrap()
    }

    fn ask_to_stop(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    fn ends_well(&mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    fn terminate(&mut self) {
        self.ask_to_stop();
        self.ends_well();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn get(mut stream: impl Read + Write, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("connection", "close")];
    all.extend(headers);
    stream
        .write_all(head("GET", target, &all).as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Answer::parse(&answer, false)
}

#[test]
fn a_unix_socket_is_served_for_those_who_may_open_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let socket = directory.path().join("http.sock");
    let path = socket.to_str().unwrap();
    let arguments = ["--socket", path, "--trusted-proxy", "unix"];
    let mut service = Service::start(&mut Service::serve(&data, &arguments));
    assert!(
        service.log.contains(&format!("on unix:{path}")),
        "{}",
        service.log
    );
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let headers = [("x-request-id", "from-the-proxy")];
    let answer = get(UnixStream::connect(&socket).unwrap(), "/", &headers);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-request-id"), Some("from-the-proxy"));
    // Where somebody listens, nobody else does.
    let other = directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let output = Service::serve(&other, &["--socket", path])
        .output()
        .unwrap();
    // That may pass.
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another server listens there"));
    service.terminate();
    assert!(!socket.exists(), "it goes with the server");
    // What a server that was killed left does not stand in the way; other files are not touched.
    let mut killed = Service::start(&mut Service::serve(&data, &["--socket", path]));
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(socket.exists());
    let _again = Service::start(&mut Service::serve(
        &data,
        &["--socket", path, "--socket-mode", "600"],
    ));
    let file = directory.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let output = Service::serve(&other, &["--socket", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

/// A command that is given sockets of these kinds (`tcp`, `unix`), as systemd does it.
fn given_sockets(unix: &Path, kinds: &str, serve: &Command) -> Command {
    let script = "import os, socket, sys\n\
                  given = []\n\
                  for kind in sys.argv[2].split(','):\n\
                  \x20   if kind == 'tcp':\n\
                  \x20       given.append(socket.create_server(('127.0.0.1', 0)))\n\
                  \x20   else:\n\
                  \x20       given.append(socket.socket(socket.AF_UNIX))\n\
                  \x20       given[-1].bind(sys.argv[1]); given[-1].listen()\n\
                  for at, each in enumerate(given): os.dup2(each.fileno(), 13 + at)\n\
                  for at in range(len(given)): os.dup2(13 + at, 3 + at)\n\
                  os.environ.update(LISTEN_FDS=str(len(given)), LISTEN_PID=str(os.getpid()))\n\
                  os.execv(sys.argv[3], sys.argv[3:])\n";
    let mut command = Command::new("python3");
    command
        .args(["-c", script])
        .arg(unix)
        .arg(kinds)
        .arg(serve.get_program())
        .args(serve.get_args())
        .stdin(Stdio::null());
    command
}

#[test]
fn sockets_that_systemd_opened_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("given.sock");
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut command = given_sockets(&socket, "tcp,unix", &Service::serve(&data, &[]));
    let mut service = Service::start(&mut command);
    let log = service.log.clone();
    assert!(
        log.contains("on http://127.0.0.1:") && log.contains(", unix:"),
        "{log}"
    );
    let rest = log.split("on http://127.0.0.1:").nth(1).unwrap();
    let port: u16 = rest.split(',').next().unwrap().parse().unwrap();
    let stream = connect(([127, 0, 0, 1], port).into());
    assert_eq!(get(stream, "/healthz", &[]).text(), "ok\n");
    let stream = UnixStream::connect(&socket).unwrap();
    assert_eq!(get(stream, "/healthz", &[]).text(), "ok\n");
    service.terminate();
    assert!(socket.exists(), "it is systemd's");
}

#[test]
fn systemd_is_told_that_the_server_is_ready_lives_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut text = [0; 200];
        let size = systemd.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..size]).trim().to_owned()
    };
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut command = Service::serve(&data, &["-p", "0"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let mut service = Service::start(&mut command);
    assert_eq!(told(), "READY=1");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1");
    }
    service.ask_to_stop();
    // It is listened to until then: there is little room for what nobody has heard.
    wait_until("it says that it stops", || told() == "STOPPING=1");
    service.ends_well();
}

/// A new certificate of localhost that is signed with its own key.
pub(crate) fn make_certificate(at: &Path, certificate: &str, key: &str) {
    make_certificate_for(at, certificate, key, 30);
}

/// One that is valid for so many days.
fn make_certificate_for(at: &Path, certificate: &str, key: &str, days: u32) {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                   -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    let mut arguments: Vec<&str> = request.split_whitespace().collect();
    let days = days.to_string();
    arguments.extend(["-days", &days, "-keyout", key, "-out", certificate]);
    succeeds(at, "openssl", &arguments);
}

#[test]
fn what_may_pass_by_itself_is_worth_another_start() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let ends_with = |arguments: &[&str], status: i32, says: &str| {
        let output = Service::serve(&data, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(says), "{said}");
    };
    // An address that nobody has, as before the network is up.
    let nowhere = ["-h", "192.0.2.1"];
    ends_with(&nowhere, 1, "cannot listen on 192.0.2.1:3000");
    let mut command = Command::new(BUILDER_WEB);
    command.args(["-p", "0", "--metrics-address", "192.0.2.1:9180", "-d"]);
    let output = command.arg(&data).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // A path that leads nowhere stays so.
    let nowhere = ["--socket", "/nonexistent/http.sock"];
    ends_with(&nowhere, 2, "cannot listen on /nonexistent/http.sock");
    // What is no database stays so; that it cannot be read may pass.
    let database = data.join("builder.sqlite3");
    std::fs::remove_file(&database).unwrap();
    std::fs::create_dir(&database).unwrap();
    ends_with(&[], 1, "unable to open database file");
    std::fs::remove_dir(&database).unwrap();
    std::fs::write(&database, [b'x'; 4096]).unwrap();
    ends_with(&[], 2, "is not an SQLite database");
}

#[test]
fn the_journal_is_told_how_grave_each_line_is() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let data = at.join("data");
    std::fs::create_dir(&data).unwrap();
    let said = |is_journal: bool| {
        let file = std::fs::File::create(at.join("said")).unwrap();
        let metadata = file.metadata().unwrap();
        let inode = metadata.ino() + u64::from(!is_journal);
        let output = Service::serve(&data, &["--cachedir", "x", "-h", "192.0.2.1"])
            .env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev()))
            .stderr(file)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        std::fs::read_to_string(at.join("said")).unwrap()
    };
    let journal = said(true);
    let lines: Vec<&str> = journal.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with('<')), "{journal}");
    let begins = |priority: &str, part: &str| {
        let line = lines.iter().find(|line| line.contains(part));
        assert!(
            line.is_some_and(|line| line.starts_with(priority)),
            "{journal}"
        );
    };
    begins("<4>", "--cachedir x is ignored");
    begins("<3>", "cannot listen on 192.0.2.1");
    assert!(!said(false).contains('<'), "a file is no journal");
}

/// Runs the server in a terminal that script(1) makes, with `before` before its command; its process,
/// script's, and where its log is.
fn in_terminal(at: &Path, before: &str) -> (rustix::process::Pid, Child, std::path::PathBuf) {
    let (pid, log, data) = (at.join("pid"), at.join("log"), at.join("data"));
    std::fs::create_dir(&data).unwrap();
    let serve = format!(
        "echo $$ >{}; exec {BUILDER_WEB} -p 0 --metrics-address none -c /nonexistent -d {} 2>{}",
        pid.display(),
        data.display(),
        log.display()
    );
    std::fs::write(at.join("serve"), serve).unwrap();
    let command = format!("{before} sh {}", at.join("serve").display());
    let script = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it serves", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("serving "))
    });
    let pid = std::fs::read_to_string(pid).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    (pid, script, log)
}

#[test]
fn a_hang_up_ends_who_runs_in_a_terminal_alone() {
    use rustix::process::{Signal, kill_process};
    let says = |log: &Path, part: &str| std::fs::read_to_string(log).unwrap().contains(part);
    // As daemon(8) leaves it: a terminal is its input, of another session.
    let directory = tempfile::tempdir().unwrap();
    let (pid, mut script, log) = in_terminal(directory.path(), "exec setsid -w");
    kill_process(pid, Signal::HUP).unwrap();
    wait_until("it says that there is no certificate", || {
        says(&log, "asked to read the certificate again")
    });
    script.kill().unwrap();
    script.wait().unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    wait_until("it says so again", || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.matches("asked to read the certificate").count() == 2
    });
    kill_process(pid, Signal::TERM).unwrap();
    wait_until("it stops", || says(&log, "stopped"));
    // In the session of its terminal.
    let directory = tempfile::tempdir().unwrap();
    let (_, mut script, log) = in_terminal(directory.path(), "exec");
    script.kill().unwrap();
    script.wait().unwrap();
    wait_until("it stops with its terminal", || says(&log, "stopped"));
}

#[test]
fn a_certificate_that_was_renewed_is_used_without_a_new_start() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let data = at.join("data");
    std::fs::create_dir(&data).unwrap();
    make_certificate(at, "cert.pem", "key.pem");
    let (certificate, key) = (at.join("cert.pem"), at.join("key.pem"));
    let arguments = ["-p", "0", "--tls-certificate"];
    let mut command = Service::serve(&data, &arguments);
    let service = Service::start(command.arg(&certificate).arg("--tls-key").arg(&key));
    let url = format!("https://localhost:{}/healthz", service.port());
    let answers = |certificate: &str| run(at, "curl", &["-sS", "--cacert", certificate, &url]);
    let hang_up = || {
        let pid = rustix::process::Pid::from_child(&service.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    make_certificate(at, "new.pem", "new-key.pem");
    assert!(answers("cert.pem").status.success());
    assert!(!answers("new.pem").status.success());
    // A renewal that is half done changes nothing.
    std::fs::rename(at.join("new-key.pem"), &key).unwrap();
    hang_up();
    wait_until("it says that key and certificate are not a pair", || {
        let later = service.later.lock().unwrap();
        later.contains("still with the certificate as it was")
    });
    std::fs::copy(&certificate, at.join("old.pem")).unwrap();
    std::fs::rename(at.join("new.pem"), &certificate).unwrap();
    assert!(answers("old.pem").status.success());
    hang_up();
    wait_until("it speaks with the new certificate", || {
        answers("cert.pem").status.success()
    });
    assert!(!answers("old.pem").status.success());
}

#[test]
fn until_when_a_certificate_is_valid_is_told_before_it_is_too_late() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let data = at.join("data");
    std::fs::create_dir(&data).unwrap();
    let series = "builder_web_certificate_expiry_timestamp_seconds";
    let metrics = |service: &Service| {
        let log = &service.log;
        let (_, rest) = log.split_once("metrics are at http://").unwrap();
        let address = rest.split('/').next().unwrap().parse().unwrap();
        get(connect(address), "/metrics", &[]).text()
    };
    let value = |text: &str, series: &str| -> Option<f64> {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(series));
        values.next()?.trim().parse().ok()
    };
    let serve = |arguments: &[&str]| {
        let mut command = Command::new(BUILDER_WEB);
        command
            .args(["--metrics-address", "127.0.0.1:0", "-p", "0", "-d"])
            .arg(&data)
            .args(arguments)
            .current_dir(at)
            .stdin(Stdio::null());
        Service::start(&mut command)
    };
    let plain = serve(&[]);
    assert_eq!(value(&metrics(&plain), series), None);
    drop(plain);
    // As openssl says it.
    let end = |certificate: &str| {
        let command = format!(
            "date -u +%s -d \"$(openssl x509 -noout -enddate -in {certificate} | cut -d = -f 2)\""
        );
        let seconds = succeeds(at, "sh", &["-c", &command]);
        let seconds = String::from_utf8(seconds).unwrap();
        seconds.trim().parse::<f64>().unwrap()
    };
    let tls = ["--tls-certificate", "cert.pem", "--tls-key", "key.pem"];
    let ended = "has ended, on";
    make_certificate(at, "cert.pem", "key.pem");
    // None is made anew that ended yesterday.
    std::fs::write(at.join("extensions"), "basicConstraints = CA:FALSE").unwrap();
    let command = "openssl req -new -key key.pem -subj /CN=localhost | \
                   openssl x509 -req -signkey key.pem -days -1 -extfile extensions -out cert.pem";
    succeeds(at, "sh", &["-c", command]);
    let service = serve(&tls);
    assert!(service.log.contains(ended), "{}", service.log);
    assert_eq!(value(&metrics(&service), series), Some(end("cert.pem")));
    drop(service);
    make_certificate_for(at, "cert.pem", "key.pem", 13);
    let service = serve(&tls);
    let log = &service.log;
    assert!(
        log.contains("the certificate in cert.pem ends on 20") && !log.contains(ended),
        "{log}"
    );
    let text = metrics(&service);
    assert_eq!(value(&text, series), Some(end("cert.pem")));
    let failures = "builder_web_certificate_reload_failures_total";
    assert_eq!(value(&text, failures), Some(0.0));
    let hang_up = || {
        let pid = rustix::process::Pid::from_child(&service.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    let before = end("cert.pem");
    make_certificate_for(at, "new.pem", "new-key.pem", 15);
    std::fs::rename(at.join("new.pem"), at.join("cert.pem")).unwrap();
    hang_up();
    wait_until("what cannot be used is counted", || {
        value(&metrics(&service), failures) == Some(1.0)
    });
    assert_eq!(value(&metrics(&service), series), Some(before));
    std::fs::rename(at.join("new-key.pem"), at.join("key.pem")).unwrap();
    hang_up();
    wait_until("the end is that of the new one", || {
        value(&metrics(&service), series) == Some(end("cert.pem"))
    });
    let later = service.later.lock().unwrap().clone();
    assert!(!later.contains("ends on"), "{later}");
    drop(service);
    assert!(!serve(&tls).log.contains("ends on"));
}

#[test]
fn a_certificate_for_unix_sockets_alone_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let data = at.join("data");
    std::fs::create_dir(&data).unwrap();
    make_certificate(at, "cert.pem", "key.pem");
    let (certificate, key) = (at.join("cert.pem"), at.join("key.pem"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let tls = ["--tls-certificate", certificate, "--tls-key", key];
    let socket = at.join("http.sock");
    let arguments = [&["--socket", socket.to_str().unwrap()], &tls[..]].concat();
    let output = Service::serve(&data, &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let why = format!("the server listens at unix:{} only", socket.display());
    assert!(said.contains(&why), "{said}");
    assert!(!socket.exists());
    // From systemd.
    let mut command = given_sockets(&socket, "unix", &Service::serve(&data, &tls));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&why), "{said}");
    std::fs::remove_file(&socket).unwrap();
    let mut command = given_sockets(&socket, "tcp,unix", &Service::serve(&data, &tls));
    let service = Service::start(&mut command);
    let log = &service.log;
    assert!(log.contains("nothing is encrypted at unix:"), "{log}");
    assert!(log.contains("on https://127.0.0.1:"), "{log}");
}

#[test]
fn tls_of_its_own_is_spoken_with_a_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let data = at.join("data");
    std::fs::create_dir(&data).unwrap();
    make_certificate(at, "cert.pem", "key.pem");
    let (certificate, key) = (at.join("cert.pem"), at.join("key.pem"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let arguments = [
        "-p",
        "0",
        "--tls-certificate",
        certificate,
        "--tls-key",
        key,
    ];
    let service = Service::start(&mut Service::serve(&data, &arguments));
    assert!(
        service.log.contains("on https://127.0.0.1:"),
        "{}",
        service.log
    );
    let url = format!("https://localhost:{}/healthz", service.port());
    let said = succeeds(at, "curl", &["-sS", "--cacert", certificate, &url]);
    assert_eq!(said, b"ok\n");
    let feed = url.replace("healthz", "feed.atom");
    let said = succeeds(at, "curl", &["-sS", "--cacert", certificate, &feed]);
    assert!(String::from_utf8_lossy(&said).contains(&format!("href=\"{feed}\"")));
    let plain = run(at, "curl", &["-sS", &url.replace("https", "http")]);
    assert!(!plain.status.success());
    // A key that is not the certificate's is told at the start.
    succeeds(
        at,
        "openssl",
        &["genpkey", "-algorithm", "ed25519", "-out", "other.pem"],
    );
    let other = at.join("other.pem");
    let arguments = [
        "-p",
        "0",
        "--tls-certificate",
        certificate,
        "--tls-key",
        other.to_str().unwrap(),
    ];
    let output = Service::serve(&data, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be used"));
}
