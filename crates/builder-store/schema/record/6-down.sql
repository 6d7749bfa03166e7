DROP INDEX record.idx_removed_build_job;
