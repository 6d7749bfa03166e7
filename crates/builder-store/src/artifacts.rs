//! Artifacts, by content: `_artifacts/ab/abcd…`, and what is done with files of a data directory
//! whatever they are. Knows files; knows nothing of builds.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;

use crate::sha256::Hasher;
use crate::store::adopt;
use crate::{Error, Result, Sha256, restore};

/// The directory of all artifacts, in the data directory.
pub(crate) const ARTIFACTS: &str = "_artifacts";

/// Opens the file at a path below `root`, and tells its size in bytes. Only what is itself a file, and
/// below it: a link, in its place or in that of a directory on the way, could lead anywhere, and a
/// pipe would never end. `root` itself may be a link.
///
/// Directory by directory, since FreeBSD lacks a call that does it at once.
pub(crate) fn open_beneath(root: &Path, path: &Path) -> Result<(File, u64)> {
    use rustix::fs::{Mode, open, openat};
    let whole = || root.join(path);
    let failed = |error: rustix::io::Errno| match link_on_the_way(root, path) {
        Some(link) => Error::file("open", &whole(), not_followed(&link)),
        None => Error::file("open", &whole(), error.into()),
    };
    let plain = |part: &Component<'_>| matches!(part, Component::Normal(_));
    let (Some(name), true) = (path.file_name(), path.components().all(|part| plain(&part))) else {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no path below another");
        return Err(Error::file("open", &whole(), source));
    };
    let passed = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = open(root, passed, Mode::empty()).map_err(failed)?;
    for part in path.parent().into_iter().flat_map(Path::components) {
        let flags = passed | OFlags::NOFOLLOW;
        directory = openat(&directory, part.as_os_str(), flags, Mode::empty()).map_err(failed)?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&directory, name, flags, Mode::empty()).map_err(failed)?;
    let file = File::from(file);
    let metadata = file
        .metadata()
        .map_err(|source| Error::file("look at", &whole(), source))?;
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it is no file");
        return Err(Error::file("open", &whole(), source));
    }
    Ok((file, metadata.len()))
}

/// The first part of a path below `root` that is a symbolic link.
pub(crate) fn link_on_the_way(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut at = root.to_owned();
    path.components().find_map(|part| {
        at.push(part);
        let is_link = fs::symlink_metadata(&at).is_ok_and(|there| there.is_symlink());
        is_link.then(|| at.clone())
    })
}

/// A path below a data directory, as the directory from which on no link is followed, and the path
/// below it: that of all artifacts may be a link, as the data directory itself.
pub(crate) fn from_where_no_link_is<'p>(directory: &Path, path: &'p Path) -> (PathBuf, &'p Path) {
    match path.strip_prefix(ARTIFACTS) {
        Ok(below) => (directory.join(ARTIFACTS), below),
        Err(_) => (directory.to_owned(), path),
    }
}

/// Directories in which we write and remove, and which therefore are no links: what is behind one
/// is a stranger's. That of all artifacts may be one: operators put it on another disk.
pub(crate) const NO_LINKS: [&str; 4] = [STAGING, CACHE, QUARANTINE, restore::PLACE];

/// Those of them that are links, and what they say they lead to.
pub(crate) fn links_at_the_top(directory: &Path) -> impl Iterator<Item = (PathBuf, PathBuf)> {
    let paths = NO_LINKS.map(|name| directory.join(name));
    // What is no link says of none.
    let target = |path: PathBuf| fs::read_link(&path).ok().map(|target| (path, target));
    paths.into_iter().filter_map(target)
}

/// Refuses to write below a directory that a link leads to.
pub(crate) fn refuse_links(root: &Path, path: &Path) -> Result<()> {
    match link_on_the_way(root, path) {
        Some(link) => Err(Error::file("write to", &link, not_followed(&link))),
        None => Ok(()),
    }
}

fn not_followed(link: &Path) -> io::Error {
    let what = format!("{} is a link, which is not followed", link.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The artifacts of a data directory.
#[derive(Debug)]
pub struct Artifacts {
    directory: PathBuf,
    damage: Damage,
}

/// How often a kept file was found to be damaged or missing.
#[derive(Debug, Clone, Default)]
pub struct Damage(Arc<AtomicU64>);

impl Damage {
    /// Once more.
    pub fn found(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often up to now, since the store was opened.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Artifacts {
    pub(crate) fn new(directory: PathBuf) -> Artifacts {
        Artifacts {
            directory,
            damage: Damage::default(),
        }
    }

    /// How often a file was found damaged: what [`Artifacts::reader`] finds, and what others note.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Where an artifact is.
    pub fn path(&self, sha256: Sha256) -> PathBuf {
        self.directory.join(below_all(sha256))
    }

    /// Opens an artifact, and tells its size in bytes.
    pub fn open(&self, sha256: Sha256) -> Result<(File, u64)> {
        open_beneath(&self.directory, &below_all(sha256))
    }

    /// Opens an artifact to read all of it, and tells its size in bytes. Who reads to the end gets
    /// an error instead of the last bytes when they are not what the artifact is named for.
    pub fn reader(&self, sha256: Sha256) -> Result<(ArtifactReader, u64)> {
        let (file, size) = self.open(sha256)?;
        let reader = ArtifactReader {
            file,
            left: size,
            check: Some(Check::new(sha256)),
            damage: self.damage.clone(),
        };
        Ok((reader, size))
    }

    /// Opens an artifact to read parts of it, once all of it was found to be what it is named for.
    pub fn compared(&self, sha256: Sha256) -> Result<File> {
        let read = |source| Error::file("read", &self.path(sha256), source);
        let (mut reader, _) = self.reader(sha256)?;
        io::copy(&mut reader, &mut io::sink()).map_err(read)?;
        let mut file = reader.file;
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        Ok(file)
    }

    /// All bytes of an artifact, if they are what it is named for and no more than `bytes_max`.
    pub fn bytes(&self, sha256: Sha256, bytes_max: u64) -> Result<Vec<u8>> {
        let read = |source| Error::file("read", &self.path(sha256), source);
        let (mut reader, size) = self.reader(sha256)?;
        let capacity = usize::try_from(size).ok().filter(|_| size <= bytes_max);
        let Some(capacity) = capacity else {
            let what = format!("it has {size} bytes, more than {bytes_max}");
            return Err(read(io::Error::new(io::ErrorKind::FileTooLarge, what)));
        };
        let mut bytes = Vec::with_capacity(capacity);
        reader.read_to_end(&mut bytes).map_err(read)?;
        Ok(bytes)
    }

    /// Moves a finished, synced file to its place. A file of that name is replaced: it has the
    /// same bytes, or is damaged.
    pub(crate) fn take_in(&self, staged: &Path, sha256: Sha256) -> Result<()> {
        let path = self.path(sha256);
        let directory = path.parent().unwrap_or(&self.directory);
        if let Ok(below) = directory.strip_prefix(&self.directory) {
            refuse_links(&self.directory, below)?;
        }
        if !directory.is_dir() {
            fs::create_dir_all(directory)
                .map_err(|source| Error::file("create", directory, source))?;
            adopt(directory, &self.directory)?;
        }
        fs::rename(staged, &path).map_err(|source| Error::file("create", &path, source))
    }

    /// Makes the directories that artifacts are in survive power loss: also those that an upload
    /// made that failed before they were synced.
    pub(crate) fn sync_all(&self) -> Result<()> {
        sync_directory(&self.directory)
    }

    /// Makes what was moved into the directory of `sha256` survive power loss.
    pub(crate) fn sync(&self, sha256: Sha256) -> Result<()> {
        let path = self.path(sha256);
        sync_directory(path.parent().unwrap_or(&self.directory))
    }

    /// What a link leads to stays: it was never put there by us.
    pub(crate) fn remove(&self, sha256: Sha256) -> Result<()> {
        let below = below_all(sha256);
        match link_on_the_way(&self.directory, below.parent().unwrap_or(&below)) {
            Some(_) => Ok(()),
            None => remove_file(&self.path(sha256)),
        }
    }
}

/// Where an artifact is below the directory of all. Two digits of its name are a directory of their
/// own, to keep directories small.
pub(crate) fn below_all(sha256: Sha256) -> PathBuf {
    let name = sha256.to_hex();
    Path::new(&name[..2]).join(&name)
}

/// Compares the bytes of an artifact, as they are read, with what it is named for: disks forget.
#[derive(Debug)]
pub struct Check {
    sha256: Sha256,
    hasher: Hasher,
}

impl Check {
    /// Of the artifact that is named `sha256`, from its first byte.
    pub fn new(sha256: Sha256) -> Check {
        Check {
            sha256,
            hasher: Hasher::default(),
        }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// After the last byte. Other bytes are [`io::ErrorKind::InvalidData`].
    pub fn finish(self) -> io::Result<()> {
        let found = self.hasher.finish();
        if found == self.sha256 {
            return Ok(());
        }
        let damaged = format!(
            "artifact {} is damaged: what is on the disk has the digest {found}",
            self.sha256
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, damaged))
    }
}

/// An artifact as [`Artifacts::reader`] opens it.
#[derive(Debug)]
pub struct ArtifactReader {
    file: File,
    left: u64,
    /// Until the end was reached.
    check: Option<Check>,
    damage: Damage,
}

impl Read for ArtifactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| buffer.len().min(left));
        if wanted == 0 && self.left > 0 {
            return Ok(0);
        }
        let count = self.file.read(&mut buffer[..wanted])?;
        if count == 0 && self.left > 0 {
            let what = "the file became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        self.left -= count as u64;
        if let Some(check) = &mut self.check {
            check.update(&buffer[..count]);
        }
        if self.left == 0
            && let Some(check) = self.check.take()
        {
            check.finish().inspect_err(|_| self.damage.found())?;
        }
        Ok(count)
    }
}

/// Opens a directory itself: not one that a link in its place leads to.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, open};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Ok(directory) => Ok(File::from(directory)),
        Err(_) if path.is_symlink() => Err(not_followed(path)),
        Err(error) => Err(error.into()),
    }
}

/// Makes the names in a directory survive power loss.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| Error::file("sync", directory, source))
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", path, source))
        }
        _ => Ok(()),
    }
}

/// Where uploads under way are.
pub(crate) const STAGING: &str = "_staging";
/// Where pictures are, those of hooks too.
pub(crate) const CACHE: &str = "_cache";
/// Where files are kept that are not what they should be.
pub(crate) const QUARANTINE: &str = "_quarantine";

/// A path below the data directory, if it stays there.
pub(crate) fn below(path: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let normal = path
        .components()
        .all(|component| matches!(component, std::path::Component::Normal(_)));
    let named = !path.as_os_str().is_empty() && !path.as_os_str().as_bytes().contains(&0);
    (normal && named).then(|| path.components().collect())
}

/// Makes a directory below the data directory, with those that lead to it; they are the server's,
/// whoever makes them.
pub(crate) fn make_directories(path: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::file("create", path, source))?;
    for made in path
        .ancestors()
        .take_while(|ancestor| *ancestor != directory)
    {
        adopt(made, directory)?;
    }
    Ok(())
}

/// Moves a file of the data directory, `path` below it, into `_quarantine/`, under its own path
/// there or one like it. Where it is now, below the data directory.
pub(crate) fn put_aside(directory: &Path, path: &Path) -> Result<PathBuf> {
    let aside = Path::new(QUARANTINE).join(path);
    let mut to = aside.clone();
    for number in 1.. {
        if fs::symlink_metadata(directory.join(&to)).is_err() {
            break;
        }
        let mut name = aside.clone().into_os_string();
        name.push(format!(".{number}"));
        to = name.into();
    }
    let (from, target) = (directory.join(path), directory.join(&to));
    let parent = target.parent().unwrap_or(directory);
    refuse_links(directory, aside.parent().unwrap_or(&aside))?;
    make_directories(parent, directory)?;
    let created = |source| Error::file("create", &target, source);
    match fs::rename(&from, &target) {
        // The artifacts may be on a file system of their own.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(&from, &target)
                .and_then(|_| File::open(&target)?.sync_all())
                .map_err(created)?;
            sync_directory(parent)?;
            remove_file(&from)?;
        }
        renamed => renamed.map_err(created)?,
    }
    Ok(to)
}

/// Makes all that was created, renamed and removed below a data directory survive power loss.
pub(crate) fn sync_files(directory: &Path) -> Result<()> {
    // The artifacts may be on a file system of their own.
    for directory in [directory, &directory.join("_artifacts")] {
        match File::open(directory) {
            Ok(file) => {
                sync_file_system(&file).map_err(|source| Error::file("sync", directory, source))?
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::file("open", directory, source)),
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn sync_file_system(on_it: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(on_it)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(on_it: &File) -> io::Result<()> {
    rustix::fs::sync();
    on_it.sync_all()
}
