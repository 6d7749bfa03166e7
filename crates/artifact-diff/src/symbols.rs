//! Symbols of two files: which belong together, and what became of each.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};

use symbol_names::{OcamlName, Units, library_of_symbol, without_stamps, without_suffixes};

use crate::addresses::{Addresses, Content, same_apart_from_addresses};
use crate::c_files::{self, CFile};
use crate::compare::Comparison;
use crate::elf::{Elf, Symbol};
use crate::report::{
    Group, GroupDiff, Listed, SymbolChange, SymbolDiff, SymbolsDiff, Unattributed,
};

/// Symbols listed of one group.
const LISTED_OF_GROUP_MAX: usize = 40;
/// Modules and C files of both files that are told apart; what is in others is one group.
const GROUPS_MAX: usize = 20_000;
/// The group of what is in no other.
const OTHER: &str = "other";
/// Bytes between two symbols that may be there to align the second.
const ALIGNMENT_BYTES_MAX: usize = 16;

/// A symbol with its place and size.
struct Placed<'n> {
    symbol: &'n Symbol<'n>,
    bytes: u64,
    /// Its group, and its name in it.
    key: u32,
}

/// Names that stand for the same in both files.
#[derive(Default)]
struct Names<'n> {
    group_ids: HashMap<(Group, &'n str), u32>,
    groups: Vec<(Group, &'n str, Option<&'n str>)>,
    key_ids: HashMap<(u32, &'n str), u32>,
    /// Group and name in it, by key.
    keys: Vec<(u32, &'n str)>,
}

impl<'n> Names<'n> {
    fn key(
        &mut self,
        group: Group,
        group_name: &'n str,
        directory: Option<&'n str>,
        item: &'n str,
    ) -> u32 {
        let is_known = self.group_ids.contains_key(&(group, group_name));
        let (group, group_name, directory) = match is_known || self.groups.len() < GROUPS_MAX {
            true => (group, group_name, directory),
            false => (Group::CPrefix, OTHER, None),
        };
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let id = *self.group_ids.entry((group, group_name)).or_insert(next);
        if id == next {
            self.groups.push((group, group_name, directory));
        }
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let key = *self.key_ids.entry((id, item)).or_insert(next);
        if key == next {
            self.keys.push((id, item));
        }
        key
    }
}

/// What a C symbol whose file is not known is put under: the package of a known library, or its own
/// first part, since the symbols of one library begin alike.
pub fn c_group(name: &str) -> &str {
    if let Some(library) = library_of_symbol(name) {
        return library;
    }
    if name.starts_with("caml_") {
        return "OCaml runtime";
    }
    match name.trim_start_matches('_').split_once('_') {
        Some((prefix, _)) if prefix.len() > 2 => prefix,
        _ => OTHER,
    }
}

/// Glue that the compiler generates for a whole program.
fn is_startup(name: &str) -> bool {
    ["caml_apply", "caml_curry", "caml_tuplify", "caml_send"]
        .iter()
        .filter_map(|prefix| name.strip_prefix(prefix))
        .any(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// Symbols with content, by section and address. Each byte belongs to one symbol at most: of several at one place the
/// largest counts, and a symbol ends where the next one begins. OCaml's data says no sizes: there a symbol reaches up to
/// the next.
fn placed<'n>(elf: &'n Elf<'n>, files: &'n [CFile], names: &mut Names<'n>) -> Vec<Placed<'n>> {
    let units = Units::of(elf.symbols.iter().map(|symbol| symbol.name));
    let mut symbols: Vec<_> = elf
        .symbols
        .iter()
        .filter(|symbol| !symbol.name.starts_with('$') && !symbol.name.starts_with(".L"))
        .filter(|symbol| {
            elf.sections.get(symbol.section).is_some_and(|section| {
                section.is_loaded() && section.has_content() && !section.is_unwinding()
            })
        })
        .collect();
    symbols.sort_by_key(|symbol| {
        (
            symbol.section,
            symbol.address,
            std::cmp::Reverse(symbol.bytes),
        )
    });
    let mut placed: Vec<Placed<'n>> = Vec::with_capacity(symbols.len());
    let mut at = 0;
    while let Some(first) = symbols.get(at) {
        let same_place = |symbol: &&&crate::elf::Symbol<'_>| {
            symbol.section == first.section && symbol.address == first.address
        };
        let run = symbols
            .get(at..)
            .unwrap_or_default()
            .iter()
            .take_while(same_place)
            .count();
        let next = symbols
            .get(at + run)
            .filter(|next| next.section == first.section);
        let Some(section) = elf.sections.get(first.section) else {
            break;
        };
        let section_end = section.address.saturating_add(section.bytes);
        let end = next
            .map_or(section_end, |next| next.address)
            .min(section_end);
        // Without a size, the last name at a place is what is there; markers come before it.
        let symbol = match first.bytes {
            0 => symbols
                .get(at..at + run)
                .unwrap_or_default()
                .iter()
                .max_by_key(|symbol| !is_marker(symbol.name))
                .unwrap_or(first),
            _ => first,
        };
        at += run;
        let room = end.saturating_sub(symbol.address);
        let bytes = match symbol.bytes {
            0 if is_code_marker(symbol.name) => 0,
            0 => room,
            bytes => bytes.min(room),
        };
        if bytes == 0 || symbol.address < section.address {
            continue;
        }
        let file = c_files::at(files, symbol.address);
        let key = match units.split(symbol.name) {
            Some(OcamlName { unit, item }) => {
                names.key(Group::OcamlModule, unit, None, without_stamps(item))
            }
            None if is_startup(symbol.name) => {
                names.key(Group::OcamlModule, "startup", None, symbol.name)
            }
            None => {
                let item = without_suffixes(symbol.name);
                match (file, symbol.file) {
                    (Some(file), _) => {
                        names.key(Group::CFile, &file.name, Some(&file.directory), item)
                    }
                    (None, Some(file)) => names.key(Group::CFile, file, None, item),
                    (None, None) => names.key(Group::CPrefix, c_group(item), None, item),
                }
            }
        };
        placed.push(Placed { symbol, bytes, key });
    }
    placed
}

fn is_marker(name: &str) -> bool {
    is_code_marker(name) || name.ends_with("data_begin")
}

/// What stands behind them only aligns.
fn is_code_marker(name: &str) -> bool {
    name.ends_with("code_end") || name.ends_with("code_begin")
}

struct Side<'e> {
    elf: &'e Elf<'e>,
    symbols: Vec<Placed<'e>>,
    addresses: Addresses<'e>,
    /// The symbols of all keys, those of one after those of the other, by address.
    by_key: Vec<u32>,
    /// Where those of each key begin; at the end, where the last end.
    starts: Vec<u32>,
}

impl<'e> Side<'e> {
    fn new(elf: &'e Elf<'e>, symbols: Vec<Placed<'e>>, keys: usize) -> Side<'e> {
        let mut starts = vec![0; keys + 1];
        for symbol in &symbols {
            if let Some(count) = starts.get_mut(symbol.key as usize + 1) {
                *count += 1;
            }
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        let mut next = starts.clone();
        let mut by_key = vec![0; symbols.len()];
        for (number, symbol) in (0..).zip(&symbols) {
            if let Some(next) = next.get_mut(symbol.key as usize)
                && let Some(place) = by_key.get_mut(*next as usize)
            {
                *place = number;
                *next += 1;
            }
        }
        let mut addresses: Vec<(u64, u64, u32)> = symbols
            .iter()
            .map(|placed| (placed.symbol.address, placed.bytes, placed.key))
            .collect();
        addresses.sort_unstable();
        Side {
            addresses: Addresses::new(elf, addresses),
            elf,
            symbols,
            by_key,
            starts,
        }
    }

    fn of_key(&self, key: usize) -> &[u32] {
        let at = |key: usize| self.starts.get(key).map(|start| *start as usize);
        let range = at(key).zip(at(key + 1));
        range
            .and_then(|(start, end)| self.by_key.get(start..end))
            .unwrap_or_default()
    }

    fn symbol(&self, number: u32) -> Option<&Placed<'e>> {
        self.symbols.get(number as usize)
    }

    fn content(&self, number: u32) -> Content<'e> {
        let content = self
            .symbol(number)
            .and_then(|Placed { symbol, bytes, .. }| {
                let section = self.elf.sections.get(symbol.section)?;
                let start = usize::try_from(symbol.address.checked_sub(section.address)?).ok()?;
                let end = start.checked_add(usize::try_from(*bytes).ok()?)?;
                Some(Content {
                    bytes: section.data.get(start..end)?,
                    address: symbol.address,
                    is_code: section.is_code(),
                })
            });
        content.unwrap_or(Content {
            bytes: &[],
            address: 0,
            is_code: false,
        })
    }

    fn bytes(&self, number: u32) -> u64 {
        self.symbol(number).map_or(0, |symbol| symbol.bytes)
    }
}

/// Symbols that belong together, by their numbers.
enum Pairing {
    Same,
    Moved,
    Changed(u32, u32),
    Removed(u32),
    Added(u32),
}

/// What became of the symbols of a group.
#[derive(Default, Clone)]
struct Counts {
    left_bytes: u64,
    right_bytes: u64,
    changed_bytes: u64,
    added: u64,
    removed: u64,
    grown: u64,
    shrunk: u64,
    changed: u64,
}

/// A symbol that is on one side only, or not the same on both.
#[derive(Clone, Copy)]
struct Change {
    group: u32,
    key: u32,
    left: Option<u32>,
    right: Option<u32>,
}

/// None: neither file has symbols.
pub(crate) fn diff<'e>(
    comparison: &mut Comparison<'_>,
    left: &'e Elf<'e>,
    right: &'e Elf<'e>,
    incomplete: &mut Vec<String>,
) -> Option<SymbolsDiff> {
    match (left.symbols.is_empty(), right.symbols.is_empty()) {
        (true, true) => return None,
        (false, false) => {}
        (left_is_empty, _) => {
            let side = if left_is_empty { "right" } else { "left" };
            incomplete.push(format!(
                "only the {side} file has symbols: they are not compared"
            ));
            return None;
        }
    }
    let left_files = c_files::c_files(left, comparison.budget);
    let right_files = c_files::c_files(right, comparison.budget);
    let mut names = Names::default();
    let left_symbols = placed(left, &left_files, &mut names);
    let right_symbols = placed(right, &right_files, &mut names);
    let left = Side::new(left, left_symbols, names.keys.len());
    let right = Side::new(right, right_symbols, names.keys.len());

    let mut groups = vec![Counts::default(); names.groups.len()];
    let mut changes = Vec::new();
    let (mut same_count, mut moved_count) = (0, 0);
    let hasher = RandomState::new();
    for (key, (group_id, _)) in (0..).zip(&names.keys) {
        let Some(group) = groups.get_mut(*group_id as usize) else {
            continue;
        };
        let (of_left, of_right) = (left.of_key(key as usize), right.of_key(key as usize));
        group.left_bytes += of_left
            .iter()
            .map(|number| left.bytes(*number))
            .sum::<u64>();
        group.right_bytes += of_right
            .iter()
            .map(|number| right.bytes(*number))
            .sum::<u64>();
        for pairing in pair(&left, of_left, &right, of_right, &hasher) {
            let (left_number, right_number) = match pairing {
                Pairing::Same => {
                    same_count += 1;
                    continue;
                }
                Pairing::Moved => {
                    moved_count += 1;
                    continue;
                }
                Pairing::Changed(left, right) => (Some(left), Some(right)),
                Pairing::Removed(left) => (Some(left), None),
                Pairing::Added(right) => (None, Some(right)),
            };
            let left_bytes = left_number.map_or(0, |number| left.bytes(number));
            let right_bytes = right_number.map_or(0, |number| right.bytes(number));
            let count = match change(
                left_number.map(|_| left_bytes),
                right_number.map(|_| right_bytes),
            ) {
                SymbolChange::Added => &mut group.added,
                SymbolChange::Removed => &mut group.removed,
                SymbolChange::Grown => &mut group.grown,
                SymbolChange::Shrunk => &mut group.shrunk,
                SymbolChange::Changed => &mut group.changed,
            };
            *count += 1;
            group.changed_bytes += left_bytes.max(right_bytes);
            changes.push(Change {
                group: *group_id,
                key,
                left: left_number,
                right: right_number,
            });
        }
    }
    let changed_bytes = groups.iter().map(|group| group.changed_bytes).sum::<u64>();
    let (groups, left_out) = listed(comparison, &names, &groups, changes, (&left, &right));
    let unattributed = unattributed(&left, &right);
    Some(SymbolsDiff {
        left_count: left.symbols.len() as u64,
        right_count: right.symbols.len() as u64,
        same_count,
        moved_count,
        changed_bytes: changed_bytes + unattributed.iter().map(|rest| rest.bytes).sum::<u64>(),
        groups: Listed {
            items: groups,
            left_out,
        },
        unattributed,
    })
}

/// The groups of which most bytes changed, each with its largest symbols that did; and how many groups more there are.
fn listed(
    comparison: &mut Comparison<'_>,
    names: &Names<'_>,
    counts: &[Counts],
    mut changes: Vec<Change>,
    (left, right): (&Side<'_>, &Side<'_>),
) -> (Vec<GroupDiff>, u64) {
    let mut changed: Vec<_> = (0..)
        .zip(&names.groups)
        .zip(counts)
        .filter(|(_, counts)| counts.changed_bytes > 0)
        .collect();
    changed.sort_by(
        |((_, (_, one_name, _)), one), ((_, (_, other_name, _)), other)| {
            let by_bytes = other.changed_bytes.cmp(&one.changed_bytes);
            by_bytes.then_with(|| one_name.cmp(other_name))
        },
    );
    let of = |side: &Side<'_>, number: Option<u32>| number.map(|number| side.bytes(number));
    changes.sort_by_key(|change| {
        let larger = of(left, change.left).max(of(right, change.right));
        (change.group, std::cmp::Reverse(larger))
    });
    let left_out = changed
        .len()
        .saturating_sub(comparison.limits.groups_listed_max);
    changed.truncate(comparison.limits.groups_listed_max);
    let mut groups = Vec::with_capacity(changed.len());
    for ((id, (group, name, directory)), counts) in changed {
        let first = changes.partition_point(|change| change.group < id);
        let end = changes.partition_point(|change| change.group <= id);
        let of_group = changes.get(first..end).unwrap_or_default();
        let max = LISTED_OF_GROUP_MAX.min(comparison.budget.symbols_listed);
        let symbols = of_group.iter().take(max).map(|change| {
            let (left_bytes, right_bytes) = (of(left, change.left), of(right, change.right));
            let place = |side, number| Some((side, Side::symbol(side, number?)?));
            let symbol = place(right, change.right).or_else(|| place(left, change.left));
            let section =
                symbol.and_then(|(side, placed)| side.elf.sections.get(placed.symbol.section));
            let item = names
                .keys
                .get(change.key as usize)
                .map_or("", |(_, item)| item);
            SymbolDiff {
                name: match item {
                    "" => symbol
                        .map_or("", |(_, placed)| placed.symbol.name)
                        .to_owned(),
                    item => item.to_owned(),
                },
                change: self::change(left_bytes, right_bytes),
                section: section.map_or_else(String::new, |section| section.name()),
                left_bytes: left_bytes.unwrap_or(0),
                right_bytes: right_bytes.unwrap_or(0),
            }
        });
        let items: Vec<SymbolDiff> = symbols.collect();
        comparison.budget.symbols_listed -= items.len();
        groups.push(GroupDiff {
            group: *group,
            name: (*name).to_owned(),
            directory: directory.map(str::to_owned),
            left_bytes: counts.left_bytes,
            right_bytes: counts.right_bytes,
            changed_bytes: counts.changed_bytes,
            added: counts.added,
            removed: counts.removed,
            grown: counts.grown,
            shrunk: counts.shrunk,
            changed: counts.changed,
            symbols: Listed {
                left_out: (of_group.len() - items.len()) as u64,
                items,
            },
        });
    }
    (groups, left_out as u64)
}

fn change(left_bytes: Option<u64>, right_bytes: Option<u64>) -> SymbolChange {
    match (left_bytes, right_bytes) {
        (None, _) => SymbolChange::Added,
        (_, None) => SymbolChange::Removed,
        (Some(left), Some(right)) if left < right => SymbolChange::Grown,
        (Some(left), Some(right)) if left > right => SymbolChange::Shrunk,
        _ => SymbolChange::Changed,
    }
}

/// Pairs the symbols of one name: those with the same content first, wherever they stand; then those that only moved;
/// then what is left, in their order.
fn pair(
    left: &Side<'_>,
    of_left: &[u32],
    right: &Side<'_>,
    of_right: &[u32],
    hasher: &RandomState,
) -> Vec<Pairing> {
    let compared = |left_number: u32, right_number: u32| {
        let (left_content, right_content) =
            (left.content(left_number), right.content(right_number));
        if left_content.bytes == right_content.bytes {
            Pairing::Same
        } else if same_apart_from_addresses(
            left_content,
            right_content,
            &left.addresses,
            &right.addresses,
        ) {
            Pairing::Moved
        } else {
            Pairing::Changed(left_number, right_number)
        }
    };
    if let ([left_number], [right_number]) = (of_left, of_right) {
        return vec![compared(*left_number, *right_number)];
    }
    let mut pairings = Vec::with_capacity(of_left.len().max(of_right.len()));
    let hash = |content: Content<'_>| {
        let mut state = hasher.build_hasher();
        state.write(content.bytes);
        state.finish()
    };
    // By content, then by size; the last come first, which `rev` puts right.
    let mut by_content: HashMap<u64, Vec<u32>> = HashMap::new();
    for number in of_right.iter().rev() {
        by_content
            .entry(hash(right.content(*number)))
            .or_default()
            .push(*number);
    }
    let mut rest_of_left = Vec::new();
    for number in of_left {
        let content = left.content(*number);
        let same = by_content.get_mut(&hash(content)).and_then(|numbers| {
            numbers.pop_if(|other| right.content(*other).bytes == content.bytes)
        });
        match same {
            Some(_) => pairings.push(Pairing::Same),
            None => rest_of_left.push(*number),
        }
    }
    let mut rest_of_right: Vec<u32> = by_content.into_values().flatten().collect();
    rest_of_right.sort_unstable();
    let mut by_size: HashMap<u64, Vec<u32>> = HashMap::new();
    for number in rest_of_right.iter().rev() {
        by_size
            .entry(right.bytes(*number))
            .or_default()
            .push(*number);
    }
    let mut changed_left = Vec::new();
    let mut moved_right = HashSet::new();
    for number in rest_of_left {
        let other = by_size.get_mut(&left.bytes(number));
        let moved = other.and_then(|numbers| {
            numbers.pop_if(|other| matches!(compared(number, *other), Pairing::Moved))
        });
        match moved {
            Some(other) => {
                pairings.push(Pairing::Moved);
                moved_right.insert(other);
            }
            None => changed_left.push(number),
        }
    }
    rest_of_right.retain(|number| !moved_right.contains(number));
    let mut changed_right = rest_of_right.into_iter();
    for number in changed_left {
        pairings.push(match changed_right.next() {
            Some(other) => Pairing::Changed(number, other),
            None => Pairing::Removed(number),
        });
    }
    pairings.extend(changed_right.map(Pairing::Added));
    pairings
}

/// Bytes of loaded sections that belong to no symbol and are on one side only.
fn unattributed(left: &Side<'_>, right: &Side<'_>) -> Vec<Unattributed> {
    let mut all = Vec::new();
    let mut seen = HashSet::new();
    for section in &left.elf.sections {
        // Of several of one name the first is looked at.
        if !seen.insert(section.name) {
            continue;
        }
        let counts = section.is_loaded()
            && section.has_content()
            && !section.is_note()
            && !section.is_unwinding()
            && ![b".dynsym".as_slice(), b".dynstr", b".gnu.hash", b".hash"].contains(&section.name);
        let other = right.elf.section(section.name);
        let Some(other) = other.filter(|other| counts && other.data != section.data) else {
            continue;
        };
        let (of_left, of_right) = (gaps(left, section.name), gaps(right, section.name));
        let lone = |gaps: &[&[u8]], others: &[&[u8]]| -> u64 {
            let mut times: HashMap<&[u8], usize> = HashMap::new();
            for other in others {
                *times.entry(other).or_default() += 1;
            }
            let lone = gaps.iter().filter(|gap| match times.get_mut(*gap) {
                Some(times) if *times > 0 => {
                    *times -= 1;
                    false
                }
                _ => true,
            });
            lone.map(|gap| gap.len() as u64).sum()
        };
        let bytes = match (of_left.as_slice(), of_right.as_slice()) {
            // No symbols at all: byte by byte.
            ([one], [other_one])
                if one.len() == section.data.len() && other_one.len() == other.data.len() =>
            {
                crate::bytes::differing(one, other_one)
            }
            (of_left, of_right) => lone(of_left, of_right).max(lone(of_right, of_left)),
        };
        if bytes > 0 {
            all.push(Unattributed {
                section: section.name(),
                bytes,
            });
        }
    }
    all
}

/// The pieces of a section that no symbol covers, without what only aligns.
fn gaps<'e>(side: &Side<'e>, name: &[u8]) -> Vec<&'e [u8]> {
    let section = side
        .elf
        .sections
        .iter()
        .position(|section| section.name == name);
    let Some((number, section)) =
        section.and_then(|number| Some((number, side.elf.sections.get(number)?)))
    else {
        return Vec::new();
    };
    let first = side
        .symbols
        .partition_point(|placed| placed.symbol.section < number);
    let symbols = side.symbols.get(first..).unwrap_or_default();
    let mut gaps = Vec::new();
    let mut at = 0;
    let mut gap = |from: u64, to: u64| {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let to = usize::try_from(to).unwrap_or(usize::MAX);
        if let Some(gap) = section.data.get(from..to)
            && gap.len() >= ALIGNMENT_BYTES_MAX
        {
            gaps.push(gap);
        }
    };
    let of_section = |placed: &&Placed<'_>| placed.symbol.section == number;
    for placed in symbols.iter().take_while(of_section) {
        let start = placed.symbol.address.saturating_sub(section.address);
        gap(at, start);
        at = start.saturating_add(placed.bytes);
    }
    gap(at, section.data.len() as u64);
    gaps
}
