-- builder-web-record.sqlite3: what builder-web alone knows and nothing could tell again, attached as
-- schema "record". Never dropped. This is the schema as it is today; schema/record/N-up.sql add up
-- to it, which a test checks.

-- Builds that are never vacuumed. One whose build is gone is dropped when a server starts.
CREATE TABLE record.pin (
  uuid TEXT PRIMARY KEY NOT NULL, -- of the build
  note TEXT NOT NULL,             -- why, in the operator's words; may be empty
  pinned_d INTEGER NOT NULL,
  pinned_ps INTEGER NOT NULL
) WITHOUT ROWID;

-- What stays of a build whose rows and files were removed. It is written and committed before the
-- rows go: each of the two files is atomic by itself, but not the two together. So a row whose build
-- is still there tells of a removal that did not happen, and is dropped.
CREATE TABLE record.removed_build (
  uuid TEXT PRIMARY KEY NOT NULL,
  job TEXT NOT NULL,      -- its name
  platform TEXT NOT NULL,
  start_d INTEGER NOT NULL,
  start_ps INTEGER NOT NULL,
  finish_d INTEGER NOT NULL,
  finish_ps INTEGER NOT NULL,
  result_code INTEGER NOT NULL,
  result_msg TEXT,
  main_path TEXT,         -- of the main binary, as its digest and size; NULL if it had none
  main_sha256 BLOB,
  main_size INTEGER,
  input_id BLOB,
  uploader TEXT NOT NULL, -- the name of the user
  removed_d INTEGER NOT NULL,
  removed_ps INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX record.idx_removed_build_main ON removed_build(main_sha256);
CREATE INDEX record.idx_removed_build_input ON removed_build(input_id);

-- Files to remove once no row names them: written before the rows go, forgotten after the files
-- have gone. What a row names is left alone.
CREATE TABLE record.file_removal (
  kind TEXT NOT NULL, -- "artifact" or "build"
  name TEXT NOT NULL, -- SHA-256 in hexadecimal, or JOB/UUID
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;

PRAGMA record.user_version = 1;
PRAGMA record.application_id = 1651987013;
