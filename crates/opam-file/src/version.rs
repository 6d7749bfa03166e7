//! opam's order of versions, which is Debian's without the epoch.

use std::cmp::Ordering;

/// Compares two versions as opam does. Different texts can be equal: `1.0`, `1.00` and `1.0-0`.
///
/// ```
/// use std::cmp::Ordering;
/// assert_eq!(opam_file::version::compare(b"1.0~beta", b"1.0"), Ordering::Less);
/// assert_eq!(opam_file::version::compare(b"1.2.3", b"1.10"), Ordering::Less);
/// assert_eq!(opam_file::version::compare(b"1.0", b"1.00"), Ordering::Equal);
/// ```
pub fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let (left_upstream, left_revision) = split_revision(left);
    let (right_upstream, right_revision) = split_revision(right);
    compare_parts(left_upstream, right_upstream)
        .then_with(|| compare_parts(left_revision, right_revision))
}

fn split_revision(version: &[u8]) -> (&[u8], &[u8]) {
    match version.iter().rposition(|&byte| byte == b'-') {
        Some(dash) => (
            version.get(..dash).unwrap_or_default(),
            version.get(dash + 1..).unwrap_or_default(),
        ),
        None => (version, b""),
    }
}

fn compare_parts(mut left: &[u8], mut right: &[u8]) -> Ordering {
    loop {
        match (left, right) {
            ([], []) => return Ordering::Equal,
            ([], rest) => return compare_end_with(rest),
            (rest, []) => return compare_end_with(rest).reverse(),
            ([a, ..], [b, ..]) if a.is_ascii_digit() && b.is_ascii_digit() => {
                let (left_digits, left_rest) = split_number(left);
                let (right_digits, right_rest) = split_number(right);
                let order = left_digits
                    .len()
                    .cmp(&right_digits.len())
                    .then_with(|| left_digits.cmp(right_digits));
                if order.is_ne() {
                    return order;
                }
                (left, right) = (left_rest, right_rest);
            }
            ([a, left_rest @ ..], [b, right_rest @ ..]) => {
                let order = rank(*a).cmp(&rank(*b));
                if order.is_ne() {
                    return order;
                }
                (left, right) = (left_rest, right_rest);
            }
        }
    }
}

/// Compares the end of one part with what is left of the other: zeros count as nothing, `~` comes before the end.
fn compare_end_with(rest: &[u8]) -> Ordering {
    match rest.iter().find(|&&byte| byte != b'0') {
        None => Ordering::Equal,
        Some(b'~') => Ordering::Greater,
        Some(_) => Ordering::Less,
    }
}

/// The digits at the start without leading zeros, and what follows them.
fn split_number(part: &[u8]) -> (&[u8], &[u8]) {
    let zeros = part.iter().take_while(|&&byte| byte == b'0').count();
    let part = part.get(zeros..).unwrap_or_default();
    let digits = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
    part.split_at_checked(digits).unwrap_or((part, b""))
}

/// `~` < digits < letters < everything else.
fn rank(byte: u8) -> (u8, u8) {
    match byte {
        b'~' => (0, 0),
        b'0'..=b'9' => (1, 0),
        b'a'..=b'z' | b'A'..=b'Z' => (2, byte),
        _ => (3, byte),
    }
}
