//! Any bytes as the environment and the system packages of two builds, separated by a byte that
//! text does not have: nothing panics, and both directions agree.

use builder_web::inputs::{self, Changes};

/// One input.
pub fn run(data: &[u8]) {
    let (left, right) = match data.iter().position(|byte| *byte == 0xff) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    for compare in [inputs::environment, inputs::system_packages] {
        assert_eq!(compare(left, left), Changes::default());
        let (forth, back) = (compare(left, right), compare(right, left));
        assert_eq!((&forth.removed, &forth.added), (&back.added, &back.removed));
        let turned = |(name, left, right): &(String, String, String)| {
            (name.clone(), right.clone(), left.clone())
        };
        let changed: Vec<_> = back.changed.iter().map(turned).collect();
        assert_eq!(forth.changed, changed);
    }
    let both = inputs::both(left, right);
    assert_eq!(both.len(), inputs::both(right, left).len());
}
