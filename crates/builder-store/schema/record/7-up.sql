CREATE TABLE record.pending (
  id INTEGER PRIMARY KEY NOT NULL,
  at_d INTEGER NOT NULL,
  at_ps INTEGER NOT NULL,
  who TEXT NOT NULL,
  address TEXT NOT NULL,
  request TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  witness TEXT NOT NULL,
  witness_name TEXT NOT NULL,
  witness_state BLOB
);
CREATE TABLE record.refusal_end (
  action TEXT PRIMARY KEY NOT NULL,
  id INTEGER NOT NULL
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
DROP TRIGGER record.audit_is_kept;
CREATE TRIGGER record.audit_is_kept BEFORE DELETE ON audit
WHEN old.outcome <> 'refused'
  OR old.id > coalesce((SELECT id FROM refusal_end WHERE action = old.action), -1)
BEGIN
  SELECT RAISE(ABORT, 'what was done stays in the audit record, and so do the newest refusals');
END;
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
CREATE TABLE record.identity (
  id TEXT PRIMARY KEY NOT NULL
) WITHOUT ROWID;
INSERT INTO record.identity VALUES (lower(hex(randomblob(16))));
