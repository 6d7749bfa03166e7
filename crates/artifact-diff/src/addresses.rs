//! Whether two symbols are the same but for the addresses in them.
//!
//! When one function grows, everything behind it moves, and every call across it changes its bytes. Such a difference
//! counts for nothing when both sides lead to the same place of the same symbol. What is not understood as an address
//! counts as a difference.

use object::elf;

use crate::elf::{Elf, Section};

/// Bytes that have to be the same where an address leads to no symbol.
const TARGET_BYTES: usize = 16;

/// Where the symbols of a file are: address, size, and what the symbol is matched by; by address.
#[derive(Debug)]
pub(crate) struct Addresses<'e> {
    elf: &'e Elf<'e>,
    symbols: Vec<(u64, u64, u32)>,
    /// Loaded sections, by address.
    sections: Vec<&'e Section<'e>>,
}

/// The content of a symbol, and where it is loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'e> {
    pub(crate) bytes: &'e [u8],
    pub(crate) address: u64,
    pub(crate) is_code: bool,
}

impl<'e> Addresses<'e> {
    /// `symbols` are sorted.
    pub(crate) fn new(elf: &'e Elf<'e>, symbols: Vec<(u64, u64, u32)>) -> Addresses<'e> {
        let loaded = elf.sections.iter().filter(|section| section.is_loaded());
        let mut sections: Vec<&Section<'_>> = loaded.collect();
        sections.sort_by_key(|section| section.address);
        Addresses {
            elf,
            symbols,
            sections,
        }
    }

    /// The symbol an address leads to, and how far into it.
    fn resolve(&self, address: u64) -> Option<(u32, u64)> {
        let after = self
            .symbols
            .partition_point(|(start, _, _)| *start <= address);
        let (start, bytes, key) = self.symbols.get(after.checked_sub(1)?)?;
        let offset = address - start;
        (offset < (*bytes).max(1)).then_some((*key, offset))
    }

    /// What an address leads to where no symbol is: the bytes there, and in code without symbols (a table of jumps into
    /// libraries) the place.
    fn target(&self, address: u64) -> Option<(&[u8], &[u8], usize)> {
        let after = self
            .sections
            .partition_point(|section| section.address <= address);
        let section = self.sections.get(after.checked_sub(1)?)?;
        let offset = usize::try_from(address - section.address).ok()?;
        if section.is_code() {
            return (offset < section.data.len()).then_some((section.name, &[], offset));
        }
        let data = section.data.get(offset..)?;
        let data = data.get(..TARGET_BYTES).unwrap_or(data);
        // A string is the same up to its end.
        let end = data
            .iter()
            .position(|byte| *byte == 0)
            .map_or(data.len(), |end| end + 1);
        Some((section.name, data.get(..end)?, 0))
    }
}

/// Both of the same length.
pub(crate) fn same_apart_from_addresses(
    left: Content<'_>,
    right: Content<'_>,
    left_file: &Addresses<'_>,
    right_file: &Addresses<'_>,
) -> bool {
    if left.bytes.len() != right.bytes.len() || left.is_code != right.is_code {
        return false;
    }
    let both = Both {
        left,
        right,
        left_file,
        right_file,
    };
    match left_file.elf.machine {
        elf::EM_AARCH64 if left.is_code => both.same_aarch64(),
        _ => both.same(),
    }
}

struct Both<'b> {
    left: Content<'b>,
    right: Content<'b>,
    left_file: &'b Addresses<'b>,
    right_file: &'b Addresses<'b>,
}

impl Both<'_> {
    fn lead_to_the_same(&self, left: u64, right: u64) -> bool {
        match (self.left_file.resolve(left), self.right_file.resolve(right)) {
            (Some(left), Some(right)) => left == right,
            (None, None) => {
                let left = self.left_file.target(left);
                left.is_some() && left == self.right_file.target(right)
            }
            _ => false,
        }
    }

    /// Numbers of 4 and 8 bytes wherever the sides differ.
    fn same(&self) -> bool {
        let mut at = 0;
        loop {
            let rest = |content: &Content<'_>| content.bytes.get(at..).unwrap_or_default().len();
            let same = crate::causes::common_prefix(
                self.left.bytes.get(at..).unwrap_or_default(),
                self.right.bytes.get(at..).unwrap_or_default(),
            );
            if same == rest(&self.left) {
                return true;
            }
            at += same;
            match self.address_around(at) {
                Some(end) => at = end,
                None => return false,
            }
        }
    }

    /// The end of an address that covers this place.
    fn address_around(&self, at: usize) -> Option<usize> {
        // The low bytes differ first, and stand first where it matters.
        for start in (at.saturating_sub(3)..=at).rev() {
            let numbers = self
                .u32_at(self.left.bytes, start)
                .zip(self.u32_at(self.right.bytes, start));
            let Some((left, right)) = numbers else {
                continue;
            };
            // From the end of the instruction, which may have a constant of 1 or 4 bytes behind the address; in data from
            // the number itself.
            let tails: &[u64] = if self.left.is_code {
                &[4, 5, 8]
            } else {
                &[0, 4]
            };
            let relative = |address: u64, number: u32, tail: u64| {
                let base = address.wrapping_add(start as u64).wrapping_add(tail);
                base.wrapping_add_signed(i64::from(number.cast_signed()))
            };
            let leads = tails.iter().any(|tail| {
                self.lead_to_the_same(
                    relative(self.left.address, left, *tail),
                    relative(self.right.address, right, *tail),
                )
            });
            if leads || self.lead_to_the_same(left.into(), right.into()) {
                return Some(start + 4);
            }
        }
        for start in (at.saturating_sub(7)..=at).rev() {
            let numbers = self
                .u64_at(self.left.bytes, start)
                .zip(self.u64_at(self.right.bytes, start));
            if let Some((left, right)) = numbers
                && self.lead_to_the_same(left, right)
            {
                return Some(start + 8);
            }
        }
        None
    }

    /// Instructions of four bytes: branches, and pages with what is added to them.
    fn same_aarch64(&self) -> bool {
        // What a register holds on both sides once a page was put into it.
        let mut pages: [Option<(u64, u64)>; 32] = [None; 32];
        // Pages that differ in the instruction, and were not seen to lead to the same yet.
        let mut open: u32 = 0;
        for at in (0..self.left.bytes.len()).step_by(4) {
            let words = self
                .u32_at(self.left.bytes, at)
                .zip(self.u32_at(self.right.bytes, at));
            let Some((left, right)) = words else {
                return self.left.bytes.get(at..) == self.right.bytes.get(at..) && open == 0;
            };
            let (left_at, right_at) = (
                self.left.address.wrapping_add(at as u64),
                self.right.address.wrapping_add(at as u64),
            );
            let register = |word: u32, shift: u32| (word >> shift) & 31;
            if left & 0x9f00_0000 == 0x9000_0000 && left & 0x9f00_001f == right & 0x9f00_001f {
                let page = |word: u32, at: u64| {
                    let low = i64::from((word >> 29) & 3);
                    // 19 bits with a sign.
                    let high = i64::from(((word << 8).cast_signed()) >> 13) << 2;
                    (at & !0xfff).wrapping_add_signed((high | low) << 12)
                };
                let to = register(left, 0);
                if let Some(entry) = pages.get_mut(to as usize) {
                    *entry = Some((page(left, left_at), page(right, right_at)));
                }
                if left != right {
                    open |= 1 << to;
                }
                continue;
            }
            let from = register(left, 5);
            let page = pages.get(from as usize).copied().flatten();
            let added = |word: u32| -> Option<u64> {
                let number = u64::from((word >> 10) & 0xfff);
                if word & 0xffc0_0000 == 0x9100_0000 {
                    Some(number)
                } else if word & 0x3b00_0000 == 0x3900_0000 {
                    Some(number << (word >> 30))
                } else {
                    None
                }
            };
            let rest = !(0xfff << 10);
            if let (Some((left_page, right_page)), Some(left_number), Some(right_number)) =
                (page, added(left), added(right))
                && left & rest == right & rest
                && self.lead_to_the_same(
                    left_page.wrapping_add(left_number),
                    right_page.wrapping_add(right_number),
                )
            {
                open &= !(1 << from);
                continue;
            }
            if left == right {
                continue;
            }
            let is_branch = |word: u32| word & 0x7c00_0000 == 0x1400_0000;
            let target = |word: u32, at: u64| {
                at.wrapping_add_signed(i64::from((word << 6).cast_signed() >> 4))
            };
            let same = is_branch(left)
                && left >> 26 == right >> 26
                && self.lead_to_the_same(target(left, left_at), target(right, right_at));
            if !same {
                return false;
            }
        }
        open == 0
    }

    fn u32_at(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self.left_file.elf.little_endian {
            true => u32::from_le_bytes(bytes),
            false => u32::from_be_bytes(bytes),
        })
    }

    fn u64_at(&self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self.left_file.elf.little_endian {
            true => u64::from_le_bytes(bytes),
            false => u64::from_be_bytes(bytes),
        })
    }
}
