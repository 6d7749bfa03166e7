//! Two files: what each is, and which comparison that takes.

use sha2::{Digest, Sha256};

use crate::causes::{self, Causes, hex};
use crate::limits::{Hints, Limits};
use crate::report::{Detail, FieldChange, FileFacts, Format, Kind, PackedDiff, Report};
use crate::unpack::Budget;
use crate::{ar_file, archive, bytes, elf_diff, tar_file, text, unpack};

/// Compares two files. `hints` is what is known of the builds they are from.
pub fn compare(left: &[u8], right: &[u8], hints: &Hints, limits: &Limits) -> Report {
    let mut budget = Budget::of(limits);
    let files = (left.len() as u64).saturating_add(right.len() as u64);
    budget.held_bytes = budget.held_bytes.saturating_sub(files);
    Comparison {
        hints,
        limits,
        budget: &mut budget,
    }
    .files(left, right)
}

/// A comparison under way, of files and of what is in them.
pub(crate) struct Comparison<'c> {
    pub(crate) hints: &'c Hints,
    pub(crate) limits: &'c Limits,
    pub(crate) budget: &'c mut Budget,
}

/// What one kind of comparison found.
pub(crate) struct Found {
    pub(crate) detail: Detail,
    pub(crate) causes: Causes,
    /// The causes explain everything.
    pub(crate) explained: bool,
    pub(crate) incomplete: Vec<String>,
}

impl Comparison<'_> {
    pub(crate) fn files(&mut self, left: &[u8], right: &[u8]) -> Report {
        let facts = FileFacts::of(left);
        if left == right {
            return Report {
                right: facts.clone(),
                left: facts,
                same: true,
                apart_from: Vec::new(),
                causes: Vec::new(),
                incomplete: Vec::new(),
                detail: Detail::Same,
            };
        }
        let (left_facts, right_facts) = (facts, FileFacts::of(right));
        let found = self.different(left, left_facts.format, right, right_facts.format);
        Report {
            left: left_facts,
            right: right_facts,
            same: false,
            apart_from: match found.explained {
                true => found.causes.kinds(),
                false => Vec::new(),
            },
            causes: found.causes.into_list(),
            incomplete: found.incomplete,
            detail: found.detail,
        }
    }

    fn different(
        &mut self,
        left: &[u8],
        left_format: Format,
        right: &[u8],
        right_format: Format,
    ) -> Found {
        let mut incomplete = Vec::new();
        let outcome = match (left_format, right_format) {
            (Format::Elf, Format::Elf) => elf_diff::diff(self, left, right),
            (Format::Tar, Format::Tar) => self.archives(left, right, tar_file::members),
            (Format::Ar, Format::Ar) => self.archives(left, right, ar_file::members),
            (left_packed, right_packed) if left_packed.is_packed() && right_packed.is_packed() => {
                self.packed((left, left_packed), (right, right_packed))
            }
            (Format::Text | Format::Empty, Format::Text | Format::Empty) => {
                let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
                if left.len().max(right.len()) > self.limits.text_bytes_max {
                    Err(format!(
                        "only texts of up to {} bytes are compared by line",
                        self.limits.text_bytes_max
                    ))
                } else if lines(left).max(lines(right)) > self.limits.text_lines_max {
                    Err(format!(
                        "only texts of up to {} lines are compared by line",
                        self.limits.text_lines_max
                    ))
                } else {
                    return self.texts(left, right);
                }
            }
            _ => return self.bytes(left, right, incomplete),
        };
        match outcome {
            Ok(found) => found,
            Err(why) => {
                incomplete.push(why);
                self.bytes(left, right, incomplete)
            }
        }
    }

    fn archives(
        &mut self,
        left: &[u8],
        right: &[u8],
        members: fn(&[u8], &mut Budget) -> Result<archive::Members, String>,
    ) -> Result<Found, String> {
        let held = self.budget.held_bytes;
        let both =
            members(left, self.budget).and_then(|left| Ok((left, members(right, self.budget)?)));
        let found = both.map(|(left_members, right_members)| {
            archive::diff(self, (left, left_members), (right, right_members))
        });
        self.budget.held_bytes = held;
        found
    }

    fn packed<'b>(
        &mut self,
        left: (&'b [u8], Format),
        right: (&'b [u8], Format),
    ) -> Result<Found, String> {
        if self.budget.depth == 0 {
            return Err(format!(
                "packed more than {} deep, not unpacked further",
                self.limits.depth_max
            ));
        }
        let side = |side: &str, why: String| format!("the {side} file {why}");
        let held = self.budget.held_bytes;
        let unpacked = unpack::unpack(left.0, left.1, self.budget, self.limits)
            .map_err(|why| side("left", why))
            .and_then(|left| {
                let right = unpack::unpack(right.0, right.1, self.budget, self.limits);
                Ok((left, right.map_err(|why| side("right", why))?))
            });
        let content = unpacked.map(|(left, right)| {
            self.budget.depth -= 1;
            let content = self.files(&left, &right);
            self.budget.depth += 1;
            content
        });
        self.budget.held_bytes = held;
        let content = content?;
        let header = unpack::headers(left, right);

        let mut causes = Causes::default();
        causes.add_inner("unpacked", &content.causes);
        let mut explained = content.same || !content.apart_from.is_empty();
        for FieldChange { field, left, right } in &header {
            match field.as_str() {
                "time" => causes.add(Kind::Timestamp, "gzip header", left, right),
                "format" | "system" | "strength" => {
                    causes.add(Kind::Compression, "header", left, right);
                }
                _ => explained = false,
            }
        }
        // The ten bytes of gzip's header, and no file name, are what may differ without another stream.
        let stream =
            |(bytes, _): (&'b [u8], Format)| -> &'b [u8] { bytes.get(10..).unwrap_or_default() };
        if content.same && !causes.has(Kind::Compression) && stream(left) != stream(right) {
            causes.add(Kind::Compression, "", "", "");
        }
        Ok(Found {
            detail: Detail::Packed(PackedDiff {
                header,
                content: Box::new(content),
            }),
            causes,
            explained,
            incomplete: Vec::new(),
        })
    }

    fn texts(&mut self, left: &[u8], right: &[u8]) -> Found {
        let line = |offset: usize| {
            let before = left.get(..offset).unwrap_or(left);
            let line = before.iter().filter(|byte| **byte == b'\n').count();
            format!("line {}", line.saturating_add(1))
        };
        let mut walk = causes::walk(left, right, (&[], &[]), &line, self.hints, self.limits);
        let (diff, pairs) = text::diff(left, right, self.budget);
        if !walk.explained {
            // Line by line there may be more of them than up to the first other difference.
            walk.causes = Causes::default();
            for (left, right) in pairs {
                let of_line = causes::walk(
                    &left,
                    &right,
                    (&[], &[]),
                    &|_| String::new(),
                    self.hints,
                    self.limits,
                );
                if of_line.explained {
                    walk.causes.add_inner("", &of_line.causes.into_list());
                }
            }
        }
        Found {
            detail: Detail::Text(diff),
            causes: walk.causes,
            explained: walk.explained,
            incomplete: Vec::new(),
        }
    }

    fn bytes(&mut self, left: &[u8], right: &[u8], incomplete: Vec<String>) -> Found {
        let place = |offset: usize| format!("byte {offset}");
        let walk = causes::walk(left, right, (&[], &[]), &place, self.hints, self.limits);
        Found {
            detail: Detail::Bytes(bytes::diff(left, right)),
            // A known kind on the way to a difference that is not known says nothing of that.
            causes: match walk.explained {
                true => walk.causes,
                false => Causes::default(),
            },
            explained: walk.explained,
            incomplete,
        }
    }
}

impl FileFacts {
    pub(crate) fn of(bytes: &[u8]) -> FileFacts {
        FileFacts {
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
            format: Format::of(bytes),
        }
    }
}

/// In lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Format {
    /// What a file is, from its first bytes; for a text all of them count.
    pub fn of(bytes: &[u8]) -> Format {
        match bytes {
            [] => Format::Empty,
            [0x7f, b'E', b'L', b'F', ..] => Format::Elf,
            [0x1f, 0x8b, 8, ..] => Format::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Format::Ar,
            _ if tar_file::is_tar(bytes) => Format::Tar,
            _ if text::is_text(bytes) => Format::Text,
            _ => Format::Bytes,
        }
    }

    fn is_packed(self) -> bool {
        matches!(self, Format::Gzip | Format::Xz | Format::Zstd)
    }
}
