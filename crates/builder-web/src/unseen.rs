//! Characters that nobody sees, and those that turn the direction of what follows: names from outside
//! may hold them. In a terminal and in the log they are written as numbers, whoever prints
//! the name; on pages those are that would turn what stands around a name.

use std::borrow::Cow;
use std::fmt::{self, Write};

use askama::filters::{self, Escaper};

/// Whether a character is not seen by itself: of Unicode's category Cf, or ignored where it cannot be
/// shown, or a blank that is none to any program.
fn is_unseen(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character opens a stretch of another direction, or ends one that others have opened.
fn turns(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for a terminal or a log, of any number of lines: what is not seen has its number, as `\u202e`.
/// JSON spells it that way, too, so that it may be printed by this as well. Control characters are
/// left alone.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, is_unseen)
}

/// The same, of which nothing but its lines and tabulators moves the cursor either.
pub fn lines(text: &str) -> Cow<'_, str> {
    let moves = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    escaped(text, |char| moves(char) || is_unseen(char))
}

/// The same in one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |char| char.is_control() || is_unseen(char))
}

fn escaped(text: &str, is: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if !is(char) {
            out.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    Cow::Owned(out)
}

/// Escapes what templates print. Text that would turn what follows it on the page is shown by its
/// number, as pages of consoles show it: whole sentences are read beside the names that are in them.
#[derive(Debug, Clone, Copy)]
pub struct Html;

impl Escaper for Html {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        // All that turn begin so in UTF-8; most texts have none.
        if !text.as_bytes().contains(&0xe2) {
            return filters::Html.write_escaped_str(dest, text);
        }
        let mut rest = text;
        while let Some(at) = rest.find(turns) {
            let (before, from) = rest.split_at(at);
            filters::Html.write_escaped_str(&mut dest, before)?;
            let mut chars = from.chars();
            if let Some(char) = chars.next() {
                write!(dest, "&#60;U+{:04X}&#62;", u32::from(char))?;
            }
            rest = chars.as_str();
        }
        filters::Html.write_escaped_str(dest, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_has_its_number_and_all_else_is_as_it_was() {
        for text in ["", "a-b_c.d", "größer → 日本語", "e\u{301}", "\\u202e"] {
            for of in [shown, lines, line] {
                assert!(matches!(of(text), Cow::Borrowed(same) if same == text));
            }
        }
        let text = "a\u{202e}b\u{200b}\u{feff}\u{e0041}\n\u{1b}[2J";
        let hidden = r"a\u202eb\u200b\ufeff\udb40\udc41";
        assert_eq!(shown(text), format!("{hidden}\n\u{1b}[2J"));
        assert_eq!(lines(text), format!("{hidden}\n\\u001b[2J"));
        assert_eq!(line(text), format!("{hidden}\\u000a\\u001b[2J"));
    }

    #[test]
    fn json_that_is_shown_is_the_same_json() {
        let json = serde_json::json!({ "a\u{202e}\\u202e": ["\u{e0041}\u{1b}\n", "\u{2066}"] });
        for text in [
            json.to_string(),
            serde_json::to_string_pretty(&json).unwrap(),
        ] {
            let shown = lines(&text);
            assert!(!shown.contains(is_unseen), "{shown}");
            let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(read, json);
        }
    }

    #[test]
    fn on_a_page_nothing_turns_what_follows() {
        let html = |text: &str| {
            let mut out = String::new();
            Html.write_escaped_str(&mut out, text).unwrap();
            out
        };
        assert_eq!(html("<a> → \u{200d}"), "&#60;a&#62; → \u{200d}");
        assert_eq!(
            html("<\u{202e}\u{2069}…"),
            "&#60;&#60;U+202E&#62;&#60;U+2069&#62;…"
        );
    }
}
