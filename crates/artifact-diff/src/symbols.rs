//! Symbols of two files: which belong together, and what became of each.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};

use symbol_names::{OcamlName, Units, library_of_symbol, without_stamps, without_suffixes};

use crate::addresses::{Addresses, Content, same_apart_from_addresses};
use crate::c_files::{self, CFile};
use crate::compare::Comparison;
use crate::elf::Elf;
use crate::report::{
    Group, GroupDiff, Listed, SymbolChange, SymbolDiff, SymbolsDiff, Unattributed,
};

/// Symbols listed of one group.
const LISTED_OF_GROUP_MAX: usize = 40;
/// Bytes between two symbols that may be there to align the second.
const ALIGNMENT_BYTES_MAX: usize = 16;

/// A symbol with its place and size.
struct Placed<'n> {
    section: usize,
    address: u64,
    bytes: u64,
    /// Its group, and its name in it.
    key: u32,
    name: &'n str,
}

/// Names that stand for the same in both files.
#[derive(Default)]
struct Names<'n> {
    group_ids: HashMap<(Group, String), u32>,
    groups: Vec<(Group, String, Option<String>)>,
    key_ids: HashMap<(u32, &'n str), u32>,
    /// Group and name in it, by key.
    keys: Vec<(u32, &'n str)>,
}

impl<'n> Names<'n> {
    fn key(
        &mut self,
        group: Group,
        group_name: &str,
        directory: Option<&str>,
        item: &'n str,
    ) -> u32 {
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let id = match self.group_ids.get(&(group, group_name.to_owned())) {
            Some(id) => *id,
            None => {
                self.group_ids.insert((group, group_name.to_owned()), next);
                self.groups
                    .push((group, group_name.to_owned(), directory.map(str::to_owned)));
                next
            }
        };
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
        _ => "other",
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
fn placed<'n>(elf: &Elf<'n>, files: &[CFile], names: &mut Names<'n>) -> Vec<Placed<'n>> {
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
        placed.push(Placed {
            section: symbol.section,
            address: symbol.address,
            bytes,
            key,
            name: symbol.name,
        });
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
    /// The symbols of each key, by address.
    by_key: Vec<Vec<usize>>,
}

impl<'e> Side<'e> {
    fn new(elf: &'e Elf<'e>, symbols: Vec<Placed<'e>>, keys: usize) -> Side<'e> {
        let mut by_key = vec![Vec::new(); keys];
        for (number, symbol) in symbols.iter().enumerate() {
            if let Some(of_key) = by_key.get_mut(symbol.key as usize) {
                of_key.push(number);
            }
        }
        let mut addresses: Vec<(u64, u64, u32)> = symbols
            .iter()
            .map(|symbol| (symbol.address, symbol.bytes, symbol.key))
            .collect();
        addresses.sort_unstable();
        Side {
            addresses: Addresses::new(elf, addresses),
            elf,
            symbols,
            by_key,
        }
    }

    fn of_key(&self, key: usize) -> &[usize] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    fn content(&self, number: usize) -> Content<'e> {
        let content = self.symbols.get(number).and_then(|symbol| {
            let section = self.elf.sections.get(symbol.section)?;
            let start = usize::try_from(symbol.address.checked_sub(section.address)?).ok()?;
            let end = start.checked_add(usize::try_from(symbol.bytes).ok()?)?;
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

    fn bytes(&self, number: usize) -> u64 {
        self.symbols.get(number).map_or(0, |symbol| symbol.bytes)
    }
}

/// Symbols that belong together, by their numbers.
enum Pairing {
    Same,
    Moved,
    Changed(usize, usize),
    Removed(usize),
    Added(usize),
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

    let mut groups: Vec<GroupDiff> = names
        .groups
        .iter()
        .map(|(group, name, directory)| GroupDiff {
            group: *group,
            name: name.clone(),
            directory: directory.clone(),
            left_bytes: 0,
            right_bytes: 0,
            changed_bytes: 0,
            added: 0,
            removed: 0,
            grown: 0,
            shrunk: 0,
            changed: 0,
            symbols: Listed {
                items: Vec::new(),
                left_out: 0,
            },
        })
        .collect();
    let (mut same_count, mut moved_count) = (0, 0);
    let hasher = RandomState::new();
    for (key, (group, item)) in names.keys.iter().enumerate() {
        let Some(group) = groups.get_mut(*group as usize) else {
            continue;
        };
        let (of_left, of_right) = (left.of_key(key), right.of_key(key));
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
            let (change, count) = match (left_number, right_number) {
                (None, _) => (SymbolChange::Added, &mut group.added),
                (_, None) => (SymbolChange::Removed, &mut group.removed),
                _ if left_bytes < right_bytes => (SymbolChange::Grown, &mut group.grown),
                _ if left_bytes > right_bytes => (SymbolChange::Shrunk, &mut group.shrunk),
                _ => (SymbolChange::Changed, &mut group.changed),
            };
            *count += 1;
            group.changed_bytes += left_bytes.max(right_bytes);
            let (side, number) = match (left_number, right_number) {
                (_, Some(number)) => (&right, number),
                (Some(number), None) => (&left, number),
                (None, None) => continue,
            };
            let symbol = side.symbols.get(number);
            let section = symbol.and_then(|symbol| side.elf.sections.get(symbol.section));
            group.symbols.items.push(SymbolDiff {
                name: match *item {
                    "" => symbol.map_or("", |symbol| symbol.name).to_owned(),
                    item => item.to_owned(),
                },
                change,
                section: section.map_or_else(String::new, |section| section.name()),
                left_bytes,
                right_bytes,
            });
        }
    }
    groups.retain(|group| group.changed_bytes > 0);
    groups.sort_by(|one, other| {
        let by_bytes = other.changed_bytes.cmp(&one.changed_bytes);
        by_bytes.then_with(|| one.name.cmp(&other.name))
    });
    for group in &mut groups {
        let symbols = &mut group.symbols;
        symbols
            .items
            .sort_by_key(|symbol| std::cmp::Reverse(symbol.left_bytes.max(symbol.right_bytes)));
        let max = LISTED_OF_GROUP_MAX.min(comparison.budget.symbols_listed);
        let all = std::mem::take(&mut symbols.items);
        *symbols = Listed::cut(all, max);
        comparison.budget.symbols_listed -= symbols.items.len();
    }
    let unattributed = unattributed(&left, &right);
    let changed =
        |groups: &[GroupDiff]| groups.iter().map(|group| group.changed_bytes).sum::<u64>();
    Some(SymbolsDiff {
        left_count: left.symbols.len() as u64,
        right_count: right.symbols.len() as u64,
        same_count,
        moved_count,
        changed_bytes: changed(&groups) + unattributed.iter().map(|rest| rest.bytes).sum::<u64>(),
        groups: Listed::cut(groups, comparison.limits.groups_listed_max),
        unattributed,
    })
}

/// Pairs the symbols of one name: those with the same content first, wherever they stand; then those that only moved;
/// then what is left, in their order.
fn pair(
    left: &Side<'_>,
    of_left: &[usize],
    right: &Side<'_>,
    of_right: &[usize],
    hasher: &RandomState,
) -> Vec<Pairing> {
    let compared = |left_number: usize, right_number: usize| {
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
    let mut by_content: HashMap<u64, Vec<usize>> = HashMap::new();
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
    let mut rest_of_right: Vec<usize> = by_content.into_values().flatten().collect();
    rest_of_right.sort_unstable();
    let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
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
    for section in &left.elf.sections {
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
        .partition_point(|symbol| symbol.section < number);
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
    for symbol in symbols.iter().take_while(|symbol| symbol.section == number) {
        let start = symbol.address.saturating_sub(section.address);
        gap(at, start);
        at = start.saturating_add(symbol.bytes);
    }
    gap(at, section.data.len() as u64);
    gaps
}
