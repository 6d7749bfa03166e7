//! Whatever a page shows, its JSON and that of `/api/v1` say, too.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::build::build;
use crate::demo_site::demo_site;
use crate::server::Server;

/// What a page tells: every uuid, digest and time, and whatever is set as code; states of builds by
/// their names. Without what is around the page.
fn told(html: &str) -> BTreeSet<String> {
    let main = html.split("<main").nth(1).unwrap_or_default();
    let main = main.split("<details class=\"legend\"").next().unwrap();
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

/// Without tags.
fn text(html: &str) -> String {
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

/// All texts of a JSON value.
fn texts(json: &Value, into: &mut String) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(members) => members.values().for_each(|member| texts(member, into)),
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        other => into.push_str(&format!("{other}\n")),
    }
}

/// What the page tells and the JSON does not.
fn untold(server: &Server, page: &str, json: &[String]) -> Vec<String> {
    let html = server.page(page);
    let mut said = String::new();
    for target in json {
        texts(&server.json(target), &mut said);
    }
    let told = told(&html);
    assert!(!told.is_empty(), "{page} tells nothing: {told:?}");
    told.into_iter()
        .filter(|told| !said.contains(told.trim_end()))
        .collect()
}

fn check(server: &Server, page: &str, api: &[String]) {
    assert_eq!(untold(server, page, &[page.to_owned()]), [""; 0], "{page}");
    assert_eq!(untold(server, page, api), [""; 0], "{page} and {api:?}");
}

#[test]
fn all_that_a_page_shows_is_in_its_json_and_in_the_api() {
    let server = demo_site();
    let all = server.json("/api/v1/builds?limit=200");
    let all = all["items"].as_array().unwrap();
    for page in ["/", "/all-builds", "/?state=failed", "/?name=mill"] {
        let query = page.split_once('?').map_or("", |(_, query)| query);
        check(&server, page, &[format!("/api/v1/jobs?{query}&limit=200")]);
    }
    check(
        &server,
        "/failed-builds?count=100",
        &["/api/v1/failures?limit=200".to_owned()],
    );
    check(&server, "/status", &["/api/v1/status".to_owned()]);
    let mut seen = BTreeSet::new();
    for build in all {
        let text = |name: &str| build[name].as_str().unwrap().to_owned();
        let (job, uuid, platform) = (text("job"), text("uuid"), text("platform"));
        let api = format!("/api/v1/jobs/{job}/history");
        if seen.insert(job.clone()) {
            let both = [api.clone(), format!("/api/v1/jobs/{job}")];
            check(&server, &format!("/job/{job}"), &both);
            check(
                &server,
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
            check(&server, &page, std::slice::from_ref(&api));
            let packages = format!("{page}/packages");
            if server.get(&packages).status == 200 {
                check(
                    &server,
                    &packages,
                    &[format!("{api}/packages"), api.clone()],
                );
            }
            check(
                &server,
                &format!("{page}/console.html?find=e"),
                &[format!("{api}/console?find=e")],
            );
        }
    }
    for query in ["tls+%3C+99", "hvt", "opam-switch"] {
        check(
            &server,
            &format!("/search?q={query}"),
            &[format!("/api/v1/search?q={query}")],
        );
    }
    for (query, api) in [("", ""), ("?version=%3C+99", "/builds?version=%3C+99")] {
        let of_package = "/api/v1/packages/ocaml".to_owned();
        let mut api = vec![format!("{of_package}{api}")];
        api.push(of_package);
        check(&server, &format!("/package/ocaml{query}"), &api);
    }
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
