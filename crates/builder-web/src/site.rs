//! What the operator says of the site: its name, logo, introduction and links. Read once at start.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a logo: it is on every page and held in memory.
pub const LOGO_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of an introduction, which the front page shows whole.
pub const INTRODUCTION_BYTES_MAX: u64 = 64 * 1024;

/// What the operator says of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name, on every page and in every title.
    pub name: String,
    /// Scheme and host by which the web knows it; none: those by which each client does.
    pub public_url: Option<String>,
    /// Beside the name.
    pub logo: Option<Logo>,
    /// Markdown, at the top of the front page.
    pub introduction: Option<String>,
    /// At the foot of every page: an imprint, the sources, a way to write to the operator.
    pub links: Vec<Link>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    /// Of its file.
    pub bytes: Vec<u8>,
    /// From the ending of its name.
    pub content_type: &'static str,
}

/// A link with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What is shown.
    pub title: String,
    /// Where it leads: a path of this server, or a URL of the web or mail.
    pub href: String,
}

impl Default for Site {
    fn default() -> Site {
        Site {
            name: "Reproducible builds".to_owned(),
            public_url: None,
            logo: None,
            introduction: None,
            links: Vec::new(),
        }
    }
}

impl Logo {
    /// Reads a logo: SVG, PNG, JPEG, GIF or WebP by the ending of its name.
    pub fn read(path: &Path) -> Result<Logo, String> {
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        let content_type = match ending.to_ascii_lowercase().as_str() {
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "jpg" | "jpeg" => "image/jpeg",
            "gif" => "image/gif",
            "webp" => "image/webp",
            _ => {
                return Err(format!(
                    "the logo {} is to end in .svg, .png, .jpg, .gif or .webp",
                    path.display()
                ));
            }
        };
        let bytes = read(path, LOGO_BYTES_MAX)?;
        Ok(Logo {
            bytes,
            content_type,
        })
    }
}

/// Reads an introduction: Markdown in UTF-8.
pub fn read_introduction(path: &Path) -> Result<String, String> {
    String::from_utf8(read(path, INTRODUCTION_BYTES_MAX)?)
        .map_err(|_| format!("the introduction {} is not UTF-8", path.display()))
}

/// Reads a file that the operator named; why not, in a sentence.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!(
            "{} is larger than {} KiB",
            path.display(),
            bytes_max / 1024
        ));
    }
    Ok(bytes)
}

impl std::str::FromStr for Link {
    type Err = String;

    /// `TITLE=URL`. What could run a script is refused.
    fn from_str(text: &str) -> Result<Link, String> {
        let wrong = || {
            format!(
                "{text:?} is to be TITLE=URL, where URL begins with https://, http://, mailto: or /"
            )
        };
        let (title, href) = text.split_once('=').ok_or_else(wrong)?;
        let (title, href) = (title.trim(), href.trim());
        let known = ["https://", "http://", "mailto:", "/"]
            .iter()
            .any(|begin| href.starts_with(begin));
        if title.is_empty() || !known {
            return Err(wrong());
        }
        Ok(Link {
            title: title.to_owned(),
            href: href.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_title_and_a_url_that_runs_nothing() {
        let link: Link = "Imprint = https://example.org/?a=b".parse().unwrap();
        assert_eq!(
            (link.title.as_str(), link.href.as_str()),
            ("Imprint", "https://example.org/?a=b")
        );
        for wrong in ["", "Imprint", "=/x", "X=javascript:alert(1)", "X=data:,"] {
            assert!(wrong.parse::<Link>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_logo_or_introduction_that_cannot_be_shown_is_refused_in_a_sentence() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a.svg"), "<svg/>").unwrap();
        assert_eq!(
            Logo::read(&path("a.svg")).unwrap().content_type,
            "image/svg+xml"
        );
        assert!(
            Logo::read(&path("a.exe"))
                .unwrap_err()
                .contains("is to end in")
        );
        assert!(
            Logo::read(&path("none.png"))
                .unwrap_err()
                .contains("cannot read")
        );
        std::fs::write(path("large.png"), vec![0; 256 * 1024 + 1]).unwrap();
        assert!(
            Logo::read(&path("large.png"))
                .unwrap_err()
                .contains("larger than 256 KiB")
        );
        std::fs::write(path("latin.md"), [0xe9]).unwrap();
        assert!(
            read_introduction(&path("latin.md"))
                .unwrap_err()
                .contains("not UTF-8")
        );
    }
}
