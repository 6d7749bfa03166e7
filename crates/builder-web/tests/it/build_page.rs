//! The page of a build: what it is compared with, what went in, and how to build it again.

use builder_store::Sha256;

use crate::build::{Build, build, switch};
use crate::server::Server;

fn repeated(number: u128, output: &str, input: &str) -> Build {
    let later = i64::try_from(number).unwrap() * 60;
    build("hello", number)
        .later(later)
        .file("bin/hello.hvt", output)
        .input(input)
}

#[test]
fn of_many_neighbours_the_newest_are_listed_and_the_others_counted_with_a_link() {
    let server = Server::new();
    for number in 1..=24 {
        server.keep(&repeated(number, "same", "i"));
    }
    for number in 101..=123 {
        server.keep(&repeated(number, &format!("other {number}"), "i"));
    }
    for number in 201..=222 {
        server.keep(&repeated(number, "same", &format!("i{number}")));
    }
    let page = server.page(&repeated(1, "", "").url());
    let shown = |numbers: std::ops::RangeInclusive<u128>| {
        let urls = numbers.map(|number| repeated(number, "", "").url());
        urls.filter(|url| page.contains(url.as_str())).count()
    };
    assert_eq!((shown(2..=24), shown(5..=24)), (20, 20), "reproductions");
    // The first of them is shown as the output after, too.
    assert_eq!(shown(102..=123), 20, "other outputs");
    assert_eq!(shown(201..=222), 20, "other inputs");
    let input_id = server.json(&format!("/api/v1/builds/{}", repeated(1, "", "").uuid));
    let detail = input_id.clone();
    let input_id = input_id["input_id"].as_str().unwrap();
    let output = Sha256::of(b"same");
    for part in [
        format!("and 3 more: <a href=\"/search?q={input_id}&#38;kind=builds\">"),
        format!("and 3 more outputs: <a href=\"/search?q={input_id}&#38;kind=builds\">"),
        format!("from 2 more inputs: <a href=\"/search?q={output}&#38;kind=builds\">"),
    ] {
        assert!(page.contains(&part), "{part} in {page}");
    }
    for (list, count) in [
        ("reproduced_by", 23),
        ("same_input_other_output", 23),
        ("other_input_same_output", 22),
    ] {
        assert_eq!(detail[format!("{list}_count")], count, "{list}");
        assert_eq!(detail[list].as_array().unwrap().len(), 20, "{list}");
    }
    let all = server.json(&format!(
        "/api/v1/builds?input_id={input_id}&output={output}&limit=200"
    ));
    assert_eq!(all["items"].as_array().unwrap().len(), 24);
    assert_eq!(all["items"][0]["state"]["verdict"], "not-reproducible");
}

#[test]
fn what_input_the_build_before_had_is_told_only_where_it_was_recorded() {
    let unrecorded = |number: i64| {
        let hello = build("hello", u128::try_from(number).unwrap());
        hello.later(number * 60).file("bin/hello.hvt", "same")
    };
    let [first, second, third] = [
        unrecorded(1),
        unrecorded(2).input("i"),
        unrecorded(3).input("j"),
    ];
    let server = Server::of(&[first, second.clone(), third.clone()]);
    for (build, sentence) in [
        (
            &second,
            "Built once from this input; the build before has the same output; its input was not recorded.",
        ),
        (
            &third,
            "Built once from this input; another input gave the same output before.",
        ),
    ] {
        let page = server.page(&build.url());
        assert!(page.contains(sentence), "{sentence} in {page}");
        let api = server.json(&format!("/api/v1/builds/{}", build.uuid));
        assert_eq!(api["sentence"], sentence);
        assert_eq!(api["state"]["verdict"], "unchanged");
    }
}

#[test]
fn a_digest_leads_to_its_file_on_the_page_of_its_newest_build() {
    let hello = repeated(1, "binary", "i")
        .file("share/a.txt", "text")
        .file("share/b.txt", "text");
    let server = Server::of(std::slice::from_ref(&hello));
    let page = server.page(&hello.url());
    for content in ["binary", "text"] {
        let sha256 = Sha256::of(content.as_bytes());
        let id = format!("sha256-{sha256}");
        assert_eq!(
            server.location(&format!("/search?q={sha256}")),
            (302, format!("{}#{id}", hello.url()))
        );
        let named = page.matches(&format!("id=\"{id}\"")).count();
        assert_eq!(named, 1, "{content}: one place has the name");
    }
    // Clients that parse the redirect know no such thing.
    let sha256 = Sha256::of(b"text");
    let redirect = server.location(&format!("/hash?sha256={sha256}"));
    assert_eq!(redirect, (302, hello.url()));
}

#[test]
fn the_inputs_in_numbers_lead_to_what_they_count() {
    let environment = "ORB_DATA=2\nSOURCE_DATE_EPOCH=1767225600\nSWITCH_PATH=myswitch";
    let hello = build("hello", 1)
        .file("bin/hello.hvt", "x")
        .file("opam-switch", switch("hello", "", "i"))
        .file("build-environment", environment)
        .file("system-packages", "libc6=2.36\n");
    let failed = build("hello", 2).later(60);
    let server = Server::of(&[hello.clone(), failed.clone()]);
    let page = server.page(&hello.url());
    for (path, words) in [
        ("packages", "1 opam package"),
        ("f/build-environment", "3 environment variables"),
        ("f/system-packages", "1 system package"),
    ] {
        let link = format!("<a href=\"{}/{path}\">{words}</a>", hello.url());
        assert!(page.contains(&link), "{link} in {page}");
    }
    let packages = server.page(&format!("{}/packages", hello.url()));
    for part in ["<h1>1 opam package of", "href=\"/package/", "f/opam-switch"] {
        assert!(packages.contains(part), "{part} in {packages}");
    }
    let json = server.json(&format!("{}/packages", hello.url()));
    let api = format!("/api/v1/builds/{}/packages", hello.uuid);
    assert_eq!(json["packages"], server.json(&api)["items"]);
    assert_eq!(json["packages"].as_array().unwrap().len(), 1);
    let none = server.get(&format!("{}/packages", failed.url()));
    assert_eq!(none.status, 404);
    assert!(none.text().contains("was not recorded"), "{}", none.text());

    // What orb recorded it builds again, before opam alone does.
    let commands = &server.json(&format!("/api/v1/builds/{}", hello.uuid))["commands"];
    let rebuild = commands["rebuild"].as_str().unwrap();
    let check = format!(
        "echo '{}  built/bin/hello.hvt' | sha256sum -c",
        Sha256::of(b"x")
    );
    for line in ["orb rebuild --out=built . || true", &check] {
        assert!(
            rebuild.lines().any(|known| known == line),
            "{line} in {rebuild}"
        );
    }
    let opam = commands["rebuild_with_opam"].as_str().unwrap();
    assert!(
        opam.contains("export SOURCE_DATE_EPOCH=1767225600\n"),
        "{opam}"
    );
    assert!(page.find("orb rebuild").unwrap() < page.find("opam switch import").unwrap());
    assert!(
        page.contains("Another digest means something only if"),
        "{page}"
    );

    // What has libraries in a duniverse is built by orb only.
    let duniverse = "x-opam-monorepo-duniverse-dirs: [[\"https://example.org/a.tbz\" \"a\"]]";
    let unikernel = build("unikernel", 3)
        .file("bin/unikernel.hvt", "x")
        .file("opam-switch", switch("unikernel", duniverse, "u"))
        .file("build-environment", environment)
        .file("system-packages", "libc6=2.36\n");
    server.keep(&unikernel);
    let page = server.page(&unikernel.url());
    assert!(page.contains("orb rebuild") && !page.contains("opam switch import"));
    let detail = server.json(&format!("/api/v1/builds/{}", unikernel.uuid));
    assert!(detail["commands"]["rebuild_with_opam"].is_null());
}

#[test]
fn the_packages_of_a_build_are_given_a_part_at_a_time() {
    let packages: Vec<String> = (0..5).map(|number| format!("\"p{number}.1\"")).collect();
    let packages = packages.join(" ");
    let switch = format!("opam-version: \"2.0\"\nroots: [\"p0.1\"]\ninstalled: [{packages}]\n");
    let hello = build("hello", 1)
        .file("bin/hello.hvt", "x")
        .file("opam-switch", switch);
    let server = Server::of(std::slice::from_ref(&hello));
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let api = format!("/api/v1/builds/{}/packages?limit=2{cursor}", hello.uuid);
        let part = server.json(&api);
        let items = part["items"].as_array().unwrap();
        names.extend(
            items
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        match part["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4"]);
}
