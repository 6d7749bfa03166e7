//! What the parser builds: fields, sections and values, each with its place in the text.
//!
//! All values of a document lie in one vector and all bytes in one buffer, so reading a file takes a handful of
//! allocations, and dropping a deeply nested one takes no recursion. `Value`, `Item` and their iterators are small
//! handles into the document.

use std::fmt;
use std::sync::OnceLock;

/// A whole opam file as it was written, before anything is known about its fields.
pub struct Document {
    /// The bytes of the file, followed by the decoded form of every string that needs decoding.
    text: Vec<u8>,
    source_len: usize,
    line_starts: OnceLock<Vec<u32>>,
    nodes: Vec<Node>,
    entries: Vec<Entry>,
    first_entry: u32,
}

/// A place in a file: `line` starts at 1, `column` at 0 and counts bytes, as opam prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Bytes since the last line feed, from 0.
    pub column: usize,
}

/// A range of byte offsets in the file, `stop` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub stop: u32,
}

/// Comparisons: `=`, `!=`, `<`, `<=`, `>`, `>=`. The lexer reads `~` as `>=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelOp {
    /// `=`
    Eq,
    /// `!=`
    Neq,
    /// `<`
    Lt,
    /// `<=`
    Leq,
    /// `>`
    Gt,
    /// `>=`, also written `~`
    Geq,
}

/// What joins two values: `&` or `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOp {
    /// `&`
    And,
    /// `|`
    Or,
}

/// Operators before a value: `!` and `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixOp {
    /// `!`
    Not,
    /// `?`
    Defined,
}

/// Changes to an environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvOp {
    /// `=`, which the grammar reads as a relation; only typed fields know it as an update.
    Eq,
    /// `+=`
    PlusEq,
    /// `=+`
    EqPlus,
    /// `=+=`
    EqPlusEq,
    /// `:=`
    ColonEq,
    /// `=:`
    EqColon,
}

impl RelOp {
    /// As it is written in a file.
    pub fn text(self) -> &'static str {
        match self {
            RelOp::Eq => "=",
            RelOp::Neq => "!=",
            RelOp::Lt => "<",
            RelOp::Leq => "<=",
            RelOp::Gt => ">",
            RelOp::Geq => ">=",
        }
    }

    /// The comparison that holds exactly when this one does not.
    pub fn negated(self) -> RelOp {
        match self {
            RelOp::Eq => RelOp::Neq,
            RelOp::Neq => RelOp::Eq,
            RelOp::Lt => RelOp::Geq,
            RelOp::Leq => RelOp::Gt,
            RelOp::Gt => RelOp::Leq,
            RelOp::Geq => RelOp::Lt,
        }
    }
}

impl LogOp {
    /// As it is written in a file.
    pub fn text(self) -> &'static str {
        match self {
            LogOp::And => "&",
            LogOp::Or => "|",
        }
    }
}

impl LogOp {
    /// What it becomes when that many negations are carried out.
    pub(crate) fn negated(self, negations: u32) -> LogOp {
        match (self, negations % 2) {
            (LogOp::And, 1) => LogOp::Or,
            (LogOp::Or, 1) => LogOp::And,
            (op, _) => op,
        }
    }
}

impl PrefixOp {
    /// As it is written in a file.
    pub fn text(self) -> &'static str {
        match self {
            PrefixOp::Not => "!",
            PrefixOp::Defined => "?",
        }
    }
}

impl EnvOp {
    /// As it is written in a file.
    pub fn text(self) -> &'static str {
        match self {
            EnvOp::Eq => "=",
            EnvOp::PlusEq => "+=",
            EnvOp::EqPlus => "=+",
            EnvOp::EqPlusEq => "=+=",
            EnvOp::ColonEq => ":=",
            EnvOp::EqColon => "=:",
        }
    }
}

/// One value, seen one level deep.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'d> {
    /// `true` or `false`
    Bool(bool),
    /// A decimal integer of 63 bits, as OCaml has them.
    Int(i64),
    /// A word such as `with-test` or `foo:installed`.
    Ident(&'d [u8]),
    /// A string, escapes already replaced.
    String(&'d [u8]),
    /// `[ … ]`
    List(Values<'d>),
    /// `( … )`
    Group(Values<'d>),
    /// `value { … }`
    Option(Value<'d>, Values<'d>),
    /// `a & b & c`: two or more operands, to be read from the left, `(a & b) & c`. The first operand never has the same
    /// operator.
    Logical(LogOp, Values<'d>),
    /// `a >= b`, both sides atoms.
    Relation(RelOp, Value<'d>, Value<'d>),
    /// `A += b`, both sides atoms.
    Binding(EnvOp, Value<'d>, Value<'d>),
    /// `!a`
    Prefix(PrefixOp, Value<'d>),
    /// `>= b`
    PrefixRelation(RelOp, Value<'d>),
}

/// A value of a document.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document,
    id: u32,
}

/// Values one after the other, as between the brackets of a list.
#[derive(Clone, Copy)]
pub struct Values<'d> {
    document: &'d Document,
    next: u32,
}

/// A field or a section.
#[derive(Clone, Copy)]
pub struct Item<'d> {
    document: &'d Document,
    id: u32,
}

/// The fields and sections of a file or of a section, in the order of the file.
#[derive(Clone, Copy)]
pub struct Items<'d> {
    document: &'d Document,
    next: u32,
}

/// What an item is.
#[derive(Clone, Copy, Debug)]
pub enum ItemKind<'d> {
    /// `name: value`
    Field(&'d [u8], Value<'d>),
    /// `kind "title" { … }`
    Section {
        /// The word before the braces.
        kind: &'d [u8],
        /// The string between the word and the braces, if there is one.
        title: Option<&'d [u8]>,
        /// What is between the braces.
        items: Items<'d>,
    },
}

impl Document {
    /// Every field and section of the file, in order.
    pub fn items(&self) -> Items<'_> {
        Items {
            document: self,
            next: self.first_entry,
        }
    }

    /// The value of the first field of that name at top level.
    pub fn field(&self, name: &str) -> Option<Value<'_>> {
        self.items().field(name)
    }

    /// The bytes this document was read from.
    pub fn source(&self) -> &[u8] {
        self.text.get(..self.source_len).unwrap_or_default()
    }

    /// Line and column of a byte offset.
    pub fn position(&self, offset: u32) -> Position {
        let starts = self.line_starts.get_or_init(|| line_starts(self.source()));
        let line = starts.partition_point(|&start| start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|i| starts.get(i))
            .copied()
            .unwrap_or(0);
        Position {
            line,
            column: (offset - start) as usize,
        }
    }

    fn slice(&self, text: Text) -> &[u8] {
        let start = text.start as usize;
        self.text
            .get(start..start + text.len as usize)
            .unwrap_or_default()
    }

    fn node(&self, id: u32) -> &Node {
        // OK because ids are handed out by `Builder` alone, for nodes it has pushed.
        &self.nodes[id as usize]
    }

    fn entry(&self, id: u32) -> &Entry {
        // OK because ids are handed out by `Builder` alone, for entries it has pushed.
        &self.entries[id as usize]
    }

    pub(crate) fn item(&self, id: u32) -> Item<'_> {
        Item { document: self, id }
    }
}

fn line_starts(source: &[u8]) -> Vec<u32> {
    let after_line_feeds = source
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'\n')
        .map(|(i, _)| offset(i + 1));
    std::iter::once(0).chain(after_line_feeds).collect()
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items()).finish()
    }
}

impl<'d> Value<'d> {
    /// What the value is, one level deep.
    pub fn kind(self) -> Kind<'d> {
        let document = self.document;
        let node = document.node(self.id);
        let value = |id| Value { document, id };
        let values = |next| Values { document, next };
        match node.shape {
            Shape::Bool(value) => Kind::Bool(value),
            Shape::Int(value) => Kind::Int(value),
            Shape::Ident(text) => Kind::Ident(document.slice(text)),
            Shape::String(text) => Kind::String(document.slice(text)),
            Shape::List(first) => Kind::List(values(first)),
            Shape::Group(first) => Kind::Group(values(first)),
            Shape::Option(inner, first) => Kind::Option(value(inner), values(first)),
            Shape::Logical(op, first) => Kind::Logical(op, values(first)),
            Shape::Relation(op, left, right) => Kind::Relation(op, value(left), value(right)),
            Shape::Binding(op, left, right) => Kind::Binding(op, value(left), value(right)),
            Shape::Prefix(op, inner) => Kind::Prefix(op, value(inner)),
            Shape::PrefixRelation(op, inner) => Kind::PrefixRelation(op, value(inner)),
        }
    }

    /// Where it stands in the file.
    pub fn span(self) -> Span {
        self.document.node(self.id).span
    }

    /// Line and column of its first byte.
    pub fn position(self) -> Position {
        self.document.position(self.span().start)
    }

    /// The bytes of a string; `None` for anything else.
    pub fn as_string(self) -> Option<&'d [u8]> {
        match self.kind() {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a list; `None` for anything else.
    pub fn as_list(self) -> Option<Values<'d>> {
        match self.kind() {
            Kind::List(values) => Some(values),
            _ => None,
        }
    }
}

/// Equal in shape, wherever they stand.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Value<'_>) -> bool {
        match (self.kind(), other.kind()) {
            (Kind::Bool(a), Kind::Bool(b)) => a == b,
            (Kind::Int(a), Kind::Int(b)) => a == b,
            (Kind::Ident(a), Kind::Ident(b)) | (Kind::String(a), Kind::String(b)) => a == b,
            (Kind::List(a), Kind::List(b)) | (Kind::Group(a), Kind::Group(b)) => a.eq(b),
            (Kind::Option(a, c), Kind::Option(b, d)) => a == b && c.eq(d),
            (Kind::Logical(op, a), Kind::Logical(other_op, b)) => op == other_op && a.eq(b),
            (Kind::Relation(op, a, c), Kind::Relation(other_op, b, d)) => {
                op == other_op && a == b && c == d
            }
            (Kind::Binding(op, a, c), Kind::Binding(other_op, b, d)) => {
                op == other_op && a == b && c == d
            }
            (Kind::Prefix(op, a), Kind::Prefix(other_op, b)) => op == other_op && a == b,
            (Kind::PrefixRelation(op, a), Kind::PrefixRelation(other_op, b)) => {
                op == other_op && a == b
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl<'d> Values<'d> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.next == NONE
    }

    /// The value, if there is exactly one.
    pub fn single(mut self) -> Option<Value<'d>> {
        let first = self.next()?;
        self.is_empty().then_some(first)
    }
}

impl<'d> Iterator for Values<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        if self.next == NONE {
            return None;
        }
        let value = Value {
            document: self.document,
            id: self.next,
        };
        self.next = self.document.node(self.next).next;
        Some(value)
    }
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl<'d> Item<'d> {
    /// What the item is.
    pub fn kind(self) -> ItemKind<'d> {
        let document = self.document;
        let entry = document.entry(self.id);
        let name = document.slice(entry.name);
        match entry.content {
            Content::Field(id) => ItemKind::Field(name, Value { document, id }),
            Content::Section { title, first } => ItemKind::Section {
                kind: name,
                title: title.map(|title| document.slice(title)),
                items: Items {
                    document,
                    next: first,
                },
            },
        }
    }

    /// Where it stands: from its name to the end of its value, or to the closing brace.
    pub fn span(self) -> Span {
        self.document.entry(self.id).span
    }

    /// Line and column of its first byte.
    pub fn position(self) -> Position {
        self.document.position(self.span().start)
    }

    /// The bytes it was read from.
    pub fn source(self) -> &'d [u8] {
        let span = self.span();
        self.document
            .source()
            .get(span.start as usize..span.stop as usize)
            .unwrap_or_default()
    }

    pub(crate) fn id(self) -> u32 {
        self.id
    }
}

impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl<'d> Items<'d> {
    /// The value of the first field of that name.
    pub fn field(self, name: &str) -> Option<Value<'d>> {
        self.into_iter().find_map(|item| match item.kind() {
            ItemKind::Field(field, value) if field == name.as_bytes() => Some(value),
            _ => None,
        })
    }
}

impl<'d> Iterator for Items<'d> {
    type Item = Item<'d>;

    fn next(&mut self) -> Option<Item<'d>> {
        if self.next == NONE {
            return None;
        }
        let item = self.document.item(self.next);
        self.next = self.document.entry(self.next).next;
        Some(item)
    }
}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Bytes of `Document::text`.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// The end of a chain of siblings.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Bool(bool),
    Int(i64),
    Ident(Text),
    String(Text),
    List(u32),
    Group(u32),
    Option(u32, u32),
    Logical(LogOp, u32),
    Relation(RelOp, u32, u32),
    Binding(EnvOp, u32, u32),
    Prefix(PrefixOp, u32),
    PrefixRelation(RelOp, u32),
}

struct Node {
    shape: Shape,
    span: Span,
    next: u32,
}

#[derive(Clone, Copy)]
pub(crate) enum Content {
    Field(u32),
    Section { title: Option<Text>, first: u32 },
}

struct Entry {
    name: Text,
    content: Content,
    span: Span,
    next: u32,
}

/// A chain of siblings while it grows.
pub(crate) struct Chain {
    first: u32,
    last: u32,
}

impl Chain {
    pub(crate) fn new() -> Chain {
        Chain {
            first: NONE,
            last: NONE,
        }
    }

    pub(crate) fn first(&self) -> u32 {
        self.first
    }
}

/// Makes a document; only the parser does.
pub(crate) struct Builder(Document);

impl Builder {
    pub(crate) fn new(source: &[u8]) -> Builder {
        // Guesses from real switch exports: few strings have escapes, and a value takes about twelve bytes.
        let mut text = Vec::with_capacity(source.len() + source.len() / 32);
        text.extend_from_slice(source);
        Builder(Document {
            text,
            source_len: source.len(),
            line_starts: OnceLock::new(),
            nodes: Vec::with_capacity(source.len() / 16),
            entries: Vec::new(),
            first_entry: NONE,
        })
    }

    /// The buffer for decoded strings. Only ever append to it.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.0.text
    }

    pub(crate) fn slice(&self, text: Text) -> &[u8] {
        self.0.slice(text)
    }

    pub(crate) fn value(&mut self, shape: Shape, span: Span) -> u32 {
        let id = offset(self.0.nodes.len());
        self.0.nodes.push(Node {
            shape,
            span,
            next: NONE,
        });
        id
    }

    pub(crate) fn span(&self, value: u32) -> Span {
        self.0.node(value).span
    }

    pub(crate) fn append_value(&mut self, chain: &mut Chain, value: u32) {
        match self.0.nodes.get_mut(chain.last as usize) {
            Some(last) => last.next = value,
            None => chain.first = value,
        }
        chain.last = value;
    }

    pub(crate) fn append_item(
        &mut self,
        chain: &mut Chain,
        name: Text,
        content: Content,
        span: Span,
    ) {
        let id = offset(self.0.entries.len());
        self.0.entries.push(Entry {
            name,
            content,
            span,
            next: NONE,
        });
        match self.0.entries.get_mut(chain.last as usize) {
            Some(last) => last.next = id,
            None => chain.first = id,
        }
        chain.last = id;
    }

    /// A value that was made rather than read; it has no place.
    fn made(&mut self, shape: Shape) -> u32 {
        self.value(shape, Span { start: 0, stop: 0 })
    }

    fn chained(&mut self, values: impl IntoIterator<Item = u32>) -> u32 {
        let mut chain = Chain::new();
        for value in values {
            self.append_value(&mut chain, value);
        }
        chain.first()
    }

    pub(crate) fn push_text(&mut self, bytes: &[u8]) -> Text {
        let text = Text {
            start: offset(self.0.text.len()),
            len: offset(bytes.len()),
        };
        self.0.text.extend_from_slice(bytes);
        text
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) -> u32 {
        let text = self.push_text(bytes);
        self.made(Shape::String(text))
    }

    pub(crate) fn ident(&mut self, bytes: &[u8]) -> u32 {
        let text = self.push_text(bytes);
        self.made(Shape::Ident(text))
    }

    pub(crate) fn bool(&mut self, value: bool) -> u32 {
        self.made(Shape::Bool(value))
    }

    pub(crate) fn list(&mut self, values: impl IntoIterator<Item = u32>) -> u32 {
        let first = self.chained(values);
        self.made(Shape::List(first))
    }

    pub(crate) fn group(&mut self, values: impl IntoIterator<Item = u32>) -> u32 {
        let first = self.chained(values);
        self.made(Shape::Group(first))
    }

    pub(crate) fn option(&mut self, value: u32, values: impl IntoIterator<Item = u32>) -> u32 {
        let first = self.chained(values);
        self.made(Shape::Option(value, first))
    }

    pub(crate) fn logical(&mut self, op: LogOp, values: impl IntoIterator<Item = u32>) -> u32 {
        let first = self.chained(values);
        self.made(Shape::Logical(op, first))
    }

    pub(crate) fn relation(&mut self, op: RelOp, left: u32, right: u32) -> u32 {
        self.made(Shape::Relation(op, left, right))
    }

    pub(crate) fn binding(&mut self, op: EnvOp, left: u32, right: u32) -> u32 {
        self.made(Shape::Binding(op, left, right))
    }

    pub(crate) fn prefix(&mut self, op: PrefixOp, value: u32) -> u32 {
        self.made(Shape::Prefix(op, value))
    }

    pub(crate) fn prefix_relation(&mut self, op: RelOp, value: u32) -> u32 {
        self.made(Shape::PrefixRelation(op, value))
    }

    /// The same value as in another document.
    pub(crate) fn copy(&mut self, value: Value<'_>) -> u32 {
        match value.kind() {
            Kind::Bool(value) => self.bool(value),
            Kind::Int(value) => self.made(Shape::Int(value)),
            Kind::Ident(text) => self.ident(text),
            Kind::String(text) => self.string(text),
            Kind::List(values) => {
                let values = self.copies(values);
                self.list(values)
            }
            Kind::Group(values) => {
                let values = self.copies(values);
                self.group(values)
            }
            Kind::Option(value, values) => {
                let value = self.copy(value);
                let values = self.copies(values);
                self.option(value, values)
            }
            Kind::Logical(op, values) => {
                let values = self.copies(values);
                self.logical(op, values)
            }
            Kind::Relation(op, left, right) => {
                let (left, right) = (self.copy(left), self.copy(right));
                self.relation(op, left, right)
            }
            Kind::Binding(op, left, right) => {
                let (left, right) = (self.copy(left), self.copy(right));
                self.binding(op, left, right)
            }
            Kind::Prefix(op, value) => {
                let value = self.copy(value);
                self.prefix(op, value)
            }
            Kind::PrefixRelation(op, value) => {
                let value = self.copy(value);
                self.prefix_relation(op, value)
            }
        }
    }

    fn copies(&mut self, values: Values<'_>) -> Vec<u32> {
        values.map(|value| self.copy(value)).collect()
    }

    /// Takes a list of one element apart, up to `depth` times, as opam does before it prints some fields.
    pub(crate) fn unwrapped(&self, mut value: u32, depth: u32) -> u32 {
        for _ in 0..depth {
            match self.0.node(value).shape {
                Shape::List(first) if first != NONE && self.0.node(first).next == NONE => {
                    value = first
                }
                _ => break,
            }
        }
        value
    }

    pub(crate) fn is_empty_list(&self, value: u32) -> bool {
        matches!(
            self.0.node(value).shape,
            Shape::List(NONE) | Shape::Group(NONE)
        )
    }

    pub(crate) fn append_field(&mut self, chain: &mut Chain, name: &[u8], value: u32) {
        let name = self.push_text(name);
        self.append_item(
            chain,
            name,
            Content::Field(value),
            Span { start: 0, stop: 0 },
        );
    }

    pub(crate) fn append_section(
        &mut self,
        chain: &mut Chain,
        kind: &[u8],
        title: Option<&[u8]>,
        items: &Chain,
    ) {
        let name = self.push_text(kind);
        let title = title.map(|title| self.push_text(title));
        let content = Content::Section {
            title,
            first: items.first(),
        };
        self.append_item(chain, name, content, Span { start: 0, stop: 0 });
    }

    pub(crate) fn finish(mut self, first_entry: u32) -> Document {
        self.0.first_entry = first_entry;
        self.0
    }
}

/// Offsets are kept in 32 bits: the parser refuses larger files, see `parser::FILE_BYTES_MAX`.
pub(crate) fn offset(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}
