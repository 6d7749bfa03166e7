//! More than the server can do: crawling, crowding, and rows that make no sense. What
//! people came for still works, and those turned away are told when to come again.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use builder_web::config::Limits;
use builder_web::connections::SILENCE_MIN;
use builder_web::tls::Tls;
use builder_web::{Clock, routes, serve};

use crate::build::{Build, build};
use crate::program::Process;
use crate::server::{Answer, BUILDER, CHEAP, Server, basic, connect, exchange, head, wait_until};

pub(crate) fn hello(number: u128) -> Build {
    build("hello", number).file("bin/x", format!("x{number}"))
}

/// A server behind a proxy on this machine.
pub(crate) fn behind_a_proxy() -> (Server, SocketAddr) {
    let server = Server::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.limits.log_in_delay = Duration::from_secs(30);
    });
    let address = server.listen();
    (server, address)
}

pub(crate) fn upload_from(
    address: SocketAddr,
    from: &str,
    user: (&str, &str),
    number: u128,
) -> Answer {
    let headers = [("authorization", &*basic(user)), ("x-forwarded-for", from)];
    let exec = hello(number).exec();
    let length = exec.len().to_string();
    let headers = [headers[0], headers[1], ("content-length", &*length)];
    exchange(address, "POST", "/upload", &headers, &exec)
}

#[test]
fn a_crawler_of_comparisons_is_told_to_come_again_and_uploads_get_through() {
    let server = Server::with(|config| {
        config.limits.dear_concurrent_max = 1;
        config.limits.dear_per_client_max = 2;
        config.limits.place_wait_time_max = Duration::from_millis(50);
    });
    for number in 1..5 {
        server.keep(&hello(number));
    }
    let compare = format!("/compare/{}/{}", hello(1).uuid, hello(2).uuid);
    let place = server
        .runtime()
        .block_on(server.app.dear().take(server.app.metrics(), None))
        .unwrap();
    let answer = server.get_with(&compare, &[("accept", "application/json")]);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("10"));
    assert!(
        answer.json()["error"]
            .as_str()
            .unwrap()
            .contains("try again in 10 s")
    );
    server.keep(&hello(9));
    assert_eq!(server.get("/job/hello").status, 200);
    drop(place);
    assert_eq!(server.get(&compare).status, 200);
    // Remembered pages need no place.
    let _place = server
        .runtime()
        .block_on(server.app.dear().take(server.app.metrics(), None))
        .unwrap();
    assert_eq!(server.get(&compare).status, 200);
}

/// Builds of which every two have main binaries that differ.
fn page_of_two(left: u128, right: u128) -> String {
    format!("/compare/{}/{}", hello(left).uuid, hello(right).uuid)
}

#[test]
fn one_client_leaves_room_for_the_comparisons_of_another() {
    let server = Server::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        // None is ever made, so that all there is room for wait.
        config.limits.file_diffs_concurrent_max = 0;
        config.limits.file_diffs_waiting_max = 8;
        config.limits.file_diff_patience = Duration::from_millis(50);
    });
    (1..6).for_each(|number| server.keep(&hello(number)));
    let address = server.listen();
    let get = |from: &str, target: &str| {
        exchange(address, "GET", target, &[("x-forwarded-for", from)], b"")
    };
    let (crawler, other) = ("192.0.2.66", "192.0.2.1");
    let under_way = "Not compared yet: the comparison is still under way.";
    let not_begun = "Not compared yet: the comparison was not begun, since too many others wait.";
    for (from, right, said) in [
        (crawler, 2, under_way),
        (crawler, 3, under_way),
        (crawler, 4, not_begun),
        (other, 5, under_way),
        // Who does not begin it waits with the others for it.
        (crawler, 5, under_way),
    ] {
        let answer = get(from, &page_of_two(1, right));
        assert_eq!(answer.header("refresh"), Some("3"));
        assert!(
            answer.text().contains(said),
            "{from} {right}: {}",
            answer.text()
        );
    }
    let files = format!(
        "/api/v1/compare/{}/{}/file?left=bin/x",
        hello(1).uuid,
        hello(4).uuid
    );
    let answer = get(crawler, &files);
    assert_eq!(answer.status, 503, "{}", answer.text());
    let said = answer.json()["error"].to_string();
    assert!(said.contains("was not begun"), "{said}");
    assert_eq!(answer.header("retry-after"), Some("10"));
    // A page of its own says the same.
    let files = format!("{}/f?left=bin/x", page_of_two(1, 4));
    assert!(get(crawler, &files).text().contains(not_begun));
    let again = server.again(Clock::System, |_| {});
    assert!(
        again
            .page(&page_of_two(1, 4))
            .contains("All differences of")
    );
}

#[test]
fn who_waits_for_a_comparison_holds_no_place_and_is_not_all_who_may_wait() {
    const LONG: Duration = Duration::from_secs(12);
    let server = Server::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.limits.file_diffs_concurrent_max = 0;
        config.limits.file_diff_waiters_max = 8;
        config.limits.file_diff_patience = LONG;
        config.limits.dear_concurrent_max = 1;
    });
    (1..4).for_each(|number| server.keep(&hello(number)));
    let address = server.listen();
    // Each asks for another page: who asks for the same at the same time is one to the server.
    let get = |from: &str, (left, right): (u128, u128), headers: &[(&str, &str)]| {
        let headers = [&[("x-forwarded-for", from)], headers].concat();
        exchange(address, "GET", &page_of_two(left, right), &headers, b"")
    };
    let (crawler, other) = ("192.0.2.66", "192.0.2.1");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let waiting = [(1, 2), (1, 3)].map(|pair| scope.spawn(move || get(crawler, pair, &[])));
        let waiters = || server.app.file_diffs().waiters().taken;
        wait_until("two wait", || waiters() == 2);
        // As many as may of one client: it is told at once.
        let answer = get(crawler, (2, 3), &[]);
        assert!(
            answer.text().contains("still under way"),
            "{}",
            answer.text()
        );
        // Dear pages have their one place, and others may wait.
        assert_eq!(
            get(other, (1, 2), &[("accept", "application/json")]).status,
            200
        );
        assert!(begin.elapsed() < LONG, "{:?}", begin.elapsed());
        let third = scope.spawn(|| get(other, (2, 1), &[]));
        wait_until("another waits", || waiters() == 3);
        for answer in waiting.into_iter().chain([third]) {
            assert!(answer.join().unwrap().text().contains("still under way"));
        }
    });
    assert!(begin.elapsed() >= LONG);
    assert_eq!(server.app.file_diffs().waiters().taken, 0);
}

#[test]
fn a_crawl_of_everything_leaves_uploads_as_quick_as_before() {
    let server = Server::with(|config| config.limits.place_wait_time_max = Duration::from_secs(1));
    for number in 1..12 {
        server.keep(&hello(number));
    }
    let address = server.listen();
    let crawl = |of: u128| {
        let mut statuses = Vec::new();
        // Each begins with another: who asks for the same at the same time is one to the server.
        for pair in 8 * of..8 * of + 121 {
            let (left, right) = (pair / 11 % 11 + 1, pair % 11 + 1);
            let target = format!(
                "/compare/{}/{}?nothing={of}",
                hello(left).uuid,
                hello(right).uuid
            );
            statuses.push(exchange(address, "GET", &target, &[], b"").status);
        }
        statuses
    };
    let upload = |number: u128| {
        let begin = Instant::now();
        server.keep(&hello(number));
        begin.elapsed()
    };
    let median = |mut took: Vec<Duration>| {
        took.sort();
        took[took.len() / 2]
    };
    let before = median((100..120).map(upload).collect());
    let (during, statuses) = std::thread::scope(|scope| {
        let crawlers: Vec<_> = (0..16).map(|of| scope.spawn(move || crawl(of))).collect();
        let during = median((200..220).map(upload).collect());
        let statuses = crawlers
            .into_iter()
            .flat_map(|crawler| crawler.join().unwrap());
        (during, statuses.collect::<Vec<u16>>())
    });
    // Whatever else this machine does, it may have begun with it meanwhile.
    let after = median((300..320).map(upload).collect());
    println!("an upload takes {before:?} and {after:?}, and {during:?} during the crawl");
    // Sixteen crawlers and the server share the processor; a place they do not.
    assert!(
        during < before.max(after) * 10 + Duration::from_millis(200),
        "{before:?} {during:?} {after:?}"
    );
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
    for status in [200, 503] {
        assert!(statuses.contains(&status), "none was answered {status}");
    }
    let compare = format!("/compare/{}/{}", hello(1).uuid, hello(2).uuid);
    assert_eq!(server.get(&compare).status, 200, "it recovers");
}

#[test]
fn an_upload_that_finds_no_place_is_told_to_come_again() {
    let server = Server::with(|config| {
        config.limits.uploads_concurrent_max = 1;
        config.limits.upload_wait_time_max = Duration::from_millis(50);
    });
    let place = server
        .runtime()
        .block_on(server.app.uploads().take(server.app.metrics(), None))
        .unwrap();
    let answer = server.upload(&hello(1));
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("10"))
    );
    drop(place);
    server.keep(&hello(1));
}

#[test]
fn one_user_who_sends_uploads_that_never_come_leaves_places_for_others() {
    let server = Server::with(|config| {
        config.limits.uploads_concurrent_max = 4;
        config.limits.uploads_waiting_max = 8;
    });
    server.add_user(("carol", "right"), false, CHEAP);
    let address = server.listen();
    let authorization = basic(BUILDER);
    let headers = [
        ("authorization", &*authorization),
        ("content-length", "100000"),
    ];
    let stalled = || {
        let mut stream = connect(address);
        let head = head("POST", "/upload", &headers);
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
        stream
    };
    let mut all: Vec<_> = (0..9).map(|_| stalled()).collect();
    let waiting = || server.app.metrics().uploads_waiting.get();
    wait_until("three have places, and six wait", || {
        server.app.uploads().queue().taken == 3 && waiting() == 6
    });
    // One more is told to come again.
    let mut answer = [0; 12];
    stalled().read_exact(&mut answer).unwrap();
    assert_eq!(&answer[9..], b"503");
    let begin = Instant::now();
    let answer = upload_from(address, "-", ("carol", "right"), 1);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(begin.elapsed() < Duration::from_secs(10));
    // The share is given back with the connections.
    all.clear();
    wait_until("all are gone", || server.app.uploads().queue().taken == 0);
    server.keep(&hello(2));
}

#[test]
fn one_address_that_reads_no_answer_to_its_end_leaves_places_for_others() {
    let server = Server::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.limits.streams_concurrent_max = 4;
        config.limits.streams_per_client_max = Some(2);
        config.limits.place_wait_time_max = Duration::from_millis(300);
    });
    let large = build("hello", 1).file("bin/x", crate::build::noise(20_000_000));
    server.keep(&large);
    let address = server.listen();
    for below in ["exec", "all.tar.gz"] {
        let target = format!("{}/{below}", large.url());
        let ask = |from: &str| {
            let mut stream = connect(address);
            let headers = [("x-forwarded-for", from), ("connection", "close")];
            let head = head("GET", &target, &headers);
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).unwrap();
            (stream, String::from_utf8_lossy(&begin[9..]).into_owned())
        };
        let mut held: Vec<_> = (0..2).map(|_| ask("192.0.2.66")).collect();
        assert!(held.iter().all(|(_, status)| status == "200"));
        assert_eq!(ask("192.0.2.66").1, "503", "{below}");
        let (mut other, status) = ask("192.0.2.1");
        assert_eq!(status, "200", "{below}");
        let mut rest = Vec::new();
        other.read_to_end(&mut rest).unwrap();
        assert!(rest.len() > 20_000_000, "{below}: {} bytes", rest.len());
        held.clear();
        wait_until("its places are free again", || ask("192.0.2.66").1 == "200");
        // That one is given back, too, before the next round has all of them.
        wait_until("nobody has a place", || {
            let queues = server.app.queues();
            queues.iter().map(|(_, queue)| queue.taken).sum::<usize>() == 0
        });
    }
}

#[test]
fn one_address_cannot_have_all_connections() {
    let server = Server::with(|config| config.limits.connections_per_client_max = 2);
    let address = server.listen();
    // They are counted when they are accepted: in this order.
    let held = [connect(address), connect(address)];
    let mut third = connect(address);
    let mut answer = Vec::new();
    third.read_to_end(&mut answer).unwrap();
    let answer = Answer::parse(&answer, false);
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("10"))
    );
    // Also by one that has begun to send: a connection that is closed on it is reset.
    let mut sending = connect(address);
    let body = vec![0; 500_000];
    let request = head("POST", "/upload", &[("content-length", "500000")]);
    std::io::Write::write_all(&mut sending, request.as_bytes()).unwrap();
    // It has the answer before it sends the rest, which is read for a second.
    sending.peek(&mut [0; 1]).unwrap();
    std::io::Write::write_all(&mut sending, &body).unwrap();
    let mut answer = Vec::new();
    sending.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer, false).status, 503);
    drop(held);
    wait_until("there is room again", || {
        let mut stream = connect(address);
        let request = head("GET", "/healthz", &[("connection", "close")]);
        let _reset = std::io::Write::write_all(&mut stream, request.as_bytes());
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        answer.starts_with(b"HTTP/1.1 200 ")
    });
}

/// A connection of another address of this machine.
fn connect_from(from: &str, address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(address).await.unwrap()
    });
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// What is sent by those who never come to the end of a head.
const HALF: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n";

#[test]
fn whoever_speaks_gets_in_when_some_addresses_hold_all_connections_and_say_nothing() {
    let (_holder, data, _) = crate::carry::empty();
    let arguments = ["--connections", "64", "--connections-per-address", "16"];
    let process = Process::serve(data.as_ref(), &arguments);
    let address = process.address;
    // One that began before, and takes its time.
    let exec = hello(1).exec();
    let authorization = basic(("builder", "pw"));
    let length = exec.len().to_string();
    let headers = [
        ("authorization", &*authorization),
        ("content-length", &*length),
        ("connection", "close"),
    ];
    let mut upload = connect(address);
    let head_of_upload = head("POST", "/upload", &headers);
    std::io::Write::write_all(&mut upload, head_of_upload.as_bytes()).unwrap();
    // One of another client, which says nothing for now and is left alone.
    let mut alone = connect_from("127.0.0.9", address);
    std::io::Write::write_all(&mut alone, HALF).unwrap();
    let half = |from: &str| {
        let mut stream = connect_from(from, address);
        std::io::Write::write_all(&mut stream, HALF).unwrap();
        stream
    };
    let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"];
    let mut held: Vec<_> = addresses
        .iter()
        .flat_map(|from| (0..16).map(|_| half(from)))
        .collect();
    std::thread::sleep(SILENCE_MIN + Duration::from_millis(200));
    let begin = Instant::now();
    for _ in 0..20 {
        // They come again at once.
        held.push(half("127.0.0.6"));
        let answer = exchange(address, "GET", "/healthz", &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    std::io::Write::write_all(&mut upload, &exec).unwrap();
    let mut answer = Vec::new();
    upload.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer, false).status, 201);
    std::io::Write::write_all(&mut alone, b"connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    alone.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer, false).status, 200);
    // Once, however often it was so.
    let log = process.log();
    let said = "all places for connections are taken (64)";
    assert_eq!(log.matches(said).count(), 1, "{log}");
    let metrics = exchange(process.metrics_address(), "GET", "/metrics", &[], b"").text();
    let busy = metrics
        .lines()
        .find(|line| line.starts_with("builder_web_busy_total{place=\"connection\"}"));
    assert!(busy.is_some_and(|line| !line.ends_with(" 0")), "{busy:?}");
}

#[test]
fn a_flood_of_connections_is_answered_one_by_one_and_passes() {
    let server = Server::with(|config| {
        config.limits.connections_max = 16;
        config.limits.connections_per_client_max = 8;
    });
    let address = server.listen();
    let flood = |number: usize| {
        let mut stream = connect_from(&format!("127.0.0.{}", 2 + number % 8), address);
        let _reset = std::io::Write::write_all(&mut stream, HALF);
        stream
    };
    // None has said nothing for long enough: all who come are told, at once.
    let held: Vec<_> = (0..200).map(flood).collect();
    let begin = Instant::now();
    let mut told = 0;
    for _ in 0..20 {
        let mut stream = connect(address);
        let request = head("GET", "/healthz", &[("connection", "close")]);
        let _reset = std::io::Write::write_all(&mut stream, request.as_bytes());
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        let answer = Answer::parse(&answer, false);
        assert!([200, 503].contains(&answer.status));
        told += usize::from(answer.status == 503);
    }
    assert!(told > 0 || begin.elapsed() >= SILENCE_MIN);
    assert!(begin.elapsed() < Duration::from_secs(10));
    drop(held);
    wait_until("all are gone", || {
        server.app.metrics().connections.get() == 0
    });
    assert_eq!(exchange(address, "GET", "/healthz", &[], b"").status, 200);
}

#[test]
fn one_address_cannot_have_all_connections_by_never_agreeing_on_tls() {
    never_agreeing_on_tls(|limits| limits.connections_per_client_max = 2);
}

#[test]
fn who_never_agrees_on_tls_makes_way_when_all_connections_are_taken() {
    never_agreeing_on_tls(|limits| limits.connections_max = 2);
}

fn never_agreeing_on_tls(narrow: impl FnOnce(&mut Limits)) {
    let mut all = 0;
    let server = Server::with(|config| {
        narrow(&mut config.limits);
        all = config.limits.connections_max;
    });
    let (certificate, key) = certificate(server.configdir());
    let tls = Tls::read(certificate.clone(), key).unwrap();
    let runtime = server.runtime();
    let listener = runtime.block_on(serve::listen("127.0.0.1:0".parse().unwrap()));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    let app = server.app.clone();
    runtime.spawn(async move {
        let listeners = vec![serve::Listener::Tcp(listener, Some(tls))];
        let router = routes::router(app.clone());
        serve::run(listeners, router, &app, std::future::pending()).await;
    });
    let url = format!("https://localhost:{}/healthz", address.port());
    let curl = || {
        let arguments = [
            "-sS",
            "-m",
            "10",
            "--cacert",
            certificate.to_str().unwrap(),
            &url,
        ];
        crate::program::run(server.configdir(), "curl", &arguments)
    };
    assert_eq!(curl().stdout, b"ok\n");
    // That one has no seat any more, or one of those that follow would find none.
    let open = || server.app.metrics().connections.get();
    wait_until("its connection is gone", || open() == 0);
    // They say nothing, for as long as they are let.
    let held = [connect(address), connect(address)];
    if all == 2 {
        std::thread::sleep(SILENCE_MIN + Duration::from_millis(200));
        assert_eq!(curl().stdout, b"ok\n");
        return;
    }
    wait_until("a third is turned away", || !curl().status.success());
    // At once, and not when it has waited for as long as there is time to agree.
    let begin = Instant::now();
    let mut third = connect(address);
    assert_eq!(third.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(begin.elapsed() < server.app.limits().head_time_max / 2);
    drop(held);
    wait_until("there is room again", || curl().stdout == b"ok\n");
}

/// A certificate for localhost, and its key.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
         -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    crate::program::succeeds(directory, "openssl", &arguments);
    (directory.join("cert.pem"), directory.join("key.pem"))
}

#[test]
fn a_parameter_that_no_page_knows_makes_no_other_page_in_the_cache() {
    let server = Server::of(&[hello(1), hello(2), build("failed", 3), build("failed", 4)]);
    let hits = || server.app.metrics().page_cache(true).get();
    for target in ["/", "/job/hello", "/failed-builds"] {
        server.get(&format!("{target}?first=1"));
        let before = hits();
        for number in 0..20 {
            let answer = server.get(&format!("{target}?x={number}&utm_source=y"));
            assert_eq!(answer.status, 200);
        }
        assert_eq!(hits() - before, 20, "{target}");
    }
    // Those it knows still make a difference, also when others stand before them.
    let one = server.page("/failed-builds?x=1&count=1");
    let both = server.page("/failed-builds?count=2&x=1");
    assert_ne!(one, both);
    assert_eq!(server.page("/failed-builds?count=1"), one);
    assert_eq!(server.page("/failed-builds?count=2"), both);
    let all = server.page("/job/hello");
    assert_ne!(server.page("/job/hello?platform=none"), all);
    assert_eq!(server.page("/job/hello?y=1"), all);
}

#[test]
fn a_row_that_makes_no_sense_is_left_out_and_the_rest_is_shown() {
    let server = Server::of(&[
        hello(1),
        hello(2),
        build("other", 3).file("bin/y", "y"),
        build("bad", 4).file("bin/z", "z"),
    ]);
    let database = server.datadir().join("builder.sqlite3");
    let sql = "UPDATE build_artifact SET size = -5 WHERE filepath = 'bin/z'; \
               UPDATE build SET start_ps = -1 WHERE uuid LIKE '%2';";
    let arguments = [database.to_str().unwrap(), sql];
    crate::program::succeeds(server.datadir(), "sqlite3", &arguments);
    for target in [
        "/",
        "/all-builds",
        "/job/hello",
        "/job/bad",
        "/failed-builds",
    ] {
        assert_eq!(server.get(target).status, 200, "{target}");
    }
    assert!(server.page("/").contains("other"));
    assert!(
        server
            .page("/job/hello")
            .contains(&hello(1).uuid.to_string())
    );
}
