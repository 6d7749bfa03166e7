//! The record of who did what, and of what was refused.

use crate::program::{BUILDER_WEB, run};
use crate::server::{basic, exchange, wait_until};
use crate::tokens::{Site, hello};

#[test]
fn who_is_not_let_in_where_operators_read_is_on_record_and_cannot_fill_it() {
    let site = Site::new();
    let admin = site.token(&["--scope", "admin", "ops"]);
    let upload = site.token(&["builds"]);
    let get = |target: &str, authorization: &str| {
        let headers = [("authorization", authorization)];
        exchange(site.process.address, "GET", target, &headers, b"").status
    };
    let password = basic(("ci", "password"));
    for target in ["/metrics", "/audit"] {
        assert_eq!(get(target, "Bearer bwt_wrong"), 401);
        // Also a password that is right: this is not for it.
        assert_eq!(get(target, &password), 401);
        assert_eq!(get(target, &format!("Bearer {upload}")), 403);
        let nothing = exchange(site.process.address, "GET", target, &[], b"");
        assert_eq!(nothing.status, 401);
    }
    assert_eq!(site.upload("Bearer bwt_wrong", &hello("hello", 1)), 401);
    let refused = || site.audit(&["--refused", "--action", "log-in"]);
    wait_until("all are on record", || refused().len() == 7);
    let told: Vec<String> = refused()
        .iter()
        .map(|entry| {
            assert_eq!(entry["from"], "127.0.0.1");
            let of = |name: &str| entry[name].as_str().unwrap().to_owned();
            format!("{}: {}, {}", of("who"), of("subject"), of("detail"))
        })
        .collect();
    let other = "token builds is for uploads; this needs one that was made with --scope admin";
    let at = |target: &str| {
        [
            format!(": {target}, wrong token"),
            format!("ci: {target}, wrong token"),
            format!("ci (token builds): {target}, {other}"),
        ]
    };
    let at_upload = [": , wrong token".to_owned()];
    assert_eq!(
        told,
        [&at("/metrics")[..], &at("/audit"), &at_upload].concat()
    );
    // A flood is answered, and hardly noted; who has the right token is let in meanwhile.
    for _ in 0..200 {
        let status = get("/audit", "Bearer bwt_wrong");
        assert!([401, 429].contains(&status), "{status}");
        let status = site.upload("Bearer bwt_wrong", &hello("hello", 1));
        assert!([401, 429].contains(&status), "{status}");
    }
    let noted = refused().len() - told.len();
    assert!(noted <= 20, "{noted} of 400");
    assert_eq!(site.get("/audit", &admin).status, 200);
    let metrics = site.get("/metrics", &admin).text();
    let count = |result: &str| -> u64 {
        let name = format!("builder_web_log_ins_total{{result=\"{result}\"}} ");
        let (_, rest) = metrics.split_once(&name).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert_eq!(count("wrong") + count("slowed"), 405);
}

#[test]
fn what_was_done_and_what_was_refused_is_on_record_and_stays() {
    let site = Site::new();
    let user = basic(("ci", "password"));
    let build = hello("hello", 1);
    assert_eq!(site.upload(&user, &build), 201);
    assert_eq!(site.upload(&user, &build), 409);
    assert_eq!(site.upload(&basic(("e\nvil", "guess")), &build), 401);
    wait_until("refusals are on record", || {
        site.audit(&["--refused"]).len() == 2
    });
    site.user("user-add", "bob", &[]);
    site.db(&["access-add", "bob", "hello"]);
    site.db(&["access-remove", "bob", "hello"]);
    let _token = site.token(&["x"]);
    site.db(&["token-revoke", "x"]);
    site.db(&["user-remove", "bob"]);
    let uuid = build.uuid.to_string();
    site.db(&["pin", "--note", "released", &uuid]);
    site.db(&["unpin", &uuid]);
    let taken = site.directory.path().join("taken.exec");
    site.db(&["extract-build", &uuid, "--dest", taken.to_str().unwrap()]);
    site.db(&["vacuum", "except-latest", "7", "--job", "hello"]);
    site.db(&["job-remove", "hello"]);
    site.db(&["import", "--user", "ci", taken.to_str().unwrap()]);
    let told: Vec<String> = site
        .audit(&[])
        .iter()
        .map(|entry| {
            let of = |name: &str| entry[name].as_str().unwrap().to_owned();
            format!("{} {} {}", of("action"), of("subject"), of("outcome"))
        })
        .collect();
    let uuid = build.uuid;
    assert_eq!(
        told,
        [
            "user-add ci done".to_owned(),
            format!("upload hello/{uuid} done"),
            "upload /upload refused".to_owned(),
            "log-in  refused".to_owned(),
            "user-add bob done".to_owned(),
            "access-add bob done".to_owned(),
            "access-remove bob done".to_owned(),
            "token-add x done".to_owned(),
            "token-revoke x done".to_owned(),
            "user-remove bob done".to_owned(),
            format!("pin hello/{uuid} done"),
            format!("unpin hello/{uuid} done"),
            "vacuum hello done".to_owned(),
            "job-remove hello done".to_owned(),
            format!("build-remove hello/{uuid} done"),
            format!("import hello/{uuid} done"),
        ]
    );
    let uploads = site.audit(&["--user", "ci", "--action", "upload"]);
    assert_eq!(uploads.len(), 2);
    assert_eq!(uploads[0]["from"], "127.0.0.1");
    assert!(!uploads[0]["request"].as_str().unwrap().is_empty());
    assert!(
        uploads[1]["detail"]
            .as_str()
            .unwrap()
            .contains(&uuid.to_string())
    );
    assert_eq!(site.audit(&["--refused"]).len(), 2);
    assert_eq!(site.audit(&["--since", "2999-01-01"]).len(), 0);
    assert_eq!(site.audit(&["--count", "1"])[0]["action"], "import");
    let pin = &site.audit(&["--action", "pin"])[0];
    assert_eq!(
        (&pin["detail"], &pin["from"]),
        (&"released".into(), &"command line".into())
    );
    let import = &site.audit(&["--action", "import"])[0];
    assert_eq!(import["detail"], "debian-12, in the name of ci");
    let vacuum = &site.audit(&["--action", "vacuum"])[0];
    assert_eq!(vacuum["detail"], "all but the latest 7");
    let table = site.db(&["audit"]);
    assert_eq!(table.lines().count(), 17, "{table}");
    // Nobody changes what was.
    let record = site.directory.path().join("builder-web-record.sqlite3");
    let forged = |id: &str| {
        format!(
            "INTO audit SELECT {id}, at_d, at_ps, 'x', address, request, action, subject, outcome,
               detail, times FROM audit WHERE id = 2"
        )
    };
    for sql in [
        "UPDATE audit SET who = 'x'",
        "UPDATE OR REPLACE audit SET id = 1 WHERE id = 2",
        "DELETE FROM audit WHERE action = 'upload'",
        "DELETE FROM audit WHERE outcome = 'refused'",
        &format!("REPLACE {}", forged("id")),
        &format!("INSERT OR REPLACE {}", forged("1")),
        // Nor is anything put before it.
        &format!("INSERT {}", forged("0")),
        &format!("INSERT {}", forged("-1")),
        "INSERT INTO refusal_end VALUES ('log-in', 1000)",
        "REPLACE INTO refusal_end VALUES ('upload', 3)",
    ] {
        let output = run(
            site.directory.path(),
            "sqlite3",
            &[record.to_str().unwrap(), sql],
        );
        assert!(!output.status.success(), "{sql}");
    }
    let after = site.audit(&[]);
    assert_eq!(after.len(), 16);
    assert!(after.iter().all(|entry| entry["who"] != "x"));
}

#[test]
fn who_uses_a_token_that_was_good_once_is_on_record_with_its_name() {
    let site = Site::new();
    let token = site.token(&["old"]);
    site.db(&["token-revoke", "old"]);
    assert_eq!(
        site.upload(&format!("Bearer {token}"), &hello("hello", 1)),
        401
    );
    assert_eq!(site.get("/metrics", &token).status, 401);
    let refused = || site.audit(&["--refused", "--action", "log-in"]);
    wait_until("both are on record", || refused().len() == 2);
    for entry in refused() {
        assert_eq!(entry["who"], "ci (token old)");
        assert!(entry["detail"].as_str().unwrap().contains("revoked"));
    }
}

#[test]
fn a_record_that_is_lost_is_begun_anew_when_an_operator_says_so() {
    let mut site = Site::new();
    let user = basic(("ci", "password"));
    let build = hello("hello", 1);
    assert_eq!(site.upload(&user, &build), 201);
    site.db(&["pin", &build.uuid.to_string()]);
    site.process.kill();
    let data = site.directory.path().to_owned();
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("builder-web-record.sqlite3{suffix}");
        std::fs::remove_file(data.join(name)).unwrap();
    }
    // Nothing is removed that may have been pinned, and nothing starts.
    let said = site.db_refuses(&["vacuum", "older-than", "2999-01-01"]);
    for what in ["pinned", "tokens", "audit record", "builder-db record-anew"] {
        assert!(said.contains(what), "{said}");
    }
    let serve = ["-d", data.to_str().unwrap(), "-p", "0"];
    let output = run(&data, BUILDER_WEB, &serve);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let doctor = run(&data, BUILDER_WEB, &site.arguments(&["doctor"]));
    let told = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{told}");
    assert!(told.contains("builder-db record-anew"), "{told}");
    site.db(&["record-anew"]);
    let all = site.audit(&[]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["action"], "record-anew");
    assert_eq!(all[0]["from"], "command line");
    site.db(&["vacuum", "except-latest", "1"]);
    assert_eq!(site.db(&["pin-list", "--json"]).trim(), r#"{"pins":[]}"#);
}

#[test]
fn repairs_and_migrations_are_on_record_when_they_changed_something() {
    let mut site = Site::new();
    let user = basic(("ci", "password"));
    let (damaged, whole) = (hello("hello", 1), hello("hello", 2));
    for build in [&damaged, &whole] {
        assert_eq!(site.upload(&user, build), 201);
    }
    let data = site.directory.path().to_str().unwrap().to_owned();
    let noted = |site: &Site, action: &str| -> Vec<String> {
        let all = site.audit(&["--action", action]);
        all.iter()
            .map(|entry| {
                assert_eq!(entry["from"], "command line");
                assert_eq!(entry["outcome"], "done");
                assert_ne!(entry["who"], "");
                entry["detail"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    // A migration that is refused, since the server runs.
    let migrate = |site: &Site, arguments: &[&str]| {
        let all = [&["migrations"], arguments, &["-d", &data]].concat();
        run(site.directory.path(), BUILDER_WEB, &all).status.code()
    };
    assert_eq!(migrate(&site, &["down", "--to", "17"]), Some(2));
    site.process.kill();
    assert_eq!(
        migrate(&site, &["down", "--to", "16", "--dry-run"]),
        Some(0)
    );
    let told = noted(&site, "migrate");
    assert_eq!((told.len(), &*told[0]), (2, "down from version 18"));
    assert!(
        told[1].starts_with("not down from version 18: "),
        "{told:?}"
    );
    // And those that are done.
    assert_eq!(migrate(&site, &["down", "--to", "16"]), Some(0));
    assert_eq!(migrate(&site, &["up", "--to", "17"]), Some(0));
    assert_eq!(migrate(&site, &["up"]), Some(0));
    assert_eq!(migrate(&site, &["up"]), Some(0));
    assert_eq!(
        noted(&site, "migrate")[2..],
        ["down from version 18", "up from version 17"]
    );
    // Nothing to repair, nothing to note; nor where it is only looked.
    site.db(&["verify-data-dir", "--repair"]);
    let (path, content) = (artifact(&data, b"x1"), b"damage");
    std::fs::write(path, content).unwrap();
    let stray = format!("{data}/_artifacts/stray");
    std::fs::write(stray, "stray").unwrap();
    let look = run(
        site.directory.path(),
        BUILDER_WEB,
        &["db", "verify-data-dir", "-d", &data],
    );
    assert_eq!(look.status.code(), Some(1), "{look:?}");
    assert_eq!(noted(&site, "repair"), [""; 0]);
    // What is lost for good leaves the exit status at 1.
    let repair = ["db", "verify-data-dir", "--repair", "-d", &data];
    let repaired = run(site.directory.path(), BUILDER_WEB, &repair);
    assert_eq!(repaired.status.code(), Some(1), "{repaired:?}");
    assert_eq!(noted(&site, "repair"), ["2 problems dealt with"]);
}

/// Where an artifact is.
fn artifact(data: &str, content: &[u8]) -> std::path::PathBuf {
    let name = builder_store::Sha256::of(content).to_hex();
    std::path::Path::new(data)
        .join("_artifacts")
        .join(&name[..2])
        .join(name)
}

#[test]
fn what_a_token_may_do_and_what_an_update_changes_is_on_record() {
    let site = Site::new();
    assert_eq!(
        site.upload(&basic(("ci", "password")), &hello("hello", 1)),
        201
    );
    let expires = ["--expires", "2999-01-31", "--job", "hello", "some"];
    for arguments in [&["all"][..], &["--scope", "admin", "ops"], &expires] {
        site.token(arguments);
    }
    for options in [&["--unrestricted"][..], &[], &[]] {
        site.user("user-update", "ci", options);
    }
    site.db(&["user-disable", "ci"]);
    site.user("user-update", "ci", &["--unrestricted"]);
    let details = |action: &str| -> Vec<String> {
        let entries = site.audit(&["--action", action]);
        let entries = entries.iter();
        entries
            .map(|entry| entry["detail"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        details("token-add"),
        [
            "upload for ci, for ever, all jobs of the user",
            "admin for ci, for ever",
            "upload for ci, until 2999-01-31T00:00:00-00:00, jobs: hello",
        ]
    );
    assert_eq!(
        details("user-update"),
        [
            "password changed; unrestricted as before",
            "password changed; unrestricted → restricted",
            "password changed; restricted as before",
            "password changed; disabled → unrestricted",
        ]
    );
}

#[test]
fn an_action_that_there_is_not_is_refused_and_that_nothing_is_found_is_said() {
    let site = Site::new();
    let said = site.db_refuses(&["audit", "--action", "tokenadd"]);
    assert!(
        said.contains("token-add") && said.contains("verify-faults"),
        "{said}"
    );
    for json in [&[][..], &["--json"]] {
        let empty = [&["audit", "--user", "nobodyatall"], json].concat();
        let output = run(site.directory.path(), BUILDER_WEB, &site.arguments(&empty));
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "no entries\n");
        let found = [&["audit", "--action", "user-add"], json].concat();
        let output = run(site.directory.path(), BUILDER_WEB, &site.arguments(&found));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}
