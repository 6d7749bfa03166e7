//! A report as text, for a terminal.

use std::fmt::{self, Display, Formatter, Write};

use crate::report::{
    ArchiveDiff, BytesDiff, Cause, Detail, ElfDiff, FieldChange, FileFacts, GroupDiff, Kind,
    Listed, Presence, Report, SymbolsDiff,
};

/// Modules and symbols shown of each; the JSON form has more.
const GROUPS_SHOWN: usize = 30;
const SYMBOLS_SHOWN: usize = 8;
const STRINGS_SHOWN: usize = 12;

impl Display for Report {
    /// What is to be said first comes first; what is inside something is indented.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        report(&mut text, self, 0);
        f.write_str(&text)
    }
}

macro_rules! line {
    ($text:expr, $depth:expr, $($argument:tt)*) => {{
        let start = $text.len();
        // OK because writing to a string does not fail.
        let _ = write!($text, $($argument)*);
        indent($text, start, $depth);
    }};
}

/// Indents what was written since `start`, and ends its last line.
fn indent(text: &mut String, start: usize, depth: usize) {
    let written = text.split_off(start);
    for line in written.lines() {
        text.extend(std::iter::repeat_n("  ", depth));
        text.push_str(line);
        text.push('\n');
    }
}

fn report(text: &mut String, report: &Report, depth: usize) {
    line!(text, depth, "{}", report.verdict());
    line!(text, depth, "left:  {}", facts(&report.left));
    line!(text, depth, "right: {}", facts(&report.right));
    for cause in &report.causes {
        line!(text, depth, "{}", cause_words(cause));
    }
    for sentence in &report.incomplete {
        line!(text, depth, "Not compared: {sentence}.");
    }
    match &report.detail {
        Detail::Same => {}
        Detail::Elf(elf) => elf_diff(text, elf, depth),
        Detail::Archive(archive) => archive_diff(text, archive, depth),
        Detail::Packed(packed) => {
            changes(text, &packed.header, depth);
            line!(text, depth, "unpacked:");
            self::report(text, &packed.content, depth + 1);
        }
        Detail::Text(diff) => {
            line!(text, depth, "{}", diff.diff);
            left_out(text, diff.lines_left_out, "lines", depth);
        }
        Detail::Bytes(diff) => bytes_diff(text, diff, depth),
    }
}

fn facts(facts: &FileFacts) -> String {
    format!(
        "{}, {} bytes, SHA-256 {}",
        facts.format.words(),
        facts.bytes,
        facts.sha256
    )
}

fn cause_words(cause: &Cause) -> String {
    let times = match cause.count {
        1 => String::new(),
        count => format!(" ({count} places)"),
    };
    let what = match cause.kind {
        Kind::FileOrder => "the first members are ",
        _ => "",
    };
    let place = match cause.place.as_str() {
        "" => String::new(),
        place => format!(" in {place}"),
    };
    match (cause.left.as_str(), cause.right.as_str()) {
        ("", "") => format!("Cause: {}{place}{times}", cause.kind.words()),
        (left, right) => {
            format!(
                "Cause: {}{place}: {what}{left} → {right}{times}",
                cause.kind.words()
            )
        }
    }
}

fn left_out(text: &mut String, count: u64, what: &str, depth: usize) {
    if count > 0 {
        line!(text, depth, "… and {count} more {what}");
    }
}

fn changes(text: &mut String, changes: &[FieldChange], depth: usize) {
    for change in changes {
        line!(
            text,
            depth,
            "{}: {} → {}",
            change.field,
            or_none(&change.left),
            or_none(&change.right)
        );
    }
}

fn or_none(text: &str) -> &str {
    match text {
        "" => "none",
        text => text,
    }
}

fn elf_diff(text: &mut String, elf: &ElfDiff, depth: usize) {
    changes(text, &elf.header, depth);
    changes(text, &elf.segments.items, depth);
    left_out(text, elf.segments.left_out, "segments", depth);
    for note in &elf.notes.items {
        if note.presence != Presence::Same {
            let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "none".to_owned());
            line!(
                text,
                depth,
                "note {}: {} → {}",
                note.name,
                side(&note.left),
                side(&note.right)
            );
        }
    }
    let differing: Vec<_> = elf
        .sections
        .items
        .iter()
        .filter(|section| section.presence != Presence::Same)
        .collect();
    line!(
        text,
        depth,
        "{} of {} sections differ{}",
        differing.len(),
        elf.sections.items.len(),
        if differing.is_empty() { "" } else { ":" }
    );
    for section in differing {
        let bytes = |side: &Option<crate::SectionFacts>| match side {
            Some(facts) => format!("{} bytes", facts.bytes),
            None => "none".to_owned(),
        };
        line!(
            text,
            depth + 1,
            "{:<24} {} → {}",
            section.name,
            bytes(&section.left),
            bytes(&section.right)
        );
    }
    if let Some(symbols) = &elf.symbols {
        symbols_diff(text, symbols, depth);
    }
    let strings = &elf.strings;
    for pair in strings.paired.items.iter().take(STRINGS_SHOWN) {
        line!(
            text,
            depth,
            "string ({}): {} → {}",
            pair.kind.words(),
            pair.left,
            pair.right
        );
    }
    let more = |list: &Listed<String>| {
        list.left_out + list.items.len().saturating_sub(STRINGS_SHOWN) as u64
    };
    for string in strings.only_left.items.iter().take(STRINGS_SHOWN) {
        line!(text, depth, "string only on the left:  {string}");
    }
    left_out(
        text,
        more(&strings.only_left),
        "strings only on the left",
        depth,
    );
    for string in strings.only_right.items.iter().take(STRINGS_SHOWN) {
        line!(text, depth, "string only on the right: {string}");
    }
    left_out(
        text,
        more(&strings.only_right),
        "strings only on the right",
        depth,
    );
}

fn symbols_diff(text: &mut String, symbols: &SymbolsDiff, depth: usize) {
    line!(
        text,
        depth,
        "symbols: {} → {}; {} are the same, {} only moved, {} bytes changed",
        symbols.left_count,
        symbols.right_count,
        symbols.same_count,
        symbols.moved_count,
        symbols.changed_bytes
    );
    for group in symbols.groups.items.iter().take(GROUPS_SHOWN) {
        line!(
            text,
            depth + 1,
            "{}",
            group_words(group, symbols.changed_bytes)
        );
        for symbol in group.symbols.items.iter().take(SYMBOLS_SHOWN) {
            line!(
                text,
                depth + 2,
                "{:<8} {:>7} → {:<7} {}",
                symbol.change.words(),
                symbol.left_bytes,
                symbol.right_bytes,
                symbol.name
            );
        }
        let more =
            group.symbols.left_out + group.symbols.items.len().saturating_sub(SYMBOLS_SHOWN) as u64;
        left_out(text, more, "symbols", depth + 2);
    }
    let more =
        symbols.groups.left_out + symbols.groups.items.len().saturating_sub(GROUPS_SHOWN) as u64;
    left_out(text, more, "modules and files", depth + 1);
    for rest in &symbols.unattributed {
        line!(
            text,
            depth + 1,
            "in no symbol: {} bytes of {}",
            rest.bytes,
            rest.section
        );
    }
}

fn group_words(group: &GroupDiff, all_bytes: u64) -> String {
    let mut words = format!(
        "{} {}: {} bytes ({} %)",
        group.group.words(),
        group.name,
        group.changed_bytes,
        percent(group.changed_bytes, all_bytes)
    );
    for (count, what) in [
        (group.added, "added"),
        (group.removed, "removed"),
        (group.grown, "grown"),
        (group.shrunk, "shrunk"),
        (group.changed, "changed"),
    ] {
        if count > 0 {
            // OK because writing to a string does not fail.
            let _ = write!(words, ", {count} {what}");
        }
    }
    words
}

/// With one digit behind the point.
fn percent(part: u64, whole: u64) -> String {
    let thousandths = part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
    format!("{}.{}", thousandths / 10, thousandths % 10)
}

fn archive_diff(text: &mut String, archive: &ArchiveDiff, depth: usize) {
    line!(
        text,
        depth,
        "members: {} → {}; {} are the same{}",
        archive.left_members,
        archive.right_members,
        archive.same,
        if archive.order_differs {
            "; their order is not"
        } else {
            ""
        }
    );
    for member in &archive.members.items {
        match member.presence {
            Presence::OnlyLeft => line!(text, depth, "only on the left:  {}", member.path),
            Presence::OnlyRight => line!(text, depth, "only on the right: {}", member.path),
            Presence::Same | Presence::Differs => line!(text, depth, "{}:", member.path),
        }
        changes(text, &member.metadata, depth + 1);
        if let Some(inner) = &member.report {
            report(text, inner, depth + 1);
        }
    }
    left_out(text, archive.members.left_out, "members that differ", depth);
}

fn bytes_diff(text: &mut String, diff: &BytesDiff, depth: usize) {
    line!(text, depth, "{} bytes differ", diff.differing_bytes);
    for place in &diff.places.items {
        let rows = place.left.len().max(place.right.len());
        for number in 0..rows {
            let (left, right) = (place.left.get(number), place.right.get(number));
            let offset = place.offset + 16 * number as u64;
            match (left, right) {
                (Some(left), Some(right)) if left == right => {
                    line!(text, depth, "  {offset:08x}  {left}")
                }
                (left, right) => {
                    for (sign, row) in [('-', left), ('+', right)] {
                        if let Some(row) = row {
                            line!(text, depth, "{sign} {offset:08x}  {row}");
                        }
                    }
                }
            }
        }
        line!(text, depth, "");
    }
    left_out(text, diff.places.left_out, "places", depth);
}
