//! The command lines that build something again from what was recorded of it. Pure: knows names and
//! values, neither files nor the database.

use std::collections::BTreeMap;

use builder_store::shell::quoted;

/// Variables that are set by a command line; a build records some fifteen.
const VARIABLES_MAX: usize = 60;
/// Bytes of a value that is set by a command line.
const VALUE_BYTES_MAX: usize = 1_000;
/// Variables that tell of the builder and do not belong to another; with its path of programs opam
/// itself may not be found.
const OF_THE_BUILDER: [&str; 8] = [
    "HOME", "OLDPWD", "PATH", "PWD", "SHLVL", "TERM", "USER", "_",
];
/// What orb notes of the system and for itself.
const OF_ORB: [&str; 6] = [
    "ORB_BUILDING_PACKAGE",
    "ORB_DATA",
    "OS",
    "OS_DISTRIBUTION",
    "OS_FAMILY",
    "OS_VERSION",
];

/// What was recorded of a build that can be built again.
#[derive(Debug)]
pub struct Recorded<'a> {
    /// URLs of the files `opam-switch`, `build-environment` and `system-packages`.
    pub inputs: [String; 3],
    /// The variables of the build environment, by name.
    pub variables: &'a BTreeMap<String, String>,
    /// The digest of the main binary, in hexadecimal digits.
    pub sha256: String,
    /// Where the main binary is inside the switch.
    pub path: &'a str,
    /// Whether libraries are built from sources beside its own, in a duniverse.
    pub duniverse: bool,
}

impl Recorded<'_> {
    /// The command lines that fetch what went in.
    fn fetch(&self) -> String {
        let mut lines = "mkdir -p again && cd again\n".to_owned();
        for url in &self.inputs {
            lines.push_str(&format!("curl -fO {}\n", quoted(url)));
        }
        lines
    }

    /// With orb; none where orb did not build it: it reads what it recorded itself.
    pub fn with_orb(&self) -> Option<String> {
        self.variables.get("ORB_DATA")?;
        let fetch = self.fetch();
        // Into a directory of its own: orb compares with the hashes of files that it finds where the
        // input is. They are not among the artifacts of a build, and its own would be the same ones.
        Some(format!(
            "{fetch}# as root; or with --skip-system, where the system packages are those already.\n\
             # At its end orb asks for hashes of the first build, which are not kept here.\n\
             orb rebuild --out=built . || true\n\
             # the same output again?\n\
             echo {} | sha256sum -c",
            quoted(&format!("{}  built/{}", self.sha256, self.path))
        ))
    }

    /// With opam alone, in the recorded environment; none where opam alone builds something else: it
    /// knows nothing of a duniverse.
    pub fn with_opam(&self) -> Option<String> {
        if self.duniverse {
            return None;
        }
        let mut lines = self.fetch();
        lines.push_str("# in the environment of the build:\n");
        let variables = self.variables.iter().filter(|(name, value)| {
            is_name(name)
                && value.len() <= VALUE_BYTES_MAX
                && !OF_THE_BUILDER.contains(&name.as_str())
                && !OF_ORB.contains(&name.as_str())
        });
        for (name, value) in variables.take(VARIABLES_MAX) {
            lines.push_str(&format!("export {name}={}\n", quoted(value)));
        }
        // Paths may end up in what is built: the switch is to be where it was.
        let switch = self.variables.get("SWITCH_PATH").map(String::as_str);
        let switch = quoted(switch.filter(|path| !path.is_empty()).unwrap_or("again"));
        lines.push_str(&format!(
            "opam init --yes --bare --no-setup\n\
             opam switch create --yes {switch} --empty\n\
             opam switch import --yes --switch={switch} opam-switch\n\
             # the same output again?\n\
             echo '{}  '\"$(opam var --switch={switch} prefix)\"/{} | sha256sum -c",
            self.sha256,
            quoted(self.path),
        ));
        Some(lines)
    }
}

/// Whether a shell takes it for the name of a variable.
fn is_name(name: &str) -> bool {
    name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(variables: &[(&str, &str)], duniverse: bool) -> [Option<String>; 2] {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let recorded = Recorded {
            inputs: ["/s", "/e", "/p"].map(|path| format!("https://builds.example.org{path}")),
            variables: &variables,
            sha256: "ab".repeat(32),
            path: "bin/it's.hvt",
            duniverse,
        };
        [recorded.with_orb(), recorded.with_opam()]
    }

    #[test]
    fn orb_comes_first_where_it_built_and_opam_has_the_recorded_environment() {
        let variables = [
            ("ORB_DATA", "2"),
            ("HOME", "/home/builder"),
            ("PATH", "/bin:/usr/bin"),
            ("SOURCE_DATE_EPOCH", "1767225600"),
            ("SWITCH_PATH", "myswitch"),
            ("GREETING", "it's; rm -rf /"),
            ("bad name", "x"),
            ("X$(id)", "x"),
        ];
        let [orb, opam] = commands(&variables, false).map(Option::unwrap);
        assert!(orb.contains("\norb rebuild --out=built . || true\n"));
        let check = r"  built/bin/it'\''s.hvt' | sha256sum -c";
        assert!(orb.ends_with(check), "{orb}");
        for line in [
            "curl -fO https://builds.example.org/s",
            "export SOURCE_DATE_EPOCH=1767225600",
            r"export GREETING='it'\''s; rm -rf /'",
            "opam switch import --yes --switch=myswitch opam-switch",
        ] {
            assert!(opam.lines().any(|known| known == line), "{line} in {opam}");
        }
        for absent in ["HOME", "PATH=/bin", "ORB_DATA", "bad name", "$(id)"] {
            assert!(!opam.contains(absent), "{absent} in {opam}");
        }
        let check = r#"prefix)"/'bin/it'\''s.hvt' | sha256sum -c"#;
        assert!(opam.contains(check), "{opam}");
    }

    #[test]
    fn what_another_tool_built_is_built_again_by_opam_in_a_switch_of_any_name() {
        let [orb, opam] = commands(&[], false);
        assert_eq!(orb, None);
        assert!(
            opam.unwrap()
                .contains("opam switch create --yes again --empty")
        );
    }

    #[test]
    fn what_has_a_duniverse_is_built_again_by_orb_only() {
        let [orb, opam] = commands(&[("ORB_DATA", "2")], true);
        assert!(orb.is_some() && opam.is_none());
    }
}
