//! Any bytes as what is drawn: a switch export, a binary, or two binaries, separated by the byte that ELF files of
//! programs hardly have. Nothing panics, pictures have a bounded size, and no name becomes markup.

use builder_viz::{Side, dependencies, treemap, treemap_changes};

/// One input.
pub fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let html = match which % 3 {
        0 => dependencies(bytes).ok(),
        1 => treemap(bytes, (which % 2 == 0).then_some(u64::from(*which) << 8)).ok(),
        _ => {
            let middle = bytes.len() / 2;
            let side = |file| Side {
                name: "<b>",
                url: Some("/x\"y"),
                file,
            };
            treemap_changes(side(&bytes[..middle]), side(&bytes[middle..]), None).ok()
        }
    };
    let Some(html) = html else { return };
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    assert!(html.len() < 64 * 1024 * 1024);
    assert_eq!(html.matches("<script").count(), 1);
    assert_eq!(
        html.matches("<title").count(),
        html.matches("</title>").count()
    );
    assert!(!html.contains("<b>\"") && !html.contains("NaN") && !html.contains("inf\""));
}
