//! The page of a job: what it says at its head, of now and of the past, where that leads, and how jobs
//! are followed by it. On a server, as people and programs read it.

use std::collections::BTreeSet;

use builder_store::removal::{Goal, Keep};
use builder_web::Clock;
use builder_web::input_changes::{Comparisons, InputChanges, Known};
use serde_json::Value;

use crate::build::{Build, build, failed};
use crate::program::succeeds;
use crate::server::{ALICE, CHEAP, Server, now, operator, wait_until};

const DAY: i64 = 24 * 60 * 60;

/// A build of `hello` that started so many days later.
fn hello(number: u128, day: i64, output: &str) -> Build {
    build("hello", number)
        .later(day * DAY)
        .file("bin/hello.hvt", output)
}

/// One that failed, and why.
fn disk_full(number: u128, day: i64) -> Build {
    failed("hello", number, &["cp: No space left on device"]).later(day * DAY)
}

/// The part of the page that is about a platform.
fn section<'a>(html: &'a str, platform: &str) -> &'a str {
    let mut sections = html.split("<section class=\"history\"").skip(1);
    let found = sections.find(|section| section.contains(&format!("\">{platform}")));
    let section = found.unwrap_or_else(|| panic!("nothing of {platform} in {html}"));
    section.split("</section>").next().unwrap()
}

/// A paragraph with its links, between marks of its class.
fn paragraph<'a>(html: &'a str, class: &str) -> &'a str {
    let begin = format!("<p class=\"{class}\">");
    let rest = html.split(&begin).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("no {class} in {html}"));
    rest.split("</p>").next().unwrap()
}

/// Its text alone.
fn text(html: &str) -> String {
    let parts = html.split('<').enumerate();
    let texts = parts.map(|(at, part)| match at {
        0 => part,
        _ => part.split_once('>').map_or("", |(_, text)| text),
    });
    texts.collect::<String>().trim().to_owned()
}

fn links(html: &str) -> Vec<String> {
    let links = html.split("href=\"").skip(1);
    let links = links.map(|link| link.split('"').next().unwrap().replace("&#38;", "&"));
    links.collect()
}

/// On `debian-12` reproduced, then no more; on `freebsd-14` reproduced, and the newest failed.
fn told() -> (Server, Vec<Build>) {
    let freebsd = |build: Build| build.platform("freebsd-14");
    let builds = vec![
        hello(1, 0, "one").input("a"),
        hello(2, 1, "one").input("a"),
        hello(3, 2, "two").input("b"),
        hello(4, 3, "three").input("b"),
        hello(5, 4, "four"),
        freebsd(hello(6, 5, "five").input("f")),
        freebsd(hello(7, 6, "five").input("f")),
        freebsd(disk_full(8, 7)),
        freebsd(disk_full(9, 8)),
    ];
    (Server::of(&builds), builds)
}

#[test]
fn the_first_screen_says_since_when_and_where_what_changed() {
    let (server, builds) = told();
    let html = server.page("/job/hello");
    let debian = section(&html, "debian-12");
    let standing = paragraph(debian, "standing");
    let said = text(standing);
    assert!(
        said.starts_with(
            "Reproduced for 2 builds, not since 2026-05-14. The first bad build is \
             2026-05-14 04:12:33Z; between the build before and it, "
        ),
        "{said}"
    );
    let compared = format!("/compare/{}/{}", builds[1].uuid, builds[2].uuid);
    assert_eq!(
        links(standing),
        [builds[2].url(), builds[1].url(), compared]
    );
    let freebsd = section(&html, "freebsd-14");
    let standing = paragraph(freebsd, "standing");
    assert_eq!(
        text(standing),
        "Reproduced for 2 builds, since 2026-05-17, each by the same uploader. The last 2 builds failed."
    );
    assert_eq!(links(standing), [builds[5].url()]);
    // The same for programs.
    let json = server.json("/api/v1/jobs/hello/history");
    let of = |platform: &str| {
        let histories = json["histories"].as_array().unwrap().iter();
        let mut found = histories.filter(|history| history["platform"] == platform);
        found.next().unwrap()["standing"].clone()
    };
    assert_eq!(of("freebsd-14")["told"], text(standing));
    assert_eq!(of("freebsd-14")["reproduced_builds"], 2);
    let debian = of("debian-12");
    assert_eq!(debian["kind"], "not-reproducible");
    assert_eq!(debian["since"]["uuid"], builds[2].uuid.to_string());
    assert_eq!(debian["before"]["uuid"], builds[1].uuid.to_string());
}

#[test]
fn the_first_screen_has_the_download_or_why_there_is_none() {
    let (server, builds) = told();
    let html = server.page("/job/hello");
    let debian = section(&html, "debian-12");
    let heading = debian.split("</h2>").next().unwrap();
    assert_eq!(
        links(heading),
        [builds[4].url()],
        "the state is that of its build"
    );
    assert!(text(heading).ends_with("changed"), "{heading}");
    let get = paragraph(debian, "get");
    let file = format!("{}/f/bin/hello.hvt", builds[4].url());
    assert_eq!(links(get), [file, builds[4].url()]);
    let digest = builder_store::Sha256::of(b"four").to_hex();
    assert!(
        get.contains(&format!("SHA256:{digest}")) && get.contains("4 B"),
        "{get}"
    );
    assert!(!debian.contains("class=\"why\""));
    let freebsd = section(&html, "freebsd-14");
    let get = text(paragraph(freebsd, "get"));
    assert!(get.contains("latest successful build"), "{get}");
    assert!(get.contains("reproduced by 1, same uploader"), "{get}");
    let why = paragraph(freebsd, "why");
    assert!(
        text(why).contains("failed: Disk full, told by line 1: cp: No space left"),
        "{why}"
    );
    let line = format!("{}/console.html#L1", builds[8].url());
    assert_eq!(links(why), [builds[8].url(), line]);
}

/// Adds builds of the first one's input and output to what is kept, an hour after one another.
fn add_copies(server: &Server, from: u32, to: u32) {
    let copies = format!(
        "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to})
         INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, result_msg,
           console, script, platform, main_binary, user, job, input_id)
         SELECT printf('f63a5b8a-9ab3-40a3-8cfc-%012x', i), start_d + 10 + i / 24,
           i % 24 * 3600000000000000, finish_d + 10 + i / 24, i % 24 * 3600000000000000,
           result_code, result_msg, console, script, platform, NULL, user, job, input_id
         FROM build b, n WHERE b.id = 1;
         INSERT INTO build_artifact (filepath, sha256, size, build)
         SELECT a.filepath, a.sha256, a.size, b.id FROM build b, build_artifact a
         WHERE b.id > 1 AND b.platform = 'debian-12' AND a.build = 1
           AND NOT EXISTS (SELECT 1 FROM build_artifact o WHERE o.build = b.id);
         UPDATE build SET main_binary = (SELECT a.id FROM build_artifact a
           WHERE a.build = build.id AND a.filepath LIKE 'bin/%')"
    );
    succeeds(server.datadir(), "sqlite3", &["builder.sqlite3", &copies]);
}

#[test]
fn neither_a_run_nor_a_platform_ends_where_a_page_does() {
    let server = Server::of(&[
        hello(1, 0, "one").input("a"),
        hello(2, 1, "two").platform("rare-1"),
    ]);
    add_copies(&server, 3, 402);
    for known in ["before our tables have followed", "after"] {
        // One that remembers no page.
        let server = server.again(Clock::Stopped(now()), |_| {});
        let html = server.page("/job/hello");
        let rare = section(&html, "rare-1");
        assert!(rare.contains(&hello(2, 0, "").url()), "{known}");
        assert_eq!(
            text(paragraph(rare, "standing")),
            "No input was built a second time yet, so it is not known whether the builds can be reproduced."
        );
        if known == "after" {
            assert_eq!(
                text(paragraph(section(&html, "debian-12"), "standing")),
                "Reproduced for 401 builds, since 2026-05-12, each by the same uploader."
            );
        } else {
            assert!(
                html.contains("for at least 300 builds, since before"),
                "{html}"
            );
        }
        server.app.store().catch_up().unwrap();
    }
    assert!(server.page("/job/hello?platform=rare-1").contains("rare-1"));
}

/// What a page says of an output, and what stands between it and the output before.
fn outputs(html: &str) -> Vec<&str> {
    html.split("<article class=\"output\">").skip(1).collect()
}

/// The builds that a list names, on all its pages.
fn listed(server: &Server, target: &str) -> BTreeSet<String> {
    let (mut found, mut page) = (BTreeSet::new(), Some(target.to_owned()));
    while let Some(target) = page {
        let html = server.page(&target);
        let links = links(&html);
        page = links.iter().find(|link| link.contains("cursor=")).cloned();
        let builds = links.iter().filter_map(|link| {
            let rest = link.strip_prefix("/job/hello/build/")?;
            Some(rest.get(..36)?.to_owned())
        });
        found.extend(builds);
    }
    found
}

#[test]
fn a_group_that_a_page_cuts_says_so_and_leads_to_all_its_builds() {
    let first = hello(1, 0, "one").input("a");
    let before = hello(2, -1, "zero").input("b");
    let server = Server::of(&[first.clone(), before.clone()]);
    add_copies(&server, 3, 402);
    for follows in [false, true] {
        let server = server.again(Clock::Stopped(now()), |_| {});
        let html = server.page("/job/hello");
        let [newest] = outputs(&html)[..] else {
            panic!("{html}");
        };
        let counted = paragraph(newest, "faint");
        assert!(
            text(counted)
                .starts_with("at least 300 builds, since before 2026-05-26; before the newest: "),
            "{counted}"
        );
        assert!(!newest.contains("class=\"between\""), "{newest}");
        let all = links(counted).pop().unwrap();
        assert_eq!(listed(&server, &all).len(), 401);

        let links_of_page = links(&html);
        let older = links_of_page.iter().find(|link| link.contains("before="));
        let html = server.page(older.unwrap());
        let [rest, zero] = outputs(&html)[..] else {
            panic!("{html}");
        };
        let counted = text(paragraph(rest, "faint"));
        assert!(
            counted.starts_with("at least 101 builds, since 2026-05-12; before"),
            "{counted}"
        );
        let compared = format!("/compare/{}/{}", before.uuid, first.uuid);
        assert_eq!(links(paragraph(rest, "between")), [compared]);
        assert!(!zero.contains("class=\"faint\""), "{zero}");

        let part = server.json("/api/v1/jobs/hello/history");
        let group = &part["outputs"][0];
        assert_eq!(group["builds"].as_array().unwrap().len(), 300);
        assert_eq!([&group["more_older"], &group["more_newer"]], [true, false]);
        assert!(group["before"].is_null());
        let cursor = part["next_cursor"].as_str().unwrap();
        let part = server.json(&format!("/api/v1/jobs/hello/history?cursor={cursor}"));
        let group = &part["outputs"][0];
        assert_eq!([&group["more_older"], &group["more_newer"]], [false, true]);
        assert_eq!(group["before"]["uuid"], before.uuid.to_string());
        if !follows {
            server.app.store().catch_up().unwrap();
        }
    }
}

#[test]
fn what_changed_is_told_where_the_builds_of_a_page_end() {
    let first = hello(1, 0, "one").input("a");
    let before = hello(2, -1, "zero").input("b");
    let server = Server::of(&[first.clone(), before.clone()]);
    add_copies(&server, 3, 301);
    let html = server.page("/job/hello");
    let [newest] = outputs(&html)[..] else {
        panic!("{html}");
    };
    let counted = text(paragraph(newest, "faint"));
    assert!(
        counted.starts_with("300 builds, since 2026-05-12;"),
        "{counted}"
    );
    let compared = format!("/compare/{}/{}", before.uuid, first.uuid);
    assert_eq!(links(paragraph(newest, "between")), [compared]);
}

#[test]
fn an_output_that_comes_back_is_told_each_time_with_what_changed() {
    let builds: Vec<Build> = (1..=4)
        .map(|number| {
            let day = i64::try_from(number).unwrap();
            let output = if number % 2 == 0 { "two" } else { "one" };
            hello(number, day, output).input("a")
        })
        .collect();
    let server = Server::of(&builds);
    let html = server.page("/job/hello");
    let shown = outputs(&html);
    assert_eq!(shown.len(), 4);
    for (at, shown) in shown.iter().enumerate() {
        let newer = &builds[3 - at];
        let links = links(shown);
        assert!(links.contains(&newer.url()), "{shown}");
        let before = 2usize.checked_sub(at).map(|before| &builds[before]);
        let compared = before.map(|before| format!("/compare/{}/{}", before.uuid, newer.uuid));
        assert_eq!(shown.contains("class=\"between\""), compared.is_some());
        if let Some(compared) = compared {
            assert!(links.contains(&compared), "{shown}");
        }
        let same = 1usize.checked_sub(at).map(|same| &builds[same]);
        assert_eq!(shown.contains("The same output as on"), same.is_some());
        if let Some(same) = same {
            assert!(links.contains(&same.url()), "{shown}");
        }
    }
    let part = server.json("/api/v1/jobs/hello/history");
    let uuid = |group: usize, member: &str| part["outputs"][group][member]["uuid"].clone();
    assert_eq!(uuid(0, "before"), builds[2].uuid.to_string());
    assert_eq!(uuid(0, "same_as"), builds[1].uuid.to_string());
    assert!(part["outputs"][2]["same_as"].is_null());
    // To programs that know the OCaml server, each output once.
    assert_eq!(
        server.json("/job/hello")["builds"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn what_comes_in_moves_nothing_on_the_pages_that_follow() {
    let builds: Vec<Build> = (1..=45)
        .map(|number| hello(number, i64::try_from(number).unwrap(), &number.to_string()))
        .collect();
    let server = Server::of(&builds);
    let of_page = |html: &str| -> Vec<String> {
        let newest = |output: &&str| {
            let links = links(output).into_iter();
            let mut builds = links.filter(|link| link.starts_with("/job/hello/build/"));
            builds.find(|link| !link.contains("/f/")).unwrap()
        };
        outputs(html).iter().map(newest).collect()
    };
    let older = |html: &str| {
        let links = links(html).into_iter();
        let mut older = links.filter(|link| link.contains("upto="));
        older.find(|link| link.contains("page="))
    };
    let html = server.page("/job/hello");
    let mut seen = of_page(&html);
    let part = server.json("/api/v1/jobs/hello/history");
    let of_part = |part: &Value| -> Vec<String> {
        let groups = part["outputs"].as_array().unwrap().iter();
        let uuids = groups.map(|group| group["newest"]["uuid"].as_str().unwrap().to_owned());
        uuids.collect()
    };
    let mut told = of_part(&part);
    let (mut next, mut cursor) = (older(&html), part["next_cursor"].clone());
    for number in 101..=102 {
        server.keep(&hello(number, i64::try_from(number).unwrap(), "new"));
        let html = server.page(&next.unwrap());
        seen.extend(of_page(&html));
        assert!(
            text(paragraph(&html, "past")).starts_with("Builds up to 2026-06-26"),
            "{html}"
        );
        next = older(&html[html.find("<nav class=\"pages\"").unwrap_or(0)..])
            .filter(|link| link.contains("page=3"));
        let part = server.json(&format!(
            "/api/v1/jobs/hello/history?cursor={}",
            cursor.as_str().unwrap()
        ));
        told.extend(of_part(&part));
        cursor = part["next_cursor"].clone();
    }
    assert!(cursor.is_null());
    let urls: Vec<String> = builds.iter().rev().map(Build::url).collect();
    assert_eq!(seen, urls);
    let uuids: Vec<String> = builds
        .iter()
        .rev()
        .map(|build| build.uuid.to_string())
        .collect();
    assert_eq!(told, uuids);
}

#[test]
fn an_older_page_tells_the_past_as_the_past() {
    let server = Server::of(&[hello(1, 0, "one").input("a")]);
    add_copies(&server, 3, 402);
    server.app.store().catch_up().unwrap();
    let uuid = |number| build("hello", number).uuid;
    let older = server.page(&format!("/job/hello?before={}", uuid(103)));
    assert_eq!(
        text(paragraph(&older, "past")),
        "Builds before 2026-05-26 07:00:00Z. How it is now"
    );
    let section = section(&older, "debian-12");
    for now in [
        "class=\"standing\"",
        "class=\"get\"",
        "class=\"state",
        "<strong>",
    ] {
        assert!(!section.contains(now), "{now}: {section}");
    }
    assert!(section.contains(&build("hello", 102).url()));
    assert!(!section.contains(&build("hello", 103).url()));
    let shared = older.split("og:description\" content=\"").nth(1).unwrap();
    assert!(!shared.split('"').next().unwrap().contains("Reproduced"));
    // The second page of the newest builds does not repeat what the first one says.
    let second = server.page("/job/hello/failed?page=2");
    assert!(!second.contains("class=\"history\""));

    for (before, status, why) in [
        ("nonsense".to_owned(), 400, "uuid of a build"),
        (uuid(9_999).to_string(), 404, "no build"),
    ] {
        let answer = server.get(&format!("/job/hello?before={before}"));
        assert_eq!(answer.status, status, "{before}");
        assert!(answer.text().contains(why), "{}", answer.text());
    }
    server.keep(&build("other", 5_000).file("bin/x", "x"));
    let foreign = server.get(&format!("/job/hello?before={}", uuid(5_000)));
    assert_eq!(foreign.status, 404);
}

#[test]
fn a_page_stays_where_it_was_when_the_build_it_begins_at_is_removed() {
    let server = Server::of(&[hello(1, 0, "one").input("a")]);
    add_copies(&server, 3, 402);
    let first = server.json("/api/v1/jobs/hello/history");
    let next = first["next_cursor"].as_str().unwrap();
    let last = server.page("/job/hello");
    let older = links(&last)
        .into_iter()
        .find(|link| link.contains("before="))
        .unwrap();
    let of = |json: &serde_json::Value| -> Vec<String> {
        let builds = json["histories"][0]["builds"].as_array().unwrap().iter();
        builds.map(|build| build["uuid"].to_string()).collect()
    };
    let target = format!("/api/v1/jobs/hello/history?cursor={next}");
    let before = of(&server.json(&target));
    assert_eq!(before.len(), 100);
    // By another program.
    let gone = build("hello", 103).uuid;
    assert!(older.contains(&gone.to_string()), "{older}");
    let remove = format!(
        "UPDATE build SET main_binary = NULL WHERE uuid = '{gone}';
         DELETE FROM build_artifact WHERE build = (SELECT id FROM build WHERE uuid = '{gone}');
         DELETE FROM build WHERE uuid = '{gone}'"
    );
    succeeds(server.datadir(), "sqlite3", &["builder.sqlite3", &remove]);
    assert_eq!(of(&server.json(&target)), before);
    assert_eq!(server.get(&older).status, 404);
    // By us, who know what was there.
    let last = hello(102, 0, "").uuid;
    let goal = Goal::Vacuum {
        jobs: Vec::new(),
        platform: None,
        keep: Keep::Latest(100),
    };
    server
        .app
        .store()
        .remove(&goal, &operator(), &now(), &mut |_| {})
        .unwrap();
    let page = server.page(&format!("/job/hello?before={last}"));
    assert_eq!(
        text(paragraph(&page, "past")),
        "Builds before 2026-05-26 06:00:00Z. How it is now"
    );
}

#[test]
fn links_keep_the_platform() {
    let (server, builds) = told();
    let platform = "platform=freebsd-14";
    let mut pages = vec![
        format!("/job/hello?{platform}"),
        format!("/job/hello/failed?{platform}"),
        format!("/failed-builds?{platform}"),
        format!("/failed-builds?job=hello&{platform}"),
        format!("/?{platform}"),
    ];
    for build in &builds[5..] {
        pages.push(build.url());
        pages.push(format!("{}/console.html", build.url()));
    }
    pages.push(format!("/compare/{}/{}", builds[5].uuid, builds[6].uuid));
    for page in &pages {
        let html = server.page(page);
        let main = html.split("<main").nth(1).unwrap();
        let main = main.split("</main>").next().unwrap();
        // Where another platform is chosen.
        let main = match main.split_once("<nav aria-label=\"Platform\">") {
            Some((before, rest)) => before.to_owned() + rest.split_once("</nav>").unwrap().1,
            None => main.to_owned(),
        };
        let mut kept = 0;
        for link in links(&main) {
            let path = link.split(['?', '#']).next().unwrap();
            let filtered = match path {
                "/failed-builds" => link != "/failed-builds",
                "/job/hello" | "/job/hello/failed" | "/job/hello/badge.svg" => true,
                path => path.ends_with(".atom"),
            };
            if filtered {
                assert!(link.contains(platform), "{page}: {link}");
                kept += 1;
            }
        }
        assert!(kept > 0, "{page}");
    }
}

#[test]
fn who_repeats_a_build_is_told_from_others() {
    let (one, two) = (hello(1, 0, "o").input("a"), hello(2, 1, "o").input("a"));
    let server = Server::of(&[one.clone(), two]);
    let sentence = |server: &Server| {
        let html = server.page(&one.url());
        let strong = html.split("<strong>").nth(1).unwrap();
        strong.split("</strong>").next().unwrap().to_owned()
    };
    assert_eq!(
        sentence(&server),
        "Reproduced by 1 other build, by the same uploader: same input, same output."
    );
    assert!(server.page("/").contains("reproduced by 1, same uploader"));
    let badge = |server: &Server| server.get("/job/hello/badge.svg").text();
    assert!(badge(&server).contains("<title>hello: reproduced by 1, same uploader</title>"));
    let state =
        |server: &Server| server.json(&format!("/api/v1/builds/{}", one.uuid))["state"].clone();
    assert_eq!(state(&server)["uploaders"], 0);
    // A ring with a dot, and a full circle.
    let (same, others) = (
        "<circle class=\"line\" cx=\"8\" cy=\"8\" r=\"5.5\"/><circle cx=\"8\" cy=\"8\" r=\"2.5\"/>",
        "<circle cx=\"8\" cy=\"8\" r=\"6.5\"/>",
    );
    let since = |server: &Server, said: &str, by_others: u64, circle: &str| {
        let html = server.page("/job/hello");
        let debian = section(&html, "debian-12");
        let expected = format!("Reproduced for 2 builds, since 2026-05-12{said}");
        assert_eq!(text(paragraph(debian, "standing")), expected);
        assert_eq!(debian.matches(circle).count(), 2, "{debian}");
        let part = server.json("/api/v1/jobs/hello/history?platform=debian-12");
        let standing = &part["histories"][0]["standing"];
        assert_eq!(standing["reproduced_by_others"], by_others);
        assert_eq!(standing["told"], expected);
    };
    since(&server, ", each by the same uploader.", 0, same);

    server.allow(ALICE.0, "hello");
    let third = hello(3, 2, "o").input("a").platform("q");
    assert_eq!(server.upload_bytes(ALICE, third.exec()).status, 201);
    assert_eq!(
        sentence(&server),
        "Reproduced by 2 other builds, also by another uploader: same input, same output."
    );
    assert_eq!(state(&server)["uploaders"], 1);
    since(&server, ".", 2, others);
    assert_eq!(state(&server)["reproduced_by"], 2);
    assert!(!server.page("/").contains("same uploader</span></td>"));
    server.add_user(("carol", "pw"), false, CHEAP);
    let fourth = hello(4, 3, "o").input("a").platform("q");
    assert_eq!(
        server.upload_bytes(("carol", "pw"), fourth.exec()).status,
        201
    );
    assert_eq!(
        sentence(&server),
        "Reproduced by 3 other builds, also by 2 other uploaders: same input, same output."
    );
    let title = server.page(&one.url());
    let title = title.split("<title>").nth(1).unwrap().to_owned();
    assert!(
        title.starts_with("hello on debian-12: reproduced by 3, 2026-05-12 04:12:33Z"),
        "{title}"
    );
}

#[test]
fn what_changed_is_counted_before_anybody_looks() {
    let server = Server::of(&[hello(1, 0, "one").input("a")]);
    server.upload(&hello(2, 1, "two").input("b"));
    let count = "SELECT COUNT(*) FROM derived WHERE kind = 'input-changes'";
    wait_until("it is counted", || {
        let found = succeeds(server.datadir(), "sqlite3", &["builder-web.sqlite3", count]);
        String::from_utf8_lossy(&found).trim() == "1"
    });
    let html = server.page("/job/hello");
    let between = paragraph(&html, "between");
    assert!(text(between).contains("1 variable changed"), "{between}");
}

/// The titles of a feed, and when each entry was changed.
fn feed(server: &Server, target: &str) -> Vec<(String, String)> {
    let answer = server.get(target);
    assert_eq!(answer.status, 200, "{target}");
    let xml = answer.text();
    let part = |entry: &str, name: &str| {
        let rest = entry.split(&format!("<{name}>")).nth(1).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    let entries = xml.split("<entry>").skip(1);
    entries
        .map(|entry| (part(entry, "title"), part(entry, "updated")))
        .collect()
}

#[test]
fn a_feed_tells_when_a_job_ceases_to_be_reproducible() {
    let server = Server::of(&[hello(1, 0, "one").input("a"), hello(2, 1, "one").input("a")]);
    let (all, of_job) = ("/not-reproducible.atom", "/job/hello/not-reproducible.atom");
    assert_eq!(feed(&server, all), []);
    server.keep(&hello(3, 2, "two").input("b"));
    assert_eq!(feed(&server, of_job), []);
    // Years later: what is told then is of then.
    server.keep(&hello(4, 400, "three").input("b").platform("q"));
    let told = |platform: &str| {
        let title = format!("hello on {platform}: no longer reproducible");
        (title, "2027-06-16T04:12:53Z".to_owned())
    };
    assert_eq!(feed(&server, all), [told("q"), told("debian-12")]);
    assert_eq!(feed(&server, of_job), feed(&server, all));
    assert_eq!(feed(&server, &format!("{of_job}?platform=q")), [told("q")]);
    let xml = server.get(of_job).text();
    let compared = format!("/compare/{}/{}", hello(4, 0, "").uuid, hello(3, 0, "").uuid);
    assert!(xml.contains(&compared), "{xml}");
    // More of the same is no news.
    server.keep(&hello(5, 401, "four").input("c"));
    server.keep(&hello(6, 402, "five").input("c"));
    assert_eq!(
        feed(&server, &format!("{of_job}?platform=debian-12")).len(),
        1
    );
    assert_eq!(server.get("/job/nowhere/not-reproducible.atom").status, 404);
}

#[test]
fn a_feed_calls_an_output_the_first_only_if_it_is() {
    let server = Server::of(&[hello(1, 0, "one"), hello(2, 1, "zero").platform("q")]);
    // More of the same than are looked through.
    add_copies(&server, 3, 1_102);
    server.app.store().catch_up().unwrap();
    let titles: Vec<String> = feed(&server, "/job/hello/changes.atom")
        .into_iter()
        .map(|(title, _)| title)
        .collect();
    assert_eq!(titles, [] as [&str; 0]);
    server.keep(&hello(2_000, 300, "two"));
    let changes = feed(&server, "/job/hello/changes.atom");
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].0, "hello on debian-12: the output changed");
    let of_q = feed(&server, "/job/hello/changes.atom?platform=q");
    assert_eq!(of_q[0].0, "hello on q: the first output");
}

#[test]
fn a_badge_without_a_platform_says_the_worst_of_those_built_on_of_late() {
    let badge = |server: &Server| {
        let svg = server.get("/job/hello/badge.svg").text();
        let title = svg.split("<title>").nth(1).unwrap();
        title.split('<').next().unwrap().to_owned()
    };
    let server = Server::of(&[
        disk_full(1, 0).platform("given-up"),
        hello(2, 40, "one"),
        hello(3, 41, "one"),
    ]);
    assert_eq!(badge(&server), "hello: unchanged");
    server.keep(&hello(4, 42, "x").platform("q"));
    assert_eq!(badge(&server), "hello: only built once on q");
    server.keep(&disk_full(5, 43).platform("q"));
    assert_eq!(badge(&server), "hello: failed on q");
    // A newer build elsewhere changes nothing about it.
    server.keep(&hello(6, 44, "one"));
    assert_eq!(badge(&server), "hello: failed on q");
}

#[test]
fn that_an_input_could_not_be_read_for_the_moment_is_not_kept() {
    let server = Server::new();
    let one = |job: &str, number: u128| {
        build(job, number)
            .file(&format!("bin/{job}.hvt"), "binary")
            .input(&format!("i{number}"))
    };
    // Of different jobs, so that nobody else compares them.
    server.keep(&one("hello", 1));
    server.keep(&one("other", 2));
    let store = server.app.store();
    let kept = |number| {
        let uuid = build("", number).uuid;
        let found = store.read(|tx| builder_store::builds::by_uuid(tx, uuid));
        found.unwrap().unwrap()
    };
    let (left, right) = (kept(1), kept(2));
    let of = |known: &Comparisons| store.read(|tx| known.of(tx, &left, &right)).unwrap();
    let known = Comparisons::default();
    assert_eq!(of(&known), Known::Pending);
    // A switch is larger than this.
    known.compute(store, 1);
    assert_eq!(of(&known), Known::Unreadable);
    assert!(!known.has_pending(), "it is not tried each time");
    // The next start has another limit.
    let known = Comparisons::default();
    assert_eq!(of(&known), Known::Pending);
    known.compute(store, 1 << 20);
    let changes = InputChanges {
        opam: 0,
        variables: 1,
        system: 0,
    };
    assert_eq!(of(&known), Known::Changes(changes));
    assert_eq!(of(&Comparisons::default()), Known::Changes(changes));
}

#[test]
fn what_was_removed_may_have_been_bad_already() {
    let server = Server::new();
    let bad = |number: u128, output: &str| {
        let later = i64::try_from(number).unwrap() * 24 * 60 * 60;
        build("hello", number)
            .later(later)
            .file("bin/hello.hvt", output)
            .input("i")
    };
    for build in [bad(1, "one"), bad(2, "another")] {
        assert_eq!(server.upload(&build).status, 201);
    }
    let standing = || server.json("/api/v1/jobs/hello/history")["histories"][0]["standing"].clone();
    let before = standing();
    let told = before["told"].as_str().unwrap();
    assert!(
        told.starts_with("Not reproducible since 2026-05-13."),
        "{told}"
    );
    assert_eq!(before["since_may_be_earlier"], false);
    assert_eq!(before["builds_before_removed"], false);
    crate::removed::vacuum(&server);
    let after = standing();
    let told = "Not reproducible since at least 2026-05-14. Builds before it were removed; the first bad \
                one that is kept is 2026-05-14 04:12:33Z.";
    assert_eq!(after["told"], told);
    assert_eq!(after["since_may_be_earlier"], true);
    assert_eq!(after["builds_before_removed"], true);
    let page = server.page("/job/hello");
    assert_eq!(text(paragraph(&page, "standing")), told);
}
