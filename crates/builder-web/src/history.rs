//! The history of a job, drawn and told: which builds have which output, since when it is
//! reproduced or not, and how its size and duration went. Pure: of builds and verdicts that are
//! given newest first.

use std::collections::HashMap;

use builder_store::Sha256;
use builder_store::builds::Build;
use builder_store::verdict::Verdict;

/// Colours of outputs in the style sheet, `o0` and on; more outputs begin again.
const COLOURS: usize = 10;
/// Size of a chart's drawing, in units of its own.
pub const CHART: (u32, u32) = (300, 60);

/// A build with what is known of it.
#[derive(Debug, Clone)]
pub struct Past {
    /// The build.
    pub build: Build,
    /// What is known of it.
    pub verdict: Verdict,
    /// The class of its output's colour; none of a failed build.
    pub colour: Option<String>,
}

/// Gives each output its colour, in the order in which outputs came up, so that one output and the
/// next never look the same.
pub fn coloured(builds: Vec<Build>, verdicts: Vec<Verdict>) -> Vec<Past> {
    let mut colours: HashMap<Sha256, usize> = HashMap::new();
    for build in builds.iter().rev() {
        if let Some(main) = &build.main_binary {
            let next = colours.len() % COLOURS;
            colours.entry(main.sha256).or_insert(next);
        }
    }
    builds
        .into_iter()
        .zip(verdicts)
        .map(|(build, verdict)| {
            let main = build.main_binary.as_ref();
            let colour = main.and_then(|main| colours.get(&main.sha256));
            Past {
                verdict,
                colour: colour.map(|colour| format!("o{colour}")),
                build,
            }
        })
        .collect()
}

/// Since when builds on a platform are reproduced, or not. Builds are named by their place among
/// those that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No build has succeeded.
    NothingBuilt,
    /// No input was built more than once.
    NeverRepeated,
    /// The last input that was built more than once gave one output each time.
    Reproduced {
        /// Reproduced builds since the last that was not reproducible.
        builds: usize,
        /// The first of them.
        since: usize,
    },
    /// The last input that was built more than once gave several outputs.
    NotSince {
        /// The first build that is not reproducible.
        first: usize,
        /// Reproduced builds before it, since the one before that was not reproducible.
        reproduced_before: usize,
        /// The last successful build before it whose input is another one.
        before: Option<usize>,
    },
}

/// Where a platform stands. `past` has the builds of one platform.
pub fn standing(past: &[&Past]) -> Standing {
    let judged = |past: &Past| match past.verdict {
        Verdict::Reproduced { .. } => Some(true),
        Verdict::NotReproducible => Some(false),
        _ => None,
    };
    if past.iter().all(|past| past.verdict == Verdict::Failed) {
        return Standing::NothingBuilt;
    }
    let known: Vec<(usize, bool)> = past
        .iter()
        .enumerate()
        .filter_map(|(at, past)| Some((at, judged(past)?)))
        .collect();
    let Some((_, now)) = known.first() else {
        return Standing::NeverRepeated;
    };
    let run = known.iter().take_while(|(_, good)| good == now).count();
    let first = known[run - 1].0;
    if *now {
        return Standing::Reproduced {
            builds: run,
            since: first,
        };
    }
    let input = past[first].build.input_id;
    let before = past
        .iter()
        .enumerate()
        .skip(first + 1)
        .find(|(_, past)| past.verdict != Verdict::Failed && past.build.input_id != input);
    Standing::NotSince {
        first,
        reproduced_before: known[run..].iter().take_while(|(_, good)| *good).count(),
        before: before.map(|(at, _)| at),
    }
}

/// How many of the newest builds failed, without a success since.
pub fn failing(past: &[&Past]) -> usize {
    past.iter()
        .take_while(|past| past.verdict == Verdict::Failed)
        .count()
}

/// A value over time, drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// The corners of a line, for SVG's `points`.
    pub points: String,
    /// The least value.
    pub min: u64,
    /// The greatest value.
    pub max: u64,
    /// The newest value.
    pub latest: u64,
}

/// Draws a value of successful builds over their start; none for fewer than two.
pub fn chart(past: &[&Past], value: fn(&Build) -> Option<u64>) -> Option<Chart> {
    let points: Vec<(i64, u64)> = past
        .iter()
        .rev()
        .filter(|past| past.verdict != Verdict::Failed)
        .filter_map(|past| Some((past.build.start.unix_seconds(), value(&past.build)?)))
        .collect();
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let min = points.iter().map(|(_, value)| *value).min()?;
    let max = points.iter().map(|(_, value)| *value).max()?;
    let (width, height) = (u64::from(CHART.0), u64::from(CHART.1));
    let time = last.0.abs_diff(first.0).max(1);
    let mut line = String::new();
    for (at, value) in &points {
        let x = scaled(at.abs_diff(first.0), time, width);
        // A line that never changes is in the middle.
        let y = if max == min {
            height / 2
        } else {
            height - 4 - scaled(value - min, max - min, height - 8)
        };
        line.push_str(&format!("{x},{y} "));
    }
    Some(Chart {
        points: line.trim_end().to_owned(),
        min,
        max,
        latest: last.1,
    })
}

/// `value` of `whole` on a scale that goes to `to`.
fn scaled(value: u64, whole: u64, to: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(to) / u128::from(whole);
    u64::try_from(scaled).unwrap_or(to)
}

/// Builds with one output on one platform, by their places among those that were given; or a
/// failed build alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Newest first; never empty.
    pub builds: Vec<usize>,
    /// The successful build before the oldest of them, on the same platform, with another output.
    pub before: Option<usize>,
}

/// Groups builds by platform and output, the group with the newest build first.
pub fn groups(past: &[Past], with_failed: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<(&str, Sha256), usize> = HashMap::new();
    for (at, Past { build, .. }) in past.iter().enumerate() {
        let new = Group {
            builds: vec![at],
            before: None,
        };
        match &build.main_binary {
            None if with_failed => groups.push(new),
            None => {}
            Some(main) => {
                let key = (build.platform.as_str(), main.sha256);
                match known.get(&key) {
                    Some(group) => groups[*group].builds.push(at),
                    None => {
                        known.insert(key, groups.len());
                        groups.push(new);
                    }
                }
            }
        }
    }
    for group in &mut groups {
        let oldest = group.builds.last().copied().unwrap_or_default();
        let Past { build, .. } = &past[oldest];
        let Some(main) = &build.main_binary else {
            continue;
        };
        group.before = past
            .iter()
            .enumerate()
            .skip(oldest + 1)
            .find_map(|(at, other)| {
                let before = other.build.main_binary.as_ref()?;
                (other.build.platform == build.platform && before.sha256 != main.sha256)
                    .then_some(at)
            });
    }
    groups
}

#[cfg(test)]
mod tests {
    use builder_exec::{ExecutionResult, Timestamp};
    use builder_store::builds::Artifact;
    use uuid::Uuid;

    use super::*;

    /// Builds on a platform, oldest first: each a verdict (`+` reproduced, `-` not reproducible,
    /// `?` nothing known, `x` failed) and its output, which is its input, too.
    fn past(said: &str) -> Vec<Past> {
        let (mut builds, mut verdicts) = (Vec::new(), Vec::new());
        for (number, word) in (1i64..).zip(said.split_whitespace()) {
            let (verdict, output) = word.split_at(1);
            let sha256 = Sha256::of(output.as_bytes());
            verdicts.push(match verdict {
                "+" => Verdict::Reproduced { by: 1 },
                "-" => Verdict::NotReproducible,
                "x" => Verdict::Failed,
                _ => Verdict::Changed,
            });
            let time = Timestamp::from_unix(number * 1000, 0).unwrap();
            builds.push(Build {
                id: number,
                uuid: Uuid::from_u128(1),
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
        coloured(builds, verdicts)
    }

    fn stands(said: &str) -> Standing {
        let past = past(said);
        standing(&past.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_platform_is_reproduced_since_the_last_build_that_was_not() {
        assert_eq!(stands(""), Standing::NothingBuilt);
        assert_eq!(stands("x x"), Standing::NothingBuilt);
        assert_eq!(stands("?a x ?b"), Standing::NeverRepeated);
        assert_eq!(
            stands("-a +b ?c +d x ?e"),
            Standing::Reproduced {
                builds: 2,
                since: 4
            }
        );
        assert_eq!(
            stands("+a +b ?c -d x -e ?f"),
            Standing::NotSince {
                first: 3,
                reproduced_before: 2,
                before: Some(4)
            }
        );
        assert_eq!(
            stands("-a -b"),
            Standing::NotSince {
                first: 1,
                reproduced_before: 0,
                before: None
            }
        );
    }

    #[test]
    fn builds_that_fail_without_a_success_since_are_counted() {
        let count = |said| failing(&past(said).iter().collect::<Vec<_>>());
        assert_eq!(count("x ?a x x"), 2);
        assert_eq!(count("x ?a"), 0);
    }

    #[test]
    fn builds_of_one_output_are_one_group_with_one_colour_and_know_what_was_before() {
        let past = past("?a ?a xz ?b +a");
        let colours: Vec<Option<&str>> = past.iter().map(|past| past.colour.as_deref()).collect();
        assert_eq!(
            colours,
            [Some("o0"), Some("o1"), None, Some("o0"), Some("o0")]
        );
        let group = |builds: &[usize], before| Group {
            builds: builds.to_vec(),
            before,
        };
        let (a, b) = (group(&[0, 3, 4], None), group(&[1], Some(3)));
        assert_eq!(groups(&past, false), [a.clone(), b.clone()]);
        assert_eq!(groups(&past, true), [a, b, group(&[2], None)]);
    }

    #[test]
    fn a_chart_goes_from_the_oldest_to_the_newest_and_stays_inside() {
        let past = past("?a ?b xc ?d");
        let past: Vec<&Past> = past.iter().collect();
        let size = |build: &Build| build.main_binary.as_ref().map(|main| main.size);
        let chart = chart(&past, size).unwrap();
        assert_eq!(chart.points, "0,56 100,39 300,4");
        assert_eq!((chart.min, chart.max, chart.latest), (10, 40, 40));
        assert!(super::chart(&past[..1], size).is_none());
        assert!(
            super::chart(&past, |_| Some(7))
                .unwrap()
                .points
                .ends_with("300,30")
        );
    }
}
