//! Which texts are opam files, and what is said about the others.

use opam_file::{Document, NESTING_MAX};
use proptest::prelude::*;

/// The values of a file with one field, as they were understood; or the error.
fn check(value: &str, expected: &str) {
    let text = format!("x: {value}");
    let found = match Document::parse(text.as_bytes()) {
        Ok(document) => shown(&document),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "{value}");
}

fn shown(document: &Document) -> String {
    let value = document.field("x").map(|value| format!("{value:?}"));
    value.unwrap_or_default().replace("\\\"", "\"")
}

fn parses(text: &str) -> bool {
    Document::parse(text.as_bytes()).is_ok()
}

#[test]
fn an_error_says_where_and_what_was_expected() {
    check(
        "",
        "line 1, column 3: expected a value, found the end of the file",
    );
    check(
        "[a",
        "line 1, column 5: expected a value or `]`, found the end of the file",
    );
    check(
        "(a]",
        "line 1, column 5: expected a value or `)`, found `]`",
    );
    check(
        "a {b",
        "line 1, column 7: expected a value or `}`, found the end of the file",
    );
    check(
        "\na = (b)",
        "line 2, column 4: expected a word, number or string, found `(`",
    );
    check(
        "a b",
        "line 1, column 6: expected `:` or `{`, found the end of the file",
    );
    check(
        "a\ny:z",
        "line 2, column 3: expected `:` or `{`, found the end of the file (a blank is needed between `:` and a word)",
    );
    check("\"\\q\"", "line 1, column 4: illegal escape sequence");
    check("\"a", "line 1, column 3: unterminated string");
    check("(* a", "line 1, column 3: unterminated comment");
    check("$", "line 1, column 3: `$` is not a valid token");
    check("_", "line 1, column 3: not an integer of 63 bits");
    check(
        "4611686018427387904",
        "line 1, column 3: not an integer of 63 bits",
    );
    check(
        "A =:= b",
        "line 1, column 5: `=:=` is not a valid environment update operator",
    );
    check(
        "a }",
        "line 1, column 5: expected a field or a section, found `}`",
    );
}

#[test]
fn words_and_numbers_take_the_longest_reading() {
    for word in [
        "foo",
        "1a",
        "-a",
        "4-beta",
        "foo:installed",
        "_:lib",
        "a+b:version",
        "_+_",
        "true-x",
        "falsey",
    ] {
        let document = Document::parse(format!("x: {word}").as_bytes()).unwrap();
        assert!(
            matches!(document.field("x").unwrap().kind(), opam_file::Kind::Ident(text) if text == word.as_bytes())
        );
    }
    check("[1-2]", "List([Int(1), Int(-2)])");
    check("[1_0 -0_5 true]", "List([Int(10), Int(-5), Bool(true)])");
    check("-4611686018427387904", "Int(-4611686018427387904)");
}

#[test]
fn operators_bind_as_in_opam() {
    fn same(left: &str, right: &str) {
        let shape = |text: &str| {
            let document = Document::parse(format!("x: {text}").as_bytes()).unwrap();
            shown(&document).replace("Group([", "").replace("])", ")")
        };
        assert_eq!(
            shape(left).replace(')', ""),
            shape(right).replace(')', ""),
            "{left} and {right}"
        );
    }
    same("!a {b}", "!(a {b})");
    same("!a = b", "!(a = b)");
    same("a & b {c}", "a & (b {c})");
    same("< \"1\" {x}", "(< \"1\") {x}");
    same("a | b & c", "a | (b & c)");
    same("\"a\" ~ b", "\"a\" >= b");
    check(
        "[1 & 2 3]",
        "List([Logical(And, [Int(1), Int(2)]), Int(3)])",
    );
    check(
        "1 = 2 {3} {4}",
        "Option(Option(Relation(Eq, Int(1), Int(2)), [Int(3)]), [Int(4)])",
    );
}

#[test]
fn strings_are_decoded() {
    let decoded = |text: &[u8]| {
        let document = Document::parse(&[b"x: ", text].concat()).unwrap();
        document
            .field("x")
            .and_then(|value| value.as_string())
            .unwrap()
            .to_vec()
    };
    assert_eq!(
        decoded(b"\"a\\\"\\\\\\'\\ \\n\\r\\t\\b\\065\\x4a\\x4A\""),
        b"a\"\\' \n\r\t\x08AJJ"
    );
    assert_eq!(decoded(b"\"a\\\n \t b\\\r\n c\r\nd\re\""), b"abc\nd\re");
    assert_eq!(decoded(b"\"\"\"\n a \"\" b\"\"\""), b"\n a \"\" b");
    assert_eq!(decoded(b"\"\"\"a\\\"\"\"\""), b"a\"");
    assert_eq!(decoded(b"\"\xff\x00\""), b"\xff\x00");
}

#[test]
fn comments_blanks_and_empty_files_are_fine() {
    for text in [
        "",
        "# a",
        "(* a (* \" *) *)",
        "\r\n",
        "a: b # c\nd: (* e *) f",
        "a{}",
        "a \"b\"{c{}}",
        "a: \"\"b: \"\"",
    ] {
        assert!(parses(text), "{text:?}");
    }
    assert!(!parses("\r"));
}

#[test]
fn a_file_of_a_later_format_says_so_first_and_once() {
    assert!(parses("a: 1 opam-version: \"2.0\" opam-version: \"2.0\""));
    assert!(!parses("a: 1 opam-version: \"2.1\""));
    assert!(!parses("opam-version: \"2.1\" opam-version: \"2.1\""));
}

#[test]
fn nesting_is_limited() {
    let nested = |open: &str, close: &str, count: u32| {
        let count = count as usize;
        parses(&format!(
            "x: {}a{}",
            open.repeat(count),
            close.repeat(count)
        ))
    };
    for (open, close) in [("[", "]"), ("(", ")"), ("!", ""), ("", " {}"), ("b {", "}")] {
        assert!(nested(open, close, NESTING_MAX), "{open} {close}");
        assert!(!nested(open, close, NESTING_MAX + 1), "{open} {close}");
        assert!(!nested(open, close, 1_000_000), "{open} {close}");
    }
    let sections = |count: u32| {
        parses(&format!(
            "{}{}",
            "a {".repeat(count as usize),
            "}".repeat(count as usize)
        ))
    };
    assert!(sections(NESTING_MAX - 1));
    assert!(!sections(NESTING_MAX + 1));
    assert!(parses(&format!("x: {}a", "a & ".repeat(100_000))));
    assert!(!nested(
        "(((((a {}) {} {} {} {}) {} {} {} {}) {} {} {} {}) {} {} {} {}) [",
        "]",
        1_000
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&bytes);
    }

    #[test]
    fn no_row_of_tokens_makes_the_parser_panic(text in "([]\\[(){}:=<>!?&|+~#\"\\\\a1_ \n-]|\"\"\"|\\(\\*|\\*\\)){0,60}") {
        let _ = Document::parse(text.as_bytes());
    }
}
