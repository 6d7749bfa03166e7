//! Version 16: a build's uuid is written in hexadecimal digits, no longer as its 16 bytes.

use super::{Change, Refusal, Step};

pub(super) const STEP: Step = Step {
    name: "2022-05-09",
    from: 15,
    to: 16,
    up_about: "write uuids in hexadecimal digits",
    down_about: "write uuids as 16 bytes",
    up: Change {
        refuse: &[Refusal {
            count: "SELECT count(*) FROM build WHERE length(CAST(uuid AS BLOB)) <> 16",
            what: "builds have a uuid that is not 16 bytes long",
        }],
        statements: &["UPDATE build SET uuid =
  lower(substr(hex(uuid), 1, 8) || '-' || substr(hex(uuid), 9, 4) || '-' || substr(hex(uuid), 13, 4)
    || '-' || substr(hex(uuid), 17, 4) || '-' || substr(hex(uuid), 21))"],
        ..Change::NOTHING
    },
    down: Change {
        refuse: &[Refusal {
            count: "SELECT count(*) FROM build
                WHERE length(uuid) <> 36 OR coalesce(length(unhex(replace(uuid, '-', ''))), 0) <> 16",
            what: "builds have a uuid that is not 32 hexadecimal digits in five groups",
        }],
        // A text of any bytes, as the OCaml server wrote it.
        statements: &["UPDATE build SET uuid = CAST(unhex(replace(uuid, '-', '')) AS TEXT)"],
        ..Change::NOTHING
    },
};
