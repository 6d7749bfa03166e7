//! Archives of files as `tar` reads them (POSIX ustar), the same bytes for the same files.
//!
//! Written here and not by a library because a FreeBSD package wants absolute member names, which those refuse, and
//! because the header is one screen of code.

const BLOCK_BYTES: usize = 512;

/// A file to be installed by a package.
#[derive(Clone, Debug)]
pub struct InstalledFile {
    /// Where it is installed, starting with a slash. At most 98 bytes.
    pub path: String,
    /// Its permissions, such as `0o755`.
    pub mode: u32,
    /// When it was last changed, in seconds since 1970. A build that sets it to the hour of the build is not reproducible.
    pub modified: u64,
    /// What is in it.
    pub content: Vec<u8>,
}

/// An archive under construction.
#[derive(Debug, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn file(&mut self, name: &str, mode: u32, modified: u64, content: &[u8]) {
        self.header(name, b'0', mode, modified, content.len() as u64);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK_BYTES), 0);
    }

    pub(crate) fn directory(&mut self, name: &str, modified: u64) {
        self.header(name, b'5', 0o755, modified, 0);
    }

    /// Two empty blocks end an archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK_BYTES, 0);
        self.0
    }

    fn header(&mut self, name: &str, kind: u8, mode: u32, modified: u64, bytes: u64) {
        let mut header = Vec::with_capacity(BLOCK_BYTES);
        let mut field = |text: String, width: usize| {
            header.extend(text.bytes().take(width));
            header.resize(header.len() + width - text.len().min(width), 0);
        };
        field(name.to_owned(), 100);
        field(format!("{mode:07o}"), 8);
        field(format!("{:07o}", 0), 8);
        field(format!("{:07o}", 0), 8);
        field(format!("{bytes:011o}"), 12);
        field(format!("{modified:011o}"), 12);
        field(" ".repeat(8), 8);
        field(char::from(kind).to_string(), 1);
        field(String::new(), 100);
        field("ustar\0".to_owned() + "00", 8);
        field("root".to_owned(), 32);
        field("root".to_owned(), 32);
        field(String::new(), 183);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header.splice(148..156, format!("{sum:06o}\0 ").into_bytes());
        self.0.extend(header);
    }
}

/// `path` and all directories above it, outermost first, without those `seen` before.
pub(crate) fn new_directories(path: &str, seen: &mut Vec<String>) -> Vec<String> {
    let mut new = Vec::new();
    for (at, _) in path.match_indices('/').skip(1) {
        let directory = &path[..at];
        if !seen.iter().any(|known| known == directory) {
            seen.push(directory.to_owned());
            new.push(directory.to_owned());
        }
    }
    new
}

/// Compressed as `gzip -n` does it: no file name and no time in the header.
pub(crate) fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let mut encoder = flate2::GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
