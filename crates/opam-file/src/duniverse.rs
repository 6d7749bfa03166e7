//! Libraries that are built into a unikernel without being installed packages: "duniverse" directories, which
//! opam-monorepo notes in the field `x-opam-monorepo-duniverse-dirs` of the root's opam file.
//!
//! The rules and the error texts are those of builder-web's `opamdiff`.

use std::collections::BTreeMap;
use std::fmt;

use crate::switch_export::SwitchExport;
use crate::url::{Hash, HashKind};
use crate::value::Value;

/// The field of the root's opam file that lists them.
const DIRECTORIES: &str = "x-opam-monorepo-duniverse-dirs";

/// What differs between the duniverse directories of two switches, each list ascending by directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DuniverseDiff {
    /// Only on the left.
    pub left: Vec<Directory>,
    /// Only on the right.
    pub right: Vec<Directory>,
    /// On both sides with other content.
    pub detailed_diff: Vec<DirectoryChange>,
}

/// A directory and where its content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its name.
    pub name: String,
    /// Where its content comes from.
    pub url: String,
}

/// A directory with other content than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryChange {
    /// Its name.
    pub name: String,
    /// Where its content came from.
    pub url_left: String,
    /// Where it comes from now, if that is another place.
    pub url_right: Option<String>,
    /// The checksums that differ.
    pub hashes: Vec<HashChange>,
}

/// A checksum that is other than before, or only on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashChange {
    /// How it is made.
    pub kind: HashKind,
    /// What it was.
    pub left: Option<String>,
    /// What it is.
    pub right: Option<String>,
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.url)
    }
}

/// `DIR (OLD->NEW) KIND OLD->NEW, …`. Without checksums the text ends in a blank, as upstream's does.
impl fmt::Display for DirectoryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.url_left)?;
        if let Some(url_right) = &self.url_right {
            write!(f, "->{url_right}")?;
        }
        write!(f, ") ")?;
        for (index, hash) in self.hashes.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{hash}")?;
        }
        Ok(())
    }
}

impl fmt::Display for HashChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "NONE".to_owned());
        write!(
            f,
            "{} {}->{}",
            self.kind.name(),
            shown(&self.left),
            shown(&self.right)
        )
    }
}

/// Compares the duniverse directories of two switches; the left one's error wins.
pub(crate) fn compare(left: &SwitchExport, right: &SwitchExport) -> Result<DuniverseDiff, String> {
    let (left, right) = (directories(left)?, directories(right)?);
    let mut diff = DuniverseDiff::default();
    for (name, source) in &left {
        match right.get(name) {
            None => diff.left.push(directory(name, source)),
            Some(other) if source.is_same_as(other) => {}
            Some(other) => diff.detailed_diff.push(source.change(name, other)),
        }
    }
    let only_right = right.iter().filter(|(name, _)| !left.contains_key(*name));
    diff.right = only_right
        .map(|(name, source)| directory(name, source))
        .collect();
    Ok(diff)
}

/// Where the content of a directory comes from.
struct Source<'d> {
    url: &'d [u8],
    hashes: Vec<Hash>,
}

/// Whether libraries of the root are built from sources beside its own.
pub(crate) fn is_used(export: &SwitchExport) -> bool {
    let root = export.root().and_then(|root| export.overlay(&root.name));
    root.is_some_and(|root| root.extension(DIRECTORIES).is_some())
}

fn directories(export: &SwitchExport) -> Result<BTreeMap<&[u8], Source<'_>>, String> {
    let root = export
        .root()
        .ok_or("not a single root package found in opam switch export")?;
    let root = export
        .overlay(&root.name)
        .ok_or("opam switch export doesn't contain the main package")?;
    let Some(value) = root.extension(DIRECTORIES) else {
        return Ok(BTreeMap::new());
    };
    let entries = value.as_list().ok_or("expected a list or a nested list")?;
    entries.map(entry).collect()
}

/// `["URL" "DIR" ["HASH" …]]`, the hashes may be missing.
fn entry<'d>(value: Value<'d>) -> Result<(&'d [u8], Source<'d>), String> {
    let shape = "expected a list of URL, DIR, [HASHES]";
    let mut parts = value.as_list().ok_or(shape)?;
    let (Some(url), Some(directory), hashes, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(shape.to_owned());
    };
    let url = url.as_string().ok_or("couldn't find a string url")?;
    let hashes = match hashes {
        Some(hashes) => hashes
            .as_list()
            .ok_or("couldn't decode hashes")?
            .map(hash)
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let directory = directory
        .as_string()
        .ok_or("couldn't find a string directory")?;
    Ok((directory, Source { url, hashes }))
}

fn hash(value: Value<'_>) -> Result<Hash, String> {
    let text = value.as_string().ok_or("couldn't find a string hash")?;
    Hash::parse(text).ok_or_else(|| {
        format!(
            "couldn't decode opam hash in {}",
            String::from_utf8_lossy(text)
        )
    })
}

fn directory(name: &[u8], source: &Source<'_>) -> Directory {
    Directory {
        name: lossy(name),
        url: lossy(source.url),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl Source<'_> {
    /// With checksums on both sides these decide, without any the address does.
    fn is_same_as(&self, other: &Source<'_>) -> bool {
        if self.hashes.is_empty() && other.hashes.is_empty() {
            return self.url == other.url;
        }
        let all_in = |hashes: &[Hash], others: [Option<&Hash>; 3]| {
            !hashes.is_empty()
                && hashes
                    .iter()
                    .all(|hash| of_kind(others, hash.kind) == Some(hash))
        };
        all_in(&self.hashes, first_of_each_kind(&other.hashes))
            && all_in(&other.hashes, first_of_each_kind(&self.hashes))
    }

    /// Checksums only on the right come first, then those of the left, both from the last to the first.
    fn change(&self, name: &[u8], other: &Source<'_>) -> DirectoryChange {
        let (lefts, rights) = (
            first_of_each_kind(&self.hashes),
            first_of_each_kind(&other.hashes),
        );
        let mut hashes = Vec::new();
        for hash in other
            .hashes
            .iter()
            .rev()
            .filter(|hash| of_kind(lefts, hash.kind).is_none())
        {
            hashes.push(HashChange {
                kind: hash.kind,
                left: None,
                right: Some(hash.hex.clone()),
            });
        }
        for hash in self.hashes.iter().rev() {
            let right = of_kind(rights, hash.kind);
            if right != Some(hash) {
                let right = right.map(|right| right.hex.clone());
                hashes.push(HashChange {
                    kind: hash.kind,
                    left: Some(hash.hex.clone()),
                    right,
                });
            }
        }
        let url_right = (self.url != other.url).then(|| lossy(other.url));
        DirectoryChange {
            name: lossy(name),
            url_left: lossy(self.url),
            url_right,
            hashes,
        }
    }
}

/// The one that counts when a kind is repeated.
fn first_of_each_kind(hashes: &[Hash]) -> [Option<&Hash>; 3] {
    [HashKind::Md5, HashKind::Sha256, HashKind::Sha512]
        .map(|kind| hashes.iter().find(|hash| hash.kind == kind))
}

fn of_kind(hashes: [Option<&Hash>; 3], kind: HashKind) -> Option<&Hash> {
    hashes.into_iter().flatten().find(|hash| hash.kind == kind)
}
