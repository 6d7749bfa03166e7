//! What happened to the eight jobs in ninety days, one line a build.
//!
//! A line says when and where a job was built, by whom, and how it ended. Everything else follows from the day: the
//! commit of the sources, the versions of the repository, the updates of the host.

use crate::host::Platform;
use crate::jobs::{
    ALMANAC, ANVIL, FERRYMAN, Job, LANTERN, MILLRACE, NIGHTLY_LINKS, PEBBLE, SUNDIAL,
};

use Failure::{CompileError, DeadLinks, DiskFull, MissingPackage, Network};
use Outcome::{Fails, OutOfMemory, Succeeds, TimesOut, WorkerLost};
use Platform::{Debian12, Debian13, FreeBsd14};
use Uploader::{Builder, Rebuilder};

/// The day on which the demo is filled; the first build is on day 1.
pub(crate) const TODAY: u8 = 90;

/// A build of the story.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) job: &'static Job,
    pub(crate) day: u8,
    pub(crate) minute_of_day: u16,
    pub(crate) platform: Platform,
    pub(crate) uploader: Uploader,
    pub(crate) outcome: Outcome,
}

/// Who sends a build.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Uploader {
    Builder,
    Rebuilder,
}

/// How a build ends.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Outcome {
    Succeeds,
    /// Exits with an error.
    Fails(Failure),
    /// Killed by the kernel: no memory left.
    OutOfMemory,
    /// Given up by the worker after its time.
    TimesOut,
    /// The worker itself went away.
    WorkerLost,
}

/// Why a script gives up.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Failure {
    Network,
    DiskFull,
    MissingPackage,
    CompileError,
    DeadLinks,
}

/// All builds, oldest first.
pub(crate) fn plans() -> Vec<Plan> {
    let mut plans: Vec<Plan> = STORY.iter().chain([&LAST]).copied().collect();
    plans.sort_by_key(|plan| (plan.day, plan.minute_of_day));
    plans
}

const fn build(
    job: &'static Job,
    day: u8,
    (hour, minute): (u16, u16),
    platform: Platform,
    uploader: Uploader,
    outcome: Outcome,
) -> Plan {
    Plan {
        job,
        day,
        minute_of_day: hour * 60 + minute,
        platform,
        uploader,
        outcome,
    }
}

/// The newest build: it finishes just before the demo is filled.
const LAST: Plan = build(&LANTERN, TODAY, (3, 10), Debian12, Builder, Succeeds);

/// One more, after a release of the TLS library that came out today.
pub(crate) const ONE_MORE: Plan = build(&LANTERN, TODAY + 1, (3, 10), Debian12, Builder, Succeeds);

#[rustfmt::skip]
static STORY: &[Plan] = &[
    // lantern: the same output for three weeks, whoever builds it and wherever …
    build(&LANTERN, 1, (3, 10), Debian12, Builder, Succeeds),
    build(&LANTERN, 2, (14, 2), Debian12, Rebuilder, Succeeds),
    // … and although the host was updated on day 5 …
    build(&LANTERN, 6, (3, 10), Debian12, Builder, Succeeds),
    build(&LANTERN, 6, (5, 30), FreeBsd14, Builder, Succeeds),
    build(&LANTERN, 16, (13, 44), Debian12, Rebuilder, Succeeds),
    // … until tls 2.0.0 and its friends change it.
    build(&LANTERN, 25, (3, 10), Debian12, Builder, Succeeds),
    build(&LANTERN, 25, (5, 30), FreeBsd14, Builder, Succeeds),
    build(&LANTERN, 26, (14, 21), Debian12, Rebuilder, Succeeds),
    // A night without network, mended by trying again.
    build(&LANTERN, 45, (3, 10), Debian12, Builder, Fails(Network)),
    build(&LANTERN, 45, (9, 15), Debian12, Builder, Succeeds),
    // The footer's date: from here on the same input gives another output each time …
    build(&LANTERN, 53, (3, 10), Debian12, Builder, Succeeds),
    build(&LANTERN, 54, (13, 30), Debian12, Rebuilder, Succeeds),
    build(&LANTERN, 56, (3, 10), Debian12, Builder, Succeeds),
    // … until it is taken from SOURCE_DATE_EPOCH.
    build(&LANTERN, 68, (3, 10), Debian12, Builder, Succeeds),
    build(&LANTERN, 69, (13, 56), Debian12, Rebuilder, Succeeds),
    build(&LANTERN, 69, (5, 30), FreeBsd14, Rebuilder, Succeeds),
    build(&LANTERN, 82, (3, 10), Debian12, Builder, Succeeds),

    // millrace: every feature costs some bytes.
    build(&MILLRACE, 3, (3, 40), Debian12, Builder, Succeeds),
    build(&MILLRACE, 12, (3, 40), Debian12, Builder, Succeeds),
    build(&MILLRACE, 22, (3, 40), Debian12, Builder, Succeeds),
    build(&MILLRACE, 23, (15, 5), Debian12, Rebuilder, Succeeds),
    // dns 10 came out on day 40 and nothing compiles until the sources follow on day 43.
    build(&MILLRACE, 41, (3, 40), Debian12, Builder, Fails(CompileError)),
    build(&MILLRACE, 42, (3, 40), Debian12, Builder, Fails(CompileError)),
    build(&MILLRACE, 44, (3, 40), Debian12, Builder, Succeeds),
    // The new compiler needs more room than the worker had.
    build(&MILLRACE, 57, (3, 40), Debian12, Builder, Fails(DiskFull)),
    build(&MILLRACE, 58, (3, 40), Debian12, Builder, Succeeds),
    build(&MILLRACE, 59, (15, 20), Debian12, Rebuilder, Succeeds),
    // On a diet: git and what it needs are gone.
    build(&MILLRACE, 72, (3, 40), Debian12, Builder, Succeeds),
    build(&MILLRACE, 88, (3, 40), Debian12, Builder, Succeeds),

    // sundial: other inputs, the same output.
    build(&SUNDIAL, 4, (4, 5), Debian12, Builder, Succeeds),
    build(&SUNDIAL, 20, (4, 5), Debian12, Builder, Succeeds),
    build(&SUNDIAL, 21, (16, 0), Debian12, Rebuilder, Succeeds),
    build(&SUNDIAL, 34, (4, 5), Debian12, Builder, Succeeds),
    build(&SUNDIAL, 48, (4, 5), Debian12, Builder, WorkerLost),
    build(&SUNDIAL, 63, (4, 5), Debian12, Builder, Succeeds),
    build(&SUNDIAL, 64, (16, 10), Debian12, Rebuilder, Succeeds),
    build(&SUNDIAL, 76, (4, 5), Debian12, Builder, Succeeds),

    // pebble: two platforms, one output.
    build(&PEBBLE, 10, (2, 50), Debian12, Builder, Succeeds),
    build(&PEBBLE, 10, (5, 10), FreeBsd14, Builder, Succeeds),
    build(&PEBBLE, 51, (2, 50), Debian12, Builder, Succeeds),
    build(&PEBBLE, 79, (2, 50), Debian12, Builder, Succeeds),

    // ferryman: a package for each of two systems, reproduced until its files have the time of the build. Release 1.4.0 wants libev, which FreeBSD's worker lacks at first.
    build(&FERRYMAN, 5, (4, 30), Debian12, Builder, Succeeds),
    build(&FERRYMAN, 5, (6, 0), FreeBsd14, Builder, Succeeds),
    build(&FERRYMAN, 5, (15, 30), Debian12, Rebuilder, Succeeds),
    build(&FERRYMAN, 27, (4, 30), Debian12, Builder, Succeeds),
    build(&FERRYMAN, 28, (16, 20), Debian12, Rebuilder, Succeeds),
    build(&FERRYMAN, 27, (6, 0), FreeBsd14, Builder, Fails(MissingPackage)),
    build(&FERRYMAN, 29, (6, 0), FreeBsd14, Builder, Succeeds),
    build(&FERRYMAN, 74, (4, 30), Debian12, Builder, Succeeds),
    build(&FERRYMAN, 74, (6, 0), FreeBsd14, Builder, Succeeds),
    // Built again, and not the same: the files in the package have the time of the build.
    build(&FERRYMAN, 74, (16, 40), Debian12, Rebuilder, Succeeds),

    // almanac moves to the next Debian, where one package is missing at first.
    build(&ALMANAC, 9, (5, 0), Debian12, Builder, Succeeds),
    build(&ALMANAC, 31, (5, 0), Debian12, Builder, Succeeds),
    build(&ALMANAC, 55, (5, 0), Debian12, Builder, Succeeds),
    build(&ALMANAC, 55, (6, 20), Debian13, Builder, Fails(MissingPackage)),
    build(&ALMANAC, 57, (6, 20), Debian13, Builder, Succeeds),
    build(&ALMANAC, 85, (6, 20), Debian13, Builder, Succeeds),

    // anvil: too large for its worker, until its largest module is split; then for the time it has.
    build(&ANVIL, 14, (0, 30), Debian12, Builder, Succeeds),
    build(&ANVIL, 28, (0, 30), Debian12, Builder, OutOfMemory),
    build(&ANVIL, 29, (0, 30), Debian12, Builder, OutOfMemory),
    build(&ANVIL, 62, (0, 30), Debian12, Builder, Succeeds),
    build(&ANVIL, 87, (0, 30), Debian12, Builder, TimesOut),

    // nightly-links: no opam, no inputs to compare.
    build(&NIGHTLY_LINKS, 15, (1, 15), Debian12, Builder, Succeeds),
    build(&NIGHTLY_LINKS, 40, (1, 15), Debian12, Builder, Fails(DeadLinks)),
    build(&NIGHTLY_LINKS, 65, (1, 15), Debian12, Builder, Succeeds),
    build(&NIGHTLY_LINKS, 89, (1, 15), Debian12, Builder, Succeeds),
];
