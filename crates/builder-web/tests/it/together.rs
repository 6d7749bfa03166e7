//! What many ask for at the same time: it is made once, in one of the few places for what is dear, and
//! nobody who asks for something else waits for it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use builder_store::{Sha256, builds};
use builder_web::config::Config;
use builder_web::metrics::Place;
use builder_web::{Clock, derived};

use crate::build::{Build, build, noise, switch, unikernel};
use crate::program::succeeds;
use crate::server::{
    Answer, BUILDER, PATIENCE, Server, basic, connect, exchange, head, now, wait_until,
};

/// A unikernel with a device of this name, too large to be looked at in passing.
fn main_binary(device: &str) -> Vec<u8> {
    let mut binary = unikernel("hvt", &[("net", device)]);
    binary.extend(noise(200_000));
    binary
}

fn of_job(number: u128) -> Build {
    let job = format!("job{number}");
    build(&job, number).file("bin/x.hvt", main_binary(&job))
}

fn believing(config: &mut Config) {
    config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
}

/// A server on the directory of another that keeps `builds`, as if the OCaml server had kept them:
/// nobody has read what they say of themselves.
fn of_another(builds: &[Build]) -> (Server, Server) {
    let before = Server::of(builds);
    // What one upload has found out may be kept by a thread that another has started.
    wait_until("all is known to the other", || {
        known(&before) == builds.len()
    });
    let forget = "DELETE FROM derived WHERE kind = 'solo5'";
    succeeds(
        before.datadir(),
        "sqlite3",
        &["builder-web.sqlite3", forget],
    );
    let server = before.again(Clock::Stopped(now()), |config| {
        believing(config);
        config.limits.place_wait_time_max = PATIENCE * 3 / 4;
    });
    (before, server)
}

/// How many main binaries it is known of what they say.
fn known(server: &Server) -> usize {
    let count = "SELECT COUNT(*) FROM derived WHERE kind = 'solo5'";
    let count = succeeds(server.datadir(), "sqlite3", &["builder-web.sqlite3", count]);
    String::from_utf8_lossy(&count).trim().parse().unwrap()
}

fn place(server: &Server, content: &[u8]) -> PathBuf {
    let artifacts = server.app.store().artifacts();
    artifacts.path(Sha256::of(content))
}

/// Makes a file longer without writing to the disk.
fn lengthen(path: PathBuf, bytes: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

fn get(address: SocketAddr, target: &str, from: usize) -> Answer {
    let from = format!("192.0.2.{from}");
    let headers = [("x-forwarded-for", &*from), ("accept", "application/json")];
    exchange(address, "GET", target, &headers, b"")
}

fn checks(server: &Server) -> usize {
    let queues = server.app.queues();
    let checks = queues.iter().find(|(place, _)| *place == Place::Check);
    checks.unwrap().1.taken
}

#[test]
fn large_binaries_that_nobody_has_read_are_read_once_and_stand_in_nobodys_way() {
    const BINARIES: u128 = 7;
    const CLIENTS: usize = 14;
    let builds: Vec<Build> = (0..BINARIES).map(of_job).collect();
    let (_before, server) = of_another(&builds);
    // They take their time to be read, and are found damaged in the end: each time is counted.
    for build in &builds {
        lengthen(place(&server, &build.files[0].1), 256 << 20);
    }
    let address = server.listen();
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (builds, answered) = (&builds, &answered);
            scope.spawn(move || {
                let answer = get(address, &builds[client % builds.len()].url(), client);
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(answer.json().get("solo5_manifest").is_none());
                answered.fetch_add(1, Ordering::Relaxed);
            });
        }
        wait_until("two are being read", || checks(&server) == 2);
        for target in ["/readyz", "/healthz", "/", "/job/job1", "/job/job2/failed"] {
            let page = exchange(address, "GET", target, &[], b"");
            assert_eq!(page.status, 200, "{target}");
            assert!(checks(&server) <= 2);
        }
        let exec = build("other", 99).file("bin/y", "y").exec();
        let (user, length) = (basic(BUILDER), exec.len().to_string());
        let headers = [("authorization", &*user), ("content-length", &*length)];
        let answer = exchange(address, "POST", "/upload", &headers, &exec);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let answered = answered.load(Ordering::Relaxed);
        println!("{answered} of {CLIENTS} were answered meanwhile");
        assert!(answered < CLIENTS, "all were answered before");
    });
    let damage = server.app.store().artifacts().damage();
    assert_eq!(damage.count(), u64::try_from(BINARIES).unwrap());
    // What is damaged is not read again at once, by whichever page.
    let jobs = server.json("/all-builds");
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), builds.len() + 1);
    for build in &builds {
        assert!(!server.page(&build.url()).contains("Run it"));
    }
    assert_eq!(damage.count(), u64::try_from(BINARIES).unwrap());
    assert_eq!(known(&server), 1, "that of the upload");
}

#[test]
fn what_binaries_of_another_server_need_to_run_is_told_at_once_and_kept() {
    let builds: Vec<Build> = (1..=3).map(of_job).collect();
    let (_before, server) = of_another(&builds);
    assert_eq!(known(&server), 0);
    let page = server.page(&builds[0].url());
    assert!(page.contains("--net:job1=tap0"), "{page}");
    wait_until("it is kept", || known(&server) == 1);
    let listed = server.json("/all-builds");
    for (job, build) in listed["jobs"].as_array().unwrap().iter().zip(&builds) {
        let latest = &job["latest"];
        assert_eq!(latest["uuid"], build.uuid.to_string());
        assert_eq!(latest["solo5_manifest"]["devices"][0]["name"], job["name"]);
    }
    wait_until("all is kept", || known(&server) == 3);
    let detail = server.json(&format!("/api/v1/builds/{}", builds[2].uuid));
    assert_eq!(detail["solo5"]["solo5_abi"]["target"], "hvt");
}

#[test]
fn what_newest_binaries_need_to_run_is_read_before_anybody_asks() {
    let older = build("job1", 9)
        .later(-60)
        .file("bin/x.hvt", main_binary("older"));
    let damaged = of_job(2);
    let no_unikernel = build("text", 3).file("bin/x", noise(100_000));
    let builds = [older, of_job(1), damaged.clone(), no_unikernel];
    let (_before, server) = of_another(&builds);
    lengthen(place(&server, &damaged.files[0].1), 300_000);
    server.runtime().block_on(derived::catch_up(&server.app));
    wait_until("they are kept", || known(&server) == 2);
    assert_eq!(server.app.store().artifacts().damage().count(), 1);
}

/// A switch of so many packages that it takes a while to be read.
fn large_switch(packages: usize) -> String {
    let packages: String = (0..packages)
        .map(|number| format!(" \"package-number-{number}.1.0.0\""))
        .collect();
    switch("x", "", "s").replacen("installed: [", &format!("installed: [{packages} "), 1)
}

#[test]
fn a_page_that_many_ask_for_at_the_same_time_is_made_once() {
    const CLIENTS: usize = 100;
    let large = build("large", 1)
        .file("bin/x", "x")
        .file("opam-switch", large_switch(10_000));
    let server = Server::with(believing);
    server.keep(&large);
    let address = server.listen();
    let made = || server.app.metrics().page_cache(false).get();
    let remembered = || server.app.metrics().page_cache(true).get();
    let targets = [
        (format!("{}/packages", large.url()), 200, 1),
        // Which parameters the page looks at is not known before it is made: who comes just then has
        // it made again.
        ("/failed-builds?count=1".to_owned(), 200, 2),
        // An error is not remembered: who comes when it is made has it made again.
        (
            format!("{}/packages", build("large", 2).url()),
            404,
            CLIENTS,
        ),
    ];
    for (target, status, most) in &targets {
        let before = (made(), remembered());
        let bodies = std::thread::scope(|scope| {
            let all: Vec<_> = (0..CLIENTS)
                .map(|client| scope.spawn(move || get(address, target, client)))
                .collect();
            let all = all.into_iter().map(|one| one.join().unwrap());
            all.map(|answer| (answer.status, answer.body))
                .collect::<Vec<_>>()
        });
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{target}");
        assert_eq!(bodies[0].0, *status, "{target}");
        let (made, remembered) = (made() - before.0, remembered() - before.1);
        assert_eq!(made + remembered, CLIENTS as u64);
        println!("{target}: made {made} times");
        assert!(made <= *most as u64, "{target}: made {made} times");
    }
    // Those who ask for different pages of one route at once get each their own.
    for round in 0..3 {
        let fresh = Server::with(believing);
        for number in 0..4 {
            fresh.keep(&build("failed", number));
        }
        let address = fresh.listen();
        std::thread::scope(|scope| {
            for client in 0..12 {
                scope.spawn(move || {
                    let count = client % 4 + 1;
                    let target = format!("/failed-builds?count={count}");
                    let page = get(address, &target, client).json();
                    let builds = page["builds"].as_array().map_or(0, Vec::len);
                    assert_eq!(builds, count, "{round}: {page}");
                });
            }
        });
    }
}

#[test]
fn a_page_that_an_upload_changes_is_shown_changed_to_who_asks_after_it() {
    let server = Server::with(believing);
    server.keep(&build("hello", 1).file("bin/x", "1"));
    let address = server.listen();
    let stops = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let stops = &stops;
            scope.spawn(move || {
                while !stops.load(Ordering::Relaxed) {
                    assert_eq!(get(address, "/job/hello", client).status, 200);
                }
            });
        }
        for number in 2..12 {
            let hello = build("hello", number)
                .later(i64::try_from(number).unwrap())
                .file("bin/x", number.to_string());
            server.keep(&hello);
            let page = get(address, "/job/hello", 9).text();
            assert!(page.contains(&hello.uuid.to_string()), "{number}");
        }
        stops.store(true, Ordering::Relaxed);
    });
}

/// Each of these is another page, as far as can be told: its links are those of another site.
#[test]
fn pages_that_read_much_are_made_a_few_at_a_time() {
    const CLIENTS: usize = 30;
    let readme = "# Read *me*\n\n* one `two` [three](https://example.org/)\n".repeat(8000);
    let large = build("large", 1)
        .file("bin/x", "x")
        .file("opam-switch", large_switch(60_000))
        .file("build-environment", "PATH=/bin\n".repeat(200_000))
        .file("system-packages", "libc6=2.36\n")
        .file("README.md", readme);
    let server = Server::with(|config| {
        believing(config);
        config.limits.dear_per_client_max = 3;
        config.limits.place_wait_time_max = Duration::from_millis(20);
    });
    server.keep(&large);
    let address = server.listen();
    let targets = [
        "/job/large".to_owned(),
        large.url(),
        format!("/api/v1/builds/{}", large.uuid),
        format!("{}/packages", large.url()),
        format!("/api/v1/builds/{}/packages", large.uuid),
    ];
    for target in &targets {
        let ask = |site: usize| {
            let site = format!("{site}.example.org");
            let headers = [
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-host", &site),
            ];
            exchange(address, "GET", target, &headers, b"").status
        };
        let statuses = std::thread::scope(|scope| {
            let all: Vec<_> = (0..CLIENTS)
                .map(|site| scope.spawn(move || ask(site)))
                .collect();
            let all = all.into_iter().map(|one| one.join().unwrap());
            all.collect::<Vec<u16>>()
        });
        println!("{target}: {statuses:?}");
        assert!(statuses.contains(&200), "{target}: {statuses:?}");
        assert!(statuses.contains(&503), "{target}: {statuses:?}");
        // And it is over when it is over.
        assert_eq!(ask(CLIENTS), 200, "{target}");
    }
    // The pictures of the build are drawn behind pages.
    wait_until("nobody has a place or waits for one", || {
        let queues = server.app.queues();
        let taken = queues.iter().map(|(_, queue)| queue.taken + queue.waiting);
        taken.sum::<usize>() == 0
    });
}

#[test]
fn who_finds_no_place_for_an_exec_file_has_nothing_read() {
    let busy = build("hello", 1).file("bin/x", noise(40_000_000));
    let large = build("hello", 2).file("bin/x", "x");
    let server = Server::with(|config| {
        config.limits.streams_concurrent_max = 1;
        config.limits.place_wait_time_max = Duration::from_millis(50);
    });
    server.keep(&busy);
    server.keep(&large);
    let uuid = large.uuid;
    let build = server.app.store().read(|tx| builds::by_uuid(tx, uuid));
    let console = server.datadir().join(build.unwrap().unwrap().console);
    // Long enough to tell whether it was read, on any machine.
    lengthen(console, 1 << 40);
    let address = server.listen();
    let mut stalled = connect(address);
    let request = head("GET", &format!("{}/exec", busy.url()), &[]);
    std::io::Write::write_all(&mut stalled, request.as_bytes()).unwrap();
    std::io::Read::read_exact(&mut stalled, &mut [0; 100]).unwrap();
    let target = format!("{}/exec", large.url());
    for method in ["GET", "HEAD", "GET"] {
        let begin = Instant::now();
        assert_eq!(exchange(address, method, &target, &[], b"").status, 503);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(20), "{method}: {took:?}");
    }
}
