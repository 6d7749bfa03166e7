//! Packed files, unpacked into memory within limits.

use std::io::Read;

use crate::limits::Limits;
use crate::report::{FieldChange, Format};

/// Memory the decoder of xz may take: its strongest setting needs 65 MiB.
const XZ_MEMORY_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// The largest window of zstd, as a power of two: 128 MiB, what its own tool accepts without being told.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// What may still be unpacked, for all of a comparison.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) unpacked_bytes: u64,
    pub(crate) members: usize,
    pub(crate) depth: usize,
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
            members: limits.members_max,
            depth: limits.depth_max,
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
    let bytes_max = by_ratio.min(budget.unpacked_bytes);
    let reader: Box<dyn Read + '_> = match format {
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Format::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                XZ_MEMORY_BYTES_MAX,
                liblzma::stream::CONCATENATED,
            )
            .map_err(|error| format!("cannot be unpacked: {error}"))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
        }
        Format::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(packed)
                .map_err(|error| format!("cannot be unpacked: {error}"))?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|error| format!("cannot be unpacked: {error}"))?;
            Box::new(decoder)
        }
        _ => return Err("is not packed".to_owned()),
    };
    read_within(reader, bytes_max, budget)
}

/// What zlib packed, as in sections of debug information.
pub(crate) fn inflate(packed: &[u8], bytes: u64, budget: &mut Budget) -> Option<Vec<u8>> {
    let bytes_max = bytes.min(budget.unpacked_bytes);
    read_within(flate2::bufread::ZlibDecoder::new(packed), bytes_max, budget).ok()
}

fn read_within(reader: impl Read, bytes_max: u64, budget: &mut Budget) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let outcome = reader
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut content);
    let bytes = content.len() as u64;
    budget.unpacked_bytes = budget.unpacked_bytes.saturating_sub(bytes);
    match outcome {
        _ if bytes > bytes_max => Err(format!("unpacks to more than {bytes_max} bytes")),
        Ok(_) => {
            content.shrink_to_fit();
            Ok(content)
        }
        Err(error) => Err(format!("cannot be unpacked: {error}")),
    }
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
