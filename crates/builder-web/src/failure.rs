//! Why a build failed, as far as its result and the end of its console tell. Pure: knows neither
//! files nor the database. What is recognised is a list of rules, tried in the order of how much
//! they explain: a full disk explains a compiler's error, and not the other way round. But a console
//! is full of complaints that ended nothing: most rules are believed near the final error alone.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use builder_exec::ExecutionResult;

pub use class::Class;
use rules::{CONSEQUENCES, RULES, Trust};

mod class;
mod rules;

/// Counted up when the same console gives another class: what was kept is then made anew.
pub const VERSION: i64 = 3;

/// Bytes of a console's end that are looked at.
pub const TAIL_BYTES_MAX: usize = 256 * 1024;
/// Lines of that end that are looked at: what is further from the end did not end the build.
const TAIL_LINES_MAX: usize = 400;
/// Characters that are looked at, and kept, of a line.
const LINE_CHARS_MAX: usize = 400;
/// Lines of the end that are kept to be shown.
const LAST_LINES: usize = 5;

/// What is told of a failed build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it is.
    pub class: Class,
    /// The line that told, counted from the first line of the tail as 0, and its text.
    pub told: Option<(usize, String)>,
    /// The last lines with something in them, oldest first.
    pub last_lines: Vec<String>,
}

/// Signals of a process in the numbers of Linux and FreeBSD, which are the same for these, and of
/// OCaml's `Sys`, which are negative: builders send the latter.
const KILL: [i64; 2] = [9, -7];
const CRASHES: [i64; 14] = [4, 5, 6, 8, 10, 11, 7, -1, -3, -5, -10, -22, -24, -25];
const CPU_TIME: [i64; 4] = [24, 14, -2, -27];

/// What the result and the end of a console tell. The first line of `tail` may be cut off at its
/// beginning. Lines are without the time they begin with in the file.
pub fn classify(result: &ExecutionResult, tail: &[String]) -> Failure {
    let first = tail.len().saturating_sub(TAIL_LINES_MAX);
    let lines = tail.get(first..).unwrap_or_default();
    let lower: Vec<String> = lines.iter().map(|line| cut(line).to_lowercase()).collect();
    let of_log = class_of_log(&lower);
    let of_result = class_of_result(result);
    let (class, told) = match (of_result, of_log) {
        // The log tells why it was killed; that it was is known.
        (Some(Class::Killed), Some((class @ (Class::OutOfMemory | Class::DiskFull), at))) => {
            (class, Some(at))
        }
        (Some(class), Some((of_log, at))) if class == of_log => (class, Some(at)),
        (Some(class), _) => (class, None),
        (None, Some((class, at))) => (class, Some(at)),
        (None, None) => match lower
            .iter()
            .rposition(|line| tells_error_in_lower_case(line))
        {
            Some(at) => (Class::Other, Some(at)),
            None => (Class::Other, None),
        },
    };
    let told = told.and_then(|at| Some((first + at, cut(lines.get(at)?).trim().to_owned())));
    let mut last_lines: Vec<String> = tail
        .iter()
        .rev()
        .map(|line| cut(line).trim_end().to_owned())
        .filter(|line| !line.trim().is_empty())
        .take(LAST_LINES)
        .collect();
    last_lines.reverse();
    Failure {
        class,
        told,
        last_lines,
    }
}

/// What the result tells by itself.
fn class_of_result(result: &ExecutionResult) -> Option<Class> {
    match result {
        ExecutionResult::Exited(0) => Some(Class::NoMainBinary),
        // What `timeout` and shells say of a command that ran too long or was killed.
        ExecutionResult::Exited(124) => Some(Class::Timeout),
        ExecutionResult::Exited(137) => Some(Class::Killed),
        ExecutionResult::Exited(139) => Some(Class::Crash),
        ExecutionResult::Exited(_) => None,
        ExecutionResult::Signalled(signal) if KILL.contains(signal) => Some(Class::Killed),
        ExecutionResult::Signalled(signal) if CPU_TIME.contains(signal) => Some(Class::Timeout),
        ExecutionResult::Signalled(signal) if CRASHES.contains(signal) => Some(Class::Crash),
        ExecutionResult::Signalled(_) | ExecutionResult::Stopped(_) => Some(Class::Killed),
        ExecutionResult::Message(message) => {
            let message = String::from_utf8_lossy(message).to_lowercase();
            let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
            if says(&["timeout", "timed out", "time limit", "too long"]) {
                Some(Class::Timeout)
            } else if says(&["no space left", "disk full", "quota"]) {
                Some(Class::DiskFull)
            } else if says(&["out of memory", "cannot allocate"]) {
                Some(Class::OutOfMemory)
            } else if says(&[
                "worker",
                "connection",
                "disconnect",
                "went away",
                "lost",
                "eof",
            ]) {
                Some(Class::WorkerLost)
            } else if says(&["kill", "abort", "cancel"]) {
                Some(Class::Killed)
            } else {
                None
            }
        }
    }
}

/// The parts that rules begin with, each with the place in [`RULES`] of those it is of, and the rule.
static BEGINNINGS: LazyLock<Beginnings> = LazyLock::new(|| {
    let rules = RULES.iter().enumerate();
    let rules: Vec<(usize, &[&str])> = rules
        .flat_map(|(at, rules)| rules.rules.iter().map(move |rule| (at, *rule)))
        .collect();
    let parts = rules.iter().filter_map(|(_, rule)| rule.first());
    // Overlapping matches are those of this kind alone.
    let found = AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .build(parts)
        .expect("some hundred parts are no more than it can hold");
    Beginnings { found, rules }
});

struct Beginnings {
    found: AhoCorasick,
    rules: Vec<(usize, &'static [&'static str])>,
}

/// Which of [`RULES`] have a rule that a line tells, a bit for each. A console has hundreds of lines,
/// and there are hundreds of rules: each line is read once for all of them.
fn told_by(line: &str) -> u64 {
    const { assert!(RULES.len() <= u64::BITS as usize) };
    let beginnings = &*BEGINNINGS;
    let found = beginnings.found.find_overlapping_iter(line);
    let rules = found.filter_map(|found| beginnings.rules.get(found.pattern().as_usize()));
    rules.fold(0, |told, (at, rule)| match told & (1 << at) {
        0 if has_in_order(line, rule) => told | (1 << at),
        _ => told,
    })
}

/// What the end of a console tells.
struct Log<'a> {
    /// Its lines.
    lower: &'a [String],
    /// Of each line, what [`told_by`] says.
    told_by: Vec<u64>,
    /// The line of the last error.
    final_error: usize,
}

/// The class that explains most, and the line that tells it.
fn class_of_log(lower: &[String]) -> Option<(Class, usize)> {
    let final_error = lower
        .iter()
        .rposition(|line| tells_error_in_lower_case(line))
        .unwrap_or(lower.len().saturating_sub(1));
    let log = Log {
        lower,
        told_by: lower.iter().map(|line| told_by(line)).collect(),
        final_error,
    };
    let told = || {
        let rules = RULES.iter().enumerate();
        rules.filter_map(|(at, rules)| Some((rules, log.line_that_tells(at, rules.trust)?)))
    };
    // What went wrong in a source, a test or the linker, if that is what ended it.
    let of_code: Vec<usize> = told()
        .filter(|(rules, at)| is_of_code(rules.class) && !tells_a_consequence(&lower[*at]))
        .map(|(_, at)| at)
        .collect();
    let mut told = told().filter(|(rules, at)| {
        rules.trust != Trust::Weak || of_code.is_empty() || of_code.contains(at)
    });
    let (explains_most, at) = told.next()?;
    if explains_most.trust != Trust::Weak {
        return Some((explains_most.class, at));
    }
    // Of complaints that may have been overcome, the one nearest the end was not.
    let mut nearest = (explains_most.class, at);
    for (rules, at) in told {
        if at > nearest.1 && !tells_a_consequence(&lower[at]) {
            nearest = (rules.class, at);
        }
    }
    Some(nearest)
}

fn is_of_code(class: Class) -> bool {
    matches!(
        class,
        Class::TestFailure | Class::CompileError | Class::LinkError
    )
}

impl Log<'_> {
    /// Of the lines that tell by the rules in this place, those of the failure nearest the end; of
    /// these the first, since what follows from a failure comes after it, and one that tells why
    /// before one that does not.
    fn line_that_tells(&self, rules: usize, trust: Trust) -> Option<usize> {
        let first = (self.final_error + 1).saturating_sub(trust.reach_lines());
        let lines = self.lower.iter().zip(&self.told_by).enumerate();
        let telling = lines
            .skip(first)
            .rev()
            .filter(|(_, (_, told_by))| *told_by & (1 << rules) > 0);
        let mut told: Option<usize> = None;
        let mut told_why: Option<usize> = None;
        for (at, (line, _)) in telling {
            if told.is_some_and(|later| later - at > trust.one_failure_lines()) {
                break;
            }
            // A warning is not what ended it.
            if !line.contains("warning:") && !tells_that_none_failed(line) {
                told = Some(at);
                if !tells_a_consequence(line) {
                    told_why = Some(at);
                }
            }
        }
        told_why.or(told)
    }
}

fn tells_a_consequence(line: &str) -> bool {
    CONSEQUENCES.iter().any(|words| line.contains(words))
}

/// `0 tests failed` and the like.
fn tells_that_none_failed(line: &str) -> bool {
    line.starts_with("0 ") || line.contains(" 0 tests failed") || line.contains(" 0 failed")
}

fn has_in_order(line: &str, parts: &[&str]) -> bool {
    let mut rest = line;
    parts.iter().all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// As much of a line as is looked at.
fn cut(line: &str) -> &str {
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((at, _)) => line.get(..at).unwrap_or(line),
        None => line,
    }
}

/// Whether a line tells of an error, whichever tool it is of: where a reader of a console wants to
/// look first. `line` is without its time and colours.
pub fn tells_error(line: &str) -> bool {
    tells_error_in_lower_case(&cut(line).to_lowercase())
}

fn tells_error_in_lower_case(line: &str) -> bool {
    const ANYWHERE: [&str; 14] = [
        "[error]",
        "=== error",
        "make: ***",
        "]: ***",
        "fatal:",
        "no space left on device",
        "out of memory",
        "segmentation fault",
        "command not found",
        "undefined reference to",
        "panicked at",
        "e: unable to",
        "no packages available to install matching",
        "could not resolve host",
    ];
    const BEGINNING: [&str; 5] = ["fail:", "failed:", "e: ", "fatal error", "exception:"];
    let trimmed = line.trim_start();
    if ANYWHERE.iter().any(|word| line.contains(word))
        || BEGINNING.iter().any(|word| trimmed.starts_with(word))
    {
        return true;
    }
    // `error:` as a word: `x.c:3: error: …`, `Error: …`, `error[E0308]: …`, `Error (warning 32): …`
    let mut rest = line;
    let mut before = ' ';
    while let Some((head, tail)) = rest.split_once("error") {
        before = head.chars().next_back().unwrap_or(before);
        let word = !before.is_alphanumeric() && before != '-' && before != '_';
        if word && (tail.starts_with(": ") || tail.starts_with('[') || tail.starts_with(" (")) {
            return true;
        }
        if word && tail == ":" {
            return true;
        }
        before = 'r';
        rest = tail;
    }
    false
}

#[cfg(test)]
mod whole_logs;

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: ExecutionResult = ExecutionResult::Exited(1);

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// The class of a console with this end, and the line that told.
    fn check(result: &ExecutionResult, text: &str) -> (&'static str, String) {
        let failure = classify(result, &lines(text));
        if let Some((at, told)) = &failure.told {
            assert!(lines(text)[*at].contains(told.as_str()));
        }
        (
            failure.class.name(),
            failure.told.map_or_else(String::new, |(_, told)| told),
        )
    }

    #[test]
    fn each_class_is_recognised_by_what_the_tools_say_of_it() {
        for (class, told, text) in [
            (
                "disk-full",
                "# /usr/bin/ld: final link failed: No space left on device",
                "[ocaml-solo5: make -j4]\n[ERROR] The compilation of ocaml-solo5.0.8.2 failed at \"make -j4\".\n\n#=== ERROR while compiling ocaml-solo5.0.8.2 ===#\n# exit-code            2\n### output ###\n# /usr/bin/ld: final link failed: No space left on device\n# collect2: error: ld returned 1 exit status\n# make: *** [Makefile:61: ocaml] Error 2",
            ),
            (
                "disk-full",
                "E: You don't have enough free space in /var/cache/apt/archives/.",
                "Need to get 812 MB of archives.\nE: You don't have enough free space in /var/cache/apt/archives/.",
            ),
            (
                "out-of-memory",
                "[ 8211.402113] Out of memory: Killed process 48211 (ocamlopt.opt) total-vm:9412880kB",
                "sh: line 1: 48211 Killed                  ocamlfind ocamlopt -c src/vc.ml\n[ 8211.402113] Out of memory: Killed process 48211 (ocamlopt.opt) total-vm:9412880kB",
            ),
            (
                "out-of-memory",
                "cc1plus: out of memory allocating 65536 bytes after a total of 1 bytes",
                "cc1plus: out of memory allocating 65536 bytes after a total of 1 bytes\nmake: *** [Makefile:3: a.o] Error 1",
            ),
            (
                "out-of-memory",
                "Fatal error: exception Out_of_memory",
                "Fatal error: exception Out_of_memory",
            ),
            (
                "checksum-mismatch",
                "[ERROR] dune.3.17.0: Bad checksum, expected sha256=abc",
                "[ERROR] dune.3.17.0: Bad checksum, expected sha256=abc\nOpamSolution.Fetch_fail(\"Checksum mismatch\")",
            ),
            (
                "checksum-mismatch",
                "Hash Sum mismatch",
                "E: Failed to fetch http://deb.example.org/x.deb\nHash Sum mismatch",
            ),
            (
                "missing-package",
                "E: Unable to locate package debhelper",
                "Reading package lists...\nE: Unable to locate package debhelper\n[ERROR] System package install failed with exit code 100",
            ),
            (
                "missing-package",
                "pkg: No packages available to install matching 'libev' have been found in the repositories",
                "Updating FreeBSD repository catalogue...\npkg: No packages available to install matching 'libev' have been found in the repositories",
            ),
            (
                "missing-package",
                "E: Package 'python2' has no installation candidate",
                "E: Package 'python2' has no installation candidate",
            ),
            (
                "missing-package",
                "Error: Library \"lwt.unix\" not found.",
                "File \"src/dune\", line 3, characters 12-20:\n3 |  (libraries lwt.unix)\nError: Library \"lwt.unix\" not found.\n-> required by alias default",
            ),
            (
                "missing-package",
                "Package 'gmp', required by 'virtual:world', not found",
                "Package gmp was not found in the pkg-config search path.\nPackage 'gmp', required by 'virtual:world', not found",
            ),
            (
                "dependency-conflict",
                "[ERROR] Package conflict!",
                "[ERROR] Package conflict!\n  * No agreement on the version of ocaml:\n    - (invariant) -> ocaml-base-compiler >= 5.3",
            ),
            (
                "dependency-conflict",
                " libssl3 : Depends: libc6 (>= 2.38) but 2.36 is to be installed".trim(),
                " libssl3 : Depends: libc6 (>= 2.38) but 2.36 is to be installed\nE: Unable to correct problems, you have held broken packages.",
            ),
            (
                "solver",
                "[ERROR] Sorry, resolution of the request timed out.",
                "[ERROR] Sorry, resolution of the request timed out.\n        Try to specify a more precise request",
            ),
            (
                "network",
                "curl: (6) Could not resolve host: code.example.org",
                "curl: (6) Could not resolve host: code.example.org\n[ERROR] Failed to get sources of tls.2.0.0: curl error code 6",
            ),
            (
                "network",
                "fatal: unable to access 'https://code.example.org/x.git/': Failed to connect",
                "Cloning into 'x'...\nfatal: unable to access 'https://code.example.org/x.git/': Failed to connect",
            ),
            (
                "network",
                "wget: unable to resolve host address: Temporary failure in name resolution",
                "wget: unable to resolve host address: Temporary failure in name resolution",
            ),
            (
                "timeout",
                "timeout: sending signal TERM to command 'dune'",
                "timeout: sending signal TERM to command 'dune'",
            ),
            (
                "permission",
                "mkdir: cannot create directory '/opt/x': Permission denied",
                "mkdir: cannot create directory '/opt/x': Permission denied",
            ),
            (
                "missing-command",
                "build.sh: line 4: orb: command not found",
                "+ orb build\nbuild.sh: line 4: orb: command not found",
            ),
            (
                "missing-command",
                "sh: gmake: not found",
                "sh: gmake: not found",
            ),
            (
                "test-failure",
                "[FAIL]        parse          2   empty lines.",
                "[OK]          parse          1   lines.\n[FAIL]        parse          2   empty lines.\nFull test results in `_build/_tests/x`.\n1 failure! in 0.012s. 14 tests run.",
            ),
            (
                "test-failure",
                "3 tests failed out of 41",
                "3 tests failed out of 41\nmake: *** [check] Error 1",
            ),
            (
                "compile-error",
                "src/main.c:12:3: error: expected ';' before '}' token",
                "src/main.c: In function 'main':\nsrc/main.c:12:3: error: expected ';' before '}' token\nmake[1]: *** [Makefile:30: main.o] Error 1",
            ),
            (
                "compile-error",
                "src/x.c:1:10: fatal error: gmp.h: No such file or directory",
                "src/x.c:1:10: fatal error: gmp.h: No such file or directory\ncompilation terminated.",
            ),
            (
                "compile-error",
                "Error: The value zone has type Dns.Zone.t but an expression was expected of type",
                "File \"blocklist.ml\", line 88, characters 31-35:\n88 |   | Some (zone, soa) -> x\nError: The value zone has type Dns.Zone.t but an expression was expected of type\nmake: *** [Makefile:22: dist] Error 1\n[ERROR] The compilation of millrace.dev failed at \"make build\".",
            ),
            (
                "link-error",
                "/usr/bin/ld: main.o: undefined reference to `mpz_init'",
                "/usr/bin/ld: main.o: undefined reference to `mpz_init'\ncollect2: error: ld returned 1 exit status",
            ),
            (
                "missing-file",
                "cp: cannot stat 'dist/x.hvt': No such file or directory",
                "cp: cannot stat 'dist/x.hvt': No such file or directory",
            ),
            (
                "crash",
                "Segmentation fault (core dumped)",
                "Segmentation fault (core dumped)",
            ),
            (
                "other",
                "orb: opam install failed with code 31 [ERROR]",
                "orb: opam install failed with code 31 [ERROR]",
            ),
            ("other", "", "nothing to see here"),
            ("other", "", ""),
        ] {
            let (found, by) = check(&FAILED, text);
            if class == "dependency-conflict" && text.contains("libssl3") {
                assert_eq!(
                    (found, by.as_str()),
                    (
                        class,
                        "E: Unable to correct problems, you have held broken packages."
                    )
                );
            } else {
                assert_eq!((found, by.as_str()), (class, told), "{text}");
            }
        }
    }

    #[test]
    fn the_result_tells_what_the_log_does_not() {
        let message = |text: &str| ExecutionResult::Message(text.as_bytes().to_vec());
        for (result, text, class) in [
            (ExecutionResult::Signalled(9), "compiling", "killed"),
            (ExecutionResult::Signalled(-7), "compiling", "killed"),
            (
                ExecutionResult::Signalled(-7),
                "Out of memory: Killed process 1 (cc1)",
                "out-of-memory",
            ),
            (ExecutionResult::Signalled(-11), "error: x", "killed"),
            (ExecutionResult::Signalled(-10), "", "crash"),
            (ExecutionResult::Signalled(-22), "", "crash"),
            (ExecutionResult::Signalled(-24), "", "crash"),
            (ExecutionResult::Signalled(5), "", "crash"),
            (ExecutionResult::Signalled(-27), "", "timeout"),
            (ExecutionResult::Signalled(11), "", "crash"),
            (ExecutionResult::Signalled(-2), "", "timeout"),
            (ExecutionResult::Stopped(-20), "", "killed"),
            (ExecutionResult::Exited(0), "all is well", "no-main-binary"),
            (ExecutionResult::Exited(124), "", "timeout"),
            (ExecutionResult::Exited(137), "", "killed"),
            (ExecutionResult::Exited(139), "", "crash"),
            (ExecutionResult::Exited(2), "", "other"),
            (message("timeout after 3600s"), "x.c:1: error: y", "timeout"),
            (message("the worker went away"), "", "worker-lost"),
            (message("cancelled"), "", "killed"),
            (message("?"), "x.c:1:1: error: y", "compile-error"),
        ] {
            assert_eq!(check(&result, text).0, class, "{result}: {text}");
        }
    }

    #[test]
    fn what_was_overcome_did_not_end_the_build() {
        let mut text = "retrying: connection timed out\n".to_owned();
        text.push_str(&"fetched another one\n".repeat(80));
        text.push_str("x.c:1:1: error: y\n");
        assert_eq!(check(&FAILED, &text).0, "compile-error");
        let warned =
            "x.c:1:1: warning: 'a' is deprecated: error: soon\n0 tests failed\nrun.sh: exit 3";
        assert_eq!(check(&FAILED, warned).0, "other");
        assert_eq!(check(&FAILED, "10 tests failed").0, "test-failure");
        let far = format!(
            "No space left on device\n{}",
            "went on\n".repeat(TAIL_LINES_MAX)
        );
        assert_eq!(check(&FAILED, &far).0, "other");
    }

    #[test]
    fn the_last_lines_are_those_with_something_in_them() {
        let failure = classify(&FAILED, &lines("1\n2\n\n3\n4\n  \n5\n6\n\n"));
        assert_eq!(failure.last_lines, ["2", "3", "4", "5", "6"]);
    }

    #[test]
    fn an_error_is_told_by_the_word_and_not_by_a_part_of_it() {
        for line in [
            "Error: Unbound module X",
            "x.c:1:2: error: y",
            "error[E0308]: mismatched",
            "Error (warning 32):",
            "make[2]: *** [all] Error 1",
            "[ERROR] no",
            "fatal: not a git repository",
            "error:",
            "FAIL: tests/a",
        ] {
            assert!(tells_error(line), "{line}");
        }
        for line in [
            "0 errors",
            "-Werror: on",
            "gcc -Werror -c x.c",
            "installed ppx_error",
            "error_report.ml",
            "terror: no",
            "no error",
            "",
            "Result.Error x",
            "retrieved errors.1.0",
        ] {
            assert!(!tells_error(line), "{line}");
        }
    }

    #[test]
    fn every_class_has_a_name_of_its_own() {
        for class in Class::ALL {
            assert_eq!(Class::of_name(class.name()), Some(class));
        }
    }

    #[test]
    fn classes_and_rules_are_in_the_same_order() {
        let place = |class| Class::ALL.into_iter().position(|other| other == class);
        assert!(RULES.is_sorted_by_key(|rules| place(rules.class)));
    }

    proptest::proptest! {
        #[test]
        fn no_console_is_too_strange(text in "(?s).{0,400}") {
            classify(&FAILED, &lines(&text));
        }
    }
}
