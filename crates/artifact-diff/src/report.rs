//! What a comparison says. The names of fields are those of its JSON form and do not change; new ones may be added.

use serde::{Deserialize, Serialize};

/// Counted up when the same two files give another report: what was kept of older ones is then of no use.
pub const VERSION: i64 = 5;

/// How two files compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = FileComparison))]
pub struct Report {
    /// What the left file is.
    pub left: FileFacts,
    /// What the right file is.
    pub right: FileFacts,
    /// The same bytes.
    pub same: bool,
    /// Not empty: the files are the same, byte for byte, once what is of these kinds is put aside. Of packed files and
    /// archives this is said of what they unpack to.
    pub apart_from: Vec<Kind>,
    /// Known causes of differences that were found, whether or not they explain all of them; the most frequent kind first.
    pub causes: Vec<Cause>,
    /// What was not looked at, and why; a sentence each.
    pub incomplete: Vec<String>,
    /// What differs.
    pub detail: Detail,
}

/// One of the two files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileFacts {
    /// Its size in bytes.
    pub bytes: u64,
    /// The SHA-256 of its content, in lower-case hexadecimal.
    pub sha256: String,
    /// What it is.
    pub format: Format,
}

/// What a file is, told from its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", schema(as = FileFormat))]
pub enum Format {
    /// An executable, library or object.
    Elf,
    /// A tar archive.
    Tar,
    /// An ar archive, as Debian's packages are.
    Ar,
    /// Packed by gzip.
    Gzip,
    /// Packed by xz.
    Xz,
    /// Packed by zstd.
    Zstd,
    /// UTF-8 without control characters.
    Text,
    /// Nothing at all.
    Empty,
    /// Anything else.
    Bytes,
}

/// A kind of difference that is known to make builds differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", schema(as = CauseKind))]
pub enum Kind {
    /// When something was built, as text, as a number or in an archive.
    Timestamp,
    /// The directory that something was built in.
    BuildPath,
    /// The identification that the linker computes of the whole file, and a checksum of its debug file.
    BuildId,
    /// In which order files stand in an archive.
    FileOrder,
    /// Who built it, or owns the files.
    UserName,
    /// Random identifiers and names of temporary files.
    RandomId,
    /// The language and character set of the build.
    Locale,
    /// The version of the machine's kernel.
    KernelVersion,
    /// The machine's name.
    HostName,
    /// The same content, packed differently.
    Compression,
}

/// A known cause, where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = KnownCause))]
pub struct Cause {
    /// Of which kind.
    pub kind: Kind,
    /// In how many places.
    pub count: u64,
    /// The first of them: a section, a member of an archive, or empty.
    pub place: String,
    /// What is there on the left.
    pub left: String,
    /// What is there on the right.
    pub right: String,
}

/// What differs, by what the files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", schema(as = FileDetail))]
pub enum Detail {
    /// Nothing.
    Same,
    /// Two ELF files.
    Elf(Box<ElfDiff>),
    /// Two archives of the same format.
    Archive(ArchiveDiff),
    /// Two packed files, each by whatever format.
    Packed(PackedDiff),
    /// Two texts.
    Text(TextDiff),
    /// Anything else.
    Bytes(BytesDiff),
}

/// A list that may have been cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Listed<T> {
    /// Its first entries.
    pub items: Vec<T>,
    /// How many more there are.
    pub left_out: u64,
}

/// A field that has another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldChange {
    /// Its name, in words.
    pub field: String,
    /// Its value on the left.
    pub left: String,
    /// Its value on the right.
    pub right: String,
}

/// On which side something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// On both, the same.
    Same,
    /// On both, not the same.
    Differs,
    /// Only on the left.
    OnlyLeft,
    /// Only on the right.
    OnlyRight,
}

/// What differs between two ELF files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ElfDiff {
    /// What the headers say differently.
    pub header: Vec<FieldChange>,
    /// Segments that differ.
    pub segments: Listed<FieldChange>,
    /// All sections, in the order of the left file.
    pub sections: Listed<SectionDiff>,
    /// All notes.
    pub notes: Listed<NoteDiff>,
    /// Symbols; none: neither file has any.
    pub symbols: Option<SymbolsDiff>,
    /// Strings in data that are on one side only.
    pub strings: StringsDiff,
}

/// A section on one or both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SectionDiff {
    /// Its name.
    pub name: String,
    /// Where it is, and whether its content is the same.
    pub presence: Presence,
    /// What it is on the left.
    pub left: Option<SectionFacts>,
    /// What it is on the right.
    pub right: Option<SectionFacts>,
}

/// A section of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SectionFacts {
    /// Its size in bytes.
    pub bytes: u64,
    /// Where it is loaded; 0: it is not.
    pub address: u64,
    /// The SHA-256 of its content, in lower-case hexadecimal; none: it has no content in the file.
    pub sha256: Option<String>,
}

/// A note on one or both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NoteDiff {
    /// Its owner and what it is about.
    pub name: String,
    /// Where it is, and whether it is the same.
    pub presence: Presence,
    /// What it says on the left, in words.
    pub left: Option<String>,
    /// What it says on the right, in words.
    pub right: Option<String>,
}

/// What differs between the symbols of two files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SymbolsDiff {
    /// Symbols with content on the left.
    pub left_count: u64,
    /// Symbols with content on the right.
    pub right_count: u64,
    /// Symbols that are the same: name, size, bytes.
    pub same_count: u64,
    /// Symbols that differ in nothing but the addresses in them, since something else moved.
    pub moved_count: u64,
    /// The bytes of all symbols that are not the same or only moved (of the larger side where both have it), and of
    /// [`SymbolsDiff::unattributed`].
    pub changed_bytes: u64,
    /// OCaml modules and C files with changes, the most changed bytes first.
    pub groups: Listed<GroupDiff>,
    /// Bytes that differ and belong to no symbol, by section.
    pub unattributed: Vec<Unattributed>,
}

/// Bytes of a section that differ and belong to no symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unattributed {
    /// The section's name.
    pub section: String,
    /// How many.
    pub bytes: u64,
}

/// What symbols are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", schema(as = SymbolGroup))]
pub enum Group {
    /// An OCaml module, by the name of its compilation unit.
    OcamlModule,
    /// A C or assembly source file.
    CFile,
    /// C symbols whose file is not known, by the beginning of their names.
    CPrefix,
}

/// What differs in one module or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupDiff {
    /// What it is.
    pub group: Group,
    /// Its name.
    pub name: String,
    /// Where its source was when it was compiled, if the debug information says so.
    pub directory: Option<String>,
    /// Bytes of all its symbols on the left.
    pub left_bytes: u64,
    /// Bytes of all its symbols on the right.
    pub right_bytes: u64,
    /// Its part of [`SymbolsDiff::changed_bytes`].
    pub changed_bytes: u64,
    /// Symbols only on the right.
    pub added: u64,
    /// Symbols only on the left.
    pub removed: u64,
    /// Symbols that are larger on the right.
    pub grown: u64,
    /// Symbols that are smaller on the right.
    pub shrunk: u64,
    /// Symbols of the same size with other bytes.
    pub changed: u64,
    /// Which they are, the largest first.
    pub symbols: Listed<SymbolDiff>,
}

/// What became of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SymbolChange {
    /// Only on the right.
    Added,
    /// Only on the left.
    Removed,
    /// Larger on the right.
    Grown,
    /// Smaller on the right.
    Shrunk,
    /// Other bytes.
    Changed,
}

/// A symbol that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SymbolDiff {
    /// Its name within its group, without the numbers the compiler gives out.
    pub name: String,
    /// What became of it.
    pub change: SymbolChange,
    /// The section it is in.
    pub section: String,
    /// Its size on the left, 0 where it is not.
    pub left_bytes: u64,
    /// Its size on the right, 0 where it is not.
    pub right_bytes: u64,
}

/// Printable strings in the data of two files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StringsDiff {
    /// Strings that are the same but for what is of a known kind.
    pub paired: Listed<Difference>,
    /// Strings only on the left.
    pub only_left: Listed<String>,
    /// Strings only on the right.
    pub only_right: Listed<String>,
}

/// Two strings that stand for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Difference {
    /// Of which known kind the difference is.
    pub kind: Kind,
    /// The section they are in.
    pub place: String,
    /// On the left.
    pub left: String,
    /// On the right.
    pub right: String,
}

/// What differs between two archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchiveDiff {
    /// How many members the left has.
    pub left_members: u64,
    /// How many members the right has.
    pub right_members: u64,
    /// Members that are the same in everything.
    pub same: u64,
    /// The members that both have stand in another order.
    pub order_differs: bool,
    /// Members that differ.
    pub members: Listed<MemberDiff>,
}

/// A member of an archive that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemberDiff {
    /// Its path in the archive.
    pub path: String,
    /// Where it is; [`Presence::Same`]: the content is the same and the metadata is not.
    pub presence: Presence,
    /// Its size on the left, in bytes.
    pub left_bytes: Option<u64>,
    /// Its size on the right, in bytes.
    pub right_bytes: Option<u64>,
    /// What the archive says of it differently: mode, owner, time.
    pub metadata: Vec<FieldChange>,
    /// How the contents compare, if both have it and they differ.
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub report: Option<Box<Report>>,
}

/// What differs between two packed files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PackedDiff {
    /// What the formats and their headers say differently.
    pub header: Vec<FieldChange>,
    /// How the contents compare.
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub content: Box<Report>,
}

/// What differs between two texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TextDiff {
    /// The difference as `diff -u` shows it, long lines shortened around what differs.
    pub diff: String,
    /// Lines of it that were left out.
    pub lines_left_out: u64,
}

/// What differs between two files of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BytesDiff {
    /// Bytes that are not the same at their place, and those that the longer one has more.
    pub differing_bytes: u64,
    /// The bytes around the first differences.
    pub places: Listed<HexRows>,
}

/// The bytes around a difference, in rows of 16.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HexRows {
    /// Where the first row starts.
    pub offset: u64,
    /// The rows of the left file: hexadecimal, then the printable characters.
    pub left: Vec<String>,
    /// The rows of the right file.
    pub right: Vec<String>,
}

impl<T> Listed<T> {
    /// The first `max` entries of a list.
    pub fn cut(mut items: Vec<T>, max: usize) -> Listed<T> {
        let left_out = items.len().saturating_sub(max);
        items.truncate(max);
        Listed {
            items,
            left_out: left_out as u64,
        }
    }
}

impl Kind {
    /// In words, for a sentence: `apart from timestamps`.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Timestamp => "timestamps",
            Kind::BuildPath => "the build path",
            Kind::BuildId => "the build id",
            Kind::FileOrder => "the order of files",
            Kind::UserName => "user names",
            Kind::RandomId => "random names",
            Kind::Locale => "the locale",
            Kind::KernelVersion => "the kernel's version",
            Kind::HostName => "the host's name",
            Kind::Compression => "how it is packed",
        }
    }
}

impl Format {
    /// In words: `ELF`, `tar archive`.
    pub fn words(self) -> &'static str {
        match self {
            Format::Elf => "ELF",
            Format::Tar => "tar archive",
            Format::Ar => "ar archive",
            Format::Gzip => "packed by gzip",
            Format::Xz => "packed by xz",
            Format::Zstd => "packed by zstd",
            Format::Text => "text",
            Format::Empty => "empty",
            Format::Bytes => "binary data",
        }
    }
}

impl SymbolChange {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            SymbolChange::Added => "added",
            SymbolChange::Removed => "removed",
            SymbolChange::Grown => "grown",
            SymbolChange::Shrunk => "shrunk",
            SymbolChange::Changed => "changed",
        }
    }
}

impl Group {
    /// In words: `OCaml module`.
    pub fn words(self) -> &'static str {
        match self {
            Group::OcamlModule => "OCaml module",
            Group::CFile => "C file",
            Group::CPrefix => "C symbols",
        }
    }
}

impl Report {
    /// What is to be said first, in a sentence.
    pub fn verdict(&self) -> String {
        if self.same {
            return "The same, byte for byte.".to_owned();
        }
        if !self.apart_from.is_empty() {
            return format!(
                "Identical apart from {}.",
                kinds(self.apart_from.iter().copied())
            );
        }
        match self.causes.as_slice() {
            [] => "Different.".to_owned(),
            causes => format!(
                "Different, in more than {}.",
                kinds(causes.iter().map(|cause| cause.kind))
            ),
        }
    }
}

/// Kinds as a list in words: `timestamps, user names and the build path`.
fn kinds(kinds: impl Iterator<Item = Kind>) -> String {
    let mut words: Vec<&str> = Vec::new();
    for kind in kinds {
        if !words.contains(&kind.words()) {
            words.push(kind.words());
        }
    }
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
