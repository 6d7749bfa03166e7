//! Any bytes as what is drawn: a switch export, a binary, or two binaries, separated by the byte that ELF files of
//! programs hardly have. Nothing panics, pictures have a bounded size, no name becomes markup, and what is drawn is
//! told as data, too.

use builder_viz::{
    Binary, PARTS_MAX, Side, dependencies, dependencies_data, treemap, treemap_changes,
    treemap_changes_data, treemap_data,
};

/// One input.
pub fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let (html, told) = match which % 3 {
        0 => (dependencies(bytes).ok(), dependencies_data(bytes).is_ok()),
        1 => {
            let binary_bytes = (which % 2 == 0).then_some(u64::from(*which) << 8);
            (
                treemap(bytes, binary_bytes).ok(),
                treemap_data(bytes, binary_bytes).is_ok(),
            )
        }
        _ => {
            let (left, right) = bytes.split_at(bytes.len() / 2);
            let (Ok(left), Ok(right)) = (Binary::read(left), Binary::read(right)) else {
                return;
            };
            let side = |binary| Side {
                name: "<b>",
                url: Some("/x\"y"),
                binary,
            };
            let told = treemap_changes_data(&left, &right);
            assert!(told.parts.len() <= PARTS_MAX);
            (Some(treemap_changes(side(&left), side(&right), None)), true)
        }
    };
    assert_eq!(html.is_some(), told);
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
