//! Guessing at passwords and tokens: it becomes slow, and locks nobody out who knows one.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use builder_store::record::audit::{self, Filter};
use builder_store::record::tokens::{self, NewToken, Scope};
use builder_web::Clock;
use builder_web::auth::ScryptParams;

use crate::overload::{behind_a_proxy, hello, upload_from};
use crate::server::{ALICE, BUILDER, CHEAP, Server, exchange, wait_until};

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
    // Of 30 s, some have gone by since the last guess.
    let after = answer.header("retry-after").unwrap();
    assert!((15..=30).contains(&after.parse().unwrap()), "{after}");
    let said = format!("too many wrong passwords; try again in {after} s");
    assert!(answer.text().contains(&said), "{}", answer.text());
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
    assert!(begin.elapsed() < server.app.limits().log_in_delay / 2);
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
    // Whatever else this machine does, it may have begun with it meanwhile.
    let after = median((400..415).map(upload).collect());
    println!("an upload takes {before:?} and {after:?}, and {during:?} during the flood");
    // Eight clients and the server share the processor; the writer they do not.
    assert!(
        during < before.max(after) * 10 + Duration::from_millis(200),
        "{before:?} {during:?} {after:?}"
    );
    assert!(statuses.iter().all(|status| [401, 429].contains(status)));
    let slowed = statuses.iter().filter(|status| **status == 429).count();
    assert!(slowed as u64 > CLIENTS / 2 * REQUESTS / 2, "{slowed}");
    // All are counted, in as many entries as addresses may have.
    builder_web::auth::refusals::finish(&server.app);
    // Some may be in the hands of the thread that writes now and then.
    wait_until("all are on record", || {
        refused(&server, "log-in").0 == CLIENTS * REQUESTS
    });
    let (_, entries) = refused(&server, "log-in");
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
    let takes = |name: &str| {
        let begin = Instant::now();
        let answer = server.upload_bytes((name, "wrong"), "");
        assert_eq!(answer.status, 401);
        begin.elapsed()
    };
    let quickest = |name: &str| (0..3).map(|_| takes(name)).min().unwrap();
    let dear = quickest("dear-alice");
    let cheap = quickest("alice");
    assert!(dear > cheap * 4, "{dear:?} {cheap:?}");
    // Half of the users are dear: so are about half of those who do not exist. Which ones is another
    // matter each time: of so many, neither all nor none.
    const UNKNOWN: usize = 24;
    let unknown = (0..UNKNOWN).map(|number| takes(&format!("unknown{number}")));
    let between = (dear.as_secs_f64() * cheap.as_secs_f64()).sqrt();
    let slow = unknown.filter(|took| took.as_secs_f64() > between).count();
    assert!(
        (1..UNKNOWN).contains(&slow),
        "{slow} of {UNKNOWN} unknown users are dear"
    );
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
