CREATE TABLE record.token (
  id INTEGER PRIMARY KEY NOT NULL,
  name TEXT NOT NULL UNIQUE,
  username TEXT NOT NULL,
  sha256 BLOB NOT NULL UNIQUE,
  scope TEXT NOT NULL,
  created_d INTEGER NOT NULL,
  created_ps INTEGER NOT NULL,
  expires_d INTEGER,
  expires_ps INTEGER,
  revoked_d INTEGER,
  revoked_ps INTEGER
);
CREATE TABLE record.token_job (
  token INTEGER NOT NULL,
  job TEXT NOT NULL,
  PRIMARY KEY (token, job)
) WITHOUT ROWID;
CREATE TABLE record.audit (
  id INTEGER PRIMARY KEY NOT NULL,
  at_d INTEGER NOT NULL,
  at_ps INTEGER NOT NULL,
  who TEXT NOT NULL,
  address TEXT NOT NULL,
  request TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL
);
CREATE INDEX record.idx_audit_refused ON audit(id) WHERE outcome = 'refused';
CREATE TRIGGER record.audit_is_kept BEFORE DELETE ON audit WHEN old.outcome <> 'refused'
BEGIN
  SELECT RAISE(ABORT, 'what was done stays in the audit record');
END;
CREATE TRIGGER record.audit_is_final BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit record is only added to');
END;
