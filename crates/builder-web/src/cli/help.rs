//! What is said of the command line beyond what its arguments say themselves: groups of commands,
//! examples, exit statuses. For `--help`, manual pages and completions of all three names.

use clap::{Command, CommandFactory};

use super::{Cli, db, migrations};

/// Commands of `builder-db` that belong together. Those in no group come last.
const DB_GROUPS: &[(&str, &[&str])] = &[
    ("Set up", &["migrate"]),
    (
        "Users and access",
        &[
            "user-add",
            "user-update",
            "user-disable",
            "user-remove",
            "user-list",
            "access-add",
            "access-remove",
            "access-list",
            "token-add",
            "token-list",
            "token-revoke",
        ],
    ),
    (
        "Builds",
        &[
            "import",
            "export",
            "extract-build",
            "pin",
            "unpin",
            "pin-list",
            "vacuum",
            "job-remove",
            "run-hooks",
        ],
    ),
    (
        "Safety",
        &[
            "doctor",
            "verify-data-dir",
            "verify-cache-dir",
            "verify-input-id",
            "backup",
            "restore",
            "audit",
        ],
    ),
];

/// Commands of `builder-migrations` that belong together.
const MIGRATIONS_GROUPS: &[(&str, &[&str])] = &[
    ("All steps", &["status", "up", "down"]),
    (
        "One step up",
        &[
            "migrate-2021-11-05",
            "migrate-2022-05-09",
            "migrate-2023-09-11",
            "migrate-2023-09-14",
        ],
    ),
    (
        "One step down",
        &[
            "rollback-2023-09-14",
            "rollback-2023-09-11",
            "rollback-2022-05-09",
            "rollback-2021-11-05",
        ],
    ),
];

/// What is typed, by command. `NAME` is the program.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("migrate", &["NAME migrate --datadir /var/lib/builder-web"]),
    (
        "user-add",
        &["echo PASSWORD | NAME user-add --unrestricted builder"],
    ),
    (
        "token-add",
        &[
            "NAME token-add --user builder --job hello --expires 2027-12-31 ci",
            "NAME token-add --user builder --scope admin prometheus",
        ],
    ),
    (
        "audit",
        &[
            "NAME audit --refused --since 2027-01-31",
            "NAME audit --user builder --action upload --json",
        ],
    ),
    (
        "import",
        &[
            "NAME import 1a2b.exec",
            "NAME import --user builder /var/lib/builder/  # all that builder-server kept",
        ],
    ),
    (
        "export",
        &[
            "NAME export --all --dest /srv/builds",
            "NAME export --job hello --dest .",
        ],
    ),
    (
        "extract-build",
        &["NAME extract-build f63a5b8a-9ab3-40a3-8cfc-000000000001 --dest hello.exec"],
    ),
    (
        "run-hooks",
        &["NAME run-hooks f63a5b8a-9ab3-40a3-8cfc-000000000001  # after a hook was mended"],
    ),
    (
        "verify-data-dir",
        &[
            "NAME verify-data-dir",
            "NAME verify-data-dir --json | jq '.problems[].path'",
            "NAME verify-data-dir --repair --from /srv/backup",
        ],
    ),
    (
        "backup",
        &[
            "NAME backup /var/backups/builder-web  # the same again, each night",
            "NAME backup --copy /mnt/other-disk/builder-web",
            "builder-web --datadir /var/backups/builder-web  # to look at it, or to go on with it",
        ],
    ),
    (
        "restore",
        &[
            "NAME restore /var/backups/builder-web  # with the server stopped",
            "NAME restore --datadir /srv/builds /mnt/other-disk/builder-web",
        ],
    ),
    (
        "doctor",
        &[
            "NAME doctor",
            "NAME doctor --json | jq -r '.findings[].mend'",
        ],
    ),
    (
        "vacuum",
        &[
            "NAME vacuum except-latest-successful 10 --dry-run",
            "NAME vacuum older-than 2024-01-31 --job hello --platform debian-12",
        ],
    ),
    (
        "up",
        &[
            "NAME up --dry-run",
            "NAME up --platform builder=ubuntu-20.04",
        ],
    ),
    (
        "down",
        &["NAME down --to 17  # to put the OCaml server of 2023 back"],
    ),
];

/// The same for the commands of `builder-web` on files of this disk, by the words before their arguments.
const LOCAL_EXAMPLES: &[([&str; 2], &[&str])] = &[
    (
        ["opam", "print"],
        &[
            "builder-web opam print hello.opam",
            "opam show --raw tls | builder-web opam print -",
        ],
    ),
    (
        ["opam", "equal"],
        &[
            "builder-web opam equal old/tls.opam new/tls.opam && echo 'nothing that matters changed'",
        ],
    ),
    (
        ["opam", "compare"],
        &[
            "builder-web opam compare old/opam-switch new/opam-switch",
            "opam switch export --full - | builder-web opam compare --json opam-switch - | jq -r '.version_diff[].name'",
        ],
    ),
    (
        ["elf", "manifest"],
        &[
            "builder-web elf manifest hello.hvt",
            "builder-web elf manifest --json hello.hvt | jq .",
        ],
    ),
    (
        ["file", "compare"],
        &[
            "builder-web file compare old.hvt new.hvt",
            "builder-web file compare --json old.deb new.deb | jq -r '.apart_from[]'",
        ],
    ),
    (
        ["viz", "treemap"],
        &["builder-web viz treemap hello.hvt.debug --output treemap.html"],
    ),
    (
        ["viz", "dependencies"],
        &["opam switch export --full - | builder-web viz dependencies - > dependencies.html"],
    ),
];

/// Of every command.
pub(super) const EXIT_STATUSES: [(&str, &str); 3] = [
    ("0", "All went well."),
    (
        "1",
        "Something failed, or a check found something. What it was is on standard error.",
    ),
    (
        "2",
        "The command line, the data directory or a name cannot be used as it is. The message says what to do; nothing was changed.",
    ),
];

/// `builder-web`.
pub(super) fn builder_web() -> Command {
    let mut command = Cli::command()
        .mut_subcommand("db", |db| described(db, "builder-db", DB_GROUPS))
        .mut_subcommand("migrations", |migrations| {
            described(migrations, "builder-migrations", MIGRATIONS_GROUPS)
        });
    for (words, lines) in LOCAL_EXAMPLES {
        let [group, name] = words;
        command = command.mut_subcommand(group, |group| {
            group.mut_subcommand(name, |subcommand| subcommand.after_help(examples(lines)))
        });
    }
    command = command.after_help(exit_statuses());
    command
}

fn examples(lines: &[impl AsRef<str>]) -> String {
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    format!("Examples:\n  {}", lines.join("\n  "))
}

/// `builder-db`.
pub(super) fn builder_db() -> Command {
    described(db::BuilderDb::command(), "builder-db", DB_GROUPS)
}

/// `builder-migrations`.
pub(super) fn builder_migrations() -> Command {
    let command = migrations::BuilderMigrations::command();
    described(command, "builder-migrations", MIGRATIONS_GROUPS)
}

fn described(mut command: Command, name: &str, groups: &[(&str, &[&str])]) -> Command {
    for (subcommand, lines) in EXAMPLES {
        if command.find_subcommand(subcommand).is_some() {
            let lines = lines.iter().map(|line| line.replace("NAME", name));
            let text = examples(&lines.collect::<Vec<String>>());
            command = command.mut_subcommand(subcommand, |subcommand| {
                if subcommand.get_after_help().is_some() {
                    return subcommand;
                }
                subcommand.after_help(text)
            });
        }
    }
    let template = format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}{{after-help}}",
        grouped(&command, groups)
    );
    command.help_template(template).after_help(exit_statuses())
}

/// The commands, by group, each with what it does.
fn grouped(command: &Command, groups: &[(&str, &[&str])]) -> String {
    let known: Vec<&str> = groups
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    let others: Vec<&str> = command
        .get_subcommands()
        .filter(|subcommand| !subcommand.is_hide_set())
        .map(Command::get_name)
        .filter(|name| !known.contains(name))
        .collect();
    let heads = if groups.is_empty() {
        "Commands"
    } else {
        "Other"
    };
    let all = groups.iter().copied().chain([(heads, others.as_slice())]);
    let width = command
        .get_subcommands()
        .map(|subcommand| subcommand.get_name().len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (heading, names) in all {
        let there = names
            .iter()
            .filter_map(|name| command.find_subcommand(name));
        let lines = there.map(|subcommand| {
            let about = subcommand.get_about().map(ToString::to_string);
            // A template's own braces.
            let about = about.unwrap_or_default().replace(['{', '}'], "");
            format!("  {:<width$}  {about}\n", subcommand.get_name())
        });
        let lines: String = lines.collect();
        if !lines.is_empty() {
            text.push_str(&format!("{heading}:\n{lines}\n"));
        }
    }
    text
}

fn exit_statuses() -> String {
    let lines = EXIT_STATUSES
        .iter()
        .map(|(status, meaning)| format!("  {status}  {meaning}"));
    format!("Exit status:\n{}", lines.collect::<Vec<_>>().join("\n"))
}
