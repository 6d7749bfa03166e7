DROP TABLE record.identity;
DROP TRIGGER record.audit_goes_on;
DROP TRIGGER record.audit_replaces_nothing;
DROP TRIGGER record.audit_is_kept;
CREATE TRIGGER record.audit_is_kept BEFORE DELETE ON audit WHEN old.outcome <> 'refused'
BEGIN
  SELECT RAISE(ABORT, 'what was done stays in the audit record');
END;
DROP TABLE record.refusal_end;
DROP TABLE record.pending;
