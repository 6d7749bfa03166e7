//! Which package of a switch depends on which, from its root on.
//!
//! A package depends on every installed package that its opam file mentions in `depends` and
//! `depopts`, whatever the conditions. Unikernels say it themselves: `x-orb-dependencies` of the
//! root, written by orb, also has what is linked from duniverse directories and so not installed.

use std::collections::{BTreeMap, HashMap, HashSet};

use opam_file::{SwitchExport, Value, compare_names};

use crate::Error;
use crate::text;

/// Bytes of a switch export that are read. Real ones have 60 to 400 KiB.
pub const SWITCH_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Packages that are drawn, those nearest to the root; real switches have 60 to 250.
pub const PACKAGES_MAX: usize = 800;
/// Dependencies that are drawn; real switches have some hundred.
pub const EDGES_MAX: usize = 20_000;

/// Packages in the order in which they are reached from the root, which is the first.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) packages: Vec<Package>,
    /// Packages and dependencies that are not drawn.
    pub(crate) packages_left: usize,
    pub(crate) edges_left: usize,
}

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// None of what is not installed, such as what comes from a duniverse directory.
    pub(crate) version: Option<String>,
    /// Steps from the root.
    pub(crate) distance: usize,
    /// In opam's order.
    pub(crate) needs: Vec<usize>,
    pub(crate) needed_by: Vec<usize>,
    /// How many packages it needs with all that these need.
    pub(crate) brings: usize,
}

impl Graph {
    /// Reads a switch export.
    pub(crate) fn read(switch: &[u8]) -> Result<Graph, Error> {
        let bytes = switch.len() as u64;
        if bytes > SWITCH_BYTES_MAX {
            return Err(Error::TooLarge {
                bytes,
                bytes_max: SWITCH_BYTES_MAX,
            });
        }
        let switch = SwitchExport::parse(switch).map_err(Error::NotASwitch)?;
        Graph::of(&switch)
    }

    fn of(switch: &SwitchExport) -> Result<Graph, Error> {
        let versions: HashMap<&str, &str> = switch
            .installed
            .iter()
            .map(|package| (package.name.as_str(), package.version.as_str()))
            .collect();
        let told = switch.root().and_then(|root| {
            let overlay = switch.overlay(&root.name)?;
            orb_dependencies(overlay.extension("x-orb-dependencies")?)
        });
        let needs = |name: &str| -> Vec<String> {
            match &told {
                Some(told) => told.get(name).cloned().unwrap_or_default(),
                None => match switch.overlay(name) {
                    Some(overlay) => overlay
                        .mentioned_packages()
                        .into_iter()
                        .filter(|needed| versions.contains_key(needed.as_str()))
                        .collect(),
                    None => Vec::new(),
                },
            }
        };
        let mut names: Vec<String> = match switch.roots.as_slice() {
            [] => return Err(Error::NoRoot),
            [root] => vec![root.name.clone()],
            // One to begin at, which needs them all.
            roots => vec![format!("{} roots", roots.len())],
        };
        let mut by_name: HashMap<String, usize> = HashMap::new();
        if let [root] = switch.roots.as_slice() {
            by_name.insert(root.name.clone(), 0);
        }
        let mut left: HashSet<String> = HashSet::new();
        let mut distances = vec![0];
        let mut all_needs: Vec<Vec<usize>> = Vec::new();
        let (mut edges, mut edges_left) = (0, 0);
        // Breadth first: `names` grows while it is walked.
        while let Some(name) = names.get(all_needs.len()).cloned() {
            let at = all_needs.len();
            let needed = match switch.roots.as_slice() {
                roots if at == 0 && roots.len() > 1 => {
                    roots.iter().map(|root| root.name.clone()).collect()
                }
                _ => needs(&name),
            };
            let distance = distances.get(at).map_or(1, |distance| distance + 1);
            let mut indexes = Vec::new();
            for needed in needed {
                if needed == name {
                    continue;
                }
                let index = match by_name.get(&needed) {
                    Some(index) => *index,
                    None if names.len() >= PACKAGES_MAX => {
                        edges_left += 1;
                        left.insert(needed);
                        continue;
                    }
                    None => {
                        by_name.insert(needed.clone(), names.len());
                        distances.push(distance);
                        names.push(needed);
                        names.len() - 1
                    }
                };
                if edges < EDGES_MAX {
                    edges += 1;
                    indexes.push(index);
                } else {
                    edges_left += 1;
                }
            }
            all_needs.push(indexes);
        }
        let mut packages: Vec<Package> = names
            .into_iter()
            .zip(distances)
            .zip(all_needs)
            .map(|((name, distance), needs)| Package {
                version: versions
                    .get(name.as_str())
                    .map(|version| version.to_string()),
                name,
                distance,
                needs,
                needed_by: Vec::new(),
                brings: 0,
            })
            .collect();
        for index in 0..packages.len() {
            let needs = packages.get(index).map(|package| package.needs.clone());
            for needed in needs.into_iter().flatten() {
                if let Some(needed) = packages.get_mut(needed) {
                    needed.needed_by.push(index);
                }
            }
        }
        let brings: Vec<usize> = (0..packages.len())
            .map(|index| reached_from(&packages, index))
            .collect();
        for (package, brings) in packages.iter_mut().zip(brings) {
            package.brings = brings;
            package.name = text::cut(&package.name, text::NAME_CHARS_MAX);
        }
        // What is left may need more, which is not looked at.
        Ok(Graph {
            packages,
            packages_left: left.len(),
            edges_left,
        })
    }

    /// What each package leads to.
    pub(crate) fn successors(&self) -> Vec<Vec<usize>> {
        let packages = self.packages.iter();
        packages.map(|package| package.needs.clone()).collect()
    }
}

/// How many packages are reached from one, without it.
fn reached_from(packages: &[Package], start: usize) -> usize {
    let mut seen = vec![false; packages.len()];
    let mut todo = vec![start];
    let mut count = 0;
    while let Some(next) = todo.pop() {
        let Some(seen) = seen.get_mut(next).filter(|seen| !**seen) else {
            continue;
        };
        *seen = true;
        count += 1;
        if let Some(package) = packages.get(next) {
            todo.extend(&package.needs);
        }
    }
    count - 1
}

/// `[["pkg" ["dep" …]] …]`; `None` when it is of another form.
fn orb_dependencies(value: Value<'_>) -> Option<BTreeMap<String, Vec<String>>> {
    let name = |value: Value<'_>| Some(String::from_utf8_lossy(value.as_string()?).into_owned());
    let mut all = BTreeMap::new();
    for entry in value.as_list()? {
        let mut parts = entry.as_list()?;
        let (package, needed) = (parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let mut needed = needed.as_list()?.map(name).collect::<Option<Vec<_>>>()?;
        needed.sort_unstable_by(|one, other| compare_names(one.as_bytes(), other.as_bytes()));
        needed.dedup();
        all.insert(name(package)?, needed);
    }
    Some(all)
}
