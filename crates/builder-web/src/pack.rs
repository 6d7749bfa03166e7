//! Packing of what is sent: texts for those who can unpack them, and archives.

use std::io::{self, Write};

use axum::body::Bytes;

use crate::respond::Encoding;

/// Texts shorter than this are sent as they are: they are in one packet either way.
pub const PACKED_BYTES_MIN: u64 = 1024;
/// gzip's level: what most servers take.
const GZIP_LEVEL: u32 = 6;
/// zstd's level: its default.
const ZSTD_LEVEL: i32 = 3;

/// A text that is in memory, packed.
pub fn pack(text: Bytes, encoding: Encoding) -> io::Result<Bytes> {
    match encoding {
        Encoding::Identity => Ok(text),
        Encoding::Gzip | Encoding::Zstd => {
            let mut packer = packer(Vec::new(), encoding)?;
            packer.write_all(&text)?;
            Ok(packer.finish()?.into())
        }
    }
}

/// Packs what is written to it.
pub enum Packer<W: Write> {
    /// Passes it on.
    Identity(W),
    /// As gzip.
    Gzip(flate2::write::GzEncoder<W>),
    /// As zstd.
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

/// A packer that writes to `out`.
pub fn packer<W: Write>(out: W, encoding: Encoding) -> io::Result<Packer<W>> {
    Ok(match encoding {
        Encoding::Identity => Packer::Identity(out),
        Encoding::Gzip => Packer::Gzip(flate2::write::GzEncoder::new(
            out,
            flate2::Compression::new(GZIP_LEVEL),
        )),
        Encoding::Zstd => Packer::Zstd(zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?),
    })
}

impl<W: Write> Packer<W> {
    /// Writes what is left and gives the output back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Packer::Identity(out) => Ok(out),
            Packer::Gzip(packer) => packer.finish(),
            Packer::Zstd(packer) => packer.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Packer::Identity(out) => out.write(buffer),
            Packer::Gzip(packer) => packer.write(buffer),
            Packer::Zstd(packer) => packer.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packer::Identity(out) => out.flush(),
            Packer::Gzip(packer) => packer.flush(),
            Packer::Zstd(packer) => packer.flush(),
        }
    }
}
