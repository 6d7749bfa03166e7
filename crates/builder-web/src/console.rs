//! The console of a build as it is kept: lines `SECONDS.mmms:TEXT`, oldest first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

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

/// A line, apart: when it was printed, and its text. None for what is no such line.
fn parse(line: &[u8]) -> Option<(i64, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (seconds, text) = (line.get(..colon)?, line.get(colon + 1..)?);
    let seconds = std::str::from_utf8(seconds.strip_suffix(b"s")?).ok()?;
    let (sign, digits) = match seconds.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, seconds),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |digits: &str| -> Option<i64> {
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok()
    };
    let nanoseconds = number(&format!("{fraction:0<9}")[..9])?;
    let delta = number(whole)?
        .checked_mul(1_000_000_000)?
        .checked_add(nanoseconds)?;
    Some((sign * delta, text))
}

/// A line longer than this is cut where it is read back: the whole console may be one line.
const LINE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Calls `each` for every line, oldest first.
pub fn for_each_line(
    file: &mut File,
    mut each: impl FnMut(i64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(());
        }
        if let Some((delta, text)) = parse(line.strip_suffix(b"\n").unwrap_or(&line)) {
            each(delta, text)?;
        }
    }
}

/// Calls `each` for every line, newest first. Reads the file from its end, a block at a time.
pub fn for_each_line_reversed(
    mut file: &File,
    mut each: impl FnMut(i64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    const BLOCK_BYTES: u64 = 64 * 1024;
    let mut start = file.seek(SeekFrom::End(0))?;
    // The beginning of what was read so far, up to its first line end: the end of a line.
    let mut tail: Vec<u8> = Vec::new();
    let mut call = |line: &[u8]| match parse(line) {
        Some((delta, text)) => each(delta, text),
        None => Ok(()),
    };
    while start > 0 {
        let count = start.min(BLOCK_BYTES);
        start -= count;
        file.seek(SeekFrom::Start(start))?;
        let mut block =
            Vec::with_capacity(usize::try_from(count).map_err(io::Error::other)? + tail.len());
        (&mut file).take(count).read_to_end(&mut block)?;
        block.append(&mut tail);
        if block.len() as u64 > LINE_BYTES_MAX + BLOCK_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a console line has more than {LINE_BYTES_MAX} bytes"),
            ));
        }
        let mut end = block.len();
        while let Some(newline) = block[..end].iter().rposition(|byte| *byte == b'\n') {
            call(&block[newline + 1..end])?;
            end = newline;
        }
        block.truncate(end);
        tail = block;
    }
    call(&tail)
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

    #[test]
    fn lines_are_read_both_ways_whatever_is_in_them() {
        let mut file = tempfile::tempfile().unwrap();
        let long = "y".repeat(200_000);
        let text = format!("0.000s:a:b:c\nno colon\n1.500s:\n:x\n2.000s:{long}\n3.001s:last\n");
        file.write_all(text.as_bytes()).unwrap();
        let expected = vec![
            (0, "a:b:c".to_owned()),
            (1_500_000_000, String::new()),
            (2_000_000_000, long),
            (3_001_000_000, "last".to_owned()),
        ];
        let mut forwards = Vec::new();
        for_each_line(&mut file, |delta, text| {
            forwards.push((delta, String::from_utf8_lossy(text).into_owned()));
            Ok(())
        })
        .unwrap();
        assert!(forwards == expected);
        let mut backwards = Vec::new();
        for_each_line_reversed(&file, |delta, text| {
            backwards.push((delta, String::from_utf8_lossy(text).into_owned()));
            Ok(())
        })
        .unwrap();
        backwards.reverse();
        assert!(backwards == expected);
    }
}
