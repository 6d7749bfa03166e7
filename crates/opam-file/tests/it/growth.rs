//! Files of hostile shapes take time in proportion to their size. The measure is how much longer sixteen times the file
//! takes on a processor: 16 times, where quadratic work takes 256 times. The bound is far from both.

use std::hint::black_box;
use std::time::Duration;

use opam_file::{Document, OpamFile, SwitchExport, unified_diff};

const GROWTH: usize = 16;
const RATIO_MAX: u32 = 80;
/// What is read no further than to its first error takes no time at any size.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// Shorter times are noise.
const TIME_MIN: Duration = Duration::from_micros(400);

/// Everything that is done with a file: read as each of the three, printed, compared.
fn work(text: &[u8]) {
    if let Ok(document) = Document::parse(text) {
        black_box(document.print());
    }
    if let Ok(file) = OpamFile::parse(text) {
        black_box(file.print());
        black_box(file.effectively_equal(&file));
    }
    let package = [
        b"opam-version: \"2.0\" roots: [\"a.1\"] installed: [\"a.1\"] package \"a\" { opam-version: \"2.0\" ".as_slice(),
        text,
        b" }",
    ]
    .concat();
    if let Ok(export) = SwitchExport::parse(&package) {
        let other = [package.as_slice(), b" # other"].concat();
        black_box(SwitchExport::parse(&other).map(|other| export.compare(&other))).ok();
    }
    if let Ok(export) = SwitchExport::parse(text) {
        black_box(export.compare(&export));
    }
}

/// What this thread has taken of a processor, to the nanosecond: the clock on the wall would count
/// what other tests do at the same time.
fn taken() -> Duration {
    let taken = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(taken).unwrap()
}

fn shortest(runs: usize, run: impl Fn()) -> Duration {
    let times = (0..runs).map(|_| {
        let start = taken();
        run();
        taken() - start
    });
    times.min().unwrap()
}

/// `make` is given a number of repetitions.
fn check(what: &str, make: impl Fn(usize) -> Vec<u8>, work: impl Fn(&[u8])) {
    // Large enough to be measured, and no larger.
    let mut count = 64;
    let mut small = make(count);
    let mut time = shortest(3, || work(&small));
    while time < TIME_MIN && small.len() < SMALL_BYTES_MAX {
        count *= 2;
        small = make(count);
        time = shortest(3, || work(&small));
    }
    let large = make(count * GROWTH);
    // One undisturbed run is enough.
    for _ in 0..5 {
        let large_time = shortest(1, || work(&large));
        if large_time <= time.max(TIME_MIN) * RATIO_MAX {
            return;
        }
        time = time.max(shortest(3, || work(&small)));
    }
    panic!(
        "{what}: {GROWTH} times {} bytes take more than {RATIO_MAX} times as long",
        small.len()
    );
}

#[test]
fn no_shape_of_file_takes_more_than_its_size() {
    let repeated = |before: &'static str, part: &'static str, after: &'static str| {
        move |count: usize| [before, &part.repeat(count), after].concat().into_bytes()
    };
    let numbered = |before: &'static str, part: fn(usize) -> String, after: &'static str| {
        move |count: usize| {
            let parts: String = (0..count).map(part).collect();
            [before, &parts, after].concat().into_bytes()
        }
    };
    for (before, part, after) in [
        // Nothing of these ends.
        ("", "(*", ""),
        ("", "\"\\\"", ""),
        ("x-a: \"", "a", ""),
        ("x-a: \"\"\"", "\"\"a", ""),
        ("x-a: [", "[", ""),
        ("x-a: ", "a {", ""),
        ("x-a: ", "!", ""),
        ("a {", "a {", ""),
        // Comments.
        ("", "# a\n", ""),
        ("", "(* a *)", ""),
        ("", "(* (* a *) *)", ""),
        ("(*", "*(", "*)"),
        // One long word, number or string, and many short ones written together.
        ("x-a: ", "a", ""),
        ("x-a: ", "1", ""),
        ("x-a: a", "+a", ""),
        ("x-a: a", "+1", ""),
        ("x-a: [", "1-", "1]"),
        ("x-a: [", "1-1_1", "]"),
        ("x-a: [", "a\"\"", "]"),
        ("x-a: \"", "a", "\""),
        ("x-a: \"", "\\n", "\""),
        ("x-a: \"", "\\x41\\065", "\""),
        ("description: \"\"\"", "a \"\" b\n", "\"\"\""),
        ("synopsis: \"", " ", "\""),
        // Lists and operators.
        ("x-a: [", "a ", "]"),
        ("x-a: [", "[] ", "]"),
        ("x-a: [", "\"a\" {b} ", "]"),
        ("x-a: ", "a & ", "a"),
        ("x-a: ", "a & b | ", "a"),
        ("available: ", "a = \"1\" & ", "a"),
        ("available: ", "!a | b & ", "a"),
        ("depends: [\"a\" {", "= \"1\" | ", "= \"1\"}]"),
        ("depends: [\"a\" {!(", "a & b | ", "a)}]"),
        ("depends: [", "\"a\" | ", "\"b\"]"),
        ("depopts: [", "\"a\" & ", "\"b\"]"),
        ("conflicts: [", "\"a\" & ", "\"b\"]"),
        ("build: [", "[make \"all\" {a}] {b} ", "]"),
        ("depexts: [", "[\"a\" \"b\"] {c} ", "]"),
        ("pin-depends: [", "[\"a.1\" \"https://a/b\"] ", "]"),
        ("setenv: [", "[A += \"b\"] ", "]"),
        ("flags: [", "plugin ", "]"),
        ("tags: [", "\"flags:plugin\" ", "]"),
        (
            "url { src: \"https://a/b\" checksum: [",
            "\"md5=00000000000000000000000000000000\" ",
            "] }",
        ),
        ("dev-repo: \"git+https://a/", "b#c", "\""),
        ("version: \"1", "~.0a", "\""),
        // The same name again and again.
        ("", "build: []\n", ""),
        ("", "x-a: 1\n", ""),
        ("", "url { }\n", ""),
    ] {
        check(
            &format!("{before}{part}…{after}"),
            repeated(before, part, after),
            work,
        );
    }
    for (before, part, after) in [
        (
            "",
            (|at| format!("x-{at}: {at}\n")) as fn(usize) -> String,
            "",
        ),
        ("", |at| format!("f{at}: {at}\n"), ""),
        ("", |at| format!("s{at} {{ }}\n"), ""),
        (
            "",
            |at| format!("extra-source \"{at}\" {{ src: \"https://{at}\" }}\n"),
            "",
        ),
        (
            "depends: [",
            |at| format!("\"a{at}\" {{>= \"{at}\"}} "),
            "]",
        ),
        ("depexts: [[", |at| format!("\"a{at}\" "), "]]"),
        (
            "extra-files: [",
            |at| format!("[\"a{at}\" \"md5={at:032x}\"] "),
            "]",
        ),
        (
            "x-opam-monorepo-duniverse-dirs: [",
            |at| format!("[\"https://{at}\" \"a{at}\" [\"md5={at:032x}\"]] "),
            "]",
        ),
        (
            "opam-version: \"2.0\" roots: [\"a.1\"] installed: [",
            |at| format!("\"a{at}.1\" "),
            "]",
        ),
        (
            "opam-version: \"2.0\" roots: [\"a.1\"] installed: [\"a.1\"]",
            |at| format!("package \"a{at}\" {{ opam-version: \"2.0\" }}\n"),
            "",
        ),
        (
            "opam-version: \"2.0\" roots: [\"a.1\"] pinned: [",
            |at| format!("\"a{at}.1\" {{a}} "),
            "]",
        ),
    ] {
        check(
            &format!("{before}{}…{after}", part(0)),
            numbered(before, part, after),
            work,
        );
    }
}

#[test]
fn differences_of_texts_take_no_more_than_their_size() {
    let halves = |text: &[u8]| {
        let (left, right) = text.split_at(text.len() / 2);
        black_box(unified_diff("left", left, "right", right));
    };
    let lines = |line: fn(usize) -> String| {
        move |count: usize| (0..count).map(line).collect::<String>().into_bytes()
    };
    check("the same line", lines(|_| "a\n".to_owned()), halves);
    check("other lines", lines(|at| format!("{at}\n")), halves);
    check(
        "two lines in turn",
        lines(|at| format!("{}\n", at % 2)),
        halves,
    );
    check(
        "few lines in disorder",
        lines(|at| format!("{}\n", at.wrapping_mul(at) % 7)),
        halves,
    );
    check("one line without end", lines(|_| "a".to_owned()), halves);
}
