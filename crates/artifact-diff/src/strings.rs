//! Printable strings in data, and those that only one of two files has.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::c_files;
use crate::causes::{self, Causes, printable};
use crate::compare::Comparison;
use crate::elf::{Elf, Section};
use crate::patterns;
use crate::report::{Difference, Listed, StringsDiff};

/// Shorter runs of printable characters are chance.
const STRING_BYTES_MIN: usize = 8;
/// The same for sections that hold nothing but strings.
const STRING_BYTES_MIN_OF_STRINGS: usize = 4;
/// Bytes of a string that are shown.
const STRING_BYTES_MAX: usize = 200;
/// Strings on one side only that are looked at for known causes.
const LOOKED_AT_MAX: usize = 4000;

/// Strings of one section on one side only that are counted.
const LONE_MAX: usize = 50_000;
/// Bytes of the strings of all sections on one side only that are held.
const LONE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What such a string takes, beside its bytes.
const LONE_BYTES: usize = 64;

/// Sections of debug information that hold paths and what the compiler was called with.
const DEBUG_STRINGS: [&str; 2] = [".debug_str", ".debug_line_str"];

/// A string on one side only, with the section it is in.
type Lone = (Rc<str>, Vec<u8>);

pub(crate) fn diff(
    comparison: &mut Comparison<'_>,
    left: &Elf<'_>,
    right: &Elf<'_>,
    causes: &mut Causes,
) -> StringsDiff {
    let strings_max = comparison.limits.strings_max;
    let (mut lone_left, mut lone_right): (Vec<Lone>, Vec<Lone>) = Default::default();
    let (mut left_room, mut right_room) = (LONE_BYTES_MAX, LONE_BYTES_MAX);
    let mut collect = |name: &str, left: &[u8], right: &[u8], bytes_min: usize| {
        if left == right {
            return;
        }
        let strings = |bytes| strings(bytes, bytes_min).take(strings_max);
        let in_left: HashSet<&[u8]> = strings(left).collect();
        let in_right: HashSet<&[u8]> = strings(right).collect();
        let name: Rc<str> = name.into();
        let only = |bytes, other: &HashSet<&[u8]>, lone: &mut Vec<Lone>, room: &mut usize| {
            let mut seen = HashSet::new();
            let strings = strings(bytes)
                .filter(|string| !other.contains(string) && seen.insert(*string))
                .take(LONE_MAX);
            for string in strings {
                let Some(rest) = room.checked_sub(string.len() + LONE_BYTES) else {
                    return;
                };
                *room = rest;
                lone.push((name.clone(), string.to_vec()));
            }
        };
        only(left, &in_right, &mut lone_left, &mut left_room);
        only(right, &in_left, &mut lone_right, &mut right_room);
    };
    let mut taken = vec![false; right.sections.len()];
    for section in left
        .sections
        .iter()
        .filter(|section| holds_strings(section))
    {
        let other = right
            .sections
            .iter()
            .zip(&mut taken)
            .find(|(other, taken)| !**taken && other.name == section.name && holds_strings(other));
        let other = other.map(|(other, taken)| {
            *taken = true;
            other
        });
        let bytes_min = match section.flags & object::elf::SHF_STRINGS.0 {
            0 => STRING_BYTES_MIN,
            _ => STRING_BYTES_MIN_OF_STRINGS,
        };
        collect(
            &section.name(),
            section.data,
            other.map_or(&[], |other| other.data),
            bytes_min,
        );
    }
    for name in DEBUG_STRINGS {
        let held = comparison.budget.held_bytes;
        let of_left = c_files::content(left, name, comparison.budget);
        let of_right = c_files::content(right, name, comparison.budget);
        collect(name, &of_left, &of_right, STRING_BYTES_MIN_OF_STRINGS);
        comparison.budget.held_bytes = held;
    }
    pair(comparison, lone_left, lone_right, causes)
}

fn holds_strings(section: &Section<'_>) -> bool {
    section.is_loaded()
        && !section.is_code()
        && !section.is_note()
        && !section.is_unwinding()
        && section.has_content()
        && ![b".dynstr".as_slice(), b".dynsym", b".hash", b".gnu.hash"].contains(&section.name)
}

/// Runs of printable characters.
fn strings(bytes: &[u8], bytes_min: usize) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|byte| !matches!(byte, b' '..=b'~' | b'\t'))
        .filter(move |string| string.len() >= bytes_min)
}

/// Puts aside the strings that are the same but for what is of a known kind.
fn pair(
    comparison: &mut Comparison<'_>,
    left: Vec<Lone>,
    right: Vec<Lone>,
    causes: &mut Causes,
) -> StringsDiff {
    let hints = comparison.hints;
    let mut by_key: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    let keys = |string: &[u8], on_left| {
        let marked = patterns::placeholder(string, hints, on_left);
        // Paths of the same file: by its name.
        let path = string.starts_with(b"/").then(|| {
            let name = string
                .rsplit(|byte| *byte == b'/')
                .next()
                .unwrap_or_default();
            [b"/", name].concat()
        });
        [marked, path].into_iter().flatten().collect::<Vec<_>>()
    };
    for (number, (_, string)) in right.iter().enumerate().take(LOOKED_AT_MAX) {
        for key in keys(string, false) {
            by_key.entry(key).or_default().push(number);
        }
    }
    for numbers in by_key.values_mut() {
        numbers.reverse();
    }
    let mut taken = HashSet::new();
    let mut paired = Vec::new();
    let mut only_left = Vec::new();
    for (number, (place, string)) in left.iter().enumerate() {
        let other = match number < LOOKED_AT_MAX {
            true => keys(string, true).into_iter().find_map(|key| {
                let numbers = by_key.get_mut(&key)?;
                while let Some(number) = numbers.pop() {
                    if !taken.contains(&number) {
                        return Some(number);
                    }
                }
                None
            }),
            false => None,
        };
        let explained = other.and_then(|other| {
            let (_, other_string) = right.get(other)?;
            let walk = causes::walk(
                string,
                other_string,
                (&[], &[]),
                &|_| place.to_string(),
                hints,
                comparison.limits,
            );
            let found = walk.explained.then(|| walk.causes.into_list())?;
            taken.insert(other);
            Some((found, other_string))
        });
        match explained {
            Some((found, other_string)) => {
                for cause in &found {
                    causes.add_many(cause.clone());
                }
                if let Some(cause) = found.first() {
                    paired.push(Difference {
                        kind: cause.kind,
                        place: place.to_string(),
                        left: shown(string),
                        right: shown(other_string),
                    });
                }
            }
            None => only_left.push(shown(string)),
        }
    }
    let only_right: Vec<String> = right
        .iter()
        .enumerate()
        .filter(|(number, _)| !taken.contains(number))
        .map(|(_, (_, string))| shown(string))
        .collect();
    let listed_max = comparison.limits.listed_max;
    let mut budget = comparison.budget.strings_listed;
    let mut room = |count: usize| {
        let room = count.min(listed_max).min(budget);
        budget -= room;
        room
    };
    let (of_paired, of_left, of_right) = (
        room(paired.len()),
        room(only_left.len()),
        room(only_right.len()),
    );
    comparison.budget.strings_listed = budget;
    StringsDiff {
        paired: Listed::cut(paired, of_paired),
        only_left: Listed::cut(only_left, of_left),
        only_right: Listed::cut(only_right, of_right),
    }
}

fn shown(string: &[u8]) -> String {
    match string.get(..STRING_BYTES_MAX) {
        Some(cut) if string.len() > STRING_BYTES_MAX => format!("{}…", printable(cut)),
        _ => printable(string),
    }
}
