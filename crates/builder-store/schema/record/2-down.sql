DROP TRIGGER record.audit_is_final;
DROP TRIGGER record.audit_is_kept;
DROP TABLE record.audit;
DROP TABLE record.token_job;
DROP TABLE record.token;
