//! From what arrived to the rows to write. Pure: knows neither files nor the database.

use builder_store::{ArtifactPath, Sha256, StagedArtifact};
use opam_file::{Package, SwitchExport};

/// What builder-web does with a file of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Kept as an artifact.
    Artifact,
    /// Kept as the job's README, and not as an artifact.
    Readme,
    /// Not kept: hashes of the installed files, of use to the scheduler only.
    BuildHashes,
}

/// What a file is, by its path.
pub fn role(path: &ArtifactPath) -> Role {
    let name = path.file_name();
    if name == "README.md" {
        return Role::Readme;
    }
    match name.rsplit_once('.') {
        // A file that is named just so has no extension.
        Some((stem, "build-hashes")) if !stem.is_empty() => Role::BuildHashes,
        _ => Role::Artifact,
    }
}

/// The main binary: the single artifact below `bin/`. None, or several: the build has none.
pub fn main_binary(artifacts: &[(ArtifactPath, StagedArtifact)]) -> Option<usize> {
    let mut below_bin = artifacts
        .iter()
        .enumerate()
        .filter(|(_, (path, _))| path.as_str().starts_with("bin/"))
        .map(|(index, _)| index);
    match (below_bin.next(), below_bin.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// The digest of what went in: of the digests of the opam switch, the environment and the system
/// packages. A build that lacks one of them has none.
pub fn input_id(artifacts: &[(ArtifactPath, StagedArtifact)]) -> Option<Sha256> {
    let mut digests = Vec::with_capacity(3 * 32);
    for input in ["opam-switch", "build-environment", "system-packages"] {
        let (_, artifact) = artifacts.iter().find(|(path, _)| path.as_str() == input)?;
        digests.extend(artifact.sha256.as_bytes());
    }
    Some(Sha256::of(&digests))
}

/// What an opam switch says of the job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Under which heading it is listed.
    pub section: Option<String>,
    /// What it is, in a line.
    pub synopsis: Option<String>,
    /// What it is, at length.
    pub description: Option<String>,
    /// All packages of the switch.
    pub packages: Vec<Package>,
}

/// Reads the switch of a build. One that cannot be read, or without a single root, says nothing.
pub fn about(opam_switch: &[u8]) -> About {
    let switch = match SwitchExport::parse(opam_switch) {
        Ok(switch) => switch,
        Err(error) => {
            tracing::info!("the opam switch of an upload cannot be read: {error}");
            return About::default();
        }
    };
    let Some(root) = switch.root() else {
        return About {
            packages: switch.installed,
            ..About::default()
        };
    };
    let opam = switch.overlay(&root.name);
    // Unikernels are known by a field mirage writes since 4.2, and by their name before.
    let unikernel = opam.is_some_and(|opam| opam.has_field("x-mirage-opam-lock-location"))
        || root.name.starts_with("mirage-unikernel-");
    let monitored = switch
        .installed
        .iter()
        .any(|package| package.name == "metrics-influx")
        || opam.is_some_and(|opam| opam.depends_on("mirage-monitoring"));
    let section = match (unikernel, monitored) {
        (true, true) => "Unikernels (with metrics reported to Influx)",
        (true, false) => "Unikernels",
        (false, _) => "Packages",
    };
    About {
        section: Some(section.to_owned()),
        synopsis: opam.and_then(|opam| opam.synopsis()),
        description: opam.and_then(|opam| opam.description_body()),
        packages: switch.installed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(path: &str, content: &str) -> (ArtifactPath, StagedArtifact) {
        (
            ArtifactPath::parse(path.as_bytes()).unwrap(),
            StagedArtifact {
                sha256: Sha256::of(content.as_bytes()),
                size: content.len() as u64,
            },
        )
    }

    #[test]
    fn the_main_binary_is_the_only_file_below_bin() {
        let binary = |paths: &[&str]| {
            let all: Vec<_> = paths.iter().map(|path| artifact(path, "")).collect();
            main_binary(&all)
        };
        assert_eq!(binary(&["binary/x", "bin/x"]), Some(1));
        assert_eq!(binary(&["bin/deep/x"]), Some(0));
        assert_eq!(binary(&["bin/x", "bin/y"]), None);
        assert_eq!(binary(&["x", "sbin/x"]), None);
    }

    #[test]
    fn the_input_id_needs_all_three_inputs_in_their_order() {
        let all = [
            artifact("system-packages", "c"),
            artifact("opam-switch", "a"),
            artifact("build-environment", "b"),
        ];
        let mut digests = Vec::new();
        for content in ["a", "b", "c"] {
            digests.extend(Sha256::of(content.as_bytes()).as_bytes());
        }
        assert_eq!(input_id(&all), Some(Sha256::of(&digests)));
        assert_eq!(input_id(&all[1..]), None);
    }

    #[test]
    fn readmes_and_build_hashes_are_no_artifacts() {
        let of = |path: &str| role(&ArtifactPath::parse(path.as_bytes()).unwrap());
        assert_eq!(of("doc/x/README.md"), Role::Readme);
        assert_eq!(of("README.md"), Role::Readme);
        assert_eq!(of("x.build-hashes"), Role::BuildHashes);
        assert_eq!(of("build-hashes"), Role::Artifact);
        assert_eq!(of(".build-hashes"), Role::Artifact);
        assert_eq!(of("README.md.txt"), Role::Artifact);
    }

    #[test]
    fn a_switch_tells_the_section_and_the_synopsis() {
        let switch = |root: &str, installed: &str, fields: &str| {
            about(
                format!(
                    "opam-version: \"2.0\"\nroots: [\"{root}.1\"]\ninstalled: [\"{root}.1\" {installed}]\n\
                     package \"{root}\" {{ opam-version: \"2.0\" synopsis: \"What it is\" description: \"\"\"At length.\"\"\" {fields} }}\n"
                )
                .as_bytes(),
            )
        };
        let section = |about: About| about.section.unwrap_or_default();
        let plain = switch("x", "", "");
        assert_eq!(plain.synopsis.as_deref(), Some("What it is"));
        assert_eq!(plain.description.as_deref(), Some("At length."));
        assert_eq!(section(plain), "Packages");
        assert_eq!(
            section(switch("x", "", "x-mirage-opam-lock-location: \"a\"")),
            "Unikernels"
        );
        assert_eq!(
            section(switch("mirage-unikernel-x-hvt", "", "")),
            "Unikernels"
        );
        let influx = "Unikernels (with metrics reported to Influx)";
        assert_eq!(
            section(switch(
                "x",
                "\"metrics-influx.1\"",
                "x-mirage-opam-lock-location: \"a\""
            )),
            influx
        );
        assert_eq!(
            section(switch(
                "x",
                "",
                "x-mirage-opam-lock-location: \"a\" depends: [\"mirage-monitoring\" {>= \"1\"}]"
            )),
            influx
        );
    }

    #[test]
    fn a_switch_that_says_nothing_usable_is_no_error() {
        assert_eq!(about(b"\xff not opam {"), About::default());
        assert_eq!(
            about(b"opam-version: \"2.0\" roots: [\"a.1\" \"b.1\"]"),
            About::default()
        );
    }
}
