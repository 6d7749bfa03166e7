//! What the program tells of itself: help, manual pages, completions.

use std::fs;

use crate::carry::db;
use crate::cli::call;
use crate::program::{BUILDER_WEB, succeeds};

fn help(arguments: &[&str]) -> String {
    let output = call(BUILDER_WEB, arguments, "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help lists, by their place in it.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Usage:"));
    lines
        .take_while(|line| *line != "Options:")
        .filter_map(|line| line.strip_prefix("  ")?.split("  ").next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn help_has_groups_examples_and_exit_statuses() {
    let text = help(&["db", "--help"]);
    for part in [
        "Users and access:\n  user-add ",
        "\nBuilds:\n  import ",
        "\nSafety:\n  doctor ",
        "\nExit status:\n  0  All went well.",
        "--help  Print help",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let text = help(&["migrations", "--help"]);
    assert!(
        text.contains("All steps:\n  status ") && text.contains("  rollback-2021-11-05 "),
        "{text}"
    );
    let text = help(&["db", "backup", "--help"]);
    assert!(
        text.contains("Examples:\n  builder-db backup /var/backups"),
        "{text}"
    );
    // Every command has its own help, whether it is in a group or not.
    for (program, least) in [("db", 20), ("migrations", 11)] {
        let all = commands(&help(&[program, "--help"]));
        assert!(all.len() >= least, "{all:?}");
        for command in all {
            assert!(
                help(&[program, &command, "--help"]).contains("Usage: "),
                "{command}"
            );
        }
    }
}

#[test]
fn there_is_a_manual_page_for_each_command_under_each_name() {
    let holder = tempfile::tempdir().unwrap();
    let dest = holder.path().join("man1");
    help(&["man", "--dest", dest.to_str().unwrap()]);
    let page = |name: &str| {
        let path = dest.join(format!("{name}.1"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    for (program, name) in [("db", "builder-db"), ("migrations", "builder-migrations")] {
        for command in commands(&help(&[program, "--help"])) {
            if command != "help" {
                let page = page(&format!("{name}-{command}"));
                for part in [
                    ".SH NAME",
                    ".SH SYNOPSIS",
                    ".SH \"EXIT STATUS\"",
                    ".SH \"SEE ALSO\"",
                ] {
                    assert!(page.contains(part), "{name}-{command}: {part} in {page}");
                }
            }
        }
        assert_eq!(
            page(&format!("builder-web-{program}")),
            format!(".so man1/{name}.1\n")
        );
    }
    assert!(page("builder-db-backup").contains(".SH EXAMPLES\n.nf\nbuilder\\-db backup"));
    assert!(page("builder-web").contains("\\-\\-expired\\-jobs"));
    assert!(
        !page("builder-web").contains("influx") || !page("builder-web").contains("run\\-batch")
    );
}

#[test]
fn shells_complete_all_three_names() {
    let holder = tempfile::tempdir().unwrap();
    let dest = holder.path().to_str().unwrap();
    help(&["completions", "--dest", dest]);
    for file in [
        "bash-completion/completions/builder-web",
        "bash-completion/completions/builder-db",
        "bash-completion/completions/builder-migrations",
        "zsh/site-functions/_builder-db",
        "fish/vendor_completions.d/builder-db.fish",
    ] {
        assert!(holder.path().join(file).is_file(), "{file}");
    }
    // As bash would complete `builder-db verify-d<TAB>`.
    let script = "source bash-completion/completions/builder-db
        COMP_WORDS=(builder-db verify-d) COMP_CWORD=1
        _builder__db builder-db verify-d builder-db
        echo \"${COMPREPLY[@]}\"";
    let said = succeeds(holder.path(), "bash", &["-c", script]);
    assert_eq!(String::from_utf8_lossy(&said), "verify-data-dir\n");
    assert!(
        help(&["completions", "zsh", "--name", "builder-migrations"])
            .starts_with("#compdef builder-migrations")
    );
    let (_, err) = db(2, &["completions"]);
    assert!(err.contains("unrecognized subcommand"), "{err}");
    let output = call(BUILDER_WEB, &["completions", "bash", "--name", "x"], "");
    assert_eq!(output.status.code(), Some(2));
}
