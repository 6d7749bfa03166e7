//! Any bytes as a console that is kept: nothing panics, what is shown of it is within its bounds,
//! and whoever reads it in another way finds the same. The first byte is the result of the build.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use builder_exec::ExecutionResult;
use builder_web::console::ansi;
use builder_web::console::outline::{self, Outline};
use builder_web::failure;

/// What is shown at a time here: less than on a page, so that inputs are long enough to be cut.
const LINES_MAX: u64 = 20;
const LINE_BYTES_MAX: usize = 100;
const ALL_BYTES_MAX: usize = 500;
const TAIL_BYTES_MAX: usize = 300;

thread_local! {
    // One for all inputs. Set TMPDIR to memory.
    static FILE: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// One input.
pub fn run(data: &[u8]) {
    let Some((result, console)) = data.split_first() else {
        return;
    };
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| tempfile::tempfile().unwrap());
        file.set_len(0).unwrap();
        file.write_all_at(console, 0).unwrap();
        outlined(file, console.len() as u64);
        told(file, *result);
    });
    styled(console);
}

fn outlined(file: &File, bytes: u64) {
    let outline = Outline::of(file).unwrap();
    // But for the end of the last line.
    assert!([bytes, bytes.saturating_sub(1)].contains(&outline.file_bytes));
    let is_there = |line: u64| (1..=outline.lines).contains(&line);
    assert!(outline.first_error.is_none_or(is_there));
    assert!(outline.waits.iter().all(|wait| is_there(wait.line)));
    for from in [0, 1, 2, outline.lines / 2, outline.lines, u64::MAX] {
        let lines = outline
            .window(file, from, LINES_MAX, LINE_BYTES_MAX, ALL_BYTES_MAX)
            .unwrap();
        assert!(lines.len() as u64 <= LINES_MAX);
        let numbers = lines.iter().zip(from.max(1)..);
        for (line, number) in numbers {
            assert_eq!(line.number, number);
            assert!(line.text.len() <= LINE_BYTES_MAX);
        }
        assert_eq!(lines.is_empty(), !is_there(from.max(1)));
    }
    let found = outline::find(file, "error", 2, 3, 50).unwrap();
    assert!(found.lines.len() as u64 <= found.count.min(3));
    assert!(found.next.is_none_or(|line| line >= 2 && is_there(line)));
    assert!(found.lines.iter().all(|(line, _)| is_there(*line)));
}

fn told(file: &File, result: u8) {
    let (before, tail) = outline::tail(file, TAIL_BYTES_MAX).unwrap();
    assert!(before == 0 || !tail.is_empty());
    let number = i64::from(result >> 2) - 16;
    let result = match result % 4 {
        0 => ExecutionResult::Exited(number),
        1 => ExecutionResult::Signalled(number),
        2 => ExecutionResult::Stopped(number),
        _ => ExecutionResult::Message(b"no space left on device".to_vec()),
    };
    let failure = failure::classify(&result, &tail);
    if let Some((line, text)) = failure.told {
        assert!(line < tail.len() && !text.contains('\n'));
    }
}

fn styled(console: &[u8]) {
    let mut style = ansi::Style::default();
    let mut room = Vec::new();
    for bytes in console.split(|byte| *byte == b'\n') {
        let line = ansi::line(bytes, &mut style);
        let mut before = None;
        for (style, text) in &line.pieces {
            assert!(!text.is_empty() && before != Some(style));
            assert!(!text.contains('\u{1b}'));
            before = Some(style);
        }
        assert_eq!(line.text(), ansi::plain(bytes));
        // What finds quickly finds the same letters.
        if bytes.is_ascii()
            && let Some(quick) = ansi::without_colours(bytes, &mut room)
        {
            let letters = |text: &str| -> String {
                text.chars().filter(char::is_ascii_alphanumeric).collect()
            };
            let quick = String::from_utf8_lossy(quick);
            assert_eq!(letters(&quick), letters(&line.text()));
        }
    }
}
