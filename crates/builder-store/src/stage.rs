//! A build on its way in: `_staging/PID.NUMBER/`, written, synced, moved to its place, and then
//! named by rows in one COMMIT. A crash may leave files without a row, never a row without its
//! file; what it leaves is found by the intent that was written before anything moved.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{info, warn};
use uuid::Uuid;

use crate::artifacts::{STAGING, link_on_the_way, open_directory, remove_file, sync_directory};
use crate::sha256::HashingWriter;
use crate::store::adopt;
use crate::{
    ArtifactPath, Error, JobName, Result, Sha256, Store, Tx, backup, builds, latest, search, stock,
    with_causes,
};

/// Held with an exclusive lock while its directory is in use, by whichever process.
pub(crate) const LOCK: &str = "lock";
/// After so many bytes, of all uploads together, it is looked again whether the disk is getting full.
const SPACE_CHECK_BYTES: u64 = 1024 * 1024;
/// What is about to be moved, a line each: `artifact SHA256` or `build JOB/UUID`.
const INTENT: &str = "intent";

/// Whether what is in `_staging` is a directory, and has a name that we give.
pub(crate) fn is_ours(directory: &Path) -> bool {
    let name = directory_name(directory);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.as_ref()
        .and_then(|name| name.split_once('.'))
        .is_some_and(|(process, number)| digits(process) && digits(number))
}

/// Whether what is in `_staging` may be of the OCaml server: it names its directories by the uuid of
/// the build.
pub(crate) fn is_of_the_ocaml_server(directory: &Path) -> bool {
    directory_name(directory).is_some_and(|name| {
        Uuid::parse_str(&name).is_ok_and(|uuid| uuid.hyphenated().to_string() == name)
    })
}

/// The name of a directory that is one itself, and no link to one.
fn directory_name(directory: &Path) -> Option<String> {
    let is_directory = fs::symlink_metadata(directory).is_ok_and(|there| there.is_dir());
    let name = directory.file_name().filter(|_| is_directory)?;
    name.to_str().map(str::to_owned)
}

/// What is in `_staging` of the OCaml server, and of a backup that was interrupted before the
/// directory was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Leave,
    Remove,
}

/// The two texts kept with a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFile {
    /// What the build printed, a line `SECONDS.mmms:TEXT` each.
    Console,
    /// What was run.
    Script,
}

impl TextFile {
    /// `console.txt` or `script.txt`.
    pub fn file_name(self) -> &'static str {
        match self {
            TextFile::Console => "console.txt",
            TextFile::Script => "script.txt",
        }
    }
}

/// One build's files before they are kept. Dropping it removes them.
#[derive(Debug)]
pub struct Staging<'s> {
    store: &'s Store,
    directory: PathBuf,
    artifacts: BTreeMap<Sha256, u64>,
    next: u32,
    space: Space<'s>,
    /// Its intent is to be followed yet: the directory outlives this.
    left_behind: bool,
    _lock: File,
}

/// An artifact, staged: what its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedArtifact {
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// How many bytes it has.
    pub size: u64,
}

impl Store {
    /// Starts to take in a build. Gives [`Error::NoSpace`] as soon as less than
    /// `disk_reserve_bytes` are left on the disk.
    pub fn stage(&self, disk_reserve_bytes: u64) -> Result<Staging<'_>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        self.sweep_left_behind();
        // Whoever sweeps does not see the directory before it is locked.
        let _making = self.sweep_lock(File::lock_shared)?;
        let directory = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let directory = self
                .staging()
                .join(format!("{}.{number}", std::process::id()));
            match fs::create_dir(&directory) {
                Ok(()) => break directory,
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::file("create", &directory, source)),
            }
        };
        let lock = self.lock_staging(&directory).inspect_err(|_| {
            if remove_directory(&directory).is_err() {
                self.left_behind.store(true, Ordering::Relaxed);
            }
        })?;
        Ok(Staging {
            store: self,
            directory,
            artifacts: BTreeMap::new(),
            next: 0,
            space: Space {
                store: self,
                reserve_bytes: disk_reserve_bytes,
            },
            left_behind: false,
            _lock: lock,
        })
    }

    fn lock_staging(&self, directory: &Path) -> Result<File> {
        adopt(directory, self.directory())?;
        let lock = directory.join(LOCK);
        File::create(&lock)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|source| Error::file("lock", &lock, source))
    }

    /// Of all of `_staging`: shared while a directory is made in it, exclusive while it is swept.
    fn sweep_lock(&self, lock: fn(&File) -> io::Result<()>) -> Result<File> {
        let path = self.staging();
        open_directory(&path)
            .and_then(|directory| lock(&directory).map(|()| directory))
            .map_err(|source| Error::file("lock", &path, source))
    }

    fn staging(&self) -> PathBuf {
        self.directory().join(STAGING)
    }

    /// Removes what interrupted uploads left: their staging directories, and what they had moved
    /// to its place without a row that names it. What others have under way is left alone, and so
    /// is what the OCaml server may have: it knows no locks.
    pub fn sweep_interrupted(&self) -> Result<()> {
        self.sweep(Others::Leave)
    }

    /// Tries again what could not be taken back after an upload of this process failed: the disk
    /// may be well again.
    pub fn sweep_left_behind(&self) {
        if self.left_behind.swap(false, Ordering::Relaxed)
            && let Err(error) = self.sweep_interrupted()
        {
            warn!("{}; it is tried again", with_causes(&error));
            self.left_behind.store(true, Ordering::Relaxed);
        }
    }

    /// Like [`Store::sweep_interrupted`], and what the OCaml server left, too: for a server that
    /// starts, which is the only one.
    pub(crate) fn sweep_staging(&self) -> Result<()> {
        self.sweep(Others::Remove)
    }

    fn sweep(&self, others: Others) -> Result<()> {
        let staging = self.staging();
        let _sweeping = self.sweep_lock(File::lock)?;
        let entries =
            fs::read_dir(&staging).map_err(|source| Error::file("read", &staging, source))?;
        // One that cannot be swept stands in the way of no other.
        let mut swept = Ok(());
        for entry in entries {
            let directory = entry
                .map_err(|source| Error::file("read", &staging, source))?
                .path();
            swept = swept.and(self.sweep_one(&directory, others));
        }
        swept
    }

    fn sweep_one(&self, directory: &Path, others: Others) -> Result<()> {
        let path = directory.join(LOCK);
        let is_half = directory.ends_with(backup::HALF)
            && fs::symlink_metadata(directory).is_ok_and(|there| there.is_file());
        if is_half && others == Others::Remove {
            remove_file(directory)?;
            info!("removed {}, left by a backup", directory.display());
            return Ok(());
        }
        // Whatever else is there, somebody may miss it.
        let left =
            is_ours(directory) || (others == Others::Remove && is_of_the_ocaml_server(directory));
        if !left {
            return Ok(());
        }
        let lock = match File::open(&path) {
            Ok(lock) => Some(lock),
            // Of the OCaml server, which knows no locks and is not running; or ours, killed before
            // it was locked: whoever makes one keeps us out.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::file("open", &path, source)),
        };
        match lock.as_ref().map(File::try_lock) {
            // Another process is at work there.
            Some(Err(TryLockError::WouldBlock)) => return Ok(()),
            Some(Err(TryLockError::Error(source))) => {
                return Err(Error::file("lock", &path, source));
            }
            Some(Ok(())) | None => {}
        }
        undo_intent(self, directory)?;
        remove_directory(directory)?;
        info!(
            "swept {}, left by an interrupted upload",
            directory.display()
        );
        Ok(())
    }
}

impl<'s> Staging<'s> {
    /// Copies an artifact from `data` and syncs it. The same content a second time is kept once.
    ///
    /// Errors of `data` are given back as they are, in the inner result.
    pub fn artifact(&mut self, data: &mut dyn Read) -> Result<io::Result<StagedArtifact>> {
        let path = self.directory.join(format!("artifact-{}", self.next));
        self.next += 1;
        let file = File::create(&path).map_err(|source| Error::file("create", &path, source))?;
        adopt(&path, self.store.directory())?;
        let mut out = HashingWriter::new(SpaceChecked::new(file, self.space));
        match copy(data, &mut out) {
            Ok(()) => {}
            Err(CopyError::Read(error)) => return Ok(Err(error)),
            Err(CopyError::Write(source)) => return Err(Error::file("write", &path, source)),
        }
        let (file, sha256, size) = out.finish();
        if self.artifacts.insert(sha256, size).is_some() {
            remove_file(&path)?;
        } else {
            file.file
                .sync_all()
                .map_err(|source| Error::file("sync", &path, source))?;
            let named = self.directory.join(sha256.to_hex());
            fs::rename(&path, &named).map_err(|source| Error::file("create", &named, source))?;
        }
        Ok(Ok(StagedArtifact { sha256, size }))
    }

    /// Puts a staged artifact to its place without a build: rows name it already. For whoever holds
    /// the writer's lock.
    pub(crate) fn put_back(&self, sha256: Sha256) -> Result<()> {
        let artifacts = self.store.artifacts();
        artifacts.take_in(&self.directory.join(sha256.to_hex()), sha256)?;
        artifacts.sync_all()?;
        artifacts.sync(sha256)
    }

    /// The bytes of an artifact that was staged, for what is derived from it at upload.
    pub fn open(&self, sha256: Sha256) -> Result<File> {
        let path = self.directory.join(sha256.to_hex());
        File::open(&path).map_err(|source| Error::file("open", &path, source))
    }

    /// A new file for the console or script. [`TextFileWriter::finish`] syncs it.
    pub fn text(&self, file: TextFile) -> Result<TextFileWriter<'s>> {
        let path = self.directory.join(file.file_name());
        let out = File::create(&path).map_err(|source| Error::file("create", &path, source))?;
        adopt(&path, self.store.directory())?;
        Ok(TextFileWriter {
            out: BufWriter::with_capacity(64 * 1024, SpaceChecked::new(out, self.space)),
            path,
        })
    }

    /// A file for this upload's own use, removed with the rest.
    pub fn scratch(&self) -> Result<SpaceChecked<'s>> {
        let path = self.directory.join("scratch");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|source| Error::file("create", &path, source))?;
        Ok(SpaceChecked::new(file, self.space))
    }

    /// Moves the files to their places and commits `build` with its rows: the build is kept, or
    /// nothing of it. Gives [`Error::BuildExists`] when the uuid was taken meanwhile.
    pub fn commit(
        self,
        uuid: Uuid,
        job: &JobName,
        build: &builds::NewBuild<'_>,
        artifacts: &[(ArtifactPath, StagedArtifact)],
        also: impl FnOnce(&mut Tx<'_>, builds::Kept) -> Result<()>,
    ) -> Result<builds::Kept> {
        let home = Path::new(job.as_str()).join(uuid.to_string());
        self.write_intent(&home)?;
        let mut moved = false;
        let kept = self.store.write(|tx| {
            if builds::exists(tx, uuid)? {
                return Err(Error::BuildExists { uuid });
            }
            if let Some(link) = link_on_the_way(self.store.directory(), &home) {
                let below = link.strip_prefix(self.store.directory());
                return Err(Error::JobIsLink {
                    job: job.as_str().to_owned(),
                    link: below.unwrap_or(&link).to_owned(),
                });
            }
            let job_home = self.store.directory().join(job.as_str());
            if fs::symlink_metadata(&job_home).is_ok() && !job_home.is_dir() {
                return Err(Error::JobNameTaken {
                    job: job.as_str().to_owned(),
                });
            }
            moved = true;
            self.move_files(&home)?;
            let kept = builds::add(tx, uuid, job, build, artifacts)?;
            also(tx, kept)?;
            Ok(kept)
        });
        match kept {
            Err(error) if moved => self.settle(uuid, error),
            Err(error) => Err(error),
            Ok(kept) => {
                self.finish();
                Ok(kept)
            }
        }
    }

    /// What follows a COMMIT.
    fn finish(&self) {
        // Rows name the files now: there is nothing to undo, and undoing would find that.
        if let Err(error) = remove_file(&self.directory.join(INTENT)) {
            warn!("{}", with_causes(&error));
        }
        // On its own: what can be derived again is no reason to refuse a build.
        let followed = self.store.write(|tx| {
            latest::catch_up(tx)?;
            stock::catch_up(tx, search::BUILDS_A_TURN_OF_AN_UPLOAD)?;
            search::catch_up(tx, search::BUILDS_A_TURN_OF_AN_UPLOAD)
        });
        if let Err(error) = followed {
            warn!("the latest builds and the search index are not kept up to date: {error}");
        }
    }

    /// Finds out what became of a build whose files were moved before `error` came, and takes them
    /// back unless it is kept: COMMIT may fail in a file of ours when the build's rows are there.
    fn settle(mut self, uuid: Uuid, error: Error) -> Result<builds::Kept> {
        let undone = match self.store.read(|tx| builds::kept(tx, uuid)) {
            // Nobody sees rows before they are synced.
            Ok(Some(kept)) => {
                warn!(
                    "build {uuid} is kept, but what is noted beside it may be missing: {}",
                    with_causes(&error)
                );
                self.finish();
                return Ok(kept);
            }
            Ok(None) => {
                let settled = self.store.settle_failed_commit();
                settled.and_then(|()| undo_intent(self.store, &self.directory))
            }
            Err(unknown) => Err(unknown),
        };
        if let Err(undo) = undone {
            warn!(
                "cannot undo {}: {}; it is tried again later",
                self.directory.display(),
                with_causes(&undo)
            );
            // The intent is kept for that.
            self.left_behind = true;
        }
        Err(error)
    }

    fn write_intent(&self, home: &Path) -> Result<()> {
        let path = self.directory.join(INTENT);
        let write = || -> io::Result<()> {
            let mut out = BufWriter::new(File::create(&path)?);
            writeln!(out, "build {}", home.display())?;
            for sha256 in self.artifacts.keys() {
                writeln!(out, "artifact {sha256}")?;
            }
            out.into_inner()?.sync_all()
        };
        write().map_err(|source| Error::file("write", &path, source))?;
        sync_directory(&self.directory)?;
        sync_directory(&self.store.staging())
    }

    /// Under the writer's lock: whoever removes artifacts holds it too.
    fn move_files(&self, home: &Path) -> Result<()> {
        let artifacts = self.store.artifacts();
        for sha256 in self.artifacts.keys() {
            artifacts.take_in(&self.directory.join(sha256.to_hex()), *sha256)?;
        }
        artifacts.sync_all()?;
        let mut prefix = None;
        for sha256 in self.artifacts.keys() {
            let of = sha256.as_bytes()[0];
            if prefix != Some(of) {
                artifacts.sync(*sha256)?;
                prefix = Some(of);
            }
        }
        let home = self.store.directory().join(home);
        fs::create_dir_all(&home).map_err(|source| Error::file("create", &home, source))?;
        for directory in [home.parent(), Some(&home)].into_iter().flatten() {
            adopt(directory, self.store.directory())?;
        }
        for text in [TextFile::Console, TextFile::Script] {
            let to = home.join(text.file_name());
            fs::rename(self.directory.join(text.file_name()), &to)
                .map_err(|source| Error::file("create", &to, source))?;
        }
        sync_directory(&home)?;
        if let Some(job) = home.parent() {
            sync_directory(job)?;
        }
        sync_directory(self.store.directory())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.left_behind
            && let Err(error) = remove_directory(&self.directory)
        {
            warn!("{}; it is tried again later", with_causes(&error));
            self.left_behind = true;
        }
        if self.left_behind {
            self.store.left_behind.store(true, Ordering::Relaxed);
        }
    }
}

/// The console or script of a build that is being staged.
#[derive(Debug)]
pub struct TextFileWriter<'s> {
    out: BufWriter<SpaceChecked<'s>>,
    path: PathBuf,
}

impl TextFileWriter<'_> {
    /// Makes what was written survive power loss.
    pub fn finish(self) -> Result<()> {
        self.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|checked| checked.file.sync_all())
            .map_err(|source| Error::file("write", &self.path, source))
    }

    /// An error of writing, with the file's name.
    pub fn error(&self, source: io::Error) -> Error {
        Error::file("write", &self.path, source)
    }
}

impl Write for TextFileWriter<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.out.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What is left on the disk, for all uploads.
#[derive(Debug, Clone, Copy)]
struct Space<'s> {
    store: &'s Store,
    reserve_bytes: u64,
}

impl Space<'_> {
    /// Before so many bytes are written: there is room for them beside the reserve. Looked at when
    /// uploads have written enough since the last time, or `now`.
    fn take(self, bytes: u64, now: bool) -> io::Result<()> {
        let unchecked = &self.store.unchecked_bytes;
        let before = unchecked.fetch_add(bytes, Ordering::Relaxed);
        if !now && before.saturating_add(bytes) < SPACE_CHECK_BYTES {
            return Ok(());
        }
        unchecked.store(0, Ordering::Relaxed);
        let free = self.store.free_bytes().map_err(io::Error::other)?;
        match free < self.reserve_bytes.saturating_add(bytes) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

/// A file of an upload that is written only while there is space for it.
#[derive(Debug)]
pub struct SpaceChecked<'s> {
    file: File,
    space: Space<'s>,
    is_begun: bool,
}

impl<'s> SpaceChecked<'s> {
    fn new(file: File, space: Space<'s>) -> SpaceChecked<'s> {
        SpaceChecked {
            file,
            space,
            is_begun: false,
        }
    }
}

/// To be read.
impl From<SpaceChecked<'_>> for File {
    fn from(checked: SpaceChecked<'_>) -> File {
        checked.file
    }
}

impl Write for SpaceChecked<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        self.space.take(buffer.len() as u64, is_first)?;
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Like [`io::copy`], but tells whose error it was: a broken upload or a full disk.
fn copy(from: &mut dyn Read, to: &mut dyn Write) -> std::result::Result<(), CopyError> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read]).map_err(CopyError::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Read(error)),
        }
    }
}

/// Takes back what was moved and is named by no row. Whoever names a file in a row holds the
/// writer's lock while doing so, as we do here.
fn undo_intent(store: &Store, directory: &Path) -> Result<()> {
    let path = directory.join(INTENT);
    let intent = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::file("open", &path, source)),
    };
    store.write(|tx| {
        for line in intent.lines() {
            let line = line.map_err(|source| Error::file("read", &path, source))?;
            match line.split_once(' ') {
                Some(("artifact", hex)) => {
                    // A line cut short by power loss names nothing that was moved.
                    let Some(sha256) = Sha256::from_hex(hex) else {
                        continue;
                    };
                    if !builds::names_artifact(tx, sha256)? {
                        store.artifacts().remove(sha256)?;
                    }
                }
                Some(("build", home)) => {
                    let Some((_, Ok(uuid))) = home
                        .rsplit_once('/')
                        .map(|(job, uuid)| (job, Uuid::parse_str(uuid)))
                    else {
                        continue;
                    };
                    // What a link leads to was not written to.
                    if !builds::exists(tx, uuid)?
                        && link_on_the_way(store.directory(), Path::new(home)).is_none()
                    {
                        let home = store.directory().join(home);
                        if home.is_dir() {
                            remove_directory(&home)?;
                        }
                        // The job's directory stays only if it holds other builds.
                        if let Some(job) = home.parent() {
                            let _: io::Result<()> = fs::remove_dir(job);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    })
}

pub(crate) fn remove_directory(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove", directory, source))
        }
        _ => Ok(()),
    }
}
