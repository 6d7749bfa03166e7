//! Pictures of builds: those that upload hooks left in `_cache`, or our own, each drawn once.
//!
//! A picture is drawn away from the request that asks for it: whoever asks meanwhile waits for the
//! same one, and a client that leaves does not stop it. What was drawn, and what cannot be drawn,
//! is kept by the content it shows and the version of the drawing; what is larger than this server
//! draws is not, since the next one may draw it.

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use builder_store::Sha256;
use builder_store::builds::{self, Artifact, Build};
use builder_store::cache::{Drawing, Drawn, Form, Picture};
use builder_viz::Binary;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::app::App;
use crate::config::Limits;
use crate::error::{Error, Result, with_causes};
use crate::metrics::Queue;
use crate::removed;

/// The version of each of our drawings.
pub const VERSIONS: [(Picture, u32); 2] = [
    (Picture::Treemap, builder_viz::TREEMAP_VERSION),
    (Picture::Dependencies, builder_viz::DEPENDENCIES_VERSION),
];

/// Of the memory for files, in bytes, that is shared out as one.
const UNIT_BYTES: u64 = 1024;

/// How a drawing ended.
type Outcome = Result<Arc<Drawn>>;

/// Draws pictures, some at a time.
#[derive(Debug)]
pub struct Drawings {
    under_way: Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>,
    /// Memory for the files of all that are drawn at a time, in units. Each takes what its file
    /// needs, and no less than its share, so that there are no more than places.
    memory: Semaphore,
    memory_max: u32,
    share: u32,
    drawing: AtomicUsize,
    /// Of the drawings that nobody waits for, one at a time.
    background: Semaphore,
    waiting_max: usize,
    waiting: Mutex<usize>,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Kept in the store.
    Kept(Drawing),
    /// Two builds: there are too many pairs to keep them all.
    Changes(Uuid, Uuid, Form),
}

/// A picture to be sent.
#[derive(Debug, Clone)]
pub enum Shown {
    /// Our own.
    Own(Arc<Drawn>),
    /// A page that an upload hook made, which is not to be trusted with our origin.
    OfHook(Vec<u8>),
}

/// What a picture of a build is drawn of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// A build that has it.
    uuid: Uuid,
    drawing: Drawing,
    bytes: u64,
}

/// The artifact that a picture of this build shows, if it has one.
pub fn subject<'a>(
    picture: Picture,
    build: &Build,
    artifacts: &'a [Artifact],
) -> Option<&'a Artifact> {
    let at = |path: &str| artifacts.iter().find(|artifact| artifact.path == path);
    match picture {
        Picture::Dependencies => at("opam-switch"),
        Picture::Treemap => {
            // Where orb puts it; anywhere else it is as good.
            let main = build.main_binary.as_ref()?;
            let name = format!("{}.debug", main.path.rsplit('/').next()?);
            let elsewhere = || {
                artifacts
                    .iter()
                    .find(|artifact| artifact.file_name() == name)
            };
            at(&name).or_else(elsewhere)
        }
    }
}

impl Subject {
    fn of(picture: Picture, form: Form, build: &Build, artifacts: &[Artifact]) -> Option<Subject> {
        let artifact = subject(picture, build, artifacts)?;
        let version = VERSIONS.iter().find(|(of, _)| *of == picture)?.1;
        let main = build.main_binary.as_ref();
        let binary_bytes = match picture {
            Picture::Treemap => Some(main?.size),
            Picture::Dependencies => None,
        };
        Some(Subject {
            uuid: build.uuid,
            drawing: Drawing {
                picture,
                version,
                sha256: artifact.sha256,
                binary_bytes,
                form,
            },
            bytes: artifact.size,
        })
    }
}

impl Drawings {
    /// Nothing is drawn yet.
    pub fn new(limits: &Limits) -> Drawings {
        let memory_max = units(limits.drawn_binary_bytes_max);
        let places = u32::try_from(limits.drawings_concurrent_max).unwrap_or(u32::MAX);
        Drawings {
            under_way: Mutex::default(),
            memory: Semaphore::new(usize::try_from(memory_max).unwrap_or(Semaphore::MAX_PERMITS)),
            memory_max,
            share: memory_max / places.max(1),
            drawing: AtomicUsize::new(0),
            background: Semaphore::new(1),
            waiting_max: limits.drawings_waiting_max,
            waiting: Mutex::default(),
        }
    }

    /// The units that a drawing takes whose file has so many bytes.
    fn needed(&self, bytes: u64) -> u32 {
        units(bytes).max(self.share).min(self.memory_max)
    }

    /// How many pictures are being drawn; and how many wait, with the builds whose pictures are to
    /// be drawn before somebody asks for them.
    pub fn queue(&self) -> Queue {
        let under_way = lock(&self.under_way).len();
        let taken = self.drawing.load(Ordering::Relaxed);
        let builds =
            lock(&self.waiting).saturating_sub(1 - self.background.available_permits().min(1));
        Queue {
            taken,
            waiting: under_way.saturating_sub(taken) + builds,
        }
    }
}

impl App {
    /// A picture of a build; none: it has nothing that could be shown so.
    pub async fn picture(&self, picture: Picture, form: Form, uuid: Uuid) -> Result<Option<Shown>> {
        let found = self
            .blocking(move |app| {
                let found = app.store().read(|tx| {
                    let Some(build) = builds::by_uuid(tx, uuid)? else {
                        return removed::missing(tx, uuid).map(Err);
                    };
                    let artifacts = builds::artifacts(tx, build.id)?;
                    Ok(Ok((build, artifacts)))
                })?;
                let (build, artifacts) = found?;
                let Some(subject) = Subject::of(picture, form, &build, &artifacts) else {
                    return Ok::<_, Error>(None);
                };
                let shown = there(app, &subject)?;
                Ok(Some((subject, shown)))
            })
            .await??;
        match found {
            None => Ok(None),
            Some((_, Some(shown))) => Ok(Some(shown)),
            Some((subject, None)) => Ok(Some(Shown::Own(self.draw(subject).await?))),
        }
    }

    /// The treemaps of two builds side by side. `draw` holds one of the two files at a time.
    pub async fn treemap_changes(
        &self,
        (left, right): (Uuid, Uuid),
        form: Form,
        bytes: u64,
        draw: impl FnOnce(&App) -> Result<Drawn> + Send + 'static,
    ) -> Result<Arc<Drawn>> {
        self.once(Key::Changes(left, right, form), bytes, draw)
            .await
    }

    /// Draws both pictures of a build before somebody asks for them, when there is little else to
    /// draw. What does not come to it is drawn when it is asked for.
    pub fn draw_soon(&self, uuid: Uuid) {
        let drawings = self.drawings();
        {
            let mut waiting = lock(&drawings.waiting);
            if *waiting >= drawings.waiting_max {
                debug!("too many pictures wait to be drawn: those of {uuid} wait to be asked for");
                return;
            }
            *waiting += 1;
        }
        let app = self.clone();
        tokio::spawn(async move {
            if let Ok(_place) = app.drawings().background.acquire().await {
                for picture in Picture::ALL {
                    if let Err(error) = app.picture(picture, Form::Html, uuid).await {
                        debug!("cannot draw {} of {uuid}: {error:?}", picture.name());
                    }
                }
            }
            *lock(&app.drawings().waiting) -= 1;
        });
    }

    async fn draw(&self, subject: Subject) -> Result<Arc<Drawn>> {
        self.once(Key::Kept(subject.drawing), subject.bytes, move |app| {
            // Drawn while this one waited for its turn?
            if let Some(drawn) = app.store().cache().get(&subject.drawing)? {
                return Ok(drawn);
            }
            let drawn = drawn(app, &subject)?;
            if let Err(error) = app.store().cache().keep(&subject.drawing, &drawn) {
                warn!("a picture cannot be kept: {}", with_causes(&error));
            }
            Ok(drawn)
        })
        .await
    }

    /// Runs `draw`, which reads a file of so many bytes, on a thread, unless it is under way for this key already; gives
    /// what it gave.
    async fn once(
        &self,
        key: Key,
        bytes: u64,
        draw: impl FnOnce(&App) -> Result<Drawn> + Send + 'static,
    ) -> Result<Arc<Drawn>> {
        let mut drawn = {
            let mut under_way = lock(&self.drawings().under_way);
            match under_way.get(&key) {
                Some(drawn) => drawn.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    under_way.insert(key.clone(), receiver.clone());
                    let app = self.clone();
                    tokio::spawn(async move {
                        let drawings = app.drawings();
                        let needed = drawings.needed(bytes);
                        let drawn = match drawings.memory.acquire_many(needed).await {
                            Ok(_memory) => {
                                drawings.drawing.fetch_add(1, Ordering::Relaxed);
                                let drawn = app.behind_pages(draw).await.and_then(|drawn| drawn);
                                drawings.drawing.fetch_sub(1, Ordering::Relaxed);
                                drawn
                            }
                            Err(error) => Err(Error::internal(error)),
                        };
                        lock(&drawings.under_way).remove(&key);
                        // Nobody may be waiting any more.
                        let _: Option<_> = sender.send_replace(Some(drawn.map(Arc::new)));
                    });
                    receiver
                }
            }
        };
        let drawn = drawn
            .wait_for(Option::is_some)
            .await
            .map_err(Error::internal)?;
        drawn.clone().unwrap_or(Err(Error::Internal))
    }
}

/// Whole units that so many bytes take.
fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// What is there already: a hook's, which is a page for people, else ours; or why there is none.
fn there(app: &App, subject: &Subject) -> Result<Option<Shown>> {
    let cache = app.store().cache();
    let drawing = &subject.drawing;
    let of_hooks = match drawing.form {
        Form::Html => cache.of_hooks(drawing.picture, drawing.sha256)?,
        Form::Json => None,
    };
    if let Some(path) = of_hooks {
        let bytes_max = app.limits().hook_picture_bytes_max;
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path)
            .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 <= bytes_max => return Ok(Some(Shown::OfHook(bytes))),
            Ok(_) => warn!(
                "{} has more than {bytes_max} bytes: our own picture is shown",
                path.display()
            ),
            Err(error) => warn!(
                "cannot read {}: {error}; our own picture is shown",
                path.display()
            ),
        }
    }
    let drawn = match refused(app, drawing.picture, subject.bytes) {
        Some(why) => Some(Drawn::Nothing(why)),
        None => cache.get(drawing)?,
    };
    Ok(drawn.map(|drawn| Shown::Own(Arc::new(drawn))))
}

fn drawn(app: &App, subject: &Subject) -> Result<Drawn> {
    let drawing = &subject.drawing;
    let bytes = bytes(app, subject.uuid, drawing.sha256, subject.bytes)?;
    let drawn = match (drawing.picture, drawing.form) {
        (Picture::Treemap, Form::Html) => {
            builder_viz::treemap(&bytes, drawing.binary_bytes).map(String::into_bytes)
        }
        (Picture::Treemap, Form::Json) => {
            match builder_viz::treemap_data(&bytes, drawing.binary_bytes) {
                Ok(data) => Ok(json(&data)?),
                Err(error) => Err(error),
            }
        }
        (Picture::Dependencies, Form::Html) => {
            builder_viz::dependencies(&bytes).map(String::into_bytes)
        }
        (Picture::Dependencies, Form::Json) => match builder_viz::dependencies_data(&bytes) {
            Ok(data) => Ok(json(&data)?),
            Err(error) => Err(error),
        },
    };
    Ok(match drawn {
        Ok(picture) => Drawn::Picture(picture),
        Err(error) => Drawn::Nothing(error.to_string()),
    })
}

/// What a picture tells, as programs get it.
pub fn json(data: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(data).map_err(Error::internal)
}

/// Why a file of so many bytes is not drawn, in a sentence; none: it is.
fn refused(app: &App, picture: Picture, bytes: u64) -> Option<String> {
    let bytes_max = match picture {
        Picture::Treemap => app.limits().drawn_binary_bytes_max,
        Picture::Dependencies => app.limits().opam_switch_bytes_max,
    };
    let refusal = builder_viz::Error::TooLarge { bytes, bytes_max };
    (bytes > bytes_max).then(|| refusal.to_string())
}

/// All bytes of an artifact of a build, or what a download of it would say.
fn bytes(app: &App, uuid: Uuid, sha256: Sha256, size: u64) -> Result<Vec<u8>> {
    match app.store().artifacts().bytes(sha256, size) {
        Err(error) if !error.is_missing_file() => Err(Error::damaged(with_causes(&error))),
        bytes => removed::opened(app.store(), uuid, bytes),
    }
}

/// What takes space in the debug binary of a build; or why that cannot be told, in a sentence.
pub fn debug_binary(
    app: &App,
    build: &Build,
    artifacts: &[Artifact],
) -> Result<std::result::Result<Binary, String>> {
    let Some(artifact) = subject(Picture::Treemap, build, artifacts) else {
        return Ok(Err("it has no debug binary".to_owned()));
    };
    if let Some(why) = refused(app, Picture::Treemap, artifact.size) {
        return Ok(Err(why));
    }
    let file = bytes(app, build.uuid, artifact.sha256, artifact.size)?;
    Ok(Binary::read(&file).map_err(|error| error.to_string()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn files_of_all_drawings_at_a_time_fit_into_the_limit_of_one() {
        let limits = |drawings_concurrent_max, drawn_binary_bytes_max| Limits {
            drawings_concurrent_max,
            drawn_binary_bytes_max,
            ..Limits::default()
        };
        let of = |limits| {
            let drawings = Drawings::new(&limits);
            let room = drawings.memory.available_permits() as u64;
            move |files: &[u64]| {
                let needed = files.iter().map(|file| u64::from(drawings.needed(*file)));
                needed.sum::<u64>() <= room
            }
        };
        let fit = of(limits(2, 256 * MIB));
        assert!(fit(&[256 * MIB]) && fit(&[60 * MIB, 60 * MIB]));
        assert!(fit(&[128 * MIB, 0]));
        assert!(!fit(&[256 * MIB, 1]) && !fit(&[200 * MIB, 60 * MIB]));
        assert!(!fit(&[0, 0, 0]), "there are two places");
        // What is refused later takes no more than there is.
        assert!(fit(&[1000 * MIB]) && fit(&[u64::MAX]));
        let fit = of(limits(4, MIB));
        assert!(fit(&[0, 0, 0, 0]) && !fit(&[0, 0, 0, 0, 0]) && fit(&[MIB]));
    }
}
