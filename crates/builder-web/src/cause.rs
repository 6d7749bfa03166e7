//! Why the output differs: which changed package owns the modules and symbols that changed. Pure.
//!
//! Modules are matched by the name of their library, which dune puts before `__`: `Tls__Engine` belongs to `tls`. The
//! libraries of a package are mostly called after it; those that are not are in a table.

use std::collections::HashSet;

use artifact_diff::{Group, GroupDiff, SymbolsDiff, c_group};
use opam_file::Comparison;
use serde::Serialize;
use symbol_names::library_and_module;
use utoipa::ToSchema;

/// Which part of the changed bytes each changed package explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub struct Explanation {
    /// Bytes of all symbols that changed, and of data that belongs to none.
    pub changed_bytes: u64,
    /// Changed packages and directories that own some of them, the most bytes first.
    pub explained: Vec<Owner>,
    /// How many of a thousand changed bytes a changed package owns.
    pub explained_per_mille: u64,
    /// Bytes that no changed package owns.
    pub unexplained_bytes: u64,
    /// These of a thousand of all changed bytes.
    pub unexplained_per_mille: u64,
    /// Where these are: modules, files and sections, the most bytes first.
    pub unexplained: Vec<Part>,
    /// Modules and files that were not listed, and are among the unexplained.
    pub left_out: u64,
}

/// A changed package or directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExplainedBy)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// What changed in it, in words: `1.0.4 → 2.0.0`.
    pub change: String,
    /// Bytes of its modules and symbols that changed.
    pub bytes: u64,
    /// These of a thousand of all changed bytes.
    pub per_mille: u64,
    /// The modules and files, the most bytes first.
    pub parts: Vec<Part>,
}

/// A module, C file or section that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ChangedPart)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How many bytes of it changed.
    pub bytes: u64,
}

/// Something of the input that changed.
struct Change {
    name: String,
    words: String,
    /// What its libraries may be called, normalised.
    names: HashSet<String>,
    is_compiler: bool,
}

/// Libraries that are not called after their package, with the package; both normalised.
const LIBRARIES: &[(&str, &str)] = &[
    ("z", "zarith"),
    ("q", "zarith"),
    ("big_int_z", "zarith"),
    ("gmp", "zarith"),
    ("asn", "asn1_combinators"),
    ("de", "decompress"),
    ("gz", "decompress"),
    ("zl", "decompress"),
    ("lz", "decompress"),
    ("lzo", "decompress"),
    ("netif", "mirage_net_solo5"),
    ("block", "mirage_block_solo5"),
    ("solo5_os", "mirage_solo5"),
    ("os_solo5", "mirage_solo5"),
    ("memtrace", "memtrace_mirage"),
    ("hkdf", "kdf"),
    ("pbkdf", "kdf"),
    ("scrypt", "kdf"),
    ("graph", "ocamlgraph"),
    ("endianstring", "ocplib_endian"),
    ("endianbytes", "ocplib_endian"),
    ("endianbigstring", "ocplib_endian"),
    ("ipv4", "tcpip"),
    ("ipv6", "tcpip"),
    ("icmpv4", "tcpip"),
    ("static_ipv4", "tcpip"),
    ("tcp", "tcpip"),
    ("udp", "tcpip"),
    ("tcpip_checksum", "tcpip"),
    ("tcpip_stack_direct", "tcpip"),
    ("timedesc_tzlocal", "tzlocal"),
    ("macaddr", "ipaddr"),
    ("functoria_runtime", "mirage_runtime"),
    ("uri_services", "uri"),
    ("openlibm", "ocaml_solo5"),
    ("nolibc", "ocaml_solo5"),
    ("dlmalloc", "ocaml_solo5"),
];

/// Libraries and C symbols that come with the compiler.
const OF_COMPILER: &[&str] = &[
    "stdlib",
    "startup",
    "system",
    "unix",
    "str",
    "dynlink",
    "threads",
    "thread",
    "ocaml runtime",
];

/// Packages of which a change makes other code of everything.
const COMPILERS: &[&str] = &[
    "ocaml-base-compiler",
    "ocaml-variants",
    "ocaml-compiler",
    "ocaml-solo5",
    "ocaml-src",
    "ocaml-freestanding",
    "ocaml-option-flambda",
    "ocaml",
];

/// None: nothing of the code and data changed. `root` is the package that was built, whose own modules are `Dune__exe`.
pub fn explain(
    symbols: &SymbolsDiff,
    opam: &Comparison,
    root: Option<&str>,
) -> Option<Explanation> {
    if symbols.changed_bytes == 0 {
        return None;
    }
    let changes = changes(opam);
    let mut bytes_of: Vec<(u64, Vec<Part>)> = changes.iter().map(|_| (0, Vec::new())).collect();
    let mut compiler = (0, Vec::new());
    let mut unexplained = Vec::new();
    let mut listed_bytes = 0;
    let any_compiler = changes.iter().find(|change| change.is_compiler);
    for group in &symbols.groups.items {
        listed_bytes += group.changed_bytes;
        let part = Part {
            name: group.name.clone(),
            bytes: group.changed_bytes,
        };
        let owner = owner(group, &changes, root).and_then(|owner| bytes_of.get_mut(owner));
        let (bytes, parts) = match owner {
            Some(owner) => owner,
            // Another compiler makes other code of the same source.
            None if any_compiler.is_some() && group.group == Group::OcamlModule => &mut compiler,
            None => {
                unexplained.push(part);
                continue;
            }
        };
        *bytes += part.bytes;
        parts.push(part);
    }
    for rest in &symbols.unattributed {
        listed_bytes += rest.bytes;
        unexplained.push(Part {
            name: rest.section.clone(),
            bytes: rest.bytes,
        });
    }
    let left_out_bytes = symbols.changed_bytes.saturating_sub(listed_bytes);
    unexplained.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    let per_mille = |bytes: u64| {
        let of_all = bytes
            .saturating_mul(1000)
            .checked_div(symbols.changed_bytes);
        of_all.unwrap_or(0)
    };
    let mut explained: Vec<Owner> = changes
        .iter()
        .zip(bytes_of)
        .map(|(change, (bytes, parts))| Owner {
            name: change.name.clone(),
            change: change.words.clone(),
            bytes,
            per_mille: per_mille(bytes),
            parts,
        })
        .collect();
    if let (Some(change), (bytes, parts)) = (any_compiler, compiler) {
        explained.push(Owner {
            name: format!("compiled by another {}", change.name),
            change: change.words.clone(),
            bytes,
            per_mille: per_mille(bytes),
            parts,
        });
    }
    explained.retain(|owner| owner.bytes > 0);
    explained.sort_by_key(|owner| std::cmp::Reverse(owner.bytes));
    let unexplained_bytes = unexplained.iter().map(|part| part.bytes).sum::<u64>() + left_out_bytes;
    Some(Explanation {
        changed_bytes: symbols.changed_bytes,
        unexplained_bytes,
        explained_per_mille: 1000_u64.saturating_sub(per_mille(unexplained_bytes)),
        unexplained_per_mille: per_mille(unexplained_bytes),
        explained,
        unexplained,
        left_out: symbols.groups.left_out,
    })
}

fn changes(opam: &Comparison) -> Vec<Change> {
    let change = |name: &str, words: String| Change {
        names: HashSet::from([normalised(name)]),
        is_compiler: COMPILERS.contains(&name),
        name: name.to_owned(),
        words,
    };
    let mut changes = Vec::new();
    // A directory tells more than the package that lists it.
    if let Ok(duniverse) = &opam.duniverse_diff {
        let directory = |name: &str, url: &str, words: String| {
            let mut change = change(name, words);
            change.names.extend(names_of_directory(name, url));
            change
        };
        for changed in &duniverse.detailed_diff {
            let right = changed.url_right.as_deref().unwrap_or(&changed.url_left);
            let (from, to) = (version_of(&changed.url_left), version_of(right));
            let words = match from == to {
                true => "other content".to_owned(),
                false => format!("{from} → {to}"),
            };
            changes.push(directory(&changed.name, right, words));
        }
        for added in &duniverse.right {
            let words = format!("{} added", version_of(&added.url));
            changes.push(directory(&added.name, &added.url, words));
        }
        for removed in &duniverse.left {
            let words = format!("{} removed", version_of(&removed.url));
            changes.push(directory(&removed.name, &removed.url, words));
        }
    }
    for diff in &opam.version_diff {
        let words = format!("{} → {}", diff.version_left, diff.version_right);
        changes.push(change(&diff.name, words));
    }
    for added in &opam.only_in_right {
        changes.push(change(&added.name, format!("{} added", added.version)));
    }
    for removed in &opam.only_in_left {
        changes.push(change(
            &removed.name,
            format!("{} removed", removed.version),
        ));
    }
    for diff in &opam.opam_diff {
        let words = format!("{}, other opam file", diff.package.version);
        changes.push(change(&diff.package.name, words));
    }
    changes
}

/// The number of the change that a module or file belongs to.
fn owner(group: &GroupDiff, changes: &[Change], root: Option<&str>) -> Option<usize> {
    let named = |name: &str| {
        changes
            .iter()
            .position(|change| change.names.contains(name))
    };
    match group.group {
        Group::OcamlModule => {
            let (library, _) = library_and_module(&group.name);
            if library == "Dune__exe" {
                return named(&normalised(root?));
            }
            of_library(&normalised(library), changes)
        }
        Group::CFile | Group::CPrefix => {
            let of_directory = group.directory.as_deref().and_then(|directory| {
                directory.split('/').rev().find_map(|segment| {
                    let name = segment.split_once('.').map_or(segment, |(name, _)| name);
                    named(&normalised(name))
                })
            });
            let of_symbol = || {
                let symbols = group.symbols.items.iter();
                let groups = symbols.map(|symbol| c_group(&symbol.name));
                groups
                    .filter(|group| *group != "other")
                    .find_map(|group| of_library(&normalised(group), changes))
            };
            let of_file = || {
                let stem = group.name.split('.').next()?;
                of_library(&normalised(stem), changes)
            };
            of_directory.or_else(of_symbol).or_else(of_file)
        }
    }
}

/// By the name of the package, by the table, or by the longest name that the library's begins with: `tls_mirage` is
/// built from the sources of `tls`.
fn of_library(library: &str, changes: &[Change]) -> Option<usize> {
    let named = |name: &str| {
        changes
            .iter()
            .position(|change| change.names.contains(name))
    };
    if OF_COMPILER.contains(&library) {
        return changes.iter().position(|change| change.is_compiler);
    }
    let in_table = || {
        let (_, package) = LIBRARIES.iter().find(|(known, _)| *known == library)?;
        named(package)
    };
    let by_prefix = || {
        let prefixes = library.rmatch_indices('_').map(|(at, _)| library.get(..at));
        prefixes
            .flatten()
            .filter(|prefix| prefix.len() > 1)
            .find_map(named)
    };
    named(library).or_else(in_table).or_else(by_prefix)
}

fn normalised(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

/// A directory is called after a repository, whose packages often are called without `ocaml`.
fn names_of_directory(name: &str, url: &str) -> Vec<String> {
    let file = file_of(url);
    let stem = name_and_version(file).map_or(file, |(name, _)| name);
    let mut names = Vec::new();
    for name in [name, stem] {
        let name = normalised(name);
        let bare = name
            .strip_prefix("ocaml_")
            .or_else(|| name.strip_suffix("_ocaml"));
        names.extend(bare.map(str::to_owned));
        names.push(name);
    }
    names
}

/// The last part of an address, without what says how it is packed.
fn file_of(url: &str) -> &str {
    let url = url.split(['#', '?']).next().unwrap_or(url);
    let file = url.trim_end_matches('/').rsplit('/').next().unwrap_or(url);
    [
        ".tbz", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".git",
    ]
    .iter()
    .find_map(|suffix| file.strip_suffix(suffix))
    .unwrap_or(file)
}

/// `tls-1.0.4` is `tls` of version `1.0.4`.
fn name_and_version(file: &str) -> Option<(&str, &str)> {
    file.match_indices('-').find_map(|(at, _)| {
        let (name, version) = (file.get(..at)?, file.get(at + 1..)?);
        let digits = version.strip_prefix('v').unwrap_or(version);
        digits
            .starts_with(|first: char| first.is_ascii_digit())
            .then_some((name, version))
    })
}

/// The version of an archive, or the commit of a repository, shortened.
fn version_of(url: &str) -> String {
    const COMMIT_CHARS: usize = 10;
    if let Some((_, commit)) = url.split_once('#') {
        return commit.chars().take(COMMIT_CHARS).collect();
    }
    let file = file_of(url);
    name_and_version(file)
        .map_or(file, |(_, version)| version)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use artifact_diff::{Listed, Unattributed};
    use opam_file::SwitchExport;

    use std::collections::HashMap;

    use super::*;

    fn group(group: Group, name: &str, bytes: u64) -> GroupDiff {
        GroupDiff {
            group,
            name: name.to_owned(),
            directory: None,
            left_bytes: bytes,
            right_bytes: bytes,
            changed_bytes: bytes,
            added: 0,
            removed: 0,
            grown: 0,
            shrunk: 0,
            changed: 1,
            symbols: Listed {
                items: Vec::new(),
                left_out: 0,
            },
        }
    }

    fn explained(left: &str, right: &str, modules: &[&str]) -> HashMap<String, String> {
        let export = |text: &str| {
            SwitchExport::parse(format!("opam-version: \"2.0\" {text}").as_bytes()).unwrap()
        };
        let opam = export(left).compare(&export(right));
        let groups: Vec<GroupDiff> = modules
            .iter()
            .map(|name| group(Group::OcamlModule, name, 10))
            .collect();
        let symbols = SymbolsDiff {
            left_count: 9,
            right_count: 9,
            same_count: 0,
            moved_count: 0,
            changed_bytes: 10 * groups.len() as u64 + 5,
            groups: Listed {
                items: groups,
                left_out: 0,
            },
            unattributed: vec![Unattributed {
                section: ".rodata".to_owned(),
                bytes: 5,
            }],
        };
        let explanation = explain(&symbols, &opam, Some("web")).unwrap();
        let of_owners = explanation
            .explained
            .iter()
            .map(|owner| owner.bytes)
            .sum::<u64>();
        assert_eq!(
            of_owners + explanation.unexplained_bytes,
            symbols.changed_bytes
        );
        let owners = explanation.explained.iter();
        let owned = owners.flat_map(|owner| {
            let parts = owner.parts.iter();
            parts.map(|part| {
                (
                    part.name.clone(),
                    format!("{} {}", owner.name, owner.change),
                )
            })
        });
        let rest = explanation.unexplained.iter();
        let rest = rest.map(|part| (part.name.clone(), String::new()));
        owned.chain(rest).collect()
    }

    #[test]
    fn modules_belong_to_the_package_their_library_is_called_after() {
        let installed = |tls: &str, asn: &str| {
            format!(
                r#"installed: ["tls.{tls}" "asn1-combinators.{asn}" "x509.1" "mirage-crypto.1"]"#
            )
        };
        let owned = explained(
            &installed("1", "1"),
            &installed("2", "2"),
            &[
                "Tls__Engine",
                "Tls_mirage",
                "Asn__Core",
                "X509__Crl",
                "Dune__exe__Main",
                "Stdlib__List",
            ],
        );
        assert_eq!(owned["Tls__Engine"], "tls 1 → 2");
        assert_eq!(owned["Tls_mirage"], "tls 1 → 2");
        assert_eq!(owned["Asn__Core"], "asn1-combinators 1 → 2");
        for unexplained in ["X509__Crl", "Dune__exe__Main", "Stdlib__List", ".rodata"] {
            assert_eq!(owned[unexplained], "", "{unexplained}");
        }
    }

    #[test]
    fn directories_are_known_by_their_repository_and_the_program_by_its_root() {
        let export = |cstruct: &str, commit: &str| {
            format!(
                r#"roots: ["web.dev"] installed: ["web.dev"] package "web" {{ opam-version: "2.0"
                   url {{ src: "git+https://example.org/web.git#{commit}" }}
                   x-opam-monorepo-duniverse-dirs: [
                     ["https://example.org/v{cstruct}/cstruct-{cstruct}.tbz" "ocaml-cstruct" ["md5={cstruct}0000000000000000000000000000000"]]
                     ["git+https://example.org/fork.git#{commit}" "ocaml-fork"] ] }}"#
            )
        };
        let owned = explained(
            &export("6", "aaaaaaaaaaaaaaaa"),
            &export("7", "bbbbbbbbbbbbbbbb"),
            &["Cstruct", "Fork__Knife", "Dune__exe__Unikernel"],
        );
        assert_eq!(owned["Cstruct"], "ocaml-cstruct 6 → 7");
        assert_eq!(owned["Fork__Knife"], "ocaml-fork aaaaaaaaaa → bbbbbbbbbb");
        assert_eq!(owned["Dune__exe__Unikernel"], "web dev, other opam file");
    }

    #[test]
    fn another_compiler_explains_what_no_package_does() {
        let installed =
            |version: &str| format!(r#"installed: ["ocaml-base-compiler.{version}" "lwt.1"]"#);
        let owned = explained(
            &installed("4.14.1"),
            &installed("5.2.0"),
            &["Lwt", "Stdlib__List"],
        );
        assert_eq!(owned["Stdlib__List"], "ocaml-base-compiler 4.14.1 → 5.2.0");
        assert_eq!(
            owned["Lwt"],
            "compiled by another ocaml-base-compiler 4.14.1 → 5.2.0"
        );
    }
}
