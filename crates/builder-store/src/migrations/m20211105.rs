//! Version 15: a build says which platform it ran on. For older builds the `build-environment`
//! among their artifacts tells, or whoever runs the migration does, by uploader.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::moves::below;
use super::{Change, Done, Listing, MigrationError, Run, Step};
use crate::Error;
use crate::db::Value;

/// Bytes of a build-environment that are read; real ones have some hundreds.
const ENVIRONMENT_BYTES_MAX: u64 = 1024 * 1024;

pub(super) const STEP: Step = Step {
    name: "2021-11-05",
    from: 14,
    to: 15,
    up_about: "add the platform to builds",
    down_about: "take the platform out of builds",
    up: Change {
        prepare: Some(find_platforms),
        statements: &[
            "CREATE TABLE new_build (
       id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
       uuid VARCHAR(36) NOT NULL UNIQUE,
       start_d INTEGER NOT NULL,
       start_ps INTEGER NOT NULL,
       finish_d INTEGER NOT NULL,
       finish_ps INTEGER NOT NULL,
       result_code INTEGER NOT NULL,
       result_msg TEXT,
       console TEXT NOT NULL,
       script TEXT NOT NULL,
       platform TEXT NOT NULL,
       main_binary INTEGER,
       user INTEGER NOT NULL,
       job INTEGER NOT NULL,
       input_id BLOB, -- sha256 (sha256<opam-switch> || sha256<build-environment> || sha256<system-packages>)

       FOREIGN KEY(main_binary) REFERENCES build_artifact(id) DEFERRABLE INITIALLY DEFERRED,
       FOREIGN KEY(user) REFERENCES user(id),
       FOREIGN KEY(job) REFERENCES job(id)
     )",
            "INSERT INTO new_build (id, uuid, start_d, start_ps, finish_d, finish_ps, result_code, result_msg,
    console, script, platform, main_binary, user, job, input_id)
  SELECT id, uuid, start_d, start_ps, finish_d, finish_ps, result_code, result_msg,
    console, script, (SELECT platform FROM temp.platform_of WHERE build = id), main_binary, user, job, input_id
  FROM build ORDER BY id",
            "DROP TABLE build",
            "ALTER TABLE new_build RENAME TO build",
            "CREATE INDEX idx_build_job_start ON build(job, start_d DESC, start_ps DESC)",
            "CREATE INDEX idx_build_failed ON build(job, start_d DESC, start_ps DESC) WHERE result_code <> 0",
            "CREATE INDEX idx_build_input_id ON build(input_id)",
            "CREATE INDEX idx_build_main_binary ON build(main_binary)",
            "DROP TABLE temp.platform_of",
        ],
        ..Change::NOTHING
    },
    down: Change {
        statements: &[
            "CREATE TABLE new_build (
       id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
       uuid VARCHAR(36) NOT NULL UNIQUE,
       start_d INTEGER NOT NULL,
       start_ps INTEGER NOT NULL,
       finish_d INTEGER NOT NULL,
       finish_ps INTEGER NOT NULL,
       result_code INTEGER NOT NULL,
       result_msg TEXT,
       console TEXT NOT NULL,
       script TEXT NOT NULL,
       main_binary INTEGER,
       user INTEGER NOT NULL,
       job INTEGER NOT NULL,
       input_id BLOB, -- sha256 (sha256<opam-switch> || sha256<build-environment> || sha256<system-packages>)

       FOREIGN KEY(main_binary) REFERENCES build_artifact(id) DEFERRABLE INITIALLY DEFERRED,
       FOREIGN KEY(user) REFERENCES user(id),
       FOREIGN KEY(job) REFERENCES job(id)
     )",
            "INSERT INTO new_build (id, uuid, start_d, start_ps, finish_d, finish_ps, result_code, result_msg,
    console, script, main_binary, user, job, input_id)
  SELECT id, uuid, start_d, start_ps, finish_d, finish_ps, result_code, result_msg,
    console, script, main_binary, user, job, input_id
  FROM build ORDER BY id",
            "DROP TABLE build",
            "ALTER TABLE new_build RENAME TO build",
            "CREATE INDEX idx_build_job_start ON build(job, start_d DESC, start_ps DESC)",
            "CREATE INDEX idx_build_failed ON build(job, start_d DESC, start_ps DESC) WHERE result_code <> 0",
            "CREATE INDEX idx_build_input_id ON build(input_id)",
            "CREATE INDEX idx_build_main_binary ON build(main_binary)",
        ],
        ..Change::NOTHING
    },
};

/// Writes `temp.platform_of`: the platform of each build. Refuses when one cannot be told.
fn find_platforms(run: &mut Run<'_>) -> Done {
    let db = run.db;
    let mut strangers: BTreeSet<&str> = run.platforms.keys().map(String::as_str).collect();
    db.for_each("SELECT username FROM user", |row| {
        strangers.remove(row.text(0)?.as_str());
        Ok::<(), Error>(())
    })?;
    if !strangers.is_empty() {
        let strangers: Vec<&str> = strangers.into_iter().collect();
        return Err(MigrationError::NoSuchUser(strangers.join(", ")));
    }
    let total = run.total("SELECT count(*) FROM build")?;
    let mut done = 0;
    let mut unknown = Listing::default();
    db.batch("CREATE TEMP TABLE platform_of (build INTEGER PRIMARY KEY, platform TEXT NOT NULL)")?;
    run.say_sql(
        "CREATE TEMP TABLE platform_of (build INTEGER PRIMARY KEY, platform TEXT NOT NULL)",
    );
    db.for_each(
        "SELECT b.id, lower(hex(b.uuid)), j.name, u.username, a.localpath
         FROM build b
         LEFT JOIN job j ON j.id = b.job
         LEFT JOIN user u ON u.id = b.user
         LEFT JOIN build_artifact a ON a.build = b.id AND a.filepath = 'build-environment'
         ORDER BY b.id",
        |row| {
            let (id, user) = (row.int(0)?, row.text_opt(3)?);
            let platform = match user.as_ref().and_then(|user| run.platforms.get(user)) {
                Some(platform) => Some(platform.clone()),
                None => match row.raw(4)? {
                    Some(localpath) => told_by(run.directory, &localpath)?,
                    None => None,
                },
            };
            match platform {
                Some(platform) => {
                    db.execute(
                        "INSERT INTO temp.platform_of (build, platform) VALUES (?1, ?2)",
                        &[Value::Int(id), Value::Text(&platform)],
                    )?;
                    if run.dry {
                        let literal = platform.replace('\'', "''");
                        run.say_sql(&format!(
                            "INSERT INTO temp.platform_of (build, platform) VALUES ({id}, '{literal}')"
                        ));
                    }
                }
                None => unknown.add(format!(
                    "{}/{}, uploaded by {}",
                    row.text_opt(2)?.as_deref().unwrap_or("(no job)"),
                    dashed(&row.text(1)?),
                    user.as_deref().unwrap_or("(nobody)"),
                )),
            }
            done += 1;
            run.progress("finding platforms", done, total);
            Ok::<(), MigrationError>(())
        },
    )?;
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(MigrationError::NoPlatform(unknown))
    }
}

/// The platform that a build-environment tells: the distribution and its version.
fn told_by(directory: &Path, localpath: &[u8]) -> Done<Option<String>> {
    let Some(path) = below(localpath) else {
        return Ok(None);
    };
    let path = directory.join(path);
    let mut environment = Vec::new();
    let read = File::open(&path).and_then(|file| {
        file.take(ENVIRONMENT_BYTES_MAX)
            .read_to_end(&mut environment)
    });
    match read {
        // Later versions refuse the missing file; here it tells nothing.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", &path, error).into()),
        Ok(_) => {}
    }
    let environment = String::from_utf8_lossy(&environment);
    let variables: BTreeMap<&str, &str> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let told = |name| variables.get(name).filter(|value| !value.is_empty());
    Ok(match (told("OS_DISTRIBUTION"), told("OS_VERSION")) {
        (Some(distribution), Some(version)) => {
            Some(format!("{distribution}-{version}")).filter(|platform| is_platform(platform))
        }
        _ => None,
    })
}

/// Whether a platform can be part of a URL path, as it will be.
pub(super) fn is_platform(platform: &str) -> bool {
    !matches!(platform, "" | "." | "..")
        && platform.len() <= 255
        && !platform.contains('/')
        && !platform.contains(char::is_control)
}

fn dashed(hex: &str) -> String {
    match (hex.len(), hex.is_ascii()) {
        (32, true) => format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        ),
        _ => hex.to_owned(),
    }
}
