//! The parts of a binary in order: kinds, in them libraries, in them modules; the largest first.

use std::collections::BTreeMap;

use crate::binary::{Binary, Kind, Part};

/// Parts of one library, package or section.
#[derive(Debug)]
pub(crate) struct Group<'b> {
    pub(crate) kind: Kind,
    pub(crate) name: &'b str,
    pub(crate) bytes: u64,
    pub(crate) parts: Vec<&'b Part>,
}

/// All groups, those of one kind together.
pub(crate) fn groups(binary: &Binary) -> Vec<Group<'_>> {
    let mut by_name: BTreeMap<(Kind, &str), Vec<&Part>> = BTreeMap::new();
    for part in &binary.parts {
        // What nobody claims is told by section.
        let name = match part.kind {
            Kind::Unnamed => part.name.as_str(),
            _ => part.group.as_str(),
        };
        by_name.entry((part.kind, name)).or_default().push(part);
    }
    let mut groups: Vec<Group<'_>> = by_name
        .into_iter()
        .map(|((kind, name), mut parts)| {
            parts.sort_by(|one, other| {
                let by_size = other.bytes().cmp(&one.bytes());
                by_size.then_with(|| one.name.cmp(&other.name))
            });
            let bytes = parts.iter().map(|part| part.bytes());
            Group {
                kind,
                name,
                bytes: bytes.fold(0, u64::saturating_add),
                parts,
            }
        })
        .collect();
    groups.sort_by(|one, other| {
        let by_size = other.bytes.cmp(&one.bytes);
        one.kind.cmp(&other.kind).then(by_size)
    });
    groups
}

impl Group<'_> {
    /// Whether it is one module that has the name of its library.
    pub(crate) fn is_one(&self) -> bool {
        matches!(self.parts.as_slice(), [part] if part.name == self.name || self.kind == Kind::Unnamed)
    }
}
