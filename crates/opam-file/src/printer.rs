//! Documents to text, byte for byte as opam prints them.
//!
//! opam-file-format prints through OCaml's `Format`, a pretty printer after Oppen: text flows through a queue until it
//! is known whether a box fits on the line. The engine here does what `Format` does with its default margins.

use crate::value::{Document, ItemKind, Items, Kind, Value, Values};

impl Document {
    /// The whole document as text, ending with a line feed.
    ///
    /// ```
    /// let document = opam_file::Document::parse(b"build: [ make\n\"all\" ]").unwrap();
    /// assert_eq!(document.print(), b"build: [make \"all\"]\n");
    /// ```
    pub fn print(&self) -> Vec<u8> {
        let mut layout = Layout::new();
        items(&mut layout, self.items());
        layout.finish()
    }
}

fn items(layout: &mut Layout, items: Items<'_>) {
    layout.open(BoxKind::V, 0);
    for (index, item) in items.enumerate() {
        if index > 0 {
            layout.cut(0);
        }
        match item.kind() {
            ItemKind::Field(name, value) => field(layout, name, value),
            ItemKind::Section { kind, title, items } => section(layout, kind, title, items),
        }
    }
    layout.close();
}

fn section(layout: &mut Layout, kind: &[u8], title: Option<&[u8]>, inner: Items<'_>) {
    layout.open(BoxKind::V, 0);
    layout.text(kind);
    layout.text(b" ");
    if let Some(title) = title {
        layout.text(&quoted(title));
        layout.text(b" ");
    }
    layout.text(b"{");
    layout.cut(2);
    items(layout, inner);
    layout.cut(0);
    layout.text(b"}");
    layout.close();
}

fn field(layout: &mut Layout, name: &[u8], value: Value<'_>) {
    match value.kind() {
        Kind::List(list) if prints_nothing(list) => {}
        Kind::List(list) => {
            let kind = if list.into_iter().any(stands_on_its_own_line) {
                BoxKind::V
            } else {
                BoxKind::Hv
            };
            layout.open(kind, 0);
            layout.text(name);
            layout.text(b": [");
            layout.cut(2);
            layout.open(kind, 0);
            values(layout, list);
            layout.close();
            layout.cut(0);
            layout.text(b"]");
            layout.close();
        }
        Kind::String(text) if text.contains(&b'\n') => {
            layout.open(BoxKind::Hov, 0);
            layout.text(name);
            layout.text(b": ");
            string(layout, text);
            layout.close();
        }
        _ => {
            layout.open(BoxKind::Hov, 2);
            layout.text(name);
            layout.text(b":");
            layout.space();
            self::value(layout, value);
            layout.close();
        }
    }
}

/// `[]` and `[[]]`.
fn prints_nothing(list: Values<'_>) -> bool {
    list.is_empty()
        || list
            .single()
            .and_then(Value::as_list)
            .is_some_and(|inner| inner.is_empty())
}

/// One of these, and every element of the list gets a line.
fn stands_on_its_own_line(element: Value<'_>) -> bool {
    match element.kind() {
        Kind::List(_) => true,
        Kind::Option(_, filter) => !filter.is_empty(),
        _ => false,
    }
}

fn values(layout: &mut Layout, values: Values<'_>) {
    for (index, element) in values.enumerate() {
        if index > 0 {
            layout.space();
        }
        value(layout, element);
    }
}

fn value(layout: &mut Layout, value: Value<'_>) {
    match value.kind() {
        Kind::Bool(true) => layout.text(b"true"),
        Kind::Bool(false) => layout.text(b"false"),
        Kind::Int(int) => layout.text(int.to_string().as_bytes()),
        Kind::Ident(text) => layout.text(text),
        Kind::String(text) => string(layout, text),
        Kind::List(list) => {
            layout.open(BoxKind::Hv, 0);
            layout.text(b"[");
            layout.cut(2);
            layout.open(BoxKind::Hv, 0);
            values(layout, list);
            layout.close();
            layout.cut(0);
            layout.text(b"]");
            layout.close();
        }
        Kind::Group(group) => {
            layout.open(BoxKind::Hv, 0);
            layout.text(b"(");
            values(layout, group);
            layout.text(b")");
            layout.close();
        }
        Kind::Option(inner, filter) => {
            layout.open(BoxKind::Hov, 2);
            self::value(layout, inner);
            layout.space();
            layout.text(b"{");
            layout.open(BoxKind::Hv, 0);
            values(layout, filter);
            layout.close();
            layout.text(b"}");
            layout.close();
        }
        Kind::Logical(op, operands) => logical(layout, op.text(), operands),
        Kind::Relation(op, left, right) => binary(layout, left, op.text(), right),
        Kind::Binding(op, left, right) => binary(layout, left, op.text(), right),
        Kind::Prefix(op, inner) => {
            layout.open(BoxKind::H, 0);
            layout.text(op.text().as_bytes());
            self::value(layout, inner);
            layout.close();
        }
        Kind::PrefixRelation(op, inner) => {
            layout.open(BoxKind::H, 0);
            layout.text(op.text().as_bytes());
            layout.space();
            self::value(layout, inner);
            layout.close();
        }
    }
}

/// `a & b & c` is `(a & b) & c`, so one box opens before `a` for each operator.
fn logical(layout: &mut Layout, op: &str, operands: Values<'_>) {
    for _ in operands.skip(1) {
        layout.open(BoxKind::Hv, 0);
    }
    for (index, operand) in operands.enumerate() {
        if index > 0 {
            layout.text(b" ");
            layout.text(op.as_bytes());
            layout.space();
        }
        value(layout, operand);
        if index > 0 {
            layout.close();
        }
    }
}

fn binary(layout: &mut Layout, left: Value<'_>, op: &str, right: Value<'_>) {
    layout.open(BoxKind::H, 0);
    value(layout, left);
    layout.text(b" ");
    layout.text(op.as_bytes());
    layout.space();
    value(layout, right);
    layout.close();
}

fn string(layout: &mut Layout, text: &[u8]) {
    if !text.contains(&b'\n') {
        return layout.text(&quoted(text));
    }
    layout.text(b"\"\"\"");
    if !text.starts_with(b"\n") {
        layout.text(b"\\\n");
    }
    layout.text(&triple_quoted(text));
    layout.text(b"\"\"\"");
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

/// Between triple quotes a quote needs a backslash only before two more, or at the end.
fn triple_quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        if *byte == b'\\' || *byte == b'"' && (after.is_empty() || after.starts_with(b"\"\"")) {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
        rest = after;
    }
    quoted
}

const MARGIN: i64 = 78;
const INDENTATION_MAX: i64 = 68;
const INFINITE: i64 = i64::MAX / 4;

/// How a box breaks its lines: never, at every break, at all breaks or none, where needed.
#[derive(Clone, Copy, PartialEq)]
enum BoxKind {
    H,
    V,
    Hv,
    Hov,
    /// Not asked for: what a box becomes that fits on its line.
    Fits,
}

#[derive(Clone, Copy)]
enum Token {
    /// A range of `Layout::texts`.
    Text(usize, usize),
    Break {
        width: i64,
        offset: i64,
    },
    Open(BoxKind, i64),
    Close,
}

/// A token on its way to the output. A negative size is not known yet.
struct Queued {
    token: Token,
    size: i64,
    length: i64,
}

struct Layout {
    output: Vec<u8>,
    texts: Vec<u8>,
    queue: Vec<Queued>,
    head: usize,
    /// Where the queue was when a break or box came in that waits for its size.
    waiting: Vec<(i64, usize)>,
    boxes: Vec<(BoxKind, i64)>,
    left_total: i64,
    right_total: i64,
    space: i64,
}

impl Layout {
    fn new() -> Layout {
        let outermost = Queued {
            token: Token::Open(BoxKind::Hov, 0),
            size: -1,
            length: 0,
        };
        Layout {
            output: Vec::new(),
            texts: Vec::new(),
            queue: vec![outermost],
            head: 0,
            waiting: vec![(1, 0)],
            boxes: Vec::new(),
            left_total: 1,
            right_total: 1,
            space: MARGIN,
        }
    }

    fn text(&mut self, text: &[u8]) {
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        let length = i64::try_from(text.len()).unwrap_or(INFINITE);
        self.right_total += length;
        self.queue.push(Queued {
            token: Token::Text(start, self.texts.len()),
            size: length,
            length,
        });
        self.advance();
    }

    /// A blank, or a new line.
    fn space(&mut self) {
        self.break_here(1, 0);
    }

    /// Nothing, or a new line with that much more indentation.
    fn cut(&mut self, offset: i64) {
        self.break_here(0, offset);
    }

    fn break_here(&mut self, width: i64, offset: i64) {
        let size = -self.right_total;
        self.right_total += width;
        self.queue.push(Queued {
            token: Token::Break { width, offset },
            size,
            length: width,
        });
        self.set_size(false);
        self.waiting.push((self.right_total, self.queue.len() - 1));
    }

    fn open(&mut self, kind: BoxKind, indent: i64) {
        self.queue.push(Queued {
            token: Token::Open(kind, indent),
            size: -self.right_total,
            length: 0,
        });
        self.waiting.push((self.right_total, self.queue.len() - 1));
    }

    fn close(&mut self) {
        self.queue.push(Queued {
            token: Token::Close,
            size: 0,
            length: 0,
        });
        self.set_size(false);
        self.set_size(true);
    }

    /// Tells the break or the box that waits last how long it is.
    fn set_size(&mut self, of_box: bool) {
        let Some(&(mark, index)) = self.waiting.last() else {
            return;
        };
        if mark < self.left_total {
            self.waiting.clear();
            return;
        }
        let Some(queued) = self.queue.get_mut(index) else {
            return;
        };
        if matches!(queued.token, Token::Open(..)) == of_box {
            queued.size += self.right_total;
            self.waiting.pop();
        }
    }

    fn advance(&mut self) {
        while let Some(queued) = self.queue.get(self.head) {
            let known = queued.size >= 0;
            if !known && self.right_total - self.left_total < self.space {
                break;
            }
            let (token, length) = (queued.token, queued.length);
            let size = if known { queued.size } else { INFINITE };
            self.head += 1;
            self.emit(token, size);
            self.left_total += length;
        }
    }

    fn emit(&mut self, token: Token, size: i64) {
        match token {
            Token::Text(start, end) => {
                self.output
                    .extend_from_slice(self.texts.get(start..end).unwrap_or_default());
                self.space -= size;
            }
            Token::Open(kind, indent) => {
                if MARGIN - self.space > INDENTATION_MAX {
                    self.leave_deep_indentation();
                }
                let kind = if kind != BoxKind::V && size <= self.space {
                    BoxKind::Fits
                } else {
                    kind
                };
                self.boxes.push((kind, self.space - indent));
            }
            Token::Close => {
                self.boxes.pop();
            }
            Token::Break { width, offset } => match self.boxes.last() {
                Some(&(BoxKind::V | BoxKind::Hv, box_width)) => self.new_line(box_width, offset),
                Some(&(BoxKind::Hov, box_width)) if size > self.space => {
                    self.new_line(box_width, offset)
                }
                Some(_) => {
                    self.output.extend(std::iter::repeat_n(
                        b' ',
                        usize::try_from(width).unwrap_or(0),
                    ));
                    self.space -= width;
                }
                None => {}
            },
        }
    }

    fn leave_deep_indentation(&mut self) {
        if let Some(&(BoxKind::V | BoxKind::Hv | BoxKind::Hov, box_width)) = self.boxes.last()
            && box_width > self.space
        {
            self.new_line(box_width, 0);
        }
    }

    fn new_line(&mut self, box_width: i64, offset: i64) {
        let indentation = INDENTATION_MAX.min(MARGIN - box_width + offset);
        self.space = MARGIN - indentation;
        self.output.push(b'\n');
        self.output.extend(std::iter::repeat_n(
            b' ',
            usize::try_from(indentation).unwrap_or(0),
        ));
    }

    fn finish(mut self) -> Vec<u8> {
        self.right_total = INFINITE;
        self.advance();
        self.output.push(b'\n');
        self.output
    }
}
