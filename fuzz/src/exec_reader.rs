//! Any bytes as an upload: nothing panics, nothing is kept beyond the limits, and what is read is within what was sent.
use std::io::{self, Read};

use builder_exec::{Limits, Part, Reader};

/// One input.
pub fn run(data: &[u8]) {
    // In small pieces, and every second field left unread.
    let mut reader = Reader::new(InSevens(data), Limits::default());
    let mut fields = 0_u64;
    let mut bytes = 0_u64;
    let complete = loop {
        let field = match reader.next_part() {
            Ok(Part::Script(field)) => field,
            Ok(Part::InputFile { data, .. } | Part::Artifact { data, .. }) => data,
            Ok(Part::ConsoleLine { text, .. }) => text,
            Ok(Part::End) => break true,
            Ok(_) => continue,
            Err(_) => break false,
        };
        fields += 1;
        let size = field.size();
        if fields.is_multiple_of(2) {
            continue;
        }
        match field.read_to_vec() {
            Ok(read) => assert_eq!(read.len() as u64, size),
            Err(_) => break false,
        }
        bytes += size;
    };
    assert!(bytes <= reader.offset() && reader.offset() <= data.len() as u64);
    if complete {
        assert_eq!(
            reader.offset(),
            data.len() as u64,
            "nothing comes after the end"
        );
    } else {
        assert!(reader.next_part().is_err(), "nothing comes after an error");
    }
}

struct InSevens<'a>(&'a [u8]);

impl Read for InSevens<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let size = out.len().min(7);
        self.0.read(&mut out[..size])
    }
}
