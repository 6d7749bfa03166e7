//! Any bytes as an opam file, as a switch export, and as two switch exports, separated by a byte that text does not have.

use opam_file::{Document, OpamFile, SwitchExport, unified_diff};

/// One input.
pub fn run(bytes: &[u8]) {
    let (left, right) = match bytes.iter().position(|&byte| byte == 0xff) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, bytes),
    };
    syntax(left);
    fields(left, right);
    switches(left, right);
    unified_diff("left", left, "right", right);
}

/// What was printed can be read, and prints the same.
fn syntax(bytes: &[u8]) {
    let Ok(document) = Document::parse(bytes) else {
        return;
    };
    let reprinted = |printed: &[u8]| {
        Document::parse(printed)
            .expect("what was printed is read")
            .print()
    };
    // opam's printer is not quite the inverse of its reader: a text of several lines that starts with blanks loses them,
    // and an escaped end of line of DOS becomes a line feed.
    let printed = reprinted(&document.print());
    if !printed.contains(&b'\r') {
        assert_eq!(reprinted(&printed), printed);
    }
    for item in document.items() {
        item.position();
    }
}

fn fields(left: &[u8], right: &[u8]) {
    let (Ok(left), Ok(right)) = (OpamFile::parse(left), OpamFile::parse(right)) else {
        return;
    };
    assert!(left.effectively_equal(&left));
    assert_eq!(
        left.effectively_equal(&right),
        right.effectively_equal(&left)
    );
    left.print();
    left.problems();
    left.depends_on("a");
}

fn switches(left: &[u8], right: &[u8]) {
    let (Ok(left), Ok(right)) = (SwitchExport::parse(left), SwitchExport::parse(right)) else {
        return;
    };
    let same = left.compare(&left);
    assert!(
        same.opam_diff.is_empty() && same.only_in_left.is_empty() && same.only_in_right.is_empty()
    );
    let (forth, back) = (left.compare(&right), right.compare(&left));
    assert_eq!(forth.opam_diff.len(), back.opam_diff.len());
    assert_eq!(forth.only_in_left, back.only_in_right);
}
