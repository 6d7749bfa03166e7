//! What `opam switch export` writes: the packages of a switch, and with `--full` the opam file of each.
//!
//! Read as opam 2.1 to 2.6 read it (`OpamFile.SwitchExport`): fatal are syntax errors, a missing or too new
//! `opam-version` (here and in each package section) and a malformed package name in a section title. Anything else
//! that is wrong is a warning, and the field in question counts as absent.

use std::collections::HashMap;
use std::sync::Arc;

use crate::duniverse;
use crate::opam_file::OpamFile;
use crate::package::{Package, valid_name};
use crate::parser::{Error, format_version};
use crate::typed::Problem;
use crate::value::{Document, Item, ItemKind, Items, Kind, Value};

/// A switch export. The package lists are in opam's order, without repetitions.
#[derive(Clone)]
pub struct SwitchExport {
    /// Packages of the compiler.
    pub compiler: Vec<Package>,
    /// Packages that were asked for.
    pub roots: Vec<Package>,
    /// All packages of the switch.
    pub installed: Vec<Package>,
    /// Packages that are pinned.
    pub pinned: Vec<Package>,
    /// What was ignored in this file, and why.
    pub problems: Vec<Problem>,
    overlays: HashMap<String, OpamFile>,
}

/// Every field an export can have at top level.
const FIELDS: [&[u8]; 6] = [
    b"extra-files",
    b"opam-version",
    b"compiler",
    b"roots",
    b"installed",
    b"pinned",
];

impl SwitchExport {
    /// Reads a switch export. Any bytes may be given.
    ///
    /// ```
    /// let text = br#"opam-version: "2.0" roots: ["a.1"] installed: ["a.1" "b.2"] package "a" { opam-version: "2.0" }"#;
    /// let export = opam_file::SwitchExport::parse(text).unwrap();
    /// assert_eq!(export.root().unwrap().to_string(), "a.1");
    /// assert!(export.overlay("a").is_some() && export.overlay("b").is_none());
    /// ```
    pub fn parse(source: &[u8]) -> Result<SwitchExport, Error> {
        let document = Arc::new(Document::parse(source)?);
        require_opam_version(document.items(), (2, 1))
            .map_err(|what| Error::at(source, 0, what))?;
        let mut export = SwitchExport {
            compiler: Vec::new(),
            roots: Vec::new(),
            installed: Vec::new(),
            pinned: Vec::new(),
            problems: Vec::new(),
            overlays: HashMap::new(),
        };
        let mut seen = Vec::new();
        for item in document.items() {
            match item.kind() {
                ItemKind::Field(name, _) if !FIELDS.contains(&name) => {
                    export.warn(item, name, "unknown field")
                }
                ItemKind::Field(name, _) if seen.contains(&name) => {
                    export.warn(item, name, "repeated")
                }
                ItemKind::Field(name, value) => {
                    seen.push(name);
                    export.read_field(item, name, value);
                }
                ItemKind::Section {
                    kind: b"package",
                    title: Some(title),
                    items,
                } => {
                    let wrong = |what| Error::at(source, item.span().start as usize, what);
                    let name = package_name(title).map_err(wrong)?;
                    require_opam_version(items, (2, 0)).map_err(wrong)?;
                    let overlay =
                        OpamFile::of_section(Arc::clone(&document), item.id(), name.to_owned());
                    export.overlays.insert(name.to_owned(), overlay);
                }
                ItemKind::Section { kind, .. } => export.warn(item, kind, "unknown section"),
            }
        }
        Ok(export)
    }

    /// The opam file of an installed package: the section `package "NAME" { … }`, the last one if there are several.
    pub fn overlay(&self, name: &str) -> Option<&OpamFile> {
        self.overlays.get(name)
    }

    /// The names of all packages that have an overlay, in no particular order.
    pub fn overlay_names(&self) -> impl Iterator<Item = &str> {
        self.overlays.keys().map(String::as_str)
    }

    /// The root, if there is exactly one.
    pub fn root(&self) -> Option<&Package> {
        match self.roots.as_slice() {
            [root] => Some(root),
            _ => None,
        }
    }

    /// Whether libraries of the root are built from sources beside its own: opam alone does not do that.
    pub fn has_duniverse(&self) -> bool {
        duniverse::is_used(self)
    }

    fn read_field(&mut self, item: Item<'_>, name: &[u8], value: Value<'_>) {
        let packages = match name {
            b"compiler" | b"roots" | b"installed" => packages(value),
            b"pinned" => pinned(value),
            _ => return,
        };
        let Some(packages) = packages else {
            return self.warn(item, name, "not a list of packages");
        };
        match name {
            b"compiler" => self.compiler = packages,
            b"roots" => self.roots = packages,
            b"installed" => self.installed = packages,
            _ => self.pinned = packages,
        }
    }

    fn warn(&mut self, item: Item<'_>, name: &[u8], what: &str) {
        self.problems
            .push(Problem::new(item.position(), name, what));
    }
}

fn packages(value: Value<'_>) -> Option<Vec<Package>> {
    let packages = value
        .as_list()?
        .map(|value| Package::parse(value.as_string()?));
    packages.collect::<Option<Vec<_>>>().map(as_set)
}

/// A pin may stand alone, without brackets, and be followed by braces, which are ignored.
fn pinned(value: Value<'_>) -> Option<Vec<Package>> {
    let package = |value: Value<'_>| match value.kind() {
        Kind::Option(value, _) => Package::parse(value.as_string()?),
        _ => Package::parse(value.as_string()?),
    };
    match value.kind() {
        Kind::List(values) => values.map(package).collect::<Option<Vec<_>>>().map(as_set),
        _ => Some(vec![package(value)?]),
    }
}

/// In opam's order; of packages that are equal in it the first is kept.
fn as_set(mut packages: Vec<Package>) -> Vec<Package> {
    packages.sort_by(Package::opam_order);
    packages.dedup_by(|later, earlier| later.opam_order(earlier).is_eq());
    packages
}

fn require_opam_version(items: Items<'_>, newest: (u64, u64)) -> Result<(), String> {
    let version = items.field("opam-version").and_then(Value::as_string);
    if version
        .map(format_version)
        .is_some_and(|version| version <= newest)
    {
        return Ok(());
    }
    let (major, minor) = newest;
    Err(format!(
        "unsupported or missing `opam-version`, which should be {major}.{minor} or older"
    ))
}

fn package_name(title: &[u8]) -> Result<&str, String> {
    valid_name(title).ok_or_else(|| format!("`{}` is not a package name", title.escape_ascii()))
}
