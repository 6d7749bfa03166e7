ALTER TABLE record.token ADD COLUMN used_d INTEGER;
