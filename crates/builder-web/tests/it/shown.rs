//! What a page shows in words and numbers, and the same of JSON: sizes, durations, counts, platforms,
//! states, verdicts, what changed, why it failed.

use std::collections::BTreeSet;
use std::time::Duration;

use builder_store::verdict::Verdict;
use builder_web::input_changes::{InputChanges, Known};
use builder_web::{failures, show};
use serde_json::{Map, Value};

/// What JSON says, as a page would show it.
#[derive(Default)]
pub(crate) struct Said {
    /// All texts, a line each.
    pub(crate) texts: String,
    /// Numbers and the lengths of lists, as counts, sizes, parts in a thousand; and what else is a number
    /// with a meaning.
    facts: BTreeSet<String>,
}

impl Said {
    pub(crate) fn add(&mut self, json: &Value) {
        match json {
            Value::Array(items) => {
                self.facts.insert(items.len().to_string());
                items.iter().for_each(|item| self.add(item));
            }
            Value::Object(members) => {
                self.meaning(members);
                members.values().for_each(|member| self.add(member));
            }
            Value::String(text) => {
                self.texts.push_str(text);
                self.texts.push('\n');
            }
            other => {
                self.texts.push_str(&format!("{other}\n"));
                if let Some(number) = other.as_u64() {
                    self.facts.extend([
                        number.to_string(),
                        show::bytes(&number),
                        show::per_cent(&number),
                    ]);
                }
            }
        }
    }

    fn meaning(&mut self, members: &Map<String, Value>) {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let number = |name: &str| members.get(name).and_then(Value::as_u64);
        if let (Some(name), Some(by), Some(uploaders)) = (
            text("verdict"),
            number("reproduced_by"),
            number("uploaders"),
        ) {
            let verdicts = [
                Verdict::Reproduced { by, uploaders },
                Verdict::Unchanged,
                Verdict::Changed,
                Verdict::BuiltOnce,
                Verdict::NotReproducible,
                Verdict::Failed,
            ];
            let verdict = verdicts.into_iter().find(|verdict| verdict.name() == name);
            self.facts
                .extend(verdict.map(|verdict| verdict.to_string()));
        }
        if let Some(state) = text("state") {
            let words = show::VERDICTS.into_iter().find(|(name, _)| *name == state);
            self.facts.extend(words.map(|(_, words)| words.to_owned()));
        }
        for name in ["duration_seconds", "wait"] {
            let seconds = members.get(name).and_then(Value::as_f64);
            let duration = seconds.map(|seconds| show::duration(Duration::from_secs_f64(seconds)));
            self.facts.extend(duration);
        }
        if let (Some(name), Some(version)) = (text("name"), text("version")) {
            self.texts.push_str(&format!("{name}.{version}\n"));
        }
        // One is shown, "and N more".
        let more = number("count").and_then(|count| count.checked_sub(1));
        self.facts.extend(more.map(|more| more.to_string()));
        self.facts
            .extend(text("class").map(failures::label).map(str::to_owned));
        let count = |name| usize::try_from(number(name).unwrap_or(0)).unwrap();
        let changes = match text("known") {
            Some("same") => Some(Known::Same),
            Some("changed") => Some(Known::Changes(InputChanges {
                opam: count("opam_packages"),
                variables: count("environment_variables"),
                system: count("system_packages"),
            })),
            Some("not-recorded") => Some(Known::Untold),
            Some("unreadable") => Some(Known::Unreadable),
            _ => None,
        };
        self.facts.extend(changes.map(|changes| changes.in_words()));
        // How it ended has numbers of its own: `exited 31`.
        let words = text("result").unwrap_or_default().split_whitespace();
        self.facts.extend(words.map(str::to_owned));
    }

    /// What is shown and not said.
    pub(crate) fn lacks(&self, main: &str) -> Vec<String> {
        let mut lacks = Vec::new();
        for (kind, fact) in facts(main) {
            let told = match kind {
                Kind::Fact => self.facts.contains(&fact),
                Kind::Text => self.texts.contains(&fact) || self.facts.contains(&fact),
                Kind::Name => self.texts.lines().any(|text| text == fact),
            };
            if !told {
                lacks.push(format!("{kind:?}: {fact}"));
            }
        }
        lacks
    }
}

/// How a fact is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Among the facts.
    Fact,
    /// In the texts, or among the facts.
    Text,
    /// As a whole text.
    Name,
}

/// What the main part of a page shows.
fn facts(main: &str) -> BTreeSet<(Kind, String)> {
    let mut facts = BTreeSet::new();
    // What is chosen by the reader, told by the uploader or explained to everybody.
    let mut rest = main.replace("32 MiB of memory are an example", "");
    for (tag, class) in [
        ("form", ""),
        ("div", "markdown"),
        ("details", "legend"),
        ("ul", "key"),
        ("h1", ""),
        ("svg", ""),
        ("nav", "contents"),
        ("ul", "trouble"),
    ] {
        rest = cut(&rest, tag, class, |_| {});
    }
    for verdict in inside(main, "div", "verdict") {
        let sentences = [
            inside(&verdict, "strong", ""),
            inside(&verdict, "p", "faint"),
        ]
        .concat();
        let sentences = sentences.iter().map(|sentence| words(sentence));
        // The time is checked by itself.
        let sentences = sentences.filter(|words| !words.starts_with("Artifacts removed on "));
        facts.extend(sentences.map(|sentence| (Kind::Text, sentence)));
    }
    let mut take = |tag, class, kind, of: &dyn Fn(&str) -> Vec<String>| {
        rest = cut(&rest, tag, class, |inner| {
            facts.extend(of(inner).into_iter().map(|fact| (kind, fact)));
        });
    };
    let whole = |inner: &str| vec![words(inner)];
    take("pre", "", Kind::Text, &|inner| {
        let lines = inner.replace("</", "\n</");
        let lines = lines.lines().map(crate::page_json::text);
        lines.filter(|line| !line.trim().is_empty()).collect()
    });
    for tag in ["span", "a"] {
        take(tag, "platform", Kind::Name, &whole);
        take(tag, "state", Kind::Fact, &whole);
    }
    take("a", "version", Kind::Name, &whole);
    take("p", "standing", Kind::Text, &whole);
    take("p", "between", Kind::Fact, &|inner| {
        inside(inner, "a", "")
            .iter()
            .map(|link| words(link))
            .collect()
    });
    for tag in ["code", "time"] {
        take(tag, "", Kind::Text, &|_| Vec::new());
    }
    facts.extend(
        numbers(&words(&rest))
            .into_iter()
            .map(|fact| (Kind::Fact, fact)),
    );
    facts
}

/// Counts, sizes, durations and parts in a text.
fn numbers(text: &str) -> Vec<String> {
    let bare = |word: &str| word.trim_matches(['(', ')', ',', '.', ';', ':']).to_owned();
    let words: Vec<String> = text.split_whitespace().map(bare).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let is_number = |at: usize| {
            words
                .get(at)
                .is_some_and(|word| word.parse::<f64>().is_ok())
        };
        let unit = |at: usize| words.get(at + 1).map_or("", String::as_str);
        let pair = |at: usize| format!("{} {}", words[at], unit(at));
        if !is_number(at) {
            at += 1;
            continue;
        }
        match unit(at) {
            "B" | "KiB" | "MiB" | "GiB" | "%" => {
                found.push(pair(at));
                at += 2;
            }
            "h" | "min" if is_number(at + 2) => {
                found.push(format!("{} {}", pair(at), pair(at + 2)));
                at += 4;
            }
            "s" => {
                found.push(pair(at));
                at += 2;
            }
            _ => {
                found.extend(words[at].parse::<u64>().ok().map(|_| words[at].clone()));
                at += 1;
            }
        }
    }
    found
}

/// Without tags, and with single spaces.
fn words(html: &str) -> String {
    // An element ends a word.
    let apart = html.replace("</", " </").replace("<a", " <a");
    let text = crate::page_json::text(&format!("<p>{apart}"));
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .replace(" .", ".")
        .replace(" ,", ",")
        .replace(" ;", ";")
}

/// What is inside elements of this class; all of this tag, without a class.
fn inside(html: &str, tag: &str, class: &str) -> Vec<String> {
    let mut found = Vec::new();
    cut(html, tag, class, |inner| found.push(inner.to_owned()));
    found
}

/// Cuts out elements and hands over what is inside.
pub(crate) fn cut(html: &str, tag: &str, class: &str, mut take: impl FnMut(&str)) -> String {
    let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
    let mut kept = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(&open) {
        let (before, from) = rest.split_at(at);
        let (head, body) = from.split_once('>').unwrap();
        let of_tag = head[open.len()..]
            .chars()
            .next()
            .is_none_or(char::is_whitespace);
        let classes = head
            .split("class=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let of_class = class.is_empty()
            || classes.is_some_and(|classes| classes.split(' ').any(|one| one == class));
        kept.push_str(before);
        if !(of_tag && of_class) {
            kept.push_str(&from[..open.len()]);
            rest = &from[open.len()..];
            continue;
        }
        let mut depth = 1;
        let mut end = 0;
        while depth > 0 {
            let closing = body[end..].find(&close).unwrap() + end;
            depth += body[end..closing].matches(&open).count();
            depth -= 1;
            end = closing + close.len();
        }
        take(&body[..end - close.len()]);
        kept.push(' ');
        rest = &body[end..];
    }
    kept.push_str(rest);
    kept
}

#[test]
fn numbers_are_told_apart_by_their_units() {
    let text =
        "Size 1.3 MiB between 411 B and 1.3 MiB; took 8 min 46 s, (exited 31) 98.5 % of 3 builds.";
    assert_eq!(
        numbers(text),
        [
            "1.3 MiB",
            "411 B",
            "1.3 MiB",
            "8 min 46 s",
            "31",
            "98.5 %",
            "3"
        ]
    );
}

#[test]
fn what_json_does_not_say_is_found() {
    let page = r#"<p><span class="state changed">changed</span> on <a class="platform" href="/">debian-12</a>,
        <b>2 builds</b> of 1.0 KiB</p><p class="between"><a href="/">1 opam package changed</a></p>"#;
    let mut said = Said::default();
    said.add(&serde_json::json!({
        "state": { "verdict": "changed", "reproduced_by": 0, "uploaders": 0 }, "platform": "debian-12",
        "builds": [{ "size": 1024 }, {}],
        "changes": { "known": "changed", "opam_packages": 1 },
    }));
    assert_eq!(said.lacks(page), [""; 0]);
    let nothing = Said::default().lacks(page);
    assert_eq!(
        nothing,
        [
            "Fact: 1 opam package changed",
            "Fact: 1.0 KiB",
            "Fact: 2",
            "Fact: changed",
            "Name: debian-12"
        ]
    );
}
