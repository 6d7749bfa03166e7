//! Tokens that programs log in with.

use serde_json::Value;

use crate::build::{Build, build};
use crate::program::{BUILDER_WEB, Process, run, succeeds};
use crate::server::{Answer, basic, exchange, wait_until};

pub(crate) fn hello(job: &str, number: u128) -> Build {
    build(job, number).file("bin/x", format!("x{number}"))
}

pub(crate) struct Site {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) process: Process,
}

impl Site {
    pub(crate) fn new() -> Site {
        Site::with(&[])
    }

    pub(crate) fn with(options: &[&str]) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let process = Process::serve(directory.path(), options);
        let site = Site { directory, process };
        site.user("user-add", "ci", &["--unrestricted"]);
        site
    }

    pub(crate) fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["db"];
        all.extend(arguments);
        all.extend(["-d", self.directory.path().to_str().unwrap()]);
        all
    }

    pub(crate) fn db(&self, arguments: &[&str]) -> String {
        let all = self.arguments(arguments);
        String::from_utf8(succeeds(self.directory.path(), BUILDER_WEB, &all)).unwrap()
    }

    pub(crate) fn db_refuses(&self, arguments: &[&str]) -> String {
        let all = self.arguments(arguments);
        let output = run(self.directory.path(), BUILDER_WEB, &all);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn user(&self, command: &str, name: &str, options: &[&str]) {
        let program = format!("echo password | \"{BUILDER_WEB}\" \"$@\"");
        let mut arguments = vec![command, "--scrypt-n", "16", name];
        arguments.extend(options);
        let arguments = self.arguments(&arguments);
        let mut all = vec!["-c", program.as_str(), "sh"];
        all.extend(arguments);
        succeeds(self.directory.path(), "sh", &all);
    }

    pub(crate) fn token(&self, arguments: &[&str]) -> String {
        let mut all = vec!["token-add", "--user", "ci"];
        all.extend(arguments);
        let token = self.db(&all).trim().to_owned();
        assert!(token.starts_with("bwt_") && token.len() == 47, "{token}");
        token
    }

    pub(crate) fn upload(&self, authorization: &str, build: &Build) -> u16 {
        let exec = build.exec();
        let length = exec.len().to_string();
        let headers = [
            ("authorization", authorization),
            ("content-length", length.as_str()),
        ];
        exchange(self.process.address, "POST", "/upload", &headers, &exec).status
    }

    pub(crate) fn get(&self, target: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        exchange(self.process.address, "GET", target, &headers, b"")
    }

    /// Changes the record as another program could.
    pub(crate) fn sql(&self, sql: &str) {
        let directory = self.directory.path();
        let record = directory.join("builder-web-record.sqlite3");
        let arguments = ["-cmd", ".timeout 10000", record.to_str().unwrap(), sql];
        succeeds(directory, "sqlite3", &arguments);
    }

    pub(crate) fn audit(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["audit", "--json"];
        all.extend(arguments);
        self.db(&all)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[test]
fn a_token_is_the_password_or_the_bearer_and_may_do_what_it_was_made_for() {
    let site = Site::new();
    let all = site.token(&["all"]);
    let one = site.token(&["--job", "hello", "--job", "world", "one"]);
    assert_eq!(site.upload(&basic(("ci", &all)), &hello("hello", 1)), 201);
    assert_eq!(
        site.upload(&format!("Bearer {all}"), &hello("other", 2)),
        201
    );
    assert_eq!(
        site.upload(&format!("bearer {one}"), &hello("world", 3)),
        201
    );
    assert_eq!(site.upload(&basic(("ci", &one)), &hello("other", 4)), 403);
    assert_eq!(
        site.upload(&basic(("ci", "password")), &hello("other", 5)),
        201
    );
    // It is of one user, and every character counts.
    assert_eq!(
        site.upload(&basic(("other", &all)), &hello("hello", 6)),
        401
    );
    let wrong = format!("{}x", &all[..all.len() - 1]);
    assert_eq!(
        site.upload(&format!("Bearer {wrong}"), &hello("hello", 6)),
        401
    );
    assert_eq!(site.upload("Bearer ", &hello("hello", 6)), 401);
    // A user may do less: so does the token.
    site.user("user-update", "ci", &[]);
    assert_eq!(
        site.upload(&format!("Bearer {all}"), &hello("hello", 6)),
        403
    );
    site.db(&["access-add", "ci", "hello"]);
    assert_eq!(
        site.upload(&format!("Bearer {all}"), &hello("hello", 6)),
        201
    );
    site.db(&["token-revoke", "all"]);
    assert_eq!(
        site.upload(&format!("Bearer {all}"), &hello("hello", 7)),
        401
    );
    assert!(
        site.db_refuses(&["token-revoke", "all"])
            .contains("no token all")
    );
    assert_eq!(
        site.upload(&format!("Bearer {one}"), &hello("hello", 7)),
        201
    );
    site.db(&["user-disable", "ci"]);
    assert_eq!(
        site.upload(&format!("Bearer {one}"), &hello("hello", 8)),
        401
    );
}

#[test]
fn tokens_are_listed_without_themselves_and_expire() {
    let site = Site::new();
    let token = site.token(&["--expires", "2999-01-01", "--job", "hello", "long"]);
    let admin = site.token(&["--scope", "admin", "ops"]);
    for (arguments, why) in [
        (vec!["--expires", "2020-01-01", "old"], "in the past"),
        (vec!["long"], "already"),
        (vec!["a b"], "letters"),
        (vec!["--job", "../x", "y"], "job"),
        (vec!["--scope", "admin", "--job", "x", "z"], "upload"),
    ] {
        let mut all = vec!["token-add", "--user", "ci"];
        all.extend(arguments);
        let said = site.db_refuses(&all);
        assert!(said.contains(why), "{said}");
    }
    assert!(
        site.db_refuses(&["token-add", "--user", "nobody", "x"])
            .contains("no user nobody")
    );
    let list = site.db(&["token-list"]);
    assert!(list.contains("2999-01-01") && list.contains("good") && list.contains("hello"));
    let json: Value = serde_json::from_str(&site.db(&["token-list", "--json"])).unwrap();
    assert_eq!(json["tokens"].as_array().unwrap().len(), 2);
    for secret in [&token, &admin] {
        assert!(!list.contains(secret.as_str()) && !json.to_string().contains(secret.as_str()));
        for entry in std::fs::read_dir(site.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes
                    .windows(20)
                    .any(|some| some == &secret.as_bytes()[..20]);
                assert!(!found, "{} holds a token", path.display());
            }
        }
    }
    // As time goes by.
    let sql = "UPDATE token SET expires_d = 1 WHERE name = 'long'";
    let record = site.directory.path().join("builder-web-record.sqlite3");
    succeeds(
        site.directory.path(),
        "sqlite3",
        &[record.to_str().unwrap(), sql],
    );
    assert_eq!(
        site.upload(&format!("Bearer {token}"), &hello("hello", 1)),
        401
    );
    assert!(site.db(&["token-list"]).contains("expired"));
}

#[test]
fn tokens_end_with_their_user_and_not_one_is_of_the_next_of_that_name() {
    let site = Site::with(&["--log-in-attempts", "100"]);
    let states = || -> Vec<String> {
        let list: Value = serde_json::from_str(&site.db(&["token-list", "--json"])).unwrap();
        let tokens = list["tokens"].as_array().unwrap().iter();
        tokens
            .map(|token| format!("{} {}", token["name"], token["state"]).replace('"', ""))
            .collect()
    };
    let of_bob = |arguments: &[&str]| {
        let all = [&["token-add", "--user", "bob"], arguments].concat();
        site.db(&all).trim().to_owned()
    };
    let others = site.token(&["others"]);
    site.user("user-add", "bob", &["--unrestricted"]);
    let removed = of_bob(&["removed"]);
    let ops = of_bob(&["--scope", "admin", "removed-ops"]);
    let said = site.db(&["user-remove", "bob"]);
    assert!(
        said.contains("revoked token removed\nrevoked token removed-ops\n"),
        "{said}"
    );
    let worth_nothing = |token: &str, number| {
        for authorization in [format!("Bearer {token}"), basic(("bob", token))] {
            assert_eq!(site.upload(&authorization, &hello("hello", number)), 401);
        }
        assert_eq!(site.get("/audit", token).status, 401);
    };
    worth_nothing(&removed, 1);
    // Another person.
    site.user("user-add", "bob", &["--unrestricted"]);
    worth_nothing(&removed, 1);
    worth_nothing(&ops, 1);
    let disabled = of_bob(&["disabled"]);
    let bearer = format!("Bearer {disabled}");
    assert_eq!(site.upload(&bearer, &hello("hello", 1)), 201);
    site.db(&["user-disable", "bob"]);
    worth_nothing(&disabled, 2);
    let said = site.db_refuses(&["token-add", "--user", "bob", "more"]);
    assert!(said.contains("user-update bob"), "{said}");
    site.user("user-update", "bob", &["--unrestricted"]);
    worth_nothing(&disabled, 2);
    // A password that is changed is no reason to revoke any.
    let kept = of_bob(&["kept"]);
    site.user("user-update", "bob", &["--unrestricted"]);
    let bearer = format!("Bearer {kept}");
    assert_eq!(site.upload(&bearer, &hello("hello", 2)), 201);
    assert_eq!(
        states(),
        [
            "disabled revoked",
            "kept good",
            "others good",
            "removed revoked",
            "removed-ops revoked"
        ]
    );
    let told: Vec<String> = site
        .audit(&["--action", "token-revoke"])
        .iter()
        .map(|entry| format!("{}: {}", entry["subject"], entry["detail"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "removed: its user bob was removed",
            "removed-ops: its user bob was removed",
            "disabled: its user bob was disabled"
        ]
    );
    // Who still has builds is not removed, and keeps them.
    site.db_refuses(&["user-remove", "bob"]);
    assert_eq!(site.upload(&bearer, &hello("hello", 3)), 201);
    let bearer = format!("Bearer {others}");
    assert_eq!(site.upload(&bearer, &hello("hello", 4)), 201);
}

#[test]
fn tokens_of_whom_the_ocaml_tool_removed_or_disabled_let_nobody_in() {
    let site = Site::with(&["--log-in-attempts", "100"]);
    // As that tool does it.
    let by_other = |sql: &str| {
        let database = site.directory.path().join("builder.sqlite3");
        let database = database.to_str().unwrap();
        let arguments = ["-cmd", ".timeout 10000", database, sql];
        succeeds(site.directory.path(), "sqlite3", &arguments);
    };
    let told = || {
        let arguments = site.arguments(&["doctor", "--json", "-c", "/nonexistent"]);
        let output = run(site.directory.path(), BUILDER_WEB, &arguments);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut findings = json["findings"].as_array().unwrap().iter();
        findings.any(|finding| {
            let what = finding["what"].as_str().unwrap();
            what.starts_with("token t is of user bob, who was removed or disabled")
        })
    };
    for (sql, state, after) in [
        (
            "DELETE FROM user WHERE username = 'bob'",
            "user removed",
            "user-add",
        ),
        (
            "UPDATE user SET password_hash = x'' WHERE username = 'bob'",
            "user disabled",
            "user-update",
        ),
    ] {
        site.sql("DELETE FROM token");
        if after == "user-add" {
            site.user("user-add", "bob", &["--unrestricted"]);
        }
        let token = site.db(&["token-add", "--user", "bob", "t"]);
        let bearer = format!("Bearer {}", token.trim());
        assert!(!told(), "{state}");
        by_other(sql);
        assert_eq!(site.upload(&bearer, &hello("hello", 1)), 401, "{state}");
        assert!(site.db(&["token-list"]).contains(state));
        assert!(told(), "{state}");
        site.user(after, "bob", &["--unrestricted"]);
        assert_eq!(site.upload(&bearer, &hello("hello", 1)), 401, "{after}");
        assert!(site.db(&["token-list"]).contains("revoked"), "{after}");
    }
}

#[test]
fn a_token_for_something_unknown_is_worth_nothing_and_the_log_says_so() {
    let site = Site::with(&["--log-in-attempts", "100"]);
    let token = site.token(&["odd"]);
    let bearer = format!("Bearer {token}");
    assert_eq!(site.upload(&bearer, &hello("hello", 1)), 201);
    // As a newer version would write, or somebody by hand.
    for scope in ["mirror", "", "Upload", "upload "] {
        site.sql(&format!("UPDATE token SET scope = '{scope}'"));
        assert_eq!(site.upload(&bearer, &hello("hello", 2)), 401, "{scope:?}");
        for target in ["/metrics", "/audit"] {
            assert_eq!(site.get(target, &token).status, 401, "{scope:?}");
        }
        let basic = basic(("ci", &token));
        assert_eq!(site.upload(&basic, &hello("hello", 2)), 401, "{scope:?}");
    }
    site.sql("UPDATE token SET scope = 'upload'");
    assert_eq!(site.upload(&bearer, &hello("hello", 2)), 201);
    wait_until("it is in the log", || {
        site.process.log().contains("token odd is refused")
    });
}

#[test]
fn when_a_token_was_used_last_is_listed_and_those_that_nobody_uses_are_told() {
    let site = Site::new();
    let used = site.token(&["used"]);
    let _unused = site.token(&["unused"]);
    let last_used = |name: &str| -> Value {
        let list: Value = serde_json::from_str(&site.db(&["token-list", "--json"])).unwrap();
        let tokens = list["tokens"].as_array().unwrap();
        let token = tokens.iter().find(|token| token["name"] == name);
        token.unwrap()["used"].clone()
    };
    assert_eq!(last_used("used"), Value::Null);
    // At midnight it may be one or the other.
    let today = || builder_web::Clock::System.now().to_rfc3339()[..10].to_owned();
    let begun = today();
    assert_eq!(
        site.upload(&format!("Bearer {used}"), &hello("hello", 1)),
        201
    );
    let is_of_today = || {
        let noted = last_used("used");
        [&begun, &today()].into_iter().any(|day| noted == **day)
    };
    wait_until("its use is noted", is_of_today);
    assert_eq!(last_used("unused"), Value::Null);
    assert!(site.db(&["token-list"]).contains("LAST USED"));
    // Days later it is another one; the same day nothing is written.
    site.sql("UPDATE token SET used_d = used_d - 2 WHERE name = 'used'");
    assert_eq!(site.upload(&basic(("ci", &used)), &hello("hello", 2)), 201);
    wait_until("its use is noted again", is_of_today);
    let told = || {
        let arguments = site.arguments(&["doctor", "--json", "-c", "/nonexistent"]);
        let output = run(site.directory.path(), BUILDER_WEB, &arguments);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = json["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["check"] == "tokens")
            .map(|finding| {
                let of = |name: &str| finding[name].as_str().unwrap().to_owned();
                format!("{}: {}: {}", of("level"), of("what"), of("mend"))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(), [""; 0]);
    let day = builder_web::Clock::System.now().days();
    site.sql(&format!(
        "UPDATE token SET created_d = {}; UPDATE token SET expires_d = {}, expires_ps = 0
         WHERE name = 'used'",
        day - 100,
        day + 3
    ));
    let both = told();
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(
        both[0].starts_with("warning: token used is worth nothing in 3 days: builder-db token-add")
    );
    assert!(
        both[1]
            .starts_with("note: token unused was not used for 100 days: builder-db token-revoke")
    );
    // What is worth nothing any more is no news.
    site.db(&["token-revoke", "unused"]);
    site.sql("UPDATE token SET expires_d = 1");
    assert_eq!(told(), [""; 0]);
    site.sql("UPDATE token SET expires_d = NULL, scope = 'mirror', revoked_d = NULL");
    assert_eq!(told().len(), 2);
}

#[test]
fn a_token_for_admin_reads_metrics_and_audit_and_uploads_nothing() {
    let site = Site::new();
    let admin = site.token(&["--scope", "admin", "ops"]);
    let upload = site.token(&["builds"]);
    assert_eq!(
        site.upload(&format!("Bearer {admin}"), &hello("hello", 1)),
        403
    );
    assert_eq!(
        site.upload(&format!("Bearer {upload}"), &hello("hello", 1)),
        201
    );
    for target in ["/metrics", "/audit"] {
        assert_eq!(site.get(target, &admin).status, 200, "{target}");
        assert_eq!(site.get(target, &upload).status, 403, "{target}");
        assert_eq!(site.get(target, "bwt_guess").status, 401, "{target}");
        let answer = exchange(site.process.address, "GET", target, &[], b"");
        assert_eq!(answer.status, 401, "{target}");
    }
    assert!(
        site.get("/metrics", &admin)
            .text()
            .contains("builder_web_uploads_total")
    );
    let first = site.get("/audit?count=2", &admin).json();
    assert_eq!(first["audit"].as_array().unwrap().len(), 2);
    let next = site.get(first["next"].as_str().unwrap(), &admin).json();
    assert_ne!(first["audit"][1]["id"], next["audit"][0]["id"]);
    // What goes on is of the same user, action and outcome.
    let of_tokens = site.get("/audit?action=token-add", &admin).json();
    let who = of_tokens["audit"][0]["who"].as_str().unwrap().to_owned();
    let mut target = format!("/audit?count=1&user={who}&action=token-add&outcome=done");
    let mut of_tokens = Vec::new();
    loop {
        let part = site.get(&target, &admin).json();
        of_tokens.extend(part["audit"].as_array().unwrap().clone());
        let Some(next) = part["next"].as_str() else {
            break;
        };
        next.clone_into(&mut target);
    }
    assert_eq!(of_tokens.len(), 2);
    assert!(of_tokens.iter().all(|entry| entry["action"] == "token-add"));
    for slip in ["action=tokenadd", "outcome=good", "before=x", "count=many"] {
        let answer = site.get(&format!("/audit?{slip}"), &admin);
        assert_eq!(answer.status, 400, "{slip}: {}", answer.text());
    }
    let done = site.get("/audit?action=upload&outcome=done", &admin).json();
    assert_eq!(done["audit"][0]["who"], "ci (token builds)");
    assert_eq!(done["audit"].as_array().unwrap().len(), 1);
}

#[test]
fn guessing_is_slowed_down_where_operators_read_as_it_is_at_uploads() {
    let site = Site::with(&["--log-in-delay", "60"]);
    let admin = site.token(&["--scope", "admin", "ops"]);
    let get = |target: &str, authorization: &str| {
        let headers = [("authorization", authorization)];
        exchange(site.process.address, "GET", target, &headers, b"")
    };
    for number in 0..5 {
        let target = ["/metrics", "/audit"][number % 2];
        let answer = get(target, &format!("Bearer bwt_guess{number}"));
        assert_eq!(answer.status, 401, "{number}");
    }
    // The sixth is too soon, whichever of the URLs it is for.
    for target in ["/metrics", "/audit"] {
        let answer = get(target, "Bearer bwt_guess");
        assert_eq!(answer.status, 429, "{target}");
        assert!(answer.header("retry-after").is_some(), "{target}");
    }
    assert_eq!(site.upload("Bearer bwt_guess", &hello("hello", 1)), 429);
    let as_user = basic(("ci", "guess"));
    for _ in 0..5 {
        assert_eq!(get("/audit", &as_user).status, 401);
    }
    assert_eq!(get("/audit", &as_user).status, 429);
    // Nobody guesses the right one.
    assert_eq!(site.get("/metrics", &admin).status, 200);
    assert_eq!(site.get("/audit", &admin).status, 200);
    wait_until("it is on record", || {
        let refused = site.audit(&["--refused", "--action", "log-in"]);
        let mut refused = refused.iter();
        refused.any(|entry| {
            entry["subject"] == "/audit"
                && entry["detail"] == "too soon after others that were wrong"
        })
    });
}

#[test]
fn a_token_for_a_job_to_which_it_adds_nothing_yet_is_made_and_that_is_told() {
    let site = Site::new();
    assert_eq!(
        site.upload(&basic(("ci", "password")), &hello("hello", 1)),
        201
    );
    site.user("user-add", "bob", &[]);
    site.db(&["access-add", "bob", "hello"]);
    let said = |user: &str, name: &str, jobs: &[&str]| {
        let mut arguments = vec!["token-add", "--user", user, name];
        for job in jobs {
            arguments.extend(["--job", job]);
        }
        let output = run(
            site.directory.path(),
            BUILDER_WEB,
            &site.arguments(&arguments),
        );
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.starts_with(b"bwt_"));
        let said = String::from_utf8(output.stderr).unwrap();
        let notes = said.lines().filter(|line| line.starts_with("note: "));
        notes.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(said("ci", "a", &["hello"]), [""; 0]);
    assert_eq!(said("ci", "b", &[]), [""; 0]);
    assert_eq!(said("bob", "c", &["hello"]), [""; 0]);
    let yet = said("ci", "d", &["hello", "typojob"]);
    assert_eq!(yet.len(), 1, "{yet:?}");
    assert!(yet[0].contains("there is no job typojob yet"), "{yet:?}");
    assert!(yet[0].contains("builder-db token-revoke d"), "{yet:?}");
    let never = said("bob", "e", &["typojob"]);
    assert!(never[0].contains("bob is restricted"), "{never:?}");
    site.db(&["access-remove", "bob", "hello"]);
    let not = said("bob", "f", &["hello"]);
    assert!(
        not[0].contains("builder-db access-add bob hello"),
        "{not:?}"
    );
}
