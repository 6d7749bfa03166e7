//! Filters and package formulas: read from values, changed as opam changes them on reading, and turned back.
//!
//! The rules are those of `OpamFormat` and `OpamFormula` of opam 2.5. There `&` and `|` take two operands; here a chain
//! that opam nests to the left is one node, which says the same and keeps long chains flat.

use std::borrow::Cow;

use crate::package::{valid_name, valid_version};
use crate::value::{Builder, Kind, LogOp, PrefixOp, RelOp, Value, Values};

/// What is wrong with a value, and which value.
pub(crate) struct Wrong<'d> {
    pub(crate) value: Option<Value<'d>>,
    pub(crate) what: Cow<'static, str>,
}

impl<'d> Wrong<'d> {
    pub(crate) fn expected(value: Value<'d>, what: &'static str) -> Wrong<'d> {
        Wrong {
            value: Some(value),
            what: format!("expected {what}").into(),
        }
    }

    pub(crate) fn new(value: Value<'d>, what: impl Into<Cow<'static, str>>) -> Wrong<'d> {
        Wrong {
            value: Some(value),
            what: what.into(),
        }
    }
}

/// A condition on variables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter<'d> {
    Bool(bool),
    String(Cow<'d, [u8]>),
    Ident(Cow<'d, [u8]>),
    Relation(RelOp, Box<Filter<'d>>, Box<Filter<'d>>),
    /// Two or more, read from the left; the first is not joined by the same operator.
    Joined(LogOp, Vec<Filter<'d>>),
    Not(Box<Filter<'d>>),
    Defined(Box<Filter<'d>>),
}

/// Alternatives and conjunctions of something.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Formula<A> {
    #[default]
    Empty,
    Atom(A),
    Block(Box<Formula<A>>),
    /// Two or more, read from the left; the first is not joined by the same operator.
    Joined(LogOp, Vec<Formula<A>>),
}

/// A package and what is asked of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dependency<'d> {
    pub(crate) name: &'d [u8],
    pub(crate) conditions: Formula<Condition<'d>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition<'d> {
    Version(RelOp, Version<'d>),
    Filter(Filter<'d>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Version<'d> {
    Text(&'d [u8]),
    Variable(&'d [u8]),
}

pub(crate) type Dependencies<'d> = Formula<Dependency<'d>>;

impl<'d> Filter<'d> {
    /// The filter between braces, if there is anything between them.
    pub(crate) fn optional(
        values: Values<'d>,
        owner: Value<'d>,
    ) -> Result<Option<Filter<'d>>, Wrong<'d>> {
        if values.is_empty() {
            Ok(None)
        } else {
            Filter::single(values, owner).map(Some)
        }
    }

    /// No filter at all is `true`; a group counts as what it holds, but must hold one filter.
    pub(crate) fn single(
        mut values: Values<'d>,
        owner: Value<'d>,
    ) -> Result<Filter<'d>, Wrong<'d>> {
        let wrong = || Wrong::new(owner, "expected a single filter expression");
        let Some(first) = values.next() else {
            return Ok(Filter::Bool(true));
        };
        if !values.is_empty() {
            return Err(wrong());
        }
        match first.kind() {
            Kind::Group(inner) => Filter::read(inner.single().ok_or_else(wrong)?),
            _ => Filter::read(first),
        }
    }

    pub(crate) fn read(value: Value<'d>) -> Result<Filter<'d>, Wrong<'d>> {
        Ok(match value.kind() {
            Kind::Bool(value) => Filter::Bool(value),
            Kind::String(text) => Filter::String(text.into()),
            Kind::Int(int) => Filter::String(int.to_string().into_bytes().into()),
            Kind::Ident(name) => Filter::Ident(name.into()),
            Kind::Group(values) => Filter::single(values, value)?,
            Kind::Relation(op, left, right) => Filter::Relation(
                op,
                Box::new(Filter::read(left)?),
                Box::new(Filter::read(right)?),
            ),
            Kind::Prefix(PrefixOp::Not, inner) => Filter::Not(Box::new(Filter::read(inner)?)),
            Kind::Prefix(PrefixOp::Defined, inner) => {
                Filter::Defined(Box::new(Filter::read(inner)?))
            }
            Kind::Logical(op, operands) => {
                Filter::joined(op, operands.map(Filter::read).collect::<Result<_, _>>()?)
            }
            _ => return Err(Wrong::expected(value, "filter-expression")),
        })
    }

    pub(crate) fn joined(op: LogOp, mut operands: Vec<Filter<'d>>) -> Filter<'d> {
        if let Some(Filter::Joined(first_op, first)) = operands.first_mut()
            && *first_op == op
        {
            let mut flat = std::mem::take(first);
            flat.extend(operands.drain(1..));
            operands = flat;
        }
        Filter::Joined(op, operands)
    }

    /// The value, or nothing for a filter that always holds.
    pub(crate) fn print(&self, builder: &mut Builder) -> Option<u32> {
        match self {
            Filter::Bool(true) => None,
            _ => Some(self.print_in(Context::Or, builder)),
        }
    }

    fn print_in(&self, context: Context, builder: &mut Builder) -> u32 {
        let (value, grouped) = match self {
            Filter::Bool(value) => (builder.bool(*value), false),
            Filter::String(text) => (builder.string(text), false),
            Filter::Ident(name) => (builder.ident(name), false),
            Filter::Relation(op, left, right) => {
                let left = left.print_in(Context::Relation, builder);
                let right = right.print_in(Context::Relation, builder);
                (
                    builder.relation(*op, left, right),
                    !matches!(context, Context::Or | Context::And),
                )
            }
            Filter::Joined(op, operands) => {
                let inner = if *op == LogOp::Or {
                    Context::Or
                } else {
                    Context::And
                };
                let operands: Vec<u32> = operands
                    .iter()
                    .map(|operand| operand.print_in(inner, builder))
                    .collect();
                (
                    builder.logical(*op, operands),
                    context != Context::Or && context != inner,
                )
            }
            Filter::Not(inner) => {
                let inner = inner.print_in(Context::Prefix, builder);
                (
                    builder.prefix(PrefixOp::Not, inner),
                    context == Context::Relation,
                )
            }
            Filter::Defined(inner) => {
                let inner = inner.print_in(Context::Prefix, builder);
                (
                    builder.prefix(PrefixOp::Defined, inner),
                    context == Context::Relation,
                )
            }
        };
        if grouped {
            builder.group([value])
        } else {
            value
        }
    }
}

/// What a filter stands in, which decides about its parentheses.
#[derive(Clone, Copy, PartialEq)]
enum Context {
    Or,
    And,
    Prefix,
    Relation,
}

impl<A> Formula<A> {
    /// From the left; what is empty does not count.
    pub(crate) fn joined(op: LogOp, operands: Vec<Formula<A>>) -> Formula<A> {
        let mut flat = Vec::with_capacity(operands.len());
        for operand in operands {
            match operand {
                Formula::Empty => {}
                Formula::Joined(first_op, first) if first_op == op && flat.is_empty() => {
                    flat = first
                }
                operand => flat.push(operand),
            }
        }
        match flat.len() {
            0 => Formula::Empty,
            1 => flat.pop().unwrap_or(Formula::Empty),
            _ => Formula::Joined(op, flat),
        }
    }

    /// All `&` become `|`.
    fn into_disjunction(self) -> Formula<A> {
        match self {
            Formula::Block(inner) => Formula::Block(Box::new(inner.into_disjunction())),
            Formula::Joined(_, operands) => Formula::joined(
                LogOp::Or,
                operands
                    .into_iter()
                    .map(Formula::into_disjunction)
                    .collect(),
            ),
            other => other,
        }
    }

    /// The alternatives, looking into blocks.
    fn into_alternatives(self, alternatives: &mut Vec<Formula<A>>) {
        match self {
            Formula::Empty => {}
            Formula::Block(inner) => inner.into_alternatives(alternatives),
            Formula::Joined(LogOp::Or, operands) => {
                operands
                    .into_iter()
                    .for_each(|operand| operand.into_alternatives(alternatives));
            }
            other => alternatives.push(other),
        }
    }

    fn into_atoms(self, atoms: &mut Vec<Formula<A>>) {
        match self {
            Formula::Empty => {}
            Formula::Atom(_) => atoms.push(self),
            Formula::Block(inner) => inner.into_atoms(atoms),
            Formula::Joined(_, operands) => operands
                .into_iter()
                .for_each(|operand| operand.into_atoms(atoms)),
        }
    }

    fn alternatives_are_atoms(&self) -> bool {
        match self {
            Formula::Empty | Formula::Atom(_) => true,
            Formula::Block(inner) => inner.alternatives_are_atoms(),
            Formula::Joined(LogOp::Or, operands) => {
                operands.iter().all(Formula::alternatives_are_atoms)
            }
            Formula::Joined(LogOp::And, _) => false,
        }
    }

    /// Visits the atoms from the left.
    pub(crate) fn each_atom(&self, visit: &mut dyn FnMut(&A)) {
        match self {
            Formula::Empty => {}
            Formula::Atom(atom) => visit(atom),
            Formula::Block(inner) => inner.each_atom(visit),
            Formula::Joined(_, operands) => {
                operands.iter().for_each(|operand| operand.each_atom(visit));
            }
        }
    }
}

/// Reads a package formula. The elements of the list are joined by `op`.
pub(crate) fn read_dependencies<'d>(
    op: LogOp,
    value: Value<'d>,
) -> Result<Dependencies<'d>, Wrong<'d>> {
    match value.kind() {
        Kind::List(values) => read_dependency_row(op, values),
        _ => read_dependency(op, value),
    }
}

pub(crate) fn read_dependency_row<'d>(
    op: LogOp,
    values: Values<'d>,
) -> Result<Dependencies<'d>, Wrong<'d>> {
    let elements = values
        .map(|value| read_dependency(op, value))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Formula::joined(op, elements))
}

fn read_dependency<'d>(op: LogOp, value: Value<'d>) -> Result<Dependencies<'d>, Wrong<'d>> {
    Ok(match value.kind() {
        Kind::String(name) => {
            let name = package_name(value, name)?;
            Formula::Atom(Dependency {
                name,
                conditions: Formula::Empty,
            })
        }
        Kind::Option(name, conditions) => {
            let text = name
                .as_string()
                .ok_or_else(|| Wrong::expected(name, "pkg-name"))?;
            let name = package_name(name, text)?;
            Formula::Atom(Dependency {
                name,
                conditions: read_conditions(conditions, 0)?,
            })
        }
        Kind::Group(values) => Formula::Block(Box::new(read_dependency_row(op, values)?)),
        Kind::Logical(found, operands) => {
            let operands = operands
                .map(|operand| read_dependency(op, operand))
                .collect::<Result<Vec<_>, _>>()?;
            Formula::joined(found, operands)
        }
        _ => return Err(Wrong::expected(value, "pkg-formula")),
    })
}

pub(crate) fn package_name<'d>(value: Value<'d>, name: &'d [u8]) -> Result<&'d [u8], Wrong<'d>> {
    match valid_name(name) {
        Some(_) => Ok(name),
        None => Err(Wrong::new(
            value,
            format!("`{}` is not a package name", name.escape_ascii()),
        )),
    }
}

fn read_conditions<'d>(
    values: Values<'d>,
    negations: u32,
) -> Result<Formula<Condition<'d>>, Wrong<'d>> {
    let elements = values
        .map(|value| read_condition(value, negations))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Formula::joined(LogOp::And.negated(negations), elements))
}

/// A negation is carried out at once: comparisons turn round, `&` and `|` change places, filters get a `!`.
fn read_condition<'d>(
    value: Value<'d>,
    negations: u32,
) -> Result<Formula<Condition<'d>>, Wrong<'d>> {
    Ok(match value.kind() {
        Kind::PrefixRelation(op, version) => {
            let op = if negations.is_multiple_of(2) {
                op
            } else {
                op.negated()
            };
            Formula::Atom(Condition::Version(op, Version::read(version)?))
        }
        Kind::Logical(op, operands) => {
            let operands = operands
                .map(|operand| read_condition(operand, negations))
                .collect::<Result<Vec<_>, _>>()?;
            Formula::joined(op.negated(negations), operands)
        }
        Kind::Group(values) => Formula::Block(Box::new(read_conditions(values, negations)?)),
        Kind::Prefix(PrefixOp::Not, _) if negations == NEGATIONS_MAX => {
            return Err(Wrong::new(
                value,
                format!("more than {NEGATIONS_MAX} negations of one condition"),
            ));
        }
        Kind::Prefix(PrefixOp::Not, inner) => read_condition(inner, negations + 1)?,
        _ => {
            let filter = Filter::read(value)?;
            let negated = (0..negations).fold(filter, |filter, _| Filter::Not(Box::new(filter)));
            Formula::Atom(Condition::Filter(negated))
        }
    })
}

/// A small file must not become a large formula, and one `!` before a group is one `!` for each filter in it.
const NEGATIONS_MAX: u32 = 4;

impl<'d> Version<'d> {
    fn read(value: Value<'d>) -> Result<Version<'d>, Wrong<'d>> {
        match value.kind() {
            Kind::String(text) if valid_version(&without_variables(text)).is_some() => {
                Ok(Version::Text(text))
            }
            Kind::String(text) => Err(Wrong::new(
                value,
                format!("invalid version `{}`", text.escape_ascii()),
            )),
            Kind::Ident(name) => Ok(Version::Variable(name)),
            _ => Err(Wrong::expected(value, "version-expr")),
        }
    }
}

/// A version as opam checks it: variables stand for a dash.
fn without_variables(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return text.into();
    }
    let mut expanded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let variable = after.strip_prefix(b"{").filter(|_| *byte == b'%');
        rest = match (
            variable,
            variable.and_then(|name| name.windows(2).position(|end| end == b"}%")),
        ) {
            (Some(name), Some(end)) => {
                expanded.push(b'-');
                name.get(end + 2..).unwrap_or_default()
            }
            // Without an end it is no variable, and `%` is not allowed in a version.
            (Some(_), None) => return text.into(),
            (None, _) if rest.starts_with(b"%%") => return text.into(),
            (None, _) => {
                expanded.push(*byte);
                after
            }
        };
    }
    expanded.into()
}

/// Optional dependencies are a plain row of alternatives. The atoms of anything else come out in reverse, as in opam.
pub(crate) fn as_plain_alternatives(depopts: Dependencies<'_>) -> Dependencies<'_> {
    let mut alternatives = Vec::new();
    depopts.into_alternatives(&mut alternatives);
    let mut atoms = Vec::with_capacity(alternatives.len());
    for alternative in alternatives {
        let from = atoms.len();
        alternative.into_atoms(&mut atoms);
        atoms.get_mut(from..).unwrap_or_default().reverse();
    }
    Formula::joined(LogOp::Or, atoms)
}

/// Conflicts are alternatives; what was written with `&` counts as if written with `|`.
pub(crate) fn as_conflicts(conflicts: Dependencies<'_>) -> Dependencies<'_> {
    if conflicts.alternatives_are_atoms() {
        conflicts
    } else {
        conflicts.into_disjunction()
    }
}

/// The elements a formula is printed as: split where the elements of the list were joined.
pub(crate) fn print_dependencies(
    op: LogOp,
    formula: &Dependencies<'_>,
    builder: &mut Builder,
) -> Vec<u32> {
    let mut elements = Vec::new();
    split(op, formula, &mut elements);
    elements
        .into_iter()
        .map(|element| print_dependency(element, false, builder))
        .collect()
}

fn split<'f, 'd>(
    op: LogOp,
    formula: &'f Dependencies<'d>,
    elements: &mut Vec<&'f Dependencies<'d>>,
) {
    match formula {
        Formula::Empty => {}
        Formula::Joined(found, operands) if *found == op => {
            operands
                .iter()
                .for_each(|operand| split(op, operand, elements));
        }
        Formula::Block(inner)
            if op == LogOp::Or && matches!(**inner, Formula::Joined(LogOp::Or, _)) =>
        {
            split(op, inner, elements);
        }
        _ => elements.push(formula),
    }
}

fn print_dependency(formula: &Dependencies<'_>, in_and: bool, builder: &mut Builder) -> u32 {
    match formula {
        Formula::Empty => builder.group([]),
        Formula::Atom(dependency) => {
            let name = builder.string(dependency.name);
            match print_conditions(&dependency.conditions, builder) {
                Some(conditions) => builder.option(name, [conditions]),
                None => name,
            }
        }
        Formula::Block(inner) if matches!(**inner, Formula::Empty) => builder.group([]),
        Formula::Block(inner) => {
            let inner = print_dependency(inner, false, builder);
            builder.group([inner])
        }
        Formula::Joined(op, operands) => {
            let is_and = *op == LogOp::And;
            let operands: Vec<u32> = operands
                .iter()
                .map(|operand| print_dependency(operand, is_and, builder))
                .collect();
            let value = builder.logical(*op, operands);
            if in_and && !is_and {
                builder.group([value])
            } else {
                value
            }
        }
    }
}

fn print_conditions(conditions: &Formula<Condition<'_>>, builder: &mut Builder) -> Option<u32> {
    match conditions {
        Formula::Empty => None,
        _ => Some(print_condition(conditions, false, builder)),
    }
}

fn print_condition(formula: &Formula<Condition<'_>>, in_and: bool, builder: &mut Builder) -> u32 {
    match formula {
        Formula::Empty => builder.group([]),
        Formula::Atom(Condition::Version(op, version)) => {
            let version = match version {
                Version::Text(text) => builder.string(text),
                Version::Variable(name) => builder.ident(name),
            };
            builder.prefix_relation(*op, version)
        }
        Formula::Atom(Condition::Filter(filter)) => match filter.print(builder) {
            Some(value) => value,
            None => builder.group([]),
        },
        Formula::Block(inner) => {
            let inner = print_conditions(inner, builder);
            builder.group(inner)
        }
        Formula::Joined(op, operands) => {
            let is_and = *op == LogOp::And;
            let operands: Vec<u32> = operands
                .iter()
                .map(|operand| print_condition(operand, is_and, builder))
                .collect();
            let value = builder.logical(*op, operands);
            if in_and && !is_and {
                builder.group([value])
            } else {
                value
            }
        }
    }
}
