//! The history of a job, drawn and told: which builds have which output, since when it is
//! reproduced or not, and how its size and duration went. Pure: of builds and verdicts that are
//! given newest first.

use std::collections::HashMap;
use std::sync::Arc;

use builder_store::Sha256;
use builder_store::builds::Build;
use builder_store::past::{Count, Standing};
use builder_store::verdict::Verdict;

use crate::input_changes::Known;
use crate::{show, urls};

/// Colours of outputs in the style sheet, `o0` and on.
const COLOURS: u8 = 10;
/// Dates along a timeline, besides that of its end.
const TICKS: usize = 4;
/// Builds between two dates on a timeline, at least.
const TICK_BUILDS_MIN: usize = 6;

/// A build with what is known of it. A page has it in several places.
#[derive(Debug, Clone)]
pub struct Past {
    /// The build.
    pub build: Arc<Build>,
    /// What is known of it.
    pub verdict: Verdict,
}

impl Past {
    /// The class of its output's colour, the same on every page; none of a failed build.
    pub fn colour(&self) -> String {
        self.output()
            .map_or_else(|| "none".to_owned(), |output| colour(&output))
    }

    fn output(&self) -> Option<Sha256> {
        self.build.main_binary.as_ref().map(|main| main.sha256)
    }
}

/// The class of an output's colour. Two outputs may share one: who draws them side by side marks
/// where one ends.
pub fn colour(output: &Sha256) -> String {
    let number = output.as_bytes().first().copied().unwrap_or_default() % COLOURS;
    format!("o{number}")
}

/// Builds with their verdicts.
pub fn past(builds: Vec<Build>, verdicts: Vec<Verdict>) -> Vec<Past> {
    builds
        .into_iter()
        .zip(verdicts)
        .map(|(build, verdict)| Past {
            build: Arc::new(build),
            verdict,
        })
        .collect()
}

/// A build on a timeline.
#[derive(Debug)]
pub struct Mark<'a> {
    /// The build.
    pub past: &'a Past,
    /// The date that stands before it.
    pub tick: Option<String>,
    /// Whether its output is another one than that of the successful build before it.
    pub changed: bool,
}

/// A timeline of builds on a platform, oldest first, with dates here and there.
pub fn marks(past: &[Past]) -> Vec<Mark<'_>> {
    let each = past.len().div_ceil(TICKS).max(TICK_BUILDS_MIN);
    let mut output = None;
    let mut last_tick = String::new();
    past.iter()
        .rev()
        .enumerate()
        .map(|(at, past)| {
            let before = output;
            output = past.output().or(before);
            let date = show::date(&past.build.start);
            let tick = (at % each == 0 && date != last_tick).then(|| date.clone());
            if tick.is_some() {
                last_tick = date;
            }
            Mark {
                past,
                tick,
                changed: before.is_some() && output != before,
            }
        })
        .collect()
}

/// The date at the end of a timeline, unless it is the only one.
pub fn end(past: &[Past]) -> Option<String> {
    let (newest, oldest) = (past.first()?, past.last()?);
    let date = show::date(&newest.build.start);
    (date != show::date(&oldest.build.start)).then_some(date)
}

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What is said.
    pub text: String,
    /// Whether it is what matters most.
    pub strong: bool,
    /// Where it leads to.
    pub url: Option<String>,
}

fn plain(text: impl Into<String>) -> Words {
    Words {
        text: text.into(),
        strong: false,
        url: None,
    }
}

fn strong(text: impl Into<String>) -> Words {
    Words {
        strong: true,
        ..plain(text)
    }
}

fn link(text: impl Into<String>, url: String) -> Words {
    Words {
        url: Some(url),
        ..plain(text)
    }
}

/// A sentence without its links.
pub fn text(words: &[Words]) -> String {
    words.iter().map(|words| words.text.as_str()).collect()
}

/// How many builds, or how many at least.
fn counted(count: Count) -> String {
    let words = show::counted(count.builds, "build");
    match count.more {
        true => format!("at least {words}"),
        false => words,
    }
}

/// Since when a platform is reproduced, or not, in sentences; `changes`: what changed in the input
/// where it ceased to be.
pub fn told(standing: &Standing, changes: &Known, failing: Count) -> Vec<Words> {
    let page = |build: &Build| urls::build(&build.job, &build.uuid);
    let before = |earlier: bool| if earlier { "before " } else { "" };
    let mut told = match standing {
        Standing::Untold => vec![plain(
            "Since when builds are reproduced is not known yet: it is being looked up.",
        )],
        Standing::NothingBuilt => vec![plain("No build has succeeded.")],
        Standing::NeverRepeated => vec![plain(
            "No input was built a second time yet, so it is not known whether the builds can be \
             reproduced.",
        )],
        Standing::Reproduced {
            builds,
            by_others,
            since,
            earlier,
        } => vec![
            strong("Reproduced"),
            plain(format!(
                " for {}, since {}",
                counted(*builds),
                before(*earlier)
            )),
            link(show::date(&since.start), page(since)),
            plain(match *by_others {
                0 => ", each by the same uploader.".to_owned(),
                by_others if by_others >= builds.builds => ".".to_owned(),
                by_others => format!(", {by_others} of them also by another uploader."),
            }),
        ],
        Standing::NotSince {
            first,
            earlier,
            removed,
            reproduced_before,
            before: last,
        } => {
            let since = match removed {
                true => format!("since at least {}", show::date(&first.start)),
                false => format!("since {}{}", before(*earlier), show::date(&first.start)),
            };
            let mut told = vec![
                strong(match reproduced_before.builds {
                    0 => format!("Not reproducible {since}."),
                    _ => format!(
                        "Reproduced for {}, not {since}.",
                        counted(*reproduced_before)
                    ),
                }),
                plain(match (earlier, removed) {
                    (true, _) => " The first bad build that was looked at is ",
                    (_, true) => {
                        " Builds before it were removed; the first bad one that is kept is "
                    }
                    _ => " The first bad build is ",
                }),
                link(first.start.to_string(), page(first)),
            ];
            if let Some(last) = last {
                told.extend([
                    plain("; between "),
                    link("the build before", page(last)),
                    plain(" and it, "),
                    link(changes.in_words(), urls::compare(&last.uuid, &first.uuid)),
                ]);
            }
            told.push(plain("."));
            told
        }
    };
    if failing.builds > 0 {
        told.push(plain(" "));
        told.push(strong(match (failing.builds, failing.more) {
            (1, false) => "The last build failed.".to_owned(),
            (builds, false) => format!("The last {builds} builds failed."),
            (builds, true) => format!("The last {builds} builds failed, or more."),
        }));
    }
    told
}

/// The lines that a chart's points are between, in units of its drawing, which is 320 wide and 100
/// high.
const LEFT: u64 = 6;
const RIGHT: u64 = 314;
const TOP: u64 = 18;
const BASE: u64 = 82;
/// How high a label is.
const LABEL: u64 = 14;

/// A value over time, drawn from zero on, so that what is twice as high is twice as much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// Lines from build to build, for the `d` of a path; where builds failed there is none.
    pub line: String,
    /// A point for each build, oldest first.
    pub points: Vec<Point>,
    /// The greatest value and, if it is another one, the least, each at its point.
    pub labels: Vec<Label>,
    /// The least, the greatest and the newest value, in words.
    pub min: String,
    /// As `min`.
    pub max: String,
    /// As `min`.
    pub latest: String,
    /// The days of the first and the last build.
    pub days: (String, String),
}

/// A build on a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Where it is.
    pub x: u64,
    /// As `x`.
    pub y: u64,
    /// Where it leads to.
    pub url: String,
    /// What it says.
    pub title: String,
}

/// A text on a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where it is.
    pub x: u64,
    /// Its base line.
    pub y: u64,
    /// On which side of that it stands, for `text-anchor`.
    pub anchor: &'static str,
    /// What it says.
    pub text: String,
}

/// Draws a value of successful builds on a platform over their start; none for fewer than two.
pub fn chart(
    past: &[Past],
    value: fn(&Build) -> Option<u64>,
    in_words: fn(&u64) -> String,
) -> Option<Chart> {
    let known = |past: &Past| {
        let successful = past.verdict != Verdict::Failed;
        let value = successful.then(|| value(&past.build)).flatten()?;
        Some((past.build.start.unix_seconds(), value))
    };
    let values: Vec<(i64, u64)> = past.iter().rev().filter_map(known).collect();
    if values.len() < 2 {
        return None;
    }
    let (first, last) = (values.first()?, values.last()?);
    let (from, to) = (first.0, last.0);
    let min = values.iter().map(|(_, value)| *value).min()?;
    let max = values.iter().map(|(_, value)| *value).max()?;
    let time = to.abs_diff(from).max(1);
    let mut line = String::new();
    let mut points: Vec<Point> = Vec::new();
    let mut labels = Vec::new();
    let mut gap = true;
    for past in past.iter().rev() {
        let Some((at, value)) = known(past) else {
            gap = true;
            continue;
        };
        let x = LEFT + scaled(at.abs_diff(from), time, RIGHT - LEFT);
        let y = BASE - scaled(value, max.max(1), BASE - TOP);
        line.push_str(&format!("{}{x} {y}", if gap { 'M' } else { 'L' }));
        gap = false;
        let anchor = match x {
            x if x < RIGHT / 3 => "start",
            x if x > RIGHT * 2 / 3 => "end",
            _ => "middle",
        };
        let label = |y| Label {
            x,
            y,
            anchor,
            text: in_words(&value),
        };
        let has = |labels: &[Label], text: &str| labels.iter().any(|label| label.text == text);
        if value == max && !has(&labels, &in_words(&max)) {
            labels.push(label(y - 5));
        } else if value == min && !has(&labels, &in_words(&min)) {
            labels.push(label(if y + LABEL < BASE { y + LABEL } else { y - 5 }));
        }
        points.push(Point {
            x,
            y,
            url: urls::build(&past.build.job, &past.build.uuid),
            title: format!("{}: {}", past.build.start, in_words(&value)),
        });
    }
    let day = |build: Option<&Past>| build.map(|past| show::date(&past.build.start));
    let mut drawn = past.iter().filter(|past| known(past).is_some());
    let newest = drawn.next();
    Some(Chart {
        line,
        points,
        labels,
        min: in_words(&min),
        max: in_words(&max),
        latest: in_words(&last.1),
        days: (
            day(drawn.next_back()).unwrap_or_default(),
            day(newest).unwrap_or_default(),
        ),
    })
}

/// `value` of `whole` on a scale that goes to `to`.
fn scaled(value: u64, whole: u64, to: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(to) / u128::from(whole);
    u64::try_from(scaled).unwrap_or(to)
}

/// Builds on one platform with one output that were built one after the other, whatever failed
/// between, by their places among those that were given; or a failed build alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Newest first; never empty.
    pub builds: Vec<usize>,
    /// The successful build before the oldest of them, on the same platform: it has another output.
    pub before: Option<usize>,
    /// The newest build before that one which had the output of these.
    pub same_as: Option<usize>,
    /// Whether no newer successful build on the platform was given.
    pub is_newest: bool,
}

/// Groups builds by platform and output as one followed the other, the group with the newest build
/// first: where an output comes back it is a group again.
pub fn groups(past: &[Past], with_failed: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // By platform: the last group, and the last one of each output.
    let mut last: HashMap<&str, (usize, Sha256)> = HashMap::new();
    let mut known: HashMap<(&str, Sha256), usize> = HashMap::new();
    for (at, Past { build, .. }) in past.iter().enumerate() {
        let platform = build.platform.as_str();
        let new = |is_newest| Group {
            builds: vec![at],
            before: None,
            same_as: None,
            is_newest,
        };
        let Some(main) = &build.main_binary else {
            if with_failed {
                groups.push(new(false));
            }
            continue;
        };
        let newer = last.get(platform).copied();
        match newer {
            Some((newer, output)) if output == main.sha256 => {
                groups[newer].builds.push(at);
                continue;
            }
            Some((newer, _)) => groups[newer].before = Some(at),
            None => {}
        }
        if let Some(newer) = known.insert((platform, main.sha256), groups.len()) {
            groups[newer].same_as = Some(at);
        }
        last.insert(platform, (groups.len(), main.sha256));
        groups.push(new(newer.is_none()));
    }
    groups
}

#[cfg(test)]
mod tests {
    use builder_exec::{ExecutionResult, Timestamp};
    use builder_store::builds::Artifact;
    use uuid::Uuid;

    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    /// Builds on a platform, a day each, oldest first: each a verdict (`+` reproduced, `-` not
    /// reproducible, `?` nothing known, `x` failed) and its output, which is its input, too.
    fn past(said: &str) -> Vec<Past> {
        let (mut builds, mut verdicts) = (Vec::new(), Vec::new());
        for (number, word) in (1i64..).zip(said.split_whitespace()) {
            let (verdict, output) = word.split_at(1);
            let sha256 = Sha256::of(output.as_bytes());
            verdicts.push(match verdict {
                "+" => Verdict::Reproduced {
                    by: 1,
                    uploaders: 1,
                },
                "-" => Verdict::NotReproducible,
                "x" => Verdict::Failed,
                _ => Verdict::Changed,
            });
            let time = Timestamp::from_unix(number * DAY, 0).unwrap();
            builds.push(Build {
                id: number,
                uuid: Uuid::from_u128(u128::try_from(number).unwrap()),
                job_id: 1,
                job: "a".to_owned(),
                platform: "p".to_owned(),
                start: time,
                finish: time,
                result: ExecutionResult::Exited(0),
                console: String::new(),
                script: String::new(),
                input_id: Some(sha256),
                user_id: 1,
                main_binary: (verdict != "x").then(|| Artifact {
                    path: "bin/a".to_owned(),
                    sha256,
                    size: u64::try_from(number * 10).unwrap(),
                }),
            });
        }
        builds.reverse();
        verdicts.reverse();
        super::past(builds, verdicts)
    }

    const NONE: Count = Count {
        builds: 0,
        more: false,
    };

    #[test]
    fn a_standing_is_told_with_what_it_rests_on() {
        let past = past("?a ?b");
        let (newer, older) = (&past[0].build, &past[1].build);
        let count = |builds, more| Count { builds, more };
        let reproduced = |more| Standing::Reproduced {
            builds: count(2, more),
            by_others: 2,
            since: Box::new(Build::clone(older)),
            earlier: more,
        };
        let not_since = |builds, before: Option<&Build>| Standing::NotSince {
            first: Box::new(Build::clone(newer)),
            earlier: false,
            removed: false,
            reproduced_before: count(builds, false),
            before: before.cloned().map(Box::new),
        };
        let removed = Standing::NotSince {
            first: Box::new(Build::clone(newer)),
            earlier: false,
            removed: true,
            reproduced_before: NONE,
            before: None,
        };
        for (standing, failing, expected) in [
            (
                Standing::NothingBuilt,
                count(3, false),
                "No build has succeeded. The last 3 builds failed.",
            ),
            (
                reproduced(false),
                NONE,
                "Reproduced for 2 builds, since 1970-01-02.",
            ),
            (
                reproduced(true),
                NONE,
                "Reproduced for at least 2 builds, since before 1970-01-02.",
            ),
            (
                reproduced(false),
                count(1, false),
                "Reproduced for 2 builds, since 1970-01-02. The last build failed.",
            ),
            (
                not_since(0, None),
                NONE,
                "Not reproducible since 1970-01-03. The first bad build is 1970-01-03 00:00:00Z.",
            ),
            (
                removed,
                NONE,
                "Not reproducible since at least 1970-01-03. Builds before it were removed; the first bad \
                 one that is kept is 1970-01-03 00:00:00Z.",
            ),
            (
                not_since(1, Some(older)),
                NONE,
                "Reproduced for 1 build, not since 1970-01-03. The first bad build is 1970-01-03 00:00:00Z; \
                 between the build before and it, the input is the same.",
            ),
        ] {
            let told = told(&standing, &Known::Same, failing);
            assert_eq!(text(&told), expected);
        }
        let told = told(&not_since(1, Some(older)), &Known::Same, NONE);
        let urls: Vec<&str> = told
            .iter()
            .filter_map(|words| words.url.as_deref())
            .collect();
        let page = |build: &Build| urls::build("a", &build.uuid);
        let compared = urls::compare(&older.uuid, &newer.uuid);
        assert_eq!(urls, [page(newer), page(older), compared]);
    }

    #[test]
    fn an_output_has_one_colour_everywhere_and_a_mark_where_another_one_begins() {
        let one = past("?a ?a xz ?b +a");
        let other = past("?b ?a");
        assert_eq!(one[0].colour(), one[4].colour());
        assert_eq!(one[0].colour(), other[0].colour());
        assert_eq!(one[2].colour(), "none");
        let changed: Vec<bool> = marks(&one).iter().map(|mark| mark.changed).collect();
        assert_eq!(changed, [false, false, false, true, true]);
    }

    #[test]
    fn a_timeline_begins_with_the_oldest_and_has_dates_at_both_ends_and_between() {
        let past = past(&"?a ".repeat(40));
        let marks = marks(&past);
        assert_eq!(marks[0].past.build.id, 1);
        let ticks: Vec<(usize, &str)> = marks
            .iter()
            .enumerate()
            .filter_map(|(at, mark)| Some((at, mark.tick.as_deref()?)))
            .collect();
        assert_eq!(
            ticks,
            [
                (0, "1970-01-02"),
                (10, "1970-01-12"),
                (20, "1970-01-22"),
                (30, "1970-02-01")
            ]
        );
        assert_eq!(end(&past).as_deref(), Some("1970-02-10"));
        assert_eq!(end(&past[..1]), None);
        let few = &past[..5];
        let ticks = super::marks(few);
        assert_eq!(ticks.iter().filter(|mark| mark.tick.is_some()).count(), 1);
    }

    #[test]
    fn builds_of_one_output_are_one_group_until_another_output_comes_between() {
        let past = past("?b ?a xz ?a ?b +a");
        let group = |builds: &[usize], before, same_as| Group {
            builds: builds.to_vec(),
            before,
            same_as,
            is_newest: builds[0] == 0,
        };
        let back = group(&[0], Some(1), Some(2));
        let between = group(&[1], Some(2), Some(5));
        let (first, oldest) = (group(&[2, 4], Some(5), None), group(&[5], None, None));
        let all = [back, between, first, oldest];
        assert_eq!(groups(&past, false), all);
        let mut with_failed = all.to_vec();
        with_failed.insert(3, group(&[3], None, None));
        assert_eq!(groups(&past, true), with_failed);
        // Each platform by itself.
        let mut two = past.clone();
        Arc::make_mut(&mut two[1].build).platform = "q".to_owned();
        let places = |past: &[Past]| -> Vec<(Vec<usize>, bool)> {
            let groups = groups(past, false).into_iter();
            groups
                .map(|group| (group.builds, group.is_newest))
                .collect()
        };
        let one = (vec![1], true);
        assert_eq!(places(&two), [(vec![0, 2, 4], true), one, (vec![5], false)]);
    }

    #[test]
    fn who_repeats_what_only_he_built_is_told_from_others() {
        let past = past("?a");
        let standing = |by_others| Standing::Reproduced {
            builds: Count {
                builds: 12,
                more: false,
            },
            by_others,
            since: Box::new(Build::clone(&past[0].build)),
            earlier: false,
        };
        for (by_others, expected) in [
            (0, ", each by the same uploader."),
            (3, ", 3 of them also by another uploader."),
            (12, "."),
        ] {
            let told = text(&told(&standing(by_others), &Known::Same, NONE));
            let expected = format!("Reproduced for 12 builds, since 1970-01-02{expected}");
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_chart_begins_at_zero_and_has_a_gap_where_builds_failed() {
        let past = past("?a ?b xc ?d ?e");
        let size = |build: &Build| build.main_binary.as_ref().map(|main| main.size);
        let chart = chart(&past, size, u64::to_string).unwrap();
        // 10 of 50 are a fifth of the height, and the first of five days is at the left.
        assert_eq!(chart.line, "M6 70L83 57M237 31L314 18");
        let labels: Vec<(u64, u64, &str, &str)> = chart
            .labels
            .iter()
            .map(|label| (label.x, label.y, label.anchor, label.text.as_str()))
            .collect();
        assert_eq!(labels, [(6, 65, "start", "10"), (314, 13, "end", "50")]);
        assert_eq!([&chart.min, &chart.max, &chart.latest], ["10", "50", "50"]);
        assert_eq!(chart.days, ("1970-01-02".into(), "1970-01-06".into()));
        assert_eq!(chart.points.len(), 4);
        assert_eq!(chart.points[0].title, "1970-01-02 00:00:00Z: 10");
        assert_eq!(chart.points[0].url, urls::build("a", &Uuid::from_u128(1)));
        assert!(super::chart(&past[..1], size, u64::to_string).is_none());
        // What never changes is at the top, and said once.
        let same = super::chart(&past, |_| Some(7), u64::to_string).unwrap();
        assert!(same.points.iter().all(|point| point.y == TOP));
        assert_eq!(same.labels.len(), 1);
    }
}
