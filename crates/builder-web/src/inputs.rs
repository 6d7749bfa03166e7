//! The environment and the system packages of a build, as texts, and what differs between two.
//! Pure.

use std::collections::BTreeMap;

/// What differs between two sets of names with values; each list by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Only on the left: name and value.
    pub removed: Vec<(String, String)>,
    /// Only on the right: name and value.
    pub added: Vec<(String, String)>,
    /// On both: name, value on the left, value on the right.
    pub changed: Vec<(String, String, String)>,
}

/// The variables of two `build-environment` files.
pub fn environment(left: &[u8], right: &[u8]) -> Changes {
    changes(&pairs(left, variable), &pairs(right, variable))
}

/// The packages of two `system-packages` files, each as its system writes them.
pub fn system_packages(left: &[u8], right: &[u8]) -> Changes {
    changes(&pairs(left, package), &pairs(right, package))
}

/// The variables of a `build-environment` file, by name.
pub fn variables(text: &[u8]) -> BTreeMap<String, String> {
    pairs(text, variable)
}

/// The variables that both of two `build-environment` files have: name, value on the left, value on the right.
pub fn both(left: &[u8], right: &[u8]) -> Vec<(String, String, String)> {
    let right = pairs(right, variable);
    let of_both = pairs(left, variable)
        .into_iter()
        .filter_map(|(name, left)| {
            let right = right.get(&name)?.clone();
            Some((name, left, right))
        });
    of_both.collect()
}

type Pairs = BTreeMap<String, String>;

/// Of a name that is there more than once the last line counts, as on the OCaml server. Lines
/// without anything are no lines.
fn pairs(text: &[u8], split: fn(&str) -> (&str, &str)) -> Pairs {
    String::from_utf8_lossy(text)
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = split(line);
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// `NAME=VALUE`; a line without `=` is a name without a value.
fn variable(line: &str) -> (&str, &str) {
    line.split_once('=').unwrap_or((line, ""))
}

/// Debian writes `NAME=VERSION`. FreeBSD writes `NAME-VERSION`, where the name may hold dashes and
/// the version begins with a digit.
fn package(line: &str) -> (&str, &str) {
    if let Some(split) = line.split_once('=') {
        return split;
    }
    let dash = line
        .rmatch_indices('-')
        .map(|(at, _)| at)
        .find(|at| line[at + 1..].starts_with(|char: char| char.is_ascii_digit()));
    match dash {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => line.rsplit_once('-').unwrap_or((line, "")),
    }
}

fn changes(left: &Pairs, right: &Pairs) -> Changes {
    let only_in = |one: &Pairs, other: &Pairs| -> Vec<(String, String)> {
        one.iter()
            .filter(|(name, _)| !other.contains_key(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let changed = left.iter().filter_map(|(name, before)| {
        let after = right.get(name)?;
        (before != after).then(|| (name.clone(), before.clone(), after.clone()))
    });
    Changes {
        removed: only_in(left, right),
        added: only_in(right, left),
        changed: changed.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(changes: Changes) -> String {
        let mut said = Vec::new();
        said.extend(
            changes
                .removed
                .iter()
                .map(|(name, value)| format!("-{name} {value}")),
        );
        said.extend(
            changes
                .added
                .iter()
                .map(|(name, value)| format!("+{name} {value}")),
        );
        said.extend(
            changes
                .changed
                .iter()
                .map(|(name, one, other)| format!("{name} {one}->{other}")),
        );
        said.join(", ")
    }

    #[test]
    fn variables_are_split_at_the_first_equals_sign() {
        let check = |left: &str, right: &str| said(environment(left.as_bytes(), right.as_bytes()));
        assert_eq!(check("A=1", "A=1\n"), "");
        assert_eq!(
            check("A=1\nB=2\nC=3", "A=1\nB=4\nD=5"),
            "-C 3, +D 5, B 2->4"
        );
        assert_eq!(check("P=a=b", "P=a"), "P a=b->a");
        assert_eq!(check("A", "A="), "");
        assert_eq!(check("A=1\nA=2", "A=2"), "");
        assert_eq!(check("", "A=1"), "+A 1");
    }

    #[test]
    fn packages_are_split_as_their_system_writes_them() {
        let check =
            |left: &str, right: &str| said(system_packages(left.as_bytes(), right.as_bytes()));
        assert_eq!(
            check(
                "libc6=2.36-9+deb12u1\ngcc-12-base=12.2.0-14",
                "libc6=2.36-9+deb12u2\ngcc-12-base=12.2.0-14"
            ),
            "libc6 2.36-9+deb12u1->2.36-9+deb12u2"
        );
        assert_eq!(
            check("gcc-arm-embedded-9.1", "gcc-arm-embedded-9.2"),
            "gcc-arm-embedded 9.1->9.2"
        );
        assert_eq!(
            check("py311-setuptools-63.1.0_1\npy311-pip-23", "py311-pip-23"),
            "-py311-setuptools 63.1.0_1"
        );
        assert_eq!(
            check("pkgconf-2.2.0,1", "pkgconf-2.3.0,1"),
            "pkgconf 2.2.0,1->2.3.0,1"
        );
        assert_eq!(check("odd-one", ""), "-odd one");
    }
}
