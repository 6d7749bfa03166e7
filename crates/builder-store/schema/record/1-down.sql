DROP TABLE record.file_removal;
DROP TABLE record.removed_build;
DROP TABLE record.pin;
