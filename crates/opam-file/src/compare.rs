//! What changed between two switches. The results and their orders are those of builder-web's `opamdiff`.
//!
//! Where upstream stops with an error there is a result here: pinned packages, compiler packages and roots that are not
//! installed make no difference, and a package without an opam file on one side is compared with an empty one.

use std::cmp::Ordering;
use std::fmt;

use crate::diff::{Effort, unified_diff_within};
use crate::duniverse::{self, DuniverseDiff};
use crate::opam_file::OpamFile;
use crate::package::{Package, compare_names};
use crate::switch_export::SwitchExport;
use crate::version;

/// What changed between two switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Packages of the same version whose opam files differ in more than what is only shown to people; descending.
    pub opam_diff: Vec<OpamDiff>,
    /// Packages with another version; ascending.
    pub version_diff: Vec<VersionDiff>,
    /// Packages of which the right switch has no version; descending.
    pub only_in_left: Vec<Package>,
    /// Packages of which the left switch has no version; descending.
    pub only_in_right: Vec<Package>,
    /// What changed in the duniverse directories, or why that cannot be told.
    pub duniverse_diff: Result<DuniverseDiff, String>,
}

/// A package whose opam file changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpamDiff {
    /// The package as the left switch has it.
    pub package: Package,
    /// Always false, as only packages are listed for which it is. Clients read it.
    pub effectively_equal: bool,
    /// The difference of both printed files as `diff -u` shows it, without blanks and line ends around it.
    pub diff: String,
}

/// A package with another version than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionDiff {
    /// The package's name.
    pub name: String,
    /// Its version in the left switch.
    pub version_left: String,
    /// Its version in the right switch.
    pub version_right: String,
}

impl fmt::Display for VersionDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}->{}",
            self.name, self.version_left, self.version_right
        )
    }
}

impl SwitchExport {
    /// What changed from this switch to the other.
    ///
    /// ```
    /// use opam_file::SwitchExport;
    /// let left = SwitchExport::parse(br#"opam-version: "2.0" installed: ["a.1" "b.1"]"#).unwrap();
    /// let right = SwitchExport::parse(br#"opam-version: "2.0" installed: ["a.2" "c.1"]"#).unwrap();
    /// let comparison = left.compare(&right);
    /// assert_eq!(comparison.version_diff[0].to_string(), "a.1->2");
    /// assert_eq!(comparison.only_in_left[0].to_string(), "b.1");
    /// assert_eq!(comparison.only_in_right[0].to_string(), "c.1");
    /// ```
    pub fn compare(&self, right: &SwitchExport) -> Comparison {
        Comparison {
            opam_diff: opam_diffs(self, right),
            version_diff: version_diffs(&self.installed, &right.installed),
            only_in_left: only_in_first(&self.installed, &right.installed),
            only_in_right: only_in_first(&right.installed, &self.installed),
            duniverse_diff: duniverse::compare(self, right),
        }
    }
}

/// Packages are sorted, so the descending order is that of the list turned round.
fn only_in_first(packages: &[Package], others: &[Package]) -> Vec<Package> {
    packages
        .iter()
        .rev()
        .filter(|package| first_of_name(others, &package.name).is_none())
        .cloned()
        .collect()
}

fn version_diffs(left: &[Package], right: &[Package]) -> Vec<VersionDiff> {
    let changed = left.iter().filter_map(|package| {
        let other = first_of_name(right, &package.name)?;
        let order = version::compare(package.version.as_bytes(), other.version.as_bytes());
        order.is_ne().then(|| VersionDiff {
            name: package.name.clone(),
            version_left: package.version.clone(),
            version_right: other.version.clone(),
        })
    });
    changed.collect()
}

fn first_of_name<'p>(packages: &'p [Package], name: &str) -> Option<&'p Package> {
    let order = |package: &Package| compare_names(package.name.as_bytes(), name.as_bytes());
    let at = packages.partition_point(|package| order(package) == Ordering::Less);
    packages.get(at).filter(|package| package.name == name)
}

fn opam_diffs(left: &SwitchExport, right: &SwitchExport) -> Vec<OpamDiff> {
    let in_both = left.installed.iter().rev().filter(|package| {
        right
            .installed
            .binary_search_by(|other| other.opam_order(package))
            .is_ok()
    });
    let mut effort = Effort::default();
    let changed = in_both.filter_map(|package| {
        let name = package.name.as_str();
        let diff = opam_diff(&mut effort, name, left.overlay(name), right.overlay(name))?;
        Some(OpamDiff {
            package: package.clone(),
            effectively_equal: false,
            diff,
        })
    });
    changed.collect()
}

/// The difference of two opam files, if they differ in what matters.
fn opam_diff(
    effort: &mut Effort,
    name: &str,
    left: Option<&OpamFile>,
    right: Option<&OpamFile>,
) -> Option<String> {
    let (left, right) = match (left, right) {
        (None, None) => return None,
        (Some(left), None) => (left.print(), Vec::new()),
        (None, Some(right)) => (Vec::new(), right.print()),
        // The usual case: nothing to understand where not a byte changed.
        (Some(left), Some(right)) if left.source() == right.source() => return None,
        (Some(left), Some(right)) => {
            let (left, right) = (left.typed(), right.typed());
            if left.effectively_equal(&right) {
                return None;
            }
            (left.to_document().print(), right.to_document().print())
        }
    };
    let diff = unified_diff_within(
        effort,
        &format!("left/{name}/opam"),
        &left,
        &format!("right/{name}/opam"),
        &right,
    );
    Some(
        String::from_utf8_lossy(&diff)
            .trim_matches([' ', '\t', '\n', '\r', '\x0c'])
            .to_owned(),
    )
}
