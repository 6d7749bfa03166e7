//! The fields of an opam file: which there are, how opam prints them, and which of them decide whether two packages are
//! built alike. The rules are those of `OpamFile.OPAM` of opam 2.5.
//!
//! A field that does not have its type is dropped and noted, as opam does; nothing here is fatal.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use crate::field_values::{
    Binding, Command, Feature, Filtered, Flag, Read, Source, SystemPackages, available, bindings,
    commands, each, feature, filtered_strings, first_line_and_rest, flag, flag_name, hash, ident,
    new_depexts, ocaml_version, old_depexts, old_extra_sources, os, pairs, print_binding,
    print_command, print_feature, print_pair, source, string, strings, trimmed, url, version_text,
    versioned_package, with_filter,
};
use crate::formula::{
    Dependencies, Filter, Wrong, as_conflicts, as_plain_alternatives, package_name,
    print_dependencies, read_dependencies,
};
use crate::package::Package;
use crate::url::{Hash, Url};
use crate::value::{Builder, Chain, Document, Item, ItemKind, Items, LogOp, Value};
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
