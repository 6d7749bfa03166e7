//! Every URL, written once: the pattern for the router and the function for links and redirects.
//!
//! Redirect targets are path-absolute, without host, query or trailing slash: clients in the field
//! split them at `/` (albatross-client before 2.7 takes nothing else).

use builder_store::Sha256;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use uuid::Uuid;

/// Everything that does not stand for itself in a path segment (RFC 3986, `pchar`).
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Everything that does not stand for itself in the value of a query parameter.
const QUERY_VALUE: &AsciiSet = &SEGMENT
    .remove(b'/')
    .add(b'&')
    .add(b'+')
    .add(b'=')
    .add(b'\'');

/// Patterns, in the router's language.
pub mod pattern {
    #![expect(
        missing_docs,
        reason = "each is the pattern of the function of its name"
    )]

    pub const FRONT: &str = "/";
    pub const ALL_BUILDS: &str = "/all-builds";
    pub const FAILED_BUILDS: &str = "/failed-builds";
    pub const FEED: &str = "/feed.atom";
    pub const FAILED_FEED: &str = "/failed-builds.atom";
    pub const NOT_REPRODUCIBLE_FEED: &str = "/not-reproducible.atom";
    pub const JOB_FEED: &str = "/job/{job}/feed.atom";
    pub const JOB_FAILED_FEED: &str = "/job/{job}/failed.atom";
    pub const JOB_NOT_REPRODUCIBLE_FEED: &str = "/job/{job}/not-reproducible.atom";
    pub const JOB_CHANGES_FEED: &str = "/job/{job}/changes.atom";
    pub const BADGE: &str = "/job/{job}/badge.svg";
    pub const OPEN_SEARCH: &str = "/opensearch.xml";
    pub const SUGGEST: &str = "/suggest";
    pub const COMPARE: &str = "/compare/{left}/{right}";
    pub const COMPARE_FILES: &str = "/compare/{left}/{right}/f";
    pub const TREEMAP_CHANGES: &str = "/compare/{left}/{right}/viztreemap";
    pub const HASH: &str = "/hash";
    pub const STATUS: &str = "/status";
    pub const AUDIT: &str = "/audit";
    pub const METRICS: &str = "/metrics";
    pub const ALIVE: &str = "/healthz";
    pub const READY: &str = "/readyz";
    /// Where programs that watch the server ask, which want a line of text.
    pub const OF_HEALTH: [&str; 2] = [ALIVE, READY];
    pub const API_DESCRIPTION: &str = "/api/v1/openapi.json";
    pub const API_JOBS: &str = "/api/v1/jobs";
    pub const API_JOB: &str = "/api/v1/jobs/{job}";
    pub const API_JOB_BUILDS: &str = "/api/v1/jobs/{job}/builds";
    pub const API_JOB_HISTORY: &str = "/api/v1/jobs/{job}/history";
    pub const API_JOB_LATEST: &str = "/api/v1/jobs/{job}/latest";
    pub const API_BUILDS: &str = "/api/v1/builds";
    pub const API_BUILD: &str = "/api/v1/builds/{uuid}";
    pub const API_BUILD_ARTIFACTS: &str = "/api/v1/builds/{uuid}/artifacts";
    pub const API_BUILD_PACKAGES: &str = "/api/v1/builds/{uuid}/packages";
    pub const API_BUILD_CONSOLE: &str = "/api/v1/builds/{uuid}/console";
    pub const API_TREEMAP: &str = "/api/v1/builds/{uuid}/treemap";
    pub const API_DEPENDENCIES: &str = "/api/v1/builds/{uuid}/dependencies";
    pub const API_COMPARE: &str = "/api/v1/compare/{left}/{right}";
    pub const API_COMPARE_FILES: &str = "/api/v1/compare/{left}/{right}/file";
    pub const API_TREEMAP_CHANGES: &str = "/api/v1/compare/{left}/{right}/treemap";
    pub const API_FAILURES: &str = "/api/v1/failures";
    pub const API_HASH: &str = "/api/v1/hashes/{sha256}";
    pub const API_REMOVED_BUILD: &str = "/api/v1/removed-builds/{uuid}";
    pub const API_STATUS: &str = "/api/v1/status";
    pub const API_SEARCH: &str = "/api/v1/search";
    pub const API_PACKAGES: &str = "/api/v1/packages";
    pub const API_PACKAGE: &str = "/api/v1/packages/{name}";
    pub const API_PACKAGE_LATEST: &str = "/api/v1/packages/{name}/latest";
    pub const API_PACKAGE_BUILDS: &str = "/api/v1/packages/{name}/builds";
    pub const SEARCH: &str = "/search";
    pub const PACKAGE: &str = "/package/{name}";
    pub const ROBOTS: &str = "/robots.txt";
    pub const STYLE: &str = "/style.css";
    pub const SCRIPT_FILE: &str = "/script.js";
    pub const LOGO: &str = "/logo";
    pub const PICTURE: &str = "/share.png";
    pub const UPLOAD: &str = "/upload";
    pub const JOB: &str = "/job/{job}";
    pub const JOB_FAILED: &str = "/job/{job}/failed";
    pub const UPLOAD_BINARY: &str = "/job/{job}/platform/{platform}/upload";
    pub const LATEST: &str = "/job/{job}/build/latest";
    pub const LATEST_REST: &str = "/job/{job}/build/latest/{*rest}";
    pub const BUILD: &str = "/job/{job}/build/{uuid}";
    pub const MAIN_BINARY: &str = "/job/{job}/build/{uuid}/main-binary";
    pub const ARTIFACT: &str = "/job/{job}/build/{uuid}/f/{*path}";
    pub const SCRIPT: &str = "/job/{job}/build/{uuid}/script";
    pub const CONSOLE: &str = "/job/{job}/build/{uuid}/console";
    pub const CONSOLE_PAGE: &str = "/job/{job}/build/{uuid}/console.html";
    pub const BUILD_PACKAGES: &str = "/job/{job}/build/{uuid}/packages";
    pub const EXEC: &str = "/job/{job}/build/{uuid}/exec";
    pub const ARCHIVE: &str = "/job/{job}/build/{uuid}/all.tar.gz";
    pub const TREEMAP: &str = "/job/{job}/build/{uuid}/viztreemap";
    pub const DEPENDENCIES: &str = "/job/{job}/build/{uuid}/vizdependencies";
}

/// The page of a job, on one platform if one is given.
pub fn job(job: &str, platform: Option<&str>) -> String {
    with_platform(format!("/job/{}", segment(job)), platform)
}

/// The page of a job with its failed builds.
pub fn job_failed(job: &str, platform: Option<&str>) -> String {
    with_platform(format!("/job/{}/failed", segment(job)), platform)
}

/// Which builds of a job a page of its history is about, if not the newest.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// Those before this one.
    Before(&'a Uuid),
    /// This one and those before it.
    UpTo(&'a Uuid),
}

/// A page of a job's history: the `page`th of those that begin at a place.
pub fn job_page(
    job: &str,
    platform: Option<&str>,
    failed: bool,
    place: Option<Place<'_>>,
    page: u32,
) -> String {
    let mut url = if failed {
        job_failed(job, platform)
    } else {
        self::job(job, platform)
    };
    let mut add = |parameter: String| {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&parameter);
    };
    match place {
        Some(Place::Before(uuid)) => add(format!("before={uuid}")),
        Some(Place::UpTo(uuid)) => add(format!("upto={uuid}")),
        None => {}
    }
    if page > 1 {
        add(format!("page={page}"));
    }
    url
}

/// The page of a build.
pub fn build(job: &str, uuid: &Uuid) -> String {
    format!("/job/{}/build/{uuid}", segment(job))
}

/// What is below a build: `main-binary`, `script`, `console`, `exec`, `all.tar.gz`, or what a
/// client asked for below `latest/`, which is handed on as it was sent.
pub fn below_build(job: &str, uuid: &Uuid, rest: &str) -> String {
    format!("/job/{}/build/{uuid}/{rest}", segment(job))
}

/// The parameter of a picture that is shown within a page, which says what the picture is.
pub const FRAMED: &str = "framed";

/// A picture for a frame of a page.
pub fn framed(picture: &str) -> String {
    format!("{picture}?{FRAMED}")
}

/// The lines of a console from one on, counted from 1, with what is looked for in it.
pub fn console_page(job: &str, uuid: &Uuid, from: u64, find: Option<&str>) -> String {
    let mut url = below_build(job, uuid, "console.html");
    let mut parameters = Vec::new();
    if from > 1 {
        parameters.push(format!("from={from}"));
    }
    if let Some(find) = find {
        parameters.push(format!("find={}", utf8_percent_encode(find, QUERY_VALUE)));
    }
    if !parameters.is_empty() {
        url.push('?');
        url.push_str(&parameters.join("&"));
    }
    url
}

/// A line of a console, counted from 1, among the lines around it.
pub fn console_line(job: &str, uuid: &Uuid, line: u64, find: Option<&str>) -> String {
    let from = console_from(line);
    format!("{}#L{line}", console_page(job, uuid, from, find))
}

/// Lines of a console on one page.
pub const CONSOLE_LINES: u64 = 1000;

/// The first line of the page that this line of a console is on.
pub fn console_from(line: u64) -> u64 {
    line.saturating_sub(1) / CONSOLE_LINES * CONSOLE_LINES + 1
}

/// An artifact of a build.
pub fn artifact(job: &str, uuid: &Uuid, path: &str) -> String {
    let path: Vec<String> = path.split('/').map(segment).collect();
    below_build(job, uuid, &format!("f/{}", path.join("/")))
}

/// An artifact of a build by its digest, as its page shows it.
pub fn artifact_row(job: &str, uuid: &Uuid, sha256: &Sha256) -> String {
    format!("{}#{}", build(job, uuid), artifact_id(sha256))
}

/// The name of an artifact's place on the page of its build.
pub fn artifact_id(sha256: &Sha256) -> String {
    format!("sha256-{sha256}")
}

/// The entries of the audit record before this one, of those that are asked for.
pub fn audit(
    user: Option<&str>,
    action: Option<&str>,
    outcome: Option<&str>,
    before: i64,
    count: u32,
) -> String {
    let parameters = [("user", user), ("action", action), ("outcome", outcome)];
    let (before, count) = (before.to_string(), count.to_string());
    let place = [("before", Some(&*before)), ("count", Some(&*count))];
    with_query(
        pattern::AUDIT.to_owned(),
        &[parameters.as_slice(), &place].concat(),
    )
}

/// What differs between two builds.
pub fn compare(left: &Uuid, right: &Uuid) -> String {
    format!("/compare/{left}/{right}")
}

/// What differs between an artifact of one build and an artifact of another; the right path is left out where it is the
/// left one.
pub fn compare_files(left: &Uuid, right: &Uuid, left_path: &str, right_path: &str) -> String {
    let value = |path| utf8_percent_encode(path, QUERY_VALUE).to_string();
    let url = format!(
        "{}?left={}",
        compare_files_form(left, right),
        value(left_path)
    );
    match left_path == right_path {
        true => url,
        false => format!("{url}&right={}", value(right_path)),
    }
}

/// What a form with the fields `left` and `right` asks to compare artifacts of two builds.
pub fn compare_files_form(left: &Uuid, right: &Uuid) -> String {
    format!("/compare/{left}/{right}/f")
}

/// The treemaps of two builds side by side.
pub fn treemap_changes(left: &Uuid, right: &Uuid) -> String {
    format!("{}/viztreemap", compare(left, right))
}

/// The jobs whose newest build on a platform is in a state.
pub fn jobs_in_state(state: &str) -> String {
    with_query(pattern::ALL_BUILDS.to_owned(), &[("state", Some(state))])
}

/// All jobs, however old their builds are.
pub fn all_builds() -> String {
    pattern::ALL_BUILDS.to_owned()
}

/// The builds without a main binary, of one job, on one platform, of one class, where given:
/// `count` of them after `start`.
pub fn failed_builds(
    start: u32,
    count: Option<u32>,
    job: Option<&str>,
    platform: Option<&str>,
    class: Option<&str>,
) -> String {
    let mut parameters = Vec::new();
    if let Some(count) = count {
        parameters.push(format!("count={count}&start={start}"));
    }
    for (name, value) in [("platform", platform), ("job", job), ("class", class)] {
        if let Some(value) = value {
            let value = utf8_percent_encode(value, QUERY_VALUE);
            parameters.push(format!("{name}={value}"));
        }
    }
    let mut url = pattern::FAILED_BUILDS.to_owned();
    if !parameters.is_empty() {
        url.push('?');
        url.push_str(&parameters.join("&"));
    }
    url
}

/// Below it everything is for programs, errors too.
pub const API: &str = "/api/";

/// What stays of a build that was removed, for programs.
pub fn api_removed_build(uuid: &Uuid) -> String {
    format!("/api/v1/removed-builds/{uuid}")
}

/// What a query finds; of one kind alone, from a cursor on.
pub fn search(query: &str, kind: Option<&str>, cursor: Option<&str>) -> String {
    with_query(
        pattern::SEARCH.to_owned(),
        &[("q", Some(query)), ("kind", kind), ("cursor", cursor)],
    )
}

/// The page of an opam package, of a version or of some, from a cursor on.
pub fn package(name: &str, version: Option<&str>, cursor: Option<&str>) -> String {
    let version = version.filter(|version| !version.is_empty());
    with_query(
        format!("/package/{}", segment(name)),
        &[("version", version), ("cursor", cursor)],
    )
}

/// The latest builds that contain a package of a version, or of any if it is empty, from a cursor on.
pub fn package_latest(name: &str, version: &str, cursor: &str) -> String {
    let version = Some(version).filter(|version| !version.is_empty());
    with_query(
        format!("/package/{}", segment(name)),
        &[("version", version), ("latest", Some(cursor))],
    )
}

fn with_query(mut url: String, parameters: &[(&str, Option<&str>)]) -> String {
    let mut mark = '?';
    for (name, value) in parameters {
        if let Some(value) = value {
            url.push(mark);
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(value, QUERY_VALUE));
            mark = '&';
        }
    }
    url
}

/// The feed of builds, of one job or all.
pub fn feed(job: Option<&str>, platform: Option<&str>) -> String {
    let path = match job {
        Some(job) => format!("/job/{}/feed.atom", segment(job)),
        None => pattern::FEED.to_owned(),
    };
    with_platform(path, platform)
}

/// The feed of failed builds, of one job or all, of one class or all.
pub fn failed_feed(job: Option<&str>, platform: Option<&str>, class: Option<&str>) -> String {
    let path = match job {
        Some(job) => format!("/job/{}/failed.atom", segment(job)),
        None => pattern::FAILED_FEED.to_owned(),
    };
    with_query(path, &[("platform", platform), ("class", class)])
}

/// The feed of a job's builds that changed its output.
pub fn changes_feed(job: &str, platform: Option<&str>) -> String {
    with_platform(format!("/job/{}/changes.atom", segment(job)), platform)
}

/// The feed of what ceased to be reproducible, of one job or all.
pub fn not_reproducible_feed(job: Option<&str>, platform: Option<&str>) -> String {
    let path = match job {
        Some(job) => format!("/job/{}/not-reproducible.atom", segment(job)),
        None => pattern::NOT_REPRODUCIBLE_FEED.to_owned(),
    };
    with_platform(path, platform)
}

/// The picture of the state of a job's newest build.
pub fn badge(job: &str, platform: Option<&str>) -> String {
    with_platform(format!("/job/{}/badge.svg", segment(job)), platform)
}

/// The parameter of a search that leads to the page of a job where that is all that is named.
pub const STRAIGHT: &str = "straight";
/// The search, and what is suggested for it, with the place that a browser puts words into. Who chose a
/// job's name in a browser's address bar is to be led to it.
pub const SEARCH_TEMPLATE: &str = "/search?q={searchTerms}&straight=1";
/// As [`SEARCH_TEMPLATE`].
pub const SUGGEST_TEMPLATE: &str = "/suggest?q={searchTerms}";

fn with_platform(mut url: String, platform: Option<&str>) -> String {
    if let Some(platform) = platform {
        url.push_str("?platform=");
        url.extend(utf8_percent_encode(platform, QUERY_VALUE));
    }
    url
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_where_they_need_it_and_only_there() {
        let uuid = Uuid::nil();
        assert_eq!(job("a b+c", None), "/job/a%20b+c");
        assert_eq!(job("ü/?#%", None), "/job/%C3%BC%2F%3F%23%25");
        assert_eq!(
            job("x", Some("a,b & c=d/e+f")),
            "/job/x?platform=a,b%20%26%20c%3Dd/e%2Bf"
        );
        assert_eq!(
            artifact("x", &uuid, "bin/x~1 y"),
            "/job/x/build/00000000-0000-0000-0000-000000000000/f/bin/x~1%20y"
        );
    }
}
