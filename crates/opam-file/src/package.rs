//! Package names and `NAME.VERSION`, and their order.
//!
//! The rules are those of `OpamPackage` in opam 2.1 to 2.6.

use std::cmp::Ordering;
use std::fmt;

use crate::version;

/// A package and its version, such as `lwt.5.7.0`.
///
/// Ordered by name, then by version, so different texts of one version (`1.0` and `1.00`) are ordered as equal while
/// `==` tells them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Letters, digits, `-`, `_`, `+`, with at least one letter.
    pub name: String,
    /// Letters, digits, `-`, `_`, `+`, `.`, `~`; not empty.
    pub version: String,
}

impl Package {
    /// Reads `NAME.VERSION`; the first dot separates.
    pub fn parse(text: &[u8]) -> Option<Package> {
        let dot = text.iter().position(|&byte| byte == b'.')?;
        let name = valid_name(text.get(..dot)?)?.to_owned();
        let version = valid_version(text.get(dot + 1..)?)?.to_owned();
        Some(Package { name, version })
    }

    /// By name, then by version, as opam orders its sets of packages.
    pub fn opam_order(&self, other: &Package) -> Ordering {
        compare_names(self.name.as_bytes(), other.name.as_bytes())
            .then_with(|| version::compare(self.version.as_bytes(), other.version.as_bytes()))
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.version)
    }
}

/// opam's order of package names: byte by byte, first without regard to case, then with.
///
/// ```
/// use std::cmp::Ordering;
/// assert_eq!(opam_file::compare_names(b"base", b"OCaml"), Ordering::Less);
/// assert_eq!(opam_file::compare_names(b"OCamlz", b"ocaml"), Ordering::Less);
/// ```
pub fn compare_names(left: &[u8], right: &[u8]) -> Ordering {
    for (a, b) in left.iter().zip(right) {
        let order = a
            .to_ascii_lowercase()
            .cmp(&b.to_ascii_lowercase())
            .then(a.cmp(b));
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

/// The text of a package name, or nothing if it is not one.
pub(crate) fn valid_name(text: &[u8]) -> Option<&str> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+');
    (text.iter().all(allowed) && text.iter().any(u8::is_ascii_alphabetic))
        .then(|| std::str::from_utf8(text).ok())?
}

/// The text of a version, or nothing if it is not one.
pub(crate) fn valid_version(text: &[u8]) -> Option<&str> {
    let allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'.' | b'~')
    };
    (!text.is_empty() && text.iter().all(allowed)).then(|| std::str::from_utf8(text).ok())?
}
