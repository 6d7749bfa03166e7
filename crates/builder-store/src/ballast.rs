//! Room on the disk for those commands that make some, or shut somebody out: a file with nothing in
//! it, which is given up when the disk is full. Without it the way out of a full disk needs a disk with
//! room: what a command writes first is what it is about to remove.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::store::adopt;
use crate::{Error, Result};

/// The name of the file.
pub const FILE: &str = "builder.sqlite3-ballast";
/// Its size: what a vacuum of some thousand builds writes.
pub const BYTES: u64 = 8 * 1024 * 1024;
/// It is made only where this much more is left.
const LEFT_MIN: u64 = 8 * BYTES;

/// Makes the file, if it is not there and the disk has plenty of room. Where that fails the next one
/// who calls this tries again.
pub fn make(directory: &Path) -> Result<()> {
    let file = directory.join(FILE);
    if fs::metadata(&file).is_ok_and(|file| file.len() == BYTES) {
        return Ok(());
    }
    let stat = rustix::fs::statvfs(directory)
        .map_err(|error| Error::file("look at", directory, io::Error::from(error)))?;
    if stat.f_bavail.saturating_mul(stat.f_frsize) < BYTES + LEFT_MIN {
        return Ok(());
    }
    let made = File::create(&file).and_then(|mut made| fill(&mut made));
    if made.is_err() {
        let _: io::Result<()> = fs::remove_file(&file);
    }
    made.map_err(|source| Error::file("write", &file, source))?;
    adopt(&file, directory)
}

/// Gives up the room that the file takes; whether it took any.
pub fn give_up(directory: &Path) -> Result<bool> {
    let file = directory.join(FILE);
    let given_up = match File::options().write(true).open(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.and_then(|file| {
            let bytes = file.metadata()?.len();
            // Sooner than the name would go, where a directory is copied on write.
            file.set_len(0)?;
            file.sync_all()?;
            Ok(bytes > 0)
        }),
    };
    given_up.map_err(|source| Error::file("give up", &file, source))
}

fn fill(file: &mut File) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    if fallocate(&*file, FallocateFlags::empty(), 0, BYTES).is_ok() {
        return file.sync_all();
    }
    // Bytes that no file system makes smaller.
    let mut block = [0; 4096];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..BYTES / 4096 {
        for eight in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            eight.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_takes_room_until_it_is_given_up() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(FILE);
        assert!(!give_up(directory.path()).unwrap(), "there is none");
        for _ in 0..2 {
            make(directory.path()).unwrap();
            let there = fs::metadata(&file).unwrap();
            assert_eq!(there.len(), BYTES);
            assert!(there.blocks() * 512 >= BYTES, "{}", there.blocks());
        }
        assert!(give_up(directory.path()).unwrap());
        assert!(fs::metadata(&file).unwrap().blocks() * 512 < BYTES);
        assert!(!give_up(directory.path()).unwrap());
        make(directory.path()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), BYTES);
        // Where the file system takes no promises.
        let mut written = File::create(&file).unwrap();
        fill(&mut written).unwrap();
    }
}
