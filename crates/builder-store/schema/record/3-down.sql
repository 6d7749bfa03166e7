DROP INDEX record.idx_audit_refused;
CREATE INDEX record.idx_audit_refused ON audit(id) WHERE outcome = 'refused';
ALTER TABLE record.audit DROP COLUMN times;
