//! What the pictures tell, as data: the same facts from the same readers, for programs.
//!
//! The names of fields are those of the JSON form and do not change; new ones may be added.

use serde::Serialize;

use crate::Error;
use crate::binary::{Binary, Kind, Part};
use crate::changes::changes;
use crate::dominators::immediate_dominators;
use crate::graph::Graph;
use crate::groups::{Group, groups};
use crate::treemap::{module_name, small};

/// Parts of a binary that are told; large unikernels have some thousand.
pub const PARTS_MAX: usize = 10_000;

/// What takes space in a binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Treemap {
    /// Bytes that are loaded into memory from the file: the sum of all kinds.
    pub bytes: u64,
    /// Bytes of the binary that this is measured against; null: there is none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub binary_bytes: Option<u64>,
    /// Bytes of what is so small that the picture gathers it.
    pub small_bytes: u64,
    /// Bytes of memory that are zero at the start and not in the file; not in the sum.
    pub zeroed_bytes: u64,
    /// Symbols that were not looked at, and functions that there was no room to name.
    pub symbols_left_out: u64,
    /// Parts that are not listed, though counted in their groups.
    pub parts_left_out: u64,
    /// What there is, by kind.
    pub kinds: Vec<TreemapKind>,
}

/// Everything of a kind in a binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TreemapKind {
    /// What it is.
    pub kind: Kind,
    /// Its size.
    pub bytes: u64,
    /// Libraries, or sections; the largest first.
    pub groups: Vec<TreemapGroup>,
}

/// A library or section in a binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TreemapGroup {
    /// The name of the library or section; `Dune__exe` is the program itself.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its modules and files, the largest first.
    pub parts: Vec<TreemapPart>,
}

/// A module or file in a binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TreemapPart {
    /// The name of the module, file or section.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its code.
    pub code_bytes: u64,
    /// Its data.
    pub data_bytes: u64,
    /// Its largest functions, the largest first.
    pub largest_functions: Vec<TreemapFunction>,
}

/// A function in a binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TreemapFunction {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// What grew and what shrank from one binary to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TreemapChanges {
    /// Bytes of the left binary that are loaded into memory.
    pub left_bytes: u64,
    /// Those of the right one.
    pub right_bytes: u64,
    /// Parts that are not listed.
    pub parts_left_out: u64,
    /// Modules and files of one or both, those that changed most first.
    pub parts: Vec<TreemapChange>,
}

/// A module or file in one or both of two binaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TreemapChange {
    /// What it is.
    pub kind: Kind,
    /// The name of its library; null: nobody claims it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub group: Option<String>,
    /// The name of the module, file or section.
    pub name: String,
    /// What became of it.
    pub became: Became,
    /// Its size in the left binary.
    pub left_bytes: u64,
    /// Its size in the right one.
    pub right_bytes: u64,
}

/// What became of a part from the left binary to the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = TreemapBecame))]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// Only the right one has it.
    New,
    /// Only the left one has it.
    Gone,
    /// It grew.
    Larger,
    /// It shrank.
    Smaller,
    /// Its size is the same.
    Same,
}

impl Became {
    /// By its size in both.
    pub(crate) fn of(left: u64, right: u64) -> Became {
        match (left, right) {
            (left, right) if left == right => Became::Same,
            (0, _) => Became::New,
            (_, 0) => Became::Gone,
            (left, right) if right > left => Became::Larger,
            _ => Became::Smaller,
        }
    }
}

/// Which package needs which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dependencies {
    /// The packages in the order in which they are reached, the root first.
    pub packages: Vec<DependencyPackage>,
    /// Who needs whom.
    pub dependencies: Vec<Dependency>,
    /// Packages beyond those that are listed.
    pub packages_left_out: u64,
    /// Dependencies beyond those that are listed.
    pub dependencies_left_out: u64,
}

/// A package among dependencies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DependencyPackage {
    /// Its name; of a switch with several roots, the first one stands for them all: `3 roots`.
    pub name: String,
    /// Its version; null: it is not installed, such as what is vendored.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub version: Option<String>,
    /// Steps from the root: 0 is the root, 1 a direct dependency.
    pub distance: u64,
    /// How many packages need it directly.
    pub needed_by: u64,
    /// How many packages it needs with all that these need.
    pub brings_in: u64,
    /// The direct dependency without which it would not be there; null: there is none, or it is that itself.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub only_through: Option<String>,
}

/// That a package needs another, for building too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dependency {
    /// Which package needs another.
    pub package: String,
    /// The package that it needs.
    pub needs: String,
}

/// What [`treemap`](crate::treemap) tells.
///
/// # Errors
/// When `file` is no ELF file, is too large, or has nothing that is loaded.
pub fn treemap_data(file: &[u8], binary_bytes: Option<u64>) -> Result<Treemap, Error> {
    let binary = Binary::read(file)?;
    let groups = groups(&binary);
    let mut room = PARTS_MAX;
    let kinds = groups.chunk_by(|one, other| one.kind == other.kind);
    let kinds = kinds.filter_map(|of_kind| {
        let sizes = of_kind.iter().map(|group| group.bytes);
        Some(TreemapKind {
            kind: of_kind.first()?.kind,
            bytes: sizes.fold(0, u64::saturating_add),
            groups: of_kind
                .iter()
                .map_while(|group| group_data(group, &mut room))
                .collect(),
        })
    });
    Ok(Treemap {
        bytes: binary.bytes(),
        binary_bytes,
        small_bytes: small(&groups, binary.bytes()),
        zeroed_bytes: binary.zeroed_bytes,
        symbols_left_out: binary.symbols_left as u64,
        kinds: kinds.collect(),
        parts_left_out: binary.parts.len().saturating_sub(PARTS_MAX) as u64,
    })
}

/// A group with as many of its parts as there is room for; none: there is none.
fn group_data(group: &Group<'_>, room: &mut usize) -> Option<TreemapGroup> {
    if *room == 0 {
        return None;
    }
    let parts = group.parts.iter().take(*room);
    let parts: Vec<TreemapPart> = parts.map(|part| part_data(part)).collect();
    *room -= parts.len();
    Some(TreemapGroup {
        name: group.name.to_owned(),
        bytes: group.bytes,
        parts,
    })
}

fn part_data(part: &Part) -> TreemapPart {
    let largest = part.largest.iter();
    TreemapPart {
        name: module_name(part),
        bytes: part.bytes(),
        code_bytes: part.code_bytes,
        data_bytes: part.data_bytes,
        largest_functions: largest
            .map(|(bytes, name)| TreemapFunction {
                name: name.clone(),
                bytes: *bytes,
            })
            .collect(),
    }
}

/// What [`treemap_changes`](crate::treemap_changes) tells of these two ELF files.
pub fn treemap_changes_data(left: &Binary, right: &Binary) -> TreemapChanges {
    let changes = changes(left, right);
    let parts = changes.iter().take(PARTS_MAX).map(|change| TreemapChange {
        kind: change.part.kind,
        group: Some(change.part.group.clone()).filter(|group| !group.is_empty()),
        name: module_name(change.part),
        became: Became::of(change.left, change.right),
        left_bytes: change.left,
        right_bytes: change.right,
    });
    TreemapChanges {
        left_bytes: left.bytes(),
        right_bytes: right.bytes(),
        parts: parts.collect(),
        parts_left_out: changes.len().saturating_sub(PARTS_MAX) as u64,
    }
}

/// What [`dependencies`](crate::dependencies) tells.
///
/// # Errors
/// When `switch` is no switch export, is too large, or has no root.
pub fn dependencies_data(switch: &[u8]) -> Result<Dependencies, Error> {
    let graph = Graph::read(switch)?;
    let dominators = immediate_dominators(&graph.successors());
    let name = |index: usize| {
        let package = graph.packages.get(index);
        package.map_or_else(String::new, |package| package.name.clone())
    };
    let packages = graph.packages.iter().enumerate();
    let packages = packages.map(|(index, package)| DependencyPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        distance: package.distance as u64,
        needed_by: package.needed_by.len() as u64,
        brings_in: package.brings as u64,
        only_through: only_through(&dominators, index).map(name),
    });
    let dependencies = graph.packages.iter().flat_map(|package| {
        let needs = package.needs.iter();
        needs.map(|needed| Dependency {
            package: package.name.clone(),
            needs: name(*needed),
        })
    });
    Ok(Dependencies {
        packages: packages.collect(),
        dependencies: dependencies.collect(),
        packages_left_out: graph.packages_left as u64,
        dependencies_left_out: graph.edges_left as u64,
    })
}

/// The first node after the root, that all ways to another lead through.
fn only_through(dominators: &[usize], node: usize) -> Option<usize> {
    let mut first = node;
    // As many steps as there are nodes lead to the root from anywhere.
    for _ in dominators {
        match *dominators.get(first)? {
            0 => break,
            dominator => first = dominator,
        }
    }
    (first != node).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_goes_with_the_direct_dependency_that_alone_leads_to_it() {
        // 0 needs 1 and 2; 3 is needed by 1, 4 by 3 and 5 by both 2 and 4.
        let dominators = [0, 0, 0, 1, 3, 0];
        let through: Vec<Option<usize>> =
            (0..7).map(|node| only_through(&dominators, node)).collect();
        let expected = [None, None, None, Some(1), Some(1), None, None];
        assert_eq!(through, expected);
    }

    #[test]
    fn a_group_has_no_more_parts_than_there_is_room_for() {
        let part = Part {
            name: "A__B".to_owned(),
            code_bytes: 3,
            ..Part::default()
        };
        let group = Group {
            kind: Kind::OCaml,
            name: "A",
            bytes: 9,
            parts: vec![&part, &part, &part],
        };
        let mut room = 4;
        let told = group_data(&group, &mut room).unwrap();
        assert_eq!((told.parts.len(), told.bytes, room), (3, 9, 1));
        let told = group_data(&group, &mut room).unwrap();
        assert_eq!((told.parts.len(), told.bytes, room), (1, 9, 0));
        assert_eq!(told.parts[0].name, "A.B");
        assert_eq!(group_data(&group, &mut room), None);
    }
}
