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
//! One who builds twice on the same machine shows less than two who build apart: so it is told of what
//! was reproduced how many others uploaded it.
//!
//! Failed builds of the same input are no evidence for or against. Builds whose artifacts were
//! removed are, as long as the record knows them. "Before" goes by
//! [`Build::age`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::builds::Build;
use crate::db::{Value, days, picoseconds};
use crate::outputs::{self, Outputs};
use crate::{Result, Sha256, Tx, past};

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
        /// How many others than its own uploader uploaded these.
        uploaders: u64,
    },
    /// Built once from its input; the output is that of the build before.
    Unchanged,
    /// Built once from its input; the output is another one than that of the build before.
    Changed,
    /// Built once, and there is nothing before it.
    BuiltOnce,
}

impl Verdict {
    /// Whether it was reproduced, and by nobody but those who uploaded it.
    pub fn is_by_itself(self) -> bool {
        matches!(self, Verdict::Reproduced { uploaders: 0, .. })
    }

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
            Verdict::Reproduced { by, uploaders: 0 } => {
                write!(f, "reproduced by {by}, same uploader")
            }
            Verdict::Reproduced { by, .. } => write!(f, "reproduced by {by}"),
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
    /// Who uploaded these, besides its own uploader.
    pub(crate) uploaders: i64,
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
            (_, Ok(by @ 1..)) => Verdict::Reproduced {
                by,
                uploaders: u64::try_from(self.uploaders).unwrap_or(0),
            },
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
    let mut inputs = Inputs::default();
    let mut verdicts = Vec::new();
    for build in builds {
        let Some(main) = &build.main_binary else {
            verdicts.push(Verdict::Failed);
            continue;
        };
        let mut facts = inputs.count(tx, build, main.sha256, Before::None)?;
        if facts.same_output == 0 && facts.other_output == 0 {
            facts.before = Before::of(main.sha256, output_before(tx, build)?);
        }
        verdicts.push(facts.verdict());
    }
    Ok(verdicts)
}

/// What the verdict rests on; none of a failed build.
pub(crate) fn facts(tx: &mut Tx<'_>, build: &Build) -> Result<Option<Facts>> {
    Inputs::default().facts(tx, build)
}

/// The outputs of inputs that were asked for.
#[derive(Default)]
struct Inputs(HashMap<Sha256, Outputs>);

impl Inputs {
    fn facts(&mut self, tx: &mut Tx<'_>, build: &Build) -> Result<Option<Facts>> {
        let Some(main) = &build.main_binary else {
            return Ok(None);
        };
        let before = output_before(tx, build)?;
        let before = Before::of(main.sha256, before);
        self.count(tx, build, main.sha256, before).map(Some)
    }

    /// Other builds of the same input with this output, and with another one.
    fn count(
        &mut self,
        tx: &mut Tx<'_>,
        build: &Build,
        output: Sha256,
        before: Before,
    ) -> Result<Facts> {
        let mut facts = Facts {
            same_output: 0,
            uploaders: 0,
            other_output: 0,
            before,
        };
        let Some(input_id) = build.input_id else {
            return Ok(facts);
        };
        let outputs = match self.0.entry(input_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(outputs::of_input(tx, input_id)?),
        };
        for (known, uploaders) in outputs.iter() {
            let builds: i64 = uploaders.values().sum();
            if *known == output {
                let others = uploaders.keys().filter(|user| **user != build.user_id);
                facts.uploaders = i64::try_from(others.count()).unwrap_or(i64::MAX);
                // The build itself is among them.
                facts.same_output = (builds - 1).max(0);
            } else {
                facts.other_output += builds;
            }
        }
        Ok(facts)
    }
}

/// The verdicts on builds of one job, which are given newest first without a gap.
pub fn of_history(tx: &mut Tx<'_>, builds: &[Build]) -> Result<Vec<Verdict>> {
    let mut inputs = Inputs::default();
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
            None => past::successful_before(tx, build)?
                .and_then(|before| before.main_binary)
                .map(|main| main.sha256),
        };
        let before = Before::of(main.sha256, known);
        let facts = inputs.count(tx, build, main.sha256, before)?;
        verdicts.push(facts.verdict());
    }
    verdicts.reverse();
    Ok(verdicts)
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
    // The index has no order among those that started together: they are asked for apart, or all
    // that did would be sorted.
    let together = tx.query_opt(
        "SELECT m.sha256
         FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.job = $1 AND b.platform = $2 AND b.start_d = $3 AND b.start_ps = $4 AND b.id < $5
         ORDER BY b.id DESC LIMIT 1",
        &params,
        |row| row.sha256(0),
    )?;
    if together.is_some() {
        return Ok(together);
    }
    tx.query_opt(
        "SELECT m.sha256
         FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.job = $1 AND b.platform = $2 AND b.start_d <= $3
           AND (b.start_d, b.start_ps) < ($3, $4)
         ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1",
        &params[..4],
        |row| row.sha256(0),
    )
}
