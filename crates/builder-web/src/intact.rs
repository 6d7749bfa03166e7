//! Artifacts are what they are named for whenever they are sent. The first time, a file is compared
//! with its SHA-256, and checksums of its pieces are noted; from then on, for as long as the server
//! runs, each piece is compared with its checksum before it is sent. A part is sent only of a file
//! that was compared as a whole. Knows files and digests; knows nothing of builds.

mod sums;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use builder_store::{Check, Damage, Sha256};

use crate::app::App;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::metrics::{Place, Queue};
use crate::once::Once;
use crate::places::{Places, Who};
pub use sums::PIECE_BYTES;
use sums::{Summing, Sums};

/// Memory for checksums: of 128 GiB of large artifacts, or of some 40,000 small ones. A file whose
/// checksums are not remembered is compared with its SHA-256 again.
const SUMS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// After this long a damaged file is looked at again: what was wrong may have been the memory that
/// it was read into.
const DAMAGED_TIME: Duration = Duration::from_secs(60);
/// Pieces that are read at a time where nobody waits for the first.
const PIECES_AT_A_TIME: usize = 4;
/// A file of up to this many bytes is compared before it is sent, so that a damaged one gets an
/// answer that says so; the transfer of a larger one is broken off.
const SMALL_BYTES: u64 = PIECE_BYTES as u64;

/// A file as it was when it was opened: whoever writes to it or replaces it changes that. What a
/// disk forgets does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(file: &File) -> io::Result<State> {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata()?;
        Ok(State {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// What was found of a file.
#[derive(Debug, Clone)]
enum Found {
    /// It was whole, and these are its pieces.
    Whole(Arc<Sums>),
    /// It was not, at this time.
    Damaged(Instant),
}

/// What was found of artifacts.
#[derive(Debug)]
pub struct Intact {
    known: Mutex<Known>,
    bytes_max: usize,
    damage: Damage,
    places: Places,
    /// Large files that are being compared before any of them is sent.
    under_way: Once<(Sha256, State), Result<Arc<Sums>>>,
}

/// Two halves: what is asked for again moves to the young one. When that is full the old one is
/// dropped.
#[derive(Debug, Default)]
struct Known {
    young: HashMap<Sha256, (State, Found)>,
    young_bytes: usize,
    old: HashMap<Sha256, (State, Found)>,
}

impl Intact {
    /// Nothing is known yet; what is found damaged is counted in `damage`.
    pub fn new(damage: Damage, limits: &Limits) -> Intact {
        Intact {
            known: Mutex::default(),
            bytes_max: SUMS_BYTES_MAX,
            damage,
            places: Places::new(Place::Check, limits.checks()),
            under_way: Once::default(),
        }
    }

    /// How many files are being compared before any of them is sent, and how many wait.
    pub fn queue(&self) -> Queue {
        self.places.queue()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The checksums of a file that is still in this state; none: nothing is known of it. A damaged
    /// one is refused.
    fn sums(&self, sha256: Sha256, state: State) -> Result<Option<Arc<Sums>>> {
        match self.found(sha256, state) {
            Some(Found::Whole(sums)) => Ok(Some(sums)),
            Some(Found::Damaged(_)) => Err(Error::damaged(format!("artifact {sha256} is damaged"))),
            None => Ok(None),
        }
    }

    fn found(&self, sha256: Sha256, state: State) -> Option<Found> {
        let holds = |(at, found): &(State, Found)| match found {
            _ if *at != state => None,
            Found::Damaged(when) if when.elapsed() >= DAMAGED_TIME => None,
            found => Some(found.clone()),
        };
        let mut known = self.lock();
        if let Some(entry) = known.young.get(&sha256) {
            return holds(entry);
        }
        let found = holds(&known.old.remove(&sha256)?)?;
        self.put(&mut known, sha256, state, found.clone());
        Some(found)
    }

    fn note(&self, sha256: Sha256, state: State, found: Found) {
        if matches!(found, Found::Damaged(_)) {
            self.damage.found();
        }
        self.put(&mut self.lock(), sha256, state, found);
    }

    fn put(&self, known: &mut Known, sha256: Sha256, state: State, found: Found) {
        let half = self.bytes_max / 2;
        let bytes = memory(&found);
        if let Some((_, before)) = known.young.remove(&sha256) {
            known.young_bytes -= memory(&before);
        }
        known.old.remove(&sha256);
        if bytes > half {
            return;
        }
        if known.young_bytes + bytes > half {
            known.old = std::mem::take(&mut known.young);
            known.young_bytes = 0;
        }
        known.young_bytes += bytes;
        known.young.insert(sha256, (state, found));
    }
}

fn memory(found: &Found) -> usize {
    let sums = match found {
        Found::Whole(sums) => sums.memory(),
        Found::Damaged(_) => 0,
    };
    sums + size_of::<(Sha256, State, Found)>()
}

/// How much of an artifact is going to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    Head,
    /// From this byte on, perhaps not to the end; or something made of it.
    Part(u64),
    /// From the first byte to the last.
    Whole,
}

/// A file that is read in pieces, and compared while it is.
#[derive(Debug)]
pub struct Reader {
    file: File,
    size: u64,
    /// Where it is read next: where a piece begins, or at its end.
    at: u64,
    compared: Compared,
    /// Read and compared, and not given yet.
    ahead: Option<Vec<u8>>,
}

/// With what a file is compared.
#[derive(Debug)]
enum Compared {
    /// With nothing: nothing is known of it.
    Not,
    /// With its digest, from the first byte to the last.
    Digest(Box<Digest>),
    /// With the checksums of its pieces.
    Sums(Arc<Sums>, Subject),
}

/// Which file, and who is to know what is found of it.
#[derive(Debug, Clone)]
struct Subject {
    intact: Arc<Intact>,
    sha256: Sha256,
    state: State,
}

impl Subject {
    fn note(&self, found: Found) {
        self.intact.note(self.sha256, self.state, found);
    }
}

/// The digest of a file, and the checksums of its pieces, while they are computed.
#[derive(Debug)]
struct Digest {
    check: Check,
    summing: Summing,
    subject: Subject,
}

impl Digest {
    fn of(subject: Subject) -> Digest {
        Digest {
            check: Check::new(subject.sha256),
            summing: Summing::default(),
            subject,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.check.update(bytes);
        self.summing.update(bytes);
    }

    /// After the last byte was read, and before it is sent.
    fn finish(self) -> io::Result<Arc<Sums>> {
        if let Err(error) = self.check.finish() {
            self.subject.note(Found::Damaged(Instant::now()));
            return Err(error);
        }
        let sums = Arc::new(self.summing.finish());
        self.subject.note(Found::Whole(sums.clone()));
        Ok(sums)
    }
}

impl Reader {
    /// A file of which nothing is known, to be read from the piece that byte `first` is in.
    pub fn unknown(file: File, size: u64, first: u64) -> io::Result<Reader> {
        Reader::new(file, size, first, Compared::Not)
    }

    fn new(mut file: File, size: u64, first: u64, compared: Compared) -> io::Result<Reader> {
        let at = first - first % PIECE_BYTES as u64;
        file.seek(SeekFrom::Start(at))?;
        Ok(Reader {
            file,
            size,
            at,
            compared,
            ahead: None,
        })
    }

    /// What was read before it was asked for: where there is some, no thread is needed for it.
    pub fn ahead(&mut self) -> Option<Vec<u8>> {
        self.ahead.take()
    }

    /// The next pieces, this many or up to the end; nothing at the end. Pieces that are not what
    /// they should be are an error, and not given.
    pub fn next(&mut self, pieces: usize) -> io::Result<Vec<u8>> {
        if let Some(ahead) = self.ahead() {
            return Ok(ahead);
        }
        let left = self.size - self.at;
        let most = pieces.saturating_mul(PIECE_BYTES);
        let count = usize::try_from(left).map_or(most, |left| left.min(most));
        let mut bytes = Vec::with_capacity(count);
        (&mut self.file)
            .take(count as u64)
            .read_to_end(&mut bytes)?;
        if bytes.len() < count {
            let what = "the file became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        self.compare(&bytes)?;
        self.at += count as u64;
        Ok(bytes)
    }

    /// Goes on with the piece that this byte is in.
    fn go_to(&mut self, byte: u64) -> io::Result<()> {
        self.ahead = None;
        self.at = byte - byte % PIECE_BYTES as u64;
        self.file.seek(SeekFrom::Start(self.at)).map(|_| ())
    }

    fn compare(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.compared {
            Compared::Not => {}
            Compared::Digest(digest) => {
                digest.update(bytes);
                if self.at + bytes.len() as u64 == self.size
                    && let Compared::Digest(digest) =
                        std::mem::replace(&mut self.compared, Compared::Not)
                {
                    digest.finish()?;
                }
            }
            Compared::Sums(sums, subject) => {
                let first = usize::try_from(self.at / PIECE_BYTES as u64);
                if !first.is_ok_and(|first| sums.hold(first, bytes)) {
                    subject.note(Found::Damaged(Instant::now()));
                    let what = format!(
                        "artifact {} is damaged: what was whole has changed on the disk, between byte \
                         {} and {}",
                        subject.sha256,
                        self.at,
                        self.at + bytes.len() as u64
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
        }
        Ok(())
    }
}

/// A file that was compared as a whole, read wherever one likes: each piece is compared again.
#[derive(Debug)]
pub struct Anywhere {
    reader: Reader,
    at: u64,
    /// The piece that was read last, and where it begins.
    piece: (u64, Vec<u8>),
}

impl Read for Anywhere {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.reader.size || buffer.is_empty() {
            return Ok(0);
        }
        let inside = self.at % PIECE_BYTES as u64;
        let begin = self.at - inside;
        if self.piece.1.is_empty() || self.piece.0 != begin {
            // Whatever happens, what is not compared is not given.
            self.piece.1.clear();
            self.reader.go_to(begin)?;
            self.piece = (begin, self.reader.next(1)?);
        }
        let inside = usize::try_from(inside).map_err(io::Error::other)?;
        let mut rest = self.piece.1.get(inside..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Anywhere {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.reader.size.checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Opens an artifact to be sent. A damaged one is refused, as far as that can be told without
/// reading all of it. Who asks waits for a place where all of a large one has to be read before.
pub async fn open(
    app: &App,
    file: File,
    sha256: Sha256,
    wanted: Wanted,
    who: Option<Who>,
) -> Result<Reader> {
    let intact = app.intact();
    let state = State::of(&file).map_err(Error::internal)?;
    let size = state.size;
    let subject = Subject {
        intact: intact.clone(),
        sha256,
        state,
    };
    let mut sums = intact.sums(sha256, state)?;
    let first = match wanted {
        Wanted::Head => return Reader::unknown(file, size, 0).map_err(Error::internal),
        Wanted::Whole if sums.is_none() && size > SMALL_BYTES => {
            let digest = Compared::Digest(Box::new(Digest::of(subject)));
            return Reader::new(file, size, 0, digest).map_err(Error::internal);
        }
        Wanted::Whole => 0,
        Wanted::Part(first) => first,
    };
    if sums.is_none() && size > SMALL_BYTES {
        sums = Some(compared(app, &file, &subject, who).await?);
    }
    let opened = app.blocking(move |_| begin(file, sums, subject, first));
    opened.await?.map_err(Error::damaged)
}

/// Opens an artifact that is whole, to be read wherever one likes. Who asks waits as for a part that
/// is sent.
pub async fn open_anywhere(
    app: &App,
    file: File,
    sha256: Sha256,
    who: Option<Who>,
) -> Result<Anywhere> {
    let reader = open(app, file, sha256, Wanted::Part(0), who).await?;
    Ok(Anywhere {
        reader,
        at: 0,
        piece: (0, Vec::new()),
    })
}

/// The checksums of a large file of which nothing is known, once all of it was compared. That is done
/// once for all who ask, in a place of who came first.
async fn compared(
    app: &App,
    file: &File,
    subject: &Subject,
    who: Option<Who>,
) -> Result<Arc<Sums>> {
    let intact = app.intact();
    let key = (subject.sha256, subject.state);
    // Without a place: who waits for the work of another does none.
    if let Some(compared) = intact.under_way.joined(&key).await {
        return compared;
    }
    let place = intact.places.take(app.metrics(), who).await?;
    // Somebody else may have compared it meanwhile.
    if let Some(sums) = intact.sums(subject.sha256, subject.state)? {
        return Ok(sums);
    }
    let mut file = file.try_clone().map_err(Error::internal)?;
    let (app, subject) = (app.clone(), subject.clone());
    let work = || async move {
        let compared = app.blocking(move |_| {
            let _place = place;
            compare_all(&mut file, subject).map_err(Error::damaged)
        });
        compared.await?
    };
    match intact.under_way.done(key, work).await {
        Some(compared) => compared.of_it,
        None => Err(Error::Internal),
    }
}

/// A reader of a file that is whole as far as it is known, with the first piece read: a damaged one
/// can still be answered with what to do.
fn begin(
    mut file: File,
    sums: Option<Arc<Sums>>,
    subject: Subject,
    first: u64,
) -> io::Result<Reader> {
    let size = subject.state.size;
    let sums = match sums {
        Some(sums) => sums,
        None => compare_all(&mut file, subject.clone())?,
    };
    let mut reader = Reader::new(file, size, first, Compared::Sums(sums, subject))?;
    reader.ahead = Some(reader.next(1)?);
    Ok(reader)
}

fn compare_all(file: &mut File, subject: Subject) -> io::Result<Arc<Sums>> {
    let mut digest = Digest::of(subject);
    let mut chunk = vec![0; PIECES_AT_A_TIME * PIECE_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return digest.finish(),
            Ok(count) => digest.update(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    const SIZE: usize = 3 * PIECE_BYTES + 1000;

    /// A file that was found whole, and then changed without a trace: who reads it takes it for the
    /// one that it was.
    struct Disk {
        file: File,
        content: Vec<u8>,
        subject: Subject,
        sums: Arc<Sums>,
    }

    impl Disk {
        fn new() -> Disk {
            let content: Vec<u8> = (0..SIZE)
                .map(|at| u8::try_from(at % 253).unwrap())
                .collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all_at(&content, 0).unwrap();
            let subject = Subject {
                intact: Arc::new(Intact::new(Damage::default(), &Limits::default())),
                sha256: Sha256::of(&content),
                state: State::of(&file).unwrap(),
            };
            let sums = compare_all(&mut file, subject.clone()).unwrap();
            Disk {
                file,
                content,
                subject,
                sums,
            }
        }

        fn flip(&self, at: usize) {
            let byte = [self.content[at] ^ 4];
            self.file.write_all_at(&byte, at as u64).unwrap();
        }

        fn begin(&self, first: usize) -> io::Result<Reader> {
            let file = self.file.try_clone().unwrap();
            let sums = Some(self.sums.clone());
            begin(file, sums, self.subject.clone(), first as u64)
        }

        fn is_damaged(&self) -> bool {
            let found = self
                .subject
                .intact
                .found(self.subject.sha256, self.subject.state);
            matches!(found, Some(Found::Damaged(_)))
        }
    }

    #[test]
    fn no_piece_with_a_flipped_bit_is_given() {
        for at in [
            0,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            2 * PIECE_BYTES + 7,
            SIZE - 1,
        ] {
            let disk = Disk::new();
            let piece = at / PIECE_BYTES;
            disk.flip(at);
            assert!(!disk.is_damaged());
            let given = match disk.begin(0) {
                Ok(mut reader) => {
                    let mut given = Vec::new();
                    let error = loop {
                        match reader.next(1) {
                            Ok(bytes) => given.extend(bytes),
                            Err(error) => break error,
                        }
                        assert!(given.len() <= SIZE);
                    };
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    given
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    Vec::new()
                }
            };
            assert_eq!(given, disk.content[..piece * PIECE_BYTES], "{at}");
            assert!(disk.is_damaged(), "{at}");
        }
    }

    #[test]
    fn parts_begin_with_their_piece_and_are_compared_alone() {
        let disk = Disk::new();
        disk.flip(PIECE_BYTES + 5);
        for first in [0, 5, 2 * PIECE_BYTES, 3 * PIECE_BYTES + 999] {
            let mut reader = disk.begin(first).unwrap();
            let begin = first / PIECE_BYTES * PIECE_BYTES;
            let end = SIZE.min(begin + PIECE_BYTES);
            assert_eq!(reader.next(1).unwrap(), disk.content[begin..end], "{first}");
        }
        assert!(!disk.is_damaged());
        assert!(disk.begin(PIECE_BYTES).is_err());
        assert!(disk.is_damaged());
    }

    #[test]
    fn a_file_is_read_anywhere_but_where_it_is_damaged() {
        let disk = Disk::new();
        let anywhere = || Anywhere {
            reader: disk.begin(0).unwrap(),
            at: 0,
            piece: (0, Vec::new()),
        };
        let read = |file: &mut Anywhere, from: usize, count: u64| {
            file.seek(SeekFrom::Start(from as u64))?;
            let mut bytes = Vec::new();
            file.take(count).read_to_end(&mut bytes)?;
            io::Result::Ok(bytes)
        };
        let mut whole = anywhere();
        assert_eq!(whole.seek(SeekFrom::End(0)).unwrap(), SIZE as u64);
        for (from, to) in [
            (SIZE - 5, SIZE),
            (PIECE_BYTES - 3, 2 * PIECE_BYTES + 3),
            (0, 64),
            (70, 80),
            (SIZE, SIZE),
        ] {
            let bytes = read(&mut whole, from, (to - from) as u64).unwrap();
            assert_eq!(bytes, disk.content[from..to], "{from}");
        }
        assert_eq!(read(&mut whole, SIZE + 9, 9).unwrap(), b"");
        disk.flip(PIECE_BYTES + 5);
        let mut damaged = anywhere();
        assert_eq!(read(&mut damaged, 0, 9).unwrap(), disk.content[..9]);
        assert!(read(&mut damaged, PIECE_BYTES, 9).is_err());
        assert!(read(&mut damaged, PIECE_BYTES, 9).is_err());
        assert!(disk.is_damaged());
    }

    #[test]
    fn a_file_that_is_whole_again_or_was_written_to_is_compared_anew() {
        let disk = Disk::new();
        let Subject {
            intact,
            sha256,
            state,
        } = &disk.subject;
        let written = State {
            changed: (state.changed.0, state.changed.1 + 1),
            ..*state
        };
        assert!(intact.found(*sha256, *state).is_some());
        assert!(intact.found(*sha256, written).is_none());
        let lately = Instant::now().checked_sub(DAMAGED_TIME / 2).unwrap();
        intact.note(*sha256, *state, Found::Damaged(lately));
        assert!(disk.is_damaged());
        let before = Instant::now().checked_sub(DAMAGED_TIME).unwrap();
        intact.note(*sha256, *state, Found::Damaged(before));
        assert!(intact.found(*sha256, *state).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_asked_for_stays() {
        let disk = Disk::new();
        let entry = memory(&Found::Whole(disk.sums.clone()));
        let intact = Intact {
            bytes_max: 20 * entry,
            ..Intact::new(Damage::default(), &Limits::default())
        };
        let state = disk.subject.state;
        let number = |number: u32| Sha256::of(&number.to_le_bytes());
        for other in 0..1000 {
            intact.note(number(other), state, Found::Whole(disk.sums.clone()));
            assert!(intact.found(number(0), state).is_some(), "after {other}");
            let known = intact.lock();
            assert!(known.young.len() + known.old.len() <= 20);
        }
        assert!(intact.found(number(1), state).is_none());
    }
}
