DROP TABLE record.hook_run;
