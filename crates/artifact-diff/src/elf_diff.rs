//! Two ELF files.

use crate::causes;
use crate::compare::{Comparison, Found, sha256};
use crate::elf::{Elf, Section};
use crate::report::{Detail, ElfDiff, Kind, Listed, Presence, SectionDiff, SectionFacts};
use crate::{segments_and_notes, strings, symbols};

pub(crate) fn diff(
    comparison: &mut Comparison<'_>,
    left_file: &[u8],
    right_file: &[u8],
) -> Result<Found, String> {
    let limits = comparison.limits;
    let left = Elf::parse(left_file, limits)?;
    let right = Elf::parse(right_file, limits)?;
    let mut incomplete = Vec::new();
    for (side, elf) in [("left", &left), ("right", &right)] {
        let problems = elf.problems.iter();
        incomplete.extend(problems.map(|problem| format!("the {side} file: {problem}")));
    }
    let (left_notes, right_notes) = (
        segments_and_notes::notes(&left),
        segments_and_notes::notes(&right),
    );
    let known = (
        segments_and_notes::known_parts(&left, &left_notes),
        segments_and_notes::known_parts(&right, &right_notes),
    );
    let place = |offset: usize| match left.section_at(offset as u64) {
        Some(section) => section.name(),
        None => "headers".to_owned(),
    };
    let walk = causes::walk(
        left_file,
        right_file,
        (&known.0, &known.1),
        &place,
        comparison.hints,
        limits,
    );
    let mut found_in_strings = causes::Causes::default();
    let strings = strings::diff(comparison, &left, &right, &mut found_in_strings);
    let causes = match walk.explained {
        true => walk.causes,
        false => {
            let ids = segments_and_notes::build_id(&left_notes)
                .zip(segments_and_notes::build_id(&right_notes));
            if let Some((left, right)) = ids
                && left != right
            {
                found_in_strings.add(Kind::BuildId, ".note.gnu.build-id", &left, &right);
            }
            found_in_strings
        }
    };
    let symbols = symbols::diff(comparison, &left, &right, &mut incomplete);
    let detail = ElfDiff {
        header: segments_and_notes::header(&left, &right),
        segments: segments_and_notes::segments(&left, &right, limits),
        sections: Listed::cut(sections(&left, &right), limits.listed_max),
        notes: segments_and_notes::compare(
            (left_file, &left_notes),
            (right_file, &right_notes),
            limits,
        ),
        symbols,
        strings,
    };
    Ok(Found {
        detail: Detail::Elf(Box::new(detail)),
        causes,
        explained: walk.explained,
        incomplete,
    })
}

/// All sections of both, those of the same name in their order.
fn sections(left: &Elf<'_>, right: &Elf<'_>) -> Vec<SectionDiff> {
    let is_section = |section: &&Section<'_>| section.kind != object::elf::SHT_NULL;
    let mut taken = vec![false; right.sections.len()];
    let mut all = Vec::new();
    for section in left.sections.iter().filter(is_section) {
        let other = right
            .sections
            .iter()
            .zip(&mut taken)
            .find(|(other, taken)| !**taken && is_section(other) && other.name == section.name);
        let other = other.map(|(other, taken)| {
            *taken = true;
            other
        });
        let left_facts = facts(section);
        let right_facts = other.map(|other| match other.data == section.data {
            true => SectionFacts {
                bytes: other.bytes,
                address: other.address,
                sha256: left_facts.sha256.clone(),
            },
            false => facts(other),
        });
        all.push(SectionDiff {
            name: section.name(),
            presence: match &right_facts {
                None => Presence::OnlyLeft,
                Some(right)
                    if right.bytes == left_facts.bytes && right.sha256 == left_facts.sha256 =>
                {
                    Presence::Same
                }
                Some(_) => Presence::Differs,
            },
            left: Some(left_facts),
            right: right_facts,
        });
    }
    let rest = right.sections.iter().zip(&taken);
    let rest = rest.filter(|(section, taken)| !**taken && is_section(section));
    all.extend(rest.map(|(section, _)| SectionDiff {
        name: section.name(),
        presence: Presence::OnlyRight,
        left: None,
        right: Some(facts(section)),
    }));
    all
}

fn facts(section: &Section<'_>) -> SectionFacts {
    SectionFacts {
        bytes: section.bytes,
        address: section.address,
        sha256: section.has_content().then(|| sha256(section.data)),
    }
}
