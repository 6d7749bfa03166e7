//! Whatever a page shows, its JSON and that of `/api/v1` say, too.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::build::build;
use crate::demo_site::demo_site;
use crate::server::{Server, wait_until};
use crate::shown::{Said, cut};

/// What a page tells: every uuid, digest and time, and whatever is set as code; states of builds by
/// their names. Without what is around the page.
fn told(html: &str) -> BTreeSet<String> {
    // Its lines each, see `shown`.
    let main = &cut(main_part(html), "pre", "diff", |_| {});
    let between = |begin: &str, end: &str| -> Vec<String> {
        let rests = main.split(begin).skip(1);
        rests
            .map(|rest| text(rest.split(end).next().unwrap()))
            .collect()
    };
    let uuids = between("href=\"", "\"");
    let uuids = uuids
        .iter()
        .flat_map(|href| href.split(['/', '#', '?', '&']))
        .filter(|part| part.parse::<uuid::Uuid>().is_ok())
        .map(str::to_owned);
    let mut told: BTreeSet<String> = uuids.collect();
    for (begin, end) in [
        ("<code>", "</code>"),
        ("<code class=\"sha256\">SHA256:", "</code>"),
        ("<code class=\"sha256 short\">SHA256:", "</code>"),
        ("datetime=\"", "\""),
        ("class=\"state ", "\""),
    ] {
        told.extend(between(begin, end));
    }
    told.retain(|told| !told.is_empty());
    told
}

/// What is not around every page.
fn main_part(html: &str) -> &str {
    let main = html.split("<main").nth(1).unwrap_or_default();
    main.split("<details class=\"legend\"").next().unwrap()
}

/// Without tags.
pub(crate) fn text(html: &str) -> String {
    let mut text = String::new();
    for part in html.split('<') {
        match part.split_once('>') {
            Some((_, after)) if !text.is_empty() || html.starts_with('<') => text.push_str(after),
            _ => text.push_str(part),
        }
    }
    for (entity, char) in [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
    ] {
        text = text.replace(entity, char);
    }
    text
}

/// What the page tells and the JSON does not.
fn untold(html: &str, json: &[Value]) -> Vec<String> {
    let mut said = Said::default();
    json.iter().for_each(|json| said.add(json));
    let told = told(html);
    assert!(!told.is_empty(), "the page tells nothing: {html}");
    let mut untold: Vec<String> = told
        .into_iter()
        .filter(|told| !said.texts.contains(told.trim_end()))
        .collect();
    untold.extend(said.lacks(main_part(html)));
    untold
}

/// What is there when nothing is being counted any more that the page has asked for.
fn counted(server: &Server, target: &str) -> Value {
    let mut json = Value::Null;
    wait_until("changes are counted", || {
        json = server.json(target);
        !json.to_string().contains("\"pending\"")
    });
    json
}

/// What a page shows that neither its own JSON nor that of the API says.
fn lacks(server: &Server, page: &str, api: &[String]) -> Vec<String> {
    let says = |targets: &[String]| -> Vec<Value> {
        let targets = targets.iter();
        targets.map(|target| counted(server, target)).collect()
    };
    // JSON of comparisons says where files are compared: that belongs to what it says.
    let linked = |targets: &[String]| -> Vec<Value> {
        let mut said = says(targets);
        for member in ["main_binary_url", "debug_binaries_url"] {
            let url = said[0][member].as_str().map(str::to_owned);
            said.extend(url.map(|url| server.json(&url)));
        }
        said
    };
    let (own, api_says) = (linked(&[page.to_owned()]), linked(api));
    // What is folded up on the page of a comparison is that of files in all detail.
    let html = match page.starts_with("/compare/") {
        true => cut(&server.page(page), "details", "", |_| {}),
        false => server.page(page),
    };
    let of = |target: &str, lacks: Vec<String>| {
        let lacks = lacks.into_iter();
        lacks
            .map(move |lacks| format!("{target}: {lacks}"))
            .collect::<Vec<_>>()
    };
    [
        of(page, untold(&html, &own)),
        of(&api.join(", "), untold(&html, &api_says)),
    ]
    .concat()
}

fn check(server: &Server, page: &str, api: &[String]) {
    assert_eq!(lacks(server, page, api), [""; 0], "{page}");
}

/// Pages that compare builds in a row: of one input, and of two.
fn comparisons(all: &[Value]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut pages = Vec::new();
    for (at, right) in all.iter().enumerate() {
        let is_other = |left: &&Value| {
            let same = |name: &str| left[name] == right[name];
            let both = !left["main_binary"].is_null() && !right["main_binary"].is_null();
            both && same("job") && same("platform") && !same("main_binary")
        };
        let Some(left) = all.iter().skip(at + 1).find(is_other) else {
            continue;
        };
        let same_input = left["input_id"] == right["input_id"];
        if seen.insert((right["job"].as_str(), same_input)) {
            let uuid = |build: &Value| build["uuid"].as_str().unwrap().to_owned();
            pages.push(format!("/compare/{}/{}", uuid(left), uuid(right)));
        }
    }
    assert!(pages.len() > 3, "{pages:?}");
    pages
}

#[test]
fn all_that_a_page_shows_is_in_its_json_and_in_the_api() {
    let server = demo_site();
    let mut all_lacks = Vec::new();
    let mut check = |page: &str, api: &[String]| all_lacks.extend(lacks(&server, page, api));
    let all = server.json("/api/v1/builds?limit=200");
    let all = all["items"].as_array().unwrap();
    for page in ["/", "/all-builds", "/?state=failed", "/?name=mill"] {
        let query = page.split_once('?').map_or("", |(_, query)| query);
        check(page, &[format!("/api/v1/jobs?{query}&limit=200")]);
    }
    check(
        "/failed-builds?count=100",
        &["/api/v1/failures?limit=200".to_owned()],
    );
    check("/status", &["/api/v1/status".to_owned()]);
    let mut seen = BTreeSet::new();
    for build in all {
        let text = |name: &str| build[name].as_str().unwrap().to_owned();
        let (job, uuid, platform) = (text("job"), text("uuid"), text("platform"));
        let api = format!("/api/v1/jobs/{job}/history");
        if seen.insert(job.clone()) {
            let both = [api.clone(), format!("/api/v1/jobs/{job}")];
            check(&format!("/job/{job}"), &both);
            check(
                &format!("/job/{job}/failed?platform={platform}"),
                &[
                    format!("{api}?failed=true&platform={platform}"),
                    format!("/api/v1/jobs/{job}"),
                ],
            );
        }
        // One of each job, result and state.
        let page = format!("/job/{job}/build/{uuid}");
        let api = format!("/api/v1/builds/{uuid}");
        let state = server.json(&api)["state"]["verdict"].to_string();
        if seen.insert(format!("{} {state}", text("result"))) {
            check(&page, std::slice::from_ref(&api));
            let packages = format!("{page}/packages");
            if server.get(&packages).status == 200 {
                check(&packages, &[format!("{api}/packages"), api.clone()]);
            }
            check(
                &format!("{page}/console.html?find=e"),
                &[format!("{api}/console?find=e")],
            );
        }
    }
    for page in comparisons(all) {
        let api = format!("/api/v1{page}");
        check(&page, &[api]);
    }
    for query in ["tls+%3C+99", "hvt", "opam-switch"] {
        check(
            &format!("/search?q={query}"),
            &[format!("/api/v1/search?q={query}")],
        );
    }
    for (query, api) in [("", ""), ("?version=%3C+99.0", "/builds?version=%3C+99.0")] {
        let of_package = "/api/v1/packages/ocaml".to_owned();
        let mut api = vec![format!("{of_package}{api}")];
        api.push(of_package);
        check(&format!("/package/ocaml{query}"), &api);
    }
    assert_eq!(all_lacks, [""; 0]);
}

#[test]
fn what_stays_of_a_removed_build_is_told_to_programs_as_it_is_to_people() {
    let server = Server::new();
    let same = |number: u128, seconds| {
        build("hello", number)
            .later(seconds)
            .file("bin/hello.hvt", "same")
            .input("i")
    };
    for build in [same(1, 0), same(2, 60)] {
        assert_eq!(server.upload(&build).status, 201);
    }
    crate::removed::vacuum(&server);
    let removed = same(1, 0);
    let api = format!("/api/v1/removed-builds/{}", removed.uuid);
    check(&server, &removed.url(), std::slice::from_ref(&api));
    let detail = server.json(&api);
    assert_eq!(
        detail["same_output"][0]["uuid"],
        same(2, 60).uuid.to_string()
    );
    let description = crate::api::description(&server);
    let schema = &description["paths"]["/api/v1/removed-builds/{uuid}"]["get"]["responses"]["200"]
        ["content"]["application/json"]["schema"];
    let validator = crate::api::validator(&description, schema);
    assert!(validator.is_valid(&detail), "{detail}");
}
