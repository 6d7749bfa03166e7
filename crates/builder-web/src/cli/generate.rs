//! `builder-web man` and `builder-web completions`: what a package installs beside the program.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Refused, help, say};
use crate::show::counted;

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory to write to, such as /usr/share/man/man1; created if need be
    #[arg(long, value_name = "DIR")]
    dest: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Print the completions for this shell
    #[arg(required_unless_present = "dest", conflicts_with = "dest")]
    shell: Option<Shell>,
    /// The program they are for: builder-web, builder-db or builder-migrations
    #[arg(long, default_value = "builder-web")]
    name: String,
    /// Write those for bash, zsh and fish, of all three programs, to where the shells look below
    /// this directory, such as /usr/share
    #[arg(long, value_name = "DIR")]
    dest: Option<PathBuf>,
}

/// All names of the program.
fn programs() -> [(&'static str, Command); 3] {
    [
        ("builder-web", help::builder_web()),
        ("builder-db", help::builder_db()),
        ("builder-migrations", help::builder_migrations()),
    ]
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<()> {
    make_directory(&args.dest)?;
    let mut pages = 0;
    for (name, command) in programs() {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        pages += write_pages(&command, name, &args.dest)?;
    }
    say(&format!(
        "wrote {} to {}",
        counted(pages, "page"),
        args.dest.display()
    ));
    Ok(())
}

/// The page of a command, and those of its commands; how many.
fn write_pages(command: &Command, name: &str, dest: &Path) -> anyhow::Result<usize> {
    let path = dest.join(format!("{name}.1"));
    let mut page = Vec::new();
    if let Some(other) = other_name(name) {
        writeln!(page, ".so man1/{other}.1")?;
    } else {
        render(command, name, &mut page).with_context(|| format!("write {}", path.display()))?;
    }
    fs::write(&path, page).with_context(|| format!("write {}", path.display()))?;
    let mut pages = 1;
    if other_name(name).is_none() {
        let shown = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        for subcommand in shown {
            let name = format!("{name}-{}", subcommand.get_name());
            pages += write_pages(subcommand, &name, dest)?;
        }
    }
    Ok(pages)
}

/// The program that a command also is.
fn other_name(name: &str) -> Option<&'static str> {
    match name {
        "builder-web-db" => Some("builder-db"),
        "builder-web-migrations" => Some("builder-migrations"),
        _ => None,
    }
}

fn render(command: &Command, name: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("builder-web {}", crate::VERSION))
        .manual("builder-web");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    // The exit statuses of a program are a section of their own, below.
    let after = command.get_after_help().map(ToString::to_string);
    if let Some(examples) = after
        .as_deref()
        .and_then(|text| text.strip_prefix("Examples:\n"))
    {
        writeln!(out, ".SH EXAMPLES\n.nf")?;
        for line in examples.lines() {
            writeln!(out, "{}", escaped(line.trim_start()))?;
        }
        writeln!(out, ".fi")?;
    }
    writeln!(out, ".SH \"EXIT STATUS\"")?;
    for (status, meaning) in help::EXIT_STATUSES {
        writeln!(out, ".TP\n{status}\n{}", escaped(meaning))?;
    }
    writeln!(out, ".SH \"SEE ALSO\"")?;
    let others = programs().map(|(other, _)| format!("\\fB{}\\fR(1)", escaped(other)));
    writeln!(out, "{}", others.join(", "))
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    if let Some(dest) = &args.dest {
        let mut files = 0;
        for (shell, directory) in [
            (Shell::Bash, "bash-completion/completions"),
            (Shell::Zsh, "zsh/site-functions"),
            (Shell::Fish, "fish/vendor_completions.d"),
        ] {
            let directory = dest.join(directory);
            make_directory(&directory)?;
            for (name, command) in programs() {
                let path = directory.join(match shell {
                    Shell::Zsh => format!("_{name}"),
                    Shell::Fish => format!("{name}.fish"),
                    _ => name.to_owned(),
                });
                fs::write(&path, completion(shell, name, command))
                    .with_context(|| format!("write {}", path.display()))?;
                files += 1;
            }
        }
        say(&format!(
            "wrote {} below {}",
            counted(files, "file"),
            dest.display()
        ));
        return Ok(());
    }
    let command = programs().into_iter().find(|(name, _)| *name == args.name);
    match (args.shell, command) {
        (Some(shell), Some((name, command))) => {
            let text = completion(shell, name, command);
            say(String::from_utf8_lossy(&text).trim_end());
            Ok(())
        }
        _ => Err(Refused(format!(
            "--name {}: it is builder-web, builder-db or builder-migrations",
            args.name
        ))
        .into()),
    }
}

fn completion(shell: Shell, name: &str, mut command: Command) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    text
}

fn make_directory(directory: &Path) -> anyhow::Result<()> {
    Ok(fs::create_dir_all(directory)
        .map_err(|error| Refused(format!("cannot create {}: {error}", directory.display())))?)
}
