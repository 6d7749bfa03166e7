//! How the OCaml programs were told how much to log, in the words of their libraries (logs, mirage-logs,
//! fmt): service files and scripts still say it.

use std::str::FromStr;

use super::LegacyArgs;

/// What the log of the OCaml server was divided into, and ours is not: all of it is of this program.
const SOURCES: [&str; 3] = ["builder-web", "builder-web.model", "builder-web.url"];

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Quiet,
    App,
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    const NAMES: [(&str, Level); 6] = [
        ("quiet", Level::Quiet),
        ("app", Level::App),
        ("error", Level::Error),
        ("warning", Level::Warning),
        ("info", Level::Info),
        ("debug", Level::Debug),
    ];

    /// As `--log-level` has it. Errors are never kept back: nobody means that a service is to fail in
    /// silence.
    fn filter(self) -> &'static str {
        match self {
            Level::Quiet | Level::App | Level::Error => "error",
            Level::Warning => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl FromStr for Level {
    type Err = String;

    /// By its name or, as those programs took it, the beginning of one.
    fn from_str(text: &str) -> Result<Level, String> {
        let named = Level::NAMES
            .iter()
            .find(|(name, _)| !text.is_empty() && name.starts_with(text));
        named
            .map(|(_, level)| *level)
            .ok_or_else(|| format!("{text:?} is none of quiet, error, warning, info and debug"))
    }
}

/// The level that `-v`, `--verbosity` and `-q` give together; none: none of them is there.
pub(super) fn level(verbose: u8, verbosity: Option<Level>, quiet: bool) -> Option<Level> {
    match (quiet, verbosity, verbose) {
        (true, ..) => Some(Level::Quiet),
        (false, Some(level), _) => Some(level),
        (false, None, 0) => None,
        (false, None, 1) => Some(Level::Info),
        (false, None, _) => Some(Level::Debug),
    }
}

/// The level of a source of the log, or of all: `SOURCE:LEVEL`, `*:LEVEL`.
#[derive(Debug, Clone)]
pub(super) struct Threshold {
    /// None: all.
    source: Option<String>,
    level: Level,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Threshold, String> {
        let (source, level) = text.split_once(':').unwrap_or(("*", text));
        Ok(Threshold {
            source: (source != "*").then(|| source.to_owned()),
            level: match level {
                "-" => Level::Quiet,
                level => level.parse()?,
            },
        })
    }
}

/// What [`LegacyArgs`] say of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// As for `--log-level`; none: nothing is said.
    pub(super) filter: Option<String>,
    /// Sources that ours does not know.
    pub(super) unknown: Vec<String>,
}

impl LegacyArgs {
    pub(super) fn log(&self) -> Log {
        let all = self.logs.iter().rev().find(|of| of.source.is_none());
        let mut level = all
            .map(|of| of.level)
            .or_else(|| level(self.verbose, self.verbosity, self.quiet));
        let mut unknown = Vec::new();
        for of in &self.logs {
            match of.source.as_deref() {
                None => {}
                // Of several parts of this program the one that says most.
                Some(source) if SOURCES.contains(&source) => level = level.max(Some(of.level)),
                Some(source) => unknown.push(source.to_owned()),
            }
        }
        Log {
            filter: level.map(|level| level.filter().to_owned()),
            unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        legacy: LegacyArgs,
    }

    fn log(line: &str) -> (Option<String>, Vec<String>) {
        let words = std::iter::once("x").chain(line.split_whitespace());
        let log = Command::try_parse_from(words).unwrap().legacy.log();
        (log.filter, log.unknown)
    }

    #[test]
    fn each_way_to_say_how_much_is_logged_has_its_level() {
        for (line, filter) in [
            ("", None),
            ("--color=always", None),
            ("-v", Some("info")),
            ("-vv", Some("debug")),
            ("--verbose -v --verbose", Some("debug")),
            ("-q", Some("error")),
            ("--quiet -v --verbosity=debug", Some("error")),
            ("-vv --verbosity=warning", Some("warn")),
            ("--verbosity warn", Some("warn")),
            ("-l *:debug", Some("debug")),
            ("--logs=*:-", Some("error")),
            ("-v --logging-levels=*:warning", Some("warn")),
            ("--logs=info", Some("info")),
            ("--logs=*:error,builder-web.model:debug", Some("debug")),
            ("--logs=*:info,builder-web:error", Some("info")),
            ("--logs=builder-web:error", Some("error")),
        ] {
            assert_eq!(log(line), (filter.map(str::to_owned), vec![]), "{line}");
        }
        let (filter, unknown) = log("--logs=*:info,caqti:debug,vif:-");
        assert_eq!(filter.as_deref(), Some("info"));
        assert_eq!(unknown, ["caqti", "vif"]);
        for line in ["--verbosity=loud", "--verbosity=", "--logs=a:b:c", "-l x"] {
            let words = ["x", line];
            assert!(Command::try_parse_from(words).is_err(), "{line}");
        }
    }
}
