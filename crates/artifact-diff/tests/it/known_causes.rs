//! "Identical apart from X" is said when it is so, and only then.

use artifact_diff::{Hints, Kind, Limits, Report, compare};

fn plain(left: &[u8], right: &[u8]) -> Report {
    let report = compare(left, right, &Hints::default(), &Limits::default());
    let kept = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&kept).unwrap(), report);
    report
}

fn apart_from(left: &str, right: &str) -> Vec<Kind> {
    plain(left.as_bytes(), right.as_bytes()).apart_from
}

#[test]
fn times_are_told_in_the_forms_tools_write_them() {
    for (left, right) in [
        (
            "built 2026-05-12T04:12:33Z here",
            "built 2026-06-01T23:00:00Z here",
        ),
        ("on 2026-05-12 04:12", "on 2026-05-12 04:13"),
        (
            "Tue, 12 May 2026 04:12:33 +0000",
            "Sat, 2 May 2026 11:00:01 +0200",
        ),
        (
            "Tue May 12 04:12:33 UTC 2026",
            "Mon Jun  1 10:00:00 UTC 2026",
        ),
        ("May 12 2026 04:12:33", "Jun  1 2026 23:59:59"),
        ("20260512041233", "20260513041233"),
        ("at 04:12:33", "at 05:12:33"),
    ] {
        assert_eq!(apart_from(left, right), [Kind::Timestamp], "{left} {right}");
    }
}

#[test]
fn other_known_kinds_are_told_apart() {
    for (kind, left, right) in [
        (
            Kind::BuildPath,
            "file /home/ann/src/main.ml line 3",
            "file /srv/build/7/src/main.ml line 3",
        ),
        (
            Kind::RandomId,
            "id 5f6a7b8c-1111-2222-3333-444455556666.",
            "id 00000000-aaaa-bbbb-cccc-0123456789ab.",
        ),
        (
            Kind::RandomId,
            "in build_1a2b3c_dune now",
            "in build_ffffff_dune now",
        ),
        (Kind::RandomId, "camlstartup0a1b2c.s", "camlstartupffeedd.s"),
        (
            Kind::RandomId,
            "rm /tmp/ocaml-x7y8 done",
            "rm /tmp/ocaml-0123456 done",
        ),
        (
            Kind::KernelVersion,
            "on Linux 5.10.0-21-amd64 #1",
            "on Linux 6.1.0-18-amd64 #1",
        ),
        (
            Kind::KernelVersion,
            "uname 6.1.0-18-amd64",
            "uname 6.1.0-21-amd64",
        ),
        (Kind::Locale, "LANG=C.UTF-8\n", "LANG=de_DE.UTF-8\n"),
        (Kind::Locale, "using en_US.UTF-8 for", "using C.UTF-8 for"),
        (
            Kind::BuildPath,
            "cc -I/home/ann/b/include/x.h -c",
            "cc -I/srv/build/include/x.h -c",
        ),
        (
            Kind::RandomId,
            "as -o /tmp/ccQx7Zk2.o a.s",
            "as -o /tmp/ccAbCd90.o a.s",
        ),
        (
            Kind::KernelVersion,
            "uname 5.15.0-91-generic x86_64",
            "uname 6.8.0-31-generic x86_64",
        ),
    ] {
        assert_eq!(apart_from(left, right), [kind], "{left} {right}");
    }
}

#[test]
fn what_the_builds_say_of_themselves_is_a_hint() {
    let hints = Hints {
        texts: vec![
            (
                Kind::BuildPath,
                "/tmp/myswitch".to_owned(),
                "/usr/home/builder/other".to_owned(),
            ),
            (
                Kind::HostName,
                "worker-a".to_owned(),
                "b.example".to_owned(),
            ),
            (Kind::UserName, "builder".to_owned(), "rebuilder".to_owned()),
        ],
        left_time: Some((1_778_559_000, 1_778_560_000)),
        right_time: Some((1_779_000_000, 1_779_001_000)),
    };
    let left = b"prefix=/tmp/myswitch host=worker-a user=builder at=1778559153 end";
    let right = b"prefix=/usr/home/builder/other host=b.example user=rebuilder at=1779000042 end";
    let report = compare(left, right, &hints, &Limits::default());
    assert_eq!(
        report.apart_from,
        [
            Kind::Timestamp,
            Kind::BuildPath,
            Kind::UserName,
            Kind::HostName
        ]
    );
    let reversed = compare(right, left, &hints.reversed(), &Limits::default());
    assert_eq!(reversed.apart_from, report.apart_from);
    // Without the hints, ten digits are ten digits.
    assert!(
        plain(b"at=1778559153", b"at=1779000042")
            .apart_from
            .is_empty()
    );
}

#[test]
fn one_other_difference_is_enough_not_to_say_it() {
    for (left, right) in [
        ("2026-05-12 a", "2026-05-13 b"),
        ("a 2026-05-12", "b 2026-05-13"),
        ("2026-05-12", "2026-05-13 "),
        ("2026-05-12", "never"),
        ("/home/ann/src/main.ml", "/home/bob/src/other.ml"),
        ("5", "6"),
        ("", "2026-05-12"),
    ] {
        let report = plain(left.as_bytes(), right.as_bytes());
        assert!(
            report.apart_from.is_empty() && !report.same,
            "{left} {right}: {report}"
        );
    }
}

#[test]
fn what_only_looks_like_a_known_kind_is_a_difference() {
    for (left, right) in [
        // Versions of packages and of the system.
        (
            "ca-certificates=20230311+deb12u1\n",
            "ca-certificates=20240203+deb12u1\n",
        ),
        (
            "linux-libc-dev=6.1.106-3-x\n",
            "linux-libc-dev=6.1.112-1-x\n",
        ),
        (
            "src: \"https://github.com/mirleft/ocaml-tls/releases/download/v1.0.1/tls.tbz\"",
            "src: \"https://github.com/mirleft/ocaml-tls/releases/download/v1.0.2/tls.tbz\"",
        ),
        ("/usr/lib/python3.11/os.py", "/usr/lib/python3.12/os.py"),
        ("rm /tmp/dune-3.16.0 done", "rm /tmp/dune-3.17.0 done"),
        // Names of files, functions and variables.
        ("src/v1/x.ml", "src/v2/x.ml"),
        ("rm /tmp/main.ml done", "rm /tmp/other.ml done"),
        ("ccontrol.c", "ccompute.c"),
        ("tmp_buffer", "tmp_result"),
        ("in build_1a2b3c_dune now", "in build_1a2b3c_lwt now"),
        ("let is_OK = x", "let is_IT = x"),
        ("LANG=C", "LC_ALL=C"),
        // An address of a network card.
        ("mac 00:16:30:11:22:33", "mac 00:16:31:11:22:33"),
        // Blanks make up for a length in their own line alone.
        ("on 2 May 2026\nx y\n", "on 12 May 2026\nxy\n"),
    ] {
        let report = plain(left.as_bytes(), right.as_bytes());
        assert!(report.apart_from.is_empty(), "{left} {right}: {report}");
        let report = plain(right.as_bytes(), left.as_bytes());
        assert!(report.apart_from.is_empty(), "{right} {left}: {report}");
    }
}

#[test]
fn eight_digits_are_a_date_only_in_a_build_of_that_day() {
    let hints = |left: u64, right: u64| Hints {
        left_time: Some((left, left + 600)),
        right_time: Some((right, right + 600)),
        ..Hints::default()
    };
    let (left, right) = (b"version 20260512 of it", b"version 20260601 of it");
    let compared = |hints: &Hints| compare(left, right, hints, &Limits::default()).apart_from;
    // The 12th of May and the 1st of June, at noon.
    let at_that_time = hints(1_778_587_200, 1_780_315_200);
    assert_eq!(compared(&at_that_time), [Kind::Timestamp]);
    assert!(compared(&hints(1_778_587_200, 1_778_587_200)).is_empty());
    assert!(compared(&Hints::default()).is_empty());
}

#[test]
fn a_shorter_text_in_a_fixed_place_is_padded() {
    let left = b"head\0\x01built Tue, 12 May 2026 04:12:33\0\0\0\0\0\0tail\x02";
    let right = b"head\0\x01built Sat, 2 May 2026 04:12:33\0\0\0\0\0\0\0tail\x02";
    assert_eq!(plain(left, right).apart_from, [Kind::Timestamp]);
}

#[test]
fn a_cause_says_where_it_was_and_what_stood_there() {
    let report = plain(
        b"a\nb 2026-05-12\nc 2026-05-12\n",
        b"a\nb 2026-05-13\nc 2026-05-13\n",
    );
    let [cause] = report.causes.as_slice() else {
        panic!("{report}")
    };
    assert_eq!((cause.count, cause.place.as_str()), (2, "line 2"));
    assert_eq!(
        (cause.left.as_str(), cause.right.as_str()),
        ("2026-05-12", "2026-05-13")
    );
    assert_eq!(report.verdict(), "Identical apart from timestamps.");
}
