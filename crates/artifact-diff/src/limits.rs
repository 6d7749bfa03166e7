//! What bounds a comparison, and what is known of the builds beforehand.

use crate::report::Kind;

/// Bounds on what is read, unpacked and reported.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that are held in memory at a time: both files, what they unpack to, and what is noted of the members of
    /// archives.
    pub held_bytes_max: u64,
    /// Bytes that archives and packed files may unpack to, those of both sides and all depths together, one after the
    /// other.
    pub unpacked_bytes_max: u64,
    /// How many times its packed size a file may unpack to, beyond [`Limits::unpacked_bytes_free`].
    pub ratio_max: u64,
    /// Bytes that a file may unpack to whatever its packed size.
    pub unpacked_bytes_free: u64,
    /// Members of all archives together.
    pub members_max: usize,
    /// How deep archives and packed files may be nested: a `.deb` with a packed archive of packed manuals has 4.
    pub depth_max: usize,
    /// Symbols of an ELF file: some 250 bytes each. Unikernels with debug information have up to 100,000.
    pub symbols_max: usize,
    /// Sections of an ELF file.
    pub sections_max: usize,
    /// Printable strings of a section.
    pub strings_max: usize,
    /// Bytes of a text that is compared by line.
    pub text_bytes_max: usize,
    /// Lines of a text that is compared by line.
    pub text_lines_max: usize,
    /// Places where two files differ in a known way, before they are called different.
    pub places_max: usize,
    /// Entries of each list of a report.
    pub listed_max: usize,
    /// Members listed of all archives together.
    pub members_listed_max: usize,
    /// Modules and C files of a report.
    pub groups_listed_max: usize,
    /// Symbols listed in all groups together.
    pub symbols_listed_max: usize,
    /// Strings listed of all files together.
    pub strings_listed_max: usize,
    /// Lines of the differences of all texts together that are reported.
    pub diff_lines_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        const MIB: u64 = 1024 * 1024;
        Limits {
            held_bytes_max: 120 * MIB,
            unpacked_bytes_max: 256 * MIB,
            ratio_max: 200,
            unpacked_bytes_free: 4 * MIB,
            members_max: 50_000,
            depth_max: 6,
            symbols_max: 120_000,
            sections_max: 4096,
            strings_max: 200_000,
            text_bytes_max: 8 * 1024 * 1024,
            text_lines_max: 200_000,
            places_max: 10_000,
            listed_max: 200,
            members_listed_max: 1000,
            groups_listed_max: 2000,
            symbols_listed_max: 1500,
            strings_listed_max: 1000,
            diff_lines_max: 1500,
        }
    }
}

/// What the two builds say of themselves: their directories, users, machines and times. All may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// Texts that stand for the same thing in the two builds: its kind, what it is in the left build, what in the right.
    pub texts: Vec<(Kind, String, String)>,
    /// When the left build ran: a number of seconds since 1970 in this range is taken for a time.
    pub left_time: Option<(u64, u64)>,
    /// When the right build ran.
    pub right_time: Option<(u64, u64)>,
}

impl Hints {
    /// The same, for the comparison in the other direction.
    #[must_use]
    pub fn reversed(&self) -> Hints {
        let texts = self.texts.iter();
        Hints {
            texts: texts
                .map(|(kind, left, right)| (*kind, right.clone(), left.clone()))
                .collect(),
            left_time: self.right_time,
            right_time: self.left_time,
        }
    }
}
