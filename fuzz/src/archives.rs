//! Two archives or packed files, or what pretends to be: nothing panics, and unpacking stays within its bounds.
//! The bytes are cut in two by their last two, which are a position.
use artifact_diff::{Hints, Limits, compare};

/// One input.
pub fn run(data: &[u8]) {
    let Some((both, cut)) = data.split_last_chunk::<2>() else {
        return;
    };
    let at = usize::from(u16::from_le_bytes(*cut)).min(both.len());
    let (left, right) = both.split_at(at);
    let limits = Limits {
        unpacked_bytes_max: 1 << 20,
        unpacked_bytes_free: 1 << 18,
        members_max: 100,
        ..Limits::default()
    };
    let report = compare(left, right, &Hints::default(), &limits);
    assert_eq!(report.same, left == right);
    let reversed = compare(right, left, &Hints::default(), &limits);
    assert_eq!(report.apart_from, reversed.apart_from);
    assert!(!report.to_string().is_empty());
    assert!(compare(left, left, &Hints::default(), &limits).same);
}
