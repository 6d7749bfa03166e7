//! Which builds contain a package.
//!
//! The newest input first, and of builds from one switch the last upload: both are orders of an
//! index, so that the first page takes as long whether ten builds or a million contain it.

use std::collections::HashMap;

use super::digests::{Part, one_more, page};
use super::{SWITCH_PATH, state};
use crate::builds::{Build, select_build};
use crate::{Result, Tx};

/// Switches without a build that one call passes over; then it ends with a short page.
const SWITCHES_PASSED_MAX: usize = 1_000;
/// Versions of one package that are looked at. The most that opam's repository has are some
/// hundreds; those of pinned packages may be one a commit.
const VERSIONS_MAX: i64 = 20_000;

/// A version of a package that is in some switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its row, for [`builds_with`].
    pub package: i64,
    /// As the switch has it.
    pub version: String,
}

/// A build that contains a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithPackage {
    /// The build.
    pub build: Build,
    /// The row of the package, as in [`Version::package`].
    pub package: i64,
}

/// Where a page of builds ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackagePlace {
    /// The row of the switch of the last one.
    pub switch: i64,
    /// The row of the switch among the artifacts of the last one.
    pub artifact: i64,
}

/// A page of builds that contain a package.
#[derive(Debug)]
pub struct PackageBuilds {
    /// The builds.
    pub builds: Vec<WithPackage>,
    /// Where to go on; none when that was all.
    pub next: Option<PackagePlace>,
}

/// The newest build of a job on a platform, which contains a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestWith {
    /// The build.
    pub build: Build,
    /// The row of the package.
    pub package: i64,
}

/// The names of packages that are in some switch, by name.
pub fn package_names(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    tx.query(
        "SELECT name FROM own.package_name ORDER BY name",
        &[],
        |row| row.text(0),
    )
}

/// The versions of a package, in no particular order; empty when there is no such package.
pub fn versions(tx: &mut Tx<'_>, name: &str) -> Result<Vec<Version>> {
    tx.query(
        "SELECT p.id, p.version FROM own.package_name n JOIN own.package p ON p.name = n.id
         WHERE n.name = $1 LIMIT $2",
        &[name.into(), VERSIONS_MAX.into()],
        |row| {
            Ok(Version {
                package: row.int(0)?,
                version: row.text(1)?,
            })
        },
    )
}

/// How many packages the switch of a build has; none when it has no switch, or one that has not
/// been read.
pub fn packages_of_build(tx: &mut Tx<'_>, build_id: i64) -> Result<Option<u64>> {
    tx.query_opt(
        "SELECT s.packages FROM build_artifact a JOIN own.switch s ON s.sha256 = a.sha256
         WHERE a.build = $1 AND a.filepath = $2 AND s.state = $3",
        &[build_id.into(), SWITCH_PATH.into(), state::READ.into()],
        |row| row.size(0),
    )
}

/// How many distinct switches have a package, counted up to `count_max`.
pub fn switches_count(tx: &mut Tx<'_>, package: i64, count_max: u32) -> Result<u32> {
    let count = tx.query_opt(
        "SELECT COUNT(*) FROM (SELECT 1 FROM own.package_switch WHERE package = $1 LIMIT $2) s",
        &[package.into(), i64::from(count_max).into()],
        |row| row.int(0),
    )?;
    Ok(count
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(0))
}

/// The first build of [`builds_with`].
pub fn newest_with(tx: &mut Tx<'_>, package: i64) -> Result<Option<Build>> {
    let page = builds_with(tx, &[package], None, 1)?;
    Ok(page.builds.into_iter().next().map(|found| found.build))
}

/// Builds that contain one of these packages, the newest input first: up to `count` after `after`.
pub fn builds_with(
    tx: &mut Tx<'_>,
    packages: &[i64],
    after: Option<PackagePlace>,
    count: usize,
) -> Result<PackageBuilds> {
    let mut found = PackageBuilds {
        builds: Vec::new(),
        next: None,
    };
    let mut switches = Switches::new(packages, after.map_or(i64::MAX, |after| after.switch));
    let mut passed = 0;
    while let Some((switch, package)) = switches.next(tx)? {
        let before = after
            .filter(|after| after.switch == switch)
            .map_or(i64::MAX, |after| after.artifact);
        let room = count - found.builds.len();
        let (builds, next) = of_switch(tx, switch, before, room)?;
        if builds.is_empty() {
            passed += 1;
        }
        let last = builds.last().map(|(artifact, _)| *artifact);
        found.builds.extend(
            builds
                .into_iter()
                .map(|(_, build)| WithPackage { build, package }),
        );
        let place = |artifact| PackagePlace { switch, artifact };
        if next.is_some() || passed >= SWITCHES_PASSED_MAX {
            found.next = Some(place(last.unwrap_or(0)));
            return Ok(found);
        }
        if found.builds.len() >= count {
            // Whether there is one more decides whether there is a next page.
            while let Some((switch, _)) = switches.next(tx)? {
                passed += 1;
                let (more, _) = of_switch(tx, switch, i64::MAX, 1)?;
                if !more.is_empty() || passed >= SWITCHES_PASSED_MAX {
                    found.next = Some(place(last.unwrap_or(0)));
                    break;
                }
            }
            return Ok(found);
        }
    }
    Ok(found)
}

/// Builds of a switch, each with the row of its artifact, the last upload first.
fn of_switch(
    tx: &mut Tx<'_>,
    switch: i64,
    before: i64,
    count: usize,
) -> Result<Part<(i64, Build)>> {
    let rows = tx.query(
        "SELECT b.id, b.uuid, j.id, j.name, b.platform, b.start_d, b.start_ps, b.finish_d,
           b.finish_ps, b.result_code, b.result_msg, b.console, b.script, b.input_id,
           b.user, m.filepath, m.sha256, m.size, a.id
         FROM own.switch s CROSS JOIN build_artifact a ON a.sha256 = s.sha256
         JOIN build b ON b.id = a.build JOIN job j ON j.id = b.job
         LEFT JOIN build_artifact m ON m.id = b.main_binary
         WHERE s.id = $1 AND a.filepath = $4 AND a.id < $2
         ORDER BY a.id DESC LIMIT $3",
        &[
            switch.into(),
            before.into(),
            one_more(count).into(),
            SWITCH_PATH.into(),
        ],
        |row| {
            let artifact = row.int(18)?;
            Ok((artifact, (artifact, Build::from_row(row)?)))
        },
    )?;
    Ok(page(rows, count))
}

/// The switches that have one of some packages, the newest first: the heads of one list a package,
/// merged.
struct Switches {
    lists: Vec<List>,
}

struct List {
    package: i64,
    /// The newest last.
    ahead: Vec<i64>,
    /// Switches up to this one are still to be read; none when there are none.
    rest: Option<i64>,
}

/// Switches of a package that are read at once.
const SWITCHES_AT_ONCE: i64 = 32;

impl Switches {
    fn new(packages: &[i64], up_to: i64) -> Switches {
        Switches {
            lists: packages
                .iter()
                .map(|package| List {
                    package: *package,
                    ahead: Vec::new(),
                    rest: Some(up_to),
                })
                .collect(),
        }
    }

    fn next(&mut self, tx: &mut Tx<'_>) -> Result<Option<(i64, i64)>> {
        let mut newest: Option<(i64, usize)> = None;
        for (index, list) in self.lists.iter_mut().enumerate() {
            if let Some(switch) = list.head(tx)?
                && newest.is_none_or(|(known, _)| known < switch)
            {
                newest = Some((switch, index));
            }
        }
        let Some((switch, index)) = newest else {
            return Ok(None);
        };
        let list = &mut self.lists[index];
        list.ahead.pop();
        Ok(Some((switch, list.package)))
    }
}

impl List {
    fn head(&mut self, tx: &mut Tx<'_>) -> Result<Option<i64>> {
        if self.ahead.is_empty()
            && let Some(up_to) = self.rest.take()
        {
            self.ahead = tx.query(
                "SELECT switch FROM own.package_switch WHERE package = $1 AND switch <= $2
                 ORDER BY switch DESC LIMIT $3",
                &[self.package.into(), up_to.into(), SWITCHES_AT_ONCE.into()],
                |row| row.int(0),
            )?;
            if i64::try_from(self.ahead.len()) == Ok(SWITCHES_AT_ONCE) {
                self.rest = self.ahead.last().map(|last| last - 1);
            }
            self.ahead.reverse();
        }
        Ok(self.ahead.last().copied())
    }
}

/// Rows of newest builds that are looked at together.
const LATEST_AT_ONCE: i64 = 128;
/// Rows of newest builds that one call looks at; then it ends with a short page.
const LATEST_PASSED_MAX: usize = 2_048;

/// Where a page of newest builds ends: after those of a job (its row) on a platform.
pub type LatestPlace = (i64, String);

/// The newest successful builds of jobs on platforms that contain one of these packages of a name: up
/// to `count` after `after`, in the order in which jobs came, and where to go on.
pub fn latest_with(
    tx: &mut Tx<'_>,
    name: &str,
    packages: &[i64],
    after: Option<LatestPlace>,
    count: usize,
) -> Result<(Vec<LatestWith>, Option<LatestPlace>)> {
    let mut after = after.unwrap_or_default();
    // Many of them share a switch.
    let mut known: HashMap<i64, Option<i64>> = HashMap::new();
    let mut found = Vec::new();
    let mut passed = 0;
    loop {
        let rows = tx.query(
            "SELECT l.job, l.platform, l.build, COALESCE(s.id, 0) FROM own.latest l
             LEFT JOIN build_artifact a ON a.build = l.build AND a.filepath = $1
             LEFT JOIN own.switch s ON s.sha256 = a.sha256
             WHERE (l.job, l.platform) > ($2, $3) AND l.failed = 0
             ORDER BY l.job, l.platform LIMIT $4",
            &[
                SWITCH_PATH.into(),
                after.0.into(),
                after.1.as_str().into(),
                LATEST_AT_ONCE.into(),
            ],
            |row| Ok((row.int(0)?, row.text(1)?, row.int(2)?, row.int(3)?)),
        )?;
        let is_last = i64::try_from(rows.len()) != Ok(LATEST_AT_ONCE);
        for (job, platform, build, switch) in rows {
            if passed >= LATEST_PASSED_MAX {
                return Ok((found, Some(after)));
            }
            passed += 1;
            let before = after;
            after = (job, platform);
            let package = match known.get(&switch) {
                Some(package) => *package,
                None => {
                    let package = of_name_in(tx, name, switch)?;
                    *known.entry(switch).or_insert(package)
                }
            };
            let Some(package) = package.filter(|package| packages.contains(package)) else {
                continue;
            };
            let build = tx.query_opt(
                select_build!(
                    "FROM build b JOIN job j ON j.id = b.job
                     LEFT JOIN build_artifact m ON m.id = b.main_binary
                     WHERE b.id = $1"
                ),
                &[build.into()],
                Build::from_row,
            )?;
            let Some(build) = build else { continue };
            // One more than is asked for tells that there is more.
            if found.len() >= count {
                return Ok((found, Some(before)));
            }
            found.push(LatestWith { build, package });
        }
        if is_last {
            return Ok((found, None));
        }
    }
}

/// The package of this name in a switch: there is one at most.
fn of_name_in(tx: &mut Tx<'_>, name: &str, switch: i64) -> Result<Option<i64>> {
    tx.query_opt(
        "SELECT p.id FROM own.package_name n
         CROSS JOIN own.package p ON p.name = n.id
         CROSS JOIN own.package_switch ps ON ps.package = p.id AND ps.switch = $2
         WHERE n.name = $1 LIMIT 1",
        &[name.into(), switch.into()],
        |row| row.int(0),
    )
}
