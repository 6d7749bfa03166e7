//! Files that a command is given: read whole, up to a limit, `-` from standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Refused;

/// What was read, and what to call it in a message.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Reads a file, or standard input when its name is `-`.
pub(super) fn read(path: &Path, bytes_max: u64) -> anyhow::Result<Input> {
    let (name, file): (String, Box<dyn Read>) = match path.as_os_str() == "-" {
        true => ("standard input".to_owned(), Box::new(io::stdin())),
        false => {
            let name = path.display().to_string();
            let file = File::open(path)
                .map_err(|error| Refused(format!("cannot open {name}: {error}")))?;
            (name, Box::new(file))
        }
    };
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Refused(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("{name} is larger than the {bytes_max} bytes that are read");
        return Err(Refused(message).into());
    }
    Ok(Input { name, bytes })
}

/// Reads two files; only one of them can be standard input.
pub(super) fn read_two(
    left: &Path,
    right: &Path,
    bytes_max: u64,
) -> anyhow::Result<(Input, Input)> {
    if left.as_os_str() == "-" && right.as_os_str() == "-" {
        return Err(Refused("only one of the two can be standard input".to_owned()).into());
    }
    Ok((read(left, bytes_max)?, read(right, bytes_max)?))
}
