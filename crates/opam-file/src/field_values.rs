//! The types that values of fields have: how each is read, with the liberties opam takes, and how it is turned back into a
//! value. The rules are those of `OpamFormat.V` and of the field list in `OpamFile.OPAM` of opam 2.5.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::formula::{Dependencies, Filter, Wrong, print_dependencies, read_dependency_row};
use crate::package::{Package, compare_names, valid_version};
use crate::typed::Problem;
use crate::url::{Backend, Hash, Url};
use crate::value::{Builder, EnvOp, Item, ItemKind, Kind, LogOp, PrefixOp, RelOp, Value, Values};

pub(crate) type Read<'d, T> = Result<T, Wrong<'d>>;

/// Something that may depend on a condition.
pub(crate) type Filtered<'d, T> = (T, Option<Filter<'d>>);

/// Packages of the system, and where they are needed.
pub(crate) type SystemPackages<'d> = (Vec<&'d [u8]>, Filter<'d>);

/// What is special about a package. Printed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flag {
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
pub(crate) struct Command<'d> {
    pub(crate) arguments: Vec<Filtered<'d, Argument<'d>>>,
    pub(crate) filter: Option<Filter<'d>>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Argument<'d> {
    Ident(&'d [u8]),
    String(&'d [u8]),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Binding<'d> {
    pub(crate) variable: &'d [u8],
    pub(crate) op: EnvOp,
    pub(crate) value: &'d [u8],
}

#[derive(Debug, PartialEq)]
pub(crate) struct Feature<'d> {
    pub(crate) variable: &'d [u8],
    pub(crate) depends: Dependencies<'d>,
    pub(crate) description: &'d [u8],
}

/// Where the source comes from: the section `url` or `extra-source`.
#[derive(Debug)]
pub(crate) struct Source<'d> {
    pub(crate) url: Url<'d>,
    pub(crate) checksums: Vec<Hash>,
    pub(crate) mirrors: Vec<Url<'d>>,
    pub(crate) subpath: Option<&'d [u8]>,
}

impl Source<'_> {
    /// The first checksum says what is fetched; only without one the address does.
    pub(crate) fn is_effectively(&self, other: &Source<'_>) -> bool {
        match (self.checksums.first(), other.checksums.first()) {
            (Some(hash), Some(other_hash)) => hash == other_hash,
            (None, None) => self.url == other.url,
            _ => false,
        }
    }
}

/// An element of a list that should be nested: as it is written, or to be read as the only element of one more list.
#[derive(Clone, Copy)]
pub(crate) enum Element<'d> {
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

pub(crate) fn each<'d, T>(
    value: Value<'d>,
    read: impl Fn(Value<'d>) -> Read<'d, T>,
) -> Read<'d, Vec<T>> {
    match value.kind() {
        Kind::List(values) => values.map(read).collect(),
        _ if depth(value) == 0 => Ok(vec![read(value)?]),
        _ => Err(Wrong::expected(value, "list")),
    }
}

pub(crate) fn strings<'d>(value: Value<'d>) -> Read<'d, Vec<&'d [u8]>> {
    each(value, string)
}

pub(crate) fn string<'d>(value: Value<'d>) -> Read<'d, &'d [u8]> {
    value
        .as_string()
        .ok_or_else(|| Wrong::expected(value, "string"))
}

pub(crate) fn trimmed<'d>(value: Value<'d>) -> Read<'d, &'d [u8]> {
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

pub(crate) fn first_line_and_rest(text: &[u8]) -> (&[u8], &[u8]) {
    match text
        .iter()
        .position(|&byte| byte == b'\n')
        .and_then(|end| text.split_at_checked(end))
    {
        Some((first, rest)) => (trim(first), trim(rest)),
        None => (text, b""),
    }
}

pub(crate) fn ident<'d>(value: Value<'d>) -> Read<'d, &'d [u8]> {
    match value.kind() {
        Kind::Ident(name) => Ok(name),
        _ => Err(Wrong::expected(value, "ident")),
    }
}

pub(crate) fn version_text<'d>(value: Value<'d>) -> Read<'d, &'d [u8]> {
    let text = trimmed(value)?;
    match valid_version(text) {
        Some(_) => Ok(text),
        None => Err(Wrong::new(
            value,
            format!("`{}` is not a version", text.escape_ascii()),
        )),
    }
}

pub(crate) fn versioned_package<'d>(value: Value<'d>) -> Read<'d, Package> {
    Package::parse(string(value)?).ok_or_else(|| Wrong::expected(value, "versioned package"))
}

pub(crate) fn url<'d>(value: Value<'d>, backend: Option<Backend>) -> Read<'d, Url<'d>> {
    Url::read(string(value)?, backend).map_err(|what| Wrong::new(value, what))
}

pub(crate) fn hash<'d>(value: Value<'d>) -> Read<'d, Hash> {
    Hash::parse(string(value)?).ok_or_else(|| Wrong::expected(value, "checksum"))
}

pub(crate) fn flag(name: &[u8]) -> Option<Flag> {
    FLAGS
        .iter()
        .find(|(_, flag_name)| *flag_name == name)
        .map(|(flag, _)| *flag)
}

pub(crate) fn flag_name(flag: Flag) -> &'static [u8] {
    FLAGS
        .iter()
        .find(|(other, _)| *other == flag)
        .map_or(b"", |(_, name)| name)
}

pub(crate) fn available<'d>(value: Value<'d>) -> Read<'d, Filter<'d>> {
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

pub(crate) fn filtered_strings<'d>(
    value: Value<'d>,
    read: fn(Value<'d>) -> Read<'d, &'d [u8]>,
) -> Read<'d, Vec<Filtered<'d, &'d [u8]>>> {
    each(value, |value| filtered(value, read))
}

pub(crate) fn commands<'d>(value: Value<'d>) -> Read<'d, Vec<Command<'d>>> {
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

pub(crate) fn bindings<'d>(value: Value<'d>) -> Read<'d, Vec<Binding<'d>>> {
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
pub(crate) fn feature<'d>(value: Value<'d>) -> Read<'d, Feature<'d>> {
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

pub(crate) fn new_depexts<'d>(value: Value<'d>) -> Read<'d, Vec<SystemPackages<'d>>> {
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
pub(crate) fn old_depexts<'d>(value: Value<'d>) -> Read<'d, Vec<SystemPackages<'d>>> {
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

/// `a & (b & c)`: nested to the right, as opam does it.
fn all_tags<'d>(tags: &[&'d [u8]]) -> Filter<'d> {
    let tag = |tag: &&'d [u8]| Filter::String(Cow::Borrowed(*tag));
    match tags {
        [] => Filter::Bool(true),
        [only] => tag(only),
        // No deeper than a file may be nested.
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

pub(crate) fn pairs<'d>(value: Value<'d>) -> Read<'d, Vec<(Value<'d>, Value<'d>)>> {
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
pub(crate) fn ocaml_version<'d>(value: Value<'d>) -> Read<'d, Filter<'d>> {
    let filter = match value.kind() {
        Kind::List(values) => joined_filters(LogOp::And, values, 0, ocaml_constraint)?,
        _ if depth(value) == 0 => ocaml_constraint(value, 0)?,
        _ => return Err(Wrong::expected(value, "list")),
    };
    Ok(filter.unwrap_or(Filter::Bool(true)))
}

/// Reads a constraint that is negated that many times.
pub(crate) type ReadConstraint = for<'d> fn(Value<'d>, u32) -> Read<'d, Option<Filter<'d>>>;

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
pub(crate) fn os<'d>(value: Value<'d>) -> Read<'d, Option<Filter<'d>>> {
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

pub(crate) fn is<'d>(
    variable: &'static [u8],
    op: RelOp,
    text: &'d [u8],
    negations: u32,
) -> Filter<'d> {
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
pub(crate) fn old_extra_sources<'d>(value: Value<'d>) -> Read<'d, Vec<(&'d [u8], Source<'d>)>> {
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

pub(crate) fn source<'d>(item: Item<'d>, problems: &mut Vec<Problem>) -> Read<'d, Source<'d>> {
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

pub(crate) fn with_filter(value: u32, filter: Option<&Filter<'_>>, builder: &mut Builder) -> u32 {
    match filter.and_then(|filter| filter.print(builder)) {
        Some(filter) => builder.option(value, [filter]),
        None => value,
    }
}

pub(crate) fn print_command(command: &Command<'_>, builder: &mut Builder) -> u32 {
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

pub(crate) fn print_binding(binding: &Binding<'_>, builder: &mut Builder) -> u32 {
    let variable = builder.ident(binding.variable);
    let value = builder.string(binding.value);
    let binding = builder.binding(binding.op, variable, value);
    builder.list([binding])
}

pub(crate) fn print_feature(feature: &Feature<'_>, builder: &mut Builder) -> u32 {
    let variable = builder.ident(feature.variable);
    let depends = print_dependencies(LogOp::And, &feature.depends, builder);
    let with_depends = builder.option(variable, depends);
    let description = builder.string(feature.description);
    builder.option(with_depends, [description])
}

pub(crate) fn print_pair(first: &[u8], second: &[u8], builder: &mut Builder) -> u32 {
    let (first, second) = (builder.string(first), builder.string(second));
    builder.list([first, second])
}
