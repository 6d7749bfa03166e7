//! Where things are in a console that may be too large to be read for each look at it: how many
//! lines it has, where every so many of them begin and in which style, which one first tells of an error, before
//! which ones the build waited longest. Read once, in blocks; no line is ever in memory as a whole.
//!
//! A line here is one of the file, as `sed -n 17p` of the raw text counts them. What was printed
//! may have line ends of its own: such lines have no time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use aho_corasick::AhoCorasick;

use super::ansi::{self, Style};
use super::parse_head;
use crate::failure;

/// The file is read in blocks of this size.
const BLOCK_BYTES: usize = 256 * 1024;
/// Lines from one place that is remembered to the next, at first.
const STRIDE_LINES: u64 = 1000;
/// Places that are remembered: 24 bytes each. When there are more, every second one is forgotten.
const PLACES_MAX: usize = 64 * 1024;
/// Longest waits that are remembered.
const WAITS_MAX: usize = 5;
/// A shorter wait is not worth telling, in nanoseconds.
pub const WAIT_NS_MIN: i64 = 5_000_000_000;
/// Bytes of a line that are looked at for an error.
const ERROR_BYTES_MAX: usize = 1024;
/// Bytes of a line that may change the style of those after it.
const STYLE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a line in which something is found.
const FIND_BYTES_MAX: usize = 64 * 1024;

/// What is remembered of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Lines of the file.
    pub lines: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// The first line that tells of an error, counted from 1.
    pub first_error: Option<u64>,
    /// The longest waits between two lines, longest first.
    pub waits: Vec<Wait>,
    stride: u64,
    places: Vec<Place>,
}

/// How long nothing was printed before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The line that ended it, counted from 1.
    pub line: u64,
    /// In nanoseconds.
    pub ns: i64,
}

/// Where a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: u64,
    /// When the last line before it was printed.
    time_ns: i64,
    /// How the last line before it left the style.
    style: Style,
}

/// A line to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: u64,
    /// When it was printed, in nanoseconds since the build began; none for one that belongs to the
    /// line before.
    pub time_ns: Option<i64>,
    /// How long after the line before, in nanoseconds.
    pub wait_ns: Option<i64>,
    /// The style that it begins in.
    pub style: Style,
    /// What was printed, without what is too much to show.
    pub text: Vec<u8>,
    /// How many bytes that is.
    pub left_out_bytes: u64,
}

impl Outline {
    /// Reads all of a console.
    pub fn of(file: &File) -> io::Result<Outline> {
        let mut outline = Outline {
            lines: 0,
            file_bytes: 0,
            first_error: None,
            waits: Vec::new(),
            stride: STRIDE_LINES,
            places: Vec::new(),
        };
        let mut last_ns = None;
        let mut style = Style::default();
        let mut room = Vec::new();
        for_each_line(file, 0, STYLE_BYTES_MAX, |offset, bytes, length| {
            outline.place(Place {
                offset,
                time_ns: last_ns.unwrap_or(0),
                style,
            });
            outline.lines += 1;
            outline.file_bytes = offset + length;
            let text = match parse_head(bytes) {
                Some((time_ns, head)) => {
                    let wait = time_ns.saturating_sub(last_ns.unwrap_or(0));
                    outline.wait(wait);
                    last_ns = Some(time_ns);
                    bytes.get(head..).unwrap_or_default()
                }
                None => bytes,
            };
            ansi::follow(text, &mut style);
            let text = text.get(..ERROR_BYTES_MAX).unwrap_or(text);
            if outline.first_error.is_none() && may_tell_error(text, &mut room) {
                let tells = failure::tells_error(&ansi::plain(text));
                outline.first_error = tells.then_some(outline.lines);
            }
            ControlFlow::Continue(())
        })?;
        Ok(outline)
    }

    /// Remembers where the next line begins, if it is one of those.
    fn place(&mut self, place: Place) {
        if !self.lines.is_multiple_of(self.stride) {
            return;
        }
        if self.places.len() == PLACES_MAX {
            let mut index = 0;
            self.places.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
            if !self.lines.is_multiple_of(self.stride) {
                return;
            }
        }
        self.places.push(place);
    }

    fn wait(&mut self, ns: i64) {
        let shortest = self.waits.last().map_or(0, |wait| wait.ns);
        if ns < WAIT_NS_MIN || (self.waits.len() == WAITS_MAX && ns <= shortest) {
            return;
        }
        let line = self.lines;
        let at = self.waits.partition_point(|wait| wait.ns >= ns);
        self.waits.insert(at, Wait { line, ns });
        self.waits.truncate(WAITS_MAX);
    }

    /// The lines from `from` on, counted from 1, at most `count`, of each at most `bytes_max`
    /// bytes, and of all together not many more than `all_bytes_max`: lines after that are cut
    /// to `SHORT_BYTES`.
    pub fn window(
        &self,
        file: &File,
        from: u64,
        count: u64,
        bytes_max: usize,
        all_bytes_max: usize,
    ) -> io::Result<Vec<Line>> {
        /// What is shown of a line when the others have taken all the room.
        const SHORT_BYTES: usize = 120;
        let from = from.max(1);
        let mut lines = Vec::new();
        let index = usize::try_from((from - 1) / self.stride).map_err(io::Error::other)?;
        if from > self.lines || count == 0 {
            return Ok(lines);
        }
        let Some(place) = self.places.get(index) else {
            return Ok(lines);
        };
        let mut number = (from - 1) / self.stride * self.stride;
        let mut last_ns = place.time_ns;
        let mut style = place.style;
        let mut room = all_bytes_max;
        let cap = STYLE_BYTES_MAX.max(bytes_max + super::HEAD_BYTES_MAX);
        for_each_line(file, place.offset, cap, |_, bytes, length| {
            number += 1;
            // One that was written after the outline was made is for the next.
            if number > self.lines {
                return ControlFlow::Break(());
            }
            let head = parse_head(bytes);
            let wait_ns = head.map(|(time_ns, _)| time_ns.saturating_sub(last_ns));
            last_ns = head.map_or(last_ns, |(time_ns, _)| time_ns);
            let text = bytes
                .get(head.map_or(0, |(_, head)| head)..)
                .unwrap_or_default();
            let begins_in = style;
            ansi::follow(text, &mut style);
            if number < from {
                return ControlFlow::Continue(());
            }
            let shown = text.len().min(bytes_max).min(room.max(SHORT_BYTES));
            room = room.saturating_sub(shown);
            let all = length - (bytes.len() - text.len()) as u64;
            lines.push(Line {
                number,
                time_ns: head.map(|(time_ns, _)| time_ns),
                wait_ns,
                style: begins_in,
                text: text.get(..shown).unwrap_or_default().to_owned(),
                left_out_bytes: all - shown as u64,
            });
            if lines.len() as u64 == count {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(lines)
    }
}

/// Outlines that are remembered, each of some hundred bytes for a common console, at most 1.5 MiB.
const OUTLINES_MAX: usize = 64;

/// Remembers the outlines of consoles that were looked at, by where they are.
#[derive(Debug, Default)]
pub struct Outlines(Mutex<HashMap<String, Arc<Outline>>>);

impl Outlines {
    /// The outline of the console at `path`, which is `file` and has `bytes`.
    pub fn get(&self, path: &str, file: &File, bytes: u64) -> io::Result<Arc<Outline>> {
        let known = lock(&self.0).get(path).cloned();
        if let Some(outline) = known.filter(|outline| outline.file_bytes == bytes) {
            return Ok(outline);
        }
        let mut outline = Outline::of(file)?;
        outline.file_bytes = bytes;
        let outline = Arc::new(outline);
        let mut known = lock(&self.0);
        if known.len() >= OUTLINES_MAX {
            known.clear();
        }
        known.insert(path.to_owned(), outline.clone());
        Ok(outline)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was found in a console.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The first lines it is in, counted from 1, with their text.
    pub lines: Vec<(u64, String)>,
    /// How many lines it is in.
    pub count: u64,
    /// The first of them at or after the line that was asked for.
    pub next: Option<u64>,
}

/// Finds `words` as they stand, the case of ASCII letters aside, in the text without styles. Keeps the
/// first `max` lines with up to `chars_max` characters of each: those around what was found.
pub fn find(
    file: &File,
    words: &str,
    from: u64,
    max: usize,
    chars_max: usize,
) -> io::Result<Found> {
    let mut found = Found::default();
    let Ok(needle) = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build([words])
    else {
        return Ok(found);
    };
    let mut number = 0;
    let mut room = Vec::new();
    for_each_line(file, 0, FIND_BYTES_MAX, |_, bytes, _| {
        number += 1;
        let text = bytes
            .get(parse_head(bytes).map_or(0, |(_, head)| head)..)
            .unwrap_or_default();
        // Colours may stand between the letters.
        let is_in = match ansi::without_colours(text, &mut room) {
            Some(text) => needle.is_match(text),
            None => needle.is_match(&ansi::plain(text)),
        };
        if is_in {
            found.count += 1;
            if found.next.is_none() && number >= from {
                found.next = Some(number);
            }
            if found.lines.len() < max {
                let text = ansi::plain(text);
                let at = needle.find(&text).map_or(0, |found| found.start());
                found.lines.push((number, around(&text, at, chars_max)));
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The part of a line around the byte `at`, with dots where it is cut.
fn around(text: &str, at: usize, chars_max: usize) -> String {
    let chars = text.chars().count();
    let before = text.get(..at).map_or(0, |before| before.chars().count());
    // Words are read from what comes before them, and more comes after them than is needed.
    let begin = before.saturating_sub(chars_max / 4);
    let begin = begin.min(chars.saturating_sub(chars_max));
    let mut part = String::new();
    if begin > 0 {
        part.push('…');
    }
    part.extend(text.chars().skip(begin).take(chars_max));
    if begin + chars_max < chars {
        part.push('…');
    }
    part
}

/// The end of a console: how many lines come before it, and its lines without times and styles.
/// The first of them may be cut off at its beginning.
pub fn tail(file: &File, bytes_max: usize) -> io::Result<(u64, Vec<String>)> {
    let mut reader = file;
    let size = reader.seek(SeekFrom::End(0))?;
    let start = size.saturating_sub(bytes_max as u64);
    reader.seek(SeekFrom::Start(0))?;
    let mut before = 0;
    let mut head = reader.take(start);
    let mut block = vec![0; BLOCK_BYTES.min(usize::try_from(start).unwrap_or(BLOCK_BYTES))];
    while let Some(block) = read_some(&mut head, &mut block)? {
        before += memchr::memchr_iter(b'\n', block).count() as u64;
    }
    let mut bytes = Vec::new();
    reader.seek(SeekFrom::Start(start))?;
    reader.take(bytes_max as u64).read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.is_empty() {
        return Ok((before, Vec::new()));
    }
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| {
        let head = parse_head(line).map_or(0, |(_, head)| head);
        ansi::plain(line.get(head..).unwrap_or_default())
    });
    Ok((before, lines.collect()))
}

fn read_some<'b>(reader: &mut dyn Read, block: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    if block.is_empty() {
        return Ok(None);
    }
    match reader.read(block)? {
        0 => Ok(None),
        count => Ok(block.get(..count)),
    }
}

/// Cheap, and never wrong about a line that tells of none.
fn may_tell_error(text: &[u8], room: &mut Vec<u8>) -> bool {
    /// One of these is in every line that `failure::tells_error` takes for an error.
    const WORDS: [&str; 15] = [
        "error",
        "***",
        "fatal",
        "space left",
        "memory",
        "segmentation",
        "command not",
        "undefined ref",
        "panicked",
        "unable to",
        "no packages",
        "not resolve",
        "fail",
        "e: ",
        "exception",
    ];
    static ANY: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(WORDS)
            .ok()
    });
    let Some(text) = ansi::without_colours(text, room) else {
        return true;
    };
    ANY.as_ref().is_none_or(|any| any.is_match(text))
}

/// Calls `each` for every line from `offset` on, where one begins: with its offset, up to
/// `bytes_max` of its bytes, and how many it has, without its end.
fn for_each_line(
    mut file: &File,
    offset: u64,
    bytes_max: usize,
    mut each: impl FnMut(u64, &[u8], u64) -> ControlFlow<()>,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    let mut block = vec![0; BLOCK_BYTES];
    // A line that began in an earlier block.
    let mut begun: Vec<u8> = Vec::new();
    let mut begun_bytes = 0_u64;
    let mut start = offset;
    loop {
        let count = match file.read(&mut block) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut rest = block.get(..count).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            let length = begun_bytes + line.len() as u64;
            let flow = if begun_bytes == 0 {
                let shown = line.get(..bytes_max).unwrap_or(line);
                each(start, shown, length)
            } else {
                extend(&mut begun, line, bytes_max);
                let flow = each(start, &begun, length);
                begun.clear();
                begun_bytes = 0;
                flow
            };
            if flow.is_break() {
                return Ok(());
            }
            start += length + 1;
            rest = after.get(1..).unwrap_or_default();
        }
        extend(&mut begun, rest, bytes_max);
        begun_bytes += rest.len() as u64;
    }
    if begun_bytes > 0 {
        let _: ControlFlow<()> = each(start, &begun, begun_bytes);
    }
    Ok(())
}

fn extend(begun: &mut Vec<u8>, bytes: &[u8], bytes_max: usize) {
    let room = bytes_max.saturating_sub(begun.len());
    begun.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn numbers_and_texts(lines: &[Line]) -> Vec<(u64, String)> {
        let text = |line: &Line| String::from_utf8_lossy(&line.text).into_owned();
        lines.iter().map(|line| (line.number, text(line))).collect()
    }

    #[test]
    fn an_outline_has_the_lines_the_first_error_and_the_longest_waits() {
        let file = file(
            b"0.000s:begin\nmore\n7.000s:\x1b[31mErr\x1b[0mor: no\n8.000s:error: again\n68.000s:late\n69.000s:end",
        );
        let outline = Outline::of(&file).unwrap();
        assert_eq!((outline.lines, outline.file_bytes), (6, 88));
        assert_eq!(outline.first_error, Some(3));
        let waits: Vec<(u64, i64)> = outline
            .waits
            .iter()
            .map(|wait| (wait.line, wait.ns / 1_000_000_000))
            .collect();
        assert_eq!(waits, [(5, 60), (3, 7)]);
        let lines = outline.window(&file, 2, 3, 100, 1000).unwrap();
        assert_eq!(
            numbers_and_texts(&lines),
            [
                (2, "more".to_owned()),
                (3, "\u{1b}[31mErr\u{1b}[0mor: no".to_owned()),
                (4, "error: again".to_owned())
            ]
        );
        assert_eq!(lines[0].time_ns, None);
        assert_eq!(lines[1].wait_ns, Some(7_000_000_000));
        assert_eq!(lines[2].wait_ns, Some(1_000_000_000));
        assert_eq!(outline.window(&file, 7, 3, 100, 1000).unwrap(), []);
        assert_eq!(outline.window(&file, 6, 3, 100, 1000).unwrap().len(), 1);
    }

    #[test]
    fn a_line_begins_in_the_style_that_those_before_it_left() {
        let mut text = String::new();
        for number in 1..=3_000 {
            let paint = match number {
                990 => "\x1b[31m",
                1010 => "\x1b[0m",
                // Behind what is shown of it, and behind what is looked at.
                2001 => &format!("{}\x1b[32m", "x".repeat(5_000)),
                2010 => &format!("{}\x1b[0m", "x".repeat(STYLE_BYTES_MAX)),
                _ => "",
            };
            text.push_str(&format!("{number}.000s:{paint}line\n"));
        }
        let file = file(text.as_bytes());
        let outline = Outline::of(&file).unwrap();
        let style = |line: u64, from: u64| {
            let lines = outline.window(&file, from, 500, 100, 1000).unwrap();
            let line = lines.iter().find(|shown| shown.number == line).unwrap();
            line.style.classes()
        };
        for (line, from, classes) in [
            (990, 900, ""),
            (991, 900, "in-red"),
            (1001, 1001, "in-red"),
            (1005, 1005, "in-red"),
            (1010, 1001, "in-red"),
            (1011, 1001, ""),
            (1011, 1011, ""),
            (2002, 2001, "in-green"),
            (2500, 2500, "in-green"),
        ] {
            assert_eq!(style(line, from), classes, "{line} from {from}");
        }
    }

    #[test]
    fn nothing_has_no_lines() {
        for (text, lines) in [("", 0), ("\n", 1), ("x", 1), ("x\n", 1), ("x\n\n", 2)] {
            let file = file(text.as_bytes());
            let outline = Outline::of(&file).unwrap();
            assert_eq!(outline.lines, lines, "{text:?}");
            let window = outline.window(&file, 0, 10, 10, 10).unwrap();
            assert_eq!(window.len() as u64, lines, "{text:?}");
            let (before, tail) = tail(&file, 100).unwrap();
            assert_eq!(before + tail.len() as u64, lines, "{text:?}");
        }
    }

    #[test]
    fn every_line_is_found_again_wherever_it_is() {
        let mut text = String::new();
        for number in 1..=25_000 {
            text.push_str(&format!("{number}.000s:line {number}\n"));
        }
        let file = file(text.as_bytes());
        let mut outline = Outline::of(&file).unwrap();
        let check = |outline: &Outline| {
            for from in [1, 2, 999, 1000, 1001, 1002, 12_345, 24_999, 25_000] {
                let lines = outline.window(&file, from, 2, 100, 1000).unwrap();
                assert_eq!(lines[0].number, from);
                assert_eq!(lines[0].text, format!("line {from}").as_bytes());
                assert_eq!(lines[0].wait_ns, Some(1_000_000_000), "{from}");
            }
        };
        check(&outline);
        assert_eq!(outline.places.len(), 25);
        // As if there were too many places.
        outline.stride *= 2;
        let mut index = 0;
        outline.places.retain(|_| {
            index += 1;
            index % 2 == 1
        });
        check(&outline);
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_is_shown_of_it() {
        let mut text = b"1.000s:".to_vec();
        text.extend(vec![b'y'; 3 * BLOCK_BYTES]);
        text.extend(b"\n2.000s:last\n");
        let file = file(&text);
        let outline = Outline::of(&file).unwrap();
        assert_eq!(outline.lines, 2);
        let lines = outline.window(&file, 1, 10, 50, 60).unwrap();
        assert_eq!(lines[0].text.len(), 50);
        assert_eq!(lines[0].left_out_bytes, 3 * BLOCK_BYTES as u64 - 50);
        assert_eq!(lines[1].text, b"last");
        assert_eq!(lines[1].left_out_bytes, 0);
        let found = find(&file, "LAST", 1, 10, 100).unwrap();
        assert_eq!(found.lines, [(2, "last".to_owned())]);
        let (before, lines) = tail(&file, 20).unwrap();
        assert_eq!((before, lines.len()), (0, 2));
        assert_eq!(lines[1], "last");
    }

    #[test]
    fn words_are_found_in_any_case_through_styles_and_counted() {
        let file = file(b"1.0s:An err\x1b[31mor\n2.0s:none\n3.0s:ERROR\n4.0s:error error\n");
        let found = find(&file, "error", 2, 2, 7).unwrap();
        assert_eq!(
            found.lines,
            [(1, "…n error".to_owned()), (3, "ERROR".to_owned())]
        );
        assert_eq!((found.count, found.next), (3, Some(3)));
        // Not in the times.
        assert_eq!(find(&file, "2.0s", 1, 9, 9).unwrap().count, 0);
    }

    #[test]
    fn what_was_found_is_in_the_part_that_is_kept_of_its_line() {
        let long = format!("1.0s:{}the word{}\n", "é".repeat(1000), "é".repeat(1000));
        let of = |content: &str, words: &str| {
            let found = find(&file(content.as_bytes()), words, 1, 9, 20).unwrap();
            found.lines[0].1.clone()
        };
        assert_eq!(of(&long, "WORD"), "…éthe wordééééééééééé…");
        assert_eq!(of("1.0s:short word\n", "word"), "short word");
        let at_end = format!("1.0s:{}word\n", "é".repeat(100));
        assert_eq!(of(&at_end, "word"), format!("…{}word", "é".repeat(16)));
        // Longer than what is kept.
        assert_eq!(of(&long, &"é".repeat(30)), format!("{}…", "é".repeat(20)));
    }

    #[test]
    fn the_tail_knows_how_many_lines_come_before() {
        let file = file(b"1.0s:one\n2.0s:two\n3.0s:\x1b[1mthree\n");
        assert_eq!(
            tail(&file, 1000).unwrap(),
            (
                0,
                vec!["one".to_owned(), "two".to_owned(), "three".to_owned()]
            )
        );
        let (before, lines) = tail(&file, 17).unwrap();
        assert_eq!(before, 1);
        assert_eq!(lines, ["o", "three"]);
    }

    #[test]
    fn what_may_tell_an_error_leaves_none_out() {
        for line in [
            "Error: x",
            "make: *** [x]",
            "E: Unable to",
            "FAIL: x",
            "fatal: x",
            "out of memory",
            "segmentation fault",
            "No space left on device",
            "sh: command not found",
            "undefined reference to x",
            "panicked at",
            "Exception: x",
            "no packages available to install matching x",
            "could not resolve host",
            "[ERROR] x",
            "e: x",
            "failed: x",
        ] {
            assert!(failure::tells_error(line), "{line}");
            assert!(may_tell_error(line.as_bytes(), &mut Vec::new()), "{line}");
        }
    }
}
