//! Names that come from outside and end up in paths: checked here, once, and trusted afterwards.

use std::fmt;

/// The longest job name and platform, in bytes: the columns are declared `VARCHAR(255)`, and a
/// job is a directory, whose name most file systems bound at 255 bytes.
const NAME_BYTES_MAX: usize = 255;
/// The longest path of an artifact inside its build, in bytes (`PATH_MAX` of Linux).
const ARTIFACT_PATH_BYTES_MAX: usize = 4096;

/// Names at the top of the data directory that are not jobs.
pub(crate) const RESERVED: [&str; 7] = [
    "_artifacts",
    "_staging",
    "_cache",
    "_quarantine",
    "_removed",
    "_restoring",
    "lost+found",
];
/// The databases, and what SQLite, migrations and backups keep beside them.
pub(crate) const RESERVED_PREFIXES: [&str; 3] = [
    "builder.sqlite3",
    "builder-web.sqlite3",
    "builder-web-record.sqlite3",
];

/// Why a name was refused: what it names, the name as sent, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} {problem}")]
pub struct NameError {
    what: &'static str,
    name: String,
    problem: String,
}

/// The name of a job, fit to be the name of a directory in the data directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName(String);

/// The platform a build ran on, such as `debian-12`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(String);

/// Where an artifact is inside its build: a relative path that stays below its root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

/// One path segment: the name of a file without a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlainFileName(String);

impl JobName {
    /// Checks the bytes that were sent as a job's name.
    pub fn parse(bytes: &[u8]) -> Result<JobName, NameError> {
        let name = segment("job name", bytes)?;
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str())
            || RESERVED_PREFIXES.iter().any(|own| lower.starts_with(own))
        {
            return Err(error(
                "job name",
                bytes,
                "is a name builder-web uses itself",
            ));
        }
        Ok(JobName(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Platform {
    /// What the scheduler's format means by an absent platform.
    pub const ABSENT: &'static str = "no-platform";

    /// Checks the bytes that were sent as a platform.
    pub fn parse(bytes: &[u8]) -> Result<Platform, NameError> {
        segment("platform", bytes).map(Platform)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PlainFileName {
    /// Checks the bytes that were sent as a file's name.
    pub fn parse(bytes: &[u8]) -> Result<PlainFileName, NameError> {
        segment("file name", bytes).map(PlainFileName)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ArtifactPath {
    /// Checks the bytes that were sent as an artifact's path. A leading `./`, which early
    /// schedulers wrote, is taken off.
    pub fn parse(bytes: &[u8]) -> Result<ArtifactPath, NameError> {
        const WHAT: &str = "artifact path";
        let path = text(WHAT, bytes, ARTIFACT_PATH_BYTES_MAX)?;
        let path = path.strip_prefix("./").unwrap_or(&path);
        if path.starts_with('/') {
            return Err(error(WHAT, bytes, "is absolute"));
        }
        for segment in path.split('/') {
            match segment {
                "" => return Err(error(WHAT, bytes, "has an empty segment")),
                "." | ".." => {
                    return Err(error(WHAT, bytes, &format!("has a segment {segment:?}")));
                }
                long if long.len() > NAME_BYTES_MAX => {
                    return Err(error(
                        WHAT,
                        bytes,
                        &format!("has a segment of more than {NAME_BYTES_MAX} bytes"),
                    ));
                }
                _ => {}
            }
        }
        Ok(ArtifactPath(path.to_owned()))
    }

    /// `bin/NAME`, where a main binary is.
    pub fn in_bin(name: &PlainFileName) -> ArtifactPath {
        ArtifactPath(format!("bin/{}", name.0))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

fn segment(what: &'static str, bytes: &[u8]) -> Result<String, NameError> {
    let name = text(what, bytes, NAME_BYTES_MAX)?;
    if name.contains('/') {
        return Err(error(what, bytes, "holds a slash"));
    }
    if name == "." || name == ".." {
        return Err(error(what, bytes, "is a directory's name"));
    }
    Ok(name)
}

fn text(what: &'static str, bytes: &[u8], bytes_max: usize) -> Result<String, NameError> {
    if bytes.is_empty() {
        return Err(error(what, bytes, "is empty"));
    }
    if bytes.len() > bytes_max {
        return Err(error(
            what,
            &bytes[..64],
            &format!(
                "… has {} bytes, at most {bytes_max} are allowed",
                bytes.len()
            ),
        ));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(error(what, bytes, "is not UTF-8"));
    };
    if let Some(control) = text.chars().find(|char| char.is_control()) {
        return Err(error(
            what,
            bytes,
            &format!("holds a control character (U+{:04X})", u32::from(control)),
        ));
    }
    Ok(text.to_owned())
}

fn error(what: &'static str, name: &[u8], problem: &str) -> NameError {
    NameError {
        what,
        name: String::from_utf8_lossy(name).into_owned(),
        problem: problem.to_owned(),
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_taken_as_they_are() {
        for name in [
            "hello",
            "a b+c",
            "dns-secondary",
            "…",
            ".hidden",
            "_x",
            "builder-web",
            "a:b\"c'$(x)",
        ] {
            assert_eq!(JobName::parse(name.as_bytes()).unwrap().as_str(), name);
        }
        for path in [
            "bin/x.hvt",
            "opam-switch",
            "bin/x~1 y",
            "doc/a/b/README.md",
            "..x/y..",
        ] {
            assert_eq!(ArtifactPath::parse(path.as_bytes()).unwrap().as_str(), path);
        }
        assert_eq!(ArtifactPath::parse(b"./bin/x").unwrap().as_str(), "bin/x");
    }

    #[test]
    fn a_job_that_would_leave_its_place_or_take_ours_is_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "/",
            "a\0",
            "a\nb",
            "\u{7f}",
            "_artifacts",
            "_staging",
            "_cache",
            "_CACHE",
            "builder.sqlite3",
            "builder.sqlite3-wal",
            "Builder.SQLite3",
            "builder-web.sqlite3",
            &long,
        ] {
            assert!(JobName::parse(name.as_bytes()).is_err(), "{name:?}");
        }
        assert!(JobName::parse(b"\xff").is_err());
        assert!(JobName::parse("x".repeat(255).as_bytes()).is_ok());
    }

    #[test]
    fn an_artifact_path_that_would_leave_its_build_is_refused() {
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "./",
            "././x",
            "a/.",
            "a\0b",
            "a\rb",
        ] {
            assert!(ArtifactPath::parse(path.as_bytes()).is_err(), "{path:?}");
        }
        assert!(ArtifactPath::parse("x/".repeat(2048).as_bytes()).is_err());
        assert!(ArtifactPath::parse("é/".repeat(2048).as_bytes()).is_err());
    }

    #[test]
    fn an_error_says_what_is_wrong_with_which_name() {
        assert_eq!(
            JobName::parse(b"a/b").unwrap_err().to_string(),
            "job name \"a/b\" holds a slash"
        );
        assert_eq!(
            ArtifactPath::parse(b"a/../b").unwrap_err().to_string(),
            "artifact path \"a/../b\" has a segment \"..\""
        );
    }
}
