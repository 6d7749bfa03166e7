//! Addresses and checksums, normalised as `OpamUrl` and `OpamHash` of opam 2.5 do it.

use std::borrow::Cow;

/// Who fetches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Http,
    Rsync,
    Git,
    Darcs,
    Hg,
}

/// An address. Without transport, `path` is a local path as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url<'d> {
    backend: Backend,
    transport: Option<&'d [u8]>,
    path: Cow<'d, [u8]>,
    fragment: Option<&'d [u8]>,
}

impl<'d> Url<'d> {
    /// Reads an address; with a backend given, the scheme does not decide about it.
    pub(crate) fn read(text: &'d [u8], backend: Option<Backend>) -> Result<Url<'d>, String> {
        let (version_control, transport, rest) = split_scheme(text);
        let (path, fragment) = match cut(rest, b"#") {
            Some((path, fragment)) => {
                (path, Some(fragment).filter(|fragment| !fragment.is_empty()))
            }
            None => (rest, None),
        };
        let backend = match (backend, version_control, transport) {
            (Some(backend), _, _) => backend,
            (None, Some(name), _) => Backend::of_version_control(name).ok_or_else(|| {
                format!(
                    "unsupported version control system `{}`",
                    name.escape_ascii()
                )
            })?,
            (None, None, None) => Backend::Rsync,
            (None, None, Some(scheme)) => Backend::of_scheme(scheme)
                .ok_or_else(|| format!("unsupported protocol `{}`", scheme.escape_ascii()))?,
        };
        let may_be_ssh = matches!(transport, None | Some(b"git" | b"hg" | b"darcs"));
        let (transport, path) = match ssh_path(path) {
            _ if backend == Backend::Http && transport.is_none() => {
                (Some(&b"http"[..]), Cow::from(path))
            }
            Some(path) if may_be_ssh => (Some(&b"ssh"[..]), Cow::from(path)),
            _ => (transport, Cow::from(path)),
        };
        Ok(Url {
            backend,
            transport,
            path,
            fragment,
        })
    }

    /// Whether it is what opam takes for no address at all.
    pub(crate) fn is_nothing(&self) -> bool {
        self.backend == Backend::Http
            && self.transport == Some(b"https")
            && self.path.is_empty()
            && self.fragment.is_none()
    }

    /// The path of an address in the archive that opam uses as a last resort, such as `swh:1:…`.
    pub(crate) fn software_heritage(&self) -> Option<&[u8]> {
        let web =
            self.backend == Backend::Http && matches!(self.transport, Some(b"http" | b"https"));
        self.path
            .strip_prefix(b"swhid.opam.ocaml.org/")
            .filter(|id| web && is_software_heritage_id(id))
    }

    pub(crate) fn print(&self) -> Vec<u8> {
        let mut printed = Vec::new();
        if let Some(transport) = self.transport {
            if let Some(version_control) = self
                .backend
                .version_control()
                .filter(|name| *name != transport)
            {
                printed.extend_from_slice(version_control);
                printed.push(b'+');
            }
            printed.extend_from_slice(transport);
            printed.extend_from_slice(b"://");
        }
        printed.extend_from_slice(&self.path);
        if let Some(fragment) = self.fragment {
            printed.push(b'#');
            printed.extend_from_slice(fragment);
        }
        printed
    }
}

impl Backend {
    fn of_version_control(name: &[u8]) -> Option<Backend> {
        match name {
            b"git" => Some(Backend::Git),
            b"hg" => Some(Backend::Hg),
            b"darcs" => Some(Backend::Darcs),
            _ => None,
        }
    }

    fn of_scheme(scheme: &[u8]) -> Option<Backend> {
        match scheme {
            b"http" | b"https" | b"ftp" | b"wget" | b"curl" => Some(Backend::Http),
            b"file" | b"path" | b"local" | b"rsync" | b"ssh" | b"scp" | b"sftp" => {
                Some(Backend::Rsync)
            }
            _ => Backend::of_version_control(scheme),
        }
    }

    fn version_control(self) -> Option<&'static [u8]> {
        match self {
            Backend::Git => Some(b"git"),
            Backend::Darcs => Some(b"darcs"),
            Backend::Hg => Some(b"hg"),
            Backend::Http | Backend::Rsync => None,
        }
    }
}

/// `VC+SCHEME://`, `VC://SCHEME://` or `SCHEME://`, and what follows. An empty part is no part.
fn split_scheme(text: &[u8]) -> (Option<&[u8]>, Option<&[u8]>, &[u8]) {
    let present = |part| {
        if <[u8]>::is_empty(part) {
            None
        } else {
            Some(part)
        }
    };
    let prefix = text
        .iter()
        .position(|byte| matches!(byte, b'+' | b':'))
        .and_then(|at| text.split_at_checked(at));
    if let Some((version_control, rest)) = prefix
        && let Some(rest) = rest
            .strip_prefix(b"+")
            .or_else(|| rest.strip_prefix(b"://"))
        && let Some((transport, rest)) = scheme(rest)
    {
        return (present(version_control), present(transport), rest);
    }
    match scheme(text) {
        Some((transport, rest)) => (None, present(transport), rest),
        None => (None, None, text),
    }
}

fn scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = text.split_at_checked(colon)?;
    Some((scheme, rest.strip_prefix(b"://")?))
}

/// `user@host:path` as `user@host/path`. A port after the colon makes it something else.
fn ssh_path(path: &[u8]) -> Option<Vec<u8>> {
    let mut host_start = 0;
    for (at, &byte) in path.iter().enumerate() {
        if byte == b':' && at >= host_start + 2 {
            let host = path.get(host_start..at).unwrap_or_default();
            if let Some(rest) = path_on_host(path.get(at + 1..).unwrap_or_default()) {
                let separator: &[u8] = if rest.is_empty() { b"" } else { b"/" };
                return Some([host, separator, rest].concat());
            }
        }
        if matches!(byte, b':' | b'/') {
            host_start = at + 1;
        }
    }
    None
}

fn path_on_host(rest: &[u8]) -> Option<&[u8]> {
    let without_slash = rest.strip_prefix(b"/");
    match without_slash.filter(|rest| rest.is_empty() || !starts_with_port(rest)) {
        Some(rest) => Some(rest),
        None => (rest.is_empty() || !starts_with_port(rest)).then_some(rest),
    }
}

/// Digits up to a slash or the end.
fn starts_with_port(rest: &[u8]) -> bool {
    match rest.iter().position(|byte| !byte.is_ascii_digit()) {
        Some(0) => false,
        Some(end) => rest.get(end) == Some(&b'/'),
        None => true,
    }
}

fn is_software_heritage_id(id: &[u8]) -> bool {
    let kinds = [b"cnt:", b"dir:", b"rel:", b"rev:", b"snp:"];
    let Some(rest) = id.strip_prefix(b"swh:1:") else {
        return false;
    };
    let hash = kinds.iter().find_map(|kind| rest.strip_prefix(*kind));
    hash.is_some_and(|hash| hash.len() == 40 && hash.iter().all(u8::is_ascii_hexdigit))
}

/// Before and after the first occurrence.
fn cut<'t>(text: &'t [u8], separator: &[u8; 1]) -> Option<(&'t [u8], &'t [u8])> {
    let at = text.iter().position(|byte| separator.contains(byte))?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// How a checksum was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKind {
    /// MD5, 32 hex digits.
    Md5,
    /// SHA-256, 64 hex digits.
    Sha256,
    /// SHA-512, 128 hex digits.
    Sha512,
}

/// A checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    /// How it was made.
    pub kind: HashKind,
    /// Lower-case hex digits.
    pub hex: String,
}

impl HashKind {
    /// As it is written before the `=`.
    pub fn name(self) -> &'static str {
        match self {
            HashKind::Md5 => "md5",
            HashKind::Sha256 => "sha256",
            HashKind::Sha512 => "sha512",
        }
    }

    fn digits(self) -> usize {
        match self {
            HashKind::Md5 => 32,
            HashKind::Sha256 => 64,
            HashKind::Sha512 => 128,
        }
    }
}

impl Hash {
    /// Reads `KIND=HEX`; without a kind it is MD5.
    pub fn parse(text: &[u8]) -> Option<Hash> {
        let (kind, hex) = match cut(text, b"=") {
            None => (HashKind::Md5, text),
            Some((kind, hex)) if kind.eq_ignore_ascii_case(b"md5") => (HashKind::Md5, hex),
            Some((kind, hex)) if kind.eq_ignore_ascii_case(b"sha256") => (HashKind::Sha256, hex),
            Some((kind, hex)) if kind.eq_ignore_ascii_case(b"sha512") => (HashKind::Sha512, hex),
            Some(_) => return None,
        };
        let valid = hex.len() == kind.digits() && hex.iter().all(u8::is_ascii_hexdigit);
        let hex = std::str::from_utf8(hex)
            .ok()
            .filter(|_| valid)?
            .to_ascii_lowercase();
        Some(Hash { kind, hex })
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.kind.name(), self.hex)
    }
}
