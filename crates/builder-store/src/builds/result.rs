//! How a build ended, as `result_code` and `result_msg` keep it.

use builder_exec::ExecutionResult;

/// `result_code` of a build that ended with a message instead of a number.
const CODE_MESSAGE: i64 = 65_536;

/// Whether a result reads back as it was kept. Numbers that no process ends with may not.
pub fn can_keep(result: &ExecutionResult) -> bool {
    let (code, message) = pack_result(result);
    match result {
        // Its text is kept as text.
        ExecutionResult::Message(_) => true,
        _ => unpack_result(code, message) == *result,
    }
}

/// The OCaml server packs numbers as N, N<<8 and N<<16.
pub(super) fn pack_result(result: &ExecutionResult) -> (i64, Option<String>) {
    match result {
        ExecutionResult::Exited(code) => (*code, None),
        ExecutionResult::Signalled(signal) => (signal.wrapping_mul(1 << 8), None),
        ExecutionResult::Stopped(signal) => (signal.wrapping_mul(1 << 16), None),
        ExecutionResult::Message(message) => (
            CODE_MESSAGE,
            Some(String::from_utf8_lossy(message).into_owned()),
        ),
    }
}

/// The packing is ambiguous: a message is told by its text (the OCaml server reads it back as
/// `stopped 1`), a negative number by how far it was shifted (signals are small and negative in
/// OCaml's numbering), and an exit code of 256 or more, which no process has, reads as a signal.
pub(crate) fn unpack_result(code: i64, message: Option<String>) -> ExecutionResult {
    match (code, message) {
        (_, Some(message)) => ExecutionResult::Message(message.into_bytes()),
        (0..=0xff, None) => ExecutionResult::Exited(code),
        (0x100..=0xffff, None) => ExecutionResult::Signalled(code >> 8),
        (0x1_0000.., None) => ExecutionResult::Stopped(code >> 16),
        (_, None) if code % 0x1_0000 == 0 => ExecutionResult::Stopped(code >> 16),
        (_, None) if code % 0x100 == 0 => ExecutionResult::Signalled(code >> 8),
        (_, None) => ExecutionResult::Exited(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_result_reads_back_as_it_was_written() {
        for result in [
            ExecutionResult::Exited(0),
            ExecutionResult::Exited(255),
            ExecutionResult::Exited(-1),
            ExecutionResult::Signalled(9),
            ExecutionResult::Signalled(-7),
            ExecutionResult::Signalled(-28),
            ExecutionResult::Stopped(1),
            ExecutionResult::Stopped(-20),
            ExecutionResult::Message(b"the worker went away".to_vec()),
            ExecutionResult::Message(Vec::new()),
        ] {
            assert!(can_keep(&result), "{result}");
            let (code, message) = pack_result(&result);
            assert_eq!(unpack_result(code, message), result);
        }
    }

    #[test]
    fn a_number_that_would_read_back_as_another_result_is_known() {
        for result in [
            ExecutionResult::Exited(256),
            ExecutionResult::Exited(-256),
            ExecutionResult::Exited(i64::MIN),
            ExecutionResult::Signalled(256),
            ExecutionResult::Signalled(1 << 56),
            ExecutionResult::Stopped(1 << 48),
        ] {
            assert!(!can_keep(&result), "{result}");
        }
    }
}
