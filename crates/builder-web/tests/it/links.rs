//! Every link of every page of the demo leads somewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::body::Body;

use crate::demo_site::demo_site;
use crate::server::{Answer, Server};

/// What a page links to or loads of this site, without what only the page itself knows.
pub(crate) fn of(page: &str) -> BTreeSet<String> {
    let urls = [" href=\"", " src=\"", " data=\""]
        .into_iter()
        .flat_map(|attribute| values(page, attribute));
    urls.map(|url| url.split('#').next().unwrap().to_owned())
        .filter(|path| path.starts_with('/'))
        .collect()
}

/// Places on pages that a page links to: the path, which is empty for the page itself, and the id.
fn places(page: &str) -> BTreeSet<(String, String)> {
    values(page, " href=\"")
        .filter_map(|url| {
            let (path, id) = url.split_once('#')?;
            let here = path.is_empty() || path.starts_with('/');
            here.then(|| (path.to_owned(), id.to_owned()))
        })
        .collect()
}

/// The values of an attribute.
fn values<'a>(page: &'a str, attribute: &'a str) -> impl Iterator<Item = String> + 'a {
    page.split(attribute).skip(1).map(|rest| {
        let plain = [
            ("&amp;", "&"),
            ("&#38;", "&"),
            ("&#34;", "\""),
            ("&#39;", "'"),
        ];
        let value = rest.split('"').next().unwrap().to_owned();
        let unescape = |value: String, (from, to): (&str, &str)| value.replace(from, to);
        plain.into_iter().fold(value, unescape)
    })
}

/// A page that waits for a comparison, once that is done.
pub(crate) fn finished(server: &Server, path: &str) -> String {
    finished_answer(server, path).text()
}

fn finished_answer(server: &Server, path: &str) -> Answer {
    let begin = Instant::now();
    loop {
        let answer = server.get(path);
        let busy = answer.status == 503 || answer.header("refresh").is_some();
        if !busy || begin.elapsed() > Duration::from_secs(60) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is the same of the URLs of one kind of page.
pub(crate) fn kind_of(url: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut parts: Vec<&str> = path.split('/').collect();
    for part in &mut parts {
        if uuid::Uuid::parse_str(part).is_ok() {
            *part = "UUID";
        }
    }
    if ["job", "package"].contains(&parts[1]) && parts.len() > 2 {
        parts[2] = "NAME";
    }
    if parts.get(5) == Some(&"f") {
        parts.truncate(6);
    }
    let names: Vec<&str> = query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .collect();
    format!("{}?{}", parts.join("/"), names.join("&"))
}

/// What is dear to make, and there in hundreds of the same kind. With `BUILDER_WEB_LINKS=all` each is
/// followed, otherwise so many of each kind.
const DEAR: [&str; 5] = [
    "/compare/UUID/UUID?",
    "/compare/UUID/UUID/f?left",
    "/compare/UUID/UUID/viztreemap?",
    "/job/NAME/build/UUID/viztreemap?",
    "/job/NAME/build/UUID/viztreemap?framed",
];
const DEAR_MAX: u32 = 12;

/// Whether everything is to be followed.
pub(crate) fn all_are_wanted() -> bool {
    std::env::var("BUILDER_WEB_LINKS").is_ok_and(|links| links == "all")
}

/// Pages that are yet to be looked at, each with one that links to it.
#[derive(Default)]
pub(crate) struct Walk {
    all: bool,
    seen: BTreeSet<String>,
    left: VecDeque<(String, String)>,
    under_way: usize,
    kinds: BTreeMap<String, u32>,
    broken: Vec<String>,
    /// The pages of ours that there are.
    pub(crate) pages: BTreeSet<String>,
    /// The ids of each page that was looked at.
    ids: BTreeMap<String, BTreeSet<String>>,
    /// Which place on which page is linked to, and from where.
    places: BTreeMap<(String, String), String>,
}

impl Walk {
    fn note(&mut self, from: &str, links: BTreeSet<String>) {
        for link in links {
            if self.seen.insert(link.clone()) {
                let kind = kind_of(&link);
                let dear = !self.all && DEAR.contains(&kind.as_str());
                let count = self.kinds.entry(kind).or_default();
                *count += 1;
                if !dear || *count <= DEAR_MAX {
                    self.left.push_back((from.to_owned(), link));
                }
            }
        }
    }

    /// What there is on a page, and where it links into pages.
    fn note_places(&mut self, page: &str, html: &str) {
        self.pages.insert(page.to_owned());
        let ids = values(html, " id=\"").collect();
        self.ids.insert(page.to_owned(), ids);
        for (path, id) in places(html) {
            let path = if path.is_empty() {
                page.to_owned()
            } else {
                path
            };
            self.places.entry((path, id)).or_insert(page.to_owned());
        }
    }

    /// Links to places that are not on the page they are said to be on.
    fn missing_places(&self) -> Vec<String> {
        let missing = self.places.iter().filter(|((path, id), _)| {
            let ids = self.ids.get(path);
            ids.is_some_and(|ids| !ids.contains(id))
        });
        missing
            .map(|((path, id), from)| format!("{path}#{id}, linked from {from}"))
            .collect()
    }
}

/// Follows the links from the front page on.
pub(crate) fn walk(server: &Server) -> Walk {
    let walk = Mutex::new(Walk {
        all: all_are_wanted(),
        ..Walk::default()
    });
    walk.lock()
        .unwrap()
        .note("", BTreeSet::from(["/".to_owned()]));
    let look = || {
        loop {
            let next = {
                let mut walk = walk.lock().unwrap();
                let next = walk.left.pop_front();
                walk.under_way += usize::from(next.is_some());
                if next.is_none() && walk.under_way == 0 {
                    return;
                }
                next
            };
            let Some((from, path)) = next else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            // Of an archive the head is enough.
            let answer = if path.ends_with("/all.tar.gz") {
                server.send("HEAD", &path, &[], Body::empty())
            } else {
                finished_answer(server, &path)
            };
            let mut walk = walk.lock().unwrap();
            walk.under_way -= 1;
            if answer.status != 200 {
                walk.broken
                    .push(format!("{}: {path}, linked from {from}", answer.status));
            }
            let html = answer
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/html"));
            // Files of a build are shown as they are; they are not ours.
            if html && !path.contains("/f/") {
                let html = answer.text();
                walk.note(&path, of(&html));
                walk.note_places(&path, &html);
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(look);
        }
    });
    walk.into_inner().unwrap()
}

#[test]
fn every_link_of_every_page_of_the_demo_leads_somewhere() {
    let walk = walk(&demo_site());
    assert_eq!(walk.broken, Vec::<String>::new());
    assert_eq!(walk.missing_places(), Vec::<String>::new());
    assert!(walk.places.len() > 500, "{} places", walk.places.len());
    assert!(walk.seen.len() > 1000, "{} links", walk.seen.len());
    assert!(walk.kinds.len() > 35, "{:#?}", walk.kinds);
}
