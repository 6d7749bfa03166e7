//! Packed files, unpacked into memory within limits.

use std::io::Read;

use crate::limits::Limits;
use crate::report::{FieldChange, Format};

/// Memory the decoder of xz may take, for its settings up to 6 (the usual one), 7, 8 and 9.
const XZ_MEMORY_BYTES: [u64; 4] = [9 * MIB, 17 * MIB, 33 * MIB, 66 * MIB];
const MIB: u64 = 1024 * 1024;
/// What libzstd says when there is more than fits.
const ZSTD_TOO_MUCH: &str = "Destination buffer is too small";

/// What may still be unpacked, for all of a comparison.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) unpacked_bytes: u64,
    /// What may still be held in memory; given back by whoever took it.
    pub(crate) held_bytes: u64,
    pub(crate) members: usize,
    pub(crate) depth: usize,
    /// Members that may still be listed.
    pub(crate) members_listed: usize,
    /// Symbols that may still be listed.
    pub(crate) symbols_listed: usize,
    /// Strings that may still be listed.
    pub(crate) strings_listed: usize,
    /// Lines of differences that may still be listed.
    pub(crate) diff_lines: usize,
}

impl Budget {
    pub(crate) fn of(limits: &Limits) -> Budget {
        Budget {
            unpacked_bytes: limits.unpacked_bytes_max,
            held_bytes: limits.held_bytes_max,
            members: limits.members_max,
            depth: limits.depth_max,
            members_listed: limits.members_listed_max,
            symbols_listed: limits.symbols_listed_max,
            strings_listed: limits.strings_listed_max,
            diff_lines: limits.diff_lines_max,
        }
    }
}

/// What a packed file holds, or why it cannot be told.
pub(crate) fn unpack(
    packed: &[u8],
    format: Format,
    budget: &mut Budget,
    limits: &Limits,
) -> Result<Vec<u8>, String> {
    let packed_bytes = packed.len() as u64;
    let by_ratio = packed_bytes
        .saturating_mul(limits.ratio_max)
        .max(limits.unpacked_bytes_free);
    let bytes_max = by_ratio.min(budget.unpacked_bytes).min(budget.held_bytes);
    match format {
        Format::Gzip => {
            let reader = flate2::bufread::MultiGzDecoder::new(packed);
            read_within(reader, bytes_max, budget)
        }
        Format::Xz => unpack_xz(packed, bytes_max, budget),
        Format::Zstd => unpack_zstd(packed, bytes_max, budget),
        _ => Err("is not packed".to_owned()),
    }
}

/// With as little memory as will do: the decoder keeps what it unpacked last, up to the size that the packer chose, and
/// that counts as held, too.
fn unpack_xz(packed: &[u8], bytes_max: u64, budget: &mut Budget) -> Result<Vec<u8>, String> {
    let mut outcome = Err("needs too much memory to be unpacked".to_owned());
    for memory in XZ_MEMORY_BYTES {
        let stream =
            liblzma::stream::Stream::new_stream_decoder(memory, liblzma::stream::CONCATENATED)
                .map_err(|error| format!("cannot be unpacked: {error}"))?;
        let reader = liblzma::bufread::XzDecoder::new_stream(packed, stream);
        let held = budget.held_bytes;
        let beside_decoder = held.saturating_sub(memory).max(held / 2);
        outcome = read_within(reader, bytes_max.min(beside_decoder), budget);
        let needs_more =
            |why: &String| why.ends_with(&liblzma::stream::Error::MemLimit.to_string());
        if !outcome.as_ref().is_err_and(needs_more) {
            break;
        }
    }
    outcome
}

/// At once, and so without a copy of what was unpacked last.
fn unpack_zstd(packed: &[u8], bytes_max: u64, budget: &mut Budget) -> Result<Vec<u8>, String> {
    let mut content = room(bytes_max);
    let outcome = zstd::bulk::Decompressor::new()
        .and_then(|mut decoder| decoder.decompress_to_buffer(packed, &mut content));
    let bytes = outcome.as_ref().map_or(bytes_max, |bytes| *bytes as u64);
    budget.unpacked_bytes = budget.unpacked_bytes.saturating_sub(bytes);
    match outcome {
        Ok(_) => Ok(held(content, budget)),
        Err(error) if error.to_string() == ZSTD_TOO_MUCH => Err(too_much(bytes_max)),
        Err(error) => Err(format!("cannot be unpacked: {error}")),
    }
}

/// What zlib packed, as in sections of debug information.
pub(crate) fn inflate(packed: &[u8], bytes: u64, budget: &mut Budget) -> Option<Vec<u8>> {
    let bytes_max = bytes.min(budget.unpacked_bytes).min(budget.held_bytes);
    read_within(flate2::bufread::ZlibDecoder::new(packed), bytes_max, budget).ok()
}

fn read_within(reader: impl Read, bytes_max: u64, budget: &mut Budget) -> Result<Vec<u8>, String> {
    let mut content = room(bytes_max);
    let outcome = reader
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut content);
    let bytes = content.len() as u64;
    budget.unpacked_bytes = budget.unpacked_bytes.saturating_sub(bytes);
    match outcome {
        _ if bytes > bytes_max => Err(too_much(bytes_max)),
        Ok(_) => Ok(held(content, budget)),
        Err(error) => Err(format!("cannot be unpacked: {error}")),
    }
}

/// All of it at once: to grow a vector may take the memory twice. The system gives memory as it is written to.
fn room(bytes_max: u64) -> Vec<u8> {
    Vec::with_capacity(usize::try_from(bytes_max.saturating_add(1)).unwrap_or_default())
}

fn held(mut content: Vec<u8>, budget: &mut Budget) -> Vec<u8> {
    content.shrink_to_fit();
    budget.held_bytes = budget.held_bytes.saturating_sub(content.len() as u64);
    content
}

fn too_much(bytes_max: u64) -> String {
    format!("unpacks to more than {bytes_max} bytes")
}

/// What the headers of two packed files say differently.
pub(crate) fn headers(left: (&[u8], Format), right: (&[u8], Format)) -> Vec<FieldChange> {
    let fields = |(bytes, format): (&[u8], Format)| {
        let mut fields = vec![("format", format.words().to_owned())];
        if format == Format::Gzip {
            fields.extend(gzip_fields(bytes));
        }
        fields
    };
    let (left, right) = (fields(left), fields(right));
    let value = |fields: &[(&'static str, String)], name: &str| {
        let field = fields.iter().find(|(known, _)| *known == name);
        field.map_or_else(String::new, |(_, value)| value.clone())
    };
    ["format", "time", "file name", "system", "strength"]
        .into_iter()
        .map(|name| FieldChange {
            field: name.to_owned(),
            left: value(&left, name),
            right: value(&right, name),
        })
        .filter(|change| change.left != change.right)
        .collect()
}

/// RFC 1952, section 2.3.
fn gzip_fields(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let &[_, _, _, _, t0, t1, t2, t3, strength, system, ..] = bytes else {
        return fields;
    };
    fields.push(("time", u32::from_le_bytes([t0, t1, t2, t3]).to_string()));
    fields.push(("strength", strength.to_string()));
    fields.push(("system", system.to_string()));
    let decoder = flate2::bufread::GzDecoder::new(bytes);
    if let Some(name) = decoder.header().and_then(|header| header.filename()) {
        let name = name.get(..name.len().min(255)).unwrap_or_default();
        fields.push(("file name", String::from_utf8_lossy(name).into_owned()));
    }
    fields
}
