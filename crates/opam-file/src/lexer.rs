//! Bytes to tokens. The rules are those of `opamLexer.mll` of opam-file-format 2.1 and 2.2; nothing here knows the grammar.

use crate::parser::Error;
use crate::value::{Builder, EnvOp, LogOp, PrefixOp, RelOp, Span, Text, offset};

#[derive(Clone, Copy)]
pub(crate) enum Token {
    Colon,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    Ident(Text),
    String(Text),
    Bool(bool),
    Int(i64),
    RelOp(RelOp),
    LogOp(LogOp),
    PrefixOp(PrefixOp),
    EnvOp(EnvOp),
    End,
}

pub(crate) struct Lexer<'s> {
    source: &'s [u8],
    at: usize,
    /// Up to here words have no letter: numbers that are written together are not looked through again for each.
    no_letter_until: usize,
}

const SMALLEST_INT: i64 = -(1 << 62);
const LARGEST_INT: i64 = (1 << 62) - 1;

impl<'s> Lexer<'s> {
    pub(crate) fn new(source: &'s [u8]) -> Lexer<'s> {
        Lexer {
            source,
            at: 0,
            no_letter_until: 0,
        }
    }

    pub(crate) fn next(&mut self, builder: &mut Builder) -> Result<(Token, Span), Error> {
        self.skip_blanks_and_comments()?;
        let start = self.at;
        let token = self.token(builder)?;
        Ok((
            token,
            Span {
                start: offset(start),
                stop: offset(self.at),
            },
        ))
    }

    fn token(&mut self, builder: &mut Builder) -> Result<Token, Error> {
        let Some(byte) = self.peek(0) else {
            return Ok(Token::End);
        };
        match byte {
            b'"' => self.string(builder),
            b'{' => self.take(1, Token::LeftBrace),
            b'}' => self.take(1, Token::RightBrace),
            b'[' => self.take(1, Token::LeftBracket),
            b']' => self.take(1, Token::RightBracket),
            b'(' => self.take(1, Token::LeftParen),
            b')' => self.take(1, Token::RightParen),
            b'&' => self.take(1, Token::LogOp(LogOp::And)),
            b'|' => self.take(1, Token::LogOp(LogOp::Or)),
            b'?' => self.take(1, Token::PrefixOp(PrefixOp::Defined)),
            b'~' => self.take(1, Token::RelOp(RelOp::Geq)),
            b'!' if self.peek(1) == Some(b'=') => self.take(2, Token::RelOp(RelOp::Neq)),
            b'!' => self.take(1, Token::PrefixOp(PrefixOp::Not)),
            b'<' if self.peek(1) == Some(b'=') => self.take(2, Token::RelOp(RelOp::Leq)),
            b'<' => self.take(1, Token::RelOp(RelOp::Lt)),
            b'>' if self.peek(1) == Some(b'=') => self.take(2, Token::RelOp(RelOp::Geq)),
            b'>' => self.take(1, Token::RelOp(RelOp::Gt)),
            b':' if self.peek(1) == Some(b'=') => self.take(2, Token::EnvOp(EnvOp::ColonEq)),
            b':' => self.take(1, Token::Colon),
            b'+' if self.peek(1) == Some(b'=') => self.take(2, Token::EnvOp(EnvOp::PlusEq)),
            b'=' => self.starts_with_equals(),
            byte if is_word(byte) => self.word(),
            byte => Err(self.error(
                self.at,
                format!("`{}` is not a valid token", byte.escape_ascii()),
            )),
        }
    }

    fn starts_with_equals(&mut self) -> Result<Token, Error> {
        match (self.peek(1), self.peek(2)) {
            (Some(b'+'), Some(b'=')) => self.take(3, Token::EnvOp(EnvOp::EqPlusEq)),
            (Some(b'+'), _) => self.take(2, Token::EnvOp(EnvOp::EqPlus)),
            (Some(b':'), Some(b'=')) => Err(self.error(
                self.at,
                "`=:=` is not a valid environment update operator".to_owned(),
            )),
            (Some(b':'), _) => self.take(2, Token::EnvOp(EnvOp::EqColon)),
            _ => self.take(1, Token::RelOp(RelOp::Eq)),
        }
    }

    fn skip_blanks_and_comments(&mut self) -> Result<(), Error> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\n' => self.at += 1,
                b'\r' if self.peek(1) == Some(b'\n') => self.at += 2,
                b'#' => {
                    self.at += self
                        .rest()
                        .iter()
                        .take_while(|&&byte| byte != b'\n')
                        .count()
                }
                b'(' if self.peek(1) == Some(b'*') => self.skip_block_comment()?,
                _ => break,
            }
        }
        Ok(())
    }

    fn skip_block_comment(&mut self) -> Result<(), Error> {
        let start = self.at;
        let mut open = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'('), Some(b'*')) => {
                    open += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b')')) => {
                    open -= 1;
                    self.at += 2;
                    if open == 0 {
                        return Ok(());
                    }
                }
                (Some(_), _) => self.at += 1,
                (None, _) => return Err(self.error(start, "unterminated comment".to_owned())),
            }
        }
    }

    /// Words, numbers and the two booleans: the longest reading wins, a number before a word of the same length.
    fn word(&mut self) -> Result<Token, Error> {
        let start = self.at;
        if start < self.no_letter_until {
            return self.number();
        }
        let (run, has_letter) = self.word_run(start);
        if !has_letter && run != b"_" {
            self.no_letter_until = start + run.len();
            return self.number();
        }
        let mut end = start + run.len();
        while self.source.get(end) == Some(&b'+') {
            let (part, has_letter) = self.word_run(end + 1);
            match part {
                _ if has_letter => end += 1 + part.len(),
                [b'_', ..] => end += 2,
                _ => break,
            }
        }
        if self.source.get(end) == Some(&b':') {
            let (part, has_letter) = self.word_run(end + 1);
            if has_letter {
                end += 1 + part.len();
            }
        }
        let text = self.source.get(start..end).unwrap_or_default();
        if text == b"_" {
            return self.number();
        }
        self.at = end;
        Ok(match text {
            b"true" => Token::Bool(true),
            b"false" => Token::Bool(false),
            _ => Token::Ident(Text {
                start: offset(start),
                len: offset(text.len()),
            }),
        })
    }

    fn word_run(&self, start: usize) -> (&'s [u8], bool) {
        let rest = self.source.get(start..).unwrap_or_default();
        let mut has_letter = false;
        let mut len = 0;
        while let Some(&byte) = rest.get(len) {
            if !is_word(byte) {
                break;
            }
            has_letter |= byte.is_ascii_alphabetic();
            len += 1;
        }
        (rest.get(..len).unwrap_or_default(), has_letter)
    }

    fn number(&mut self) -> Result<Token, Error> {
        let start = self.at;
        let negative = self.peek(0) == Some(b'-');
        let rest = self.rest().get(usize::from(negative)..).unwrap_or_default();
        let len = rest
            .iter()
            .take_while(|&&byte| byte.is_ascii_digit() || byte == b'_')
            .count();
        let digits = rest.get(..len).unwrap_or_default();
        if len == 0 {
            return Err(self.error(start, "`-` is not a valid token".to_owned()));
        }
        self.at += usize::from(negative) + len;
        let value = if digits.starts_with(b"_") {
            None
        } else {
            integer(negative, digits)
        };
        match value {
            Some(value) => Ok(Token::Int(value)),
            None => Err(self.error(start, "not an integer of 63 bits".to_owned())),
        }
    }

    fn string(&mut self, builder: &mut Builder) -> Result<Token, Error> {
        let start = self.at;
        let triple = self.rest().starts_with(b"\"\"\"");
        self.at += if triple { 3 } else { 1 };
        let content = self.at;
        // Most strings are what they look like; the others are decoded behind the source.
        loop {
            match self.peek(0) {
                Some(b'"') if !triple || self.rest().starts_with(b"\"\"\"") => break,
                Some(b'\\') => return self.decoded_string(builder, start, content, triple),
                Some(b'\r') if self.peek(1) == Some(b'\n') => {
                    return self.decoded_string(builder, start, content, triple);
                }
                Some(_) => self.at += 1,
                None => return Err(self.error(start, "unterminated string".to_owned())),
            }
        }
        let text = Text {
            start: offset(content),
            len: offset(self.at - content),
        };
        self.at += if triple { 3 } else { 1 };
        Ok(Token::String(text))
    }

    fn decoded_string(
        &mut self,
        builder: &mut Builder,
        start: usize,
        content: usize,
        triple: bool,
    ) -> Result<Token, Error> {
        let decoded = builder.text();
        let decoded_start = decoded.len();
        decoded.extend_from_slice(self.source.get(content..self.at).unwrap_or_default());
        loop {
            match self.peek(0) {
                Some(b'"') if !triple || self.rest().starts_with(b"\"\"\"") => break,
                Some(b'\\') => decoded.extend(self.escape()?),
                Some(b'\r') if self.peek(1) == Some(b'\n') => self.at += 1,
                Some(byte) => {
                    decoded.push(byte);
                    self.at += 1;
                }
                None => return Err(self.error(start, "unterminated string".to_owned())),
            }
        }
        self.at += if triple { 3 } else { 1 };
        Ok(Token::String(Text {
            start: offset(decoded_start),
            len: offset(decoded.len() - decoded_start),
        }))
    }

    /// The byte an escape stands for; none for an escaped end of line and the blanks after it.
    fn escape(&mut self) -> Result<Option<u8>, Error> {
        let start = self.at;
        let (value, len) = match self.rest() {
            [_, byte @ (b'\\' | b'"' | b'\'' | b' '), ..] => (Some(*byte), 2),
            [_, b'n', ..] => (Some(b'\n'), 2),
            [_, b't', ..] => (Some(b'\t'), 2),
            [_, b'r', ..] => (Some(b'\r'), 2),
            [_, b'b', ..] => (Some(0x08), 2),
            [_, b'\n', rest @ ..] => (None, 2 + blanks(rest)),
            [_, b'\r', b'\n', rest @ ..] => (None, 3 + blanks(rest)),
            [_, b'x', high, low, ..] => (
                hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
                4,
            ),
            [_, a, b, c, ..] => (decimal([*a, *b, *c]), 4),
            _ => (None, 4),
        };
        if value.is_none()
            && len == 4
            && !self.rest().starts_with(b"\\\n")
            && !self.rest().starts_with(b"\\\r\n")
        {
            return Err(self.error(start, "illegal escape sequence".to_owned()));
        }
        self.at += len;
        Ok(value)
    }

    fn take(&mut self, len: usize, token: Token) -> Result<Token, Error> {
        self.at += len;
        Ok(token)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'s [u8] {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn error(&self, at: usize, what: String) -> Error {
        Error::at(self.source, at, what)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn blanks(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|&&byte| byte == b' ' || byte == b'\t')
        .count()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn decimal(digits: [u8; 3]) -> Option<u8> {
    std::str::from_utf8(&digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}

fn integer(negative: bool, digits: &[u8]) -> Option<i64> {
    let mut value = 0_i64;
    for digit in digits
        .iter()
        .filter(|&&byte| byte != b'_')
        .map(|byte| i64::from(byte - b'0'))
    {
        let digit = if negative { -digit } else { digit };
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    (SMALLEST_INT..=LARGEST_INT)
        .contains(&value)
        .then_some(value)
}
