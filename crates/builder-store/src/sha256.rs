//! A SHA-256 digest, and a writer that computes one of what passes through it.

use std::fmt;
use std::io::{self, Write};

use sha2::Digest as _;

/// A SHA-256 digest: the name of an artifact, and of a build's inputs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// The digest of all that `reader` gives.
    pub fn of_reader(reader: &mut dyn io::Read) -> io::Result<Sha256> {
        let mut hashing = HashingWriter::new(io::sink());
        io::copy(reader, &mut hashing)?;
        let (_, digest, _) = hashing.finish();
        Ok(digest)
    }

    /// A digest from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Sha256 {
        Sha256(bytes)
    }

    /// A digest from 64 hexadecimal digits, upper or lower case, and nothing else.
    pub fn from_hex(hex: &str) -> Option<Sha256> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let mut value = 0;
            for digit in pair {
                // OK because a hexadecimal digit is below 16.
                value = value << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
            }
            *byte = value;
        }
        Some(Sha256(bytes))
    }

    /// The 32 bytes, as the database keeps them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        // OK because the digits are ASCII.
        f.pad(std::str::from_utf8(&hex).unwrap_or_default())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// Computes a digest of bytes that come in parts.
#[derive(Debug, Default)]
pub(crate) struct Hasher(sha2::Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

/// Passes bytes on to `out`, and hashes and counts those that got there.
pub(crate) struct HashingWriter<W> {
    out: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> HashingWriter<W> {
    pub(crate) fn new(out: W) -> HashingWriter<W> {
        HashingWriter {
            out,
            hasher: Hasher::default(),
            bytes: 0,
        }
    }

    pub(crate) fn finish(self) -> (W, Sha256, u64) {
        (self.out, self.hasher.finish(), self.bytes)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_from_its_hexadecimal_form_in_either_case() {
        let digest = Sha256::of(b"abc");
        assert_eq!(
            digest.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Sha256::from_hex(&digest.to_hex()), Some(digest));
        assert_eq!(
            Sha256::from_hex(&digest.to_hex().to_uppercase()),
            Some(digest)
        );
    }

    #[test]
    fn anything_but_64_hexadecimal_digits_is_no_digest() {
        let hex = Sha256::of(b"").to_hex();
        for wrong in [
            "",
            "ab",
            &hex[1..],
            &format!("{hex}0"),
            &format!("g{}", &hex[1..]),
            &format!("+{}", &hex[1..]),
            &"é".repeat(32),
        ] {
            assert_eq!(Sha256::from_hex(wrong), None, "{wrong}");
        }
    }
}
