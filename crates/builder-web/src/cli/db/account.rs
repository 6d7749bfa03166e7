//! Who runs a command.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use builder_store::record::audit::Actor;
use builder_store::shell::quoted;
use rustix::process::Uid;

use crate::cli::Refused;

/// Who becomes another account says who it was before, in one of these. They are believed of root
/// alone: whoever may not become it writes there what they like.
const BEFORE: [&str; 2] = ["SUDO_USER", "DOAS_USER"];

/// Who runs a command: the account, or whoever became root by sudo or doas.
pub(in crate::cli) fn account() -> Actor {
    let uid = rustix::process::getuid();
    let before = BEFORE.iter().find_map(|name| {
        let before = std::env::var(name).ok();
        before.filter(|before| uid.is_root() && !before.is_empty())
    });
    Actor {
        who: before.unwrap_or_else(|| name(uid)),
        address: "command line".to_owned(),
        request: String::new(),
    }
}

/// The name of an account. Its number where it has none, or the system does not say.
fn name(uid: Uid) -> String {
    let number = uid.as_raw().to_string();
    // By an absolute path, so that nobody puts another one before it.
    let output = Command::new("/usr/bin/id").args(["-un", &number]).output();
    let name = output.ok().filter(|output| output.status.success());
    let name = name.and_then(|output| String::from_utf8(output.stdout).ok());
    match name.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("uid {number}"),
    }
}

/// Refuses to run hooks as root for a server that is somebody else's: they look at what was uploaded,
/// and have no business with the whole system. `arguments` are those of `builder-db`.
pub(super) fn refuse_root(datadir: &Path, arguments: &[&str]) -> Result<(), Refused> {
    let Ok(owner) = std::fs::metadata(datadir) else {
        // What opens it says why.
        return Ok(());
    };
    let us = rustix::process::geteuid();
    if !us.is_root() || owner.uid() == 0 {
        return Ok(());
    }
    let owner = name(Uid::from_raw(owner.uid()));
    let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
    let command = format!("builder-db {}", words.join(" "));
    Err(Refused(if cfg!(target_os = "freebsd") {
        format!(
            "hooks run as the owner of the data directory, not as root; run: su -m {} -c {}",
            quoted(&owner),
            quoted(&command)
        )
    } else {
        format!(
            "hooks run as the owner of the data directory, not as root; run: runuser -u {} -- {command}",
            quoted(&owner)
        )
    }))
}
