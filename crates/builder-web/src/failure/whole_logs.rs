//! Consoles as they are: what ended the build is at the end, after hundreds of lines with
//! complaints that ended nothing.

use builder_exec::ExecutionResult;

use super::classify;

/// What a script's questions to the system print, each answered with no.
const PROBES: &str = "\
+ ./configure --prefix=/home/builder/.opam/again
checking for gcc... gcc
checking whether the C compiler works... yes
./configure: line 2764: pkg-conf: command not found
checking for icc... no
sh: 1: icc: not found
cat: /sys/class/dmi/id/product_uuid: Permission denied
checking for libev... No package 'libev' found
ls: cannot access '/opt/local/lib': No such file or directory
which: no gmake in (/usr/bin:/bin)
dmesg: read kernel buffer failed: Operation not permitted
config.status: creating Makefile
";

/// Lines of a build that goes well.
fn compiled(count: usize) -> String {
    (0..count)
        .map(|number| format!("ocamlfind ocamlopt -package cstruct -c src/part_{number}.ml\n"))
        .collect()
}

fn check(log: &str) -> (&'static str, String) {
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    let failure = classify(&ExecutionResult::Exited(2), &lines);
    let told = failure.told.map(|(at, text)| {
        assert!(lines[at].contains(&text));
        text
    });
    (failure.class.name(), told.unwrap_or_default())
}

#[test]
fn a_compile_error_at_the_end_is_not_outdone_by_questions_before_it() {
    let error = "\
File \"src/resolver.ml\", line 88, characters 31-35:
88 |   | Some (zone, soa) -> Zone.add zone soa
                                     ^^^^
Error: This expression has type Dns.Zone.t but an expression was expected of type string
make[1]: *** [Makefile:61: src/resolver.cmx] Error 2
make[1]: Leaving directory '/home/builder/src'
make: *** [Makefile:12: all] Error 2
[ERROR] The compilation of resolver.1.2.0 failed at \"make -j4\".
# exit-code            2
";
    let told =
        "Error: This expression has type Dns.Zone.t but an expression was expected of type string";
    // Right before it, and far from it.
    for between in [0, 5, 40, 200] {
        let log = format!("{PROBES}{}{error}", compiled(between));
        assert_eq!(check(&log), ("compile-error", told.to_owned()), "{between}");
    }
}

#[test]
fn what_is_tidied_up_after_an_error_did_not_end_it() {
    let log = format!(
        "{}src/main.c:12:3: error: expected ';' before '}}' token\n\
         make: *** [Makefile:30: main.o] Error 1\n\
         + rm -rf /var/cache/build\n\
         rm: cannot remove '/var/cache/build/lock': Permission denied\n\
         build.sh: line 40: notify-send: command not found\n",
        compiled(100)
    );
    let (class, told) = check(&log);
    assert_eq!(class, "compile-error");
    assert_eq!(
        told,
        "src/main.c:12:3: error: expected ';' before '}' token"
    );
}

#[test]
fn a_command_that_is_missing_at_the_end_is_what_ended_it() {
    let log = format!(
        "{PROBES}{}+ orb build\nbuild.sh: line 4: orb: command not found\n",
        compiled(30)
    );
    // Another command was missing, too, and that was overcome.
    assert_eq!(
        check(&log),
        (
            "missing-command",
            "build.sh: line 4: orb: command not found".to_owned()
        )
    );
    let log = "\
checking for gcc... no
./configure: line 3021: gcc: command not found
checking for cc... no
configure: error: in `/home/builder/src':
configure: error: no acceptable C compiler found in $PATH
See `config.log' for more details
[ERROR] The compilation of conf-gmp.4 failed at \"./configure\".
";
    let (class, told) = check(log);
    assert_eq!(class, "missing-command");
    assert_eq!(told, "./configure: line 3021: gcc: command not found");
}

#[test]
fn a_directory_that_may_not_be_written_to_at_the_end_is_what_ended_it() {
    let log = format!(
        "{PROBES}{}make install\n\
         install: cannot create directory '/usr/local/share/x': Permission denied\n\
         make: *** [Makefile:80: install] Error 1\n\
         [ERROR] The compilation of x.1.0 failed at \"make install\".\n",
        compiled(150)
    );
    let (class, told) = check(&log);
    assert_eq!(class, "permission");
    assert_eq!(
        told,
        "install: cannot create directory '/usr/local/share/x': Permission denied"
    );
}

#[test]
fn a_mirror_that_did_not_answer_was_overcome_where_a_test_failed() {
    let log = format!(
        "curl: (28) Connection timed out after 30000 milliseconds\n\
         [WARNING] tls.2.0.1: trying the next mirror\n\
         -> retrieved tls.2.0.1\n\
         {}[OK]          parse          1   lines.\n\
         [FAIL]        parse          2   empty lines.\n\
         ASSERT the same\nFAIL the same\n   Expected: `[]'\n   Received: `[\"\"]'\n\
         Full test results in `_build/default/test/_tests/parse'.\n\
         1 failure! in 0.012s. 14 tests run.\n",
        compiled(20)
    );
    let (class, told) = check(&log);
    assert_eq!(class, "test-failure");
    assert_eq!(told, "[FAIL]        parse          2   empty lines.");
}

#[test]
fn a_library_that_was_only_asked_for_did_not_end_what_could_not_be_linked() {
    let log = format!(
        "{PROBES}{}/usr/bin/ld: main.o: in function `main':\n\
         main.c:(.text+0x1b): undefined reference to `mpz_init'\n\
         collect2: error: ld returned 1 exit status\n\
         make: *** [Makefile:9: x] Error 1\n",
        compiled(200)
    );
    let (class, told) = check(&log);
    assert_eq!(class, "link-error");
    assert!(
        told.ends_with("undefined reference to `mpz_init'"),
        "{told}"
    );
}

#[test]
fn a_full_disk_explains_what_follows_however_much_is_printed_after_it() {
    let log = format!(
        "cc1: error: error writing to /tmp/x.s: No space left on device\n{}\
         src/main.c:12:3: error: expected ';'\nmake: *** [all] Error 1\n",
        compiled(300)
    );
    assert_eq!(check(&log).0, "disk-full");
}

#[test]
fn of_two_failures_the_one_nearest_the_end_is_told() {
    let log = format!(
        "conftest.c:3:10: fatal error: sys/pledge.h: No such file or directory\n\
         compilation terminated.\nchecking for sys/pledge.h... no\n{}\
         File \"src/x.ml\", line 3, characters 5-8:\nError: Unbound module Lwt\n",
        compiled(100)
    );
    assert_eq!(
        check(&log),
        ("compile-error", "Error: Unbound module Lwt".to_owned())
    );
}
