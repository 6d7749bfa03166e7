ALTER TABLE record.token DROP COLUMN used_d;
