//! Users and tokens that are worth nothing any more: in the middle of an upload, and told apart from
//! those that somebody guessed.

use std::io::{Read, Write};

use builder_exec::Timestamp;
use builder_store::record::tokens::{self, NewToken, Scope};
use builder_web::Clock;
use builder_web::auth::tokens::digest;

use crate::build::noise;
use crate::server::{Answer, BUILDER, Server, basic, connect, exchange, head, now, wait_until};
use crate::tokens::{Site, hello};

/// Sends half an upload, does something while the server waits for the other half, and sends that.
fn upload_while(site: &Site, authorization: &str, job: &str, act: impl FnOnce()) -> Answer {
    let body = hello(job, 77).file("bin/y", noise(600_000)).exec();
    let length = body.len().to_string();
    let headers = [
        ("authorization", authorization),
        ("content-length", length.as_str()),
        ("connection", "close"),
    ];
    let mut stream = connect(site.process.address);
    let (first, second) = body.split_at(body.len() / 2);
    stream
        .write_all(head("POST", "/upload", &headers).as_bytes())
        .unwrap();
    stream.write_all(first).unwrap();
    let staging = site.directory.path().join("_staging");
    wait_until("an artifact is being written", || {
        let mut uploads = std::fs::read_dir(&staging).unwrap().flatten();
        uploads.any(|upload| {
            let files = std::fs::read_dir(upload.path()).into_iter().flatten();
            let bytes = files.flatten().map(|file| file.metadata().unwrap().len());
            bytes.max().unwrap_or(0) > 200_000
        })
    });
    act();
    stream.write_all(second).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Answer::parse(&answer, false)
}

#[test]
fn what_is_worth_nothing_when_an_upload_has_arrived_keeps_no_build() {
    let site = Site::with(&["--log-in-attempts", "1000"]);
    let first = site.upload(&basic(("ci", "password")), &hello("hello", 1));
    assert_eq!(first, 201);
    let kept = || {
        let directory = site.directory.path();
        let mut files = crate::server::files(directory);
        // The directory that artifacts of one first byte have stays when it is made.
        let stays = |path: &str| path.starts_with("_cache") || path.starts_with("_artifacts/");
        files.retain(|path, _| !(path.ends_with('/') && stays(path)));
        files
    };
    wait_until("the first is all there", || {
        !kept()
            .keys()
            .any(|path| path.starts_with("_staging/") && path != "_staging/")
    });
    let before = kept();
    let by_password =
        |job: &str, act: &dyn Fn()| upload_while(&site, &basic(("bob", "password")), job, act);
    let by_token = |job: &str, act: &dyn Fn()| {
        let token = site.db(&["token-add", "--user", "bob", "--expires", "2999-01-01", job]);
        upload_while(&site, &format!("Bearer {}", token.trim()), job, act)
    };
    let not_kept = |case: &str, answer: Answer, status, why: &str| {
        assert_eq!(answer.status, status, "{case}: {}", answer.text());
        assert!(answer.text().contains(why), "{case}: {}", answer.text());
        let asks = answer.header("www-authenticate").is_some();
        assert_eq!(asks, status == 401, "{case}");
        assert_eq!(kept(), before, "{case}");
        wait_until("it is on record", || {
            let refused = site.audit(&["--refused", "--action", "upload"]);
            let mut refused = refused.iter();
            refused.any(|entry| entry["detail"].as_str().unwrap().contains(why))
        });
    };
    site.user("user-add", "bob", &["--unrestricted"]);

    let answer = by_token("revoked", &|| {
        site.db(&["token-revoke", "revoked"]);
    });
    not_kept(
        "token-revoke",
        answer,
        401,
        "token revoked of bob, revoked 2",
    );

    let expire = "UPDATE token SET expires_d = 20000 WHERE name = 'expired'";
    let answer = by_token("expired", &|| site.sql(expire));
    let why = "token expired of bob, expired 2024-10-04T";
    not_kept("expiry", answer, 401, why);

    let answer = by_password("removed", &|| {
        site.db(&["user-remove", "bob"]);
    });
    not_kept("user-remove", answer, 401, "user bob was removed");

    site.user("user-add", "bob", &[]);
    site.db(&["access-add", "bob", "hello"]);
    let answer = by_password("hello", &|| {
        site.db(&["access-remove", "bob", "hello"]);
    });
    let why = "user bob may not upload to job hello";
    not_kept("access-remove", answer, 403, why);

    site.db(&["access-add", "bob", "hello"]);
    let answer = by_password("hello", &|| {
        site.db(&["user-disable", "bob"]);
    });
    not_kept("user-disable", answer, 401, "user bob was disabled");

    // A job's restriction that comes meanwhile is one, too; another password is no reason.
    site.user("user-update", "bob", &["--unrestricted"]);
    let answer = by_password("other", &|| site.user("user-update", "bob", &[]));
    let why = "user bob may not upload to job other";
    not_kept("user-update", answer, 403, why);
    site.user("user-update", "bob", &["--unrestricted"]);
    let again = || site.user("user-update", "bob", &["--unrestricted"]);
    assert_eq!(by_password("other", &again).status, 201);
}

#[test]
fn who_has_a_token_that_is_worth_nothing_is_told_so_and_named_in_the_record() {
    let site = Site::with(&["--log-in-attempts", "1000"]);
    let good = site.token(&["good"]);
    let revoked = site.token(&["old"]);
    let expired = site.token(&["--expires", "2999-01-01", "late"]);
    let ops = site.token(&["--scope", "admin", "ops"]);
    site.db(&["token-revoke", "old"]);
    site.db(&["token-revoke", "ops"]);
    site.sql("UPDATE token SET expires_d = 20000 WHERE name = 'late'");
    let told = |target: &str, authorization: &str| {
        let headers = [("authorization", authorization), ("content-length", "0")];
        let method = if target == "/upload" { "POST" } else { "GET" };
        let answer = exchange(site.process.address, method, target, &headers, b"");
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.header("www-authenticate").is_some());
        answer.text()
    };
    let nothing = "a user name and password are needed for this";
    for (token, why) in [
        (&revoked, "token old of ci, revoked 2"),
        (&expired, "token late of ci, expired 2024-10-04T"),
    ] {
        for authorization in [format!("Bearer {token}"), basic(("ci", token))] {
            let said = told("/upload", &authorization);
            assert!(said.contains(why), "{said}");
            assert!(said.contains("worth nothing any more"), "{said}");
        }
        // To who guesses it is none at all, all but the last character of it too.
        let guess = format!("{}_", &token[..token.len() - 1]);
        for authorization in [
            format!("Bearer {guess}"),
            basic(("ci", &guess)),
            basic(("nobody", token)),
        ] {
            assert!(told("/upload", &authorization).contains(nothing));
        }
    }
    let said = told("/audit", &format!("Bearer {ops}"));
    assert!(said.contains("token ops of ci, revoked 2"), "{said}");
    let refused = || -> Vec<String> {
        let refused = site.audit(&["--refused", "--user", "ci", "--action", "log-in"]);
        let of = |entry: &serde_json::Value, name: &str| entry[name].as_str().unwrap().to_owned();
        let mut all: Vec<String> = refused
            .iter()
            .map(|entry| {
                let (detail, _) = of(entry, "detail").split_once(" 2").map_or_else(
                    || (of(entry, "detail"), ()),
                    |(before, _)| (before.to_owned(), ()),
                );
                format!("{}: {}{detail}", of(entry, "who"), of(entry, "subject"))
            })
            .collect();
        all.sort();
        all.dedup();
        all
    };
    let expected = [
        "ci (token late): token late of ci, expired",
        "ci (token old): token old of ci, revoked",
        "ci (token ops): /audittoken ops of ci, revoked",
        "ci: wrong user name, password or token",
    ];
    wait_until("all are on record", || refused().len() >= expected.len());
    assert_eq!(refused(), expected);
    let status = site.upload(&format!("Bearer {good}"), &hello("hello", 1));
    assert_eq!(status, 201);
}

#[test]
fn who_has_a_token_that_is_worth_nothing_is_slowed_down_as_one_who_guesses() {
    let site = Site::with(&["--log-in-delay", "60"]);
    let revoked = site.token(&["old"]);
    site.db(&["token-revoke", "old"]);
    for authorization in [format!("Bearer {revoked}"), basic(("ci", &revoked))] {
        for _ in 0..5 {
            let status = site.upload(&authorization, &hello("hello", 1));
            assert_eq!(status, 401);
        }
        let status = site.upload(&authorization, &hello("hello", 1));
        assert_eq!(status, 429);
    }
}

/// The clock of the servers of these tests, so many hours later.
fn hours_later(hours: i64) -> Clock {
    Clock::Stopped(Timestamp::from_unix(now().unix_seconds() + hours * 3600, 0).unwrap())
}

#[test]
fn a_token_that_was_seen_expired_stays_so_when_the_clock_is_put_back() {
    let server = Server::new();
    let add = |name: &str, expires| {
        let secret = builder_web::auth::tokens::new();
        let new = NewToken {
            name,
            user: BUILDER.0,
            sha256: digest(secret.as_bytes()),
            scope: Scope::Upload,
            jobs: &[],
            expires,
        };
        let added = server.app.store().write(|tx| tokens::add(tx, &new, &now()));
        assert!(added.unwrap());
        secret
    };
    let in_hours = |hours| match hours_later(hours) {
        Clock::Stopped(at) => Some(at),
        Clock::System => None,
    };
    let given = add("given", in_hours(1));
    let never_given = add("never-given", in_hours(30));
    let of_start = add("of-start", in_hours(60));
    let good = add("good", None);
    let number = std::cell::Cell::new(0);
    let upload = |server: &Server, token: &str| {
        number.set(number.get() + 1);
        let bearer = format!("Bearer {token}");
        let exec = hello("hello", number.get()).exec();
        let answer = server.send("POST", "/upload", &[("authorization", &bearer)], exec);
        (answer.status, answer.text())
    };
    let is_noted = |name: &str| {
        let all = server.app.store().read(tokens::all).unwrap();
        let token = all.into_iter().find(|token| token.name == name).unwrap();
        assert_eq!(token.revoked, None, "it was not revoked");
        token.was_expired
    };
    for token in [&given, &never_given, &of_start] {
        assert_eq!(upload(&server, token).0, 201);
    }
    // One that is given then.
    let later = server.again(hours_later(2), |_| {});
    assert!(!is_noted("given"));
    let (status, why) = upload(&later, &given);
    assert_eq!(
        (status, why.contains("token given of builder, expired")),
        (401, true)
    );
    wait_until("it is noted", || is_noted("given"));
    // One that is not, while another is used.
    let later = server.again(hours_later(31), |_| {});
    assert_eq!(upload(&later, &good).0, 201);
    wait_until("it is noted", || is_noted("never-given"));
    // One of which the server knows when it starts.
    let later = server.again(hours_later(61), |_| {});
    assert!(!is_noted("of-start"));
    {
        let _entered = later.runtime().enter();
        builder_web::auth::tokens::note_expired(&later.app);
    }
    wait_until("it is noted", || is_noted("of-start"));
    // The clock is put back.
    let back = server.again(hours_later(0), |_| {});
    for token in [&given, &never_given, &of_start] {
        let (status, why) = upload(&back, token);
        assert_eq!(
            (status, why.contains(", expired 2026-05-1")),
            (401, true),
            "{why}"
        );
    }
    assert_eq!(upload(&back, &good).0, 201);
    // It may be revoked like any other.
    let store = back.app.store();
    assert!(
        store
            .write(|tx| tokens::revoke(tx, "given", &now()))
            .unwrap()
    );
    assert!(
        !store
            .write(|tx| tokens::revoke(tx, "given", &now()))
            .unwrap()
    );
    assert!(upload(&back, &given).1.contains("revoked"));
}
