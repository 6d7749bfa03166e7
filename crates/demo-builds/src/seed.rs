//! Numbers that look random and depend on nothing but the words they are named after.
//!
//! Code, sizes, times and digests of the demo all start here, so that two builds of the same sources agree on every byte
//! and a new version of one package changes that package and no other.

use sha2::{Digest, Sha256};

/// A stream of numbers, the same for the same words on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Seed(u64);

impl Seed {
    /// The stream named by `words`; `["a", "bc"]` and `["ab", "c"]` are two streams.
    pub(crate) fn of(words: &[&str]) -> Seed {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for word in words {
            for byte in word.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        Seed(hash)
    }

    /// A stream of its own for the part `number` of this one.
    pub(crate) fn part(&self, number: u64) -> Seed {
        let mut part = Seed(self.0 ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        part.next();
        part
    }

    /// The next number (splitmix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `bound`, 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        match bound {
            0 => 0,
            _ => (self.next() >> 16) % bound,
        }
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        &choices[index]
    }
}

/// Invented digests: as many hex digits as asked for, up to 128.
pub(crate) fn hex_of(words: &[&str], digits: usize) -> String {
    let mut text = String::with_capacity(128);
    for half in ["a", "b"] {
        let mut hasher = Sha256::new();
        for word in words.iter().chain([&half]) {
            hasher.update(word.as_bytes());
            hasher.update([0]);
        }
        text.push_str(&hex(&hasher.finalize()));
    }
    text.truncate(digits);
    text
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .iter()
        .flat_map(|byte| {
            [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]
        })
        .collect()
}
