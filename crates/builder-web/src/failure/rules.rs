//! By which lines of a console each class of failures is told.

use super::Class;

/// Rules of one class that are trusted alike: a line, in lower case, that has all parts of one of the rules tells it.
/// Parts stand in the order they are to be found.
pub(super) struct Rules {
    pub(super) class: Class,
    pub(super) trust: Trust,
    pub(super) rules: &'static [&'static [&'static str]],
}

/// How far a line is believed to have ended the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing goes well after it, however much is printed.
    Anywhere,
    /// It may be overcome, or be a question that was answered with no: near the final error alone.
    Near,
    /// As before, and it is printed by what goes on after it, too: not where an error of a source, a
    /// test or the linker follows or is before it, and not far from the final error.
    Weak,
}

impl Trust {
    /// Lines before the final error that are looked at.
    pub(super) fn reach_lines(self) -> usize {
        match self {
            Trust::Anywhere => usize::MAX,
            Trust::Near => 120,
            Trust::Weak => 60,
        }
    }

    /// Lines that tell the same within so many lines of each other are of one failure.
    pub(super) fn one_failure_lines(self) -> usize {
        match self {
            Trust::Anywhere | Trust::Near => 60,
            Trust::Weak => 5,
        }
    }
}

/// Lines that tell that something failed, not why: what they follow from was printed before.
pub(super) const CONSEQUENCES: &[&str] = &[
    "configure: error:",
    "cmake error",
    "#=== error while compiling",
    "[error] the compilation of",
    "error: could not compile",
    "collect2: error",
    "linker command failed",
];

/// In the order of how much they explain. Each part is from a message of a tool that builds meet:
/// coreutils and libc, gcc and ld, make, ocamlfind and dune, opam, orb, apt and dpkg, pkg, curl,
/// wget, git, the Linux kernel.
pub(super) const RULES: &[Rules] = &[
    Rules {
        class: Class::DiskFull,
        trust: Trust::Anywhere,
        rules: &[
            &["no space left on device"],
            &["disk quota exceeded"],
            &["enospc"],
            &["you don't have enough free space in"],
            &["not enough space on disk"],
            &["filesystem full"],
            &["file system full"],
        ],
    },
    Rules {
        class: Class::OutOfMemory,
        trust: Trust::Anywhere,
        rules: &[
            &["out of memory"],
            &["out_of_memory"],
            &["cannot allocate memory"],
            &["virtual memory exhausted"],
            &["memory exhausted"],
            &["oom-kill"],
            &["std::bad_alloc"],
            &["swap space", "killed"],
            &["was killed: out of swap space"],
            &["fatal signal killed terminated program"],
        ],
    },
    Rules {
        class: Class::ChecksumMismatch,
        trust: Trust::Near,
        rules: &[
            &["checksum mismatch"],
            &["bad checksum"],
            &["hash sum mismatch"],
            &["hash mismatch"],
            &["mismatching checksum"],
            &["checksum did not match"],
            &["checksum does not match"],
            &["wrong checksum"],
            &["computed checksum did not match"],
            &["fails size or checksum"],
            &["size mismatch for"],
        ],
    },
    Rules {
        class: Class::MissingPackage,
        trust: Trust::Near,
        rules: &[
            &["e: unable to locate package"],
            &["has no installation candidate"],
            &["no packages available to install matching"],
            &["no package named", "found"],
            &["couldn't find any package by"],
            &["unable to find a match:"],
            &["no packages matching"],
            &["unknown package", "is not available"],
            &["packages are unavailable on this host"],
            &["system package install failed"],
            &["unmet dependencies", "not installable"],
            &["error: library \"", "\" not found"],
            &["error: library", "not found"],
        ],
    },
    Rules {
        class: Class::MissingPackage,
        trust: Trust::Weak,
        rules: &[
            &["no package '", "' found"],
            &["ocamlfind: package `", "' not found"],
            &["package '", "', required by", "not found"],
        ],
    },
    Rules {
        class: Class::DependencyConflict,
        trust: Trust::Near,
        rules: &[
            &["conflict between the dependencies"],
            &["package conflict!"],
            &["no agreement on the version of"],
            &["can't be satisfied"],
            &["cannot be satisfied"],
            &["unmet dependencies"],
            &["you have held broken packages"],
            &["unmet availability conditions"],
            &["dependency problems prevent"],
            &["missing dependency for package"],
            &["conflicts with installed package"],
        ],
    },
    Rules {
        class: Class::Solver,
        trust: Trust::Near,
        rules: &[
            &["sorry, resolution of the request timed out"],
            &["resolution of the request timed out"],
            &["no solution found"],
            &["no solution for"],
            &["solver failed"],
            &["could not determine which packages to install"],
            &["cudf", "failed"],
            &["external solver", "failed"],
        ],
    },
    Rules {
        class: Class::Network,
        trust: Trust::Weak,
        rules: NETWORK,
    },
    Rules {
        class: Class::Timeout,
        trust: Trust::Near,
        rules: &[
            &["timeout: sending signal"],
            &["build timed out"],
            &["job timed out"],
            &["execution timed out"],
            &["time limit exceeded"],
            &["cpu time limit exceeded"],
        ],
    },
    Rules {
        class: Class::Timeout,
        trust: Trust::Weak,
        rules: &[&["timed out after"]],
    },
    Rules {
        class: Class::Permission,
        trust: Trust::Weak,
        rules: &[
            &["permission denied"],
            &["operation not permitted"],
            &["read-only file system"],
            &["you must be root"],
            &["are you root?"],
            &["insufficient privileges"],
            &["a password is required"],
        ],
    },
    Rules {
        class: Class::MissingCommand,
        trust: Trust::Weak,
        rules: &[
            &["command not found"],
            &[": not found"],
            &["exec format error"],
            &["no such file or directory", "execvp"],
            &["program", "not found in path"],
            &["error: program", "not found in the tree or in path"],
        ],
    },
    Rules {
        class: Class::TestFailure,
        trust: Trust::Near,
        rules: &[
            &["tests failed"],
            &["test failed"],
            &["[fail]"],
            &["see ", "test-suite.log"],
            &["failed tests:"],
            &["error! in", "test failed"],
            &[" failure! in "],
            &["test suite failed"],
            &["assertion failed"],
            &["assert_failure"],
            &["assertion", "failed."],
            &["exception: assert failure"],
        ],
    },
    Rules {
        class: Class::LinkError,
        trust: Trust::Near,
        rules: &[
            &["undefined reference to"],
            &["undefined symbol"],
            &["ld: cannot find"],
            &["cannot find -l"],
            &["no implementations provided for the following modules"],
            &["final link failed"],
            &["collect2: error: ld returned"],
            &["multiple definition of"],
            &["error while linking"],
            &["error during linking"],
            &["relocation truncated to fit"],
        ],
    },
    Rules {
        class: Class::CompileError,
        trust: Trust::Anywhere,
        rules: &[
            &[": error: "],
            &[": fatal error: "],
            &["error: unbound"],
            &["error: this expression has type"],
            &["error: this pattern matches"],
            &["error: syntax error"],
            &["error: some type variable"],
            &["error: signature mismatch"],
            &["error: the implementation"],
            &["error: the value"],
            &["error: the module"],
            &["error: the function applied"],
            &["error: this function"],
            &["error: this variant"],
            &["error: this field"],
            &["error: this constant"],
            &["error: this optional"],
            &["error: types"],
            &["error: cannot find file"],
            &["error (warning "],
            &["error (alert "],
            &["error: unused"],
            &["error[e0"],
            &["error: could not compile"],
            &["#=== error while compiling"],
            &["[error] the compilation of"],
        ],
    },
    Rules {
        class: Class::MissingFile,
        trust: Trust::Weak,
        rules: &[
            &["no such file or directory"],
            &["no rule to make target"],
            &["cannot open file"],
        ],
    },
    Rules {
        class: Class::Crash,
        trust: Trust::Near,
        rules: &[
            &["segmentation fault"],
            &["bus error ("],
            &["illegal instruction"],
            &["core dumped"],
            &["fatal error: exception"],
            &["stack overflow"],
            &["internal compiler error"],
            &["panicked at"],
        ],
    },
    Rules {
        class: Class::Killed,
        trust: Trust::Weak,
        rules: &[
            &[" killed "],
            &["]: killed"],
            &["] killed"],
            &["received sigterm"],
            &["terminated by signal"],
        ],
    },
];

const NETWORK: &[&[&str]] = &[
    &["could not resolve"],
    &["couldn't resolve host"],
    &["temporary failure in name resolution"],
    &["temporary failure resolving"],
    &["name or service not known"],
    &["name does not resolve"],
    &["no address record"],
    &["transient resolver failure"],
    &["connection timed out"],
    &["connection refused"],
    &["connection reset"],
    &["connection closed by"],
    &["network is unreachable"],
    &["no route to host"],
    &["host is unreachable"],
    &["operation timed out after"],
    &["failed to connect to"],
    &["unable to access '"],
    &["could not read from remote repository"],
    &["the remote end hung up"],
    &["failed to fetch"],
    &["failed to get sources"],
    &["error while fetching sources"],
    &["unable to update repository"],
    &["curl: ("],
    &["curl error code"],
    &["http error 5"],
    &["error 502"],
    &["error 503"],
    &["error 504"],
    &["the requested url returned error"],
    &["ssl certificate problem"],
    &["tls handshake"],
    &["gnutls_handshake"],
    &["tls connection was non-properly terminated"],
    &["certificate verify failed"],
];
