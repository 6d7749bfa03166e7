//! Version 17: a failed build is one without a main binary, whatever its exit code.

use super::{Change, Step};

pub(super) const STEP: Step = Step {
    name: "2023-09-11",
    from: 16,
    to: 17,
    up_about: "index failed builds by their lack of a main binary",
    down_about: "index failed builds by their exit code",
    up: Change {
        statements: &[
            "DROP INDEX idx_build_failed",
            "CREATE INDEX idx_build_failed ON build(job, start_d DESC, start_ps DESC) WHERE main_binary IS NULL",
        ],
        ..Change::NOTHING
    },
    down: Change {
        statements: &[
            "DROP INDEX idx_build_failed",
            "CREATE INDEX idx_build_failed ON build(job, start_d DESC, start_ps DESC) WHERE result_code <> 0",
        ],
        ..Change::NOTHING
    },
};
