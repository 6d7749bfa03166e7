//! Two ELF files, or what pretends to be: nothing panics, both directions agree, and the lists are within their bounds.
//! The second file is the first with what follows a separator put over it, so that both stay alike.
use artifact_diff::{Detail, Hints, Limits, compare};

/// One input.
pub fn run(data: &[u8]) {
    // The last four bytes say where the second file differs, the ones before them how.
    let Some((left, [at_low, at_high, count, byte])) = data.split_last_chunk::<4>() else {
        return;
    };
    let mut right = left.to_vec();
    let at = usize::from(u16::from_le_bytes([*at_low, *at_high])) % left.len().max(1);
    let end = at.saturating_add(usize::from(*count)).min(right.len());
    for changed in &mut right[at..end] {
        *changed ^= byte;
    }
    let limits = Limits::default();
    let report = compare(left, &right, &Hints::default(), &limits);
    assert_eq!(report.same, left == right.as_slice());
    let reversed = compare(&right, left, &Hints::default(), &limits);
    assert_eq!(report.apart_from, reversed.apart_from);
    if let Detail::Elf(elf) = &report.detail {
        assert!(elf.sections.items.len() <= limits.listed_max);
        if let Some(symbols) = &elf.symbols {
            let listed = symbols
                .groups
                .items
                .iter()
                .map(|group| group.symbols.items.len());
            assert!(listed.sum::<usize>() <= limits.symbols_listed_max);
            let changed = symbols.groups.items.iter().map(|group| group.changed_bytes);
            assert!(changed.sum::<u64>() <= symbols.changed_bytes);
        }
    }
    assert!(!report.to_string().is_empty());
}
