ALTER TABLE record.audit ADD COLUMN times INTEGER NOT NULL DEFAULT 1;
DROP INDEX record.idx_audit_refused;
CREATE INDEX record.idx_audit_refused ON audit(action, id) WHERE outcome = 'refused';
