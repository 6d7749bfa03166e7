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
CREATE INDEX record.idx_removed_build_job ON removed_build(job, platform, start_d, start_ps);

-- Files to remove once no row names them: written before the rows go, forgotten after the files
-- have gone. What a row names is left alone.
CREATE TABLE record.file_removal (
  kind TEXT NOT NULL, -- "artifact" or "build"
  name TEXT NOT NULL, -- SHA-256 in hexadecimal, or JOB/UUID
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;

-- What programs log in with. Of a token only the digest is kept. A row stays when its token is
-- revoked or has expired: the audit record names it.
CREATE TABLE record.token (
  id INTEGER PRIMARY KEY NOT NULL,
  name TEXT NOT NULL UNIQUE,   -- what the operator calls it
  username TEXT NOT NULL,      -- of the user it stands for
  sha256 BLOB NOT NULL UNIQUE, -- of the token
  scope TEXT NOT NULL,         -- "upload" or "admin"
  created_d INTEGER NOT NULL,
  created_ps INTEGER NOT NULL,
  expires_d INTEGER,           -- NULL: never
  expires_ps INTEGER,
  revoked_d INTEGER,           -- NULL: not revoked
  revoked_ps INTEGER,
  used_d INTEGER               -- the last day that it let somebody in; NULL: never since this is kept
);

-- The jobs a token may add builds to; none: all that its user may.
CREATE TABLE record.token_job (
  token INTEGER NOT NULL,
  job TEXT NOT NULL, -- its name: it need not be there yet
  PRIMARY KEY (token, job)
) WITHOUT ROWID;

-- Who did what from where, and what was refused. Only added to; of what was refused, which anybody
-- can fill, the newest of each action are kept.
CREATE TABLE record.audit (
  id INTEGER PRIMARY KEY NOT NULL,
  at_d INTEGER NOT NULL,
  at_ps INTEGER NOT NULL,
  who TEXT NOT NULL,     -- user, "user (token name)", or the account on the command line
  address TEXT NOT NULL, -- of the client, or "command line"
  request TEXT NOT NULL, -- X-Request-Id
  action TEXT NOT NULL,  -- upload, log-in, user-add, …
  subject TEXT NOT NULL, -- what it was done to
  outcome TEXT NOT NULL, -- "done" or "refused"
  detail TEXT NOT NULL,
  times INTEGER NOT NULL DEFAULT 1 -- what was refused again and again has one row, of the last time
);
CREATE INDEX record.idx_audit_refused ON audit(action, id) WHERE outcome = 'refused';
CREATE TRIGGER record.audit_is_kept BEFORE DELETE ON audit WHEN old.outcome <> 'refused'
BEGIN
  SELECT RAISE(ABORT, 'what was done stays in the audit record');
END;
CREATE TRIGGER record.audit_is_final BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit record is only added to');
END;

-- Builds whose upload hooks have not all ended. Written before the build is: a row without a build
-- is of an upload that was interrupted.
CREATE TABLE record.hook_run (
  uuid TEXT PRIMARY KEY NOT NULL, -- of the build
  asked_d INTEGER NOT NULL,
  asked_ps INTEGER NOT NULL,
  tries INTEGER NOT NULL          -- after an interruption
) WITHOUT ROWID;

PRAGMA record.user_version = 6;
PRAGMA record.application_id = 1651987013;
