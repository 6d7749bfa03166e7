//! `_cache/`: pictures of what artifacts hold, each named by the SHA-256 of the artifact it shows.
//! Knows names and files; knows nothing of how a picture is made.
//!
//! | path below `_cache/` | what |
//! |---|---|
//! | `treemap_N/HEX.html`, `dependencies_N/HEX.html` | made by upload hooks of an installation; N is the version of their program |
//! | `builder-web/treemap-V/HEX-BYTES.html` | our treemap of a debug binary, V the version of the drawing, BYTES the size of the main binary it is measured against |
//! | `builder-web/dependencies-V/HEX.html` | our graph of an opam switch |
//! | `….json` beside them | what the picture of this version tells, as data |
//! | `….txt` in their place | what cannot be drawn, and why, in a sentence |
//! | `….tmp` | being written, or left by an interruption |
//!
//! What hooks made is theirs: it is read and, with its artifact, removed, never written. Hooks and
//! the batch script of the OCaml server look at `treemap_N` and `dependencies_N` only, so nothing
//! of ours is taken for theirs. All in `_cache` may be deleted at any time: what is ours is made
//! again when it is asked for.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::artifacts::{CACHE, link_on_the_way, open_beneath, refuse_links, remove_file};
use crate::store::adopt;
use crate::{Error, Result, Sha256, Store};

/// The directory of what we draw ourselves, below `_cache/`.
const OWN: &str = "builder-web";
/// The extension of what cannot be drawn.
const NOTHING: &str = "txt";
/// Bytes of a picture. The graph of the largest switches has some 3 MB; what a hook left there that is
/// larger is no picture.
const PICTURE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// An unfinished file that was not touched for this long was left by an interruption.
const UNFINISHED_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Picture {
    /// What takes space in a binary.
    Treemap,
    /// Which opam package depends on which.
    Dependencies,
}

impl Picture {
    /// All of them.
    pub const ALL: [Picture; 2] = [Picture::Treemap, Picture::Dependencies];

    /// Its name in paths: `treemap` or `dependencies`.
    pub fn name(self) -> &'static str {
        match self {
            Picture::Treemap => "treemap",
            Picture::Dependencies => "dependencies",
        }
    }
}

/// What a picture is given as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// A whole HTML document, for people.
    Html,
    /// What it tells, for programs.
    Json,
}

impl Form {
    const ALL: [Form; 2] = [Form::Html, Form::Json];

    fn extension(self) -> &'static str {
        match self {
            Form::Html => "html",
            Form::Json => "json",
        }
    }
}

/// One picture that is ours: what it shows, by which version of the drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Drawing {
    /// What is shown.
    pub picture: Picture,
    /// Counted up when the same artifact gives another picture.
    pub version: u32,
    /// The artifact that it shows.
    pub sha256: Sha256,
    /// Bytes of the binary it is measured against, if it is: a part of its name, since the same
    /// artifact gives another picture beside another binary.
    pub binary_bytes: Option<u64>,
    /// What it is given as.
    pub form: Form,
}

/// What was drawn of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drawn {
    /// The picture in the form that was asked for.
    Picture(Vec<u8>),
    /// It cannot be drawn, in whatever form; why, in a sentence.
    Nothing(String),
}

/// The pictures of a data directory.
#[derive(Debug, Clone)]
pub struct Cache {
    /// From here on no link is followed.
    root: PathBuf,
    directory: PathBuf,
}

/// A file below `_cache/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// The artifact that its name says it shows; none: its name is not one of ours or of hooks.
    pub sha256: Option<Sha256>,
    /// Who made it.
    pub maker: Maker,
}

/// Who made a file below `_cache/`, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// An upload hook, or the batch script of the OCaml server.
    Hook(Picture, u64),
    /// We did, with this version of the drawing.
    Own(Picture, u32),
    /// We, and it is not finished.
    Unfinished,
    /// It cannot be told; left alone.
    Unknown,
}

impl Store {
    /// The pictures kept in `_cache/`.
    pub fn cache(&self) -> Cache {
        Cache::new(self.directory())
    }
}

impl Cache {
    /// The pictures of a data directory.
    pub fn new(datadir: &Path) -> Cache {
        Cache {
            root: datadir.to_owned(),
            directory: datadir.join(CACHE),
        }
    }

    /// The pictures in a directory that is elsewhere.
    pub fn at(directory: &Path) -> Cache {
        Cache {
            root: directory.to_owned(),
            directory: directory.to_owned(),
        }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that an upload hook made of this artifact, of the newest version there is.
    pub fn of_hooks(&self, picture: Picture, sha256: Sha256) -> Result<Option<PathBuf>> {
        let mut versions = Vec::new();
        for (_, name) in self.list(&self.directory)? {
            match hook_directory(&name) {
                Some((of, version)) if of == picture => versions.push((version, name)),
                _ => {}
            }
        }
        versions.sort_unstable_by(|one, other| other.cmp(one));
        let file = format!("{sha256}.html");
        let paths = versions
            .into_iter()
            .map(|(_, name)| self.directory.join(name).join(&file));
        // A link could lead anywhere: as for artifacts.
        let is_file = |path: &PathBuf| {
            let is_file = path.symlink_metadata().is_ok_and(|there| there.is_file());
            is_file && !self.has_link(path)
        };
        Ok(paths.into_iter().find(is_file))
    }

    /// What we have drawn, or found that cannot be drawn.
    pub fn get(&self, drawing: &Drawing) -> Result<Option<Drawn>> {
        let picture = self.path(drawing, drawing.form.extension());
        if let Some(picture) = self.read(&picture)? {
            return Ok(Some(Drawn::Picture(picture)));
        }
        let nothing = self.path(drawing, NOTHING);
        let why = self.read(&nothing)?;
        Ok(why.map(|why| Drawn::Nothing(String::from_utf8_lossy(&why).into_owned())))
    }

    /// Keeps what was drawn: written and synced under another name, then renamed, so that what is
    /// there is complete.
    pub fn keep(&self, drawing: &Drawing, drawn: &Drawn) -> Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (path, bytes) = match drawn {
            Drawn::Picture(picture) => (
                self.path(drawing, drawing.form.extension()),
                picture.as_slice(),
            ),
            Drawn::Nothing(why) => (self.path(drawing, NOTHING), why.as_bytes()),
        };
        let own = self.directory.join(OWN);
        let directory = own.join(own_directory(drawing.picture, drawing.version));
        for directory in [&own, &directory] {
            refuse_links(&self.root, self.below(directory))?;
            match fs::create_dir(directory) {
                Ok(()) => adopt(directory, &self.directory)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::file("create", directory, source)),
            }
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unfinished = directory.join(format!("{}.{number}.tmp", std::process::id()));
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let renamed = written
            .map_err(|source| Error::file("write", &unfinished, source))
            .and_then(|()| adopt(&unfinished, &self.directory))
            .and_then(|()| {
                fs::rename(&unfinished, &path)
                    .map_err(|source| Error::file("create", &path, source))
            });
        if renamed.is_err() {
            remove_file(&unfinished)?;
        }
        renamed
    }

    /// Every file below `_cache/` that is in a directory of pictures. `.done`, which the batch
    /// script leaves, is [`Maker::Unknown`].
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for (path, name) in self.list(&self.directory)? {
            if let Some((picture, version)) = hook_directory(&name) {
                for (path, name) in self.list(&path)? {
                    let sha256 = name.strip_suffix(".html").and_then(Sha256::from_hex);
                    let maker = match sha256 {
                        Some(_) => Maker::Hook(picture, version),
                        None => Maker::Unknown,
                    };
                    entries.push(Entry {
                        path,
                        sha256,
                        maker,
                    });
                }
            }
        }
        for (path, name) in self.list(&self.directory.join(OWN))? {
            let Some((picture, version)) = own_version(&name) else {
                continue;
            };
            for (path, name) in self.list(&path)? {
                let sha256 = own_artifact(picture, &name);
                let maker = match sha256 {
                    Some(_) => Maker::Own(picture, version),
                    None if name.ends_with(".tmp") => Maker::Unfinished,
                    None => Maker::Unknown,
                };
                entries.push(Entry {
                    path,
                    sha256,
                    maker,
                });
            }
        }
        Ok(entries)
    }

    /// Removes all pictures of these artifacts, whoever made them; tells how many files those
    /// were. To be called once for many artifacts: it looks through the whole directory.
    pub fn remove_of(&self, artifacts: &HashSet<Sha256>) -> Result<usize> {
        let entries = self.entries()?;
        let theirs = entries.iter().filter(|entry| {
            let sha256 = entry.sha256.as_ref();
            sha256.is_some_and(|sha256| artifacts.contains(sha256))
        });
        let mut removed = 0;
        for entry in theirs {
            remove_file(&entry.path)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Removes what other versions of our drawings left, and what was never finished, as long as
    /// `now` is well after it was begun. `current` has every version in use.
    pub fn sweep(&self, current: &[(Picture, u32)], now: SystemTime) -> Result<()> {
        for (directory, name) in self.list(&self.directory.join(OWN))? {
            let Some(version) = own_version(&name) else {
                continue;
            };
            if !current.contains(&version) {
                fs::remove_dir_all(&directory)
                    .map_err(|source| Error::file("remove", &directory, source))?;
                continue;
            }
            for (path, name) in self.list(&directory)? {
                let begun = fs::metadata(&path).and_then(|metadata| metadata.modified());
                let left = begun.is_ok_and(|begun| {
                    let age = now.duration_since(begun);
                    age.is_ok_and(|age| age > UNFINISHED_TIME_MAX)
                });
                if left && name.ends_with(".tmp") {
                    remove_file(&path)?;
                }
            }
        }
        Ok(())
    }

    /// A path as it is below where links begin to be none of ours.
    fn below<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    fn has_link(&self, path: &Path) -> bool {
        link_on_the_way(&self.root, self.below(path)).is_some()
    }

    /// The path and the name of everything in a directory that may not be there. Names that are no
    /// text are of others, and so is what a link leads to.
    fn list(&self, directory: &Path) -> Result<Vec<(PathBuf, String)>> {
        if self.has_link(directory) {
            return Ok(Vec::new());
        }
        let failed = |source| Error::file("read", directory, source);
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Vec::new());
            }
            Err(source) => return Err(failed(source)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().into_string() {
                all.push((entry.path(), name));
            }
        }
        Ok(all)
    }

    /// The bytes of a file that may not be there, if it is one: a link could lead anywhere.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let file = match open_beneath(&self.root, self.below(path)) {
            Ok((file, bytes)) if bytes <= PICTURE_BYTES_MAX => file,
            Ok((_, bytes)) => {
                let what = format!("it has {bytes} bytes, a picture {PICTURE_BYTES_MAX} at most");
                let source = io::Error::new(io::ErrorKind::FileTooLarge, what);
                return Err(Error::file("read", path, source));
            }
            Err(error) if error.is_missing_file() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(PICTURE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::file("read", path, source))?;
        Ok(Some(bytes))
    }

    fn path(&self, drawing: &Drawing, extension: &str) -> PathBuf {
        let file = match drawing.binary_bytes {
            Some(bytes) => format!("{}-{bytes}.{extension}", drawing.sha256),
            None => format!("{}.{extension}", drawing.sha256),
        };
        let directory = own_directory(drawing.picture, drawing.version);
        self.directory.join(OWN).join(directory).join(file)
    }
}

/// Whether a directory of this name is one of pictures: of hooks, or of ours.
pub(crate) fn is_known_directory(name: &str) -> bool {
    name == OWN || hook_directory(name).is_some()
}

fn own_directory(picture: Picture, version: u32) -> String {
    format!("{}-{version}", picture.name())
}

fn own_version(name: &str) -> Option<(Picture, u32)> {
    let (of, version) = name.rsplit_once('-')?;
    Some((picture(of)?, number(version)?.try_into().ok()?))
}

/// `treemap_N` or `dependencies_N`; N counts from 1, and whatever else is there is none.
fn hook_directory(name: &str) -> Option<(Picture, u64)> {
    let (of, version) = name.rsplit_once('_')?;
    Some((picture(of)?, number(version).filter(|number| *number > 0)?))
}

fn picture(name: &str) -> Option<Picture> {
    Picture::ALL
        .into_iter()
        .find(|picture| picture.name() == name)
}

/// As we and hooks write it: digits, without zeros before them.
fn number(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// The artifact that a file of ours shows.
fn own_artifact(picture: Picture, name: &str) -> Option<Sha256> {
    let (name, extension) = name.rsplit_once('.')?;
    if extension != NOTHING && Form::ALL.iter().all(|form| extension != form.extension()) {
        return None;
    }
    match picture {
        Picture::Treemap => {
            let (hex, bytes) = name.split_once('-')?;
            number(bytes).and_then(|_| Sha256::from_hex(hex))
        }
        Picture::Dependencies => Sha256::from_hex(name),
    }
}
