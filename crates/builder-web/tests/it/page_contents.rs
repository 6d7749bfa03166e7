//! Pages: what is on the front page, those of a job and a build, and of failed builds.

use std::time::Duration;

use builder_exec::Timestamp;
use builder_store::Sha256;
use builder_web::Clock;

use crate::build::{Build, MIRAGE, build, switch, unikernel};
use crate::pages::hello;
use crate::server::{BUILDER, Server, basic, now, wait_until};

#[test]
fn the_front_page_shows_the_newest_build_of_each_platform_and_the_newest_success() {
    let server = Server::of(&[
        build("hello", 1).file("bin/x", "1"),
        build("hello", 2).later(10).file("bin/x", "2"),
        build("hello", 3)
            .later(5)
            .platform("freebsd-14")
            .file("bin/x", "3"),
        build("hello", 4).later(20),
    ]);
    let page = server.page("/");
    for (number, shown) in [(1, false), (2, true), (3, true), (4, true)] {
        assert_eq!(
            page.contains(&build("hello", number).url()),
            shown,
            "{number}"
        );
    }
    assert!(page.find("debian-12").unwrap() < page.find("freebsd-14").unwrap());
    assert!(page.contains(&format!("SHA256:{}", Sha256::of(b"2"))));
    assert!(page.contains("2026-05-12 04:12:43Z"));
}

#[test]
fn a_job_that_says_nothing_of_itself_is_listed_all_the_same() {
    let server = Server::new();
    let manual = server.send(
        "POST",
        "/job/plain/platform/any/upload",
        &[("authorization", &basic(BUILDER))],
        "binary",
    );
    assert_eq!(manual.status, 201);
    for target in ["/", "/all-builds"] {
        let page = server.page(target);
        assert!(
            page.contains("Uncategorized") && page.contains("href=\"/job/plain\""),
            "{page}"
        );
    }
}

#[test]
fn jobs_without_a_build_of_late_are_off_the_front_page_unless_that_is_turned_off() {
    let server = Server::of(&[hello()]);
    let day = 24 * 60 * 60;
    let lists = |after_days: i64, expired: Option<u64>, target: &str| {
        let later = Timestamp::from_unix(now().unix_seconds() + after_days * day, 0).unwrap();
        let server = server.again(Clock::Stopped(later), |config| {
            config.expired_jobs = expired.map(|days| Duration::from_secs(days * 24 * 60 * 60));
        });
        server.page(target).contains("/job/hello")
    };
    assert!(lists(29, Some(30), "/"));
    assert!(!lists(31, Some(30), "/"));
    assert!(lists(31, Some(32), "/"));
    assert!(lists(10_000, None, "/"));
    assert!(lists(10_000, Some(30), "/all-builds"));
}

#[test]
fn a_job_leaves_the_front_page_when_its_time_has_come_without_a_restart() {
    let stopped = Server::new();
    let server = stopped.again(Clock::System, |config| {
        config.expired_jobs = Some(Duration::from_secs(2));
        config.limits.page_cache_time_max = Duration::ZERO;
    });
    server.add_user(("now", "pw"), false, crate::server::CHEAP);
    let begin = std::time::Instant::now();
    let manual = server.send(
        "POST",
        "/job/hello/platform/any/upload",
        &[("authorization", &basic(("now", "pw")))],
        "x",
    );
    assert_eq!(manual.status, 201);
    let listed = server.page("/").contains("/job/hello");
    // On a machine so slow that the time is over, nothing can be said.
    assert!(listed || begin.elapsed() > Duration::from_secs(1));
    wait_until("the job expires", || {
        !server.page("/").contains("/job/hello")
    });
    assert!(server.page("/all-builds").contains("/job/hello"));
}

#[test]
fn a_job_page_shows_what_the_job_is_and_keeps_the_platform_that_was_chosen() {
    let server = Server::of(&[
        hello(),
        build("hello", 2)
            .later(60)
            .platform("a,b")
            .file("bin/hello.hvt", "other")
            .file("README.md", "# Top"),
        build("hello", 3).later(70).platform("a,b"),
    ]);
    let page = server.page("/job/hello");
    for part in [
        "A hello unikernel",
        "<h3>Top</h3>",
        "/job/hello/failed\"",
        "/job/hello?platform=a,b\"",
        "/job/hello?platform=debian-12\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let chosen = server.page("/job/hello?platform=a,b");
    assert!(chosen.contains("/job/hello/failed?platform=a,b\""));
    assert!(chosen.contains(&build("hello", 2).url()) && !chosen.contains(&hello().url()));
    // It left nothing: it is told of as a failure, and is none of the outputs.
    let outputs = server.json("/job/hello?platform=a,b")["builds"].to_string();
    assert!(!outputs.contains(&build("hello", 3).uuid.to_string()));
    let (timeline, _) = chosen.split_once("<h2>Outputs</h2>").unwrap();
    assert!(timeline.contains(&build("hello", 3).url()));
    let failed = server.page("/job/hello/failed?platform=a,b");
    assert!(failed.contains("/job/hello?platform=a,b\""));
    assert!(failed.contains(&build("hello", 3).url()) && failed.contains(&build("hello", 2).url()));
    let none = server.get("/job/hello?platform=none");
    let none_there = r#"There are none on <span class="platform">none</span>."#;
    assert!(none.status == 200 && none.text().contains(none_there));
}

#[test]
fn failed_builds_are_listed_newest_first_in_pages() {
    let server = Server::of(
        &(1..=25)
            .map(|number| {
                let platform = if number == 7 { "a,b" } else { "debian-12" };
                build("hello", number)
                    .later(i64::try_from(number).unwrap())
                    .platform(platform)
            })
            .collect::<Vec<_>>(),
    );
    let shown = |target: &str| -> Vec<u128> {
        let page = server.page(target);
        let mut at: Vec<(usize, u128)> = (1..=25)
            .filter_map(|n| Some((page.find(&build("hello", n).url())?, n)))
            .collect();
        at.sort_unstable();
        at.into_iter().map(|(_, number)| number).collect()
    };
    let down = |from: u128, to: u128| -> Vec<u128> { (to..=from).rev().collect() };
    assert_eq!(shown("/failed-builds"), down(25, 6));
    assert!(
        server
            .page("/failed-builds")
            .contains("href=\"/failed-builds?count=20&#38;start=20\"")
    );
    assert_eq!(shown("/failed-builds?count=20&start=20"), down(5, 1));
    assert_eq!(shown("/failed-builds?count=3&start=1"), down(24, 22));
    assert_eq!(shown("/failed-builds?count=x&start=-1"), down(25, 6));
    assert_eq!(shown("/failed-builds?platform=a,b"), [7]);
    assert_eq!(shown("/failed-builds?count=99999999999"), down(25, 6));
    assert_eq!(shown("/failed-builds?count=4000000000"), down(25, 1));
    assert_eq!(shown("/failed-builds?count=-1").len(), 20);
    assert!(
        server
            .page("/failed-builds?start=4294967295&count=4294967295")
            .contains("There are no more: this list has 25.")
    );
    assert!(server.page("/failed-builds?start=25").contains(
        "There are no more: this list has 25. <a href=\"/failed-builds?count=20&#38;start=0\">"
    ));
    assert!(
        !server
            .page("/failed-builds?start=5")
            .contains("rel=\"next\"")
    );
}

#[test]
fn a_build_page_tells_whether_it_was_reproduced() {
    let main = |number, seconds, input: &str, output: &str| {
        build("hello", number)
            .later(seconds)
            .input(input)
            .file("bin/x", output)
    };
    let verdict = |builds: &[Build], says: &str, names: &[&Build]| {
        let server = Server::of(builds);
        let page = server.page(&builds[0].url());
        assert!(page.contains(says), "{says} in {page}");
        for build in names {
            assert!(page.contains(&build.url()), "{page}");
        }
    };
    let first = main(1, 0, "i", "o");
    let (again, third) = (
        main(2, 10, "i", "o").platform("other"),
        main(3, 20, "i", "o"),
    );
    let (other_output, other_input) = (main(4, 30, "i", "p"), main(5, 40, "j", "o"));
    verdict(
        std::slice::from_ref(&first),
        "Built once from this input",
        &[],
    );
    verdict(
        &[first.clone(), again.clone()],
        "Reproduced by 1 other build",
        &[&again],
    );
    verdict(
        &[first.clone(), again.clone(), third.clone()],
        "Reproduced by 2 other builds",
        &[&again, &third],
    );
    verdict(
        &[first.clone(), again.clone(), other_output.clone()],
        "Not reproducible",
        &[&other_output, &again],
    );
    verdict(
        &[first.clone(), other_input.clone()],
        "Built once from this input",
        &[&other_input],
    );
    verdict(
        &[build("hello", 6).file("bin/x", "x")],
        "Its input was not recorded",
        &[],
    );
    verdict(&[build("hello", 7)], "no main binary", &[]);
}

#[test]
fn a_build_page_shows_its_files_digests_devices_and_neighbours() {
    let before = build("hello", 2).later(-60).file("bin/hello.hvt", "before");
    let after = build("hello", 3).later(60).file("bin/hello.hvt", "after");
    let newest = build("hello", 4).later(120).file("bin/hello.hvt", "newest");
    let two = build("two", 5).file(
        "bin/two.hvt",
        unikernel(
            "hvt",
            &[("net", "service"), ("block", "disk"), ("net", "m")],
        ),
    );
    let none = build("none", 6).file("bin/none.spt", unikernel("spt", &[]));
    let server = Server::of(&[
        hello(),
        before.clone(),
        after.clone(),
        newest.clone(),
        two.clone(),
        none.clone(),
    ]);
    let page = server.page(&hello().url());
    for (path, content) in hello()
        .files
        .iter()
        .filter(|(path, _)| !path.ends_with(b"README.md"))
    {
        assert!(page.contains(&format!("/f/{}\"", String::from_utf8_lossy(path))));
        assert!(page.contains(&format!("SHA256:{}", Sha256::of(content))));
    }
    assert!(!page.contains("README.md"));
    for part in [
        "exited 0",
        "20 s",
        "2026-05-12 04:12:33Z",
        "debian-12",
        &before.url(),
        &after.url(),
        &newest.url(),
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let devices = |build: &Build| server.page(&build.url()).replace("&#34;", "'");
    assert!(devices(&hello()).contains("solo5 hvt with net devices 'service'"));
    assert!(
        devices(&two)
            .contains("solo5 hvt with block devices 'disk', and net devices 'service', 'm'")
    );
    assert!(devices(&none).contains("solo5 spt with no devices in solo5 manifest"));
}

#[test]
fn a_page_shows_an_upload_at_once_also_one_by_another_process() {
    let server = Server::of(&[hello()]);
    let other = server.again(Clock::Stopped(now()), |_| {});
    assert!(!server.page("/").contains("/job/second"));
    assert!(!other.page("/").contains("/job/second"));
    server.keep(&build("second", 2).file("bin/x", "x"));
    for server in [&server, &other] {
        assert!(server.page("/").contains("/job/second"));
    }
    assert!(!other.page("/job/second").contains("y.hvt"));
    server.keep(&build("second", 3).later(60).file("bin/y.hvt", "y"));
    assert!(other.page("/job/second").contains("y.hvt"));
}

#[test]
fn every_build_can_be_taken_to_another_server_and_the_page_says_what_that_leaves_out() {
    let bare = build("bare", 1);
    let full = build("full", 2).file("bin/x", "x");
    let server = Server::of(&[bare.clone(), full.clone()]);
    for build in [&bare, &full] {
        let page = server.page(&build.url());
        assert!(page.contains(&format!("href=\"{}/exec\"", build.url())));
        assert!(page.contains("Build hashes are not kept"));
        assert!(!page.contains("as it was uploaded"));
    }
}

#[test]
fn the_latest_build_is_among_other_outputs_only_if_its_output_is_another() {
    let one = build("hello", 1).file("bin/x", "x");
    let same = build("hello", 2).later(60).file("bin/x", "x");
    let other = build("hello", 3).later(120).file("bin/x", "y");
    let platform = r#"<span class="platform">debian-12</span>"#;
    let heading = &format!("<h2>Other outputs on {platform}</h2>");
    let server = Server::of(&[one.clone(), same.clone()]);
    let page = server.page(&one.url());
    assert!(!page.contains(heading));
    let same_output = format!("The latest build on {platform} has the same output");
    assert!(page.contains(&same_output));
    assert!(!server.page(&same.url()).contains("The latest build"));
    server.keep(&other);
    let page = server.page(&one.url());
    let (_, below) = page.split_once(heading).unwrap();
    assert!(below.contains("The latest build:"));
    assert!(!page.contains("has the same output"));
}

#[test]
fn a_front_page_of_many_jobs_leads_to_its_sections() {
    let server = Server::new();
    let keep = |number: u128| {
        let mut build = build(&format!("job-{number}"), number).file("bin/hello.hvt", "hello");
        if number.is_multiple_of(2) {
            build = build.file("opam-switch", switch("hello", MIRAGE, "A hello unikernel"));
        }
        server.keep(&build);
    };
    (1..=10).for_each(keep);
    assert!(!server.page("/").contains("href=\"#section-1\""));
    (11..=31).for_each(keep);
    let page = server.page("/");
    for (number, name) in [(1, "Unikernels"), (2, "Uncategorized")] {
        assert!(page.contains(&format!("<a href=\"#section-{number}\">{name}</a>")));
        assert!(page.contains(&format!("<h2 id=\"section-{number}\">{name}</h2>")));
    }
}
