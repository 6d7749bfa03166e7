//! FreeBSD packages: a compressed tar archive that begins with `+COMPACT_MANIFEST` and `+MANIFEST`.
//!
//! `pkg` takes any compression its archive library knows; gzip saves a dependency on zstd.
//!
//! ```
//! use demo_builds::{InstalledFile, pkg};
//!
//! let manifest = pkg::Manifest {
//!     name: "ferryman".to_owned(),
//!     version: "1.4.0".to_owned(),
//!     abi: "FreeBSD:14:amd64".to_owned(),
//!     maintainer: "packages@harbour.example".to_owned(),
//!     www: "https://harbour.example/ferryman".to_owned(),
//!     comment: "Carries virtual machines across".to_owned(),
//!     description: "Starts and stops them.".to_owned(),
//!     depends: vec![("gmp".to_owned(), "math/gmp".to_owned(), "6.3.0".to_owned())],
//! };
//! let path = "/usr/local/bin/ferryman".to_owned();
//! let file = InstalledFile { path, mode: 0o755, modified: 0, content: vec![0; 100] };
//! assert!(pkg::package(&manifest, &[file], 0)?.starts_with(&[0x1f, 0x8b]));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;

use sha2::{Digest, Sha256};

use crate::seed::hex;
use crate::tar::{InstalledFile, Tar, gzip};

/// What the package says about itself.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its name, also used for its origin `sysutils/NAME`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it runs on, such as `FreeBSD:14:amd64`.
    pub abi: String,
    /// An address.
    pub maintainer: String,
    /// Its home page.
    pub www: String,
    /// One line about it.
    pub comment: String,
    /// More about it.
    pub description: String,
    /// Name, origin and version of what it needs.
    pub depends: Vec<(String, String, String)>,
}

/// The package as `tar` and `pkg` read it. `modified` is the time of the manifests.
///
/// # Errors
/// None in practice: compressing into memory does not fail.
pub fn package(manifest: &Manifest, files: &[InstalledFile], modified: u64) -> io::Result<Vec<u8>> {
    let compact = manifest.compact(files);
    let sums: Vec<String> = files
        .iter()
        .map(|file| {
            format!(
                "{}:\"1${}\"",
                string(&file.path),
                hex(&Sha256::digest(&file.content))
            )
        })
        .collect();
    let full = format!("{compact},\"files\":{{{}}}}}", sums.join(","));
    let mut archive = Tar::default();
    archive.file(
        "+COMPACT_MANIFEST",
        0o644,
        modified,
        (compact + "}").as_bytes(),
    );
    archive.file("+MANIFEST", 0o644, modified, full.as_bytes());
    for file in files {
        archive.file(&file.path, file.mode, file.modified, &file.content);
    }
    gzip(&archive.finish())
}

impl Manifest {
    /// The members of both manifests, without the closing brace.
    fn compact(&self, files: &[InstalledFile]) -> String {
        let bytes: usize = files.iter().map(|file| file.content.len()).sum();
        let depends: Vec<String> = self
            .depends
            .iter()
            .map(|(name, origin, version)| {
                format!(
                    "{}:{{\"origin\":{},\"version\":{}}}",
                    string(name),
                    string(origin),
                    string(version)
                )
            })
            .collect();
        let abi = self.abi.to_lowercase().replace("amd64", "x86:64");
        let members = [
            ("name", string(&self.name)),
            ("origin", string(&format!("sysutils/{}", self.name))),
            ("version", string(&self.version)),
            ("comment", string(&self.comment)),
            ("maintainer", string(&self.maintainer)),
            ("www", string(&self.www)),
            ("abi", string(&self.abi)),
            ("arch", string(&abi)),
            ("prefix", string("/usr/local")),
            ("flatsize", bytes.to_string()),
            ("licenselogic", string("single")),
            ("licenses", format!("[{}]", string("ISCL"))),
            ("desc", string(&self.description)),
            ("deps", format!("{{{}}}", depends.join(","))),
            ("categories", format!("[{}]", string("sysutils"))),
        ];
        let members: Vec<String> = members
            .iter()
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        format!("{{{}", members.join(","))
    }
}

/// A JSON string.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
