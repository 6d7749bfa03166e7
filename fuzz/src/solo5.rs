//! Any bytes as a unikernel: nothing panics, and what is read fits into the notes it would be written as.
use std::io::Cursor;

use solo5_elf::note;

/// One input.
pub fn run(data: &[u8]) {
    if let Ok(unikernel) = solo5_elf::read(&mut Cursor::new(data)) {
        assert!(unikernel.manifest.devices.len() <= 63);
        assert_eq!(note::abi_note(&unikernel.abi).len(), 36);
        let entries = unikernel.manifest.devices.len() + 1;
        assert_eq!(
            note::manifest_note(&unikernel.manifest).len(),
            32 + 104 * entries
        );
    }
}
