//! Job names that people take for each other: a letter of another script that looks the same, or a
//! character that nobody sees. Both jobs are as they should be to a program; who reads "pebble" may be
//! at the other one. Of the many characters that look alike, those are known here that do so in most
//! fonts and are letters of ASCII to the eye.

use std::collections::BTreeMap;

use super::{Doctor, Finding, Level};
use crate::db::sole::Sole;
use crate::{Error, Result};

/// Jobs that are named; others are counted.
const NAMED_MAX: usize = 3;

impl Doctor<'_> {
    /// Notes jobs whose names look like those of others.
    pub(super) fn look_alikes(&mut self, db: &Sole) -> Result<()> {
        let mut names = Vec::new();
        db.for_each("SELECT name FROM job ORDER BY name", |row| {
            names.push(row.text(0)?);
            Ok::<(), Error>(())
        })?;
        let alike = alike(&names);
        let count = alike.len();
        for (name, others) in alike.into_iter().take(NAMED_MAX) {
            let looks_like = match others.as_slice() {
                [] => "mixes letters of several scripts".to_owned(),
                [other] => format!("looks like {other}, and is another job"),
                [other, rest @ ..] => {
                    let rest = rest.len();
                    format!("looks like {other} and {rest} more, and is another job")
                }
            };
            let spelled = spelled(name);
            self.add(Finding::of(
                "jobs",
                Level::Note,
                format!("job {name} ({spelled}) {looks_like}"),
            ));
        }
        if count > NAMED_MAX {
            let more = count - NAMED_MAX;
            self.add(Finding::of(
                "jobs",
                Level::Note,
                format!("{more} more jobs have names that look like others"),
            ));
        }
        Ok(())
    }
}

/// A name with the number of each character that is not of ASCII, as in `p<U+0435>bble`.
fn spelled(name: &str) -> String {
    let chars = name.chars().map(|char| match char.is_ascii() {
        true => char.to_string(),
        false => format!("<U+{:04X}>", u32::from(char)),
    });
    chars.collect()
}

/// Names that look like other ones, with those; and those that mix scripts, with none. A name of
/// ASCII alone is what others look like.
fn alike(names: &[String]) -> Vec<(&str, Vec<&str>)> {
    let mut looks: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        looks.entry(look(name)).or_default().push(name);
    }
    let mut found = Vec::new();
    for name in names.iter().filter(|name| !name.is_ascii()) {
        let all = looks.get(&look(name)).map_or(&[][..], Vec::as_slice);
        let others: Vec<&str> = all.iter().copied().filter(|other| other != name).collect();
        if !others.is_empty() || mixes_scripts(name) {
            found.push((name.as_str(), others));
        }
    }
    found
}

/// What a name looks like: without what is not seen, and in letters of ASCII where there are such.
fn look(name: &str) -> String {
    let seen = name.chars().filter(|char| !is_unseen(*char));
    seen.map(letter).collect()
}

/// Whether there are letters of Latin and of a script whose letters look like those.
fn mixes_scripts(name: &str) -> bool {
    let of_other = |char: char| matches!(char, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' | '\u{531}'..='\u{587}' | '\u{13a0}'..='\u{13fd}');
    name.contains(|char: char| char.is_ascii_alphabetic()) && name.contains(of_other)
}

/// Characters without a width of their own, and those that turn the direction of others.
fn is_unseen(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// The character of ASCII that one looks like, if there is one.
fn letter(char: char) -> char {
    match char {
        // As wide as those of East Asia.
        '\u{ff01}'..='\u{ff5e}' => u8::try_from(u32::from(char) - 0xfee0).map_or(char, Into::into),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2043}' | '\u{fe58}' | '\u{fe63}' => '-',
        '\u{2024}' => '.',
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        'А' | 'Α' | 'Ꭺ' => 'A',
        'В' | 'Β' | 'Ᏼ' => 'B',
        'С' | 'Ϲ' | 'Ꮯ' => 'C',
        'Е' | 'Ε' | 'Ꭼ' => 'E',
        'Ԍ' | 'Ꮐ' => 'G',
        'Н' | 'Η' | 'Ꮋ' => 'H',
        'І' | 'Ι' | 'Ӏ' => 'I',
        'Ј' | 'Ꭻ' | 'Ϳ' => 'J',
        'К' | 'Κ' | 'Ꮶ' => 'K',
        'Ꮮ' => 'L',
        'М' | 'Μ' | 'Ϻ' | 'Ꮇ' => 'M',
        'Ν' => 'N',
        'О' | 'Ο' | 'Օ' => 'O',
        'Р' | 'Ρ' | 'Ꮲ' => 'P',
        'Ԛ' => 'Q',
        'Ѕ' | 'Տ' | 'Ꮪ' => 'S',
        'Т' | 'Τ' | 'Ꭲ' => 'T',
        'Ս' => 'U',
        'Ꮩ' => 'V',
        'Ԝ' | 'Ꮃ' => 'W',
        'Х' | 'Χ' => 'X',
        'Ү' | 'Υ' => 'Y',
        'Ζ' | 'Ꮓ' => 'Z',
        'а' | 'α' | 'ɑ' => 'a',
        'Ь' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ҽ' => 'e',
        'ɡ' | 'ց' => 'g',
        'һ' | 'հ' => 'h',
        'і' | 'ι' | 'ı' => 'i',
        'ј' | 'ϳ' => 'j',
        'ӏ' => 'l',
        'ո' => 'n',
        'о' | 'ο' | 'օ' | 'σ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'υ' | 'ս' => 'u',
        'ѵ' | 'ν' => 'v',
        'ԝ' => 'w',
        'х' => 'x',
        'у' | 'ү' | 'γ' => 'y',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_look_like_others_by_letters_of_other_scripts_and_by_what_is_not_seen() {
        let names = [
            "pebble",
            "p\u{435}bble",
            "peb\u{200b}ble",
            "\u{ff50}ebble",
            "größe",
            "камень",
            "a-b",
            "a\u{2010}b",
            "\u{3bc}kernel",
            "l1",
            "ll",
        ]
        .map(ToOwned::to_owned);
        let found = alike(&names);
        let told: Vec<String> = found
            .iter()
            .map(|(name, others)| {
                let name = spelled(name);
                format!("{name}: {}", others.first().unwrap_or(&"-"))
            })
            .collect();
        assert_eq!(
            told,
            [
                "p<U+0435>bble: pebble",
                "peb<U+200B>ble: pebble",
                "<U+FF50>ebble: pebble",
                "a<U+2010>b: a-b",
                "<U+03BC>kernel: -",
            ]
        );
        assert_eq!(found[0].1.len(), 3, "each of the others");
    }
}
