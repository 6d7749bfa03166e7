//! `/job/:job/build/:uuid/console.html`: the console of a build, a thousand lines at a time. The
//! raw text is `…/console`, which programs know.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use builder_store::builds::{self, Build};
use builder_store::failures::{self as told, Failure};
use builder_store::verdict::{self, Verdict};
use serde_json::{Value, json};

use crate::app::{App, Page};
use crate::client::Client;
use crate::console::ansi;
use crate::console::outline::{self, Found, Line, Outline};
use crate::error::{Error, Result};
use crate::names::Path;
use crate::places::{DEAR_BYTES_MIN, Who};
use crate::query::Query;
use crate::respond::{Accepts, Layout};
use crate::share::Share;
use crate::{cursor, failure, failures, names, removed, show, urls, view};

/// Bytes of a line that are shown.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of all lines of a page, before they are cut short.
const PAGE_BYTES_MAX: usize = 512 * 1024;
/// Characters of what is looked for.
const FIND_CHARS_MAX: usize = 200;
/// Lines that are listed of those it was found in, and characters of each.
const FOUND_MAX: usize = 100;
const FOUND_CHARS_MAX: usize = 160;
/// A wait of this long, in nanoseconds, is one to see; one of the second length, one to ask about.
const WAIT_NS: i64 = 1_000_000_000;
const SLOW_NS: i64 = 10_000_000_000;

/// Which lines are asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The first, counted from 1; none: where what is looked for is, or else the first of all.
    pub from: Option<u64>,
    /// How many at most; none: a page of them.
    pub count: Option<u64>,
    /// A text to look for.
    pub find: Option<String>,
}

impl Asked {
    /// The line that `from` asks for: in a link of a page, where anything but a number is as good as
    /// absent. A number that no line can have is no mistyped word, and is told.
    pub fn line(from: &str) -> Result<Option<u64>> {
        let is_number = !from.is_empty() && from.bytes().all(|byte| byte.is_ascii_digit());
        match from.parse().ok().filter(|line| *line <= LINE_MAX) {
            None if is_number => Err(Error::BadRequest(format!(
                "from is to be the number of a line, counted from 1, at most {LINE_MAX}"
            ))),
            line => Ok(line),
        }
    }
}

/// The greatest number of a line that may be asked for: what programs of every language can hold.
pub const LINE_MAX: u64 = i64::MAX as u64;

/// The list of lines in cursors.
pub const LIST: &str = "lines of console";

/// `GET …/console.html?from=&find=`
pub async fn get(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    Path((_, uuid)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let query = Query::parse(query.as_deref());
    let asked = Asked {
        from: Asked::line(query.get("from").unwrap_or_default())?,
        count: None,
        find: query.text("find"),
    };
    shown(app, client, &uuid, asked, &headers).await
}

/// The lines that are asked for of the console of a build.
pub async fn shown(
    app: App,
    client: Option<Extension<Client>>,
    uuid: &str,
    asked: Asked,
    headers: &HeaderMap,
) -> Result<Response> {
    let missing = || Error::NotFound("there is no such build".to_owned());
    let uuid = names::uuid(uuid).ok_or_else(missing)?;
    let accepts = Accepts::of(headers);
    let (known, file, bytes) = app
        .blocking(move |app| {
            let known = app.store().read(|tx| match builds::by_uuid(tx, uuid)? {
                Some(build) => Ok(Ok(Known {
                    verdict: verdict::of_build(tx, &build)?,
                    failure: told::of_build(tx, build.id)?,
                    build,
                })),
                None => removed::missing(tx, uuid).map(Err),
            })??;
            let (file, bytes) = app.store().open_text(&known.build.console)?;
            Ok::<_, Error>((known, file, bytes))
        })
        .await??;
    let place = match bytes > DEAR_BYTES_MIN {
        true => {
            let who = Who::is(client.as_deref());
            Some(app.dear().take(app.metrics(), who).await?)
        }
        false => None,
    };
    app.blocking(move |app| {
        let _place = place;
        let page = ConsolePage::load(app, known, (&file, bytes), asked)?;
        app.show(accepts, page)
    })
    .await?
}

/// What the database tells of a build.
struct Known {
    build: Build,
    verdict: Verdict,
    failure: Option<Failure>,
}

#[derive(Template)]
#[template(path = "console.html")]
struct ConsolePage {
    layout: Arc<Layout>,
    build: Build,
    verdict: Verdict,
    failure: Option<Failure>,
    outline: Arc<Outline>,
    from: u64,
    lines: Vec<Shown>,
    find: Option<String>,
    found: Found,
}

/// A line as it is shown.
struct Shown {
    number: u64,
    time: Option<i64>,
    wait: Option<i64>,
    classes: String,
    tells_error: bool,
    pieces: Vec<Piece>,
    overwritten: u64,
    left_out_bytes: u64,
}

struct Piece {
    classes: String,
    text: String,
    /// It is what was looked for.
    found: bool,
}

impl ConsolePage {
    fn load(
        app: &App,
        known: Known,
        (file, bytes): (&File, u64),
        asked: Asked,
    ) -> Result<ConsolePage> {
        let Known {
            build,
            verdict,
            failure,
        } = known;
        let outline = app
            .outlines()
            .get(&build.console, file, bytes)
            .map_err(Error::internal)?;
        let find: Option<String> = asked
            .find
            .map(|find| find.chars().take(FIND_CHARS_MAX).collect());
        let found = match &find {
            Some(find) => {
                let from = asked.from.unwrap_or(1);
                outline::find(file, find, from, FOUND_MAX, FOUND_CHARS_MAX)
                    .map_err(Error::internal)?
            }
            None => Found::default(),
        };
        let from: u64 = asked
            .from
            .unwrap_or_else(|| found.next.map_or(1, urls::console_from));
        // Past the end is at the end: the page of a line that is not there any more.
        let from = from.clamp(1, outline.lines.max(1));
        let lines = outline
            .window(
                file,
                from,
                asked.count.unwrap_or(urls::CONSOLE_LINES),
                LINE_BYTES_MAX,
                PAGE_BYTES_MAX,
            )
            .map_err(Error::internal)?;
        let told = failure.as_ref().and_then(|failure| failure.told.as_ref());
        let told = told.map(|(line, _)| *line);
        let needle = find.as_ref().and_then(|find| {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build([find])
                .ok()
        });
        let lines = lines
            .into_iter()
            .map(|line| Shown::of(line, needle.as_ref(), told))
            .collect();
        Ok(ConsolePage {
            layout: app.layout().clone(),
            build,
            verdict,
            failure,
            outline,
            from,
            lines,
            find,
            found,
        })
    }

    fn page(&self, from: u64) -> String {
        urls::console_page(
            &self.build.job,
            &self.build.uuid,
            from,
            self.find.as_deref(),
        )
    }

    fn line(&self, line: &u64) -> String {
        urls::console_line(
            &self.build.job,
            &self.build.uuid,
            *line,
            self.find.as_deref(),
        )
    }

    fn last_shown(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.number)
    }

    fn previous(&self) -> Option<String> {
        (self.from > 1).then(|| self.page(self.from.saturating_sub(urls::CONSOLE_LINES).max(1)))
    }

    fn next(&self) -> Option<String> {
        self.next_line().map(|next| self.page(next))
    }

    fn next_line(&self) -> Option<u64> {
        let next = self.last_shown() + 1;
        (next > 1 && next <= self.outline.lines).then_some(next)
    }

    fn wait(nanoseconds: &i64) -> String {
        show::duration(Duration::from_nanos(nanoseconds.unsigned_abs()))
    }
}

impl Shown {
    fn of(line: Line, needle: Option<&AhoCorasick>, told: Option<u64>) -> Shown {
        let mut style = line.style;
        let read = ansi::line(&line.text, &mut style);
        let text = read.text();
        let mut classes = vec!["line"];
        let tells_error = failure::tells_error(&text);
        if tells_error {
            classes.push("error");
        }
        if told == Some(line.number) {
            classes.push("told");
        }
        match line.wait_ns.unwrap_or(0) {
            SLOW_NS.. => classes.push("slow"),
            WAIT_NS.. => classes.push("waited"),
            _ => {}
        }
        let found: Vec<(usize, usize)> = needle.map_or_else(Vec::new, |needle| {
            needle
                .find_iter(&text)
                .map(|found| (found.start(), found.end()))
                .collect()
        });
        Shown {
            number: line.number,
            time: line.time_ns,
            wait: line.wait_ns,
            classes: classes.join(" "),
            tells_error,
            pieces: pieces(&read, &found),
            overwritten: read.overwritten as u64,
            left_out_bytes: line.left_out_bytes,
        }
    }

    fn text(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| piece.text.as_str())
            .collect()
    }
}

/// Cuts the pieces of a line at the ends of what was found, given in order by its bytes.
fn pieces(line: &ansi::Line, found: &[(usize, usize)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (style, text) in &line.pieces {
        let end = begin + text.len();
        let inside = found
            .iter()
            .flat_map(|(start, stop)| [*start, *stop])
            .filter(|cut| (begin + 1..end).contains(cut));
        let mut cuts = vec![begin];
        cuts.extend(inside);
        cuts.push(end);
        for pair in cuts.windows(2) {
            let &[from, to] = pair else { continue };
            // Found at ends of characters, since what is looked for is made of them.
            let Some(text) = text
                .get(from - begin..to - begin)
                .filter(|text| !text.is_empty())
            else {
                continue;
            };
            pieces.push(Piece {
                classes: style.classes(),
                text: text.to_owned(),
                found: found
                    .iter()
                    .any(|(start, stop)| *start <= from && to <= *stop),
            });
        }
        begin = end;
    }
    pieces
}

impl Page for ConsolePage {
    fn share(&self) -> Option<Share> {
        let build = &self.build;
        let failure = self.failure.as_ref();
        Some(Share {
            url: self.page(self.from),
            title: format!(
                "Console of {} on {}, {}",
                build.job, build.platform, build.start
            ),
            description: Some(
                match failure.map(|failure| failures::label(&failure.class)) {
                    Some(why) => format!("{}: {}.", build.result, why),
                    None => format!(
                        "{}, {}.",
                        build.result,
                        show::counted(self.outline.lines, "line")
                    ),
                },
            ),
        })
    }

    fn json(&self) -> Option<Value> {
        let seconds = |ns: &i64| {
            #[expect(clippy::cast_precision_loss, reason = "to the millisecond")]
            let seconds = (ns / 1_000_000) as f64 / 1000.0;
            seconds
        };
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "line": line.number,
                    "time": line.time.as_ref().map(seconds),
                    "wait": line.wait.as_ref().map(seconds),
                    "text": line.text(),
                    "error": line.tells_error,
                    "overwritten": line.overwritten,
                    "left_out_bytes": line.left_out_bytes,
                })
            })
            .collect();
        let failure = self.failure.as_ref().map(view::Failure::of);
        let mut json = json!({
            "job": self.build.job,
            "uuid": self.build.uuid,
            "line_count": self.outline.lines,
            "size": self.outline.file_bytes,
            "first_error": self.outline.first_error,
            "longest_waits": self.outline.waits.iter().map(|wait| json!({
                "line": wait.line, "wait": seconds(&wait.ns),
            })).collect::<Vec<_>>(),
            "failure": failure,
            "found": self.find.as_ref().map(|find| json!({
                "find": find,
                "line_count": self.found.count,
                "lines": self.found.lines.iter().map(|(line, text)| json!({
                    "line": line, "text": text,
                })).collect::<Vec<_>>(),
            })),
            "lines": lines,
            "next": self.next(),
            "previous": self.previous(),
            "next_cursor": self.next_line().map(|next| cursor::encode(LIST, &[&next.to_string()])),
        });
        view::add(
            &mut json,
            &view::BuildSummary::of(&self.build, self.verdict),
        );
        Some(json)
    }
}
