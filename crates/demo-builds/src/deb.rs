//! Debian packages: an `ar` archive of `debian-binary`, `control.tar.gz` and `data.tar.gz`.
//!
//! ```
//! use demo_builds::{InstalledFile, deb};
//!
//! let control = deb::Control {
//!     package: "ferryman".to_owned(),
//!     version: "1.4.0".to_owned(),
//!     architecture: "amd64".to_owned(),
//!     maintainer: "Harbour Works <packages@harbour.example>".to_owned(),
//!     depends: "libc6, libgmp10".to_owned(),
//!     description: "carries virtual machines across\nStarts and stops them.".to_owned(),
//! };
//! let file = InstalledFile { path: "/usr/bin/ferryman".to_owned(), mode: 0o755, modified: 0, content: vec![0; 100] };
//! assert!(deb::package(&control, &[file], 0)?.starts_with(b"!<arch>\ndebian-binary"));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt::Write;
use std::io;

use md5::{Digest, Md5};

use crate::seed::hex;
use crate::tar::{InstalledFile, Tar, gzip, new_directories};

/// The fields of the package's `control` file.
#[derive(Clone, Debug)]
pub struct Control {
    /// `Package`.
    pub package: String,
    /// `Version`.
    pub version: String,
    /// `Architecture`, such as `amd64`.
    pub architecture: String,
    /// `Maintainer`, with address.
    pub maintainer: String,
    /// `Depends`, as one line.
    pub depends: String,
    /// `Description`: a short line, then longer ones.
    pub description: String,
}

/// The package as `dpkg-deb` reads it. `modified` is the time of everything that is not a file of the package.
///
/// # Errors
/// None in practice: compressing into memory does not fail.
pub fn package(control: &Control, files: &[InstalledFile], modified: u64) -> io::Result<Vec<u8>> {
    let mut sums = String::new();
    let mut data = Tar::default();
    let mut seen = Vec::new();
    data.directory("./", modified);
    for file in files {
        for directory in new_directories(&file.path, &mut seen) {
            data.directory(&format!(".{directory}/"), modified);
        }
        data.file(
            &format!(".{}", file.path),
            file.mode,
            file.modified,
            &file.content,
        );
        // OK because writing to a string cannot fail; the same below.
        let _ = writeln!(
            sums,
            "{}  {}",
            hex(&Md5::digest(&file.content)),
            file.path.trim_start_matches('/')
        );
    }
    let installed_bytes: usize = files.iter().map(|file| file.content.len()).sum();
    let mut members = Tar::default();
    members.directory("./", modified);
    members.file(
        "./control",
        0o644,
        modified,
        control.text(installed_bytes.div_ceil(1024)).as_bytes(),
    );
    members.file("./md5sums", 0o644, modified, sums.as_bytes());

    let mut out = b"!<arch>\n".to_vec();
    ar_member(&mut out, "debian-binary", modified, b"2.0\n");
    ar_member(
        &mut out,
        "control.tar.gz",
        modified,
        &gzip(&members.finish())?,
    );
    ar_member(&mut out, "data.tar.gz", modified, &gzip(&data.finish())?);
    Ok(out)
}

impl Control {
    fn text(&self, installed_kib: usize) -> String {
        let mut lines = self.description.lines();
        let mut text = format!("Package: {}\nVersion: {}\n", self.package, self.version);
        text += &format!(
            "Architecture: {}\nMaintainer: {}\n",
            self.architecture, self.maintainer
        );
        text += &format!(
            "Installed-Size: {installed_kib}\nDepends: {}\n",
            self.depends
        );
        text += &format!(
            "Section: admin\nPriority: optional\nDescription: {}\n",
            lines.next().unwrap_or_default()
        );
        for line in lines {
            text += &format!(" {}\n", if line.is_empty() { "." } else { line });
        }
        text
    }
}

fn ar_member(out: &mut Vec<u8>, name: &str, modified: u64, content: &[u8]) {
    out.extend(
        format!(
            "{name:<16}{modified:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            100_644,
            content.len()
        )
        .bytes(),
    );
    out.extend(content);
    if !content.len().is_multiple_of(2) {
        out.push(b'\n');
    }
}
