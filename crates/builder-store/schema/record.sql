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
CREATE TRIGGER record.audit_is_kept BEFORE DELETE ON audit
WHEN old.outcome <> 'refused'
  OR old.id > coalesce((SELECT id FROM refusal_end WHERE action = old.action), -1)
BEGIN
  SELECT RAISE(ABORT, 'what was done stays in the audit record, and so do the newest refusals');
END;
-- REPLACE removes the row that is in its way, and no trigger of DELETE is run for that.
CREATE TRIGGER record.audit_replaces_nothing BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = new.id)
BEGIN
  SELECT RAISE(ABORT, 'the audit record is only added to');
END;
CREATE TRIGGER record.audit_goes_on AFTER INSERT ON audit
WHEN new.id < (SELECT max(id) FROM audit)
BEGIN
  SELECT RAISE(ABORT, 'the audit record is only added to');
END;
CREATE TRIGGER record.audit_is_final BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit record is only added to');
END;

-- Up to which entry refusals of an action may be dropped: all but the newest 50000.
CREATE TABLE record.refusal_end (
  action TEXT PRIMARY KEY NOT NULL,
  id INTEGER NOT NULL -- of an entry
) WITHOUT ROWID;
CREATE TRIGGER record.refusal_end_is_new BEFORE INSERT ON refusal_end
WHEN new.id > coalesce((SELECT id FROM audit WHERE outcome = 'refused' AND action = new.action
                        ORDER BY id DESC LIMIT 1 OFFSET 50000), -1)
BEGIN
  SELECT RAISE(ABORT, 'the newest refusals of each action stay in the audit record');
END;
CREATE TRIGGER record.refusal_end_stays_new BEFORE UPDATE ON refusal_end
WHEN new.id > coalesce((SELECT id FROM audit WHERE outcome = 'refused' AND action = new.action
                        ORDER BY id DESC LIMIT 1 OFFSET 50000), -1)
BEGIN
  SELECT RAISE(ABORT, 'the newest refusals of each action stay in the audit record');
END;

-- Entries of acts in builder.sqlite3, before it is seen that they took place. COMMIT is done in this
-- file before it is in that one; who writes next enters what took place, and forgets the rest.
CREATE TABLE record.pending (
  id INTEGER PRIMARY KEY NOT NULL,
  at_d INTEGER NOT NULL,      -- as in audit, up to detail
  at_ps INTEGER NOT NULL,
  who TEXT NOT NULL,
  address TEXT NOT NULL,
  request TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  witness TEXT NOT NULL,      -- what tells: "build", it is there; "no build", it is not; "user", as
  witness_name TEXT NOT NULL, -- the digest says. Of which uuid or user name
  witness_state BLOB          -- of a user after the act; NULL: there is none
);

-- By what it is known again when the file is another one: builder.sqlite3-record says the same.
CREATE TABLE record.identity (
  id TEXT PRIMARY KEY NOT NULL
) WITHOUT ROWID;
INSERT INTO record.identity VALUES (lower(hex(randomblob(16))));

-- Builds whose upload hooks have not all ended. Written before the build is: a row without a build
-- is of an upload that was interrupted.
CREATE TABLE record.hook_run (
  uuid TEXT PRIMARY KEY NOT NULL, -- of the build
  asked_d INTEGER NOT NULL,
  asked_ps INTEGER NOT NULL,
  tries INTEGER NOT NULL          -- after an interruption
) WITHOUT ROWID;

PRAGMA record.user_version = 7;
PRAGMA record.application_id = 1651987013;
