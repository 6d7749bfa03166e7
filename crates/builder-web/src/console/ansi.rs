//! What a terminal would make of a line: its text, and in which style. Of the escape sequences
//! (ECMA-48) those that choose a style are followed (SGR, also of 256 and of all colours), all
//! others are left out with what belongs to them. Nothing is ever hidden: concealed text is shown,
//! and what would change the order of what is read is made visible.

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Colour of the text.
    pub foreground: Option<Colour>,
    /// Colour behind it.
    pub background: Option<Colour>,
    /// Heavy.
    pub bold: bool,
    /// Pale.
    pub dim: bool,
    /// Slanted.
    pub italic: bool,
    /// With a line below.
    pub underline: bool,
    /// Struck through.
    pub strike: bool,
    /// Colours of text and ground changed for each other.
    pub inverse: bool,
}

/// The colours that are told apart: any other is shown as the nearest of them, each readable on
/// light and dark ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the colour of its name")]
pub enum Colour {
    Grey,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
}

impl Colour {
    fn name(self) -> &'static str {
        match self {
            Colour::Grey => "grey",
            Colour::Red => "red",
            Colour::Green => "green",
            Colour::Yellow => "yellow",
            Colour::Blue => "blue",
            Colour::Magenta => "magenta",
            Colour::Cyan => "cyan",
        }
    }

    /// Of the eight colours of SGR 30 to 37; black and white are the page's own.
    fn of_eight(index: u32) -> Option<Colour> {
        match index {
            1 => Some(Colour::Red),
            2 => Some(Colour::Green),
            3 => Some(Colour::Yellow),
            4 => Some(Colour::Blue),
            5 => Some(Colour::Magenta),
            6 => Some(Colour::Cyan),
            _ => None,
        }
    }

    /// Of the 256 colours of xterm: 16 named ones, a cube of 6 by 6 by 6, and 24 greys.
    fn of_256(index: u32) -> Option<Colour> {
        match index {
            8 => Some(Colour::Grey),
            0..=15 => Colour::of_eight(index % 8),
            16..=231 => {
                let cube = index - 16;
                let level = |step: u32| if step == 0 { 0 } else { 55 + 40 * step };
                Colour::of_rgb(level(cube / 36), level(cube / 6 % 6), level(cube % 6))
            }
            232..=255 => {
                let level = 8 + 10 * (index - 232);
                Colour::of_rgb(level, level, level)
            }
            _ => None,
        }
    }

    /// By hue; what has next to none is grey, or the page's own if it is nearly black or white.
    fn of_rgb(red: u32, green: u32, blue: u32) -> Option<Colour> {
        let max = red.max(green).max(blue);
        let min = red.min(green).min(blue);
        let range = max.saturating_sub(min);
        if range * 5 < max || max < 40 {
            return (64..192).contains(&max).then_some(Colour::Grey);
        }
        // In sixths of the circle from red on, each in 60 parts.
        let part = |above: u32, below: u32, base: u32| {
            let (more, less) = (above.saturating_sub(below), below.saturating_sub(above));
            base + 60 * more / range - 60 * less / range
        };
        let hue = if max == red {
            part(green, blue, 360) % 360
        } else if max == green {
            part(blue, red, 120)
        } else {
            part(red, green, 240)
        };
        Some(match hue {
            0..20 | 340.. => Colour::Red,
            20..75 => Colour::Yellow,
            75..160 => Colour::Green,
            160..205 => Colour::Cyan,
            205..265 => Colour::Blue,
            265..340 => Colour::Magenta,
        })
    }
}

impl Style {
    /// The classes of the style sheet; empty for text without style.
    pub fn classes(&self) -> String {
        let (foreground, background) = if self.inverse && self.foreground.is_some() {
            (None, self.foreground)
        } else {
            (self.foreground, self.background)
        };
        let mut classes = Vec::new();
        match (foreground, background) {
            // On a ground of colour text is the page's own, to be readable on all of them.
            (_, Some(ground)) => classes.push(format!("on-{}", ground.name())),
            (Some(colour), None) => classes.push(format!("in-{}", colour.name())),
            (None, None) => {}
        }
        for (set, class) in [
            (self.bold, "bold"),
            (self.dim, "dim"),
            (self.italic, "italic"),
            (self.underline, "underline"),
            (self.strike, "strike"),
            (self.inverse && self.foreground.is_none(), "inverse"),
        ] {
            if set {
                classes.push(class.to_owned());
            }
        }
        classes.join(" ")
    }

    /// Follows the parameters of one `SGR`.
    fn follow(&mut self, parameters: &str) {
        // `38:2::1:2:3` and `38;2;1;2;3` say the same.
        let mut numbers = parameters
            .split([';', ':'])
            .map(|number| number.parse::<u32>().unwrap_or(0));
        // `4:3` is a kind of underline, not a slant.
        if let Some(kind) = parameters.strip_prefix("4:") {
            self.underline = kind != "0";
            return;
        }
        let colons = parameters.contains(':');
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Style::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 | 21 => self.underline = true,
                7 => self.inverse = true,
                9 => self.strike = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.strike = false,
                30..=37 => self.foreground = Colour::of_eight(number - 30),
                39 => self.foreground = None,
                40..=47 => self.background = Colour::of_eight(number - 40),
                49 => self.background = None,
                90 => self.foreground = Some(Colour::Grey),
                91..=97 => self.foreground = Colour::of_eight(number - 90),
                100 => self.background = Some(Colour::Grey),
                101..=107 => self.background = Colour::of_eight(number - 100),
                38 | 48 | 58 => {
                    let colour = match numbers.next() {
                        Some(5) => numbers.next().and_then(Colour::of_256),
                        Some(2) => {
                            let mut rgb: Vec<u32> = numbers.by_ref().take(3).collect();
                            // With colons a colour space stands before them, mostly empty.
                            if colons && let Some(blue) = numbers.next() {
                                rgb.remove(0);
                                rgb.push(blue);
                            }
                            match rgb.as_slice() {
                                [red, green, blue] => Colour::of_rgb(
                                    *red.min(&255),
                                    *green.min(&255),
                                    *blue.min(&255),
                                ),
                                _ => None,
                            }
                        }
                        _ => None,
                    };
                    match number {
                        38 => self.foreground = colour,
                        48 => self.background = colour,
                        // The colour of a line below text.
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

/// A line as a terminal would leave it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Pieces of one style each, none empty; next to each other they differ.
    pub pieces: Vec<(Style, String)>,
    /// How often it was written over from its beginning, as progress bars are.
    pub overwritten: usize,
}

impl Line {
    /// Its text.
    pub fn text(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// Leaves `style` as [`line()`] does, without reading the text where that can be: for following many
/// lines that nobody looks at.
pub fn follow(bytes: &[u8], style: &mut Style) {
    match followed(bytes, *style) {
        Some(followed) => *style = followed,
        None => {
            line(bytes, style);
        }
    }
}

/// None for a line with other sequences than `ESC [`, or broken ones.
fn followed(bytes: &[u8], mut style: Style) -> Option<Style> {
    /// The first of the two bytes of the control characters from U+0080 on, and of some letters.
    const LEAD: u8 = 0xc2;
    let mut rest = bytes;
    while let Some(at) = memchr::memchr2(ESCAPE, LEAD, rest) {
        let after = rest.get(at + 1..)?;
        if rest.get(at) == Some(&LEAD) {
            if let Some(0x80..=0x9f) = after.first() {
                return None;
            }
            rest = after;
            continue;
        }
        let (parameters, end, after) = sequence(after.strip_prefix(b"[")?)?;
        let own = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b';' | b':');
        if end == b'm' && parameters.iter().all(own) {
            style.follow(std::str::from_utf8(parameters).ok()?);
        }
        rest = after;
    }
    Some(style)
}

const ESCAPE: u8 = 0x1b;

/// What follows `ESC [` by ECMA-48: parameters and intermediate bytes, then one byte that ends the
/// sequence; and what is after it. None: it is broken off, or longer than any that is followed.
fn sequence(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let end = bytes
        .iter()
        .position(|byte| !(0x20..=0x3f).contains(byte))?;
    let last = *bytes.get(end)?;
    ((0x40..=0x7e).contains(&last) && end <= SEQUENCE_CHARS_MAX).then_some(())?;
    Some((bytes.get(..end)?, last, bytes.get(end + 1..)?))
}

/// The text alone.
pub fn plain(bytes: &[u8]) -> String {
    line(bytes, &mut Style::default()).text()
}

/// The bytes of a line without its colours, for looking through many lines: `room` holds them where
/// there were any. None for a line that only [`line()`] can read: one that was written over, or holds
/// other sequences than those of colours and the cursor.
pub fn without_colours<'l>(bytes: &'l [u8], room: &'l mut Vec<u8>) -> Option<&'l [u8]> {
    if memchr::memchr3(ESCAPE, b'\r', 0x08, bytes).is_none() {
        return Some(bytes);
    }
    if memchr::memchr2(b'\r', 0x08, bytes).is_some() {
        return None;
    }
    room.clear();
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(ESCAPE, rest) {
        room.extend_from_slice(rest.get(..at)?);
        let (_, _, after) = sequence(rest.get(at + 1..)?.strip_prefix(b"[")?)?;
        rest = after;
    }
    room.extend_from_slice(rest);
    Some(room)
}

/// Reads a line, without its end. `style` is the one the line before ended with, and is left as
/// the one this line ends with.
pub fn line(bytes: &[u8], style: &mut Style) -> Line {
    let text = String::from_utf8_lossy(bytes);
    let mut line = Line::default();
    // Written over by what comes; kept if nothing comes.
    let mut returned = false;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => match chars.next() {
                Some('[') => control_sequence(&mut chars, style),
                // Strings of a device, of the system (titles, links), and others: up to their end.
                Some(']' | 'P' | 'X' | '^' | '_') => string(&mut chars),
                Some('(' | ')' | '*' | '+' | '#' | ' ' | '%') => {
                    chars.next();
                }
                _ => {}
            },
            '\u{9b}' => control_sequence(&mut chars, style),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => string(&mut chars),
            '\r' => returned = true,
            '\u{8}' => {
                if let Some((_, last)) = line.pieces.last_mut() {
                    last.pop();
                    if last.is_empty() {
                        line.pieces.pop();
                    }
                }
            }
            '\t' => push(&mut line, *style, &mut returned, "\t"),
            // Rulers of the order in which text is read, and what has no width: a line reads here
            // as its bytes are.
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{2060}'..='\u{2069}'
            | '\u{61c}'
            | '\u{feff}' => {
                let visible = format!("<U+{:04X}>", u32::from(char));
                push(&mut line, *style, &mut returned, &visible);
            }
            char if char.is_control() => {}
            char => {
                let mut buffer = [0; 4];
                push(
                    &mut line,
                    *style,
                    &mut returned,
                    char.encode_utf8(&mut buffer),
                );
            }
        }
    }
    line
}

fn push(line: &mut Line, style: Style, returned: &mut bool, text: &str) {
    if std::mem::take(returned) && !line.pieces.is_empty() {
        line.pieces.clear();
        line.overwritten += 1;
    }
    match line.pieces.last_mut() {
        Some((last, piece)) if *last == style => piece.push_str(text),
        _ => line.pieces.push((style, text.to_owned())),
    }
}

/// Parameters and intermediates of a sequence; what is longer is none, and the rest of it is text.
const SEQUENCE_CHARS_MAX: usize = 128;

fn control_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, style: &mut Style) {
    let mut parameters = String::new();
    while let Some(&char) = chars.peek() {
        match char {
            '\u{20}'..='\u{3f}' if parameters.len() < SEQUENCE_CHARS_MAX => {
                parameters.push(char);
                chars.next();
            }
            '\u{40}'..='\u{7e}' => {
                chars.next();
                // Private ones begin with one of `<=>?`.
                let own = parameters
                    .chars()
                    .all(|char| char.is_ascii_digit() || matches!(char, ';' | ':'));
                if char == 'm' && own {
                    style.follow(&parameters);
                }
                return;
            }
            // Broken off: what follows is text.
            _ => return,
        }
    }
}

/// Up to `BEL` or `ST`.
fn string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(char) = chars.next() {
        match char {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' if chars.peek() == Some(&'\\') => {
                chars.next();
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces with their classes: `[bold in-red|text]`.
    fn check(text: &str) -> String {
        let line = line(text.as_bytes(), &mut Style::default());
        let pieces = line
            .pieces
            .iter()
            .map(|(style, text)| match style.classes() {
                classes if classes.is_empty() => text.clone(),
                classes => format!("[{classes}|{text}]"),
            });
        pieces.collect()
    }

    #[test]
    fn a_line_without_its_colours_is_the_line_as_it_reads_or_is_left_to_the_reader() {
        for text in [
            "plain",
            "",
            "\x1b[31merr\x1b[0mor",
            "a\x1b[2Kb\x1b[10;20Hc\x1b[?25ld",
            &format!("a\x1b[{}mb", "0".repeat(SEQUENCE_CHARS_MAX)),
        ] {
            let mut room = Vec::new();
            let quick = without_colours(text.as_bytes(), &mut room);
            assert_eq!(quick, Some(plain(text.as_bytes()).as_bytes()), "{text:?}");
        }
        for text in [
            "a\rb",
            "ab\x08c",
            "\x1b]0;title\x07a",
            "\x1b[31",
            "\x1b",
            "\x1b[31\u{e9}x",
            &format!("a\x1b[{}mb", "0".repeat(SEQUENCE_CHARS_MAX + 1)),
        ] {
            assert_eq!(
                without_colours(text.as_bytes(), &mut Vec::new()),
                None,
                "{text:?}"
            );
        }
    }

    #[test]
    fn styles_are_followed_and_everything_else_is_left_out() {
        for (text, shown) in [
            ("plain", "plain"),
            ("\x1b[31mred\x1b[0m plain", "[in-red|red] plain"),
            ("\x1b[1;32mok\x1b[22;39m.", "[in-green bold|ok]."),
            ("\x1b[mnone\x1b[;31mred", "none[in-red|red]"),
            (
                "\x1b[91mbright\x1b[90mgrey\x1b[37mwhite",
                "[in-red|bright][in-grey|grey]white",
            ),
            ("\x1b[41;97mx", "[on-red|x]"),
            (
                "\x1b[7mx\x1b[31my\x1b[27mz",
                "[inverse|x][on-red|y][in-red|z]",
            ),
            ("\x1b[3;4;9;2mx", "[dim italic underline strike|x]"),
            ("\x1b[4:3mx\x1b[4:0my", "[underline|x]y"),
            (
                "\x1b[38;5;196mx\x1b[38;5;21my\x1b[38;5;244mz\x1b[38;5;226mw",
                "[in-red|x][in-blue|y][in-grey|z][in-yellow|w]",
            ),
            (
                "\x1b[38;2;10;200;30mx\x1b[38:2::250:0:250my",
                "[in-green|x][in-magenta|y]",
            ),
            ("\x1b[48;2;0;255;255mx", "[on-cyan|x]"),
            ("\x1b[58;2;1;2;3;31mx", "[in-red|x]"),
            // Concealed text is shown.
            ("\x1b[8mhidden", "hidden"),
            ("a\x1b[2Kb\x1b[10;20Hc\x1b[?25ld", "abcd"),
            (
                "\x1b]0;title\x07a\x1b]8;;https://evil.example\x1b\\b\x1b]8;;\x1b\\c",
                "abc",
            ),
            ("\x1b(Bx\x1b=y\x1bPq#1\x1b\\z", "xyz"),
            ("\u{9b}31mx\u{9d}t\u{9c}y", "[in-red|xy]"),
            ("\x1b[38;5mx\x1b[38my\x1b[999mz", "xyz"),
            ("\x1b[31", ""),
            ("\x1b", ""),
            ("\x1b[31\u{e9}x", "\u{e9}x"),
            ("a\0\x01\x07b\x7fc", "abc"),
            ("a\tb", "a\tb"),
            ("ab\x08c", "ac"),
            ("\x08\x08x", "x"),
            ("10%\r20%\r100%", "100%"),
            ("done\r", "done"),
            ("done\r\r", "done"),
            (
                "if \u{202e}evil\u{2066} \u{200b}x",
                "if <U+202E>evil<U+2066> <U+200B>x",
            ),
        ] {
            assert_eq!(check(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_style_lasts_over_the_end_of_a_line() {
        let mut style = Style::default();
        line(b"\x1b[31mone", &mut style);
        assert_eq!(line(b"two", &mut style).pieces[0].0.classes(), "in-red");
        assert_eq!(line(b"1\r2\r3", &mut style).overwritten, 2);
    }

    #[test]
    fn every_colour_of_xterm_is_one_of_ours() {
        for index in 0..=300 {
            let mut style = Style::default();
            style.follow(&format!("38;5;{index}"));
            assert!(style.classes().len() < 12);
        }
    }

    /// Whether a line that is only followed leaves the style that it leaves when it is read.
    fn is_followed(bytes: &[u8]) -> bool {
        let mut begin = Style::default();
        begin.follow("1;32");
        let (mut followed, mut read) = (begin, begin);
        follow(bytes, &mut followed);
        line(bytes, &mut read);
        followed == read
    }

    #[test]
    fn a_line_is_followed_as_it_is_read() {
        for text in [
            "plain",
            "\x1b[31mred \x1b[22mx",
            "\x1b[0m\u{b7}\u{e9}\x1b[4;38;5;196m",
            "\u{9b}31mx",
            "\x1b]0;\x1b[31m\x07x",
            "\x1b[31",
            "\x1b[3\x1b[0m",
            "\x1b[?31m\x1b[31 m",
            "10%\r\x1b[7m20%",
            &format!("\x1b[{}m", "1;".repeat(64)),
            &format!("\x1b[{}m", "0;".repeat(65)),
        ] {
            assert!(is_followed(text.as_bytes()), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_followed_as_it_is_read(bytes in "(\x1b\\[|\x1b|[0-9;:m?]|\u{9b}|\u{9d}|\x07|\u{e9}|\u{b7}|[a-z]){0,40}") {
            proptest::prop_assert!(is_followed(bytes.as_bytes()));
        }

        #[test]
        fn no_line_is_too_strange(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let text = plain(&bytes);
            let left = text.contains(['\u{1b}', '\r', '\0']);
            proptest::prop_assert!(!left, "{:?}", text);
        }

        #[test]
        fn no_sequence_is_too_strange(text in "(\x1b[\\[\\]P(]|[0-9;:m?a-z\x07\x1b\r\u{9b}]){0,40}") {
            plain(text.as_bytes());
        }
    }
}
