//! The fields of an opam file: which there are, what their values mean, how opam prints them, and which of them decide
//! whether two packages are built alike. The rules are those of `OpamFile.OPAM` of opam 2.5.
//!
//! A field that does not have its type is dropped and noted, as opam does; nothing here is fatal.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::formula::{
    Dependencies, Filter, Wrong, as_conflicts, as_plain_alternatives, package_name,
    print_dependencies, read_dependencies, read_dependency_row,
};
use crate::package::{Package, compare_names, valid_version};
use crate::url::{Backend, Hash, Url};
use crate::value::{
    Builder, Chain, Document, EnvOp, Item, ItemKind, Items, Kind, LogOp, PrefixOp, RelOp, Value,
    Values,
};
use crate::{Position, version};

/// Something in a file that opam ignores with a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub position: Position,
    /// The field or section.
    pub name: String,
    /// What is wrong with it.
    pub what: String,
}

impl Problem {
    pub(crate) fn new(position: Position, name: &[u8], what: impl Into<String>) -> Problem {
        Problem {
            position,
            name: String::from_utf8_lossy(name).into_owned(),
            what: what.into(),
        }
    }
}

type Read<'d, T> = Result<T, Wrong<'d>>;

/// Something that may depend on a condition.
type Filtered<'d, T> = (T, Option<Filter<'d>>);

/// Packages of the system, and where they are needed.
type SystemPackages<'d> = (Vec<&'d [u8]>, Filter<'d>);

/// An opam file, understood.
#[derive(Default)]
pub(crate) struct Typed<'d> {
    opam_version: Option<&'d [u8]>,
    name: Option<&'d [u8]>,
    version: Option<&'d [u8]>,
    pub(crate) synopsis_and_description: Option<(&'d [u8], &'d [u8])>,
    maintainer: Vec<&'d [u8]>,
    authors: Vec<&'d [u8]>,
    license: Vec<&'d [u8]>,
    tags: Vec<&'d [u8]>,
    homepage: Vec<&'d [u8]>,
    doc: Vec<&'d [u8]>,
    bug_reports: Vec<&'d [u8]>,
    depends: Dependencies<'d>,
    depopts: Dependencies<'d>,
    conflicts: Dependencies<'d>,
    conflict_class: Vec<&'d [u8]>,
    available: Option<Filter<'d>>,
    flags: Vec<Flag>,
    setenv: Vec<Binding<'d>>,
    build: Vec<Command<'d>>,
    run_test: Vec<Command<'d>>,
    install: Vec<Command<'d>>,
    remove: Vec<Command<'d>>,
    substs: Vec<&'d [u8]>,
    patches: Vec<Filtered<'d, &'d [u8]>>,
    build_env: Vec<Binding<'d>>,
    features: Vec<Feature<'d>>,
    messages: Vec<Filtered<'d, &'d [u8]>>,
    post_messages: Vec<Filtered<'d, &'d [u8]>>,
    depexts: Vec<SystemPackages<'d>>,
    libraries: Vec<Filtered<'d, &'d [u8]>>,
    syntax: Vec<Filtered<'d, &'d [u8]>>,
    dev_repo: Option<Url<'d>>,
    pin_depends: Vec<(Package, Url<'d>)>,
    extra_files: Vec<(&'d [u8], Hash)>,
    build_doc: Vec<Command<'d>>,
    url: Option<Source<'d>>,
    extra_sources: Vec<(&'d [u8], Source<'d>)>,
    extensions: BTreeMap<&'d [u8], Value<'d>>,
    pub(crate) problems: Vec<Problem>,
}

/// What is special about a package. Printed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flag {
    LightUninstall,
    Verbose,
    Plugin,
    Compiler,
    Conf,
    AvoidVersion,
    Deprecated,
}

const FLAGS: [(Flag, &[u8]); 7] = [
    (Flag::LightUninstall, b"light-uninstall"),
    (Flag::Verbose, b"verbose"),
    (Flag::Plugin, b"plugin"),
    (Flag::Compiler, b"compiler"),
    (Flag::Conf, b"conf"),
    (Flag::AvoidVersion, b"avoid-version"),
    (Flag::Deprecated, b"deprecated"),
];

#[derive(Debug, PartialEq)]
struct Command<'d> {
    arguments: Vec<Filtered<'d, Argument<'d>>>,
    filter: Option<Filter<'d>>,
}

#[derive(Debug, PartialEq)]
enum Argument<'d> {
    Ident(&'d [u8]),
    String(&'d [u8]),
}

#[derive(Debug, PartialEq)]
struct Binding<'d> {
    variable: &'d [u8],
    op: EnvOp,
    value: &'d [u8],
}

#[derive(Debug, PartialEq)]
struct Feature<'d> {
    variable: &'d [u8],
    depends: Dependencies<'d>,
    description: &'d [u8],
}

/// Where the source comes from: the section `url` or `extra-source`.
#[derive(Debug)]
struct Source<'d> {
    url: Url<'d>,
    checksums: Vec<Hash>,
    mirrors: Vec<Url<'d>>,
    subpath: Option<&'d [u8]>,
}

/// The fields in the order opam reads and prints them.
const FIELDS: [&[u8]; 43] = [
    b"opam-version",
    b"name",
    b"version",
    b"synopsis",
    b"description",
    b"maintainer",
    b"authors",
    b"author",
    b"license",
    b"tags",
    b"homepage",
    b"doc",
    b"bug-reports",
    b"depends",
    b"depopts",
    b"conflicts",
    b"conflict-class",
    b"available",
    b"flags",
    b"setenv",
    b"build",
    b"run-test",
    b"install",
    b"remove",
    b"substs",
    b"patches",
    b"build-env",
    b"features",
    b"messages",
    b"post-messages",
    b"depexts",
    b"libraries",
    b"syntax",
    b"dev-repo",
    b"pin-depends",
    b"extra-files",
    b"configure-style",
    b"ocaml-version",
    b"os",
    b"descr",
    b"extra-sources",
    b"build-test",
    b"build-doc",
];

/// Fields that need others to be read first.
#[derive(Default)]
struct Obsolete<'d> {
    ocaml_version: Option<Filter<'d>>,
    os: Option<Filter<'d>>,
    build_test: Vec<Command<'d>>,
}

impl<'d> Typed<'d> {
    /// Reads the fields. A name from the place of the file wins over the field `name`.
    pub(crate) fn read(items: Items<'d>, name: Option<&'d str>) -> Typed<'d> {
        let mut typed = Typed::default();
        let mut obsolete = Obsolete::default();
        let mut fields: [Option<Item<'d>>; FIELDS.len()] = [None; FIELDS.len()];
        let mut sections: BTreeMap<(&[u8], Option<&[u8]>), Item<'d>> = BTreeMap::new();
        for item in items {
            match item.kind() {
                ItemKind::Field(name, value) if name.starts_with(b"x-") => {
                    typed.extensions.insert(name, value);
                }
                ItemKind::Field(name, _) => match field_slot(&mut fields, name) {
                    Some(slot @ None) => *slot = Some(item),
                    Some(Some(_)) => typed.note(item, name, "repeated, the first one counts"),
                    None => typed.note(item, name, "unknown field"),
                },
                ItemKind::Section {
                    kind: kind @ (b"url" | b"extra-source"),
                    title,
                    ..
                } => match sections.entry((kind, title)) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(item);
                    }
                    Entry::Occupied(_) => typed.note(item, kind, "repeated, the first one counts"),
                },
                ItemKind::Section { kind, .. } => typed.note(item, kind, "unknown section"),
            }
        }
        for item in fields.into_iter().flatten() {
            if let ItemKind::Field(name, value) = item.kind()
                && let Err(wrong) = typed.read_field(&mut obsolete, name, value)
            {
                typed.note_wrong(item, name, wrong);
            }
        }
        typed.read_sections(&sections);
        typed.finish(obsolete, name);
        typed
    }

    fn note(&mut self, item: Item<'d>, name: &[u8], what: &str) {
        self.problems
            .push(Problem::new(item.position(), name, what));
    }

    fn note_wrong(&mut self, item: Item<'d>, name: &[u8], wrong: Wrong<'d>) {
        let position = wrong.value.map_or_else(|| item.position(), Value::position);
        self.problems.push(Problem::new(position, name, wrong.what));
    }

    fn read_field(
        &mut self,
        obsolete: &mut Obsolete<'d>,
        name: &[u8],
        value: Value<'d>,
    ) -> Read<'d, ()> {
        match name {
            b"opam-version" => self.opam_version = Some(string(value)?),
            b"name" => self.name = Some(package_name(value, string(value)?)?),
            b"version" => self.version = Some(version_text(value)?),
            b"synopsis" => {
                let description = self
                    .synopsis_and_description
                    .map_or(&b""[..], |(_, description)| description);
                self.synopsis_and_description = Some((trimmed(value)?, description));
            }
            b"description" => {
                let synopsis = self
                    .synopsis_and_description
                    .map_or(&b""[..], |(synopsis, _)| synopsis);
                self.synopsis_and_description = Some((synopsis, trimmed(value)?));
            }
            b"maintainer" => self.maintainer = strings(value)?,
            b"authors" => self.authors = strings(value)?,
            b"author" => {
                let author = strings(value)?;
                if !self.authors.is_empty() {
                    return Err(Wrong::new(value, "there is a field `authors` already"));
                }
                self.authors = author;
            }
            b"license" => self.license = strings(value)?,
            b"tags" => self.tags = strings(value)?,
            b"homepage" => self.homepage = strings(value)?,
            b"doc" => self.doc = strings(value)?,
            b"bug-reports" => self.bug_reports = strings(value)?,
            b"depends" => self.depends = read_dependencies(LogOp::And, value)?,
            b"depopts" => {
                let depopts = read_dependencies(LogOp::Or, value)?;
                self.depopts = if self.older_than(b"1.2") {
                    depopts
                } else {
                    as_plain_alternatives(depopts)
                };
            }
            b"conflicts" => self.conflicts = as_conflicts(read_dependencies(LogOp::Or, value)?),
            b"conflict-class" => {
                self.conflict_class = each(value, |name| package_name(name, string(name)?))?;
            }
            b"available" => self.available = Some(available(value)?),
            b"flags" => {
                self.flags = each(value, ident)?.into_iter().filter_map(flag).collect();
                self.flags.sort_unstable();
                self.flags.dedup();
            }
            b"setenv" => self.setenv = bindings(value)?,
            b"build" => self.build = commands(value)?,
            b"run-test" => self.run_test = commands(value)?,
            b"install" => self.install = commands(value)?,
            b"remove" => self.remove = commands(value)?,
            b"substs" => self.substs = strings(value)?,
            b"patches" => self.patches = filtered_strings(value, string)?,
            b"build-env" => self.build_env = bindings(value)?,
            b"features" => self.features = each(value, feature)?,
            b"messages" => self.messages = filtered_strings(value, trimmed)?,
            b"post-messages" => self.post_messages = filtered_strings(value, trimmed)?,
            b"depexts" => {
                self.depexts = match new_depexts(value) {
                    Ok(depexts) => depexts,
                    Err(wrong) => old_depexts(value).map_err(|_| wrong)?,
                }
            }
            b"libraries" => self.libraries = filtered_strings(value, string)?,
            b"syntax" => self.syntax = filtered_strings(value, string)?,
            b"dev-repo" => self.dev_repo = Some(url(value, None)?),
            b"pin-depends" => {
                self.pin_depends = pairs(value)?
                    .into_iter()
                    .map(|(package, address)| {
                        Ok((versioned_package(package)?, url(address, None)?))
                    })
                    .collect::<Read<'d, _>>()?;
            }
            b"extra-files" => {
                self.extra_files = pairs(value)?
                    .into_iter()
                    .map(|(name, checksum)| Ok((string(name)?, hash(checksum)?)))
                    .collect::<Read<'d, _>>()?;
            }
            b"ocaml-version" => obsolete.ocaml_version = Some(ocaml_version(value)?),
            b"os" => obsolete.os = os(value)?,
            b"descr" => self.synopsis_and_description = Some(first_line_and_rest(trimmed(value)?)),
            b"extra-sources" => self.extra_sources = old_extra_sources(value)?,
            b"build-test" => obsolete.build_test = commands(value)?,
            b"build-doc" => self.build_doc = commands(value)?,
            _ => {}
        }
        Ok(())
    }

    fn older_than(&self, version: &[u8]) -> bool {
        version::compare(self.opam_version.unwrap_or(b"2.0"), version) == Ordering::Less
    }

    fn read_sections(&mut self, sections: &BTreeMap<(&[u8], Option<&'d [u8]>), Item<'d>>) {
        let of_kind = |wanted: &'static [u8]| {
            sections
                .iter()
                .filter(move |((kind, _), _)| *kind == wanted)
                .map(|((_, title), item)| (*title, *item))
        };
        let mut urls = of_kind(b"url");
        match (urls.next(), urls.next()) {
            (None, _) => {}
            (Some((_, item)), Some(_)) => self.note(item, b"url", "there are several"),
            (Some((Some(_), item)), None) => self.note(item, b"url", "no title is expected"),
            (Some((None, item)), None) => match source(item, &mut self.problems) {
                Ok(source) => self.url = Some(source),
                Err(wrong) => self.note_wrong(item, b"url", wrong),
            },
        }
        // One bad source and all are dropped, as in opam.
        let mut extra_sources = Vec::new();
        for (title, item) in of_kind(b"extra-source") {
            let Some(title) = title else {
                return self.note(item, b"extra-source", "a title is expected");
            };
            match source(item, &mut self.problems) {
                Ok(source) => extra_sources.push((title, source)),
                Err(wrong) => return self.note_wrong(item, b"extra-source", wrong),
            }
        }
        if !extra_sources.is_empty() {
            self.extra_sources = extra_sources;
        }
    }

    fn finish(&mut self, obsolete: Obsolete<'d>, name: Option<&'d str>) {
        if let Some(name) = name {
            self.name = Some(name.as_bytes());
        }
        let mut run_test = obsolete.build_test;
        run_test.append(&mut self.run_test);
        self.run_test = run_test;
        for filter in [obsolete.ocaml_version, obsolete.os].into_iter().flatten() {
            self.available = Some(match self.available.take() {
                None | Some(Filter::Bool(true)) => filter,
                Some(available) => Filter::joined(LogOp::And, vec![filter, available]),
            });
        }
        if self.older_or_same_as_2_0() {
            let subpath = self
                .extensions
                .get(&b"x-subpath"[..])
                .and_then(|value| value.as_string());
            if let (Some(subpath), Some(source)) = (subpath, &mut self.url) {
                source.subpath = Some(subpath);
            }
            if self
                .extensions
                .get(&b"x-locked"[..])
                .and_then(|value| value.as_string())
                == Some(b"")
            {
                self.extensions.remove(&b"x-locked"[..]);
            }
        }
    }

    fn older_or_same_as_2_0(&self) -> bool {
        version::compare(self.opam_version.unwrap_or(b"2.0"), b"2.0") != Ordering::Greater
    }

    /// The file as opam would write it.
    pub(crate) fn to_document(&self) -> Document {
        let mut printed = Printed {
            builder: Builder::new(b""),
            items: Chain::new(),
        };
        printed.string(b"opam-version", Some(self.opam_version.unwrap_or(b"2.0")));
        printed.string(b"name", self.name);
        printed.string(b"version", self.version);
        let (synopsis, description) = self.synopsis_and_description.unzip();
        printed.string(b"synopsis", synopsis);
        printed.string(
            b"description",
            description.filter(|description| !description.is_empty()),
        );
        printed.strings(b"maintainer", &self.maintainer);
        printed.strings(b"authors", &self.authors);
        printed.strings(b"license", &self.license);
        let (tags, flags) = tags_and_flags(&self.tags, &self.flags);
        printed.strings(b"tags", &tags);
        printed.strings(b"homepage", &self.homepage);
        printed.strings(b"doc", &self.doc);
        printed.strings(b"bug-reports", &self.bug_reports);
        printed.dependencies(b"depends", LogOp::And, &self.depends);
        printed.dependencies(b"depopts", LogOp::Or, &self.depopts);
        printed.dependencies(b"conflicts", LogOp::Or, &self.conflicts);
        printed.strings(b"conflict-class", &self.conflict_class);
        let available = self
            .available
            .as_ref()
            .and_then(|filter| filter.print(&mut printed.builder));
        printed.row(b"available", 1, available);
        printed.each(b"flags", 1, flags, |flag, builder| {
            builder.ident(flag_name(flag))
        });
        printed.each(b"setenv", 2, &self.setenv, print_binding);
        printed.commands(b"build", &self.build);
        printed.commands(b"run-test", &self.run_test);
        printed.commands(b"install", &self.install);
        printed.commands(b"remove", &self.remove);
        printed.strings(b"substs", &self.substs);
        printed.filtered_strings(b"patches", &self.patches);
        printed.each(b"build-env", 2, &self.build_env, print_binding);
        printed.each(b"features", 1, &self.features, print_feature);
        printed.filtered_strings(b"messages", &self.messages);
        printed.filtered_strings(b"post-messages", &self.post_messages);
        printed.each(b"depexts", 2, &self.depexts, |(names, filter), builder| {
            let names: Vec<u32> = names.iter().map(|name| builder.string(name)).collect();
            let names = builder.list(names);
            with_filter(names, Some(filter), builder)
        });
        printed.filtered_strings(b"libraries", &self.libraries);
        printed.filtered_strings(b"syntax", &self.syntax);
        printed.string(
            b"dev-repo",
            self.dev_repo.as_ref().map(Url::print).as_deref(),
        );
        printed.each(
            b"pin-depends",
            2,
            &self.pin_depends,
            |(package, url), builder| {
                print_pair(package.to_string().as_bytes(), &url.print(), builder)
            },
        );
        printed.each(
            b"extra-files",
            2,
            &self.extra_files,
            |(name, hash), builder| print_pair(name, hash.to_string().as_bytes(), builder),
        );
        printed.commands(b"build-doc", &self.build_doc);
        let move_subpath = self.older_or_same_as_2_0();
        if let Some(source) = &self.url {
            printed.source(b"url", None, source, move_subpath);
        }
        for (name, source) in &self.extra_sources {
            printed.source(b"extra-source", Some(name), source, false);
        }
        self.print_extensions(&mut printed, move_subpath);
        let first = printed.items.first();
        printed.builder.finish(first)
    }

    fn print_extensions(&self, printed: &mut Printed, move_subpath: bool) {
        let subpath = self
            .url
            .as_ref()
            .and_then(|source| source.subpath)
            .filter(|_| move_subpath);
        let subpath = subpath.map(|subpath| subpath.strip_prefix(b"./").unwrap_or(subpath));
        let mut extensions: BTreeMap<&[u8], Option<Value<'_>>> = BTreeMap::new();
        extensions.extend(
            self.extensions
                .iter()
                .map(|(name, value)| (*name, Some(*value))),
        );
        if subpath.is_some() {
            extensions.insert(b"x-subpath", None);
        }
        for (name, value) in extensions {
            let value = match value {
                Some(value) => printed.builder.copy(value),
                None => printed.builder.string(subpath.unwrap_or_default()),
            };
            printed
                .builder
                .append_field(&mut printed.items, name, value);
        }
    }

    /// Whether both say the same about how a package is built: `OpamFile.OPAM.effectively_equal`.
    pub(crate) fn effectively_equal(&self, other: &Typed<'_>) -> bool {
        self.name == other.name
            && self.version == other.version
            && same_source(&self.url, &other.url)
            && self.depends == other.depends
            && self.depopts == other.depopts
            && self.conflicts == other.conflicts
            && self.conflict_class == other.conflict_class
            && always_if_none(&self.available) == always_if_none(&other.available)
            && self.plugin_flags() == other.plugin_flags()
            && self.setenv == other.setenv
            && effective(&self.build).eq(effective(&other.build))
            && effective(&self.run_test).eq(effective(&other.run_test))
            && effective(&self.install).eq(effective(&other.install))
            && effective(&self.remove).eq(effective(&other.remove))
            && self.substs == other.substs
            && self.patches == other.patches
            && self.build_env == other.build_env
            && self.features == other.features
            && self.same_extra_sources(other)
            && self.build_doc == other.build_doc
            && self.extra_files == other.extra_files
            && self.extensions.get(&b"x-env-path-rewrite"[..])
                == other.extensions.get(&b"x-env-path-rewrite"[..])
    }

    /// How often it is said that this is a plugin: opam keeps a list, without removing what is there twice.
    fn plugin_flags(&self) -> usize {
        let in_flags = self
            .flags
            .iter()
            .filter(|flag| **flag == Flag::Plugin)
            .count();
        in_flags
            + self
                .tags
                .iter()
                .filter(|tag| **tag == b"flags:plugin")
                .count()
    }

    fn same_extra_sources(&self, other: &Typed<'_>) -> bool {
        self.extra_sources.len() == other.extra_sources.len()
            && self.extra_sources.iter().zip(&other.extra_sources).all(
                |((name, source), (other_name, other_source))| {
                    name == other_name && source.is_effectively(other_source)
                },
            )
    }

    /// Whether the dependencies mention a package anywhere.
    pub(crate) fn depends_on(&self, package: &str) -> bool {
        let mut found = false;
        self.depends
            .each_atom(&mut |dependency| found |= dependency.name == package.as_bytes());
        found
    }

    /// The names in the dependencies and the optional dependencies, as often as they stand there.
    pub(crate) fn mentioned_packages(&self) -> Vec<&'d [u8]> {
        let mut names = Vec::new();
        self.depends
            .each_atom(&mut |dependency| names.push(dependency.name));
        self.depopts
            .each_atom(&mut |dependency| names.push(dependency.name));
        names
    }
}

fn field_slot<'f, 'd>(
    fields: &'f mut [Option<Item<'d>>; FIELDS.len()],
    name: &[u8],
) -> Option<&'f mut Option<Item<'d>>> {
    let index = FIELDS.iter().position(|field| *field == name)?;
    fields.get_mut(index)
}

fn effective<'c, 'd>(commands: &'c [Command<'d>]) -> impl Iterator<Item = &'c Command<'d>> {
    commands
        .iter()
        .filter(|command| !command.arguments.is_empty())
}

fn always_if_none<'f, 'd>(filter: &'f Option<Filter<'d>>) -> Cow<'f, Filter<'d>> {
    filter
        .as_ref()
        .map_or(Cow::Owned(Filter::Bool(true)), Cow::Borrowed)
}

fn same_source(left: &Option<Source<'_>>, right: &Option<Source<'_>>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => left.is_effectively(right),
        (None, None) => true,
        _ => false,
    }
}

impl Source<'_> {
    /// The first checksum says what is fetched; only without one the address does.
    fn is_effectively(&self, other: &Source<'_>) -> bool {
        match (self.checksums.first(), other.checksums.first()) {
            (Some(hash), Some(other_hash)) => hash == other_hash,
            (None, None) => self.url == other.url,
            _ => false,
        }
    }
}

/// An element of a list that should be nested: as it is written, or to be read as the only element of one more list.
#[derive(Clone, Copy)]
enum Element<'d> {
    Written(Value<'d>),
    Alone(Value<'d>),
}

/// How many lists a value opens with.
fn depth(mut value: Value<'_>) -> u32 {
    let mut depth = 0;
    loop {
        match value.kind() {
            Kind::List(mut values) => {
                depth += 1;
                match values.next() {
                    Some(first) => value = first,
                    None => return depth,
                }
            }
            Kind::Option(inner, _) => value = inner,
            _ => return depth,
        }
    }
}

/// The elements of a value in which that many lists should be nested; the outer ones may be left out.
fn elements<'d>(value: Value<'d>, expected_depth: u32) -> Read<'d, Vec<Element<'d>>> {
    match expected_depth.saturating_sub(depth(value)) {
        0 => {
            let values = value
                .as_list()
                .ok_or_else(|| Wrong::expected(value, "list"))?;
            Ok(values.map(Element::Written).collect())
        }
        1 => Ok(vec![Element::Written(value)]),
        2 => Ok(vec![Element::Alone(value)]),
        _ => Err(Wrong::expected(value, "nested lists")),
    }
}

fn each<'d, T>(value: Value<'d>, read: impl Fn(Value<'d>) -> Read<'d, T>) -> Read<'d, Vec<T>> {
    match value.kind() {
        Kind::List(values) => values.map(read).collect(),
        _ if depth(value) == 0 => Ok(vec![read(value)?]),
        _ => Err(Wrong::expected(value, "list")),
    }
}

fn strings<'d>(value: Value<'d>) -> Read<'d, Vec<&'d [u8]>> {
    each(value, string)
}

fn string<'d>(value: Value<'d>) -> Read<'d, &'d [u8]> {
    value
        .as_string()
        .ok_or_else(|| Wrong::expected(value, "string"))
}

fn trimmed<'d>(value: Value<'d>) -> Read<'d, &'d [u8]> {
    string(value).map(trim)
}

/// Without blanks and line ends on both sides.
fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = text.iter().take_while(|byte| blank(byte)).count();
    let rest = text.get(start..).unwrap_or_default();
    let trailing = rest.iter().rev().take_while(|byte| blank(byte)).count();
    rest.get(..rest.len() - trailing).unwrap_or_default()
}

fn first_line_and_rest(text: &[u8]) -> (&[u8], &[u8]) {
    match text
        .iter()
        .position(|&byte| byte == b'\n')
        .and_then(|end| text.split_at_checked(end))
    {
        Some((first, rest)) => (trim(first), trim(rest)),
        None => (text, b""),
    }
}

fn ident<'d>(value: Value<'d>) -> Read<'d, &'d [u8]> {
    match value.kind() {
        Kind::Ident(name) => Ok(name),
        _ => Err(Wrong::expected(value, "ident")),
    }
}

fn version_text<'d>(value: Value<'d>) -> Read<'d, &'d [u8]> {
    let text = trimmed(value)?;
    match valid_version(text) {
        Some(_) => Ok(text),
        None => Err(Wrong::new(
            value,
            format!("`{}` is not a version", text.escape_ascii()),
        )),
    }
}

fn versioned_package<'d>(value: Value<'d>) -> Read<'d, Package> {
    Package::parse(string(value)?).ok_or_else(|| Wrong::expected(value, "versioned package"))
}

fn url<'d>(value: Value<'d>, backend: Option<Backend>) -> Read<'d, Url<'d>> {
    Url::read(string(value)?, backend).map_err(|what| Wrong::new(value, what))
}

fn hash<'d>(value: Value<'d>) -> Read<'d, Hash> {
    Hash::parse(string(value)?).ok_or_else(|| Wrong::expected(value, "checksum"))
}

fn flag(name: &[u8]) -> Option<Flag> {
    FLAGS
        .iter()
        .find(|(_, flag_name)| *flag_name == name)
        .map(|(flag, _)| *flag)
}

fn flag_name(flag: Flag) -> &'static [u8] {
    FLAGS
        .iter()
        .find(|(other, _)| *other == flag)
        .map_or(b"", |(_, name)| name)
}

fn available<'d>(value: Value<'d>) -> Read<'d, Filter<'d>> {
    match value.kind() {
        Kind::List(values) => Filter::single(values, value),
        _ if depth(value) == 0 => match value.kind() {
            Kind::Group(values) if values.is_empty() => {
                Err(Wrong::new(value, "expected a single filter expression"))
            }
            _ => Filter::read(value),
        },
        _ => Err(Wrong::expected(value, "filter-expression")),
    }
}

fn option(value: Value<'_>) -> (Value<'_>, Option<Values<'_>>) {
    match value.kind() {
        Kind::Option(inner, values) => (inner, Some(values)),
        _ => (value, None),
    }
}

/// A value that may be followed by one filter in braces.
fn filtered<'d, T>(
    value: Value<'d>,
    read: impl Fn(Value<'d>) -> Read<'d, T>,
) -> Read<'d, Filtered<'d, T>> {
    let (inner, braces) = option(value);
    let inner = read(inner)?;
    let filter = braces
        .map(|values| Filter::optional(values, value))
        .transpose()?;
    Ok((inner, filter.flatten()))
}

fn filtered_strings<'d>(
    value: Value<'d>,
    read: fn(Value<'d>) -> Read<'d, &'d [u8]>,
) -> Read<'d, Vec<Filtered<'d, &'d [u8]>>> {
    each(value, |value| filtered(value, read))
}

fn commands<'d>(value: Value<'d>) -> Read<'d, Vec<Command<'d>>> {
    elements(value, 2)?.into_iter().map(command).collect()
}

fn command<'d>(element: Element<'d>) -> Read<'d, Command<'d>> {
    match element {
        Element::Alone(value) => Ok(Command {
            arguments: vec![filtered(value, argument)?],
            filter: None,
        }),
        Element::Written(value) => {
            let (arguments, filter) = filtered(value, |list| {
                let arguments = list
                    .as_list()
                    .ok_or_else(|| Wrong::expected(list, "list of arguments"))?;
                arguments
                    .map(|value| filtered(value, argument))
                    .collect::<Read<'d, Vec<_>>>()
            })?;
            Ok(Command { arguments, filter })
        }
    }
}

fn argument<'d>(value: Value<'d>) -> Read<'d, Argument<'d>> {
    match value.kind() {
        Kind::Ident(name) => Ok(Argument::Ident(name)),
        Kind::String(text) => Ok(Argument::String(text)),
        _ => Err(Wrong::expected(value, "ident-or-string")),
    }
}

fn bindings<'d>(value: Value<'d>) -> Read<'d, Vec<Binding<'d>>> {
    let read = |element| match element {
        Element::Alone(value) => binding(value),
        Element::Written(value) => match value.kind() {
            Kind::List(values) => binding(
                values
                    .single()
                    .ok_or_else(|| Wrong::expected(value, "env-binding"))?,
            ),
            _ => binding(value),
        },
    };
    elements(value, 2)?.into_iter().map(read).collect()
}

fn binding<'d>(value: Value<'d>) -> Read<'d, Binding<'d>> {
    let (op, left, right) = match value.kind() {
        Kind::Relation(RelOp::Eq, left, right) => (EnvOp::Eq, left, right),
        Kind::Binding(op, left, right) => (op, left, right),
        _ => return Err(Wrong::expected(value, "env-binding")),
    };
    match (left.kind(), right.kind()) {
        (Kind::Ident(variable), Kind::String(text)) => Ok(Binding {
            variable,
            op,
            value: text,
        }),
        _ => Err(Wrong::expected(value, "env-binding")),
    }
}

/// `variable {depends} {"description"}`.
fn feature<'d>(value: Value<'d>) -> Read<'d, Feature<'d>> {
    let wrong = || Wrong::expected(value, "feature");
    let Kind::Option(inner, description) = value.kind() else {
        return Err(wrong());
    };
    let Kind::Option(variable, depends) = inner.kind() else {
        return Err(wrong());
    };
    Ok(Feature {
        variable: ident(variable)?,
        depends: read_dependency_row(LogOp::And, depends)?,
        description: string(description.single().ok_or_else(wrong)?)?,
    })
}

fn new_depexts<'d>(value: Value<'d>) -> Read<'d, Vec<SystemPackages<'d>>> {
    let read = |element| match element {
        Element::Alone(value) => Ok((vec![string(value)?], Filter::Bool(true))),
        Element::Written(value) => {
            let (names, braces) = option(value);
            let names = set_of_names(names)?;
            let filter = braces.map_or(Ok(Filter::Bool(true)), |values| {
                Filter::single(values, value)
            })?;
            Ok((names, filter))
        }
    };
    elements(value, 2)?.into_iter().map(read).collect()
}

/// Before opam 2.0: pairs of a list of tags and a list of names.
fn old_depexts<'d>(value: Value<'d>) -> Read<'d, Vec<SystemPackages<'d>>> {
    let read = |element| match element {
        Element::Alone(value) => Err(Wrong::expected(value, "pair of lists")),
        Element::Written(value) => {
            let (tags, names) = pair(value)?;
            let tags = tags
                .as_list()
                .ok_or_else(|| Wrong::expected(tags, "list"))?;
            let tags = tags.map(string).collect::<Read<'d, Vec<_>>>()?;
            Ok((set_of_names(names)?, all_tags(&tags)))
        }
    };
    elements(value, 3)?.into_iter().map(read).collect()
}

/// `a & (b & c)`, without a stack for each: only the last two are a chain of their own.
fn all_tags<'d>(tags: &[&'d [u8]]) -> Filter<'d> {
    let tag = |tag: &&'d [u8]| Filter::String(Cow::Borrowed(*tag));
    match tags {
        [] => Filter::Bool(true),
        [only] => tag(only),
        // Nested to the right as opam does it, but no deeper than a file may be nested.
        [first, rest @ ..] if tags.len() <= TAGS_NESTED_MAX => {
            Filter::Joined(LogOp::And, vec![tag(first), all_tags(rest)])
        }
        _ => Filter::Joined(LogOp::And, tags.iter().map(tag).collect()),
    }
}

/// Real entries have one to three tags.
const TAGS_NESTED_MAX: usize = 64;

fn set_of_names<'d>(value: Value<'d>) -> Read<'d, Vec<&'d [u8]>> {
    let names = value
        .as_list()
        .ok_or_else(|| Wrong::expected(value, "list of names"))?;
    let mut names = names.map(string).collect::<Read<'d, Vec<_>>>()?;
    names.sort_by(|a, b| compare_names(a, b));
    names.dedup();
    Ok(names)
}

fn pairs<'d>(value: Value<'d>) -> Read<'d, Vec<(Value<'d>, Value<'d>)>> {
    let read = |element| match element {
        Element::Alone(value) => Err(Wrong::expected(value, "pair")),
        Element::Written(value) => pair(value),
    };
    elements(value, 2)?.into_iter().map(read).collect()
}

fn pair<'d>(value: Value<'d>) -> Read<'d, (Value<'d>, Value<'d>)> {
    let mut values = value
        .as_list()
        .ok_or_else(|| Wrong::expected(value, "pair"))?;
    match (values.next(), values.next(), values.next()) {
        (Some(first), Some(second), None) => Ok((first, second)),
        _ => Err(Wrong::expected(value, "pair")),
    }
}

/// Before opam 2.0: which OCaml versions a package is for.
fn ocaml_version<'d>(value: Value<'d>) -> Read<'d, Filter<'d>> {
    let filter = match value.kind() {
        Kind::List(values) => joined_filters(LogOp::And, values, 0, ocaml_constraint)?,
        _ if depth(value) == 0 => ocaml_constraint(value, 0)?,
        _ => return Err(Wrong::expected(value, "list")),
    };
    Ok(filter.unwrap_or(Filter::Bool(true)))
}

/// Reads a constraint that is negated that many times.
type ReadConstraint = for<'d> fn(Value<'d>, u32) -> Read<'d, Option<Filter<'d>>>;

fn ocaml_constraint<'d>(value: Value<'d>, negations: u32) -> Read<'d, Option<Filter<'d>>> {
    match value.kind() {
        Kind::PrefixRelation(op, version) => {
            let version = match version.kind() {
                Kind::String(text) => text,
                Kind::Ident(name @ b"system") => name,
                _ => return Err(Wrong::expected(version, "compiler-version")),
            };
            Ok(Some(is(b"ocaml-version", op, version, negations)))
        }
        Kind::Logical(op, operands) => joined_filters(op, operands, negations, ocaml_constraint),
        Kind::Prefix(PrefixOp::Not, inner) => ocaml_constraint(inner, negations + 1),
        Kind::Group(values) => joined_filters(LogOp::And, values, negations, ocaml_constraint),
        _ => Err(Wrong::expected(value, "compiler-version-constraints")),
    }
}

/// Before opam 2.0: which systems a package is for.
fn os<'d>(value: Value<'d>) -> Read<'d, Option<Filter<'d>>> {
    match value.kind() {
        Kind::List(values) => joined_filters(LogOp::Or, values, 0, os_constraint),
        _ => os_constraint(value, 0),
    }
}

fn os_constraint<'d>(value: Value<'d>, negations: u32) -> Read<'d, Option<Filter<'d>>> {
    match value.kind() {
        Kind::String(name) => Ok(Some(is(b"os", RelOp::Eq, name, negations))),
        Kind::Logical(op, operands) => joined_filters(op, operands, negations, os_constraint),
        Kind::Prefix(PrefixOp::Not, inner) => os_constraint(inner, negations + 1),
        Kind::Group(values) => joined_filters(LogOp::Or, values, negations, os_constraint),
        _ => Err(Wrong::expected(value, "os-constraint")),
    }
}

fn joined_filters<'d>(
    op: LogOp,
    values: Values<'d>,
    negations: u32,
    read: ReadConstraint,
) -> Read<'d, Option<Filter<'d>>> {
    let filters = values.filter_map(|value| read(value, negations).transpose());
    let mut filters = filters.collect::<Read<'d, Vec<_>>>()?;
    Ok(if filters.len() > 1 {
        Some(Filter::joined(op.negated(negations), filters))
    } else {
        filters.pop()
    })
}

fn is<'d>(variable: &'static [u8], op: RelOp, text: &'d [u8], negations: u32) -> Filter<'d> {
    let op = if negations.is_multiple_of(2) {
        op
    } else {
        op.negated()
    };
    let variable = Filter::Ident(Cow::Borrowed(variable));
    Filter::Relation(
        op,
        Box::new(variable),
        Box::new(Filter::String(Cow::Borrowed(text))),
    )
}

/// Before opam 2.0: `["URL" {"FILE"} "CHECKSUM"]`.
fn old_extra_sources<'d>(value: Value<'d>) -> Read<'d, Vec<(&'d [u8], Source<'d>)>> {
    let mut sources = Vec::new();
    for (address, checksum) in pairs(value)? {
        let (address, braces) = option(address);
        let checksums = vec![hash(checksum)?];
        let text = string(address)?;
        let url = url(address, None)?;
        let name = match braces.filter(|values| !values.is_empty()) {
            Some(values) => string(
                values
                    .single()
                    .ok_or_else(|| Wrong::expected(address, "file"))?,
            )?,
            None => last_segment(text),
        };
        sources.push((
            name,
            Source {
                url,
                checksums,
                mirrors: Vec::new(),
                subpath: None,
            },
        ));
    }
    Ok(sources)
}

/// The name of the file at an address.
fn last_segment(address: &[u8]) -> &[u8] {
    let path = address
        .split(|&byte| byte == b'#')
        .next()
        .unwrap_or_default();
    let trailing = path.iter().rev().take_while(|&&byte| byte == b'/').count();
    let path = path.get(..path.len() - trailing).unwrap_or_default();
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

fn source<'d>(item: Item<'d>, problems: &mut Vec<Problem>) -> Read<'d, Source<'d>> {
    let ItemKind::Section {
        kind: section,
        items,
        ..
    } = item.kind()
    else {
        return Err(Wrong {
            value: None,
            what: "expected a section".into(),
        });
    };
    let mut note = |item: Item<'d>, name: &[u8], what: &str| {
        let name = [section, b".", name].concat();
        problems.push(Problem::new(item.position(), &name, what));
    };
    let mut fields: HashMap<&[u8], Item<'d>> = HashMap::new();
    for item in items {
        match item.kind() {
            ItemKind::Field(name, _) if !SOURCE_FIELDS.contains(&name) => {
                note(item, name, "unknown field")
            }
            ItemKind::Field(name, _) if fields.contains_key(name) => {
                note(item, name, "repeated, the first one counts")
            }
            ItemKind::Field(name, _) => {
                fields.insert(name, item);
            }
            ItemKind::Section { kind, .. } => note(item, kind, "unknown section"),
        }
    }
    let mut address = None;
    let (mut checksums, mut mirrors, mut subpath) = (Vec::new(), Vec::new(), None);
    for name in SOURCE_FIELDS {
        let Some((item, value)) = fields.get(name).and_then(|item| match item.kind() {
            ItemKind::Field(_, value) => Some((*item, value)),
            ItemKind::Section { .. } => None,
        }) else {
            continue;
        };
        let read = match name {
            b"checksum" => each(value, hash).map(|read| checksums = read),
            b"mirrors" => each(value, |value| url(value, None)).map(|read| mirrors = read),
            b"subpath" => string(value).map(|read| subpath = Some(read)),
            _ if address.is_some() => Err(Wrong::new(value, "there is an address already")),
            _ => url(value, source_backend(name))
                .map(|read| address = Some(read).filter(|url| !url.is_nothing())),
        };
        if let Err(wrong) = read {
            note(item, name, &wrong.what);
        }
    }
    if let Some(at) = mirrors
        .iter()
        .position(|url| url.software_heritage().is_some())
    {
        let first = mirrors.remove(at);
        mirrors.insert(0, first);
    }
    match address {
        Some(url) => Ok(Source {
            url,
            checksums,
            mirrors,
            subpath,
        }),
        None => Err(Wrong {
            value: None,
            what: "missing URL".into(),
        }),
    }
}

const SOURCE_FIELDS: [&[u8]; 10] = [
    b"src",
    b"archive",
    b"http",
    b"git",
    b"darcs",
    b"hg",
    b"local",
    b"checksum",
    b"mirrors",
    b"subpath",
];

/// Before opam 2.0 the field said how to fetch.
fn source_backend(field: &[u8]) -> Option<Backend> {
    match field {
        b"archive" | b"http" => Some(Backend::Http),
        b"git" => Some(Backend::Git),
        b"darcs" => Some(Backend::Darcs),
        b"hg" => Some(Backend::Hg),
        b"local" => Some(Backend::Rsync),
        _ => None,
    }
}

/// A document being made.
struct Printed {
    builder: Builder,
    items: Chain,
}

impl Printed {
    fn string(&mut self, name: &[u8], text: Option<&[u8]>) {
        if let Some(text) = text {
            let value = self.builder.string(text);
            self.builder.append_field(&mut self.items, name, value);
        }
    }

    /// A field that is a list, of which opam leaves out the outer brackets where it can; an empty one is left out.
    fn row(&mut self, name: &[u8], depth: u32, values: impl IntoIterator<Item = u32>) {
        let list = self.builder.list(values);
        let value = self.builder.unwrapped(list, depth);
        if !self.builder.is_empty_list(value) {
            self.builder.append_field(&mut self.items, name, value);
        }
    }

    fn each<T>(
        &mut self,
        name: &[u8],
        depth: u32,
        values: impl IntoIterator<Item = T>,
        print: impl Fn(T, &mut Builder) -> u32,
    ) {
        let values: Vec<u32> = values
            .into_iter()
            .map(|value| print(value, &mut self.builder))
            .collect();
        self.row(name, depth, values);
    }

    fn strings(&mut self, name: &[u8], texts: &[&[u8]]) {
        self.each(name, 1, texts, |text, builder| builder.string(text));
    }

    fn filtered_strings(&mut self, name: &[u8], texts: &[Filtered<'_, &[u8]>]) {
        self.each(name, 1, texts, |(text, filter), builder| {
            let text = builder.string(text);
            with_filter(text, filter.as_ref(), builder)
        });
    }

    fn commands(&mut self, name: &[u8], commands: &[Command<'_>]) {
        self.each(name, 2, commands, print_command);
    }

    fn dependencies(&mut self, name: &[u8], op: LogOp, formula: &Dependencies<'_>) {
        let elements = print_dependencies(op, formula, &mut self.builder);
        self.row(name, 0, elements);
    }

    fn source(
        &mut self,
        kind: &[u8],
        title: Option<&[u8]>,
        source: &Source<'_>,
        move_subpath: bool,
    ) {
        let mut inner = Printed {
            builder: std::mem::replace(&mut self.builder, Builder::new(b"")),
            items: Chain::new(),
        };
        inner.string(b"src", Some(&source.url.print()));
        inner.each(b"checksum", 1, &source.checksums, |hash, builder| {
            builder.string(hash.to_string().as_bytes())
        });
        inner.each(b"mirrors", 1, &source.mirrors, |url, builder| {
            match url.software_heritage() {
                Some(id) => builder.string(&[b"https://swhid.opam.ocaml.org/", id].concat()),
                None => builder.string(&url.print()),
            }
        });
        inner.string(b"subpath", source.subpath.filter(|_| !move_subpath));
        self.builder = inner.builder;
        self.builder
            .append_section(&mut self.items, kind, title, &inner.items);
    }
}

/// The tags to print, and the flags that no tag stands for. Of tags for the same flag the last one stays.
fn tags_and_flags<'d>(tags: &[&'d [u8]], flags: &[Flag]) -> (Vec<&'d [u8]>, Vec<Flag>) {
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let mut kept: Vec<&[u8]> = Vec::new();
    for tag in tags.iter().rev() {
        match tag.strip_prefix(b"flags:") {
            Some(flag) if !seen.insert(flag) => {}
            _ => kept.push(tag),
        }
    }
    kept.reverse();
    let flags = flags
        .iter()
        .copied()
        .filter(|flag| !seen.contains(flag_name(*flag)))
        .collect();
    (kept, flags)
}

fn with_filter(value: u32, filter: Option<&Filter<'_>>, builder: &mut Builder) -> u32 {
    match filter.and_then(|filter| filter.print(builder)) {
        Some(filter) => builder.option(value, [filter]),
        None => value,
    }
}

fn print_command(command: &Command<'_>, builder: &mut Builder) -> u32 {
    let mut arguments = Vec::with_capacity(command.arguments.len());
    for (argument, filter) in &command.arguments {
        let argument = match argument {
            Argument::Ident(name) => builder.ident(name),
            Argument::String(text) => builder.string(text),
        };
        arguments.push(with_filter(argument, filter.as_ref(), builder));
    }
    let list = builder.list(arguments);
    with_filter(list, command.filter.as_ref(), builder)
}

fn print_binding(binding: &Binding<'_>, builder: &mut Builder) -> u32 {
    let variable = builder.ident(binding.variable);
    let value = builder.string(binding.value);
    let binding = builder.binding(binding.op, variable, value);
    builder.list([binding])
}

fn print_feature(feature: &Feature<'_>, builder: &mut Builder) -> u32 {
    let variable = builder.ident(feature.variable);
    let depends = print_dependencies(LogOp::And, &feature.depends, builder);
    let with_depends = builder.option(variable, depends);
    let description = builder.string(feature.description);
    builder.option(with_depends, [description])
}

fn print_pair(first: &[u8], second: &[u8], builder: &mut Builder) -> u32 {
    let (first, second) = (builder.string(first), builder.string(second));
    builder.list([first, second])
}
