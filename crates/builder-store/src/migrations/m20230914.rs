//! Version 18: an artifact is a file named by its content, no longer one by job and build. The same
//! content of many builds is one file.

use super::moves::{Moves, Places};
use super::{Change, Refusal, Step};

const SHA256_IS_WRONG: Refusal = Refusal {
    count: "SELECT count(*) FROM build_artifact WHERE length(CAST(sha256 AS BLOB)) <> 32",
    what: "artifacts have a SHA-256 that is not 32 bytes long",
};

pub(super) const STEP: Step = Step {
    name: "2023-09-14",
    from: 17,
    to: 18,
    up_about: "keep artifacts by their content, each once",
    down_about: "keep artifacts by job and build",
    up: Change {
        refuse: &[SHA256_IS_WRONG],
        moves: Some(Moves {
            count: "SELECT count(*) FROM build_artifact",
            // Artifacts of the same content one after the other.
            query: "SELECT CAST(sha256 AS BLOB), localpath FROM build_artifact ORDER BY sha256, id",
            to: Places::ByContent,
        }),
        statements: &[
            "CREATE TABLE new_build_artifact (
         id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
         filepath TEXT NOT NULL,
         sha256 BLOB NOT NULL,
         size INTEGER NOT NULL,
         build INTEGER NOT NULL,

         FOREIGN KEY(build) REFERENCES build(id),
         UNIQUE(build, filepath)
       )",
            "INSERT INTO new_build_artifact (id, filepath, sha256, size, build)
  SELECT id, filepath, sha256, size, build FROM build_artifact ORDER BY id",
            "DROP TABLE build_artifact",
            "ALTER TABLE new_build_artifact RENAME TO build_artifact",
            "CREATE INDEX idx_build_artifact_sha256 ON build_artifact(sha256)",
            "CREATE INDEX idx_build_artifact_build ON build_artifact(build)",
        ],
        ..Change::NOTHING
    },
    down: Change {
        refuse: &[
            SHA256_IS_WRONG,
            Refusal {
                count: "SELECT count(*) FROM build_artifact WHERE NOT EXISTS
                    (SELECT 1 FROM build JOIN job ON job.id = build.job WHERE build.id = build_artifact.build)",
                what: "artifacts belong to no build, or to a build of no job",
            },
        ],
        moves: Some(Moves {
            count: "SELECT count(*) FROM build_artifact",
            query: "SELECT CAST(a.sha256 AS BLOB), j.name || '/' || b.uuid || '/output/' || a.filepath
                FROM build_artifact a JOIN build b ON b.id = a.build JOIN job j ON j.id = b.job
                ORDER BY a.sha256, a.id",
            to: Places::ByBuild,
        }),
        statements: &[
            "CREATE TABLE new_build_artifact (
         id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
         filepath TEXT NOT NULL, -- the path as in the build
         localpath TEXT NOT NULL, -- local path to the file on disk
         sha256 BLOB NOT NULL,
         size INTEGER NOT NULL,
         build INTEGER NOT NULL,

         FOREIGN KEY(build) REFERENCES build(id),
         UNIQUE(build, filepath)
       )",
            "INSERT INTO new_build_artifact (id, filepath, localpath, sha256, size, build)
  SELECT a.id, a.filepath, j.name || '/' || b.uuid || '/output/' || a.filepath, a.sha256, a.size, a.build
  FROM build_artifact a JOIN build b ON b.id = a.build JOIN job j ON j.id = b.job ORDER BY a.id",
            "DROP TABLE build_artifact",
            "ALTER TABLE new_build_artifact RENAME TO build_artifact",
            "CREATE INDEX idx_build_artifact_sha256 ON build_artifact(sha256)",
        ],
        ..Change::NOTHING
    },
};
