//! The classes of failures, and what they are called.

/// What a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each says it by its name and label")]
pub enum Class {
    DiskFull,
    OutOfMemory,
    ChecksumMismatch,
    MissingPackage,
    DependencyConflict,
    Solver,
    Network,
    Timeout,
    WorkerLost,
    Permission,
    MissingCommand,
    TestFailure,
    LinkError,
    CompileError,
    MissingFile,
    Crash,
    Killed,
    NoMainBinary,
    Other,
}

impl Class {
    /// All, in the order of how much they explain.
    pub const ALL: [Class; 19] = [
        Class::DiskFull,
        Class::OutOfMemory,
        Class::ChecksumMismatch,
        Class::MissingPackage,
        Class::DependencyConflict,
        Class::Solver,
        Class::Network,
        Class::Timeout,
        Class::WorkerLost,
        Class::Permission,
        Class::MissingCommand,
        Class::TestFailure,
        Class::LinkError,
        Class::CompileError,
        Class::MissingFile,
        Class::Crash,
        Class::Killed,
        Class::NoMainBinary,
        Class::Other,
    ];

    /// Its name in URLs, JSON and the database.
    pub fn name(self) -> &'static str {
        match self {
            Class::DiskFull => "disk-full",
            Class::OutOfMemory => "out-of-memory",
            Class::ChecksumMismatch => "checksum-mismatch",
            Class::MissingPackage => "missing-package",
            Class::DependencyConflict => "dependency-conflict",
            Class::Solver => "solver",
            Class::Network => "network",
            Class::Timeout => "timeout",
            Class::WorkerLost => "worker-lost",
            Class::Permission => "permission",
            Class::MissingCommand => "missing-command",
            Class::TestFailure => "test-failure",
            Class::CompileError => "compile-error",
            Class::LinkError => "link-error",
            Class::MissingFile => "missing-file",
            Class::Crash => "crash",
            Class::Killed => "killed",
            Class::NoMainBinary => "no-main-binary",
            Class::Other => "other",
        }
    }

    /// The class of this name.
    pub fn of_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Class::DiskFull => "Disk full",
            Class::OutOfMemory => "Out of memory",
            Class::ChecksumMismatch => "Checksum mismatch",
            Class::MissingPackage => "Missing package",
            Class::DependencyConflict => "Dependency conflict",
            Class::Solver => "Solver gave up",
            Class::Network => "Network",
            Class::Timeout => "Timeout",
            Class::WorkerLost => "Worker lost",
            Class::Permission => "Permission denied",
            Class::MissingCommand => "Missing command",
            Class::TestFailure => "Test failure",
            Class::CompileError => "Compile error",
            Class::LinkError => "Link error",
            Class::MissingFile => "Missing file",
            Class::Crash => "Crash",
            Class::Killed => "Killed",
            Class::NoMainBinary => "No single file in bin/",
            Class::Other => "Other",
        }
    }
}
