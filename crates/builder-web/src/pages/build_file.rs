//! What is below a build: its artifacts, script and console, the `exec` file it came as, and all
//! artifacts in one archive.

use std::fs::File;
use std::io::{self, Write};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use builder_store::builds::{self, Artifact, Build};
use builder_store::{Sha256, Store};
use uuid::Uuid;

use crate::app::App;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::exec_file::{self, check_size};
use crate::intact::{self, Reader, Wanted};
use crate::names::Path;
use crate::pack::{PACKED_BYTES_MIN, packer};
use crate::places::Who;
use crate::respond::{self, Accepts, Encoding, Range};
use crate::{file_body, headers, names, removed, stream, urls};

const OCTETS: &str = "application/octet-stream";

/// `GET …/main-binary`: to the artifact that it is.
pub async fn main_binary(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
) -> Result<Response> {
    let build = build(&app, &uuid).await?;
    let main = build
        .main_binary
        .ok_or_else(|| Error::NotFound("this build has no main binary".to_owned()))?;
    let location = urls::artifact(&build.job, &build.uuid, &main.path);
    Ok((
        StatusCode::FOUND,
        [(header::LOCATION, respond::value(location))],
    )
        .into_response())
}

/// `GET …/f/PATH`: an artifact.
pub async fn artifact(
    State(app): State<App>,
    Path((_, uuid, path)): Path<(String, String, String)>,
    client: Option<Extension<Client>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let uuid = parse(&uuid)?;
    refuse_as_script(&headers)?;
    let (artifact, file, size) = app
        .blocking(move |app| {
            let store = app.store();
            let artifact = store.read(|tx| {
                Ok(match builds::artifact(tx, uuid, &path)? {
                    Some(artifact) => Ok(artifact),
                    None if builds::exists(tx, uuid)? => {
                        let what = "this build has no such artifact".to_owned();
                        Err(Error::NotFound(what))
                    }
                    None => Err(removed::missing(tx, uuid)?),
                })
            })??;
            let opened = store.artifacts().open(artifact.sha256);
            let (file, size) = removed::opened(store, uuid, opened)?;
            // Cut off, it would pass for the whole.
            if size != artifact.size {
                store.artifacts().damage().found();
                return Err(Error::damaged(format!(
                    "artifact {} has {size} bytes on disk, {} when it was kept",
                    artifact.sha256, artifact.size
                )));
            }
            Ok((artifact, file, size))
        })
        .await??;
    let content_type = content_type(&artifact.path);
    let served = Served {
        file,
        size,
        tag: STANDARD.encode(artifact.sha256.as_bytes()),
        content_type,
        sha256: Some(artifact.sha256),
        who: Who::is(client.as_deref()),
    };
    let mut response = send(&app, &method, &headers, served).await?;
    let shown = content_type == respond::TEXT
        || matches!(content_type, "image/png" | "image/jpeg" | "image/gif");
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_DISPOSITION,
        respond::disposition(artifact.file_name(), shown),
    );
    // Its bytes are what its build says they are, for as long as it is there.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    Ok(response)
}

/// Our pages may run scripts of this server: that is not to be one that was uploaded, should a page
/// ever be tricked into naming it. Browsers say what they want a file for.
fn refuse_as_script(headers: &HeaderMap) -> Result<()> {
    let wanted = headers.get("sec-fetch-dest");
    let wanted = wanted.and_then(|wanted| wanted.to_str().ok());
    match wanted {
        Some("script" | "worker" | "sharedworker" | "serviceworker" | "style") => Err(
            Error::Forbidden("an artifact is not run or applied as part of a page".to_owned()),
        ),
        _ => Ok(()),
    }
}

/// `GET …/script`
pub async fn script(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
    client: Option<Extension<Client>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let who = Who::is(client.as_deref());
    text(app, uuid, who, method, headers, |build| build.script).await
}

/// `GET …/console`
pub async fn console(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
    client: Option<Extension<Client>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let who = Who::is(client.as_deref());
    text(app, uuid, who, method, headers, |build| build.console).await
}

async fn text(
    app: App,
    uuid: String,
    who: Option<Who>,
    method: Method,
    headers: HeaderMap,
    which: fn(Build) -> String,
) -> Result<Response> {
    let build = build(&app, &uuid).await?;
    let uuid = build.uuid;
    let path = which(build);
    let (file, size, tag) = app
        .blocking(move |app| {
            let opened = app.store().open_text(&path);
            let (file, size) = removed::opened(app.store(), uuid, opened)?;
            let tag = text_tag(&file).map_err(Error::internal)?;
            Ok::<_, Error>((file, size, tag))
        })
        .await??;
    let served = Served {
        file,
        size,
        tag,
        content_type: respond::TEXT,
        // Of these none is kept.
        sha256: None,
        who,
    };
    let mut response = send(&app, &method, &headers, served).await?;
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// `GET …/exec`: the build as a builder would send it. Not the same bytes (build hashes are not
/// kept, console times are to the millisecond), but the same build.
pub async fn exec(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
    client: Option<Extension<Client>>,
) -> Result<Response> {
    let uuid = parse(&uuid)?;
    let opened = app.blocking(move |app| {
        let store = app.store();
        let opened = exec_file::Opened::load(store, uuid);
        match removed::opened(store, uuid, opened)? {
            Some(opened) => Ok(opened),
            None => Err(store.read(|tx| removed::missing(tx, uuid))?),
        }
    });
    let opened = opened.await??;
    let name = format!("{}-{uuid}.exec", opened.job());
    // Before the console is read, which is as dear as sending it.
    let place = app.stream_place(Who::is(client.as_deref())).await?;
    let counted = app.blocking(move |app| {
        let counted = opened.counted(app.store(), app.console_sizes());
        removed::opened(app.store(), uuid, counted).map(|exec| (place, exec))
    });
    let (place, exec) = counted.await??;
    let size = exec.encoded_bytes();
    let store = app.store().clone();
    let body = stream::body(Some(size), move |out| {
        let _place = place;
        exec.write_to(&store, out)
    });
    Ok(download(body, Some(size), OCTETS, &name))
}

/// `GET …/all.tar.gz`: the artifacts, in the order of their paths, each dated to the end of the
/// build: the same build gives the same bytes.
pub async fn archive(
    State(app): State<App>,
    Path((_, uuid)): Path<(String, String)>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Result<Response> {
    let uuid = parse(&uuid)?;
    let (build, mut artifacts) = app
        .read(move |tx| match builds::by_uuid(tx, uuid)? {
            Some(build) => {
                let artifacts = builds::artifacts(tx, build.id)?;
                Ok(Ok((build, artifacts)))
            }
            None => removed::missing(tx, uuid).map(Err),
        })
        .await??;
    artifacts.sort_by(|one, other| one.path.cmp(&other.path));
    let tag = archive_tag(&build, &artifacts);
    let mut response = if respond::none_match(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let name = format!("{}-{uuid}.tar.gz", build.job);
        let store = app.store().clone();
        let who = Who::is(client.as_deref());
        let place = app.archives().take(app.metrics(), who.clone()).await?;
        let body = app
            .stream(who, None, move |out| {
                let _place = place;
                write_archive(&store, &build, &artifacts, out)
            })
            .await?;
        download(body, None, "application/tar+gzip", &name)
    };
    let headers = response.headers_mut();
    // Weak: another gzip may pack it into other bytes.
    headers.insert(header::ETAG, respond::value(format!("W/\"{tag}\"")));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Tells apart archives with other content, without making them.
fn archive_tag(build: &Build, artifacts: &[Artifact]) -> String {
    let mut text = format!("{}\n", build.finish.unix_seconds());
    for artifact in artifacts {
        // The digest has the same length each time, and no path holds a NUL.
        text.push_str(&format!("{}{}\0", artifact.sha256, artifact.path));
    }
    Sha256::of(text.as_bytes()).to_hex()
}

fn write_archive(
    store: &Store,
    build: &Build,
    artifacts: &[Artifact],
    out: &mut dyn Write,
) -> io::Result<()> {
    let out = packer(out, Encoding::Gzip)?;
    let mut tar = tar::Builder::new(out);
    let mtime = u64::try_from(build.finish.unix_seconds()).unwrap_or(0);
    for artifact in artifacts {
        let (file, size) = store
            .artifacts()
            .reader(artifact.sha256)
            .map_err(io::Error::other)?;
        check_size(artifact, size)?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(if artifact.path.starts_with("bin/") {
            0o755
        } else {
            0o644
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(mtime);
        header.set_size(size);
        tar.append_data(&mut header, &artifact.path, file)?;
    }
    tar.into_inner()?.finish()?.flush()
}

fn no_build() -> Error {
    Error::NotFound("there is no such build".to_owned())
}

fn parse(uuid: &str) -> Result<Uuid> {
    names::uuid(uuid).ok_or_else(no_build)
}

async fn build(app: &App, uuid: &str) -> Result<Build> {
    let uuid = parse(uuid)?;
    app.read(move |tx| match builds::by_uuid(tx, uuid)? {
        Some(build) => Ok(Ok(build)),
        None => removed::missing(tx, uuid).map(Err),
    })
    .await?
}

/// Tells apart what a script or console has been, without reading it: it may have a GiB. The file
/// is written once and complete before its build is there; who writes to it or brings it back from
/// a backup changes its time.
fn text_tag(file: &File) -> io::Result<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    let (size, seconds, nanoseconds) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    Ok(format!("{size:x}-{seconds:x}-{nanoseconds:x}"))
}

/// A file that is asked for.
struct Served {
    file: File,
    size: u64,
    tag: String,
    content_type: &'static str,
    /// What it is to be, if that is known.
    sha256: Option<Sha256>,
    /// Who asks.
    who: Option<Who>,
}

/// Answers with a file: whole, a part of it, packed if it is a text, or that it has not changed.
async fn send(app: &App, method: &Method, request: &HeaderMap, served: Served) -> Result<Response> {
    let Served {
        file,
        size,
        tag,
        content_type,
        sha256,
        who,
    } = served;
    let packable = is_text(content_type);
    let range = if method == Method::GET {
        respond::range(request, size, &tag)
    } else {
        // RFC 9110, 14.2: ranges are for GET alone.
        Range::Whole
    };
    let encoding = match range {
        Range::Whole if packable && size >= PACKED_BYTES_MIN => Accepts::of(request).encoding,
        _ => Encoding::Identity,
    };
    let has_it = respond::none_match(request, &tag);
    let wanted = match range {
        _ if has_it || method != Method::GET => Wanted::Head,
        Range::Refused(_) => Wanted::Head,
        Range::Part { first, count } if count < size => Wanted::Part(first),
        // Of what is packed nobody knows the end before it comes.
        Range::Whole if encoding.name().is_some() => Wanted::Part(0),
        Range::Part { .. } | Range::Whole => Wanted::Whole,
    };
    let reader = match (sha256, range) {
        (Some(sha256), _) => intact::open(app, file, sha256, wanted, who.clone()).await?,
        (None, Range::Part { first, .. }) => {
            Reader::unknown(file, size, first).map_err(Error::internal)?
        }
        (None, _) => Reader::unknown(file, size, 0).map_err(Error::internal)?,
    };
    let mut response = if has_it {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match (range, encoding.name()) {
            (Range::Refused(why), _) => return Err(Error::RangeNotSatisfiable { size, why }),
            (Range::Part { first, count }, _) => {
                let mut response = file_response(file_body::body(reader, first, count), count);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let last = first + count - 1;
                response.headers_mut().insert(
                    header::CONTENT_RANGE,
                    respond::value(format!("bytes {first}-{last}/{size}")),
                );
                response
            }
            (Range::Whole, Some(name)) => {
                let mut response = Response::new(packed(app, who, reader, encoding).await?);
                response
                    .headers_mut()
                    .insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
                response
            }
            (Range::Whole, None) => file_response(file_body::body(reader, 0, size), size),
        }
    };
    let headers = response.headers_mut();
    // Other bytes, another tag.
    let tag = match encoding.name() {
        Some(name) => format!("\"{tag}-{name}\""),
        None => format!("\"{tag}\""),
    };
    headers.insert(header::ETAG, respond::value(tag));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(headers::FILE_POLICY),
    );
    if is_run_or_applied(content_type) {
        // Refused to pages by what they want it for: a cache is not to answer in our place.
        let vary = HeaderValue::from_static("accept-encoding, sec-fetch-dest");
        headers.insert(header::VARY, vary);
    } else if packable {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    Ok(response)
}

fn file_response(body: Body, size: u64) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, size.into());
    response
}

async fn packed(
    app: &App,
    who: Option<Who>,
    mut reader: Reader,
    encoding: Encoding,
) -> Result<Body> {
    app.stream(who, None, move |out| {
        let mut packer = packer(out, encoding)?;
        loop {
            let piece = reader.next(1)?;
            if piece.is_empty() {
                break;
            }
            packer.write_all(&piece)?;
        }
        packer.finish()?.flush()
    })
    .await
}

fn download(body: Body, size: Option<u64>, content_type: &'static str, name: &str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Some(size) = size {
        headers.insert(header::CONTENT_LENGTH, size.into());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Made while it is sent: there is no part of it without what is before.
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(
        header::CONTENT_DISPOSITION,
        respond::disposition(name, false),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(headers::FILE_POLICY),
    );
    response
}

/// Files without an extension that are texts wherever they are met.
const TEXT_NAMES: [&str; 17] = [
    "AUTHORS",
    "CHANGELOG",
    "CHANGES",
    "COPYING",
    "COPYRIGHT",
    "INSTALL",
    "LICENCE",
    "LICENSE",
    "META",
    "Makefile",
    "NEWS",
    "README",
    "TODO",
    "dune",
    "dune-package",
    "dune-project",
    "opam",
];
/// Extensions of texts that opam packages install and the table of types does not know.
const TEXT_EXTENSIONS: [&str; 7] = ["install", "ml", "mld", "mli", "mll", "mly", "opam"];

/// By name for what every build has, never a guess for what is below `bin/`, else by extension.
fn content_type(path: &str) -> &'static str {
    match path {
        "build-environment" | "opam-switch" | "system-packages" => return respond::TEXT,
        _ if path.starts_with("bin/") => return OCTETS,
        _ => {}
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "build-hashes" => return respond::TEXT,
        "md" | "markdown" => return "text/x-markdown",
        _ => {}
    }
    match mime_guess::from_ext(extension).first_raw() {
        Some("text/html") => respond::HTML,
        Some("text/plain") => respond::TEXT,
        Some("text/xml") => "text/xml; charset=utf-8",
        Some("text/javascript" | "application/javascript") => {
            "application/javascript; charset=utf-8"
        }
        Some("application/rss+xml") => "application/rss+xml; charset=utf-8",
        Some("application/atom+xml") => "application/atom+xml; charset=utf-8",
        Some(known) => known,
        None if TEXT_NAMES.contains(&name) || TEXT_EXTENSIONS.contains(&extension) => respond::TEXT,
        None => OCTETS,
    }
}

/// Whether it is worth packing; what holds packed data, such as .docx, is not.
fn is_text(content_type: &str) -> bool {
    let (media, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    media.starts_with("text/")
        || media.ends_with("+xml")
        || matches!(
            media,
            "application/javascript" | "application/json" | "application/xml"
        )
}

/// Whether a browser takes it for a script or a style sheet of a page, as nothing of another type.
fn is_run_or_applied(content_type: &str) -> bool {
    ["javascript", "ecmascript", "text/css"]
        .iter()
        .any(|part| content_type.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_those_that_clients_know() {
        for (path, expected) in [
            ("opam-switch", respond::TEXT),
            ("bin/x.html", OCTETS),
            ("x.build-hashes", respond::TEXT),
            ("x.hvt.debug", OCTETS),
            ("doc/x.html", respond::HTML),
            ("doc/x.txt", respond::TEXT),
            ("doc/CHANGES.md", "text/x-markdown"),
            ("doc/x.js", "application/javascript; charset=utf-8"),
            ("x.png", "image/png"),
            ("LICENSE", respond::TEXT),
            ("doc/x/README", respond::TEXT),
            ("lib/x/META", respond::TEXT),
            ("lib/x/dune-package", respond::TEXT),
            ("lib/x/opam", respond::TEXT),
            ("x.opam", respond::TEXT),
            ("lib/x/x.ml", respond::TEXT),
            ("lib/x/x.mli", respond::TEXT),
            ("bin/LICENSE", OCTETS),
            ("lib/x/x.cmi", OCTETS),
            ("lib/x/unknown", OCTETS),
        ] {
            assert_eq!(content_type(path), expected, "{path}");
        }
    }

    #[test]
    fn texts_are_packed_and_what_is_packed_already_is_not() {
        for (path, packed) in [
            ("x.html", true),
            ("x.svg", true),
            ("x.xml", true),
            ("x.json", true),
            ("x.js", true),
            ("x.mli", true),
            ("x.docx", false),
            ("x.xlsx", false),
            ("x.odt", false),
            ("x.png", false),
            ("x.hvt", false),
        ] {
            assert_eq!(is_text(content_type(path)), packed, "{path}");
        }
    }
}
