//! More than the server can do: guessing, crawling, crowding, and rows that make no sense. What
//! people came for still works, and those turned away are told when to come again.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use builder_store::record::audit::{self, Filter};
use builder_store::record::tokens::{self, NewToken, Scope};
use builder_web::auth::ScryptParams;
use builder_web::tls::Tls;
use builder_web::{Clock, routes, serve};

use crate::build::{Build, build};
use crate::server::{
    ALICE, Answer, BUILDER, CHEAP, Server, basic, connect, exchange, head, wait_until,
};

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
fn who_guesses_at_the_address_of_a_builder_does_not_keep_it_out() {
    let (server, address) = behind_a_proxy();
    server.add_user(("carol", "right"), false, CHEAP);
    server.add_user(("dave", "right"), false, CHEAP);
    let shared = "192.0.2.66";
    let status = |user: (&str, &str), number| upload_from(address, shared, user, number).status;
    assert_eq!(status(("carol", "right"), 1), 201);
    let mut statuses = Vec::new();
    for number in 0..30 {
        let user = format!("user{}", number % 15);
        statuses.push(status((&user, "guess"), 2));
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(status(("dave", "right"), 2), 429, "was never there before");
    assert_eq!(status(("carol", "right"), 2), 201);
    // What was right a moment ago is no way to guess quickly at her, from there or elsewhere.
    for from in [shared, "192.0.2.67"] {
        let guess = |password: &str| upload_from(address, from, ("carol", password), 3).status;
        for _ in 0..5 {
            assert_eq!(guess("guess"), 401, "{from}");
        }
        assert_eq!(guess("guess"), 429, "{from}");
        assert_eq!(guess("right"), 429, "{from}");
    }
    assert_eq!(
        upload_from(address, "192.0.2.1", ("carol", "right"), 3).status,
        201
    );
    // Nor can they keep out a token, whatever they try.
    let token = builder_web::auth::tokens::new();
    let add = |tx: &mut builder_store::Tx<'_>| {
        let new = NewToken {
            name: "carols",
            user: "carol",
            sha256: builder_web::auth::tokens::digest(token.as_bytes()),
            scope: Scope::Upload,
            jobs: &[],
            expires: None,
        };
        tokens::add(tx, &new, &Clock::System.now())
    };
    assert!(server.app.store().write(add).unwrap());
    assert_eq!(status(("carol", &token), 4), 201);
}

/// How often this was refused, and how many entries there are of it.
fn refused(server: &Server, action: &str) -> (u64, i64) {
    let filter = Filter {
        action: Some(action),
        outcome: Some("refused"),
        ..Filter::default()
    };
    let entries = server
        .app
        .store()
        .read(|tx| audit::newest(tx, &filter, u32::MAX))
        .unwrap();
    let times = entries.iter().map(|entry| entry.times).sum();
    (times, i64::try_from(entries.len()).unwrap())
}

#[test]
fn a_flood_of_wrong_tokens_slows_no_upload_and_is_a_few_entries_in_the_record() {
    const CLIENTS: u64 = 8;
    const REQUESTS: u64 = 250;
    let (server, address) = behind_a_proxy();
    server.add_user(("carol", "right"), false, CHEAP);
    let upload = |number: u128| {
        let begin = Instant::now();
        let answer = upload_from(address, "192.0.2.1", ("carol", "right"), number);
        assert_eq!(answer.status, 201, "{}", answer.text());
        begin.elapsed()
    };
    let median = |mut took: Vec<Duration>| {
        took.sort();
        took[took.len() / 2]
    };
    let before = median((100..115).map(upload).collect());
    // Half of them are at one address, the others everywhere.
    let from = |client: u64, number: u64| match client % 2 {
        0 => "198.51.100.1".to_owned(),
        _ => format!("198.18.{client}.{number}"),
    };
    let flood = |client: u64| {
        let wrong = |number: u64| {
            let bearer = format!("Bearer bwt_{client}-{number}");
            let from = from(client, number);
            let headers = [("authorization", &*bearer), ("x-forwarded-for", &*from)];
            exchange(address, "POST", "/upload", &headers, b"").status
        };
        (0..REQUESTS).map(wrong).collect::<Vec<_>>()
    };
    let (during, statuses) = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || flood(client)))
            .collect();
        let during = median((200..215).map(upload).collect());
        let statuses = floods.into_iter().flat_map(|flood| flood.join().unwrap());
        (during, statuses.collect::<Vec<u16>>())
    });
    println!("an upload takes {before:?}, and {during:?} during the flood");
    // Eight clients and the server share the processor; the writer they do not.
    assert!(
        during < before * 10 + Duration::from_millis(200),
        "{before:?} {during:?}"
    );
    assert!(statuses.iter().all(|status| [401, 429].contains(status)));
    let slowed = statuses.iter().filter(|status| **status == 429).count();
    assert!(slowed as u64 > CLIENTS / 2 * REQUESTS / 2, "{slowed}");
    // All are counted, in as many entries as addresses may have.
    builder_web::auth::refusals::finish(&server.app);
    let (times, entries) = refused(&server, "log-in");
    assert_eq!(times, CLIENTS * REQUESTS);
    assert!(entries < 450, "{entries}");
    // Nobody guesses a token: a right one is let in, also from there.
    let token = builder_web::auth::tokens::new();
    server
        .app
        .store()
        .write(|tx| {
            let new = NewToken {
                name: "ci",
                user: "carol",
                sha256: builder_web::auth::tokens::digest(token.as_bytes()),
                scope: Scope::Upload,
                jobs: &[],
                expires: None,
            };
            tokens::add(tx, &new, &crate::server::now())
        })
        .unwrap();
    let exec = hello(300).exec();
    let headers = [
        ("authorization", &*format!("Bearer {token}")),
        ("x-forwarded-for", "198.51.100.1"),
        ("content-length", &*exec.len().to_string()),
    ];
    let answer = exchange(address, "POST", "/upload", &headers, &exec);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn strangers_who_are_refused_push_no_refused_upload_out_of_the_record() {
    let server = Server::new();
    assert_eq!(server.upload_bytes(ALICE, hello(1).exec()).status, 403);
    wait_until("it is on record", || refused(&server, "upload").1 == 1);
    let too_many = audit::REFUSALS_MAX + 10_000;
    let fill = format!(
        "INSERT INTO audit (at_d, at_ps, who, address, request, action, subject, outcome, detail)
         SELECT 1, 1, 'x', 'x', '', 'log-in', '', 'refused', '' FROM generate_series(1, {too_many})"
    );
    let record = server.datadir().join("builder-web-record.sqlite3");
    crate::program::succeeds(
        server.datadir(),
        "sqlite3",
        &[record.to_str().unwrap(), &fill],
    );
    assert_eq!(refused(&server, "log-in").1, too_many);
    // The first that this one notes has the record looked through.
    let again = server.again(Clock::Stopped(crate::server::now()), |_| {});
    assert_eq!(again.upload_bytes(("x", "wrong"), "").status, 401);
    wait_until("there are as many as are kept", || {
        refused(&server, "log-in").1 == audit::REFUSALS_MAX
    });
    assert_eq!(refused(&server, "upload"), (1, 1));
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
    const LONG: Duration = Duration::from_secs(5);
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
    println!("an upload takes {before:?}, and {during:?} during the crawl");
    // Sixteen crawlers and the server share the processor; a place they do not.
    assert!(
        during < before * 10 + Duration::from_millis(200),
        "{before:?} {during:?}"
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
    }
}

#[test]
fn a_builder_that_is_known_is_let_in_while_strangers_fill_the_queue() {
    let server = Server::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        // It is hashed each time.
        config.limits.password_cache_time = Duration::ZERO;
        config.limits.passwords_waiting_max = 2;
    });
    let address = server.listen();
    server.add_user(("carol", "right"), false, CHEAP);
    let costly = ScryptParams {
        n: 1 << 16,
        r: 8,
        p: 1,
    };
    server.add_user(("costly", "right"), false, costly);
    let home = "192.0.2.1";
    let upload = |from: &str, number| upload_from(address, from, ("carol", "right"), number).status;
    assert_eq!(upload(home, 1), 201);
    let (next, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        // Each from another site.
        let strangers = || {
            let mut statuses = Vec::new();
            while !done.load(Ordering::Relaxed) && begin.elapsed() < Duration::from_secs(60) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let from = format!("2001:db8:{number:x}::1");
                statuses.push(upload_from(address, &from, ("costly", "guess"), 9).status);
            }
            statuses
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(strangers)).collect();
        let mut of_carol = Vec::new();
        for number in 2..6 {
            wait_until("the queue is full", || {
                let queue = server.app.passwords().queue();
                queue.taken + queue.waiting >= 3
            });
            of_carol.push(upload(home, number));
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(of_carol, [201; 4]);
        let statuses = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        assert!(statuses.into_iter().any(|status| status == 503));
    });
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
    // Also by one that has begun to send: a connection that is closed on it is reset.
    let mut sending = connect(address);
    let body = vec![0; 500_000];
    let request = head("POST", "/upload", &[("content-length", "500000")]);
    std::io::Write::write_all(&mut sending, request.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
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

#[test]
fn one_address_cannot_have_all_connections_by_never_agreeing_on_tls() {
    let server = Server::with(|config| config.limits.connections_per_client_max = 2);
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
    // They say nothing, for as long as they are let.
    let held = [connect(address), connect(address)];
    wait_until("a third is turned away", || !curl().status.success());
    // At once, and not when it has waited for long.
    let begin = Instant::now();
    let mut third = connect(address);
    assert_eq!(third.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(begin.elapsed() < Duration::from_secs(5));
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
