//! Which jobs are shown: by words, by a platform, by the state of their newest builds. For people
//! and programs.

use builder_store::latest::Latest;

use crate::query::Query;
use crate::show::VERDICTS;

/// Which jobs are shown: all, where a text is empty.
#[derive(Debug, Default)]
pub struct JobFilter {
    /// Words that are all in the job's name or synopsis, in lower case.
    pub name: String,
    /// The name of a platform.
    pub platform: String,
    /// The name of a verdict.
    pub state: String,
}

impl JobFilter {
    /// From the parameters `name`, `platform` and `state`.
    pub fn of(query: &Query) -> JobFilter {
        let text = |name| query.get(name).unwrap_or_default().trim().to_owned();
        JobFilter {
            name: text("name"),
            platform: text("platform"),
            state: text("state"),
        }
    }

    /// The platform, if one is asked for.
    pub fn platform(&self) -> Option<&str> {
        Some(self.platform.as_str()).filter(|platform| !platform.is_empty())
    }

    /// Whether anything is left out.
    pub fn is_set(&self) -> bool {
        [&self.name, &self.platform, &self.state]
            .iter()
            .any(|text| !text.is_empty())
    }

    /// Whether a job is shown, by its name and synopsis.
    pub fn shows_job(&self, name: &str, synopsis: &str) -> bool {
        let text = format!("{name} {synopsis}").to_lowercase();
        let words = self.name.to_lowercase();
        words.split_whitespace().all(|word| text.contains(word))
    }

    /// Whether its newest builds on a platform are shown.
    pub fn shows(&self, latest: &Latest) -> bool {
        (self.platform.is_empty() || self.platform == latest.platform)
            && (self.state.is_empty() || self.state == latest.newest_verdict().name())
    }

    /// Whether builds of every platform and state are shown.
    pub fn shows_all_builds(&self) -> bool {
        self.platform.is_empty() && self.state.is_empty()
    }

    /// Whether there is such a state.
    pub fn has_known_state(&self) -> bool {
        self.state.is_empty() || VERDICTS.iter().any(|(name, _)| *name == self.state)
    }

    /// The names of the states.
    pub fn states() -> String {
        VERDICTS.map(|(name, _)| name).join(", ")
    }
}
