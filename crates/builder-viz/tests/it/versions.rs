//! Pictures are kept by version, so one that is drawn differently needs another version.
//!
//! When this fails, count the version up that is told, and write the new digest beside it.

use builder_viz::{DEPENDENCIES_VERSION, TREEMAP_VERSION, dependencies, treemap};
use sha2::{Digest, Sha256};

use crate::{SWITCH, program};

/// Which digest a picture has in which version: of all of it, so of style and script, too.
fn digest(html: &str) -> String {
    let digest = Sha256::digest(html);
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn a_treemap_that_is_drawn_differently_has_another_version() {
    let drawn = digest(&treemap(&program(), None).unwrap());
    assert_eq!((TREEMAP_VERSION, drawn.as_str()), (6, "155dc86b50033e92"));
}

#[test]
fn a_graph_that_is_drawn_differently_has_another_version() {
    let drawn = digest(&dependencies(SWITCH).unwrap());
    assert_eq!(
        (DEPENDENCIES_VERSION, drawn.as_str()),
        (5, "baec0be4044d269a")
    );
}
