//! What the page of a job tells of each platform: how it stands, its newest builds, and how its builds
//! went, as a timeline and charts. What the outputs were, and how pages follow one another, is not known
//! here.

use builder_store::Tx;
use builder_store::builds::Build;
use builder_store::failures::{self, Failure};
use builder_store::latest::{self, Latest};
use builder_store::past::{self, Count, Standing};
use builder_store::verdict::{self, Verdict};

use crate::app::App;
use crate::error::Result;
use crate::history::{self, Chart, Mark, Past, Words};
use crate::input_changes::Known;
use crate::show;

/// Builds of each platform that its timeline shows, however rarely there is one.
const TIMELINE: usize = 100;
/// Platforms whose timelines are on one page; more than these are chosen one by one.
pub(super) const PLATFORMS: usize = 20;

/// The builds that a page is about.
pub(super) struct Window<'a> {
    /// The row of their job.
    pub(super) job_id: i64,
    /// The platforms that are shown.
    pub(super) platforms: &'a [String],
    /// Newest first.
    pub(super) past: &'a [Past],
    /// They are the newest, and there are older ones that are rather told than left out.
    pub(super) is_cut: bool,
}

impl Window<'_> {
    /// What happened on each platform: of the newest builds on it, or else of those that the page is
    /// about.
    pub(super) fn histories(&self, app: &App, tx: &mut Tx<'_>) -> Result<Vec<History>> {
        let mut latest = latest::of_job(tx, self.job_id)?;
        let mut histories = Vec::new();
        for platform in self.platforms {
            let past = self.on_platform(tx, platform)?;
            if past.is_empty() {
                continue;
            }
            if histories.len() == PLATFORMS {
                break;
            }
            let at = latest
                .iter()
                .position(|latest| latest.platform == *platform);
            let latest = at.map(|at| latest.swap_remove(at));
            let place = (self.job_id, platform.clone());
            histories.push(History::load(app, tx, place, latest, past)?);
        }
        Ok(histories)
    }

    /// Newest first, [`TIMELINE`] at most.
    fn on_platform(&self, tx: &mut Tx<'_>, platform: &str) -> Result<Vec<Past>> {
        let past = self.past.iter();
        let past = past.filter(|past| past.build.platform == platform);
        let mut past: Vec<Past> = past.take(TIMELINE).cloned().collect();
        if let Some(oldest) = self.past.last().filter(|_| self.is_cut)
            && let Ok(missing @ 1..) = u32::try_from(TIMELINE - past.len())
        {
            let before = Some(oldest.build.age());
            let older = past::newest(tx, self.job_id, platform, before, missing)?;
            let verdicts = verdict::of_history(tx, &older)?;
            past.extend(history::past(older, verdicts));
        }
        Ok(past)
    }
}

/// What happened on a platform.
pub(super) struct History {
    pub(super) platform: String,
    /// Newest first, [`TIMELINE`] at most.
    pub(super) past: Vec<Past>,
    /// Its newest builds, whichever builds the page is about.
    pub(super) latest: Option<Latest>,
    /// Why the newest build failed, if it did.
    pub(super) failure: Option<Failure>,
    /// Since when it is reproduced, or not: as of now.
    pub(super) standing: Standing,
    /// The verdicts on the builds that it names: the first of those it is about, and the one before.
    pub(super) verdicts: (Verdict, Verdict),
    /// What changed where it ceased to be reproducible.
    pub(super) changes: Known,
    /// How many of the newest builds failed.
    pub(super) failing: Count,
    pub(super) size: Option<Chart>,
    pub(super) duration: Option<Chart>,
}

impl History {
    fn load(
        app: &App,
        tx: &mut Tx<'_>,
        (job_id, platform): (i64, String),
        latest: Option<Latest>,
        past: Vec<Past>,
    ) -> Result<History> {
        let standing = past::standing(tx, job_id, &platform)?;
        let changes = match &standing {
            Standing::NotSince {
                first,
                before: Some(before),
                ..
            } => app.comparisons().of(tx, before, first)?,
            _ => Known::Untold,
        };
        let mut verdict = |build: Option<&Build>| match build {
            Some(build) => verdict::of_build(tx, build),
            None => Ok(Verdict::Failed),
        };
        let verdicts = match &standing {
            Standing::Reproduced { since, .. } => (verdict(Some(since))?, Verdict::Failed),
            Standing::NotSince { first, before, .. } => {
                (verdict(Some(first))?, verdict(before.as_deref())?)
            }
            _ => (Verdict::Failed, Verdict::Failed),
        };
        let newest = latest.as_ref().and_then(Latest::newest);
        let failure = match newest {
            Some(build) if build.main_binary.is_none() => failures::of_build(tx, build.id)?,
            _ => None,
        };
        Ok(History {
            failing: past::failing(tx, job_id, &platform)?,
            failure,
            standing,
            verdicts,
            changes,
            size: history::chart(
                &past,
                |build| build.main_binary.as_ref().map(|main| main.size),
                show::bytes,
            ),
            duration: history::chart(
                &past,
                |build| Some(build.duration().as_secs()),
                show::seconds,
            ),
            latest,
            platform,
            past,
        })
    }

    /// Oldest first.
    pub(super) fn marks(&self) -> Vec<Mark<'_>> {
        history::marks(&self.past)
    }

    pub(super) fn end(&self) -> Option<String> {
        history::end(&self.past)
    }

    pub(super) fn told(&self) -> Vec<Words> {
        history::told(&self.standing, &self.changes, self.failing)
    }

    pub(super) fn newest(&self) -> Option<&Build> {
        self.latest.as_ref().and_then(Latest::newest)
    }

    /// What is known of the newest build.
    pub(super) fn newest_verdict(&self) -> Option<Verdict> {
        self.latest.as_ref().map(Latest::newest_verdict)
    }

    /// The newest successful build, and what is known of it.
    pub(super) fn successful(&self) -> Option<(&Build, Verdict)> {
        let latest = self.latest.as_ref()?;
        Some((latest.successful.as_ref()?, latest.verdict))
    }

    /// The newest build, if it failed.
    pub(super) fn failed(&self) -> Option<&Build> {
        self.newest().filter(|build| build.main_binary.is_none())
    }
}
