//! Clients in the field, transcribed: what they ask for and how strictly they read the answer.

use std::net::SocketAddr;

use builder_store::Sha256;
use serde_json::Value;

use crate::build::{Build, MIRAGE, build, noise, switch, unikernel};
use crate::program::{run, succeeds};
use crate::server::{Answer, BUILDER, Server, basic, exchange};

/// albatross-client, by how it reads a `Location`.
#[derive(Clone, Copy, PartialEq)]
enum Albatross {
    /// 1.5.1 to 2.6: nothing after the uuid.
    Strict,
    /// 2.7 on: a trailing slash may follow.
    Lenient,
}

#[derive(Debug, PartialEq)]
enum Update {
    UpToDate,
    NotInRepository,
    New { compare: String, binary: Vec<u8> },
}

impl Albatross {
    /// Its request, as its HTTP client writes it.
    fn get(address: SocketAddr, target: &str) -> Answer {
        let headers = [
            ("user-agent", "http-lwt-client/0.3.1"),
            ("content-length", "0"),
        ];
        exchange(address, "GET", target, &headers, b"")
    }

    /// Job and uuid of a redirect.
    fn location(self, answer: &Answer) -> (String, String) {
        assert!(
            (300..400).contains(&answer.status),
            "unexpected HTTP reply {}",
            answer.status
        );
        let location = answer.header("location").expect("a location header");
        let segments: Vec<&str> = location.split('/').collect();
        match (segments.as_slice(), self) {
            (["", "job", job, "build", uuid], _)
            | (["", "job", job, "build", uuid, ""], Albatross::Lenient) => {
                ((*job).to_owned(), (*uuid).to_owned())
            }
            _ => panic!("cannot parse location {location}"),
        }
    }

    fn update(self, address: SocketAddr, running: &[u8]) -> Update {
        let found = Albatross::get(address, &format!("/hash?sha256={}", Sha256::of(running)));
        if found.status == 404 {
            return Update::NotInRepository;
        }
        let (job, old) = self.location(&found);
        let latest = Albatross::get(address, &format!("/job/{job}/build/latest"));
        let (_, new) = self.location(&latest);
        if old == new {
            return Update::UpToDate;
        }
        let mut target = format!("/job/{job}/build/{new}/main-binary");
        for _ in 0..5 {
            let answer = Albatross::get(address, &target);
            if (200..300).contains(&answer.status) {
                assert!(!answer.body.is_empty(), "an empty unikernel");
                return Update::New {
                    compare: format!("/compare/{old}/{new}"),
                    binary: answer.body,
                };
            }
            let location = answer.header("location").expect("a location header");
            assert!(
                location.starts_with('/'),
                "a relative location cannot be resolved"
            );
            target = location.to_owned();
        }
        panic!("too many redirects")
    }
}

#[test]
fn albatross_updates_a_unikernel_or_says_why_not() {
    let old = unikernel("hvt", &[]);
    let new = unikernel("hvt", &[("net", "service")]);
    let unikernel = |number, seconds, binary: &[u8]| {
        build("a b+c", number)
            .later(seconds)
            .file("bin/x y.hvt", binary)
            .file("x.hvt.debug", noise(50))
    };
    for client in [Albatross::Strict, Albatross::Lenient] {
        let server = Server::of(&[unikernel(1, 0, &old)]);
        let address = server.listen();
        assert_eq!(client.update(address, &old), Update::UpToDate);
        assert_eq!(
            client.update(address, b"never built"),
            Update::NotInRepository
        );
        server.keep(&unikernel(2, 60, &new));
        let expected = Update::New {
            compare: format!("/compare/{}/{}", build("", 1).uuid, build("", 2).uuid),
            binary: new.clone(),
        };
        assert_eq!(client.update(address, &old), expected);
        assert_eq!(client.update(address, &new), Update::UpToDate);
        // Built again with the same output: what runs is still up to date.
        server.keep(&unikernel(3, 120, &new));
        assert_eq!(client.update(address, &new), Update::UpToDate);
    }
}

/// A unikernel that mollymawk offers to deploy.
#[derive(Debug, PartialEq)]
struct Deployable {
    name: String,
    uuid: String,
    target: String,
    devices: Vec<(String, String)>,
}

fn string(value: Option<&Value>, what: &str) -> Result<String, String> {
    value
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("{what} is no string: {value:?}"))
}

/// Strict on what it reads, silent on the rest; one bad job and the whole list is lost.
fn mollymawk_jobs(list: &Value) -> Result<Vec<Deployable>, String> {
    let jobs = list
        .get("jobs")
        .and_then(Value::as_array)
        .ok_or("no list of jobs")?;
    let mut all = Vec::new();
    for job in jobs {
        let name = string(job.get("name"), "name")?;
        string(job.get("synopsis"), &format!("the synopsis of {name}"))?;
        let Some(latest) = job.get("latest") else {
            continue;
        };
        let Some(abi) = latest.get("solo5_abi") else {
            continue;
        };
        let Some(target @ ("hvt" | "spt")) = abi.get("target").and_then(Value::as_str) else {
            continue;
        };
        if abi.get("version").and_then(Value::as_i64).is_none() {
            continue;
        }
        let manifest = latest.get("solo5_manifest").ok_or("no manifest")?;
        let devices = manifest
            .get("devices")
            .and_then(Value::as_array)
            .ok_or("no devices")?;
        let device = |device: &Value| {
            let kind = string(device.get("type"), "type")?;
            if !["NET_BASIC", "BLOCK_BASIC"].contains(&kind.as_str()) {
                return Err(format!("an unknown device {kind}"));
            }
            Ok((string(device.get("name"), "name")?, kind))
        };
        all.push(Deployable {
            uuid: string(latest.get("uuid"), "uuid")?,
            target: target.to_owned(),
            devices: devices.iter().map(device).collect::<Result<_, String>>()?,
            name,
        });
    }
    Ok(all)
}

/// As mollymawk's HTTP client: `Accept` on each hop, at most five requests.
fn mollymawk_get(address: SocketAddr, target: &str, accept: Option<&str>) -> Answer {
    let mut target = target.to_owned();
    for _ in 0..5 {
        let headers: Vec<(&str, &str)> = accept
            .map(|accept| ("accept", accept))
            .into_iter()
            .collect();
        let answer = exchange(address, "GET", &target, &headers, b"");
        match answer.header("location") {
            Some(location) if (300..400).contains(&answer.status) => target = location.to_owned(),
            _ => return answer,
        }
    }
    panic!("too many redirects")
}

#[test]
fn mollymawk_offers_every_unikernel_it_can_deploy_and_no_job_spoils_its_list() {
    let job = |name: &str, number, binary: Vec<u8>| {
        build(name, number)
            .file("bin/x", binary)
            .file("opam-switch", switch(name, MIRAGE, "It runs"))
    };
    let server = Server::of(&[
        job("hvt", 1, unikernel("hvt", &[("net", "service")])),
        job("spt", 2, unikernel("spt", &[("block", "disk")])),
        job("xen", 3, unikernel("xen", &[("net", "service")])),
        job("package", 4, b"!<arch>\n".to_vec()),
        build("nosynopsis", 5).file("bin/x", unikernel("hvt", &[("net", "n")])),
        job("nodevices", 6, unikernel("hvt", &[])),
        job(
            "two",
            7,
            unikernel("hvt", &[("net", "a\"<&"), ("block", "b")]),
        ),
        job(
            "damaged",
            8,
            unikernel("hvt", &[("net", "service")])[..300].to_vec(),
        ),
        job("failed", 9, Vec::new()),
        build("nothing", 10),
    ]);
    let address = server.listen();
    let answer = mollymawk_get(address, "/all-builds", Some("application/json"));
    let jobs = mollymawk_jobs(&answer.json()).unwrap();
    let expected = |name: &str, number, target: &str, devices: &[(&str, &str)]| Deployable {
        name: name.to_owned(),
        uuid: build("", number).uuid.to_string(),
        target: target.to_owned(),
        devices: devices
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()))
            .collect(),
    };
    let all = [
        expected("nosynopsis", 5, "hvt", &[("n", "NET_BASIC")]),
        expected("hvt", 1, "hvt", &[("service", "NET_BASIC")]),
        expected("nodevices", 6, "hvt", &[]),
        expected("spt", 2, "spt", &[("disk", "BLOCK_BASIC")]),
        expected(
            "two",
            7,
            "hvt",
            &[("a\"<&", "NET_BASIC"), ("b", "BLOCK_BASIC")],
        ),
    ];
    for one in &all {
        assert!(jobs.contains(one), "{one:?} in {jobs:?}");
    }
    assert_eq!(jobs.len(), all.len(), "{jobs:?}");
    let binary = mollymawk_get(address, "/job/hvt/build/latest/main-binary", None);
    assert!(binary.status == 200 && binary.body == unikernel("hvt", &[("net", "service")]));
}

/// `Ptime.of_rfc3339` takes this form.
fn is_rfc3339(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|char| if char.is_ascii_digit() { '0' } else { char })
        .collect();
    shape == "0000-00-00T00:00:00-00:00"
}

#[test]
fn mollymawk_learns_whether_a_unikernel_is_the_latest() {
    let of = |number, seconds, content: &str| {
        build("hello", number).later(seconds).file("bin/x", content)
    };
    let server = Server::of(&[of(1, 0, "old"), of(2, 60, "new")]);
    let address = server.listen();
    let uuid_of = |target: &str| {
        let answer = mollymawk_get(address, target, Some("application/json"));
        assert_eq!(answer.status, 200, "{target}");
        let build = answer.json();
        for member in ["job", "uuid", "platform", "start_time", "finish_time"] {
            string(build.get(member), member).unwrap();
        }
        for time in ["start_time", "finish_time"] {
            assert!(is_rfc3339(build[time].as_str().unwrap()), "{build}");
        }
        assert!(build["main_binary"].is_boolean());
        let size = build.get("main_binary_size");
        assert!(size.is_none_or(|size| size.is_null() || size.is_u64()));
        build["uuid"].as_str().unwrap().to_owned()
    };
    let current = uuid_of(&format!("/hash?sha256={}", Sha256::of(b"old")));
    let latest = uuid_of("/job/hello/build/latest");
    assert_eq!(
        (current, latest),
        (of(1, 0, "").uuid.to_string(), of(2, 0, "").uuid.to_string())
    );
    assert_eq!(
        mollymawk_get(address, "/hash?sha256=00", Some("application/json")).status,
        400
    );
}

struct Site {
    /// Serves for as long as it lives.
    _server: Server,
    url: String,
    directory: tempfile::TempDir,
}

impl Site {
    fn of(builds: &[Build]) -> Site {
        let server = Server::of(builds);
        let url = format!("http://{}", server.listen());
        Site {
            _server: server,
            url,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(name)).unwrap()
    }
}

fn packages() -> [Build; 3] {
    let orb = |number, platform: &str, content: &str| {
        build("orb", number)
            .later(i64::try_from(number).unwrap())
            .platform(platform)
            .file("bin/orb.deb", content)
    };
    [
        orb(1, "debian-11", "for eleven"),
        orb(2, "ubuntu-20.04", "for twenty"),
        orb(3, "a,b", "for both"),
    ]
}

#[test]
fn workers_fetch_the_package_for_their_platform_with_wget() {
    let site = Site::of(&packages());
    for below in ["main-binary", "f/bin/orb.deb"] {
        for (platform, content) in [
            ("debian-11", "for eleven"),
            ("ubuntu-20.04", "for twenty"),
            ("a,b", "for both"),
        ] {
            let url = format!(
                "{}/job/orb/build/latest/{below}?platform={platform}",
                site.url
            );
            succeeds(
                site.directory.path(),
                "wget",
                &["-q", "-O", "orb.deb", &url],
            );
            assert_eq!(
                String::from_utf8_lossy(&site.read("orb.deb")),
                content,
                "{url}"
            );
        }
        let none = format!("{}/job/orb/build/latest/{below}?platform=none", site.url);
        assert!(
            !run(site.directory.path(), "wget", &["-q", "-O", "none", &none])
                .status
                .success()
        );
    }
}

#[test]
fn a_download_that_broke_off_is_continued_by_wget() {
    let content = noise(700_000);
    let site = Site::of(&[build("hello", 1).file("bin/hello.hvt", &content)]);
    let url = format!(
        "{}/job/hello/build/{}/f/bin/hello.hvt",
        site.url,
        build("", 1).uuid
    );
    let file = site.directory.path().join("hello.hvt");
    for have in [0, 1, 65_536, 400_000, 699_999, 700_000] {
        std::fs::write(&file, &content[..have]).unwrap();
        // What is whole already is 416, which wget takes for the end.
        let output = run(site.directory.path(), "wget", &["-c", "-S", &url]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(site.read("hello.hvt") == content, "{have}: {log}");
        if (1..700_000).contains(&have) {
            assert!(log.contains("206 Partial Content"), "{log}");
        }
    }
}

#[test]
fn curl_does_what_the_documentation_shows() {
    let content = unikernel("hvt", &[]);
    let hello = build("hello", 1).file("bin/hello.hvt", &content);
    let site = Site::of(std::slice::from_ref(&hello));
    let (url, at) = (&site.url, site.directory.path());
    succeeds(
        at,
        "curl",
        &[
            "-o",
            "website.hvt",
            "-fsSL",
            &format!("{url}/job/hello/build/latest/main-binary"),
        ],
    );
    assert!(site.read("website.hvt") == content);
    succeeds(
        at,
        "curl",
        &[
            "-sLO",
            &format!("{url}/job/hello/build/latest/f/bin/hello.hvt"),
        ],
    );
    assert!(site.read("hello.hvt") == content);
    for slash in ["/job/hello/", "/job/hello/build/latest/"] {
        succeeds(at, "curl", &["-fsSL", &format!("{url}{slash}")]);
    }
    // -f needs an error status.
    for missing in [
        "/job/none",
        "/job/hello/build/latest/f/none",
        "/job/none/build/latest/main-binary",
    ] {
        let output = run(at, "curl", &["-fsSL", &format!("{url}{missing}")]);
        assert_eq!(output.status.code(), Some(22), "{missing}");
    }
    let head = succeeds(
        at,
        "curl",
        &["-sI", &format!("{url}{}/f/bin/hello.hvt", hello.url())],
    );
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(
        head.matches(&format!("content-length: {}\r\n", content.len()))
            .count(),
        1,
        "{head}"
    );
    assert!(!head.contains("transfer-encoding"), "{head}");
    // Packed on the way, the same when it arrives.
    let all = format!("{url}/all-builds");
    let packed = succeeds(at, "curl", &["-s", "--compressed", &all]);
    let plain = succeeds(at, "curl", &["-s", &all]);
    assert!(packed == plain && plain.starts_with(b"<!DOCTYPE html>"));
}

#[test]
fn operators_upload_a_kept_build_with_curl() {
    let site = Site::of(&[]);
    std::fs::write(
        site.directory.path().join("x.full"),
        build("hello", 1).file("bin/x", noise(100_000)).exec(),
    )
    .unwrap();
    let status = |user: &str| {
        let url = site.url.replace("http://", &format!("http://{user}@"));
        let arguments = [
            "-s",
            "-o",
            "answer",
            "-w",
            "%{http_code}",
            "--data-binary",
            "@x.full",
            &format!("{url}/upload"),
        ];
        String::from_utf8(succeeds(site.directory.path(), "curl", &arguments)).unwrap()
    };
    assert_eq!(status("builder:hunter2%3Awith%20colon"), "201");
    assert_eq!(status("builder:hunter2%3Awith%20colon"), "409");
    assert!(
        String::from_utf8_lossy(&site.read("answer"))
            .starts_with("Build with same uuid exists: hello(")
    );
    assert_eq!(status("builder:wrong"), "401");
}

#[test]
fn one_server_is_filled_from_another_by_the_job_lists() {
    let first = Server::of(&[
        build("hello", 1)
            .file("bin/x", unikernel("hvt", &[]))
            .file("README.md", "# Read"),
        build("hello", 2).later(60).file("bin/x", "newer"),
        build("orb", 3).file("bin/orb.deb", "deb"),
    ]);
    let second = Server::new();
    for job in first.json("/")["jobs"].as_array().unwrap() {
        let name = job["name"].as_str().unwrap();
        for build in first.json(&format!("/job/{name}"))["builds"]
            .as_array()
            .unwrap()
        {
            let uuid = build["uuid"].as_str().unwrap();
            let exec = first.get(&format!("/job/{name}/build/{uuid}/exec")).body;
            assert_eq!(
                second.upload_bytes(BUILDER, exec).status,
                201,
                "{name} {uuid}"
            );
        }
    }
    assert_eq!(first.json("/all-builds"), second.json("/all-builds"));
    assert_eq!(first.page("/job/hello"), second.page("/job/hello"));
}

#[test]
fn builder_server_sends_one_request_and_reads_any_success() {
    let server = Server::new();
    let address = server.listen();
    let send = |exec: &[u8], user: (&str, &str)| {
        let (length, authorization) = (exec.len().to_string(), basic(user));
        let headers = [
            ("user-agent", "http-lwt-client/0.3.1"),
            ("content-length", length.as_str()),
            ("authorization", authorization.as_str()),
        ];
        exchange(address, "POST", "/upload", &headers, exec).status
    };
    let large = build("hello", 1).file("bin/x", noise(10_000_000)).exec();
    assert_eq!(send(&large, BUILDER), 201);
    assert_eq!(send(&large, BUILDER), 409);
    assert_eq!(send(&large, ("builder", "wrong")), 401);
    let aborted = build("hello", 2).ended(builder_exec::ExecutionResult::Message(
        b"no worker".to_vec(),
    ));
    assert_eq!(send(&aborted.exec(), BUILDER), 201);
}
