//! Pictures of builds: what is drawn, whose picture is shown, and what is said when there is none.

use std::fs;
use std::path::{Path, PathBuf};

use builder_store::Sha256;
use builder_store::cache::Cache;

use crate::build::build;
use crate::local_files::{debug_binary, switch};
use crate::server::{Server, exchange, wait_until};

const FRAME: (&str, &str) = ("sec-fetch-dest", "iframe");

fn unikernel(number: u128, bytes: u64) -> crate::build::Build {
    build("hello", number)
        .file("bin/hello.hvt", format!("stripped {number}"))
        .file("hello.hvt.debug", debug_binary(bytes))
        .file("opam-switch", switch("6.0.0"))
}

fn page(build: &crate::build::Build, below: &str) -> String {
    format!("/job/hello/build/{}/{below}", build.uuid)
}

/// The finished files below `_cache`, in order.
fn cached(server: &Server) -> Vec<String> {
    let cache = Cache::new(server.datadir());
    let entries = cache.entries().unwrap().into_iter();
    let finished = entries.filter(|entry| entry.sha256.is_some());
    let path = |path: &Path| {
        path.strip_prefix(cache.directory())
            .unwrap()
            .display()
            .to_string()
    };
    let mut all: Vec<String> = finished.map(|entry| path(&entry.path)).collect();
    all.sort();
    all
}

#[test]
fn a_build_shows_what_takes_space_and_what_depends_on_what() {
    let hello = unikernel(1, 4096);
    let server = Server::of(std::slice::from_ref(&hello));
    let html = server.page(&page(&hello, ""));
    for below in ["viztreemap", "vizdependencies"] {
        let url = page(&hello, below);
        let framed = format!("{url}?framed");
        let frame = format!("<iframe src=\"{framed}\"");
        assert!(html.contains(&frame), "{html}");
        assert!(html.contains(&format!("<a href=\"{url}\">")), "{html}");
        // The same picture, and it says so before any script runs.
        let begin = "<!DOCTYPE html>\n<html lang=\"en\"";
        let (alone, within) = (server.page(&url), server.page(&framed));
        let rest = alone.strip_prefix(begin).unwrap();
        assert_eq!(within, format!("{begin} class=\"framed\"{rest}"));
    }
    let answer = server.get(&page(&hello, "viztreemap"));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'sha256-") && policy.ends_with("frame-ancestors 'self'"));
    assert!(answer.text().contains("Tls.Engine"), "{}", answer.text());
    let tag = answer.header("etag").unwrap();
    let again = server.get_with(&page(&hello, "viztreemap/"), &[("if-none-match", tag)]);
    assert_eq!(again.status, 304);
    let graph = server.page(&page(&hello, "vizdependencies"));
    assert!(graph.contains("What hello 1.0 depends on"), "{graph}");
}

#[test]
fn pictures_are_drawn_after_an_upload_and_kept_by_content() {
    let hello = unikernel(1, 4096);
    let server = Server::of(std::slice::from_ref(&hello));
    let treemap = format!(
        "builder-web/treemap-{}/{}-10.html",
        builder_viz::TREEMAP_VERSION,
        Sha256::of(&debug_binary(4096))
    );
    let graph = format!(
        "builder-web/dependencies-{}/{}.html",
        builder_viz::DEPENDENCIES_VERSION,
        Sha256::of(switch("6.0.0").as_bytes())
    );
    wait_until("both are drawn", || cached(&server).len() == 2);
    let mut expected = [treemap.clone(), graph];
    expected.sort();
    assert_eq!(cached(&server), expected);
    // What is kept is shown, not drawn anew.
    fs::write(server.datadir().join("_cache").join(treemap), "kept").unwrap();
    assert_eq!(server.page(&page(&hello, "viztreemap")), "kept");
}

#[test]
fn the_newest_picture_of_a_hook_wins_and_cannot_run_anything() {
    let hello = unikernel(1, 4096);
    let server = Server::of(std::slice::from_ref(&hello));
    let put = |version: &str, text: &str| {
        let directory: PathBuf = server.datadir().join("_cache").join(version);
        fs::create_dir_all(&directory).unwrap();
        let sha256 = Sha256::of(&debug_binary(4096));
        fs::write(directory.join(format!("{sha256}.html")), text).unwrap();
    };
    put("treemap_0", "zero");
    assert!(
        server
            .page(&page(&hello, "viztreemap"))
            .contains("Tls.Engine")
    );
    put("treemap_1", "old");
    put("treemap_12", "<script>new</script>");
    let answer = server.get(&page(&hello, "viztreemap"));
    assert_eq!(answer.text(), "<script>new</script>");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("sandbox; default-src 'none'; style-src"),
        "{policy}"
    );
    assert!(!policy.contains("script-src"));
    // A link is none of them: it may lead anywhere.
    let elsewhere = server.configdir().join("elsewhere");
    fs::write(&elsewhere, "elsewhere").unwrap();
    let directory = server.datadir().join("_cache/treemap_13");
    fs::create_dir(&directory).unwrap();
    let link = directory.join(format!("{}.html", Sha256::of(&debug_binary(4096))));
    std::os::unix::fs::symlink(&elsewhere, link).unwrap();
    let answer = server.get(&page(&hello, "viztreemap"));
    assert_eq!(answer.text(), "<script>new</script>");
}

#[test]
fn where_there_is_nothing_to_draw_a_page_says_so_and_a_small_one_in_a_frame() {
    let plain = build("hello", 1).file("bin/hello", "no ELF");
    let broken = build("hello", 2)
        .file("bin/hello", "no ELF")
        .file("hello.debug", "no ELF either")
        .file("opam-switch", "roots: [");
    let server = Server::of(&[plain.clone(), broken.clone()]);
    assert!(!server.page(&page(&plain, "")).contains("<iframe"));
    for below in ["viztreemap", "vizdependencies"] {
        let answer = server.get(&page(&plain, below));
        assert_eq!(answer.status, 404);
        assert!(
            answer.text().contains("this build has no "),
            "{}",
            answer.text()
        );
        assert!(answer.text().contains("<nav"));
        let framed = server.get_with(&page(&broken, below), &[FRAME]);
        assert_eq!(framed.status, 404);
        let text = framed.text();
        let as_linked = server.get(&format!("{}?framed", page(&broken, below)));
        assert_eq!(as_linked.text(), text);
        assert!(
            text.contains("Visualization not found") && !text.contains("<nav"),
            "{text}"
        );
        assert!(text.contains("of this build cannot be drawn: "), "{text}");
    }
    // What cannot be drawn is remembered, with the reason.
    wait_until("it is remembered", || cached(&server).len() == 2);
    assert!(cached(&server).iter().all(|path| path.ends_with(".txt")));
    let json = server.get_with(
        &page(&plain, "viztreemap"),
        &[("accept", "application/json")],
    );
    assert!(json.json()["error"].is_string());
    for missing in ["/job/hello/build/x/viztreemap", "/compare/x/y/viztreemap"] {
        assert_eq!(server.get(missing).status, 404, "{missing}");
    }
}

#[test]
fn what_was_too_large_for_one_server_is_drawn_by_the_next_that_draws_it() {
    let hello = unikernel(1, 4096);
    let url = page(&hello, "viztreemap");
    let small = Server::with(|config| config.limits.drawn_binary_bytes_max = 1000);
    small.keep(&hello);
    for _ in 0..2 {
        let answer = small.get(&url);
        assert_eq!(answer.status, 404);
        let said = answer.text();
        assert!(said.contains("more than the 1000 that are drawn"), "{said}");
    }
    let large = small.again(builder_web::Clock::System, |_| {});
    assert!(large.page(&url).contains("Tls.Engine"));
    // Nor is one shown that was kept, so that the answer is the same whoever asks first.
    let small = large.again(builder_web::Clock::System, |config| {
        config.limits.drawn_binary_bytes_max = 1000;
    });
    assert_eq!(small.get(&url).status, 404);
}

#[test]
fn two_builds_are_shown_side_by_side_with_what_grew() {
    let (old, new) = (unikernel(1, 4096), unikernel(2, 8192));
    let plain = build("hello", 3).file("bin/hello", "no ELF");
    let server = Server::of(&[old.clone(), new.clone(), plain.clone()]);
    let compare = format!("/compare/{}/{}", old.uuid, new.uuid);
    let url = format!("{compare}/viztreemap");
    assert!(server.page(&compare).contains(&format!("href=\"{url}\"")));
    let html = server.page(&url);
    for part in [
        "1 grew.",
        "Tls.Engine\n4.0 KiB → 8.0 KiB, +4.0 KiB",
        &format!("href=\"{compare}\""),
        &format!("href=\"/job/hello/build/{}\"", new.uuid),
    ] {
        assert!(html.contains(part), "{part:?} in {html}");
    }
    let without = format!("/compare/{}/{}", old.uuid, plain.uuid);
    assert!(!server.page(&without).contains("viztreemap"));
    let answer = server.get(&format!("{without}/viztreemap"));
    assert_eq!(answer.status, 404);
    assert!(
        answer.text().contains("no treemap of the right build"),
        "{}",
        answer.text()
    );
}

#[test]
fn what_a_picture_tells_is_json_at_its_own_address_and_below_the_api() {
    let (old, new) = (unikernel(1, 4096), unikernel(2, 8192));
    let plain = build("hello", 3).file("bin/hello", "no ELF");
    let server = Server::of(&[old.clone(), new.clone(), plain.clone()]);
    let pair = format!("{}/{}", old.uuid, new.uuid);
    // A hook's picture is a page for people; what it tells nobody knows.
    let directory: PathBuf = server.datadir().join("_cache/treemap_1");
    fs::create_dir_all(&directory).unwrap();
    let sha256 = Sha256::of(&debug_binary(8192));
    fs::write(directory.join(format!("{sha256}.html")), "of a hook").unwrap();
    assert_eq!(server.page(&page(&new, "viztreemap")), "of a hook");
    let mut told = Vec::new();
    for (at, api) in [
        (
            page(&new, "viztreemap"),
            format!("/api/v1/builds/{}/treemap", new.uuid),
        ),
        (
            page(&new, "vizdependencies"),
            format!("/api/v1/builds/{}/dependencies", new.uuid),
        ),
        (
            format!("/compare/{pair}/viztreemap"),
            format!("/api/v1/compare/{pair}/treemap"),
        ),
    ] {
        let answer = server.get_with(&at, &[("accept", "application/json")]);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("vary"), Some("accept, accept-encoding"));
        let json = answer.json();
        assert_eq!(server.json(&api), json, "{api}");
        // It has a tag of its own, and is kept.
        let again = [
            ("accept", "application/json"),
            ("if-none-match", answer.header("etag").unwrap()),
        ];
        assert_eq!(server.get_with(&at, &again).status, 304);
        assert_ne!(server.get(&at).header("etag"), answer.header("etag"));
        told.push(json);
    }
    let module = &told[0]["kinds"][0]["groups"][0];
    assert_eq!(module["name"], "Tls", "{module}");
    assert_eq!(module["parts"][0]["bytes"], 8192);
    assert_eq!(told[1]["packages"][0]["name"], "hello");
    let change = &told[2]["parts"][0];
    assert_eq!(change["became"], "larger", "{change}");
    assert_eq!(
        (&change["left_bytes"], &change["right_bytes"]),
        (&4096.into(), &8192.into())
    );
    let kept = |path: &String| path.ends_with(".json");
    assert_eq!(cached(&server).iter().filter(|path| kept(path)).count(), 2);
    let missing = format!("/api/v1/compare/{}/{}/treemap", old.uuid, plain.uuid);
    let answer = server.get(&missing);
    assert_eq!(answer.status, 404);
    let error = answer.json()["error"].to_string();
    assert!(error.contains("no treemap of the right build"), "{error}");
}

#[test]
fn many_who_ask_at_once_get_one_picture() {
    let hello = unikernel(1, 4096);
    let server = Server::of(std::slice::from_ref(&hello));
    let address = server.listen();
    let target = page(&hello, "viztreemap");
    let answers: Vec<String> = std::thread::scope(|scope| {
        let ask = || exchange(address, "GET", &target, &[], b"").text();
        let all: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.contains("Tls.Engine")));
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}
