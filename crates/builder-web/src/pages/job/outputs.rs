//! What the page of a job tells of its outputs: which builds have each, what was before, and what
//! changed since. How the platforms stand, and how pages follow one another, is not known here.

use builder_store::builds::Build;
use builder_store::verdict;
use builder_store::{Tx, past};

use crate::app::App;
use crate::error::Result;
use crate::history::{Group, Past};
use crate::input_changes::Known;
use crate::{show, urls};

/// Builds of an output that are named besides the newest.
const NAMED: usize = 4;

/// Builds on a platform of one output, one after the other; or a failed build.
pub(super) struct Shown {
    /// Newest first; never empty.
    pub(super) builds: Vec<Past>,
    /// Whether the builds before the oldest of them have this output, too: on a page of older builds.
    pub(super) more_older: bool,
    /// Whether those after the newest have it, too.
    pub(super) more_newer: bool,
    /// The build before that has another output, and what changed since.
    pub(super) before: Option<Past>,
    pub(super) changes: Known,
    /// The newest build before that one which had this output, too.
    pub(super) same_as: Option<Past>,
}

/// Which builds a page looks at.
pub(super) struct Looked<'a> {
    /// Newest first.
    pub(super) past: &'a [Past],
    /// Whether there are older ones.
    pub(super) more_older: bool,
    /// Whether there may be newer ones.
    pub(super) more_newer: bool,
}

impl Shown {
    pub(super) fn load(
        app: &App,
        tx: &mut Tx<'_>,
        looked: &Looked<'_>,
        group: &Group,
    ) -> Result<Shown> {
        let past = |at: usize| looked.past[at].clone();
        let builds: Vec<Past> = group.builds.iter().copied().map(past).collect();
        let mut shown = Shown {
            builds,
            more_older: false,
            more_newer: false,
            before: group.before.map(past),
            changes: Known::Untold,
            same_as: group.same_as.map(past),
        };
        if looked.more_newer && group.is_newest {
            let after = past::successful_after(tx, &shown.newest().build)?;
            shown.more_newer = after.is_some_and(|after| shown.has_output_of(&after));
        }
        if looked.more_older && shown.before.is_none() && shown.output().is_some() {
            match past::successful_before(tx, &shown.oldest().build)? {
                Some(before) if shown.has_output_of(&before) => shown.more_older = true,
                Some(before) => {
                    let verdict = verdict::of_build(tx, &before)?;
                    shown.before = Some(Past {
                        build: before.into(),
                        verdict,
                    });
                }
                None => {}
            }
        }
        if let Some(before) = &shown.before {
            let oldest = &shown.oldest().build;
            shown.changes = app.comparisons().of(tx, &before.build, oldest)?;
        }
        Ok(shown)
    }

    pub(super) fn newest(&self) -> &Past {
        &self.builds[0]
    }

    pub(super) fn oldest(&self) -> &Past {
        &self.builds[self.builds.len() - 1]
    }

    fn output(&self) -> Option<builder_store::Sha256> {
        let main = self.newest().build.main_binary.as_ref();
        main.map(|main| main.sha256)
    }

    fn has_output_of(&self, build: &Build) -> bool {
        self.output() == build.main_binary.as_ref().map(|main| main.sha256)
    }

    /// How many builds there are, since when; none where it is one.
    pub(super) fn counted(&self) -> Option<String> {
        let more = self.more_older || self.more_newer;
        if self.builds.len() == 1 && !more {
            return None;
        }
        Some(format!(
            "{}{}, since {}{}",
            if more { "at least " } else { "" },
            show::counted(self.builds.len(), "build"),
            if self.more_older { "before " } else { "" },
            show::date(&self.oldest().build.start)
        ))
    }

    /// Builds before the newest that are named.
    pub(super) fn named(&self) -> &[Past] {
        let others = &self.builds[1..];
        others.get(..NAMED).unwrap_or(others)
    }

    /// Where all builds that have this output are listed, if some are not named.
    pub(super) fn all(&self) -> Option<String> {
        let unnamed = self.builds.len() > NAMED + 1 || self.more_older || self.more_newer;
        let output = self.output().filter(|_| unnamed)?;
        Some(urls::search(&output.to_hex(), Some("builds"), None))
    }
}
