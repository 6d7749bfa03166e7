-- builder-web.sqlite3: what builder-web keeps beside the v18 database, attached as schema "own".
-- Everything here can be derived again from builder.sqlite3 and the artifacts: the OCaml server may
-- have written to builder.sqlite3 since we last ran, and this file may be deleted while no server runs.

-- One row: how this file is to be read, and how far it has followed builder.sqlite3.
CREATE TABLE own.progress (
  schema_version INTEGER NOT NULL, -- 9
  indexed_build INTEGER NOT NULL,  -- builds with an id up to this one are in the tables below
  indexed_uuid TEXT NOT NULL,      -- its uuid: another one there tells of a restored backup
  indexed_count INTEGER NOT NULL,  -- how many they are: fewer there tell of a removal by others
  counted_build INTEGER NOT NULL,  -- the artifacts of builds with an id up to this one are counted
  artifacts INTEGER NOT NULL,      -- how many distinct contents they have
  artifact_bytes INTEGER NOT NULL  -- the size of these
);
INSERT INTO own.progress (schema_version, indexed_build, indexed_uuid, indexed_count,
  counted_build, artifacts, artifact_bytes)
VALUES (9, 0, '', 0, 0, 0, 0);

-- How many builds each job has on each platform, with a main binary and without.
CREATE TABLE own.tally (
  job INTEGER NOT NULL,
  platform TEXT NOT NULL,
  failed INTEGER NOT NULL, -- whether they have no main binary
  builds INTEGER NOT NULL,
  PRIMARY KEY (job, platform, failed)
) WITHOUT ROWID;

-- The newest build with a main binary, and the newest without, of each job on each platform; of the
-- first, what its verdict rests on (verdict.rs).
CREATE TABLE own.latest (
  job INTEGER NOT NULL,
  platform TEXT NOT NULL,
  failed INTEGER NOT NULL,       -- whether it has no main binary
  build INTEGER NOT NULL,
  start_d INTEGER NOT NULL,
  start_ps INTEGER NOT NULL,
  input_id BLOB,
  same_output INTEGER NOT NULL,  -- other builds of the same input with the same output
  uploaders INTEGER NOT NULL,    -- who uploaded these, besides its own
  other_output INTEGER NOT NULL, -- other builds of the same input with another output
  before INTEGER NOT NULL,       -- the output before: 0 there is none, 1 the same, 2 another one
  PRIMARY KEY (job, platform, failed)
) WITHOUT ROWID;
CREATE INDEX own.latest_build ON latest (build);
CREATE INDEX own.latest_input ON latest (input_id);

-- The outputs of inputs that have many builds, and how many builds of each uploader have each:
-- removed ones count, too.
CREATE TABLE own.output (
  input_id BLOB NOT NULL,
  sha256 BLOB NOT NULL,
  uploader INTEGER NOT NULL, -- in user; -1: one who is no user any more
  builds INTEGER NOT NULL,
  PRIMARY KEY (input_id, sha256, uploader)
) WITHOUT ROWID;

-- Every build in the order of time on its platform, and what its input has shown (past.rs).
CREATE TABLE own.past (
  job INTEGER NOT NULL,
  platform TEXT NOT NULL,
  start_d INTEGER NOT NULL,
  start_ps INTEGER NOT NULL,
  build INTEGER NOT NULL,
  judged INTEGER NOT NULL, -- 0 it failed, 1 nothing, 2 it is reproduced by several uploaders,
                           -- 3 it is not reproducible, 4 it is reproduced by one alone
  PRIMARY KEY (job, platform, start_d, start_ps, build)
) WITHOUT ROWID;
CREATE INDEX own.past_judged ON past (job, platform, judged, start_d, start_ps, build);

-- When a platform that was reproduced, or never repeated, ceased to be reproducible.
CREATE TABLE own.ceased (
  job INTEGER NOT NULL,
  platform TEXT NOT NULL,
  input_id BLOB NOT NULL, -- what gave several outputs
  build INTEGER NOT NULL, -- the one that shows it there
  at_d INTEGER NOT NULL,  -- as the build ended that made it known
  at_ps INTEGER NOT NULL,
  PRIMARY KEY (job, platform, input_id)
) WITHOUT ROWID;
CREATE INDEX own.ceased_at ON ceased (at_d, at_ps, build);
CREATE INDEX own.ceased_job ON ceased (job, at_d, at_ps, build);

-- What was computed from an artifact, by what and in which version it was computed.
CREATE TABLE own.derived (
  kind TEXT NOT NULL,
  version INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (kind, version, sha256)
) WITHOUT ROWID;

-- The builds without a main binary, and why each failed, as far as it could be told. The v18 tables
-- have no index for them in the order of time.
CREATE TABLE own.failure (
  build INTEGER PRIMARY KEY NOT NULL,
  uuid TEXT NOT NULL,        -- of that build: another one there tells of a restored backup
  job INTEGER NOT NULL,
  platform TEXT NOT NULL,
  start_d INTEGER NOT NULL,
  start_ps INTEGER NOT NULL,
  version INTEGER NOT NULL,  -- of those who told; 0: nobody has looked yet
  class TEXT,                -- such as 'disk-full'; NULL: nobody has looked yet
  line INTEGER,              -- of the console, counted from 1: the one that told
  told TEXT,                 -- its text
  last_lines TEXT NOT NULL   -- of the console
);
CREATE INDEX own.failure_start ON failure (start_d, start_ps);
CREATE INDEX own.failure_job ON failure (job, start_d, start_ps);
CREATE INDEX own.failure_class ON failure (class, start_d, start_ps);
CREATE INDEX own.failure_version ON failure (version);

-- How many rows of the table before there are of each kind; class '' where nobody has looked.
CREATE TABLE own.failure_tally (
  job INTEGER NOT NULL,
  platform TEXT NOT NULL,
  class TEXT NOT NULL,
  builds INTEGER NOT NULL,
  PRIMARY KEY (job, platform, class)
) WITHOUT ROWID;
CREATE TRIGGER own.failure_added AFTER INSERT ON failure
BEGIN
  INSERT INTO failure_tally (job, platform, class, builds)
  VALUES (new.job, new.platform, COALESCE(new.class, ''), 1)
  ON CONFLICT (job, platform, class) DO UPDATE SET builds = builds + 1;
END;
CREATE TRIGGER own.failure_removed AFTER DELETE ON failure
BEGIN
  UPDATE failure_tally SET builds = builds - 1
  WHERE job = old.job AND platform = old.platform AND class = COALESCE(old.class, '');
END;
CREATE TRIGGER own.failure_changed AFTER UPDATE OF job, platform, class ON failure
BEGIN
  UPDATE failure_tally SET builds = builds - 1
  WHERE job = old.job AND platform = old.platform AND class = COALESCE(old.class, '');
  INSERT INTO failure_tally (job, platform, class, builds)
  VALUES (new.job, new.platform, COALESCE(new.class, ''), 1)
  ON CONFLICT (job, platform, class) DO UPDATE SET builds = builds + 1;
END;

-- Search, see search.rs. What builder.sqlite3 has an index for (uuids, digests, input ids) is looked
-- up there; here is what it has none for: packages and where files are.

-- One row: how far the tables below have followed builder.sqlite3.
CREATE TABLE own.search_progress (
  indexed_build INTEGER NOT NULL, -- builds with an id up to this one are in the tables below
  indexed_uuid TEXT NOT NULL      -- its uuid
);
INSERT INTO own.search_progress (indexed_build, indexed_uuid) VALUES (0, '');

-- Each distinct content of an opam switch, once however many builds share it. Ids grow in the order
-- in which builds brought them: a later input has a greater one.
CREATE TABLE own.switch (
  id INTEGER PRIMARY KEY NOT NULL,
  sha256 BLOB NOT NULL UNIQUE,
  state INTEGER NOT NULL,   -- 0 to be read, 1 read, 2 cannot be read, 3 no build has it any more
  packages INTEGER NOT NULL -- how many it has
);
CREATE INDEX own.idx_switch_state ON switch(state, id);

CREATE TABLE own.package_name (
  id INTEGER PRIMARY KEY NOT NULL,
  name TEXT NOT NULL UNIQUE
);

-- A package of one version.
CREATE TABLE own.package (
  id INTEGER PRIMARY KEY NOT NULL,
  name INTEGER NOT NULL, -- in own.package_name
  version TEXT NOT NULL,
  UNIQUE (name, version)
);

CREATE TABLE own.package_switch (
  package INTEGER NOT NULL,
  switch INTEGER NOT NULL,
  PRIMARY KEY (package, switch)
) WITHOUT ROWID;

-- Each distinct path of an artifact.
CREATE TABLE own.file (
  id INTEGER PRIMARY KEY NOT NULL,
  path TEXT NOT NULL UNIQUE
);

-- What a path is found by: its end from the beginning of each of its words on, in lower case and cut.
CREATE TABLE own.file_word (
  word TEXT NOT NULL,
  file INTEGER NOT NULL,
  PRIMARY KEY (word, file)
) WITHOUT ROWID;

-- The jobs whose builds have a file at a path, and the newest of these builds.
CREATE TABLE own.file_job (
  file INTEGER NOT NULL,
  job INTEGER NOT NULL,
  build INTEGER NOT NULL,
  start_d INTEGER NOT NULL,
  start_ps INTEGER NOT NULL,
  PRIMARY KEY (file, job)
) WITHOUT ROWID;
