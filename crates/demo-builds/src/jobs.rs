//! The eight jobs: what each builds, from which commits of its sources.

use solo5_elf::{DeviceType, Target};

/// What is built again and again.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) synopsis: &'static str,
    pub(crate) description: &'static str,
    /// The program's own modules.
    pub(crate) units: &'static str,
    /// What they are about.
    pub(crate) words: &'static str,
    /// Oldest first; a build takes the newest of its day.
    pub(crate) commits: &'static [Commit],
}

/// What a job makes.
pub(crate) enum Kind {
    Unikernel {
        target: Target,
        devices: &'static [(&'static str, DeviceType)],
    },
    /// A Debian or FreeBSD package of the opam package.
    SystemPackage,
    /// Whatever its script leaves behind, without opam.
    Script,
}

/// A state of a job's sources.
pub(crate) struct Commit {
    pub(crate) day: u8,
    pub(crate) version: &'static str,
    pub(crate) compiler: &'static str,
    pub(crate) depends: &'static str,
    /// The time of the build ends up in what is built: in a unikernel's data, in the times of a package's files.
    pub(crate) stamps_build_time: bool,
    pub(crate) subject: &'static str,
}

impl Job {
    /// The newest commit of a day and its number, from 1 on.
    pub(crate) fn commit(&self, day: u8) -> (u8, &'static Commit) {
        let index = self
            .commits
            .iter()
            .rposition(|commit| commit.day <= day)
            .unwrap_or(0);
        (
            u8::try_from(index + 1).unwrap_or(u8::MAX),
            &self.commits[index],
        )
    }
}

const OCAML_4: &str = "4.14.2";
const OCAML_5: &str = "5.2.1";

const WEB: &str = "lwt mirage-runtime mirage-solo5 mirage-net-solo5 mirage-logs mirage-ptime tcpip tls-mirage h1 paf \
    git-kv happy-eyeballs-mirage ca-certs-nss uri fmt";
const WEB_CACHE: &str = "lwt mirage-runtime mirage-solo5 mirage-net-solo5 mirage-logs mirage-ptime tcpip tls-mirage h1 paf \
    git-kv happy-eyeballs-mirage ca-certs-nss uri fmt lru checkseum";
const RESOLVER: &str = "lwt mirage-runtime mirage-solo5 mirage-net-solo5 mirage-block-solo5 mirage-logs tcpip dns-server \
    dns-resolver mirage-monitoring logs-syslog git-kv";
const RESOLVER_WEB: &str = "lwt mirage-runtime mirage-solo5 mirage-net-solo5 mirage-block-solo5 mirage-logs tcpip \
    dns-server dns-resolver mirage-monitoring logs-syslog git-kv h1 paf multipart_form";
const RESOLVER_SMALL: &str = "lwt mirage-runtime mirage-solo5 mirage-net-solo5 mirage-block-solo5 mirage-logs tcpip \
    dns-server dns-resolver mirage-monitoring logs-syslog h1 paf";
const CLOCK: &str =
    "lwt mirage-runtime mirage-solo5 mirage-net-solo5 mirage-ptime tcpip ntp-client";
const NOTHING: &str = "lwt mirage-runtime mirage-solo5";
const DEPLOY: &str =
    "dune cmdliner bos logs lwt tls-lwt conf-libev asn1-combinators ptime jsonm hxd";
const DEPLOY_PLAIN: &str = "dune cmdliner bos logs lwt tls-lwt asn1-combinators ptime jsonm";
const DATES: &str = "dune cmdliner timedesc yojson csv re fmt";
const PROVER: &str = "dune menhir menhirLib cmdliner dolmen ocamlgraph zarith fmt yojson notty re";
const PROVER_NATIVE: &str =
    "dune menhir menhirLib cmdliner dolmen ocamlgraph zarith fmt yojson notty re llvm-lite";

const fn commit(
    day: u8,
    version: &'static str,
    compiler: &'static str,
    depends: &'static str,
    subject: &'static str,
) -> Commit {
    Commit {
        day,
        version,
        compiler,
        depends,
        stamps_build_time: false,
        subject,
    }
}

/// A web site from a repository. Reproduced for weeks; then its footer wants to tell when it was built.
pub(crate) static LANTERN: Job = Job {
    name: "lantern",
    kind: Kind::Unikernel {
        target: Target::Hvt,
        devices: &[("service", DeviceType::NetBasic)],
    },
    synopsis: "Unikernel that shows a web site out of a repository",
    description: "Lantern fetches a branch when it starts and when it is told to, and serves\nwhat is in it over TLS.\n\n\
        There is no disk: a restart is a fresh checkout.",
    units: "Dune__exe__Main Dune__exe__Unikernel Dune__exe__Pages Dune__exe__Mime Dune__exe__Refresh",
    words: "page branch refresh header footer mime redirect cache certificate hook path etag",
    commits: &[
        commit(0, "dev", OCAML_4, WEB, "Answer HEAD like GET"),
        commit(
            44,
            "dev",
            OCAML_4,
            WEB_CACHE,
            "Keep the checksums of pages, answer 304",
        ),
        Commit {
            day: 52,
            version: "dev",
            compiler: OCAML_4,
            depends: WEB_CACHE,
            stamps_build_time: true,
            subject: "Tell in the footer when the site's server was built",
        },
        commit(
            67,
            "dev",
            OCAML_4,
            WEB_CACHE,
            "Take the footer's date from SOURCE_DATE_EPOCH",
        ),
    ],
};

/// A resolver with a block list. Grows with every feature, breaks with a dependency's new interface, is put on a diet.
pub(crate) static MILLRACE: Job = Job {
    name: "millrace",
    kind: Kind::Unikernel {
        target: Target::Hvt,
        devices: &[
            ("storage", DeviceType::BlockBasic),
            ("service", DeviceType::NetBasic),
            ("management", DeviceType::NetBasic),
        ],
    },
    synopsis: "Unikernel that resolves names and forgets the unwanted ones",
    description: "Millrace asks the root servers itself, checks signatures, and answers for a list of\n\
        unwanted names that they do not exist. The list and the cache survive a\n\
        restart on a block device.",
    units: "Dune__exe__Main Dune__exe__Unikernel Dune__exe__Blocklist Dune__exe__Store Dune__exe__Dashboard",
    words: "query blocklist list store cache zone client lease counter answer prefetch sector dashboard",
    commits: &[
        commit(0, "dev", OCAML_4, RESOLVER, "Count what is blocked"),
        commit(
            11,
            "dev",
            OCAML_4,
            RESOLVER,
            "Ask again before an entry expires",
        ),
        commit(21, "dev", OCAML_4, RESOLVER_WEB, "Show counters on a page"),
        commit(
            43,
            "dev",
            OCAML_4,
            RESOLVER_WEB,
            "Follow dns 10: zones are values",
        ),
        commit(56, "dev", OCAML_5, RESOLVER_WEB, "Build with OCaml 5"),
        commit(
            71,
            "dev",
            OCAML_5,
            RESOLVER_SMALL,
            "Read lists from the disk, git is not needed",
        ),
    ],
};

/// Answers what time it is. Hosts are updated again and again and the program stays the same.
pub(crate) static SUNDIAL: Job = Job {
    name: "sundial",
    kind: Kind::Unikernel {
        target: Target::Spt,
        devices: &[("service", DeviceType::NetBasic)],
    },
    synopsis: "Unikernel that tells other machines the time",
    description: "Sundial asks four servers, throws the worst away and answers for the rest.",
    units: "Dune__exe__Main Dune__exe__Unikernel Dune__exe__Discipline",
    words: "time offset drift server reply clock leap",
    commits: &[
        commit(0, "dev", OCAML_5, CLOCK, "Answer before all servers did"),
        commit(62, "dev", OCAML_5, CLOCK, "Distrust a server that jumps"),
    ],
};

/// The smallest unikernel there is: no devices, one line of output.
pub(crate) static PEBBLE: Job = Job {
    name: "pebble",
    kind: Kind::Unikernel {
        target: Target::Hvt,
        devices: &[],
    },
    synopsis: "Unikernel that says hello and stops",
    description: "Pebble needs no device. It is here to see that a host can start unikernels at all.",
    units: "Dune__exe__Main Dune__exe__Unikernel",
    words: "hello greeting line",
    commits: &[
        commit(0, "dev", OCAML_4, NOTHING, "Say hello once, not four times"),
        commit(78, "dev", OCAML_5, NOTHING, "Build with OCaml 5"),
    ],
};

/// A daemon, packaged for two systems.
pub(crate) static FERRYMAN: Job = Job {
    name: "ferryman",
    kind: Kind::SystemPackage,
    synopsis: "Starts, stops and moves virtual machines",
    description: "Ferryman is a daemon that owns the virtual machines of a host, and a command\nthat talks to it.\n\n\
        Who may do what is written in certificates.",
    units: "Ferryman Ferryman__Policy Ferryman__Console Ferryman__Stats Dune__exe__Ferryman Dune__exe__Ferrymand",
    words: "vm policy bridge console stats certificate command reply wire tender block image",
    commits: &[
        commit(0, "1.3.2", OCAML_4, DEPLOY_PLAIN, "Release 1.3.2"),
        commit(
            26,
            "1.4.0",
            OCAML_4,
            DEPLOY,
            "Release 1.4.0, waits for events with libev",
        ),
        Commit {
            day: 70,
            version: "1.5.0",
            compiler: OCAML_5,
            depends: DEPLOY,
            stamps_build_time: true,
            subject: "Release 1.5.0, completes commands in the shell",
        },
    ],
};

/// A command line tool that moves from one Debian to the next.
pub(crate) static ALMANAC: Job = Job {
    name: "almanac",
    kind: Kind::SystemPackage,
    synopsis: "Answers questions about dates from tables",
    description: "Almanac reads a table of dates and tells what is due, in any zone of the world.",
    units: "Almanac Almanac__Table Almanac__Query Almanac__Ical Dune__exe__Almanac",
    words: "date table query zone event due row repeat holiday week",
    commits: &[
        commit(0, "0.8.0", OCAML_5, DATES, "Release 0.8.0"),
        commit(54, "0.9.0", OCAML_5, DATES, "Release 0.9.0"),
    ],
};

/// Large, and it shows: it is killed for its memory and runs out of time.
pub(crate) static ANVIL: Job = Job {
    name: "anvil",
    kind: Kind::SystemPackage,
    synopsis: "Proves small programs correct, or tells why not",
    description: "Anvil turns a program and what it should do into problems for provers, and\nasks all of them at once.",
    units: "Anvil Anvil__Lexer Anvil__Parser Anvil__Typing Anvil__Vc Anvil__Smt Anvil__Report Dune__exe__Anvil",
    words: "goal lemma term context hypothesis prover model trace quantifier loop invariant obligation",
    commits: &[
        commit(0, "0.4.0", OCAML_5, PROVER, "Release 0.4.0"),
        commit(
            27,
            "0.5.0",
            OCAML_5,
            PROVER_NATIVE,
            "Release 0.5.0, compiles what it has proved",
        ),
        commit(
            61,
            "0.5.1",
            OCAML_5,
            PROVER_NATIVE,
            "Split the largest module, it took 9 GiB to compile",
        ),
    ],
};

/// No opam at all: a script that looks for dead links and leaves a report.
pub(crate) static NIGHTLY_LINKS: Job = Job {
    name: "nightly-links",
    kind: Kind::Script,
    synopsis: "",
    description: "",
    units: "",
    words: "",
    commits: &[commit(0, "1", "", "", "Look at links")],
};

#[cfg(test)]
mod tests {
    use super::{ALMANAC, ANVIL, FERRYMAN, LANTERN, MILLRACE, PEBBLE, SUNDIAL};
    use crate::catalogue::package;

    #[test]
    fn every_job_depends_on_packages_of_the_repository() {
        for job in [
            &LANTERN, &MILLRACE, &SUNDIAL, &PEBBLE, &FERRYMAN, &ALMANAC, &ANVIL,
        ] {
            for name in job
                .commits
                .iter()
                .flat_map(|commit| commit.depends.split_whitespace())
            {
                assert!(package(name).is_some(), "{} depends on {name}", job.name);
            }
        }
    }
}
