//! More than the server can do: guessing, crawling, crowding, and rows that make no sense. What
//! people came for still works, and those turned away are told when to come again.

use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use builder_web::auth::ScryptParams;

use crate::build::{Build, build};
use crate::server::{ALICE, Answer, BUILDER, CHEAP, Server, basic, connect, exchange, head};

fn hello(number: u128) -> Build {
    build("hello", number).file("bin/x", format!("x{number}"))
}

/// A server behind a proxy on this machine.
fn behind_a_proxy() -> (Server, SocketAddr) {
    let server = Server::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.limits.log_in_delay = Duration::from_secs(30);
    });
    let address = server.listen();
    (server, address)
}

fn upload_from(address: SocketAddr, from: &str, user: (&str, &str), number: u128) -> Answer {
    let headers = [("authorization", &*basic(user)), ("x-forwarded-for", from)];
    let exec = hello(number).exec();
    let length = exec.len().to_string();
    let headers = [headers[0], headers[1], ("content-length", &*length)];
    exchange(address, "POST", "/upload", &headers, &exec)
}

#[test]
fn guessing_a_password_is_slowed_down_and_locks_nobody_out() {
    let (server, address) = behind_a_proxy();
    server.add_user(("carol", "right"), false, CHEAP);
    for _ in 0..5 {
        let answer = upload_from(address, "192.0.2.66", ("carol", "guess"), 1);
        assert_eq!(answer.status, 401);
    }
    let answer = upload_from(address, "192.0.2.66", ("carol", "guess"), 1);
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(
        answer
            .text()
            .contains("too many wrong passwords; try again in 30 s")
    );
    assert_eq!(answer.header("retry-after"), Some("30"));
    // Nor is the right one looked at from there: that would tell when the guess was right.
    assert_eq!(
        upload_from(address, "192.0.2.66", ("carol", "right"), 1).status,
        429
    );
    let begin = Instant::now();
    assert_eq!(
        upload_from(address, "192.0.2.1", ("carol", "right"), 1).status,
        201
    );
    assert!(begin.elapsed() < Duration::from_secs(5));
    // A user who does not exist is no different.
    for status in [401, 401, 401, 401, 401, 429] {
        let answer = upload_from(address, "192.0.2.67", ("nobody", "guess"), 2);
        assert_eq!(answer.status, status);
    }
    // All users from one address.
    for number in 0..10 {
        let user = format!("user{number}");
        assert_eq!(
            upload_from(address, "192.0.2.68", (&user, "guess"), 2).status,
            401
        );
    }
    assert_eq!(
        upload_from(address, "192.0.2.68", ("another", "guess"), 2).status,
        429
    );
    assert_eq!(
        upload_from(address, "192.0.2.1", ("carol", "right"), 3).status,
        201
    );
}

#[test]
fn an_unknown_user_costs_the_same_time_as_a_known_one() {
    let server = Server::with(|config| config.limits.log_in_failures_free = 1000);
    // As an operator who chose another cost than ours.
    for (user, restricted) in [(BUILDER, false), (ALICE, true)] {
        let hash = builder_web::auth::hash_password(
            user.1.as_bytes(),
            ScryptParams {
                n: 1 << 16,
                r: 8,
                p: 1,
            },
        )
        .unwrap();
        let updated = server
            .app
            .store()
            .write(|tx| {
                let name = format!("dear-{}", user.0);
                builder_store::users::add(tx, &name, &hash, restricted)
            })
            .unwrap();
        assert_eq!(updated, builder_store::users::Added::Added);
    }
    let quickest = |name: &str| {
        (0..3)
            .map(|_| {
                let begin = Instant::now();
                let answer = server.upload_bytes((name, "wrong"), "");
                assert_eq!(answer.status, 401);
                begin.elapsed()
            })
            .min()
            .unwrap()
    };
    let dear = quickest("dear-alice");
    let cheap = quickest("alice");
    assert!(dear > cheap * 4, "{dear:?} {cheap:?}");
    // Half of the users are dear: so are about half of those who do not exist.
    let unknown = (0..12).map(|number| quickest(&format!("unknown{number}")));
    let slow = unknown.filter(|took| *took > cheap * 4).count();
    assert!(
        (1..12).contains(&slow),
        "{slow} of 12 unknown users are dear"
    );
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

#[test]
fn a_crawl_of_everything_leaves_uploads_as_quick_as_before() {
    let server = Server::with(|config| config.limits.place_wait_time_max = Duration::from_secs(1));
    for number in 1..12 {
        server.keep(&hello(number));
    }
    let address = server.listen();
    let crawl = |of: u128| {
        let mut statuses = Vec::new();
        for left in 1..12 {
            for right in 1..12 {
                let target = format!(
                    "/compare/{}/{}?nothing={of}",
                    hello(left).uuid,
                    hello(right).uuid
                );
                statuses.push(exchange(address, "GET", &target, &[], b"").status);
            }
        }
        statuses
    };
    let (uploads, statuses) = std::thread::scope(|scope| {
        let crawlers: Vec<_> = (0..16).map(|of| scope.spawn(move || crawl(of))).collect();
        let mut uploads = Vec::new();
        for number in 100..120 {
            let begin = Instant::now();
            assert_eq!(server.upload(&hello(number)).status, 201);
            uploads.push(begin.elapsed());
        }
        let statuses: Vec<u16> = crawlers
            .into_iter()
            .flat_map(|crawler| crawler.join().unwrap())
            .collect();
        (uploads, statuses)
    });
    let slowest = uploads.iter().max().unwrap();
    assert!(*slowest < Duration::from_secs(5), "{uploads:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
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
fn one_address_cannot_have_all_connections() {
    let server = Server::with(|config| config.limits.connections_per_client_max = 2);
    let address = server.listen();
    let held = [connect(address), connect(address)];
    // They are counted when they are accepted.
    std::thread::sleep(Duration::from_millis(200));
    let mut third = connect(address);
    let mut answer = Vec::new();
    third.read_to_end(&mut answer).unwrap();
    let answer = Answer::parse(&answer, false);
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("10"))
    );
    drop(held);
    crate::server::wait_until("there is room again", || {
        let mut stream = connect(address);
        let request = head("GET", "/healthz", &[("connection", "close")]);
        let _reset = std::io::Write::write_all(&mut stream, request.as_bytes());
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        answer.starts_with(b"HTTP/1.1 200 ")
    });
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
