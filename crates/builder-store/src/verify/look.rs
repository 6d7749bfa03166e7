//! Reading one file, and saying what is wrong with it.

use std::io::{self, Read};
use std::path::Path;

use sha2::Digest;

use super::{Fault, Problem};
use crate::artifacts::{from_where_no_link_is, open_beneath};
use crate::tracked::Tracked;
use crate::{Error, Sha256};

/// Files are read in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;
/// What a stand-in for a lost text begins with, after the head of a console's line.
pub(super) const STAND_IN: &str = "# builder-web: this text was lost; ";

/// Reads files, one after the other.
pub(super) struct FileReader<'r> {
    directory: &'r Path,
    progress: &'r (dyn Fn(u64) + Sync),
    piece: Vec<u8>,
    /// How many it has read.
    pub(super) bytes: u64,
}

impl<'r> FileReader<'r> {
    pub(super) fn new(directory: &'r Path, progress: &'r (dyn Fn(u64) + Sync)) -> FileReader<'r> {
        FileReader {
            directory,
            progress,
            piece: vec![0; PIECE_BYTES],
            bytes: 0,
        }
    }

    /// What is wrong with a file; none: nothing is.
    pub(super) fn look_at(&mut self, file: &Tracked) -> Option<Problem> {
        let Some(path) = file.path() else {
            // Told with those that are elsewhere.
            return None;
        };
        let (expected_bytes, read) = match file {
            Tracked::Artifact(sha256, size) => (
                Some(*size),
                self.digest(&path).map(|(found, bytes)| {
                    let fault = match (found == *sha256, bytes.cmp(size)) {
                        (true, std::cmp::Ordering::Equal) => None,
                        (true, _) => Some(Fault::WrongSize),
                        (false, std::cmp::Ordering::Less) => Some(Fault::Truncated),
                        (false, _) => Some(Fault::Changed),
                    };
                    (fault, Some(bytes))
                }),
            ),
            // Their digest is not kept: that they can be read is all there is to know.
            Tracked::Console(_) | Tracked::Script(_) => (
                None,
                self.text(&path)
                    .map(|(stand_in, bytes)| (stand_in.then_some(Fault::StandIn), Some(bytes))),
            ),
        };
        let (fault, found_bytes) = match read {
            Ok((None, _)) => return None,
            Ok((Some(fault), bytes)) => (fault, bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Fault::Missing, None),
            Err(error) => (Fault::Unreadable(error.to_string()), None),
        };
        Some(Problem {
            expected_bytes,
            found_bytes,
            file: Some(file.clone()),
            ..Problem::new(path, fault)
        })
    }

    fn digest(&mut self, path: &Path) -> io::Result<(Sha256, u64)> {
        let mut hash = sha2::Sha256::new();
        let bytes = self.each_piece(path, |piece| hash.update(piece))?;
        Ok((Sha256::from_bytes(hash.finalize().into()), bytes))
    }

    /// Whether a text is a stand-in, and how long it is.
    fn text(&mut self, path: &Path) -> io::Result<(bool, u64)> {
        let mut stand_in = None;
        let bytes = self.each_piece(path, |piece| {
            stand_in.get_or_insert_with(|| is_stand_in(piece));
        })?;
        Ok((stand_in.unwrap_or(false), bytes))
    }

    fn each_piece(&mut self, path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
        // As who serves it: what a link leads to is not in the data directory.
        let (root, below) = from_where_no_link_is(self.directory, path);
        let opened = open_beneath(&root, below);
        let (mut file, _) = opened.map_err(|error| match error {
            Error::File { source, .. } => source,
            other => io::Error::other(other),
        })?;
        let mut bytes = 0;
        loop {
            match file.read(&mut self.piece) {
                Ok(0) => return Ok(bytes),
                Ok(read) => {
                    each(&self.piece[..read]);
                    bytes += read as u64;
                    self.bytes += read as u64;
                    (self.progress)(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a text begins as one that says that it was lost.
pub(super) fn is_stand_in(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"0.000s:").unwrap_or(text);
    text.starts_with(STAND_IN.as_bytes())
}
