//! The console of a build as it is kept: lines `SECONDS.mmms:TEXT`, oldest first. Lines are found in
//! one way only, so whoever counts first and sends afterwards finds the same ones twice.

pub mod ansi;
pub mod outline;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// What a line begins with: when it was printed, in seconds with three digits, rounded as the
/// OCaml server's `%.3f` does.
pub fn line_head(delta_ns: i64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "as precise as what is printed of it"
    )]
    let seconds = delta_ns as f64 / 1e9;
    format!("{seconds:.3}s:")
}

/// A head has no more bytes, by far: so whether a line begins somewhere is told from these alone.
const HEAD_BYTES_MAX: usize = 32;
/// The file is read in blocks of this size.
const BLOCK_BYTES: u64 = 64 * 1024;

/// The head at the beginning of `bytes`: when the line was printed, and how long the head is.
/// None if there is no head.
fn parse_head(bytes: &[u8]) -> Option<(i64, usize)> {
    let bytes = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let seconds = bytes.get(..colon)?.strip_suffix(b"s")?;
    let (sign, seconds) = match seconds.strip_prefix(b"-") {
        Some(seconds) => (-1, seconds),
        None => (1, seconds),
    };
    let mut parts = seconds.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or_default());
    if whole.is_empty() {
        return None;
    }
    let add = |number: i64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        number.checked_mul(10)?.checked_add(i64::from(digit))
    };
    let whole = whole.iter().try_fold(0, add)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = fraction.iter().chain(&[b'0'; 9]).take(9).try_fold(0, add)?;
    let delta_ns = whole.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?;
    Some((sign * delta_ns, colon + 1))
}

/// Calls `each` for every line, newest first, with the time it was printed at, its size and its
/// text, of which `each` reads as much as it likes. The file is read from its end, a block at a
/// time, and a line is never in memory as a whole.
///
/// A line begins with a head and ends before the next one: what was printed may hold line ends of
/// its own. What comes before the first head is a line of time 0.
pub fn for_each_line_reversed(
    mut file: &File,
    mut each: impl FnMut(i64, u64, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut block = Block::default();
    // Where the line ends that is looked for; all after it is done.
    let mut end = size;
    if size > 0 && block.load(file, size - 1, 1)? == b"\n" {
        end -= 1;
    }
    let mut start = size;
    while start > 0 {
        let count = start.min(BLOCK_BYTES);
        start -= count;
        // With what follows, where a head that begins at the end of the block has its end.
        let loaded = block
            .load(file, start, count + HEAD_BYTES_MAX as u64)?
            .len();
        let mut next = loaded.min(usize::try_from(count).map_err(io::Error::other)?);
        while let Some(newline) = block.bytes[..next].iter().rposition(|byte| *byte == b'\n') {
            next = newline;
            let begin = start + newline as u64 + 1;
            if begin <= end
                && let Some((delta, head)) = parse_head(&block.bytes[newline + 1..])
            {
                let (text, bytes) = (begin + head as u64, end - begin - head as u64);
                block.read(file, text, bytes, |text| each(delta, bytes, text))?;
                end = begin - 1;
            }
        }
    }
    // The block with the file's beginning is still there.
    match parse_head(&block.bytes) {
        Some((delta, head)) => {
            let (text, bytes) = (head as u64, end - head as u64);
            block.read(file, text, bytes, |text| each(delta, bytes, text))
        }
        None if end > 0 => block.read(file, 0, end, |text| each(0, end, text)),
        None => Ok(()),
    }
}

/// A part of the file in memory.
#[derive(Default)]
struct Block {
    start: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// Takes in up to `count` bytes from `start` on.
    fn load(&mut self, mut file: &File, start: u64, count: u64) -> io::Result<&[u8]> {
        file.seek(SeekFrom::Start(start))?;
        self.start = start;
        self.bytes.clear();
        file.take(count).read_to_end(&mut self.bytes)?;
        Ok(&self.bytes)
    }

    /// Calls `each` with a part of the file: from here if it is here, else read anew.
    fn read(
        &self,
        mut file: &File,
        start: u64,
        count: u64,
        each: impl FnOnce(&mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let here = start
            .checked_sub(self.start)
            .and_then(|start| usize::try_from(start).ok())
            .zip(usize::try_from(count).ok())
            .and_then(|(start, count)| self.bytes.get(start..start.checked_add(count)?));
        match here {
            Some(mut text) => each(&mut text),
            None => {
                file.seek(SeekFrom::Start(start))?;
                each(&mut file.take(count))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_begins_with_seconds_to_three_digits() {
        assert_eq!(line_head(0), "0.000s:");
        assert_eq!(line_head(867_499_999), "0.867s:");
        assert_eq!(line_head(867_500_001), "0.868s:");
        assert_eq!(line_head(61_000_000_000), "61.000s:");
        assert_eq!(line_head(-1_500_000_000), "-1.500s:");
    }

    /// The lines of a file with this text, oldest first.
    fn lines(text: &[u8]) -> Vec<(i64, Vec<u8>)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let mut lines = Vec::new();
        for_each_line_reversed(&file, |delta, bytes, text| {
            let mut line = Vec::new();
            text.read_to_end(&mut line)?;
            assert_eq!(line.len() as u64, bytes);
            lines.push((delta, line));
            Ok(())
        })
        .unwrap();
        // Whoever reads nothing is told the same.
        let mut counted = Vec::new();
        for_each_line_reversed(&file, |delta, bytes, _| {
            counted.push((delta, bytes));
            Ok(())
        })
        .unwrap();
        assert!(
            counted.iter().copied().eq(lines
                .iter()
                .map(|(delta, line)| (*delta, line.len() as u64)))
        );
        lines.reverse();
        lines
    }

    fn line(delta: i64, text: impl Into<Vec<u8>>) -> (i64, Vec<u8>) {
        (delta, text.into())
    }

    #[test]
    fn a_line_is_what_follows_its_head_up_to_the_next_head() {
        assert_eq!(
            lines(b"0.000s:a:b:c\nno head\n\n1.500s:\n:x\n2.000s:last\n"),
            [
                line(0, "a:b:c\nno head\n"),
                line(1_500_000_000, "\n:x"),
                line(2_000_000_000, "last")
            ]
        );
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), []);
        assert_eq!(lines(b"1s:"), [line(1_000_000_000, "")]);
        assert_eq!(lines(b"1s:x"), [line(1_000_000_000, "x")]);
        assert_eq!(lines(b"1s:x\n\n"), [line(1_000_000_000, "x\n")]);
        assert_eq!(
            lines(b"no\nhead\n-1.5s:x\n2s:"),
            [
                line(0, "no\nhead"),
                line(-1_500_000_000, "x"),
                line(2_000_000_000, "")
            ]
        );
        assert_eq!(lines(b"no\nhead"), [line(0, "no\nhead")]);
    }

    #[test]
    fn a_line_may_be_of_any_length_and_lie_anywhere_in_a_block() {
        let block = usize::try_from(BLOCK_BYTES).unwrap();
        for long in [
            block - 40,
            block - 8,
            block - 7,
            block,
            3 * block + 1,
            2 * 1024 * 1024 + 100,
            3 * 1024 * 1024,
        ] {
            for end in ["", "\n"] {
                let text = format!(
                    "0.001s:first\n2.000s:{}\n3.001s:last{end}",
                    "y".repeat(long)
                );
                let expected = [
                    line(1_000_000, "first"),
                    line(2_000_000_000, "y".repeat(long)),
                    line(3_001_000_000, "last"),
                ];
                assert!(lines(text.as_bytes()) == expected, "{long}");
            }
        }
        for before in block - 60..block + 4 {
            let text = format!("0s:{}\n12.345s:b\n6.789s:c\n", "y".repeat(before));
            let expected = [
                line(0, "y".repeat(before)),
                line(12_345_000_000, "b"),
                line(6_789_000_000, "c"),
            ];
            assert!(lines(text.as_bytes()) == expected, "{before}");
        }
    }

    #[test]
    fn a_head_is_seconds_in_digits_and_nothing_else() {
        for (head, delta) in [
            ("0s:", 0),
            ("1.5s:", 1_500_000_000),
            ("-0.001s:", -1_000_000),
            ("1.s:", 1_000_000_000),
            ("1.1234567899s:", 1_123_456_789),
            ("9223372036.854775807s:", i64::MAX),
        ] {
            assert_eq!(
                parse_head(head.as_bytes()),
                Some((delta, head.len())),
                "{head}"
            );
        }
        for wrong in [
            "",
            ":",
            "s:",
            "-s:",
            ".5s:",
            "1",
            "1s",
            "1:",
            "1.5",
            "+1s:",
            "--1s:",
            "1.-5s:",
            "1.5.5s:",
            "1e3s:",
            " 1s:",
            "1,5s:",
            "9223372036.854775808s:",
            "99999999999s:",
            "0.12345678\u{e9}s:",
            "0.\u{e9}s:",
            "\u{661}s:",
            "00000000000000000000000000000001s:",
        ] {
            assert_eq!(parse_head(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn no_bytes_are_too_strange_for_a_head() {
        // All of up to six bytes that a head is made of, and some that it is not.
        let alphabet = b"09.-s:\n\xc3\xa9";
        let mut all: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..6 {
            let longer = all
                .iter()
                .flat_map(|bytes| alphabet.iter().map(|byte| [&bytes[..], &[*byte]].concat()));
            all = longer.collect();
            for bytes in &all {
                if let Some((_, length)) = parse_head(bytes) {
                    assert!(length <= bytes.len());
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_is_too_strange_to_be_read(
            text in proptest::string::bytes_regex("(?s-u)([0-9]{0,3}(\\.[0-9\\xc3\\xa9]{0,10})?s?:?.{0,9}\n?){0,20}").unwrap(),
        ) {
            let lines = lines(&text);
            // Nothing is lost but heads and line ends.
            let kept: usize = lines.iter().map(|(_, line)| line.len()).sum();
            assert!(kept <= text.len() && text.len() <= kept + lines.len() * 33 + 2);
        }
    }
}
