//! What those see who watch a server: metrics, health, the names of requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use builder_store::Sha256;
use builder_web::metrics::influx;
use builder_web::upload::hooks::HookEnd;
use builder_web::{Clock, routes};
use tower::ServiceExt;

use crate::build::build;
use crate::carry::db;
use crate::hooks::hook;
use crate::program::{Process, succeeds};
use crate::server::{
    ALICE, Answer, BUILDER, Server, basic, connect, exchange, head, now, wait_until,
};

/// What Prometheus reads of a server.
fn metrics(server: &Server) -> String {
    let request = axum::http::Request::get("/metrics")
        .body(axum::body::Body::empty())
        .unwrap();
    let router = routes::watching(server.app.clone());
    server.runtime().block_on(async move {
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let content_type = response.headers()["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("text/plain; version=0.0.4"));
        let body = http_body_util::BodyExt::collect(response.into_body());
        String::from_utf8(body.await.unwrap().to_bytes().to_vec()).unwrap()
    })
}

/// The value of a series, labels included.
fn value(metrics: &str, series: &str) -> f64 {
    let mut found = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = found
        .next()
        .unwrap_or_else(|| panic!("no {series} in {metrics}"));
    assert_eq!(found.next(), None, "{series} is there once");
    value.parse().unwrap()
}

#[test]
fn requests_are_counted_by_the_pattern_of_their_route_and_by_status() {
    let hello = build("hello", 1).file("bin/x", "x");
    let server = Server::of(std::slice::from_ref(&hello));
    for target in [
        "/job/hello",
        "/job/hello/",
        "/job/none",
        "/nowhere/1",
        "/nowhere/2",
    ] {
        server.get(target);
    }
    server.get(&format!("{}/f/bin/x", hello.url()));
    let text = metrics(&server);
    let requests = |route: &str, status: u16| {
        let series =
            format!("builder_web_http_requests_total{{route=\"{route}\",status=\"{status}\"}}");
        value(&text, &series)
    };
    assert_eq!(requests("/job/{job}", 200), 2.0);
    assert_eq!(requests("/job/{job}", 404), 1.0);
    assert_eq!(requests("(none)", 404), 2.0);
    assert_eq!(requests("/job/{job}/build/{uuid}/f/{*path}", 200), 1.0);
    assert_eq!(requests("/upload", 201), 1.0);
    let seconds = "builder_web_http_request_duration_seconds";
    let count = format!("{seconds}_count{{route=\"/job/{{job}}\"}}");
    assert_eq!(value(&text, &count), 3.0);
    for label in ["hello", "nowhere"] {
        let mut requests = text.lines().filter(|line| line.contains("http_request"));
        assert!(!requests.any(|line| line.contains(label)), "{label}");
    }
}

#[test]
fn uploads_hooks_log_ins_builds_and_sizes_are_counted() {
    let server = Server::new();
    for (name, script) in [("a.sh", "exit 0"), ("b.sh", "exit 3")] {
        hook(&server, name, 0o755, script);
    }
    let odd = "odd \"name\"\\";
    server.keep(&build("hello", 1).file("bin/x", "four"));
    server.keep(
        &build("hello", 2)
            .file("bin/x", "four")
            .file("more", "six6!!"),
    );
    server.keep(&build(odd, 3));
    let again = build("hello", 1).file("bin/x", "four");
    assert_eq!(server.upload(&again).status, 409);
    assert_eq!(
        server.upload_bytes((ALICE.0, "no"), again.exec()).status,
        401
    );
    wait_until("the hooks have run", || {
        let text = metrics(&server);
        text.contains("builder_web_hooks_total{hook=\"a.sh\",result=\"succeeded\"} 2")
            && text.contains("builder_web_hooks_total{hook=\"b.sh\",result=\"failed\"} 2")
            && text.contains("builder_web_artifacts 2")
            // One that is counted ends a moment later.
            && value(&text, "builder_web_hooks_running") == 0.0
            && value(&text, "builder_web_hooks_waiting") == 0.0
    });
    let text = metrics(&server);
    let of = |series: &str| value(&text, series);
    assert_eq!(of("builder_web_uploads_total{status=\"201\"}"), 3.0);
    assert_eq!(of("builder_web_uploads_total{status=\"409\"}"), 1.0);
    assert_eq!(of("builder_web_uploads_total{status=\"401\"}"), 1.0);
    assert_eq!(of("builder_web_upload_duration_seconds_count"), 5.0);
    assert!(of("builder_web_upload_bytes_total") > 100.0);
    assert_eq!(of("builder_web_uploads_in_progress"), 0.0);
    wait_until("no hook is on record", || {
        value(&metrics(&server), "builder_web_hooks_pending") == 0.0
    });
    // As a server leaves it that was stopped in the middle.
    let interrupted = uuid::Uuid::from_u128(77);
    let now = server.app.now();
    let store = server.app.store();
    store
        .write(|tx| builder_store::record::hook_runs::ask(tx, interrupted, &now))
        .unwrap();
    assert_eq!(value(&metrics(&server), "builder_web_hooks_pending"), 1.0);
    let ended =
        |tx: &mut builder_store::Tx<'_>| builder_store::record::hook_runs::ended(tx, interrupted);
    store.write(ended).unwrap();
    assert_eq!(of("builder_web_hook_duration_seconds_count"), 4.0);
    assert_eq!(of("builder_web_log_ins_total{result=\"wrong\"}"), 1.0);
    assert!(of("builder_web_log_ins_total{result=\"right\"}") >= 1.0);
    let platform = "debian-12";
    let of_job = |what: &str, job: &str| {
        let lines = text.lines().filter(|line| {
            line.starts_with(&format!("builder_web_{what}{{job=\"{job}\",platform=\""))
        });
        let sum: f64 = lines
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum();
        sum
    };
    assert_eq!(of_job("builds", "hello"), 2.0, "on {platform} or another");
    assert_eq!(of_job("failed_builds", "hello"), 0.0);
    assert_eq!(of_job("failed_builds", "odd \\\"name\\\"\\\\"), 1.0);
    assert_eq!(of("builder_web_artifact_bytes"), 10.0);
    for file in ["builder", "builder-web", "builder-web-record"] {
        let series = format!("builder_web_database_bytes{{file=\"{file}.sqlite3\"}}");
        assert!(of(&series) > 4096.0, "{file}");
    }
    assert!(of("process_resident_memory_bytes") > 1e6);
    assert!(of("process_open_fds") > 3.0);
    assert!(of("process_cpu_seconds_total") > 0.0);
    assert_eq!(of("process_start_time_seconds"), 1_778_559_213.0);
}

#[test]
fn metrics_have_an_address_of_their_own_and_are_not_at_the_public_one() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::serve(directory.path(), &[]);
    assert_eq!(
        exchange(process.address, "GET", "/healthz", &[], b"").text(),
        "ok\n"
    );
    assert_eq!(
        exchange(process.address, "GET", "/readyz", &[], b"").text(),
        "ok\n"
    );
    assert_ne!(
        exchange(process.address, "GET", "/metrics", &[], b"").status,
        200
    );
    let own = process.metrics_address();
    assert_ne!(own, process.address);
    let text = exchange(own, "GET", "/metrics", &[], b"").text();
    let health = "builder_web_http_requests_total{route=\"/healthz\",status=\"200\"}";
    assert_eq!(value(&text, health), 1.0);
    assert!(value(&text, "builder_web_sent_bytes_total") > 500.0);
    assert!(value(&text, "builder_web_connections") >= 1.0);
    assert_eq!(exchange(own, "GET", "/readyz", &[], b"").text(), "ok\n");
    assert_eq!(exchange(own, "GET", "/", &[], b"").status, 404);
}

#[test]
fn what_alerts_look_at_is_there_before_it_happens() {
    let server = Server::new();
    let hooks = server.configdir().join("upload-hooks");
    std::fs::create_dir(&hooks).unwrap();
    std::fs::write(hooks.join("publish.sh"), "#!/bin/sh\n").unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(hooks.join("publish.sh"), executable).unwrap();
    std::fs::write(hooks.join("not.sh.sample"), "").unwrap();
    let text = metrics(&server);
    let zero = |series: &str| assert_eq!(value(&text, series), 0.0, "{series}");
    for status in [201, 400, 401, 403, 408, 409, 413, 429, 500, 503, 507] {
        zero(&format!("builder_web_uploads_total{{status=\"{status}\"}}"));
    }
    for result in ["succeeded", "failed", "killed"] {
        zero(&format!(
            "builder_web_hooks_total{{hook=\"publish.sh\",result=\"{result}\"}}"
        ));
    }
    assert!(!text.contains("sample"));
    for place in [
        "upload",
        "password",
        "expensive",
        "archive",
        "stream",
        "check",
        "comparison",
        "drawing",
    ] {
        if place != "drawing" {
            zero(&format!("builder_web_busy_total{{place=\"{place}\"}}"));
        }
        zero(&format!("builder_web_places_waiting{{place=\"{place}\"}}"));
    }
    for result in ["right", "wrong", "slowed"] {
        zero(&format!("builder_web_log_ins_total{{result=\"{result}\"}}"));
    }
    zero("builder_web_http_errors_total");
    zero("builder_web_damaged_files_total");
    zero("builder_web_certificate_reload_failures_total");
    for work in ["builds", "switches", "failures", "inputs"] {
        zero(&format!("builder_web_backlog{{work=\"{work}\"}}"));
    }
    let version = builder_web::VERSION;
    let info = format!("builder_web_build_info{{version=\"{version}\"}}");
    assert_eq!(value(&text, &info), 1.0);
}

#[test]
fn the_last_upload_check_and_backup_are_told_also_after_a_restart() {
    let hello = build("hello", 1).file("bin/x", "x");
    let server = Server::new();
    let verify =
        |found: &str| format!("builder_web_last_verify_timestamp_seconds{{found=\"{found}\"}}");
    let (upload, backup) = (
        "builder_web_last_upload_timestamp_seconds",
        "builder_web_last_backup_timestamp_seconds",
    );
    let text = metrics(&server);
    for series in [upload, backup, &verify("nothing"), &verify("faults")] {
        assert!(value(&text, series).is_nan(), "{series}");
    }
    server.keep(&hello);
    let datadir = server.datadir().to_str().unwrap();
    let holder = tempfile::tempdir().unwrap();
    let dest = holder.path().join("backup");
    db(0, &["verify-data-dir", "-d", datadir]);
    db(0, &["backup", "-d", datadir, dest.to_str().unwrap()]);
    let text = metrics(&server);
    // The server's clock is stopped, that of the commands is not.
    assert_eq!(value(&text, upload), now().unix_seconds() as f64);
    let verified = value(&text, &verify("nothing"));
    assert!(verified > 1e9 && value(&text, backup) >= verified);
    assert!(value(&text, &verify("faults")).is_nan());
    let artifact = server.app.store().artifacts().path(Sha256::of(b"x"));
    std::fs::remove_file(&artifact).unwrap();
    db(1, &["verify-data-dir", "-d", datadir]);
    let again = server.again(Clock::Stopped(now()), |_| {});
    let text = metrics(&again);
    assert_eq!(value(&text, upload), now().unix_seconds() as f64);
    assert_eq!(value(&text, &verify("nothing")), verified);
    assert!(value(&text, &verify("faults")) >= verified);
    let (events, _) = db(0, &["audit", "-d", datadir]);
    for (action, count) in [
        ("  verify  ", 1),
        ("  verify-faults  ", 1),
        ("  backup  ", 1),
    ] {
        assert_eq!(events.matches(action).count(), count, "{action}: {events}");
    }
}

#[test]
fn where_the_record_has_no_upload_the_newest_build_tells_when_one_came() {
    let server = Server::new();
    let ended = build("hello", 1).finish.unix_seconds();
    server.keep(&build("hello", 1).file("bin/x", "x"));
    // As a data directory of the OCaml server comes: without a record.
    let record = server.datadir().join("builder-web-record.sqlite3");
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", record.display())).unwrap();
    }
    std::fs::remove_file(server.datadir().join("builder.sqlite3-record")).unwrap();
    let upload = "builder_web_last_upload_timestamp_seconds";
    let again = server.again(Clock::Stopped(now()), |_| {});
    assert_eq!(value(&metrics(&again), upload), ended as f64);
    again.keep(&build("hello", 2).file("bin/x", "y"));
    let uploaded = now().unix_seconds() as f64;
    assert_eq!(value(&metrics(&again), upload), uploaded);
}

/// A metric that an expression looks at, with the labels it is to have.
#[derive(Debug)]
struct Selector<'a> {
    name: &'a str,
    matchers: Vec<(&'a str, &'a str, &'a str)>,
}

impl Selector<'_> {
    /// Whether a series is one of those; labels that Prometheus adds are any.
    fn selects(&self, (name, labels): &(String, Vec<(String, String)>)) -> bool {
        self.name == name
            && self.matchers.iter().all(|(label, operator, wanted)| {
                if matches!(*label, "instance" | "job") && !labels.iter().any(|of| of.0 == *label) {
                    return true;
                }
                let found = labels.iter().find(|(found, _)| found == label);
                let found = found.map_or("", |(_, value)| value);
                match *operator {
                    "=" => found == *wanted,
                    "!=" => found != *wanted,
                    "=~" => wanted.split('|').any(|wanted| is_like(found, wanted)),
                    other => panic!("{other} is not used"),
                }
            })
    }
}

/// As the regular expressions of our rules are: characters, and dots for any.
fn is_like(text: &str, pattern: &str) -> bool {
    assert!(!pattern.contains(['*', '+', '(', '[', '?']), "{pattern}");
    text.len() == pattern.len()
        && text
            .chars()
            .zip(pattern.chars())
            .all(|(of, like)| like == '.' || like == of)
}

/// Every metric of ours that a text names, with what stands behind it in braces.
fn selectors(text: &str) -> Vec<Selector<'_>> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let word = &rest[start..];
        let end = word.find(|char| !is_word(char)).unwrap_or(word.len());
        let (name, behind) = word.split_at(end);
        rest = behind;
        if !name.starts_with("builder_web_") && !name.starts_with("process_") {
            continue;
        }
        let mut matchers = Vec::new();
        if let Some((inside, behind)) = behind
            .strip_prefix('{')
            .and_then(|behind| behind.split_once('}'))
            // Where a path stands in a value, what is before the brace is not all.
            .filter(|(inside, _)| inside.matches('"').count() % 2 == 0)
        {
            for matcher in inside.split(',') {
                let (label, rest) = matcher
                    .trim()
                    .split_at(matcher.trim().find(['=', '!']).unwrap());
                let (operator, value) = rest.split_once('"').unwrap();
                matchers.push((label, operator, value.strip_suffix('"').unwrap()));
            }
            rest = behind;
        }
        found.push(Selector { name, matchers });
    }
    found
}

/// The labels that expressions of a text group by, and those that its texts show.
fn grouping_labels(text: &str) -> Vec<&str> {
    let mut labels = Vec::new();
    for opening in ["by (", "on (", "ignoring ("] {
        let groups = text.split(opening).skip(1);
        let inside = groups.filter_map(|rest| Some(rest.split_once(')')?.0));
        labels.extend(inside.flat_map(|inside| inside.split(',').map(str::trim)));
    }
    let shown = text.split("$labels.").skip(1);
    labels.extend(shown.filter_map(|rest| rest.split([' ', '}', '|']).next()));
    labels.retain(|label| !label.is_empty());
    labels
}

#[test]
fn every_metric_that_dashboard_alerts_and_documentation_name_exists_and_is_named() {
    let hello = build("hello", 1).file("bin/x", "x");
    let server = Server::of(std::slice::from_ref(&hello));
    // A family without a member is not shown.
    let metrics_of = server.app.metrics();
    metrics_of.hooks_found(&["x.sh".to_owned()]);
    metrics_of.hook("x.sh", HookEnd::Succeeded, Duration::ZERO);
    metrics_of.certificate(Some(now()));
    server.get("/");
    server.get("/job/hello");
    server.get(&hello.url());
    let artifact = server.app.store().artifacts().path(Sha256::of(b"x"));
    std::fs::write(artifact, "y").unwrap();
    let damaged = server.get(&format!("{}/f/bin/x", hello.url()));
    assert_eq!(damaged.status, 500);
    let text = metrics(&server);
    let known: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let series: Vec<(String, Vec<(String, String)>)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split("\",");
            let labels = labels.filter_map(|label| label.split_once("=\""));
            let owned = |(label, value): (&str, &str)| {
                (label.to_owned(), value.trim_end_matches('"').to_owned())
            };
            (name.to_owned(), labels.map(owned).collect())
        })
        .collect();
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |file: &str| std::fs::read_to_string(workspace.join(file)).unwrap();
    let (dashboard, documentation) = ("packaging/grafana-dashboard.json", "docs/src/metrics.md");
    let (alerts, test) = ("packaging/alerts.yml", "packaging/alerts-test.yml");
    // Each rule and each target of the dashboard by itself, so that its labels are those of its own.
    let mut expressions: Vec<(&str, String)> = Vec::new();
    let rules = read(alerts);
    let rules = rules.split("- alert: ").skip(1);
    expressions.extend(rules.map(|rule| (alerts, rule.to_owned())));
    let targets = read(dashboard);
    let targets: serde_json::Value = serde_json::from_str(&targets).unwrap();
    let panels = targets["panels"].as_array().unwrap().iter();
    for target in panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        let text = |member: &str| target[member].as_str().unwrap().to_owned();
        // The variable is one of Grafana's.
        let expression = text("expr").replace("instance=~\"$instance\"", "instance=\"any\"");
        expressions.push((dashboard, expression));
    }
    assert!(expressions.len() > 50);
    for (file, expression) in &expressions {
        let selectors = selectors(expression);
        assert!(
            !selectors.is_empty() || expression.contains("up{"),
            "{expression}"
        );
        let mut labels = vec!["instance", "job"];
        for selector in &selectors {
            let mut selected = series.iter().filter(|series| selector.selects(series));
            let Some((_, found)) = selected.next() else {
                panic!("{file}: nothing is selected by {selector:?} of {expression}");
            };
            labels.extend(found.iter().map(|(label, _)| label.as_str()));
        }
        for label in grouping_labels(expression) {
            assert!(
                labels.contains(&label),
                "{file}: no {label} in {expression}"
            );
        }
    }
    for file in [documentation, test] {
        for Selector { name, .. } in selectors(&read(file)) {
            let plain = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(
                known.contains(&plain),
                "{name} of {file} is not in {known:?}"
            );
        }
    }
    for file in [dashboard, documentation] {
        let text = read(file);
        for metric in &known {
            assert!(text.contains(metric), "{metric} is not in {file}");
        }
    }
    let tests = read(test);
    for (_, rule) in expressions.iter().filter(|(file, _)| *file == alerts) {
        let name = rule.split_whitespace().next().unwrap();
        let fires = format!("alertname: {name}\n        exp_alerts:");
        assert!(tests.contains(&fires), "{test} does not let {name} fire");
        let silent = tests.matches(&format!("alertname: {name}}}")).count();
        assert_eq!(silent, 1, "{test} does not tell when {name} is silent");
    }
}

#[test]
fn influx_gets_the_same_and_again_after_it_was_away() {
    // Under its names, what the OCaml server sent, and panels show.
    const FORMER: [(&str, &[&str]); 3] = [
        ("http_response", &["total=", "2xx=1i"]),
        (
            "resource_usage",
            &[
                "utime=", "stime=", "maxrss=", "minflt=", "maxflt=", "nswap=0i",
            ],
        ),
        (
            "kinfo_mem",
            &[
                "vsize=",
                "rss=",
                "tsize=",
                "dsize=",
                "ssize=",
                "runtime=",
                "uptime=",
                "cow_faults=",
            ],
        ),
    ];
    let server = Server::of(&[build("a job, with=signs", 1).file("bin/x", "x")]);
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let app = server.app.clone();
    let period = Duration::from_millis(50);
    let to = address.to_string().parse().unwrap();
    server.runtime().spawn(influx::send(app, to, period));
    for _round in 0..2 {
        let (stream, _) = collector.accept().unwrap();
        let lines: Vec<String> = BufReader::new(stream)
            .lines()
            .map(|line| line.unwrap())
            .take(400)
            .collect();
        for (name, fields) in FORMER {
            let start = format!("{name},vm=builder-web ");
            let line = lines.iter().find_map(|line| line.strip_prefix(&start));
            let (values, at) = line.unwrap().split_once(' ').unwrap();
            assert_eq!(at, "1778559213000000000");
            let values: Vec<&str> = values.split(',').collect();
            for field in fields {
                let is_there = |value: &&&str| value.starts_with(field);
                assert!(
                    values.iter().find(is_there).is_some(),
                    "{field} of {line:?}"
                );
            }
            for value in values {
                let (_, number) = value.split_once('=').unwrap();
                assert!(
                    number.trim_end_matches('i').parse::<f64>().is_ok(),
                    "{value}"
                );
            }
        }
        let is_former = |line: &String| FORMER.iter().any(|(name, _)| line.starts_with(name));
        for line in lines.iter().filter(|line| !is_former(line)) {
            let parts: Vec<&str> = line.rsplitn(3, ' ').collect();
            assert_eq!(parts[0], "1778559213000000000", "{line}");
            let number = parts[1].strip_prefix("value=").unwrap();
            assert!(number.parse::<f64>().is_ok(), "{line}");
            assert!(parts[2].contains(",vm=builder-web"), "{line}");
        }
        let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
        assert!(has(
            "builder_web_uploads_total,vm=builder-web,status=201 value=1 "
        ));
        assert!(has(
            "builder_web_builds,vm=builder-web,job=a\\ job\\,\\ with\\=signs,platform="
        ));
        assert!(has("process_open_fds,vm=builder-web value="));
    }
}

#[test]
fn a_server_that_cannot_take_uploads_or_is_stopping_is_alive_and_not_ready() {
    let server = Server::with(|config| config.limits.disk_reserve_bytes = u64::MAX);
    assert_eq!(server.get("/healthz").status, 200);
    // It can be read.
    assert_eq!(server.get("/readyz").status, 200);
    let for_uploads = "/readyz?for=uploads";
    let answer = server.get_with(for_uploads, &[("accept", "application/json")]);
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["error"],
        "the disk is full: uploads are refused"
    );
    let server = Server::new();
    for target in ["/readyz", for_uploads] {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
    }
    assert_eq!(server.get("/readyz?for=lunch").status, 400);
    server.app.stop_begins();
    assert_eq!(server.get("/readyz").status, 503);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_server_whose_pages_or_downloads_cannot_be_shown_is_not_ready() {
    let server = Server::of(&[build("hello", 1).file("bin/x", "x")]);
    let ready = || {
        let answer = server.get("/readyz");
        let (uploads, text) = (server.get("/readyz?for=uploads").status, answer.text());
        assert_eq!(uploads, answer.status, "{text}");
        (answer.status, text)
    };
    let not_ready = |why: &str| (503, format!("{why}\n"));
    let well = (200, "ok\n".to_owned());
    assert_eq!(ready(), well);
    let data = server.datadir();
    let aside = data.with_file_name("aside");
    let artifacts = data.join("_artifacts");
    std::fs::rename(&artifacts, &aside).unwrap();
    assert_eq!(
        ready(),
        not_ready("the directory of artifacts is not there")
    );
    // What is mounted on, when nothing is mounted there.
    std::fs::create_dir(&artifacts).unwrap();
    let (status, why) = ready();
    assert!(status == 503 && why.contains("is empty"), "{why}");
    std::fs::remove_dir(&artifacts).unwrap();
    std::fs::rename(&aside, &artifacts).unwrap();
    assert_eq!(ready(), well);

    std::fs::rename(data, &aside).unwrap();
    assert_eq!(ready(), not_ready("the data directory is not there"));
    std::fs::rename(&aside, data).unwrap();
    assert_eq!(ready(), well);

    let database = data.join("builder.sqlite3");
    std::fs::rename(&database, &aside).unwrap();
    assert_eq!(ready(), not_ready("the database is not there"));
    std::fs::rename(&aside, &database).unwrap();
    assert_eq!(ready(), well);

    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    succeeds(data, "sqlite3", &["builder.sqlite3", sql]);
    // From here on what this reads for readers is in memory.
    assert_eq!(ready(), well);
    let sound = std::fs::read(&database).unwrap();
    let size = sound.len();
    for damaged in [4096..size, 0..size] {
        let mut bytes = sound.clone();
        bytes[damaged].fill(7);
        std::fs::write(&database, bytes).unwrap();
        assert_eq!(ready(), not_ready("the database cannot be read"));
    }
    std::fs::write(&database, sound).unwrap();
    assert_eq!(ready(), well);
}

#[test]
fn whether_a_server_is_well_is_a_line_of_text_or_json() {
    let directory = tempfile::tempdir().unwrap();
    let reserve = u32::MAX.to_string();
    let process = Process::serve(directory.path(), &["--disk-reserve", &reserve]);
    let full = "the disk is full: uploads are refused";
    let for_uploads = "/readyz?for=uploads";
    let answers = [
        ("/healthz", 200, "ok"),
        ("/healthz/", 200, "ok"),
        ("/readyz", 200, "ok"),
        (for_uploads, 503, full),
        ("/readyz/?for=uploads", 503, full),
        (
            "/readyz?for=lunch",
            400,
            "for is to be uploads, or to be left out",
        ),
    ];
    for address in [process.address, process.metrics_address()] {
        for accept in ["*/*", "text/html", ""] {
            for (target, status, line) in answers {
                let headers = [("accept", accept)];
                let answer = exchange(address, "GET", target, &headers, b"");
                assert_eq!(answer.status, status, "{target}");
                assert_eq!(answer.text(), format!("{line}\n"), "{target}");
                let content_type = answer.header("content-type");
                assert_eq!(content_type, Some("text/plain; charset=utf-8"), "{target}");
            }
        }
        let accept = [("accept", "application/json")];
        let answer = exchange(address, "GET", for_uploads, &accept, b"");
        assert_eq!(answer.json()["error"], full);
    }
}

#[test]
fn after_an_upload_for_which_there_was_no_room_none_is_to_be_sent_until_there_is() {
    let free = Server::new().app.store().free_bytes().unwrap();
    let server = Server::with(|config| {
        config.limits.disk_reserve_bytes = free / 2;
        config.limits.upload_bytes_max = u64::MAX;
    });
    let address = server.listen();
    let ready = || server.get("/readyz?for=uploads").status;
    assert_eq!(ready(), 200);
    let authorization = basic(BUILDER);
    let length = free.to_string();
    let mut stream = connect(address);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-length", length.as_str()),
        ("expect", "100-continue"),
    ];
    stream
        .write_all(head("POST", "/upload", &headers).as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer, false).status, 507);
    assert_eq!(ready(), 503);
    // One for which there is room, as after the operator made some.
    assert_eq!(server.upload(&build("small", 1)).status, 201);
    assert_eq!(ready(), 200);
}

#[test]
fn every_answer_names_its_request_and_a_trusted_proxys_name_is_kept() {
    let server = Server::new();
    let ids: Vec<String> = ["/", "/none", "/readyz"]
        .iter()
        .map(|target| {
            server
                .get(target)
                .header("x-request-id")
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    let directory = tempfile::tempdir().unwrap();
    let narrow = Process::serve(
        directory.path(),
        &["--connections-per-address", "2", "--log-level", "debug"],
    );
    for target in ["/metrics", "/healthz", "/none"] {
        let answer = exchange(narrow.metrics_address(), "GET", target, &[], b"");
        assert!(answer.header("x-request-id").is_some(), "{target}");
    }
    // All that there may be of one address; at that of metrics others.
    let mut held = connect(narrow.address);
    let _as_well = connect(narrow.address);
    held.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").unwrap();
    wait_until("one has too many connections", || {
        let answer = exchange(narrow.address, "GET", "/", &[], b"");
        let id = answer.header("x-request-id").unwrap().to_owned();
        answer.status == 503
            && answer.header("retry-after") == Some("10")
            && narrow.log().contains(&id)
    });
    held.write_all(b"no header\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    held.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "));
    let counted = || exchange(narrow.metrics_address(), "GET", "/metrics", &[], b"").text();
    wait_until("what is no HTTP is counted", || {
        value(&counted(), "builder_web_http_unreadable_total") == 1.0
    });
    assert!(value(&counted(), "builder_web_busy_total{place=\"connection\"}") >= 1.0);
    let scrapes = "builder_web_http_requests_total{route=\"/metrics\",status=\"200\"}";
    assert!(value(&counted(), scrapes) >= 2.0);
    let directory = tempfile::tempdir().unwrap();
    let trusting = Process::serve(directory.path(), &["--trusted-proxy", "127.0.0.0/8"]);
    let headers = [
        ("x-request-id", "from-the-proxy_1.2"),
        ("x-forwarded-for", "192.0.2.77"),
        ("authorization", &*basic(BUILDER)),
    ];
    let answer = exchange(trusting.address, "POST", "/upload", &headers, b"");
    assert_eq!(answer.header("x-request-id"), Some("from-the-proxy_1.2"));
    wait_until("the log has it", || {
        let log = trusting.log();
        log.contains("from-the-proxy_1.2") && log.contains("192.0.2.77")
    });
    let other = tempfile::tempdir().unwrap();
    let untrusting = Process::serve(other.path(), &[]);
    let answer = exchange(untrusting.address, "GET", "/", &headers, b"");
    assert_ne!(answer.header("x-request-id"), Some("from-the-proxy_1.2"));
}
