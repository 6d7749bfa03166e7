//! Finding things: what a query may mean, looked up in the index and in the database.

pub mod follow;
pub mod packages;
pub mod query;

use builder_store::builds::{Artifact, Build};
use builder_store::record::removed::{self as removed_builds, RemovedBuild};
use builder_store::search::{self as index, FilePlace, PackagePlace, Progress};
use builder_store::verdict::{self, Verdict};
use builder_store::{Sha256, Tx, builds, jobs};
use opam_file::{compare_names, version};
use uuid::Uuid;

use crate::error::Result;
use crate::{cursor, urls};
use query::{Constraint, Query, beginning_of_a_word, glob, is_pattern};

/// Builds of a package are counted up to this many inputs.
pub const INPUTS_COUNTED_MAX: u32 = 1_000;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Jobs by name and synopsis.
    Jobs,
    /// Builds by uuid, by what they hold and by what went in.
    Builds,
    /// Builds that were removed, by uuid, by their main binary and by what went in.
    Removed,
    /// opam packages by name and version.
    Packages,
    /// Files of builds by path.
    Files,
}

impl Kind {
    /// All, in the order in which they are shown.
    pub const ALL: [Kind; 5] = [
        Kind::Jobs,
        Kind::Packages,
        Kind::Builds,
        Kind::Removed,
        Kind::Files,
    ];

    /// Its name in URLs and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Jobs => "jobs",
            Kind::Builds => "builds",
            Kind::Removed => "removed",
            Kind::Packages => "packages",
            Kind::Files => "files",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Part of a list, and where it goes on.
#[derive(Debug, Clone)]
pub struct Group<T> {
    /// The entries.
    pub items: Vec<T>,
    /// The cursor of the next part, if there is one.
    pub next: Option<String>,
}

impl<T> Default for Group<T> {
    fn default() -> Group<T> {
        Group {
            items: Vec::new(),
            next: None,
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Jobs.
    pub jobs: Group<jobs::Job>,
    /// Builds.
    pub builds: Group<FoundBuild>,
    /// Builds that were removed.
    pub removed: Group<RemovedBuild>,
    /// Packages.
    pub packages: Group<FoundPackage>,
    /// Files.
    pub files: Group<FoundFile>,
}

/// A build, and why it was found.
#[derive(Debug, Clone)]
pub struct FoundBuild {
    /// The build.
    pub build: Build,
    /// What is known of it.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
}

/// Why a build was found.
#[derive(Debug, Clone)]
pub enum Why {
    /// By its uuid.
    Uuid,
    /// It has this artifact.
    Artifact(Artifact),
    /// This is its input id.
    Input(Sha256),
    /// It contains a package of this version.
    Package {
        /// The package.
        name: String,
        /// Its version.
        version: String,
    },
}

/// A file that was found.
#[derive(Debug, Clone)]
pub struct FoundFile {
    /// Where it is inside the build.
    pub path: String,
    /// The newest build of its job that has it.
    pub build: Build,
    /// What is known of that build.
    pub verdict: Verdict,
}

/// A package that was found.
#[derive(Debug, Clone)]
pub struct FoundPackage {
    /// Its name.
    pub name: String,
    /// Its versions that are meant, the newest first.
    pub versions: Vec<String>,
}

impl Found {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.jobs.items.is_empty()
            && self.builds.items.is_empty()
            && self.removed.items.is_empty()
            && self.packages.items.is_empty()
            && self.files.items.is_empty()
    }
}

/// Looks for all kinds, `count` of each.
pub fn all(tx: &mut Tx<'_>, query: &Query, count: usize) -> Result<Found> {
    Ok(Found {
        jobs: jobs(tx, query, None, count)?,
        builds: builds(tx, query, None, count)?,
        removed: removed(tx, query, None, count)?,
        packages: packages(tx, query, None, count)?,
        files: files(tx, query, None, count)?,
    })
}

/// Looks for one kind, `count` from a cursor on.
pub fn one(
    tx: &mut Tx<'_>,
    query: &Query,
    kind: Kind,
    cursor: Option<&str>,
    count: usize,
) -> Result<Found> {
    let mut found = Found::default();
    match kind {
        Kind::Jobs => found.jobs = jobs(tx, query, cursor, count)?,
        Kind::Builds => found.builds = builds(tx, query, cursor, count)?,
        Kind::Removed => found.removed = removed(tx, query, cursor, count)?,
        Kind::Packages => found.packages = packages(tx, query, cursor, count)?,
        Kind::Files => found.files = files(tx, query, cursor, count)?,
    }
    Ok(found)
}

/// A build that was found, before it is judged.
pub type BuildAndWhy = (Build, Why);

/// Builds with why they were found, and what is known of each.
pub fn judged(tx: &mut Tx<'_>, found: Vec<BuildAndWhy>) -> Result<Vec<FoundBuild>> {
    let verdicts = verdict::of_builds(tx, found.iter().map(|(build, _)| build))?;
    let found = found.into_iter().zip(verdicts);
    Ok(found
        .map(|((build, why), verdict)| FoundBuild {
            build,
            verdict,
            why,
        })
        .collect())
}

/// How far the index has come.
pub fn progress(tx: &mut Tx<'_>) -> Result<Progress> {
    Ok(index::progress(tx)?)
}

/// How well a name fits: as it is, from its beginning, from the beginning of a word, inside.
fn fit(name: &str, wanted: &str) -> Option<u8> {
    let name = name.to_lowercase();
    if is_pattern(wanted) {
        return glob(wanted, &name).then_some(1);
    }
    let at = name.find(wanted)?;
    Some(match at {
        0 if name.len() == wanted.len() => 0,
        0 => 1,
        _ if name[..at].ends_with(|char: char| !char.is_alphanumeric()) => 2,
        _ => 3,
    })
}

/// The part of a sorted list after a cursor.
fn part<T>(
    list: &str,
    mut all: Vec<(u8, String, T)>,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<T>> {
    all.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
    if let Some(cursor) = cursor {
        let [rank, name] = cursor::decode(list, cursor)?;
        let rank: u8 = cursor::number(&rank)?;
        all.retain(|entry| (entry.0, &entry.1) > (rank, &name));
    }
    let more = all.len() > count;
    all.truncate(count);
    let last = all.last().filter(|_| more);
    let next = last.map(|(rank, name, _)| cursor::encode(list, &[&rank.to_string(), name]));
    Ok(Group {
        items: all.into_iter().map(|(_, _, item)| item).collect(),
        next,
    })
}

fn jobs(
    tx: &mut Tx<'_>,
    query: &Query,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<jobs::Job>> {
    let Some(wanted) = &query.name else {
        return Ok(Group::default());
    };
    let mut all = Vec::new();
    for job in jobs::all(tx)? {
        let in_synopsis = || {
            let synopsis = job.synopsis.as_ref()?.to_lowercase();
            synopsis.contains(wanted.as_str()).then_some(4)
        };
        if let Some(rank) = fit(&job.name, wanted).or_else(in_synopsis) {
            all.push((rank, job.name.clone(), job));
        }
    }
    part("jobs", all, cursor, count)
}

fn packages(
    tx: &mut Tx<'_>,
    query: &Query,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<FoundPackage>> {
    let mut found = Vec::new();
    if let Some(constraint) = &query.package {
        let versions = versions(tx, constraint)?;
        if !versions.is_empty() {
            found.push((0, constraint.name.clone(), ()));
        }
    }
    if let Some(wanted) = &query.name {
        for name in index::package_names(tx)? {
            if let Some(rank) = fit(&name, wanted) {
                found.push((rank, name, ()));
            }
        }
    }
    let named = found
        .into_iter()
        .map(|(rank, name, ())| (rank, name.clone(), name))
        .collect();
    let names = part("packages", named, cursor, count)?;
    let mut items = Vec::with_capacity(names.items.len());
    for name in names.items {
        let any = Constraint {
            name: name.clone(),
            conditions: Vec::new(),
        };
        let constraint = query.package.as_ref().filter(|meant| meant.name == name);
        let versions = versions(tx, constraint.unwrap_or(&any))?;
        items.push(FoundPackage {
            versions: versions.into_iter().map(|known| known.version).collect(),
            name,
        });
    }
    Ok(Group {
        items,
        next: names.next,
    })
}

/// The versions of a package that are meant, the newest first.
pub fn versions(tx: &mut Tx<'_>, constraint: &Constraint) -> Result<Vec<index::Version>> {
    let mut versions = index::versions(tx, &constraint.name)?;
    versions.retain(|known| constraint.holds(&known.version));
    versions.sort_by(|left, right| newest_first(&left.version, &right.version));
    Ok(versions)
}

/// opam's order of versions; texts that are equal in it are told apart.
pub fn newest_first(left: &str, right: &str) -> std::cmp::Ordering {
    version::compare(right.as_bytes(), left.as_bytes()).then_with(|| right.cmp(left))
}

/// The names of all packages in opam's order.
pub fn package_names(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    let mut names = index::package_names(tx)?;
    names.sort_by(|left, right| compare_names(left.as_bytes(), right.as_bytes()));
    Ok(names)
}

/// The builds that contain a package of some versions.
pub fn builds_with(
    tx: &mut Tx<'_>,
    constraint: &Constraint,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<FoundBuild>> {
    const LIST: &str = "builds of package";
    let after = match cursor {
        Some(cursor) => {
            let [switch, artifact] = cursor::decode(LIST, cursor)?;
            Some(PackagePlace {
                switch: cursor::number(&switch)?,
                artifact: cursor::number(&artifact)?,
            })
        }
        None => None,
    };
    let versions = versions(tx, constraint)?;
    let rows: Vec<i64> = versions.iter().map(|known| known.package).collect();
    let page = index::builds_with(tx, &rows, after, count)?;
    let version = |package| {
        let known = versions.iter().find(|known| known.package == package);
        known.map_or_else(String::new, |known| known.version.clone())
    };
    let found = page.builds.into_iter().map(|found| {
        let why = Why::Package {
            name: constraint.name.clone(),
            version: version(found.package),
        };
        (found.build, why)
    });
    Ok(Group {
        items: judged(tx, found.collect())?,
        next: page.next.map(|place| {
            cursor::encode(
                LIST,
                &[&place.switch.to_string(), &place.artifact.to_string()],
            )
        }),
    })
}

/// By what builds are looked for, one after the other.
const BY: [&str; 3] = ["uuid", "artifact", "input"];
/// In a cursor, instead of the last entry: the list goes on with the first by the next of [`BY`].
const BEGINNING: &str = "";

fn builds(
    tx: &mut Tx<'_>,
    query: &Query,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<FoundBuild>> {
    if let Some(constraint) = &query.package {
        return builds_with(tx, constraint, cursor, count);
    }
    const LIST: &str = "builds";
    let (mut by, mut after) = match cursor {
        Some(cursor) => {
            let [by, after] = cursor::decode(LIST, cursor)?;
            let by = BY.iter().position(|known| *known == by);
            let after = Some(after).filter(|after| after != BEGINNING);
            (by.ok_or_else(cursor::wrong)?, after)
        }
        None => (0, None),
    };
    let (mut all, mut next_cursor) = (Vec::new(), None);
    while let Some(name) = BY.get(by) {
        let room = count - all.len();
        if room == 0 {
            // The part is full. Whether there is more takes one to tell.
            let (found, _) = builds_by(tx, query, name, None, 1)?;
            if !found.is_empty() {
                next_cursor = Some(cursor::encode(LIST, &[name, BEGINNING]));
                break;
            }
            by += 1;
            continue;
        }
        let (found, next) = builds_by(tx, query, name, after.as_deref(), room)?;
        all.extend(found);
        if let Some(next) = next {
            next_cursor = Some(cursor::encode(LIST, &[name, &next]));
            break;
        }
        (by, after) = (by + 1, None);
    }
    Ok(Group {
        items: judged(tx, all)?,
        next: next_cursor,
    })
}

/// Builds by one of [`BY`], and where to go on.
fn builds_by(
    tx: &mut Tx<'_>,
    query: &Query,
    by: &str,
    after: Option<&str>,
    count: usize,
) -> Result<(Vec<BuildAndWhy>, Option<String>)> {
    let row = || after.map(cursor::number::<i64>).transpose();
    if by == "uuid" {
        let Some(beginning) = &query.uuid else {
            return Ok((Vec::new(), None));
        };
        let after = match after {
            Some(after) => Some(crate::names::uuid(after).ok_or_else(cursor::wrong)?),
            None => None,
        };
        let builds = index::uuids_from(tx, beginning, after, count + 1)?;
        let found = builds.into_iter().map(|build| (build, Why::Uuid));
        let key = |(build, _): &BuildAndWhy| build.uuid.to_string();
        return Ok(cut(found.collect(), count, key));
    }
    let Some(range) = query.digest else {
        return Ok((Vec::new(), None));
    };
    let with_artifact = |(build, artifact)| (build, Why::Artifact(artifact));
    match (by, range.only()) {
        ("artifact", Some(sha256)) => {
            let (builds, next) = index::with_artifact(tx, sha256, row()?, count)?;
            let found = builds.into_iter().map(with_artifact).collect();
            Ok((found, next.map(|next| next.to_string())))
        }
        (_, Some(sha256)) => {
            let (builds, next) = index::with_input(tx, sha256, row()?, count)?;
            let found = builds.into_iter().map(|build| (build, Why::Input(sha256)));
            Ok((found.collect(), next.map(|next| next.to_string())))
        }
        (_, None) => {
            let rest = match after {
                Some(after) => range.after(Sha256::from_hex(after).ok_or_else(cursor::wrong)?),
                None => Some(range),
            };
            let Some(rest) = rest else {
                return Ok((Vec::new(), None));
            };
            let digests = match by {
                "artifact" => index::artifacts_in(tx, rest, count + 1)?,
                _ => index::inputs_in(tx, rest, count + 1)?,
            };
            let found = digests.into_iter().map(|digest| match digest.artifact {
                Some(artifact) => with_artifact((digest.build, artifact)),
                None => (digest.build, Why::Input(digest.sha256)),
            });
            let key = |(_, why): &BuildAndWhy| match why {
                Why::Artifact(artifact) => artifact.sha256.to_hex(),
                Why::Input(sha256) => sha256.to_hex(),
                _ => String::new(),
            };
            Ok(cut(found.collect(), count, key))
        }
    }
}

fn cut<T>(mut found: Vec<T>, count: usize, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let more = found.len() > count;
    found.truncate(count);
    let next = found.last().filter(|_| more).map(key);
    (found, next)
}

/// What of a query cannot be looked for, in a sentence.
pub fn problem(query: &Query) -> Option<&'static str> {
    let name = query.name.as_deref()?;
    let is_lost = is_pattern(name) && beginning_of_a_word(name).is_none();
    is_lost.then_some(
        "Files cannot be looked for by this pattern: it has no beginning of a word, as *.hvt and uni* have.",
    )
}

fn files(
    tx: &mut Tx<'_>,
    query: &Query,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<FoundFile>> {
    const LIST: &str = "files";
    let Some(wanted) = &query.name else {
        return Ok(Group::default());
    };
    let after = match cursor {
        Some(cursor) => {
            let [word, file, job] = cursor::decode(LIST, cursor)?;
            Some(FilePlace {
                word,
                file: cursor::number(&file)?,
                job: cursor::number(&job)?,
            })
        }
        None => None,
    };
    let Some(beginning) = beginning_of_a_word(wanted) else {
        return Ok(Group::default());
    };
    let is_pattern = is_pattern(wanted);
    let is_meant = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        match is_pattern {
            true => glob(wanted, path) || glob(wanted, name),
            false => path.contains(wanted.as_str()),
        }
    };
    let page = index::files(tx, beginning, &is_meant, after.as_ref(), count)?;
    let next = page.next.map(|place| {
        cursor::encode(
            LIST,
            &[&place.word, &place.file.to_string(), &place.job.to_string()],
        )
    });
    let verdicts = verdict::of_builds(tx, page.files.iter().map(|found| &found.build))?;
    let found = page.files.into_iter().zip(verdicts);
    Ok(Group {
        items: found
            .map(|(found, verdict)| FoundFile {
                path: found.path,
                build: found.build,
                verdict,
            })
            .collect(),
        next,
    })
}

/// Builds that were removed, by one of [`BY`] after the other.
fn removed(
    tx: &mut Tx<'_>,
    query: &Query,
    cursor: Option<&str>,
    count: usize,
) -> Result<Group<RemovedBuild>> {
    const LIST: &str = "removed builds";
    let (mut by, mut after) = match cursor {
        Some(cursor) => {
            let [by, uuid, digest] = cursor::decode(LIST, cursor)?;
            let by = BY.iter().position(|known| *known == by);
            let after = match uuid.as_str() {
                BEGINNING => None,
                uuid => Some((crate::names::uuid(uuid).ok_or_else(cursor::wrong)?, digest)),
            };
            (by.ok_or_else(cursor::wrong)?, after)
        }
        None => (0, None),
    };
    let mut group = Group::default();
    while let Some(name) = BY.get(by) {
        let room = count - group.items.len();
        let found = removed_by(tx, query, name, after.take(), room + 1)?;
        if room == 0 && !found.is_empty() {
            group.next = Some(cursor::encode(LIST, &[name, BEGINNING, BEGINNING]));
            break;
        }
        let (found, next) = cut(found, room, |build| {
            let digest = match *name {
                "artifact" => build.main_binary.as_ref().map(|main| main.sha256),
                "input" => build.input_id,
                _ => None,
            };
            let digest = digest.map_or_else(String::new, Sha256::to_hex);
            cursor::encode(LIST, &[name, &build.uuid.to_string(), &digest])
        });
        group.items.extend(found);
        if next.is_some() {
            group.next = next;
            break;
        }
        by += 1;
    }
    Ok(group)
}

fn removed_by(
    tx: &mut Tx<'_>,
    query: &Query,
    by: &str,
    after: Option<(Uuid, String)>,
    count: usize,
) -> Result<Vec<RemovedBuild>> {
    if by == "uuid" {
        let after = after.map(|(uuid, _)| uuid);
        return Ok(match &query.uuid {
            Some(beginning) => removed_builds::uuids_from(tx, beginning, after, count)?,
            None => Vec::new(),
        });
    }
    let Some(range) = query.digest else {
        return Ok(Vec::new());
    };
    let after = match after {
        Some((uuid, digest)) => {
            let digest = Sha256::from_hex(&digest).ok_or_else(cursor::wrong)?;
            Some((digest, uuid))
        }
        None => None,
    };
    let by = match by {
        "artifact" => removed_builds::By::Output,
        _ => removed_builds::By::Input,
    };
    Ok(removed_builds::in_range(tx, by, range, after, count)?)
}

/// Where the name of a job leads.
pub fn job_named(tx: &mut Tx<'_>, query: &Query) -> Result<Option<String>> {
    let job = jobs::id_by_name(tx, &query.text)?;
    Ok(job.map(|_| urls::job(&query.text, None)))
}

/// Where a query leads that names something by itself: a build by its whole uuid, or an artifact by
/// its whole digest, in the newest build that has it. Also of what was removed.
pub fn straight(tx: &mut Tx<'_>, query: &Query) -> Result<Option<String>> {
    if let Some(uuid) = query.whole_uuid() {
        if let Some(build) = builds::by_uuid(tx, uuid)? {
            return Ok(Some(urls::build(&build.job, &build.uuid)));
        }
        let removed = removed_builds::by_uuid(tx, uuid)?;
        return Ok(removed.map(|build| urls::build(&build.job, &build.uuid)));
    }
    let Some(sha256) = query.whole_digest() else {
        return Ok(None);
    };
    if let Some(build) = builds::newest_with_artifact(tx, sha256)? {
        return Ok(Some(urls::artifact_row(&build.job, &build.uuid, &sha256)));
    }
    let removed = removed_builds::with_main_binary(tx, sha256, 1)?;
    let removed = removed.first();
    Ok(removed.map(|build| urls::build(&build.job, &build.uuid)))
}
