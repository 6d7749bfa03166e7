//! Text of a document: names from outside, made harmless, and numbers as people read them.

use std::fmt::Write;

/// Characters of a name that are shown; symbols of templates in C++ have thousands.
pub(crate) const NAME_CHARS_MAX: usize = 200;

/// Appends a text from outside so that it is text wherever it stands, in an attribute too.
/// Characters that cannot be seen, or that turn the direction of what follows, are replaced.
pub(crate) fn escape(out: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            char if char.is_control() => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
}

/// A text from outside, made harmless.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(&mut out, text);
    out
}

/// The bytes of a name as a text of bounded length.
pub(crate) fn name(text: &str) -> String {
    cut(text, NAME_CHARS_MAX)
}

/// At most so many characters, the last one `…` if some are missing.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// Characters of a name below which it says nothing.
const FITTING_CHARS_MIN: usize = 3;

/// As much of a name as fits into a width, in heights of the font; none: too little of it does.
pub(crate) fn fitting(text: &str, width: f64) -> Option<String> {
    let mut used = 0.0;
    let mut chars = 0;
    // Where it would be cut, so that there is room for what says so.
    let mut cut_at = 0;
    for char in text.chars() {
        used += char_width(char);
        if used > width || chars >= NAME_CHARS_MAX {
            let shown = cut(text, cut_at + 1);
            return (cut_at >= FITTING_CHARS_MIN).then_some(shown);
        }
        chars += 1;
        if used + char_width('…') <= width {
            cut_at = chars;
        }
    }
    (chars > 0).then(|| text.to_owned())
}

/// How wide a character is in the usual fonts of systems, a little more rather than less.
fn char_width(char: char) -> f64 {
    match char {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.3,
        'f' | 'r' | 't' | 'I' | ' ' | '-' | '(' | ')' | '/' | '[' | ']' => 0.4,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 0.95,
        'A'..='Z' => 0.72,
        char if char.is_ascii() => 0.6,
        // Of other scripts some characters are as wide as they are high.
        _ => 1.0,
    }
}

/// A size in bytes with two to three digits and a binary unit, as on the site's pages.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = float(bytes) / 1024.0;
    let mut unit = 0;
    // From here on it would be printed as 1024.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).unwrap_or(&"");
    match value < 9.95 {
        true => format!("{value:.1} {unit}"),
        false => format!("{value:.0} {unit}"),
    }
}

/// By how much a size changed, with its sign.
pub(crate) fn change(left: u64, right: u64) -> String {
    match right.cmp(&left) {
        std::cmp::Ordering::Less => format!("−{}", bytes(left - right)),
        std::cmp::Ordering::Equal => "±0".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", bytes(right - left)),
    }
}

/// A share in percent: `12.3 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "0 %".to_owned(),
        _ => format!("{:.1} %", 100.0 * float(part) / float(whole)),
    }
}

/// `1 package`, `2 packages`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

/// As precise as what is drawn of it.
#[expect(
    clippy::cast_precision_loss,
    reason = "nothing is drawn or printed with more than six digits"
)]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// A coordinate, to a tenth of a unit; what is no number is the origin.
pub(crate) fn number(out: &mut String, value: f64) {
    let value = if value.is_finite() { value } else { 0.0 };
    let start = out.len();
    // Writing to a string cannot fail.
    let _: std::fmt::Result = write!(out, "{value:.1}");
    if out.ends_with(".0") {
        out.truncate(out.len() - 2);
    }
    if out.get(start..) == Some("-0") {
        out.truncate(start);
        out.push('0');
    }
}

/// Appends formatted text; writing to a string cannot fail.
macro_rules! push {
    ($out:expr, $($text:tt)*) => {{
        use std::fmt::Write as _;
        let _: std::fmt::Result = write!($out, $($text)*);
    }};
}
pub(crate) use push;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_outside_is_text_and_nothing_else() {
        assert_eq!(
            escaped("<a href='x'>&\"\u{202e}\0"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}\u{fffd}"
        );
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }

    #[test]
    fn a_name_is_cut_to_its_room_or_left_out() {
        assert_eq!(fitting("Unnamed", 9.0).as_deref(), Some("Unnamed"));
        assert_eq!(fitting("Unnamed", 4.0).as_deref(), Some("Unna…"));
        assert_eq!(fitting("Unnamed", 2.0), None);
        assert_eq!(fitting("C", 0.8).as_deref(), Some("C"));
        assert_eq!(fitting("", 9.0), None);
        assert_eq!(fitting("il", -1.0), None);
    }

    #[test]
    fn numbers_are_short() {
        let number = |value| {
            let mut out = String::new();
            super::number(&mut out, value);
            out
        };
        assert_eq!(number(1.0), "1");
        assert_eq!(number(-0.01), "0");
        assert_eq!(number(2.25), "2.2");
        assert_eq!(number(f64::NAN), "0");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1_048_200), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16 EiB");
        assert_eq!(change(3000, 1000), "−2.0 KiB");
    }
}
