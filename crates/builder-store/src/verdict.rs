//! What is known of a build's reproducibility: the one definition that every page, badge and feed
//! goes by.
//!
//! Builds are compared across jobs, platforms and uploaders: an input is the digest of everything
//! that went in, an output is the digest of the main binary. Of a build, the first of these that
//! holds is its verdict:
//!
//! | verdict | when |
//! |---|---|
//! | [`Verdict::Failed`] | it has no main binary; the exit code plays no part |
//! | [`Verdict::NotReproducible`] | another build of the same input has another output |
//! | [`Verdict::Reproduced`] | another build of the same input has the same output |
//! | [`Verdict::Unchanged`] | the successful build before it, on the same platform of the same job, has the same output (from another input, or one that was not recorded) |
//! | [`Verdict::Changed`] | that build has another output |
//! | [`Verdict::BuiltOnce`] | there is no successful build before it |
//!
//! Failed builds of the same input are no evidence for or against. Builds whose artifacts were
//! removed are, as long as the record knows them. "Before" goes by
//! [`Build::age`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::builds::Build;
use crate::db::{Value, days, picoseconds};
use crate::{Result, Sha256, Tx};

/// What is known of a build's reproducibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It has no main binary.
    Failed,
    /// The same input gave another output, too.
    NotReproducible,
    /// The same input gave the same output again.
    Reproduced {
        /// How many other builds did; at least one.
        by: u64,
    },
    /// Built once from its input; the output is that of the build before.
    Unchanged,
    /// Built once from its input; the output is another one than that of the build before.
    Changed,
    /// Built once, and there is nothing before it.
    BuiltOnce,
}

impl Verdict {
    /// Its name in URLs, JSON and style sheets: `not-reproducible`.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Failed => "failed",
            Verdict::NotReproducible => "not-reproducible",
            Verdict::Reproduced { .. } => "reproduced",
            Verdict::Unchanged => "unchanged",
            Verdict::Changed => "changed",
            Verdict::BuiltOnce => "built-once",
        }
    }
}

impl std::fmt::Display for Verdict {
    /// In two or three words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Failed => f.write_str("failed"),
            Verdict::NotReproducible => f.write_str("not reproducible"),
            Verdict::Reproduced { by } => write!(f, "reproduced by {by}"),
            Verdict::Unchanged => f.write_str("unchanged"),
            Verdict::Changed => f.write_str("changed"),
            Verdict::BuiltOnce => f.write_str("only built once"),
        }
    }
}

/// What the verdict on a successful build rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Other builds of the same input with the same output.
    pub(crate) same_output: i64,
    /// Other builds of the same input with another output.
    pub(crate) other_output: i64,
    pub(crate) before: Before,
}

/// The output of the successful build before, on the same platform of the same job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    None,
    SameOutput,
    OtherOutput,
}

impl Before {
    /// As `own.latest` has it.
    pub(crate) fn number(self) -> i64 {
        match self {
            Before::None => 0,
            Before::SameOutput => 1,
            Before::OtherOutput => 2,
        }
    }

    pub(crate) fn from_number(number: i64) -> Before {
        match number {
            1 => Before::SameOutput,
            2 => Before::OtherOutput,
            _ => Before::None,
        }
    }

    fn of(output: Sha256, before: Option<Sha256>) -> Before {
        match before {
            None => Before::None,
            Some(before) if before == output => Before::SameOutput,
            Some(_) => Before::OtherOutput,
        }
    }
}

impl Facts {
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.other_output, u64::try_from(self.same_output)) {
            (1.., _) => Verdict::NotReproducible,
            (_, Ok(by @ 1..)) => Verdict::Reproduced { by },
            _ => match self.before {
                Before::None => Verdict::BuiltOnce,
                Before::SameOutput => Verdict::Unchanged,
                Before::OtherOutput => Verdict::Changed,
            },
        }
    }
}

/// The verdict on a build.
pub fn of_build(tx: &mut Tx<'_>, build: &Build) -> Result<Verdict> {
    Ok(facts(tx, build)?.map_or(Verdict::Failed, |facts| facts.verdict()))
}

/// What the verdict rests on; none of a failed build.
pub(crate) fn facts(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Facts>> {
    let Some(main) = &build.main_binary else {
        return Ok(None);
    };
    let (same, other) = match build.input_id {
        Some(input_id) => count(&outputs_of_input(tx, input_id)?, main.sha256),
        None => (0, 0),
    };
    Ok(Some(Facts {
        same_output: same,
        other_output: other,
        before: Before::of(main.sha256, output_before(tx, build)?),
    }))
}

/// A build, and what is known of it.
pub type Judged = (Build, Verdict);

/// Any builds, each with its verdict.
pub fn judged(tx: &mut Tx<'_>, builds: Vec<Build>) -> Result<Vec<Judged>> {
    let verdicts = of_builds(tx, &builds)?;
    Ok(builds.into_iter().zip(verdicts).collect())
}

/// The verdicts on any builds, in their order. Each input is looked at once, and what was before a
/// build only where its input does not tell.
pub fn of_builds<'b>(
    tx: &mut Tx<'_>,
    builds: impl IntoIterator<Item = &'b Build>,
) -> Result<Vec<Verdict>> {
    let mut by_input: HashMap<Sha256, Vec<(Sha256, i64)>> = HashMap::new();
    let mut verdicts = Vec::new();
    for build in builds {
        let Some(main) = &build.main_binary else {
            verdicts.push(Verdict::Failed);
            continue;
        };
        let (same_output, other_output) = match build.input_id {
            Some(input_id) => {
                let outputs = match by_input.entry(input_id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(vacant) => vacant.insert(outputs_of_input(tx, input_id)?),
                };
                count(outputs, main.sha256)
            }
            None => (0, 0),
        };
        let before = match (same_output, other_output) {
            (0, 0) => Before::of(main.sha256, output_before(tx, build)?),
            _ => Before::None,
        };
        let facts = Facts {
            same_output,
            other_output,
            before,
        };
        verdicts.push(facts.verdict());
    }
    Ok(verdicts)
}

/// The verdicts on builds of one job, which are given newest first without a gap.
pub fn of_history(tx: &mut Tx<'_>, builds: &[Build]) -> Result<Vec<Verdict>> {
    let mut by_input: HashMap<Sha256, Vec<(Sha256, i64)>> = HashMap::new();
    for input_id in builds.iter().filter_map(|build| build.input_id) {
        if let Entry::Vacant(vacant) = by_input.entry(input_id) {
            vacant.insert(outputs_of_input(tx, input_id)?);
        }
    }
    let mut verdicts = Vec::with_capacity(builds.len());
    let mut before: HashMap<&str, Sha256> = HashMap::new();
    for build in builds.iter().rev() {
        let Some(main) = &build.main_binary else {
            verdicts.push(Verdict::Failed);
            continue;
        };
        let known = before.insert(build.platform.as_str(), main.sha256);
        let known = match known {
            Some(known) => Some(known),
            // What is before the oldest that was given is looked up.
            None => output_before(tx, build)?,
        };
        let outputs = build.input_id.and_then(|input_id| by_input.get(&input_id));
        let (same_output, other_output) =
            outputs.map_or((0, 0), |outputs| count(outputs, main.sha256));
        let facts = Facts {
            same_output,
            other_output,
            before: Before::of(main.sha256, known),
        };
        verdicts.push(facts.verdict());
    }
    verdicts.reverse();
    Ok(verdicts)
}

/// Other builds with this output, and with another one, where the build itself is among those
/// counted.
fn count(outputs: &[(Sha256, i64)], output: Sha256) -> (i64, i64) {
    let (mut same, mut other) = (0, 0);
    for (known, builds) in outputs {
        if *known == output {
            same += builds;
        } else {
            other += builds;
        }
    }
    ((same - 1).max(0), other)
}

/// The outputs of an input, each with how many builds have it. What a build has shown is not undone
/// by removing it.
fn outputs_of_input(tx: &mut Tx<'_>, input_id: Sha256) -> Result<Vec<(Sha256, i64)>> {
    tx.query(
        "SELECT o.sha256, COUNT(*) FROM (
           SELECT m.sha256 AS sha256
           FROM build b JOIN build_artifact m ON m.id = b.main_binary
           WHERE b.input_id = $1
           UNION ALL
           SELECT r.main_sha256 FROM record.removed_build r
           WHERE r.input_id = $1 AND r.main_sha256 IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM build b WHERE b.uuid = r.uuid)
         ) o GROUP BY o.sha256",
        &[(&input_id).into()],
        |row| Ok((row.sha256(0)?, row.int(1)?)),
    )
}

/// The output of the successful build before, on the same platform of the same job.
fn output_before(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Sha256>> {
    let params: [Value<'_>; 5] = [
        build.job_id.into(),
        build.platform.as_str().into(),
        days(&build.start),
        picoseconds(&build.start),
        build.id.into(),
    ];
    tx.query_opt(
        "SELECT m.sha256
         FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.job = $1 AND b.platform = $2 AND b.start_d <= $3
           AND (b.start_d, b.start_ps, b.id) < ($3, $4, $5)
         ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1",
        &params,
        |row| row.sha256(0),
    )
}
