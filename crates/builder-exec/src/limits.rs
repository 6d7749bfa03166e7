//! What a reader accepts at most, each number with its reason.

/// What a [`Reader`](crate::Reader) accepts at most. A build beyond any of these is refused as soon as its size is
/// announced, before its bytes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The whole build as sent. Real ones are some tens of MiB; this keeps one upload from filling a disk.
    pub exec_bytes_max: u64,
    /// The name of the job: it becomes a directory name, and file systems stop at 255 bytes.
    pub job_name_bytes_max: u64,
    /// The name of the platform: a directory name as well.
    pub platform_bytes_max: u64,
    /// The script. People write it, so a few KiB is usual; it is kept whole in memory by most callers.
    pub script_bytes_max: u64,
    /// How many files the scheduler may have sent along with the job. They are not kept, only skipped.
    pub input_files_max: u64,
    /// One file sent along with the job.
    pub input_file_bytes_max: u64,
    /// How many lines of console output. A build of everything from scratch prints some 100,000.
    pub console_lines_max: u64,
    /// One line of console output: some tools print whole JSON files as one line.
    pub console_line_bytes_max: u64,
    /// All lines of console output together.
    pub console_bytes_max: u64,
    /// The reason why a script never ran to its end: a sentence, or the output of a failed tool.
    pub message_bytes_max: u64,
    /// How many artifacts. A plain package may install thousands of files.
    pub artifacts_max: u64,
    /// The path of one artifact (and of one input file): as long as Linux lets a path be.
    pub artifact_path_bytes_max: u64,
    /// One artifact: an image with its debug symbols is tens of MiB, a disk image may be much more.
    pub artifact_bytes_max: u64,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            exec_bytes_max: 4 * GIB,
            job_name_bytes_max: 255,
            platform_bytes_max: 255,
            script_bytes_max: 16 * MIB,
            input_files_max: 10_000,
            input_file_bytes_max: GIB,
            console_lines_max: 16 * MIB,
            console_line_bytes_max: MIB,
            console_bytes_max: GIB,
            message_bytes_max: 64 * KIB,
            artifacts_max: 100_000,
            artifact_path_bytes_max: 4 * KIB,
            artifact_bytes_max: 4 * GIB,
        }
    }
}
