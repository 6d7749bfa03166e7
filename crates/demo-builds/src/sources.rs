//! What a build is made from: the packages opam installs in the switch, those locked beside a unikernel, and the export
//! that writes both down.

use crate::catalogue::{Package, closure, package};
use crate::jobs::{Commit, Job, Kind};
use crate::seed::hex_of;
use crate::switch::{self, Export, Value};

/// Where the invented packages live.
const FORGE: &str = "https://code.example.org";
/// What a unikernel's switch holds besides its own package.
const UNIKERNEL_TOOLS: [&str; 5] = ["ocaml", "dune", "mirage", "ocaml-solo5", "opam-monorepo"];
/// Libraries that are locked to a commit of a fork; the others are released archives.
const FORKS: [&str; 2] = ["memtrace-mirage", "paf"];
/// Packages that come out of one repository are released together, under the name of the first.
const REPOSITORIES: [(&str, &str); 9] = [
    ("mirage-crypto", "mirage-crypto"),
    ("tls-", "tls"),
    ("dns", "dns"),
    ("metrics-lwt", "metrics"),
    ("happy-eyeballs", "happy-eyeballs"),
    ("menhir", "menhir"),
    ("dune-configurator", "dune"),
    ("macaddr", "ipaddr"),
    ("tzlocal", "timedesc"),
];

/// The sources of one build.
pub(crate) struct Sources {
    pub(crate) job: &'static Job,
    pub(crate) commit_number: u8,
    pub(crate) commit: &'static Commit,
    /// What opam installs, without the root.
    pub(crate) installed: Vec<(&'static Package, &'static str)>,
    /// What is locked and built as part of a unikernel; empty for others.
    pub(crate) duniverse: Vec<(&'static Package, &'static str)>,
}

impl Sources {
    /// The sources of a job on a day.
    pub(crate) fn of(job: &'static Job, day: u8) -> Sources {
        let (commit_number, commit) = job.commit(day);
        let versions = |packages: Vec<&'static Package>| -> Vec<_> {
            packages
                .into_iter()
                .map(|package| (package, package.version(day, commit.compiler)))
                .collect()
        };
        let wanted = closure(commit.depends.split_whitespace());
        let (installed, duniverse) = match job.kind {
            Kind::Unikernel { .. } => {
                let locked = wanted
                    .into_iter()
                    .filter(|package| !package.unit.is_empty())
                    .collect();
                (versions(closure(UNIKERNEL_TOOLS)), versions(locked))
            }
            Kind::SystemPackage => (versions(wanted), Vec::new()),
            Kind::Script => (Vec::new(), Vec::new()),
        };
        Sources {
            job,
            commit_number,
            commit,
            installed,
            duniverse,
        }
    }

    /// What is linked into the program.
    pub(crate) fn libraries(&self) -> Vec<(&'static Package, &'static str)> {
        let all = match self.job.kind {
            Kind::Unikernel { .. } => &self.duniverse,
            Kind::SystemPackage | Kind::Script => &self.installed,
        };
        all.iter()
            .filter(|(package, _)| !package.unit.is_empty())
            .copied()
            .collect()
    }

    /// The version of a package among the sources, empty if it is not there.
    pub(crate) fn version(&self, name: &str) -> &'static str {
        let mut all = self.installed.iter().chain(&self.duniverse);
        all.find(|(package, _)| package.name() == name)
            .map_or("", |(_, version)| version)
    }

    /// The commit as git names it.
    pub(crate) fn commit_hash(&self) -> String {
        hex_of(
            &["commit", self.job.name, &self.commit_number.to_string()],
            40,
        )
    }

    /// `opam-switch`.
    pub(crate) fn switch_export(&self) -> String {
        let mut packages: Vec<switch::Package> = self
            .installed
            .iter()
            .map(|(package, version)| opam_file(package, version))
            .collect();
        packages.push(self.root());
        Export {
            root: self.job.name.to_owned(),
            packages,
        }
        .text()
    }

    fn root(&self) -> switch::Package {
        let job = self.job;
        let repository = format!("{FORGE}/harbour/{}", job.name);
        let mut root = switch::Package::new(job.name, self.commit.version);
        root.field(
            "synopsis",
            match job.kind {
                Kind::Unikernel { .. } => {
                    Value::text(&format!("{} - switch dependencies", job.synopsis))
                }
                Kind::SystemPackage | Kind::Script => Value::text(job.synopsis),
            },
        );
        root.field("description", Value::text(job.description));
        root.field(
            "maintainer",
            Value::text("Harbour Works <builds@harbour.example>"),
        );
        root.field("authors", Value::text("The Harbour Works gardeners"));
        root.field("license", Value::text("ISC"));
        root.field("tags", Value::texts(["org:harbour", "org:mirage"]));
        root.field("homepage", Value::text(&repository));
        root.field("bug-reports", Value::text(&format!("{repository}/issues")));
        root.field("depends", Value::List(self.root_depends()));
        let shell = |command: &str| Value::texts(["sh", "-exc", command]);
        if let Kind::Unikernel { target, .. } = job.kind {
            let (name, target) = (job.name, target.as_str());
            root.field("build", shell("make build"));
            root.field(
                "install",
                Value::List(vec![
                    Value::texts([
                        "cp",
                        &format!("dist/{name}.{target}"),
                        &format!("%{{bin}}%/{name}.{target}"),
                    ]),
                    Value::texts(["cp", &format!("dist/{name}.{target}.debug"), "%{prefix}%/"]),
                ]),
            );
            root.field(
                "x-mirage-configure",
                shell(&format!("mirage configure -t {target} --no-extra-repo")),
            );
            root.field(
                "x-mirage-extra-repo",
                Value::List(vec![Value::texts([
                    "opam-overlays",
                    &format!("git+{FORGE}/harbour/opam-overlays.git"),
                ])]),
            );
            root.field(
                "x-mirage-opam-lock-location",
                Value::text(&format!("mirage/{name}-{target}.opam.locked")),
            );
            root.field(
                "x-mirage-pre-build",
                Value::List(vec![
                    Value::Ident("make".to_owned()),
                    Value::text("lock"),
                    Value::text("depext-lockfile"),
                    Value::text("pull"),
                ]),
            );
            root.field(
                "x-opam-monorepo-duniverse-dirs",
                Value::List(self.duniverse_dirs()),
            );
        } else {
            root.field(
                "build",
                Value::List(vec![
                    dune_build(),
                    Value::When(
                        Box::new(shell("packaging/debian/create_package.sh")),
                        "os-family = \"debian\"".to_owned(),
                    ),
                    Value::When(
                        Box::new(shell("packaging/FreeBSD/create_package.sh")),
                        "os = \"freebsd\"".to_owned(),
                    ),
                ]),
            );
            root.field(
                "depexts",
                Value::When(
                    Box::new(Value::texts(["debhelper"])),
                    "os-distribution = \"debian\"".to_owned(),
                ),
            );
        }
        root.field("dev-repo", Value::text(&format!("git+{repository}.git")));
        root.field("x-orb-dependencies", Value::List(self.orb_dependencies()));
        root.source(
            &format!("git+{repository}.git#{}", self.commit_hash()),
            Vec::new(),
        );
        root
    }

    fn root_depends(&self) -> Vec<Value> {
        let bounded = |name: &str| match package(name) {
            Some(package) => format!(">= \"{}\"", package.first_version()),
            None => String::new(),
        };
        let mut depends = Vec::new();
        if let Kind::Unikernel { .. } = self.job.kind {
            for name in UNIKERNEL_TOOLS {
                depends.push(match name {
                    "ocaml" => {
                        Value::when(name, &format!("build & >= \"{}\"", self.commit.compiler))
                    }
                    "ocaml-solo5" => Value::when(name, "build & >= \"0.8.2\" & < \"2.0.0\""),
                    _ => Value::when(name, &format!("build & {}", bounded(name))),
                });
            }
            for name in self.commit.depends.split_whitespace() {
                depends.push(match name.len() % 3 {
                    0 => Value::when(name, "?monorepo"),
                    _ => Value::when(name, &format!("?monorepo & {}", bounded(name))),
                });
            }
        } else {
            depends.push(Value::when(
                "ocaml",
                &format!(">= \"{}\"", self.commit.compiler),
            ));
            for name in self.commit.depends.split_whitespace() {
                depends.push(Value::when(name, &bounded(name)));
            }
            depends.push(Value::when("alcotest", "with-test & >= \"1.7.0\""));
        }
        depends
    }

    /// One entry a repository, sorted by address: an archive with its checksums, or a commit of a fork without.
    fn duniverse_dirs(&self) -> Vec<Value> {
        let mut entries: Vec<(String, Value)> = self
            .duniverse
            .iter()
            .map(|(package, version)| {
                let (url, repository) = (archive_url(package, version), repository(package));
                let mut entry = vec![Value::text(&url), Value::text(repository)];
                if !FORKS.contains(&package.name()) {
                    entry.push(Value::texts(checksums(&url)));
                }
                (url, Value::List(entry))
            })
            .collect();
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        entries.dedup_by(|left, right| left.0 == right.0);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Who depends on whom, last name first as orb has it.
    fn orb_dependencies(&self) -> Vec<Value> {
        let mut present: Vec<&'static Package> = self
            .installed
            .iter()
            .chain(&self.duniverse)
            .map(|(package, _)| *package)
            .collect();
        present.sort_by_key(|package| package.name());
        present.dedup_by_key(|package| package.name());
        let known = |name: &&str| {
            present
                .binary_search_by_key(name, |package| package.name())
                .is_ok()
        };
        let mut own: Vec<&str> = self
            .commit
            .depends
            .split_whitespace()
            .filter(known)
            .collect();
        if let Kind::Unikernel { .. } = self.job.kind {
            own.extend(UNIKERNEL_TOOLS);
        }
        let mut lists: Vec<(&str, Vec<&str>)> = present
            .iter()
            .map(|package| (package.name(), package.depends().filter(known).collect()))
            .chain([(self.job.name, own)])
            .collect();
        lists.sort_by(|left, right| right.0.cmp(left.0));
        lists
            .into_iter()
            .map(|(name, mut depends)| {
                depends.sort_unstable();
                depends.dedup();
                Value::List(vec![Value::text(name), Value::texts(depends)])
            })
            .collect()
    }
}

/// The opam file of a package of the repository.
fn opam_file(package: &Package, version: &str) -> switch::Package {
    let (name, owner, repository) = (package.name(), package.owner(), repository(package));
    let home = format!("{FORGE}/{owner}/{repository}");
    let mut file = switch::Package::new(name, version);
    file.field("synopsis", Value::text(package.synopsis));
    if !package.unit.is_empty() {
        file.field("description", Value::text(&description(package)));
    }
    file.field(
        "maintainer",
        Value::text(&format!("{owner} maintainers <{owner}@forge.example>")),
    );
    if package.has_source() {
        file.field(
            "authors",
            Value::text(&format!("The {repository} programmers")),
        );
        file.field(
            "license",
            Value::text(["ISC", "MIT", "BSD-2-Clause"][owner.len() % 3]),
        );
    }
    file.field("homepage", Value::text(&home));
    file.field("bug-reports", Value::text(&format!("{home}/issues")));
    let depends: Vec<Value> = package
        .depends()
        .map(|name| dependency(package, name))
        .collect();
    if !depends.is_empty() {
        file.field("depends", Value::List(depends));
    }
    if name.starts_with("conf-") {
        file.field("flags", Value::Ident("conf".to_owned()));
    }
    match name {
        "conf-gmp" => file.field(
            "build",
            Value::texts(["sh", "-exc", "cc -c $CFLAGS test.c"]),
        ),
        conf if conf.starts_with("conf-") => file.field(
            "build",
            Value::texts(["pkg-config", "--exists", &conf[5..]]),
        ),
        _ if !package.has_source() => {}
        _ if package.depends().any(|name| name == "topkg") => {
            file.field(
                "build",
                Value::texts(["ocaml", "pkg/pkg.ml", "build", "--dev-pkg", "%{dev}%"]),
            );
        }
        _ => file.field(
            "build",
            Value::List(vec![
                Value::When(Box::new(Value::texts(["dune", "subst"])), "dev".to_owned()),
                dune_build(),
            ]),
        ),
    }
    if let Some(depexts) = depexts(name) {
        file.field("depexts", depexts);
    }
    if package.has_source() {
        file.field("dev-repo", Value::text(&format!("git+{home}.git")));
        let url = archive_url(package, version);
        let checksums = checksums(&url);
        file.source(&url, checksums);
    }
    file
}

/// A second sentence about a library, from what it is about.
fn description(package: &Package) -> String {
    let words = package.words();
    let about: Vec<&str> = words.iter().take(4).copied().collect();
    format!(
        "{}.\n\nThe library `{}` is about: {}.\nIt is used on hosts and in unikernels.",
        package.synopsis,
        package.name(),
        about.join(", ").replace('_', " ")
    )
}

fn dependency(of: &Package, name: &str) -> Value {
    let first = package(name).map_or("0", Package::first_version);
    match name {
        "ocaml" => Value::when(name, ">= \"4.14.0\""),
        "ocamlfind" | "ocamlbuild" | "topkg" => Value::when(name, "build"),
        "dune" => Value::when(name, ">= \"2.9\""),
        _ if repository(of) == package(name).map_or("", repository) => {
            Value::when(name, "= version")
        }
        _ if first.starts_with(|c: char| c.is_ascii_digit()) && name.len().is_multiple_of(2) => {
            Value::when(name, &format!(">= \"{first}\""))
        }
        _ => Value::text(name),
    }
}

fn depexts(name: &str) -> Option<Value> {
    let (debian, freebsd) = match name {
        "conf-gmp" => ("libgmp-dev", "gmp"),
        "conf-libev" => ("libev-dev", "libev"),
        "conf-libseccomp" => ("libseccomp-dev", ""),
        "conf-pkg-config" => ("pkgconf", "pkgconf"),
        _ => return None,
    };
    let on = |name: &str, os: &str| Value::When(Box::new(Value::texts([name])), os.to_owned());
    let mut systems = vec![on(debian, "os-family = \"debian\"")];
    if !freebsd.is_empty() {
        systems.push(on(freebsd, "os = \"freebsd\""));
    }
    Some(Value::one_or_more(systems))
}

fn dune_build() -> Value {
    let words = ["dune", "build", "-p"].map(Value::text);
    let idents = |word: &str| Value::Ident(word.to_owned());
    Value::List(
        words
            .into_iter()
            .chain([idents("name"), Value::text("-j"), idents("jobs")])
            .collect(),
    )
}

fn repository(package: &Package) -> &'static str {
    let name = package.name();
    REPOSITORIES
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map_or(name, |(_, repository)| repository)
}

fn archive_url(package: &Package, version: &str) -> String {
    let (owner, repository) = (package.owner(), repository(package));
    if FORKS.contains(&package.name()) {
        return format!(
            "git+{FORGE}/harbour/{repository}.git#{}",
            hex_of(&["fork", repository, version], 40)
        );
    }
    let v = version.trim_start_matches('v');
    format!("{FORGE}/{owner}/{repository}/releases/download/v{v}/{repository}-{v}.tbz")
}

/// Invented: nothing is ever downloaded to be checked against them.
fn checksums(url: &str) -> Vec<String> {
    vec![
        format!("sha256={}", hex_of(&["sha256", url], 64)),
        format!("sha512={}", hex_of(&["sha512", url], 128)),
    ]
}
