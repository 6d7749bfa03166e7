//! What is told of one opam package.

use std::collections::HashMap;

use builder_store::Tx;
use builder_store::builds::Build;
use builder_store::search as index;
use builder_store::verdict::{self, Verdict};

use super::query::Constraint;
use super::{Group, INPUTS_COUNTED_MAX, newest_first, versions as versions_meant};
use crate::cursor;
use crate::error::{Error, Result};

/// A version of a package that builds contain.
#[derive(Debug, Clone)]
pub struct PackageVersion {
    /// The version.
    pub version: String,
    /// Distinct opam switches with it, counted up to [`INPUTS_COUNTED_MAX`].
    pub inputs: u32,
    /// The last upload from the newest of them.
    pub newest: Build,
    /// What is known of that build.
    pub verdict: Verdict,
}

/// The newest build of a job on a platform, with the version of a package that it contains.
#[derive(Debug, Clone)]
pub struct LatestWith {
    /// The version.
    pub version: String,
    /// The build.
    pub build: Build,
    /// What is known of it.
    pub verdict: Verdict,
}

/// A condition on the version of a package, as it is written in a URL; empty: any version.
pub fn constraint(name: &str, version: &str) -> Result<Constraint> {
    Constraint::of(name, version).ok_or_else(|| {
        Error::BadRequest(format!(
            "the version {version:?} is to be a version, as in 2.0.1, or conditions on it, as in >= 1.0 & < 2.0.1"
        ))
    })
}

/// An error if no build contains a package of this name.
pub fn require(tx: &mut Tx<'_>, name: &str) -> Result<()> {
    match index::versions(tx, name)?.is_empty() {
        true => Err(Error::NotFound(format!(
            "no build that is kept here contains an opam package {name}"
        ))),
        false => Ok(()),
    }
}

/// The newest successful builds of jobs that contain a package of these versions: `count` from a
/// cursor on.
pub fn latest(
    tx: &mut Tx<'_>,
    constraint: &Constraint,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<LatestWith>> {
    const LIST: &str = "latest with package";
    let after = match cursor {
        Some(cursor) => {
            let [job, platform] = cursor::decode(LIST, cursor)?;
            Some((cursor::number(&job)?, platform))
        }
        None => None,
    };
    let versions: HashMap<i64, String> = versions_meant(tx, constraint)?
        .into_iter()
        .map(|known| (known.package, known.version))
        .collect();
    let packages: Vec<i64> = versions.keys().copied().collect();
    let (mut latest, next) = index::latest_with(tx, &constraint.name, &packages, after, count)?;
    latest.sort_by_cached_key(|found| (found.build.job.clone(), found.build.platform.clone()));
    let verdicts = verdict::of_builds(tx, latest.iter().map(|found| &found.build))?;
    Ok(Group {
        items: latest
            .into_iter()
            .zip(verdicts)
            .filter_map(|(latest, verdict)| {
                Some(LatestWith {
                    version: versions.get(&latest.package)?.clone(),
                    build: latest.build,
                    verdict,
                })
            })
            .collect(),
        next: next.map(|(job, platform)| cursor::encode(LIST, &[&job.to_string(), &platform])),
    })
}

/// The versions of a package that builds contain, the newest first: `count` from a cursor on.
pub fn versions(
    tx: &mut Tx<'_>,
    name: &str,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<PackageVersion>> {
    const LIST: &str = "versions";
    let any = Constraint {
        name: name.to_owned(),
        conditions: Vec::new(),
    };
    let mut all = versions_meant(tx, &any)?;
    if let Some(cursor) = cursor {
        let [last] = cursor::decode(LIST, cursor)?;
        all.retain(|known| newest_first(&known.version, &last).is_gt());
    }
    let more = all.len() > count;
    all.truncate(count);
    let last = all.last().filter(|_| more);
    let next = last.map(|last| cursor::encode(LIST, &[&last.version]));
    let mut items = Vec::with_capacity(all.len());
    for known in all {
        // None: its last build was removed, and it is about to be swept.
        if let Some(newest) = index::newest_with(tx, known.package)? {
            items.push(PackageVersion {
                version: known.version,
                inputs: index::switches_count(tx, known.package, INPUTS_COUNTED_MAX)?,
                verdict: verdict::of_build(tx, &newest)?,
                newest,
            });
        }
    }
    Ok(Group { items, next })
}
