//! Tokens to a document: the grammar of opam-file-format 2.1 and 2.2, written as a recursive descent.
//! Knows nothing of what fields mean.

use thiserror::Error;

use crate::lexer::{Lexer, Token};
use crate::value::{Builder, Chain, Content, Document, ItemKind, NONE, Shape, Span, Text};

/// Files this large or larger are refused, as places in a file are kept in 32 bits. Callers will want a smaller limit:
/// a file of many short values takes up to thirty times its size in memory.
pub const FILE_BYTES_MAX: usize = 1 << 30;

/// How deep values and sections may be nested, each operator counting as a level. Upstream has no limit; the deepest of
/// the 18,793 files of the opam repository of August 2026 has 13 levels.
pub const NESTING_MAX: u32 = 200;

/// Why a file cannot be read, and where: `line` from 1, `column` from 0 in bytes, as opam counts them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {what}")]
pub struct Error {
    /// Line, from 1.
    pub line: usize,
    /// Bytes since the start of the line, from 0.
    pub column: usize,
    /// What is wrong or what was expected.
    pub what: String,
}

impl Error {
    pub(crate) fn at(source: &[u8], offset: usize, what: String) -> Error {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Error {
            line,
            column: before.len() - line_start,
            what,
        }
    }
}

impl Document {
    /// Reads a file. Any bytes may be given.
    ///
    /// ```
    /// let document = opam_file::Document::parse(b"opam-version: \"2.0\"\nbuild: [make]").unwrap();
    /// assert_eq!(document.items().count(), 2);
    /// let error = opam_file::Document::parse(b"opam-version: \"2.0\"\nbuild: [make").unwrap_err();
    /// assert_eq!(error.to_string(), "line 2, column 12: expected a value or `]`, found the end of the file");
    /// ```
    pub fn parse(source: &[u8]) -> Result<Document, Error> {
        if source.len() >= FILE_BYTES_MAX {
            let what = format!("the file is larger than {FILE_BYTES_MAX} bytes");
            return Err(Error {
                line: 1,
                column: 0,
                what,
            });
        }
        let mut lexer = Lexer::new(source);
        let mut builder = Builder::new(source);
        let (token, span) = lexer.next(&mut builder)?;
        let mut parser = Parser {
            source,
            lexer,
            builder,
            token,
            span,
        };
        let first = parser.items(0)?;
        let document = parser.builder.finish(first);
        check_opam_version(&document)?;
        Ok(document)
    }
}

/// A file that says 2.1 or later says so once, and in its first field.
fn check_opam_version(document: &Document) -> Result<(), Error> {
    let mut versions_2_1 = false;
    for (index, item) in document.items().enumerate() {
        let ItemKind::Field(b"opam-version", value) = item.kind() else {
            continue;
        };
        let Some(version) = value.as_string().map(format_version) else {
            continue;
        };
        let what = match index {
            0 => {
                versions_2_1 = version >= (2, 1);
                continue;
            }
            _ if versions_2_1 => "`opam-version` cannot be repeated",
            _ if version > (2, 0) => "`opam-version` must be the first field of the file",
            _ => continue,
        };
        return Err(Error::at(
            document.source(),
            item.span().start as usize,
            what.to_owned(),
        ));
    }
    Ok(())
}

/// The first two numbers of an `opam-version`; what is not a number counts as 0.
pub(crate) fn format_version(version: &[u8]) -> (u64, u64) {
    let mut parts = version.split(|&byte| byte == b'.').map(leading_number);
    let major = parts.next().flatten().unwrap_or(0);
    let minor = parts.next().flatten().unwrap_or(0);
    (major, minor)
}

fn leading_number(part: &[u8]) -> Option<u64> {
    let digits = part.iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .map(|&byte| u64::from(byte - b'0'))
        .try_fold(0_u64, |value, digit| {
            value.checked_mul(10)?.checked_add(digit)
        })
}

struct Parser<'s> {
    source: &'s [u8],
    lexer: Lexer<'s>,
    builder: Builder,
    token: Token,
    span: Span,
}

/// A value and the number of levels in it. Levels are counted so that no walk over the result needs a deep stack.
#[derive(Clone, Copy)]
struct Parsed {
    id: u32,
    levels: u32,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<(), Error> {
        (self.token, self.span) = self.lexer.next(&mut self.builder)?;
        Ok(())
    }

    /// Items up to the end of the file (`depth` 0) or the closing brace, which is left for the caller.
    fn items(&mut self, depth: u32) -> Result<u32, Error> {
        self.check_depth(depth)?;
        let mut chain = Chain::new();
        loop {
            match self.token {
                Token::Ident(name) => self.item(&mut chain, name, depth)?,
                Token::End if depth == 0 => break,
                Token::RightBrace if depth > 0 => break,
                _ if depth == 0 => return Err(self.expected("a field or a section")),
                _ => return Err(self.expected("a field, a section or `}`")),
            }
        }
        Ok(chain.first())
    }

    fn item(&mut self, chain: &mut Chain, name: Text, depth: u32) -> Result<(), Error> {
        let start = self.span.start;
        self.advance()?;
        match self.token {
            Token::Colon => {
                self.advance()?;
                let value = self.value("a value", depth)?.id;
                let stop = self.builder.span(value).stop;
                self.builder
                    .append_item(chain, name, Content::Field(value), Span { start, stop });
                return Ok(());
            }
            Token::LeftBrace | Token::String(_) => {}
            _ => return Err(self.expected_after_name(name)),
        }
        let mut title = None;
        if let Token::String(text) = self.token {
            title = Some(text);
            self.advance()?;
            if !matches!(self.token, Token::LeftBrace) {
                return Err(self.expected("`{`"));
            }
        }
        self.advance()?;
        let first = self.items(depth + 1)?;
        let stop = self.span.stop;
        self.advance()?;
        self.builder.append_item(
            chain,
            name,
            Content::Section { title, first },
            Span { start, stop },
        );
        Ok(())
    }

    /// `a | b & c`: alternatives of conjunctions, both read from the left.
    fn value(&mut self, expected: &str, depth: u32) -> Result<Parsed, Error> {
        let first = self.conjunction(expected, depth)?;
        if !matches!(self.token, Token::LogOp(_)) {
            return Ok(first);
        }
        self.joined(crate::LogOp::Or, first, depth, Self::conjunction)
    }

    fn conjunction(&mut self, expected: &str, depth: u32) -> Result<Parsed, Error> {
        let first = self.prefixed(expected, depth)?;
        self.joined(crate::LogOp::And, first, depth, Self::prefixed)
    }

    fn joined(
        &mut self,
        op: crate::LogOp,
        first: Parsed,
        depth: u32,
        operand: fn(&mut Self, &str, u32) -> Result<Parsed, Error>,
    ) -> Result<Parsed, Error> {
        if !matches!(self.token, Token::LogOp(found) if found == op) {
            return Ok(first);
        }
        let start = self.builder.span(first.id).start;
        let mut last = first;
        let mut levels = first.levels;
        let mut chain = Chain::new();
        self.builder.append_value(&mut chain, first.id);
        while matches!(self.token, Token::LogOp(found) if found == op) {
            self.advance()?;
            last = operand(self, "a value", depth)?;
            levels = levels.max(last.levels);
            self.builder.append_value(&mut chain, last.id);
        }
        let span = Span {
            start,
            stop: self.builder.span(last.id).stop,
        };
        self.wrapped(Shape::Logical(op, chain.first()), span, levels, depth)
    }

    /// `!a {b}` is `!(a {b})`.
    fn prefixed(&mut self, expected: &str, depth: u32) -> Result<Parsed, Error> {
        let Token::PrefixOp(op) = self.token else {
            return self.with_options(expected, depth);
        };
        let start = self.span.start;
        self.check_depth(depth)?;
        self.advance()?;
        let inner = self.prefixed("a value", depth + 1)?;
        let span = Span {
            start,
            stop: self.builder.span(inner.id).stop,
        };
        self.wrapped(Shape::Prefix(op, inner.id), span, inner.levels, depth)
    }

    /// `a {b} {c}` is an option of an option.
    fn with_options(&mut self, expected: &str, depth: u32) -> Result<Parsed, Error> {
        let mut value = self.primary(expected, depth)?;
        while matches!(self.token, Token::LeftBrace) {
            self.advance()?;
            let start = self.builder.span(value.id).start;
            let (first, stop, levels) = self.values("a value or `}`", depth, |token| {
                matches!(token, Token::RightBrace)
            })?;
            let levels = levels.max(value.levels);
            value = self.wrapped(
                Shape::Option(value.id, first),
                Span { start, stop },
                levels,
                depth,
            )?;
        }
        Ok(value)
    }

    fn primary(&mut self, expected: &str, depth: u32) -> Result<Parsed, Error> {
        let start = self.span.start;
        match self.token {
            Token::LeftBracket => {
                self.advance()?;
                let (first, stop, levels) = self.values("a value or `]`", depth, |token| {
                    matches!(token, Token::RightBracket)
                })?;
                self.wrapped(Shape::List(first), Span { start, stop }, levels, depth)
            }
            Token::LeftParen => {
                self.advance()?;
                let (first, stop, levels) = self.values("a value or `)`", depth, |token| {
                    matches!(token, Token::RightParen)
                })?;
                self.wrapped(Shape::Group(first), Span { start, stop }, levels, depth)
            }
            Token::RelOp(op) => {
                self.advance()?;
                let atom = self.atom("a word, number or string")?;
                let span = Span {
                    start,
                    stop: self.builder.span(atom).stop,
                };
                self.wrapped(Shape::PrefixRelation(op, atom), span, 0, depth)
            }
            _ => self.atom_or_relation(expected, depth),
        }
    }

    /// Both sides of a relation are atoms, and relations do not chain: `a = b = c` is `a = b` and then `= c`.
    fn atom_or_relation(&mut self, expected: &str, depth: u32) -> Result<Parsed, Error> {
        let left = self.atom(expected)?;
        let operator = self.token;
        if !matches!(operator, Token::RelOp(_) | Token::EnvOp(_)) {
            return Ok(Parsed {
                id: left,
                levels: 0,
            });
        }
        self.advance()?;
        let right = self.atom("a word, number or string")?;
        let span = Span {
            start: self.builder.span(left).start,
            stop: self.builder.span(right).stop,
        };
        match operator {
            Token::RelOp(op) => self.wrapped(Shape::Relation(op, left, right), span, 0, depth),
            Token::EnvOp(op) => self.wrapped(Shape::Binding(op, left, right), span, 0, depth),
            _ => Ok(Parsed {
                id: left,
                levels: 0,
            }),
        }
    }

    fn atom(&mut self, expected: &str) -> Result<u32, Error> {
        let shape = match self.token {
            Token::Ident(text) => Shape::Ident(text),
            Token::String(text) => Shape::String(text),
            Token::Bool(value) => Shape::Bool(value),
            Token::Int(value) => Shape::Int(value),
            _ => return Err(self.expected(expected)),
        };
        let id = self.builder.value(shape, self.span);
        self.advance()?;
        Ok(id)
    }

    /// Values up to the closing token, which is taken: the first, the end of the closing token, and the levels.
    fn values(
        &mut self,
        expected: &str,
        depth: u32,
        closes: fn(&Token) -> bool,
    ) -> Result<(u32, u32, u32), Error> {
        self.check_depth(depth)?;
        let mut chain = Chain::new();
        let mut levels = 0;
        while !closes(&self.token) {
            let value = self.value(expected, depth + 1)?;
            levels = levels.max(value.levels);
            self.builder.append_value(&mut chain, value.id);
        }
        let stop = self.span.stop;
        self.advance()?;
        Ok((chain.first(), stop, levels))
    }

    fn wrapped(
        &mut self,
        shape: Shape,
        span: Span,
        levels: u32,
        depth: u32,
    ) -> Result<Parsed, Error> {
        let levels = levels + 1;
        if depth + levels > NESTING_MAX {
            return Err(Error::at(self.source, span.start as usize, too_deep()));
        }
        Ok(Parsed {
            id: self.builder.value(shape, span),
            levels,
        })
    }

    fn check_depth(&self, depth: u32) -> Result<(), Error> {
        match depth < NESTING_MAX {
            true => Ok(()),
            false => Err(Error::at(self.source, self.span.start as usize, too_deep())),
        }
    }

    fn expected(&self, expected: &str) -> Error {
        self.expected_with(expected, "")
    }

    /// `build:make` is one word to the lexer, which nobody expects.
    fn expected_after_name(&self, name: Text) -> Error {
        match self.builder.slice(name).contains(&b':') {
            true => self.expected_with("`:` or `{`", " (a blank is needed between `:` and a word)"),
            false => self.expected_with("`:` or `{`", ""),
        }
    }

    fn expected_with(&self, expected: &str, hint: &str) -> Error {
        let found = match self.token {
            Token::End => "the end of the file".to_owned(),
            Token::String(_) => "a string".to_owned(),
            _ => {
                let bytes = self
                    .source
                    .get(self.span.start as usize..self.span.stop as usize)
                    .unwrap_or_default();
                let shown = bytes.get(..FOUND_BYTES_MAX).unwrap_or(bytes);
                let more = if shown.len() < bytes.len() { "…" } else { "" };
                format!("`{}{more}`", shown.escape_ascii())
            }
        };
        Error::at(
            self.source,
            self.span.start as usize,
            format!("expected {expected}, found {found}{hint}"),
        )
    }
}

/// An error quotes no more of the file than this.
const FOUND_BYTES_MAX: usize = 40;

fn too_deep() -> String {
    format!("nested deeper than {NESTING_MAX} levels")
}

// The chain end must not be an offset a file can have.
const _: () = assert!(FILE_BYTES_MAX < NONE as usize / 2);
