CREATE INDEX record.idx_removed_build_job ON removed_build(job, platform, start_d, start_ps);
