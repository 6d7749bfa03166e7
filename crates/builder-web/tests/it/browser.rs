//! A real browser, Chromium, told what to do through its driver: the demo as people meet it.

mod everywhere;
mod keyboard;
mod visitor;
mod window;
mod without_script;

use std::collections::BTreeSet;

use builder_store::Store;
use builder_store::removal::{Goal, Keep};
use builder_web::urls;
use serde_json::Value;

use crate::build::build;
use crate::demo_site::demo_site;
use crate::links;
use crate::server::{Server, now, operator};
use window::Browser;

/// The demo's builds, at an address.
struct Site {
    server: Server,
    base: String,
}

impl Site {
    fn new() -> Site {
        let server = demo_site();
        let base = format!("http://{}", server.listen());
        Site { server, base }
    }

    fn browser(&self) -> Browser {
        Browser::on(&self.base)
    }

    /// The builds of a job on Debian that have a main binary, newest first.
    fn builds(&self, job: &str) -> Vec<Value> {
        let all = self
            .server
            .json(&format!("/api/v1/jobs/{job}/builds?limit=100"));
        let mut all = all["items"].as_array().unwrap().clone();
        all.retain(|build| build["platform"] == "debian-12" && build["successful"] == true);
        all
    }

    fn uuid(&self, job: &str, at: usize) -> String {
        self.builds(job)[at]["uuid"].as_str().unwrap().to_owned()
    }

    /// The page of one of them.
    fn build(&self, job: &str, at: usize) -> String {
        format!("/job/{job}/build/{}", self.uuid(job, at))
    }

    /// The page of the newest build that failed for this reason.
    fn failed(&self, class: &str) -> String {
        let failed = self.server.json(&format!("/failed-builds?class={class}"));
        let failed = &failed["builds"][0];
        let text = |name: &str| failed[name].as_str().unwrap().to_owned();
        format!("/job/{}/build/{}", text("job"), text("uuid"))
    }

    /// The comparison of the newest two builds of a job in a row whose outputs differ, from the same
    /// input or not.
    fn compared(&self, job: &str, same_input: bool) -> String {
        let builds = self.builds(job);
        let mut pairs = builds.windows(2);
        let differ = |pair: &&[Value]| {
            pair[0]["main_binary"] != pair[1]["main_binary"]
                && (pair[0]["input_id"] == pair[1]["input_id"]) == same_input
        };
        let pair = pairs.find(differ).unwrap_or_else(|| panic!("{builds:#?}"));
        let uuid = |at: usize| pair[at]["uuid"].as_str().unwrap();
        format!("/compare/{}/{}", uuid(1), uuid(0))
    }

    /// The comparisons of files that a comparison of builds links to.
    fn compared_files(&self, compared: &str) -> BTreeSet<String> {
        let page = links::finished(&self.server, compared);
        let mut files = links::of(&page);
        files.retain(|link| link.starts_with(&format!("{compared}/f?")));
        assert!(!files.is_empty(), "{compared} links to no files: {page}");
        files
    }

    /// A page of each kind, with something on it; of what is shown in many ways, each way.
    fn kinds(&self) -> Vec<String> {
        let lantern = self.build("lantern", 0);
        let mut all = vec![
            "/".to_owned(),
            "/?name=nothing-like-this".to_owned(),
            "/all-builds".to_owned(),
            "/all-builds?state=not-reproducible".to_owned(),
            "/job/lantern".to_owned(),
            "/job/ferryman?platform=debian-12".to_owned(),
            "/job/millrace/failed".to_owned(),
            format!("/job/lantern?before={}", self.uuid("lantern", 2)),
            lantern.clone(),
            self.build("ferryman", 0),
            self.build("nightly-links", 0),
            self.failed("disk-full"),
            format!("{}/console.html", self.failed("compile-error")),
            format!("{lantern}/console.html?find=orb"),
            "/failed-builds".to_owned(),
            "/failed-builds?class=network".to_owned(),
            "/failed-builds?class=network&job=nobody".to_owned(),
            "/search".to_owned(),
            "/status".to_owned(),
            format!("{lantern}/packages"),
            "/search?q=lan".to_owned(),
            "/search?q=lantern&kind=files".to_owned(),
            "/search?q=*antern".to_owned(),
            "/search?q=nothing-like-this".to_owned(),
            "/search?q=tls+%3E%3D+1.0".to_owned(),
            "/package/tls".to_owned(),
            "/package/tls?version=2.0.0".to_owned(),
            format!("{lantern}/viztreemap"),
            format!("{lantern}/vizdependencies"),
            "/job/nobody".to_owned(),
            "/nowhere".to_owned(),
        ];
        // What changed in the input, and the same input with another output.
        for (job, same_input) in [("lantern", false), ("ferryman", true)] {
            let compared = self.compared(job, same_input);
            all.extend(self.compared_files(&compared));
            all.push(format!("{compared}/viztreemap"));
            all.push(compared);
        }
        all
    }

    /// Takes in a job with more outputs than are on one page, the newest with more lines than are on one
    /// page, in colour across its end. It is no longer the demo after that. Gives the pages that follow
    /// the first ones.
    fn add_a_long_job(&self) -> Vec<String> {
        const BUILDS: u128 = 25;
        for number in 1..=BUILDS {
            let mut long = build("towpath", number)
                .later(i64::try_from(number).unwrap() * -3600)
                .file("bin/towpath", format!("output {number}"));
            if number == 1 {
                let lines = (1..=urls::CONSOLE_LINES + 200).map(|line| {
                    let paint = match line {
                        900 => "\x1b[31m",
                        1100 => "\x1b[0m",
                        _ => "",
                    };
                    let time = i64::try_from(line).unwrap() * 10_000_000;
                    (time, format!("{paint}step {line}").into_bytes())
                });
                long.console = lines.collect();
            }
            self.server.keep(&long);
        }
        let first_pages = ["/job/towpath".to_owned(), {
            let newest = build("towpath", 1);
            format!("{}/console.html", newest.url())
        }];
        let goes_on = |link: &String| {
            ["before=", "page=", "from="]
                .iter()
                .any(|part| link.contains(part))
        };
        let all = first_pages.iter().map(|page| {
            let links = links::of(&self.server.page(page));
            let next: Vec<String> = links.into_iter().filter(goes_on).collect();
            assert!(!next.is_empty(), "{page} does not go on");
            next
        });
        all.flatten().collect()
    }

    /// Removes the files of an old build: its page, and a download of what it had. It is no longer
    /// the demo after that.
    fn remove_one(&self) -> [String; 2] {
        let oldest = self.builds("ferryman").pop().unwrap();
        let page = format!("/job/ferryman/build/{}", oldest["uuid"].as_str().unwrap());
        let file = oldest["main_binary"]["path"].as_str().unwrap();
        let goal = Goal::Vacuum {
            jobs: Vec::new(),
            platform: None,
            keep: Keep::Latest(2),
        };
        let store = Store::open_beside(self.server.datadir()).unwrap();
        store
            .remove(&goal, &operator(), &now(), &mut |_| {})
            .unwrap();
        let download = format!("{page}/f/{file}");
        assert_eq!(self.server.get(&download).status, 410);
        [page, download]
    }
}
